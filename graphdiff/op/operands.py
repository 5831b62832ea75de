"""What an op is applied to: whatever can be made a Tensor; numbers take their dtype from the tensors beside them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import cast

from graphdiff import host
from graphdiff.backend import Backend
from graphdiff.errors import DTypeError
from graphdiff.op.functions import FUNCTIONS
from graphdiff.tensor import TRACES, Tensor, constant, current_trace, leaf
from graphdiff.typing import ArrayLike

_literals: dict[Hashable, Tensor] = {}
_LITERAL_LIMIT = 1024


def as_tensor(value: ArrayLike) -> Tensor:
    """Return `value` as a Tensor: itself, a stack where a sequence holds Tensors, or a constant."""
    if isinstance(value, Tensor):
        return entered(value) if TRACES else value
    if isinstance(value, (tuple, list)) and _holds_tensor(value):
        return FUNCTIONS["stack"]([as_tensor(item) for item in value])
    return constant(value)


def entered(tensor: Tensor) -> Tensor:
    """Return what stands for a tensor in the trace that this thread is in, if it is in one."""
    trace = current_trace()
    return tensor if trace is None else trace.enter(tensor)


def _holds_tensor(sequence: Iterable[object]) -> bool:
    return any(
        isinstance(item, Tensor) or (isinstance(item, (tuple, list)) and _holds_tensor(item)) for item in sequence
    )


def literal(scalar: complex, kind_of: host.DType, backend: Backend) -> Tensor:
    """Return the constant for a Python number beside a tensor of dtype `kind_of`.

    Literals are kept: a loop that says ``x * 0.5`` makes one constant, not one per turn. Zeros are not, since
    -0.0 == 0.0, nor is NaN, which equals nothing.
    """
    key = (scalar.__class__, scalar, kind_of, backend)
    found = _literals.get(key)
    if found is None:
        weak = host.weak_dtype(scalar, kind_of)
        try:
            value = backend.normalize(backend.from_host(scalar, weak))
        except OverflowError as error:
            raise DTypeError(f"{scalar!r} beside a tensor of {kind_of}: {error}") from error
        found = leaf(value, backend)
        if scalar and scalar == scalar:
            if len(_literals) >= _LITERAL_LIMIT:
                _literals.clear()
            _literals[key] = found
    return found


class Number(Tensor):
    """A Python number whose value is not known yet: an argument of a traced function.

    Like a literal it takes its dtype from the tensor beside it, and is float64 or int64 on its own.
    """

    __slots__ = ()

    def beside(self, kind_of: host.DType) -> Tensor:
        """Return this number in the dtype that a literal has beside a tensor of dtype `kind_of`."""
        wanted = host.weak_dtype(self.dtype.type(1).item(), kind_of)
        return self if wanted == self.dtype else FUNCTIONS["astype"](self, wanted)


def operand_beside(value: ArrayLike, other: ArrayLike) -> Tensor:
    """Return an operand that is no plain Tensor as one, beside the operand `other`."""
    if isinstance(other, Tensor):
        if isinstance(value, host.PYTHON_SCALARS):
            return literal(value, other.dtype, other.backend)
        if value.__class__ is Number and other.__class__ is not Number:
            return value.beside(other.dtype)
    return as_tensor(value)


def as_tensors(operands: Sequence[ArrayLike]) -> tuple[Tensor, ...]:
    """Return operands as Tensors, Python numbers taking their dtype from the tensors and arrays beside them."""
    strong: list[host.DType] = []
    backend: Backend | None = None
    made: list[ArrayLike] = []
    for value in operands:
        if not isinstance(value, host.PYTHON_SCALARS):
            value = as_tensor(value)
        if isinstance(value, Tensor):
            if value.__class__ is not Number:
                strong.append(value.dtype)
            backend = backend or value.backend
        made.append(value)
    if not strong:
        return tuple(map(as_tensor, made))
    joined = host.result_dtype(*strong)
    assert backend is not None
    return tuple(_settle(value, joined, backend) for value in made)


def _settle(value: ArrayLike, joined: host.DType, backend: Backend) -> Tensor:
    """Return a Tensor, or a Python number in the dtype that it has beside the others."""
    if isinstance(value, Number):
        return value.beside(joined)
    return value if isinstance(value, Tensor) else literal(cast(complex, value), joined, backend)
