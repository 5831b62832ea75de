"""Optimisers step by step against NumPy, written independently."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphdiff as gd

START = np.array([1.5, -2.0, 0.5])
SCALES = np.array([1.0, 0.3, 5.0])


def loss(w: Any, b: Any) -> Any:
    """Return a function of a vector and a number that is not quadratic."""
    return gd.sum(SCALES * w**2) / 2 + gd.sin(w[0]) + (b - w[1]) ** 2


def slope(w: Any, b: float) -> Any:
    gradient = SCALES * w
    gradient[0] += np.cos(w[0])
    gradient[1] -= 2 * (b - w[1])
    return np.append(gradient, 2 * (b - w[1]))


def sgd(
    lr: float, momentum: float = 0.0, dampening: float = 0.0, nesterov: bool = False
) -> Callable[[Any], Iterator[Any]]:
    """PyTorch's documented algorithm for torch.optim.SGD."""

    def path(theta: Any) -> Iterator[Any]:
        velocity = None
        while True:
            gradient = slope(theta[:3], theta[3])
            if momentum != 0:
                velocity = gradient if velocity is None else momentum * velocity + (1 - dampening) * gradient
                gradient = gradient + momentum * velocity if nesterov else velocity
            theta = theta - lr * gradient
            yield theta

    return path


def adam(lr: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> Callable[[Any], Iterator[Any]]:
    """Algorithm 1 of Kingma and Ba, 2015."""

    def path(theta: Any) -> Iterator[Any]:
        m, v, t = np.zeros_like(theta), np.zeros_like(theta), 0
        while True:
            t += 1
            gradient = slope(theta[:3], theta[3])
            m = beta1 * m + (1 - beta1) * gradient
            v = beta2 * v + (1 - beta2) * gradient**2
            theta = theta - lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
            yield theta

    return path


RULES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Iterator[Any]]]] = {
    "SGD": (lambda p: gd.optim.SGD(p, lr=0.05), sgd(0.05)),
    "momentum": (lambda p: gd.optim.SGD(p, lr=0.05, momentum=0.9), sgd(0.05, 0.9)),
    "dampening": (lambda p: gd.optim.SGD(p, lr=0.05, momentum=0.8, dampening=0.3), sgd(0.05, 0.8, 0.3)),
    "nesterov": (lambda p: gd.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True), sgd(0.05, 0.9, 0.0, True)),
    "Adam": (lambda p: gd.optim.Adam(p, lr=0.1), adam(0.1)),
    "Adam, large eps": (lambda p: gd.optim.Adam(p, lr=0.1, betas=(0.5, 0.8), eps=0.1), adam(0.1, 0.5, 0.8, 0.1)),
    "no step": (lambda p: gd.optim.Adam(p, lr=0.0), adam(0.0)),
}


@pytest.mark.parametrize("name", RULES)
def test_twenty_steps(name: str) -> None:
    make, path = RULES[name]
    w, b = gd.variable(START), gd.variable(0.7)
    optimizer = make([w, b])
    for step, theta in zip(range(20), path(np.append(START, 0.7))):
        optimizer.minimize(loss(w, b))
        np.testing.assert_allclose(
            np.append(w.numpy(), b.numpy()), theta, rtol=1e-12, atol=1e-14, err_msg=f"step {step}"
        )
    assert optimizer.steps == 20


@pytest.mark.parametrize("name", ["momentum", "Adam"])
def test_an_assignment_in_between_is_kept(name: str) -> None:
    make, _path = RULES[name]
    w, b = gd.variable(START), gd.variable(0.7)
    optimizer = make([w, b])
    optimizer.minimize(loss(w, b))
    w.assign(2 * START)
    before = b.item()
    optimizer.minimize(loss(w, b))
    expected = slope(2 * START, before)
    assert w.grad is b.grad is None
    first = slope(START, 0.7)
    if name == "momentum":
        moved = -0.05 * (0.9 * first + expected)
    else:
        mean = (0.9 * 0.1 * first + 0.1 * expected) / (1 - 0.9**2)
        square = (0.999 * 0.001 * first**2 + 0.001 * expected**2) / (1 - 0.999**2)
        moved = -0.1 * mean / (np.sqrt(square) + 1e-8)
    np.testing.assert_allclose(np.append(w.numpy(), b.numpy()), np.append(2 * START, before) + moved, rtol=1e-12)


