"""Seconds and bytes as text, in the unit that suits them."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["bytes_text", "seconds_text"]

_SECONDS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9))
_BYTES = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0))


def seconds_text(seconds: float) -> str:
    """Return a time with three digits.

    Examples
    --------
    >>> seconds_text(0.000012)
    '12 µs'
    """
    return _scaled(seconds, _SECONDS)


def bytes_text(nbytes: float) -> str:
    """Return a number of bytes with three digits, a kilobyte being 1000 of them.

    Examples
    --------
    >>> bytes_text(45_544)
    '45.5 kB'
    """
    return _scaled(nbytes, _BYTES)


def _scaled(value: float, units: Sequence[tuple[str, float]]) -> str:
    """Return a value in the largest unit that it reaches, or else in the smallest."""
    unit, size = next((pair for pair in units if value >= pair[1]), units[-1])
    return f"{value / size:.3g} {unit}"
