"""Plans of the CuPy backend, run on the CPU: generated kernels as C++, products by NumPy. What they must mean."""

import ctypes
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import cuda_emulator
import numpy as np
import pytest
from cuda_emulator import COMPILER, WHY_NOT, Functions, widened
from cupy_stand_in import Emulated
from graphdiff_cupy import nvrtc
from graphdiff_cupy.preamble import PREAMBLE
from test_ops import CASES, every

import graphdiff as gd
from graphdiff import errors
from graphdiff.plan.lowering.instructions import Fallback, Product

pytestmark = pytest.mark.skipif(COMPILER is None, reason=WHY_NOT)
FAMILIES = 4


@pytest.fixture
def emulated() -> Any:
    with gd.use_backend(Emulated()) as backend:
        yield backend


def value_and_jacobian(function: Callable[..., Any], arguments: list[Any]) -> Callable[..., Any]:
    def both(*given: Any) -> Any:
        return function(*given), gd.jacobian(function, every(arguments), mode="reverse")(*given)

    return both


@pytest.mark.parametrize(
    ("family", "disable"), [*((family, ()) for family in range(FAMILIES)), (0, ("fuse", "capture"))]
)
def test_every_op_against_numpy(family: int, disable: tuple[str, ...]) -> None:
    cases = CASES[family::FAMILIES]
    planned = []
    # One family by two threads a block: they meet at barriers, and everything else is quicker without.
    with gd.use_backend(Emulated(threads=2 if family == 1 else 1, blocks=3)), np.errstate(all="ignore"):
        for _, function, arguments in cases:
            given = [gd.constant(argument) for argument in arguments]
            compiled = gd.compile(value_and_jacobian(function, arguments), disable=disable)
            compiled.plan(*given)  # all are made before the first is run: then they are compiled together
            planned.append((compiled, given))
        computed = [compiled(*given) for compiled, given in planned]
    for (name, function, arguments), (value, slopes) in zip(cases, computed):
        expected, expected_slopes = value_and_jacobian(function, arguments)(*map(gd.constant, arguments))
        told = f"{name}, {disable}"
        np.testing.assert_allclose(value.numpy(), expected.numpy(), rtol=1e-9, atol=1e-10, err_msg=told)
        for mine, theirs in zip(slopes, expected_slopes):
            np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-9, atol=1e-10, err_msg=told)


DTYPES = ("bool", "int8", "uint8", "int16", "int32", "int64", "uint32", "float32", "float64")
ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": lambda F, x, y: F.add(x, y),
    "multiply": lambda F, x, y: F.multiply(x, y),
    "maximum": lambda F, x, y: F.maximum(x, y),
    "floor_divide": lambda F, x, y: F.floor_divide(x, y),
    "remainder": lambda F, x, y: F.remainder(x, y),
    "less": lambda F, x, y: F.less(x, y),
    "bitwise_xor": lambda F, x, y: F.bitwise_xor(x, y),
    "logical_and": lambda F, x, y: F.logical_and(x, y),
    "sum": lambda F, x, y: F.sum(x, axis=0),
    "max": lambda F, x, y: F.max(x * y, axis=1),
    "abs": lambda F, x, y: F.abs(x),
    "square": lambda F, x, y: F.square(x),
    "sign": lambda F, x, y: F.sign(x),
}


@pytest.mark.parametrize("name", ARITHMETIC)
def test_dtypes_and_their_corners(name: str, emulated: Any) -> None:
    function, planned = ARITHMETIC[name], []
    for dtype in DTYPES:
        numbers = [0, 1, 2, 3, 5, 100] if dtype[0] in "bu" else [-7, -3, -1, 0, 1, 2, 3, 7, 100]
        if dtype[0] == "f":
            numbers = [*numbers, 0.5, -0.5, np.inf, -np.inf, np.nan, -0.0]
        x, y = (part.copy() for part in np.meshgrid(np.array(numbers, dtype), np.array(numbers, dtype)))
        with np.errstate(all="ignore"):
            try:
                expected = function(np, x, y)
            except TypeError:
                continue  # NumPy has no such function for the dtype
        if expected.dtype == "float16" or (dtype == "bool" and name in ("floor_divide", "remainder", "square", "sign")):
            continue
        compiled = gd.compile(lambda x, y: function(gd, x, y))
        compiled.plan(x, y)
        planned.append((dtype, compiled, x, y, expected))
    assert len(planned) >= 2
    for dtype, compiled, x, y, expected in planned:
        with np.errstate(all="ignore"):
            found = compiled(x, y).numpy()
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected, err_msg=dtype)


