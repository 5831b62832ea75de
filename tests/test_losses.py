"""Losses against NumPy in float64 and PyTorch's numbers; extreme inputs; eager against compiled."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.errors import DataError, DTypeError, GraphError, OpError, ShapeError

nn = gd.nn
REFERENCES = json.loads((Path(__file__).parent / "references" / "nn.json").read_text())
stream = np.random.default_rng(8)
P, T = stream.normal(size=(5, 3)), stream.normal(size=(5, 3))
LABELS = np.array([2, 0, 1, 1, 2])
SIGNS = np.where(T > 0, 1, -1)
SOFT = np.exp(T) / np.exp(T).sum(1, keepdims=True)
LOG_P = P - np.log(np.exp(P).sum(1, keepdims=True))
WEIGHTS = np.array([1.0, 0.0, 2.0, 0.5, 3.0])
SIZE = np.abs(P - T)
OTHERS = np.arange(3) != LABELS[:, None]
MARGINS = np.maximum(0, 1 + P - P[np.arange(5), LABELS][:, None]) * OTHERS
SMOOTH = 0.8 * np.eye(3)[LABELS] + 0.2 / 3

# name: (loss, target, per-element or per-example losses by their formula)
LOSSES: dict[str, tuple[Callable[..., Any], Any, Any]] = {
    "squared_error": (nn.squared_error, T, SIZE**2),
    "absolute_error": (nn.absolute_error, T, SIZE),
    "huber": (nn.huber, T, np.where(SIZE <= 1, SIZE**2 / 2, SIZE - 0.5)),
    "huber 0.3": (
        lambda p, t, **o: nn.huber(p, t, delta=0.3, **o),
        T,
        np.where(SIZE <= 0.3, SIZE**2 / 2, 0.3 * (SIZE - 0.15)),
    ),
    "binary_cross_entropy": (nn.binary_cross_entropy, T > 0, np.log1p(np.exp(-SIGNS * P))),
    "binary_cross_entropy soft": (nn.binary_cross_entropy, SOFT, np.log1p(np.exp(P)) - SOFT * P),
    "binary_cross_entropy positive": (
        lambda p, t, **o: nn.binary_cross_entropy(p, t, positive_weight=2.0, **o),
        SOFT,
        2 * SOFT * np.log1p(np.exp(-P)) + (1 - SOFT) * np.log1p(np.exp(P)),
    ),
    "hinge": (nn.hinge, LABELS, MARGINS.sum(1)),
    "hinge of two classes": (
        lambda p, t, **o: nn.hinge(p[:, 0], t, **o),
        SIGNS[:, 0],
        np.maximum(0, 1 - SIGNS[:, 0] * P[:, 0]),
    ),
    "kl_divergence": (
        lambda p, t, **o: nn.kl_divergence(gd.log_softmax(p), t, **o),
        SOFT,
        (SOFT * (np.log(SOFT) - LOG_P)).sum(1),
    ),
    "softmax_cross_entropy": (nn.softmax_cross_entropy, LABELS, -LOG_P[np.arange(5), LABELS]),
    "softmax_cross_entropy soft": (nn.softmax_cross_entropy, SOFT, -(SOFT * LOG_P).sum(1)),
    "softmax_cross_entropy smooth": (
        lambda p, t, **o: nn.softmax_cross_entropy(p, t, label_smoothing=0.2, **o),
        LABELS,
        -(SMOOTH * LOG_P).sum(1),
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_formula_and_gradient(name: str) -> None:
    loss, target, terms = LOSSES[name]
    np.testing.assert_allclose(loss(gd.constant(P), target).item(), terms.mean(), rtol=1e-12)
    gd.check_grads(lambda p: loss(p, target), P)


@pytest.mark.parametrize("name", LOSSES)
def test_sample_weights(name: str) -> None:
    loss, target, terms = LOSSES[name]
    per_example = terms.reshape(5, -1).mean(1)
    expected = np.sum(per_example * WEIGHTS) / WEIGHTS.sum()
    np.testing.assert_allclose(loss(gd.constant(P), target, weights=WEIGHTS).item(), expected, rtol=1e-12)
    np.testing.assert_allclose(loss(gd.constant(P), target, weights=np.ones(5)).item(), terms.mean(), rtol=1e-12)
    gd.check_grads(lambda p: loss(p, target, weights=WEIGHTS), P)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
def test_compiled(name: str, weighted: bool) -> None:
    loss, target, _ = LOSSES[name]
    w, options = gd.variable(P), {"weights": WEIGHTS} if weighted else {}

    def step(target: Any) -> Any:
        found = loss(w, target, **options)
        found.backward()
        return found

    expected, gradient = step(target).item(), np.array(w.grad)
    np.testing.assert_allclose(gd.compile(step)(target).item(), expected, rtol=1e-12)
    np.testing.assert_allclose(w.grad, gradient, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("size", [1e4, 1e-30])
def test_extreme_inputs_are_finite(name: str, dtype: str, size: float) -> None:
    loss, target, _ = LOSSES[name]
    if target.dtype == "float64":
        target = target.astype(dtype)
    value, gradient = gd.value_and_grad(lambda p: loss(p, target))((np.sign(P) * size).astype(dtype))
    assert value.dtype == gradient.dtype == dtype
    assert np.isfinite(value.item())
    assert np.isfinite(gradient.numpy()).all()


@pytest.mark.parametrize("kind", [int, float])
def test_binary_cross_entropy_is_accurate_in_its_tails(kind: type) -> None:
    for z in (50.0, 700.0):
        found = nn.binary_cross_entropy([z], np.array([1], kind)).item()
        assert found == pytest.approx(np.exp(-z), rel=1e-12)
        assert nn.binary_cross_entropy([-z], np.array([1], kind)).item() == pytest.approx(z, rel=1e-12)


def test_kl_divergence_of_zeros() -> None:
    p = gd.variable([[0.0, -800.0]])
    found = nn.kl_divergence(gd.log_softmax(p), [[1.0, 0.0]])
    found.backward()
    assert found.item() == 0
    np.testing.assert_allclose(p.grad, 0, atol=1e-300)


SAME = {
    "squared_error": nn.squared_error,
    "absolute_error": nn.absolute_error,
    "huber": lambda p, t: nn.huber(p, t, delta=0.7),
    "binary_cross_entropy": nn.binary_cross_entropy,
    "binary_cross_entropy_soft": nn.binary_cross_entropy,
    "binary_cross_entropy_positive": lambda z, y: nn.binary_cross_entropy(z, y, positive_weight=3.0),
    "softmax_cross_entropy": nn.softmax_cross_entropy,
    "softmax_cross_entropy_soft": nn.softmax_cross_entropy,
    "kl_divergence": nn.kl_divergence,
    "multiclass_hinge": nn.hinge,
}


@pytest.mark.parametrize("name", [*SAME, *(name for name in REFERENCES if "smoothing" in name)])
def test_against_pytorch(name: str) -> None:
    noted = REFERENCES[name]
    loss = SAME.get(name)
    if loss is None:
        options = {"label_smoothing": noted["smoothing"], "class_weights": noted["class_weights"]}

        def loss(z: Any, y: Any) -> Any:
            return nn.softmax_cross_entropy(z, y, **options)

    x, target = (np.array(values) for values in noted["inputs"])
    value, gradient = gd.value_and_grad(lambda x: loss(x, target))(x)
    np.testing.assert_allclose(value.item(), noted["value"], rtol=1e-13)
    np.testing.assert_allclose(gradient.numpy(), noted["gradients"][0], rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", ["binary", "multi-class"])
def test_a_network_has_pytorchs_loss_curve(name: str, compiled: bool) -> None:
    noted = json.loads((Path(__file__).parent / "references" / "curves.json").read_text())[name]
    x, y = np.array(noted["x"]), np.array(noted["y"])
    outputs = len(noted["weights"][-1])
    model = nn.MLP([8, outputs], "tanh" if outputs == 1 else "relu", in_features=4, dtype="float64")
    for leaf, value in zip(model.parameters(), noted["weights"], strict=True):
        leaf.assign(value)
    optimizer = gd.optim.SGD(model.parameters(), lr=0.3)

    def step(x: Any, y: Any) -> Any:
        out = model(x)
        loss = nn.binary_cross_entropy(out[:, 0], y) if outputs == 1 else nn.softmax_cross_entropy(out, y)
        optimizer.minimize(loss)
        return loss

    run = gd.compile(step) if compiled else step
    batches = [slice(k % 4 * 10, k % 4 * 10 + 10) for k in range(200)]
    curve = [float(run(x[rows], y[rows])) for rows in batches]
    np.testing.assert_allclose(curve, noted["curve"], rtol=0, atol=1e-9)
    assert curve[-1] < 0.5 * curve[0]


def test_class_weights_with_sample_weights() -> None:
    by_class = np.array([0.5, 1.0, 2.0])
    terms, counted = -LOG_P[np.arange(5), LABELS] * by_class[LABELS] * WEIGHTS, by_class[LABELS] * WEIGHTS
    found = nn.softmax_cross_entropy(P, LABELS, weights=WEIGHTS, class_weights=by_class)
    np.testing.assert_allclose(found.item(), terms.sum() / counted.sum(), rtol=1e-13)


def test_penalties() -> None:
    model = nn.MLP([3, 2], in_features=4, dtype="float64")
    weights = [leaf.numpy() for leaf in model.parameters() if leaf.ndim == 2]
    found = nn.l1_penalty(model, 0.1)
    np.testing.assert_allclose(found.item(), 0.1 * sum(np.abs(w).sum() for w in weights))
    nn.l2_penalty(model, 0.3).backward()
    for leaf in model.parameters():
        if leaf.ndim == 2:
            np.testing.assert_allclose(leaf.grad, 0.3 * leaf.numpy())
    np.testing.assert_allclose(nn.l2_penalty(model, 0.3).item(), 0.15 * sum((w**2).sum() for w in weights))
    optimizer = gd.optim.SGD(model.parameters(), lr=0.1)
    gd.compile(lambda: optimizer.minimize(nn.l2_penalty(model, 1.0)))()
    np.testing.assert_allclose(model.layers[0].weight.numpy(), 0.9 * weights[0])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.squared_error(P, P[:, :1]), ShapeError, r"float64\[5, 3\] and target float64\[5, 1\]"),
        (lambda: nn.absolute_error(P, P[0]), ShapeError, "differ in shape$"),
        (lambda: nn.squared_error(P[:, :1], P[:, 0]), ShapeError, r"target\.reshape\(prediction\.shape\)"),
        (lambda: nn.softmax_cross_entropy(P, np.ones(len(P))), ShapeError, r"labels\.astype\('int64'\)"),
        (lambda: nn.softmax_cross_entropy(P, np.ones(len(P)) > 0), DTypeError, r"labels\.astype\('int64'\)"),
        (lambda: nn.softmax_cross_entropy(P, np.ones((len(P), 1), int)), ShapeError, r"labels\[:, 0\]"),
        (lambda: nn.softmax_cross_entropy(P, np.ones(P.shape, int)), ShapeError, r"labels\.astype\('float32'\)"),
        (lambda: nn.squared_error(P, T, weights=np.ones(3)), ShapeError, r"weights are of shape \[5\]"),
        (lambda: nn.squared_error(P, T, weights=-WEIGHTS), DataError, "weights are not negative"),
        (lambda: nn.huber(P, T, delta=0), OpError, "delta"),
        (lambda: nn.binary_cross_entropy(P, 2 * SOFT + 1), DataError, r"\[0, 1\]"),
        (lambda: nn.binary_cross_entropy(P, P * 1j), DTypeError, "complex"),
        (lambda: nn.binary_cross_entropy(P, SOFT, positive_weight=-1), OpError, "positive_weight"),
        (lambda: nn.hinge(P, LABELS + 1), DataError, "row 0: label 3"),
        (lambda: nn.hinge(P[:, 0], LABELS), DataError, "-1 and 1"),
        (lambda: nn.hinge(P, SIGNS), ShapeError, "logits"),
        (lambda: nn.kl_divergence(P, -SOFT), DataError, "negative"),
        (lambda: nn.softmax_cross_entropy(P, LABELS + 1, label_smoothing=0.1), DataError, "row 0: label 3"),
        (lambda: nn.softmax_cross_entropy(P, LABELS, label_smoothing=2), OpError, "label_smoothing"),
        (lambda: nn.softmax_cross_entropy(P, LABELS, class_weights=[1.0]), ShapeError, r"class_weights .* \[3\]"),
        (lambda: nn.l1_penalty([]), GraphError, "no weights"),
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(("dtype", "tiny"), [("float64", 5e-324), ("float32", 1e-45), ("float16", 6e-8)])
def test_the_slope_of_kl_divergence_by_subnormal_targets(dtype: str, tiny: float) -> None:
    target, log_p = np.array([[tiny, 1.0, 0.0]], dtype), np.array([[-1.0, -2.0, -3.0]], dtype)
    expected = [np.log(float(target[0, 0])) + 2, 3.0, 0.0]
    for run in (lambda f: f, gd.compile):
        for derivative in (gd.grad, lambda f: gd.jacobian(f, mode="forward")):
            found = run(derivative(lambda t: nn.kl_divergence(log_p, t)))(target).numpy()[0]
            np.testing.assert_allclose(found, expected, rtol=1e-3 if dtype == "float16" else 1e-6)


def test_kl_divergence_over_a_batch_of_one_operand() -> None:
    stacked = np.stack([LOG_P, LOG_P[::-1]])
    found = gd.vmap(lambda p: nn.kl_divergence(p, SOFT))(stacked).numpy()
    np.testing.assert_allclose(found, (SOFT * (np.log(SOFT) - stacked)).sum(2).mean(1), rtol=1e-12)
    found = gd.vmap(lambda t: nn.kl_divergence(LOG_P, t))(np.stack([SOFT, SOFT[::-1]])).numpy()
    np.testing.assert_allclose(found[0], (SOFT * (np.log(SOFT) - LOG_P)).sum(1).mean(), rtol=1e-12)
