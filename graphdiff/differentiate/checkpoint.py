"""Checkpointing: what a function computes on the way is not kept for the backward pass but computed again there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import NoReturn, ParamSpec

from graphdiff import host
from graphdiff.differentiate.zeros import traits
from graphdiff.errors import GraphError
from graphdiff.graph import topological_order
from graphdiff.guard import guarded
from graphdiff.op import Applied, Composite, as_tensor, linear
from graphdiff.tensor import Tensor, constant, current_trace, next_serial
from graphdiff.tree import flatten, unflatten
from graphdiff.typing import Attributes

__all__ = ["checkpoint"]

Parameters = ParamSpec("Parameters")

barrier: Applied = linear(
    "barrier",
    lambda F, cotangent, x: cotangent,
    evaluate=lambda F, x: x,
    infer=lambda x: (x.shape, x.dtype),
    batch=lambda F, operands, flags, size: barrier(operands[0]),
    flops=0,
    work="view",
    keeps="places",
    pure=False,
    doc="Return x, as something that is not to be merged with what is computed from x elsewhere.",
    internal=True,
)


class Checkpoint(Composite):
    """A function's whole body as one op, made per call: it stands in no registry and is not pickled by name."""

    is_suspect = True

    def __init__(
        self, name: str, rebuild: Callable[[Sequence[Tensor]], Tensor], given: int, traced: _Traced | None
    ) -> None:
        self.name = self.symbol = self.function = name
        self.infer_rule = self.batch_rule = None
        self.evaluate = lambda F, *arrays: rebuild([constant(array) for array in arrays[:given]])._value
        self.flops = 0
        self._kernels = {}
        self._rebuild = rebuild
        self._given = given
        self._traced = traced

    def __reduce__(self) -> NoReturn:
        raise GraphError(f"a checkpointed call of {self.name} cannot be pickled: its function lives in this program")

    def open(self, operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
        """Return what the function computes of other operands."""
        return self._rebuild(operands[: self._given]) if self._traced is None else _replayed(self._traced, operands)

    def again(self, operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
        """Compute the function once more, as graph of its own."""
        kept_apart = [barrier(operand) for operand in operands[: self._given]]
        return self.open([*kept_apart, *operands[self._given :]], attributes)


_Traced = tuple[Tensor, tuple[Tensor, ...]]
"""While a function is traced its inner graph has no values to hold on to: (output, operands) are kept."""


def _replayed(traced: _Traced, operands: Sequence[Tensor]) -> Tensor:
    """Return the graph between a traced call's operands and its output, over other operands."""
    output, original = traced
    new: dict[Tensor, Tensor] = dict(zip(original, operands, strict=True))
    for node in topological_order([output], boundary=frozenset(original)):
        if node not in new and node.op is not None:
            new[node] = node.op.node(tuple(new.get(operand, operand) for operand in node.inputs), node.attributes)
    return new[output]


@guarded
def checkpoint(function: Callable[Parameters, object]) -> Callable[Parameters, Tensor]:
    """Return `function` with less memory for more time: its inner values are computed again in the backward pass.

    Parameters
    ----------
    function : callable
        Of arrays, numbers, Tensors and nested structures of them, and of whatever variables it refers to; returns one
        Tensor, the same for the same arguments.

    Returns
    -------
    callable

    Raises
    ------
    GraphError
        The function returns anything but one Tensor.

    Examples
    --------
    >>> import graphdiff as gd
    >>> x = gd.variable(0.5)
    >>> y = gd.checkpoint(lambda t: gd.sin(gd.exp(t)))(x)
    >>> [node.op.name for node in gd.Graph(y) if node.op]
    ['<lambda>']
    >>> gd.check_grads(gd.checkpoint(lambda t: gd.sin(gd.exp(t))), 0.5).passed
    True
    """
    name = getattr(function, "__name__", type(function).__name__.lower())

    @wraps(function)
    def checkpointed(*arguments: Parameters.args, **named: Parameters.kwargs) -> Tensor:
        leaves, structure = flatten([list(arguments), named])
        places = [place for place, leaf in enumerate(leaves) if _is_array(leaf)]
        given = [as_tensor(leaves[place]) for place in places]

        def rebuild(operands: Sequence[Tensor]) -> Tensor:
            filled = list(leaves)
            for place, operand in zip(places, operands, strict=True):
                filled[place] = operand
            positional, keywords = unflatten(structure, filled)
            result = function(*positional, **keywords)
            if not isinstance(result, Tensor):
                raise GraphError(f"a checkpointed function returns one tensor, and {name} returned {result!r}")
            return result

        started = next_serial()
        output = rebuild(given)
        if not output.recorded or output.serial < started:
            return output
        operands = (*given, *_captured(output, started, given))
        op = Checkpoint(name, rebuild, len(given), (output, operands) if current_trace() else None)
        op.inside = traits(topological_order([output], boundary=frozenset(operands)))
        signature = (output.shape, output.dtype)
        return Tensor(op, operands, {}, output._value, output.backend, True, signature)

    return checkpointed


def _is_array(leaf: object) -> bool:
    return isinstance(leaf, (Tensor, *host.PYTHON_SCALARS)) or host.is_host_array(leaf)


def _captured(output: Tensor, started: int, given: Sequence[Tensor]) -> list[Tensor]:
    """Return what the function used besides its arguments: variables, and recorded tensors from before the call."""
    found: dict[Tensor, None] = {}
    seen: set[Tensor] = set()
    pending = [output]
    trace = current_trace()
    while pending:
        node = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.serial >= started and node.op is not None and not (trace is not None and trace.stands(node)):
            pending.extend(node.inputs)
        elif node.recorded and not any(node is argument for argument in given):
            found[node] = None
    return list(found)