def test_16_bytes_are_read_at_once_where_the_layout_allows(emulated: Any) -> None:
    for size, wide in ((1000, True), (1003, True), (3, False)):
        x = np.linspace(-1, 1, size, dtype="float32")
        compiled = gd.compile(lambda x: gd.tanh(x) * 2 + x)
        np.testing.assert_allclose(compiled(x).numpy(), np.tanh(x) * 2 + x, rtol=1e-6)
        (kernel,) = compiled.plan(x)._runner.kernels
        assert kernel.vectorised is wide
        assert ("Pack<float, 4> a0 = " in kernel.text) is wide
        assert (f"first < {size // 4 * 4};" in kernel.text) is wide
    shifted = gd.compile(lambda x: gd.tanh(x[1:]))  # four bytes beside the boundary
    np.testing.assert_allclose(shifted(x := np.arange(1001, dtype="float32")).numpy(), np.tanh(x[1:]), rtol=1e-6)
    assert not shifted.plan(x)._runner.kernels[0].vectorised


def test_a_sign_before_a_sign_is_no_decrement(emulated: Any) -> None:
    twice = gd.compile(lambda x: gd.negative(gd.barrier(gd.negative(x))) - gd.negative(x), disable=("simplify",))
    np.testing.assert_array_equal(twice(np.array([1.0, -2.0])).numpy(), [2.0, -4.0])


