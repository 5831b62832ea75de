"""Which cluster each node is drawn in, and which clusters are drawn as one box."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase

from graphdiff.draw.picture import Scope
from graphdiff.errors import GraphError
from graphdiff.graph import Graph
from graphdiff.tensor import Tensor, Variable

__all__ = ["collapsed_scopes", "enclosing", "scopes_of"]


def scopes_of(graph: Graph, opened: Collection[str] = ()) -> dict[Tensor, Scope]:
    """Return the scope of every node: of an op where it was made, of a parameter the innermost around all its users.

    A variable counts as a parameter if it stands right of the operator, as weights and biases do, or beside what its
    scope has computed, as the scale of a normalisation does: an input stays in sight when a layer is drawn as one box.
    An unnamed array that is not recorded, such as a mask, belongs to where it is used. What lies in the scopes of
    opened composites are ops only: their operands stay outside.
    """
    found = {node: tuple(node.scope.split("/")) if node.scope else () for node in graph if node.op is not None}
    users: dict[Tensor, list[Scope]] = {}
    leading: set[Tensor] = set()
    for operand, node, position in graph.edges:
        scope = found.get(node, ())
        users.setdefault(operand, []).append(_outside(scope, opened))
        if position == 0 and not any(scope and found.get(other) == scope for other in node.inputs[1:]):
            leading.add(operand)
    for node in graph:
        if node.op is None:
            parameter = node.__class__ is Variable and node not in leading
            inner = parameter or not (node.recorded or node.name)
            found[node] = _common(users.get(node, [()])) if inner else ()
    return found


def _outside(scope: Scope, opened: Collection[str]) -> Scope:
    while any("/".join(part) in opened for part in _around(scope)):
        scope = scope[:-1]
    return scope


def _common(scopes: list[Scope]) -> Scope:
    shared = [part for part in _around(scopes[0]) if all(scope[: len(part)] == part for scope in scopes)]
    return shared[-1] if shared else ()


def _around(scope: Scope) -> list[Scope]:
    """Return a scope and those around it, outermost first."""
    return [scope[:depth] for depth in range(1, len(scope) + 1)]


def collapsed_scopes(scopes: Iterable[Scope], wanted: bool | int | str | Iterable[str]) -> set[Scope]:
    """Return the scopes that are drawn as one box each.

    Parameters
    ----------
    scopes : iterable of tuple of str
        All that occur.
    wanted : bool, int, str or iterable of str
        True for the outermost, a depth from 1, or names: of a scope, of its whole path, or a pattern such as
        ``"linear*"``.

    Raises
    ------
    GraphError
        No scope has that name.
    """
    present = {part for scope in scopes for part in _around(scope)}
    if wanted is False:
        return set()
    if isinstance(wanted, int):
        if wanted < 1:
            raise GraphError(f"collapse is a depth from 1, not {wanted}")
        return {scope for scope in present if len(scope) == int(wanted)}
    found: set[Scope] = set()
    for pattern in [wanted] if isinstance(wanted, str) else wanted:
        matching = {scope for scope in present if _matches("/".join(scope), pattern) or _matches(scope[-1], pattern)}
        if not matching:
            known = ", ".join(sorted("/".join(scope) for scope in present)[:20]) or "none"
            raise GraphError(f"collapse: the graph has no scope {pattern!r}; it has {known}")
        found |= matching
    return found


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)


def enclosing(scopes: Mapping[Tensor, Scope], collapsed: set[Scope]) -> dict[Tensor, Scope]:
    """Return, for each node within a collapsed scope, the outermost such."""
    found = {node: [part for part in _around(scope) if part in collapsed] for node, scope in scopes.items()}
    return {node: parts[0] for node, parts in found.items() if parts}
