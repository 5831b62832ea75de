"""Tensor: NumPy's protocols, Python's operators, dtypes, names, lines, and the three leaves."""

import inspect
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff import errors

A = np.array([[0.3, -0.7, 1.2], [2.0, 0.4, -1.1]])
SQUARE = np.array([[2.0, 0.5, 0.1], [0.5, 3.0, -0.4], [0.1, -0.4, 1.5]])
STACK = np.arange(12.0).reshape(3, 2, 2) + 1

# NumPy's functions on Tensors ------------------------------------------------------------

UFUNCS = [
    "negative",
    "positive",
    "absolute",
    "abs",
    "sign",
    "square",
    "exp",
    "expm1",
    "sin",
    "cos",
    "tan",
    "arctan",
    "sinh",
    "cosh",
    "tanh",
    "arcsinh",
    "floor",
    "ceil",
    "trunc",
    "rint",
    "sqrt",
    "log",
    "log1p",
    "log2",
    "log10",
    "arcsin",
    "arccos",
    "arctanh",
    "reciprocal",
    "isnan",
    "isfinite",
    "isinf",
]
BINARY_UFUNCS = [
    "add",
    "subtract",
    "multiply",
    "divide",
    "true_divide",
    "power",
    "pow",
    "maximum",
    "minimum",
    "arctan2",
    "hypot",
    "logaddexp",
    "floor_divide",
    "remainder",
    "mod",
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "equal",
    "not_equal",
]


@pytest.mark.parametrize("name", UFUNCS)
def test_ufunc(name: str) -> None:
    ufunc = getattr(np, name)
    point = np.array([0.3, 0.7])
    computed = ufunc(gd.variable(point))
    assert isinstance(computed, gd.Tensor)
    np.testing.assert_allclose(computed.numpy(), ufunc(point), rtol=1e-15)
    assert computed.dtype == ufunc(point).dtype


@pytest.mark.parametrize("name", BINARY_UFUNCS)
@pytest.mark.parametrize("side", ["left", "right", "both"])
def test_binary_ufunc_with_an_array_on_either_side(name: str, side: str) -> None:
    ufunc = getattr(np, name)
    x, y = np.array([[0.3, 0.7]]), np.array([[2.5], [1.5]])
    left = gd.variable(x) if side != "right" else x
    right = gd.variable(y) if side != "left" else y
    computed = ufunc(left, right)
    assert isinstance(computed, gd.Tensor)
    assert computed.recorded
    np.testing.assert_allclose(computed.numpy(), ufunc(x, y), rtol=1e-15)


