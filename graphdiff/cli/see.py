"""`graphdiff draw`, `show`, `trace` and `explore`: look at an expression, or at what a function computes."""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import click

from graphdiff import draw as drawing
from graphdiff.cli.common import Names, errors_told, function_of, random_arrays
from graphdiff.cli.models import Outputs, model_of, tensors_of
from graphdiff.draw.lecture.symbols import DIGITS
from graphdiff.draw.lecture.table import ENDINGS, document
from graphdiff.draw.names import names_of, plain_name
from graphdiff.errors import GraphError
from graphdiff.expression import parse
from graphdiff.files.atomic import write_atomically
from graphdiff.graph import Graph
from graphdiff.host import HostArray
from graphdiff.nn import Module
from graphdiff.tensor import Tensor, variable
from graphdiff.tree import flatten
from graphdiff.typing import Function

__all__ = ["draw", "explore", "show", "trace"]

Looked: TypeAlias = "Module | Outputs"
"""What is looked at: a model, or Tensors."""

_TARGET = """

    TARGET is an expression such as "(a + b) * (b + 1)", in which parts may be named: "c = a + b; c * c". VALUE is a
    number or an array, a=2 w=[1,2,3]; without any, the graph has no values. TARGET may also be FILE.py:FUNCTION, which
    is run on the values given for its parameters, or on random arrays of --shapes; or a MODEL.safetensors that
    `graphdiff train` wrote, which with --data is run on a row of that table, and its loss shown.
"""

_PICTURES = "An .svg, .png, .pdf, .dot or .html file"

_DRAW_EXAMPLES = """\b
Examples:
  graphdiff draw "(a + b) * (b + 1)" a=2 b=1 -o e.svg
  graphdiff draw "(a + b) * (b + 1)" a=2 b=1 --mode forward --wrt b -o e.png
  graphdiff draw "c = w @ x; log(1 + exp(-c))" w=[1,2] x=[3,4] -o loss.pdf
  graphdiff draw model.py:energy --shapes 3x4 --shapes 4 -o energy.svg
  graphdiff draw model.safetensors --data flowers.csv --row 7 --colour gradient -o gradient.svg
"""

_SHOW_EXAMPLES = """\b
Examples:
  graphdiff show "(a + b) * (b + 1)" a=2 b=1 --adjoints
  graphdiff show "sin(x) / x" --style tree
"""

_TRACE_EXAMPLES = """\b
Examples:
  graphdiff trace "c = a + b; d = b + 1; e = c * d" a=2 b=1 --mode forward --wrt b
  graphdiff trace "-y * log(1 / (1 + exp(-W * x)))" W=3 x=3 y=1 --wrt W
  graphdiff trace "(a + b) * (b + 1)" a=2 b=1 -o table.tex
  graphdiff trace "sum(tanh(w * x))" w=[1,2] x=3 --mode forward --wrt w --direction [1,0]
"""

_EXPLORE_EXAMPLES = """\b
Examples:
  graphdiff explore "(a + b) * (b + 1)" a=2 b=1 -o page.html --open
  graphdiff explore model.py:energy --shapes 6 -o energy.html
  graphdiff explore model.safetensors --data flowers.csv --row 7
"""


@contextlib.contextmanager
def _reported() -> Iterator[None]:
    """Show errors without a traceback, and leave NaN and infinity for the graph to show."""
    with errors_told(), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


