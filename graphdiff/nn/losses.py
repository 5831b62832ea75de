"""Losses, as means over the batch, penalties and accuracy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from graphdiff import host
from graphdiff.arguments import listed, number
from graphdiff.backend import require_labels
from graphdiff.errors import DataError, DTypeError, GraphError, OpError, ShapeError
from graphdiff.graph import topological_order
from graphdiff.guard import guarded
from graphdiff.nn.module import Module
from graphdiff.op import GRAPH as F
from graphdiff.op import as_tensor
from graphdiff.ops.checks import demand
from graphdiff.ops.index import label_weights
from graphdiff.ops.losses import cross_entropy, divergence
from graphdiff.tensor import Tensor, current_trace
from graphdiff.typing import ArrayLike, Function

__all__ = [
    "absolute_error",
    "accuracy",
    "binary_cross_entropy",
    "hinge",
    "huber",
    "kl_divergence",
    "l1_penalty",
    "l2_penalty",
    "softmax_cross_entropy",
    "squared_error",
]

ClassWeights: TypeAlias = "ArrayLike | Mapping[int, float]"
_SUM_TOLERANCE = 1e-3
"""How far from 1 a row's probabilities may sum: as half precision rounds them."""


def _require_all(allowed: Tensor, labels: Tensor, told: str) -> None:
    """Refuse labels that are not allowed; DataError says what is, and names the first row with another."""
    if bool(F.all(allowed)):
        return
    place, value = _first_where(~allowed, labels)
    row = place // math.prod(labels.shape[1:])
    raise DataError(f"{told}, but row {row} of {labels.describe()} has {value:g}")


def _first_where(wrong: Tensor, values: Tensor) -> tuple[int, float]:
    """Return the first place, of the flat array, where something is wrong, and the value there."""
    place = int(F.argmax(F.reshape(wrong, (-1,)).astype("int8")))
    return place, F.reshape(values, (-1,)).numpy()[place]


def _require_pairs(logits: Tensor, labels: Tensor) -> None:
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        mend = ""
        if logits.ndim == 2 and labels.shape == logits.shape:
            mend = "; rows of zeros and a one are probabilities as labels.astype('float32')"
        elif labels.shape == (*logits.shape[:1], 1):
            mend = "; labels[:, 0] has one axis"
        raise ShapeError(
            f"logits are (examples, classes) and integer labels (examples,), not {logits.describe()} and "
            f"{labels.describe()}{mend}"
        )


def _check_labels(logits: Tensor, labels: Tensor) -> None:
    _require_pairs(logits, labels)
    if labels.has_value:
        require_labels(labels.numpy(), logits.shape[1])


def _check_probabilities(labels: Tensor) -> Tensor:
    """Refuse rows that are no distribution; labels that are differentiated by may leave the simplex."""
    if not labels.has_value or labels.recorded or not labels.ndim:
        return _demand_probabilities(labels)
    _require_all(labels >= 0, labels, "probabilities are not negative")
    sums = F.sum(labels, axis=-1)
    wrong = ~(F.abs(sums - 1.0) <= _SUM_TOLERANCE)
    if bool(F.any(wrong)):
        place, value = _first_where(wrong, sums)
        raise DataError(
            f"probabilities of a row sum to 1, but those of row {place} of {labels.describe()} to {value:g}"
        )
    return labels


def _demand_probabilities(labels: Tensor) -> Tensor:
    """Demand the same of labels that a traced function is given; what is made of variables may be differentiated by."""
    trace = current_trace()
    if labels.has_value or trace is None or not labels.ndim:
        return labels
    if any(trace.stands(node) for node in topological_order([labels])):
        return labels
    seen = demand(labels, labels, 0, math.inf, "probabilities are not negative")
    sums = F.sum(labels, axis=-1)
    return demand(seen, sums, 1 - _SUM_TOLERANCE, 1 + _SUM_TOLERANCE, "probabilities of a row sum to 1")


