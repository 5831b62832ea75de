"""What a plan hands out is what eager mode hands out: value, shape, dtype, and memory that is nobody else's."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_compile_ops import agree
from test_ops import CASES
from test_random_graphs import PROGRAMS, STEADY, values

import graphdiff as gd
from graphdiff.op import OPS
from graphdiff.plan.passes import PASSES
from graphdiff.tree import flatten

X = np.array([0.5, -1.0, 2.0])
FUSED = ("fuse", "layout", "keep", "place", "reuse", "tile")


def memory(tensors: Any) -> list[np.ndarray[Any, Any]]:
    """Return the arrays themselves: `value` is a view of them that cannot be written."""
    return [np.asarray(tensor._value) for tensor in flatten(tensors)[0] if isinstance(tensor, gd.Tensor)]


def require_own(outputs: Any, *others: Any) -> None:
    """Fail if an output shares memory with another one, or with arrays of the caller."""
    given = memory(outputs)
    for place, array in enumerate(given):
        assert array.flags.writeable
        for other in [*given[place + 1 :], *others]:
            assert not np.shares_memory(array, other)


# Inner values beside what a pattern makes of them ----------------------------------------------------------------

BESIDE: dict[str, Callable[[Any], Any]] = {
    "gradient": lambda x: (gd.relu(x), gd.grad(lambda z: gd.mean(gd.relu(z)))(x)),
    "vjp": lambda x: (gd.relu(x), gd.vjp(gd.relu, x)[1](np.ones(3))[0]),
    "jvp": lambda x: gd.jvp(gd.relu, (x,), (np.full(3, 0.25),)),
    "weighted": lambda x: gd.value_and_grad(lambda z: gd.sum(gd.relu(z) * np.arange(3.0)))(x),
    "product": lambda x: gd.value_and_grad(lambda z: gd.sum(gd.relu(z) @ np.ones((3, 2))))(x),
    "twice": lambda x: gd.grad(lambda z: gd.sum(gd.relu(gd.relu(z) - 1.0)))(x),
    "masks": lambda x: (gd.relu(x) > 0, (gd.relu(x) > 0).astype("float64") * X),
    "turned": lambda x: (gd.relu(x[None] * X[:, None]).T, gd.grad(lambda z: gd.sum(gd.relu(z[None] * X[:, None])))(x)),
}


@pytest.mark.parametrize("disable", [(), *((name,) for name in FUSED)], ids=["all", *FUSED])
@pytest.mark.parametrize("name", BESIDE)
def test_bits_of_relu_stay_within(name: str, disable: tuple[str, ...]) -> None:
    compiled = gd.compile(BESIDE[name], disable=disable)
    for _ in range(2):
        found = compiled(X)
        agree(found, BESIDE[name](gd.constant(X)))
        require_own(found, X)


@pytest.mark.parametrize("engine", ["numpy", "c"])
def test_a_constant_is_there_before_it_is_handed_out(engine: str) -> None:
    """It is written out as a number where it is read first."""
    twos = gd.constant(np.full((3, 1), 2.0))
    compiled = gd.compile(lambda x: (gd.sum(x * twos, axis=0), twos), engine=engine)
    for _ in range(2):
        found, handed = compiled(np.arange(3.0)[:, None])
        np.testing.assert_allclose(found.numpy(), [6.0])
        np.testing.assert_array_equal(handed.numpy(), np.full((3, 1), 2.0))
        handed._value[...] = 7


def test_relu_passes_the_adjoint_at_nan() -> None:
    """PyTorch's convention, eager and compiled, whatever the pattern."""
    x = np.array([np.nan, -1.0, 1.0, -0.0, 0.0, np.inf, -np.inf])
    passes = np.array([1.0, 0, 1, 0, 0, 1, 0])
    for function, factor in [
        (lambda x: gd.sum(gd.relu(x)), 1.0),
        (lambda x: gd.mean(gd.relu(x)), 1 / 7),
        (lambda x: gd.sum(gd.relu(x) * 2.0), 2.0),
        (lambda x: gd.relu(x) @ np.full(7, 0.5), 0.5),
    ]:
        for gradient in (gd.grad(function), gd.compile(gd.grad(function)), gd.jacobian(function, mode="forward")):
            np.testing.assert_allclose(np.asarray(gradient(x)), factor * passes, rtol=1e-15)
    for run in (gd.jvp, gd.compile(lambda f, x, u: gd.jvp(f, x, u), static_argnames="f")):
        np.testing.assert_array_equal(np.asarray(run(gd.relu, (x,), (np.ones(7),))[1]), passes)


