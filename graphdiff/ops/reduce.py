"""Reductions, cumulative sums and products, softmax.

The ops take `axis` as a tuple of non-negative integers; the public functions bring what NumPy takes to that form.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

from graphdiff import host
from graphdiff.arguments import real_floating, require_real
from graphdiff.errors import OpError, ShapeError
from graphdiff.op import Applied, Work, as_tensor, composite, custom, function, linear, summing
from graphdiff.ops.powers import SQUARED
from graphdiff.tensor import Tensor
from graphdiff.typing import Array, ArrayLike, Attribute, Axis, DTypeLike, Function, Inference, Namespace, Rule


def _axes(x: Tensor, axis: Axis, name: str) -> tuple[int, ...]:
    try:
        return host.normalize_axes(axis, len(x.shape))
    except (ValueError, TypeError) as error:
        if not x.ndim and host.is_integer(axis) and axis in (0, -1):
            return ()  # as NumPy and PyTorch have it of a number
        raise ShapeError(f"{name}({x.describe()}): {error}") from error


def _one_axis(x: Tensor, axis: int, name: str) -> int:
    if not host.is_integer(axis):
        raise ShapeError(f"{name} takes a single axis, not {axis!r}")
    if not x.ndim:
        raise ShapeError(f"{name}({x.describe()}): a number has no axis")
    return _axes(x, axis, name)[0]


def reduced_shape(shape: host.Shape, axis: tuple[int, ...], keepdims: bool) -> host.Shape:
    """Return the shape after reducing along `axis`."""
    if keepdims:
        return tuple(1 if position in axis else length for position, length in enumerate(shape))
    return tuple(length for position, length in enumerate(shape) if position not in axis)


def _expand(F: Namespace, reduced: Array, x: Array, axis: tuple[int, ...], keepdims: bool) -> Array:
    """Put the reduced axes back with length 1, so that `reduced` broadcasts against `x`."""
    if keepdims or not reduced.shape:
        return reduced  # a scalar broadcasts as it is
    return F.reshape(reduced, reduced_shape(x.shape, axis, True))


def _count(x: Array, axis: tuple[int, ...]) -> int:
    count = 1
    for position in axis:
        count *= x.shape[position]
    return count


def _infer(dtype_rule: Function[host.DType]) -> Inference:
    def infer(x: Tensor, *, axis: int | tuple[int, ...], keepdims: bool = False) -> tuple[host.Shape, host.DType]:
        axes = (axis,) if isinstance(axis, int) else axis
        return reduced_shape(x.shape, axes, keepdims), dtype_rule(x.dtype)

    return infer


def _same_shape(dtype_rule: Function[host.DType]) -> Inference:
    return lambda x, *, axis: (x.shape, dtype_rule(x.dtype))


def widened(F: Namespace, x: Array) -> Array:
    """Return x, in single precision where it is half: sums of halves have no room above 65,504, nor small terms below.

    What a rule of differentiation makes of it is cast to the operand's dtype by the walks.
    """
    if not _is_half(F, x):
        return x
    return F.astype(x, host.float32 if F.is_graph else F.backend.native_dtype(host.float32))


def _is_half(F: Namespace, x: Array) -> bool:
    kind_of = x.dtype if F.is_graph else F.backend.host_dtype(x)
    return kind_of.kind == "f" and kind_of.itemsize == 2


def in_single(evaluate: Rule) -> Rule:
    """Return an evaluation that computes in single precision what it returns in half."""

    def rule(F: Namespace, x: Array, *others: Array, **attributes: Attribute) -> Array:
        wide = widened(F, x)
        found = evaluate(F, wide, *others, **attributes)
        return found if wide is x else F.astype(found, x.dtype)

    return rule


def _batch(name: str) -> Rule:
    """Shift the axes by one: the new leading axis is batched over."""

    def batch(
        F: Namespace,
        operands: Sequence[Array],
        flags: Sequence[bool],
        size: int,
        *,
        axis: int | tuple[int, ...],
        **attributes: Attribute,
    ) -> Array:
        shifted = axis + 1 if isinstance(axis, int) else tuple(position + 1 for position in axis)
        result: Array = getattr(F, name)(operands[0], axis=shifted, **attributes)
        return result

    return batch


def _spread(F: Namespace, cotangent: Array, x: Array, *, axis: tuple[int, ...], keepdims: bool = False) -> Array:
    return F.broadcast_to(_expand(F, cotangent, x, axis, keepdims), x.shape)


_ELEMENTS_IN: dict[str, Any] = {"flops": lambda out, x: x.size}


def _averaging(out: Tensor, x: Tensor) -> Work:
    return summing(out, x)._replace(multiplications=out.size)


_sum: Applied = linear(
    "sum", _spread, infer=_infer(host.accumulator_dtype), batch=_batch("sum"), symbol="Σ", work=summing, **_ELEMENTS_IN
)


_HALF_ENDS = 65504
"""The largest number of half precision: a mean over more is divided twice."""


def _mean_transpose(
    F: Namespace, cotangent: Array, x: Array, *, axis: tuple[int, ...], keepdims: bool = False
) -> Array:
    count: float = _count(x, axis)
    if count > _HALF_ENDS and _is_half(F, x):
        cotangent, count = cotangent / 1024, count / 1024
    return _spread(F, cotangent / count, x, axis=axis, keepdims=keepdims)


_mean: Applied = linear(
    "mean", _mean_transpose, infer=_infer(host.quotient_dtype), batch=_batch("mean"), work=_averaging, **_ELEMENTS_IN
)


sum_wide: Applied = linear(
    "sum_wide",
    lambda F, cotangent, x, *, scale: F.sum_wide(cotangent, scale=scale),
    evaluate=lambda F, x, *, scale: F.broadcast_to(scale * F.sum(x, axis=-1, keepdims=True), x.shape),
    infer=lambda x, *, scale: (x.shape, x.dtype),
    batch=lambda F, operands, flags, size, *, scale: F.sum_wide(operands[0], scale=scale),
    doc="The sum along the last axis times a number, repeated along the axis.",
    work=summing,
    **_ELEMENTS_IN,
    internal=True,
)


@function("reduce_sum", name="sum")
def sum(x: ArrayLike, /, axis: Axis = None, *, dtype: DTypeLike | None = None, keepdims: bool = False) -> Tensor:
    """Sum over axes.

    Parameters
    ----------
    x : Tensor or array-like
    axis : int, tuple of int or None
        None sums over all.
    dtype : dtype-like, optional
        Cast to this first; the result is of it.
    keepdims : bool
        Keep the summed axes with length 1.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.sum([[1.0, 2.0], [3.0, 4.0]], axis=0).tolist()
    [4.0, 6.0]
    """
    x = as_tensor(x) if dtype is None else _cast(x, dtype)
    total = _sum.op.node((x,), {"axis": _axes(x, axis, "sum"), "keepdims": bool(keepdims)})
    return total if dtype is None else _cast(total, dtype)


@function()
def mean(x: ArrayLike, /, axis: Axis = None, *, dtype: DTypeLike | None = None, keepdims: bool = False) -> Tensor:
    """Arithmetic mean over axes; see `sum` for the parameters."""
    x = _cast(x, dtype)
    return _cast(_mean(x, axis=_axes(x, axis, "mean"), keepdims=bool(keepdims)), dtype)


def _cast(x: ArrayLike, dtype: DTypeLike | None) -> Tensor:
    x = as_tensor(x)
    return x if dtype is None else x.astype(dtype)


# Products: as balanced trees of multiplications, whose derivatives are right where factors are zero --------------


def _last(F: Namespace, x: Array, axis: tuple[int, ...]) -> Array:
    """Move the reduced axes to one last axis."""
    kept = tuple(position for position in range(len(x.shape)) if position not in axis)
    lengths = tuple(x.shape[position] for position in kept)
    return F.reshape(F.permute_dims(x, (*kept, *axis)), (*lengths, _count(x, axis)))


def _prod_body(F: Namespace, x: Array, *, axis: tuple[int, ...], keepdims: bool = False) -> Array:
    rows = _last(F, x, axis)
    while rows.shape[-1] > 1:
        half = rows.shape[-1] // 2
        pairs = rows[..., :half] * rows[..., half : 2 * half]
        rows = F.concat((pairs, rows[..., 2 * half :]), axis=-1) if rows.shape[-1] % 2 else pairs
    shape = reduced_shape(x.shape, axis, keepdims)
    return F.reshape(rows, shape) if rows.shape[-1] else F.ones(shape, dtype=x.dtype)


_prod: Applied = composite(
    "prod",
    _prod_body,
    evaluate=lambda F, x, *, axis, keepdims=False: F.prod(x, axis=axis, keepdims=keepdims),
    batch=_batch("prod"),
    infer=_infer(host.accumulator_dtype),
    symbol="Π",
    **_ELEMENTS_IN,
)


@function()
def prod(x: ArrayLike, /, axis: Axis = None, *, dtype: DTypeLike | None = None, keepdims: bool = False) -> Tensor:
    """Product over axes, with right derivatives where factors are zero; see `sum` for the parameters."""
    x = _cast(x, dtype)
    return _cast(_prod(x, axis=_axes(x, axis, "prod"), keepdims=bool(keepdims)), dtype)


def _cumsum_transpose(F: Namespace, cotangent: Array, x: Array, *, axis: int) -> Array:
    return F.flip(F.cumulative_sum(F.flip(cotangent, axis=axis), axis=axis), axis=axis)


def _adding_up(out: Tensor, x: Tensor) -> Work:
    """Return the work of running sums: all elements but the first of each row are added."""
    length = x.shape[out.attributes["axis"]]
    return Work(additions=x.size - x.size // length if length else 0)


_cumsum: Applied = linear(
    "cumsum",
    _cumsum_transpose,
    function="cumulative_sum",
    infer=_same_shape(host.accumulator_dtype),
    batch=_batch("cumulative_sum"),
    work=_adding_up,
)


def _cumprod_body(F: Namespace, x: Array, *, axis: int) -> Array:
    # Doubling strides (Hillis and Steele, 1986): after k rounds every element is the product of 2**k neighbours.
    result = F.moveaxis(x, axis, -1)
    stride, length = 1, x.shape[axis]
    while stride < length:
        result = F.concat((result[..., :stride], result[..., stride:] * result[..., :-stride]), axis=-1)
        stride *= 2
    return F.moveaxis(result, -1, axis)


_cumprod: Applied = composite(
    "cumprod",
    _cumprod_body,
    evaluate=lambda F, x, *, axis: F.cumulative_prod(x, axis=axis),
    infer=_same_shape(host.accumulator_dtype),
    batch=_batch("cumprod"),
)


def _flat_unless(x: ArrayLike, axis: int | None, name: str) -> tuple[Tensor, int]:
    x = as_tensor(x)
    if axis is None:
        return x.ravel(), 0
    return x, _one_axis(x, axis, name)


@function("cumulative_sum")
def cumsum(x: ArrayLike, /, axis: int | None = None) -> Tensor:
    """Running sum along an axis; None flattens first."""
    x, position = _flat_unless(x, axis, "cumsum")
    return _cumsum(x, axis=position)


@function("cumulative_prod")
def cumprod(x: ArrayLike, /, axis: int | None = None) -> Tensor:
    """Running product along an axis, with right derivatives at zeros; None flattens first."""
    x, position = _flat_unless(x, axis, "cumprod")
    return _cumprod(x, axis=position)


# Extremes ----------------------------------------------------------------------------------------------------


def _even_share(F: Namespace, out: Array, x: Array, axis: tuple[int, ...], keepdims: bool) -> Array:
    """Return 1 / (number of ties) where x attains the extreme, 0 elsewhere."""
    attained = F.astype(x == _expand(F, out, x, axis, keepdims), x.dtype)
    return attained / F.sum(attained, axis=axis, keepdims=True)


def _extreme_tangent(
    F: Namespace, tangents: Sequence[Array], out: Array, x: Array, *, axis: tuple[int, ...], keepdims: bool = False
) -> Array:
    return F.sum(tangents[0] * _even_share(F, out, x, axis, keepdims), axis=axis, keepdims=keepdims)


def _extreme_adjoint(
    F: Namespace,
    cotangent: Array,
    position: int,
    out: Array,
    x: Array,
    *,
    axis: tuple[int, ...],
    keepdims: bool = False,
) -> Array:
    return _expand(F, cotangent, x, axis, keepdims) * _even_share(F, out, x, axis, keepdims)


def _extreme(name: str) -> Applied:
    return custom(
        name,
        tangent=_extreme_tangent,
        adjoint=_extreme_adjoint,
        infer=_infer(lambda dtype: dtype),
        batch=_batch(name),
        work="comparison",
        poles=False,
        chooses=True,
        **_ELEMENTS_IN,
    )


_max, _min = _extreme("max"), _extreme("min")


@function("amax")
def max(x: ArrayLike, /, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
    """Maximum over axes; ties share the gradient equally."""
    x = as_tensor(x)
    return _max(x, axis=_axes(x, axis, "max"), keepdims=bool(keepdims))


@function("amin")
def min(x: ArrayLike, /, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
    """Minimum over axes; ties share the gradient equally."""
    x = as_tensor(x)
    return _min(x, axis=_axes(x, axis, "min"), keepdims=bool(keepdims))


def _without_derivative(name: str, dtype: host.DType, axis_kind: str) -> Applied:
    return linear(name, infer=_infer(lambda given: dtype), batch=_batch(name), doc=f"The {axis_kind} op `{name}`.")


_argmax, _argmin = (_without_derivative(name, host.int64, "index") for name in ("argmax", "argmin"))
_any, _all = (_without_derivative(name, host.boolean, "logical") for name in ("any", "all"))


@function()
def argmax(x: ArrayLike, /, axis: int | None = None, *, keepdims: bool = False) -> Tensor:
    """Index of the first maximum along an axis; None flattens first."""
    return _arg(_argmax, x, axis, keepdims)


@function()
def argmin(x: ArrayLike, /, axis: int | None = None, *, keepdims: bool = False) -> Tensor:
    """Index of the first minimum along an axis; None flattens first."""
    return _arg(_argmin, x, axis, keepdims)


def _arg(op: Any, x: ArrayLike, axis: int | None, keepdims: bool) -> Tensor:
    given = as_tensor(x)
    flat, position = _flat_unless(given, axis, op.__name__)
    found = op(flat, axis=position, keepdims=bool(keepdims))
    result: Tensor = found.reshape((1,) * given.ndim) if keepdims and axis is None else found
    return result


@function()
def any(x: ArrayLike, /, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
    """Whether any element along the axes is true."""
    x = as_tensor(x)
    return _any(x, axis=_axes(x, axis, "any"), keepdims=bool(keepdims))


@function()
def all(x: ArrayLike, /, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
    """Whether all elements along the axes are true."""
    x = as_tensor(x)
    return _all(x, axis=_axes(x, axis, "all"), keepdims=bool(keepdims))


# Spread ------------------------------------------------------------------------------------------------------


def _degrees(x: Array, axis: tuple[int, ...], correction: float) -> float:
    """Return by what squares are divided: by 0 where the correction leaves nothing."""
    return builtins.max(_count(x, axis) - correction, 0)


@in_single
def _var_body(F: Namespace, x: Array, *, axis: tuple[int, ...], keepdims: bool = False, correction: float = 0) -> Array:
    centred = x - F.mean(x, axis=axis, keepdims=True)
    return F.sum(centred * centred, axis=axis, keepdims=keepdims) / _degrees(x, axis, correction)


def _infer_spread(
    x: Tensor, *, axis: tuple[int, ...], keepdims: bool = False, correction: float = 0
) -> tuple[host.Shape, host.DType]:
    return reduced_shape(x.shape, axis, keepdims), host.quotient_dtype(x.dtype)


_var: Applied = composite("var", _var_body, infer=_infer_spread, batch=_batch("var"), **_ELEMENTS_IN)


def _deviations(F: Namespace, x: Array, axis: tuple[int, ...]) -> Array:
    """Return x less its mean, exactly 0 where all values are equal: the mean is taken from the first one on."""
    first = x[tuple(slice(0, 1) if place in axis else slice(None) for place in range(len(x.shape)))]
    away = x - first
    return away - F.mean(away, axis=axis, keepdims=True)


@in_single
def _std_evaluate(
    F: Namespace, x: Array, *, axis: tuple[int, ...], keepdims: bool = False, correction: float = 0
) -> Array:
    count = _degrees(x, axis, correction)
    length = F.norm(_deviations(F, x, axis), axis=axis, keepdims=keepdims)
    return length / count**0.5 if count > 0 else length / 0.0


def _std_slope(F: Namespace, out: Array, x: Array, axis: tuple[int, ...], keepdims: bool, correction: float) -> Array:
    """Return d std / d x = (x - mean) / ((n - correction) std), and 0 where all values are equal."""
    x, spread = widened(F, x), _expand(F, out, x, axis, keepdims)
    return F.over_length(_deviations(F, x, axis), spread) / _degrees(x, axis, correction)


def _std_tangent(
    F: Namespace,
    tangents: Sequence[Array],
    out: Array,
    x: Array,
    *,
    axis: tuple[int, ...],
    keepdims: bool = False,
    correction: float = 0,
) -> Array:
    slope = _std_slope(F, out, x, axis, keepdims, correction)
    return F.sum(tangents[0] * slope, axis=axis, keepdims=keepdims)


def _std_adjoint(
    F: Namespace,
    cotangent: Array,
    position: int,
    out: Array,
    x: Array,
    *,
    axis: tuple[int, ...],
    keepdims: bool = False,
    correction: float = 0,
) -> Array:
    return _expand(F, cotangent, x, axis, keepdims) * _std_slope(F, out, x, axis, keepdims, correction)


_std: Applied = custom(
    "std",
    tangent=_std_tangent,
    adjoint=_std_adjoint,
    evaluate=_std_evaluate,
    poles=False,
    infer=_infer_spread,
    batch=_batch("std"),
    **_ELEMENTS_IN,
)


SQUARED["std"] = _var


@function()
def var(
    x: ArrayLike,
    /,
    axis: Axis = None,
    *,
    correction: float | None = None,
    keepdims: bool = False,
    ddof: float | None = None,
) -> Tensor:
    """Variance over axes: the squared deviations' sum divided by n - correction (NumPy calls it ddof).

    The correction is 0 by default. Where it leaves nothing to divide by, the result is infinite or NaN.
    """
    x, correction = _spread_of(x, correction, ddof, "var")
    return _var(x, axis=_axes(x, axis, "var"), keepdims=bool(keepdims), correction=correction)


@function()
def std(
    x: ArrayLike,
    /,
    axis: Axis = None,
    *,
    correction: float | None = None,
    keepdims: bool = False,
    ddof: float | None = None,
) -> Tensor:
    """Standard deviation over axes; derivative 0 where all values are equal."""
    x, correction = _spread_of(x, correction, ddof, "std")
    x = real_floating(x, "std")
    return _std(x, axis=_axes(x, axis, "std"), keepdims=bool(keepdims), correction=correction)


def _spread_of(x: ArrayLike, correction: float | None, ddof: float | None, name: str) -> tuple[Tensor, float]:
    x = as_tensor(x)
    require_real(x, name)
    if correction is not None and ddof is not None:
        raise OpError(f"{name}: correction and ddof are two names of one number; give one of them")
    given = ddof if correction is None else correction
    if given is not None and not (isinstance(given, Real) and math.isfinite(given)):
        raise OpError(f"{name}: the correction is a number, not {given!r}")
    if given is None:
        return x, 0
    return x, int(given) if host.is_integer(given) else float(given)


# Log-sum-exp and softmax -----------------------------------------------------------------------------------------


def _finite_max(F: Namespace, x: Array, axis: Axis) -> Array:
    top = F.max(x, axis=axis, keepdims=True)
    return F.where(F.isfinite(top), top, F.zeros_like(top))


@in_single
def _logsumexp(F: Namespace, x: Array, *, axis: tuple[int, ...], keepdims: bool = False) -> Array:
    top = _finite_max(F, x, axis)
    result = F.log(F.sum(F.exp(x - top), axis=axis, keepdims=True)) + top
    return result if keepdims else F.reshape(result, reduced_shape(x.shape, axis, False))


def _weights(F: Namespace, out: Array, x: Array, axis: tuple[int, ...], keepdims: bool) -> Array:
    # Divided by their sum, which is 1 but for the rounding of `out`: a large error where `out` is large.
    # Half precision has no room for the exponential of that rounding.
    weights = F.exp(widened(F, x) - _expand(F, out, x, axis, keepdims))
    return weights / F.sum(weights, axis=axis, keepdims=True)


_lse: Applied = custom(
    "logsumexp",
    tangent=lambda F, tangents, out, x, *, axis, keepdims=False: F.sum(
        tangents[0] * _weights(F, out, x, axis, keepdims), axis=axis, keepdims=keepdims
    ),
    adjoint=lambda F, cotangent, position, out, x, *, axis, keepdims=False: (
        _expand(F, cotangent, x, axis, keepdims) * _weights(F, out, x, axis, keepdims)
    ),
    evaluate=_logsumexp,
    poles=False,
    infer=_infer(host.float_result),
    batch=_batch("logsumexp"),
    flops=lambda out, x: 4 * x.size,
)


@function()
def logsumexp(x: ArrayLike, /, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))) over axes, without overflow; its gradient is softmax.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.grad(gd.logsumexp)(gd.constant([0.0, 0.0])).tolist()
    [0.5, 0.5]
    """
    # Floating before the maximum is subtracted: unsigned integers have no negative numbers, booleans no difference.
    x = real_floating(as_tensor(x), "logsumexp")
    return _lse(x, axis=_axes(x, axis, "logsumexp"), keepdims=bool(keepdims))


