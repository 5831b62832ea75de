"""Integer labels outside the classes: a compiled step raises the eager error, and has changed nothing by then."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.errors import DataError

PASSES = ("open", "fold", "simplify", "merge", "widen", "dead", "fuse", "layout", "keep", "place", "reuse", "tile")
WRONG = (-1, 3, 130, 131, -129, -131, -(2**40), 2**62, -(2**63), 2**63 - 1)
stream = np.random.default_rng(3)
X = stream.normal(size=(7, 4))
LABELS = np.array([0, 2, 1, 1, 0, 2, 1])

LOSSES: dict[str, Callable[..., Any]] = {
    "plain": gd.nn.softmax_cross_entropy,
    "sum": lambda z, y: (
        gd.nn.softmax_cross_entropy(z, y) + 0.5 * gd.nn.softmax_cross_entropy(2 * z, y) + gd.sum(z) ** 2
    ),
    "weights": lambda z, y: gd.nn.softmax_cross_entropy(z, y, weights=np.arange(7.0)),
    "class_weights": lambda z, y: gd.nn.softmax_cross_entropy(z, y, class_weights=[1.0, 2.0, 3.0]),
    "smoothed": lambda z, y: gd.nn.softmax_cross_entropy(z, y, label_smoothing=0.1),
    "hinge": gd.nn.hinge,
}


def spoiled(label: int, dtype: str = "int64") -> Any:
    labels = LABELS.astype(dtype)
    labels[4] = label
    return labels


def training(loss: Callable[..., Any], way: str, returned: bool, disable: tuple[str, ...] = ()) -> Any:
    """Return a model, its optimiser, and a compiled step."""
    model = gd.nn.Sequential(gd.nn.Linear(5, 4, seed=1), gd.nn.Activation("relu"), gd.nn.Linear(3, 5, seed=2))
    optimizer = gd.optim.Adam(model.parameters(), lr=0.01)

    @gd.compile(disable=disable)
    def step(x: Any, y: Any) -> Any:
        value = loss(model(x), y)
        if way == "minimize":
            optimizer.minimize(value)
        else:
            value.backward()
            optimizer.step()
            optimizer.zero_grad()
        return value if returned else None

    return model, optimizer, step


def known(model: Any, optimizer: Any) -> list[Any]:
    """Return all that a step may change, flat."""
    return [np.array(each) for each in (*[leaf.value for leaf in model.parameters()], *optimizer.state().values())]


def refuses(step: Any, model: Any, optimizer: Any, labels: Any, message: str) -> None:
    before = known(model, optimizer)
    with pytest.raises(DataError, match=message):
        step(X, labels)
    for old, new in zip(before, known(model, optimizer), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("returned", [True, False], ids=["returned", "kept back"])
@pytest.mark.parametrize("way", ["minimize", "backward"])
@pytest.mark.parametrize("name", LOSSES)
def test_a_step_refuses_and_changes_nothing(name: str, way: str, returned: bool) -> None:
    model, optimizer, step = training(LOSSES[name], way, returned)
    step(X, LABELS)
    for label in WRONG:
        refuses(step, model, optimizer, spoiled(label), f"row 4: label {label} is outside 0 … 2")
    step(X, LABELS)
    assert all(np.isfinite(leaf.value).all() for leaf in model.parameters())


@pytest.mark.parametrize("disable", [*((name,) for name in PASSES), PASSES], ids=lambda names: "-".join(names)[:12])
def test_no_pass_is_needed(disable: tuple[str, ...]) -> None:
    for returned in (True, False):
        model, optimizer, step = training(gd.nn.softmax_cross_entropy, "minimize", returned, disable)
        for label in (3, -1, 131):
            refuses(step, model, optimizer, spoiled(label), f"row 4: label {label} is outside 0 … 2")


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint64"])
def test_labels_of_any_width(dtype: str) -> None:
    model, optimizer, step = training(gd.nn.softmax_cross_entropy, "minimize", True)
    for label in (3, 100) if dtype.startswith("u") else (3, 100, -1, -128):
        refuses(step, model, optimizer, spoiled(label, dtype), f"row 4: label {label} is outside 0 … 2")


@pytest.mark.parametrize("classes", [127, 128, 129, 300])
def test_many_classes(classes: int) -> None:
    z = stream.normal(size=(5, classes))
    compiled = gd.compile(lambda z, y: gd.nn.softmax_cross_entropy(z, y))
    good = np.array([0, classes - 1, 1, 126, 2])
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    np.testing.assert_allclose(compiled(z, good).item(), -log_p[np.arange(5), good].mean(), rtol=1e-12)
    for label in (classes, -1, 2 * classes + 128, -classes - 128, 2**62):
        with pytest.raises(DataError, match=f"row 3: label {label} is outside 0 … {classes - 1}"):
            compiled(z, np.where(np.arange(5) == 3, label, good))


def test_many_rows_and_a_loss_after_the_step() -> None:
    model, optimizer, _ = training(gd.nn.softmax_cross_entropy, "minimize", True)

    @gd.compile
    def step(x: Any, y: Any) -> Any:
        optimizer.minimize(gd.nn.softmax_cross_entropy(model(x), y))
        return gd.nn.softmax_cross_entropy(model(x), y)

    x, labels = stream.normal(size=(6000, 4)), stream.integers(0, 3, 6000)
    step(x, labels)
    before = [np.array(leaf.value) for leaf in model.parameters()]
    for label in (3, -1, 131, -131):
        labels[5000] = label
        with pytest.raises(DataError, match=f"row 5000: label {label} is outside 0 … 2"):
            step(x, labels)
    for old, leaf in zip(before, model.parameters(), strict=True):
        np.testing.assert_array_equal(old, leaf.value)


def test_gradients_alone_constants_and_logits_that_are_nan() -> None:
    z = stream.normal(size=(7, 3))
    slope = gd.compile(gd.grad(gd.nn.softmax_cross_entropy))
    slope(z, LABELS)
    with pytest.raises(DataError, match="row 4: label 3 is outside"):
        slope(z, spoiled(3))
    with pytest.raises(DataError, match="row 4: label 7 is outside"):
        gd.compile(lambda z: gd.nn.softmax_cross_entropy(z, spoiled(7)))(z)
    compiled = gd.compile(lambda z, y: gd.nn.softmax_cross_entropy(z, y))
    assert np.isnan(compiled(np.full((7, 3), np.nan), LABELS).item())