# Memory -----------------------------------------------------------------------------------------------------------

VIEWS: dict[str, Callable[[Any], Any]] = {
    "itself": lambda x: x,
    "turned": lambda x: x.T,
    "part": lambda x: x[1:],
    "row": lambda x: x[0],
    "reversed": lambda x: x[:, ::-1],
    "reshaped": lambda x: gd.reshape(x, (-1,)),
    "raised": lambda x: x[None],
    "broadcast": lambda x: gd.broadcast_to(x, (2, *x.shape)),
    "moved": lambda x: gd.moveaxis(x[None], 0, 2),
    "stopped": gd.stop_gradient,
    "cast": lambda x: x.astype(x.dtype),
    "twice": lambda x: (x, x),
    "all ways": lambda x: (x, x.T, x[0], gd.ravel(x), x),
    "computed": lambda x: (lambda y: (y, y.T, y[1:], gd.ravel(y), y))(gd.exp(x)),
    "kernel's": lambda x: (lambda y: (y, y.T, y[1:], gd.ravel(y), y))(gd.sort(x, axis=0)),
    "transposed": lambda x: gd.matrix_transpose(x),
}


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "bool"])
def test_outputs_own_their_memory(name: str, dtype: str) -> None:
    x = np.arange(6.0).reshape(2, 3).astype(dtype)
    compiled = gd.compile(VIEWS[name])
    first = compiled(x)
    require_own(first, x)
    kept = [array.copy() for array in memory(first)]
    require_own([*flatten(compiled(x))[0], *flatten(first)[0]], x)  # the second run's, beside the first's
    compiled(x[::-1].copy())
    for array, before in zip(memory(first), kept, strict=True):
        np.testing.assert_array_equal(array, before)
    agree(first, VIEWS[name](gd.constant(x)))


@pytest.mark.parametrize("name", VIEWS)
def test_outputs_are_not_a_variables_memory(name: str) -> None:
    v = gd.variable(np.arange(6.0).reshape(2, 3))
    found = gd.compile(lambda: VIEWS[name](v))()
    for array in memory(found):
        array[...] = 100.0
    np.testing.assert_array_equal(v.numpy(), np.arange(6.0).reshape(2, 3))


def test_a_number_in_an_array_is_handed_out_as_a_number() -> None:
    given = np.array(3.0)
    for function in (lambda x: x, lambda x: (x, x[None], gd.reshape(x, (1, 1))), lambda x: gd.stop_gradient(x)):
        found = gd.compile(function)(given)
        assert not any(np.shares_memory(array, given) for array in memory(found))
        agree(found, function(gd.constant(3.0)))


def test_constants_and_random_numbers_are_handed_out_once() -> None:
    table = np.arange(4.0)
    constant = gd.constant(table)

    def function() -> Any:
        drawn = gd.random.normal((2, 3), seed=1)
        return constant, constant[1:], drawn, drawn.T, drawn, gd.zeros(3), gd.ones((2, 2)).T

    compiled = gd.compile(function)
    first = compiled()
    require_own(first, table)
    for array in memory(first):
        array[...] = 7.0
    agree(compiled()[:2], (constant, constant[1:]))
    assert not np.any(memory(compiled())[5])


# What no pattern came to ------------------------------------------------------------------------------------------

LOWERED: dict[str, tuple[Callable[..., Any], tuple[Any, ...], Any]] = {
    "mean of a number's square": (lambda x: gd.mean(x * x), (3.0,), 9.0),
    "sum of a number's square": (lambda x: gd.sum(gd.square(x)), (3.0,), 9.0),
    "sum of nothing": (lambda x: gd.sum(x * x), (np.zeros(0),), 0.0),
    "sum of no rows": (lambda x: gd.sum(x * x, axis=0), (np.zeros((0, 2)),), np.zeros(2)),
    "loss of numbers": (gd.nn.huber, (1.0, 3.0), 1.5),
    "squared error of numbers": (gd.nn.squared_error, (1.0, 3.0), 4.0),
    "half": (lambda x: gd.sum(x * x), (np.full(3, 2, "f2"),), 12.0),
    "list": (lambda x, y: gd.stack([x * 2, y, x]), (1.0, 2.0), np.array([2.0, 2.0, 1.0])),
    "beside": (lambda x: (gd.sum(x * x), x * x), (X,), (5.25, X * X)),
}


