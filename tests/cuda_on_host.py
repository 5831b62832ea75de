"""CuPy's calls on the host: memory by address, streams that record, kernels compiled as C++, products by NumPy.

What CUDA forbids while a stream records raises here, too: to reserve memory, to wait, to copy from the host, and to ask
cuBLASLt for algorithms.
"""

import ctypes
import math
from collections.abc import Callable
from functools import partial
from threading import Lock
from types import SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from cuda_emulator import Functions
from cupy_stand_in import StandIn
from graphdiff_cupy.cublaslt import Multiplier
from graphdiff_cupy.device import CupyDevice
from graphdiff_cupy.feeding import fed
from graphdiff_cupy.ordering import LANES
from graphdiff_cupy.runner import Runner
from strict_cupy import DeviceArray, Namespace, lent, taken
from test_cupy_cublaslt import Library, Names

ALIGNMENT = 512
BLOCKS = 2
Work = Callable[[], Any]


class CudaError(RuntimeError):
    """What CUDA refuses."""


class OutOfMemoryError(MemoryError):
    """There is less memory than was asked for."""


class Stream:
    """A stream: does its work at once, or records it."""

    def __init__(self, host: "CudaOnHost", ptr: int) -> None:
        self.host, self.ptr = host, ptr
        self.recorded: list[Work] | None = None
        self.given = 0
        self.seen: dict[Stream, int] = {}  # how much of other streams' work comes before what is given next

    def __enter__(self) -> None:
        self.host.entered.append(self)

    def __exit__(self, *exception: object) -> None:
        assert self.host.entered.pop() is self

    def do(self, work: Work) -> None:
        self.given += 1
        if self.recorded is None:
            work()
        else:
            self.recorded.append(work)

    def begin_capture(self) -> None:
        if self.ptr == 0 or self.recorded is not None:
            raise CudaError("cannot record on this stream")
        self.recorded = []

    def end_capture(self) -> Any:
        recorded = self.recorded
        if recorded is None:
            raise CudaError("nothing is recorded")
        others = [stream for stream in self.host.streams.values() if stream.recorded is recorded and stream is not self]
        joined = all(self.seen.get(stream, -1) == stream.given for stream in others)
        for stream in self.host.streams.values():
            stream.recorded = None if stream.recorded is recorded else stream.recorded
        if not joined:
            raise CudaError("capturing stream has unjoined work")
        return Graph(self.host, recorded)

    def record(self, event: Any = None) -> Any:
        event = event or Event(self.host)
        event.record(self)
        return event

    def wait_event(self, event: Any) -> None:
        if event.recorded is not self.recorded and (event.recorded is None or self.recorded is not None):
            raise CudaError("dependency created on uncaptured work in another stream")
        self.recorded = event.recorded
        self.seen[event.stream] = event.given

    def synchronize(self) -> None:
        self.host.forbid("waiting")


class Event:
    """A point in a stream's work: of what is recorded, or of what is done."""

    def __init__(self, host: "CudaOnHost", disable_timing: bool = False) -> None:
        self.host = host
        self.record(host.streams[0])

    def record(self, stream: Stream | None = None) -> None:
        self.stream = stream or self.host.current()
        self.recorded, self.given = self.stream.recorded, self.stream.given

    def synchronize(self) -> None:
        self.host.forbid("waiting")


class Graph:
    """Recorded work."""

    def __init__(self, host: "CudaOnHost", work: list[Work]) -> None:
        self.host, self.work = host, work

    def upload(self) -> None:
        self.host.forbid("uploading")

    def launch(self) -> None:
        self.host.forbid("launching a graph")
        for each in self.work:
            each()


