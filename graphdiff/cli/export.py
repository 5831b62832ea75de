"""`graphdiff export`: a saved model for other programs."""

from __future__ import annotations

from pathlib import Path

import click

from graphdiff.cli.common import errors_told
from graphdiff.train import export_onnx, load
from graphdiff.train.onnx import example_shape, input_dtype

__all__ = ["export"]

_EXAMPLES = """\b
Examples:
  graphdiff export model.safetensors model.onnx
  graphdiff export images.safetensors images.onnx --input-shape 28,28
"""


def _shape(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    try:
        shape = None if value is None else tuple(int(length) for length in value.split(","))
    except ValueError:
        shape = (0,)
    if shape is not None and min(shape) < 1:
        raise click.BadParameter(f"{value!r} is no list of lengths such as 28,28", context, parameter)
    return shape


@click.command(epilog=_EXAMPLES)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--input-shape", callback=_shape, help="Of one example, where the layers do not tell.")
@click.option(
    "--dtype",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "float32", "float64", "int64"]),
    help="Of the input; auto is float32, or float64 where that would blur a column of large numbers.",
)
def export(model: Path, output: Path, input_shape: tuple[int, ...] | None, dtype: str) -> None:
    """Write MODEL, which `graphdiff train` or gd.train.save wrote, as an ONNX file.

    Its input is what `train` made of the columns: numbers before scaling, and 0 or 1 for each category. Its output is
    what is predicted, or the logits of the classes.
    """
    with errors_told():
        saved = load(model)
        given = input_dtype(saved, None if dtype == "auto" else dtype)
        path = export_onnx(saved, output, input_shape, dtype=given)
        shape = example_shape(saved, input_shape)
    click.echo(f"wrote {path}: input of shape batch × {' × '.join(map(str, shape))}, {given}")
