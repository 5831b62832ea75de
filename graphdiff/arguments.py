"""What functions take besides tensors: counts, shapes, axes, numbers, names, functions; what will not do is told."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from numbers import Real
from typing import Any, TypeVar

from graphdiff import host
from graphdiff.errors import DTypeError, GraphError, OpError, ShapeError
from graphdiff.typing import Described

Operand = TypeVar("Operand", bound=Described)
Part = TypeVar("Part")

__all__ = [
    "axis_of",
    "chosen",
    "lengths",
    "listed",
    "number",
    "real_floating",
    "require_function",
    "require_real",
    "require_tensor",
    "truth",
    "whole",
    "wholes",
]


def whole(value: Any, asked: str, least: int | None = None) -> int:
    """Return an integer as Python's.

    Parameters
    ----------
    value
        What was given.
    asked : str
        What it is, for the error: "roll: a shift".
    least : int, optional
        The smallest that will do.

    Raises
    ------
    ShapeError
        It is no integer, or smaller.
    """
    if value.__class__ is int and (least is None or value >= least):
        return value
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or (least is not None and number < least):
        bound = "" if least is None else f" that is at least {least}"
        raise ShapeError(f"{asked} is an integer{bound}, not {value!r}")
    return number


def wholes(value: object, asked: str, least: int | None = None) -> tuple[int, ...]:
    """Return an integer, or a sequence or array of them, as a tuple; see `whole`."""
    if isinstance(value, (tuple, list, range)):
        return tuple(whole(each, asked, least) for each in value)
    if host.is_host_array(value) and value.ndim == 1:
        return tuple(whole(each, asked, least) for each in value.tolist())
    return (whole(value, asked, least),)


def lengths(shape: object, name: str) -> host.Shape:
    """Return a shape, given as one length or a sequence of lengths."""
    return wholes(shape, f"{name}: a length of a shape", 0)


def number(value: float, asked: str, least: float | None = None, most: float | None = None) -> float:
    """Return a real number that is not NaN, Python's or NumPy's, between two others where they are given."""
    fits = isinstance(value, Real) and not isinstance(value, bool) and value == value
    if not fits or (least is not None and value < least) or (most is not None and value > most):
        bounds = [f"{word} {bound}" for word, bound in (("at least", least), ("at most", most)) if bound is not None]
        raise OpError(f"{asked} is a number{' that is ' if bounds else ''}{' and '.join(bounds)}, not {value!r}")
    return value


def truth(value: object, asked: str) -> bool:
    """Return a truth value, Python's or NumPy's, as Python's."""
    if isinstance(value, bool):
        return value
    if not (isinstance(value, int) or (host.is_host_array(value) and not value.ndim and value.dtype.kind in "biu")):
        raise OpError(f"{asked} is True or False, not {value!r}")
    return bool(value)


def chosen(value: object, known: Iterable[str], asked: str) -> str:
    """Return one of some names."""
    if not isinstance(value, str) or value not in known:
        raise OpError(f"there is no {asked} {value!r}; there are {', '.join(known)}")
    return value


def require_function(function: object, name: str) -> None:
    """Refuse what cannot be called where a function is asked."""
    if not callable(function):
        raise GraphError(f"{name} takes a function, not {function!r}")


def require_tensor(value: object, asked: str) -> None:
    """Refuse what is no node of a graph where one is asked: an array has no place in it."""
    if not hasattr(value, "recorded"):
        raise GraphError(f"{asked} is a Tensor, not {value!r}")


def axis_of(x: Described, axis: object, name: str) -> int:
    """Return one axis of x, counted from the front."""
    number, rank = whole(axis, f"{name}: an axis"), x.ndim
    if not -rank <= number < rank:
        raise ShapeError(f"{name}({x.describe()}): axis {number} is out of bounds for array of dimension {rank}")
    return number % rank


def listed(parts: Iterable[Part], name: str) -> list[Part]:
    """Return a sequence of parts to join as a list."""
    if isinstance(parts, Iterable) and not isinstance(parts, (str, bytes)):
        return list(parts)
    raise ShapeError(f"{name} takes a sequence of tensors, not {parts!r}")


def real_floating(x: Operand, name: str) -> Operand:
    """Return x as a real floating tensor: integers and booleans become float64.

    Raises
    ------
    DTypeError
        It is complex: its imaginary part would be dropped.
    """
    if x.dtype.kind == "f":
        return x
    require_real(x, name)
    result: Operand = x.astype("float64")
    return result


def require_real(x: Described, name: str) -> None:
    """Refuse complex numbers where what is computed would not be right for them."""
    if x.dtype.kind == "c":
        raise DTypeError(
            f"{name} is of real numbers, and {x.describe()} is complex. Compute with the real and the imaginary part "
            "as two real tensors, or with NumPy's own function on x.numpy()."
        )