@pytest.mark.parametrize("threads", [1, 2, 16, 128])
@pytest.mark.parametrize(("shape", "axis"), [((20, 90), 1), ((90, 20), 0), ((4, 10, 12), (0, 2)), ((3000,), None)])
def test_sums_by_any_number_of_threads(threads: int, shape: Any, axis: Any) -> None:
    x = np.random.default_rng(0).normal(size=shape)
    with gd.use_backend(Emulated(threads=threads, blocks=3)):
        total, most, mean = gd.compile(lambda x: (gd.sum(x * 2, axis), gd.max(x, axis), gd.mean(x, axis)))(x)
    np.testing.assert_allclose(total.numpy(), 2 * x.sum(axis), rtol=1e-11, atol=1e-11)
    np.testing.assert_array_equal(most.numpy(), x.max(axis))
    np.testing.assert_allclose(mean.numpy(), x.mean(axis), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("size", [(1 << 15) + 1, 200_003])
def test_a_long_sum_is_made_by_several_blocks_in_two_stages(size: int, emulated: Any) -> None:
    x = np.random.default_rng(0).normal(size=size)
    compiled = gd.compile(lambda x: (gd.mean(x * 2), gd.max(gd.abs(x)), gd.all(x < 9)))
    mean, most, every_one = compiled(x)
    assert mean.item() == pytest.approx(2 * x.mean(), rel=1e-11)
    assert most.item() == np.abs(x).max()
    assert every_one.item() is True
    blocks = [kernel.blocks for kernel in compiled.plan(x)._runner.kernels]
    assert max(blocks) >= 8


@pytest.mark.parametrize("threads", [1, 4, 64])
def test_rows_share_a_kernel_where_each_needs_only_itself(threads: int) -> None:
    x = np.random.default_rng(0).normal(size=(40, 1000)).astype("float32")
    with gd.use_backend(Emulated(threads=threads, blocks=7)):
        softmax = gd.compile(lambda x: gd.softmax(x, axis=1))
        found = softmax(x).numpy()
        kernels = softmax.plan(x)._runner.kernels
    shifted = np.exp(x - x.max(1, keepdims=True))
    np.testing.assert_allclose(found, shifted / shifted.sum(1, keepdims=True), rtol=1e-5)
    assert [kernel.group.rows for kernel in kernels] == [40]


@pytest.mark.parametrize("turn", ["turned", "gathered", "summed down"])
def test_rows_that_need_other_rows_wait_for_them(turn: str) -> None:
    x = np.random.default_rng(0).normal(size=(100, 100))
    order = np.random.default_rng(1).permutation(100)

    def function(F: Any, x: Any) -> Any:
        y = F.exp(x) / F.sum(F.exp(x), axis=1, keepdims=True)
        if turn == "turned":
            return y + y.T
        return y + (y[order] if turn == "gathered" else F.sum(y, axis=0)[:, None])

    with gd.use_backend(Emulated(blocks=3)):  # one block does its rows before the next begins
        found = gd.compile(lambda x: function(gd, x))(x)
    np.testing.assert_allclose(found.numpy(), function(np, x), rtol=1e-12)


# Variables ------------------------------------------------------------------------------------------------------------


def test_variables_swap_and_old_values_are_returned(emulated: Any) -> None:
    a, b = gd.variable(np.arange(5.0), name="a"), gd.variable(-np.arange(5.0), name="b")

    @gd.compile
    def step() -> Any:
        before = a + 0.0
        old = gd.stop_gradient(a)
        a.assign(b)
        b.assign(before)
        return old, a * 1

    old, new = step()
    np.testing.assert_array_equal(old.numpy(), np.arange(5.0))
    np.testing.assert_array_equal(new.numpy(), -np.arange(5.0))
    np.testing.assert_array_equal(a.numpy(), -np.arange(5.0))
    np.testing.assert_array_equal(b.numpy(), np.arange(5.0))
    assert a.version == b.version == 1


def test_an_old_value_goes_elsewhere_before_it_is_overwritten(emulated: Any) -> None:
    a, b = gd.variable(np.zeros(5), name="a"), gd.variable(np.arange(5.0), name="b")

    @gd.compile
    def step() -> None:
        old = gd.stop_gradient(b)
        b.assign(b * 2)
        a.assign(old)

    step()
    np.testing.assert_array_equal(b.numpy(), 2 * np.arange(5.0))
    np.testing.assert_array_equal(a.numpy(), np.arange(5.0))


@pytest.mark.parametrize("places", [slice(None, None, -1), np.arange(19999, -1, -1)], ids=["slice", "array"])
def test_what_reads_a_neighbours_old_value_is_not_written_over(places: Any, emulated: Any) -> None:
    w = gd.variable(np.arange(20000.0), name="w")

    @gd.compile
    def step() -> Any:
        w.assign(w + w[places])
        return w * 1

    np.testing.assert_array_equal(step().numpy(), np.full(20000, 19999.0))
    np.testing.assert_array_equal(w.numpy(), np.full(20000, 19999.0))


def test_a_number_changes_in_place_and_results_of_earlier_steps_stay(emulated: Any) -> None:
    count = gd.variable(0.0, name="count")

    @gd.compile
    def step() -> Any:
        count.assign(count + 1)
        return count * 10

    first, second = step(), step()
    before = count.value
    step()
    assert (first.item(), second.item(), float(before), count.item()) == (10, 20, 2, 3)
    count.assign(100.0)  # between two steps
    assert step().item() == 1010
    assert count.version == 5


def test_gradients_are_given_to_variables(emulated: Any) -> None:
    w = gd.variable(np.arange(3.0), name="w")

    @gd.compile
    def step() -> None:
        gd.sum(w**3).backward()

    step()
    first = w.grad
    w.assign([1.0, 1.0, 1.0])
    step()
    np.testing.assert_array_equal(first, [0, 3, 12])
    np.testing.assert_array_equal(w.grad, [3, 3, 3])


def test_a_failing_fallback_changes_no_variable(emulated: Any) -> None:
    w, m = gd.variable(np.ones(4), name="w"), gd.variable(np.eye(3), name="m")

    @gd.compile
    def step() -> Any:
        w.assign(w * 2)
        return gd.linalg.inv(m)

    step()
    m.assign(np.zeros((3, 3)))
    with pytest.raises(errors.MatrixError, match=r"inv\('m' float64\[3, 3\]\), made at .*test_cupy_plans"):
        step()
    np.testing.assert_array_equal(w.numpy(), np.full(4, 2.0))


def test_parameters_that_move_to_another_flat_buffer_are_found_again(emulated: Any) -> None:
    a, b = gd.variable(np.ones(3), name="a"), gd.variable(np.ones(2), name="b")
    first = gd.optim.SGD([a], lr=0.5)

    @gd.compile
    def step() -> Any:
        loss = gd.sum(a * a)
        first.minimize(loss)
        return loss

    assert step().item() == 3
    second = gd.optim.SGD([a, b], lr=0.5)
    second.minimize(gd.sum(a * 2) + gd.sum(b))
    np.testing.assert_array_equal(a.numpy(), -np.ones(3))
    assert step().item() == 3
    np.testing.assert_array_equal(a.numpy(), np.zeros(3))


# Products -------------------------------------------------------------------------------------------------------------


def layers(dtype: str = "float32", seed: int = 0) -> tuple[Any, Any, Any, Any]:
    r = np.random.default_rng(seed)
    shapes = (50, 60), (60, 40), (40,), (40, 30)
    return tuple(gd.variable(r.normal(size=shape).astype(dtype)) for shape in shapes)  # type: ignore[return-value]


def network(x: Any, w: Any, b: Any, v: Any) -> Any:
    return gd.sum(gd.relu(x @ w + b) @ v)


SUPPORT: dict[str, tuple[set[str] | None, list[str]]] = {
    "all": (None, ["RELU_AUX_BIAS", "DRELU_BGRAD"]),
    "no masks": ({"RELU_BIAS", "BIAS", "BGRADA"}, ["RELU_BIAS"]),
    "no gradients of biases": ({"RELU_BIAS", "RELU_AUX_BIAS", "DRELU"}, ["RELU_AUX_BIAS"]),
    "bias alone": ({"BIAS"}, []),
    "none": (set(), []),
}


@pytest.mark.parametrize("support", SUPPORT)
def test_epilogs_and_what_is_done_where_there_are_none(support: str) -> None:
    epilogs, expected = SUPPORT[support]

    def gradients(*leaves: Any) -> Any:
        return gd.value_and_grad(network, argnums=(0, 1, 2, 3))(*leaves)

    reference = gradients(*layers("float64"))
    backend = Emulated(epilogs=epilogs)
    with gd.use_backend(backend):
        leaves = [gd.constant(leaf.numpy()) for leaf in layers()]
        compiled = gd.compile(gradients)
        value, slopes = compiled(*leaves)
    products = [part for part in compiled.plans[0]._runner.parts if isinstance(part, Product)]
    assert [product.epilog for product in products if product.epilog != "DEFAULT"] == expected
    np.testing.assert_allclose(value.numpy(), reference[0].numpy(), rtol=1e-5)
    for mine, theirs in zip(slopes, reference[1]):
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-4, atol=1e-4)


