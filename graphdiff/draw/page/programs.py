"""Ops as small programs that the page runs: an op's value, and what its own rules say of its derivatives.

No derivative is written down twice. The engine's two walks run over a single node whose operands, output, adjoint and
tangent are placeholders; the graph that they build is written out as instructions over elementary functions, which is
all that the page knows. An op that the page lacks is opened: by its body, or by the rule that evaluates it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import TypeAlias, TypeVar, cast

import numpy as np

from graphdiff import host
from graphdiff.backend import get_backend, use_backend
from graphdiff.differentiate.forward import push_forward
from graphdiff.differentiate.reverse import pull_back
from graphdiff.draw.lecture.symbols import Numbers
from graphdiff.errors import GraphDiffError
from graphdiff.graph import topological_order
from graphdiff.op import GRAPH, Composite, Linear
from graphdiff.plan.passes import attribute_key
from graphdiff.tensor import Tensor, constant, placeholder
from graphdiff.typing import Array, Operation

__all__ = ["JSON", "LARGEST_NODE", "Programs", "Record", "UnknownOpError", "is_fixed", "numbers_of"]

JSON: TypeAlias = "str | float | Sequence[JSON] | Mapping[str, JSON] | None"
Record: TypeAlias = dict[str, JSON]
Made = TypeVar("Made")

LARGEST_NODE = 400
"""The most elements that a node may have in a graph that the page computes itself."""
_DEEPEST = 12
_CASTS = {"f8": "", "f4": "single", "f2": "single", "b1": "boolean"}


class UnknownOpError(Exception):
    """The page cannot compute this; the message names what."""


@cache
def known_functions() -> frozenset[str]:
    """Return the names of the functions that the page evaluates, read from where they are written."""
    source = (files(__package__) / "evaluate.js").read_text(encoding="utf-8")
    tables = re.findall(r"^export const (?:ELEMENTWISE|WHOLE) = \{\n(.*?)^\};", source, re.MULTILINE | re.DOTALL)
    return frozenset(name for table in tables for name in re.findall(r"^  (\w+)[:(,]", table, re.MULTILINE))


def numbers_of(array: Numbers) -> list[JSON]:
    """Return an array's elements as JSON has them: what JSON lacks (NaN, infinities) as JavaScript's words for it."""
    flat = array.reshape(-1)
    listed: list[JSON] = [*flat.tolist()]
    for place in np.flatnonzero(~np.isfinite(flat)):
        listed[place] = "NaN" if np.isnan(flat[place]) else "Infinity" if flat[place] > 0 else "-Infinity"
    return listed


def _cast(dtype: host.DType) -> str:
    if dtype.kind not in "fiub":
        raise UnknownOpError(f"numbers of dtype {dtype}")
    return "integer" if dtype.kind in "iu" else _CASTS.get(f"{dtype.kind}{dtype.itemsize}", "")


class _Writer:
    """One program in the making: registers 0, 1, … hold the arguments, each instruction fills the next."""

    def __init__(self, arguments: Sequence[Tensor]) -> None:
        self.arguments = arguments
        self.instructions: list[JSON] = []
        self.known: dict[Tensor, int] = {argument: index for index, argument in enumerate(arguments)}

    def write(self, result: Tensor) -> Record:
        """Return the program that computes `result` from the arguments."""
        return {"result": self._walk(result, self.known, 0), "code": self.instructions}

    def _walk(self, result: Tensor, known: dict[Tensor, int], depth: int) -> int:
        if depth > _DEEPEST:  # an op whose rule calls the op itself
            raise UnknownOpError(f"the op {result.op.name if result.op else ''!r}")
        for node in topological_order([result], boundary=frozenset(known)):
            if node not in known and node.op is not None:
                registers = [self._register(operand, known) for operand in node.inputs]
                known[node] = self._emit(node, registers, depth)
        return self._register(result, known)

    def _register(self, node: Tensor, known: dict[Tensor, int]) -> int:
        if node not in known:
            if not node.has_value or node.size > LARGEST_NODE:
                raise UnknownOpError(f"a constant of {node.size:,} elements")
            known[node] = self._append("constant", [], node, numbers_of(node.numpy()))
        return known[node]

    def _append(self, name: str, registers: list[int], node: Tensor, *extra: JSON) -> int:
        self.instructions.append([name, registers, list(node.shape), _cast(node.dtype), *extra])
        return len(self.arguments) + len(self.instructions) - 1

    def _emit(self, node: Tensor, registers: list[int], depth: int) -> int:
        op = node.op
        assert op is not None
        if node.size > LARGEST_NODE:
            raise UnknownOpError(f"{node.describe()}, more than {LARGEST_NODE} elements")
        if op.name == "astype":
            return self._append("positive", registers, node)
        if op.name == "bitwise_invert" and node.dtype.kind == "b":
            return self._append("logical_not", registers, node)
        if op.name in known_functions():
            return self._append(op.name, registers, node, *([cast(Record, node.attributes)] if node.attributes else []))
        if isinstance(op, Linear) and (callable(op.transposes) or op.transposes):
            return self._append("linear", registers, node, _matrix(node, op))
        rule = op.body if isinstance(op, Composite) else op.evaluate
        if rule is None:
            raise UnknownOpError(f"the op {op.name!r}")
        operands = [each if not each.recorded else placeholder(each.shape, each.dtype) for each in node.inputs]
        try:
            opened = rule(GRAPH, *operands, **node.attributes)
            return self._walk(opened, dict(zip(operands, registers, strict=True)), depth + 1)
        except (UnknownOpError, GraphDiffError, AttributeError, TypeError, ValueError) as error:
            raise UnknownOpError(f"the op {op.name!r}") from error


def _matrix(node: Tensor, op: Linear) -> JSON:
    """Return a linear op as sparse matrices, one per operand: rows, columns, entries; found by trying unit vectors."""
    kernel = op.kernel(get_backend("numpy"))
    varying = range(len(node.inputs)) if callable(op.transposes) else range(len(op.transposes))
    if any(operand.recorded for position, operand in enumerate(node.inputs) if position not in varying):
        raise UnknownOpError(f"the op {op.name!r} where its indices vary")
    base = [
        np.zeros(operand.shape, operand.dtype) if position in varying else operand.numpy()
        for position, operand in enumerate(node.inputs)
    ]
    matrices: list[JSON] = []
    for position, operand in enumerate(node.inputs):
        size = operand.size if position in varying else 0
        units = np.eye(size, dtype=operand.dtype).reshape(size, *operand.shape)
        images = [kernel(*base[:position], unit, *base[position + 1 :], **node.attributes) for unit in units]
        transposed: Numbers = np.reshape(cast("list[Numbers]", images), (size, node.size))
        columns, rows = np.nonzero(transposed)
        entries = transposed[columns, rows]
        matrices.append([rows.tolist(), columns.tolist(), [] if (entries == 1).all() else entries.tolist()])
    return matrices


class Programs:
    """The programs of a graph's nodes; nodes of one op, shape and dtype share theirs.

    Attributes
    ----------
    listed : list of dict
        ``value``; ``adjoint`` and ``tangent``, one per operand, None where zero.
    """

    def __init__(self) -> None:
        self.listed: list[Record] = []
        self._index: dict[Hashable, int] = {}
        self._read: dict[Hashable, list[set[int]]] = {}

    def _list(self, node: Tensor, op: Operation) -> int:
        self.listed.append(_programs(node, op))
        return len(self.listed) - 1

    def index_of(self, node: Tensor) -> int:
        """Return the place in `listed` of a node's programs.

        Raises
        ------
        UnknownOpError
            The page cannot compute the op, its dtype or its size.
        """
        return _remembered(self._index, node, self._list)

    def stored_by(self, node: Tensor) -> list[Tensor]:
        """Return the nodes whose values are read when the adjoint passes through `node`: kept until then.

        What its rule does with placeholders tells: ``x * y`` reads both, ``tanh(x)`` its own value, ``x + y`` neither.
        """
        read = _remembered(self._read, node, _read_by)
        wanted: set[int] = set().union(*(places for operand, places in zip(node.inputs, read) if operand.recorded))
        return list(dict.fromkeys(each for place, each in enumerate((*node.inputs, node)) if place in wanted))


def _remembered(known: dict[Hashable, Made], node: Tensor, make: Callable[[Tensor, Operation], Made]) -> Made:
    """Return what is the same for all nodes of one op, with operands alike."""
    assert node.op is not None
    operands = tuple((each.shape, each.dtype, id(each) if is_fixed(each) else 0) for each in node.inputs)
    key = node.op.name, operands, attribute_key(node.attributes)
    if key not in known:
        with use_backend("numpy"):
            known[key] = make(node, node.op)
    return known[key]


def is_fixed(operand: Tensor) -> bool:
    """Whether an operand is an array of indices or labels that no input changes."""
    return not operand.recorded and operand.dtype.kind in "iub" and operand.size != 1


def _stand_ins(node: Tensor, op: Operation) -> tuple[list[Tensor], Tensor]:
    """Return placeholders for a node's operands, and the op applied to them."""
    operands = [
        constant(each.numpy(), dtype=each.dtype) if is_fixed(each) else placeholder(each.shape, each.dtype)
        for each in node.inputs
    ]
    if all(not each.recorded for each in operands):
        raise UnknownOpError(f"the op {op.name!r} without operands")
    return operands, op.node(tuple(operands), node.attributes)