@guarded
def softmax_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    class_weights: ClassWeights | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Mean cross-entropy of softmax(logits), computed from the logits without overflow.

    Parameters
    ----------
    logits : Tensor of shape (examples, classes)
    labels : integers of shape (examples,), or probabilities of the logits' shape
    weights : array of shape (examples,), optional
        The mean becomes the weighted mean; where all are 0, it is 0.
    class_weights : array of shape (classes,), or dict, optional
        Each class's share of the loss is multiplied by its weight; a dict has those of some classes by their numbers,
        the others' are 1. With integer labels the mean over examples is then weighted by their labels' weights, as
        PyTorch has it.
    label_smoothing : float
        The share ε of the labels that is spread evenly over all classes: (1 - ε)·label + ε / classes.
        Szegedy et al., Rethinking the Inception architecture, 2016, section 7.

    Returns
    -------
    Tensor
        A scalar; without options its gradient by the logits is (softmax(logits) - labels) / examples.

    Raises
    ------
    DataError
        A label is no class, a probability is negative, a row of them does not sum to 1, or a weight is negative.
    ShapeError, DTypeError

    Examples
    --------
    >>> import graphdiff as gd
    >>> round(float(gd.nn.softmax_cross_entropy([[0.0, 0.0]], [1])), 6)
    0.693147
    """
    logits, labels = as_tensor(logits), as_tensor(labels)
    plain = weights is None and class_weights is None and number(label_smoothing, "label_smoothing", 0, 1) == 0
    if labels.dtype.kind in "iu":
        _require_pairs(logits, labels)
        logits = logits if logits.dtype.kind == "f" else logits.astype("float64")
        if not plain:
            return _general_cross_entropy(logits, labels, weights, class_weights, label_smoothing)
        loss = cross_entropy(logits, labels)
        if not loss.has_value or not bool(loss._value == loss._value):  # a device gives NaN for what is no class
            _check_labels(logits, labels)
        return loss
    if labels.dtype.kind != "f":
        raise DTypeError(
            f"labels are integers or probabilities, not {labels.describe()}; labels.astype('int64') numbers two classes"
        )
    if labels.shape != logits.shape:
        mend = "; numbers of classes are integers: labels.astype('int64')" if labels.ndim == 1 else ""
        raise ShapeError(
            f"probabilities {labels.describe()} do not have the shape of the logits {logits.describe()}{mend}"
        )
    labels = _check_probabilities(labels)
    if not plain:
        return _general_cross_entropy(logits, labels, weights, class_weights, label_smoothing)
    return F.mean(_entropies(logits, labels.astype(logits.dtype)))


def _entropies(logits: Tensor, targets: Tensor) -> Tensor:
    """Return -Σ targets · log_softmax(logits) of each row; 0 · log 0 is 0, as for logits that are masked by -inf."""
    logarithms = F.log_softmax(logits, axis=-1)
    nothing = (targets == 0) & (logarithms == -math.inf)
    counted = F.where(nothing, 0.0, logarithms)
    return -F.sum(targets * counted, axis=-1)


def _general_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    weights: ArrayLike | None,
    class_weights: ClassWeights | None,
    label_smoothing: float,
) -> Tensor:
    if logits.ndim != 2:
        raise ShapeError(f"logits are (examples, classes), not {logits.describe()}")
    classes, dtype = logits.shape[1], logits.dtype
    chosen = labels.dtype.kind != "f"
    if chosen:
        _check_labels(logits, labels)
        labels = label_weights(labels, classes=classes, value=1.0, dtype=dtype)
    labels = labels.astype(dtype)
    importance = None if weights is None else _importance(weights, logits, logits.shape[:1], "weights")
    targets = labels if not label_smoothing else labels * (1 - label_smoothing) + label_smoothing / classes
    if class_weights is not None:
        by_class = _importance(_in_order(class_weights, classes), logits, (classes,), "class_weights")
        targets = targets * by_class
    losses = _entropies(logits, targets)
    if class_weights is None or not chosen:
        return _mean(losses, importance)
    counted = F.sum(labels * by_class, axis=-1)
    if importance is not None:
        losses, counted = losses * importance, counted * importance
    return _quotient(F.sum(losses), F.sum(counted))


# What the other losses share -------------------------------------------------------------------------------------


def _pair(prediction: ArrayLike, target: ArrayLike) -> tuple[Tensor, Tensor]:
    prediction, target = as_tensor(prediction), as_tensor(target)
    if prediction.shape != target.shape:
        mend = "; target.reshape(prediction.shape) would do" if prediction.size == target.size else ""
        raise ShapeError(f"prediction {prediction.describe()} and target {target.describe()} differ in shape{mend}")
    return prediction, target


def _floating(x: Tensor) -> Tensor:
    return x if x.dtype.kind == "f" else x.astype("float64")


def _in_order(class_weights: ClassWeights, classes: int) -> ArrayLike:
    """Return the weights of classes as a sequence, where they are given by the classes' numbers."""
    if not isinstance(class_weights, Mapping):
        return class_weights
    strange = [key for key in class_weights if not host.is_integer(key) or not 0 <= key < classes]
    if strange:
        raise DataError(f"class_weights has a weight for {strange[0]!r}, and the classes are 0 … {classes - 1}")
    return [number(class_weights.get(label, 1.0), f"the weight of class {label}") for label in range(classes)]