FUNCTIONS: dict[str, tuple[Callable[..., Any], list[Any]]] = {
    "sum axis": (lambda x: np.sum(x, axis=0), [A]),
    "sum keepdims": (lambda x: np.sum(x, axis=1, keepdims=True), [A]),
    "mean": (np.mean, [A]),
    "prod": (lambda x: np.prod(x, axis=1), [A]),
    "var": (lambda x: np.var(x, axis=0, ddof=1), [A]),
    "std": (np.std, [A]),
    "max": (lambda x: np.max(x, axis=0), [A]),
    "amin": (np.amin, [A]),
    "cumsum": (lambda x: np.cumsum(x, axis=1), [A]),
    "cumsum flat": (np.cumsum, [A]),
    "add.reduce": (np.add.reduce, [A]),
    "maximum.reduce": (lambda x: np.maximum.reduce(x, axis=1), [A]),
    "matmul": (np.matmul, [A, SQUARE]),
    "dot": (np.dot, [A, SQUARE]),
    "einsum": (lambda x, y: np.einsum("ij,jk->ki", x, y), [A, SQUARE]),
    "tensordot": (lambda x, y: np.tensordot(x, y, axes=1), [A, SQUARE]),
    "outer": (np.outer, [A[0], A[1]]),
    "trace": (np.trace, [SQUARE]),
    "trace of a stack": (np.trace, [STACK]),
    "diagonal": (np.diagonal, [SQUARE]),
    "concatenate": (lambda x, y: np.concatenate([x, y], axis=0), [A, SQUARE]),
    "stack": (lambda x: np.stack([x, 2 * x], axis=1), [A]),
    "where": (lambda x, y: np.where(x > 0, x, y), [A, 3 * A]),
    "where on arrays": (lambda x: np.where(A > 0, x, 0.0), [A]),
    "clip": (lambda x: np.clip(x, -0.5, 0.5), [A]),
    "reshape": (lambda x: np.reshape(x, (3, 2)), [A]),
    "transpose": (np.transpose, [A]),
    "transpose axes": (lambda x: np.transpose(x, (1, 0, 2)), [STACK]),
    "swapaxes": (lambda x: np.swapaxes(x, 0, 1), [A]),
    "moveaxis": (lambda x: np.moveaxis(x, 0, -1), [STACK]),
    "expand_dims": (lambda x: np.expand_dims(x, 1), [A]),
    "squeeze": (np.squeeze, [A[:1]]),
    "ravel": (np.ravel, [A]),
    "broadcast_to": (lambda x: np.broadcast_to(x, (4, 2, 3)), [A]),
    "tile": (lambda x: np.tile(x, (2, 1)), [A]),
    "repeat": (lambda x: np.repeat(x, 2, axis=0), [A]),
    "roll": (lambda x: np.roll(x, 1, axis=1), [A]),
    "flip": (lambda x: np.flip(x, 1), [A]),
    "pad": (lambda x: np.pad(x, ((1, 0), (0, 2))), [A]),
    "take": (lambda x: np.take(x, [0, 2], axis=1), [A]),
    "tril": (np.tril, [SQUARE]),
    "sort": (lambda x: np.sort(x, axis=1), [A]),
    "linalg.inv": (np.linalg.inv, [SQUARE]),
    "linalg.det": (np.linalg.det, [SQUARE]),
    "linalg.solve": (np.linalg.solve, [SQUARE, A[0]]),
    "linalg.norm": (np.linalg.norm, [A]),
    "linalg.norm axis": (lambda x: np.linalg.norm(x, axis=1), [A]),
    "linalg.cholesky": (np.linalg.cholesky, [SQUARE]),
    "linalg.trace of a stack": (np.linalg.trace, [STACK]),
    "linalg.diagonal of a stack": (np.linalg.diagonal, [STACK]),
    "linalg.outer": (np.linalg.outer, [A[0], A[1]]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_numpy_function_builds_a_graph_that_carries_gradients(name: str) -> None:
    function, arguments = FUNCTIONS[name]
    leaves = [gd.variable(argument) for argument in arguments]
    computed = function(*leaves)
    expected = function(*arguments)
    assert isinstance(computed, gd.Tensor)
    assert computed.dtype == expected.dtype
    np.testing.assert_allclose(computed.numpy(), expected, rtol=1e-12, atol=1e-14)
    weights = np.cos(np.arange(expected.size)).reshape(expected.shape)
    computed.backward(weights)
    for position, (leaf, argument) in enumerate(zip(leaves, arguments)):
        direction = np.sin(1 + np.arange(argument.size)).reshape(argument.shape)
        step = 1e-6
        ends = []
        for sign in (1, -1):
            moved = list(arguments)
            moved[position] = argument + sign * step * direction
            ends.append(np.sum(weights * function(*moved)))
        assert np.sum(leaf.grad * direction) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6, abs=1e-8)


def test_numpy_and_graphdiff_build_the_same_nodes() -> None:
    x = gd.variable(A)
    pairs = [
        (np.tanh(x), gd.tanh(x)),
        (np.sum(x, axis=0), gd.sum(x, axis=0)),
        (A * x, gd.multiply(A, x)),
        (A.T @ x, gd.matmul(A.T, x)),
        (np.float64(2.0) * x, gd.multiply(2.0, x)),
        (np.concatenate([A, x]), gd.concatenate([A, x])),
    ]
    for from_numpy, direct in pairs:
        assert from_numpy.op is direct.op
        assert from_numpy.attributes == direct.attributes
        assert len(from_numpy.inputs) == len(direct.inputs)
        np.testing.assert_array_equal(from_numpy.numpy(), direct.numpy())


@pytest.mark.parametrize("function", [np.fft.fft, np.linalg.eigvals, np.unwrap])
def test_a_numpy_function_without_counterpart_says_so(function: Callable[[Any], Any]) -> None:
    with pytest.raises(errors.OpError, match=rf"numpy.*\b{function.__name__}\b.*np\.asarray"):
        function(gd.variable(SQUARE))


# Operators ------------------------------------------------------------

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    name: getattr(operator, name)
    for name in "add sub mul truediv floordiv mod pow lt le gt ge eq ne".split()  # noqa: SIM905
}
INTEGER_OPERATORS = {name: getattr(operator, name) for name in ("and_", "or_", "xor")}


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("other", [2, 2.5, np.array([1.5, 2.0]), [1.5, 2.0], np.float64(1.5)], ids=repr)
def test_operator_and_its_reflection(name: str, other: Any) -> None:
    apply, x = OPERATORS[name], np.array([3.5, 0.5])
    plain = np.asarray(other) if isinstance(other, list) else other
    np.testing.assert_array_equal(apply(gd.variable(x), other).numpy(), apply(x, plain))
    np.testing.assert_array_equal(apply(other, gd.variable(x)).numpy(), apply(plain, x))


