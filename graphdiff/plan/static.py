"""Arguments and settings that are part of a signature by their value: when two are one and the same to any code."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from numbers import Number
from typing import Any

from graphdiff.tensor import Same

__all__ = ["Static", "static_key"]


class Static:
    """An argument that is part of the signature by its value."""

    __slots__ = ("key", "value")

    def __init__(self, value: Any) -> None:
        self.key, self.value = static_key(value), value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Static) and other.key == self.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return repr(self.value)


def static_key(value: Any) -> Any:
    """Return what is equal for two values that no code can tell apart by type or value, and hashable if they are.

    1, 1.0 and True are three values, at any depth of tuples, frozen sets and frozen dataclasses, and so are 0.0 and
    -0.0. NaN is one.

    Examples
    --------
    >>> static_key((1, 2)) == static_key((1.0, 2)), static_key(0.0) == static_key(-0.0)
    (False, False)
    """
    kind = value.__class__
    if value is None or kind is str or kind is int or kind is bool:
        return kind, value
    if isinstance(value, tuple):
        return kind, tuple([static_key(item) for item in value])
    if isinstance(value, frozenset):
        return kind, frozenset([static_key(item) for item in value])
    if isinstance(value, slice):
        return kind, static_key((value.start, value.stop, value.step))
    if isinstance(value, range):
        return kind, value.start, value.stop, value.step
    if isinstance(value, Number):
        # The text tells signs of zero apart. NaN is no number that equals itself.
        return kind, value if value == value else None, repr(value)
    if is_dataclass(value) and not isinstance(value, type):
        held = [(getattr(value, entry.name), entry.compare) for entry in fields(value)]
        return kind, value, tuple([static_key(item) if compared else Same(item) for item, compared in held])
    return kind, value
