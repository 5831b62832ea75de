"""What losses are made of: ops whose derivatives are quicker, or safer, than those of their parts."""

from __future__ import annotations

import math
from collections.abc import Sequence

from graphdiff import host
from graphdiff.op import Applied, composite, custom
from graphdiff.ops.reduce import in_single, widened
from graphdiff.typing import Array, Namespace

__all__ = ["cross_entropy", "divergence", "weighted_total"]


# The cross-entropy of classes, for logits (…, examples, classes) and labels (…, examples). The shift by the maximum
# cancels between the loss's two terms, so that no derivative need flow through it; and the sums are multiplied by the
# number of examples, so that the derivative is one quotient and one sum.


def _shifted(F: Namespace, logits: Array) -> tuple[Array, Array, Array]:
    """Return the logits less their maximum, their exponentials, and the exponentials' sums times the examples."""
    shifted = logits - F.max(logits, axis=logits.ndim - 1, keepdims=True)
    powers = F.exp(shifted)
    return shifted, powers, F.sum(powers, axis=logits.ndim - 1, keepdims=True) * float(logits.shape[-2])


def _weights(F: Namespace, logits: Array, labels: Array) -> Array:
    examples, classes = logits.shape[-2:]
    dtype = logits.dtype if F.is_graph else F.backend.host_dtype(logits)
    return F.label_weights(labels, classes=classes, value=-1.0 / examples, dtype=dtype)


def _weighted_total(F: Namespace, x: Array, weights: Array) -> Array:
    counted = F.where(weights == 0, F.zeros_like(x), x)
    return F.sum(counted * weights, axis=(x.ndim - 2, x.ndim - 1))


weighted_total: Applied = composite(
    "weighted_total",
    _weighted_total,
    infer=lambda x, weights: (x.shape[:-2], x.dtype),
    flops=lambda out, x, weights: 2 * x.size,
    doc="Sum of x · weights over the last two axes, in which what has weight 0 does not count: not infinity either.",
    internal=True,
)


@in_single
def _cross_entropy_value(F: Namespace, logits: Array, labels: Array) -> Array:
    shifted, _, sums = _shifted(F, logits)
    spread = F.mean(F.log(sums), axis=(logits.ndim - 2, logits.ndim - 1)) - math.log(logits.shape[-2])
    return F.weighted_total(shifted, _weights(F, logits, labels)) + spread


def _cross_entropy_slope(F: Namespace, logits: Array, labels: Array) -> Array:
    """Return (softmax - one-hot labels) / examples."""
    logits = widened(F, logits)
    _, powers, sums = _shifted(F, logits)
    return powers / sums + _weights(F, logits, labels)


def _cross_entropy_batch(F: Namespace, operands: Sequence[Array], flags: Sequence[bool], size: int) -> Array:
    logits, labels = operands
    whole = logits if flags[0] else F.broadcast_to(logits, (size, *logits.shape))
    return _cross_entropy_value(F, whole, labels)


cross_entropy: Applied = custom(
    "cross_entropy",
    evaluate=_cross_entropy_value,
    tangent=lambda F, tangents, out, logits, labels: F.sum(
        tangents[0] * _cross_entropy_slope(F, logits, labels), axis=(0, 1)
    ),
    adjoint=lambda F, cotangent, position, out, logits, labels: (
        cotangent * _cross_entropy_slope(F, logits, labels) if position == 0 else None
    ),
    infer=lambda logits, labels: ((), logits.dtype),
    poles=False,
    batch=_cross_entropy_batch,
    flops=lambda out, logits, labels: 7 * logits.size,
    doc="Mean cross-entropy of softmax(logits) with integer labels.",
    internal=True,
)


# An op of its own, since its derivative by t as a product is t · 1/t, of which 1/t overflows where t is subnormal.


def _divergence_part(F: Namespace, vector: Array, position: int, t: Array, logarithm: Array) -> Array:
    """Return what a tangent of one operand, or the adjoint, becomes."""
    return vector * (F.log(t) - logarithm + 1) if position == 0 else -(vector * t)


def _divergence_tangent(
    F: Namespace,
    tangents: Sequence[Array | None],
    out: Array,
    t: Array,
    logarithm: Array,
) -> Array:
    given = [(place, vector) for place, vector in enumerate(tangents) if vector is not None]
    parts = [_divergence_part(F, vector, place, t, logarithm) for place, vector in given]
    return sum(parts[1:], parts[0])


divergence: Applied = custom(
    "divergence",
    evaluate=lambda F, t, logarithm: t * (F.log(t) - logarithm),
    tangent=_divergence_tangent,
    adjoint=lambda F, cotangent, position, out, t, logarithm: _divergence_part(F, cotangent, position, t, logarithm),
    infer=lambda t, logarithm: (t.shape, host.result_dtype(t.dtype, logarithm.dtype)),
    batch=lambda F, operands, flags, size: F.divergence(
        *(each if own else F.broadcast_to(each, (size, *each.shape)) for each, own in zip(operands, flags, strict=True))
    ),
    work="transcendental",
    flops=3,
    doc="t·(log t - log p), of t and log p of one shape.",
    internal=True,
)
