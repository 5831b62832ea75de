"""Pickling and copying of tensors and graphs, without recursion however deep the graph is.

A pickler visits what an object refers to by recursion. A tensor therefore hands it, ahead of its own inputs, the
nodes it depends on as one flat list in topological order: when a node's turn comes, its inputs have been written, and
the pickler puts references. They are references of the pickler's own, so that whatever is pickled together shares
what it shared: tensors in a list or dict, the parameters of a model, a graph and its nodes.

What survives: values (by way of the host), gradients, versions, names, scopes, attributes, the source line as text, and
whether a node is stale. Serials are new. Ops are found by name, backends too. If tensors that are pickled side by side
share a variable, and one that is up to date comes before one that is stale, both are stale after loading; within one
tensor's graph, and within a `Graph`, the order is right of itself.

The functions are attached to `Tensor` and `Graph` in `graphdiff._links`.
"""

from __future__ import annotations

import copy
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from types import CodeType
from typing import Any, SupportsIndex, TypeVar

from graphdiff import host
from graphdiff.backend import Backend
from graphdiff.graph import Graph, raise_stale, reachable
from graphdiff.tensor import NO_ATTRIBUTES, Tensor, Variable, next_serial
from graphdiff.tree import Structure
from graphdiff.typing import Array, ArrayLike, Attributes, Operation

__all__ = ["copy_tensor", "deepcopy_tensor", "reduce_graph", "reduce_tensor"]

Node = TypeVar("Node", bound=Tensor)
Source = tuple[CodeType | str, int]
Signature = tuple[host.Shape, host.DType]

_by_serial = attrgetter("serial")
# What a Python number stands for by itself: a million of them are a tenth the size of a million 0-d arrays.
_NUMBERS = frozenset((host.float64, host.int64, host.boolean))


# Making nodes again ----------------------------------------------------------------------------------------------


def _make(
    kind: type[Node],
    op: Operation | None,
    inputs: tuple[Tensor, ...],
    attributes: Attributes,
    value: Array | None,
    backend: Backend,
    recorded: bool,
    signature: Signature | None,
    name: str | None,
    scope: str,
    source: Source,
) -> Node:
    """Return a node with a fresh serial, made at `source` instead of here."""
    node = kind.__new__(kind)
    node.op = op
    node.inputs = inputs
    node.attributes = attributes
    node._value = value
    node.backend = backend
    node.recorded = recorded
    node._signature = signature
    node.name = name
    node.scope = scope
    node._code, node._instruction = source
    node.serial = next_serial()
    return node


def _make_variable(
    value: Array | None,
    grad: Array | None,
    version: int,
    backend: Backend,
    name: str | None,
    scope: str,
    source: Source,
) -> Variable:
    leaf = _make(Variable, None, (), NO_ATTRIBUTES, value, backend, True, None, name, scope, source)
    leaf._grad = grad
    leaf.clock = [leaf.serial, version]
    leaf.home = None
    leaf.pinned = False
    return leaf


def _stale_inputs(node: Tensor) -> tuple[Variable, ...]:
    """Return the variables assigned since `node` was built from them."""
    return tuple(operand for operand in node.inputs if operand.__class__ is Variable and operand.clock[0] > node.serial)


def _mark_stale(variables: Iterable[Variable]) -> None:
    """Make stale what has been built from `variables` until now."""
    for leaf in variables:
        leaf.clock[0] = next_serial()


def _below(roots: Iterable[Tensor], known: Mapping[Tensor, object] | _Copied) -> list[Tensor]:
    """Return the nodes that `roots` depend on, roots included, inputs before users, without those in `known`."""
    seen: set[Tensor] = set()
    pending = list(roots)
    while pending:
        node = pending.pop()
        if node not in seen and node not in known:
            seen.add(node)
            pending.extend(node.inputs)
    return sorted(seen, key=_by_serial)


# Pickling --------------------------------------------------------------------------------------------------------