GELUS: dict[str, tuple[set[str] | None, list[str]]] = {
    "all": (None, ["GELU_AUX_BIAS", "DGELU_BGRAD"]),
    "no derivatives": ({"GELU_AUX_BIAS", "BIAS"}, ["GELU_AUX_BIAS"]),
    "no activations": ({"BIAS"}, ["BIAS"]),
    "none": (set(), []),
}


@pytest.mark.parametrize("support", GELUS)
@pytest.mark.parametrize("more", [False, True])
def test_gelu_and_its_derivative_come_with_products(support: str, more: bool) -> None:
    epilogs, expected = GELUS[support]

    def loss(x: Any, w: Any, b: Any, v: Any) -> Any:
        before = x @ w + b
        after = gd.gelu_tanh(before)
        return gd.sum(after @ v) + (gd.sum(before * before) if more else 0.0)

    slopes = gd.value_and_grad(loss, argnums=(1, 2, 3))
    reference = slopes(*layers("float64"))
    with gd.use_backend(Emulated(epilogs=epilogs)):
        leaves = [gd.constant(leaf.numpy()) for leaf in layers()]
        compiled = gd.compile(slopes)
        value, gradients = compiled(*leaves)
    products = [part for part in compiled.plans[0]._runner.parts if isinstance(part, Product)]
    found = [product.epilog for product in products if product.epilog != "DEFAULT"]
    assert more or found == expected
    assert not more or found[:1] == expected[:1]
    np.testing.assert_allclose(value.numpy(), reference[0].numpy(), rtol=1e-4)
    for mine, theirs in zip(gradients, reference[1]):
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-4, atol=1e-3)