def _read_by(node: Tensor, op: Operation) -> list[set[int]]:
    """Return, for every operand, which operands its adjoint's rule reads, the output counted after them."""
    try:
        operands, out = _stand_ins(node, op)
        arguments = {argument: place for place, argument in enumerate((*operands, out))}
        pulled = _pulled(out, placeholder(out.shape, out.dtype), _smooth(operands))
        boundary = frozenset(arguments)
        return [
            {arguments[each] for each in topological_order([pulled[operand]], boundary) if each in arguments}
            if operand in pulled
            else set()
            for operand in operands
        ]
    except (UnknownOpError, GraphDiffError, AttributeError, TypeError, ValueError):
        return [set() for _ in node.inputs]  # no derivative passes through it


def _smooth(operands: Iterable[Tensor]) -> set[Tensor]:
    return {each for each in operands if each.recorded and host.is_real_floating(each.dtype)}


def _programs(node: Tensor, op: Operation) -> Record:
    operands, out = _stand_ins(node, op)
    return {"value": _Writer(operands).write(out), **_derivatives(operands, out)}


def _derivatives(operands: list[Tensor], out: Tensor) -> Record:
    """Return the programs of the adjoints' contributions and of the tangents' terms."""
    adjoint: list[JSON] = [None] * len(operands)
    tangent: list[JSON] = [None] * len(operands)
    made: Record = {"adjoint": adjoint, "tangent": tangent}
    if not host.is_real_floating(out.dtype):
        return made
    smooth = _smooth(operands)
    cotangent = placeholder(out.shape, out.dtype)
    pulled = _pulled(out, cotangent, smooth)
    for position, operand in enumerate(operands):
        if operand in pulled:
            adjoint[position] = _Writer([*operands, out, cotangent]).write(pulled[operand])
        if operand in smooth:
            direction = placeholder(operand.shape, operand.dtype)
            pushed: dict[Tensor, Array] = {operand: direction}
            push_forward([out], pushed, GRAPH)
            if out in pushed:
                tangent[position] = _Writer([*operands, out, direction]).write(cast(Tensor, pushed[out]))
    return made


def _pulled(out: Tensor, cotangent: Tensor, smooth: Iterable[Tensor]) -> Mapping[Tensor, Tensor]:
    found: dict[Tensor, Array] = {out: cotangent}
    pull_back([out], found, GRAPH, set(smooth))
    return cast(Mapping[Tensor, Tensor], found)
