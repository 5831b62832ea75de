"""An MLP trained on a table: the body of `graphdiff train`."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from graphdiff import optim
from graphdiff.draw import draw
from graphdiff.errors import DataError
from graphdiff.files.tensorfile import unpack
from graphdiff.host import HostArray
from graphdiff.nn import MLP, softmax_cross_entropy, squared_error
from graphdiff.optim import Optimizer
from graphdiff.plan import compile
from graphdiff.tensor import Tensor
from graphdiff.train.callbacks import EarlyStopping
from graphdiff.train.files import Saved, save
from graphdiff.train.fit import fit
from graphdiff.train.history import History
from graphdiff.train.tabular.prepare import Asked, Prepared, Say, prepare
from graphdiff.train.tabular.report import scores_of, tell_best
from graphdiff.typing import ArrayLike, Function

__all__ = ["Training", "optimisers", "train_table"]

_RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
"""Learning rates that are tried."""


@dataclass(frozen=True)
class Training:
    """How a table's model is trained.

    Attributes
    ----------
    widths : list of int
        Of the hidden layers.
    optimizer : str
        A key of `optimisers`.
    lr : float or "auto"
        "auto" tries several.
    epochs, batch_size, seed : int
    patience : int
        Training ends when the held-out loss has not improved for so many epochs; 0: never before its end.
    precision : str
        Of products on a GPU.
    resume : bool
        Go on from the checkpoint.
    """

    widths: list[int]
    optimizer: str = "adam"
    lr: float | str = "auto"
    epochs: int = 50
    batch_size: int = 32
    patience: int = 10
    precision: str = "float32"
    resume: bool = False
    seed: int = 0


def optimisers() -> dict[str, Function[Optimizer]]:
    """Return the optimisers that a loop of minibatches can drive, by lower-case name."""
    found: dict[str, Function[Optimizer]] = {}
    for name in optim.__all__:
        kind = getattr(optim, name)
        if inspect.isclass(kind) and issubclass(kind, Optimizer) and kind is not Optimizer:
            plain = kind.minimize is Optimizer.minimize and "lr" in inspect.signature(kind).parameters
            if plain:
                found[name.lower()] = kind
    return found


def train_table(data: Path, out: Path, checkpoint: Path, asked: Asked, training: Training, say: Say) -> None:
    """Train an MLP to predict a column of a table, and write model, history, curves and graph into a folder.

    Parameters
    ----------
    data, out, checkpoint : Path
        The table, the folder to write into, and the file that an interrupted run goes on from.
    say : callable
        Hears what is done, line by line.

    Raises
    ------
    DataError
        The table or the checkpoint is not what it should be, or training diverges.
    """
    if asked.sample_weight == asked.target:
        raise DataError(f"column {asked.target!r} is the target and cannot be the weight too")
    going_on = _look_for(checkpoint, training.resume, say)
    prepared = prepare(data, asked, say)
    model, loss, made = _made(prepared, training, say)
    if going_on:
        _tell_rate(checkpoint, training.lr, say)
    elif training.lr == "auto":
        made.lr = _best_rate(model, made, loss, prepared.rows(prepared.trained), training)
        say(f"learning rate {made.lr:g}, the best of those tried")
    history = _fitted(prepared, model, loss, made, checkpoint, training, say)
    if training.patience and len(prepared.tested):
        tell_best(history, training.epochs, training.patience, say)
    if not all(np.isfinite(value).all() for value in model.state().values()):
        raise DataError(f"training diverged, and no model is written: try a learning rate below {made.lr:g} with --lr")
    written = _written(prepared, model, history, out, say)
    _tell_scores(prepared, model, say)
    say(f"wrote {', '.join(map(str, written))}")


def _made(prepared: Prepared, training: Training, say: Say) -> tuple[MLP, Function[Tensor], Optimizer]:
    """Return model, loss and optimiser, and say what is trained on what."""
    width, asked = prepared.arrays[0].shape[1], prepared.asked
    model = MLP([*training.widths, prepared.outputs], in_features=width, seed=training.seed)
    loss: Function[Tensor] = squared_error if prepared.classes is None else softmax_cross_entropy
    lr = 1e-3 if training.lr == "auto" else training.lr
    made = optimisers()[training.optimizer](model.parameters(), lr=lr)
    layers = "-".join(map(str, [width, *training.widths, prepared.outputs]))
    say(f"{prepared.task} of {asked.target!r} ({prepared.why}) from {len(prepared.columns)} columns; MLP {layers}")
    say(f"{len(prepared.trained)} rows to train on, {len(prepared.tested)} held out")
    return model, loss, made


def _fitted(
    prepared: Prepared,
    model: MLP,
    loss: Function[Tensor],
    made: Optimizer,
    checkpoint: Path,
    training: Training,
    say: Say,
) -> History:
    """Train, saying every tenth of the epochs how far it is."""

    def tell(record: dict[str, float]) -> None:
        if record["epoch"] % max(1, training.epochs // 10) == 0 or record["epoch"] == training.epochs:
            told = [f"{name.replace('_', ' ')} {value:.4f}" for name, value in record.items() if name != "epoch"]
            say(f"epoch {record['epoch']:>4}  " + "  ".join(told))

    inputs, targets, *weights = prepared.rows(prepared.trained)
    held = bool(len(prepared.tested))
    return fit(
        model,
        loss,
        (inputs, targets),
        made,
        epochs=training.epochs,
        batch_size=training.batch_size,
        validation=tuple(prepared.rows(prepared.tested)) if held else None,
        seed=training.seed,
        on_epoch=tell,
        early_stopping=EarlyStopping(training.patience) if training.patience and held else None,
        checkpoint=checkpoint,
        resume=training.resume,
        precision=training.precision,
        sample_weight=weights[0] if weights else None,
    )


def _written(prepared: Prepared, model: MLP, history: History, out: Path, say: Say) -> list[Path]:
    """Write model, history, curves and graph; return where they are."""
    asked = prepared.asked
    notes = {"target": asked.target} | ({} if asked.sample_weight is None else {"sample_weight": asked.sample_weight})
    written = [
        save(
            model,
            out / "model.safetensors",
            scaler=prepared.scaler,
            columns=prepared.columns,
            classes=prepared.classes,
            target_scaler=prepared.target_scaler,
            notes=notes,
        ),
        history.save_csv(out / "history.csv"),
    ]
    try:
        written.append(history.plot(out / "curves.png"))
    except DataError as error:
        say(f"no curves: {error}", err=True)
    return [*written, draw(model).save(out / "graph.svg")]


def _tell_scores(prepared: Prepared, model: MLP, say: Say) -> None:
    """Say how good the predictions for the rows held out are."""
    tested = prepared.tested
    if not len(tested):
        return
    saved = Saved(model, prepared.scaler, prepared.columns, prepared.classes, prepared.target_scaler)
    weights = prepared.arrays[2][tested] if len(prepared.arrays) > 2 else None
    scores = scores_of(saved, prepared.inputs[tested], prepared.table, prepared.asked.target, tested, weights)
    for name, value in scores.items():
        say(f"held-out {name} {value:.4f}")


def _tell_rate(checkpoint: Path, asked: float | str, say: Say) -> None:
    """Say which learning rate a run goes on with: its own."""
    stored = unpack(checkpoint, "checkpoint")[0].get("optimizer/lr")
    if stored is None or stored.size != 1:
        raise DataError(f"{checkpoint} is no checkpoint that can be read: it has no learning rate")
    kept = float(stored.reshape(())[()])
    other = f", not {asked:g}: a run goes on as it began" if asked not in ("auto", kept) else ""
    say(f"learning rate {kept:g}, as in {checkpoint}{other}")


def _look_for(checkpoint: Path, resume: bool, say: Say) -> bool:
    """Return whether training goes on from a checkpoint; one of an unfinished run is not overwritten unasked."""
    if not checkpoint.exists():
        if resume:
            say(f"there is no {checkpoint}: training begins afresh", err=True)
        return False
    facts = unpack(checkpoint, "checkpoint")[1]
    if resume:
        if facts.get("stopped"):
            told = "nothing is left to train; without --resume it begins afresh"
            say(f"{checkpoint} is of a run that early stopping has ended: {told}", err=True)
        return True
    if not facts.get("finished"):
        raise DataError(f"{checkpoint} is of an unfinished run: go on with --resume, or remove it to begin afresh")
    return False


def _best_rate(
    model: MLP, optimizer: Optimizer, loss: Function[Tensor], data: Sequence[HostArray], training: Training
) -> float:
    """Return a learning rate after a short training with which the loss is low; leaves all as it was.

    Of rates that are about as good as the best, it is the least: what is quick at first may not settle later.
    """
    kept, memory = model.state(), optimizer.state()
    stream = np.random.default_rng((training.seed, 2))
    count = len(data[0])
    batches = [stream.integers(0, count, min(training.batch_size, count)) for _ in range(60)]
    sample = np.sort(stream.permutation(count)[:2000])

    def lost(inputs: ArrayLike, targets: ArrayLike, *weights: ArrayLike) -> Tensor:
        return loss(model(inputs), targets, weights=weights[0] if weights else None)

    @partial(compile, precision=training.precision)
    def step(*batch: ArrayLike) -> Tensor:
        value = lost(*batch)
        optimizer.minimize(value)
        return value

    before, reached = optimizer.lr, {}
    with np.errstate(all="ignore"):
        for rate in _RATES:
            optimizer.lr = rate
            for rows in batches:
                step(*(array[rows] for array in data))
            value = float(lost(*(array[sample] for array in data)))
            reached[rate] = value if value == value else float("inf")
            model.load_state(kept)
            optimizer.load_state(memory)
    bound = 1.5 * min(reached.values())
    return min((rate for rate, value in reached.items() if value <= bound), default=before)
