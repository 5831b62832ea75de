"""What the device does around CuPy's calls, with CuPy's calls written down instead of made."""

import gc
from threading import Lock
from types import SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pytest
from graphdiff_cupy.device import CupyDevice
from graphdiff_cupy.ordering import LANES, Access, Launch

from graphdiff.errors import BackendError

CURRENT = SimpleNamespace(ptr=77)


class RefusedError(RuntimeError):
    """What CUDA raises where something cannot be recorded."""


class Recording:
    """A stream that notes what it does.

    What it is given next comes after `after`, the launches so far and those that it waited for. Ending a recording
    fails once something in it was refused, as CUDA's does.
    """

    def __init__(self, notes: list[Any], current: list[Any]) -> None:
        self.notes, self.current, self.after, self.ptr = notes, current, set[str](), 0

    def __enter__(self) -> None:
        self.current.append(self)

    def __exit__(self, *exception: object) -> None:
        assert self.current.pop() is self

    def begin_capture(self) -> None:
        self.notes.append(("begin", gc.isenabled()))

    def record(self) -> Any:
        return SimpleNamespace(after=set(self.after), stream=self)

    def wait_event(self, event: Any) -> None:
        self.after |= event.after

    def end_capture(self) -> Any:
        self.notes.append(("end", set(self.after)))
        if "refused" in self.notes:
            raise RefusedError("the recording was invalidated")
        return SimpleNamespace(
            upload=lambda: self.notes.append("upload"), launch=lambda: self.notes.append(("launch", CURRENT))
        )


@pytest.fixture
def device() -> Any:
    made = CupyDevice.__new__(CupyDevice)
    made.notes, made.number = [], 0
    moves = made.notes
    runtime = SimpleNamespace(
        getDevice=lambda: 0, memcpyDeviceToDevice=3, memcpyAsync=lambda *given: moves.append(("move", *given))
    )
    made.cupy = SimpleNamespace(
        cuda=SimpleNamespace(runtime=runtime, get_current_stream=lambda: CURRENT), empty=OnDevice
    )
    made.current = []
    made._streams = [Recording(made.notes, made.current) for _ in range(LANES)]
    made.refusals = (RefusedError,)
    made._repeated = WeakKeyDictionary()
    made._recording = Lock()
    return made


class OnDevice:
    """An array with an address."""

    def __init__(self, shape: Any, dtype: Any, pointer: int = 1, contiguous: bool = True) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.nbytes = int(np.prod(shape)) * self.dtype.itemsize
        self.data = SimpleNamespace(ptr=pointer)
        self.flags = SimpleNamespace(c_contiguous=contiguous)
        self.assigned: Any = None

    def __setitem__(self, place: Any, value: Any) -> None:
        self.assigned = value

    def reshape(self, shape: Any) -> Any:
        assert shape == self.shape
        return self


def test_what_begins_anywhere_is_copied_to_where_many_bytes_are_read_at_once(device: Any) -> None:
    """A misaligned read of 16 bytes ends all work on a GPU."""
    made = OnDevice((3,), "float32", pointer=512)
    device.cupy.asarray = device.cupy.ascontiguousarray = lambda array: array
    device.cupy.array = lambda array: made
    aligned, part = OnDevice((3,), "float32", pointer=1024), OnDevice((3,), "float32", pointer=1028)
    assert device.ready(aligned) is aligned
    assert device.ready(part) is made


def test_another_stream_waits_for_what_the_last_one_was_given(device: Any) -> None:
    first, second = Recording([], []), Recording([], [])
    first.ptr, second.ptr = 1, 2
    for stream in (first, first, second):
        device.cupy.cuda.get_current_stream = lambda stream=stream: stream
        last = None if stream is first and not first.after else first
        assert device.stream_after(last) is stream
        first.after.add("step")
    assert second.after == {"step"}


def test_a_plan_is_refused_on_another_gpu(device: Any) -> None:
    device.cupy.cuda.runtime.getDevice = lambda: 1
    with pytest.raises(BackendError, match=r"made for GPU 0.*Device\(0\)"):
        device.stream_after(None)


