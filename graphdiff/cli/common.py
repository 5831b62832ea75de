"""What the commands share."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from graphdiff.errors import GraphDiffError

__all__ = ["errors_told", "require_writable", "widths_of"]


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


@contextlib.contextmanager
def errors_told() -> Iterator[None]:
    """Show errors in one line, those of packages that are missing too."""
    try:
        yield
    except (GraphDiffError, ImportError) as error:
        raise click.ClickException(str(error)) from error
