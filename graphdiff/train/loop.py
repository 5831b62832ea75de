"""The loop of training: batches, and what happens after each of them and after each epoch."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from graphdiff.host import HostArray
from graphdiff.nn.module import Module
from graphdiff.optim.optimizers import Optimizer
from graphdiff.optim.schedules import Schedule, reduce_on_plateau
from graphdiff.tensor import Tensor
from graphdiff.train.augment import Augmentation
from graphdiff.train.callbacks import Callback, Run, Watcher
from graphdiff.train.checkpoints import Checkpoint, deferred_interrupts
from graphdiff.train.examples import Examples
from graphdiff.train.history import Record
from graphdiff.train.measures import Metric, measured
from graphdiff.train.minibatches import Batch, cut_batches, epoch_order
from graphdiff.train.progress import Bar
from graphdiff.typing import Function

Measured: TypeAlias = "tuple[str, Mapping[str, Metric], Examples, HostArray | None]"
"""What goes before the names in the record, the measures by name, examples, and which of their rows (None: all)."""

__all__ = ["Loop", "Measured", "Source", "plateaus_of", "set_mode"]


def set_mode(model: Module, *, training: bool) -> None:
    """Tell the model whether it is being trained, if it has layers to which that matters."""
    switch = getattr(model, "train" if training else "eval", None)
    if callable(switch):
        switch()


def plateaus_of(optimizer: Optimizer) -> list[reduce_on_plateau]:
    """Return the schedules of an optimiser that follow a metric, each once."""
    values = [value for group in optimizer.groups for value in (group.rate, *group.settings.values())]
    parts = [part for value in values if isinstance(value, Schedule) for part in value.parts()]
    return list({id(part): part for part in parts if isinstance(part, reduce_on_plateau)}.values())


@dataclasses.dataclass(frozen=True)
class Source:
    """The rows that are trained on, and how each epoch cuts them into batches.

    Attributes
    ----------
    examples : Examples
    rows : integer array or None
        Which of their rows; None: all.
    sizes : list of int
        Rows per batch, for each epoch.
    seed, shuffle, drop_last, prefetch
        As `minibatches` has them.
    augment : callable or None
        Given the inputs as `fit` was.
    """

    examples: Examples
    rows: HostArray | None
    sizes: Sequence[int]
    seed: int
    shuffle: bool
    drop_last: bool
    augment: Augmentation | None
    prefetch: int

    @property
    def count(self) -> int:
        """How many rows there are to train on."""
        return len(self.examples) if self.rows is None else len(self.rows)

    def batches_in(self, epoch: int) -> int:
        """Return how many batches an epoch has."""
        size = self.sizes[epoch]
        return self.count // size if self.drop_last else -(-self.count // size)

    def batches(self, epoch: int, first: int) -> tuple[Generator[Batch, None, None], list[float]]:
        """Return an epoch's batches from the one numbered `first` on, and how much each of all its batches counts."""
        examples, size = self.examples, self.sizes[epoch]
        order = epoch_order(
            *(len(examples), size, self.seed, epoch),
            shuffle=self.shuffle,
            drop_last=self.drop_last,
            rows=self.rows,
        )
        change = None if self.augment is None else examples.changed_by(self.augment)
        stream = (self.seed, epoch)
        cut = cut_batches(examples.arrays, order, size, stream, first=first, change=change, prefetch=self.prefetch)
        starts = np.arange(0, len(order), size)
        if examples.weights is None:
            return cut, np.diff(starts, append=len(order)).tolist()
        return cut, np.add.reduceat(examples.weights[order], starts, dtype="float64").tolist()


@dataclasses.dataclass(frozen=True)
class Loop:
    """A training run and all that takes part in it.

    Attributes
    ----------
    run : Run
        Where it is; it goes on from there.
    source : Source
    step : callable
        Trains on a batch; returns its loss.
    predict : callable
        The model, for what is measured.
    measured : sequence of Measured
        After each epoch; what is held out comes last.
    callbacks : sequence of Callback
    on_epoch : callable or None
        Called with each epoch's record.
    watcher : Watcher or None
        Early stopping.
    saved : Checkpoint or None
    every : int
        Batches between two checkpoints; 0: one after each epoch.
    """

    run: Run
    source: Source
    step: Function[Tensor]
    predict: Function[Tensor]
    measured: Sequence[Measured]
    callbacks: Sequence[Callback]
    on_epoch: Callable[[Record], None] | None
    watcher: Watcher | None
    saved: Checkpoint | None
    every: int

    def train(self, progress: bool | None) -> None:
        """Go through the epochs that are left."""
        run, epochs = self.run, len(self.source.sizes)
        batches = [self.source.batches_in(epoch) for epoch in range(epochs)]
        before = sum(batches[: run.epoch])
        with (
            deferred_interrupts(self.saved is not None) as interrupted,
            Bar(sum(batches), epochs, progress, before + run.batch) as bar,
        ):
            for callback in self.callbacks:
                callback.on_start(run)
            while run.epoch < epochs and not run.stopped:
                set_mode(run.model, training=True)
                self._train_epoch(before, bar, interrupted)
                before += run.batch
                set_mode(run.model, training=False)
                self._end_epoch(self._record())
            if self.watcher is not None:
                self.watcher.restore(run.model)
            for callback in self.callbacks:
                callback.on_end(run)

    def _train_epoch(self, before: int, bar: Bar, interrupted: Callable[[], bool]) -> None:
        """Train on the batches that are left of the epoch under way; all earlier epochs had `before`."""
        run, step = self.run, self.step
        host_batches, weights = self.source.batches(run.epoch, run.batch)
        # Where nothing counts, there is nothing to divide by.
        total = sum(weights) or 1.0
        with contextlib.closing(run.optimizer.backend.fed(host_batches)) as batches:
            for batch in batches:
                loss = float(step(*batch))
                run.loss += loss * weights[run.batch] / total
                run.batch += 1
                bar.advance(run, loss, len(batch[0]))
                for callback in self.callbacks:
                    callback.on_batch(run)
                if self.saved is not None:
                    if interrupted():
                        self.saved.save()
                        raise KeyboardInterrupt
                    if self.every and (before + run.batch) % self.every == 0:
                        self.saved.save()

    def _record(self) -> Record:
        """Return what is recorded of an epoch whose batches are done."""
        record: Record = {"epoch": self.run.epoch + 1, "loss": self.run.loss}
        for prefix, measures, examples, rows in self.measured:
            found = measured(self.predict, measures, examples, rows)
            record |= {prefix + name: value for name, value in found.items()}
        return record

    def _end_epoch(self, record: Record) -> None:
        """Count the epoch as done and tell everyone."""
        run = self.run
        if not math.isfinite(record["loss"]) and (not run.history or math.isfinite(run.history[-1]["loss"])):
            warnings.warn(
                f"the loss became {record['loss']} in epoch {record['epoch']:g}: lower the learning rate, scale the "
                "inputs, or give the optimiser clip_norm; within gd.detect_anomalies() the first such node is named",
                stacklevel=4,
            )
        run.history.append(record)
        run.epoch, run.batch, run.loss = run.epoch + 1, 0, 0.0
        for callback in self.callbacks:
            callback.on_epoch(run, record)
        for plateau in plateaus_of(run.optimizer):
            plateau.update(record[self.measured[-1][0] + ("loss" if plateau.mode == "min" else "accuracy")])
        if self.watcher is not None:
            self.watcher.look(run, record)
        if self.saved is not None and (not self.every or run.stopped or run.epoch == len(self.source.sizes)):
            self.saved.save()
        if self.on_epoch is not None:
            self.on_epoch(record)
