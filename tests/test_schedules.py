"""Schedules against their formulas, alone, composed, and inside compiled steps."""

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff import errors

S = gd.optim.schedules


def restarts(t: float, period: float, factor: float) -> float:
    while t >= period:
        t, period = t - period, period * factor
    return (1 + math.cos(math.pi * t / period)) / 2


def triangle(t: float, half: float) -> float:
    place = t % (2 * half)
    return place / half if place <= half else 2 - place / half


FORMULAS: dict[str, tuple[Any, Callable[[int], float]]] = {
    "constant": (S.constant(0.3), lambda t: 0.3),
    "linear": (S.linear(0.5, 0.9, 40), lambda t: 0.5 + 0.4 * min(t / 40, 1)),
    "step": (S.step(0.5, every=7, factor=0.3), lambda t: 0.5 * 0.3 ** (t // 7)),
    "exponential": (S.exponential(0.5, 0.97), lambda t: 0.5 * 0.97**t),
    "inverse_time": (S.inverse_time(0.5, 0.1), lambda t: 0.5 / (1 + 0.1 * t)),
    "inverse root": (S.inverse_time(0.5, 0.1, power=0.5), lambda t: 0.5 / math.sqrt(1 + 0.1 * t)),
    "cosine": (
        S.cosine(0.5, 60, final=0.1),
        lambda t: 0.1 + 0.4 * (1 + math.cos(math.pi * min(t / 60, 1))) / 2,
    ),
    "restarts": (S.warm_restarts(1.0, 7), lambda t: restarts(t, 7, 1)),
    "doubling restarts": (S.warm_restarts(1.0, 5, factor=2), lambda t: restarts(t, 5, 2)),
    "tripling restarts": (S.warm_restarts(1.0, 1, factor=3), lambda t: restarts(t, 1, 3)),
    "triangular": (S.cyclical(0.1, 0.5, 8), lambda t: 0.1 + 0.4 * triangle(t, 8)),
    "triangular2": (
        S.cyclical(0.1, 0.5, 8, "triangular2"),
        lambda t: 0.1 + 0.4 * triangle(t, 8) / 2 ** (t // 16),
    ),
    "one_cycle": (
        S.one_cycle(1.0, 101, start=0.2, final=0.0, rise=41 / 101, shape="linear"),
        lambda t: 0.2 + 0.8 * t / 40 if t <= 40 else 1 - min((t - 40) / 60, 1),
    ),
    "warm_up": (
        S.warm_up(10, S.exponential(0.5, 0.9), start=0.1),
        lambda t: 0.5 * (0.1 + 0.9 * t / 10) if t < 10 else 0.5 * 0.9 ** (t - 10),
    ),
    "scaled": (
        S.scaled(S.exponential(0.5, 0.9), S.inverse_time(2.0, 1.0)),
        lambda t: 0.5 * 0.9**t * 2 / (1 + t),
    ),
    "sequence": (
        S.sequence([0.1, S.linear(0.0, 1.0, 10), S.step(1.0, 5)], [5, 20]),
        lambda t: 0.1 if t < 5 else min((t - 5) / 10, 1) if t < 20 else 0.1 ** ((t - 20) // 5),
    ),
    "per": (S.per(10, S.exponential(1.0, 0.5)), lambda t: 0.5 ** (t // 10)),
    "nested": (
        S.warm_up(3, S.sequence([S.per(4, S.cosine(1.0, 3)), 0.0], [12])),
        lambda t: t / 3 if t < 3 else (1 + math.cos(math.pi * ((t - 3) // 4) / 3)) / 2 if t < 15 else 0.0,
    ),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas(name: str) -> None:
    schedule, formula = FORMULAS[name]
    for t in [*range(140), 1000, 12345]:
        assert schedule(t) == pytest.approx(formula(t), rel=1e-11, abs=1e-12), t


@pytest.mark.parametrize("name", FORMULAS)
def test_a_compiled_step_follows_without_being_traced_again(name: str) -> None:
    schedule, formula = FORMULAS[name]
    w = gd.variable(0.0)
    optimizer = gd.optim.SGD([w], lr=schedule)
    step = gd.compile(lambda: optimizer.minimize(-w))
    total = 0.0
    for t in range(50):
        assert optimizer.lr == pytest.approx(formula(t), rel=1e-11, abs=1e-12)
        step()
        total += formula(t)
        assert w.item() == pytest.approx(total, rel=1e-11)
    assert len(step.plans) == 1


@pytest.mark.parametrize("name", FORMULAS)
def test_schedules_are_graph(name: str) -> None:
    node = gd.placeholder((), "float64", name="steps")
    value = FORMULAS[name][0](node)
    assert (value.shape, value.dtype) == ((), np.float64)
    assert gd.Graph(value).evaluate({node: 3.0}) == pytest.approx(FORMULAS[name][1](3))
    for other in (copy.deepcopy(FORMULAS[name][0]), pickle.loads(pickle.dumps(FORMULAS[name][0]))):
        assert other(3) == FORMULAS[name][0](3)


def test_restarts_begin_exactly_where_they_should() -> None:
    for factor in (2, 3, 1.5):
        schedule, begin, period = S.warm_restarts(1.0, 10, factor), 0.0, 10.0
        for _ in range(12):
            assert schedule(begin) == pytest.approx(1.0, abs=1e-12)
            begin, period = begin + period, period * factor


def test_a_plateau_reduces_inside_a_compiled_step() -> None:
    rate = S.reduce_on_plateau(1.0, factor=0.1, patience=0, reductions=2)
    w = gd.variable(0.0)
    optimizer = gd.optim.SGD([w], lr=S.scaled(rate, 2.0))
    step = gd.compile(lambda: optimizer.minimize(-w))
    made = []
    for metric in (3.0, 3.0, 2.0, 2.0, 2.0, 2.0):
        step()
        made.append((w.item(), rate.update(metric), rate.finished))
    steps = np.diff([0.0, *[value for value, _, _ in made]])
    np.testing.assert_allclose(steps, [2, 2, 0.2, 0.2, 0.02, 0.02], rtol=1e-12)
    assert [reduced for _, reduced, _ in made] == [False, True, False, True, False, False]
    assert [finished for _, _, finished in made] == [False, False, False, False, True, True]
    assert len(step.plans) == 1
    again = pickle.loads(pickle.dumps(rate))
    assert (again(0), again.finished) == (rate(0), True)


def test_larger_may_be_better_and_nan_is_no_improvement() -> None:
    rate = S.reduce_on_plateau(1.0, patience=1, mode="max")
    assert [rate.update(metric) for metric in (0.5, 0.6, math.nan, 0.6)] == [False, False, False, True]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: S.constant(-1.0), "value cannot be -1.0"),
        (lambda: S.constant("x"), "value cannot be 'x'"),
        (lambda: S.linear(0.1, 0.2, 0), "steps cannot be 0"),
        (lambda: S.step(0.1, every=0), "every cannot be 0"),
        (lambda: S.step(0.1, every=1, factor=0.0), "factor cannot be 0.0"),
        (lambda: S.exponential(math.nan, 0.5), "initial cannot be nan"),
        (lambda: S.inverse_time(0.1, -1.0), "decay cannot be -1.0"),
        (lambda: S.cosine(0.1, -5), "steps cannot be -5"),
        (lambda: S.warm_restarts(0.1, 5, factor=0.5), "factor cannot be 0.5"),
        (lambda: S.cyclical(0.1, 0.5, 8, "square"), "not 'square'"),
        (lambda: S.one_cycle(1.0, 100, rise=1.5), "rise cannot be 1.5"),
        (lambda: S.one_cycle(1.0, 100, shape="saw"), "not 'saw'"),
        (lambda: S.warm_up(0, 0.1), "steps cannot be 0"),
        (lambda: S.warm_up(5, -0.1), "value cannot be -0.1"),
        (lambda: S.sequence([0.1, 0.2], []), "2 schedules have 1 boundaries"),
        (lambda: S.sequence([0.1, 0.2, 0.3], [5, 5]), "a boundary cannot be 5"),
        (lambda: S.per(10, 0.1), "schedule cannot be 0.1"),
        (lambda: S.reduce_on_plateau(0.1, factor=1.5), "factor cannot be 1.5"),
        (lambda: S.reduce_on_plateau(0.1, patience=-1), "patience cannot be -1"),
        (lambda: S.reduce_on_plateau(0.1, mode="mean"), "not 'mean'"),
    ],
)
def test_refusals(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(errors.OpError, match=message):
        make()
