"""The schedule that follows a metric."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from numbers import Real

from graphdiff.errors import OpError
from graphdiff.op import as_tensor
from graphdiff.optim.schedules.combinations import as_schedule
from graphdiff.optim.schedules.schedule import Schedule, require, require_number
from graphdiff.tensor import Tensor, Variable, variable

__all__ = ["reduce_on_plateau"]


@dataclass(eq=False)
class reduce_on_plateau(Schedule):
    """Times `factor` whenever a metric, told to it by `update`, has not improved for a while.

    `gd.train.fit` tells it after each epoch: the loss, or with ``mode="max"`` the accuracy, of the validation data if
    there are any.

    Parameters
    ----------
    initial : float or Schedule
        What is reduced.
    factor : float
    patience : int
        So many updates without improvement are borne; the next one reduces.
    threshold : float
        The relative improvement that counts.
    cooldown : int
        So many updates after a reduction are not counted.
    mode : {"min", "max"}
        Whether smaller or larger metrics are better.
    reductions : int, optional
        Reduce so many times at most; the plateau after the last sets `finished`, when training may stop.

    Attributes
    ----------
    finished : bool

    Notes
    -----
    As torch.optim.lr_scheduler.ReduceLROnPlateau counts, which also bears `patience` updates.

    Examples
    --------
    >>> import graphdiff as gd
    >>> rate = gd.optim.schedules.reduce_on_plateau(1.0, factor=0.1, patience=1)
    >>> w = gd.variable(3.0)
    >>> optimizer = gd.optim.SGD([w], lr=rate)
    >>> [rate.update(loss) for loss in (4.0, 3.0, 3.0, 3.0)]
    [False, False, False, True]
    >>> optimizer.lr
    0.1
    """

    initial: Schedule | float
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    cooldown: int = 0
    mode: str = "min"
    reductions: int | None = None
    _memory: Variable = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.initial = as_schedule(self.initial)
        require("factor", self.factor, isinstance(self.factor, Real) and 0 < self.factor < 1)
        for name in ("patience", "threshold", "cooldown"):
            require_number(name, getattr(self, name), least=0)
        if self.mode not in ("min", "max"):
            raise OpError(f'mode is "min" or "max", not {self.mode!r}')
        if self.reductions is not None:
            require_number("reductions", self.reductions, least=0)
        # [factor so far, best metric, updates without improvement, updates left to cool down, reductions, finished]
        best = math.inf if self.mode == "min" else -math.inf
        self._memory = variable([1.0, best, 0.0, 0.0, 0.0, 0.0], name="plateau")

    def at(self, steps: Tensor) -> Tensor:
        return as_schedule(self.initial)(steps) * as_tensor(self._memory)[0]

    def variables(self) -> list[Variable]:
        return [*super().variables(), self._memory]

    @property
    def finished(self) -> bool:
        """Whether there was another plateau after the last reduction."""
        return bool(self._memory.numpy()[5])

    def update(self, metric: float) -> bool:
        """Take notice of a metric, once per epoch; return whether the value was reduced."""
        metric = float(metric)
        scale, best, waited, cooling, made, finished = self._memory.tolist()
        sign = 1 if self.mode == "min" else -1
        bound = best * (1 - sign * self.threshold) if math.isfinite(best) else best
        if sign * metric < sign * bound:
            best, waited = metric, 0.0
        else:
            waited += 1
        if cooling > 0:
            cooling, waited = cooling - 1, 0.0
        reduced = False
        if waited > self.patience:
            waited = 0.0
            if self.reductions is not None and made >= self.reductions:
                finished = 1.0
            else:
                scale, made, cooling, reduced = scale * self.factor, made + 1, float(self.cooldown), True
        self._memory.assign([scale, best, waited, cooling, made, finished])
        return reduced
