"""Optimisers and schedules against PyTorch 2.13, whose numbers are stored by data/make_optimizer_reference.py."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphdiff as gd

DATA = Path(__file__).parent / "data"
REFERENCE = json.loads((DATA / "optimizers.json").read_text())
RATES = json.loads((DATA / "schedules.json").read_text())
CASES = REFERENCE["cases"]

RULES = {"Adagrad": "AdaGrad", "Adadelta": "AdaDelta", "RMSprop": "RMSProp"}
SETTINGS = {"alpha": "rho", "initial_accumulator_value": "initial", "etas": "factors", "step_sizes": "limits"}


def loss(w: Any, b: Any) -> Any:
    wave = gd.sum(gd.sin(3 * w[0] * b))
    return gd.sum(w**2) / 2 + wave + gd.sum((b - w[1]) ** 4) / 4 + gd.exp(b[0] - w[0, 1])


def made(case: Any, w: Any, b: Any) -> Any:
    options = {SETTINGS.get(key, key): value for key, value in case["options"].items()}
    parameters = [{"params": [w]}, {"params": [b], **case["group"]}] if "group" in case else [w, b]
    return getattr(gd.optim, RULES.get(case["rule"], case["rule"]))(parameters, **options)


def title(case: Any) -> str:
    return f"{case['rule']} {case['options']}" + (" grouped" if "group" in case else "")


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("case", CASES, ids=title)
def test_trajectories(case: Any, compiled: bool) -> None:
    w, b = gd.variable(REFERENCE["w"], name="w"), gd.variable(REFERENCE["b"], name="b")
    optimizer = made(case, w, b)

    def step() -> None:
        optimizer.minimize(loss(w, b))

    run = gd.compile(step) if compiled else step
    for number, expected in enumerate(case["path"]):
        run()
        found = np.append(w.numpy(), b.numpy())
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12, err_msg=f"step {number}")
    assert len(case["path"]) == 20
    if compiled:
        assert len(run.plans) == 1


S = gd.optim.schedules
SCHEDULES = {
    "step": S.step(0.4, every=7, factor=0.3),
    "exponential": S.exponential(0.4, 0.9),
    "cosine": S.cosine(0.4, 30, final=0.05),
    "warm_restarts": S.warm_restarts(0.4, 5, factor=3, final=0.01),
    "warm_restarts, equal": S.warm_restarts(0.4, 7),
    "triangular": S.cyclical(0.1, 0.6, 8),
    "triangular2": S.cyclical(0.1, 0.6, 8, mode="triangular2"),
    "one_cycle": S.one_cycle(0.5, 50),
    "one_cycle, linear": S.one_cycle(0.5, 50, shape="linear"),
    "one_cycle, momentum": S.one_cycle(0.85, 50, start=0.95, final=0.95),
    "linear": S.warm_up(10, then=0.4, start=0.25),
    "sequence": S.sequence([0.4, S.exponential(0.4, 0.9)], [10]),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name: str) -> None:
    found = [SCHEDULES[name](step) for step in range(len(RATES[name]))]
    np.testing.assert_allclose(found, RATES[name], rtol=1e-12, atol=1e-15)


def test_every_stored_schedule_is_compared() -> None:
    assert RATES.keys() == SCHEDULES.keys() | {"plateau"}


def test_reduction_on_a_plateau() -> None:
    rate = S.reduce_on_plateau(0.4, factor=0.1, patience=2, cooldown=1)
    found = []
    for metric in RATES["plateau"]["metrics"]:
        rate.update(metric)
        found.append(rate(0))
    np.testing.assert_allclose(found, RATES["plateau"]["rates"], rtol=1e-12)
    assert len(set(found)) > 2
