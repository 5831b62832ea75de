"""Nested tuples, lists and dicts of tensors: flattened to a list of leaves, and put together again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["Structure", "flatten", "map_leaves", "unflatten"]

Structure = Any
"""What `flatten` remembers: None for a leaf, else (container type, keys, structures of the items)."""


def flatten(tree: Any) -> tuple[list[Any], Structure]:
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
    leaves: list[Any] = []
    return leaves, _flatten_into(tree, leaves)


def _flatten_into(tree: Any, leaves: list[Any]) -> Structure:
    if isinstance(tree, dict):
        return (dict, tuple(tree), tuple(_flatten_into(item, leaves) for item in tree.values()))
    if isinstance(tree, (tuple, list)):
        return (type(tree), None, tuple(_flatten_into(item, leaves) for item in tree))
    leaves.append(tree)
    return None


def unflatten(structure: Structure, leaves: list[Any]) -> Any:
    """Put `leaves` back into the containers that `flatten` took them from."""
    return _unflatten_from(structure, iter(leaves))


def _unflatten_from(structure: Structure, leaves: Iterator[Any]) -> Any:
    if structure is None:
        return next(leaves)
    container, keys, items = structure
    rebuilt = [_unflatten_from(item, leaves) for item in items]
    if container is dict:
        return dict(zip(keys, rebuilt, strict=True))
    if hasattr(container, "_fields"):
        return container(*rebuilt)
    return container(rebuilt)


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """Apply `function` to every leaf and keep the structure."""
    leaves, structure = flatten(tree)
    return unflatten(structure, [function(leaf) for leaf in leaves])