@pytest.mark.parametrize("disable", [(), *((name,) for name in FUSED)], ids=["all", *FUSED])
@pytest.mark.parametrize("name", LOWERED)
def test_what_a_pattern_sets_aside_is_computed_where_it_does_not_come_about(name: str, disable: Any) -> None:
    function, arguments, expected = LOWERED[name]
    found = gd.compile(function, disable=disable)(*arguments)
    for mine, theirs in zip(memory(found), flatten(expected if isinstance(expected, tuple) else (expected,))[0]):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)


# Integers of NumPy in attributes ----------------------------------------------------------------------------------

I1, I2, I3 = np.int64(1), np.int32(2), np.uint8(3)
WRITTEN: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "slice": (lambda x: x[I1:I3], lambda x: x[1:3]),
    "step": (lambda x: x[:: -np.int64(2)], lambda x: x[::-2]),
    "place": (lambda x: x[I2], lambda x: x[2]),
    "set": (lambda x: gd.at(x, slice(I1, I3)).set(0.0), lambda x: np.concatenate([x[:1], 0 * x[1:3], x[3:]])),
    "tile": (lambda x: gd.tile(x, (I2, 1)), lambda x: np.tile(x, (2, 1))),
    "tile once": (lambda x: gd.tile(x, I3), lambda x: np.tile(x, 3)),
    "split": (lambda x: gd.split(x, list(np.cumsum([1, 2])))[1], lambda x: x[1:3]),
    "equal parts": (lambda x: gd.split(x, I2)[1], lambda x: x[3:]),
    "sum": (lambda x: gd.sum(gd.reshape(x, (I2, I3)), axis=I1), lambda x: x.reshape(2, 3).sum(1)),
    "broadcast": (lambda x: gd.broadcast_to(x, (I2, np.int64(6))), lambda x: np.broadcast_to(x, (2, 6))),
    "turn": (lambda x: gd.permute_dims(x[None], [I1, np.int64(0)]), lambda x: x[:, None]),
    "roll": (lambda x: gd.roll(x, I2), lambda x: np.roll(x, 2)),
    "pad": (lambda x: gd.pad(x, (I1, I2)), lambda x: np.pad(x, (1, 2))),
    "full": (lambda x: x[:2] + gd.full((I2,), 1.0), lambda x: x[:2] + 1),
    "flip": (lambda x: gd.flip(x, axis=np.int64(0)), lambda x: x[::-1]),
    "axis": (lambda x: gd.expand_dims(x, I1), lambda x: x[:, None]),
    "concatenate": (lambda x: gd.concatenate([x, x], axis=np.int64(0)), lambda x: np.concatenate([x, x])),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_integers_of_numpy_are_integers(name: str) -> None:
    function, expected = WRITTEN[name]
    x = np.arange(1.0, 7.0)
    compiled = gd.compile(function)
    np.testing.assert_array_equal(np.asarray(compiled(x)), expected(x))
    assert all(type(length) is int for length in compiled.plans[0].program.outputs[0].shape)
    np.testing.assert_array_equal(
        np.asarray(gd.compile(gd.grad(lambda x: gd.sum(function(x) * function(x))))(x)),
        np.asarray(gd.grad(lambda x: gd.sum(function(x) * function(x)))(x)),
    )


# Half precision ---------------------------------------------------------------------------------------------------

LARGE = {
    "small numbers": np.full(70000, 0.1, "f2"),
    "overflow": np.full((5000, 2), 60, "f2"),
    "one": np.ones(5000, "f2"),
}


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("axis", [None, 0])
def test_sums_of_half_precision_are_kept_in_single(name: str, axis: Any) -> None:
    x = LARGE[name]
    for function, truth in [(gd.sum, np.sum), (gd.mean, np.mean), (gd.var, np.var), (gd.std, np.std)]:
        expected = truth(x.astype("f8"), axis=axis)
        with np.errstate(over="ignore"):
            expected = np.asarray(expected).astype("f2")
            for run in (function, gd.compile(function, static_argnames="axis")):
                found = np.asarray(run(x, axis=axis))
                assert found.dtype == np.float16
                np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_the_gradient_of_a_mean_of_many_halves() -> None:
    x = np.full(70000, 0.1, "f2")
    for gradient in (gd.grad(gd.mean), gd.compile(gd.grad(gd.mean))):
        np.testing.assert_array_equal(np.asarray(gradient(x)), np.full(70000, 1 / 70000, "f2"))


def test_a_product_is_not_made_of_what_overflows() -> None:
    x = np.array([0.0, 1e200, 3.0, 1e200])
    assert gd.prod(x).item() == gd.compile(gd.prod)(x).item() == 0.0


# Values from before and after an assignment -----------------------------------------------------------------------


def exchanged(p: Any, q: Any, k: Any) -> Any:
    before, other = gd.positive(p), gd.positive(q)
    p.assign(other)
    q.assign(before)
    return before, other, p, q, before[::-1]


