"""The short names by which drawings, tables and traces call a graph's nodes: the same in all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from graphdiff.draw.picture import grouped
from graphdiff.graph import kind_of
from graphdiff.tensor import Tensor

__all__ = ["names_of", "plain_name"]

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_PLAIN = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")


def names_of(nodes: Sequence[Tensor]) -> dict[Tensor, str]:
    """Return a short name for every node that is no unnamed literal.

    A node's own name, with an index where several have it; otherwise v₁, v₂, … for ops, x₁, … for inputs and k₁, … for
    constants. The indices of parameters count the layers, so that W₂ and b₂ belong together.

    Parameters
    ----------
    nodes : sequence of Tensor
        All of a graph, in topological order: of a part of them the names would be others.

    Examples
    --------
    >>> import graphdiff as gd
    >>> model = gd.nn.MLP([3, 2], in_features=4)
    >>> sorted(names_of(gd.Graph(model(gd.placeholder((1, 4), "float32", name="x"))).nodes).values())
    ['W₁', 'W₂', 'b₁', 'b₂', 'v₁', 'v₂', 'v₃', 'v₄', 'v₅', 'x']
    """
    taken = {plain_name(node.name) for node in nodes if node.name}
    numbers = _numbers_of_repeated(nodes)
    counts: Counter[str] = Counter()
    found: dict[Tensor, str] = {}
    for node in nodes:
        if node.name:
            found[node] = node.name
            if node in numbers:
                found[node] = _indexed(node.name, numbers[node])
                while plain_name(found[node]) in taken:
                    found[node] += "′"
                taken.add(plain_name(found[node]))
        elif node.op is not None or node.recorded or node.size != 1:
            stem = _stem(node)
            counts[stem] += 1
            while f"{stem}{counts[stem]}" in taken:
                counts[stem] += 1
            found[node] = _indexed(stem, counts[stem])
    return found


def plain_name(name: str) -> str:
    """Return a name as it is typed, W1 for W₁.

    Examples
    --------
    >>> plain_name("W₁₂")
    'W12'
    """
    return name.translate(_PLAIN)


def _stem(node: Tensor) -> str:
    return {"op": "v", "constant": "k"}.get(kind_of(node), "x")


def _indexed(name: str, number: int) -> str:
    """Return W₂; of a name that ends in a figure x1_2, since x1₂ would read as x₁₂."""
    return f"{name}_{number}" if name[-1].isdigit() else f"{name}{str(number).translate(_SUBSCRIPTS)}"


def _numbers_of_repeated(nodes: Sequence[Tensor]) -> dict[Tensor, int]:
    """Number the nodes whose name others have too: by layer where each name is there once, otherwise as they come."""
    occurring = Counter(node.name for node in nodes if node.name)
    repeated = [node for node in nodes if node.name and occurring[node.name] > 1]
    if not repeated:
        return {}
    scopes = _scopes_of(nodes)
    order = {scope: place for place, scope in enumerate(dict.fromkeys(node.scope for node in nodes if node.op))}
    occurrences = grouped((scopes[node], str(node.name)) for node in repeated)
    inside = {scope: Counter(names) for scope, names in occurrences.items()}
    family = _families(names for scope, names in inside.items() if scope)
    unclear = {
        family.get(name, name)
        for scope, names in inside.items()
        for name, count in names.items()
        if not scope or count > 1
    }
    layers: dict[str, dict[str, int]] = {}
    for scope in sorted(inside, key=lambda scope: order.get(scope, -1)):
        first = next(iter(inside[scope]))
        known = layers.setdefault(family.get(first, first), {})
        known[scope] = len(known) + 1
    came: Counter[str] = Counter()
    numbers = {}
    for node in repeated:
        name = str(node.name)
        came[name] += 1
        leader = family.get(name, name)
        numbers[node] = came[name] if leader in unclear else layers[leader][scopes[node]]
    return numbers


def _scopes_of(nodes: Sequence[Tensor]) -> dict[Tensor, str]:
    """Return the scope of every op, and for a leaf that of the first op that reads it."""
    found = {node: node.scope for node in nodes if node.op is not None}
    for node in nodes:
        for operand in node.inputs:
            if operand.op is None:
                found.setdefault(operand, node.scope)
    return {node: found.get(node, "") for node in nodes}


def _families(groups: Iterable[Collection[str]]) -> dict[str, str]:
    """Return, for each name, one that stands for all that occur together with it, directly or through others."""
    families: list[set[str]] = []
    for names in groups:
        joined = set(names).union(*(family for family in families if not family.isdisjoint(names)))
        families = [joined, *(family for family in families if family.isdisjoint(joined))]
    return {name: min(family) for family in families for name in family}
