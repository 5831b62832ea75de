"""What stands on nodes and edges: expressions, values, derivatives, costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from statistics import median
from timeit import repeat

from graphdiff import host
from graphdiff.backend import working_on
from graphdiff.costs import graph_cost
from graphdiff.costs.node import nbytes, node_cost
from graphdiff.differentiate.gradients import adjoints, tangents
from graphdiff.draw.lecture.partials import local_derivatives, local_symbol
from graphdiff.draw.lecture.symbols import Numbers, Symbol, equation, number, shown, symbol_of
from graphdiff.draw.names import names_of
from graphdiff.draw.options import Options
from graphdiff.draw.picture import Line
from graphdiff.draw.text import STALE, assigned_since, known_adjoints
from graphdiff.errors import GraphError
from graphdiff.graph import Graph
from graphdiff.op import GRAPH, Composite
from graphdiff.tensor import Tensor, Variable
from graphdiff.text.columns import clean, fit, shape_text, text_width
from graphdiff.text.units import seconds_text
from graphdiff.typing import ArrayLike, Operation

__all__ = ["COSTS", "Annotations", "figure", "sized", "symbol_line"]

COSTS = "flops", "bytes", "time"

_NAME, _LINE, _ON_ARROW = 32, 48, 28
"""The most columns of a name within a formula, of a line, and of a value between two layers."""
_RUNS = 7
"""Times that an op is measured."""


class Annotations:
    """The texts of one drawing.

    Attributes
    ----------
    graph : Graph
        What was given.
    adjoint, tangent : mapping of Tensor to Tensor
        Empty unless they are drawn.
    seconds : dict of Tensor to float
        Empty unless times are drawn.
    titles : dict of Tensor to str
        Of nodes of the backward graph that are the adjoint of some node: ∂e/∂c.
    batch : int or None
        The length of the axis of examples, which is written as n.
    """

    def __init__(self, graph: Graph, options: Options, batch: int | None = None) -> None:
        self.graph, self.options, self.batch = graph, options, batch
        self.sources, self.stale = set(graph.inputs), assigned_since(graph)
        self.names = {node: fit(clean(title), _NAME) for node, title in names_of(graph.nodes).items()}
        self.adjoint = _adjoints(graph, options)
        self.wrt = _followed(graph, options) if options.tangents else None
        self.tangent = {} if self.wrt is None else _tangents(graph, self.wrt, options.seed)
        self.seconds = seconds_of(graph) if options.asks("time") or options.colour == "time" else {}
        self.titles = self._titles() if options.backward else {}
        self._parts: dict[Tensor, list[Numbers | None]] = {}
        self._written: dict[str, Callable[[Tensor], str]] = {
            "op": symbol_line,
            "name": lambda node: self.names[node] if node.name else "",
            "expression": self.expression,
            "shape": self.shape,
            "dtype": lambda node: str(node.dtype),
            "value": self.value,
            "adjoint": self.adjoint_text,
            "tangent": self.tangent_text,
            **{kind: partial(self.cost, kind) for kind in COSTS},
        }

    def _titles(self) -> dict[Tensor, str]:
        inside = set(self.graph.nodes)
        found: dict[Tensor, str] = {}
        for node, adjoint in self.adjoint.items():
            if node in self.names and adjoint not in inside:
                title = f"{self.end()}/∂{self.names[node]}"
                # Where adjoints are passed on unchanged one node is the adjoint of several.
                found[adjoint] = f"{found[adjoint]} = {title}" if adjoint in found else title
        return found

    def end(self) -> str:
        """Return ``∂e``, of the output."""
        return f"∂{self.names.get(self.graph.outputs[0], 'y')}"

    # Nodes -----------------------------------------------------------------------------------------------------

    def lines(self, node: Tensor) -> list[Line]:
        """Return the lines of a node of the graph."""
        if self.options.labels is not None:
            made = [(label, self._written[label](node)) for label in self.options.labels]
        elif self.options.mode is not None:
            made = self._lecture_lines(node)
        else:
            made = [("title", self.title(node)), ("shape", self.shape(node))]
            if self.options.colour is None:
                made.append(("value", self.value(node)))
            if node in self.adjoint and self.options.backward is None and self.options.colour is None:
                made.append(("adjoint", f"adjoint {self.figure(self.adjoint[node])}"))
        return _lines([*made, ("note", STALE)] if node in self.stale else made)

    def _lecture_lines(self, node: Tensor) -> list[tuple[str, str]]:
        written, value = self.expression(node), self.value(node)
        if node.shape:
            made = [("expression", written), ("shape", self.shape(node)), ("value", value)]
        elif node.op is None:
            made = [("expression", f"{written} = {value}" if written and value else written or value)]
        else:
            made = [("expression", written), ("value", f"= {value}" if value else "")]
        return [*made, ("tangent", self.tangent_text(node)), ("adjoint", self.adjoint_text(node))]

    def backward_lines(self, node: Tensor) -> list[Line]:
        """Return the lines of a node of the derivative's graph."""
        made = [("title", self.titles.get(node, "")), ("op", symbol_line(node)), ("shape", self.shape(node))]
        if self.options.labels is None or self.options.asks("value"):
            made.append(("value", self.value(node)))
        return _lines(made) or [Line(self.value(node))]

    def stored_lines(self, node: Tensor) -> list[Line]:
        """Return the lines of a value of the forward graph where the backward graph reads it."""
        name, value = self.names.get(node, ""), self.value(node)
        return [Line(" = ".join(filter(None, (name, value if not node.shape else ""))), "title")]

    def title(self, node: Tensor) -> str:
        """Return ``c = a + b`` where a reader knows all three, otherwise ``L = cross_entropy``, or the op alone."""
        if node.op is None or node in self.sources:
            return self.names[node] if node.name else symbol_line(node)
        if not node.name:
            return symbol_line(node)
        if all(operand.name or operand not in self.names for operand in node.inputs):
            written = self.expression(node)
            if text_width(written) <= _NAME:
                return written
        return f"{self.names[node]} = {symbol_line(node)}"

    def shape(self, node: Tensor) -> str:
        """Return the shape; the axis of examples of a model is n."""
        lengths: list[int | str] = [*node.shape]
        if lengths and node.shape[0] == self.batch and node.__class__ is not Variable:
            lengths[0] = "n"
        return shape_text(lengths)

    def value(self, node: Tensor) -> str:
        """Return a value: a number, a small array in full, a large one as mean and range."""
        return self.figure(node) if node.has_value else ""

    def carried(self, node: Tensor) -> str:
        """Return what goes from one layer to the next: a value where that is short, or else its shape."""
        value = self.value(node) if node.size > 1 else ""
        return value if value.startswith("[") and len(value) <= _ON_ARROW else self.shape(node)

    def expression(self, node: Tensor) -> str:
        """Return ``c = a + b``; for a leaf its name."""
        if node.op is None or node in self.sources:
            return self.names.get(node, "")
        return equation(node, self.names, self.options.digits)

    def figure(self, node: Tensor) -> str:
        """Return a value as text, or its description where there is none yet."""
        if not node.has_value:
            return "not known"
        if node.shape == () and node.dtype.kind in "iub":
            return str(node.item())
        if node.shape == () and float(node).is_integer() and abs(float(node)) < 10**6:
            return number(float(node), 7)
        return shown(node.numpy(), self.options.digits)

    def adjoint_text(self, node: Tensor) -> str:
        """Return ``∂e/∂c = 2``."""
        found = self.adjoint.get(node)
        if found is None or node not in self.names or not found.has_value:
            return ""
        left = "adjoint" if self.options.seed is not None else f"{self.end()}/∂{self.names[node]}"
        return f"{left} = {self.figure(found)}"

    def tangent_text(self, node: Tensor) -> str:
        """Return ``∂c/∂b = 1``."""
        if self.wrt is None or node not in self.names or not node.recorded or not host.is_real_floating(node.dtype):
            return ""
        found = self.tangent.get(node)
        if found is not None and not found.has_value:
            return ""
        left = "tangent" if self.options.seed is not None else f"∂{self.names[node]}/∂{self.names[self.wrt]}"
        return f"{left} = {'0' if found is None else self.figure(found)}"

    def size(self, node: Tensor, kind: str) -> float | None:
        """Return the mean of the adjoint's magnitude ("gradient"), or what the node costs; None where there is none."""
        if kind == "gradient":
            found = self.adjoint.get(node)
            return None if found is None or not found.size else float(abs(found.numpy()).mean())
        if kind == "bytes":
            return nbytes(node)
        return None if node.op is None else self.seconds.get(node) if kind == "time" else flops_of(node)

    def cost(self, kind: str, node: Tensor) -> str:
        """Return what a node costs as text."""
        size = self.size(node, kind)
        return "" if size is None else sized(size, kind)

    def symbols(self, node: Tensor) -> list[Symbol]:
        """Return how a node's operands are written."""
        return [symbol_of(each, self.names, self.options.digits) for each in node.inputs]

    # Edges -----------------------------------------------------------------------------------------------------

    def edge(self, operand: Tensor, node: Tensor, position: int) -> str:
        """Return ``∂e/∂c = d = 2``: a local derivative in symbols where a lecture has them, a scalar's as a number."""
        smooth = host.is_real_floating(operand.dtype) and host.is_real_floating(node.dtype)
        if not self.options.on_edges or operand not in self.names or not operand.recorded or not smooth:
            return ""
        symbols = self.symbols(node)
        own = f"∂{self.names[node]}/∂{self.names[operand]}"
        symbol = local_symbol(node, position, symbol_of(node, self.names), symbols)
        parts = [own] if symbol.text == own else [own, symbol.text]
        if node.size == 1 and operand.size == 1 and node.has_value and symbol.text not in ("1", "−1"):
            if node not in self._parts:
                self._parts[node] = local_derivatives(node)
            part = self._parts[node][position]
            parts.append("0" if part is None else number(part.reshape(()).item(), self.options.digits))
        text = " = ".join(parts)
        if len(text) > _LINE and len(parts) == 3:
            text = f"{parts[0]} = {parts[2]}"
        return fit(text, _LINE) if len(parts) > 1 else ""


