"""The loop: epochs of minibatches, validation, early stopping, checkpoints."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphdiff.errors import CompileError, DataError, GraphDiffError, NoValueError
from graphdiff.nn.layers import Module
from graphdiff.nn.losses import accuracy, check_labels
from graphdiff.op import as_tensor
from graphdiff.optim.optimizers import Optimizer
from graphdiff.plan import Compiled, compile
from graphdiff.tensor import Tensor
from graphdiff.train.augment import Augmentation
from graphdiff.train.callbacks import Callback, EarlyStopping, Run, Watcher
from graphdiff.train.checkpoints import Checkpoint, deferred_interrupts
from graphdiff.train.history import History, Record
from graphdiff.train.minibatches import BatchSize, batch_size_at, check_data, minibatches
from graphdiff.train.progress import Bar

__all__ = ["fit"]

Metric = Callable[[Tensor, Any], Any]

_ROWS = 8192
"""How many rows are measured at once, so that large data need little memory."""


def fit(
    model: Module,
    loss: Callable[[Tensor, Any], Tensor],
    data: tuple[Any, Any],
    optimizer: Optimizer,
    *,
    epochs: int = 10,
    batch_size: BatchSize = 32,
    validation: tuple[Any, Any] | float | None = None,
    seed: int = 0,
    progress: bool | None = None,
    compiled: bool = True,
    on_epoch: Callable[[Record], None] | None = None,
    shuffle: bool = True,
    drop_last: bool = False,
    metrics: Mapping[str, Metric] | Sequence[Metric] = (),
    early_stopping: EarlyStopping | int | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    augment: Augmentation | None = None,
    prefetch: int = 0,
) -> History:
    """Train a model.

    Parameters
    ----------
    model : Module
    loss : callable
        Of the model's output and the targets of a batch; returns a scalar, the mean over the batch.
    data : (X, y)
        Arrays with one row per example. Maps of files (``numpy.load(path, mmap_mode="r")``) are never loaded whole.
    optimizer : Optimizer
    epochs : int
    batch_size : int or callable
        A function of the epoch, such as `Growing`, makes it change.
    validation : (X, y) or float, optional
        Measured after each epoch, never trained on. A number is the share of `data` to hold out, chosen by `seed`.
    seed : int
        Fixes the order of the examples, which changes from epoch to epoch, and what is held out.
    progress : bool, optional
        Show a progress bar; by default if the output is a terminal.
    compiled : bool
        Trace model, loss and optimiser once per size of batch and run them as plans. Where they cannot be traced, as
        with a loss that branches in Python on a value, a warning says so and every step is run eagerly.
    on_epoch : callable, optional
        Called with each epoch's record.
    shuffle, drop_last : bool
        As `minibatches` has them.
    metrics : dict or sequence of callables
        Further functions of output and targets, recorded under their names for training and validation data: means
        over the rows, which may be measured in blocks.
    early_stopping : EarlyStopping or int, optional
        A number is the patience in epochs. The model ends with the weights of its best epoch.
    callbacks : sequence of Callback
        Those that define `state` go on from it when a run is resumed.
    checkpoint : path, optional
        Where the whole state of training is kept: parameters, optimiser, random streams, and the place in the data.
        Written atomically: it is readable at any moment, and the one before stays if writing fails. An interrupt from
        the keyboard waits for the batch under way, and writes a checkpoint before it is raised.
    checkpoint_every : int, optional
        Batches between two checkpoints; by default one is written after each epoch.
    resume : bool
        Go on from the checkpoint, if there is one: bit for bit as if training had never been interrupted.
    augment : callable, optional
        Changes batches of inputs that are trained on, as the functions of `gd.train.augment` do, and keeps their shape.
        What is measured after an epoch is not changed.
    prefetch : int
        So many batches are prepared ahead by a thread in the background; the results are the same.

    Returns
    -------
    History
        A list of dicts, one per epoch: "epoch", "loss" (the mean over its batches), and "accuracy" where the targets
        are classes; with validation data also "validation_loss" and "validation_accuracy"; then the metrics.

    Raises
    ------
    DataError
        Before anything is trained: NaN or infinity (with row and column), different numbers of rows, no rows,
        a label that is no class, a checkpoint that cannot be written, or that is of another run.

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
    rows, held_out = _split((X, y), validation, seed)
    count = len(X) if rows is None else len(rows)
    if epochs < 1:
        raise DataError(f"training takes at least one epoch, not {epochs}")
    sizes = [batch_size_at(batch_size, epoch) for epoch in range(epochs)]
    if drop_last and max(sizes) > count:
        raise DataError(f"no batch of {max(sizes)} rows can be had of {count}: drop_last would leave nothing")
    if checkpoint_every is not None and checkpoint_every < 1:
        raise DataError(f"there is at least one batch between two checkpoints, not {checkpoint_every}")
    if resume and checkpoint is None:
        raise DataError("resume needs the path of a checkpoint")
    if augment is not None:
        changed = augment(X[:1], np.random.default_rng(seed))
        if changed.shape != X[:1].shape or changed.dtype != X.dtype:
            raise DataError(
                f"augmentation keeps shape and dtype, and this makes {changed.dtype}{list(changed.shape)} of "
                f"{X.dtype}{list(X[:1].shape)}"
            )
    _set_mode(model, training=False)
    output = model(X[:1])
    classified = _is_classified(output, y)
    if classified:
        check_labels(y, output.shape[1])
        if held_out is not None:
            check_labels(held_out[1], output.shape[1])
    training_measures, validation_measures = _measures(loss, metrics, classified)

    def step(inputs: Any, targets: Any) -> Tensor:
        value = loss(model(inputs), targets)
        optimizer.minimize(value)
        return value

    step_once: Callable[..., Tensor] = step
    predict: Callable[..., Tensor] = model
    _set_mode(model, training=True)
    if compiled:
        planned = compile(step)
        first = slice(0, min(sizes[0], count)) if rows is None else rows[: sizes[0]]
        if _can_trace(planned, X[first], y[first]):
            step_once, predict = planned, compile(model)
            _check_targets(loss, output, y)
            if held_out is not None:
                _check_targets(loss, output, held_out[1])

    run = Run(model, optimizer)
    if isinstance(early_stopping, int):
        early_stopping = EarlyStopping(early_stopping)
    watcher = None if early_stopping is None else Watcher(early_stopping, held_out is not None)
    saved = None
    if checkpoint is not None:
        options = {
            "seed": seed,
            "shuffle": shuffle,
            "drop_last": drop_last,
            "augment": augment is not None,
            "rows": count,
            "optimizer": type(optimizer).__name__,
        }
        saved = Checkpoint(checkpoint, run, watcher, sizes, options, (X, y), callbacks)
        if not (resume and saved.restore()):
            saved.save()
    batches = [count // size if drop_last else -(-count // size) for size in sizes]
    done = sum(batches[: run.epoch]) + run.batch
    every = checkpoint_every or 0
    with deferred_interrupts(saved is not None) as interrupted, Bar(sum(batches), epochs, progress) as bar:
        bar.skip(done)
        for callback in callbacks:
            callback.on_start(run)
        while run.epoch < epochs and not run.stopped:
            seen = count - count % sizes[run.epoch] if drop_last else count
            _set_mode(model, training=True)
            order = minibatches(
                (X, y),
                sizes[run.epoch],
                seed=seed,
                epoch=run.epoch,
                shuffle=shuffle,
                drop_last=drop_last,
                rows=rows,
                first=run.batch,
                augment=augment,
                prefetch=prefetch,
            )
            with contextlib.closing(optimizer.backend.fed(order)) as order:
                for inputs, targets in order:
                    value = float(step_once(inputs, targets))
                    run.loss += value * len(inputs) / seen
                    run.batch += 1
                    done += 1
                    bar.advance(run, value, len(inputs))
                    for callback in callbacks:
                        callback.on_batch(run)
                    if saved is not None:
                        if interrupted():
                            saved.save()
                            raise KeyboardInterrupt
                        if every and done % every == 0:
                            saved.save()
            record: Record = {"epoch": run.epoch + 1, "loss": run.loss}
            _set_mode(model, training=False)
            record |= _measured(predict, training_measures, X, y, rows)
            if held_out is not None:
                held = _measured(predict, validation_measures, *held_out)
                record |= {f"validation_{name}": value for name, value in held.items()}
            run.history.append(record)
            run.epoch, run.batch, run.loss = run.epoch + 1, 0, 0.0
            for callback in callbacks:
                callback.on_epoch(run, record)
            if watcher is not None:
                watcher.look(run, record)
            if saved is not None and (not every or run.stopped or run.epoch == epochs):
                saved.save()
            if on_epoch is not None:
                on_epoch(record)
        if watcher is not None:
            watcher.restore(model)
        for callback in callbacks:
            callback.on_end(run)
    _set_mode(model, training=False)
    return run.history


def _set_mode(model: Module, *, training: bool) -> None:
    """Tell the model whether it is being trained, if it has layers to which that matters."""
    switch = getattr(model, "train" if training else "eval", None)
    if callable(switch):
        switch()


def _split(data: Sequence[Any], validation: Any, seed: int) -> tuple[Any, Any]:
    """Return which rows are trained on (None: all), and what is held out: (X, y, which rows), or None."""
    if validation is None:
        return None, None
    if not isinstance(validation, (int, float)):
        return None, (*check_data(validation, ("validation X", "validation y")), None)
    if not 0 < validation < 1:
        raise DataError(f"the share to hold out is between 0 and 1, not {validation}")
    count = len(data[0])
    held = max(1, round(count * validation))
    if held >= count:
        raise DataError(f"of {count} rows, {held} cannot be held out")
    order = np.random.default_rng((seed, 0x5EED)).permutation(count)
    return np.sort(order[held:]), (*data, np.sort(order[:held]))


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


def _check_targets(loss: Any, output: Tensor, y: Any) -> None:
    """Have the loss refuse targets that it is not defined for: a compiled one knows no values.

    It is given one and the same output beside all of them, which is cheap.
    """
    if output.shape[:1] != (1,):
        return
    for start in range(0, len(y), _ROWS):
        targets = y[start : start + _ROWS]
        try:
            loss(as_tensor(np.repeat(output.numpy(), len(targets), axis=0)), targets)
        except DataError as error:
            raise DataError(f"counting from row {start} of the targets: {error}" if start else str(error)) from error
        except GraphDiffError:
            return  # a loss that cannot be asked in this way; what is wrong with it, training will tell


def _measures(loss: Any, metrics: Any, classified: bool) -> tuple[dict[str, Metric], dict[str, Metric]]:
    """Return what is measured after each epoch, on the training data and on what is held out."""
    named = dict(metrics) if isinstance(metrics, Mapping) else {_name(metric): metric for metric in metrics}
    taken = {"epoch", "loss", "accuracy"} & named.keys()
    if taken:
        raise DataError(f"a metric cannot be called {taken.pop()!r}: that is recorded anyway")
    training = ({"accuracy": accuracy} if classified else {}) | named
    return training, {"loss": loss} | training


def _name(metric: Any) -> str:
    return getattr(metric, "__name__", type(metric).__name__.lower())


def _measured(predict: Callable[..., Tensor], measures: Mapping[str, Metric], X: Any, y: Any, rows: Any) -> Record:
    """Return means over the rows, measured block by block."""
    if not measures:
        return {}
    count = len(X) if rows is None else len(rows)
    size = min(_ROWS, max(1, 2**22 // max(1, int(np.prod(X.shape[1:])))))
    if count <= size:
        blocks: list[Any] = [slice(None) if rows is None else rows]
    else:
        starts = range(0, count, size)
        blocks = [slice(k, k + size) if rows is None else rows[k : k + size] for k in starts]
    totals = dict.fromkeys(measures, 0.0)
    for block in blocks:
        inputs, targets = X[block], y[block]
        output = predict(inputs)
        for name, measure in measures.items():
            value = float(measure(output, targets))
            totals[name] += value if len(blocks) == 1 else value * (len(inputs) / count)
    return totals