def test_step_takes_the_gradients_there_are() -> None:
    w, b = gd.variable(START), gd.variable(0.7)
    optimizer = gd.optim.SGD([w, b], lr=0.1)
    w.grad = np.array([1.0, 2.0, 3.0])
    optimizer.step()
    np.testing.assert_allclose(w.numpy(), START - [0.1, 0.2, 0.3], rtol=1e-15)
    assert b.item() == 0.7


def test_parameters_of_two_dtypes_and_a_generator() -> None:
    w, b = gd.variable(START, dtype="float32"), gd.variable(0.7)
    optimizer = gd.optim.Adam((p for p in (w, b)), lr=0.1)
    for _ in range(3):
        optimizer.minimize(loss(w, b))
    assert (w.dtype, b.dtype) == (np.float32, np.float64)
    path = adam(0.1)(np.append(START, 0.7))
    expected = [next(path) for _ in range(3)][-1]
    np.testing.assert_allclose(np.append(w.numpy(), b.numpy()), expected, rtol=1e-5)


def test_variables_that_are_not_parameters_stay() -> None:
    w, frozen = gd.variable(2.0), gd.variable(3.0)
    gd.optim.SGD([w], lr=0.1).minimize(w * frozen)
    assert (frozen.item(), frozen.version) == (3.0, 0)
    assert w.item() == pytest.approx(1.7)


def test_values_seen_before_a_step_do_not_change() -> None:
    w = gd.variable(START)
    before, loss_before = w.value, gd.sum(w * w)
    optimizer = gd.optim.SGD([w], lr=0.5)
    optimizer.minimize(loss_before)
    optimizer.minimize(gd.sum(w * w))
    np.testing.assert_array_equal(before, START)
    assert loss_before.item() == np.sum(START**2)
    assert w.version == 2


def test_a_rule_of_ones_own() -> None:
    class SignDescent(gd.optim.Optimizer):
        def rule(self, F: Any, value: Any, gradient: Any, state: Any, steps: Any, lr: Any) -> tuple[Any, ...]:
            return (value - lr * F.sign(gradient) / steps,)

    w = gd.variable([5.0, -5.0])
    optimizer = SignDescent([w], lr=1.0)
    for _ in range(3):
        optimizer.minimize(gd.sum(w * w))
    np.testing.assert_allclose(w.numpy(), [5 - 11 / 6, -5 + 11 / 6], rtol=1e-15)


def test_optimisers_print_what_they_are() -> None:
    w, b = gd.variable(START), gd.variable(0.7)
    assert repr(gd.optim.SGD([w, b], 0.1, clip_norm=1.0)) == (
        "SGD(lr=0.1, momentum=0.0, dampening=0.0, nesterov=False, averaged=False, weight_decay=0.0, clip_norm=1.0, "
        "parameters=2)"
    )
    groups = gd.optim.Adam([{"params": [w], "eps": 1e-6}, {"params": [b]}])
    told = repr(groups)
    assert told.startswith("Adam(lr=0.001, betas=(0.9, 0.999), eps=1e-06, ")
    assert told.endswith("parameters=2, groups=2)")


@pytest.mark.parametrize("compiled", [False, True])
def test_gradients_of_another_loss_are_forgotten_on_request(compiled: bool) -> None:
    w, b = gd.variable(START), gd.variable(0.7)
    optimizer = gd.optim.SGD([w, b], 0.1)
    loss(w, b).backward()

    def step() -> Any:
        optimizer.zero_grad()
        other = gd.sum(w * w)  # which does not depend on b
        other.backward()
        optimizer.step()
        return other

    (gd.compile(step) if compiled else step)()
    np.testing.assert_allclose(w.numpy(), 0.8 * START, rtol=1e-15)
    assert b.item() == 0.7
    assert b.grad is None


def test_a_gradient_of_another_shape_is_refused() -> None:
    w, b = gd.variable(START, name="w"), gd.variable(0.7)
    optimizer = gd.optim.SGD([b, w], 0.1)
    w.grad, b.grad = np.ones(2), np.array(1.0)
    with pytest.raises(gd.errors.ShapeError, match=r"gradient of 'w' float64\[3\] is of shape \[2\]"):
        optimizer.step()
    assert (b.item(), optimizer.steps) == (0.7, 0)