def test_the_sum_of_the_right_operands_rows_comes_with_the_product() -> None:
    r = np.random.default_rng(0)
    x, g = r.normal(size=(50, 60)).astype("f"), r.normal(size=(50, 40)).astype("f")
    with gd.use_backend(Emulated()):
        compiled = gd.compile(lambda x, g: (x.T @ g, gd.sum(g, axis=0)))
        product, total = compiled(x, g)
    (part,) = compiled.plans[0]._runner.parts
    assert part.epilog == "BGRADA"
    np.testing.assert_allclose(product.numpy(), x.T @ g, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(total.numpy(), g.sum(0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("operand", ["x", "x.T", "x[::2]", "x[:, ::2]", "broadcast"])
def test_products_of_matrices_that_lie_otherwise(operand: str, emulated: Any) -> None:
    r = np.random.default_rng(0)
    given, y = r.normal(size=(64, 64)), r.normal(size=(64, 64))
    views: dict[str, Callable[..., Any]] = {
        "x": lambda F, x: x,
        "x.T": lambda F, x: x.T,
        "x[::2]": lambda F, x: x[::2],
        "x[:, ::2]": lambda F, x: x[:, ::2],
        "broadcast": lambda F, x: F.broadcast_to(x[:, :1], (64, 64)),
    }
    view = views[operand]
    rows = 32 if operand == "x[:, ::2]" else 64
    found = gd.compile(lambda x, y: view(gd, x) @ y[:rows])(given, y)
    np.testing.assert_allclose(found.numpy(), view(np, given) @ y[:rows], rtol=1e-12)


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("float32", 1e-6), ("tf32", 1e-3), ("bf16", 5e-2), ("fp16", 5e-3)]
)
def test_precisions_keep_variables_and_sums_in_float32(precision: str, tolerance: float) -> None:
    reference = gd.grad(network, argnums=(0, 1, 2, 3))(*layers("float64"))
    with gd.use_backend(Emulated()):
        compiled = gd.compile(gd.grad(network, argnums=(0, 1, 2, 3)), precision=precision)
        leaves = [gd.constant(leaf.numpy()) for leaf in layers()]
        slopes = compiled(*leaves)
    products = [part for part in compiled.plans[0]._runner.parts if isinstance(part, Product)]
    assert {product.compute for product in products} == {precision}
    for mine, theirs in zip(slopes, reference):
        assert mine.dtype == "float32"
        # In the norm, since rounding may push single inputs of a ReLU over its kink.
        assert np.linalg.norm(mine.numpy() - theirs.numpy()) <= tolerance * np.linalg.norm(theirs.numpy())


def mlp(x: Any, *parameters: Any) -> Any:
    for weights, bias in zip(parameters[::2], parameters[1::2]):
        x = gd.relu(x @ weights + bias)
    return gd.sum(x * x)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("support", SUPPORT)
def test_what_only_products_read_is_stored_in_their_precision(precision: str, support: str) -> None:
    r = np.random.default_rng(0)
    sizes = (60, 70, 80, 50)
    arrays = [r.normal(size=(90, 60)).astype("f")]
    for inputs, outputs in pairwise(sizes):
        arrays += [
            (r.normal(size=(inputs, outputs)) / np.sqrt(inputs)).astype("f"),
            (0.1 * r.normal(size=outputs)).astype("f"),
        ]
    slopes = gd.grad(mlp, argnums=tuple(range(1, 7)))
    reference = slopes(*(gd.variable(array.astype("float64")) for array in arrays))
    with gd.use_backend(Emulated(epilogs=SUPPORT[support][0])):
        compiled = gd.compile(slopes, precision=precision)
        found = compiled(*(gd.constant(array) for array in arrays))
    (plan,) = compiled.plans
    products = [part for part in plan._runner.parts if isinstance(part, Product)]
    stored = [product.out.dtype.name for product in products]
    if support == "all":
        assert stored.count("uint16") == 4, "the outputs of two hidden layers, and the adjoints of their sums"
        assert [product.epilog for product in products].count("BGRADA") == 3
    for mine, theirs in zip(found, reference):
        assert mine.dtype == "float32"
        distance = np.linalg.norm(mine.numpy() - theirs.numpy())
        assert distance <= {"bf16": 6e-2, "fp16": 1e-2}[precision] * np.linalg.norm(theirs.numpy())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_16_bits_become_float32_again(precision: str, emulated: Any) -> None:
    every_one = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16).reshape(256, 256)
    expected = every_one.view(np.float16).astype("f") if precision == "fp16" else widened(every_one, "bf16")
    functions = Functions(
        f"{PREAMBLE}\n"
        'extern "C" __global__ void k(unsigned short* x, float* y) {'
        f"for (int i = 0; i < 65536; ++i) y[i] = from_{precision}(x[i]); }}"
    )
    found = np.empty((256, 256), np.float32)
    functions.function("k")(1, 1, (ctypes.c_void_p * 2)(every_one.ctypes.data, found.ctypes.data))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


