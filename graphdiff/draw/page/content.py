"""What the page shows of a graph, as data that JSON can carry."""

from __future__ import annotations

import linecache
from collections.abc import Sequence
from pathlib import Path

from graphdiff import host
from graphdiff.draw.lecture.partials import local_symbol
from graphdiff.draw.lecture.symbols import Symbol, expression, symbol_of
from graphdiff.draw.names import names_of
from graphdiff.draw.page.layout import lay_out
from graphdiff.draw.page.programs import LARGEST_NODE, Programs, Record, UnknownOpError, is_fixed
from graphdiff.draw.page.records import IN_FULL, adjoint_records, record, tangent_records
from graphdiff.draw.scopes import scopes_of
from graphdiff.errors import DTypeError, GraphDiffError, GraphError
from graphdiff.graph import Graph, kind_of, topological_order
from graphdiff.tensor import Tensor
from graphdiff.typing import Tree

__all__ = ["content"]

_MOST_ELEMENTS = 60_000
"""In a graph that the page computes itself, which it does anew at every change."""
_MOST_TANGENTS = 20_000
"""Tangents recorded in a graph that the page does not compute: nodes × inputs."""
_WIDEST_CALL = 6
# Characters of Unicode's private area stand for operands, since the page writes names or numbers in their place.
_OPERAND, _OUT = 0xE000, 0xE0FF
_CHARACTER, _LINE, _PADDING = 7.4, 19.0, 24.0
_RANGE = 24


def content(outputs: Tree[Tensor] | Graph) -> Record:
    """Return all that the page needs to know of the graph below `outputs`.

    Parameters
    ----------
    outputs : Tensor, nested structure of Tensors, or Graph

    Returns
    -------
    dict
        ``nodes``, ``edges``, ``scopes``, ``inputs``, ``outputs``, ``programs``, ``records``, ``notes``, ``layout``.

    Raises
    ------
    GraphError
        There is nothing to show.
    DTypeError
        A node is complex.
    StaleError
        A variable was assigned after it had been used.
    """
    graph = outputs if isinstance(outputs, Graph) else Graph(outputs)
    if not graph.nodes:
        raise GraphError("there is nothing to draw: no outputs were given")
    topological_order(graph.outputs, boundary=frozenset(graph.inputs))
    for node in graph:
        if node.dtype.kind not in "fiub":
            raise DTypeError(
                f"the page shows real numbers, and {node.describe()}, made at {node.source}, is not real: "
                'draw it as a picture, gd.draw(…).save("graph.svg")'
            )
    return _Content(graph).made()


