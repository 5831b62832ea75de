"""Logits that are masked by -inf, and logits so far apart that their difference overflows."""

import math
from typing import Any

import numpy as np
import pytest

import graphdiff as gd

inf = math.inf
CASES: dict[str, tuple[list[list[float]], list[int], str]] = {
    "one class": ([[0.0, -inf]], [0], "float64"),
    "one of three": ([[0.0, -inf, 1.0]], [0], "float64"),
    "others in others": ([[0.0, -inf, 1.0], [2.0, 1.0, -inf], [-inf, 0.5, -inf]], [2, 0, 1], "float64"),
    "apart": ([[3e38, -3e38]], [0], "float32"),
    "half": ([[0.0, -inf, 1.0]], [2], "float16"),
    "far apart": ([[1e308, -1e308, 0.0]], [0], "float64"),
}


def probabilities(logits: Any) -> Any:
    powers = np.array([[math.exp(max(v - max(row), -1e4)) if v > -inf else 0.0 for v in row] for row in logits])
    return powers / powers.sum(axis=1, keepdims=True)


def entropy(targets: Any, logits: Any) -> Any:
    """Σ -t·log p of each row, over what has a share."""
    p = probabilities(logits)
    return np.array([-sum(t * math.log(q) for t, q in zip(*pair, strict=True) if t) for pair in zip(targets, p)])


def slopes(function: Any, x: Any) -> dict[str, Any]:
    reverse = gd.grad(function)
    return {
        "reverse": reverse(x).numpy(),
        "forward": gd.jacobian(function, mode="forward")(x).numpy(),
        "elimination": gd.jacobian(function, mode="elimination")(x).numpy(),
        "compiled": gd.compile(reverse)(x).numpy(),
    }