def symbol_line(node: Tensor) -> str:
    """Return how an op is written on its own: with its operand's place where it would be a mere superscript."""
    if node.op is None:
        return ""
    return f"(·){node.op.symbol}" if node.op.symbol in ("ᵀ", "²") else node.op.symbol


def _lines(made: Iterable[tuple[str, str]]) -> list[Line]:
    """Return texts as lines: a matrix by its rows, and mean and range one below the other."""
    found: list[Line] = []
    for label, text in made:
        for mark, end, start in (("], [", "],", "["), (", min ", ",", "min ")):
            text = text.replace(mark, f"{end}\n{start}")
        found += [Line(fit(each, _LINE), _tone(label)) for each in text.split("\n") if each]
    return found


def _tone(label: str) -> str:
    if label in ("title", "name", "expression"):
        return "title"
    if label in ("adjoint", "tangent"):
        return label
    return "faint" if label in ("shape", "dtype", "flops", "bytes", "time", "note") else "plain"


def _adjoints(graph: Graph, options: Options) -> Mapping[Tensor, Tensor]:
    if not options.adjoint_graph:
        return known_adjoints(graph, False if options.mode == "forward" and not options.adjoints else options.adjoints)
    if len(graph.outputs) != 1:
        raise GraphError(f"adjoints are drawn for a single scalar output, and there are {len(graph.outputs)}")
    output = graph.outputs[0]
    seed = options.seed if options.mode == "reverse" else None
    if seed is None:
        if output.size != 1:
            raise GraphError(
                f"adjoints are drawn for a single scalar output, and {output.describe()} has {output.size} elements: "
                "reduce it first, for example with gd.sum, or give seed=… with mode='reverse'"
            )
        seed = GRAPH.ones_like(output)  # a node of its own: a literal 1 might be one that the expression uses too
    if options.colour == "gradient" and not output.has_value:
        raise GraphError(f"{output.describe()} has no value, and its gradient no size: draw a graph of variables")
    return adjoints(output, seed)