class _Session:
    """What one pickler has been given so far, in which order, and how far it has got.

    It lives as long as the pickler, whose memo holds it. A pickler does not tell who it is, but it asks each object
    only once how to write it: being asked again means that another pickler has begun, which has been given nothing
    yet; so does being asked for a node that has been given, unless it is where the list has got to. Should a guess be
    wrong because two picklers take turns, what is written is right all the same, only longer.
    """

    def __init__(self) -> None:
        self.given: dict[Tensor, int] = {}
        self.reached = -1
        self.sources: dict[tuple[int, int], str] = {}

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[object, ...]:
        self.__init__()  # type: ignore[misc]
        return tuple, ()

    def source(self, node: Tensor) -> str:
        """Return the node's source line; each text is one object, which the pickler writes once."""
        key = id(node._code), node._instruction
        found = self.sources.get(key)
        if found is None:
            found = self.sources[key] = node.source
        return found


class _Sessions(threading.local):
    latest: weakref.ref[_Session] | None = None

    def current(self) -> _Session:
        session = None if self.latest is None else self.latest()
        return self.begin() if session is None else session

    def begin(self) -> _Session:
        session = _Session()
        self.latest = weakref.ref(session)
        return session


_sessions = _Sessions()


class _Ahead:
    """The nodes that `roots` depend on, to be written or copied ahead of what refers to the roots."""

    def __init__(self, roots: Sequence[Tensor], session: _Session) -> None:
        self.roots = roots
        self.session = session

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[object, ...]:
        # The session is an argument, and so is written first: by the time the nodes are listed, it is the pickler's.
        return _ahead, (self.session,), None, self._list()

    def __deepcopy__(self, memo: dict[int, object]) -> None:
        _deepcopy_nodes(self.roots, memo)

    def _list(self) -> Iterator[Tensor]:
        session = self.session
        for node in _below(self.roots, session.given):
            session.given[node] = len(session.given)
            yield node


def _ahead(session: tuple[()]) -> list[Tensor]:
    return []


def _pack(value: Array | None, backend: Backend) -> object:
    """Return a value as a NumPy array or, where that says the same, as a Python number; None stays None."""
    if value is None:
        return None
    array = backend.to_host(value)
    return array.item() if array.ndim == 0 and array.dtype in _NUMBERS else array


def _unpack(stored: ArrayLike | None, backend: Backend) -> Array | None:
    return None if stored is None else backend.normalize(backend.from_host(stored))


def _unpack_copy(stored: ArrayLike | None, backend: Backend) -> Array | None:
    # Buffers outside the pickle belong to whoever loads it, and a variable's value is its own.
    return None if stored is None else backend.normalize(backend.copy(backend.from_host(stored)))


def reduce_tensor(node: Tensor, protocol: SupportsIndex) -> tuple[object, ...]:
    """Serve ``pickle.dumps(tensor)``: the tensor with the graph it depends on.

    Raises
    ------
    OpError
        On loading, where an op has not been declared: import the module that declares it first.
    BackendError
        On loading, where there is no such backend.

    Examples
    --------
    >>> import pickle
    >>> import graphdiff as gd
    >>> a = gd.variable(2.0, name="a")
    >>> b, c = pickle.loads(pickle.dumps((a, a * a)))
    >>> c.backward()
    >>> b.grad.item()
    4.0
    """
    session, ahead = _sessions.current(), None
    place = session.given.get(node)
    if place is not None and place > session.reached:
        session.reached = place
    else:
        if place is not None:
            session = _sessions.begin()
        session.given[node] = -1
        if node.inputs:
            ahead = _Ahead(node.inputs, session)
    backend, source = node.backend, session.source(node)
    value = _pack(node._value, backend)
    if isinstance(node, Variable):
        gradient, version = _pack(node._grad, backend), node.clock[1]
        return _load_variable, (value, gradient, version, backend, node.name, node.scope, source)
    return _load_node, (
        ahead,
        node.op,
        node.inputs,
        node.attributes or None,
        value,
        backend,
        node.recorded,
        node._signature,
        node.name,
        node.scope,
        source,
        _stale_inputs(node) or None,
    )


def _load_variable(
    value: ArrayLike | None,
    grad: ArrayLike | None,
    version: int,
    backend: Backend,
    name: str | None,
    scope: str,
    source: str,
) -> Variable:
    own, gradient = _unpack_copy(value, backend), _unpack_copy(grad, backend)
    return _make_variable(own, gradient, version, backend, name, scope, (source, 0))


