"""A device that runs the CuPy backend's plans on the CPU: its kernels compiled as C++, its products by NumPy.

A kernel is right for any number of threads. Here a block has as many as `threads` says, as threads of the system that
meet at barriers; blocks run one after the other. Whatever is run here is also compiled for GPUs, if NVIDIA's compiler
is installed.
"""

import ctypes
import math
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter_ns
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
from graphdiff_cupy.device import exhausted
from graphdiff_cupy.nvrtc import compile_source
from graphdiff_cupy.ordering import Launch, waits
from graphdiff_cupy.preamble import PREAMBLE

from graphdiff.plan.lowering.instructions import Product

COMPILER = shutil.which("g++")
ARCHITECTURES = ("sm_80", "sm_90")
WHY_NOT = "there is no C++ compiler (g++) to run generated kernels on the CPU"
_ALIGNMENT = 64
OPTIONS = ["-O0", "-ffp-contract=off"]
"""What kernels are compiled with besides."""

_FUNCTIONS = (
    "acos acosh asin asinh atan atanh ceil cos cosh erf exp expm1 fabs floor log log10 log1p log2 rint sin sinh "
)
_FUNCTIONS += "sqrt tan tanh trunc"
_OF_TWO = "atan2 copysign fmod hypot pow"


def _declared() -> str:
    """Return C++ for the mathematical functions: the headers would take ten times as long to compile."""
    lines = []
    for names, given, passed in ((_FUNCTIONS, "{0} x", "x"), (_OF_TWO, "{0} x, {0} y", "x, y")):
        for name in names.split():
            lines.append(f'extern "C" double {name}({given.format("double")}) noexcept;')
            lines.append(f'extern "C" float {name}f({given.format("float")}) noexcept;')
            lines.append(f"static inline float {name}({given.format('float')}) {{ return {name}f({passed}); }}")
    return "\n".join(lines)


THREADS = r"""
struct Dimensions { int x; };
extern thread_local Dimensions threadIdx, blockIdx;
extern Dimensions blockDim, gridDim;
extern "C" void meet();
extern unsigned long long handed_on[1024];
extern "C" void run_blocks(int blocks, int threads, void (*kernel)(void**), void** pointers);
"""
RUNTIME = (
    "#include <pthread.h>\n"
    + THREADS
    + r"""
thread_local Dimensions threadIdx, blockIdx;
Dimensions blockDim, gridDim;
unsigned long long handed_on[1024];
static pthread_barrier_t meeting;
static void (*kernel)(void**);
static void** pointers;
void meet() { if (blockDim.x > 1) pthread_barrier_wait(&meeting); }
static void* work(void* thread) {
    threadIdx.x = (int)(long)thread;
    for (int block = 0; block < gridDim.x; ++block) { blockIdx.x = block; kernel(pointers); meet(); }
    return 0;
}
void run_blocks(int blocks, int threads, void (*given)(void**), void** its_pointers) {
    gridDim.x = blocks;
    blockDim.x = threads;
    kernel = given;
    pointers = its_pointers;
    pthread_t others[1024];
    if (threads > 1) pthread_barrier_init(&meeting, 0, threads);
    for (long thread = 1; thread < threads; ++thread) pthread_create(&others[thread], 0, work, (void*)thread);
    work(0);
    for (int thread = 1; thread < threads; ++thread) pthread_join(others[thread], 0);
    if (threads > 1) pthread_barrier_destroy(&meeting);
}
"""
)
SHIM = (
    THREADS
    + _declared()
    + r"""
#define __device__ static inline
#define __global__
#define __shared__ static
#define __launch_bounds__(threads)
#define __syncthreads meet
template <class To, class From> static inline To same_bits(From x) {
    To y;
    __builtin_memcpy(&y, &x, sizeof y);
    return y;
}
template <class T> static inline T __shfl_down_sync(unsigned, T x, int distance) {
    __builtin_memcpy(&handed_on[threadIdx.x], &x, sizeof x);
    meet();
    const int from = threadIdx.x + distance;
    if (from < blockDim.x && from / 32 == threadIdx.x / 32) __builtin_memcpy(&x, &handed_on[from], sizeof x);
    meet();
    return x;
}
static inline double __dmul_rn(double x, double y) { volatile double rounded = x * y; return rounded; }
static inline double __dadd_rn(double x, double y) { volatile double rounded = x + y; return rounded; }
static inline float __int_as_float(int x) { return same_bits<float>(x); }
static inline double __longlong_as_double(long long x) { return same_bits<double>(x); }
static inline unsigned int __float_as_uint(float x) { return same_bits<unsigned int>(x); }
static inline unsigned long long __umul64hi(unsigned long long x, unsigned long long y) {
    return (unsigned long long)((unsigned __int128)x * y >> 64);
}
"""
)


