"""What every schedule has, and what every schedule asks of its numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import ClassVar, TypeGuard, overload

from graphdiff.errors import OpError
from graphdiff.op import as_tensor
from graphdiff.tensor import Configured, Tensor, Variable, constant

__all__ = ["NOT_NEGATIVE", "POSITIVE", "Schedule", "require", "require_number"]

NOT_NEGATIVE: Mapping[str, float] = {"least": 0.0}
POSITIVE: Mapping[str, float] = {"above": 0.0}


class Schedule(Configured):
    """What every schedule has; subclasses define `at`.

    Examples
    --------
    A schedule of one's own:

    >>> import graphdiff as gd
    >>> class halved(gd.optim.Schedule):
    ...     def at(self, steps):
    ...         return 0.5**steps
    >>> halved()(3)
    0.125
    """

    bounds: ClassVar[Mapping[str, Mapping[str, float]]] = {}
    """Between which limits numbers of it are finite, by name: what `require_number` takes."""

    def __post_init__(self) -> None:
        """Raise OpError where a number is outside its bounds; schedules that are dataclasses call it when made."""
        for name, limits in self.bounds.items():
            require_number(name, getattr(self, name), **limits)

    def at(self, steps: Tensor) -> Tensor | float:
        """Return the value after so many steps, a 0-d float64 Tensor made by graph functions."""
        raise NotImplementedError

    def variables(self) -> list[Variable]:
        """Return what the schedule remembers beyond the number of steps."""
        return [leaf for part in self._within() for leaf in part.variables()]

    def parts(self) -> list[Schedule]:
        """Return this schedule and all that it is made of."""
        return [self, *(inner for part in self._within() for inner in part.parts())]

    def _within(self) -> list[Schedule]:
        values = [part for value in vars(self).values() for part in (value if isinstance(value, tuple) else (value,))]
        return [part for part in values if isinstance(part, Schedule)]

    @overload
    def __call__(self, steps: Tensor) -> Tensor: ...
    @overload
    def __call__(self, steps: float) -> float: ...
    def __call__(self, steps: Tensor | float) -> Tensor | float:
        """Return the value after so many steps: of a Tensor a Tensor, of a number a number."""
        self.use_settings()
        if isinstance(steps, Tensor):
            return as_tensor(self.at(steps))
        return float(as_tensor(self.at(constant(float(steps)))))


def _is_finite(value: object) -> TypeGuard[float]:
    try:
        return isinstance(value, Real) and math.isfinite(value)
    except OverflowError:  # of an integer that no float is as large as
        return False


def require(name: str, value: object, ok: bool = True) -> None:
    """Raise OpError where a value is no finite number, or not `ok` otherwise."""
    if not _is_finite(value) or not ok:
        raise OpError(f"{name} cannot be {value!r}")


def require_number(
    name: str, value: object, least: float = -math.inf, above: float = -math.inf, below: float = math.inf
) -> None:
    """Raise OpError where a value is no finite number that is at least `least`, above `above` and below `below`."""
    require(name, value, _is_finite(value) and least <= float(value) < below and float(value) > above)
