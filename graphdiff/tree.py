"""Nested tuples, lists and dicts of tensors: flattened to a list of leaves, and put together again."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, TypeAlias

from graphdiff.errors import ShapeError

__all__ = ["Structure", "flatten", "leaf_paths", "leaves_like", "map_leaves", "unflatten"]

Structure: TypeAlias = "tuple[type, tuple[Hashable, ...] | None, tuple[Structure, ...]] | None"
"""What `flatten` remembers: None for a leaf, else (container type, keys, structures of the items)."""


def flatten(tree: object) -> tuple[list[Any], Structure]:
    """Return the leaves of `tree` in order, and the structure that `unflatten` needs.

    Dicts are walked in order of insertion; None is a leaf.

    Examples
    --------
    >>> leaves, structure = flatten({"w": 1, "b": (2, 3)})
    >>> leaves
    [1, 2, 3]
    >>> unflatten(structure, [10, 20, 30])
    {'w': 10, 'b': (20, 30)}
    """
    leaves: list[object] = []
    return leaves, _flatten_into(tree, leaves)


def _flatten_into(tree: object, leaves: list[object]) -> Structure:
    if isinstance(tree, dict):
        return (dict, tuple(tree), tuple(_flatten_into(item, leaves) for item in tree.values()))
    if isinstance(tree, (tuple, list)):
        return (type(tree), None, tuple(_flatten_into(item, leaves) for item in tree))
    leaves.append(tree)
    return None


def unflatten(structure: Structure, leaves: Sequence[object]) -> Any:
    """Put `leaves` back into the containers that `flatten` took them from."""
    return _unflatten_from(structure, iter(leaves))


def _unflatten_from(structure: Structure, leaves: Iterator[object]) -> object:
    if structure is None:
        return next(leaves)
    container, keys, items = structure
    rebuilt = [_unflatten_from(item, leaves) for item in items]
    if keys is not None:
        return dict(zip(keys, rebuilt, strict=True))
    if hasattr(container, "_fields"):
        return container(*rebuilt)
    return container(rebuilt)


def leaves_like(structure: Structure, tree: Any, title: str) -> list[Any]:
    """Return the leaves of `tree` in the order of `structure`: items of dicts go by their keys.

    Tuples and lists may stand for each other, and a list of numbers for a leaf that is an array.

    Parameters
    ----------
    structure : Structure
    tree : nested tuples, lists and dicts
    title : str
        What the tree is, for the error.

    Raises
    ------
    ShapeError
        Where the two first differ.

    Examples
    --------
    >>> _, structure = flatten({"w": 1, "b": (2, 3)})
    >>> leaves_like(structure, {"b": [20, 30], "w": 10}, "the tangent")
    [10, 20, 30]
    """
    if structure is None:
        if isinstance(tree, dict):
            raise ShapeError(f"{title} is a dict where an array is expected")
        return [tree]
    container, keys, items = structure
    if keys is not None:
        if not isinstance(tree, dict) or tree.keys() != set(keys):
            given = f"a dict with the keys {list(tree)}" if isinstance(tree, dict) else f"a {type(tree).__name__}"
            raise ShapeError(f"{title} is {given} where a dict with the keys {list(keys)} is expected")
    elif not isinstance(tree, (tuple, list)) or len(tree) != len(items):
        size = f" of {len(tree)}" if isinstance(tree, (tuple, list)) else ""
        raise ShapeError(
            f"{title} is a {type(tree).__name__}{size} where a {container.__name__} of {len(items)} is expected"
        )
    places = range(len(items)) if keys is None else keys
    return [
        leaf
        for place, item in zip(places, items, strict=True)
        for leaf in leaves_like(item, tree[place], f"{title}[{place!r}]")
    ]


def leaf_paths(structure: Structure) -> list[str]:
    """Return how to index each leaf, in order.

    Examples
    --------
    >>> leaf_paths(flatten({"w": 1, "b": (2, 3)})[1])
    ["['w']", "['b'][0]", "['b'][1]"]
    """
    if structure is None:
        return [""]
    _, keys, items = structure
    places = range(len(items)) if keys is None else keys
    return [f"[{place!r}]{rest}" for place, item in zip(places, items, strict=True) for rest in leaf_paths(item)]


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """Apply `function` to every leaf and keep the structure."""
    leaves, structure = flatten(tree)
    return unflatten(structure, [function(leaf) for leaf in leaves])