class _Command(click.Command):
    """A command whose expression may begin with a minus sign."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # A space before it keeps click from reading -y*log(p) as the options -y, -*, -l, …
        return super().parse_args(ctx, [f" {each}" if re.match(r"-(?!-|o|h$).", each) else each for each in args])


def _of_a_graph(command: Function[None]) -> Function[None]:
    """Give a command the arguments and options that say which graph to look at, and call it with that graph."""

    @functools.wraps(command)
    def found(
        target: str,
        values: tuple[str, ...],
        shapes: tuple[str, ...],
        seed: int,
        data: Path | None,
        rows: tuple[int, ...],
        **options: object,
    ) -> None:
        with _reported():
            command(_outputs(target, values, shapes, seed, data, rows), **options)

    found.__doc__ = f"{command.__doc__}{_TARGET}"
    for decorate in (
        click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Fixes the random arrays."),
        click.option("--row", "rows", multiple=True, type=int, help="Of --data; the first is 1, which is the default."),
        click.option("--data", type=click.Path(path_type=Path), help="A table to run MODEL.safetensors on."),
        click.option("--shapes", multiple=True, help="One per parameter of FUNCTION: 3x4, or 0 for a number."),
        click.argument("values", nargs=-1, metavar="[NAME=VALUE]..."),
        click.argument("target"),
    ):
        found = decorate(found)
    return found


def _outputs(
    target: str, values: tuple[str, ...], shapes: tuple[str, ...], seed: int, data: Path | None, rows: tuple[int, ...]
) -> Looked:
    """Return the Tensors, or the model, to look at."""
    given = dict(map(_assignment, values))
    if target.strip().endswith(".safetensors"):
        if given or shapes:
            raise click.UsageError("a model is run on a table: give --data instead of values")
        if rows and data is None:
            raise click.UsageError("--row is of a table: give --data too")
        return model_of(Path(target.strip()), data, rows or (1,))
    if data is not None or rows:
        raise click.UsageError("--data and --row are for MODEL.safetensors; give an expression's values as NAME=VALUE")
    if not re.fullmatch(r".+\.py:\w+", target):
        if shapes:
            raise click.UsageError("--shapes is for FILE.py:FUNCTION; give an expression's values as NAME=VALUE")
        return parse(target, **given)
    function = function_of(target)
    names = list(inspect.signature(function).parameters)
    if len(shapes) > len(names):
        raise click.UsageError(f"{target} has {len(names)} parameters, and there are {len(shapes)} --shapes")
    given = {**dict(zip(names, random_arrays(shapes, seed))), **given}
    arguments = {name: variable(value, name=name) for name, value in given.items()}
    for leaf in arguments.values():
        leaf._code = target
    try:
        outputs = function(**arguments)
    except Exception as error:
        listed = ", ".join(leaf.describe() for leaf in arguments.values()) or "nothing"
        raise click.ClickException(
            f"{target} cannot be run on {listed}: {type(error).__name__}: {error}. Its parameters are "
            f"{', '.join(names) or 'none'}: give values as NAME=VALUE, or --shapes once for each."
        ) from error
    Graph(outputs)
    return outputs


def _assignment(text: str) -> tuple[str, HostArray]:
    name, separator, written = text.partition("=")
    if not separator or not name.strip().isidentifier():
        raise click.BadParameter(f"{text!r} is not of the form NAME=VALUE, such as a=2 or w=[1,2,3]")
    return name.strip(), _array(written)


def _array(written: str) -> HostArray:
    """Return the number or list of numbers that an option or a value is."""
    value = parse(written)
    if not value.has_value:
        raise click.BadParameter(f"{written!r} is no number or list of numbers, such as 2 or [1,2,3]")
    array: HostArray = value.numpy()
    return array


def _seed(direction: str | None) -> HostArray | None:
    return None if direction is None else _array(direction)


def _input_named(name: str | None, outputs: Looked) -> Tensor | None:
    """Return the input that --wrt names."""
    if name is None:
        return None
    graph = Graph(outputs)
    names = names_of(graph.nodes)
    leaves = {names[leaf]: leaf for leaf in graph.inputs}
    for title, leaf in leaves.items():
        if name in (title, plain_name(title)):
            return leaf
    known = ", ".join(sorted(leaves))
    raise click.BadParameter(f"the expression has no input {name!r}; there are {known or 'none'}", param_hint="--wrt")


def _single(outputs: Looked) -> Tensor:
    leaves, _ = flatten(tensors_of(outputs))
    if len(leaves) != 1:
        raise GraphError(f"a trace is of one output, and there are {len(leaves)}")
    result: Tensor = leaves[0]
    return result


@click.command(cls=_Command, epilog=_DRAW_EXAMPLES)
@_of_a_graph
@click.option("-o", "--output", type=click.Path(path_type=Path), help=f"{_PICTURES}; by default text is printed.")
@click.option("--mode", type=click.Choice(["forward", "reverse", "both"]), help="Annotate tangents, adjoints or both.")
@click.option("--wrt", help="The input that tangents start from; needed where there are several.")
@click.option("--direction", help="That of an array --wrt in forward mode; in reverse mode an array output's adjoint.")
@click.option("--labels", type=Names(), help="What stands on a node: op,name,expression,shape,dtype,value,flops,…")
@click.option("--adjoints", is_flag=True, help="Show the derivative of the output by every node.")
@click.option("--local", is_flag=True, help="Local derivatives on the edges.")
@click.option("--backward", type=click.Choice(["joined", "beside"]), help="Draw the derivative's graph too.")
@click.option("--collapse", is_flag=True, help="Name scopes as one box each.")
@click.option("--expand", is_flag=True, help="Open composites.")
@click.option("--simplify", is_flag=True, help="Without products with 1 and sums with 0.")
@click.option("--colour", type=click.Choice(["gradient", "flops", "bytes", "time"]), help="Fill nodes by this.")
@click.option("--max-nodes", type=click.IntRange(1), help="Fold what is farther from the outputs.")
@click.option("--rankdir", type=click.Choice(["LR", "TB", "BT", "RL"]), help="From the inputs to the outputs.")
def draw(outputs: Looked, output: Path | None, wrt: str | None, direction: str | None, **options: Any) -> None:
    """Draw a graph, or without -o print it as a tree."""
    if output is None:
        pictured = [name for name, value in options.items() if value and name not in ("adjoints", "simplify")]
        if pictured or wrt or direction:
            option = (pictured or ["wrt" if wrt else "direction"])[0].replace("_", "-")
            raise click.UsageError(f"--{option} is for a picture: give -o FILE, {_PICTURES.lower()}")
        drawing.show(tensors_of(outputs), style="tree", adjoints=options["adjoints"], simplify=options["simplify"])
        click.echo(f"{_PICTURES} is drawn with -o FILE.", err=True)
        return
    if wrt is not None:
        outputs = tensors_of(outputs)
    options |= {"wrt": _input_named(wrt, outputs), "seed": _seed(direction)}
    # What is not asked for is left to the defaults of gd.draw.
    chosen = {name: value for name, value in options.items() if value is not None and value is not False}
    path = drawing.draw(outputs, **chosen).save(output)
    click.echo(f"wrote {path}")


@click.command(cls=_Command, epilog=_SHOW_EXAMPLES)
@_of_a_graph
@click.option("--style", default="both", show_default=True, type=click.Choice(["both", "tree", "table"]))
@click.option("--adjoints", is_flag=True, help="Show the derivative of the output by every node.")
@click.option("--width", type=click.IntRange(20), help="Columns; by default the terminal's.")
def show(outputs: Looked, style: str, adjoints: bool, width: int | None) -> None:
    """Print a graph as a tree and as a table."""
    drawing.show(tensors_of(outputs), style=style, adjoints=adjoints, width=width)


@click.command(cls=_Command, epilog=_TRACE_EXAMPLES)
@_of_a_graph
@click.option("--mode", default="reverse", show_default=True, type=click.Choice(["forward", "reverse"]))
@click.option("--wrt", help="The input to differentiate by; forward mode needs it where there are several.")
@click.option("--direction", help="That of an array --wrt in forward mode; in reverse mode an array output's adjoint.")
@click.option("--named", is_flag=True, help="A row for each named part only.")
@click.option("--digits", default=DIGITS, show_default=True, type=click.IntRange(1, 17), help="Significant digits.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help=f"Write {', '.join(ENDINGS)} instead.")
def trace(
    outputs: Looked,
    mode: str,
    wrt: str | None,
    direction: str | None,
    named: bool,
    digits: int,
    output: Path | None,
) -> None:
    """Print the evaluation trace table of an expression: every local and running derivative."""
    made = _single(outputs)
    table = drawing.trace(
        made, mode=mode, wrt=_input_named(wrt, made), seed=_seed(direction), named=named, digits=digits
    )
    if output is not None:
        path = write_atomically(output, document(table, output.suffix).encode())
        click.echo(f"wrote {path}")
    else:
        click.echo(table.text(shutil.get_terminal_size().columns if sys.stdout.isatty() else None))


@click.command(cls=_Command, epilog=_EXPLORE_EXAMPLES)
@_of_a_graph
@click.option("-o", "--output", type=click.Path(path_type=Path), help="An .html file; by default a temporary one.")
@click.option("--open", "opened", is_flag=True, help="Open the page in the browser; without -o it is.")
def explore(outputs: Looked, output: Path | None, opened: bool) -> None:
    """Write a page to step through a graph's values and derivatives: one file that needs no network."""
    if output is not None and output.suffix.lower() != ".html":
        raise click.BadParameter(f"{output} is no .html file", param_hint="--output")
    drawn = drawing.draw(outputs)
    path = drawn.save(Path(tempfile.mkdtemp(prefix="graphdiff-")) / "graph.html" if output is None else output)
    click.echo(f"wrote {path}")
    if opened or output is None:
        click.launch(str(path))