def test_float32_becomes_float16_as_numpy_rounds_it(emulated: Any) -> None:
    edges = [0.0, 2.0**-24, 2.0**-25, 1.5 * 2.0**-24, 2.0**-14, 1 + 2.0**-11, 1 + 3 * 2.0**-11, 65504, 65519, 65520]
    given = np.array([*edges, 1e-30, 1e30, np.inf, np.nan, *np.geomspace(1e-9, 1e6, 1010)], np.float32)
    given = np.concatenate([given, -given]).reshape(64, 32)
    with np.errstate(all="ignore"):
        compiled = gd.compile(lambda x, y: x @ y, precision="fp16")
        compiled(gd.constant(given), gd.constant(np.eye(32, dtype="float32")))
        (product,) = [part for part in compiled.plans[0]._runner.parts if isinstance(part, Product)]
        held = compiled.plans[0]._runner._array(product.x)
        np.testing.assert_array_equal(held.view(np.float16), given.astype(np.float16))


def test_an_overflow_in_float16_leaves_out_the_step_and_lowers_the_factor(emulated: Any) -> None:
    given, *parameters = layers()
    optimizer = gd.optim.SGD(parameters, lr=1e-6)
    optimizer.scale_loss(2.0**16, interval=3)
    x, w, b, v = (leaf.numpy() for leaf in (given, *parameters))
    hidden = np.maximum(x @ w + b, 0)
    adjoint = 2e-3 * hidden @ v
    largest = max(np.abs(adjoint).max(), np.abs(adjoint @ v.T).max())

    def loss(x: Any, w: Any, b: Any, v: Any) -> Any:
        return gd.sum((gd.relu(x @ w + b) @ v) ** 2) * 1e-3

    step = gd.compile(lambda x: optimizer.minimize(loss(x, *parameters)), precision="fp16")
    history = []
    with np.errstate(invalid="ignore", over="ignore"):
        for _ in range(12):
            scale, steps = optimizer.loss_scale, optimizer.steps
            before = parameters[0].numpy()
            step(gd.constant(x))
            moved = bool((parameters[0].numpy() != before).any())
            assert moved == (optimizer.steps == steps + 1) == (scale * largest < 65520)
            history.append((moved, optimizer.loss_scale / scale))
    assert {(False, 0.5), (True, 1.0), (True, 2.0)} == set(history)
    assert not [part for part in step.plans[0]._runner.parts if isinstance(part, Fallback)]
    assert {parameter.dtype.name for parameter in parameters} == {"float32"}


# Launches, random numbers, data on the device -------------------------------------------------------------------------


def test_a_step_is_one_launch_and_many_steps_are_fewer() -> None:
    backend = Emulated()
    with gd.use_backend(backend):
        w = gd.variable(np.float64(1.0), name="w")
        step = gd.compile(lambda: w.assign(w * 1.5))
        step()
        launched = backend.device.launched
        step()
        assert backend.device.launched == launched + 1
        step.many(20)
        assert backend.device.launched <= launched + 1 + 20 // 8 + 20 % 8
        assert w.item() == pytest.approx(1.5**22, rel=1e-15)
        assert w.version == 22


def test_what_cannot_be_recorded_is_launched_one_by_one_and_said() -> None:
    with gd.use_backend(Emulated(records=False)):
        w = gd.variable(np.float64(1.0), name="w")
        step = gd.compile(lambda: w.assign(w * 1.5))
        step()
        step.many(20)
    assert w.item() == pytest.approx(1.5**21, rel=1e-15)
    (plan,) = step.plans
    assert "refused (operation not permitted when stream is capturing): everything is launched one by one" in (
        plan.explain()
    )


def test_many_steps_are_the_same_on_any_backend() -> None:
    results = []
    for backend in ("numpy", Emulated()):
        with gd.use_backend(backend):
            w = gd.variable(np.arange(3.0), name="w")

            @gd.compile
            def step(rate: Any, w: Any = w) -> Any:
                loss = gd.sum(w * w)
                loss.backward()
                w.assign(w - rate * w.grad)
                return loss

            results.append((step.many(11, 0.1).item(), w.numpy().tolist(), w.version))
    assert results[0][2] == results[1][2] == 11
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-12)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-12)