def _importance(weights: ArrayLike, like: Tensor, shape: tuple[int, ...], name: str) -> Tensor:
    weights = as_tensor(weights)
    if weights.shape != shape:
        raise ShapeError(f"{name} are of shape {list(shape)} beside {like.describe()}, not {weights.describe()}")
    if weights.dtype.kind not in "biuf":
        raise DTypeError(f"{name} are real numbers, not {weights.describe()}")
    if weights.has_value and weights.size and not bool(F.all(weights >= 0)):
        raise DataError(f"{name} are not negative, but {weights.describe()} has a number that is negative or NaN")
    return demand(weights.astype(like.dtype), weights, 0, math.inf, f"{name} are not negative")


def _mean(losses: Tensor, importance: Tensor | None) -> Tensor:
    """Return the mean over all elements, or the weighted mean over the first axis of the means over the others."""
    if importance is None:
        return F.mean(losses)
    if losses.ndim > 1:
        losses = F.mean(losses, axis=tuple(range(1, losses.ndim)))
    return _quotient(F.sum(losses * importance), F.sum(importance))


def _quotient(loss: Tensor, weight: Tensor) -> Tensor:
    """Return loss / weight; of a batch that counts for nothing 0, whose gradient is 0 too."""
    return loss / F.where(weight > 0, weight, F.ones_like(weight))


def _weighted_mean(losses: Tensor, weights: ArrayLike | None) -> Tensor:
    if weights is None:
        return F.mean(losses)
    return _mean(losses, _importance(weights, losses, losses.shape[:1], "weights"))


# Regression ------------------------------------------------------------------------------------------------------


@guarded
def squared_error(prediction: ArrayLike, target: ArrayLike, *, weights: ArrayLike | None = None) -> Tensor:
    """Mean squared difference.

    Parameters
    ----------
    prediction, target : array
        Of one shape.
    weights : array of shape (examples,), optional
        The mean becomes the weighted mean over examples; where all are 0, it is 0.

    Raises
    ------
    ShapeError
        The shapes differ: broadcasting (n, 1) against (n,) is a mistake more often than not.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.nn.squared_error([1.0, 2.0], [1.0, 4.0]).item()
    2.0
    """
    prediction, target = _pair(prediction, target)
    return _weighted_mean(F.square(prediction - target), weights)


@guarded
def absolute_error(prediction: ArrayLike, target: ArrayLike, *, weights: ArrayLike | None = None) -> Tensor:
    """Mean absolute difference; its derivative is 0 where they are equal. Arguments are those of `squared_error`.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.nn.absolute_error([1.0, 2.0], [1.0, 4.0]).item()
    1.0
    """
    prediction, target = _pair(prediction, target)
    return _weighted_mean(F.abs(prediction - target), weights)


@guarded
def huber(prediction: ArrayLike, target: ArrayLike, *, delta: float = 1.0, weights: ArrayLike | None = None) -> Tensor:
    """Mean of d²/2 where the difference d is at most delta, and of delta·(|d| - delta/2) beyond.

    Huber, Robust estimation of a location parameter, 1964. The other arguments are those of `squared_error`.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.nn.huber([0.5, 3.0], [0.0, 0.0]).item()
    1.3125
    """
    if not number(delta, "huber's delta") > 0 or not math.isfinite(delta):
        raise OpError(f"huber's delta is a positive number, not {delta!r}")
    prediction, target = _pair(prediction, target)
    size = F.abs(_floating(prediction - target))
    inner = F.clip(size, max=delta)
    return _weighted_mean(inner * (size - 0.5 * inner), weights)


