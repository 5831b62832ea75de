"""The GPU as a plan needs it: memory, modules of kernels, launches, products and CUDA graphs."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

from graphdiff.errors import BackendError, DeviceMemoryError
from graphdiff.plan.lowering.instructions import Product
from graphdiff_cupy.cublaslt import ALIGNMENT, Multiplier, Workspace
from graphdiff_cupy.nvrtc import compiled
from graphdiff_cupy.ordering import LANES, Launch, waits

__all__ = ["CupyDevice", "exhausted"]

AGAIN = 50
"""How often a launch is repeated to time it: to launch it takes the host longer than the device needs."""


def exhausted(buffers: Sequence[tuple[str, int]], error: Exception) -> DeviceMemoryError:
    """Return the error for a plan that the device has no memory for, which names its largest buffers."""
    largest = sorted(buffers, key=lambda buffer: -buffer[1])[:4]
    told = "; ".join(f"{label} {size / 2**20:,.1f} MiB" for label, size in largest)
    total = sum(size for _, size in buffers) / 2**20
    return DeviceMemoryError(
        f"the plan needs {total:,.1f} MiB of device memory, and there is less ({error}). Its largest buffers: {told}. "
        "A smaller batch needs less; gd.checkpoint or compile(memory_limit=…) recomputes values and keeps fewer."
    )


def refusals() -> tuple[type[Exception], ...]:
    """Return the errors by which CUDA says that it cannot record something."""
    import cupy
    from nvmath.bindings import cublasLt

    return cupy.cuda.runtime.CUDARuntimeError, cupy.cuda.driver.CUDADriverError, cublasLt.cuBLASLtError


class CupyDevice:
    """The current GPU through CuPy. Plans on it share one of these, with one handle for products."""

    def __init__(self) -> None:
        import cupy

        self.cupy = cupy
        self.number = cupy.cuda.Device().id
        self.out_of_memory = cupy.cuda.memory.OutOfMemoryError
        self.refusals = refusals()
        # Recording needs streams that do not wait for the default one; graphs are launched on the user's.
        self._streams = [cupy.cuda.Stream(non_blocking=True) for _ in range(LANES)]
        self._recording = Lock()
        self._multiplier = Multiplier(cupy)
        self._repeated: WeakKeyDictionary[Launch, Callable[[], None]] = WeakKeyDictionary()
        self.architecture = f"sm_{cupy.cuda.Device().compute_capability}"

    @staticmethod
    def shared() -> CupyDevice:
        """Return the current device, made once for each GPU."""
        import cupy

        return _device(cupy.cuda.Device().id)

    @staticmethod
    def exhausted(buffers: Sequence[tuple[str, int]], error: Exception) -> DeviceMemoryError:
        """Return the error for a plan that does not fit."""
        return exhausted(buffers, error)

    def supports(self, product: Product) -> bool:
        """Whether cuBLASLt has an algorithm for a product and its epilog."""
        return self._multiplier.supports(product)

    # Memory -----------------------------------------------------------------------------------------------------------

    def empty(self, nbytes: int) -> Any:
        """Reserve memory."""
        return self.cupy.empty(nbytes, self.cupy.uint8)

    def ready(self, array: Any) -> Any:
        """Return an array on the device, by rows, that begins where kernels may read many bytes at once."""
        found = self.cupy.ascontiguousarray(self.cupy.asarray(array)).reshape(array.shape)
        return self.cupy.array(found) if found.data.ptr % ALIGNMENT else found  # a part of another array

    def array(self, base: Any, start: int, shape: Any, strides: Any, dtype: Any) -> Any:
        """Return a part of an array's memory as an array."""
        return self.cupy.ndarray(shape, dtype, base.data + start, strides)

    @staticmethod
    def pointer(base: Any) -> int:
        """Return the address of an array."""
        return int(base.data.ptr)

    def fill(self, target: Any, array: Any, stream: Any) -> None:
        """Copy an array to one that lies by rows and without gaps, when the device gets there on a stream."""
        if array.flags.c_contiguous and array.dtype == target.dtype:
            # An assignment of CuPy's takes several times as long on the host.
            runtime = self.cupy.cuda.runtime
            kind = runtime.memcpyDeviceToDevice
            runtime.memcpyAsync(target.data.ptr, array.data.ptr, array.nbytes, kind, stream.ptr)
        else:
            target[...] = array

    def like(self, array: Any) -> Any:
        """Reserve memory for an array of the shape and dtype of another."""
        return self.cupy.empty(array.shape, array.dtype)

    def upload(self, base: Any, words: Any) -> None:
        """Copy a few words from the host, without waiting."""
        base[...] = self.cupy.asarray(words).view(self.cupy.uint8)

    # Launches ---------------------------------------------------------------------------------------------------------

    def stream_after(self, last: Any) -> Any:
        """Return the current stream; what it is given from now on waits for what `last` was given.

        Raises
        ------
        BackendError
            Another GPU is the current one.
        """
        if self.cupy.cuda.runtime.getDevice() != self.number:
            raise BackendError(
                f"the plan was made for GPU {self.number}, and another one is current. "
                f"Call it within `with cupy.cuda.Device({self.number}):`"
            )
        stream = self.cupy.cuda.get_current_stream()
        if last is not None and last.ptr != stream.ptr:
            stream.wait_event(last.record())
        return stream

    def module(self, source: str, names: Sequence[str]) -> dict[str, Any]:
        """Compile and load kernels."""
        if not names:
            return {}
        module = self.cupy.RawModule(path=str(compiled(source, self.architecture)))
        functions = {name: module.get_function(name) for name in names}
        for function in functions.values():
            function.attributes  # noqa: B018 - CUDA loads a kernel when it is first used, which a recording would forbid
        return functions

    @staticmethod
    def launch(function: Any, blocks: int, threads: int, pointers: Sequence[int]) -> Callable[[], None]:
        """Return the launch of a kernel."""
        from numpy import uint64

        arguments = tuple(map(uint64, pointers))
        return lambda: function((blocks,), (threads,), arguments)

    def workspace(self) -> Workspace:
        """Return memory in which products of one lane can work."""
        return Workspace(self.cupy)

    def product(self, product: Product, arrays: dict[str, Any], workspace: Workspace) -> Callable[[], None]:
        """Return the launch of a product, its algorithm chosen; it must run once before it is recorded."""
        return self._multiplier.launch(product, arrays, workspace)

    def record(self, launches: Sequence[Launch]) -> Callable[[], None]:
        """Return launches as one CUDA graph, launched on whatever stream is current then.

        Every lane is recorded on a stream of its own, for one plan at a time.

        Raises
        ------
        Exception
            One of `refusals`: something among the launches cannot be recorded.
        """
        first, *others = (self._streams[lane] for lane in sorted({0, *(launch.lane for launch in launches)}))
        with self._recording, _uncollected(), first:
            first.begin_capture()
            try:
                begun = first.record()
                for stream in others:  # only so are they recorded, too
                    stream.wait_event(begun)
                events = self._launch_in_lanes(launches)
                for stream in others:
                    events.append(stream.record())
                    first.wait_event(events[-1])
            except BaseException:
                # A recording that failed is ended all the same, and says only that it failed.
                with contextlib.suppress(*self.refusals):
                    first.end_capture()
                raise
            graph = first.end_capture()
        graph.upload()
        result: Callable[[], None] = graph.launch
        return result

    def _launch_in_lanes(self, launches: Sequence[Launch]) -> list[Any]:
        """Launch each on its lane's stream; return the events between streams, which must outlive the recording."""
        done: dict[int, Any] = {}
        for place, (launch, before) in enumerate(zip(launches, waits([launch.touches for launch in launches]))):
            stream = self._streams[launch.lane]
            for earlier in before:
                if launches[earlier].lane != launch.lane:
                    stream.wait_event(done[earlier])
            with stream:
                launch.run()
            done[place] = stream.record()
        return list(done.values())

    def duration(self, launch: Launch, recordable: bool) -> int:
        """Return the nanoseconds that the device takes for a launch; what can be recorded is repeated in one graph."""
        run, count = launch.run, 1
        if recordable:
            if launch not in self._repeated:
                self._repeated[launch] = self.record([launch] * AGAIN)
            run, count = self._repeated[launch], AGAIN
        begin, end = self.cupy.cuda.Event(), self.cupy.cuda.Event()
        begin.record()
        run()
        end.record()
        end.synchronize()
        result: int = round(1e6 * self.cupy.cuda.get_elapsed_time(begin, end) / count)
        return result


@cache
def _device(number: int) -> CupyDevice:
    """Return the device of that number, which is the current one."""
    return CupyDevice()


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the garbage collector off: freeing memory of CuPy may make calls that end a recording."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
