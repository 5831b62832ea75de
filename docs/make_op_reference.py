"""Write docs/ops.md: every array function with what it returns, its kind of op and its local derivatives.

All of it comes from the ops' own declarations: the derivatives are their rules, run on symbols.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import graphdiff as gd
from graphdiff.draw.lecture.partials import local_symbol
from graphdiff.draw.lecture.symbols import Symbol
from graphdiff.op import FUNCTIONS, OPS, Elementwise, is_internal

PAGE = Path(__file__).parent / "ops.md"

HEAD = """# Functions and ops

Every function here is called as `gd.name`, or by NumPy's own function on a Tensor. This page is written from the ops'
declarations by `python docs/make_op_reference.py`. The local derivatives are the rules themselves, run on symbols: z is
the result; x, y, w are the arguments; [·] is 1 where the condition holds and 0 elsewhere.

An *elementwise* op has one local derivative per argument. A *linear* op is its own tangent, a *multilinear* one is
linear in each argument, a *composite* one is written in other ops, and a *custom* one gives both rules by hand.
Functions without a kind are written in ops.
"""

FAMILIES = {
    "elementwise": "Element by element",
    "error_function": "The error function",
    "activations": "Activations",
    "powers": "Powers",
    "lengths": "Lengths and angles",
    "selection": "Selection",
    "shape": "Shape",
    "index": "Indexing",
    "reduce": "Reductions",
    "products": "Products",
    "order": "Sorting and ranks",
    "decompositions": "Decompositions of matrices",
    "linalg": "Linear algebra",
    "create": "Making arrays",
    "derived": "Written in others",
}
"""The modules, each after those that it imports ops from."""


def family(function: Callable[..., Any]) -> str | None:
    """Return the module of graphdiff.ops that a function is declared in; None for what plans and checks declare."""
    own = getattr(function, "op", None)
    module = sys.modules
    for name in FAMILIES:
        members = vars(module[f"graphdiff.ops.{name}"]).values()
        if function.__module__ == f"graphdiff.ops.{name}" or any(
            each is function or (own is not None and getattr(each, "op", None) is own) for each in members
        ):
            return name
    return None


def derivatives(op: Elementwise) -> Iterator[str]:
    """Yield ∂z by each argument as it is written; none where the result has no derivative."""
    if all(partial is None for partial in op.partials):
        return
    names = "xyw"[: len(op.partials)]
    node = op(*[gd.placeholder(name=name) for name in names])
    for position, name in enumerate(names):
        yield f"∂z/∂{name} = {local_symbol(node, position, Symbol('z'), [Symbol(each) for each in names]).text}"


def row(function: Callable[..., Any], names: list[str]) -> str:
    """Return a function's line of the table: names, first line of its docstring, kind of op, local derivatives."""
    op = getattr(function, "op", OPS.get(names[0]))
    summary = (function.__doc__ or "").strip().splitlines()[0]
    written = "; ".join(derivatives(op)) if isinstance(op, Elementwise) else ""
    cells = [", ".join(f"`{name}`" for name in names), summary, op.kind if op is not None else "", written]
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def public() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the functions of graphdiff and of its namespaces, such as graphdiff.linalg, by name."""
    for name, function in FUNCTIONS.items():
        if callable(function):
            yield name, function
        else:
            yield from ((f"{name}.{inner}", inspect.unwrap(each)) for inner, each in vars(function).items())


def page() -> str:
    """Return the whole page."""
    names: dict[Callable[..., Any], list[str]] = {}
    for name, function in public():
        names.setdefault(function, []).append(name)
    found: dict[str, list[str]] = {each: [] for each in FAMILIES}
    for function in sorted([each for each in names if not is_internal(each)], key=lambda each: names[each][0]):
        where = family(function)
        if where is not None:
            found[where].append(row(function, names[function]))
    parts = [HEAD]
    for name, title in FAMILIES.items():
        rows = "\n".join(found[name])
        parts.append(
            f"\n## {title}\n\n| function | what it returns | kind | local derivatives |\n|---|---|---|---|\n{rows}\n"
        )
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.name}: {len(FUNCTIONS)} names, {len(OPS)} ops")
