"""The learning-rate range test: what it finds, and that it leaves no trace."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff import errors

X = np.random.default_rng(0).normal(size=(200, 4))
Y = X @ np.array([[1.0], [-2.0], [0.5], [3.0]]) + 1


def made(rule: str = "SGD", **options: Any) -> Any:
    model = gd.nn.Linear(1, in_features=4, seed=0, dtype="float64")
    return model, getattr(gd.optim, rule)(model.parameters(), **{"lr": 0.05, **options})


def snapshot(model: Any, optimizer: Any) -> Any:
    kept = {**model.state(), **optimizer.state()}
    return {name: value.tolist() for name, value in kept.items()}


@pytest.mark.parametrize("rule", ["SGD", "Adam", "NAdam"])
@pytest.mark.parametrize("compiled", [False, True])
def test_everything_is_as_before(rule: str, compiled: bool) -> None:
    model, optimizer = made(rule)
    optimizer.minimize(gd.nn.squared_error(model(X), Y))
    before = snapshot(model, optimizer)
    found = gd.optim.lr_range_test(model, gd.nn.squared_error, (X, Y), optimizer, compiled=compiled)
    assert snapshot(model, optimizer) == before
    assert all(parameter.grad is None for parameter in model.parameters())
    assert len(found.rates) == len(found.losses) == len(found.smoothed) > 20
    ratios = np.diff(np.log(found.rates))
    np.testing.assert_allclose(ratios, math.log(1e7) / 99, rtol=1e-9)
    other, its_optimizer = made(rule)
    its_optimizer.minimize(gd.nn.squared_error(other(X), Y))
    for _ in range(3):
        optimizer.minimize(gd.nn.squared_error(model(X), Y))
        its_optimizer.minimize(gd.nn.squared_error(other(X), Y))
    assert snapshot(model, optimizer) == snapshot(other, its_optimizer)


def test_the_suggestion_trains_and_far_more_does_not() -> None:
    model, optimizer = made()
    found = gd.optim.lr_range_test(model, gd.nn.squared_error, (X, Y), optimizer)
    assert found.rates[-1] < 10  # stopped when the loss grew
    optimizer.lr = found.suggestion
    before = gd.nn.squared_error(model(X), Y).item()
    for _ in range(100):
        optimizer.minimize(gd.nn.squared_error(model(X), Y))
    assert gd.nn.squared_error(model(X), Y).item() < 1e-3 * before


def test_eager_and_compiled_find_the_same() -> None:
    runs = [
        gd.optim.lr_range_test(*made()[:1], gd.nn.squared_error, (X, Y), made()[1], steps=5, compiled=c)
        for c in (False, True)
    ]
    np.testing.assert_allclose(runs[0].losses, runs[1].losses, rtol=1e-12)


def test_rates_of_groups_keep_their_proportion() -> None:
    model = gd.nn.Linear(1, in_features=4, dtype="float64")
    weight, bias = model.parameters()
    seen = []

    class Watching(gd.optim.Optimizer):
        def rule(self, F: Any, value: Any, gradient: Any, state: Any, steps: Any, lr: Any) -> Any:
            return (value - lr * gradient,)

        def minimize(self, loss: Any) -> None:
            seen.append([group.lr for group in self.groups])
            super().minimize(loss)

    optimizer = Watching([{"params": [weight]}, {"params": [bias], "lr": 0.4}], 0.1)
    gd.optim.lr_range_test(model, gd.nn.squared_error, (X, Y), optimizer, steps=4, stop=1e-2, compiled=False)
    np.testing.assert_allclose([a / b for a, b in seen], 0.25)
    np.testing.assert_allclose(seen[-1][1], 1e-2)
    assert [group.lr for group in optimizer.groups] == [0.1, 0.4]


def test_a_failure_puts_everything_back() -> None:
    model, optimizer = made("Adam")
    before, calls = snapshot(model, optimizer), []

    def loss(output: Any, targets: Any) -> Any:
        calls.append(1)
        if len(calls) > 5:
            raise KeyboardInterrupt
        return gd.nn.squared_error(output, targets)

    with pytest.raises(KeyboardInterrupt):
        gd.optim.lr_range_test(model, loss, (X, Y), optimizer, compiled=False)
    assert snapshot(model, optimizer) == before


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_plot(tmp_path: Path, ending: str) -> None:
    model, optimizer = made()
    found = gd.optim.lr_range_test(model, gd.nn.squared_error, (X, Y), optimizer)
    path = tmp_path / f"range.{ending}"
    assert found.plot(path) == path
    assert path.stat().st_size > 5000
    with pytest.raises(errors.DataError, match=r"drawn as .png, .svg or .pdf, and not 'range.doc'"):
        found.plot(tmp_path / "range.doc")
    with pytest.raises(errors.DataError, match=r"cannot write .*: No such file"):
        found.plot(tmp_path / "nowhere" / "range.png")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": 0.0}, "start cannot be 0.0"),
        ({"start": 1.0, "stop": 0.5}, "stop cannot be 0.5"),
        ({"steps": 1}, "steps cannot be 1"),
        ({"steps": 2.5}, "steps is a whole number.* not 2.5"),
        ({"batch_size": 0}, "batch_size is a whole number.* not 0"),
        ({"smoothing": 1.0}, "smoothing cannot be 1.0"),
        ({"diverged": 1.0}, "diverged cannot be 1.0"),
    ],
)
def test_refusals(options: Any, message: str) -> None:
    model, optimizer = made()
    with pytest.raises(errors.OpError, match=message):
        gd.optim.lr_range_test(model, gd.nn.squared_error, (X, Y), optimizer, **options)


def test_more_refusals() -> None:
    model, optimizer = made()
    with pytest.raises(errors.DataError, match="X has 200 rows and y has 199"):
        gd.optim.lr_range_test(model, gd.nn.squared_error, (X, Y[1:]), optimizer)
    for lr, message in ((gd.optim.schedules.constant(0.1), "schedule"), (0.0, "not 0")):
        with pytest.raises(errors.OpError, match=message):
            gd.optim.lr_range_test(model, gd.nn.squared_error, (X, Y), made(lr=lr)[1])


@pytest.mark.parametrize("compiled", [False, True])
def test_running_statistics_and_random_streams_are_as_before(compiled: bool) -> None:
    layers = gd.nn.Linear(3, in_features=4), gd.nn.BatchNorm(3), gd.nn.Dropout(0.5), gd.nn.Linear(1, in_features=3)
    model = gd.nn.Sequential(*layers)
    optimizer = gd.optim.SGD(model.parameters(), lr=0.1)
    before, drawn = snapshot(model, optimizer), repr(layers[2].stream.bit_generator.state)
    gd.optim.lr_range_test(model, gd.nn.squared_error, (X, Y), optimizer, compiled=compiled)
    assert snapshot(model, optimizer) == before
    assert repr(layers[2].stream.bit_generator.state) == drawn


def test_lists_are_data() -> None:
    found = [
        gd.optim.lr_range_test(model, gd.nn.squared_error, data, optimizer).losses
        for data in ((X, Y), (X.tolist(), Y.tolist()))
        for model, optimizer in [made()]
    ]
    assert found[0] == found[1]
