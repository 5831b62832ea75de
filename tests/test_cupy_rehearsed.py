"""The tests that need a GPU, and the backend with every call of CuPy's that they make, rehearsed on the host."""

from typing import Any

import numpy as np
import pytest
import strict_cupy
import test_gpu
from cuda_emulator import COMPILER, WHY_NOT
from cuda_on_host import CudaError, OnHost, Stream
from test_ops import CASES

import graphdiff as gd
from graphdiff import backend

pytestmark = pytest.mark.skipif(COMPILER is None, reason=WHY_NOT)

REHEARSED: list[tuple[Any, ...]] = [
    (test_gpu.test_a_product_is_recorded_on_our_own_handle,),
    (test_gpu.test_gradients_agree_in_float32_in_every_size, 1000),
    (test_gpu.test_many_steps_are_as_many_calls,),
    (test_gpu.test_every_precision_trains, "float32"),
    (test_gpu.test_every_precision_trains, "fp16"),
    (test_gpu.test_an_epoch_gathered_on_the_device_is_one_from_the_host,),
    (test_gpu.test_batches_copied_ahead_train_as_those_on_the_device,),
    (test_gpu.test_long_training_captured_and_one_by_one_are_the_same,),
    (test_gpu.test_random_numbers_are_the_hosts,),
    (test_gpu.test_out_of_memory_names_the_largest_buffers,),
]
OPS = ("matrix vector", "solve stack", "logsumexp -1 True", "take")


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(backend._instances, "cupy", OnHost())
    monkeypatch.setattr(strict_cupy, "GUARDS", [backend._instances["cupy"].namespace.forbid])
    with gd.use_backend("cupy") as chosen, np.errstate(all="ignore"):
        yield chosen


@pytest.mark.parametrize("given", REHEARSED, ids=lambda given: "-".join([given[0].__name__, *map(str, given[1:])]))
def test_rehearsed(given: tuple[Any, ...], cupy: Any) -> None:
    function, *arguments = given
    function(*arguments, cupy)
    assert cupy.plans
    assert cupy.refused() == []


@pytest.mark.parametrize("case", [case for case in CASES if case[0] in OPS], ids=lambda case: case[0])
def test_ops_rehearsed(case: Any, cupy: Any) -> None:
    test_gpu.test_every_op_eager_and_compiled(case, cupy)
    assert cupy.refused() == []


def test_what_cannot_be_recorded_is_launched_one_by_one(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording that was refused leaves streams and memory as they should be."""
    host = cupy.namespace
    x, w = np.ones((64, 64), np.float32), np.ones((64, 64), np.float32)
    compiled = gd.compile(lambda x, w: gd.relu(x @ w) + 1)
    with monkeypatch.context() as patch:
        patch.setattr(Stream, "record", lambda stream, event=None: host.forbid("an event"))
        np.testing.assert_array_equal(compiled(x, w).numpy(), np.full((64, 64), 65.0))
    assert "refused (operation not permitted" in compiled.plan(x, w).explain()
    assert not host.entered
    host.forbid("nothing records any more")
    np.testing.assert_array_equal(gd.compile(lambda x, w: x @ w)(x, w).numpy(), np.full((64, 64), 64.0))


# What CuPy computes by itself: it reserves memory, and its libraries refuse to be recorded.
MATRIX = np.array([[4.0, 1.0], [1.0, 3.0]])
BY_CUPY: dict[str, tuple[Any, Any]] = {
    "inv": (gd.linalg.inv, MATRIX),
    "eigh": (lambda x: gd.eigh(x)[0], MATRIX),
    "complex": (lambda x: x * x, np.array([1 + 2j, 3j])),
    "argmax": (lambda x: gd.argmax(x, axis=0), MATRIX),
    "cumsum": (lambda x: gd.cumsum(x, axis=0), MATRIX),
    "sort": (lambda x: gd.sort(x, axis=0), MATRIX),
}


@pytest.mark.parametrize("name", BY_CUPY)
def test_what_cupy_computes_by_itself_is_not_recorded(name: str, cupy: Any) -> None:
    function, x = BY_CUPY[name]
    with gd.use_backend("numpy"):
        expected = function(gd.constant(x)).numpy()
    compiled = gd.compile(function)
    for found in (compiled(x), compiled.many(20, x), compiled.many(8, x), compiled(x)):
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    assert cupy.refused() == []


def test_numbers_that_the_host_draws_are_drawn_for_every_step(cupy: Any) -> None:
    there, here = gd.random.generator(3), gd.random.generator(3)
    compiled = gd.compile(lambda: gd.random.normal((4,), seed=here))
    expected = [there.normal(size=4) for _ in range(21)]
    np.testing.assert_array_equal(compiled.many(20).numpy(), expected[-2])
    np.testing.assert_array_equal(compiled().numpy(), expected[-1])
    assert cupy.refused() == []


@pytest.mark.parametrize("what", [lambda x: -x, lambda x: x.sum(), lambda x: x * 2])
def test_the_guard_forbids_results_while_something_is_recorded(what: Any, cupy: Any) -> None:
    host = cupy.namespace
    x, stream = host.array([1.0, 2.0]), host.cuda.Stream(non_blocking=True)
    stream.begin_capture()
    with pytest.raises(CudaError, match="reserving memory"):
        what(x)
    with pytest.raises(CudaError, match="cuSOLVER"):
        host.linalg.inv(x)
    x.reshape((2, 1))  # a view is none
    stream.end_capture()
    host.linalg.inv(host.array(MATRIX))
