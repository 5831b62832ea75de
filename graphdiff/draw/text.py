"""The graph as text: an indented tree, and a table in topological order."""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO

from graphdiff.arguments import whole
from graphdiff.differentiate.gradients import adjoints as adjoints_of
from graphdiff.draw.drawing import Drawable
from graphdiff.draw.lecture.symbols import equation, shown, symbol_of
from graphdiff.draw.names import names_of
from graphdiff.draw.options import Example, Inputs, InputShape, tensors_of
from graphdiff.draw.simplify import simplified
from graphdiff.errors import GraphError, StaleError
from graphdiff.graph import Graph
from graphdiff.tensor import Tensor, Variable
from graphdiff.text.columns import clean, fit, shape_text, table_width, text_width
from graphdiff.text.tables import plain, table
from graphdiff.typing import Tree

__all__ = ["STALE", "assigned_since", "known_adjoints", "show", "text"]

_NAME = 12
"""Columns that a name is given at least."""
_COLOURS = {"variable": "\x1b[34m", "op": "\x1b[33m", "again": "\x1b[2m", "note": "\x1b[2m"}


STALE = "assigned since"
"""What stands beside a variable whose value is no longer that which the nodes above it were computed of."""


def assigned_since(graph: Graph) -> set[Tensor]:
    """Return the variables that were assigned after a node of the graph had been built from them."""
    return {
        operand for operand, node, _ in graph.edges if operand.__class__ is Variable and operand.clock[0] > node.serial
    }


def known_adjoints(graph: Graph, wanted: bool | None) -> Mapping[Tensor, Tensor]:
    """Return the adjoints to show: on demand, or if `backward` has been called below a single scalar output."""
    asked = bool(wanted)
    single = len(graph.outputs) == 1 and graph.outputs[0].size == 1 and graph.outputs[0].has_value
    if wanted is None:
        differentiated = any(node.__class__ is Variable and node._grad is not None for node in graph)
        wanted = single and differentiated
    if not wanted:
        return {}
    if not single:
        raise GraphError("adjoints are drawn for a single scalar output that has a value")
    try:
        return adjoints_of(graph.outputs[0])
    except StaleError:
        if asked:
            raise
        return {}  # an optimiser's step since: the graph can still be looked at


def show(
    outputs: Drawable,
    *,
    style: str = "both",
    adjoints: bool | None = None,
    simplify: bool = False,
    width: int | None = None,
    max_nodes: int = 200,
    file: TextIO | None = None,
    input_shape: InputShape | None = None,
    inputs: Inputs | None = None,
    loss: Callable[[Tensor], Tensor] | None = None,
) -> None:
    """Print the graph below `outputs`: as a tree with shared nodes marked, and as a table in topological order.

    Parameters
    ----------
    outputs : Tensor, nested structure of Tensors, Graph, or Module
    style : {"both", "tree", "table"}
    adjoints : bool, optional
        Show ∂output/∂node; by default if `backward` has been called below a single scalar output.
    simplify : bool
        Show a simpler graph that computes the same, as `graphdiff.draw` does.
    width : int, optional
        Columns; by default the terminal's, 120 where there is none.
    max_nodes : int
        So many lines of each; a note says how many were left out.
    file : text stream, optional
        Standard output by default. Colours are used on a terminal only, and not where NO_COLOR is set.
    input_shape, inputs, loss
        What a model is shown for, as in `graphdiff.draw`.

    Raises
    ------
    GraphError
        No such style, adjoints of what is no scalar with a value, or an example for what is no model.

    Examples
    --------
    >>> import graphdiff as gd
    >>> a, b = gd.variable(2.0, name="a"), gd.variable(1.0, name="b")
    >>> gd.show(((a + b) * (b + 1)).named("e"), style="tree")
    e = v₁·v₂  6
    ├─ v₁ = a + b  3
    │  ├─ a  2
    │  └─ b  1  (shared)
    └─ v₂ = b + 1  2
       ├─ b ↑
       └─ 1
    """
    stream = sys.stdout if file is None else file
    terminal = bool(getattr(stream, "isatty", lambda: False)())
    if width is None:
        width = shutil.get_terminal_size((120, 24)).columns if terminal else 120
    width = whole(width, "show: width", 1)
    coloured = terminal and "NO_COLOR" not in os.environ
    drawn = tensors_of(outputs, Example(input_shape, inputs, loss))
    if simplify:
        drawn = simplified(drawn).graph
    max_nodes = whole(max_nodes, "show: max_nodes", 1)
    made = text(drawn, style=style, adjoints=adjoints, width=width, max_nodes=max_nodes, coloured=coloured)
    stream.write(f"{made}\n")


