"""Rates turn counts into estimated seconds."""

import pytest

import graphdiff as gd
from graphdiff.costs.node import Cost


@pytest.fixture(autouse=True)
def _restored():
    before = gd.rates.current()
    yield
    gd.rates.use(before)


def test_seconds_by_hand():
    gd.rates.use(gd.rates.Rates(1.0, 10.0, 100.0, product=1e3, function=1e4, byte=1e5, turn=1e6, run=1e7))
    counted = Cost(multiplications=7, additions=5, transcendental=3, calls=9, nbytes=2)
    hidden = Cost(products=6, numbers=2, views=3, turns=8, runs=1)
    by_hand = 4 * 1 + 2 * 10 + 3 * 100 + 6 * 1e3 + 3 * 1e4 + 2 * 1e5 + 8 * 1e6 + 1e7
    assert (counted + hidden).seconds == by_hand
    assert (counted + hidden).times(3).seconds == 3 * by_hand


def test_measured_rates_are_plausible():
    rates = gd.rates.calibrate()
    assert gd.rates.current() is rates
    assert rates.source == "measured on this machine"
    assert 1e-9 < rates.number < rates.call < 1e-4
    assert 1e-13 < rates.product < 1e-8
    assert 1e-13 < rates.byte < 1e-8
    assert 0 < rates.function < 1e-6


def test_choices_follow_the_rates():
    """Where calls cost nothing the fewest operations win; where they cost all, the fewest calls."""

    def f(x):
        for _ in range(3):
            x = gd.tanh(x * 2.0)
        return x

    import numpy as np

    gd.rates.use(gd.rates.Rates(0, 0, 0, product=1e-9, function=0, byte=1e-9))
    assert gd.jacobian(f).explain(np.ones(50)).mode == "elimination"
    costs = gd.jacobian(f).explain(np.ones(50)).costs
    gd.rates.use(gd.rates.Rates(1.0, 0, 0, 0, 0, 0))
    assert costs["forward"].seconds == costs["forward"].calls - costs["forward"].views
