"""Sparse derivatives equal dense ones at every point, whatever the function closes over, in linear time."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphdiff as gd

N = 6
STREAM = np.random.default_rng(0)
MATRIX, TABLE = STREAM.normal(size=(N, N)), STREAM.normal(size=5)
POINTS = [STREAM.normal(size=N) for _ in range(3)] + [np.arange(N, 0, -1.0), -np.arange(1.0, N + 1)]

Part = Callable[[Any], Any]


def rows(x: Any) -> Any:
    return gd.reshape(x, (2, 3))


# Each takes a vector of N and returns one.
PARTS: dict[str, Part] = {
    "square": lambda x: x * x,
    "shifted": lambda x: gd.concatenate([x[1:] * x[:-1], x[:1]]),
    "where": lambda x: gd.where(x > 0, x, x[::-1] ** 2),
    "where of two": lambda x: gd.where(x > gd.roll(x, 1), gd.sin(x), gd.roll(x, 2)),
    "maximum": lambda x: gd.maximum(x, gd.roll(x * x, 1)),
    "minimum": lambda x: gd.minimum(gd.flip(x), x**3),
    "clip": lambda x: gd.clip(x, -0.5, gd.roll(x, 3)),
    "sorted": lambda x: gd.sort(x) ** 2,
    "argsort": lambda x: x[gd.argsort(x * x)] * x,
    "topk": lambda x: gd.concatenate([gd.topk(x, 3)[0] ** 2, x[:3]]),
    "median": lambda x: x * gd.median(x),
    "quantile": lambda x: x**2 + gd.quantile(x, 0.3),
    "argmax": lambda x: x * x[gd.argmax(x)],
    "computed index": lambda x: x[gd.astype(gd.abs(x) * 10, "int64") % N] * x,
    "taken along": lambda x: gd.take_along_axis(rows(x), gd.argsort(rows(x), axis=1), axis=1).ravel(),
    "interpolated": lambda x: gd.interp(x, np.linspace(-2, 2, 5), TABLE) * x,
    "interpolated in a table": lambda x: gd.interp(x, np.linspace(-2, 2, N), x**2),
    "product": lambda x: gd.constant(MATRIX) @ gd.tanh(x),
    "transposed": lambda x: (gd.reshape(x, (2, 3)).T @ gd.reshape(x, (2, 3)))[:2].ravel(),
    "matrix by vector": lambda x: gd.concatenate([gd.reshape(x, (2, 3)) @ x[:3], x[2:]]),
    "einsum": lambda x: gd.einsum("ij,ik->jk", gd.reshape(x, (2, 3)), gd.reshape(x, (2, 3))).ravel()[:6],
    "outer": lambda x: gd.einsum("i,j->ji", x[:2], x[3:]).ravel(),
    "trace": lambda x: x * gd.einsum("ii->", gd.reshape(x[:4], (2, 2))),
    "rows": lambda x: (gd.softmax(gd.reshape(x, (2, 3)), axis=1) * gd.reshape(x, (2, 3))).ravel(),
    "columns": lambda x: gd.log_softmax(gd.reshape(x, (2, 3)), axis=0).ravel(),
    "means": lambda x: (gd.reshape(x, (2, 3)) - gd.mean(gd.reshape(x, (2, 3)), axis=0)).ravel() ** 2,
    "spread": lambda x: x / (1 + gd.std(gd.reshape(x, (3, 2)), axis=1, keepdims=True) * np.ones((3, 2))).ravel(),
    "sums": lambda x: gd.cumsum(gd.sin(x)),
    "products": lambda x: gd.cumprod(x),
    "extremes": lambda x: x * gd.max(gd.reshape(x, (2, 3)), axis=1).sum() + gd.min(x),
    "padded": lambda x: gd.pad(x[1:4], ((1, 2),)) * x,
    "triangle": lambda x: (gd.tril(gd.reshape(x, (2, 3))) * gd.reshape(x, (2, 3))).ravel(),
    "scattered": lambda x: gd.at(x, [0, 2, 2]).add(x[3:] ** 2),
    "set": lambda x: gd.at(x * x, slice(1, 3)).set(gd.sin(x[:2])),
    "set at a computed place": lambda x: gd.at(x, gd.argmin(x)).set(x[0] * x[1]),
    "masked": lambda x: gd.concatenate([x[np.array([True, False] * 3)], x[3:]]) * x,
    "solved": lambda x: gd.linalg.solve(gd.reshape(x[:4], (2, 2)) + 9 * np.eye(2), x[4:])[0] * x,
    "norm": lambda x: x * gd.norm(gd.reshape(x, (2, 3)) + 5, axis=1)[0],
    "logsumexp": lambda x: gd.logsumexp(gd.reshape(x, (3, 2)), axis=1)[[0, 1, 2, 0, 1, 2]],
    "stopped": lambda x: x * gd.stop_gradient(gd.roll(x, 1)),
    "branch": lambda x: x**2 if float(gd.stop_gradient(x[0]).item()) > 0 else gd.roll(x, 1) ** 3,
}


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-9, atol=1e-11)


def compare(function: Part, points: list[Any]) -> None:
    """Sparse and dense Jacobian, and Hessian of the sum of squares, at points one behind the other, twice over."""
    loss = lambda x: gd.sum(function(x) ** 2)  # noqa: E731
    jacobian, hessian = gd.sparse_jacobian(function), gd.sparse_hessian(loss)
    for x in [*points, *points]:
        close(jacobian(x), gd.jacobian(function, mode="reverse")(x).numpy().reshape(-1, x.size))
        close(hessian(x), gd.hessian(loss, mode="forward")(x).numpy().reshape(x.size, x.size))


@pytest.mark.parametrize("name", PARTS)
def test_a_part_at_several_points(name: str) -> None:
    compare(PARTS[name], POINTS)


SAFE = sorted(set(PARTS) - {"products", "set at a computed place"})


@pytest.mark.parametrize("seed", range(40))
def test_random_functions(seed: int) -> None:
    stream = np.random.default_rng(seed)
    chosen = [PARTS[name] for name in stream.choice(SAFE, 3)]

    def function(x: Any) -> Any:
        first = chosen[0](gd.sin(x))
        return chosen[1](gd.sin(first)) + chosen[2](gd.cos(x))

    compare(function, POINTS[:3])


def test_patterns_are_those_of_all_values() -> None:
    swapped = lambda x: gd.where(x > 0, x, x[::-1])  # noqa: E731
    derivative = gd.sparse_jacobian(swapped)
    for x in ([1.0, 2.0], [-1.0, 2.0], [1.0, -2.0], [-1.0, -2.0]):
        close(derivative(np.array(x)), gd.jacobian(swapped)(np.array(x)).numpy())
    assert gd.sparsity(swapped, np.ones(2)).toarray().all()


def test_patterns_are_no_larger_than_needed() -> None:
    x = np.ones(50)
    chain = lambda x: gd.where(x[1:] > 0, x[1:] * x[:-1], 0.0)  # noqa: E731
    assert gd.sparsity(chain, x).nnz == 2 * 49
    rows = lambda x: gd.logsumexp(gd.reshape(x, (10, 5)), axis=1)  # noqa: E731
    assert gd.sparsity(rows, x).nnz == 50
    blocks = lambda x: gd.reshape(x, (10, 5)) @ gd.constant(np.ones((5, 5)))  # noqa: E731
    assert gd.sparsity(blocks, x).nnz == 250
    assert gd.sparsity(lambda x: gd.einsum("ij,kj->ik", gd.reshape(x, (10, 5)), np.ones((3, 5))), x).nnz == 150
    assert gd.sparsity(lambda x: gd.floor(x) + gd.argsort(x), x).nnz == 0


def test_what_is_closed_over_is_read_afresh() -> None:
    weight = np.ones(3)
    state = {"factor": 1.0}
    scale = gd.variable(1.0)

    def loss(z: Any) -> Any:
        return (z[1:] * z[:-1] ** 2) @ weight * state["factor"] * scale

    x = np.arange(1.0, 5.0)
    hessian = gd.sparse_hessian(loss)
    for _ in range(3):
        close(hessian(x), gd.hessian(loss)(x).numpy())
    weight[:] = 5
    close(hessian(x), gd.hessian(loss)(x).numpy())
    weight = np.arange(3.0)
    close(hessian(x), gd.hessian(loss)(x).numpy())
    for factor in (0.0, 2.0, 7.0):
        state["factor"] = factor
        close(hessian(x), gd.hessian(loss)(x).numpy())
    scale.assign(3.0)
    close(hessian(x), gd.hessian(loss)(x).numpy())


FACTOR = 1.0


def scaled(x: Any, by: list[float] = [1.0]) -> Any:  # noqa: B006
    return x * x * FACTOR * by[0]


def test_globals_defaults_and_attributes_are_read_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.ones(2)

    class Model:
        rate = 1.0

        def __call__(self, x: Any) -> Any:
            return x * x * self.rate

        def called(self, x: Any) -> Any:
            return x * x * self.rate

    model = Model()
    derivatives = [gd.sparse_jacobian(f) for f in (scaled, model, model.called, lambda x: x * x * model.rate)]
    for _ in range(3):
        for derivative in derivatives:
            close(derivative(x), 2 * np.eye(2))
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    model.rate = 3.0
    for derivative in derivatives:
        close(derivative(x), 6 * np.eye(2))
    scaled.__defaults__[0][0] = 2.0  # type: ignore[index]
    try:
        close(derivatives[0](x), 12 * np.eye(2))
    finally:
        scaled.__defaults__[0][0] = 1.0  # type: ignore[index]


def test_a_function_of_its_argument_alone_that_looks_at_values() -> None:
    looking: list[Part] = [
        lambda x: x * x.numpy(),
        lambda x: x**2 if x[0] > 0 else gd.roll(x, 1) ** 3,
        lambda x: x * gd.stop_gradient(x).numpy().max(),
    ]
    for function in looking:
        derivative = gd.sparse_jacobian(function)
        for x in [*POINTS, *POINTS]:
            close(derivative(x), gd.jacobian(function, mode="reverse")(x).numpy())


def test_random_draws_are_fresh() -> None:
    draws = gd.random.generator(0)
    derivative = gd.sparse_jacobian(lambda x: x * gd.random.normal(3, seed=draws))
    found = {derivative(np.ones(3)).toarray().tobytes() for _ in range(6)}
    assert len(found) == 6


def test_dtypes_and_shapes() -> None:
    function = lambda x: gd.tanh(x[1:] * x[:-1])  # noqa: E731
    derivative = gd.sparse_jacobian(function)
    for _ in range(3):
        for dtype in ("float32", "float64"):
            for shape in [(4,), (3, 2), (1,), (0,)]:
                if shape == (0,):
                    continue
                x = np.linspace(0.1, 1, int(np.prod(shape))).reshape(shape).astype(dtype)
                made = derivative(x)
                assert made.dtype == dtype
                expected = gd.jacobian(function, mode="reverse")(x).numpy().reshape(-1, x.size)
                np.testing.assert_allclose(made.toarray(), expected, rtol=1e-5)
    empty = gd.sparse_jacobian(lambda x: x * x)(np.zeros(0))
    assert empty.shape == (0, 0)
    assert gd.sparse_jacobian(lambda x: gd.constant([1.0, 2.0]))(np.ones(3)).nnz == 0
    assert gd.sparse_hessian(lambda x: gd.sum(x))(np.ones(3)).nnz == 0


def test_a_banded_hessian_of_60000_takes_seconds() -> None:
    x = np.random.default_rng(0).normal(size=60_000)
    hessian = gd.sparse_hessian(lambda x: gd.sum(x[1:] * x[:-1] * x[1:]))
    before = time.perf_counter()
    made = hessian(x)
    assert time.perf_counter() - before < 20  # half a second where nothing else runs
    assert made.nnz == 3 * 60_000 - 3 + 0 or made.nnz == 3 * 60_000 - 2
    np.testing.assert_allclose(made.diagonal(1), 2 * x[1:], rtol=1e-12)
    np.testing.assert_allclose(made.diagonal()[1:], 2 * x[:-1], rtol=1e-12)


def test_what_is_hardly_sparse_is_refused() -> None:
    x = np.ones(60_000)
    with pytest.raises(gd.errors.GraphError, match=r"hardly sparse.*gd\.hvp"):
        gd.sparse_hessian(lambda x: gd.exp(gd.sum(x) / 1e6))(x)


@pytest.mark.parametrize("derivative", [gd.sparse_jacobian, gd.sparse_hessian, lambda f: lambda x: gd.sparsity(f, x)])
def test_what_is_refused(derivative: Any) -> None:
    function = derivative(lambda x: gd.sum(x * x))
    for wrong in ({"a": np.ones(2)}, (np.ones(2), np.ones(2)), [np.ones(2), 3.0]):
        with pytest.raises(gd.errors.GraphError, match="one array"):
            function(wrong)
    with pytest.raises(gd.errors.GraphError, match="outside of compiled functions"):
        gd.compile(lambda x: function(x))(np.ones(2))
    with pytest.raises(gd.errors.GraphError, match="values are needed"):
        function(gd.placeholder((2,)))


def test_several_outputs_are_refused() -> None:
    for made in (lambda x: (x, x), lambda x: {"a": x, "b": x}):
        with pytest.raises(gd.errors.GraphError, match="one tensor"):
            gd.sparse_jacobian(made)(np.ones(2))


def test_a_pattern_must_fit() -> None:
    with pytest.raises(gd.errors.ShapeError, match="columns"):
        gd.sparse_jacobian(lambda x: x * x, np.eye(3))(np.ones(4))
    with pytest.raises(gd.errors.ShapeError, match="rows"):
        gd.sparse_jacobian(lambda x: x * x, np.ones((3, 4)))(np.ones(4))


def test_a_given_pattern_is_used() -> None:
    derivative = gd.sparse_jacobian(lambda x: gd.constant(np.diag([1.0, 2.0, 3.0])) @ x, np.eye(3))
    for _ in range(3):
        assert derivative(np.ones(3)).nnz == 3
        close(derivative(np.ones(3)), np.diag([1.0, 2.0, 3.0]))


def test_an_op_of_ones_own_counts_as_everything() -> None:
    rotated = gd.op.custom(
        "rotated_example",
        tangent=lambda F, tangents, out, x: F.flip(tangents[0], axis=0),
        evaluate=lambda F, x: F.flip(x, axis=0),
        infer=lambda x: (x.shape, x.dtype),
    )
    x = np.arange(3.0)
    derivative = gd.sparse_jacobian(lambda x: rotated(x * x))
    for _ in range(3):
        close(derivative(x), np.flipud(np.diag(2 * x)))
    assert gd.sparsity(rotated, x).toarray().all()


def test_functions_with_parameters_and_checkpoints() -> None:
    model = gd.nn.MLP([4, 1], "tanh", in_features=2, seed=0, dtype="float64")
    loss = lambda x: gd.sum(model(gd.reshape(x, (3, 2))) ** 2)  # noqa: E731
    hessian = gd.sparse_hessian(loss)
    x = np.linspace(-1, 1, 6)
    for _ in range(3):
        close(hessian(x), gd.hessian(loss, mode="forward")(x).numpy())
    assert hessian(x).nnz == 12
    for parameter in model.parameters():
        parameter.assign(parameter.numpy() * 2)
    close(hessian(x), gd.hessian(loss, mode="forward")(x).numpy())
