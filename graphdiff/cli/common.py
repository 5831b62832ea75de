"""What the commands share."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from graphdiff.errors import GraphDiffError

if TYPE_CHECKING:
    from graphdiff.host import HostArray
    from graphdiff.tensor import Tensor
    from graphdiff.typing import Function, Tree

__all__ = ["Names", "errors_told", "function_of", "random_arrays", "require_writable", "widths_of"]


class Names(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """Names separated by commas."""

    name = "names"

    def convert(self, value: str | list[str], param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        return value if isinstance(value, list) else [name.strip() for name in value.split(",") if name.strip()]


@contextlib.contextmanager
def errors_told() -> Iterator[None]:
    """Show errors in one line, those of packages that are missing too, and warnings likewise."""

    def tell(message: Warning | str, *_: object, **__: object) -> None:
        click.echo(f"Warning: {message}", err=True)

    with warnings.catch_warnings():
        warnings.showwarning = tell
        try:
            yield
        except (GraphDiffError, ImportError) as error:
            raise click.ClickException(str(error)) from error


def require_writable(folder: Path) -> None:
    """Make a folder, and refuse one that cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise click.ClickException(f"cannot write to {folder}: {error.strerror}") from error


def widths_of(hidden: str) -> list[int]:
    """Return the widths that --hidden lists."""
    try:
        widths = [int(width) for width in hidden.split(",") if width.strip()]
    except ValueError:
        widths = [0]
    if any(width < 1 for width in widths):
        raise click.BadParameter(f"{hidden!r} is no list of positive widths such as 64,64", param_hint="--hidden")
    return widths


def random_arrays(shapes: Sequence[str], seed: int) -> list[HostArray]:
    """Return arrays of the shapes that --shapes lists, filled at random from 0 to 1."""
    import numpy as np

    generator = np.random.default_rng(seed)
    return [np.asarray(generator.uniform(size=_shape(each))) for each in shapes]


def _shape(text: str) -> tuple[int, ...]:
    try:
        lengths = tuple(int(length) for length in text.lower().replace("×", "x").replace(",", "x").split("x"))
    except ValueError:
        lengths = (-1,)
    if min(lengths) < 0 or (0 in lengths and lengths != (0,)):
        raise click.BadParameter(f"{text!r} is no shape such as 3x4, or 0 for a number", param_hint="--shapes")
    return () if lengths == (0,) else lengths


def function_of(target: str) -> Function[Tree[Tensor]]:
    """Run a Python file and return the function of it that FILE.py:FUNCTION names."""
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
    function: Function[Tree[Tensor]] = names[name]
    return function
