"""L-BFGS against PyTorch's and Newton's method, on functions whose minima are known."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff import errors

ROSENBROCK = json.loads((Path(__file__).parent / "data" / "optimizers.json").read_text())["rosenbrock"]


def rosenbrock(x: Any) -> Any:
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def test_rosenbrock_as_pytorch() -> None:
    x = gd.variable(ROSENBROCK["start"])
    limits = {"tolerance_gradient": ROSENBROCK["tolerance_grad"], "tolerance_change": ROSENBROCK["tolerance_change"]}
    optimizer = gd.optim.LBFGS([x], iterations=ROSENBROCK["max_iter"], **limits)
    for call, expected in enumerate(ROSENBROCK["path"]):
        optimizer.minimize(lambda: rosenbrock(x))
        np.testing.assert_allclose(x.numpy(), expected, rtol=1e-8, atol=1e-8, err_msg=f"call {call}")
    np.testing.assert_allclose(x.numpy(), [1, 1], atol=1e-8)
    assert optimizer.converged
    assert x.grad is None


def test_one_iteration_at_a_time() -> None:
    x = gd.variable(ROSENBROCK["start"])
    optimizer = gd.optim.LBFGS([x], iterations=1)
    losses = [float(optimizer.minimize(lambda: rosenbrock(x))) for _ in range(60)]
    assert losses[1] < losses[0]
    np.testing.assert_allclose(x.numpy(), [1, 1], atol=1e-4)


@pytest.mark.parametrize("history", [1, 3, 100])
def test_rosenbrock_in_ten_dimensions(history: int) -> None:
    x, y = gd.variable(np.full(5, -1.2)), gd.variable(np.ones(5))

    def closure() -> Any:
        whole = gd.concat([x, y])
        return gd.sum((1 - whole[:-1]) ** 2 + 100 * (whole[1:] - whole[:-1] ** 2) ** 2)

    optimizer = gd.optim.LBFGS([x, y], iterations=500, history=history)
    first = optimizer.minimize(closure)
    assert first.item() > 1000
    assert closure().item() < 1e-7 or history == 1
    assert closure().item() < 5  # there is a local minimum at 3.98
    assert optimizer.steps < optimizer.evaluations_made < 700


def test_a_compiled_closure_is_traced_once_and_descends_alike() -> None:
    A = np.vander(np.linspace(-1, 1, 20), 4)
    y = np.sin(np.linspace(-1, 1, 20))
    calls, found = [], []
    for make in (lambda closure: closure, gd.compile):
        w, unused = gd.variable(np.zeros((4, 1))), gd.variable([1.0, 2.0])
        optimizer = gd.optim.LBFGS([w, unused], iterations=50)

        def loss(w: Any = w) -> Any:
            calls.append(1)
            return gd.sum((A @ w - y[:, None]) ** 2)

        first = optimizer.minimize(make(loss))
        assert first.item() == pytest.approx(y @ y)
        assert optimizer.evaluations_made > 5
        assert unused.tolist() == [1.0, 2.0]
        found.append((w.numpy()[:, 0], len(calls)))
        calls.clear()
    (eager, evaluated), (compiled, traced) = found
    assert evaluated > 5
    assert traced <= 2  # again where the first trace laid the parameters out anew
    np.testing.assert_allclose(compiled, np.linalg.lstsq(A, y)[0], atol=1e-6)
    np.testing.assert_allclose(compiled, eager, atol=1e-9)


def test_a_compiled_closure_that_fails_changes_nothing() -> None:
    x = gd.variable([2.0, 3.0])
    optimizer = gd.optim.LBFGS([x])
    with pytest.raises(errors.NoValueError):
        optimizer.minimize(gd.compile(lambda: x[0] if x[0] > 1 else x[1]))
    with pytest.raises(errors.NonScalarError):
        optimizer.minimize(gd.compile(lambda: x * x))
    assert (x.tolist(), optimizer.steps) == ([2.0, 3.0], 0)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_line_search_meets_nan() -> None:
    x = gd.variable(5.0)
    optimizer = gd.optim.LBFGS([x], lr=100.0, iterations=100)
    with np.errstate(divide="ignore", invalid="ignore"):
        optimizer.minimize(lambda: x - gd.log(x))
    assert optimizer.converged
    assert x.item() == pytest.approx(1.0, abs=1e-5)


def test_a_linear_least_squares_problem_in_float32() -> None:
    A, y = np.vander(np.linspace(-1, 1, 20), 4), np.sin(np.linspace(-1, 1, 20))
    w = gd.variable(np.zeros(4), dtype="float32")
    gd.optim.LBFGS([w], iterations=50).minimize(lambda: gd.sum((A.astype("float32") @ w - y.astype("float32")) ** 2))
    np.testing.assert_allclose(w.numpy(), np.linalg.lstsq(A, y)[0], atol=1e-3)


@pytest.mark.parametrize("round_trip", [copy.deepcopy, lambda whole: pickle.loads(pickle.dumps(whole))])
def test_a_copy_goes_on_alike(round_trip: Any) -> None:
    x = gd.variable([-1.2, 1.0])
    optimizer = gd.optim.LBFGS([x], iterations=5)
    optimizer.minimize(lambda: rosenbrock(x))
    y, other = round_trip((x, optimizer))
    optimizer.minimize(lambda: rosenbrock(x))
    other.minimize(lambda: rosenbrock(y))
    np.testing.assert_array_equal(x.numpy(), y.numpy())


@pytest.mark.parametrize("make", [gd.optim.LBFGS, gd.optim.Newton])
def test_a_failing_closure_changes_nothing(make: Any) -> None:
    x = gd.variable([-1.2, 1.0])
    optimizer, calls = make([x]), []

    def closure() -> Any:
        calls.append(1)
        if len(calls) == 4 or make is gd.optim.Newton:
            raise KeyboardInterrupt
        return rosenbrock(x)

    with pytest.raises(KeyboardInterrupt):
        optimizer.minimize(closure)
    assert (x.tolist(), optimizer.steps) == ([-1.2, 1.0], 0)
    calls += [1] * 9
    if make is gd.optim.LBFGS:
        optimizer.minimize(closure)
        assert rosenbrock(x).item() < 24


def test_newton_needs_one_step_for_a_quadratic() -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(5, 5))
    H, goal = root @ root.T + np.eye(5), rng.normal(size=5)
    a, b = gd.variable(rng.normal(size=(2, 2))), gd.variable(3.0)

    def closure() -> Any:
        away = gd.concat([gd.reshape(a, (-1,)), gd.reshape(b, (1,))]) - goal
        return away @ (H @ away) / 2

    optimizer = gd.optim.Newton([a, b])
    before = closure().item()
    assert optimizer.minimize(closure).item() == before
    np.testing.assert_allclose(np.append(a.numpy(), b.numpy()), goal, rtol=1e-9)
    assert optimizer.steps == 1
    assert a.grad is None


def test_newton_on_rosenbrock_and_damped_at_a_saddle() -> None:
    x = gd.variable([-1.2, 1.0])
    optimizer = gd.optim.Newton([x])
    for _ in range(7):
        optimizer.minimize(lambda: rosenbrock(x))
    np.testing.assert_allclose(x.numpy(), [1, 1], atol=1e-9)
    for damping, downhill in ((0.0, False), (3.0, True)):
        t = gd.variable([1.0, 0.1])
        gd.optim.Newton([t], damping=damping).minimize(lambda t=t: t[0] ** 2 - t[1] ** 2)
        assert (abs(t.numpy()[1]) > 0.1) == downhill
    np.testing.assert_allclose(t.numpy(), [1 - 2 / 5, 0.1 + 0.2], rtol=1e-12)


def test_a_singular_hessian_says_so() -> None:
    x = gd.variable([1.0, 2.0])
    with pytest.raises(errors.OpError, match="singular"):
        gd.optim.Newton([x]).minimize(lambda: x[0] ** 2 + 0 * x[1])
    assert x.tolist() == [1.0, 2.0]
    gd.optim.Newton([x], damping=1e-9).minimize(lambda: x[0] ** 2 + 0 * x[1])
    np.testing.assert_allclose(x.numpy(), [0.0, 2.0], atol=1e-8)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda x: gd.optim.LBFGS([x], lr=0.0), errors.OpError, "lr cannot be 0.0"),
        (
            lambda x: gd.optim.LBFGS([x], iterations=0),
            errors.OpError,
            "iterations is a whole number.* not 0",
        ),
        (lambda x: gd.optim.LBFGS([x], history=0), errors.OpError, "history is a whole number.* not 0"),
        (lambda x: gd.optim.LBFGS([x], iterations=2.5), errors.OpError, "iterations is a whole number.*2.5"),
        (lambda x: gd.optim.LBFGS([x], tolerance_change=-1.0), errors.OpError, "tolerance_change cannot be -1.0"),
        (lambda x: gd.optim.Newton([x], damping=-1.0), errors.OpError, "damping cannot be -1.0"),
        (lambda x: gd.optim.Newton([x, x]), errors.GraphError, "twice"),
        (lambda x: gd.optim.LBFGS([]), errors.GraphError, "at least one"),
        (lambda x: gd.optim.LBFGS([x, gd.variable(1.0, dtype="float32")]), errors.DTypeError, "one dtype"),
        (lambda x: gd.optim.LBFGS([x]).minimize(lambda: gd.log(-x)), errors.OpError, "the loss is nan"),
        (lambda x: gd.compile(lambda: gd.optim.LBFGS([x]).minimize(lambda: x * x))(), errors.CompileError, "loss"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_refusals(make: Any, error: type[Exception], message: str) -> None:
    x = gd.variable(2.0)
    with pytest.raises(error, match=message):
        make(x)
    assert x.item() == 2.0