def _followed(graph: Graph, options: Options) -> Tensor:
    wrt = options.wrt
    if wrt is None:
        if len(graph.inputs) != 1:
            listed = ", ".join(clean(leaf.describe()) for leaf in graph.inputs[:8]) or "none"
            raise GraphError(f"tangents follow one input: say which with wrt=…; there are {listed}")
        wrt = graph.inputs[0]
    if wrt not in set(graph.nodes):
        raise GraphError(f"no path leads from {wrt.describe()}, given as wrt, to the outputs")
    if wrt.size != 1 and options.seed is None:
        raise GraphError(
            f"tangents follow a scalar, and {wrt.describe()} has {wrt.size} elements: "
            "give the direction with seed=… and mode='forward'"
        )
    return wrt


def _tangents(graph: Graph, wrt: Tensor, seed: ArrayLike | None) -> Mapping[Tensor, Tensor]:
    return tangents(graph.outputs, {wrt: GRAPH.ones_like(wrt) if seed is None else seed})


def figure(size: float, kind: str) -> str:
    """Return a gradient's size, or a cost, as text."""
    if kind == "gradient":
        return number(size, 2)
    return seconds_text(size) if kind == "time" else f"{size:,.0f}"


def sized(size: float, kind: str) -> str:
    """Return a gradient's size, or a cost, as text that says what it is."""
    text = figure(size, kind)
    return {"gradient": f"mean |∂| {text}", "time": text}.get(kind, f"{text} {kind}")


def flops_of(node: Tensor) -> int:
    """Return the floating-point operations of computing a node from its operands."""
    if isinstance(node.op, Composite):
        return graph_cost(Graph(node, inputs=list(dict.fromkeys(node.inputs)))).flops
    return node_cost(node).flops


def seconds_of(graph: Graph) -> dict[Tensor, float]:
    """Return how long each node takes to compute from its operands: the median of a few runs of its kernel.

    Raises
    ------
    GraphError
        A node has no value.
    """
    for node in graph:
        if node.op is not None and not node.has_value:
            raise GraphError(f"{node.describe()} has no value, and no time to measure: draw a graph of variables")
    return {node: _seconds(node, node.op) for node in graph if node.op is not None}


def _seconds(node: Tensor, op: Operation) -> float:
    kernel, values = op.kernel(node.backend), [operand.value for operand in node.inputs]

    def run() -> None:
        kernel(*values, **node.attributes)
        node.backend.synchronize()

    with working_on(node.backend):
        return median(repeat(run, number=1, repeat=_RUNS))
