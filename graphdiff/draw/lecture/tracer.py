"""Evaluation traces: every step of an expression with its derivatives, as a lecture writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import TypeAlias

from graphdiff import host
from graphdiff.differentiate.gradients import adjoints, tangents
from graphdiff.differentiate.reverse import below
from graphdiff.draw.lecture.partials import local_derivatives, local_symbol
from graphdiff.draw.lecture.symbols import (
    ATOM,
    DIGITS,
    PRODUCT,
    SUM,
    Number,
    Numbers,
    Symbol,
    expression,
    number,
    numbers_latex,
    shown,
    symbol_of,
)
from graphdiff.draw.lecture.table import Row, Trace
from graphdiff.draw.names import names_of
from graphdiff.draw.picture import grouped
from graphdiff.draw.simplify import simplified
from graphdiff.errors import GraphError
from graphdiff.graph import Graph, topological_order
from graphdiff.op import GRAPH, OPS, Elementwise
from graphdiff.tensor import Tensor
from graphdiff.text.columns import clean
from graphdiff.typing import ArrayLike

__all__ = ["trace"]

Part: TypeAlias = tuple[Symbol, "Numbers | None"]
"""A derivative in symbols, and as an array where it is known."""

_SERIAL = attrgetter("serial")
_IN_FULL = 24
"""So long may an array be that stands in a formula by its elements."""


def trace(
    output: Tensor,
    *,
    mode: str = "reverse",
    wrt: Tensor | None = None,
    seed: ArrayLike | None = None,
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
    """One table in the making.

    Attributes
    ----------
    end : Tensor
        What derivatives are by in forward mode, and of in reverse mode.
    kept : list of Tensor
        The nodes that have a row.
    """

    def __init__(
        self, output: Tensor, mode: str, wrt: Tensor | None, seed: ArrayLike | None, named: bool, digits: int
    ) -> None:
        self.forward, self.named, self.digits = mode == "forward", named, digits
        graph = Graph(output)
        if wrt is None and self.forward:
            if len(graph.inputs) != 1:
                raise GraphError(
                    f"forward mode follows one input: say which with wrt=…; there are "
                    f"{', '.join(leaf.describe() for leaf in graph.inputs) or 'none'}"
                )
            wrt = graph.inputs[0]
        order = topological_order([output])
        if wrt is not None and wrt not in set(order):
            raise GraphError(f"no path leads from the input {wrt.describe()} to the output")
        self.dependent = set(order) if wrt is None else below(order, [wrt])
        self.kept = [
            node
            for node in graph.nodes
            if (node.recorded or node.name or node.size != 1)
            and (self.forward or node in self.dependent)
            and (not named or node.name or node.op is None or node is output)
        ]
        self.rows = set(self.kept)
        self.names = {node: clean(title) for node, title in names_of(graph.nodes).items()}
        self.end = output
        self.derivative: Mapping[Tensor, Tensor]
        if wrt is not None and self.forward:
            self.end = wrt
            if seed is None and wrt.size != 1:
                raise GraphError(f"{wrt.describe()} has {wrt.size} elements: give the direction with seed=…")
            self.derivative = tangents(output, {wrt: _ones(wrt) if seed is None else seed})
        else:
            self.derivative = adjoints(output, seed, None if wrt is None else [wrt])
        self.groups = {node: self.group(node) for node in self.kept if node.op is not None}
        self.local = {node: self.locals(group) for node, group in self.groups.items()}
        self.users = grouped((operand, node) for node, parts in self.local.items() for operand in parts)

    def symbol(self, node: Tensor) -> Symbol:
        # A constant has no row to look it up in, and is written out where it is short.
        written_out = None if node in self.rows or node.name or node.recorded else self.in_full(node)
        return written_out or symbol_of(node, self.names, self.digits)

    def figure(self, node: Tensor) -> Symbol:
        """Return a node's number, to stand in its name's place."""
        return self.in_full(node) or self.symbol(node)

    def in_full(self, node: Tensor) -> Symbol | None:
        """Return a number, or a short array by its elements."""
        text = self.shown(node)
        fits = not node.shape or (text.startswith("[") and len(text) <= _IN_FULL)
        return _figure(text) if text and fits else None

    def shown(self, node: Tensor) -> str:
        return shown(node.numpy(), self.digits) if node.has_value else ""

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
        return sorted(seen, key=_SERIAL)

    def write(self, group: Sequence[Tensor], written: Callable[[Tensor], Symbol]) -> dict[Tensor, Symbol]:
        """Return how the nodes of a group are written, of what each operand from outside is written as."""
        found: dict[Tensor, Symbol] = {}
        for node in group:
            found[node] = expression(node, [found.get(each) or written(each) for each in node.inputs])
        return found

    def locals(self, group: Sequence[Tensor]) -> dict[Tensor, Part]:
        """Return the row's derivative by each row or leaf that it reads: in symbols, and as an array if known."""
        last = group[-1]
        written = self.write(group, self.symbol) | {last: self.symbol(last)}
        scalar = all(each.size == 1 and each.has_value for node in group for each in (node, *node.inputs))
        known = scalar or (len(group) == 1 and isinstance(last.op, Elementwise) and last.has_value)
        symbols: dict[Tensor, Symbol] = {last: Number(1)}
        figures: dict[Tensor, Numbers] = {last: host.as_host(1.0)}
        for node in reversed(group):
            if node not in symbols:
                continue
            operands = [written.get(each) or self.symbol(each) for each in node.inputs]
            parts = local_derivatives(node) if known else [None] * len(node.inputs)
            for position, (operand, part) in enumerate(zip(node.inputs, parts, strict=True)):
                follows = operand in self.dependent or (self.forward and operand.recorded)
                if not follows or (known and part is None):
                    continue
                term = symbols[node] * local_symbol(node, position, written[node], operands)
                symbols[operand] = symbols[operand] + term if operand in symbols else term
                if part is not None:
                    amount = figures[node] * part
                    figures[operand] = host.as_host(figures[operand] + amount if operand in figures else amount)
        return {each: (symbol, figures.get(each)) for each, symbol in symbols.items() if each not in written}

    def table(self) -> Trace:
        rows = [self.row(node) for node in (self.kept if self.forward else self.kept[::-1])]
        stored = {node for parts in self.local.values() for symbol, _ in parts.values() for node in symbol.uses}
        title = self.symbol(self.end)
        if not self.forward:
            derivative = f"∂{title.text}/∂·", rf"\partial {title.latex}/\partial\,\cdot"
        elif self.end.size != 1:
            derivative = f"in a direction of {title.text}", rf"\text{{in a direction of }} {title.latex}"
        else:
            derivative = f"d·/d{title.text}", rf"d\,\cdot/d {title.latex}"
        kept = {node: self.symbol(node).text for node in sorted(stored, key=_SERIAL)}
        return Trace(rows, "forward" if self.forward else "reverse", derivative, kept)

    def row(self, node: Tensor) -> Row:
        name, parts = self.symbol(node), self.local.get(node, {})
        written, valued = name, Symbol("", "")
        if node.op is not None:
            group = self.groups[node]
            written = _equal(name, self.write(group, self.symbol)[node])
            valued = self.write(group, self.figure)[node] if node.has_value else valued
        derived = [self.derived(node, operand, *part) for operand, part in parts.items()]
        running, numeric = self.running(node), _figure(self.shown(node))
        found = self.derivative.get(node)
        uses = {each for symbol, _ in parts.values() for each in symbol.uses}
        stored = [self.symbol(each) for each in sorted(uses, key=_SERIAL)]
        cells = [[written], derived, [valued], [numeric], [running]]
        return Row(
            name.text,
            written.text,
            tuple(each.text for each in derived),
            valued.text,
            numeric.text,
            (running.text,),
            tuple(each.text for each in stored),
            node,
            found.numpy() if found is not None and found.has_value else None,
            (*(tuple(each.latex for each in cell) for cell in cells), (", ".join(each.latex for each in stored),)),
        )

    def derived(self, node: Tensor, operand: Tensor, symbol: Symbol, figure: Numbers | None) -> Symbol:
        """Return ``∂e/∂c = d = 2``: the local derivative in symbols, and its number if known."""
        name, by = self.symbol(node), self.symbol(operand)
        sides = [Symbol(f"∂{name.text}/∂{by.text}", rf"\partial {name.latex}/\partial {by.latex}")]
        if symbol.text != sides[0].text:  # an op whose rule no formula tells
            sides.append(symbol)
        # Of an operand that is broadcast only the sum of the derivatives is known.
        if figure is not None and symbol.uses and (node.size == 1 or figure.shape == node.shape):
            sides.append(_figure(shown(figure, self.digits)))
        return _equal(*sides)

    def of_matrices(self, user: Tensor, operand: Tensor, carried: Symbol) -> Symbol | None:
        """Return what a product of matrices passes on, its factors in the order in which their shapes fit."""
        if user.op is not OPS["matmul"]:
            return None
        total: Symbol | None = None
        symbols = [self.symbol(each) for each in user.inputs]
        for position in (0, 1):
            if user.inputs[position] is operand:
                part = symbols[1 - position]  # in forward mode an operand's tangent takes its place
                if not self.forward:
                    part = local_symbol(user, position, self.symbol(user), symbols)
                term = _product(*((carried, part) if position == 0 else (part, carried)))
                total = term if total is None else total + term
        return total

    def running(self, node: Tensor) -> Symbol:
        """Return a node's derivative: the sum that the pass makes of it, and its number if known."""
        if self.forward:
            terms = [(*part, operand) for operand, part in self.local.get(node, {}).items()]
        else:
            terms = [(*self.local[user][node], user) for user in reversed(self.users.get(node, []))]
        found = self.derivative.get(node)
        result = _figure(self.shown(found) if found is not None else "0" if node.recorded else "")
        if node is self.end or not terms or (found is None and not node.recorded):
            return result
        first, *others = (self.term(node, *term) for term in terms)
        for term in others:
            first = first.join(term, (" + ", " + "), SUM)
        return _equal(first, result) if result.text else first

    def term(self, node: Tensor, symbol: Symbol, figure: Numbers | None, other: Tensor) -> Symbol:
        """Return what `other`, an operand in forward mode and a user in reverse mode, adds to a node's derivative."""
        carried = self.derivative.get(other)
        known = carried is None or (not carried.shape and carried.has_value)
        if figure is not None and figure.shape == () and known:
            symbol = _figure(number(figure.item(), self.digits))
            running = _figure(number(carried.item() if carried is not None else 0.0, self.digits))
        else:
            above, under = (self.symbol(each) for each in ((other, self.end) if self.forward else (self.end, other)))
            running = Symbol(
                f"∂{above.text}/∂{under.text}", rf"\frac{{\partial {above.latex}}}{{\partial {under.latex}}}"
            )
            if above.text == under.text:  # the pass begins here, with 1 or the direction, where that is short
                start = Number(1) if carried is None or not carried.has_value else self.in_full(carried)
                running = start or running
            made = self.of_matrices(*((node, other) if self.forward else (other, node)), running)
            if made is not None:
                return made
        return _product(*((symbol, running) if self.forward else (running, symbol)))


def _product(left: Symbol, right: Symbol) -> Symbol:
    return left.join(right, ("·", r" \cdot "), PRODUCT)


def _equal(*sides: Symbol) -> Symbol:
    return Symbol(" = ".join(side.text for side in sides), " = ".join(side.latex for side in sides))


def _figure(text: str) -> Symbol:
    return Symbol(text, numbers_latex(text), PRODUCT if text.startswith("−") else ATOM)


def _ones(node: Tensor) -> ArrayLike:
    if node.has_value:
        return GRAPH.ones_like(node)
    return [1.0] if node.shape else 1.0
