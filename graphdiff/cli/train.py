"""`graphdiff train`: an MLP from a table in a file."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from graphdiff import optim
from graphdiff.backend import use_backend
from graphdiff.cli.common import Names, errors_told, require_writable, widths_of
from graphdiff.cli.tables import scores_of
from graphdiff.draw import draw
from graphdiff.errors import DataError
from graphdiff.files.tensorfile import unpack
from graphdiff.nn import MLP, softmax_cross_entropy, squared_error
from graphdiff.optim import Optimizer
from graphdiff.plan import compile
from graphdiff.plan.compiled import PRECISIONS
from graphdiff.train import EarlyStopping, History, Saved, Standardise, fit, save
from graphdiff.train.tabular.columns import (
    count_missing,
    describe_columns,
    describe_target,
    drop_missing,
    encode,
    encode_target,
    encode_weights,
    row_numbers,
    with_fills,
)
from graphdiff.train.tabular.tables import Table, read_table

__all__ = ["train"]

_CHECKPOINT = "checkpoint.safetensors"

_TRAIN_EXAMPLES = """\b
Examples:
  graphdiff train houses.csv --target price
  graphdiff train iris.csv --target species --hidden 32 --epochs 200 --out iris/
  graphdiff train big.parquet --target y --checkpoint run/ --epochs 500
  graphdiff train big.parquet --target y --checkpoint run/ --epochs 500 --resume
