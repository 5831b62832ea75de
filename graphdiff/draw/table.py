"""Evaluation trace tables and the sum over paths, as a lecture writes them."""

from __future__ import annotations

import html
import textwrap
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphdiff import host
from graphdiff.differentiate.forward import tangents
from graphdiff.differentiate.reverse import adjoints, below
from graphdiff.draw.symbols import (
    Symbol,
    Unit,
    escape_latex,
    expression,
    local_derivatives,
    local_symbol,
    names_of,
    number,
    shown,
    symbol_of,
)
from graphdiff.errors import GraphError
from graphdiff.graph import Graph, topological_order
from graphdiff.op import GRAPH, Elementwise
from graphdiff.tensor import Tensor

__all__ = ["Path", "Paths", "Row", "Trace", "align", "clean", "fit", "paths", "trace"]

_WIDEST, _NARROWEST = 60, 18
"""Columns that a cell of a text table takes at most, and that it is given where the terminal is narrow."""


def clean(text: str) -> str:
    """Return text on one line: characters that do not print become their escapes."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def text_width(text: str) -> int:
    """Return how many columns a terminal shows the text in."""
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text
    )


def fit(text: str, width: int) -> str:
    """Return the text cut to a width, the cut marked."""
    if text_width(text) <= width:
        return text
    kept, used = [], 0
    for character in text:
        used += text_width(character)
        if used > width - 1:
            break
        kept.append(character)
    return "".join(kept) + "…"


def align(
    header: Sequence[str], rows: Sequence[Sequence[Sequence[str]]], limit: int = _WIDEST, wrap: bool = False
) -> str:
    """Return a table of cells of several lines as text, columns aligned, longer lines cut or wrapped to `limit`."""

    def lines_of(text: str) -> list[str]:
        kept = fit(text, _WIDEST if wrap else limit)
        return (textwrap.wrap(kept, limit, subsequent_indent="  ") or [""]) if wrap else [kept]

    table = [[[title] for title in header], *rows]
    cells = [[[piece for line in cell for piece in lines_of(line)] for cell in row] for row in table]
    widths = [max([0, *(text_width(line) for row in cells for line in row[column])]) for column in range(len(header))]
    made = []
    for row in cells:
        for position in range(max(1, *(len(cell) for cell in row))):
            parts = [cell[position] if position < len(cell) else "" for cell in row]
            padded = [part + " " * (width - text_width(part)) for part, width in zip(parts, widths, strict=True)]
            made.append("  ".join(padded).rstrip())
        if row is cells[0]:
            made.append("  ".join("─" * width for width in widths))
    return "\n".join(made)


@dataclass
class Row:
    """One line of a trace table; texts as they are shown, and the arrays behind them.

    Attributes
    ----------
    name, expression, value, numeric_value : str
    local_derivatives, running_derivative : tuple of str
    stored : tuple of str
        Whose values the backward step of this row reads: they are kept until then.
    node : Tensor
    derivative : NumPy array or None
        Of this row by the input in forward mode, of the output by this row in reverse mode.
    """

    name: str
    expression: str
    local_derivatives: tuple[str, ...]
    value: str
    numeric_value: str
    running_derivative: tuple[str, ...]
    stored: tuple[str, ...]
    node: Tensor = field(repr=False)
    derivative: Any = field(repr=False)
    latex: tuple[tuple[str, ...], ...] = field(repr=False, default=())

    def cells(self) -> tuple[tuple[str, ...], ...]:
        """Return the row's cells, each its lines."""
        return (
            (self.expression,),
            self.local_derivatives,
            (self.value,),
            (self.numeric_value,),
            self.running_derivative,
            (", ".join(self.stored),),
        )


