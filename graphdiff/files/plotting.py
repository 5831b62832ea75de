"""What the pictures that matplotlib draws have in common: no window, one look, and errors that name the mend."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from graphdiff.errors import DataError

__all__ = ["FIRST", "SECOND", "figure_for", "rendered", "styled"]

FIRST, SECOND = "#0072b2", "#d55e00"
"""Two colours that everyone can tell apart (Okabe and Ito, 2008)."""
_ENDINGS = (".png", ".svg", ".pdf")


def figure_for(path: str | os.PathLike[str], width: float, height: float) -> Any:
    """Return an empty matplotlib figure, in inches, to be written to `path`.

    Raises
    ------
    DataError
        The path's ending is no format, or matplotlib is missing.
    """
    if Path(path).suffix.lower() not in _ENDINGS:
        raise DataError(f"curves are drawn as .png, .svg or .pdf, and not {Path(path).name!r}")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise DataError(f'pictures need matplotlib: pip install "graphdiff[demo]" ({error})') from error
    return Figure(figsize=(width, height), layout="constrained")


def styled(axes: Any, **properties: Any) -> Any:
    """Give axes a quiet look, and their properties, as `axes.set` takes them."""
    axes.set(**properties)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def rendered(figure: Any, path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of the file that `path` is to be."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=130, format=Path(path).suffix.lower()[1:])
    return drawn.getvalue()
