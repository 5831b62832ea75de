"""Every op: both modes against finite differences and each other, second order, batching, dtypes, pure graph."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.analysis import check

Case = tuple[str, Callable[..., Any], list[Any]]
random = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    """Numbers of which no two are nearly equal, so that the order of them has no kink nearby."""
    drawn = random.normal(size=shape)
    flat, gaps = drawn.ravel(), 0.01 * np.arange(drawn.size)
    order = np.argsort(flat)
    flat[order] = np.maximum.accumulate(flat[order] - gaps) + gaps
    return flat.reshape(shape)


def inside(*shape: int) -> Any:
    """Numbers inside the domain of every function, and away from kinks."""
    drawn = np.asarray(random.uniform(0.3, 0.8, size=shape))
    return np.where(np.abs(drawn - 0.5) < 0.01, 0.52, drawn)  # where `round` jumps


def positive_definite(n: int) -> Any:
    root = normal(n, n)
    return root @ root.T + n * np.eye(n)


UNARY = (
    "negative abs sign square reciprocal exp expm1 sin cos tan atan sinh cosh tanh asinh erf sigmoid softplus relu "
    "exp_of_square gaussian normal_cdf logistic "
    "leaky_relu elu gelu gelu_tanh gelu_tanh_slope hard_tanh floor ceil round trunc asin acos atanh sqrt cbrt log "
    "log1p log2 log10"
)
BINARY = "add subtract multiply divide power maximum minimum atan2 hypot logaddexp floor_divide remainder"
REDUCTIONS = "sum mean prod var std max min logsumexp median"
ALONG = "cumsum cumprod softmax log_softmax sort"


def elementwise_cases() -> list[Case]:
    cases: list[Case] = [("acosh", gd.acosh, [1 + inside(3)])]
    for name in UNARY.split():
        function = getattr(gd, name)
        cases += [(name, function, [inside(2, 3)]), (f"{name} 0-d", function, [inside()])]
    for name in BINARY.split():
        function = getattr(gd, name)
        # Between 2 and 3 times as large, so that no quotient is near a whole number.
        x, y = (6, 2) if name in ("floor_divide", "remainder") else (0, 0)
        cases += [
            (name, function, [x + inside(2, 3), y + inside(3)]),
            (f"{name} broadcast", function, [x + inside(2, 1), y + inside()]),
            (f"{name} of one variable", lambda x, f=function: f(x, x * 1.7), [inside(3)]),
        ]
    mask = np.array([True, False, True])
    return [
        *cases,
        ("where", lambda x, y: gd.where(mask, x, y), [normal(2, 3), normal(3)]),
        ("clip", lambda x: gd.clip(x, -0.5, 0.5), [normal(4)]),
        ("clip by tensors", gd.clip, [normal(4), -inside(4), inside(4)]),
    ]


def reduction_cases() -> list[Case]:
    cases: list[Case] = []
    for name in REDUCTIONS.split():
        function = getattr(gd, name)
        for axis in (None, 0, (0, 2), -1):
            for keepdims in (False, True):
                cases.append(
                    (
                        f"{name} {axis} {keepdims}",
                        lambda x, f=function, axis=axis, keepdims=keepdims: f(x, axis=axis, keepdims=keepdims),
                        [normal(2, 3, 4)],
                    )
                )
    for name in ALONG.split():
        function = getattr(gd, name)
        cases += [(f"{name} {axis}", lambda x, f=function, a=axis: f(x, axis=a), [normal(3, 4)]) for axis in (0, 1)]
    zeros = np.array([[0.0, 2, 3], [0, 0, 1], [1, 2, 3]])
    return [
        *cases,
        *ranked_cases(),
        ("barrier", gd.barrier, [np.ones((2, 3))]),
        ("sum_wide", lambda x: gd.sum_wide(x, scale=2.0), [normal(3, 4)]),
        ("prod with zeros", lambda x: gd.prod(x, axis=1), [zeros]),
        ("cumprod with zeros", lambda x: gd.cumprod(x, axis=1), [zeros]),
    ]


def ranked_cases() -> list[Case]:
    cases: list[Case] = [
        ("topk", lambda x: gd.topk(x, 2)[0], [normal(3, 4)]),
        ("topk axis", lambda x: gd.topk(x, 1, axis=0)[0], [normal(3, 4)]),
        ("quantile by the fraction", lambda x, q: gd.quantile(x, q, axis=1), [normal(2, 4), np.array([0.2, 0.8])]),
        ("percentile", lambda x: gd.percentile(x, [[10.0], [55.0]], axis=(0, 2)), [normal(2, 3, 2)]),
    ]
    for method in ("linear", "lower", "higher", "midpoint", "nearest"):
        cases.append((f"quantile {method}", lambda x, m=method: gd.quantile(x, 0.3, axis=0, method=m), [normal(4, 2)]))
    return cases


def singular(n: int) -> Any:
    """A matrix that elimination finds singular to the last bit."""
    return np.outer(np.arange(1.0, n + 1), 2.0 ** np.arange(n))


SHAPE: list[Case] = [
    ("reshape", lambda x: gd.reshape(x, (3, -1)), [normal(2, 3)]),
    ("permute_dims", lambda x: gd.permute_dims(x, (2, 0, 1)), [normal(2, 3, 4)]),
    ("T", lambda x: x.T, [normal(2, 3)]),
    ("swapaxes", lambda x: gd.swapaxes(x, 0, 2), [normal(2, 3, 4)]),
    ("moveaxis", lambda x: gd.moveaxis(x, 0, -1), [normal(2, 3, 4)]),
    ("expand_dims", lambda x: gd.expand_dims(x, 1), [normal(2, 3)]),
    ("squeeze", gd.squeeze, [normal(2, 1, 3)]),
    ("broadcast_to", lambda x: gd.broadcast_to(x, (4, 2, 3)), [normal(2, 1)]),
    ("concatenate", lambda x, y: gd.concatenate([x, y, x], axis=1), [normal(2, 3), normal(2, 2)]),
    ("stack", lambda x, y: gd.stack([x, y], axis=1), [normal(2, 3), normal(2, 3)]),
    ("split", lambda x: gd.split(x, 3, axis=1)[1], [normal(2, 6)]),
    ("tile", lambda x: gd.tile(x, (2, 3)), [normal(2, 2)]),
    ("repeat", lambda x: gd.repeat(x, [1, 2], axis=0), [normal(2, 2)]),
    ("flip", lambda x: gd.flip(x, 0), [normal(2, 2)]),
    ("roll", lambda x: gd.roll(x, (1, 2), (0, 1)), [normal(3, 4)]),
    ("roll flat", lambda x: gd.roll(x, 2), [normal(3, 4)]),
    ("pad", lambda x: gd.pad(x, ((1, 2), (0, 1)), constant_values=3.0), [normal(2, 2)]),
    ("pad reflect", lambda x: gd.pad(x, 1, mode="reflect"), [normal(3, 3)]),
    ("ravel", gd.ravel, [normal(2, 2)]),
]
INDEX: list[Case] = [
    ("integer", lambda x: x[1], [normal(3, 4)]),
    ("ellipsis", lambda x: x[..., None, 1:3], [normal(3, 4)]),
    ("repeated rows", lambda x: x[[0, 2, 0]], [normal(3, 4)]),
    ("columns", lambda x: x[:, [0, 2, 0]], [normal(3, 4)]),
    ("arrays torn to the front", lambda x: x[[0, 1], :, [2, 1]], [normal(3, 2, 4)]),
    ("adjacent arrays", lambda x: x[:, [0, 1], [2, 1]], [normal(3, 2, 4)]),
    ("integer and array", lambda x: x[1, :, [0, 2]], [normal(3, 2, 4)]),
    ("steps", lambda x: x[::-1, ::2], [normal(3, 4)]),
    ("mask", lambda x: x[np.array([True, False, True])], [normal(3, 4)]),
    ("take", lambda x: gd.take(x, [1, 0, 1], axis=1), [normal(2, 3)]),
    ("take_along_axis", lambda x: gd.take_along_axis(x, np.array([[0, 1, 0], [1, 1, 0]]), axis=0), [normal(2, 3)]),
    ("set", lambda x, v: gd.at(x, (slice(None), [0, 2])).set(v), [normal(2, 3), normal(2, 1)]),
    ("set torn", lambda x, v: gd.at(x, ([0, 1], slice(None), [2, 1])).set(v), [normal(3, 2, 4), normal(2)]),
    ("add twice", lambda x, v: gd.at(x, [0, 0]).add(v), [normal(2, 3), normal(3)]),
    ("diagonal", lambda x: gd.diagonal(x, 1), [normal(3, 4)]),
    ("diag", lambda x: gd.diag(x, -1), [normal(3)]),
    ("tril", gd.tril, [normal(3, 3)]),
    ("triu", lambda x: gd.triu(x, 1), [normal(2, 3, 3)]),
]


def put_together(left: Any, values: Any, right: Any) -> Any:
    return (left * gd.expand_dims(values, -2)) @ right


def spread(*shape: int) -> Any:
    """Matrices whose singular values are 1, 2, 3, …: differences tell little where they are nearly equal."""
    left, values, right = np.linalg.svd(normal(*shape), full_matrices=False)
    return (left * np.arange(values.shape[-1], 0, -1)) @ right


# Of absolute values: where LAPACK changes a vector's sign, differences are of two vectors.
DECOMPOSED: dict[str, Callable[[Any], Any]] = {
    "svd U": lambda x: gd.abs(gd.linalg.svd(x, full_matrices=False)[0]),
    "svd s": gd.linalg.svdvals,
    "svd V": lambda x: gd.abs(gd.linalg.svd(x, full_matrices=False)[2]),
    "qr Q": lambda x: gd.abs(gd.linalg.qr(x)[0]),
    "qr R": lambda x: gd.abs(gd.linalg.qr(x)[1]),
}
LINALG: list[Case] = [
    ("matmul", gd.matmul, [normal(2, 3), normal(3, 4)]),
    ("matrix vector", gd.matmul, [normal(2, 3), normal(3)]),
    ("vector matrix", gd.matmul, [normal(3), normal(3, 2)]),
    ("vector vector", gd.matmul, [normal(3), normal(3)]),
    ("stack matrix", gd.matmul, [normal(5, 2, 3), normal(3, 4)]),
    ("matrix stack", gd.matmul, [normal(2, 3), normal(5, 1, 3, 2)]),
    ("stack vector", gd.matmul, [normal(5, 2, 3), normal(3)]),
    ("vector stack", gd.matmul, [normal(3), normal(5, 3, 2)]),
    ("dot", gd.dot, [normal(2, 3), normal(4, 3, 2)]),
    ("tensordot", lambda x, y: gd.tensordot(x, y, axes=((0, 2), (1, 0))), [normal(2, 3, 4), normal(4, 2)]),
    ("outer", gd.outer, [normal(2), normal(3)]),
    ("vecdot", gd.vecdot, [normal(2, 3), normal(3)]),
    ("trace", gd.trace, [normal(3, 3)]),
    ("cross", gd.cross, [normal(2, 3), normal(3)]),
    ("einsum product", lambda x, y: gd.einsum("ij,jk->ik", x, y), [normal(2, 3), normal(3, 2)]),
    ("einsum diagonal", lambda x: gd.einsum("ii->i", x), [normal(3, 3)]),
    ("einsum ellipsis", lambda x, y: gd.einsum("...ij,jk", x, y), [normal(4, 2, 3), normal(3, 2)]),
    ("einsum of three", lambda x, y, z: gd.einsum("i,ij,jk->k", x, y, z), [normal(2), normal(2, 3), normal(3, 4)]),
    ("einsum of length 1", lambda x, y: gd.einsum("ij,ij->j", x, y), [normal(1, 3), normal(2, 3)]),
    ("inv", gd.linalg.inv, [positive_definite(3)]),
    ("solve", gd.linalg.solve, [positive_definite(3), normal(3)]),
    ("solve stack", gd.linalg.solve, [np.stack([positive_definite(3), positive_definite(3)]), normal(3, 2)]),
    ("det", gd.linalg.det, [positive_definite(3)]),
    ("det of rank 1", gd.linalg.det, [singular(2)]),
    ("det of rank 2", gd.linalg.det, [np.diag([2.0, 3.0, 0.0])[[1, 2, 0]]]),
    ("det of zeros", gd.linalg.det, [np.zeros((3, 3))]),
    ("det of both", gd.linalg.det, [np.stack([singular(3), positive_definite(3)])]),
    ("det of equal singular values", gd.linalg.det, [np.eye(4)[[1, 0, 2, 3]]]),
    ("slogdet", lambda x: gd.linalg.slogdet(x)[1], [positive_definite(3)]),
    ("pinv", gd.linalg.pinv, [normal(4, 2)]),
    ("pinv wide", gd.linalg.pinv, [normal(2, 2, 3)]),
    ("pinv of equal singular values", gd.linalg.pinv, [2 * np.eye(3)[:, :2]]),
    ("matrix_power", lambda x: gd.linalg.matrix_power(x, 5), [0.4 * normal(2, 3, 3)]),
    ("matrix_power -3", lambda x: gd.linalg.matrix_power(x, -3), [positive_definite(2)]),
    ("cholesky", gd.linalg.cholesky, [positive_definite(3)]),
    ("norm", gd.linalg.norm, [normal(2, 3)]),
    ("norm 1", lambda x: gd.linalg.norm(x, 1, axis=0), [normal(2, 3)]),
    ("norm 3", lambda x: gd.linalg.norm(x, 3, axis=1, keepdims=True), [normal(2, 3)]),
    ("eigenvalues", lambda x: gd.linalg.eigh(x)[0], [positive_definite(3)]),
    ("eigenvectors", lambda x: gd.abs(gd.linalg.eigh(x)[1]), [positive_definite(3)]),
    *(
        (f"{name} {shape}", lambda x, f=function: f(x), [spread(*shape)])
        for shape in ((3, 3), (4, 2), (2, 4), (2, 3, 2))
        for name, function in DECOMPOSED.items()
    ),
    ("svd put together", lambda x: put_together(*gd.linalg.svd(x)), [spread(3, 3)]),
    ("nuclear norm", lambda x: gd.linalg.norm(x, "nuc"), [spread(3, 2)]),
    ("spectral norm", lambda x: gd.linalg.norm(x, 2, (0, 2), keepdims=True), [normal(3, 2, 3)]),
    ("norm of rows", lambda x: gd.linalg.norm(x, np.inf, (1, 0)), [normal(3, 2)]),
    ("astype", lambda x: x.astype("float64") * 2, [normal(2)]),
]


def loss_cases() -> list[Case]:
    labels = np.array([2, 0, 1, 2])
    return [
        ("cross_entropy", lambda x: gd.nn.softmax_cross_entropy(x, labels), [normal(4, 3)]),
        ("divergence", gd.divergence, [1 + inside(2, 3), inside(2, 3)]),
        ("weighted_total", lambda x, y: gd.weighted_total(x, y), [normal(4, 3), normal(4, 3)]),
        ("within", lambda x: gd.within(x, x, low=-99.0, high=99.0, told="x is small"), [normal(4, 3)]),
    ]


CASES: list[Case] = [*elementwise_cases(), *reduction_cases(), *SHAPE, *INDEX, *LINALG, *loss_cases()]


def differences(function: Callable[..., Any], arguments: list[Any], position: int) -> Any:
    """The Jacobian by five-point central differences."""
    step, array = 1e-3, arguments[position]
    columns = []
    for index in np.ndindex(array.shape):
        total = 0.0
        for multiple, weight in ((-2, 1.0), (-1, -8.0), (1, 8.0), (2, -1.0)):
            moved = [np.array(argument) for argument in arguments]
            moved[position][index] += multiple * step
            total = total + weight * function(*[gd.constant(argument) for argument in moved]).numpy()
        columns.append(total / (12 * step))
    return np.stack(columns, axis=-1).reshape((*np.shape(columns[0]), *array.shape))


@pytest.fixture(params=CASES, ids=[case[0] for case in CASES])
def case(request: pytest.FixtureRequest) -> Case:
    return request.param  # type: ignore[no-any-return]


def every(arguments: list[Any]) -> tuple[int, ...]:
    return tuple(range(len(arguments)))


def test_both_modes_against_differences(case: Case) -> None:
    _, function, arguments = case
    forward = gd.jacobian(function, every(arguments), mode="forward")(*arguments)
    reverse = gd.jacobian(function, every(arguments), mode="reverse")(*arguments)
    for position in every(arguments):
        expected = differences(function, arguments, position)
        np.testing.assert_allclose(forward[position].numpy(), expected, rtol=1e-6, atol=2e-8)
        np.testing.assert_allclose(reverse[position].numpy(), forward[position].numpy(), rtol=1e-10, atol=1e-12)


def projected(case: Case) -> Callable[..., Any]:
    _, function, arguments = case
    shape = function(*[gd.constant(argument) for argument in arguments]).shape
    weights = np.random.default_rng(1).uniform(0.5, 1.5, shape)
    return lambda *tensors: gd.sum(function(*tensors) * weights)


def recorded_ops(case: Case) -> set[str]:
    graph = gd.Graph(case[1](*map(gd.variable, case[2])))
    return {node.op.name for node in graph if node.op is not None and node.recorded}


ANALYTIC_CASES = [case for case in CASES if recorded_ops(case) <= check.ANALYTIC]


@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.parametrize("case", ANALYTIC_CASES, ids=[case[0] for case in ANALYTIC_CASES])
def test_both_modes_against_the_complex_step(case: Case, mode: str) -> None:
    scalar, arguments = projected(case), [np.asarray(argument) for argument in case[2]]
    found = check._complex_steps(lambda *tensors: gd.reshape(scalar(*tensors), (1,)), arguments)
    assert found is not None
    expected = [np.empty(np.shape(argument)) for argument in arguments]
    for (position, index), (entry,) in found.items():
        expected[position][index] = entry
    derivative = gd.jacobian(scalar, every(arguments), mode=mode)(*arguments)
    for computed, exact in zip(derivative, expected, strict=True):
        np.testing.assert_allclose(
            computed.numpy(), exact, rtol=1e-12, atol=1e-12 * max(1.0, np.abs(exact).max(initial=0))
        )


def test_every_op_said_to_be_analytic_has_a_case() -> None:
    assert check.ANALYTIC - {"positive"} - set().union(*map(recorded_ops, ANALYTIC_CASES)) == set()


def test_second_order_by_both_orders_of_modes(case: Case) -> None:
    _, function, arguments = case

    def scalar(*tensors: Any) -> Any:
        out = function(*tensors)
        return gd.sum(out * 0.7 + out * out)

    gradient = gd.grad(scalar, every(arguments))
    over_forward = gd.jacobian(gradient, every(arguments), mode="forward")(*arguments)
    over_reverse = gd.jacobian(gradient, every(arguments), mode="reverse")(*arguments)
    for position in every(arguments):
        expected = differences(lambda *t, p=position: gradient(*t)[p], arguments, position)
        np.testing.assert_allclose(over_forward[position][position].numpy(), expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            over_reverse[position][position].numpy(), over_forward[position][position].numpy(), rtol=1e-8, atol=1e-9
        )


def test_vmap_against_a_loop(case: Case) -> None:
    _, function, arguments = case
    wide = [np.stack([argument, argument * 1.01]) for argument in arguments]
    looped = np.stack([function(*[gd.constant(w[row]) for w in wide]).numpy() for row in range(2)])
    np.testing.assert_allclose(gd.vmap(function)(*wide).numpy(), looped, rtol=1e-12, atol=1e-13)


def test_pure_graph_has_the_shape_dtype_and_value_of_eager(case: Case) -> None:
    _, function, arguments = case
    eager = function(*[gd.constant(argument) for argument in arguments])
    slots = [gd.placeholder(argument.shape) for argument in arguments]
    pure = function(*slots)
    assert (pure.shape, pure.dtype) == (eager.shape, eager.dtype)
    np.testing.assert_array_equal(gd.Graph(pure).evaluate(dict(zip(slots, arguments))), eager.numpy())


def test_float32_stays_float32(case: Case) -> None:
    name, function, arguments = case
    narrow = [argument.astype("float32") for argument in arguments]
    if name != "astype":
        assert function(*[gd.constant(argument) for argument in narrow]).dtype == "float32"
    for gradient in gd.grad(lambda *tensors: gd.sum(function(*tensors)), every(narrow))(*narrow):
        assert gradient.dtype == "float32"


@pytest.mark.parametrize("name", [*UNARY.split(), *BINARY.split()])
def test_elementwise_value_against_numpy(name: str) -> None:
    counterpart = {"acos": "arccos", "asin": "arcsin", "atan": "arctan", "atan2": "arctan2", "atanh": "arctanh"}
    numpy_function = getattr(np, {**counterpart, "asinh": "arcsinh"}.get(name, name), None)
    if numpy_function is None:
        numpy_function = WRITTEN_OUT[name]
    arguments = [inside(2, 3) for _ in range(2 if name in BINARY.split() else 1)]
    np.testing.assert_allclose(getattr(gd, name)(*arguments).numpy(), numpy_function(*arguments), rtol=1e-14)


def erf(x: Any) -> Any:
    import math

    return np.vectorize(math.erf)(x)


WRITTEN_OUT: dict[str, Callable[..., Any]] = {
    "erf": erf,
    "exp_of_square": lambda x: np.exp(-x * x),
    "gaussian": lambda x: np.exp(-x * x / 2),
    "normal_cdf": lambda x: 0.5 * (1 + erf(x / np.sqrt(2))),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.log(1 + np.exp(x)),
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.exp(x) - 1),
    "gelu": lambda x: 0.5 * x * (1 + erf(x / np.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "gelu_tanh_slope": lambda x: np.imag(WRITTEN_OUT["gelu_tanh"](x + 1e-30j)) / 1e-30,
    "hard_tanh": lambda x: np.clip(x, -1, 1),
}


def test_erf_to_rounding_everywhere() -> None:
    x = np.concatenate([np.linspace(-7, 7, 2001), [1e-300, -0.0, np.inf, -np.inf]])
    np.testing.assert_allclose(gd.erf(x).numpy(), erf(x), rtol=1e-15, atol=1e-300)
    assert np.isnan(gd.erf(np.nan).item())


def test_every_op_that_carries_a_derivative_has_a_case() -> None:
    seen = set()
    for _, function, arguments in CASES:
        seen |= {node.op.name for node in gd.Graph(function(*map(gd.variable, arguments))) if node.op is not None}
        gradient = gd.adjoints(gd.sum(function(*map(gd.variable, arguments))))
        seen |= {node.op.name for tensor in gradient.values() for node in gd.Graph(tensor) if node.op is not None}
    without = {
        "argmax",
        "argmin",
        "any",
        "all",
        "isnan",
        "isfinite",
        "isinf",
        "positive",
        "stop_gradient",
        "sign_of_det",
        "label_weights",
        "random_draw",
        "undefined_derivative",
    }
    without |= {name for name in gd.op.OPS if name.startswith(("logical_", "bitwise_"))}
    without |= {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"}
    declared = {name for name in gd.op.OPS if not name.endswith("_example")}
    assert declared - seen - without == set()
