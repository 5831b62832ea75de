"""Selection by a condition or by bounds: what is not chosen contributes exactly zero."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from graphdiff import host
from graphdiff.errors import OpError
from graphdiff.op import FUNCTIONS, Applied, as_tensor, custom, elementwise, function
from graphdiff.ops.elementwise import known, mask
from graphdiff.tensor import Tensor
from graphdiff.typing import Array, ArrayLike, Namespace


def _where_tangent(
    F: Namespace, tangents: Sequence[Array | None], out: Array, condition: Array, x: Array, y: Array
) -> Array:
    chosen, other = (F.zeros_like(out) if tangent is None else tangent for tangent in tangents[1:])
    return F.where(condition, chosen, other)


def _where_adjoint(
    F: Namespace, cotangent: Array, position: int, out: Array, condition: Array, x: Array, y: Array
) -> Array | None:
    if position == 0:
        return None
    zero = F.zeros_like(cotangent)
    return F.where(condition, cotangent, zero) if position == 1 else F.where(condition, zero, cotangent)


_where: Applied = custom(
    "where",
    tangent=_where_tangent,
    adjoint=_where_adjoint,
    infer=lambda condition, x, y: (
        host.broadcast_shapes(condition.shape, x.shape, y.shape),
        host.result_dtype(x.dtype, y.dtype),
    ),
    work="move",
    poles=False,
    chooses=True,
    doc="x where the condition holds, y elsewhere. The branch not taken contributes exactly zero to every derivative.",
)


@function(name="where")
def where(condition: ArrayLike, x: ArrayLike | None = None, y: ArrayLike | None = None, /) -> Any:
    """Return x where the condition holds, y elsewhere; the branch not taken adds exactly zero to every derivative.

    With the condition alone it is `nonzero`, as NumPy has it.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.where(gd.constant([True, False]), 1.0, 2.0).tolist()
    [1.0, 2.0]
    """
    if x is None and y is None:
        return FUNCTIONS["nonzero"](condition)
    if x is None or y is None:
        raise OpError("where takes a condition and two values to choose from, or a condition alone")
    return _where(condition, x, y)


where.op = _where.op  # type: ignore[attr-defined]


_clip = elementwise(
    "clip",
    lambda F, out, x, lower, upper: known(F, out, mask(F, (x >= lower) & (x <= upper), out)),
    lambda F, out, x, lower, upper: known(F, out, mask(F, (x < lower) & (lower <= upper), out)),
    lambda F, out, x, lower, upper: known(F, out, mask(F, F.maximum(x, lower) > upper, out)),
    evaluate=lambda F, x, lower, upper: F.minimum(F.maximum(x, lower), upper),
    work="comparison",
    poles=False,
    chooses=True,
    doc="x limited to [lower, upper]; derivative 1 at the bounds.",
)


@function(name="clip")
def clip(x: ArrayLike, /, min: Any = None, max: Any = None) -> Tensor:
    """Limit x to [min, max]; either may be None. The derivative is 1 at the bounds."""
    x = as_tensor(x)
    if x.dtype.kind in "iu":
        lowest, highest = host.integer_limits(x.dtype)
    else:
        lowest, highest = -math.inf, math.inf  # type: ignore[assignment]
    return _clip(x, lowest if min is None else min, highest if max is None else max)


clip.op = _clip.op  # type: ignore[attr-defined]

for _alias, _name in {
    "absolute": "abs",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "arctan2": "atan2",
    "arcsinh": "asinh",
    "arccosh": "acosh",
    "arctanh": "atanh",
    "true_divide": "divide",
    "mod": "remainder",
    "invert": "bitwise_invert",
    "fabs": "abs",
}.items():
    FUNCTIONS[_alias] = FUNCTIONS[_name]
