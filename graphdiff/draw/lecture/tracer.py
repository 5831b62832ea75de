"""Evaluation traces: every step of an expression with its derivatives, as a lecture writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphdiff import host
from graphdiff.differentiate.forward import tangents
from graphdiff.differentiate.reverse import adjoints, below
from graphdiff.draw.lecture.partials import local_derivatives, local_symbol
from graphdiff.draw.lecture.symbols import (
    ATOM,
    DIGITS,
    PRODUCT,
    SUM,
    Number,
    Symbol,
    expression,
    number,
    numbers_latex,
    shown,
    symbol_of,
)
from graphdiff.draw.lecture.table import Row, Trace
from graphdiff.draw.names import names_of
from graphdiff.draw.simplify import simplified
from graphdiff.errors import GraphError
from graphdiff.graph import Graph, topological_order
from graphdiff.op import GRAPH, OPS, Elementwise
from graphdiff.tensor import Tensor
from graphdiff.text.columns import clean

__all__ = ["trace"]

_IN_FULL = 24
"""So long may an array be that stands in a formula by its elements."""


def trace(
    output: Tensor,
    *,
    mode: str = "reverse",
    wrt: Tensor | None = None,
    seed: Any = None,
    named: bool = False,
    simplify: bool = False,
    digits: int = DIGITS,
) -> Trace:
    """Return the evaluation trace table of an expression.

    Parameters
    ----------
    output : Tensor
    mode : {"forward", "reverse"}
        Forward: the derivative of every node by the input `wrt`. Reverse: the derivative of the output by every node,
        and which values must be stored for it.
    wrt : Tensor, optional
        The input. Forward mode needs it unless there is only one; reverse mode then shows only what lies between.
    seed : array-like, optional
        The direction of a non-scalar `wrt`, or the adjoint of a non-scalar output.
    named : bool
        One row for each named node only, unnamed ones written out within it.
    simplify : bool
        Of a simpler graph that computes the same, as `graphdiff.draw` draws it.
    digits : int
        Significant digits of numbers.

    Returns
    -------
    Trace

    Raises
    ------
    GraphError
        No such mode, no path from `wrt`, several inputs of which none is named, or a `wrt` that is no scalar without a
        direction.
    NonScalarError
        An output that is no scalar without a seed.

    Examples
    --------
    >>> import graphdiff as gd
    >>> a, b = gd.variable(2.0, name="a"), gd.variable(1.0, name="b")
    >>> c, d = (a + b).named("c"), (b + 1).named("d")
    >>> print(gd.trace((c * d).named("e"), mode="forward", wrt=b))
    expression  local derivative  value  numeric value  running derivative d·/db
    ──────────  ────────────────  ─────  ─────────────  ────────────────────────
    a                                    2              0
    b                                    1              1
    c = a + b   ∂c/∂a = 1         2 + 1  3              1·0 + 1·1 = 1
                ∂c/∂b = 1
    d = b + 1   ∂d/∂b = 1         1 + 1  2              1·1 = 1
    e = c·d     ∂e/∂c = d = 2     3·2    6              2·1 + 3·1 = 5
                ∂e/∂d = c = 3
    """
    if not isinstance(output, Tensor):
        raise GraphError(f"a trace is of a Tensor, not {type(output).__name__}")
    if mode not in ("forward", "reverse"):
        raise GraphError(f"mode is 'forward' or 'reverse', not {mode!r}")
    if simplify:
        simpler = simplified(output)
        output, wrt = simpler.graph.outputs[0], simpler.of(wrt)
    return _Tracer(output, mode, wrt, seed, named, digits).table()


class _Tracer:
    """One table in the making."""

    def __init__(self, output: Tensor, mode: str, wrt: Tensor | None, seed: Any, named: bool, digits: int) -> None:
        self.output, self.mode, self.named, self.digits = output, mode, named, digits
        graph = Graph(output)
        if wrt is None and mode == "forward":
            if len(graph.inputs) != 1:
                raise GraphError(
                    f"forward mode follows one input: say which with wrt=…; there are "
                    f"{', '.join(leaf.describe() for leaf in graph.inputs) or 'none'}"
                )
            wrt = graph.inputs[0]
        order = topological_order([output])
        if wrt is not None and wrt not in set(order):
            raise GraphError(f"no path leads from the input {wrt.describe()} to the output")
        self.wrt = wrt
        self.dependent = set(order) if wrt is None else below(order, [wrt])
        kept = [node for node in graph.nodes if node.recorded or node.name or node.size != 1]
        if mode == "reverse":
            kept = [node for node in kept if node in self.dependent]
        if named:
            kept = [node for node in kept if node.name or node.op is None or node is output]
        self.names = {node: clean(title) for node, title in names_of(graph.nodes).items()}
        self.rows = set(kept)
        self.kept = kept
        self.derivative: Mapping[Tensor, Any]
        if mode == "forward":
            assert wrt is not None
            if seed is None and wrt.size != 1:
                raise GraphError(f"{wrt.describe()} has {wrt.size} elements: give the direction with seed=…")
            start = _ones(wrt) if seed is None else seed
            self.derivative = tangents(output, {wrt: start})
        else:
            self.derivative = adjoints(output, seed, None if wrt is None else [wrt])

    def symbol(self, node: Tensor) -> Symbol:
        if node in self.rows or node.name:
            return symbol_of(node, self.names, self.digits)
        # A constant has no row to look it up in, and is written out where it is short.
        return (None if node.recorded else self.in_full(node)) or symbol_of(node, self.names, self.digits)

    def figure(self, node: Tensor) -> Symbol:
        """Return a node's number, to stand in its name's place."""
        return self.in_full(node) or self.symbol(node)

    def in_full(self, node: Tensor) -> Symbol | None:
        """Return a number, or a short array by its elements."""
        text = shown(node.numpy(), self.digits) if node.has_value else ""
        fits = not node.shape or (text.startswith("[") and len(text) <= _IN_FULL)
        return _figure(text) if text and fits else None

    def group(self, node: Tensor) -> list[Tensor]:
        """Return the nodes that a row stands for, in topological order: itself and unnamed ones below it."""
        seen, pending = {node}, [node]
        while pending:
            for operand in pending.pop().inputs:
                if operand in self.rows or operand in seen or operand.op is None or operand.name:
                    continue
                # An array that does not depend on the input stays under its name; of numbers the formula is told.
                if self.named or operand in self.dependent or operand.size == 1:
                    seen.add(operand)
                    pending.append(operand)
        return sorted(seen, key=lambda each: each.serial)

    def write(self, group: Sequence[Tensor], numbers: bool) -> dict[Tensor, Symbol]:
        found: dict[Tensor, Symbol] = {}
        inside = set(group)
        for node in group:
            operands = [
                found[each] if each in inside else self.figure(each) if numbers else self.symbol(each)
                for each in node.inputs
            ]
            found[node] = expression(node, operands)
        return found

    def locals(self, group: Sequence[Tensor]) -> dict[Tensor, tuple[Symbol, Any]]:
        """Return the row's derivative by each row or leaf that it reads: in symbols, and as an array if known."""
        last, inside = group[-1], set(group)
        written = self.write(group, numbers=False)
        written[last] = self.symbol(last)
        scalar = all(each.size == 1 and each.has_value for node in group for each in (node, *node.inputs))
        known = scalar or (len(group) == 1 and isinstance(last.op, Elementwise) and last.has_value)
        symbols: dict[Tensor, Symbol] = {last: Number(1)}
        numbers: dict[Tensor, Any] = {last: 1.0}
        for node in reversed(group):
            if node not in symbols:
                continue
            operands = [written[each] if each in inside else self.symbol(each) for each in node.inputs]
            parts = local_derivatives(node) if known else [None] * len(node.inputs)
            for position, operand in enumerate(node.inputs):
                if operand not in self.dependent and not (self.mode == "forward" and operand.recorded):
                    continue
                if known and parts[position] is None:
                    continue
                term = symbols[node] * local_symbol(node, position, written[node], operands)
                symbols[operand] = term if operand not in symbols else symbols[operand] + term
                if known:
                    part = numbers[node] * parts[position]
                    numbers[operand] = numbers[operand] + part if operand in numbers else part
        return {each: (symbol, numbers.get(each)) for each, symbol in symbols.items() if each not in inside}

    def table(self) -> Trace:
        groups = {node: self.group(node) for node in self.kept if node.op is not None}
        local = {node: self.locals(group) for node, group in groups.items()}
        users: dict[Tensor, list[Tensor]] = {}
        for node, parts in local.items():
            for operand in parts:
                users.setdefault(operand, []).append(node)
        order = self.kept if self.mode == "forward" else self.kept[::-1]
        rows = [self.row(node, groups, local, users) for node in order]
        stored = {node for parts in local.values() for symbol, _ in parts.values() for node in symbol.uses}
        title = self.symbol(self.output if self.mode == "reverse" else self.wrt)  # type: ignore[arg-type]
        if self.mode == "forward" and self.wrt is not None and self.wrt.size != 1:
            derivative = f"in a direction of {title.text}", rf"\text{{in a direction of }} {title.latex}"
        elif self.mode == "forward":
            derivative = f"d·/d{title.text}", rf"d\,\cdot/d {title.latex}"
        else:
            derivative = f"∂{title.text}/∂·", rf"\partial {title.latex}/\partial\,\cdot"
        kept = {node: self.symbol(node).text for node in sorted(stored, key=lambda each: each.serial)}
        return Trace(rows, self.mode, derivative, kept)

    def row(
        self,
        node: Tensor,
        groups: Mapping[Tensor, list[Tensor]],
        local: Mapping[Tensor, dict[Tensor, tuple[Symbol, Any]]],
        users: Mapping[Tensor, list[Tensor]],
    ) -> Row:
        name = self.symbol(node)
        written, valued = (name.text, name.latex), ("", "")
        parts = local.get(node, {})
        if node.op is not None:
            made = self.write(groups[node], numbers=False)[node]
            written = f"{name.text} = {made.text}", f"{name.latex} = {made.latex}"
            if node.has_value:
                made = self.write(groups[node], numbers=True)[node]
                valued = made.text, made.latex
        derived = [self.derived(node, operand, *part) for operand, part in parts.items()]
        running, running_latex = self.running(node, parts, local, users)
        found = self.derivative.get(node)
        array = found.numpy() if found is not None and found.has_value else None
        numeric = shown(node.numpy(), self.digits) if node.has_value else ""
        uses = {each for symbol, _ in parts.values() for each in symbol.uses}
        stored = [self.symbol(each) for each in sorted(uses, key=lambda each: each.serial)]
        return Row(
            name.text,
            written[0],
            tuple(text for text, _ in derived),
            valued[0],
            numeric,
            (running,),
            tuple(each.text for each in stored),
            node,
            array,
            (
                (written[1],),
                tuple(latex for _, latex in derived),
                (valued[1],),
                (numbers_latex(numeric),),
                (running_latex,),
                (", ".join(each.latex for each in stored),),
            ),
        )

    def derived(self, node: Tensor, operand: Tensor, symbol: Symbol, figure: Any) -> tuple[str, str]:
        """Return ``∂e/∂c = d = 2`` as text and as LaTeX: the local derivative in symbols, and its number if known."""
        name, by = self.symbol(node), self.symbol(operand)
        text = f"∂{name.text}/∂{by.text}"
        latex = rf"\partial {name.latex}/\partial {by.latex}"
        if symbol.text != text:  # an op whose rule no formula tells
            text += f" = {symbol.text}"
            latex += f" = {symbol.latex}"
        value = None if figure is None else host.as_host(figure)
        # Of an operand that is broadcast only the sum of the derivatives is known.
        if value is not None and symbol.uses and (node.size == 1 or value.shape == node.shape):
            tail = shown(value, self.digits)
            text += f" = {tail}"
            latex += f" = {numbers_latex(tail)}"
        return text, latex

    def start(self, carried: Tensor | None) -> Symbol | None:
        """Return what the pass begins with: 1, or the direction that is followed where it is short."""
        return Number(1) if carried is None or not carried.has_value else self.in_full(carried)

    def of_matrices(self, user: Tensor, operand: Tensor, carried: Symbol) -> Symbol | None:
        """Return what a product of matrices passes on, its factors in the order in which their shapes fit."""
        if user.op is not OPS["matmul"]:
            return None
        total: Symbol | None = None
        symbols = [self.symbol(each) for each in user.inputs]
        for position in (0, 1):
            if user.inputs[position] is operand:
                part = symbols[1 - position]  # in forward mode an operand's tangent takes its place
                if self.mode == "reverse":
                    part = local_symbol(user, position, self.symbol(user), symbols)
                term = _product(*((carried, part) if position == 0 else (part, carried)))
                total = term if total is None else total + term
        return total

    def running(
        self,
        node: Tensor,
        parts: Mapping[Tensor, tuple[Symbol, Any]],
        local: Mapping[Tensor, dict[Tensor, tuple[Symbol, Any]]],
        users: Mapping[Tensor, list[Tensor]],
    ) -> tuple[str, str]:
        if self.mode == "forward":
            terms = [(symbol, figure, operand) for operand, (symbol, figure) in parts.items()]
        else:
            terms = [(*local[user][node], user) for user in reversed(users.get(node, []))]
        found = self.derivative.get(node)
        start = node is (self.wrt if self.mode == "forward" else self.output)
        result = "" if not node.recorded else "0"
        if found is not None:
            result = shown(found.numpy(), self.digits) if found.has_value else ""
        if start or not terms or (found is None and not node.recorded):
            return result, numbers_latex(result)
        first, *others = (self.term(node, *term) for term in terms)
        total = first
        for term in others:
            total = total.join(term, (" + ", " + "), SUM)
        if not result:
            return total.text, total.latex
        return f"{total.text} = {result}", f"{total.latex} = {numbers_latex(result)}"

    def term(self, node: Tensor, symbol: Symbol, figure: Any, other: Tensor) -> Symbol:
        """Return what `other`, an operand in forward mode and a user in reverse mode, adds to a node's derivative."""
        forward = self.mode == "forward"
        carried = self.derivative.get(other)
        scalar = figure is not None and host.as_host(figure).shape == () and (carried is None or not carried.shape)
        if scalar and (carried is None or carried.has_value):
            local = _figure(number(host.as_host(figure).item(), self.digits))
            running = _figure(number(carried.item() if carried is not None else 0.0, self.digits))
        else:
            by = self.symbol(other)
            end = self.symbol(self.wrt if forward else self.output)  # type: ignore[arg-type]
            above, under = (by, end) if forward else (end, by)
            local = symbol
            running = Symbol(
                f"∂{above.text}/∂{under.text}", rf"\frac{{\partial {above.latex}}}{{\partial {under.latex}}}"
            )
            if above.text == under.text:
                running = self.start(carried) or running
        made = None
        if not scalar:
            made = self.of_matrices(*((node, other) if forward else (other, node)), running)
        return made or _product(*((local, running) if forward else (running, local)))


def _product(left: Symbol, right: Symbol) -> Symbol:
    return left.join(right, ("·", r" \cdot "), PRODUCT)


def _figure(text: str) -> Symbol:
    return Symbol(text, numbers_latex(text), PRODUCT if text.startswith("−") else ATOM)


def _ones(node: Tensor) -> Any:
    return GRAPH.ones_like(node) if node.has_value else 1.0 if not node.shape else [1.0]