# Classification --------------------------------------------------------------------------------------------------


@guarded
def binary_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    positive_weight: float = 1.0,
    weights: ArrayLike | None = None,
) -> Tensor:
    """Mean of -y·log(p) - (1 - y)·log(1 - p) with p = sigmoid(logits), without overflow and accurate in both tails.

    It is computed as y·softplus(-z) + (1 - y)·softplus(z), in which nothing cancels.

    Parameters
    ----------
    logits, labels : array
        Of one shape; labels are 0, 1 or probabilities.
    positive_weight : float
        Multiplies the first term.
    weights : array of shape (examples,), optional
        The mean becomes the weighted mean over examples.

    Raises
    ------
    DataError
        A label, if their values are known, lies outside [0, 1].
    ShapeError, DTypeError

    Examples
    --------
    >>> import graphdiff as gd
    >>> round(float(gd.nn.binary_cross_entropy([0.0, 1000.0], [1, 1])), 6)
    0.346574
    """
    logits, labels = _pair(logits, labels)
    if labels.dtype.kind not in "biuf":
        raise DTypeError(f"labels are 0, 1 or probabilities, not {labels.describe()}")
    if not number(positive_weight, "positive_weight") >= 0 or not math.isfinite(positive_weight):
        raise OpError(f"positive_weight is a number that is not negative, not {positive_weight!r}")
    if labels.has_value and labels.size:
        _require_all((labels >= 0) & (labels <= 1), labels, "labels are in [0, 1]")
    logits = _floating(logits)
    whole = labels.dtype.kind != "f"
    given, labels = labels, labels.astype(logits.dtype)
    if given.dtype.kind != "b":
        labels = demand(labels, given, 0, 1, "labels are in [0, 1]")
    if whole and positive_weight == 1:
        return _weighted_mean(F.softplus((1 - 2 * labels) * logits), weights)
    positive = labels if positive_weight == 1 else labels * positive_weight
    losses = _counted(positive, F.softplus(-logits)) + _counted(1 - labels, F.softplus(logits))
    return _weighted_mean(losses, weights)


def _counted(share: Tensor, loss: Tensor) -> Tensor:
    """Return share · loss; of an infinite loss that has no share, 0."""
    return share * F.where((share == 0) & (loss == math.inf), 0.0, loss)


@guarded
def hinge(scores: ArrayLike, labels: ArrayLike, *, margin: float = 1.0, weights: ArrayLike | None = None) -> Tensor:
    """Mean hinge loss, of two classes or of several.

    Parameters
    ----------
    scores : array of shape (examples,), or (examples, classes)
    labels : array of shape (examples,)
        -1 or 1 with scores s of shape (examples,), for max(0, margin - label·s); with scores per class integers, for
        the sum over other classes j of max(0, margin + s_j - s_label): Weston and Watkins, Support vector machines for
        multi-class pattern recognition, 1999.
    margin : float
    weights : array of shape (examples,), optional
        The mean becomes the weighted mean over examples.

    Raises
    ------
    DataError
        A label, if their values are known, is none.
    ShapeError, DTypeError

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.nn.hinge([2.0, 0.5], [1, -1]).item()
    0.75
    >>> gd.nn.hinge([[3.0, 2.5, 0.0]], [0]).item()
    0.5
    """
    scores, labels = as_tensor(scores), as_tensor(labels)
    if scores.ndim == 2:
        if labels.dtype.kind not in "iu":
            raise DTypeError(f"labels of several classes are integers, not {labels.describe()}")
        _check_labels(scores, labels)
        scores = _floating(scores)
        chosen = label_weights(labels, classes=scores.shape[1], value=1.0, dtype=scores.dtype)
        # A device's NaN, of labels outside the classes, stays NaN; else only one score is the label's own.
        own = F.sum(F.where(chosen == 0, 0.0, scores) * chosen, axis=-1, keepdims=True)
        losses = F.where(chosen == 1, 0.0, F.relu(scores - own + margin))
        return _weighted_mean(F.sum(losses, axis=-1), weights)
    scores, labels = _pair(scores, labels)
    if labels.dtype.kind not in "if":
        raise DTypeError(f"labels of two classes are -1 and 1, not {labels.describe()}")
    if labels.has_value and labels.size:
        _require_all(F.abs(labels) == 1, labels, "labels of two classes are -1 and 1")
    scores = _floating(scores)
    signs = demand(labels.astype(scores.dtype), F.abs(labels), 1, 1, "labels of two classes are -1 and 1")
    return _weighted_mean(F.relu(margin - signs * scores), weights)


