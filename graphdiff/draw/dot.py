"""From what is given to its drawing: a graph is simplified, opened, composed and written as DOT."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import cast

from graphdiff.draw.compose import Layers, compose
from graphdiff.draw.drawing import Drawable, Drawing
from graphdiff.draw.options import Example, Inputs, InputShape, Options, drawn_by_itself
from graphdiff.draw.simplify import open_composites, simplified
from graphdiff.draw.write import to_dot
from graphdiff.graph import Graph
from graphdiff.tensor import Tensor
from graphdiff.typing import ArrayLike, Tree

__all__ = ["Drawing", "draw", "draw_graph"]


def draw(
    outputs: Drawable,
    *,
    mode: str | None = None,
    wrt: Tensor | None = None,
    seed: ArrayLike | None = None,
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
    input_shape: InputShape | None = None,
    inputs: Inputs | None = None,
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
    return draw_graph(cast("Tree[Tensor] | Graph", outputs), options) if drawn is None else drawn


def draw_graph(outputs: Tree[Tensor] | Graph, options: Options, layers: Layers | None = None) -> Drawing:
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