"""


def _optimisers() -> dict[str, Callable[..., Optimizer]]:
    """Return the optimisers that a loop of minibatches can drive, by lower-case name."""
    found: dict[str, Callable[..., Optimizer]] = {}
    for name in optim.__all__:
        kind = getattr(optim, name)
        if inspect.isclass(kind) and issubclass(kind, Optimizer) and kind is not Optimizer:
            plain = kind.minimize is Optimizer.minimize and "lr" in inspect.signature(kind).parameters
            if plain:
                found[name.lower()] = kind
    return found


class _Rate(click.ParamType):
    name = "number or auto"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if value == "auto":
            return value
        try:
            rate = float(value)
        except ValueError:
            rate = -1.0
        if not 0 < rate < float("inf"):
            self.fail(f"{value!r} is neither a positive number nor auto", param, ctx)
        return rate


@click.command(epilog=_TRAIN_EXAMPLES)
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--target", required=True, help="The column to predict.")
@click.option("--task", default="auto", show_default=True, type=click.Choice(["auto", "classification", "regression"]))
@click.option("--ignore", default="", type=Names(), help="Columns to leave out, separated by commas.")
@click.option("--categorical", default="", type=Names(), help="Columns of numbers to treat as categories.")
@click.option("--sample-weight", metavar="COLUMN", help="A column that says how much each row counts; no input.")
@click.option("--hidden", default="64,64", show_default=True, help="Widths of the hidden layers, separated by commas.")
@click.option("--optimizer", default="adam", show_default=True, type=click.Choice(sorted(_optimisers())))
@click.option("--lr", default="auto", show_default=True, type=_Rate(), help="Learning rate; auto tries several.")
@click.option("--epochs", default=50, show_default=True, type=click.IntRange(1), help="Passes over the training rows.")
@click.option("--batch-size", default=32, show_default=True, type=click.IntRange(1))
@click.option(
    "--validation", default=0.2, show_default=True, type=click.FloatRange(0, 1, max_open=True), help="Share held out."
)
@click.option(
    "--patience",
    default=10,
    show_default=True,
    type=click.IntRange(0),
    help="Stop when the held-out loss has not "
    "improved for so many epochs, and keep the best epoch's weights; 0: never.",
)
@click.option(
    "--missing",
    default="error",
    show_default=True,
    type=click.Choice(["error", "mean", "median", "drop"]),
    help="What empty cells become: refused, the column's mean or median over the training rows (its most frequent "
    "category), or a reason to leave the row out.",
)
@click.option("--backend", default="numpy", show_default=True, help="Where arrays live.")
@click.option(
    "--precision",
    default="float32",
    show_default=True,
    type=click.Choice(PRECISIONS),
    help="Of matrix products on a GPU; elsewhere all is float32.",
)
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Folder for checkpoints; by default --out.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Fixes weights, split and order.")
@click.option("--out", default=".", show_default=True, type=click.Path(path_type=Path), help="Where the results go.")
@click.pass_context
def train(context: click.Context, data: Path, out: Path, checkpoint: Path | None, backend: str, **options: Any) -> None:
    """Train an MLP to predict one column of a table from the others.

    DATA is CSV with a header, Parquet, or NPZ. Columns of numbers are standardised, columns of text become categories.
    Whether the target is a class or a number is inferred and said. Writes model.safetensors, history.csv, curves.png
    and graph.svg. Ctrl-C saves a checkpoint.

    The held-out rows choose the epoch whose weights are kept, so that the scores on them are a little too good; for
    others, keep rows back and use graphdiff evaluate.
    """
    widths = widths_of(options.pop("hidden"))
    require_writable(out)
    folder = checkpoint or out
    require_writable(folder)
    path = folder / _CHECKPOINT
    try:
        with errors_told(), use_backend(backend):
            _train(data, out, path, widths, **options)
    except KeyboardInterrupt:
        if not path.exists():
            raise
        click.echo(f"\ninterrupted; {path} holds what has been trained. Go on with\n  {_command(context)}", err=True)
        context.exit(130)
    if checkpoint is None:
        path.unlink(missing_ok=True)


def _command(context: click.Context) -> str:
    """Return the command line that resumes this one."""
    words = ["graphdiff", "train"]
    for parameter in context.command.params:
        name = parameter.name or ""
        value = context.params[name]
        if isinstance(parameter, click.Argument):
            words.append(str(value))
        elif name != "resume" and context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            words += [parameter.opts[-1], ",".join(value) if isinstance(value, list) else str(value)]
    return shlex.join([*words, "--resume"])


def _train(
    data: Path,
    out: Path,
    checkpoint: Path,
    widths: list[int],
    *,
    target: str,
    task: str,
    ignore: list[str],
    categorical: list[str],
    sample_weight: str | None,
    optimizer: str,
    lr: Any,
    epochs: int,
    batch_size: int,
    validation: float,
    patience: int,
    missing: str,
    precision: str,
    resume: bool,
    seed: int,
) -> None:
    if sample_weight == target:
        raise DataError(f"column {target!r} is the target and cannot be the weight too")
    going_on = _look_for(checkpoint, resume)
    table = read_table(data, [target, *categorical])
    if sample_weight is not None:
        table.require([sample_weight])
        ignore = [*ignore, sample_weight]
    classes, why = describe_target(table, target, task)
    columns = describe_columns(table, target, ignore, categorical, allow_missing=missing != "error")
    if table.nameless:
        click.echo(f"{table.nameless} columns without a name left out")
    for name in row_numbers(table, columns):
        click.echo(f"column {name!r} counts the rows: if it means nothing, --ignore {name} leaves it out", err=True)
    absent = count_missing(table, columns)
    if missing == "drop" and absent:
        whole, table = len(table), drop_missing(table, columns)
        columns = describe_columns(table, target, ignore, categorical)
        click.echo(f"{whole - len(table)} of {whole} rows dropped, for their {absent} missing values")
        classes, why = describe_target(table, target, task)
    order = np.random.default_rng((seed, 1)).permutation(len(table))
    held = min(round(validation * len(table)), len(table) - 1)
    trained, tested = np.sort(order[held:]), np.sort(order[:held])
    if missing in ("mean", "median"):
        columns = with_fills(table, columns, trained, missing)
        if absent:
            click.echo(f"{absent} missing values filled in with the {missing} of their column's training rows")
    inputs, targets = encode(table, columns), encode_target(table, target, classes)
    weights = None if sample_weight is None else encode_weights(table, sample_weight).astype("float32")
    scaler = Standardise(_numeric_places(columns)).fit(inputs[trained])
    X = _single(scaler.transform(inputs), table, [each["name"] for each in columns for _ in _inputs_of(each)])
    target_scaler = None
    if classes is None:
        target_scaler = Standardise().fit(targets[trained])
        targets = _single(target_scaler.transform(targets), table, [target])
    outputs = 1 if classes is None else len(classes)
    arrays = [X, targets, *([] if weights is None else [weights])]
    model = MLP([*widths, outputs], in_features=X.shape[1], seed=seed)
    loss: Any = squared_error if classes is None else softmax_cross_entropy
    made = _optimisers()[optimizer](model.parameters(), lr=1e-3 if lr == "auto" else lr)
    task = "regression" if classes is None else "classification"
    layers = "-".join(map(str, [X.shape[1], *widths, outputs]))
    click.echo(f"{task} of {target!r} ({why}) from {len(columns)} columns; MLP {layers}")
    click.echo(f"{len(trained)} rows to train on, {len(tested)} held out")
    if going_on:
        _tell_rate(checkpoint, lr)
    elif lr == "auto":
        made.lr = _best_rate(model, made, loss, [array[trained] for array in arrays], batch_size, seed, precision)
        click.echo(f"learning rate {made.lr:g}, the best of those tried")

    def tell(record: dict[str, float]) -> None:
        if record["epoch"] % max(1, epochs // 10) == 0 or record["epoch"] == epochs:
            told = [f"{name.replace('_', ' ')} {value:.4f}" for name, value in record.items() if name != "epoch"]
            click.echo(f"epoch {record['epoch']:>4}  " + "  ".join(told))

    history = fit(
        model,
        loss,
        (X[trained], targets[trained]),
        made,
        epochs=epochs,
        batch_size=batch_size,
        validation=tuple(array[tested] for array in arrays) if held else None,
        seed=seed,
        on_epoch=tell,
        early_stopping=EarlyStopping(patience) if patience and held else None,
        checkpoint=checkpoint,
        resume=resume,
        precision=precision,
        sample_weight=None if weights is None else weights[trained],
    )
    if patience and held:
        _tell_best(history, epochs, patience)
    if not all(np.isfinite(value).all() for value in model.state().values()):
        raise DataError(f"training diverged, and no model is written: try a learning rate below {made.lr:g} with --lr")
    written = [
        save(
            model,
            out / "model.safetensors",
            scaler=scaler,
            columns=columns,
            classes=classes,
            target_scaler=target_scaler,
            notes={"target": target} | ({} if sample_weight is None else {"sample_weight": sample_weight}),
        ),
        history.save_csv(out / "history.csv"),
    ]
    try:
        written.append(history.plot(out / "curves.png"))
    except DataError as error:
        click.echo(f"no curves: {error}", err=True)
    written.append(draw(model).save(out / "graph.svg"))
    if held:
        saved = Saved(model, scaler, columns, classes, target_scaler)
        counted = None if weights is None else weights[tested]
        for name, value in scores_of(saved, inputs[tested], table, target, tested, counted).items():
            click.echo(f"held-out {name} {value:.4f}")
    click.echo(f"wrote {', '.join(map(str, written))}")


def _tell_best(history: History, epochs: int, patience: int) -> None:
    """Say which epoch's weights early stopping has kept, and why training has ended."""
    losses = history.column("validation_loss")
    if len(history) < epochs:
        click.echo(f"stopped after epoch {len(history)}: the held-out loss had not improved for {patience} epochs")
    if np.isfinite(losses).any():
        best = 1 + int(np.nanargmin(losses))
        click.echo(f"the weights are those of epoch {best}, whose held-out loss is the least")
    else:
        click.echo("the held-out loss was never a number: try a lower --lr", err=True)


