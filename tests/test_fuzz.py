"""The fuzzers: a fixed sample of each finds nothing, and each finds a fault that is planted, and shrinks it."""

from typing import Any

import numpy as np
import pytest
from fuzz import expressions, misuse, programs, training
from fuzz.__main__ import main
from fuzz.cases import Tally, executed, run

import graphdiff as gd
from graphdiff.op import FUNCTIONS, OPS


def found(make: Any, seed: int, count: int, seconds: float = 4.0) -> list[str]:
    """Return the reports of the differences in the first cases of a seed."""
    told: list[str] = []
    run(make, seed, range(count), seconds=seconds, tell=told.append)
    return told


def first(make: Any, kind: str, count: int = 400) -> tuple[Any, Any]:
    """Return the first case in which the planted fault shows as such a difference, and the difference."""
    for number in range(count):
        tally: Tally = run(make, 0, range(number, number + 1), seconds=6.0)
        for _, case, difference in tally.found:
            if kind in difference.kind:
                return case, difference
    raise AssertionError("the fault was not found")


@pytest.mark.parametrize(
    ("make", "count"), [(programs.make, 200), (training.make, 12), (expressions.make, 300), (misuse.make, 300)]
)
def test_a_fixed_sample_of_each_kind_finds_nothing(make: Any, count: int) -> None:
    assert found(make, 1, count) == []


def test_a_bare_error_of_a_public_function_is_found_and_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    names = executed("def wrong(x, axis=None):\n    return len(None)", "graphdiff/planted.py")
    few = {name: known for name, known in misuse.callables().items() if name in (*misuse.APPLIED, "gd.median")}
    monkeypatch.setattr(gd, "median", names["wrong"])
    monkeypatch.setattr(misuse, "callables", lambda: few)
    case, difference = first(misuse.make, "gd.median: TypeError", 100)
    assert case.text in ("gd.median(x)", "gd.median(2.0)")
    assert "TypeError" in difference.told


def test_a_wrong_kernel_in_plans_is_found_and_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    from graphdiff_numpy.planner import Planner

    right = Planner.by_kernel

    def wrong(self: Any, node: Any) -> None:
        if node.op.name == "argmax":
            own = node.op.kernel(node.backend)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(node.op, "kernel", lambda backend: lambda *a, **b: np.asarray(own(*a, **b) + 1))
                right(self, node)
        else:
            right(self, node)

    monkeypatch.setattr(Planner, "by_kernel", wrong)
    case, difference = first(programs.make, "value", 3000)
    assert "argmax" in case.source()
    assert len(case.statements) <= 2
    assert len(case.outputs) == 1
    assert difference.told.startswith("result[0]: expected")


def test_memory_that_is_written_again_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from graphdiff.plan.compiled import Compiled

    right, kept = Compiled.__call__, {}

    def wrong(self: Any, *arguments: Any) -> Any:
        """Hand out the same array at every call."""
        result = right(self, *arguments)
        for place, leaf in enumerate(result if isinstance(result, tuple) else ()):
            if isinstance(leaf, gd.Tensor) and leaf.has_value and leaf.shape:
                array = kept.setdefault((id(self), place, leaf.shape, leaf.dtype), np.array(leaf.value))
                array[...] = leaf.value
                leaf._value = array
        return result

    monkeypatch.setattr(Compiled, "__call__", wrong)
    case, difference = first(programs.make, "overwritten")
    assert difference.kind == "overwritten"
    assert len(case.statements) <= 1


def test_a_setting_that_is_baked_in_is_found_and_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    from graphdiff.optim import optimizers

    right = optimizers.as_tensor

    def wrong(value: Any) -> Any:
        return gd.constant(value._value) if getattr(value, "name", None) == "lr" else right(value)

    monkeypatch.setattr(optimizers, "as_tensor", wrong)
    case, difference = first(training.make, "training, value")
    assert difference.told.startswith("eager")  # whose updates are planned as well
    assert any(".lr = " in event for event in case.events)
    assert len(case.events) <= 3
    assert len(case.layers) == 1


def test_a_wrong_derivative_is_found_in_expressions_and_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OPS["tanh"], "partials", (lambda F, out, x: 1.001 - out * out,))
    case, _ = first(expressions.make, "derivative")
    assert case.text.startswith("tanh(")
    assert len(case.text) <= 12


def test_a_bare_error_of_an_expression_is_found_and_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(x: Any) -> Any:
        raise KeyError("planted")

    wrong.op = OPS["atan"]  # type: ignore[attr-defined]
    monkeypatch.setitem(FUNCTIONS, "atan", wrong)
    case, _ = first(expressions.make, "parse raises KeyError")
    assert len(case.text) <= 12


def test_every_function_of_the_language_has_a_meaning_of_its_own() -> None:
    from graphdiff.expression import parser

    allowed = {name for name, function in FUNCTIONS.items() if parser._is_allowed(name, function)}
    aliases = {name for name in allowed if FUNCTIONS[name] in [FUNCTIONS[known] for known in expressions.MEANINGS]}
    parts = {
        "exp_of_square",
        "gaussian",
        "gelu_tanh_slope",
        "logistic",
        "normal_cdf",
        "over_length",
    }  # of others' rules
    assert allowed - aliases == {"clip", "elu", "leaky_relu"} | parts


def test_a_case_is_the_same_alone_and_the_command_tells_of_differences(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with np.errstate(all="ignore"):
        assert programs.make(3, 17).source() == programs.make(3, 17).source()
    assert main(["--expressions", "8", "--seed", "5"]) == 0
    assert "expressions: 0 differences in 8" in capsys.readouterr().out
    monkeypatch.setattr(OPS["multiply"], "partials", (lambda F, out, x, y: 2 * y, lambda F, out, x, y: x))
    assert main(["--expressions", "60", "--seed", "5"]) == 1
    told = capsys.readouterr().out
    assert "--only" in told
    assert "gd.parse(" in told
