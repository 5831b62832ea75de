"""Jacobians accumulated block by block: they agree with reverse mode, at least cost, and make nothing superfluous."""

import importlib.util
import itertools
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import rosen, rosen_hess

import graphdiff as gd
from graphdiff.elimination.accumulate import BlockGraph
from graphdiff.elimination.block_algebra import Algebra
from graphdiff.elimination.blocks import Part, Sparse, places
from graphdiff.graph import topological_order


def _functions() -> ModuleType:
    """Load the test bed by its path: its package settles threads and cores for measurements."""
    path = Path(__file__).parent.parent / "benchmarks" / "functions.py"
    spec = importlib.util.spec_from_file_location("functions_of_the_test_bed", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BED = _functions().BED
X = np.array([[0.4, -1.3, 0.7], [1.1, 0.2, -0.5]])
M = np.random.default_rng(3).normal(size=(3, 4))

STRUCTURES: dict[str, Any] = {
    "sum along an axis": lambda x: gd.sin(gd.sum(x * x, axis=1)),
    "mean kept": lambda x: x - gd.mean(x, axis=0, keepdims=True),
    "sum of all": lambda x: gd.exp(gd.sum(x)) * x[0],
    "broadcast": lambda x: gd.tanh(x + x[0]) * x[:, :1],
    "index array": lambda x: gd.sin(x)[:, [2, 0, 2]] ** 2,
    "reversed slice": lambda x: gd.sin(x[::-1, ::2]) * 3.0,
    "joined": lambda x: gd.exp(gd.concatenate([x[0], 2 * x[1], x[0] * x[1]])),
    "rolled and padded": lambda x: gd.pad(gd.roll(x * x, 1, axis=1), ((1, 0), (0, 2))),
    "matrix on the right": lambda x: gd.tanh(gd.tanh(x) @ M),
    "matrix on the left": lambda x: gd.tanh(gd.constant(M.T) @ gd.tanh(gd.matrix_transpose(x))),
    "both factors": lambda x: gd.sin(x) @ gd.matrix_transpose(x * x),
    "vectors": lambda x: (x[0] @ x[1]) * x[0],
    "einsum": lambda x: gd.sin(gd.einsum("ij,ik->jk", x, x * x)),
    "cumulative": lambda x: gd.sin(gd.cumsum(x * x, axis=1)),
    "triangle": lambda x: gd.exp(gd.tril(x @ gd.matrix_transpose(x))),
    "solve": lambda x: gd.linalg.solve(x @ gd.matrix_transpose(x) + np.eye(2), gd.sin(x[:, 0])),
    "softmax": lambda x: gd.log(gd.softmax(x * 2, axis=0)),
    "variance": lambda x: gd.var(x, axis=1) * gd.std(x, axis=1),
    "where": lambda x: gd.where(x > 0, gd.exp(x), x * x),
    "maximum": lambda x: gd.max(x, axis=1) * gd.maximum(x[:, 0], 0.3),
    "input as output": lambda x: (x, x[0] * x[1]),
    "constant output": lambda x: (gd.sum(x), gd.constant([1.0, 2.0])),
    "same twice": lambda x: (lambda y: (y, y, gd.sin(y)))(x * x[:, :1]),
    "not differentiable part": lambda x: gd.floor(x) * x + gd.sign(x),
    "placed": lambda x: gd.at(x * x, (0, slice(1, None))).set(gd.sin(x[1, 1:])),
}


def leaves_of(tree: Any) -> list[Any]:
    return [leaf for each in tree for leaf in leaves_of(each)] if isinstance(tree, (list, tuple)) else [tree]


def agree(computed: Any, expected: Any) -> None:
    for one, other in zip(leaves_of(computed), leaves_of(expected), strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        scale = np.abs(np.asarray(other)).max(initial=1.0)
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-12, atol=1e-12 * scale)


@pytest.mark.parametrize("name", BED)
def test_the_test_bed_agrees_with_reverse_mode(name):
    case = BED[name]
    expected = gd.jacobian(case.function, mode="reverse")(case.point)
    agree(gd.jacobian(case.function, mode="elimination")(case.point), expected)
    agree(gd.jacobian(case.function)(case.point), expected)


def test_the_test_bed_is_what_it_says():
    assert len(BED) == 40
    sizes = {
        name: (case.point.size, gd.constant(np.asarray(case.function(case.point))).size) for name, case in BED.items()
    }
    assert sum(inputs > outputs for inputs, outputs in sizes.values()) >= 10
    assert sum(inputs < outputs for inputs, outputs in sizes.values()) >= 5


@pytest.mark.parametrize("name", STRUCTURES)
def test_structures(name):
    function = STRUCTURES[name]
    expected = gd.jacobian(function, mode="reverse")(X)
    agree(gd.jacobian(function, mode="elimination")(X), expected)
    agree(gd.compile(gd.jacobian(function, mode="elimination"))(X), expected)
    point = gd.variable(X)
    graph = BlockGraph(leaves_of(function(point)), [point])
    for order in (graph.inner, graph.inner[::-1], graph._greedy()):
        agree(graph.jacobian(order), [[block] for block in leaves_of(expected)])


def test_central_differences():
    case = BED["network 5-200-5-200-5"]
    computed = np.asarray(gd.jacobian(case.function, mode="elimination")(case.point))
    for column in range(5):
        step = 1e-6 * (np.arange(5) == column)
        slope = (np.asarray(case.function(case.point + step)) - np.asarray(case.function(case.point - step))) / 2e-6
        np.testing.assert_allclose(computed[:, column], slope, rtol=1e-7, atol=1e-9)


def test_arguments_and_structures():
    def f(p, s):
        return {"a": gd.sin(p["w"] @ p["x"]) * s, "b": p["x"] * 2}

    p = {"w": gd.constant(X), "x": gd.constant([1.0, -0.5, 2.0])}
    computed = gd.jacobian(f, argnums=(0, 1), mode="elimination")(p, 3.0)
    expected = gd.jacobian(f, argnums=(0, 1), mode="reverse")(p, 3.0)
    assert computed["b"][0]["w"].shape == (3, 2, 3)
    for output in ("a", "b"):
        for leaf in ("w", "x"):
            agree(computed[output][0][leaf], expected[output][0][leaf])
        agree(computed[output][1], expected[output][1])


def test_single_precision_stays():
    x = X.astype(np.float32)
    computed = gd.jacobian(lambda x: gd.tanh(gd.sin(x) @ M.astype(np.float32)), mode="elimination")(x)
    assert computed.dtype == np.float32
    wide = gd.jacobian(lambda x: gd.sin(x.astype("float64")) * 2, mode="elimination")(x)
    assert wide.dtype == gd.jacobian(lambda x: gd.sin(x.astype("float64")) * 2, mode="reverse")(x).dtype


def test_is_differentiated_on():
    total = lambda mode: lambda x: gd.sum(gd.jacobian(STRUCTURES["matrix on the right"], mode=mode)(x) ** 2)  # noqa: E731
    agree(gd.grad(total("elimination"))(X), gd.grad(total("reverse"))(X))


# What is not made -------------------------------------------------------------------------------------------------


def test_no_square_matrix_for_elementwise_ops():
    x = gd.variable(np.linspace(0.1, 1.0, 500))
    with gd.use_backend("numpy"):
        (row,) = BlockGraph([gd.sin(gd.exp(x) * x)], [x]).jacobian(BlockGraph([gd.sin(gd.exp(x) * x)], [x]).inner)
    assert row[0].shape == (500, 500)
    plan = gd.compile(gd.jacobian(lambda x: gd.sin(gd.exp(x) * x), mode="elimination")).plan(x.value)
    large = [each for each in plan.instructions if math.prod(each.shape) > 500]
    assert {each.op for each in large} == {"scatter_add"}
    assert plan.cost.flops < 500 * 20


def test_a_single_number_between_is_one_outer_product():
    f = lambda x: gd.exp(gd.sum(x)) * gd.constant(np.arange(1.0, 401.0))  # noqa: E731
    plan = gd.compile(gd.jacobian(f, mode="elimination")).plan(np.ones(300))
    assert plan.cost.flops < 3 * 300 * 400


# Orders ----------------------------------------------------------------------------------------------------------


def chain(widths: list[int]) -> BlockGraph:
    """Return a chain of matrix products: the blocks are the matrices."""
    x = gd.variable(np.ones(widths[0]))
    y: Any = x
    for before, after in itertools.pairwise(widths):
        y = gd.constant(np.ones((after, before))) @ y
    return BlockGraph([y], [x])


def test_the_textbook_matrix_chain():
    """CLRS, Introduction to Algorithms, section 15.2: widths 30, 35, 15, 5, 10, 20, 25 take 15,125 multiplications."""
    graph = chain([25, 20, 10, 5, 15, 35, 30])
    before = gd.rates.use(gd.rates.Rates(0, 0, 0, product=1, function=0, byte=0))
    try:
        order = graph._chain()
        cost = graph._accumulated(order, Algebra(False))[0].cost
    finally:
        gd.rates.use(before)
    assert cost.multiplications == 15_125


@given(st.lists(st.integers(1, 40), min_size=3, max_size=6))
@settings(max_examples=25, deadline=None)
def test_no_order_of_a_chain_is_cheaper_than_the_one_found(widths):
    graph = chain(widths)
    best = graph.best_order()[1].seconds
    for order in itertools.permutations(graph.inner):
        assert graph._accumulated(list(order), Algebra(False))[0].cost.seconds >= best * (1 - 1e-12)


def test_what_is_counted_is_what_is_built():
    case = BED["network 30-64-64-300"]
    x = gd.variable(case.point)
    graph = BlockGraph([case.function(x)], [x])
    for order in (graph.inner, graph.inner[::-1]):
        algebra = graph._accumulated(order, Algebra(False))[0]
        built = graph.jacobian(order)[0][0]
        products = [
            node
            for node in topological_order([built])
            if node.op is not None and node.op.name == "matmul" and node.ndim == 2
        ]
        assert algebra.cost.products == sum(node.size * (2 * node.inputs[0].shape[1] - 1) for node in products)


# The algebra -----------------------------------------------------------------------------------------------------


def dense_of(block: Any) -> Any:
    return np.asarray(Algebra(True).dense(block).value())


@st.composite
def sparse_blocks(draw, rows: int, columns: int) -> Sparse:
    count = draw(st.integers(1, 6))
    row = draw(st.lists(st.integers(0, rows - 1), min_size=count, max_size=count))
    column = draw(st.lists(st.integers(0, columns - 1), min_size=count, max_size=count))
    values: Any = draw(st.one_of(st.sampled_from([1, -1, 2.5]), st.just(gd.constant(np.arange(1.0, count + 1)))))
    return Sparse((rows, columns), [Part(places(row), places(column), values)])


@given(sparse_blocks(4, 5), sparse_blocks(5, 3), sparse_blocks(4, 5))
@settings(max_examples=60, deadline=None)
def test_products_and_sums_of_sparse_blocks(one, other, like):
    algebra = Algebra(True)
    matrices = [np.zeros(block.shape) for block in (one, other, like)]
    for block, matrix in zip((one, other, like), matrices, strict=True):
        for part in block.parts:
            values = np.broadcast_to(np.asarray(part.values), len(part.rows))
            np.add.at(matrix, (list(part.rows), list(part.columns)), values)
        np.testing.assert_allclose(dense_of(block), matrix)
    first, second, third = matrices
    np.testing.assert_allclose(dense_of(algebra.product(one, other)), first @ second)
    np.testing.assert_allclose(dense_of(algebra.sum(one, like)), first + third)
    np.testing.assert_allclose(dense_of(algebra.product(algebra.dense(one), other)), first @ second)
    np.testing.assert_allclose(dense_of(algebra.product(one, algebra.dense(other))), first @ second)


@pytest.mark.parametrize("numbers", [[], [3], [0, 1, 2], [1, 3, 5], [2, 1, 0], [0, 0], [0, 1, 3]])
def test_places(numbers):
    found = places(numbers)
    assert list(found) == numbers
    assert isinstance(found, range) == (numbers not in ([2, 1, 0], [0, 0], [0, 1, 3]))


# Choosing --------------------------------------------------------------------------------------------------------


def test_auto_takes_blocks_where_they_save_most():
    choice = gd.jacobian(BED["narrow in the middle, 150-3-150"].function).explain(np.ones(150))
    assert choice.mode == "elimination"
    assert choice.costs["elimination"].nbytes < 0.5 * choice.costs["forward"].nbytes
    assert gd.jacobian(BED["network 30-64-64-300"].function).explain(np.ones(30)).mode != "reverse"
    assert gd.jacobian(BED["network 300-64-64-30"].function).explain(np.ones(300)).mode != "forward"


def test_auto_leaves_what_a_where_protects_to_reverse_mode():
    f = lambda x: gd.where(x > 0, gd.sqrt(gd.where(x > 0, x, 0.0)), 0.0) * gd.sum(x)  # noqa: E731
    x = np.array([0.0, 4.0])
    assert "elimination" not in gd.jacobian(f).explain(x).costs
    np.testing.assert_array_equal(gd.jacobian(f)(x), [[0.0, 0.0], [2.0, 3.0]])


@pytest.mark.parametrize("mode", ["auto", "forward", "reverse", "elimination"])
@pytest.mark.parametrize("size", [2, 9, 40])
def test_hessians(mode, size):
    def f(x):
        return gd.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    x = np.random.default_rng(size).normal(size=size)
    assert float(f(gd.constant(x))) == pytest.approx(rosen(x))
    expected = rosen_hess(x)
    for computed in (gd.hessian(f, mode=mode)(x), gd.compile(gd.hessian(f, mode=mode))(x)):
        np.testing.assert_allclose(np.asarray(computed), expected, rtol=1e-12, atol=1e-10)


def test_a_hessian_says_how_it_is_computed():
    hessian = gd.hessian(lambda x: gd.sum(x[1:] * x[:-1] ** 2))
    choice = hessian.explain(np.ones(300))
    assert choice.mode == "elimination"
    assert str(choice).startswith("Hessian, as the Jacobian of the gradient, of 300 outputs by 300 inputs: elimination")
    with pytest.raises(gd.errors.GraphError, match="sideways"):
        gd.hessian(gd.sum, mode="sideways")


# Wrong input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", "forward", "reverse", "elimination"])
def test_wrong_input(mode):
    with pytest.raises(gd.errors.DTypeError, match="only real floating"):
        gd.jacobian(lambda x: x * 2.0, mode=mode)(np.arange(3))
    with pytest.raises(gd.errors.DTypeError, match="not real floating"):
        gd.jacobian(lambda x: x > 0, mode=mode)(np.ones(3))
    np.testing.assert_array_equal(
        gd.jacobian(lambda x: gd.constant([1.0, 2.0]), mode=mode)(np.ones(3)), np.zeros((2, 3))
    )
    with pytest.raises(gd.errors.DTypeError, match="only real floating"):
        gd.hessian(gd.sum, mode=mode)(np.arange(3))


def test_a_random_function_is_differentiated_at_what_it_drew():
    generator = np.random.default_rng(0)

    def f(x):
        return x * generator.normal(size=3)

    first, second = (np.diag(np.asarray(gd.jacobian(f, mode="elimination")(np.ones(3)))) for _ in range(2))
    assert not np.array_equal(first, second)
    with pytest.raises(gd.errors.GraphError, match="another result"):
        gd.compare_modes(f, np.ones(3), seconds=0.001)
