"""`fit`: what is checked and made ready before the first batch."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import TypeAlias

import numpy as np

from graphdiff.backend import require_labels
from graphdiff.errors import CompileError, DataError, GraphDiffError, GraphError, NoValueError, OpError
from graphdiff.guard import guarded
from graphdiff.host import HostArray
from graphdiff.nn.module import Module
from graphdiff.op import as_tensor
from graphdiff.optim.optimizers import Optimizer
from graphdiff.plan import compile
from graphdiff.tensor import Tensor
from graphdiff.train.augment import Augmentation
from graphdiff.train.callbacks import Callback, EarlyStopping, Run, Watcher
from graphdiff.train.checkpoints import Checkpoint
from graphdiff.train.examples import Examples, examples_of, require_weighted
from graphdiff.train.history import History, Record
from graphdiff.train.loop import Loop, Measured, Source, plateaus_of, set_mode
from graphdiff.train.measures import BLOCK_ROWS, Metric, is_classified, measures_of
from graphdiff.train.minibatches import BatchSize, Inputs, batch_size_at
from graphdiff.typing import ArrayLike, Function

__all__ = ["fit"]

Validation: TypeAlias = "Sequence[Inputs | None] | float | None"
"""What is validated on, or which share of the data."""
HeldOut: TypeAlias = Sequence[tuple[Examples, HostArray | None]]
"""Examples that are not trained on, and which rows of them (None: all); nothing where none are held out."""


@guarded
def fit(
    model: Module,
    loss: Function[Tensor],
    data: tuple[Inputs, ArrayLike],
    optimizer: Optimizer,
    *,
    epochs: int = 10,
    batch_size: BatchSize = 32,
    validation: Validation = None,
    seed: int = 0,
    progress: bool | None = None,
    compiled: bool = True,
    precision: str = "float32",
    on_epoch: Callable[[Record], None] | None = None,
    shuffle: bool = True,
    drop_last: bool = False,
    metrics: Mapping[str, Metric] | Sequence[Metric] = (),
    early_stopping: EarlyStopping | int | bool | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    augment: Augmentation | None = None,
    prefetch: int = 0,
    sample_weight: ArrayLike | None = None,
) -> History:
    """Train a model.

    Parameters
    ----------
    model : Module
    loss : callable
        Of the model's output and the targets of a batch; returns a scalar, the mean over the batch.
    data : (X, y)
        Arrays with one row per example. Maps of files (``numpy.load(path, mmap_mode="r")``) are never loaded whole.
        X may also be a tuple of arrays, which a model of several arguments is called with, or a dict of them by the
        arguments' names.
    optimizer : Optimizer
    epochs : int
    batch_size : int or callable
        A function of the epoch, such as `Growing`, makes it change.
    validation : (X, y), (X, y, sample_weight) or float, optional
        Measured after each epoch, never trained on. A number is the share of `data` to hold out, chosen by `seed`.
    seed : int
        Fixes the order of the examples, which changes from epoch to epoch, and what is held out.
    progress : bool, optional
        Show a progress bar; by default if the output is a terminal.
    compiled : bool
        Trace model, loss and optimiser once per size of batch and run them as plans. Where they cannot be traced, as
        with a loss that branches in Python on a value, a warning says so and every step is run eagerly.
    precision : {"float32", "tf32", "bf16", "fp16"}
        As `compile` has it; eager steps compute in float32.
    on_epoch : callable, optional
        Called with each epoch's record.
    shuffle, drop_last : bool
        As `minibatches` has them.
    metrics : dict or sequence of callables
        Further functions of output and targets, recorded under their names for training and validation data. Each is
        called once per epoch, with the outputs of all rows; one that has an attribute `averages` that is true is a mean
        over the rows, and is measured in blocks, for which the outputs need not be kept.
    early_stopping : EarlyStopping, int or bool, optional
        A number is the patience in epochs; True is that of `EarlyStopping()`. The model ends with the weights of its
        best epoch.
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
        What is measured after an epoch is not changed. Where X is a tuple or a dict, it is given one and returns one.
    prefetch : int
        So many batches are prepared ahead by a thread in the background; the results are the same.
    sample_weight : array of shape (examples,), optional
        How much each example counts: a batch's loss becomes the weighted mean, Σ wᵢ·lossᵢ / Σ wᵢ. The loss is given
        the batch's as `weights`, which those of `gd.nn` take. Loss and accuracy in the history, also of a share that is
        held out, are weighted means too; `metrics` are not.

    Returns
    -------
    History
        A list of dicts, one per epoch: "epoch", "loss" (the mean over its batches), and "accuracy" where the targets
        are classes; with validation data also "validation_loss" and "validation_accuracy"; then the metrics.

    Raises
    ------
    DataError
        Before anything is trained: NaN, infinity or text (with row and column), different numbers of rows, no rows,
        a label that is no class, a negative weight, a checkpoint that cannot be written, or that is of another run.
    OpError
        The optimiser is none that makes a step per batch, as `LBFGS` and `Newton`; the model takes other inputs, or
        the loss no weights.
    GraphError
        The optimiser moves no parameter of the model.

    Warns
    -----
    UserWarning
        The loss is no longer a finite number, or the step cannot be compiled.

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
    examples = examples_of(data, sample_weight)
    _check_parts(loss, optimizer, callbacks)
    rows, held_out = _split(examples, validation, seed)
    require_weighted(examples, rows, loss, "to train on")
    for part in held_out:
        require_weighted(*part, loss, "to validate on")
    if epochs < 1:
        raise DataError(f"training takes at least one epoch, not {epochs}")
    sizes = [batch_size_at(batch_size, epoch) for epoch in range(epochs)]
    source = Source(examples, rows, sizes, seed, shuffle, drop_last, augment, prefetch)
    _check_source(source)
    _check_checkpoint(checkpoint, checkpoint_every, resume)
    classified = _classified(model, loss, optimizer, examples, held_out)
    training_measures, held_out_measures = measures_of(loss, metrics, classified)
    measured: list[Measured] = [("", training_measures, examples, rows)]
    measured += [("validation_", held_out_measures, *part) for part in held_out]
    watcher = _watcher(early_stopping, measured)

    first = slice(0, min(sizes[0], source.count)) if rows is None else rows[: sizes[0]]
    set_mode(model, training=True)
    # As if for a hundred epochs, not for so many as there are: training that is resumed must have the same engine.
    calls = 100 * -(-source.count // sizes[0])
    wanted = precision if compiled else None
    step, predict = _functions(model, loss, optimizer, examples, examples.taken(first), wanted, calls)
    run = Run(model, optimizer)
    begun = None if checkpoint is None else _begun(checkpoint, run, watcher, source, callbacks, resume=resume)
    loop = Loop(
        run,
        source,
        step,
        predict,
        measured,
        callbacks,
        on_epoch,
        watcher,
        begun,
        checkpoint_every or 0,
    )
    loop.train(progress)
    set_mode(model, training=False)
    return run.history


def _check_checkpoint(checkpoint: str | os.PathLike[str] | None, every: int | None, resume: bool) -> None:
    if every is not None and every < 1:
        raise DataError(f"there is at least one batch between two checkpoints, not {every}")
    if resume and checkpoint is None:
        raise DataError("resume needs the path of a checkpoint")


def _classified(
    model: Module,
    loss: Function[Tensor],
    optimizer: Optimizer,
    examples: Examples,
    held_out: HeldOut,
) -> bool:
    """Whether targets are classes; data, model and optimiser have been found to fit each other."""
    set_mode(model, training=False)
    examples.require_callable(model)
    output = examples.call(model, [array[:1] for array in examples.inputs])
    if isinstance(model, Module) and set(optimizer.parameters).isdisjoint(model.parameters()):
        raise GraphError("the optimiser moves no parameter of this model: make it of model.parameters()")
    classified = is_classified(output, examples.targets)
    for targets in (examples.targets, *(part.targets for part, _ in held_out)):
        _check_targets(loss, output, targets, classified)
    if not classified and any(plateau.mode == "max" for plateau in plateaus_of(optimizer)):
        raise OpError('a reduce_on_plateau with mode="max" follows the accuracy, and these targets are no classes')
    return classified


def _functions(
    model: Module,
    loss: Function[Tensor],
    optimizer: Optimizer,
    examples: Examples,
    first: Sequence[HostArray],
    precision: str | None,
    calls: int,
) -> tuple[Function[Tensor], Function[Tensor]]:
    """Return a step and a prediction, compiled where a precision is given and the first batch can be traced."""

    def step(*batch: ArrayLike) -> Tensor:
        inputs, targets, beside = examples.parts(batch)
        value = loss(examples.call(model, inputs), targets, **beside)
        optimizer.minimize(value)
        return value

    def predict(*inputs: ArrayLike) -> Tensor:
        return examples.call(model, inputs)

    if precision is None:
        return step, predict
    planned = compile(step, precision=precision, calls=calls)
    try:
        planned.plan(*first)
    except (CompileError, NoValueError) as error:
        warnings.warn(f"training runs eagerly, since the step cannot be compiled: {error}", stacklevel=2)
        return step, predict
    return planned, compile(predict, precision=precision, calls=calls)


def _watcher(early_stopping: EarlyStopping | int | bool | None, measured: Sequence[Measured]) -> Watcher | None:
    if early_stopping is None or early_stopping is False:
        return None
    if not isinstance(early_stopping, EarlyStopping):
        early_stopping = EarlyStopping() if early_stopping is True else EarlyStopping(early_stopping)
    recorded = ["loss", *(prefix + name for prefix, measures, *_ in measured for name in measures)]
    return Watcher(early_stopping, len(measured) > 1, recorded)


def _check_parts(loss: object, optimizer: object, callbacks: object) -> None:
    """Refuse arguments in the wrong place, and optimisers that a loop of batches cannot drive."""
    if not callable(loss):
        raise OpError(f"the loss is a function of output and targets, not a {type(loss).__name__}")
    given = callbacks if isinstance(callbacks, Sequence) else [callbacks]
    if given is not callbacks or not all(isinstance(callback, Callback) for callback in given):
        kinds = ", ".join(type(callback).__name__ for callback in given)
        raise OpError(f"callbacks are a list of gd.train.Callback, not {kinds}; on_epoch= takes a function")
    if isinstance(optimizer, Optimizer):
        return
    if isinstance(optimizer, type):
        name = optimizer.__name__
        raise OpError(f"{name} is a class of optimisers: give one of them, as {name}(model.parameters())")
    name = type(optimizer).__name__
    if not hasattr(optimizer, "minimize"):
        raise OpError(f"an optimiser is an instance of gd.optim.Optimizer, not a {name}")
    raise OpError(
        f"fit makes a step per batch, which {name} does not: call its minimize(lambda: loss(model(X), y)) in a loop of "
        "your own, or take a subclass of gd.optim.Optimizer"
    )


def _check_source(source: Source) -> None:
    """Refuse batches that there cannot be."""
    if source.drop_last and max(source.sizes) > source.count:
        raise DataError(
            f"no batch of {max(source.sizes)} rows can be had of {source.count}: drop_last would leave nothing"
        )
    if source.augment is not None:
        examples = source.examples
        before = examples.taken(slice(0, 1))
        changed = examples.changed_by(source.augment)(before, np.random.default_rng(source.seed))
        for label, array, made in zip(examples.labels, before, changed):
            if made.shape != array.shape or made.dtype != array.dtype:
                raise DataError(
                    f"augmentation keeps shape and dtype, and this makes {made.dtype}{list(made.shape)} of {label}, "
                    f"{array.dtype}{list(array.shape)}"
                )


def _begun(
    path: str | os.PathLike[str],
    run: Run,
    watcher: Watcher | None,
    source: Source,
    callbacks: Sequence[Callback],
    *,
    resume: bool,
) -> Checkpoint:
    """Bring the run to where a checkpoint is, or write the first one."""
    options = {
        "seed": source.seed,
        "shuffle": source.shuffle,
        "drop_last": source.drop_last,
        "augment": source.augment is not None,
        "rows": source.count,
        "optimizer": type(run.optimizer).__name__,
        "inputs": None if source.examples.names is None else list(source.examples.names),
    }
    saved = Checkpoint(path, run, watcher, source.sizes, options, source.examples.arrays, callbacks)
    if not (resume and saved.restore()):
        saved.save()
    return saved


def _split(examples: Examples, validation: Validation, seed: int) -> tuple[HostArray | None, HeldOut]:
    """Return which rows are trained on (None: all), and what is held out."""
    if validation is None:
        return None, []
    if not isinstance(validation, Real):
        return None, [(_held_out(examples, validation), None)]
    validation = float(validation)
    if not 0 < validation < 1:
        raise DataError(f"the share to hold out is between 0 and 1, not {validation}")
    count = len(examples)
    held = max(1, round(count * validation))
    if held >= count:
        raise DataError(f"of {count} rows, {held} cannot be held out")
    order = np.random.default_rng((seed, 0x5EED)).permutation(count)
    return np.sort(order[held:]), [(examples, np.sort(order[:held]))]


def _held_out(examples: Examples, validation: Validation) -> Examples:
    """Return data to validate on, refused if they are not of the form of what is trained on."""
    given, weights = validation, None
    if isinstance(validation, Sequence) and len(validation) == 3:
        given, weights = validation[:2], validation[2]
    held_out = examples_of(given, weights, "validation ").ordered_as(examples)
    if held_out.names != examples.names or len(held_out.inputs) != len(examples.inputs):
        raise DataError(
            f"the inputs to train on are {', '.join(examples.labels)}, and those of the validation "
            f"{', '.join(held_out.labels)}"
        )
    pairs = zip(
        [*examples.labels, "y"],
        [*held_out.inputs, held_out.targets],
        [*examples.inputs, examples.targets],
        strict=True,
    )
    for name, array, trained in pairs:
        if array.shape[1:] != trained.shape[1:]:
            raise DataError(
                f"the rows of validation {name} are of shape {list(array.shape[1:])}, and those of {name} of "
                f"{list(trained.shape[1:])}"
            )
    return held_out


def _check_targets(loss: Function[Tensor], output: Tensor, y: HostArray, classified: bool) -> None:
    """Have the loss refuse targets that it is not defined for: a compiled one knows no values.

    It is given one and the same output beside all of them, which is cheap.
    """
    if classified:
        require_labels(y, output.shape[1])
    if output.shape[:1] != (1,):
        return
    for start in range(0, len(y), BLOCK_ROWS):
        targets = y[start : start + BLOCK_ROWS]
        try:
            loss(as_tensor(np.repeat(output.numpy(), len(targets), axis=0)), targets)
        except DataError as error:
            raise DataError(f"counting from row {start} of the targets: {error}" if start else str(error)) from error
        except GraphDiffError:
            return  # a loss that cannot be asked in this way; what is wrong with it, training will tell
