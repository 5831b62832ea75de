"""Elementwise ops and losses against mpmath, over the whole range of float32 and float64."""

import re
import runpy
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np
import pytest

import graphdiff as gd
from graphdiff.op import FUNCTIONS, OPS

DOCS = Path(__file__).parent.parent / "docs"
MADE = runpy.run_path(str(DOCS / "make_accuracy.py"))
CASES, LOSSES, EXCEPTIONS, LIMIT = MADE["CASES"], MADE["LOSSES"], MADE["EXCEPTIONS"], MADE["LIMIT"]
WRITTEN = (DOCS / "accuracy.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(.*?)` \| (float\d\d) \| (.*?) \| (.*?) \|$", WRITTEN, re.MULTILINE)
NO_NUMBERS = {"isnan", "isfinite", "isinf", "logical_not", "bitwise_invert"}


def told(cell: str) -> float:
    """The error that a cell of the page tells."""
    number = cell.split(" at ")[0]
    return np.inf if number == "∞" else float(number)


def test_every_elementwise_op_and_loss_is_in_the_table() -> None:
    ops = {op.name for op in OPS.values() if op.kind == "elementwise" and not op.name.endswith("_example")}
    compared = {op.name for op in OPS.values() if op.name.startswith(("bitwise_", "logical_"))}
    compared |= {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"}
    assert ops - compared - NO_NUMBERS - CASES.keys() == set()
    losses = {name.split(",")[0] for name in LOSSES}
    assert set(gd.nn.losses.__all__) - losses == {"accuracy"}
    assert [(name, dtype) for name, dtype, *_ in ROWS] == [
        (name, dtype) for name in [*CASES, *LOSSES] for dtype in MADE["DTYPES"]
    ]


@pytest.mark.parametrize("row", ROWS, ids=[f"{name}, {dtype}" for name, dtype, *_ in ROWS])
def test_errors_are_what_the_table_tells(row: tuple[str, ...]) -> None:
    """Within two ulp: NumPy's elementary functions differ by processor."""
    name, dtype, *cells = row
    worst = MADE["measured"](name, {**CASES, **LOSSES}[name], dtype)
    for kept, cell in zip(worst, cells, strict=True):
        assert kept.error <= LIMIT or name in EXCEPTIONS, f"{kept.error:.3g} ulp at {kept.place}"
        if kept.error > LIMIT:
            assert kept.error == told(cell) or 0.4 < kept.error / told(cell) < 2.5
        else:
            assert told(cell) <= LIMIT
            assert abs(kept.error - told(cell)) <= 2.5


def test_every_exception_is_one_and_has_its_reason_on_the_page() -> None:
    above = {name for name, _, *cells in ROWS if max(map(told, cells)) > LIMIT}
    assert above == EXCEPTIONS.keys()
    assert all(f"- `{name}`: {reason}" in WRITTEN for name, reason in EXCEPTIONS.items())
    assert MADE["HEAD"] in WRITTEN


SECOND: dict[str, tuple[Any, list[float]]] = {
    "expm1": (mp.exp, [-40.0, -700.0, 1e-300, 3.0]),
    "elu": (mp.exp, [-40.0, -700.0, -1e-3]),
    "softplus": (lambda x: MADE["sigmoid"](x) * MADE["sigmoid"](-x), [40.0, -40.0, 700.0, -700.0, 0.1]),
    "gelu": (lambda x: MADE["density"](x) * (2 - x * x), [-10.0, 10.0, -37.0, 0.5]),
    "normal_cdf": (lambda x: -x * MADE["density"](x), [-10.0, 10.0, -37.0, 0.5]),
    "erf": (lambda x: -4 * x * mp.exp(-x * x) / mp.sqrt(mp.pi), [26.0, -20.0, 0.3]),
    "log1p": (lambda x: -1 / (1 + x) ** 2, [-1 + 2.0**-52, 1e-20, 1e100]),
    "asinh": (lambda x: -x / mp.sqrt(1 + x * x) ** 3, [1e90, -1e-90, 2.0]),
}


@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.parametrize("name", SECOND)
def test_second_derivatives_in_the_tails(name: str, mode: str) -> None:
    exact, places = SECOND[name]
    slope = gd.grad(lambda x: FUNCTIONS[name](x))
    for place in places:
        found = gd.jacobian(slope, mode=mode)(place).item()
        assert found == pytest.approx(float(exact(mp.mpf(place))), rel=1e-14)


@pytest.mark.parametrize("mode", ["forward", "reverse", "elimination"])
def test_second_derivatives_of_logaddexp_in_the_tails(mode: str) -> None:
    for x, y in [(40.0, 0.0), (0.0, 40.0), (-300.0, 300.0), (1.0, 1.25)]:
        curve = float(MADE["sigmoid"](mp.mpf(x - y)) * MADE["sigmoid"](mp.mpf(y - x)))
        found = gd.hessian(lambda v: gd.logaddexp(v[0], v[1]), mode=mode)(np.array([x, y])).numpy()
        np.testing.assert_allclose(found, [[curve, -curve], [-curve, curve]], rtol=1e-13)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_ends_of_the_sigmoids(dtype: str) -> None:
    ends = np.array([-np.inf, np.inf, np.nan], dtype)
    for function in (gd.sigmoid, FUNCTIONS["logistic"]):
        for found in (function(ends), gd.compile(function)(ends)):
            assert found.dtype == dtype
            np.testing.assert_array_equal(found.numpy(), [0.0, 1.0, np.nan])
    assert np.isnan(gd.compile(lambda x: x * gd.sigmoid(x))(ends).numpy()[0])
    np.testing.assert_array_equal(gd.softplus(ends).numpy(), [0.0, np.inf, np.nan])
    slope = gd.grad(lambda x: gd.sum(gd.softplus(x)))(ends).numpy()
    np.testing.assert_array_equal(slope, [0.0, 1.0, np.nan])
