"""Schedules: learning rates and momenta that change as training goes on.

A schedule is a function of the number of steps made so far, written in graph functions. Given to an optimiser as `lr`
or `momentum` it becomes part of the graph of the step, so that a compiled step follows it without being traced again.
Steps count from 0; times and periods are in steps. `per` makes a schedule that counts in epochs.

Every schedule can be drawn or tabulated by calling it with a number.
"""

from graphdiff.optim.schedules.combinations import per, scaled, sequence, warm_up
from graphdiff.optim.schedules.curves import (
    constant,
    cosine,
    cyclical,
    exponential,
    inverse_time,
    linear,
    one_cycle,
    step,
    warm_restarts,
)
from graphdiff.optim.schedules.plateau import reduce_on_plateau
from graphdiff.optim.schedules.schedule import Schedule

__all__ = [
    "Schedule",
    "constant",
    "linear",
    "step",
    "exponential",
    "inverse_time",
    "cosine",
    "warm_restarts",
    "cyclical",
    "one_cycle",
    "warm_up",
    "scaled",
    "sequence",
    "per",
    "reduce_on_plateau",
]