def text(
    outputs: Tree[Tensor] | Graph,
    *,
    style: str = "both",
    adjoints: bool | None = None,
    width: int = 120,
    max_nodes: int = 200,
    coloured: bool = False,
) -> str:
    """Return what `show` prints."""
    if style not in ("both", "tree", "table"):
        raise GraphError(f"style is 'both', 'tree' or 'table', not {style!r}")
    graph = outputs if isinstance(outputs, Graph) else Graph(outputs)
    found = known_adjoints(graph, adjoints)
    # A long name would leave no room for what else a line says.
    names = {node: fit(clean(title), max(_NAME, width // 3)) for node, title in names_of(graph.nodes).items()}
    parts = []
    if style != "table":
        parts.append(_tree(graph, names, found, width, max_nodes, coloured))
    if style != "tree":
        parts.append(_table(graph, names, found, width, max_nodes))
    return "\n\n".join(parts)


def _written(node: Tensor, names: Mapping[Tensor, str]) -> str:
    return symbol_of(node, names).text if node.op is None else equation(node, names)


def _value(node: Tensor) -> str:
    return shown(node.numpy()) if node.has_value else ""


def _tree(
    graph: Graph,
    names: Mapping[Tensor, str],
    adjoint: Mapping[Tensor, Tensor],
    width: int,
    max_nodes: int,
    coloured: bool,
) -> str:
    users = Counter(operand for operand, _, _ in graph.edges)
    lines: list[str] = []
    seen: set[Tensor] = set()
    # Each entry: the node, the indentation of its own line, and that of its operands'.
    pending: list[tuple[Tensor, str, str]] = [(output, "", "") for output in reversed(graph.outputs)]
    sources, stale = set(graph.inputs), assigned_since(graph)
    while pending and len(lines) < max_nodes:
        node, own, below = pending.pop()
        style = "variable" if node.op is None else "op"
        again = node in seen and node in names
        if again:
            line, style = f"{own}{names[node]} ↑", "again"
        else:
            seen.add(node)
            line = f"{own}{_written(node, names)}"
            details = [shape_text(node.shape), _value(node) if node in names else ""]
            if node in adjoint:
                details.append(f"adjoint {_value(adjoint[node])}")
            if node in stale:
                details.append(f"({STALE})")
            if users[node] > 1 and node in names:
                details.append("(shared)")
            line = "  ".join([line, *filter(None, details)])
        line = _narrow(line, own, width)
        lines.append(f"{_COLOURS[style]}{line}\x1b[0m" if coloured else line)
        if again or node in sources:
            continue
        for position, operand in reversed(list(enumerate(node.inputs))):
            last = position == len(node.inputs) - 1
            pending.append((operand, f"{below}{'└─ ' if last else '├─ '}", f"{below}{'   ' if last else '│  '}"))
    left = len(graph.nodes) - len(seen)
    if pending and left > 0:
        lines.append(f"… and {left:,} more nodes; max_nodes={max_nodes}")
    return "\n".join(lines)


def _narrow(line: str, indentation: str, width: int) -> str:
    """Cut a line to the width; where the indentation fills it, its depth is written instead."""
    if text_width(indentation) > width // 2:
        line = f"⋯ {len(indentation) // 3} deep ⋯ {line[len(indentation) :]}"
    return fit(line, width)


def _table(
    graph: Graph, names: Mapping[Tensor, str], adjoint: Mapping[Tensor, Tensor], width: int, max_nodes: int
) -> str:
    listed = [node for node in graph.nodes if node in names]
    limit = max(16, width // 3)
    stale = assigned_since(graph)
    columns: dict[str, Callable[[Tensor], str]] = {
        "node": lambda node: fit(_written(node, names), limit),
        "shape": lambda node: shape_text(node.shape) or "scalar",
        "dtype": lambda node: str(node.dtype),
        "value": lambda node: f"{_value(node)} ({STALE})" if node in stale else _value(node),
        "adjoint": lambda node: _value(adjoint[node]) if node in adjoint else "",
        "made at": _place,
    }
    if not adjoint:
        del columns["adjoint"]
    cells = {
        title: [title, *(fit(clean(column(node)), limit) for node in listed[:max_nodes])]
        for title, column in columns.items()
    }
    for dropped in ("", "made at", "dtype", "shape"):  # what a narrow terminal has no room for
        cells.pop(dropped, None)
        if table_width(cells.values()) <= width:
            break
    headings, *rows = zip(*cells.values())
    lines = [fit(line, width) for line in plain(table(headings, rows, rule="columns")).splitlines()]
    if len(listed) > max_nodes:
        lines.append(f"… and {len(listed) - max_nodes:,} more nodes; max_nodes={max_nodes}")
    return "\n".join(lines)


def _place(node: Tensor) -> str:
    path, _, line = node.source.rpartition(":")
    return f"{Path(path).name}:{line}"
