"""From a graph to DOT, and from DOT to a picture."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphdiff import host
from graphdiff.differentiate.reverse import adjoints as adjoints_of
from graphdiff.errors import GraphError
from graphdiff.graph import Graph
from graphdiff.tensor import Tensor, Variable

if TYPE_CHECKING:
    from graphdiff.draw.page import Page

__all__ = ["Drawing", "draw"]

# Okabe and Ito's colours, lightened: told apart with any colour vision, and black text stays readable on them.
STYLES = {
    "variable": {"shape": "box", "fillcolor": "#cfe8f7", "color": "#0072b2"},
    "placeholder": {"shape": "box", "fillcolor": "#ffffff", "color": "#0072b2", "style": "filled,rounded,dashed"},
    "constant": {"shape": "box", "fillcolor": "#f2f2f2", "color": "#8c8c8c"},
    "op": {"shape": "ellipse", "fillcolor": "#fdf0d0", "color": "#b37700"},
    "output": {"shape": "ellipse", "fillcolor": "#d3efe3", "color": "#00805c", "penwidth": "2"},
}
_FORMATS = ("svg", "png", "pdf", "dot", "html")


class Drawing:
    """A drawn graph: `save` writes it, Jupyter shows it.

    Attributes
    ----------
    source : str
        The DOT text.
    outputs : Tensor, nested structure of Tensors
        What was drawn.
    """

    def __init__(self, source: str, outputs: Any = None) -> None:
        self.source = source
        self.outputs = outputs

    def render(self, file_format: str) -> bytes:
        """Return the picture as bytes: "svg", "png", "pdf", "dot" for the text itself, "html" for the page."""
        if file_format not in _FORMATS:
            raise GraphError(f"a drawing is saved as {', '.join(_FORMATS)}, not {file_format!r}")
        if file_format == "dot":
            return self.source.encode()
        if file_format == "html":
            return self.page().html.encode()
        import pygraphviz

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Graphviz warns of fonts that are not on the machine and uses others
            return pygraphviz.AGraph(string=self.source).draw(format=file_format, prog="dot")  # type: ignore[no-any-return]

    def page(self) -> Page:
        """Return the interactive page of the same graph; Jupyter shows it in a cell."""
        from graphdiff.draw.page import page

        return page(self.outputs)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture in the format of the path's suffix; an error leaves an existing file as it was."""
        target = Path(path)
        content = self.render(target.suffix.lstrip(".").lower())
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        return target

    def _repr_svg_(self) -> str:
        return self.render("svg").decode()


def draw(outputs: Any, *, adjoints: bool | None = None, rankdir: str = "LR") -> Drawing:
    """Draw the graph below `outputs`: op, name, shape, value and adjoint of each node.

    Parameters
    ----------
    outputs : Tensor or nested structure of Tensors
    adjoints : bool, optional
        Show ∂output/∂node; by default if `backward` has been called below a single scalar output.
    rankdir : {"LR", "BT", "TB", "RL"}
        From the leaves to the outputs: to the right, upwards, downwards, to the left.

    Returns
    -------
    Drawing

    Examples
    --------
    >>> import graphdiff as gd
    >>> a = gd.variable(2.0, name="a")
    >>> "digraph" in gd.draw(a * a).source
    True
    """
    graph = Graph(outputs)
    found = _adjoints(graph, adjoints)
    return Drawing(_to_dot(graph, found, rankdir), outputs)


def _adjoints(graph: Graph, wanted: bool | None) -> Mapping[Tensor, Tensor]:
    single = len(graph.outputs) == 1 and graph.outputs[0].size == 1 and graph.outputs[0].has_value
    differentiated = any(node.__class__ is Variable and node.grad is not None for node in graph)  # type: ignore[attr-defined]
    if wanted is None:
        wanted = single and differentiated
    if not wanted:
        return {}
    if not single:
        raise GraphError("adjoints are drawn for a single scalar output that has a value")
    return adjoints_of(graph.outputs[0])


def _to_dot(graph: Graph, adjoint: Mapping[Tensor, Tensor], rankdir: str) -> str:
    import graphviz

    dot = graphviz.Digraph("graph")
    dot.attr(rankdir=rankdir, fontname="Helvetica", nodesep="0.25", ranksep="0.45", bgcolor="white")
    dot.attr("node", fontname="Helvetica", fontsize="11", style="filled,rounded", margin="0.12,0.06")
    dot.attr("edge", color="#555555", arrowsize="0.7")
    outputs = set(graph.outputs)
    scopes: dict[str, list[Tensor]] = {}
    literals = {node for node in graph if node.op is None and not node.recorded and not node.name and node.size == 1}
    for node in graph:
        if node not in literals:
            scopes.setdefault(node.scope if node.op is not None else "", []).append(node)
    for scope, members in scopes.items():
        if not scope:
            _add_nodes(dot, members, adjoint, outputs)
            continue
        with dot.subgraph(name=f"cluster_{scope}") as cluster:
            cluster.attr(label=_text(scope), style="rounded", color="#bbbbbb", fontsize="10")
            _add_nodes(cluster, members, adjoint, outputs)
    for operand, node, position in graph.edges:
        origin = _identifier(operand)
        if operand in literals:
            origin = f"{_identifier(node)}_{position}"
            dot.node(origin, _label(operand, {}), **STYLES["constant"])
        dot.edge(origin, _identifier(node))
    return str(dot.source)


def _add_nodes(dot: Any, members: list[Tensor], adjoint: Mapping[Tensor, Tensor], outputs: set[Tensor]) -> None:
    for node in members:
        dot.node(_identifier(node), _label(node, adjoint), **STYLES[_style(node, outputs)])


def _identifier(node: Tensor) -> str:
    return f"n{node.serial}"


def _style(node: Tensor, outputs: set[Tensor]) -> str:
    if node.op is not None:
        return "output" if node in outputs else "op"
    if node.__class__ is Variable:
        return "variable"
    return "placeholder" if node.recorded else "constant"


def _text(plain: str) -> str:
    """Escape a whole label: Graphviz reads <…> as HTML, backslashes as commands and &…; as a character's name."""
    import graphviz

    return graphviz.escape(plain.replace("&", "&amp;"))  # type: ignore[no-any-return]


def _label(node: Tensor, adjoint: Mapping[Tensor, Tensor]) -> str:
    lines = []
    title = node.op.symbol if node.op is not None else ""
    if node.name:
        title = f"{node.name} = {title}" if title else node.name
    if title:
        lines.append(title)
    if node.shape:
        lines.append(" × ".join(map(str, node.shape)))
    if node.has_value:
        lines.append(_shown(node))
    if node in adjoint:
        lines.append(f"adjoint {_shown(adjoint[node])}")
    return _text("\n".join(lines) or " ")


def _shown(node: Tensor) -> str:
    if not node.shape:
        return f"{node.item():.6g}"
    return host.describe(node.numpy(), width=40)
