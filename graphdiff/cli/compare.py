"""The command that counts and measures what every way to a function's Jacobian costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from graphdiff.cli.common import require_writable
from graphdiff.errors import GraphDiffError

__all__ = ["compare"]

_EXAMPLES = """\b
Examples:
  graphdiff compare model.py:energy --shapes 6
  graphdiff compare model.py:loss --shapes 3x4 --shapes 4 --save report.html
"""


@click.command(epilog=_EXAMPLES)
@click.argument("target", metavar="FILE.py:FUNCTION")
@click.option("--shapes", multiple=True, help="One per argument: 3x4, or 0 for a number; filled at random.")
@click.option("--seconds", default=0.2, show_default=True, type=click.FloatRange(0), help="To measure each mode for.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Fixes the numbers.")
@click.option("--save", type=click.Path(path_type=Path), help="Also write the report, as .html, .json or .txt.")
def compare(target: str, shapes: tuple[str, ...], seconds: float, seed: int, save: Path | None) -> None:
    """Count and measure what every way to a function's Jacobian costs."""
    import numpy as np

    from graphdiff.compare import compare_modes

    if save:
        _require_report(save)
    function = _function_of(target)
    generator = np.random.default_rng(seed)
    arguments = [generator.uniform(size=_shape(each)) for each in shapes or ("0",)]
    try:
        report = compare_modes(function, *arguments, seconds=seconds)
    except GraphDiffError as error:
        raise click.ClickException(str(error)) from error
    except (TypeError, ValueError, IndexError, OSError) as error:
        given = ", ".join(str(argument.shape) for argument in map(np.asarray, arguments))
        raise click.ClickException(f"{target} cannot be run on arguments of shapes {given}: {error}") from error
    click.echo(str(report))
    if save:
        click.echo(f"wrote {report.save(save)}")


def _require_report(path: Path) -> None:
    """Refuse what cannot be written as a report before anything is measured."""
    from graphdiff.compare.results import require_known

    try:
        require_known(path)
    except GraphDiffError as error:
        raise click.BadParameter(str(error), param_hint="--save") from error
    require_writable(path.absolute().parent)


def _shape(text: str) -> tuple[int, ...]:
    try:
        lengths = tuple(int(length) for length in text.lower().replace("×", "x").replace(",", "x").split("x"))
    except ValueError:
        lengths = (-1,)
    if min(lengths) < 0 or (0 in lengths and lengths != (0,)):
        raise click.BadParameter(f"{text!r} is no shape such as 3x4, or 0 for a number", param_hint="--shapes")
    return () if lengths == (0,) else lengths


def _function_of(target: str) -> Any:
    import runpy

    path, _, name = target.rpartition(":")
    if not path or not name:
        raise click.BadParameter(f"{target!r} is not of the form FILE.py:FUNCTION", param_hint="FILE.py:FUNCTION")
    if not Path(path).is_file():
        raise click.BadParameter(f"there is no file {path!r}", param_hint="FILE.py:FUNCTION")
    try:
        names = runpy.run_path(path)
    except Exception as error:
        raise click.ClickException(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    if not callable(names.get(name)):
        functions = sorted(key for key, value in names.items() if callable(value) and not key.startswith("_"))
        raise click.ClickException(f"{path} has no function {name!r}; it has {', '.join(functions) or 'none'}")
    return names[name]