@pytest.mark.parametrize("name", INTEGER_OPERATORS)
@pytest.mark.parametrize(("x", "y"), [(np.array([5, 6]), 3), (np.array([True, False]), True)], ids=["int", "bool"])
def test_bitwise_operator(name: str, x: Any, y: Any) -> None:
    apply = INTEGER_OPERATORS[name]
    np.testing.assert_array_equal(apply(gd.constant(x), y).numpy(), apply(x, y))
    np.testing.assert_array_equal(apply(y, gd.constant(x)).numpy(), apply(y, x))
    np.testing.assert_array_equal((~gd.constant(x)).numpy(), ~x)


def test_matmul_with_arrays_on_either_side() -> None:
    x = gd.variable(A)
    np.testing.assert_array_equal((x @ SQUARE).numpy(), A @ SQUARE)
    np.testing.assert_array_equal((A.T @ x).numpy(), A.T @ A)
    gd.sum(A.T @ x).backward()
    np.testing.assert_allclose(x.grad, A @ np.ones((3, 3)), rtol=1e-15)


def test_unary_operators_and_rounding() -> None:
    x = gd.variable(A)
    for apply in (operator.neg, operator.pos, operator.abs):
        np.testing.assert_array_equal(apply(x).numpy(), apply(A))
    np.testing.assert_array_equal(x.T.numpy(), A.T)
    np.testing.assert_array_equal(gd.variable(STACK).mT.numpy(), np.swapaxes(STACK, 1, 2))


METHODS: dict[str, Callable[[Any], Any]] = {
    "sum": lambda x: x.sum(axis=0),
    "mean": lambda x: x.mean(1, keepdims=True),
    "var": lambda x: x.var(ddof=1),
    "std": lambda x: x.std(axis=0),
    "max": lambda x: x.max(axis=1),
    "argmin": lambda x: x.argmin(axis=1),
    "any": lambda x: (x > 1).any(),
    "all": lambda x: (x > 1).all(axis=0),
    "cumsum": lambda x: x.cumsum(axis=1),
    "cumprod": lambda x: x.cumprod(axis=0),
    "reshape": lambda x: x.reshape(3, 2),
    "reshape tuple": lambda x: x.reshape((-1,)),
    "transpose": lambda x: x.transpose(),
    "transpose axes": lambda x: x.transpose(1, 0),
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "ravel": lambda x: x.ravel(),
    "astype": lambda x: x.astype("float32"),
    "clip": lambda x: x.clip(-0.5, 0.5),
    "round": lambda x: x.round(),
    "dot": lambda x: x.dot(x.T),
    "take": lambda x: x.take([1, 0], axis=0),
    "repeat": lambda x: x.repeat(2, axis=1),
    "diagonal": lambda x: x.diagonal(),
    "trace": lambda x: x.trace(),
    "item": lambda x: np.asarray(x[0, 1].item()),
    "tolist": lambda x: np.asarray(x.tolist()),
}


