"""A backend over array-api-strict in a few lines: proof that the engine computes on no array itself."""

from typing import Any

import array_api_strict as strict
import numpy as np
import pytest
from test_ops import CASES, every

import graphdiff as gd
from graphdiff.backend import Backend


class StrictBackend(Backend):
    name = "strict"
    namespace = strict

    def from_host(self, array: Any, dtype: Any = None) -> Any:
        array = np.asarray(array, dtype)
        return strict.asarray(array, dtype=self.native_dtype(array.dtype))

    def to_host(self, array: Any) -> Any:
        return np.asarray(array)

    def owns(self, array: Any) -> bool:
        return isinstance(array, type(strict.asarray(0)))


STRICT = StrictBackend()
CANNOT = {"set", "set torn"}  # the standard has no assignment at index arrays


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_case_on_the_toy_backend(case: Any) -> None:
    name, function, arguments = case
    expected = gd.jacobian(function, every(arguments), mode="reverse")(*arguments)
    with gd.use_backend(STRICT):
        if name in CANNOT:
            with pytest.raises(gd.errors.BackendError, match="sets elements at slices only"):
                function(*[gd.constant(argument) for argument in arguments])
            return
        value = function(*[gd.constant(argument) for argument in arguments])
        for mode in ("forward", "reverse"):
            computed = gd.jacobian(function, every(arguments), mode=mode)(*arguments)
            for mine, theirs in zip(computed, expected):
                assert mine.backend is STRICT
                np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-9, atol=1e-10)
    assert value.backend is STRICT


def test_a_compiled_function_without_arguments_looks_at_the_chosen_backend() -> None:
    made = gd.compile(lambda: gd.ones(3) * 2)
    for backend in ("numpy", STRICT, "numpy"):
        with gd.use_backend(backend) as chosen:
            for _ in range(3):
                assert made().backend is chosen
