"""What a graph demands of values that it is given when it runs: where they are not known while it is built."""

from __future__ import annotations

import math
from collections.abc import Sequence

from graphdiff.backend import require_within
from graphdiff.op import FUNCTIONS, Applied, custom
from graphdiff.tensor import Tensor
from graphdiff.typing import Array, Attribute, Namespace

__all__ = ["demand"]


def _demanded(F: Namespace, x: Array, values: Array, *, low: float, high: float, told: str) -> Array:
    inside = F.all(F.logical_and(values >= low, values <= high))
    if F.is_graph:  # a device is not waited for: what cannot be refused there is NaN
        return F.where(inside, x, F.full((), math.nan, dtype=x.dtype))
    if not bool(inside):
        require_within(F.backend.to_host(values), low, high, told)
    return x


def _batched(
    F: Namespace, operands: Sequence[Array], flags: Sequence[bool], size: int, **attributes: Attribute
) -> Tensor:
    x, values = operands
    return _within(x if flags[0] else F.broadcast_to(x, (size, *x.shape)), values, **attributes)


_within: Applied = custom(
    "within",
    evaluate=_demanded,
    tangent=lambda F, tangents, out, x, values, **attributes: tangents[0],
    adjoint=lambda F, cotangent, position, out, x, values, **attributes: cotangent if position == 0 else None,
    infer=lambda x, values, **attributes: (x.shape, x.dtype),
    batch=_batched,
    flops=0,
    work="move",
    doc="The first operand, once every element of the second has been seen to lie in [low, high].",
    internal=True,
)


def demand(x: Tensor, values: Tensor, low: float, high: float, told: str) -> Tensor:
    """Return x, real floating, demanding of values that are not known yet that they lie in [low, high].

    A plan that meets others raises DataError, which begins with what is `told`, and changes nothing; on a device that
    is not waited for x becomes NaN.
    """
    if values.has_value or not values.size:
        return x
    return FUNCTIONS["within"](x, values, low=low, high=high, told=told)
