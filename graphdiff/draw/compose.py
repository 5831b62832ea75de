"""From a graph and what was asked for to a picture: which boxes there are, and which arrows between them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from graphdiff import host
from graphdiff.draw.annotate import COSTS, Annotations, figure, sized, symbol_line
from graphdiff.draw.colours import shade, swatches
from graphdiff.draw.options import Options
from graphdiff.draw.picture import Arrow, Box, Line, Picture, Scope, grouped
from graphdiff.draw.scopes import collapsed_scopes, enclosing, scopes_of
from graphdiff.graph import Graph, kind_of
from graphdiff.op import Composite
from graphdiff.tensor import Tensor, Variable
from graphdiff.text.columns import clean, fit

__all__ = ["Layers", "compose"]

_FOLDED = "folded"
_LEGENDS = {
    "flops": "floating-point operations",
    "bytes": "bytes of the value",
    "time": "time",
}


@dataclass(frozen=True)
class Layers:
    """The graph of a model: the clusters that nodes are drawn in, and the length of its batch if any will do."""

    scopes: Mapping[Tensor, Scope]
    batch: int | None


def compose(graph: Graph, options: Options, layers: Layers | None = None, opened: Collection[str] = ()) -> Picture:
    """Return the picture of a graph.

    Parameters
    ----------
    graph : Graph
    options : Options
    layers : Layers, optional
        Of a model: instead of name scopes.
    opened : collection of str
        The scopes of composites that were opened.
    """
    return _Composer(graph, options, layers, opened).picture


class _Composer:
    """One picture in the making.

    A *place* is where a node is drawn: a box of its own, that of a collapsed scope, or the one that stands for all that
    is left out. Literals have no place: each use draws its own.
    """

    def __init__(self, graph: Graph, options: Options, layers: Layers | None, opened: Collection[str]) -> None:
        self.options = options
        self.layers = layers
        self.notes = Annotations(graph, options, None if layers is None else layers.batch)
        self.inside = set(graph.nodes)
        self.outputs = set(graph.outputs)
        self.graph = _with_backward(graph, self.notes) if options.backward else graph
        self.edges = self.graph.edges
        self.scopes = scopes_of(graph, opened) if layers is None else layers.scopes
        collapsed = collapsed_scopes(self.scopes.values(), options.collapse)
        self.boxed = enclosing(self.scopes, collapsed)
        self.literals = {node for node in self.graph if _is_literal(node) and node not in self.notes.titles}
        self.places = self._places()
        self.picture = Picture(options.rankdir)
        self._draw_boxes()
        self._draw_arrows()
        if options.colour is not None:
            self._paint(options.colour)

    # Places ----------------------------------------------------------------------------------------------------

    def _places(self) -> dict[Tensor, str]:
        boxes = {scope: f"scope{index}" for index, scope in enumerate(dict.fromkeys(self.boxed.values()))}
        places = {
            node: boxes[self.boxed[node]] if node in self.boxed else f"n{node.serial}"
            for node in self.graph
            if node not in self.literals
        }
        limit = self.options.max_nodes
        if limit is not None and len(set(places.values())) > limit:
            kept = self._nearest(places, limit)
            places = {node: place if place in kept else _FOLDED for node, place in places.items()}
        return places

    def _nearest(self, places: Mapping[Tensor, str], limit: int) -> set[str]:
        """Return the `limit` places that are fewest edges away from the outputs."""
        below = grouped((places[node], places[operand]) for operand, node, _ in self.edges if operand in places)
        kept = dict.fromkeys(places[output] for output in self.graph.outputs if output in places)
        front = list(kept)
        while front and len(kept) < limit:
            front = list(dict.fromkeys(place for user in front for place in below.get(user, ()) if place not in kept))
            kept |= dict.fromkeys(front)
        return set(list(kept)[:limit])

    # Boxes -----------------------------------------------------------------------------------------------------

    def _draw_boxes(self) -> None:
        for place, nodes in grouped((place, node) for node, place in self.places.items()).items():
            if place == _FOLDED:
                self.picture.boxes[place] = _folded_box(nodes)
            elif nodes[0] in self.boxed:
                self.picture.boxes[place] = self._scope_box(self.boxed[nodes[0]], nodes)
            else:
                self.picture.boxes[place] = self._node_box(nodes[0])

    def _node_box(self, node: Tensor) -> Box:
        if node not in self.inside:
            style = "constant" if node.op is None else "backward"
            scope = ("backward",) if self.options.backward == "beside" else ()
            return Box(self.notes.backward_lines(node), style, scope)
        lines = self.notes.lines(node)
        # What is cut in the label can be read in full where the pointer rests.
        full = clean(node.name or "")
        hint = full[:400] if full and not any(full in line.text for line in lines) else ""
        return Box(lines or [Line(" ")], self._style(node), self.scopes.get(node, ()), hint=hint)

    def _style(self, node: Tensor) -> str:
        if node in self.outputs:
            return "output"
        return "composite" if isinstance(node.op, Composite) else kind_of(node)

    def _scope_box(self, scope: Scope, nodes: list[Tensor]) -> Box:
        lines = [Line(fit(clean(scope[-1]), 40), "title")]
        if self.options.colour is None:
            lines += self._contents(nodes)
        for kind in filter(self.options.asks, COSTS):
            lines.append(Line(sized(sum(self.notes.size(node, kind) or 0 for node in nodes), kind), "faint"))
        made = [node for node in nodes if node in self.outputs]
        if self.layers is not None and self.options.colour is None:
            lines += [Line(value) for value in map(self.notes.value, made) if value]
        style = "output" if made else "scope"
        return Box(lines, style, scope[:-1])

    def _contents(self, nodes: list[Tensor]) -> list[Line]:
        symbols = list(dict.fromkeys(symbol_line(node) for node in nodes if node.op is not None))
        shown = symbols if len(symbols) <= 5 else [*symbols[:4], "…"]
        parameters = sum(node.size for node in nodes if node.__class__ is Variable)
        lines = [Line(", ".join(shown))] if self.layers is None else []
        if parameters:
            lines.append(Line(f"{parameters:,} parameter{'s' * (parameters != 1)}", "faint"))
        return lines

    # Arrows ----------------------------------------------------------------------------------------------------

    def _draw_arrows(self) -> None:
        joined: set[tuple[str, str]] = set()
        for operand, node, position in self.edges:
            target = self.places[node]
            if operand in self.literals:
                if target != _FOLDED and node not in self.boxed:
                    self._draw_literal(operand, node, position)
                continue
            origin = self.places[operand]
            if node not in self.inside:
                self._draw_backward_arrow(operand, node)
            elif operand in self.boxed or node in self.boxed or _FOLDED in (origin, target):
                if origin != target and (origin, target) not in joined:
                    joined.add((origin, target))
                    folded = _FOLDED in (origin, target)
                    told = self.notes.carried if operand in self.boxed else self.notes.shape
                    label = "" if folded else told(operand)
                    self.picture.arrows.append(Arrow(origin, target, label, "folded" if folded else "plain"))
            else:
                label = self.notes.edge(operand, node, position) if self.layers is None else self.notes.carried(operand)
                carries = operand.recorded and all(host.is_real_floating(each.dtype) for each in (operand, node))
                kind = "plain" if self.options.mode in (None, "both") or not carries else self.options.mode
                self.picture.arrows.append(Arrow(origin, target, label, kind))

    def _draw_literal(self, literal: Tensor, node: Tensor, position: int) -> None:
        key = f"{self.places[node]}_{position}"
        user = self.picture.boxes[self.places[node]]
        self.picture.boxes[key] = Box([Line(self.notes.value(literal) or " ")], "constant", user.scope)
        kind = "plain" if node in self.inside else "backward"
        self.picture.arrows.append(Arrow(key, self.places[node], "", kind))

    def _draw_backward_arrow(self, operand: Tensor, node: Tensor) -> None:
        """Draw what a derivative reads: another derivative, or a value of the forward graph."""
        origin, target = self.places[operand], self.places[node]
        if origin == target:
            return
        stored = operand in self.inside
        if stored and self.options.backward == "beside":
            origin = f"{target}_{origin}"
            lines = self.notes.stored_lines(operand)
            self.picture.boxes[origin] = Box(lines, "stored", self.picture.boxes[target].scope)
        self.picture.arrows.append(Arrow(origin, target, "", "stored" if stored else "backward"))

    # Colours ---------------------------------------------------------------------------------------------------

    def _paint(self, colour: str) -> None:
        measured = [
            (place, self.notes.size(node, colour))
            for node, place in self.places.items()
            if place != _FOLDED and node in self.inside
        ]
        held = grouped((place, size) for place, size in measured if size is not None)
        # A scope costs what its nodes cost together, and its largest gradient tells of it.
        sizes = {place: max(each) if colour == "gradient" else sum(each) for place, each in held.items()}
        fills = shade(sizes)
        for key, box in self.picture.boxes.items():
            box.fill = fills.get(key, ("#ffffff", "#000000"))
            if key in sizes:
                box.lines.append(Line(sized(sizes[key], colour), "faint"))
        title = f"mean |{self.notes.end()}/∂node|" if colour == "gradient" else _LEGENDS[colour]
        self.picture.legend = title, swatches(sizes, lambda size: figure(size, colour))


def _is_literal(node: Tensor) -> bool:
    return node.op is None and not node.recorded and not node.name and node.size == 1


def _with_backward(graph: Graph, notes: Annotations) -> Graph:
    leaves = [leaf for leaf in graph.inputs if leaf in notes.adjoint]
    return Graph([*graph.outputs, *(notes.adjoint[leaf] for leaf in leaves)])


def _folded_box(nodes: Sequence[Tensor]) -> Box:
    variables = sum(node.__class__ is Variable for node in nodes)
    lines = [Line(f"… {len(nodes):,} more node{'s' * (len(nodes) != 1)}", "title")]
    if variables:
        lines.append(Line(f"{variables:,} variable{'s' * (variables != 1)} among them", "faint"))
    return Box(lines, "folded")