def kept_before(p: Any, q: Any, k: Any) -> Any:
    before = gd.positive(p)
    gd.sum(p * q).backward()
    p.assign(p - p.grad)
    return before, p, p + 1, before[1:], q, p.grad


def gradient_assigned(p: Any, q: Any, k: Any) -> Any:
    gd.sum(p * p).backward()
    p.assign(p.grad)
    return p * 1, p.grad


def looked_at_afterwards(p: Any, q: Any, k: Any) -> Any:
    new = p * 2 + q
    p.assign(new)
    return new, new + p, p[None], gd.reshape(new, (3, 1))


def views_before(p: Any, q: Any, k: Any) -> Any:
    views = gd.reshape(p * 1, (3, 1)), gd.broadcast_to(gd.positive(p), (2, 3))
    p.assign(q * 3)
    return *views, gd.matrix_transpose(views[1])


def number_before(p: Any, q: Any, k: Any) -> Any:
    before = gd.positive(k)
    k.assign(k + 1)
    return before, k, before * p, k * 1, gd.reshape(before, (1,))


BEFORE = [exchanged, kept_before, gradient_assigned, looked_at_afterwards, views_before, number_before]


@pytest.mark.parametrize(
    "disable", [(), ("place",), ("simplify",), ("reuse",)], ids=["all", "place", "simplify", "reuse"]
)
@pytest.mark.parametrize("body", BEFORE)
def test_what_was_read_before_an_assignment_is_the_old_value(body: Any, disable: Any) -> None:
    def variables() -> tuple[Any, Any, Any]:
        return gd.variable(np.arange(3.0)), gd.variable(np.ones(3)), gd.variable(2.0)

    ours, theirs = variables(), variables()
    compiled = gd.compile(lambda: body(*ours), disable=disable)
    for _ in range(3):
        expected = [np.array(getattr(each, "value", each)) for each in body(*theirs)]
        found = compiled()
        require_own(found, *[variable._value for variable in ours if variable.shape])
        for mine, right in zip(memory(found), expected, strict=True):
            np.testing.assert_array_equal(mine, right)
        for mine, right in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(mine.numpy(), right.numpy())
            assert (mine.grad is None) == (right.grad is None)
            assert mine.grad is None or np.array_equal(mine.grad, right.grad)


# Signatures -------------------------------------------------------------------------------------------------------

KINDS = ["bool", "int8", "uint8", "int32", "int64", "float16", "float32", "float64", "complex64", "complex128"]


@pytest.mark.parametrize("name", sorted(name for name, op in OPS.items() if op.kind == "elementwise"))
def test_dtypes_of_traced_values_are_those_of_values(name: str) -> None:
    op = OPS[name]
    for kind in KINDS:
        arguments = [gd.constant(np.ones(2, kind)) for _ in op.partials]
        try:
            eager = op(*arguments)
        except gd.GraphDiffError:
            continue
        assert op(*[gd.placeholder((2,), kind) for _ in op.partials]).dtype == eager.dtype, kind
        found = gd.compile(lambda *inner: op(*inner))(*arguments)
        assert found.dtype == found.value.dtype == eager.dtype


def test_a_number_of_numpy_keeps_its_dtype() -> None:
    for number, dtype in [(np.float64(1e300), "float64"), (np.float32(2), "float32"), (2.0, "float32")]:
        found = gd.compile(gd.multiply)(np.ones(2, "f4"), number)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found.numpy(), np.full(2, number))


@pytest.mark.parametrize("function", [gd.erf, gd.gelu, gd.cbrt])
def test_what_would_lose_the_imaginary_part_is_refused(function: Any) -> None:
    for run in (function, gd.compile(function)):
        with pytest.raises(gd.errors.DTypeError, match="complex"):
            run(np.array([1 + 2j]))


REDUCTIONS = ["sum", "mean", "prod", "max", "min", "any", "all", "var", "std"]


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("axis", [0, -1])
def test_a_number_is_reduced_over_its_only_axis(name: str, axis: int) -> None:
    """NumPy and PyTorch allow it; programs that NumPy runs on its own numbers run as plans, too."""
    function, number = getattr(gd, name), np.float64(3.0)
    expected = getattr(np, name)(np.array([number]), axis=0)
    for run in (
        lambda x: function(x, axis=axis),
        gd.compile(lambda x: function(x, axis=axis)),
        gd.compile(lambda x: getattr(np, name)(x, axis=axis)),
    ):
        found = run(number)
        assert found.shape == ()
        np.testing.assert_array_equal(found.numpy(), expected)
    with pytest.raises(gd.errors.ShapeError):
        function(gd.constant(3.0), axis=1)


