"""The learning-rate range test: raise the rate at every step, and look at where the loss falls fastest."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from graphdiff.errors import CompileError, DataError, NoValueError, OpError
from graphdiff.files.atomic import write_atomically
from graphdiff.files.plotting import FIRST, SECOND, figure_for, rendered, styled
from graphdiff.host import with_rows
from graphdiff.nn.inputs import Inputs, call_with, require_callable, split_inputs
from graphdiff.nn.module import Module
from graphdiff.optim.groups import require, require_whole
from graphdiff.optim.optimizers import Optimizer
from graphdiff.optim.schedules import Schedule
from graphdiff.plan import compile
from graphdiff.tensor import Tensor, Variable
from graphdiff.typing import Array, ArrayLike, Function

__all__ = ["RangeTest", "lr_range_test"]


@dataclass(frozen=True)
class RangeTest:
    """What a learning-rate range test has found.

    Attributes
    ----------
    rates, losses : list of float
        Of every step: the loss of its batch before the step.
    smoothed : list of float
        The losses' running mean, corrected for its beginning.
    suggestion : float
        The rate around which the loss falls fastest by the logarithm of the rate; nan if it falls nowhere.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    suggestion: float

    def plot(self, path: str | os.PathLike[str]) -> Path:
        """Draw the loss against the learning rate.

        Parameters
        ----------
        path : path
            Its ending is the format: .png, .svg or .pdf.
        """
        figure = figure_for(path, 7, 4.5)
        axes = styled(figure.add_subplot(), title="Range test", xscale="log", xlabel="learning rate", ylabel="loss")
        axes.plot(self.rates, self.losses, color="0.75", linewidth=1, label="loss of the batch")
        axes.plot(self.rates, self.smoothed, color=FIRST, linewidth=2, label="smoothed")
        if math.isfinite(self.suggestion):
            axes.axvline(self.suggestion, color=SECOND, linestyle="--", label=f"suggestion: {self.suggestion:.2g}")
        if self.smoothed:
            # A loss that explodes would press everything before it flat.
            low, first = min(self.smoothed), self.smoothed[0]
            room = max(abs(first - low), 1e-3 * abs(first), 1e-12)
            axes.set_ylim(low - 0.15 * room, first + 0.6 * room)
        axes.legend(frameon=False)
        return write_atomically(path, rendered(figure, path))


def lr_range_test(
    model: Function[Tensor],
    loss: Function[Tensor],
    data: tuple[Inputs, ArrayLike],
    optimizer: Optimizer,
    *,
    start: float = 1e-6,
    stop: float = 10.0,
    steps: int = 100,
    batch_size: int = 32,
    seed: int = 0,
    smoothing: float = 0.9,
    diverged: float = 4.0,
    compiled: bool = True,
) -> RangeTest:
    """Train with a learning rate that grows from step to step, and suggest one; then put everything back.

    Parameters
    ----------
    model : callable
        Of a `Module` all parameters, buffers and random streams are put back, whether the optimiser moves them or not.
    loss : callable
        Of the model's output and the targets of a batch.
    data : (X, y)
        Arrays with one row per example; X may be a tuple of arrays, or a dict of them by the arguments' names.
    optimizer : Optimizer
        With a number as learning rate. Groups with rates of their own keep them in proportion.
    start, stop : float
        The first and the last rate; between them it grows by the same factor at each step.
    steps : int
    batch_size : int
    seed : int
        Fixes the order of the examples.
    smoothing : float
        The weight of the past in the running mean of the losses.
    diverged : float
        Stop as soon as the smoothed loss exceeds its lowest value, taken from its first, by this many times, or is
        not finite.
    compiled : bool
        Run the steps as plans where they can be traced.

    Returns
    -------
    RangeTest

    Raises
    ------
    DataError
        X or y has no rows, or they have different numbers of them.
    OpError
        A setting that cannot be, or an optimiser whose learning rate is a schedule or 0.

    Notes
    -----
    Smith, "Cyclical learning rates for training neural networks" (2017), section 3.3.

    Examples
    --------
    >>> import numpy as np
    >>> import graphdiff as gd
    >>> X = np.linspace(-1, 1, 64, dtype="float32").reshape(64, 1)
    >>> model = gd.nn.Linear(1, in_features=1)
    >>> optimizer = gd.optim.SGD(model.parameters(), lr=0.1)
    >>> found = gd.optim.lr_range_test(model, gd.nn.squared_error, (X, 3 * X), optimizer, start=1e-4)
    >>> 0.01 < found.suggestion < 3
    True
    >>> optimizer.lr, optimizer.steps
    (0.1, 0)
    """
    given, names = split_inputs(data[0])
    *inputs, y = arrays = [with_rows(array) for array in (*given, data[1])]
    for array in inputs:
        if not len(y) or len(array) != len(y):
            raise DataError(f"X has {len(array)} rows and y has {len(y)}; there must be as many, and at least one")
    require_callable(model, len(inputs), names)
    require("start", start, above=0)
    require("stop", stop, above=start)
    require_whole("steps", steps)
    require("steps", steps, least=2)
    require_whole("batch_size", batch_size)
    require("smoothing", smoothing, below=1)
    require("diverged", diverged, above=1)
    own = _rates_of(optimizer)

    def step(*batch: ArrayLike) -> Tensor:
        value = loss(call_with(model, batch[:-1], names), batch[-1])
        optimizer.minimize(value)
        return value

    size = min(batch_size, len(y))
    rates = [start * (stop / start) ** (number / (steps - 1)) for number in range(steps)]
    with _put_back(model, optimizer):
        run = _runner(step, arrays, size) if compiled else step
        found = _losses_at(rates, own, run, ([a[picked] for a in arrays] for picked in _batches(len(y), size, seed)))
        losses, smoothed = _until_diverged(found, smoothing, diverged)
    rates = rates[: len(losses)]
    return RangeTest(rates, losses, smoothed, _steepest(rates, losses, smoothed))


