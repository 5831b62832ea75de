"""Watches are told of every value and derivative, and anomalies are named with their line."""

import io

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.errors import AnomalyError
from graphdiff.tensor import WATCHES

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def test_a_counter_counts_both_modes_of_the_graph_example() -> None:
    a, b = gd.variable(2.0, name="a"), gd.variable(1.0, name="b")
    with gd.watch.Counter() as count:
        e = (a + b) * (b + 1)
        e.backward()
    assert count.values == {"add": 2, "multiply": 1}
    assert count.adjoints == {"add": 2, "multiply": 1}
    with gd.watch.Counter() as count:
        tangents = gd.tangents(e, {b: 1.0})
    assert count.tangents == {"add": 2, "multiply": 1}
    assert float(tangents[e]) == 5


def test_nothing_is_told_outside_the_block() -> None:
    x = gd.variable(2.0)
    with gd.watch.Counter() as count:
        pass
    (x * x).backward()
    assert not count.values
    assert not WATCHES
    with pytest.raises(ZeroDivisionError), gd.watch.Counter():
        raise ZeroDivisionError
    assert not WATCHES


def test_watches_nest() -> None:
    x = gd.variable(2.0)
    with gd.watch.Counter() as outer:
        gd.exp(x)
        with gd.watch.Counter() as inner:
            gd.exp(x)
    assert (outer.values["exp"], inner.values["exp"]) == (2, 1)


def test_values_are_the_same_with_a_watch() -> None:
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    f = gd.value_and_grad(lambda x: gd.sum(gd.where(x > 0, gd.tanh(x @ x.T @ x), gd.log1p(x * x))))
    plain = f(x)
    with gd.watch.Counter():
        watched = f(x)
    for one, other in zip(plain, watched, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_a_timer_finds_the_slow_op() -> None:
    x = gd.variable(np.random.default_rng(0).normal(size=(400, 400)), name="x")
    with gd.watch.Timer() as timer:
        gd.sum(gd.tanh(x @ x)).backward()
    assert next(iter(timer.by_op)) == "matmul"
    calls, forward, backward = timer.by_op["matmul"]
    assert calls == 1
    assert forward > 0
    assert backward > 0
    assert x not in timer.backward
    assert str(timer).splitlines()[1].startswith("matmul")


def test_a_printer_prints_in_order() -> None:
    stream = io.StringIO()
    x = gd.variable(3.0, name="x")
    with gd.watch.Printer(stream):
        gd.square(x).named("y").backward()
        gd.jvp(gd.square, (2.0,), (1.0,))
    lines = stream.getvalue().splitlines()
    assert lines[:3] == ["value    square = 9", "adjoint  y = 1", "adjoint  x = 6"]
    assert lines[-1] == "tangent  square = 4"


def test_a_value_that_became_nan_is_named_with_its_line_and_operands() -> None:
    x = gd.variable([1.0, -1.0], name="x")
    with gd.detect_anomalies(), pytest.raises(AnomalyError) as caught:
        gd.sum(gd.log(x) * 2)
    message = str(caught.value)
    assert "the value of log became NaN in 1 of 2 elements" in message
    assert "'x' float64[2] holding [ 1., -1.]" in message
    assert "test_watch.py:" in message
    assert issubclass(AnomalyError, FloatingPointError)


def test_an_adjoint_that_became_infinite_names_the_op_it_came_through_and_changes_nothing() -> None:
    x = gd.variable(0.0, name="x")
    root = gd.sqrt(x).named("root")
    with (
        gd.detect_anomalies(),
        pytest.raises(AnomalyError, match=r"adjoint of 'x'.*infinite") as caught,
    ):
        (root * 1.0).backward()
    assert "'root'" in str(caught.value)
    assert "test_watch.py:" in str(caught.value)
    assert x.grad is None


def test_what_became_infinite_in_forward_mode_is_named() -> None:
    with gd.detect_anomalies(), pytest.raises(AnomalyError, match=r"divide became infinite.*sqrt"):
        gd.jvp(gd.sqrt, (0.0,), (1.0,))


def test_infinities_may_be_allowed() -> None:
    x = gd.variable(0.0)
    with gd.detect_anomalies(infinities=False):
        assert gd.log(x).item() == -np.inf
        with pytest.raises(AnomalyError, match="NaN"):
            gd.log(x) * 0


def test_integers_and_pure_graphs_pass() -> None:
    x = gd.placeholder((2,), name="x")
    with gd.detect_anomalies():
        y = gd.sum(gd.log(x))
        gd.adjoints(y)
        assert gd.argmax([1, 3, 2]).item() == 1


def test_a_compiled_step_is_watched_and_leaves_parameters_alone() -> None:
    w = gd.variable(0.5, name="w")
    optimizer = gd.optim.SGD([w], lr=0.1)

    @gd.compile
    def step(x: gd.Tensor) -> gd.Tensor:
        loss = gd.log(w * x)
        optimizer.minimize(loss)
        return loss

    step(1.0)
    before = w.item()
    with gd.detect_anomalies(), pytest.raises(AnomalyError, match=r"value of log became NaN"):
        step(-1.0)
    assert w.item() == before
    assert np.isfinite(step(1.0).item())