class Trace:
    """A trace table: `str`, HTML in Jupyter, `latex()`, and `rows`.

    Attributes
    ----------
    rows : list of Row
        In the order in which they are computed.
    mode : {"forward", "reverse"}
    stored : tuple of str
        Reverse mode: every node whose value is kept for the backward pass.
    """

    def __init__(self, rows: list[Row], mode: str, derivative: tuple[str, str], stored: Mapping[Tensor, str]) -> None:
        self.rows = rows
        self.mode = mode
        self._derivative = derivative
        self.stored = tuple(stored.values())
        self.stored_bytes = sum(node.size * node.dtype.itemsize for node in stored)

    @property
    def header(self) -> tuple[str, ...]:
        """The columns' titles."""
        titles = (
            "expression",
            "local derivative",
            "value",
            "numeric value",
            f"running derivative {self._derivative[0]}",
        )
        return (*titles, "stored for it") if self.mode == "reverse" else titles

    def cells(self) -> list[tuple[tuple[str, ...], ...]]:
        """Return the cells below the header, row by row, each as its lines."""
        return [row.cells()[: len(self.header)] for row in self.rows]

    def _note(self) -> str:
        if self.mode != "reverse":
            return ""
        listed = ", ".join(self.stored) or "nothing"
        return f"stored for the backward pass: {listed} ({self.stored_bytes:,} bytes)"

    def text(self, width: int | None = None) -> str:
        """Return the table as text, broken into lines, or stacked, where it would be wider than `width` columns."""
        cells = self.cells()
        made = align(self.header, cells)
        limit = _WIDEST
        while width is not None and max(map(text_width, made.splitlines())) > width:
            limit -= 1
            if limit < _NARROWEST:
                made = self._stacked()
                break
            made = align(self.header, cells, limit, wrap=True)
        lines = made.splitlines()
        if self._note():
            lines.append(fit(self._note(), 200))
        return "\n".join(lines if width is None else [fit(line, width) for line in lines])

    def _stacked(self) -> str:
        """Return the table with its cells below each other."""
        titles = [fit(title, 32) for title in self.header]
        indentation = max(map(text_width, titles)) + 2
        lines: list[str] = []
        for first, *cells in self.cells():
            lines.extend(first)
            for title, cell in zip(titles[1:], cells):
                for position, line in enumerate(filter(None, cell)):
                    head = title if position == 0 else ""
                    lines.append(f"  {head}{' ' * (indentation - text_width(head))}{line}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return str(self)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str | int) -> Row:
        if isinstance(name, int):
            return self.rows[name]
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    def html(self) -> str:
        """Return the table as HTML, every text escaped."""
        head = "".join(f"<th scope='col'>{html.escape(title)}</th>" for title in self.header)
        body = "".join(
            "<tr>" + "".join(f"<td>{'<br>'.join(map(html.escape, cell))}</td>" for cell in row) + "</tr>"
            for row in self.cells()
        )
        note = f"<caption style='caption-side:bottom'>{html.escape(self._note())}</caption>" if self._note() else ""
        return f"<table class='graphdiff-trace'>{note}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _repr_html_(self) -> str:
        return self.html()

    def latex(self) -> str:
        r"""Return the table as LaTeX: a `tabular` that needs `\usepackage{amsmath}` and T1 fonts."""
        titles = [escape_latex(title) for title in self.header]
        titles[4] = f"running derivative ${self._derivative[1]}$"
        lines = [rf"\begin{{tabular}}{{{'l' * len(titles)}}}", r"\hline", " & ".join(titles) + r" \\", r"\hline"]
        for row in self.rows:
            cells = []
            for cell in row.latex[: len(titles)]:
                parts = [f"${part}$" for part in cell if part]
                inner = r" \\ ".join(parts)
                cells.append(inner if len(parts) < 2 else rf"\begin{{tabular}}[t]{{@{{}}l@{{}}}}{inner}\end{{tabular}}")
            lines.append(" & ".join(cells) + r" \\")
        return "\n".join([*lines, r"\hline", r"\end{tabular}"])

    def _repr_latex_(self) -> str:
        return self.latex()


def trace(
    output: Tensor,
    *,
    mode: str = "reverse",
    wrt: Tensor | None = None,
    seed: Any = None,
    named: bool = False,
    digits: int = 8,
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
    digits : int
        Significant digits of numbers.

    Returns
    -------
    Trace

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
    return _Tracer(output, mode, wrt, seed, named, digits).table()


class _Tracer:
    """One table in the making."""

    def __init__(self, output: Tensor, mode: str, wrt: Tensor | None, seed: Any, named: bool, digits: int) -> None:
        self.output, self.mode, self.digits = output, mode, digits
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
        self.names = {node: clean(title) for node, title in names_of(kept).items()}
        self.rows = set(kept)
        self.kept = kept
        self.others = {node: clean(title) for node, title in names_of([n for n in graph.nodes if n.name]).items()}
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
        return symbol_of(node, self.names if node in self.names else self.others)

    def figure(self, node: Tensor) -> Symbol:
        """Return a node's number, to stand in its name's place."""
        if not node.has_value or node.size != 1 or node.shape:
            return self.symbol(node)
        text = number(node.item(), self.digits)
        return _figure(text)

    def group(self, node: Tensor) -> list[Tensor]:
        """Return the nodes that a row stands for, in topological order: itself and unnamed ones below it."""
        seen, pending = {node}, [node]
        while pending:
            for operand in pending.pop().inputs:
                if operand.op is not None and operand not in self.rows and operand not in seen and not operand.name:
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
        symbols: dict[Tensor, Symbol] = {last: Unit("1")}
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
        if self.mode == "forward":
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
        derived, derived_latex = [], []
        for operand, (symbol, figure) in parts.items():
            by = self.symbol(operand)
            text = f"∂{name.text}/∂{by.text} = {symbol.text}"
            latex = rf"\partial {name.latex}/\partial {by.latex} = {symbol.latex}"
            if figure is not None and symbol.uses:
                value = host.as_host(figure)
                tail = shown(value, self.digits)
                text += f" = {tail}"
                latex += f" = {_plain_latex(tail)}"
            derived.append(text)
            derived_latex.append(latex)
        running, running_latex = self.running(node, parts, local, users)
        found = self.derivative.get(node)
        array = found.numpy() if found is not None and found.has_value else None
        numeric = shown(node.numpy(), self.digits) if node.has_value else ""
        uses = {each for symbol, _ in parts.values() for each in symbol.uses}
        stored = [self.symbol(each) for each in sorted(uses, key=lambda each: each.serial)]
        return Row(
            name.text,
            written[0],
            tuple(derived),
            valued[0],
            numeric,
            (running,),
            tuple(each.text for each in stored),
            node,
            array,
            (
                (written[1],),
                tuple(derived_latex),
                (valued[1],),
                (_plain_latex(numeric),),
                (running_latex,),
                (", ".join(each.latex for each in stored),),
            ),
        )

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
            return result, _plain_latex(result)
        total: Symbol | None = None
        for symbol, figure, other in terms:
            carried = self.derivative.get(other)
            scalar = figure is not None and host.as_host(figure).shape == ()
            if carried is not None and carried.shape:
                scalar = False
            if scalar and (carried is None or carried.has_value):
                one = _figure(number(host.as_host(figure).item(), self.digits))
                two = _figure(number(carried.item() if carried is not None else 0.0, self.digits))
            else:
                by = self.symbol(other)
                end = self.symbol(self.wrt if self.mode == "forward" else self.output)  # type: ignore[arg-type]
                above, under = (by, end) if self.mode == "forward" else (end, by)
                one = symbol
                two = Symbol(
                    f"∂{above.text}/∂{under.text}", rf"\frac{{\partial {above.latex}}}{{\partial {under.latex}}}"
                )
                if above is under or above.text == under.text:
                    two = Symbol("1")
            first, second = (one, two) if self.mode == "forward" else (two, one)
            term = first._join(second, ("·", r" \cdot "), 3)
            total = term if total is None else total._join(term, (" + ", " + "), 2)
        assert total is not None
        if not result:
            return total.text, total.latex
        return f"{total.text} = {result}", f"{total.latex} = {_plain_latex(result)}"


def _figure(text: str) -> Symbol:
    return Symbol(text, _plain_latex(text), 3 if text.startswith("−") else 5)


def _plain_latex(text: str) -> str:
    """Return numbers as LaTeX mathematics."""
    made = text.replace("−", "-").replace("inf", r"\infty").replace("nan", r"\text{nan}")
    if "e" in made and not made.startswith("[") and "mean" not in made and "float" not in made:
        head, _, tail = made.partition("e")
        return rf"{head} \cdot 10^{{{int(tail)}}}"
    return made if made.lstrip("[").lstrip("-")[:1].isdigit() or "infty" in made else rf"\text{{{escape_latex(text)}}}"


def _ones(node: Tensor) -> Any:
    return GRAPH.ones_like(node) if node.has_value else 1.0 if not node.shape else [1.0]


# The sum over paths ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Path:
    """One path from an input to an output.

    Attributes
    ----------
    nodes : tuple of Tensor
        From the input to the output.
    derivatives : tuple of float
        On the edges between them.
    product : float
    """

    nodes: tuple[Tensor, ...]
    derivatives: tuple[float, ...]
    names: tuple[str, ...]

    @property
    def product(self) -> float:
        """The product of the edges' derivatives."""
        result = 1.0
        for each in self.derivatives:
            result *= each
        return result

    def __str__(self) -> str:
        factors = "·".join(_signed(each) for each in reversed(self.derivatives)) or "1"
        return f"{' → '.join(self.names)}: {factors} = {number(self.product)}"


def _signed(value: float) -> str:
    text = number(value)
    return f"({text})" if text.startswith("−") else text


class Paths:
    """All paths from `x` to `y`: iterate over them, count them, or sum them without listing.

    Attributes
    ----------
    count : int
        How many there are, by one pass over the edges.
    total : float
        The sum of their products, the derivative, by one pass over the edges.
    multiplications : int
        What the sum costs path by path.
    factored_multiplications : int
        What it costs by one pass.
    steps : list of str
        The one pass, a line for each node: the factored form.
    """

    def __init__(self, y: Tensor, x: Tensor) -> None:
        order = topological_order([y])
        if x not in set(order):
            raise GraphError(f"no path leads from {x.describe()} to {y.describe()}")
        self.y, self.x = y, x
        self._between = below(order, [x])
        self._order = [node for node in order if node in self._between and node.serial >= x.serial]
        self._names = {node: clean(title) for node, title in names_of(order).items()}
        if any(node.size != 1 for node in self._order):
            raise GraphError("paths are of scalar expressions: some node between has more than one element")
        y.value  # noqa: B018 - raises if a placeholder is not fed
        self._edges: dict[Tensor, list[tuple[Tensor, float]]] = {}
        counts: dict[Tensor, int] = {x: 1}
        lengths: dict[Tensor, int] = {x: 0}
        for node in self._order:
            if node is x or node.op is None:
                continue
            parts = local_derivatives(node)
            self._edges[node] = [
                (operand, 0.0 if part is None else float(part.reshape(()).item()))
                for operand, part in zip(node.inputs, parts, strict=True)
                if operand in self._between
            ]
            counts[node] = sum(counts[operand] for operand, _ in self._edges[node])
            lengths[node] = sum(lengths[operand] + counts[operand] for operand, _ in self._edges[node])
        self.count = counts[y]
        self.multiplications = max(lengths[y] - counts[y], 0)
        self._factor()

    def _factor(self) -> None:
        above: dict[Tensor, list[tuple[Tensor, list[float]]]] = {}
        for node in reversed(self._order):
            grouped: dict[Tensor, list[float]] = {}
            for operand, part in self._edges.get(node, ()):
                grouped.setdefault(operand, []).append(part)
            for operand, parts in grouped.items():
                above.setdefault(operand, []).append((node, parts))
        adjoint = {self.y: 1.0}
        self.steps = [f"∂{self._names[self.y]}/∂{self._names[self.y]} = 1"]
        self.factored_multiplications = 0
        texts: dict[Tensor, str | None] = {self.y: ""}
        for node in reversed(self._order):
            if node is self.y:
                continue
            terms, nested = [], []
            total = 0.0
            for user, parts in above.get(node, ()):
                total += adjoint[user] * sum(parts)
                self.factored_multiplications += user is not self.y
                summed = " + ".join(map(_signed, parts))
                inner = f"({summed})" if len(parts) > 1 else summed
                terms.append(f"{_signed(adjoint[user])}·{inner}")
                outer = texts[user]
                nested.append(None if outer is None else f"{outer}·{inner}" if outer else inner)
            adjoint[node] = total
            self.steps.append(f"∂{self._names[self.y]}/∂{self._names[node]} = {' + '.join(terms)} = {number(total)}")
            joined = None if any(each is None for each in nested) else " + ".join(nested)  # type: ignore[arg-type]
            if joined is not None and len(nested) > 1:
                joined = f"({joined})"
            texts[node] = joined if joined is not None and len(joined) < 120 else None
        self.total = adjoint[self.x]
        whole = texts[self.x]
        if whole is not None and len(above.get(self.x, ())) > 1:
            whole = whole[1:-1]
        self.factored: str | None = whole if self.x is not self.y else "1"
        """The factored form in one line, or None where that is long: `steps` has it line by line."""

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Path]:
        """Yield every path. Their number explodes: `count` tells it beforehand."""
        trail: list[tuple[Tensor, float]] = []
        pending: list[tuple[int, Tensor, float]] = [(0, self.y, 1.0)]
        while pending:
            depth, node, part = pending.pop()
            del trail[depth:]
            trail.append((node, part))
            if node is self.x:
                nodes = tuple(each for each, _ in reversed(trail))
                derivatives = tuple(each for _, each in reversed(trail[1:]))
                yield Path(nodes, derivatives, tuple(self._names[each] for each in nodes))
                continue
            for operand, edge in reversed(self._edges[node]):
                pending.append((depth + 1, operand, edge))

    def __str__(self) -> str:
        many = f"{self.count:,} path{'s' * (self.count != 1)} from {self._names[self.x]} to {self._names[self.y]}"
        lines = [many]
        for position, path in enumerate(self):
            if position == 20:
                lines.append(f"  … and {self.count - 20:,} more")
                break
            lines.append(f"  {path}")
        lines.append(f"sum of products: {number(self.total)} ({self.multiplications:,} multiplications)")
        if self.factored is not None:
            lines.append(f"factored: {self.factored} ({self.factored_multiplications:,} multiplications)")
        else:
            lines.append(f"factored, node by node ({self.factored_multiplications:,} multiplications):")
            lines.extend(f"  {fit(step, 100)}" for step in self.steps[:20])
            if len(self.steps) > 20:
                lines.append(f"  … and {len(self.steps) - 20:,} more")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def paths(y: Tensor, x: Tensor) -> Paths:
    """Return all paths from `x` to `y` with the products of their edges' derivatives.

    Parameters
    ----------
    y, x : Tensor
        Scalars, as is all between them.

    Returns
    -------
    Paths

    Examples
    --------
    >>> import graphdiff as gd
    >>> a, b = gd.variable(2.0, name="a"), gd.variable(1.0, name="b")
    >>> c, d = (a + b).named("c"), (b + 1).named("d")
    >>> print(gd.paths((c * d).named("e"), b))
    2 paths from b to e
      b → c → e: 2·1 = 2
      b → d → e: 3·1 = 3
    sum of products: 5 (2 multiplications)
    factored: 3·1 + 2·1 (2 multiplications)
    """
    return Paths(y, x)
