"""Every case of the op tables, compiled: values and derivatives agree with the eager ones."""

from typing import Any

import numpy as np
import pytest
from test_op_values import ROWS
from test_ops import CASES, every

import graphdiff as gd
from graphdiff.tree import flatten

PRECISION = {"float16": 1e-2, "float32": 1e-5}


def agree(compiled: Any, eager: Any, rtol: float = 1e-12) -> None:
    found, expected = flatten(compiled)[0], flatten(eager)[0]
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype)
        rtol = PRECISION.get(theirs.dtype.name, rtol)
        scale = np.abs(theirs.numpy()[np.isfinite(theirs.numpy())]).max(initial=0.0) if theirs.size else 0.0
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=rtol, atol=rtol * max(scale, 1e-300))


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
@pytest.mark.parametrize("disable", [(), ("open", "simplify", "merge", "widen")], ids=["all passes", "no pass"])
def test_value_and_both_modes(case: Any, disable: Any) -> None:
    _, function, given = case
    arguments = [gd.constant(argument) for argument in given]
    agree(gd.compile(function, disable=disable)(*arguments), function(*arguments))
    for mode in ("forward", "reverse"):
        jacobian = gd.jacobian(function, every(arguments), mode=mode)
        agree(gd.compile(jacobian, disable=disable)(*arguments), jacobian(*arguments), 1e-11)


@pytest.mark.parametrize("case", ROWS, ids=[case.label for case in ROWS])
def test_values(case: Any) -> None:
    for kind in case.kinds:
        arguments = [gd.constant(argument) for argument in case.arguments(kind)]
        with np.errstate(all="ignore"):
            try:
                eager = case.function(*arguments)
            except gd.GraphDiffError as error:
                with pytest.raises(type(error)):
                    gd.compile(case.function)(*arguments)
                continue
            found = gd.compile(case.function)(*arguments)
        agree(found, eager, PRECISION.get(kind, 1e-12))