@guarded
def kl_divergence(log_probabilities: ArrayLike, target: ArrayLike, *, weights: ArrayLike | None = None) -> Tensor:
    """Mean over examples of Σ t·(log t - log p), the Kullback–Leibler divergence of the target t from p.

    Kullback and Leibler, On information and sufficiency, 1951; 0·log 0 counts as 0.

    Parameters
    ----------
    log_probabilities : array of shape (examples, classes)
        As `log_softmax` returns them.
    target : probabilities of the same shape
    weights : array of shape (examples,), optional
        The mean becomes the weighted mean.

    Raises
    ------
    DataError
        A target, if their values are known, is negative.
    ShapeError

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.nn.kl_divergence(gd.log_softmax([[1.0, 1.0]]), [[0.5, 0.5]]).item()
    0.0
    """
    predicted, target = _pair(log_probabilities, target)
    if predicted.ndim != 2:
        raise ShapeError(f"log-probabilities are (examples, classes), not {predicted.describe()}")
    if target.has_value and target.size:
        _require_all(target >= 0, target, "probabilities are not negative")
    target = demand(target, target, 0, math.inf, "probabilities are not negative")
    present = target > 0
    safe = F.where(present, target, 1.0)
    terms = F.where(present, divergence(safe, predicted), 0.0)
    return _weighted_mean(F.sum(terms, axis=-1), weights)


# Penalties -------------------------------------------------------------------------------------------------------


def _penalty(of: Module | Iterable[ArrayLike], strength: float, function: Function[Tensor]) -> Tensor:
    """Return the sum of a function of all weights, times a number."""
    given = [leaf for leaf in of.parameters() if leaf.ndim > 1] if isinstance(of, Module) else listed(of, "a penalty")
    if not given:
        raise GraphError("there are no weights to penalise")
    parts = [F.sum(function(as_tensor(leaf))) for leaf in given]
    return strength * sum(parts[1:], parts[0])


@guarded
def l1_penalty(of: Module | Iterable[ArrayLike], strength: float = 1.0) -> Tensor:
    """Strength · Σ |w|, to be added to a loss: it makes weights exactly 0.

    Parameters
    ----------
    of : Module or iterable of Tensor
        Of a module, its parameters with two axes or more are taken: weights, but not biases.
    strength : float

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.nn.l1_penalty([gd.variable([3.0, -4.0])], 0.5).item()
    3.5
    """
    return _penalty(of, number(strength, "the strength of a penalty"), F.abs)


@guarded
def l2_penalty(of: Module | Iterable[ArrayLike], strength: float = 1.0) -> Tensor:
    """Strength / 2 · Σ w², to be added to a loss: its gradient is strength · w, that of weight decay.

    The arguments are those of `l1_penalty`.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.nn.l2_penalty([gd.variable([3.0, -4.0])], 0.5).item()
    6.25
    """
    return _penalty(of, 0.5 * number(strength, "the strength of a penalty"), F.square)


@guarded
def accuracy(logits: ArrayLike, labels: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Return the share of examples whose greatest logit is their label's.

    Parameters
    ----------
    logits : array of shape (examples, classes)
    labels : integers of shape (examples,)
    weights : array of shape (examples,), optional
        The share becomes that of the weight.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.nn.accuracy([[0.0, 1.0], [0.0, 1.0]], [1, 0], weights=[3.0, 1.0])
    0.75
    """
    logits, labels = as_tensor(logits), as_tensor(labels)
    _check_labels(logits, labels)
    return float(_weighted_mean((F.argmax(logits, axis=1) == labels).astype("float64"), weights))
