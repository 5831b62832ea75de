"""`graphdiff train`, `predict` and `evaluate`: an MLP from a table in a file."""

from __future__ import annotations

import csv
import inspect
import io
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from graphdiff import optim
from graphdiff.backend import use_backend
from graphdiff.cli.common import Names, require_writable, told, widths_of
from graphdiff.draw import draw
from graphdiff.errors import DataError
from graphdiff.nn import MLP, accuracy, softmax_cross_entropy, squared_error
from graphdiff.optim import Optimizer
from graphdiff.plan import compile
from graphdiff.train import EarlyStopping, Saved, Standardise, fit, load, save
from graphdiff.train.atomic import write_atomically
from graphdiff.train.checkpoints import optimizer_state
from graphdiff.train.tables import Table, describe_columns, describe_target, encode, encode_target, read_table
from graphdiff.train.tensorfile import unpack

__all__ = ["evaluate", "predict", "train"]

_CHECKPOINT = "checkpoint.safetensors"

_TRAIN_EXAMPLES = """\b
Examples:
  graphdiff train houses.csv --target price
  graphdiff train iris.csv --target species --hidden 32 --epochs 200 --out iris/
  graphdiff train big.parquet --target y --checkpoint run/ --epochs 500
  graphdiff train big.parquet --target y --checkpoint run/ --epochs 500 --resume
"""

_PREDICT_EXAMPLES = """\b
Examples:
  graphdiff predict model.safetensors new.csv -o predictions.csv
  graphdiff predict model.safetensors new.csv | head
"""

_EVALUATE_EXAMPLES = """\b
Examples:
  graphdiff evaluate model.safetensors test.csv
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
@click.option("--hidden", default="64,64", show_default=True, help="Widths of the hidden layers, separated by commas.")
@click.option("--optimizer", default="adam", show_default=True, type=click.Choice(sorted(_optimisers())))
@click.option("--lr", default="auto", show_default=True, type=_Rate(), help="Learning rate; auto tries several.")
@click.option("--epochs", default=50, show_default=True, type=click.IntRange(1), help="Passes over the training rows.")
@click.option("--batch-size", default=32, show_default=True, type=click.IntRange(1))
@click.option(
    "--validation", default=0.2, show_default=True, type=click.FloatRange(0, 1, max_open=True), help="Share held out."
)
@click.option("--patience", type=click.IntRange(1), help="Stop when so many epochs brought no improvement.")
@click.option("--backend", default="numpy", show_default=True, help="Where arrays live.")
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
    """
    widths = widths_of(options.pop("hidden"))
    require_writable(out)
    folder = checkpoint or out
    require_writable(folder)
    path = folder / _CHECKPOINT
    try:
        with told(), use_backend(backend):
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
    optimizer: str,
    lr: Any,
    epochs: int,
    batch_size: int,
    validation: float,
    patience: int | None,
    resume: bool,
    seed: int,
) -> None:
    going_on = _look_for(checkpoint, resume)
    table = read_table(data)
    classes, why = describe_target(table, target, task)
    columns = describe_columns(table, target, ignore, categorical)
    inputs, targets = encode(table, columns), encode_target(table, target, classes)
    order = np.random.default_rng((seed, 1)).permutation(len(table))
    held = min(round(validation * len(table)), len(table) - 1)
    trained, tested = np.sort(order[held:]), np.sort(order[:held])
    scaler = Standardise(_numeric_places(columns)).fit(inputs[trained])
    X = scaler.transform(inputs).astype("float32")
    target_scaler = None
    if classes is None:
        target_scaler = Standardise().fit(targets[trained])
        targets = target_scaler.transform(targets).astype("float32")
    outputs = 1 if classes is None else len(classes)
    model = MLP([*widths, outputs], in_features=X.shape[1], seed=seed)
    loss: Any = squared_error if classes is None else softmax_cross_entropy
    made = _optimisers()[optimizer](model.parameters(), lr=1e-3 if lr == "auto" else lr)
    task = "regression" if classes is None else "classification"
    layers = "-".join(map(str, [X.shape[1], *widths, outputs]))
    click.echo(f"{task} of {target!r} ({why}) from {len(columns)} columns; MLP {layers}")
    click.echo(f"{len(trained)} rows to train on, {len(tested)} held out")
    if lr == "auto" and not going_on:
        made.lr = _best_rate(model, made, loss, X[trained], targets[trained], batch_size, seed)
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
        validation=(X[tested], targets[tested]) if held else None,
        seed=seed,
        on_epoch=tell,
        early_stopping=None if patience is None else EarlyStopping(patience),
        checkpoint=checkpoint,
        resume=resume,
    )
    written = [
        save(
            model,
            out / "model.safetensors",
            scaler=scaler,
            columns=columns,
            classes=classes,
            target_scaler=target_scaler,
            notes={"target": target},
        ),
        history.save_csv(out / "history.csv"),
    ]
    try:
        written.append(history.plot(out / "curves.png"))
    except DataError as error:
        click.echo(f"no curves: {error}", err=True)
    few = slice(0, 4)
    written.append(draw(loss(model(X[few]), targets[few]).named("loss")).save(out / "graph.svg"))
    if held:
        saved = Saved(model, scaler, columns, classes, target_scaler)
        for name, value in _scores(saved, inputs[tested], table, target, tested).items():
            click.echo(f"held-out {name} {value:.4f}")
    click.echo(f"wrote {', '.join(map(str, written))}")


