"""The CuPy backend of graphdiff: arrays on an NVIDIA GPU, and whole steps as CUDA graphs.

Importing this package needs neither CuPy nor a GPU; asking for the backend does, and says what is missing.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from functools import cached_property, partial
from typing import Any

from graphdiff.backend import Backend
from graphdiff.op import OPS
from graphdiff_cupy.arrays import kernels_for

__all__ = ["CupyBackend"]


class CupyBackend(Backend):
    """CuPy arrays on an NVIDIA GPU. A 0-d value is a 0-d array, so that nothing waits for the device."""

    name = "cupy"
    install = 'Install it: pip install "graphdiff[cuda12]" or, for a driver of CUDA 13, "graphdiff[cuda13]"'
    in_place = True
    plan_passes = ("fuse", "epilog", "capture")
    precisions = ("float32", "tf32", "bf16", "fp16")

    @classmethod
    def why_unavailable(cls) -> str | None:
        try:
            import cupy
        except ImportError as error:
            return f"CuPy is not installed ({error})"
        try:
            count = cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            return f"CuPy finds no NVIDIA GPU or no driver for it ({error}); nvidia-smi should list one"
        if count == 0:
            hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
            told = f" (CUDA_VISIBLE_DEVICES is {hidden!r})" if hidden is not None else ""
            return f"there is no NVIDIA GPU{told}"
        return None

    @cached_property
    def namespace(self) -> Any:
        """CuPy, imported when the backend is first used."""
        import cupy

        return cupy

    @cached_property
    def kernels(self) -> Mapping[str, Any]:  # type: ignore[override]
        """What CuPy lacks or computes in more calls than it must."""
        return {**kernels_for(self.namespace), **self.special_functions(), **self._kept_whole()}

    def _kept_whole(self) -> dict[str, Any]:
        """Return the evaluations of ops that plans do not take apart, since products can compute them along."""
        evaluations = {name: OPS[name].evaluate for name in ("gelu_tanh", "gelu_tanh_slope")}
        return {name: partial(each, self.numbers) for name, each in evaluations.items() if each is not None}

    def special_functions(self) -> Mapping[str, Any]:
        """Return what lies outside of the array namespace."""
        from cupyx.scipy.special import erf

        return {"erf": erf}

    @staticmethod
    def planner(program: Any, disable: frozenset[str], precision: str) -> Any:
        """Make a program ready to run: as CUDA graphs of generated kernels and products."""
        from graphdiff_cupy.device import CupyDevice
        from graphdiff_cupy.runner import Runner

        return Runner(program, disable, CupyDevice.shared(), precision)

    def from_host(self, array: Any, dtype: Any = None) -> Any:
        """Return an array on the device. CuPy copies through pinned memory, without waiting."""
        return self.namespace.asarray(array, dtype=dtype)

    def to_host(self, array: Any) -> Any:
        """Wait for the array and return it as NumPy array."""
        return self.namespace.asnumpy(array)

    def adopt(self, array: Any) -> Any:
        """Return another library's array on a GPU without a copy; None for what lies elsewhere.

        PyTorch's and JAX's come through DLPack, others through `__cuda_array_interface__`.
        """
        if hasattr(array, "__cuda_array_interface__"):
            return self.namespace.asarray(array)
        kind, _ = getattr(array, "__dlpack_device__", lambda: (None, 0))()
        return self.namespace.from_dlpack(array) if kind in _ON_CUDA else None

    def host_dtype(self, array: Any) -> Any:
        """Return the array's dtype: CuPy's are NumPy's."""
        return array.dtype

    def native_dtype(self, dtype: Any) -> Any:
        """Return the dtype itself."""
        return dtype

    def owns(self, array: Any) -> bool:
        return isinstance(array, self.namespace.ndarray)

    def copy(self, array: Any) -> Any:
        return self.namespace.array(array)

    def normalize(self, value: Any) -> Any:
        """Turn what is no array, such as a number that a reduction of CuPy returned, into one."""
        return value if self.owns(value) else self.namespace.asarray(value)

    def fed(self, batches: Generator[Any, None, None]) -> Generator[Any, None, None]:
        """Yield batches on the device: while a step computes on one, the next is copied from pinned memory."""
        from graphdiff_cupy.feeding import fed

        return fed(self.namespace, batches)

    def synchronize(self) -> None:
        self.namespace.cuda.get_current_stream().synchronize()


_ON_CUDA = {2, 13}
"""DLPack's kCUDA and kCUDAManaged."""
