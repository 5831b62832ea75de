"""Plans as C: they compute what eager mode computes, refuse what it refuses, and change what it changes."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import mpmath
import numpy as np
import pytest
from graphdiff_numpy.native.compiler import find_compiler
from test_compile_ops import PRECISION, agree
from test_op_values import ROWS
from test_ops import CASES, every

import graphdiff as gd

COMPILER = find_compiler()
pytestmark = pytest.mark.skipif(isinstance(COMPILER, str), reason=str(COMPILER))

TOGETHER = 60
"""Cases that are compiled together: a compiler takes as long for one."""


def in_c(function: Callable[..., Any], **options: Any) -> Any:
    return gd.compile(function, engine="c", **options)


def require_c(compiled: Any) -> None:
    """Fail where calls of NumPy have run instead."""
    for plan in compiled.plans:
        assert dict(plan.reports)["engine"].startswith("c: "), dict(plan.reports)["engine"]


def groups(cases: Sequence[Any]) -> list[Sequence[Any]]:
    return [cases[place : place + TOGETHER] for place in range(0, len(cases), TOGETHER)]


def agree_together(functions: list[Callable[..., Any]], arguments: list[list[Any]], rtol: float) -> None:
    """Compare what several functions return, compiled together and one by one."""
    compiled = in_c(lambda given: [function(*own) for function, own in zip(functions, given, strict=True)])
    with np.errstate(all="ignore"):
        for _ in range(2):
            found = compiled(arguments)
        for mine, function, own in zip(found, functions, arguments, strict=True):
            agree(mine, function(*own), rtol)
    require_c(compiled)


# Ops --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", groups(CASES), ids=lambda group: f"{group[0][0]} and on")
def test_values_of_ops(group: Any) -> None:
    arguments = [[gd.constant(argument) for argument in given] for _, _, given in group]
    agree_together([function for _, function, _ in group], arguments, 1e-12)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.parametrize("group", groups(CASES), ids=lambda group: f"{group[0][0]} and on")
def test_derivatives_of_ops(group: Any, mode: str) -> None:
    arguments = [[gd.constant(argument) for argument in given] for _, _, given in group]
    jacobians = [gd.jacobian(function, every(given), mode=mode) for _, function, given in group]
    agree_together(jacobians, arguments, 1e-11)


def valued(kind: str) -> list[tuple[Callable[..., Any], list[Any]]]:
    """Return the rows of the op tables that have values of a kind, with their arguments."""
    found = []
    for row in ROWS:
        if kind not in row.kinds:
            continue
        arguments = [gd.constant(argument) for argument in row.arguments(kind)]
        try:
            with np.errstate(all="ignore"):
                row.function(*arguments)
        except gd.GraphDiffError:
            continue
        found.append((row.function, arguments))
    return found


@pytest.mark.parametrize("kind", sorted({kind for row in ROWS for kind in row.kinds}))
def test_values_by_dtype(kind: str) -> None:
    for group in groups(valued(kind)):
        functions, arguments = [function for function, _ in group], [own for _, own in group]
        agree_together(functions, arguments, PRECISION.get(kind, 1e-12))


# Functions --------------------------------------------------------------------------------------------------------

RANGES = {"exp": (-104, 89), "expm1": (-20, 88), "log": (1e-30, 1e30), "log1p": (-0.999, 30), "tanh": (-10, 10)}
WIDE = {"exp": (-745, 709), "expm1": (-40, 709)}
EXACT: dict[str, Any] = {name: getattr(mpmath, name) for name in RANGES}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", EXACT)
def test_functions_are_within_two_units_in_the_last_place(name: str, dtype: str) -> None:
    low, high = (WIDE if dtype == "float64" else {}).get(name, RANGES[name])
    random = np.random.default_rng(0)
    near = random.normal(size=700) * 10.0 ** random.uniform(-6, 0, 700)
    x = np.concatenate([random.uniform(low, high, 700), np.abs(near) if name == "log" else near]).astype(dtype)
    found = np.asarray(in_c(getattr(gd, name))(x))
    for argument, mine in zip(x, found, strict=True):
        with mpmath.workprec(140):
            exact = EXACT[name](mpmath.mpf(float(argument)))
            unit = float(np.spacing(np.abs(np.array(float(exact), dtype)))) or float(np.finfo(dtype).tiny)
            assert abs(float((mpmath.mpf(float(mine)) - exact) / unit)) <= 2, (argument, mine)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["exp", "expm1", "log", "log1p", "tanh", "sqrt", "sin", "cos", "abs", "sign"])
def test_functions_at_the_edges(name: str, dtype: str) -> None:
    least = float(np.finfo(dtype).smallest_subnormal)
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, least, -least, 1.0, -1.0, 1e30, -1e30, 88.9, -104.5], dtype)
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(x)
    found = np.asarray(in_c(getattr(gd, name))(x))
    np.testing.assert_allclose(found, expected, rtol=4 * np.finfo(dtype).eps, atol=0)
    np.testing.assert_array_equal(np.signbit(found[expected == 0]), np.signbit(expected[expected == 0]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("length", [7, 129, 1000, 50_001])
def test_sums_are_as_accurate_as_those_of_numpy(length: int, dtype: str) -> None:
    x = np.random.default_rng(length).uniform(0, 1, length).astype(dtype)
    exact = math.fsum(map(float, x))
    mine, theirs = float(in_c(gd.sum)(x).item()), float(np.sum(x))
    assert abs(mine - exact) <= max(abs(theirs - exact), np.finfo(dtype).eps * exact)


def test_sums_beyond_the_greatest_number_are_infinite() -> None:
    x = np.full(1000, 1e308)
    assert in_c(gd.sum)(x).item() == math.inf
    assert math.isnan(in_c(gd.sum)(np.array([*x, -math.inf])).item())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    "sizes", [(1, 1, 1), (3, 5, 2), (100, 16, 2), (17, 33, 65), (8, 1, 40), (1, 40, 8), (130, 2, 3), (300, 90, 50)]
)
def test_products_of_every_shape(sizes: tuple[int, int, int], turned: bool, dtype: str) -> None:
    rows, columns, inner = sizes
    random = np.random.default_rng(1)
    x, y = random.normal(size=(rows, inner)).astype(dtype), random.normal(size=(inner, columns)).astype(dtype)

    def products(x: Any, y: Any) -> Any:
        z = gd.tanh(x @ y)
        return z, z.T @ x, z @ y.T, (z * 2.0).T @ z, gd.sum(z, axis=0), gd.sum(z, axis=1), gd.max(z, axis=0)

    given = (x.T.copy(), y.T.copy()) if turned else (x, y)
    function = (lambda x, y: products(x.T, y.T)) if turned else products
    compiled = in_c(function)
    agree(compiled(*given), function(*map(gd.constant, given)), 1e-5 if dtype == "float32" else 1e-12)
    require_c(compiled)


# Arguments --------------------------------------------------------------------------------------------------------


def test_arrays_that_lie_otherwise_are_taken() -> None:
    compiled = in_c(lambda x: gd.sum(x * 2.0, axis=0))
    x = np.arange(24.0).reshape(4, 6)
    odd = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float64).reshape(4, 6)
    for given in (x, np.asfortranarray(x), np.repeat(x, 2, 1)[:, ::2], x[::-1][::-1], odd):
        np.testing.assert_array_equal(compiled(given), 2 * x.sum(0))
    x.flags.writeable = False
    np.testing.assert_array_equal(compiled(x), 2 * x.sum(0))
    require_c(compiled)


def test_numbers_beside_arrays_that_lie_otherwise() -> None:
    compiled = in_c(lambda x, k: (x * k, k))
    for given in (np.ones((2, 3)), np.ones((3, 2)).T):
        for number in (2.0, np.float64(2.0), np.array(2.0)):
            scaled, kept = compiled(given, number)
            np.testing.assert_array_equal(scaled, np.full((2, 3), 2.0))
            assert kept.item() == 2


def test_an_argument_may_be_the_variable_that_is_updated() -> None:
    w = gd.variable(np.arange(6.0))

    @in_c
    def step(x: Any) -> Any:
        w.assign(w[::-1] + x)
        return x * 1.0

    step(np.zeros(6))
    before = w.numpy().copy()
    given = w._value  # the memory itself, as no user has it
    np.testing.assert_array_equal(step(given), before)
    np.testing.assert_array_equal(w.numpy(), before[::-1] + before)


def test_a_hundred_arguments() -> None:
    compiled = in_c(lambda *given: gd.sum(gd.stack(given)))
    assert compiled(*[np.full(3, float(place)) for place in range(100)]).item() == 3 * 4950
    require_c(compiled)


def test_what_is_handed_out_is_new_memory() -> None:
    compiled = in_c(lambda x: (x, x.T, x[0], x * 1.0, gd.sum(x)))
    x = np.arange(6.0).reshape(2, 3)
    first = compiled(x)
    kept = [np.array(each) for each in first]
    second = compiled(x + 1)
    for mine, old, other in zip(first, kept, second, strict=True):
        np.testing.assert_array_equal(mine, old)
        assert not np.shares_memory(mine.numpy(), x)
        assert not np.shares_memory(mine.numpy(), other.numpy())


@pytest.mark.parametrize(
    "dtype", [">f8", ">f4", ">i8", ">i2", "longdouble", "clongdouble", "float16", "complex64", "?"]
)
def test_dtypes_that_c_does_not_compute_with(dtype: str) -> None:
    """Bytes the other way round, and types that are only moved."""
    x = np.array([0, 1, 3, 2]).astype(dtype)
    constant, w = gd.constant(x), gd.variable(x)

    def function(y: Any, places: Any) -> Any:
        return (
            y * y,
            y[::-1],
            gd.sum(y + constant),
            constant * 1.5,
            w + y,
            gd.concatenate([y, y]),
            y[places],
            y[:3] @ y[1:],
        )

    places = np.array([1, 0]).astype(">i8")
    compiled = in_c(function)
    for _ in range(2):
        agree(compiled(x, places), function(gd.constant(x), gd.constant(places)), 1e-12)
    w.assign(w + w)
    agree(compiled(x, places), function(gd.constant(x), gd.constant(places)), 1e-12)

    @in_c
    def step() -> Any:
        w.assign(w + w)
        return w * 1

    np.testing.assert_array_equal(step().numpy(), w.numpy())


def test_labels_with_their_bytes_the_other_way_round() -> None:
    step = in_c(lambda x, labels: gd.nn.softmax_cross_entropy(x, labels))
    x, labels = np.random.default_rng(0).normal(size=(5, 3)), np.array([0, 2, 1, 1, 0])
    expected = gd.nn.softmax_cross_entropy(x, labels).item()
    for kind in (">i8", ">i2", "int8", "uint64"):
        assert step(x, labels.astype(kind)).item() == pytest.approx(expected, rel=1e-14)
        with pytest.raises(gd.errors.DataError):
            step(x, np.array([0, 3, 1, 1, 0]).astype(kind))


# Refusals ---------------------------------------------------------------------------------------------------------


def test_labels_outside_are_refused_and_nothing_is_changed() -> None:
    w = gd.variable(np.ones((3, 4)), name="w")
    optimizer = gd.optim.Adam([w], lr=0.1)

    @in_c
    def step(x: Any, labels: Any) -> Any:
        loss = gd.nn.softmax_cross_entropy(x @ w, labels)
        optimizer.minimize(loss)
        return loss

    x = np.random.default_rng(0).normal(size=(5, 3))
    step(x, np.array([0, 1, 2, 3, 0]))
    before, version = w.numpy().copy(), w.version
    for labels in ([0, 1, 2, 4, 0], [0, -1, 2, 3, 0]):
        with pytest.raises(gd.errors.DataError, match="label"):
            step(x, np.array(labels))
    np.testing.assert_array_equal(w.numpy(), before)
    assert w.version == version
    step(x, np.array([0, 1, 2, 3, 0]))
    require_c(step)


def test_indices_outside_are_refused() -> None:
    compiled = in_c(lambda x, places: x[places] * 2.0)
    x = np.arange(4.0)
    np.testing.assert_array_equal(compiled(x, np.array([3, -4, -1])), [6, 0, 6])
    for places in ([0, 4], [-5, 0]):
        with pytest.raises((gd.GraphDiffError, IndexError)) as told:
            compiled(x, np.array(places))
        with pytest.raises(type(told.value)):
            gd.constant(x)[gd.constant(np.array(places))]
    require_c(compiled)


# State ------------------------------------------------------------------------------------------------------------


def trained(engine: str, steps: int = 7, **options: Any) -> list[Any]:
    """Return what a small training leaves behind."""
    gd.random.seed(3)
    model = gd.nn.Sequential(
        gd.nn.Linear(5, in_features=3, seed=1), gd.nn.Dropout(0.4), gd.nn.Linear(2, in_features=5, seed=2)
    )
    optimizer = gd.optim.Adam(model.parameters(), lr=gd.optim.schedules.cosine(0.1, 20))
    random = np.random.default_rng(0)

    @gd.compile(engine=engine, **options)
    def step(x: Any, y: Any) -> Any:
        loss = gd.nn.squared_error(model(x), y)
        optimizer.minimize(loss)
        return loss

    losses = [step(random.normal(size=(4, 3)), random.normal(size=(4, 2))).item() for _ in range(steps)]
    if engine == "c":
        require_c(step)
    return [losses, *(p.numpy() for p in model.parameters()), [p.version for p in model.parameters()]]


def test_draws_schedules_and_versions_are_those_of_numpy() -> None:
    for mine, theirs in zip(trained("c"), trained("numpy"), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10)


def test_many_steps_are_as_many_calls() -> None:
    for engine in ("c", "numpy"):
        w, n = gd.variable(np.full(3, 1.0)), gd.variable(0.0)

        @gd.compile(engine=engine)
        def step(w: Any = w, n: Any = n) -> Any:
            w.assign(w * 1.5)
            n.assign(n + 1.0)
            return gd.sum(w)

        last = step.many(20)
        np.testing.assert_allclose(w.numpy(), 1.5**20)
        assert n.item() == 20
        assert last.item() == pytest.approx(3 * 1.5**20)
        assert w.version == n.version == 20


def test_gradients_are_stored_beside_values() -> None:
    w, b = gd.variable(np.arange(3.0)), gd.variable(2.0)

    @in_c
    def step(x: Any) -> Any:
        loss = gd.sum(w * x) * b
        loss.backward()
        return loss

    for factor in (1.0, 2.0):
        w.grad = b.grad = None
        step(np.full(3, factor))
        np.testing.assert_array_equal(w.grad, np.full(3, 2 * factor))
        assert float(np.asarray(b.grad)) == 3 * factor
    require_c(step)


def test_ops_of_a_user_are_called_between() -> None:
    seen = []

    def evaluate(F: Any, x: Any) -> Any:
        if not F.is_graph:
            seen.append(x.copy())
        return F.sqrt(x)

    own = gd.op.custom("own_root", evaluate=evaluate, tangent=lambda F, t, out, x: t[0] / (2 * out), pure=False)
    compiled = in_c(lambda x: gd.sum(own(x * 4.0)) + 1.0)
    x = np.array([1.0, 4.0])
    assert compiled(x).item() == 7
    assert compiled(x * 4).item() == 13
    require_c(compiled)


def test_a_profile_and_an_explanation() -> None:
    compiled = in_c(lambda x: gd.sum(gd.tanh(x @ x)))
    x = np.random.default_rng(0).normal(size=(40, 40))
    value = compiled(x).item()
    plan = compiled.plans[0]
    profile = plan.profile(x, repeats=3)
    assert len(profile.seconds) == len(plan.instructions)
    assert 0 < sum(profile.seconds) <= profile.total
    assert "matmul" in plan.explain()
    assert "int segment0" in plan.source
    assert compiled(x).item() == value