def check(function: Any, x: Any, value: float, slope: Any, rtol: float = 1e-13) -> None:
    with np.errstate(over="ignore"):  # of a difference
        for found in (function(x), gd.compile(function)(x), gd.vmap(function)(x[None])[0]):
            np.testing.assert_allclose(found.numpy(), value, rtol=rtol, atol=rtol)
        for mode, found in slopes(function, x).items():
            np.testing.assert_allclose(found, slope, rtol=rtol, atol=rtol, err_msg=mode)
        rows = gd.grad(lambda z: gd.sum(gd.vmap(function)(z)))(x[None])[0].numpy()
        np.testing.assert_allclose(rows, slope, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("name", CASES)
def test_cross_entropy_of_labels(name: str) -> None:
    rows, chosen, dtype = CASES[name]
    labels, targets = np.array(chosen), np.eye(len(rows[0]))[chosen]
    rtol = {"float16": 2e-3, "float32": 1e-6, "float64": 1e-13}[dtype]
    value, slope = entropy(targets, rows).mean(), (probabilities(rows) - targets) / len(rows)
    x = np.array(rows, dtype)
    check(lambda z: gd.nn.softmax_cross_entropy(z, labels), x, value, slope, rtol)
    check(lambda z: gd.nn.softmax_cross_entropy(z, targets.astype(dtype)), x, value, slope, rtol)
    ones = np.ones(len(rows))
    check(lambda z: gd.nn.softmax_cross_entropy(z, labels, weights=ones), x, value, slope, rtol)
    by_class = np.ones(len(rows[0]))
    check(lambda z: gd.nn.softmax_cross_entropy(z, labels, class_weights=by_class), x, value, slope, rtol)
    check(lambda z: -gd.mean(gd.log_softmax(z)[np.arange(len(labels)), labels]), x, value, slope, rtol)
    if "apart" not in name:
        own = lambda z: z[np.arange(len(labels)), labels]  # noqa: E731
        check(lambda z: gd.mean(gd.logsumexp(z, axis=1) - own(z)), x, value, slope, rtol)


def test_what_libraries_say() -> None:
    assert gd.nn.softmax_cross_entropy([[0.0, -inf]], [0]).item() == 0
    assert gd.nn.softmax_cross_entropy([[0.0, -inf, 1.0]], [0]).item() == pytest.approx(1.3132616875182228, rel=1e-15)
    assert gd.nn.softmax_cross_entropy([[0.0, -inf]], [1]).item() == inf
    np.testing.assert_array_equal(
        gd.grad(lambda z: gd.nn.softmax_cross_entropy(z, [1]))(np.array([[0.0, -inf]])).numpy(), [[1.0, -1.0]]
    )
    # Spread evenly, the masked class has a share.
    assert gd.nn.softmax_cross_entropy([[0.0, -inf]], [0], label_smoothing=0.1).item() == inf
    assert gd.compile(lambda z: gd.nn.softmax_cross_entropy(z, [0], label_smoothing=0.1))([[0.0, -inf]]).item() == inf


def test_a_label_outside_the_classes_is_refused_in_a_plan() -> None:
    compiled = gd.compile(lambda z, y: gd.nn.softmax_cross_entropy(z, y))
    for label in (-1, 3, 1000):
        with pytest.raises(gd.errors.DataError, match=f"row 0: label {label} is outside 0 … 2"):
            compiled(np.array([[0.0, -inf, 1.0]]), np.array([label]))


def test_derivatives_by_labels_count_classes_of_no_share() -> None:
    x = np.array([[0.5, 1.0, -2.0]])
    slope = gd.grad(lambda t: gd.nn.softmax_cross_entropy(x, t))(np.array([[1.0, 0.0, 0.0]])).numpy()
    np.testing.assert_allclose(slope, -np.log(probabilities(x)), rtol=1e-13)


@pytest.mark.parametrize("axis", [0, 1])
def test_rows_with_masked_elements(axis: int) -> None:
    x = np.array([[0.0, -inf, 1.0], [-inf, 2.0, 0.5], [1.5, 0.0, -inf]])
    turned = x if axis == 1 else x.T
    p = probabilities(x)
    expected = {
        "softmax": p if axis == 1 else p.T,
        "log_softmax": np.log(p, where=p > 0, out=np.full_like(p, -inf)) if axis == 1 else None,
    }
    np.testing.assert_allclose(gd.softmax(turned, axis=axis).numpy(), expected["softmax"], rtol=1e-14)
    if axis == 1:
        np.testing.assert_allclose(gd.log_softmax(x).numpy(), expected["log_softmax"], rtol=1e-14, atol=1e-15)
    weights = np.arange(1.0, 10.0).reshape(3, 3)
    weighted = weights if axis == 1 else weights.T
    slope = p * (weights - np.sum(weights * p, axis=1, keepdims=True))
    found = slopes(lambda z: gd.sum(gd.softmax(z, axis=axis) * weighted), turned)
    for mode, each in found.items():
        np.testing.assert_allclose(each, slope if axis == 1 else slope.T, rtol=1e-13, atol=1e-15, err_msg=mode)
    for mode, each in slopes(lambda z: gd.sum(gd.logsumexp(z, axis=axis)), turned).items():
        np.testing.assert_allclose(each, p if axis == 1 else p.T, rtol=1e-13, atol=1e-15, err_msg=mode)


def test_second_derivatives_with_masked_elements() -> None:
    x = np.array([[0.0, -inf, 1.0]])
    p = probabilities(x)[0]
    for mode in ("forward", "reverse"):
        found = gd.hessian(lambda z: gd.nn.softmax_cross_entropy(z, [0]), mode=mode)(x).numpy().reshape(3, 3)
        np.testing.assert_allclose(found, np.diag(p) - np.outer(p, p), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("label", [0, 1, 0.0, 1.0])
@pytest.mark.parametrize("options", [{}, {"positive_weight": 2.0}], ids=["plain", "weighted"])
def test_binary_cross_entropy_of_infinite_logits(label: float, options: dict[str, float]) -> None:
    weight = options.get("positive_weight", 1.0) if label else 1.0
    right, wrong = (inf, -inf) if label else (-inf, inf)
    loss = lambda z: gd.nn.binary_cross_entropy(z, np.array([label]), **options)  # noqa: E731
    for function in (loss, gd.compile(loss)):
        assert function(np.array([right])).item() == 0
        assert function(np.array([wrong])).item() == inf
    for mode, found in slopes(loss, np.array([right])).items():
        assert found.item() == 0, mode
    for mode, found in slopes(loss, np.array([wrong])).items():
        assert found.item() == (-weight if label else weight), mode


def test_hinge_of_masked_scores() -> None:
    for function in (gd.nn.hinge, gd.compile(gd.nn.hinge)):
        assert function(np.array([[3.0, 2.5, -inf]]), np.array([0])).item() == 0.5
        assert function(np.array([[-inf, 2.5, 2.0], [1.0, -inf, 5.0]]), np.array([1, 2])).item() == 0.25
    slope = gd.grad(lambda s: gd.nn.hinge(s, np.array([0])))(np.array([[3.0, 2.5, -inf]])).numpy()
    np.testing.assert_array_equal(slope, [[-1.0, 1.0, 0.0]])
