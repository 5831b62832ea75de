"""Losses, as means over the batch, and accuracy."""

from __future__ import annotations

import math
from typing import Any

from graphdiff.errors import DataError, DTypeError, ShapeError
from graphdiff.op import FUNCTIONS, as_tensor
from graphdiff.ops.index import label_weights
from graphdiff.tensor import Tensor

__all__ = ["accuracy", "check_labels", "softmax_cross_entropy", "squared_error"]


def check_labels(labels: Any, classes: int) -> None:
    """Refuse labels, an array on the host, that are outside 0 … classes - 1; DataError names the row."""
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        row = int(outside.argmax())
        raise DataError(f"row {row}: label {labels[row]} is outside 0 … {classes - 1}")


def _check_labels(logits: Tensor, labels: Tensor) -> None:
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ShapeError(
            f"logits are (examples, classes) and integer labels (examples,), not {logits.describe()} and "
            f"{labels.describe()}"
        )
    if labels.has_value and labels.size:
        check_labels(labels.numpy(), logits.shape[1])


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
        _check_labels(logits, labels)
        # Both terms are shifted by the same maximum, which cancels, so that no derivative need flow through it. The
        # sums are multiplied by the number of examples so that in the derivative its reciprocal cancels too.
        examples, classes = logits.shape
        top = FUNCTIONS["stop_gradient"](FUNCTIONS["max"](logits, axis=1, keepdims=True))
        shifted = logits - top
        sums = FUNCTIONS["sum"](FUNCTIONS["exp"](shifted), axis=1) * float(examples)
        weights = label_weights(labels, classes=classes, value=-1.0 / examples, dtype=logits.dtype)
        spread = FUNCTIONS["mean"](FUNCTIONS["log"](sums)) - math.log(examples)
        return FUNCTIONS["sum"](shifted * weights) + spread  # type: ignore[no-any-return]
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