class _Content:
    """One page's data in the making."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.sources = set(graph.inputs)
        self.outputs = set(graph.outputs)
        self.index = {node: place for place, node in enumerate(graph.nodes)}
        self.names = names_of(graph.nodes)
        self.scopes = {node: "/".join(scope) for node, scope in scopes_of(graph).items()}
        self.expressions: dict[Tensor, str] = {}
        self.drawn = [node for node in graph.nodes if node in self.names or node in self.outputs]
        self.programs_of = Programs()
        self.notes: list[str] = []
        self.engine = ""
        self.downwards = False

    def made(self) -> Record:
        programs, places = self.programs()
        live = programs is not None
        nodes = [self.node(node, places.get(node, -1), live) for node in self.graph.nodes]
        return {
            "nodes": nodes,
            "edges": self.place(nodes),
            "layout": self.engine,
            "downwards": self.downwards,
            "inputs": [self.index[leaf] for leaf in self.graph.inputs],
            "outputs": list(dict.fromkeys(self.index[output] for output in self.graph.outputs)),
            "live": live,
            "programs": programs or [],
            "records": None if live else self.records(),
            "notes": self.notes,
        }

    def operands(self, node: Tensor) -> tuple[Tensor, ...]:
        """Return a node's operands, none where the graph begins."""
        return () if node in self.sources else node.inputs

    def programs(self) -> tuple[list[Record] | None, dict[Tensor, int]]:
        """Return the programs and each node's place among them; None where the page cannot compute the graph."""
        programs = self.programs_of
        places: dict[Tensor, int] = {}
        computed = [node for node in self.graph.nodes if self.operands(node)]
        try:
            if sum(node.size for node in computed) > _MOST_ELEMENTS:
                raise UnknownOpError(f"more than {_MOST_ELEMENTS:,} numbers")
            for node in self.graph.nodes:
                if node.size > LARGEST_NODE:
                    raise UnknownOpError(f"{node.describe()}, more than {LARGEST_NODE} elements")
            for node in computed:
                places[node] = programs.index_of(node)
        except (UnknownOpError, GraphDiffError) as reason:
            self.notes.append(f"The numbers are those of when the page was made: it does not compute {reason}.")
            return None, {}
        return programs.listed, places

    def node(self, node: Tensor, program: int, live: bool) -> Record:
        folded = node not in self.names and node not in self.outputs
        made: Record = {
            "name": self.names.get(node, ""),
            "kind": self.kind(node),
            "op": node.op.name if node.op else "",
            "symbol": node.op.symbol if node.op else "",
            "opKind": node.op.kind if node.op else "",
            "inputs": [self.index[operand] for operand in self.operands(node)],
            "shape": list(node.shape),
            "dtype": str(node.dtype),
            "bytes": node.size * node.dtype.itemsize,
            "scope": self.scopes[node],
            "smooth": node.recorded and host.is_real_floating(node.dtype),
            "folded": folded,
            "program": program,
            "editable": live and not folded and not self.operands(node) and not is_fixed(node),
            "stored": [self.index[each] for each in self.stored_by(node)],
            "value": record(node.numpy(), LARGEST_NODE if live else IN_FULL) if node.has_value else None,
        }
        if not folded:
            made |= self.writing(node) | _source(node)
        return made

    def stored_by(self, node: Tensor) -> list[Tensor]:
        """Return the drawn nodes whose values the reverse pass reads at `node`."""
        if not self.operands(node) or not node.recorded or not host.is_real_floating(node.dtype):
            return []
        return [each for each in self.programs_of.stored_by(node) if each in self.names or each in self.outputs]

    def kind(self, node: Tensor) -> str:
        if node in self.outputs:
            return "output"
        if node.op is not None and node in self.sources:
            return "placeholder" if node.recorded else "constant"
        return kind_of(node)

    def writing(self, node: Tensor) -> Record:
        """Return the node's expression and local derivatives, private characters standing for operands and output."""
        operands = self.operands(node)
        written, derivatives = "", [""] * len(operands)
        if len(operands) > _WIDEST_CALL:
            first = ", ".join(chr(_OPERAND + position) for position in range(3))
            written = f"{node.op.name if node.op else ''}({first}, … {len(operands)} operands)"
        elif operands:
            symbols = [
                Symbol(chr(_OPERAND + position)) if operand in self.names else symbol_of(operand, self.names)
                for position, operand in enumerate(operands)
            ]
            written, out = expression(node, symbols).text, Symbol(chr(_OUT))
            derivatives = [local_symbol(node, position, out, symbols).text for position in range(len(operands))]
        self.expressions[node] = written
        return {"expression": written, "locals": derivatives}

    def place(self, nodes: Sequence[Record]) -> list[Record]:
        """Give every drawn node its box, and return the edges between them."""
        row = {node: number for number, node in enumerate(self.drawn)}
        sizes = [self.size(node) for node in self.drawn]
        edges = [
            (operand, node, position)
            for node in self.drawn
            for position, operand in enumerate(self.operands(node))
            if operand in row
        ]
        joined = [(row[operand], row[node]) for operand, node, _ in edges]
        layout = lay_out(sizes, joined, [self.scopes[node] for node in self.drawn])
        self.engine, self.downwards = layout.engine, layout.downwards
        if layout.engine != "graphviz":
            self.notes.append(f"{len(row):,} nodes are placed in plain layers: Graphviz would take too long.")
        for node, size, centre in zip(self.drawn, sizes, layout.centres, strict=True):
            nodes[self.index[node]]["box"] = [*centre, *size]
        return [
            {
                "from": self.index[origin],
                "to": self.index[end],
                "position": position,
                "curve": [coordinate for point in curve for coordinate in point],
            }
            for (origin, end, position), curve in zip(edges, layout.curves, strict=True)
        ]

    def size(self, node: Tensor) -> tuple[float, float]:
        """Return the width and height of a node's box, wide enough for its title."""
        name, written = self.names.get(node, ""), self.expressions[node]
        title = len(name) + 3 + len(written) if written else len(name)
        for position, operand in enumerate(self.operands(node)):
            title += written.count(chr(_OPERAND + position)) * (len(self.names.get(operand, "1")) - 1)
        # Room for "∂e/∂b = −0.123456" below it.
        derivative = 15 + min(len(name), 8) + min(len(self.names.get(self.graph.outputs[0], "")), 6)
        characters = min(max(title, _RANGE if node.shape else derivative), 30)
        return round(characters * _CHARACTER + _PADDING, 1), 3 * _LINE + 12

    def records(self) -> Record:
        """Return derivatives in numbers, for a page that computes none."""
        made: Record = {"reverse": None, "forward": []}
        smooth = [output for output in self.graph.outputs if host.is_real_floating(output.dtype) and output.recorded]
        if not smooth or not all(output.has_value for output in smooth):
            return made
        order = topological_order(smooth[:1], boundary=frozenset(self.sources))
        try:
            made["reverse"] = adjoint_records(order, smooth[0], self.index, self.sources)
            leaves = [leaf for leaf in self.graph.inputs if host.is_real_floating(leaf.dtype) and leaf in set(order)]
            kept = max(1, _MOST_TANGENTS // len(self.graph))
            made["forward"] = [tangent_records(order, leaf, self.index) for leaf in leaves[:kept]]
            if len(leaves) > kept:
                self.notes.append(f"Tangents are recorded for the first {kept} of {len(leaves):,} inputs.")
        except GraphDiffError as error:
            self.notes.append(f"Derivatives are not shown: {error}")
        return made


def _source(node: Tensor) -> Record:
    path, _, line = node.source.rpartition(":")
    text = linecache.getline(path, int(line)).strip() if line.isdigit() else ""
    return {"source": f"{Path(path).name}:{line}", "line": text[:200]}