def apart(source: str, prefix: str) -> str:
    """Return a plan's kernels without the common preamble, their names marked."""
    own = source.replace(PREAMBLE, "")
    named = re.sub(r"(__global__ void (?:__launch_bounds__\(\d+\) )?)", rf"\1{prefix}", own)
    return named.replace("Count", f"{prefix}Count")


def as_library(sources: list[str]) -> ctypes.CDLL:
    """Compile plans' kernels to functions that take blocks, threads and the kernel's pointers."""
    entries = []
    for name, given in re.findall(
        r"__global__ void (?:__launch_bounds__\(\d+\) )?(\w+)\(([^)]*)\)", "\n".join(sources)
    ):
        kinds = [kind.strip().rsplit("* ", 1)[0] for kind in given.split(",") if kind.strip()]
        passed = ", ".join(f"({kind}*)p[{place}]" for place, kind in enumerate(kinds))
        entries.append(f"static void call_{name}(void** p) {{ {name}({passed}); }}")
        run = f"run_blocks(blocks, threads, call_{name}, p);"
        entries.append(f'extern "C" void run_{name}(int blocks, int threads, void** p) {{ {run} }}')
    # `static` functions that are specialised may not say so again.
    common = SHIM + PREAMBLE.replace("template <> __device__", "template <> inline")
    text = "\n".join([common, *sources, *entries])
    _runtime()
    return _loaded(text, ctypes.RTLD_LOCAL)


@cache
def _runtime() -> ctypes.CDLL:
    """Return the library that runs blocks of threads, made once."""
    return _loaded(RUNTIME, ctypes.RTLD_GLOBAL)