@in_single
def _softmax_evaluate(F: Namespace, x: Array, *, axis: int) -> Array:
    weights = F.exp(x - F.max(x, axis=axis, keepdims=True))
    return weights / F.sum(weights, axis=axis, keepdims=True)


def _softmax_product(F: Namespace, vector: Array, out: Array, axis: int) -> Array:
    """Multiply by the Jacobian diag(p) - p pᵀ, which is symmetric."""
    weighted = widened(F, vector) * out
    return weighted - out * F.sum(weighted, axis=axis, keepdims=True)


_softmax: Applied = custom(
    "softmax",
    tangent=lambda F, tangents, out, x, *, axis: _softmax_product(F, tangents[0], out, axis),
    adjoint=lambda F, cotangent, position, out, x, *, axis: _softmax_product(F, cotangent, out, axis),
    evaluate=_softmax_evaluate,
    poles=False,
    infer=_same_shape(host.float_result),
    batch=_batch("softmax"),
    flops=5,
)


@in_single
def _log_softmax_evaluate(F: Namespace, x: Array, *, axis: int) -> Array:
    shifted = x - F.max(x, axis=axis, keepdims=True)
    return shifted - F.log(F.sum(F.exp(shifted), axis=axis, keepdims=True))


_log_softmax: Applied = custom(
    "log_softmax",
    tangent=lambda F, tangents, out, x, *, axis: (
        tangents[0] - F.sum(F.exp(out) * widened(F, tangents[0]), axis=axis, keepdims=True)
    ),
    adjoint=lambda F, cotangent, position, out, x, *, axis: (
        cotangent - F.exp(out) * F.sum(widened(F, cotangent), axis=axis, keepdims=True)
    ),
    evaluate=_log_softmax_evaluate,
    poles=False,
    infer=_same_shape(host.float_result),
    batch=_batch("log_softmax"),
    flops=5,
)


@function()
def softmax(x: ArrayLike, /, axis: int = -1) -> Tensor:
    """exp(x) divided by its sum along an axis, without overflow."""
    x = real_floating(as_tensor(x), "softmax")
    return _softmax(x, axis=_one_axis(x, axis, "softmax"))


@function()
def log_softmax(x: ArrayLike, /, axis: int = -1) -> Tensor:
    """Logarithm of softmax, without overflow."""
    x = real_floating(as_tensor(x), "log_softmax")
    return _log_softmax(x, axis=_one_axis(x, axis, "log_softmax"))
