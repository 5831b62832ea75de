"""Batches copied ahead, with streams whose work is done as early or as late as CUDA may do it."""

import ctypes
from collections import deque
from collections.abc import Callable, Generator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cuda_emulator import COMPILER, WHY_NOT
from cupy_stand_in import Emulated
from graphdiff_cupy.feeding import fed

import graphdiff as gd


class Event:
    """How often it was recorded, and how many of those records the device has come to."""

    def __init__(self, disable_timing: bool = False) -> None:
        self.recorded = self.reached = 0
        self.stream: Stream | None = None

    def record(self, stream: "Stream") -> None:
        self.recorded, self.stream = self.recorded + 1, stream
        number = self.recorded
        stream.queue(lambda: setattr(self, "reached", number))

    def synchronize(self) -> None:
        self.come_to(self.recorded)

    def come_to(self, number: int) -> None:
        while self.reached < number:
            assert self.stream is not None
            self.stream.work_off()


class Stream:
    """Work in its order: done at once where nothing must be waited for, or only when somebody waits for it."""

    def __init__(self, eager: bool) -> None:
        self.eager = eager
        self.ptr = self
        self.pending: deque[tuple[Callable[[], None] | None, Event | None, int]] = deque()

    def queue(self, work: Callable[[], None]) -> None:
        self.pending.append((work, None, 0))
        self.hurry()

    def wait_event(self, event: Event) -> None:
        self.pending.append((None, event, event.recorded))
        self.hurry()

    def hurry(self) -> None:
        while self.eager and self.pending:
            _, event, number = self.pending[0]
            if event is not None and event.reached < number:
                return
            self.work_off()

    def work_off(self) -> None:
        """Do the next thing."""
        work, event, number = self.pending.popleft()
        if event is not None:
            event.come_to(number)
        elif work is not None:
            work()

    def synchronize(self) -> None:
        while self.pending:
            self.work_off()


class OnDevice(np.ndarray):
    """An array with an address, as CuPy gives it."""

    @property
    def data(self) -> Any:  # type: ignore[override]
        return SimpleNamespace(ptr=self.ctypes.data)


def simulated(copies_early: bool, computes_early: bool) -> Any:
    """Return what is used of CuPy, over streams."""
    current = Stream(computes_early)

    def copy(target: int, source: int, nbytes: int, kind: str, stream: Stream) -> None:
        assert kind == "host to device"
        stream.queue(lambda: ctypes.memmove(target, source, nbytes) and None)

    runtime = SimpleNamespace(memcpyAsync=copy, memcpyHostToDevice="host to device")
    cuda = SimpleNamespace(
        Stream=lambda non_blocking: Stream(copies_early),
        Event=Event,
        get_current_stream=lambda: current,
        alloc_pinned_memory=lambda nbytes: np.full(nbytes, 0xFF, np.uint8),
        runtime=runtime,
    )
    return SimpleNamespace(cuda=cuda, empty=lambda shape, dtype: np.full(shape, 77, dtype).view(OnDevice))


def batches(count: int, closed: list[bool]) -> Generator[Any, None, None]:
    try:
        for place in range(count):
            rows = 4 if place < count - 1 else 3  # the last one is smaller
            yield np.full((rows, 2), place, np.float32), np.full(rows, -place)
    finally:
        closed.append(True)


@pytest.mark.parametrize("copies_early", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_every_step_sees_its_batch(count: int, copies_early: bool) -> None:
    cupy, seen, closed = simulated(copies_early, not copies_early), [], []
    for x, y in fed(cupy, batches(count, closed)):
        cupy.cuda.get_current_stream().queue(lambda x=x, y=y: seen.append((np.array(x), np.array(y))))
    cupy.cuda.get_current_stream().synchronize()
    assert closed == [True]
    assert len(seen) == count
    for (x, y), (expected_x, expected_y) in zip(seen, batches(count, [])):
        np.testing.assert_array_equal(x, expected_x)
        np.testing.assert_array_equal(y, expected_y)
        assert (x.dtype, y.dtype) == (expected_x.dtype, expected_y.dtype)


def test_the_next_batch_is_copied_while_a_step_computes() -> None:
    cupy = simulated(copies_early=True, computes_early=False)
    feed = fed(cupy, batches(3, []))
    first, _ = next(feed)
    cupy.cuda.get_current_stream().synchronize()
    cupy.cuda.get_current_stream().queue(lambda: None)  # a step that takes long
    second, _ = next(feed)
    assert (np.array(second) == 1).all()
    assert cupy.cuda.get_current_stream().pending
    assert first.ctypes.data != second.ctypes.data


def test_stopping_early_waits_for_the_copies_and_closes_the_source() -> None:
    closed: list[bool] = []
    feed = fed(simulated(copies_early=False, computes_early=True), batches(5, closed))
    next(feed)
    feed.close()
    assert closed == [True]


@pytest.mark.skipif(COMPILER is None, reason=WHY_NOT)
def test_training_on_fed_batches_is_training() -> None:
    class Feeding(Emulated):
        def fed(self, batches: Any) -> Any:
            return fed(simulated(copies_early=True, computes_early=True), batches)

    x = np.random.default_rng(0).normal(size=(50, 4)).astype("float32")
    losses = []
    for backend in (Emulated(), Feeding()):
        with gd.use_backend(backend):
            model = gd.nn.MLP([8, 1], in_features=4, seed=1)
            optimizer = gd.optim.SGD(model.parameters(), lr=0.1)
            history = gd.train.fit(
                model, gd.nn.squared_error, (x, x[:, :1]), optimizer, epochs=3, batch_size=16, progress=False
            )
            losses.append([record["loss"] for record in history])
    assert losses[0] == losses[1]


@pytest.mark.skipif(COMPILER is None, reason=WHY_NOT)
def test_fit_trains_in_the_precision_that_is_asked_for() -> None:
    r = np.random.default_rng(0)
    data = r.normal(size=(60, 40)).astype("float32"), r.integers(0, 3, 60)
    for precision in ("float32", "bf16"):
        backend = Emulated()
        with gd.use_backend(backend):
            model = gd.nn.MLP([64, 3], in_features=40, seed=0)
            optimizer = gd.optim.SGD(model.parameters(), lr=0.1)
            loss = gd.nn.softmax_cross_entropy
            gd.train.fit(model, loss, data, optimizer, epochs=1, batch_size=60, precision=precision, progress=False)
        assert {product.compute for product in backend.device.products} == {precision}
