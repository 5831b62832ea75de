"""The progress bar of the fit loop."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from graphdiff.train.callbacks import Run

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["Bar"]

_PAUSE = 0.05
"""Seconds between two looks of the bar: updating it costs more than a small network's step."""


class Bar:
    """Epoch, loss, accuracy, examples per second and the time left; on the error stream, erased at the end."""

    def __init__(self, total: int, epochs: int, wanted: bool | None, done: int) -> None:
        self._total, self._epochs = total, epochs
        self.shown = sys.stderr.isatty() if wanted is None else wanted
        self._progress: Progress | None = None
        self._batches, self._examples = done, 0  # batches of an earlier run among them
        self._begun = self._next = 0.0

    def __enter__(self) -> Bar:
        if not self.shown:
            return self
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("training {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[shown]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._progress.start()
        self._task = self._progress.add_task("training", total=self._total, epoch=f"0/{self._epochs}", shown="")
        self._begun = time.perf_counter()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def advance(self, run: Run, loss: float, examples: int) -> None:
        """Count a batch of this loss and so many examples."""
        if self._progress is None:
            return
        self._batches += 1
        self._examples += examples
        now = time.perf_counter()
        if now < self._next and self._batches < self._total:
            return
        self._next = now + _PAUSE
        shown = f"loss {loss:.4f}"
        if run.history and "accuracy" in run.history[-1]:
            shown += f"  accuracy {run.history[-1]['accuracy']:.2%}"
        shown += f"  {self._examples / max(now - self._begun, 1e-9):,.0f} examples/s"
        self._progress.update(self._task, completed=self._batches, epoch=f"{run.epoch + 1}/{self._epochs}", shown=shown)