def launch(device: Any, name: str, lane: int, touches: list[Access]) -> Launch:
    """Return a launch that notes its name and what comes before it."""

    def run() -> None:
        stream = device.current[-1]
        device.notes.append((name, set(stream.after)))
        stream.after.add(name)

    return Launch(run, lane, touches)


def test_launches_are_recorded_once_and_replayed_on_the_current_stream(device: Any) -> None:
    replay = device.record([launch(device, "a", 0, []), launch(device, "b", 0, [])])
    assert device.notes == [("begin", False), ("a", set()), ("b", {"a"}), ("end", {"a", "b"}), "upload"]
    assert gc.isenabled()
    assert device.current == []
    device.notes.clear()
    replay()
    assert device.notes == [("launch", CURRENT)]


def test_lanes_wait_for_what_they_need_and_all_are_done_at_the_end(device: Any) -> None:
    x, y, z = (Access(memory, 0, 8, writes=True) for memory in "xyz")
    read_x, read_y = (Access(memory, 0, 8, writes=False) for memory in "xy")
    device.record(
        [
            launch(device, "makes x", 0, [x]),
            launch(device, "alone", 3, [z]),
            launch(device, "makes y of x", 0, [read_x, y]),
            launch(device, "reads x", 1, [read_x]),
            launch(device, "reads y", 1, [read_y]),
        ]
    )
    before = dict(device.notes[1:-1])
    assert before["alone"] == set()
    assert before["reads x"] == {"makes x"}
    assert before["reads y"] == {"makes x", "makes y of x", "reads x"}
    assert before["end"] == {"makes x", "alone", "makes y of x", "reads x", "reads y"}


def test_a_failed_recording_is_ended_and_the_collector_runs_again(device: Any) -> None:
    def fail() -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        device.record([Launch(fail, 2, [])])
    assert device.notes == [("begin", False), ("end", set())]
    assert gc.isenabled()
    assert device.current == []


def test_what_was_refused_is_told_not_that_the_recording_failed(device: Any) -> None:
    def refuse() -> None:
        device.notes.append("refused")
        raise RefusedError("this cannot be recorded")

    with pytest.raises(RefusedError, match="this cannot be recorded"):
        device.record([Launch(refuse, 0, [])])


def test_a_launch_is_timed_by_the_device_over_many_of_it(device: Any) -> None:
    clock = iter([1.0, 1.5, 4.0, 6.0])
    events: list[Any] = []

    def event() -> Any:
        made = SimpleNamespace(time=None, synchronize=lambda: None)
        made.record = lambda: setattr(made, "time", next(clock))
        events.append(made)
        return made

    device.cupy.cuda.Event = event
    device.cupy.cuda.get_elapsed_time = lambda begin, end: end.time - begin.time  # milliseconds
    timed = launch(device, "a", 0, [])
    assert device.duration(timed, recordable=True) == 0.5e6 / 50
    assert [note for note in device.notes if note[0] == "a"] == [("a", set())] + [("a", {"a"})] * 49
    device.notes.clear()
    device.current.append(device._streams[0])
    assert device.duration(timed, recordable=False) == 2e6
    assert len(device.notes) == 1


def test_memory_is_moved_by_its_bytes_and_converted_where_it_must_be(device: Any) -> None:
    target, same = OnDevice((3, 2), "float32", 10), OnDevice((3, 2), "float32", 20)
    device.fill(target, same, CURRENT)
    assert device.notes == [("move", 10, 20, 24, 3, 77)]
    for other in (OnDevice((3, 2), "float64"), OnDevice((3, 2), "float32", contiguous=False)):
        device.fill(target, other, CURRENT)
        assert target.assigned is other
    assert len(device.notes) == 1
    made = device.like(same)
    assert (made.shape, made.dtype) == (same.shape, same.dtype)


def test_pointers_are_given_to_kernels_by_value(device: Any) -> None:
    calls: list[Any] = []
    device.launch(lambda *given: calls.append(given), 5, 64, [1 << 40, 8])()
    ((grid, block, arguments),) = calls
    assert (grid, block) == ((5,), (64,))
    assert [(argument.dtype.name, int(argument)) for argument in arguments] == [("uint64", 1 << 40), ("uint64", 8)]