def _losses_at(
    rates: Sequence[float],
    own: Mapping[Variable, float],
    run: Function[Tensor],
    batches: Iterable[Sequence[ArrayLike]],
) -> Iterator[float]:
    """Make a step at each rate, the groups' rates staying in proportion, and yield its loss."""
    base = max(own.values())
    for rate, batch in zip(rates, batches):
        for variable, usual in own.items():
            variable.assign(rate * usual / base)
        yield float(run(*batch))


def _until_diverged(losses: Iterable[float], smoothing: float, diverged: float) -> tuple[list[float], list[float]]:
    """Return losses and their running means up to where they rise out of sight or are no numbers."""
    seen: list[float] = []
    smoothed: list[float] = []
    mean, lowest = 0.0, math.inf
    for number, found in enumerate(losses, 1):
        mean = smoothing * mean + (1 - smoothing) * found
        current = mean / (1 - smoothing**number)
        if not math.isfinite(current):
            break
        seen.append(found)
        smoothed.append(current)
        lowest = min(lowest, current)
        if current - lowest > (diverged - 1) * max(abs(smoothed[0] - lowest), abs(lowest), 1e-12):
            break
    return seen, smoothed


def _rates_of(optimizer: Optimizer) -> dict[Variable, float]:
    """Return the learning rates of all groups, as the variables that hold them, with their values; one is not 0."""
    found: dict[Variable, float] = {}
    for group in optimizer.groups:
        if isinstance(group.rate, Schedule):
            raise OpError("the range test takes an optimiser with a number as lr, not with a schedule")
        found[group.rate] = group.lr
    if not any(found.values()):
        raise OpError("the range test takes an optimiser whose lr is not 0")
    return found


@contextmanager
def _put_back(model: Function[Tensor], optimizer: Optimizer) -> Iterator[None]:
    """Leave parameters, buffers, random streams and the optimiser as they were before, whatever happens within."""
    members, streams = list(optimizer.parameters), []
    if isinstance(model, Module):
        members += [variable for _, variable in (*model.named_parameters(), *model.named_buffers())]
        streams = [stream for _, stream in model.named_streams()]
    values = [(member, member.numpy().copy()) for member in dict.fromkeys(members)]
    positions = [(stream, stream.bit_generator.state) for stream in streams]
    state = optimizer.state()
    try:
        yield
    finally:
        for member, value in values:
            member.assign(value)
        for stream, position in positions:
            stream.bit_generator.state = position
        optimizer.load_state(state)


def _batches(rows: int, size: int, seed: int) -> Iterator[list[int]]:
    """Yield places of rows, endlessly, in a new order whenever all were had; every batch is of one size."""
    chance = random.Random(seed)
    order = list(range(rows))
    while True:
        chance.shuffle(order)
        for begin in range(0, rows - size + 1, size):
            yield order[begin : begin + size]


def _runner(step: Function[Tensor], arrays: Sequence[Array], size: int) -> Function[Tensor]:
    """Return the step as a plan, or as it is where it cannot be traced."""
    planned = compile(step)
    try:
        planned.plan(*(array[:size] for array in arrays))
    except (CompileError, NoValueError):
        return step
    return planned


def _steepest(rates: list[float], losses: list[float], smoothed: list[float]) -> float:
    """Return the rate where a line through the losses around it, before their lowest mean, falls most."""
    if len(rates) < 3:
        return math.nan
    last = smoothed.index(min(smoothed))
    reach = max(len(rates) // 10, 1)
    best, found = 0.0, math.nan
    # All windows are of one length: the line through a few noisy losses alone would be the steepest.
    for place in range(reach, min(last + 1, len(rates) - reach)):
        slope = sum(offset * losses[place + offset] for offset in range(-reach, reach + 1))
        if slope < best:
            best, found = slope, rates[place]
    return found