@pytest.mark.parametrize("name", METHODS)
def test_method(name: str) -> None:
    computed, expected = METHODS[name](gd.variable(A)), METHODS[name](A)
    np.testing.assert_allclose(np.asarray(computed), expected, rtol=1e-15)
    assert computed.dtype == expected.dtype


# Dtypes ------------------------------------------------------------

DTYPES = ("float64", "float32", "int64", "int32", "uint8", "bool")
SCALARS = (2, 2.0, True, np.float64(2.0), np.float32(2.0), np.int64(2))
NUMPYS = OPERATORS | {"pow": np.power}
"""What NumPy promotes by: before 2.3 its operator ** took a short cut for some exponents, and kept the base's dtype."""


def promoted(apply: Callable[[Any, Any], Any], x: Any, y: Any) -> Any:
    """Return the dtype of the result, or None where the types do not go together."""
    try:
        return apply(x, y).dtype
    except TypeError:
        return None


@pytest.mark.parametrize("left", DTYPES)
@pytest.mark.parametrize("right", DTYPES)
@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv", "floordiv", "pow", "lt"])
@pytest.mark.parametrize("shape", [(), (2,)], ids=["0-d", "1-d"])
def test_promotion_of_tensors(left: str, right: str, name: str, shape: tuple[int, ...]) -> None:
    x, y = np.ones(shape, left), np.ones(shape, right)
    expected = promoted(NUMPYS[name], x, y)
    assert promoted(OPERATORS[name], gd.variable(x), gd.variable(y)) == expected
    pure = promoted(OPERATORS[name], gd.placeholder(shape, left), gd.placeholder(shape, right))
    if expected is not None:
        assert pure == expected


@pytest.mark.parametrize(
    ("kind", "scalar", "name"),
    [
        pytest.param(kind, scalar, name, id=f"{name}-{type(scalar).__name__}-{kind}")
        for name in ("add", "mul", "truediv", "pow", "lt")
        for scalar in SCALARS
        for kind in DTYPES
        if (kind, name, type(scalar)) != ("bool", "pow", int)  # NumPy squares arrays in int8 and scalars in int64
    ],
)
@pytest.mark.parametrize("shape", [(), (2,)], ids=["0-d", "1-d"])
def test_python_numbers_are_weak_and_numpy_numbers_are_not(
    kind: str, scalar: Any, name: str, shape: tuple[int, ...]
) -> None:
    x, apply, numpys = np.ones(shape, kind)[()], OPERATORS[name], NUMPYS[name]
    expected = promoted(numpys, x, scalar)
    assert promoted(apply, gd.variable(x), scalar) == expected
    assert promoted(apply, scalar, gd.variable(x)) == promoted(numpys, scalar, x)
    pure = promoted(apply, gd.placeholder(shape, kind), scalar)
    if expected is not None:
        assert pure == expected


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize(
    "function", ["exp", "tanh", "sum", "prod", "mean", "max", "cumsum", "argmax", "sqrt", "square"]
)
def test_dtypes_of_functions(kind: str, function: str) -> None:
    x = np.ones((2, 3), kind)
    try:
        expected = getattr(np, function)(x).dtype
    except TypeError:
        pytest.skip(f"NumPy has no {function} of {kind}")
    assert getattr(gd, function)(gd.variable(x)).dtype == expected
    assert getattr(gd, function)(gd.placeholder((2, 3), kind)).dtype == expected


def test_zeros_and_ones_keep_their_sign_and_type() -> None:
    x = gd.variable(1.0)
    assert np.signbit((x * -0.0).item())
    assert not np.signbit((x * 0.0).item())
    assert (gd.variable(1) + True).dtype == np.int64
    assert (gd.variable(1) + 1.0).dtype == np.float64
    assert np.isnan((x * float("nan")).item())


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(2.0, "float64"), (2, "int64"), (True, "bool"), ([1, 2.5], "float64"), (np.float32(1), "float32")],
)
def test_dtype_of_a_leaf(value: Any, dtype: str) -> None:
    for make in (gd.variable, gd.constant):
        assert make(value).dtype == dtype
        assert make(value, dtype="float32").dtype == "float32"
    assert gd.placeholder().dtype == np.float64


