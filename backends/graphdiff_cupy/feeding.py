"""Batches copied to the device ahead of their step: from pinned memory, on a stream of their own, into two buffers."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

__all__ = ["fed"]


def fed(cupy: Any, batches: Generator[Any, None, None]) -> Generator[Any, None, None]:
    """Yield batches as arrays on the device; while a step computes on one, the next is copied.

    What is yielded is valid until the next batch is asked for; work given to the current stream before then sees it.

    Parameters
    ----------
    cupy : module
    batches : generator of tuple of array
        Closed at the end.

    Yields
    ------
    tuple of array
    """
    copying = cupy.cuda.Stream(non_blocking=True)
    slots: dict[Any, _Slot] = {}
    ahead: _Slot | None = None
    try:
        for place, batch in enumerate(batches):
            arrays = [np.asarray(array) for array in batch]
            key = (place % 2, *((array.shape, array.dtype.str) for array in arrays))
            slot = slots.get(key)
            if slot is None:
                slot = slots[key] = _Slot(cupy, arrays)
            slot.copy(arrays, copying)
            if ahead is not None:
                yield ahead.lend()
                ahead.take_back()
            ahead = slot
        if ahead is not None:
            yield ahead.lend()
    finally:
        copying.synchronize()  # before its memory is given to others
        batches.close()


class _Slot:
    """Memory of one batch: pinned on the host, and on the device."""

    def __init__(self, cupy: Any, arrays: list[Any]) -> None:
        self.cupy = cupy
        self.device = tuple(cupy.empty(array.shape, array.dtype) for array in arrays)
        self.host = [_pinned(cupy, array) for array in arrays]
        self.copied = cupy.cuda.Event(disable_timing=True)
        self.used = cupy.cuda.Event(disable_timing=True)
        # The pool may have handed out memory that work on the current stream still reads.
        self.take_back()

    def copy(self, arrays: list[Any], stream: Any) -> None:
        """Copy a batch to the device, when what was computed with the one before it is done."""
        runtime = self.cupy.cuda.runtime
        self.copied.synchronize()  # an event that was never recorded is over
        stream.wait_event(self.used)
        for array, host, device in zip(arrays, self.host, self.device, strict=True):
            host[...] = array
            kind = runtime.memcpyHostToDevice
            runtime.memcpyAsync(device.data.ptr, host.ctypes.data, host.nbytes, kind, stream.ptr)
        self.copied.record(stream)

    def lend(self) -> tuple[Any, ...]:
        """Return the batch; what is computed from now on waits until it is copied."""
        self.cupy.cuda.get_current_stream().wait_event(self.copied)
        return self.device

    def take_back(self) -> None:
        """Note that all work with the batch has been given to the current stream."""
        self.used.record(self.cupy.cuda.get_current_stream())


def _pinned(cupy: Any, array: Any) -> Any:
    """Return pinned memory for an array."""
    memory = cupy.cuda.alloc_pinned_memory(max(array.nbytes, 1))
    return np.frombuffer(memory, array.dtype, array.size).reshape(array.shape)
