"""Sparse derivatives against dense ones, eigenvalues by Lanczos against all of them, kinds of critical points."""

import numpy as np
import pytest

import graphdiff as gd

pytest.importorskip("scipy")

RNG = np.random.default_rng(0)


def rosenbrock(x):
    return gd.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def test_a_sparse_hessian_equals_the_dense_one():
    x = RNG.normal(size=30)
    sparse = gd.sparse_hessian(rosenbrock)(x)
    assert sparse.nnz == 30 + 2 * 29
    np.testing.assert_allclose(sparse.toarray(), np.asarray(gd.hessian(rosenbrock)(x)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * x,
        lambda x: gd.stack([x[0], x[1] * x[2], gd.sum(x)]),
        lambda x: gd.tanh(gd.constant(np.eye(6)[:4]) @ x),
        lambda x: gd.reshape(x, (2, 3)) * gd.reshape(x, (2, 3))[:, :1],
        lambda x: gd.stack([x[0], gd.constant(1.0)]),
    ],
)
def test_a_sparse_jacobian_equals_the_dense_one(function):
    x = RNG.normal(size=6)
    dense = np.asarray(gd.jacobian(function, mode="reverse")(x)).reshape(-1, 6)
    derivative = gd.sparse_jacobian(function)
    np.testing.assert_allclose(derivative(x).toarray(), dense, rtol=1e-12)
    np.testing.assert_array_equal(gd.sparsity(function, x).toarray() >= (dense != 0), True)


def test_a_pattern_must_fit():
    with pytest.raises(gd.errors.ShapeError, match="columns"):
        gd.sparse_jacobian(lambda x: x * x, np.eye(3))(np.ones(4))


@pytest.mark.parametrize("size", [1, 5, 60])
def test_extreme_eigenvalues(size):
    x = RNG.normal(size=size) / 2
    f = lambda x: gd.sum(gd.cos(x)) + gd.sum(x) ** 4 / 100  # noqa: E731
    low, high = gd.hessian_eigenvalues(f, x, steps=size)
    exact = np.linalg.eigvalsh(np.asarray(gd.hessian(f)(x)))
    np.testing.assert_allclose((low[0], high[0]), (exact[0], exact[-1]), rtol=1e-8)


def test_repeated_eigenvalues():
    low, high = gd.hessian_eigenvalues(lambda x: gd.sum(x * x), np.ones(5), 3)
    np.testing.assert_allclose([*low, *high], 2.0, rtol=1e-12)
    with pytest.raises(gd.errors.GraphError, match="eigenvalues"):
        gd.hessian_eigenvalues(lambda x: gd.sum(x * x), np.ones(2), 3)


def quadratic(matrix):
    fixed = gd.constant(matrix)
    return lambda x: x @ (fixed @ x) / 2


@pytest.mark.parametrize("count", [1, 2, 5])
def test_eigenvalues_of_a_large_matrix_converge(count):
    matrix = RNG.normal(size=(400, 400))
    matrix = (matrix + matrix.T) / 2
    exact = np.linalg.eigvalsh(matrix)
    low, high = gd.hessian_eigenvalues(quadratic(matrix), np.ones(400), count)
    np.testing.assert_allclose(low, exact[:count], rtol=1e-10)
    np.testing.assert_allclose(high, exact[-count:], rtol=1e-10)


@pytest.mark.parametrize(
    "spectrum",
    [
        [5.0] * 3 + [1.0] * 40 + [-2.0] * 3,
        [1.0] * 45 + [1.0 + 1e-9],
        list(np.geomspace(1e-6, 1.0, 46)),
        [0.0] * 46,
        [0.0] * 40 + [1.0] * 6,
        list(np.linspace(-1e-3, 1e-3, 45)) + [1e6],
    ],
)
def test_eigenvalues_as_often_as_they_occur(spectrum):
    turn = np.linalg.qr(RNG.normal(size=(46, 46)))[0]
    low, high = gd.hessian_eigenvalues(quadratic(turn @ np.diag(spectrum) @ turn.T), np.ones(46), 3)
    scale = np.abs(spectrum).max()
    np.testing.assert_allclose(low, sorted(spectrum)[:3], atol=1e-8 * scale)
    np.testing.assert_allclose(high, sorted(spectrum)[-3:], atol=1e-8 * scale)


def test_too_few_steps_are_told():
    matrix = np.diag(np.arange(400.0))
    with pytest.raises(gd.errors.GraphError, match=r"residual of .* only: give more steps, up to 400"):
        gd.hessian_eigenvalues(quadratic(matrix), np.ones(400), steps=20)
    with pytest.raises(gd.errors.GraphError, match="at least as many steps"):
        gd.hessian_eigenvalues(quadratic(matrix), np.ones(400), 3, steps=2)


def test_eigenvalues_of_single_precision_and_of_nan():
    matrix = np.diag(np.linspace(-1, 3, 50)).astype("float32")
    low, high = gd.hessian_eigenvalues(quadratic(matrix), np.ones(50, "float32"), 2)
    np.testing.assert_allclose([*low, *high], [-1, -1 + 4 / 49, 3 - 4 / 49, 3], rtol=1e-4)
    low, high = gd.hessian_eigenvalues(lambda x: gd.sum(x * x) * np.nan, np.ones(3))
    assert np.isnan([*low, *high]).all()


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (lambda x: gd.sum(x * x), "minimum"),
        (lambda x: -gd.sum(x * x), "maximum"),
        (lambda x: x[0] ** 2 - x[1] ** 2, "saddle"),
        (lambda x: x[0] ** 2 + x[1] ** 4, "degenerate"),
        (lambda x: x[0] + x[1] ** 2, "regular"),
    ],
)
def test_kinds_of_critical_points(function, kind):
    assert gd.critical_point(function, np.zeros(2)).kind == kind


def test_a_sparse_hessian_is_its_callers_own() -> None:
    hessian = gd.sparse_hessian(lambda x: gd.sum(x[1:] * x[:-1] ** 2))
    first = hessian(np.zeros(3))
    first.eliminate_zeros()
    assert first.nnz == 0
    assert hessian(np.ones(3)).toarray().tolist() == [[2, 2, 0], [2, 2, 2], [0, 2, 0]]
