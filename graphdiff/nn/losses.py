"""Losses, as means over the batch, and accuracy."""

from __future__ import annotations

import math
from typing import Any

from graphdiff.errors import DataError, DTypeError, ShapeError
from graphdiff.op import FUNCTIONS, as_tensor, custom
from graphdiff.tensor import Tensor

__all__ = ["accuracy", "check_labels", "softmax_cross_entropy", "squared_error"]


def check_labels(labels: Any, classes: int) -> None:
    """Refuse labels, an array on the host, that are outside 0 … classes - 1; DataError names the row."""
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        row = int(outside.argmax())
        raise DataError(f"row {row}: label {labels[row]} is outside 0 … {classes - 1}")


def _require_pairs(logits: Tensor, labels: Tensor) -> None:
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ShapeError(
            f"logits are (examples, classes) and integer labels (examples,), not {logits.describe()} and "
            f"{labels.describe()}"
        )


def _check_labels(logits: Tensor, labels: Tensor) -> None:
    _require_pairs(logits, labels)
    if labels.has_value and labels.size:
        check_labels(labels.numpy(), logits.shape[1])


# The cross-entropy of classes, for logits (…, examples, classes) and labels (…, examples). The shift by the maximum
# cancels between the loss's two terms, so that no derivative need flow through it; and the sums are multiplied by the
# number of examples, so that the derivative is one quotient and one sum.


def _shifted(F: Any, logits: Any) -> tuple[Any, Any, Any]:
    """Return the logits less their maximum, their exponentials, and the exponentials' sums times the examples."""
    shifted = logits - F.max(logits, axis=logits.ndim - 1, keepdims=True)
    powers = F.exp(shifted)
    return shifted, powers, F.sum(powers, axis=logits.ndim - 1, keepdims=True) * float(logits.shape[-2])


def _weights(F: Any, logits: Any, labels: Any) -> Any:
    examples, classes = logits.shape[-2:]
    dtype = logits.dtype if F.is_graph else F.backend.host_dtype(logits)
    return F.label_weights(labels, classes=classes, value=-1.0 / examples, dtype=dtype)


def _cross_entropy_value(F: Any, logits: Any, labels: Any) -> Any:
    shifted, _, sums = _shifted(F, logits)
    axes = (logits.ndim - 2, logits.ndim - 1)
    spread = F.mean(F.log(sums), axis=axes) - math.log(logits.shape[-2])
    return F.sum(shifted * _weights(F, logits, labels), axis=axes) + spread


def _cross_entropy_slope(F: Any, logits: Any, labels: Any) -> Any:
    """Return (softmax - one-hot labels) / examples."""
    _, powers, sums = _shifted(F, logits)
    return powers / sums + _weights(F, logits, labels)


def _cross_entropy_batch(F: Any, operands: Any, flags: Any, size: int) -> Tensor:
    logits, labels = operands
    whole = logits if flags[0] else F.broadcast_to(logits, (size, *logits.shape))
    return _cross_entropy_value(F, whole, labels)  # type: ignore[no-any-return]


_cross_entropy: Any = custom(
    "cross_entropy",
    evaluate=_cross_entropy_value,
    tangent=lambda F, tangents, out, logits, labels: F.sum(
        tangents[0] * _cross_entropy_slope(F, logits, labels), axis=(0, 1)
    ),
    adjoint=lambda F, cotangent, position, out, logits, labels: (
        cotangent * _cross_entropy_slope(F, logits, labels) if position == 0 else None
    ),
    infer=lambda logits, labels: ((), logits.dtype),
    batch=_cross_entropy_batch,
    flops=lambda out, logits, labels: 7 * logits.size,
    doc="Mean cross-entropy of softmax(logits) with integer labels.",
)


def softmax_cross_entropy(logits: Any, labels: Any) -> Tensor:
    """Mean cross-entropy of softmax(logits), computed from the logits without overflow.

    Parameters
    ----------
    logits : Tensor of shape (examples, classes)
    labels : integers of shape (examples,), or probabilities of the logits' shape

    Returns
    -------
    Tensor
        A scalar; its gradient by the logits is (softmax(logits) - labels) / examples.

    Raises
    ------
    DataError
        A label is no class.
    ShapeError, DTypeError

    Examples
    --------
    >>> import graphdiff as gd
    >>> round(float(gd.nn.softmax_cross_entropy([[0.0, 0.0]], [1])), 6)
    0.693147
    """
    logits, labels = as_tensor(logits), as_tensor(labels)
    if labels.dtype.kind in "iu":
        _require_pairs(logits, labels)
        loss = _cross_entropy(logits if logits.dtype.kind == "f" else logits.astype("float64"), labels)
        if loss.has_value and not bool(loss._value == loss._value):  # a label outside the classes gives NaN
            _check_labels(logits, labels)
        return loss  # type: ignore[no-any-return]
    if labels.dtype.kind != "f":
        raise DTypeError(f"labels are integers or probabilities, not {labels.describe()}")
    if labels.shape != logits.shape:
        raise ShapeError(f"probabilities {labels.describe()} do not have the shape of the logits {logits.describe()}")
    picked = FUNCTIONS["sum"](labels.astype(logits.dtype) * FUNCTIONS["log_softmax"](logits, axis=-1), axis=-1)
    return -FUNCTIONS["mean"](picked)  # type: ignore[no-any-return]


def squared_error(prediction: Any, target: Any) -> Tensor:
    """Mean squared difference.

    Raises
    ------
    ShapeError
        The shapes differ: broadcasting (n, 1) against (n,) is a mistake more often than not.
    """
    prediction, target = as_tensor(prediction), as_tensor(target)
    if prediction.shape != target.shape:
        raise ShapeError(f"prediction {prediction.describe()} and target {target.describe()} differ in shape")
    return FUNCTIONS["mean"](FUNCTIONS["square"](prediction - target))  # type: ignore[no-any-return]


def accuracy(logits: Any, labels: Any) -> float:
    """Return the share of examples whose greatest logit is their label's."""
    logits, labels = as_tensor(logits), as_tensor(labels)
    _check_labels(logits, labels)
    return float(FUNCTIONS["mean"]((FUNCTIONS["argmax"](logits, axis=1) == labels).astype("float64")))
