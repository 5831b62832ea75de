"""Products as they are described to cuBLASLt, computed from that description alone by a stand-in for it."""

import ctypes
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cuda_emulator import COMPILER, WHY_NOT, Emulator, gelu_inner, gelu_slope, narrowed, widened
from cupy_stand_in import Emulated
from graphdiff_cupy.cublaslt import Multiplier, Workspace
from test_cupy_networks import ADAM, NETWORKS, trained

import graphdiff as gd
from graphdiff import errors
from graphdiff.plan.lowering.instructions import Product

DTYPES = {0: np.float32, 1: np.float64, 2: np.float16, 14: np.uint16}
"""NumPy's, by cudaDataType_t; it has no bf16, whose bits are kept."""


def numbers(stored: Any) -> Any:
    """Return what is computed with: float32 for what is stored in 16 bits."""
    if stored.dtype == np.uint16:
        return widened(stored, "bf16")
    return stored.astype(np.float32) if stored.dtype == np.float16 else stored


def store(target: Any, values: Any) -> None:
    target[...] = narrowed(values, "bf16") if target.dtype == np.uint16 else values


RESULT = [("algo", [("data_", "<u8", (8,))]), ("workspace_size", "<u8"), ("state", "<i4"), ("waves_count", "<f4")]


class Names(dict[str, int]):
    """An enumeration."""

    def __init__(self, names: str) -> None:
        super().__init__({name: place for place, name in enumerate(names.split(), 1)})


def memory(address: int, count: int, dtype: Any) -> Any:
    size = count * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype)


class Library:
    """What cuBLASLt's manual says of matrices by columns and of epilogs."""

    cuBLASLtError = KeyError
    MatmulDescAttribute = Names("TRANSA TRANSB EPILOGUE BIAS_POINTER EPILOGUE_AUX_POINTER EPILOGUE_AUX_LD")
    MatmulPreferenceAttribute = Names(
        "MAX_WORKSPACE_BYTES MIN_ALIGNMENT_A_BYTES MIN_ALIGNMENT_B_BYTES MIN_ALIGNMENT_C_BYTES MIN_ALIGNMENT_D_BYTES"
    )
    Epilogue = Names(
        "DEFAULT BIAS RELU RELU_BIAS RELU_AUX RELU_AUX_BIAS DRELU DRELU_BGRAD BGRADA "
        "GELU GELU_BIAS GELU_AUX GELU_AUX_BIAS DGELU DGELU_BGRAD"
    )
    matmul_heuristic_result_dtype = np.dtype(RESULT)

    def __init__(self) -> None:
        self.made: dict[int, Any] = {}
        self.count = 0
        self.alignments: set[int] = set()
        self.refused: set[int] = set()  # the ranks of algorithms that cannot be launched

    def _new(self, thing: Any) -> int:
        self.count += 1
        self.made[self.count] = thing
        return self.count

    def _destroy(self, handle: int) -> None:
        del self.made[handle]

    matmul_desc_destroy = matrix_layout_destroy = matmul_preference_destroy = _destroy

    def matmul_desc_create(self, compute: int, scale: int) -> int:
        return self._new({"scale": DTYPES[scale]})

    def matrix_layout_create(self, kind: int, rows: int, columns: int, leading: int) -> int:
        assert leading >= rows
        return self._new((DTYPES[kind], rows, columns, leading))

    def matmul_preference_create(self) -> int:
        return self._new({})

    def matmul_desc_set_attribute(self, handle: int, attribute: int, buffer: int, size: int) -> None:
        self.made[handle][attribute] = int.from_bytes(ctypes.string_at(buffer, size), "little")

    matmul_preference_set_attribute = matmul_desc_set_attribute

    def matmul_algo_get_heuristic(self, *given: int) -> None:
        preference, wanted, results, count = given[6:]
        self.alignments.add(self.made[preference][self.MatmulPreferenceAttribute["MIN_ALIGNMENT_D_BYTES"]])
        memory(count, 1, np.int32)[0] = wanted
        memory(results, wanted, self.matmul_heuristic_result_dtype)["algo"]["data_"][:, 0] = range(wanted)
        memory(results, wanted, self.matmul_heuristic_result_dtype)["workspace_size"] = 512 * np.arange(wanted)

    def _matrix(self, address: int, layout: int) -> Any:
        dtype, rows, columns, leading = self.made[layout]
        item = np.dtype(dtype).itemsize
        flat = memory(address, leading * (columns - 1) + rows, dtype)
        return np.lib.stride_tricks.as_strided(flat, (rows, columns), (item, leading * item))

    def matmul(self, *given: int) -> None:
        _, descriptor, alpha, a, a_layout, b, b_layout, beta, _, _, d, d_layout, algorithm, _, workspace, stream = given
        rank = int(memory(algorithm, 1, self.matmul_heuristic_result_dtype["algo"])["data_"][0, 0])
        assert workspace >= 512 * rank
        if rank in self.refused:
            raise self.cuBLASLtError("NOT_SUPPORTED")
        told = {name: self.made[descriptor].get(place) for name, place in self.MatmulDescAttribute.items()}
        assert memory(alpha, 1, self.made[descriptor]["scale"])[0] == 1
        assert memory(beta, 1, self.made[descriptor]["scale"])[0] == 0
        assert stream == 77
        first, second, out = self._matrix(a, a_layout), self._matrix(b, b_layout), self._matrix(d, d_layout)
        first = numbers(first.T if told["TRANSA"] else first)
        result = first @ numbers(second.T if told["TRANSB"] else second)
        (epilog,) = [name for name, place in self.Epilogue.items() if place == told["EPILOGUE"]]
        rows, columns = out.shape
        assert (told["BIAS_POINTER"] or 0) % 16 == 0, "a misaligned vector ends all work on a GPU"
        if "BIAS" in epilog:
            result = result + numbers(memory(told["BIAS_POINTER"], rows, out.dtype))[:, None]
        activation = "GELU" if "GELU" in epilog else "RELU" if "RELU" in epilog else ""
        if activation and ("AUX" in epilog or epilog.startswith("D")):
            assert told["EPILOGUE_AUX_POINTER"] % 16 == 0
            assert told["EPILOGUE_AUX_LD"] % (128 if activation == "RELU" else 8) == 0
            stride = told["EPILOGUE_AUX_LD"] // (8 if activation == "RELU" else 1)
            kind = np.uint8 if activation == "RELU" else out.dtype
            aux = memory(told["EPILOGUE_AUX_POINTER"], stride * columns, kind).reshape(columns, stride)
            if "AUX" in epilog:
                kept = np.packbits(result.T > 0, axis=1, bitorder="little") if activation == "RELU" else result.T
                aux[:, : kept.shape[1]] = kept
            elif activation == "RELU":
                result = result * np.unpackbits(aux, axis=1, bitorder="little")[:, :rows].T
            else:
                result = result * gelu_slope(aux[:, :rows].T)
        if epilog.startswith("RELU"):
            result = np.maximum(result, 0)
        if epilog.startswith("GELU"):
            result = 0.5 * result * (1 + gelu_inner(result))
        if epilog.endswith("_BGRAD"):
            memory(told["BIAS_POINTER"], rows, out.dtype)[...] = result.sum(axis=1)
        if epilog == "BGRADA":
            memory(told["BIAS_POINTER"], rows, out.dtype)[...] = first.sum(axis=1)
        store(out, result)