# Python's protocols ------------------------------------------------------------


def test_conversions() -> None:
    x = gd.variable(2.75)
    assert (float(x), int(x), complex(x), bool(x)) == (2.75, 2, 2.75 + 0j, True)
    assert not bool(x * 0)
    assert float(gd.variable([[2.5]])) == 2.5
    assert list(range(gd.constant(3))) == [0, 1, 2]
    assert [10, 20, 30][gd.constant(1)] == 20
    array = np.asarray(gd.variable(A))
    np.testing.assert_array_equal(array, A)
    assert np.asarray(x, dtype="float32").dtype == np.float32
    assert np.array(gd.variable([1, 2])).dtype == np.int64
    assert not np.shares_memory(np.array(gd.variable(A), copy=True), array)


def test_length_and_iteration() -> None:
    x = gd.variable(A)
    assert len(x) == 2
    rows = list(x)
    assert [row.tolist() for row in rows] == A.tolist()
    (rows[0] * 3).backward(np.ones(3))
    np.testing.assert_array_equal(x.grad, [[3, 3, 3], [0, 0, 0]])
    _first, second = x
    assert second.tolist() == A[1].tolist()
    for broken in (len, list):
        with pytest.raises(errors.ShapeError, match=r"0-d"):
            broken(gd.variable(1.0, name="speed"))


@pytest.mark.parametrize("convert", [float, int, lambda x: x.item(), lambda x: f"{x:.2f}"])
def test_only_a_single_element_is_a_number(convert: Callable[[Any], Any]) -> None:
    with pytest.raises(errors.ShapeError, match=r"'table' float64.*6"):
        convert(gd.variable(A, name="table"))


def test_formatting() -> None:
    x = gd.variable(2 / 3, name="share")
    assert f"{x:.2f}" == "0.67"
    assert f"{x:>8.1%}" == "   66.7%"
    assert f"{x}" == repr(x) == "Variable(name='share', 0.6667, shape=(), dtype=float64)"
    assert repr(gd.exp(gd.variable([0.0, 0.0]))) == "Tensor([1., 1.], shape=(2,), dtype=float64, op=exp)"
    assert repr(gd.placeholder((2,), name="x") * 2) == "Tensor(no value, shape=(2,), dtype=float64, op=multiply)"
    big = repr(gd.variable(np.arange(100.0)))
    assert "mean 49.5, min 0, max 99" in big
    assert "shape=(100,)" in big


def test_equality_is_elementwise_and_hashing_by_identity() -> None:
    x, y = gd.variable([1.0, 2.0]), gd.variable([1.0, 3.0])
    assert (x == y).tolist() == [True, False]
    assert (x != y).tolist() == [False, True]
    assert len({x, y, x}) == 2
    assert {x: "x", y: "y"}[x] == "x"


# Names, lines, scopes ------------------------------------------------------------


def test_name() -> None:
    x = gd.variable(1.0, name="x")
    y = (x + 1).named("y")
    assert (x.name, y.name, (x + 1).name) == ("x", "y", None)
    y.name = "z"
    assert y.describe() == "'z' float64[]"
    assert (x + 1).describe() == "add float64[]"
    assert gd.placeholder((2, 3), "float32").describe() == "placeholder float32[2, 3]"


def test_source_is_the_line_of_the_user() -> None:
    frame = inspect.currentframe()
    assert frame is not None
    here = frame.f_lineno
    made = [
        gd.variable(1.0),
        gd.constant(1.0),
        gd.placeholder(),
        gd.variable(1.0) * 2,
        gd.nn.Linear(2, in_features=1)(np.ones((1, 1))),
        np.tanh(gd.variable(1.0)),
        gd.grad(lambda x: x * x)(1.0),
        gd.nn.softmax_cross_entropy(
            gd.variable([[0.0, 1.0]]), [1]
        ),
    ]  # fmt: skip
    lines = [int(node.source.rpartition(":")[2]) - here for node in made]
    assert lines == [2, 3, 4, 5, 6, 7, 8, 9]
    assert all(node.source.rpartition(":")[0] == __file__ for node in made)


