"""`graphdiff predict` and `evaluate`: a trained model and a table in a file."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import click
import numpy as np

from graphdiff.backend import use_backend
from graphdiff.cli.common import errors_told
from graphdiff.errors import DataError
from graphdiff.files.atomic import write_atomically
from graphdiff.host import HostArray
from graphdiff.train import Saved, load
from graphdiff.train.tabular.columns import encode, encode_weights
from graphdiff.train.tabular.report import scores_of
from graphdiff.train.tabular.tables import Table, read_table

__all__ = ["evaluate", "loaded", "predict"]

_PREDICT_EXAMPLES = """\b
Examples:
  graphdiff predict model.safetensors new.csv -o predictions.csv
  graphdiff predict model.safetensors new.csv | head
"""

_EVALUATE_EXAMPLES = """\b
Examples:
  graphdiff evaluate model.safetensors test.csv
"""


def loaded(model: Path, data: Path) -> tuple[Saved, Table, HostArray]:
    """Return a model, a table, and the table's columns as the model takes them, before scaling."""
    saved = load(model)
    try:
        columns = [(column["name"], column["kind"]) for column in saved.columns or []]
        target = saved.notes["target"]
    except (KeyError, TypeError) as error:
        raise DataError(f"{model} does not say which columns it is for: graphdiff train did not write it") from error
    if not columns or not isinstance(target, str):
        raise DataError(f"{model} does not say which columns it is for: graphdiff train did not write it")
    labels = [*(name for name, kind in columns if kind == "categorical"), *([target] if saved.classes else [])]
    table = read_table(data, labels)
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
    with errors_told(), use_backend(backend):
        saved, _, inputs = loaded(model, data)
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


def _weights_of(saved: Saved, table: Table) -> tuple[HostArray | None, str]:
    """Return how much each row counts, as in training, and what is said of that."""
    name = saved.notes.get("sample_weight")
    if name is None:
        return None, ""
    if name not in table.columns:
        return None, f", which count alike: there is no column {name!r}, by which they counted in training"
    weights = encode_weights(table, name)
    if not weights.any():
        raise DataError(f"{table.path}, column {name!r}: the weight of every row is 0")
    return weights, f", each counted by its {name!r}"


@click.command(epilog=_EVALUATE_EXAMPLES)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--backend", default="numpy", show_default=True, help="Where arrays live.")
def evaluate(model: Path, data: Path, backend: str) -> None:
    """Compare a model's predictions with the target column of DATA.

    Where the model was trained with --sample-weight, rows count by that column, if DATA has it.
    """
    with errors_told(), use_backend(backend):
        saved, table, inputs = loaded(model, data)
        weights, told = _weights_of(saved, table)
        scores = scores_of(saved, inputs, table, saved.notes["target"], weights=weights)
        click.echo(f"{len(table)} rows{told}")
        for name, value in scores.items():
            click.echo(f"{name} {value:.4f}")
