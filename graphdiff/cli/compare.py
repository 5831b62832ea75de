"""The command that counts and measures what every way to a function's Jacobian costs."""

from __future__ import annotations

from pathlib import Path

import click

from graphdiff.cli.common import function_of, random_arrays, require_writable
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
    from graphdiff.compare import compare_modes

    if save:
        _require_report(save)
    function = function_of(target)
    arguments = random_arrays(shapes or ("0",), seed)
    try:
        report = compare_modes(function, *arguments, seconds=seconds)
    except GraphDiffError as error:
        raise click.ClickException(str(error)) from error
    except (TypeError, ValueError, IndexError, OSError) as error:
        given = ", ".join(str(argument.shape) for argument in arguments)
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