class Described(Emulator):
    """The emulated device with products described to cuBLASLt."""

    def __init__(self) -> None:
        super().__init__()
        self.workspaces: list[Workspace] = []
        self.multiplier = Multiplier.__new__(Multiplier)
        self.multiplier.__dict__.update(
            cupy=SimpleNamespace(cuda=SimpleNamespace(get_current_stream=lambda: SimpleNamespace(ptr=77))),
            library=Library(),
            types=Names("COMPUTE_32F COMPUTE_64F COMPUTE_32F_FAST_TF32"),
            handle=0,
            _supported={},
        )

    @staticmethod
    def located(array: Any) -> Any:
        return SimpleNamespace(data=SimpleNamespace(ptr=array.ctypes.data), kept=array)

    def supports(self, product: Product) -> bool:
        return self.multiplier.supports(product)

    def workspace(self) -> Any:
        namespace = SimpleNamespace(empty=lambda count, dtype: self.located(np.empty(count, dtype)), uint8=np.uint8)
        self.workspaces.append(Workspace(namespace))
        return self.workspaces[-1]

    def product(self, product: Product, arrays: Any, workspace: Any) -> Any:
        self.products.append(product)
        located = {name: None if array is None else self.located(array) for name, array in arrays.items()}
        return self.multiplier.launch(product, located, workspace)


@pytest.mark.skipif(COMPILER is None, reason=WHY_NOT)
@pytest.mark.parametrize(
    ("name", "dtype", "activation"),
    [("B", "float32", "relu"), ("B", "float64", "relu"), ("D", "float32", "relu"), ("B", "float32", "gelu_tanh")],
)
def test_training_is_numpys(name: str, dtype: str, activation: str) -> None:
    backend = Emulated()
    backend.device = device = Described()
    sizes, batch = NETWORKS[name]
    losses, weights = trained(backend, 3, sizes, batch, ADAM, dtype=dtype, activation=activation)
    expected, expected_weights = trained("numpy", 3, sizes, batch, ADAM, dtype=dtype, activation=activation)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    for mine, theirs in zip(weights, expected_weights):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())
    name = activation[:4].upper()
    assert {f"{name}_AUX_BIAS", "BIAS", f"D{name}_BGRAD"} <= {product.epilog for product in device.products}
    assert min(device.multiplier.library.alignments) >= 16  # a worse one would be told of fewer algorithms


