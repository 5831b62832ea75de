"""From a graph to DOT, and from DOT to a picture."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphdiff.draw.compose import Layers, compose
from graphdiff.draw.example import Example, drawn_by_itself
from graphdiff.draw.expand import open_composites
from graphdiff.draw.options import Options
from graphdiff.draw.simplify import simplified
from graphdiff.draw.svg import fitted
from graphdiff.draw.write import to_dot
from graphdiff.errors import GraphError
from graphdiff.files.atomic import write_atomically
from graphdiff.graph import Graph
from graphdiff.tensor import Tensor

if TYPE_CHECKING:
    from graphdiff.draw.page import Page

__all__ = ["Drawing", "draw", "draw_graph"]

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

    def __init__(self, source: str, outputs: Any = None) -> None:
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
        import pygraphviz

        # Graphviz warns of fonts that are not on the machine and uses others, and pygraphviz of every large graph.
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            # Graphviz makes a drawing that is larger than its `size`, in inches, so much smaller.
            most = _MOST_PIXELS / _PIXELS
            resolution = f"-Gdpi={_PIXELS} -Gsize={most:.6f},{most:.6f}" if file_format == "png" else ""
            made: bytes = pygraphviz.AGraph(string=self.source).draw(format=file_format, prog="dot", args=resolution)
        if file_format == "png":
            _tell_of_scaling(made)
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


def draw(
    outputs: Any,
    *,
    mode: str | None = None,
    wrt: Tensor | None = None,
    seed: Any = None,
    labels: Sequence[str] | None = None,
    adjoints: bool | None = None,
    local: bool | None = None,
    backward: str | None = None,
    collapse: bool | int | str | Iterable[str] = False,
    expand: bool | str | Iterable[str] = False,
    colour: str | None = None,
    max_nodes: int | None = 1000,
    digits: int = 4,
    rankdir: str = "LR",
    simplify: bool = False,
    input_shape: int | Sequence[Any] | Mapping[str, Any] | None = None,
    inputs: Any = None,
    loss: Callable[[Tensor], Tensor] | None = None,
) -> Drawing:
    """Draw the graph below `outputs`, or the layers of a model.

    Variables are blue, placeholders dashed, constants grey, ops yellow and rounded, composites of several ops framed
    twice, and outputs green. Names too long for a label are shown in full where the pointer rests.

    Parameters
    ----------
    outputs : Tensor, nested structure of Tensors, Graph, or Module
    mode : {"forward", "reverse", "both"}, optional
        A lecture's annotations: the derivative of every node by the input `wrt`, of the output by every node, or both,
        with local derivatives on the edges.
    wrt : Tensor, optional
        The node that tangents start from; needed unless there is only one input.
    seed : array-like, optional
        The direction of a `wrt` that is no scalar with mode "forward", the adjoint of an output that is none with
        "reverse".
    labels : sequence of str, optional
        What stands on a node, line by line: "op", "name", "expression", "shape", "dtype", "value", "adjoint",
        "tangent", "flops", "bytes" (of the value), "time" (measured).
    adjoints : bool, optional
        Show ∂output/∂node; by default if `backward` has been called below a single scalar output.
    local : bool, optional
        Local derivatives on the edges; by default where `mode` is given.
    backward : {"joined", "beside"}, optional
        Draw the graph of the derivative too: joined to the values that it reads, or beside the forward graph.
    collapse : bool, int, str or iterable of str
        Name scopes to draw as one box: True for the outermost, a depth, or names and patterns (``"linear*"``).
    expand : bool, str or iterable of str
        Composites to open: True for all, or names of ops.
    colour : {"gradient", "flops", "bytes", "time"}, optional
        Fill nodes by mean |adjoint|, by floating-point operations, by bytes of their values or by measured time, on a
        logarithmic scale.
    max_nodes : int, optional
        How many boxes to draw: what is farthest from the outputs is folded into one that says how many nodes it
        stands for. None draws all.
    digits : int
        Significant digits of numbers.
    rankdir : {"LR", "BT", "TB", "RL"}
        From the leaves to the outputs: to the right, upwards, downwards, to the left.
    simplify : bool
        Draw a simpler graph that computes the same, as planning does: the graph of a derivative without what the chain
        rule writes as 1·x and x + 0, and what is written twice once.
    input_shape : int or sequence of int, optional
        Of one example: what a model is drawn for, where its first layer does not tell; of a model of several inputs the
        shape of each, ``((3,), (4, 4))``, or a dict of them by the arguments' names.
    inputs : array-like, tuple or dict of arrays, optional
        Examples that a model is drawn for: what its layers make of them is known then, on the page too. A model of
        several inputs takes a tuple of arrays, or a dict of them by the arguments' names.
    loss : callable, optional
        With `inputs`: what is computed of the model's output and drawn behind it, for adjoints to start from.

    Returns
    -------
    Drawing

    Raises
    ------
    GraphError
        No such option, name or path; adjoints of what is no scalar; times or gradients of what has no value.

    Examples
    --------
    >>> import graphdiff as gd
    >>> a, b = gd.variable(2.0, name="a"), gd.variable(1.0, name="b")
    >>> e = ((a + b).named("c") * (b + 1).named("d")).named("e")
    >>> "∂e/∂b = 5" in gd.draw(e, mode="reverse").source
    True
    >>> gd.draw(gd.nn.MLP([16, 3], in_features=4)).render("svg")[:5]
    b'<?xml'
    >>> model = gd.nn.MLP([3, 2], "tanh", in_features=2)
    >>> drawing = gd.draw(model, inputs=[[0.5, -1.0]], loss=lambda y: gd.nn.softmax_cross_entropy(y, [1]))
    >>> "loss = cross_entropy" in drawing.source
    True
    """
    options = Options(
        mode=mode,
        wrt=wrt,
        seed=seed,
        labels=labels,
        adjoints=adjoints,
        local=local,
        backward=backward,
        collapse=collapse,
        expand=expand,
        colour=colour,
        max_nodes=max_nodes,
        digits=digits,
        rankdir=rankdir,
        simplify=simplify,
    )
    drawn = drawn_by_itself(outputs, options, Example(input_shape, inputs, loss))
    return draw_graph(outputs, options) if drawn is None else drawn  # type: ignore[no-any-return]


def draw_graph(outputs: Any, options: Options, layers: Layers | None = None) -> Drawing:
    """Draw a graph, its nodes in the clusters of `layers` or else in their name scopes."""
    graph = outputs if isinstance(outputs, Graph) else Graph(outputs)
    if options.simplify:
        simpler = simplified(graph)
        graph = outputs = simpler.graph
        options = replace(options, wrt=simpler.of(options.wrt))
    opened: set[str] = set()
    if options.expand is not False:
        stands, opened = open_composites(graph.outputs, options.expand)
        graph = Graph([stands.get(output, output) for output in graph.outputs])
        if options.wrt is not None:
            options = replace(options, wrt=stands.get(options.wrt, options.wrt))
    return Drawing(to_dot(compose(graph, options, layers, opened)), outputs)