def test_name_scopes_nest_and_end_with_an_error() -> None:
    with gd.name_scope("encoder") as outer:
        with gd.name_scope("layer1") as inner:
            x = gd.variable(1.0) * 2
        y = x + 1
    assert (outer, inner) == ("encoder", "encoder/layer1")
    assert (x.scope, y.scope, (y + 1).scope) == ("encoder/layer1", "encoder", "")
    with pytest.raises(KeyError), gd.name_scope("broken"):
        raise KeyError
    assert (y + 1).scope == ""


# Leaves ------------------------------------------------------------


def test_constants_record_nothing() -> None:
    total = gd.constant(1.0)
    for _ in range(3):
        total = gd.sum(gd.stack([gd.exp(total * 0.5), total]) @ np.eye(2), keepdims=True)[0]
    assert (total.op, total.inputs, total.recorded) == (None, (), False)
    recorded = total * gd.variable(1.0)
    assert recorded.recorded
    assert recorded.inputs[0] is total


def test_a_variable_copies_its_value() -> None:
    array = np.array([1.0, 2.0])
    x = gd.variable(array)
    array[0] = 9.0
    assert x.tolist() == [1.0, 2.0]
    x.assign(array)
    array[0] = -1.0
    assert x.tolist() == [9.0, 2.0]


def test_versions_and_assignment() -> None:
    x = gd.variable([1.0, 2.0], dtype="float32")
    before = x.value
    assert (x.version, x.grad) == (0, None)
    assert x.assign([3, 4]) is x
    x.value = gd.constant([5.0, 6.0])
    assert (x.version, x.dtype, x.tolist()) == (2, np.float32, [5.0, 6.0])
    assert before.tolist() == [1.0, 2.0]
    same = x
    x += 1
    x *= 2
    x -= 4
    x /= 2
    assert same is x
    assert (x.version, x.tolist()) == (6, [4.0, 5.0])
    gd.sum(x * x).backward()
    assert x.grad.tolist() == [8.0, 10.0]
    assert x.grad.dtype == np.float32


def test_variable_is_final() -> None:
    with pytest.raises(TypeError):
        type("Mine", (gd.Variable,), {})


def test_functional_update() -> None:
    x = gd.variable(A)
    np.testing.assert_array_equal(x.at[0, 1].set(9.0).numpy(), [[0.3, 9.0, 1.2], [2.0, 0.4, -1.1]])
    np.testing.assert_array_equal(x.numpy(), A)


def test_placeholders_have_shape_and_dtype_but_no_value() -> None:
    x = gd.placeholder((2, 3), "float32", name="x")
    y = np.sum(x @ gd.variable(SQUARE) > 0, axis=0)
    assert (y.shape, y.dtype, y.ndim, y.size, y.has_value) == ((3,), np.int64, 1, 3, False)
    assert gd.placeholder(4).shape == (4,)


def test_properties() -> None:
    x = gd.variable(STACK)
    assert (x.shape, x.ndim, x.size, x.dtype, x.has_value) == ((3, 2, 2), 3, 12, np.float64, True)
    y = x + 1
    assert y.serial > x.serial
    assert y.backend is x.backend is gd.current_backend()


def test_a_number_in_a_loop_is_one_constant_however_many_numbers_came_before():
    x = gd.variable(0.5)
    for number in range(1, 3000):
        x * (number / 7)
    y = x
    for _ in range(10):
        y = y * 0.123456789
    assert len(gd.Graph(y)) == 1 + 1 + 10


def test_numpy_tells_shapes() -> None:
    for tensor in (gd.variable(np.ones((2, 3))), gd.placeholder((2, 3), "float32")):
        assert (np.shape(tensor), np.ndim(tensor), np.size(tensor)) == ((2, 3), 2, 6)
