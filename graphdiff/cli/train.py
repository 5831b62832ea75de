"""`graphdiff train`: an MLP from a table in a file."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from graphdiff.backend import use_backend
from graphdiff.cli.common import Names, errors_told, require_writable, widths_of
from graphdiff.plan.compiled import PRECISIONS
from graphdiff.train.tabular.fit import Training, optimisers, train_table
from graphdiff.train.tabular.prepare import Asked

__all__ = ["train"]

_CHECKPOINT = "checkpoint.safetensors"

_TRAIN_EXAMPLES = """\b
Examples:
  graphdiff train houses.csv --target price
  graphdiff train iris.csv --target species --hidden 32 --epochs 200 --out iris/
  graphdiff train big.parquet --target y --checkpoint run/ --epochs 500
  graphdiff train big.parquet --target y --checkpoint run/ --epochs 500 --resume
"""


class _Rate(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    name = "number or auto"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> str | float:
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
@click.option("--optimizer", default="adam", show_default=True, type=click.Choice(sorted(optimisers())))
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
    names = ("target", "task", "ignore", "categorical", "sample_weight", "missing", "validation")
    asked = Asked(**{name: options.pop(name) for name in names}, seed=options["seed"])
    training = Training(widths_of(options.pop("hidden")), **options)
    require_writable(out)
    folder = checkpoint or out
    require_writable(folder)
    path = folder / _CHECKPOINT
    try:
        with errors_told(), use_backend(backend):
            train_table(data, out, path, asked, training, click.echo)
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
