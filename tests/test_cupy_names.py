"""Every name of CuPy, nvmath and cuda-core that the backend uses, looked up where they are installed; no GPU needed."""

import inspect
import re
from typing import Any

import pytest
from graphdiff_cupy.cublaslt import _KINDS

CUPY = """
asarray ascontiguousarray asnumpy array empty from_dlpack ndarray RawModule uint8
cuda.Device cuda.Event cuda.Stream cuda.get_current_stream cuda.get_elapsed_time
cuda.alloc_pinned_memory cuda.memory.OutOfMemoryError cuda.driver.CUDADriverError
cuda.runtime.CUDARuntimeError cuda.runtime.getDeviceCount cuda.runtime.getDeviceProperties cuda.runtime.memcpyAsync
cuda.runtime.memcpyDeviceToDevice cuda.runtime.memcpyHostToDevice
cuda.runtime.driverGetVersion cuda.runtime.runtimeGetVersion
cuda.runtime.getDevice cuda.Device.compute_capability cuda.Device.id cuda.Device.synchronize
cuda.Event.record cuda.Event.synchronize
cuda.Stream.begin_capture cuda.Stream.end_capture cuda.Stream.synchronize cuda.Stream.wait_event cuda.Stream.record
cuda.graph.Graph.launch cuda.graph.Graph.upload
RawModule.get_function RawKernel.attributes
ndarray.data ndarray.flags ndarray.nbytes ndarray.strides ndarray.view ndarray.swapaxes
cuda.MemoryPointer.ptr cuda.MemoryPointer.__add__ get_default_memory_pool
cuda.MemoryPool.free_all_blocks cuda.MemoryPool.get_limit cuda.MemoryPool.set_limit cuda.MemoryPool.total_bytes
argsort cumprod cumsum diff einsum linalg.inv linalg.solve nonzero
"""
SIGNATURES = {
    "matmul": "light_handle compute_desc alpha a adesc b bdesc beta c cdesc d ddesc algo workspace "
    "workspace_size_in_bytes stream",
    "matmul_algo_get_heuristic": "light_handle operation_desc adesc bdesc cdesc ddesc preference requested_algo_count "
    "heuristic_results_array return_algo_count",
    "matmul_desc_create": "compute_type scale_type",
    "matmul_desc_destroy": "matmul_desc",
    "matmul_desc_set_attribute": "matmul_desc attr buf size_in_bytes",
    "matmul_preference_create": "",
    "matmul_preference_destroy": "pref",
    "matmul_preference_set_attribute": "pref attr buf size_in_bytes",
    "matrix_layout_create": "type rows cols ld",
    "matrix_layout_destroy": "mat_layout",
    "create": "",
}
"""The arguments of cuBLASLt's functions in their order, as they are given here."""


@pytest.fixture(scope="module")
def cupy() -> Any:
    return pytest.importorskip("cupy", reason="CuPy is not installed")


@pytest.fixture(scope="module")
def library() -> Any:
    return pytest.importorskip("nvmath.bindings.cublasLt", reason="nvmath-python is not installed")


def parameters(function: Any) -> list[str]:
    """Return the names of a compiled function's parameters, from the signature that Cython writes in its docstring."""
    (text,) = re.findall(r"^[\w.]+\((.*?)\)", function.__doc__, re.MULTILINE)[:1]
    return [part.split("=")[0].split()[-1] for part in text.split(",") if part.strip()]


def test_cupy_has_what_is_used(cupy: Any) -> None:
    def has(name: str) -> bool:
        found = cupy
        for part in name.split("."):
            found = getattr(found, part, None)
        return found is not None

    assert [name for name in CUPY.split() if not has(name)] == []


def test_cupys_calls_take_what_is_given(cupy: Any) -> None:
    assert parameters(cupy.cuda.runtime.memcpyAsync) == ["dst", "src", "size", "kind", "stream"]
    assert "stream" in parameters(cupy.cuda.graph.Graph.launch)
    assert "path" in parameters(cupy.RawModule)
    assert "non_blocking" in inspect.signature(cupy.cuda.Stream.__init__).parameters
    assert "stream" in inspect.signature(cupy.cuda.Event.record).parameters


def test_a_driver_that_is_missing_is_told_without_a_crash(cupy: Any) -> None:
    from graphdiff_cupy import CupyBackend

    try:
        there = cupy.cuda.runtime.getDeviceCount() > 0
    except cupy.cuda.runtime.CUDARuntimeError:
        there = False
    reason = CupyBackend.why_unavailable()
    assert (reason is None) == there
    assert there or "NVIDIA GPU" in str(reason)


def test_cublaslts_functions_take_what_is_given(library: Any) -> None:
    taken = {name: " ".join(parameters(getattr(library, name))) for name in SIGNATURES}
    assert taken == SIGNATURES


def test_cublaslt_has_the_settings_and_epilogs_that_are_used(library: Any) -> None:
    for name in ("TRANSA", "TRANSB", "EPILOGUE", "BIAS_POINTER", "EPILOGUE_AUX_POINTER", "EPILOGUE_AUX_LD"):
        assert name in library.MatmulDescAttribute.__members__
    for name in ("MAX_WORKSPACE_BYTES", *(f"MIN_ALIGNMENT_{letter}_BYTES" for letter in "ABCD")):
        assert name in library.MatmulPreferenceAttribute.__members__
    ways = [f"{name}{more}" for name in ("RELU", "GELU") for more in ("", "_BIAS", "_AUX", "_AUX_BIAS")]
    slopes = [f"D{name}{more}" for name in ("RELU", "GELU") for more in ("", "_BGRAD")]
    for name in ("DEFAULT", "BIAS", "BGRADA", *ways, *slopes):
        assert name in library.Epilogue.__members__
    assert issubclass(library.cuBLASLtError, Exception)
    assert library.matmul_heuristic_result_dtype["algo"].itemsize == 64
    assert {"state", "workspace_size"} <= set(library.matmul_heuristic_result_dtype.names)


def test_precisions_are_the_headers_types_of_computing(library: Any) -> None:
    types = pytest.importorskip("nvmath.bindings.cublas").ComputeType
    # cublasComputeType_t of cublas_api.h
    numbers = {"float64": 70, "float32": 68, "tf32": 77, "bf16": 68, "fp16": 68}
    assert {name: int(types[compute]) for name, (compute, _, _) in _KINDS.items()} == numbers


def test_the_compiler_is_asked_as_it_wants_to_be() -> None:
    pytest.importorskip("cuda.core", reason="cuda-core is not installed")
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc", reason="cuda-bindings is not installed")
    from cuda.core import Program, ProgramOptions

    options = ProgramOptions(arch="sm_90", std="c++17", ftz=False, fma=True, prec_div=True, prec_sqrt=True)
    assert Program("__global__ void nothing() {}", "c++", options).compile("cubin").code
    status, major, _ = nvrtc.nvrtcVersion()
    assert status == nvrtc.nvrtcResult.NVRTC_SUCCESS
    assert major >= 12