def _loaded(text: str, mode: int) -> ctypes.CDLL:
    """Compile a library and load it."""
    with tempfile.TemporaryDirectory() as folder:
        file, library = Path(folder) / "kernels.cpp", Path(folder) / "kernels.so"
        file.write_text(text)
        options = ["-std=c++20", *OPTIONS, "-w", "-shared", "-fPIC", "-pthread"]
        command = [str(COMPILER), *options, str(file), "-o", str(library)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{done.stderr[:4000]}")
        return ctypes.CDLL(str(library), mode=mode)


class Functions:
    """The kernels of one plan; those of all plans made so far are compiled together when the first is needed."""

    pending: ClassVar[list["Functions"]] = []
    for_gpus: ClassVar[set[str]] = set()
    made: ClassVar[int] = 0

    def __init__(self, source: str) -> None:
        Functions.made += 1
        self.prefix = f"m{Functions.made}_"
        self.source = source
        self.library: ctypes.CDLL | None = None
        Functions.pending.append(self)

    def function(self, name: str) -> Any:
        if self.library is None:
            self._compile()
        return getattr(self.library, f"run_{self.prefix}{name}")

    @classmethod
    def _compile(cls) -> None:
        plans, cls.pending = cls.pending, []
        library = as_library([apart(plan.source, plan.prefix) for plan in plans])
        for plan in plans:
            plan.library = library
        new = {plan.source: plan.prefix for plan in plans if plan.source not in cls.for_gpus}
        if new and find_spec("cuda") and find_spec("cuda.core"):
            text = "\n".join(apart(source, prefix) for source, prefix in new.items())
            for architecture in ARCHITECTURES:
                assert compile_source(PREAMBLE + text, architecture).startswith(b"\x7fELF")
            cls.for_gpus.update(new)


class RecordingError(RuntimeError):
    """What the device raises where it is made to refuse to record."""


class Emulator:
    """A device on the CPU.

    Parameters
    ----------
    threads, blocks : int
        The most that kernels are launched with.
    epilogs : set of str or None
        What products can compute besides; None for everything.
    limit : int or None
        Bytes of memory.
    records : bool
        Whether launches can be recorded.
    late : bool
        Whether the launches of a graph run in the order farthest from that of the program which the device may choose.
    """

    out_of_memory = MemoryError
    refusals: ClassVar[tuple[type[Exception], ...]] = (RecordingError,)
    exhausted = staticmethod(exhausted)

    def __init__(
        self,
        threads: int = 1,
        blocks: int = 2,
        epilogs: set[str] | None = None,
        limit: int | None = None,
        records: bool = True,
        late: bool = True,
    ) -> None:
        self.threads, self.blocks, self.epilogs, self.limit, self.records = threads, blocks, epilogs, limit, records
        self.late = late
        self.products: list[Product] = []
        self.sources: list[str] = []
        self.launched = 0

    def supports(self, product: Product) -> bool:
        return self.epilogs is None or product.epilog == "DEFAULT" or product.epilog in self.epilogs

    # Memory

    def empty(self, nbytes: int) -> Any:
        if self.limit is not None and nbytes > self.limit:
            raise MemoryError(f"{nbytes} bytes")
        whole = np.full(nbytes + _ALIGNMENT, 0xFF, np.uint8)  # what is read before it was written shows up as NaN
        start = -whole.ctypes.data % _ALIGNMENT
        return whole[start : start + nbytes]

    def ready(self, array: Any) -> Any:
        return np.ascontiguousarray(array) if np.ndim(array) else np.array(array)

    def array(self, base: Any, start: int, shape: Any, strides: Any, dtype: Any) -> Any:
        return np.ndarray(shape, dtype, base.reshape(-1).view(np.uint8), start, strides)

    def pointer(self, base: Any) -> int:
        return int(base.ctypes.data)

    def fill(self, target: Any, array: Any, stream: Any) -> None:
        target[...] = array

    def like(self, array: Any) -> Any:
        if self.limit is not None and array.nbytes > self.limit:
            raise MemoryError(f"{array.nbytes} bytes")
        return np.empty(array.shape, array.dtype)

    def upload(self, base: Any, words: Any) -> None:
        base[...] = words.view(np.uint8)

    # Launches

    def stream_after(self, last: Any) -> Any:
        return None

    def module(self, source: str, names: list[str]) -> dict[str, Any]:
        self.sources.append(source)
        functions = Functions(source)
        return {name: partial(functions.function, name) for name in names}

    def launch(self, function: Any, blocks: int, threads: int, pointers: list[int]) -> Callable[[], None]:
        given = (ctypes.c_void_p * len(pointers))(*pointers)
        blocks, threads = min(blocks, self.blocks), min(threads, self.threads)
        run = function()
        return lambda: run(blocks, threads, given)

    def record(self, launches: list[Launch]) -> Callable[[], None]:
        if not self.records:
            raise RecordingError("operation not permitted when stream is capturing")
        order = latest_first(launches) if self.late else launches
        frozen = [launch.run for launch in order]

        def replay() -> None:
            self.launched += 1
            for run in frozen:
                run()

        return replay

    def duration(self, launch: Launch, recordable: bool) -> int:
        start = perf_counter_ns()
        launch.run()
        return perf_counter_ns() - start

    def workspace(self) -> SimpleNamespace:
        return SimpleNamespace(nbytes=0)

    def product(self, product: Product, arrays: dict[str, Any], workspace: Any) -> Callable[[], None]:
        self.products.append(product)
        return lambda: multiply(product, **arrays)


def latest_first(launches: list[Launch]) -> list[Launch]:
    """Return an order in which a device may run launches: of those that have nothing to wait for, always the last."""
    before = waits([launch.touches for launch in launches])
    lanes: dict[int, list[int]] = {}
    for place in reversed(range(len(launches))):
        lanes.setdefault(launches[place].lane, []).append(place)
    order: list[int] = []
    done: set[int] = set()
    while len(order) < len(launches):
        ready = [lane for lane in lanes.values() if lane and done.issuperset(before[lane[-1]])]
        place = max(ready, key=lambda lane: lane[-1]).pop()
        order.append(place)
        done.add(place)
    return [launches[place] for place in order]


def widened(array: Any, compute: str) -> Any:
    """Return the operand of a product as numbers: bf16 and fp16 are kept as their 16 bits."""
    if compute == "fp16":
        return np.ascontiguousarray(array).view(np.float16).astype(np.float32)
    return (array.astype(np.uint32) << 16).view(np.float32) if compute == "bf16" else array


def narrowed(array: Any, compute: str) -> Any:
    """Return numbers as a product stores them in 16 bits, rounded to the nearest, halves to even."""
    if compute == "fp16":
        return array.astype(np.float16).view(np.uint16)
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def gelu_inner(x: Any) -> Any:
    return np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))


def gelu_slope(x: Any) -> Any:
    inner = gelu_inner(x)
    return 0.5 * (1 + inner) + 0.5 * x * (1 - inner**2) * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)


def multiply(product: Product, x: Any, y: Any, out: Any, bias: Any, aux: Any, bias_gradient: Any) -> None:
    """Do what a product's epilog says."""
    x, y = widened(x, product.compute), widened(y, product.compute)
    narrow = out.dtype == np.uint16
    bias = widened(bias, product.compute) if narrow and bias is not None else bias
    result = (x @ y) if bias is None else x @ y + bias
    if product.activation == "RELU":
        if aux is not None:
            aux[...] = 0
            bits = np.packbits(result > 0, axis=1)
            aux[:, : bits.shape[1]] = bits
        result = np.maximum(result, 0)
    elif product.activation == "GELU":
        if aux is not None:
            aux[...] = result
        result = 0.5 * result * (1 + gelu_inner(result))
    if product.derivative == "RELU":
        result = np.where(np.unpackbits(aux, axis=1)[:, : out.shape[1]] > 0, result, 0)
    elif product.derivative == "GELU":
        result = result * gelu_slope(aux)
    if bias_gradient is not None:
        bias_gradient[...] = (result if product.derivative else y).sum(axis=0)
    out[...] = narrowed(result, product.compute) if narrow else result
