"""Matrix products by cuBLASLt: our own handle and workspace, so that they can be recorded into a CUDA graph.

CuPy's own products cannot be recorded: its wrappers of cuBLAS refuse while a stream records. Here nothing is allocated
and nothing asked when a product is launched: descriptors are made, the algorithm is chosen and the product is run once
beforehand.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from graphdiff.errors import BackendError
from graphdiff.plan.lowering.instructions import Product
from graphdiff.plan.lowering.views import View

__all__ = ["Multiplier", "Workspace"]

WORKSPACE = 32 << 20
"""The most bytes that an algorithm may work in; what NVIDIA advises for Hopper."""
ALIGNMENT = 64
"""Bytes in steps of which plans lay their memory out; within it a part of an arena begins anywhere."""
VECTOR_ALIGNMENT = 16
"""Bytes at multiples of which a bias or its gradient begins: an A100's epilogs have read biases so whatever was asked
for (marian-nmt, prod.cpp), and a misaligned address ends all work on the GPU."""
CANDIDATES = 4
"""The most algorithms that are tried for a product until one runs."""
_R_32F, _R_64F, _R_16F, _R_16BF = 0, 1, 2, 14
"""cudaDataType_t."""
_KINDS = {
    "float64": ("COMPUTE_64F", _R_64F, _R_64F),
    "float32": ("COMPUTE_32F", _R_32F, _R_32F),
    "tf32": ("COMPUTE_32F_FAST_TF32", _R_32F, _R_32F),
    "bf16": ("COMPUTE_32F", _R_16BF, _R_32F),
    "fp16": ("COMPUTE_32F", _R_16F, _R_32F),
}
"""By precision: how sums are kept, and the types of the operands and of the result."""


class Workspace:
    """Memory in which products work that never run at the same time: as much as the neediest of them asks for.

    Parameters
    ----------
    cupy : module

    Attributes
    ----------
    nbytes : int
        What has been asked for; it is reserved when it is first needed.
    """

    def __init__(self, cupy: Any) -> None:
        self.cupy, self.nbytes = cupy, 0
        self._memory: Any = None

    def ask(self, nbytes: int) -> None:
        """Ask for at least so much."""
        if nbytes > self.nbytes:
            self.nbytes, self._memory = nbytes, None

    @property
    def pointer(self) -> int:
        """The address, 0 where nothing was asked for."""
        if self._memory is None and self.nbytes:
            self._memory = self.cupy.empty(self.nbytes, self.cupy.uint8)
        return int(self._memory.data.ptr) if self.nbytes else 0


class Multiplier:
    """Makes launches of products.

    Parameters
    ----------
    cupy : module
    """

    def __init__(self, cupy: Any) -> None:
        try:
            from nvmath.bindings import cublas, cublasLt
        except ImportError as error:
            raise BackendError(
                f'plans on a GPU need nvmath-python ({error}). Install it: pip install "graphdiff[cuda13]"'
            ) from error
        self.cupy, self.library, self.types = cupy, cublasLt, cublas.ComputeType
        self.handle = cublasLt.create()
        self._supported: dict[Any, bool] = {}

    def supports(self, product: Product) -> bool:
        """Whether there is an algorithm for a product and its epilog."""
        # Addresses that are aligned as those of the operands will be.
        addresses = {
            name: 0 if view is None else ALIGNMENT + view.place()[1] * view.dtype.itemsize
            for name, view in product.operands.items()
        }
        if any(_alignment(addresses[name]) < VECTOR_ALIGNMENT for name in ("bias", "bias_gradient")):
            return False
        layouts = map(_layout_of, (product.x, product.y, product.out))
        key = (product.sizes, product.compute, product.epilog, *layouts, *map(_alignment, addresses.values()))
        found = self._supported.get(key)
        if found is None:
            found = self._supported[key] = len(_Problem(self, product, addresses).algorithms) > 0
        return found

    def launch(self, product: Product, arrays: dict[str, Any], workspace: Workspace) -> Callable[[], None]:
        """Return the launch of a product over arrays; it must run once before it is recorded, to load everything.

        Raises
        ------
        BackendError
            There is no algorithm; or none runs, at the first launch.
        """
        addresses = {name: 0 if array is None else int(array.data.ptr) for name, array in arrays.items()}
        problem = _Problem(self, product, addresses)
        if len(problem.algorithms) == 0:
            raise _without_algorithm(product, "has no algorithm")
        return problem.launch(workspace)


def _without_algorithm(product: Product, why: str) -> BackendError:
    rows, columns, inner = product.sizes
    alone = product.epilog == "DEFAULT"
    mend = (
        'Choose another precision, such as compile(precision="float32")'
        if alone
        else ('Switch epilogs off: compile(disable=["epilog"])')
    )
    return BackendError(
        f"cuBLASLt {why} for {rows}×{inner} @ {inner}×{columns} in {product.compute} with {product.epilog}. {mend}"
    )


class _Problem:
    """A product as cuBLASLt knows it: matrices by columns, so that it computes outᵀ = yᵀ @ xᵀ."""

    def __init__(self, owner: Multiplier, product: Product, addresses: dict[str, int]) -> None:
        self.owner, self.product, self.addresses = owner, product, addresses
        library = owner.library
        compute, given, result = _KINDS[product.compute]
        self.scale = np.float64 if result == _R_64F else np.float32
        descriptor = library.matmul_desc_create(int(owner.types[compute]), result)
        if product.out.dtype.itemsize == 2:
            result = given
        self.descriptor = self._owned(descriptor, library.matmul_desc_destroy)
        self.a, turned_a = self._matrix(product.y, given)
        self.b, turned_b = self._matrix(product.x, given)
        rows, columns, _ = product.sizes
        self.d = self._layout(result, columns, rows, max(product.out.strides[0], columns))
        self._describe(turned_a, turned_b)
        self.algorithms = self._choose()

    def _matrix(self, view: View, kind: int) -> tuple[int, bool]:
        """Return the layout of an operand, and whether it must be transposed."""
        (rows, columns), turned = view.shape, not _by_rows(view)
        leading = view.strides[1] if turned else view.strides[0]
        lengths = (rows, columns) if turned else (columns, rows)
        return self._layout(kind, *lengths, max(leading, lengths[0])), turned

    def _layout(self, kind: int, rows: int, columns: int, leading: int) -> int:
        library = self.owner.library
        return self._owned(library.matrix_layout_create(kind, rows, columns, leading), library.matrix_layout_destroy)

    def _owned(self, made: int, destroy: Callable[[int], None]) -> int:
        """Return what cuBLASLt has made; it is destroyed along with this problem."""
        weakref.finalize(self, destroy, made).atexit = False  # by then the driver has freed everything
        return made

    def _set(self, name: str, value: Any) -> None:
        attribute = self.owner.library.MatmulDescAttribute[name]
        self.owner.library.matmul_desc_set_attribute(self.descriptor, int(attribute), value.ctypes.data, value.nbytes)

    def _describe(self, turned_a: bool, turned_b: bool) -> None:
        product, library = self.product, self.owner.library
        self._set("TRANSA", np.array(int(turned_a), np.int32))
        self._set("TRANSB", np.array(int(turned_b), np.int32))
        self._set("EPILOGUE", np.array(int(library.Epilogue[product.epilog]), np.uint32))
        for view, name in ((product.bias, "bias"), (product.bias_gradient, "bias_gradient")):
            if view is not None:
                self._set("BIAS_POINTER", np.array(self.addresses[name], np.int64))
        if product.aux is not None:
            bits = 8 if product.aux.dtype == np.uint8 else 1
            self._set("EPILOGUE_AUX_POINTER", np.array(self.addresses["aux"] & ~15, np.int64))
            self._set("EPILOGUE_AUX_LD", np.array(bits * product.aux.strides[0], np.int64))

    def _choose(self) -> Any:
        """Return the algorithms that cuBLASLt thinks best, the best first; none where it has none."""
        library = self.owner.library
        preference = library.matmul_preference_create()
        settings = {"MAX_WORKSPACE_BYTES": np.array(WORKSPACE, np.uint64)}
        # There is no setting for the alignment of a bias, which is read and written along with the result.
        for letter, names in (("A", ["y"]), ("B", ["x"]), ("C", ["out"]), ("D", ["out", "bias", "bias_gradient"])):
            least = min(_alignment(self.addresses[name]) for name in names)
            settings[f"MIN_ALIGNMENT_{letter}_BYTES"] = np.array(least, np.uint32)
        for name, value in settings.items():
            attribute = int(library.MatmulPreferenceAttribute[name])
            library.matmul_preference_set_attribute(preference, attribute, value.ctypes.data, value.nbytes)
        found = np.zeros(CANDIDATES, library.matmul_heuristic_result_dtype)
        count = np.zeros(1, np.int32)
        try:
            library.matmul_algo_get_heuristic(
                self.owner.handle, self.descriptor, self.a, self.b, self.d, self.d, preference, CANDIDATES,
                found.ctypes.data, count.ctypes.data,
            )  # fmt: skip
        except library.cuBLASLtError:  # it says "not supported" so
            return found[:0]
        finally:
            library.matmul_preference_destroy(preference)
        found = found[: count[0]]
        return found[found["state"] == 0]

    def launch(self, workspace: Workspace) -> Callable[[], None]:
        """Return the launch of the product in a workspace that it may share with others."""
        workspace.ask(self._works_in(0))
        one, zero = np.array(1, self.scale), np.array(0, self.scale)
        owner, addresses = self.owner, self.addresses
        current = owner.cupy.cuda.get_current_stream
        multiply = functools.partial(
            owner.library.matmul, owner.handle, self.descriptor, one.ctypes.data,
            addresses["y"], self.a, addresses["x"], self.b, zero.ctypes.data,
            addresses["out"], self.d, addresses["out"], self.d,
        )  # fmt: skip
        kept = (self, one, zero)  # cuBLASLt reads the descriptors and these numbers at every launch
        chosen: list[int] = []

        def attempt(place: int) -> None:
            multiply(self._address_of(place), workspace.pointer, workspace.nbytes, current().ptr)

        def run(kept: Any = kept) -> None:
            if chosen:
                attempt(chosen[0])
            else:
                chosen.append(self._first_that_runs(attempt, workspace))

        return run

    def _works_in(self, place: int) -> int:
        """Return the bytes that an algorithm needs to work in."""
        return int(self.algorithms["workspace_size"][place])

    def _address_of(self, place: int) -> int:
        algorithms = self.algorithms["algo"]
        return int(algorithms.ctypes.data + place * algorithms.strides[0])

    def _first_that_runs(self, attempt: Callable[[int], None], workspace: Workspace) -> int:
        """Launch the product by the best algorithm that can be launched, and return that one's place."""
        refused: Exception | None = None
        for place in range(len(self.algorithms)):
            workspace.ask(self._works_in(place))
            try:
                attempt(place)
            except self.owner.library.cuBLASLtError as error:
                refused = error
            else:
                return place
        raise _without_algorithm(self.product, f"launches none of its {len(self.algorithms)} algorithms ({refused})")


def _by_rows(view: View) -> bool:
    return view.strides[1] == 1 and (view.strides[0] >= view.shape[1] or view.shape[0] == 1)


def _layout_of(view: View) -> tuple[bool, int]:
    return _by_rows(view), max(view.strides)


def _alignment(address: int) -> int:
    """Return the largest power of two, up to 256, that divides an address."""
    return min(address & -address, 256) if address else 256