@pytest.mark.skipif(COMPILER is None, reason=WHY_NOT)
def test_biases_that_begin_anywhere_are_left_to_kernels() -> None:
    backend = Emulated()
    backend.device = Described()
    given = ((64, 50, 60, 40, 10), 64, ADAM)
    losses, weights = trained(backend, 3, *given)
    expected, expected_weights = trained("numpy", 3, *given)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    for mine, theirs in zip(weights, expected_weights):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.skipif(COMPILER is None, reason=WHY_NOT)
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_16_bits_are_described_and_stored(precision: str) -> None:
    results = []
    for device in (Described(), Emulator()):
        backend = Emulated()
        backend.device = device
        results.append(trained(backend, 3, (60, 80, 70, 40), 90, ADAM, precision=precision))
    assert {"RELU_AUX_BIAS", "DRELU", "BGRADA"} <= {product.epilog for product in device.products}
    assert [product.out.dtype.itemsize for product in device.products].count(2) == 4
    for mine, theirs in zip(results[0][0], results[1][0]):
        assert mine == pytest.approx(theirs, rel=1e-3)
    for one, other in zip(results[0][1], results[1][1]):
        np.testing.assert_allclose(one, other, rtol=0, atol=3e-3)


@pytest.mark.skipif(COMPILER is None, reason=WHY_NOT)
def test_sums_of_rows_beside_a_product_stored_in_16_bits_are_not() -> None:
    x, y, z = np.random.default_rng(0).normal(size=(3, 64, 64)).astype("float32")
    backend = Emulated()
    backend.device = Described()
    with gd.use_backend(backend):
        compiled = gd.compile(lambda x, y, z: ((x.T @ y) @ z, gd.sum(y, axis=0)), precision="bf16")
        product, total = (found.numpy() for found in compiled(x, y, z))
    np.testing.assert_allclose(total, y.sum(axis=0), rtol=0, atol=0.1)
    np.testing.assert_allclose(product, x.T @ y @ z, rtol=0, atol=0.02 * np.abs(x.T @ y @ z).max())


@pytest.mark.skipif(COMPILER is None, reason=WHY_NOT)
def test_an_algorithm_that_cannot_be_launched_is_replaced_by_the_next() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 80, 80))
    backend = Emulated()
    backend.device = device = Described()
    device.multiplier.library.refused = {0, 1}
    with gd.use_backend(backend):
        compiled = gd.compile(lambda x, y: x @ y)
        np.testing.assert_allclose(compiled(x, y).numpy(), x @ y, rtol=1e-11)
        device.multiplier.library.refused = set(range(100))
        with pytest.raises(
            errors.BackendError, match=r"launches none of its 4 .*NOT_SUPPORTED.*80×80 @ 80×60.*precision="
        ):
            gd.compile(lambda x, y: x @ y)(x, y[:, :60])
        with pytest.raises(errors.BackendError, match=r"with RELU\. Switch epilogs off"):
            gd.compile(lambda x, y: gd.relu(x @ y))(x, y)


VIEWS: dict[str, Callable[[Any], Any]] = {
    "by rows": lambda x: x,
    "turned": lambda x: x.T,
    "every other row": lambda x: x[::2],
    "turned, every other column": lambda x: x[::2].T,
}


@pytest.mark.skipif(COMPILER is None, reason=WHY_NOT)
@pytest.mark.parametrize("left", VIEWS)
@pytest.mark.parametrize("right", VIEWS)
def test_operands_are_described_as_they_lie(left: str, right: str) -> None:
    r = np.random.default_rng(0)
    x, y = r.normal(size=(80, 120)), r.normal(size=(240, 160))
    first, second = VIEWS[left](x), VIEWS[right](y)
    inner = min(first.shape[1], second.shape[0])
    backend = Emulated()
    backend.device = Described()
    with gd.use_backend(backend):
        compiled = gd.compile(lambda x, y: VIEWS[left](x)[:, :inner] @ VIEWS[right](y)[:inner])
        found = compiled(x, y).numpy()
    (product,) = backend.device.products
    np.testing.assert_allclose(found, first[:, :inner] @ second[:inner], rtol=1e-11)
    assert product.x.place()[0].private, "it was copied"
