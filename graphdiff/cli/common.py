"""What the commands share."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

__all__ = ["require_writable", "widths_of"]


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
