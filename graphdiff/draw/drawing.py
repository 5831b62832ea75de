"""A drawing: DOT text that is rendered, saved and shown."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from graphdiff.draw.engine import fitted, rendered
from graphdiff.errors import GraphError
from graphdiff.files.atomic import write_atomically
from graphdiff.graph import Graph
from graphdiff.tensor import Tensor
from graphdiff.typing import Function, Tree

if TYPE_CHECKING:
    from graphdiff.draw.page import Page

__all__ = ["Drawable", "Drawing", "DrawnByItself"]


class DrawnByItself(Protocol):
    """What knows how it is drawn, as models do: of options and an example."""

    @property
    def __graphdiff_draw__(self) -> Function[Drawing]: ...


Drawable: TypeAlias = "Tree[Tensor] | Graph | DrawnByItself"
"""What can be drawn: a Tensor, a nested structure of them, a graph, or a model."""

_PIXELS = 192
"""Per inch, in PNG: twice a screen's."""
_MOST_PIXELS = 8192
"""Per side of a PNG, so that it needs at most 256 MiB where it is decoded."""
_FORMATS = ("svg", "png", "pdf", "dot", "html")


class Drawing:
    """A drawn graph: `save` writes it, Jupyter shows it.

    Attributes
    ----------
    source : str
        The DOT text.
    outputs : Tensor, nested structure of Tensors, or Graph
        What was drawn; of a model its output, or its loss.
    """

    def __init__(self, source: str, outputs: Tree[Tensor] | Graph = ()) -> None:
        self.source = source
        self.outputs = outputs

    def render(self, file_format: str) -> bytes:
        """Return the picture as bytes: "svg", "png", "pdf", "dot" for the text itself, "html" for the page.

        A PNG has at most 8,192 pixels a side; a larger drawing is scaled down to that, which is warned of.
        """
        if file_format not in _FORMATS:
            raise GraphError(f"a drawing is saved as {', '.join(_FORMATS)}, not {file_format!r}")
        if file_format == "dot":
            return self.source.encode()
        if file_format == "html":
            return self.page().html.encode()
        if file_format == "png":
            # Graphviz makes a drawing that is larger than its `size`, in inches, so much smaller.
            most = _MOST_PIXELS / _PIXELS
            made = rendered(self.source, "png", f"-Gdpi={_PIXELS}", f"-Gsize={most:.6f},{most:.6f}")
            _tell_of_scaling(made)
            return made
        made = rendered(self.source, file_format)
        return fitted(made.decode()).encode() if file_format == "svg" else made

    def page(self) -> Page:
        """Return the interactive page of the same graph; Jupyter shows it in a cell."""
        from graphdiff.draw.page import page

        return page(self.outputs)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture in the format of the path's suffix; an error leaves an existing file as it was.

        Raises
        ------
        GraphError
            Another suffix.
        DataError
            The file cannot be written.
        """
        return write_atomically(path, self.render(Path(path).suffix.lstrip(".").lower()))

    def _repr_svg_(self) -> str:
        return self.render("svg").decode()


def _tell_of_scaling(png: bytes) -> None:
    """Warn where a PNG has been scaled down to the most pixels that one gets."""
    width, height = (int.from_bytes(png[start : start + 4], "big") for start in (16, 20))  # in its first chunk, IHDR
    if max(width, height) >= _MOST_PIXELS - 1:
        warnings.warn(
            f"the drawing is scaled down to {width:,} × {height:,} pixels, the most that a PNG gets; SVG and PDF show "
            "it at any size",
            stacklevel=3,
        )