def _look_for(checkpoint: Path, resume: bool) -> bool:
    """Return whether training goes on from a checkpoint; one of an unfinished run is not overwritten unasked."""
    if not checkpoint.exists():
        if resume:
            click.echo(f"there is no {checkpoint}: training begins afresh", err=True)
        return False
    if resume:
        return True
    if not unpack(checkpoint, "checkpoint")[1].get("finished"):
        raise DataError(f"{checkpoint} is of an unfinished run: go on with --resume, or remove it to begin afresh")
    return False


def _numeric_places(columns: list[dict[str, Any]]) -> list[int]:
    """Return which inputs are numbers, the others being zeros and ones of categories."""
    places: list[int] = []
    start = 0
    for column in columns:
        if column["kind"] == "numeric":
            places.append(start)
        start += len(column.get("categories", [0]))
    return places


def _best_rate(model: Any, optimizer: Optimizer, loss: Any, X: Any, y: Any, batch_size: int, seed: int) -> float:
    """Return a learning rate after a short training with which the loss is low; leaves all as it was.

    Of rates that are about as good as the best, it is the least: what is quick at first may not settle later.
    """
    weights = model.state()
    states = {state: state.numpy().copy() for state in optimizer_state(optimizer).values()}
    stream = np.random.default_rng((seed, 2))
    batches = [stream.integers(0, len(X), min(batch_size, len(X))) for _ in range(60)]
    sample = np.sort(stream.permutation(len(X))[:2000])

    @compile
    def step(inputs: Any, targets: Any) -> Any:
        value = loss(model(inputs), targets)
        optimizer.minimize(value)
        return value

    before, reached = optimizer.lr, {}
    with np.errstate(all="ignore"):
        for rate in (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0):
            optimizer.lr = rate
            for rows in batches:
                step(X[rows], y[rows])
            value = float(loss(model(X[sample]), y[sample]))
            reached[rate] = value if value == value else float("inf")
            model.load_state(weights)
            for state, saved in states.items():
                state.assign(saved)
    bound = 1.5 * min(reached.values())
    return min((rate for rate, value in reached.items() if value <= bound), default=before)


def _scores(saved: Saved, inputs: Any, table: Table, target: str, rows: Any = None) -> dict[str, float]:
    """Return how good the predictions are."""
    truth = encode_target(table, target, saved.classes)
    truth = truth if rows is None else truth[rows]
    output = saved(inputs)
    if saved.classes is not None:
        return {"accuracy": accuracy(output, truth), "cross-entropy": float(softmax_cross_entropy(output, truth))}
    wrong = output - truth
    scores = {"root mean squared error": float(np.sqrt(np.mean(wrong**2))), "mean absolute error": np.abs(wrong).mean()}
    spread = truth.var()
    return scores | ({"R²": 1 - float(np.mean(wrong**2) / spread)} if spread else {})


def _loaded(model: Path, data: Path) -> tuple[Saved, Table, Any]:
    saved = load(model)
    try:
        columns = [(column["name"], column["kind"]) for column in saved.columns or []]
        target = saved.notes["target"]
    except (KeyError, TypeError) as error:
        raise DataError(f"{model} does not say which columns it is for: graphdiff train did not write it") from error
    if not columns or not isinstance(target, str):
        raise DataError(f"{model} does not say which columns it is for: graphdiff train did not write it")
    table = read_table(data)
    return saved, table, encode(table, saved.columns or []).astype("float64")


@click.command(epilog=_PREDICT_EXAMPLES)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="A CSV file; by default the output.")
@click.option("--backend", default="numpy", show_default=True, help="Where arrays live.")
def predict(model: Path, data: Path, output: Path | None, backend: str) -> None:
    """Predict with a model that `graphdiff train` wrote: one row per row of DATA.

    Of classes, their probabilities are written too.
    """
    with told(), use_backend(backend):
        saved, _, inputs = _loaded(model, data)
        values = saved(inputs)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if saved.classes is None:
            writer.writerow([saved.notes["target"]])
            writer.writerows([repr(float(value))] for value in values[:, 0])
        else:
            powers = np.exp(values - values.max(axis=1, keepdims=True))
            shares = powers / powers.sum(axis=1, keepdims=True)
            writer.writerow([saved.notes["target"], *(f"p({name})" for name in saved.classes)])
            for place, row in zip(values.argmax(axis=1), shares):
                writer.writerow([saved.classes[place], *(f"{share:.6g}" for share in row)])
        if output is None:
            click.echo(text.getvalue(), nl=False)
        else:
            write_atomically(output, text.getvalue().encode())
            click.echo(f"wrote {len(values)} predictions to {output}")


@click.command(epilog=_EVALUATE_EXAMPLES)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--backend", default="numpy", show_default=True, help="Where arrays live.")
def evaluate(model: Path, data: Path, backend: str) -> None:
    """Compare a model's predictions with the target column of DATA."""
    with told(), use_backend(backend):
        saved, table, inputs = _loaded(model, data)
        scores = _scores(saved, inputs, table, saved.notes["target"])
        click.echo(f"{len(table)} rows")
        for name, value in scores.items():
            click.echo(f"{name} {value:.4f}")