def _tell_rate(checkpoint: Path, asked: Any) -> None:
    """Say which learning rate a run goes on with: its own."""
    stored = unpack(checkpoint, "checkpoint")[0].get("optimizer/lr")
    if stored is None or stored.size != 1:
        raise DataError(f"{checkpoint} is no checkpoint that can be read: it has no learning rate")
    kept = float(stored.reshape(())[()])
    other = f", not {asked:g}: a run goes on as it began" if asked not in ("auto", kept) else ""
    click.echo(f"learning rate {kept:g}, as in {checkpoint}{other}")


def _look_for(checkpoint: Path, resume: bool) -> bool:
    """Return whether training goes on from a checkpoint; one of an unfinished run is not overwritten unasked."""
    if not checkpoint.exists():
        if resume:
            click.echo(f"there is no {checkpoint}: training begins afresh", err=True)
        return False
    facts = unpack(checkpoint, "checkpoint")[1]
    if resume:
        if facts.get("stopped"):
            told = "nothing is left to train; without --resume it begins afresh"
            click.echo(f"{checkpoint} is of a run that early stopping has ended: {told}", err=True)
        return True
    if not facts.get("finished"):
        raise DataError(f"{checkpoint} is of an unfinished run: go on with --resume, or remove it to begin afresh")
    return False


def _inputs_of(column: dict[str, Any]) -> list[Any]:
    """Return the inputs that a column becomes: itself, or one for each category."""
    return list(column.get("categories", [0]))


def _numeric_places(columns: list[dict[str, Any]]) -> list[int]:
    """Return which inputs are numbers, the others being zeros and ones of categories."""
    kinds = [column["kind"] for column in columns for _ in _inputs_of(column)]
    return [place for place, kind in enumerate(kinds) if kind == "numeric"]


def _single(scaled: Any, table: Table, names: list[str]) -> Any:
    """Return scaled values in single precision, in which one far from those trained on may be too large."""
    with np.errstate(over="ignore"):
        single = scaled.astype("float32")
    for row, place in np.argwhere(~np.isfinite(single))[:1].tolist():
        value = table.columns[names[place]][row]
        raise table.error(
            row, names[place], f"{value} is too far from the values trained on to be scaled; leave it out"
        )
    return single


def _best_rate(
    model: Any, optimizer: Optimizer, loss: Any, data: Sequence[Any], batch_size: int, seed: int, precision: str
) -> float:
    """Return a learning rate after a short training with which the loss is low; leaves all as it was.

    Of rates that are about as good as the best, it is the least: what is quick at first may not settle later.
    """
    kept, memory = model.state(), optimizer.state()
    stream = np.random.default_rng((seed, 2))
    count = len(data[0])
    batches = [stream.integers(0, count, min(batch_size, count)) for _ in range(60)]
    sample = np.sort(stream.permutation(count)[:2000])

    def lost(inputs: Any, targets: Any, *weights: Any) -> Any:
        return loss(model(inputs), targets, weights=weights[0] if weights else None)

    @partial(compile, precision=precision)
    def step(*batch: Any) -> Any:
        value = lost(*batch)
        optimizer.minimize(value)
        return value

    before, reached = optimizer.lr, {}
    with np.errstate(all="ignore"):
        for rate in (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0):
            optimizer.lr = rate
            for rows in batches:
                step(*(array[rows] for array in data))
            value = float(lost(*(array[sample] for array in data)))
            reached[rate] = value if value == value else float("inf")
            model.load_state(kept)
            optimizer.load_state(memory)
    bound = 1.5 * min(reached.values())
    return min((rate for rate, value in reached.items() if value <= bound), default=before)
