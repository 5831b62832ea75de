"""The loop: epochs of minibatches, a history, a progress bar."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

from graphdiff.errors import CompileError, DataError, NoValueError
from graphdiff.nn.layers import Module
from graphdiff.nn.losses import accuracy, check_labels
from graphdiff.optim.optimizers import Optimizer
from graphdiff.plan import Compiled, compile
from graphdiff.tensor import Tensor
from graphdiff.train.minibatches import check_data, minibatches

__all__ = ["fit"]

Record = dict[str, float]


def fit(
    model: Module,
    loss: Callable[[Tensor, Any], Tensor],
    data: tuple[Any, Any],
    optimizer: Optimizer,
    *,
    epochs: int = 10,
    batch_size: int = 32,
    validation: tuple[Any, Any] | None = None,
    seed: int = 0,
    progress: bool | None = None,
    compiled: bool = True,
    on_epoch: Callable[[Record], None] | None = None,
) -> list[Record]:
    """Train a model.

    Parameters
    ----------
    model : Module
    loss : callable
        Of the model's output and the targets of a batch; returns a scalar, the mean over the batch.
    data : (X, y)
        Arrays with one row per example.
    optimizer : Optimizer
    epochs, batch_size : int
    validation : (X, y), optional
        Measured after each epoch, never trained on.
    seed : int
        Fixes the order of the examples, which changes from epoch to epoch.
    progress : bool, optional
        Show a progress bar; by default if the output is a terminal.
    compiled : bool
        Trace model, loss and optimiser once per size of batch and run them as plans. Where they cannot be traced, as
        with a loss that branches in Python on a value, a warning says so and every step is run eagerly.
    on_epoch : callable, optional
        Called with each epoch's record.

    Returns
    -------
    list of dict
        Per epoch: "epoch", "loss" (the mean over its batches), and "accuracy" where the targets are classes; with
        validation data also "validation_loss" and "validation_accuracy".

    Raises
    ------
    DataError
        Before anything is trained: NaN or infinity (with row and column), different numbers of rows, no rows,
        a label that is no class.

    Examples
    --------
    >>> import numpy as np
    >>> import graphdiff as gd
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]], dtype="float32")
    >>> model = gd.nn.Linear(1, in_features=1)
    >>> optimizer = gd.optim.SGD(model.parameters(), lr=0.1)
    >>> history = gd.train.fit(model, gd.nn.squared_error, (X, 2 * X), optimizer, epochs=50, progress=False)
    >>> round(float(model(X)[3, 0]), 1)
    6.0
    """
    X, y = check_data(data)
    held_out = None if validation is None else check_data(validation, ("validation X", "validation y"))
    if epochs < 1:
        raise DataError(f"training takes at least one epoch, not {epochs}")
    if batch_size < 1:
        raise DataError(f"a batch has at least one row, not {batch_size}")
    output = model(X[:1])
    classified = _is_classified(output, y)
    if classified:
        check_labels(y, output.shape[1])
        if held_out is not None:
            check_labels(held_out[1], output.shape[1])

    def step(inputs: Any, targets: Any) -> Tensor:
        value = loss(model(inputs), targets)
        optimizer.minimize(value)
        return value

    run: Callable[..., Tensor] = step
    predict: Callable[..., Tensor] = model
    if compiled:
        planned = compile(step)
        if _can_trace(planned, X[:batch_size], y[:batch_size]):
            run, predict = planned, compile(model)
    batches = -(-len(X) // batch_size)
    history: list[Record] = []
    with _bar(epochs * batches, progress) as advance:
        for epoch in range(epochs):
            record: Record = {"epoch": epoch + 1, "loss": 0.0}
            for inputs, targets in minibatches((X, y), batch_size, seed=seed, epoch=epoch):
                record["loss"] += float(run(inputs, targets)) * len(inputs) / len(X)
                advance(record["loss"])
            if classified:
                record["accuracy"] = accuracy(predict(X), y)
            if held_out is not None:
                record |= _measured(predict, loss, *held_out, classified=classified)
            history.append(record)
            if on_epoch is not None:
                on_epoch(record)
    return history


def _is_classified(output: Tensor, y: Any) -> bool:
    """Whether the targets are classes: one integer per row, and an output for each class."""
    return y.dtype.kind in "iu" and y.ndim == 1 and output.ndim == 2 and output.shape[1] > 1


def _can_trace(step: Compiled, inputs: Any, targets: Any) -> bool:
    try:
        step.plan(inputs, targets)
    except (CompileError, NoValueError) as error:
        warnings.warn(f"training runs eagerly, since the step cannot be compiled: {error}", stacklevel=3)
        return False
    return True


def _measured(
    predict: Callable[..., Tensor], loss: Callable[[Tensor, Any], Tensor], X: Any, y: Any, *, classified: bool
) -> Record:
    output = predict(X)
    record = {"validation_loss": float(loss(output, y))}
    if classified:
        record["validation_accuracy"] = accuracy(output, y)
    return record


class _bar:
    """A progress bar; its context gives the function that advances it by one batch."""

    def __init__(self, total: int, wanted: bool | None) -> None:
        self._total = total
        self._shown = sys.stderr.isatty() if wanted is None else wanted
        self._progress: Any = None

    def __enter__(self) -> Callable[[float], None]:
        if not self._shown:
            return lambda loss: None
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("loss {task.fields[loss]:.4f}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._progress.start()
        task = self._progress.add_task("training", total=self._total, loss=float("nan"))
        return lambda loss: self._progress.update(task, advance=1, loss=loss)

    def __exit__(self, *exception: object) -> None:
        if self._progress is not None:
            self._progress.stop()