def _load_node(
    ahead: object,
    op: Operation | None,
    inputs: tuple[Tensor, ...],
    attributes: Attributes | None,
    value: ArrayLike | None,
    backend: Backend,
    recorded: bool,
    signature: Signature | None,
    name: str | None,
    scope: str,
    source: str,
    stale: tuple[Variable, ...] | None,
) -> Tensor:
    own, attributes = _unpack(value, backend), attributes or NO_ATTRIBUTES
    node = _make(Tensor, op, inputs, attributes, own, backend, recorded, signature, name, scope, (source, 0))
    _mark_stale(stale or ())
    return node


def reduce_graph(graph: Graph, protocol: SupportsIndex) -> tuple[object, ...]:
    """Serve pickling, `copy.copy` and `copy.deepcopy` of a graph. A shallow copy is of the same nodes.

    Nodes below the graph's inputs go along, since the inputs depend on them.
    """
    ahead = _Ahead([*graph.outputs, *graph.inputs], _sessions.current())
    return _load_graph, (ahead, list(graph.outputs), list(graph.inputs), graph._structure)


def _load_graph(ahead: object, outputs: list[Tensor], inputs: list[Tensor], structure: Structure) -> Graph:
    graph = Graph.__new__(Graph)
    graph.outputs, graph.inputs, graph._structure = outputs, inputs, structure
    graph.nodes = reachable(graph.outputs, frozenset(inputs))
    return graph


# Copying ---------------------------------------------------------------------------------------------------------


def _own(value: Array | None, backend: Backend) -> Array | None:
    return None if value is None else backend.normalize(backend.copy(value))


def _copy_node(node: Tensor, inputs: tuple[Tensor, ...], attributes: Attributes) -> Tensor:
    backend, source = node.backend, (node._code, node._instruction)
    value = _own(node._value, backend)
    if isinstance(node, Variable):
        gradient = _own(node._grad, backend)
        return _make_variable(value, gradient, node.clock[1], backend, node.name, node.scope, source)
    recorded, signature = node.recorded, node._signature
    return _make(
        Tensor, node.op, inputs, attributes, value, backend, recorded, signature, node.name, node.scope, source
    )


def copy_tensor(node: Tensor) -> Tensor:
    """Serve ``copy.copy(tensor)``: a variable or placeholder of its own; else another node with the same inputs.

    Raises
    ------
    StaleError
        A variable was assigned after the node had been built from it: a new node would hide that.
    """
    for leaf in _stale_inputs(node):
        raise_stale(leaf, node)
    return _copy_node(node, node.inputs, node.attributes)


def deepcopy_tensor(node: Tensor, memo: dict[int, Any]) -> Tensor:
    """Serve ``copy.deepcopy(tensor)``: an independent graph with variables of its own.

    Examples
    --------
    >>> import copy
    >>> import graphdiff as gd
    >>> a = gd.variable(2.0)
    >>> b, c = copy.deepcopy((a, a * 3))
    >>> a.assign(5.0).version
    1
    >>> c.backward()
    >>> b.grad.item(), a.grad
    (3.0, None)
    """
    _deepcopy_nodes([node], memo)
    result: Tensor = memo[id(node)]
    return result


class _Copied:
    """The nodes that a deep copy's memo has, as a collection."""

    def __init__(self, memo: dict[int, object]) -> None:
        self.memo = memo

    def __contains__(self, node: Tensor) -> bool:
        return id(node) in self.memo


def _deepcopy_nodes(roots: Iterable[Tensor], memo: dict[int, Any]) -> None:
    """Enter copies of the nodes that `roots` depend on into the memo."""
    for node in _below(roots, _Copied(memo)):
        inputs = tuple([memo[id(operand)] for operand in node.inputs])
        attributes = copy.deepcopy(node.attributes, memo) if node.attributes else NO_ATTRIBUTES
        memo[id(node)] = _copy_node(node, inputs, attributes)
        _mark_stale(memo[id(leaf)] for leaf in _stale_inputs(node))
