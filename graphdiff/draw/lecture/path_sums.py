"""The sum over paths: a derivative as the sum, over all paths, of the products of the edges' derivatives."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from graphdiff.arguments import require_tensor
from graphdiff.differentiate.reverse import below
from graphdiff.draw.lecture.partials import local_derivatives
from graphdiff.draw.lecture.symbols import number
from graphdiff.draw.names import names_of
from graphdiff.errors import GraphError
from graphdiff.graph import Graph, topological_order
from graphdiff.guard import guarded
from graphdiff.tensor import Tensor
from graphdiff.text.columns import clean, fit
from graphdiff.text.quoting import html_text

__all__ = ["Path", "Paths", "paths"]


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
        return math.prod(self.derivatives, start=1.0)

    def __str__(self) -> str:
        factors = "·".join(_signed(each) for each in reversed(self.derivatives)) or "1"
        return f"{' → '.join(self.names)}: {factors} = {number(self.product)}"


def _signed(value: float) -> str:
    text = number(value)
    return f"({text})" if text.startswith("−") else text


def _summed(terms: Iterable[str]) -> str:
    """Return a sum as a factor."""
    listed = list(terms)
    return f"({' + '.join(listed)})" if len(listed) > 1 else "".join(listed)


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
        self._names = {node: clean(title) for node, title in names_of(Graph(y).nodes).items()}
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
        above: dict[Tensor, dict[Tensor, list[float]]] = {}
        for user in reversed(self._order):
            for operand, part in self._edges.get(user, ()):
                above.setdefault(operand, {}).setdefault(user, []).append(part)
        adjoint = {self.y: 1.0}
        self.steps = [f"∂{self._names[self.y]}/∂{self._names[self.y]} = 1"]
        self.factored_multiplications = 0
        texts: dict[Tensor, str | None] = {self.y: ""}
        for node in reversed(self._order[:-1]):  # the last is y
            users = above[node]
            written = {user: _summed(map(_signed, parts)) for user, parts in users.items()}
            adjoint[node] = sum(adjoint[user] * sum(parts) for user, parts in users.items())
            self.factored_multiplications += sum(user is not self.y for user in users)
            terms = " + ".join(f"{_signed(adjoint[user])}·{inner}" for user, inner in written.items())
            self.steps.append(f"∂{self._names[self.y]}/∂{self._names[node]} = {terms} = {number(adjoint[node])}")
            nested = _summed("·".join(filter(None, (texts[user], inner))) for user, inner in written.items())
            short = len(nested) < 120 and all(texts[user] is not None for user in users)
            texts[node] = nested if short else None
        self.total = adjoint[self.x]
        whole = texts[self.x]
        if whole is not None and len(above.get(self.x, ())) > 1:  # without its parentheses
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
        return f"<pre>{html_text(str(self))}</pre>"


@guarded
def paths(y: Tensor, x: Tensor) -> Paths:
    """Return all paths from `x` to `y` with the products of their edges' derivatives.

    Parameters
    ----------
    y, x : Tensor
        Scalars, as is all between them.

    Returns
    -------
    Paths

    Raises
    ------
    GraphError
        No path leads from `x` to `y`, or a node between them has more than one element.
    NoValueError
        A placeholder below `y` is not fed.

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
    require_tensor(y, "the end of a path")
    require_tensor(x, "the beginning of a path")
    return Paths(y, x)
