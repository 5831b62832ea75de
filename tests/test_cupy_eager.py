"""The CuPy backend's own code, run over NumPy under CuPy's names; and what it says where there is no GPU."""

import importlib.util
import re
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cupy_stand_in import STAND_IN, StandIn
from graphdiff_cupy import CupyBackend
from strict_cupy import NAMESPACE, DeviceArray, lent
from test_ops import CASES, every

import graphdiff as gd
from graphdiff import errors


class Strict(StandIn):
    name = "cupy-strict"
    namespace = NAMESPACE

    def special_functions(self) -> Any:
        (erf,) = super().special_functions().values()
        return {"erf": lambda x: lent(erf(x.held))}


STRICT = Strict()


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_case_on_the_backends_own_code(case: Any) -> None:
    name, function, arguments = case
    expected = gd.jacobian(function, every(arguments), mode="reverse")(*arguments)
    with gd.use_backend(STRICT), np.errstate(all="ignore"):
        value = function(*[gd.constant(argument) for argument in arguments])
        for mode in ("forward", "reverse"):
            computed = gd.jacobian(function, every(arguments), mode=mode)(*arguments)
            for mine, theirs in zip(computed, expected):
                assert mine.backend is STRICT
                np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-9, atol=1e-10)
    assert value.backend is STRICT
    assert isinstance(value.value, DeviceArray), f"{name}: a 0-d value is an array, not a number on the host"


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_adding_at_repeated_places(shape: tuple[int, ...]) -> None:
    places, values = np.array([2, 0, 2, 2]), np.arange(4.0 * np.prod(shape, dtype=int)).reshape(4, *shape)
    expected = np.zeros((3, *shape))
    np.add.at(expected, places, values)
    with gd.use_backend(STAND_IN):
        found = gd.at(gd.zeros((3, *shape)), places).add(values)
    np.testing.assert_array_equal(found.numpy(), expected)


def test_adding_up_keeps_small_numbers_beside_large_ones_and_infinities_where_they_are() -> None:
    places = np.array([0, 2, 1, 0, 3, 2, 0])
    values = np.array([1e20, np.inf, 1e-3, 1.0, 5.0, 1.0, -1e20])
    with gd.use_backend(STRICT):
        found = gd.at(gd.zeros(4), places).add(values).numpy()
    np.testing.assert_allclose(found[1:], [1e-3, np.inf, 5.0], rtol=1e-12)


@pytest.mark.parametrize("longest", [1, 2, 3, 8, 21])
def test_long_runs_of_one_place_are_added_up(longest: int) -> None:
    r = np.random.default_rng(longest)
    places = r.permutation(np.repeat([4, 0, 3], [longest, 1, longest // 2]))
    values = r.normal(size=places.size)
    expected = np.zeros(5)
    np.add.at(expected, places, values)
    with gd.use_backend(STRICT):
        found = gd.at(gd.zeros(5), places).add(values)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_tensors_on_two_devices_do_not_mix() -> None:
    here = gd.variable([1.0, 2.0], name="here")
    there = here.to(STAND_IN)
    with pytest.raises(errors.BackendError, match=r"here.* on numpy, .* on cupy-stand-in.*tensor\.to"):
        here + there
    np.testing.assert_array_equal((there * 2).to("numpy").numpy(), [2.0, 4.0])


class OnTheDevice:
    """An array of another library that lies where this backend computes."""

    def __init__(self, array: Any, kind: int) -> None:
        self.array, self.kind = array, kind

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.kind, 0

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise TypeError("it would have to be copied to the host")


def test_arrays_on_the_device_are_adopted(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.arange(3.0)
    monkeypatch.setattr(
        StandIn,
        "namespace",
        SimpleNamespace(ndarray=np.ndarray, array=np.array, asarray=np.asarray, from_dlpack=lambda given: given.array),
    )
    backend = StandIn()
    assert backend.adopt(OnTheDevice(array, 2)) is array
    assert backend.adopt(OnTheDevice(array, 1)) is None  # DLPack's kCPU
    with gd.use_backend(backend):
        entered = gd.constant(OnTheDevice(array, 2)).value
    assert entered.tolist() == array.tolist()
    assert not np.shares_memory(entered, array), "the array is its owner's to write into"


def test_tensors_go_out_through_dlpack() -> None:
    x = gd.constant([1.0, 2.0])
    out = np.from_dlpack(x)
    assert out.tolist() == [1.0, 2.0]
    assert not np.shares_memory(out, x.value), "who takes it may write into it"
    assert x.__dlpack_device__() == (1, 0)
    assert not hasattr(x, "__cuda_array_interface__")


@pytest.mark.skipif(importlib.util.find_spec("cupy") is not None, reason="CuPy is installed")
def test_without_cupy_the_reason_and_the_mend_are_named() -> None:
    told = gd.backends()["cupy"]
    assert "CuPy is not installed" in told
    assert 'pip install "graphdiff[cuda12]"' in told
    assert '"graphdiff[cuda13]"' in told
    before = gd.current_backend()
    with pytest.raises(errors.BackendNotInstalledError, match="CuPy is not installed"):
        gd.variable(1.0).to("cupy")
    assert gd.current_backend() is before


class NoDriver(RuntimeError):
    pass


@pytest.mark.parametrize(("count", "told"), [(0, "there is no NVIDIA GPU"), (NoDriver("driver"), r"no driver.*driver")])
def test_without_a_gpu_the_reason_is_named(count: Any, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def devices() -> int:
        if isinstance(count, Exception):
            raise count
        return int(count)

    runtime = SimpleNamespace(getDeviceCount=devices, CUDARuntimeError=NoDriver)
    fake = SimpleNamespace(cuda=SimpleNamespace(runtime=runtime))
    monkeypatch.setitem(sys.modules, "cupy", fake)
    assert re.search(told, str(CupyBackend.why_unavailable()))
