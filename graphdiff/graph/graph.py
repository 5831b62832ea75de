"""Graph: the nodes between inputs and outputs, in topological order."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from graphdiff.arguments import require_tensor
from graphdiff.errors import GraphError, NoValueError
from graphdiff.graph.walks import evaluated, reachable, run_kernel
from graphdiff.guard import guarded
from graphdiff.tensor import Tensor, Variable, value_for
from graphdiff.tree import flatten, unflatten
from graphdiff.typing import Array, ArrayLike

if TYPE_CHECKING:
    import networkx

__all__ = ["Graph", "collector_paused", "kind_of", "without_collector"]

_LONG = 10_000

Options = ParamSpec("Options")
Walk = Callable[Concatenate[Sequence[Tensor], Options], None]


@contextmanager
def without_collector(length: int) -> Iterator[None]:
    """Pause Python's garbage collector for work on that many nodes, if they are many: what it makes is all in use."""
    pauses = length >= _LONG and gc.isenabled()
    if pauses:
        gc.disable()
    try:
        yield
    finally:
        if pauses:
            gc.enable()


def collector_paused(walk: Walk[Options]) -> Walk[Options]:
    """Pause Python's garbage collector during long walks."""

    @wraps(walk)
    def paused(order: Sequence[Tensor], /, *arguments: Options.args, **options: Options.kwargs) -> None:
        if len(order) < _LONG:
            return walk(order, *arguments, **options)
        with without_collector(len(order)):
            return walk(order, *arguments, **options)

    return paused


class Graph:
    """The nodes between inputs and outputs.

    Parameters
    ----------
    outputs : Tensor or nested tuple, list or dict of Tensors
    inputs : Tensor or sequence of Tensors, optional
        Where the graph begins; by default the variables and placeholders below the outputs.

    Attributes
    ----------
    nodes : list of Tensor
        In topological order, leaves and constants included.
    inputs, outputs : list of Tensor

    Raises
    ------
    GraphError
        An output is no Tensor, or an input is not below the outputs.

    Examples
    --------
    >>> import graphdiff as gd
    >>> a, b = gd.variable(2.0, name="a"), gd.variable(1.0, name="b")
    >>> g = gd.Graph((a + b) * (b + 1))
    >>> [node.op.name if node.op else node.name for node in g.nodes if node.recorded]
    ['a', 'b', 'add', 'add', 'multiply']
    """

    if TYPE_CHECKING:  # attached in graphdiff._links; named here for type checkers

        def cost(self, mode: str = "value") -> Any: ...
        @staticmethod
        def from_networkx(view: object) -> Graph: ...

    @guarded
    def __init__(self, outputs: object, inputs: Tensor | Sequence[Tensor] | None = None) -> None:
        self.outputs, self._structure = flatten(outputs)
        for output in self.outputs:
            if not isinstance(output, Tensor):
                raise GraphError(f"the outputs of a graph are Tensors, not {type(output).__name__}")
        given = None if inputs is None else flatten(inputs)[0]
        for leaf in given or ():
            require_tensor(leaf, "an input of a graph")
        self.nodes: list[Tensor] = reachable(self.outputs, frozenset(given or ()))
        leaves = [node for node in self.nodes if node.recorded and node.op is None]
        self.inputs: list[Tensor] = leaves if given is None else given
        present = set(self.nodes)
        for leaf in self.inputs:
            if leaf not in present:
                raise GraphError(f"no path leads from the input {leaf.describe()} to the outputs")

    @property
    def edges(self) -> list[tuple[Tensor, Tensor, int]]:
        """(operand, node, position) for every operand: a multigraph, so that ``x * x`` has two."""
        inside, sources = set(self.nodes), set(self.inputs)
        return [
            (operand, node, position)
            for node in self.nodes
            for position, operand in enumerate(node.inputs)
            if operand in inside and node not in sources
        ]

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.nodes)

    def __contains__(self, node: Tensor) -> bool:
        return any(node is member for member in self.nodes)

    def __repr__(self) -> str:
        return f"Graph({len(self.nodes)} nodes, {len(self.inputs)} inputs, {len(self.outputs)} outputs)"

    def evaluate(self, feeds: Mapping[Tensor, ArrayLike] | None = None) -> Any:
        """Compute the outputs anew.

        Parameters
        ----------
        feeds : mapping of Tensor to value, optional
            Values for placeholders; also for variables or inner nodes, instead of their own.

        Returns
        -------
        array of the backend, in the structure of the outputs

        Raises
        ------
        NoValueError
            A placeholder is not fed.
        ShapeError, DTypeError, BackendError
            A value does not fit its placeholder.
        GraphError
            A fed tensor is not in the graph.
        """
        values: dict[Tensor, Array] = {}
        inside = set(self.nodes)
        for leaf, given in (feeds or {}).items():
            if leaf not in inside:
                raise GraphError(f"{leaf.describe()} is fed but is not in the graph")
            values[leaf] = value_for(leaf, given, "fed")
        evaluated(self.nodes, values, _value_of, run_kernel)
        return unflatten(self._structure, [values[output] for output in self.outputs])

    def to_networkx(self) -> networkx.MultiDiGraph[int]:
        """Return the graph as a NetworkX multigraph, from which `from_networkx` builds the graph again.

        Returns
        -------
        networkx.MultiDiGraph
            Its nodes are the Tensors' serial numbers, in topological order, since NetworkX compares nodes by ``==``,
            which of Tensors compares values. They have the attributes `tensor` (the Tensor itself), `kind` ("variable",
            "constant", "placeholder" or "op"), `op` (a name or None), `attributes` (what the op was called with),
            `name`, `scope`, `shape`, `dtype`, `value` (an array of the backend or None), `backend`, and the places
            among the graph's `inputs` and `outputs`. An edge goes from an operand to its user, one for each use, and
            has the operand's `position`.
        """
        import networkx

        graph: networkx.MultiDiGraph[int] = networkx.MultiDiGraph(outputs=len(self.outputs), structure=self._structure)
        inputs, outputs = _places(self.inputs), _places(self.outputs)
        for node in self.nodes:
            graph.add_node(
                node.serial,
                tensor=node,
                kind=kind_of(node),
                op=node.op.name if node.op else None,
                attributes=node.attributes,
                name=node.name,
                scope=node.scope,
                shape=node.shape,
                dtype=node.dtype,
                value=node.value if node.has_value else None,
                backend=node.backend.name,
                inputs=inputs.get(node, ()),
                outputs=outputs.get(node, ()),
            )
        for operand, node, position in self.edges:
            graph.add_edge(operand.serial, node.serial, position=position)
        return graph


def _value_of(leaf: Tensor) -> Array:
    if not leaf.has_value:
        raise NoValueError(f"placeholder {leaf.describe()}, made at {leaf.source}, has not been fed")
    result: Array = leaf.value
    return result


def _places(nodes: Sequence[Tensor]) -> dict[Tensor, tuple[int, ...]]:
    found: dict[Tensor, tuple[int, ...]] = {}
    for place, node in enumerate(nodes):
        found[node] = (*found.get(node, ()), place)
    return found


def kind_of(node: Tensor) -> str:
    """Return "variable", "constant", "placeholder" or "op"."""
    if node.op is not None:
        return "op"
    if node.__class__ is Variable:
        return "variable"
    return "placeholder" if node.recorded else "constant"