@pytest.mark.parametrize("before", [0, 1, 3, 4, 6])
def test_random_numbers_are_the_hosts(before: int, emulated: Any) -> None:
    there, here = gd.random.generator(3), gd.random.generator(3)
    there.random(before), here.random(before)

    @gd.compile
    def draw() -> Any:
        first = gd.random.uniform((5,), seed=here, low=-1.0, high=3.0)
        return first, gd.random.bernoulli((7, 3), seed=here, p=0.3, dtype="float32"), first * 2

    for _ in range(2):
        first, coins, twice = draw()
        expected = there.uniform(-1.0, 3.0, 5)
        np.testing.assert_allclose(first.numpy(), expected, rtol=1e-15)
        np.testing.assert_allclose(twice.numpy(), 2 * expected, rtol=1e-15)
        np.testing.assert_array_equal(coins.numpy(), there.uniform(size=(7, 3)) < 0.3)
    assert there.random() == here.random()
    draw.many(9)
    there.random(9 * 26)
    assert there.random() == here.random()
    assert not [part for part in draw.plans[0]._runner.parts if isinstance(part, Fallback)]


def test_a_constant_is_there_before_it_is_handed_out(emulated: Any) -> None:
    """It is written out as a number where it is read first."""
    twos = gd.constant(np.full((3, 1), 2.0))
    compiled = gd.compile(lambda x: (gd.sum(x * twos, axis=0), twos))
    for _ in range(2):
        found, handed = compiled(np.arange(3.0)[:, None])
        np.testing.assert_allclose(found.numpy(), [6.0])
        np.testing.assert_array_equal(handed.numpy(), np.full((3, 1), 2.0))
        handed._value[...] = 7


def test_numbers_of_another_distribution_are_drawn_on_the_host(emulated: Any) -> None:
    there, here = gd.random.generator(3), gd.random.generator(3)
    draw = gd.compile(lambda: gd.random.normal((4,), seed=here) * 2)
    for _ in range(2):
        np.testing.assert_allclose(draw().numpy(), 2 * there.normal(size=4), rtol=1e-15)
    assert "random_draw: only uniform numbers are drawn on the device" in draw.plans[0].explain()


def test_batches_are_gathered_from_data_on_the_device(emulated: Any) -> None:
    data = np.random.default_rng(0).normal(size=(100, 3))
    order = np.random.default_rng(1).permutation(100)
    table, places, batch = gd.constant(data), gd.constant(order), gd.variable(0, name="batch")

    @gd.compile
    def next_batch() -> Any:
        rows = places[batch * 10 + gd.arange(10)]
        batch.assign(batch + 1)
        return table[rows]

    for turn in range(3):
        np.testing.assert_array_equal(next_batch().numpy(), data[order[10 * turn : 10 * turn + 10]])
    assert not [part for part in next_batch.plans[0]._runner.parts if isinstance(part, Fallback)]


# Reports --------------------------------------------------------------------------------------------------------------


def test_the_plan_tells_what_it_does(emulated: Any) -> None:
    x, w, b, v = layers()
    step = gd.compile(lambda x: gd.linalg.inv((gd.relu(x @ w + b) @ v)[:, :30].T @ (x[:, :30])))
    told = step.plan(gd.constant(x.numpy())).explain()
    assert "cublasLt RELU_BIAS 50×60 @ 60×40 in float32" in told
    assert "eager inv (no kernel is generated for inv of these operands)" in told
    assert "2 launches a step" in told


def test_a_profile_times_every_launch_and_changes_nothing(emulated: Any) -> None:
    w = gd.variable(np.ones(5000), name="w")
    step = gd.compile(lambda x: w.assign(w * x))
    x = np.full(5000, 2.0)
    profile = step.plan(x).profile(x, repeats=3)
    assert len(profile.seconds) == len(step.plan(x).instructions) >= 1
    np.testing.assert_array_equal(w.numpy(), np.ones(5000))


def test_out_of_memory_names_the_largest_buffers() -> None:
    with gd.use_backend(Emulated(limit=1 << 20)):
        step = gd.compile(lambda images: gd.sum(gd.tanh(images)))
        with pytest.raises(errors.DeviceMemoryError, match=r"2\.\d MiB.*images.*2\.0 MiB.*smaller batch.*checkpoint"):
            step(np.ones((512, 512)))