def test_sums_of_integers_are_not_spread_in_floats() -> None:
    x = np.arange(9).reshape(3, 3)
    expected = x / (np.abs(x).sum(1, keepdims=True) + 1)
    np.testing.assert_allclose(gd.compile(lambda x: x / (gd.sum(gd.abs(x), axis=1, keepdims=True) + 1))(x), expected)


# Every op, beside what is made of it ------------------------------------------------------------------------------

EVERY = (*PASSES, *FUSED)


def require_alike(found: Any, expected: Any) -> None:
    """Compare to rounding: what cancels, as the derivative of x / x, is 0 to that."""
    for mine, theirs in zip(flatten(found)[0], flatten(expected)[0], strict=True):
        assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype)
        size = np.abs(theirs.numpy()).max(initial=1.0)
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-9, atol=1e-11 * size)


def beside(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that hands out arguments, a result, what is made of it, and derivatives beside it."""

    def several(*arguments: Any) -> Any:
        result = function(*arguments)
        first = next(each for each in flatten(result)[0])
        rectified = gd.relu(first)

        def total(*inner: Any) -> Any:
            first = flatten(function(*inner))[0][0]
            return gd.sum(gd.relu(first) * np.linspace(0.5, 1.5, first.size).reshape(first.shape))

        gradients = gd.grad(total, tuple(range(len(arguments))))(*arguments)
        made = [
            first.T,
            rectified,
            first * first,
            gd.sum(first * first),
            gd.ravel(first),
            gd.mean(rectified),
            first > 0,
        ]
        return [*arguments, result, *made, result, *gradients, *[gradient.T for gradient in gradients]]

    return several


@pytest.mark.parametrize("place", range(len(CASES)), ids=[case[0] for case in CASES])
def test_every_op_hands_out_inner_values(place: int) -> None:
    _, function, given = CASES[place]
    arguments = [np.array(argument) for argument in given]
    several = beside(function)
    expected = several(*map(gd.constant, arguments))
    # Each pass is left out in some cases; all of them in every case.
    for disable in ((), (EVERY[place % len(EVERY)],), EVERY):
        compiled = gd.compile(several, disable=disable)
        found = compiled(*arguments)
        require_alike(found, expected)
        require_own(found, *arguments)
        kept = [array.copy() for array in memory(found)]
        compiled(*[argument * 0.75 for argument in arguments])
        for array, before in zip(memory(found), kept, strict=True):
            np.testing.assert_array_equal(array, before)


@STEADY
@given(PROGRAMS, st.integers(0, 2**32 - 1))
def test_a_random_graph_hands_out_inner_values(drawn: Any, seed: int) -> None:
    shapes, steps, stream = drawn
    points = [stream.uniform(-1, 1, shape) for shape in shapes]
    choice = np.random.default_rng(seed)
    places, by = choice.integers(60, size=4), int(choice.integers(len(points)))
    disable = ((), (EVERY[choice.integers(len(EVERY))],))[int(choice.integers(2))]

    def several(*leaves: Any) -> Any:
        def total(x: Any) -> Any:
            return gd.mean(gd.relu(values(steps, [*leaves[:by], x, *leaves[by + 1 :]])[-1]))

        tensors = values(steps, leaves)
        chosen = [tensors[place % len(tensors)] for place in places]
        moved = gd.jvp(total, (leaves[by],), (np.ones(leaves[by].shape),))
        return [*chosen, gd.grad(total)(leaves[by]), *moved, chosen[0].T, gd.relu(chosen[-1])]

    compiled = gd.compile(several, disable=disable)
    expected = several(*map(gd.constant, points))
    for _ in range(2):
        found = compiled(*points)
        require_own(found, *points)
        require_alike(found, expected)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.at[1:, -1].set(1.0),
        lambda x: x[:1].at[5:].set(np.ones((0, 2))),
        lambda x: x.at[1:, [0, 1]].add(2.0),
        lambda x: x.at[np.array([], int)].set(1.0),
        lambda x: gd.pad(x.at[3:].set(7.0), ((0, 1), (0, 0))),
        lambda x: (x * 2).at[::-1].set(x[:, ::-1]),
    ],
    ids=range(6),
)
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_places_that_are_empty_or_run_backwards(function: Any, rows: int) -> None:
    x = np.arange(2.0 * rows).reshape(rows, 2)
    np.testing.assert_array_equal(gd.compile(function)(x).numpy(), function(gd.constant(x)).numpy())