class CudaOnHost(Namespace):
    """CuPy, as much of it as plans use.

    Attributes
    ----------
    limit : int or None
        The most bytes that can be reserved at once.
    """

    uint8 = np.uint8

    def __init__(self) -> None:
        super().__init__()
        self.entered: list[Stream] = []
        self.streams: dict[int, Stream] = {0: Stream(self, 0)}
        self.limit: int | None = None
        self.cuda = SimpleNamespace(
            Stream=self._stream,
            Event=partial(Event, self),
            Device=lambda: SimpleNamespace(id=0, compute_capability="90"),
            get_current_stream=self.current,
            get_elapsed_time=lambda begin, end: 1.0,
            alloc_pinned_memory=bytearray,
            runtime=SimpleNamespace(
                getDevice=lambda: 0, memcpyAsync=self._copy, memcpyDeviceToDevice=3, memcpyHostToDevice=1
            ),
        )

    def current(self) -> Stream:
        return self.entered[-1] if self.entered else self.streams[0]

    def forbid(self, what: str) -> None:
        """Raise an error while a stream records."""
        if any(stream.recorded is not None for stream in self.streams.values()):
            raise CudaError(f"operation not permitted when stream is capturing: {what}")

    def empty(self, shape: Any, dtype: Any) -> Any:
        self.forbid("reserving memory")
        shape, dtype = (shape,) if isinstance(shape, int) else shape, np.dtype(dtype)
        nbytes = math.prod(shape) * dtype.itemsize
        if self.limit is not None and nbytes > self.limit:
            raise OutOfMemoryError(f"{nbytes} bytes")
        whole = np.full(nbytes + ALIGNMENT, 0xFF, np.uint8)
        start = -whole.ctypes.data % ALIGNMENT
        return lent(whole[start : start + nbytes].view(dtype).reshape(shape))

    def array(self, given: Any, dtype: Any = None) -> Any:
        given = np.asarray(taken(given, host=True), dtype)
        made = self.empty(given.shape, given.dtype)
        made.held[...] = given
        return made

    def asarray(self, given: Any, dtype: Any = None) -> Any:
        return given if isinstance(given, DeviceArray) and dtype in (None, given.dtype) else self.array(given, dtype)

    def ascontiguousarray(self, given: Any) -> Any:
        return given if given.flags.c_contiguous else self.array(given)

    def get_default_memory_pool(self) -> Any:
        set_limit = partial(setattr, self, "limit")
        return SimpleNamespace(
            free_all_blocks=lambda: None, get_limit=lambda: None, total_bytes=lambda: 0, set_limit=set_limit
        )

    def _stream(self, non_blocking: bool) -> Stream:
        assert non_blocking, "the default stream's work would wait for it"
        ptr = len(self.streams) + 100
        self.streams[ptr] = Stream(self, ptr)
        return self.streams[ptr]

    def _copy(self, target: int, source: int, nbytes: int, kind: int, stream: int) -> None:
        if kind == self.cuda.runtime.memcpyHostToDevice:
            self.forbid("copying from the host")
        self.streams[stream].do(lambda: ctypes.memmove(target, source, nbytes))

    def launch(self, function: Any, grid: tuple[int], block: tuple[int], arguments: tuple[np.uint64, ...]) -> None:
        """Launch a kernel by one thread a block."""
        pointers = (ctypes.c_void_p * len(arguments))(*map(int, arguments))
        self.current().do(lambda: function(min(grid[0], BLOCKS), 1, pointers))


class LibraryOnHost(Library):
    """cuBLASLt, whose products are recorded on streams that record."""

    class cuBLASLtError(Exception):
        """What cuBLASLt refuses."""

    def __init__(self, host: CudaOnHost) -> None:
        super().__init__()
        self.host = host
        self.loaded: set[tuple[int, ...]] = set()

    def matmul_algo_get_heuristic(self, *given: int) -> None:
        self.host.forbid("asking for algorithms")
        super().matmul_algo_get_heuristic(*given)

    def matmul(self, *given: int) -> None:
        *others, stream = given
        problem = tuple(given[1:13])
        if self.host.streams[stream].recorded is not None and problem not in self.loaded:
            raise self.cuBLASLtError("what is loaded when it is first used cannot be loaded while a stream records")
        self.loaded.add(problem)
        self.host.streams[stream].do(lambda: super(LibraryOnHost, self).matmul(*others, 77))


class DeviceOnHost(CupyDevice):
    """The backend's own device over CuPy's calls on the host."""

    def __init__(self, host: CudaOnHost) -> None:
        self.cupy, self.number, self.architecture = host, 0, "sm_90"
        self.out_of_memory, self.refusals = OutOfMemoryError, (CudaError, LibraryOnHost.cuBLASLtError)
        self._streams = [host.cuda.Stream(non_blocking=True) for _ in range(LANES)]
        self._repeated = WeakKeyDictionary()
        self._recording = Lock()
        types = Names("COMPUTE_32F COMPUTE_64F COMPUTE_32F_FAST_TF32")
        self._multiplier = Multiplier.__new__(Multiplier)
        self._multiplier.__dict__.update(cupy=host, library=LibraryOnHost(host), types=types, handle=1, _supported={})

    def module(self, source: str, names: Any) -> dict[str, Any]:
        functions = Functions(source)
        return {name: partial(self._run, functions, name) for name in names}

    def _run(self, functions: Functions, name: str, *given: Any) -> None:
        self.cupy.launch(functions.function(name), *given)


class OnHost(StandIn):
    """The backend itself over CuPy's calls on the host."""

    def __init__(self) -> None:
        self.namespace = CudaOnHost()  # type: ignore[misc]
        super().__init__()
        self.device = DeviceOnHost(self.namespace)
        self.planner = self.planned  # type: ignore[method-assign]
        self.plans: list[Runner] = []

    def planned(self, program: Any, disable: frozenset[str], precision: str) -> Runner:
        self.plans.append(Runner(program, disable, self.device, precision))
        return self.plans[-1]

    def refused(self) -> list[str]:
        """Return what was told of recordings that failed."""
        return [told for plan in self.plans for name, told in plan.notes if name == "capture" and "refused" in told]

    def fed(self, batches: Any) -> Any:
        return fed(self.namespace, batches)

    def synchronize(self) -> None:
        self.namespace.current().synchronize()

    def special_functions(self) -> Any:
        (erf,) = super().special_functions().values()
        return {"erf": lambda x: lent(erf(x.held))}
