"""What functions of matrices have in common: which operands they take, and how they are batched and counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphdiff import host
from graphdiff.arguments import real_floating
from graphdiff.errors import ShapeError
from graphdiff.op import FUNCTIONS, as_tensor
from graphdiff.tensor import Tensor
from graphdiff.typing import Array, ArrayLike, Attribute, Namespace

# NumPy's functions around LAPACK check and convert for as long as eight calls take.
CUBIC: dict[str, Any] = {"flops": lambda out, x, *rest: 2 * x.size * min(x.shape[-2:]), "calls": 8}


def require_square(x: Tensor, name: str) -> None:
    """Refuse what is no stack of square matrices."""
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"{name} takes square matrices, not {x.describe()}")


def square(x: ArrayLike, name: str) -> Tensor:
    """Return square matrices of floating numbers."""
    x = as_tensor(x)
    require_square(x, name)
    return real_floating(x, name)


def rectangular(x: ArrayLike, name: str) -> Tensor:
    """Return matrices of floating numbers."""
    x = as_tensor(x)
    if x.ndim < 2:
        raise ShapeError(f"{name} takes matrices, not {x.describe()}")
    return real_floating(x, name)


def over_stacks(name: str) -> Any:
    """Batch by the leading axes, over which the op works anyway."""

    def batch(
        F: Namespace, operands: Sequence[Array], flags: Sequence[bool], size: int, **attributes: Attribute
    ) -> Array:
        return FUNCTIONS[name](*operands, **attributes)

    return batch


def same(x: Tensor) -> tuple[host.Shape, host.DType]:
    """Infer a result like the operand."""
    return x.shape, x.dtype


def scaled_columns(F: Namespace, x: Array, factors: Array) -> Array:
    """Multiply each column of matrices by a number: x diag(factors)."""
    return x * F.expand_dims(factors, axis=-2)