@pytest.mark.parametrize("limit", [1 << 10, 5 << 10, 1 << 20])
def test_what_found_no_memory_changes_nothing_and_finds_some_later(limit: int) -> None:
    backend = Emulated(limit=limit)
    with gd.use_backend(backend):
        w = gd.variable(np.ones(1000), name="w")

        def step(x: Any) -> Any:
            w.assign(w + 1)
            return gd.outer(x, x + w)

        compiled = gd.compile(step)
        for _ in range(2):
            with pytest.raises(errors.DeviceMemoryError, match="largest buffers"):
                compiled(np.ones(1000))
            np.testing.assert_array_equal(w.numpy(), np.ones(1000))
        backend.device.limit = None
        found = compiled(np.ones(1000)).numpy()
        np.testing.assert_array_equal(found, np.full((1000, 1000), 3.0))
        np.testing.assert_array_equal(w.numpy(), np.full(1000, 2.0))


def test_indices_are_wide_enough_for_what_lies_nowhere_in_memory(emulated: Any) -> None:
    x = np.ones(1 << 16, np.float32)
    total = gd.compile(lambda x: gd.sum(gd.expand_dims(x, axis=0) * gd.expand_dims(x, axis=1)))
    total.plan(x)
    assert "typedef long long Count;" in emulated.device.sources[-1]
    gd.compile(lambda x: gd.sum(x * x)).plan(x)
    assert "typedef int Count;" in emulated.device.sources[-1]


def test_places_beyond_32_bits_of_what_is_only_looked_into(emulated: Any) -> None:
    x, places = np.arange(60000.0), np.array([3_000_000_000, 5, 3_599_999_999, 2**31, 2**31 - 1])
    by_rows = gd.compile(lambda x, i: gd.reshape(gd.broadcast_to(x[:, None], (60000, 60000)), (-1,))[i])
    np.testing.assert_array_equal(by_rows(x, places).numpy(), places // 60000)
    by_columns = gd.compile(lambda x, i: gd.reshape(gd.broadcast_to(x, (60000, 60000)), (-1,))[i])
    np.testing.assert_array_equal(by_columns(x, places).numpy(), places % 60000)


@pytest.mark.parametrize("bounds", [(-0.3, 0.4), (0.1, 0.7), (-1.0, 1e-3)])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_drawn_numbers_are_rounded_as_the_hosts(bounds: Any, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else may be one operation with one rounding: a scaled and moved number is rounded twice."""
    fused = ["-O2", "-mfma", "-ffp-contract=fast"] if _has_fused() else cuda_emulator.OPTIONS
    monkeypatch.setattr(cuda_emulator, "OPTIONS", fused)
    low, high = bounds
    there, here = gd.random.generator(3), gd.random.generator(3)
    with gd.use_backend(Emulated()):
        draw = gd.compile(lambda: gd.random.uniform((4000,), seed=here, low=low, high=high, dtype=dtype))
        found = draw().numpy()
    np.testing.assert_array_equal(found, there.uniform(low, high, 4000).astype(dtype))
    assert "__dadd_rn" in draw.plans[0].source


def _has_fused() -> bool:
    try:
        return " fma " in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


@pytest.mark.parametrize("place", ["no folder", "below a file", "read-only"])
def test_a_cache_that_cannot_be_written_ends_no_plan(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(nvrtc, "compile_source", lambda source, architecture: calls.append(source) or b"code")
    wanted = {"no folder": tmp_path / "new", "below a file": tmp_path / "file", "read-only": tmp_path / "only"}[place]
    (tmp_path / "file").write_text("")
    if place == "read-only":
        monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir: (_ for _ in ()).throw(PermissionError(dir)))
    monkeypatch.setenv("XDG_CACHE_HOME", str(wanted))
    files = [nvrtc.compiled(source, "sm_90") for source in ("one", "two", "one")]
    assert [file.read_bytes() for file in files] == [b"code"] * 3
    assert files[0] == files[2] != files[1]
    assert calls == ["one", "two"]
    assert (wanted in files[0].parents) is (place == "no folder")


def test_an_unknown_pass_is_refused(emulated: Any) -> None:
    with pytest.raises(errors.CompileError, match=r"no pass 'tile'.*capture.*epilog.*fuse"):
        gd.compile(lambda x: x * 2, disable=("tile",))(np.ones(3))
