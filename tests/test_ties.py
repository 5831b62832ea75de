"""Derivatives where eigenvalues or singular values are equal: what exists is right, and what does not is NaN."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphdiff as gd

MODES = ("forward", "reverse", "elimination", "auto")
SECOND = ("forward", "reverse", "elimination")


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape)


def with_values(values: Any, seed: int = 1) -> Any:
    """A symmetric matrix of these eigenvalues in a general position."""
    basis = np.linalg.qr(normal(len(values), len(values), seed=seed))[0]
    return basis @ np.diag(np.asarray(values, float)) @ basis.T


def symmetric_part(x: Any) -> Any:
    return 0.5 * (x + x.T)


def of_matrix(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of a symmetric matrix by its eigenvalues."""

    def applied(x: Any) -> Any:
        values, vectors = gd.linalg.eigh(x)
        return (vectors * function(values)) @ vectors.T

    return applied


def put_together(x: Any) -> Any:
    left, values, right = gd.linalg.svd(x, full_matrices=False)
    return (left * values) @ right


def polar(x: Any) -> Any:
    left, _, right = gd.linalg.svd(x, full_matrices=False)
    return left @ right


def divided(function: Any, slope: Any, values: Any) -> Any:
    """The matrix of divided differences (Daleckii and Krein): the derivative of a function of a matrix."""
    gaps = values[:, None] - values
    same = abs(gaps) < 1e-5  # where the slope in the middle is as good as the quotient
    quotient = (function(values)[:, None] - function(values)) / np.where(same, 1, gaps)
    return np.where(same, slope(0.5 * (values[:, None] + values)), quotient)


def derivative_along(function: Any, slope: Any, x: Any, direction: Any) -> Any:
    values, vectors = np.linalg.eigh(x)
    inner = vectors.T @ symmetric_part(direction) @ vectors
    return vectors @ (divided(function, slope, values) * inner) @ vectors.T


SPECTRA = [(1, 1), (2, 2, 2), (3, 1, 1), (1, 1, 4, 4), (5, 5, 5, 5, 0.1), (2, 2 + 1e-13, 7), (1, 1 + 1e-11)]


def test_the_squared_matrix_at_the_identity() -> None:
    weights = np.array([[2.0, 6.0], [6.0, 10.0]])
    gradient = gd.grad(lambda x: gd.sum(of_matrix(lambda w: w**2)(x) * weights))(np.eye(2))
    np.testing.assert_allclose(gradient.numpy(), [[4, 12], [12, 20]], rtol=1e-12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize(
    ("function", "plain", "slope"),
    [
        (gd.exp, np.exp, np.exp),
        (gd.sqrt, np.sqrt, lambda w: 0.5 / np.sqrt(w)),
        (gd.log, np.log, lambda w: 1 / w),
        (lambda w: w**3, lambda w: w**3, lambda w: 3 * w**2),
    ],
)
def test_functions_of_matrices(spectrum: Any, mode: str, function: Any, plain: Any, slope: Any) -> None:
    x, weights = with_values(spectrum), normal(len(spectrum), len(spectrum), seed=2)
    computed = gd.jacobian(lambda x: gd.sum(of_matrix(function)(x) * weights), mode=mode)(x).numpy()
    np.testing.assert_allclose(computed, derivative_along(plain, slope, x, weights), rtol=1e-8, atol=1e-9)
    direction = normal(*x.shape, seed=3)
    moved = gd.jvp(of_matrix(function), (x,), (direction,))[1].numpy()
    np.testing.assert_allclose(moved, derivative_along(plain, slope, x, direction), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("gap", [0.0, 1e-15, 1e-12, 1e-10, 1e-9, 1e-8, 1e-6, 1e-3])
def test_nearly_equal_eigenvalues_in_both_modes(gap: float) -> None:
    x, weights = with_values([1.0, 1.0 + gap, 3.0]), normal(3, 3, seed=2)
    function = lambda x: gd.sum(of_matrix(gd.exp)(x) * weights)  # noqa: E731
    expected = derivative_along(np.exp, np.exp, x, weights)
    for mode in MODES:
        np.testing.assert_allclose(gd.jacobian(function, mode=mode)(x).numpy(), expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "x",
    [np.eye(3), np.zeros((3, 3)), np.zeros((2, 3)), np.ones((3, 2)), np.diag([2.0, 2.0, 0.0]), 1e-200 * np.eye(2)],
)
def test_singular_vectors_put_together_again(x: Any, mode: str) -> None:
    computed = gd.jacobian(put_together, mode=mode)(x).numpy()
    np.testing.assert_allclose(computed.reshape(x.size, x.size), np.eye(x.size), atol=1e-10)


@pytest.mark.parametrize("mode", MODES)
def test_the_polar_factor_of_a_rotation(mode: str) -> None:
    """At s Q the polar factor moves by the part of dX that turns: (dX - Q dXᵀ Q) / 2s."""
    rotation = np.linalg.qr(normal(3, 3))[0]
    computed = gd.jacobian(polar, mode=mode)(2 * rotation).numpy()
    for row, column in np.ndindex(3, 3):
        unit = np.zeros((3, 3))
        unit[row, column] = 1.0
        expected = (unit - rotation @ unit.T @ rotation) / 4
        np.testing.assert_allclose(computed[:, :, row, column], expected, atol=1e-11)


@pytest.mark.parametrize("mode", SECOND)
def test_hessians_of_values_alone(mode: str) -> None:
    symmetric = gd.hessian(lambda x: gd.sum(symmetric_part(x) ** 2))(np.eye(3)).numpy()
    for x in (np.eye(3), with_values([2, 2, 5]), np.zeros((3, 3))):
        computed = gd.hessian(lambda x: gd.sum(gd.linalg.eigvalsh(x) ** 2), mode=mode)(x).numpy()
        np.testing.assert_allclose(computed, symmetric, atol=1e-9)
    for x in (np.eye(2), 3 * np.linalg.qr(normal(2, 2))[0], np.zeros((2, 2)), np.zeros((2, 3)), np.ones((3, 2))):
        computed = gd.hessian(lambda x: gd.sum(gd.linalg.svdvals(x) ** 2), mode=mode)(x).numpy()
        np.testing.assert_allclose(computed.reshape(x.size, x.size), 2 * np.eye(x.size), atol=1e-9)


def test_hessian_of_a_log_determinant() -> None:
    x = with_values([0.5, 0.5, 4.0])
    inverse = np.linalg.inv(x)
    direction = symmetric_part(normal(3, 3, seed=4))
    computed = gd.hvp(lambda x: gd.sum(gd.log(gd.linalg.eigvalsh(x))), x, direction).numpy()
    np.testing.assert_allclose(computed, -inverse @ direction @ inverse, rtol=1e-8, atol=1e-8)


def test_third_derivatives() -> None:
    """The trace of the cube is a polynomial: its third derivative is the same everywhere."""
    cubed = lambda x: gd.sum(gd.linalg.eigvalsh(x) ** 3)  # noqa: E731
    plainly = lambda x: gd.trace(symmetric_part(x) @ symmetric_part(x) @ symmetric_part(x))  # noqa: E731
    third = gd.jacobian(gd.hessian(cubed))(np.eye(2)).numpy()
    np.testing.assert_allclose(third, gd.jacobian(gd.hessian(plainly))(np.eye(2)).numpy(), atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "function",
    [
        lambda x: gd.linalg.eigh(x)[1][0, 0] ** 2,
        lambda x: gd.sum(gd.abs(gd.linalg.eigh(x)[1]) * np.arange(4.0).reshape(2, 2)),
        lambda x: gd.linalg.eigvalsh(x)[0],
        lambda x: gd.linalg.svdvals(x)[1],
        lambda x: gd.linalg.svd(x)[0][0, 0] ** 2,
        lambda x: gd.sum(gd.linalg.eigvalsh(x) * np.array([1.0, 2.0])),
    ],
)
def test_what_depends_on_the_choice_has_none(function: Any, mode: str) -> None:
    assert np.isnan(gd.jacobian(function, mode=mode)(3 * np.eye(2)).numpy()).all()
    assert np.isfinite(gd.jacobian(function, mode=mode)(np.array([[3.0, 1.0], [1.0, 4.0]])).numpy()).all()


@pytest.mark.parametrize("x", [np.zeros((2, 2)), np.diag([1.0, 0.0])])
def test_singular_values_have_a_kink_at_zero(x: Any) -> None:
    for function in (lambda x: gd.sum(gd.linalg.svdvals(x)), lambda x: gd.sum(polar(x) * x[::-1])):
        assert np.isnan(gd.grad(function)(x).numpy()).all()


def test_other_arguments_keep_their_derivatives() -> None:
    by_matrix, by_number = gd.grad(lambda x, k: gd.linalg.eigvalsh(x)[0] * k, argnums=(0, 1))(np.eye(2), 3.0)
    assert np.isnan(by_matrix.numpy()).all()
    assert by_number.item() == 1.0
    corner = gd.grad(lambda x, k: gd.linalg.eigh(x)[1][0, 0] ** 2 * k, argnums=1)(np.eye(2), 3.0)
    assert corner.item() == np.linalg.eigh(np.eye(2))[1][0, 0] ** 2


def test_stacks_in_which_some_have_ties() -> None:
    stack, weights = np.stack([np.eye(2), np.diag([1.0, 3.0]), 2 * np.eye(2)]), normal(2, 2)

    def squared(x: Any) -> Any:
        values, vectors = gd.linalg.eigh(x)
        return gd.sum(((vectors * (values**2)[..., None, :]) @ vectors.mT) * weights)

    expected = [derivative_along(np.square, lambda w: 2 * w, x, weights) for x in stack]
    np.testing.assert_allclose(gd.grad(squared)(stack).numpy(), expected, rtol=1e-10, atol=1e-12)
    mapped = gd.grad(lambda x: gd.sum(gd.vmap(squared)(x)))(stack)
    np.testing.assert_allclose(mapped.numpy(), expected, rtol=1e-10, atol=1e-12)
    smallest = gd.grad(lambda x: gd.sum(gd.linalg.eigvalsh(x)[..., 0]))(stack).numpy()
    assert np.isnan(smallest[[0, 2]]).all()
    np.testing.assert_array_equal(smallest[1], [[1, 0], [0, 0]])


def test_one_decomposition_of_another() -> None:
    root = of_matrix(gd.sqrt)
    computed = gd.jacobian(lambda x: root(root(x)))(16 * np.eye(2)).numpy().reshape(4, 4)
    symmetric = np.array([[1, 0, 0, 0], [0, 0.5, 0.5, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 1]])
    np.testing.assert_allclose(computed, 0.25 * 16**-0.75 * symmetric, rtol=1e-8, atol=1e-10)


def test_walks_over_graphs() -> None:
    weights = np.array([[2.0, 6.0], [6.0, 10.0]])
    x = gd.variable(np.eye(2))
    y = gd.sum(of_matrix(lambda w: w**2)(x) * weights)
    expected = [[4, 12], [12, 20]]
    y.backward()
    np.testing.assert_allclose(x.grad, expected, rtol=1e-12)
    np.testing.assert_allclose(gd.adjoints(y)[x].numpy(), expected, rtol=1e-12)
    assert gd.tangents(y, {x: np.eye(2)[::-1]})[y].item() == pytest.approx(24)
    optimizer = gd.optim.SGD([x], lr=0.1)
    optimizer.minimize(gd.sum(of_matrix(lambda w: w**2)(x) * weights))
    np.testing.assert_allclose(x.numpy(), np.eye(2) - 0.1 * np.array(expected), rtol=1e-12)


def test_single_precision() -> None:
    x, weights = np.eye(3, dtype="float32"), normal(3, 3).astype("float32")
    gradient = gd.grad(lambda x: gd.sum(of_matrix(gd.exp)(x) * weights))(x)
    assert gradient.dtype == np.float32
    np.testing.assert_allclose(gradient.numpy(), np.e * symmetric_part(weights), rtol=1e-3, atol=1e-4)


def test_compiled_functions_are_right_or_say_that_they_do_not_know() -> None:
    gradient = gd.compile(gd.grad(lambda x: gd.sum(gd.linalg.svdvals(x) ** 2)))
    for x in (np.eye(2), np.zeros((2, 3)), np.diag([2.0, 2.0, 0.0])):
        np.testing.assert_allclose(gradient(x).numpy(), 2 * x, atol=1e-15)
    np.testing.assert_allclose(
        gd.compile(gd.grad(lambda x: gd.sum(gd.linalg.eigvalsh(x))))(np.eye(2)).numpy(), np.eye(2)
    )
    for function in (lambda x: gd.sum(of_matrix(gd.exp)(x)), lambda x: gd.linalg.eigvalsh(x)[0], polar_sum):
        assert np.isnan(gd.compile(gd.grad(function))(np.eye(2)).numpy()).all()
        assert np.isnan(gd.compile(gd.jacobian(function, mode="forward"))(np.eye(2)).numpy()).any()


def polar_sum(x: Any) -> Any:
    return gd.sum(polar(x) * np.arange(4.0).reshape(2, 2))


@pytest.mark.parametrize(("options", "read"), [({}, np.tril), ({"UPLO": "L"}, np.tril), ({"UPLO": "u"}, np.triu)])
def test_numpys_functions_read_one_triangle(options: Any, read: Any) -> None:
    x = normal(3, 3) + 3 * np.eye(3)
    values, vectors = np.linalg.eigh(gd.variable(x), **options)
    expected, expected_vectors = np.linalg.eigh(x, **options)
    np.testing.assert_allclose(values.numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(abs(vectors.numpy()), abs(expected_vectors), rtol=1e-10)
    gd.check_grads(lambda x: np.linalg.eigvalsh(x, **options), x)
    slope = gd.grad(lambda x: gd.sum(np.linalg.eigvalsh(x, **options) ** 2))(x).numpy()
    np.testing.assert_array_equal(slope, read(slope))
    assert abs(slope).sum() > abs(np.diag(slope)).sum()


@pytest.mark.parametrize(("options", "read"), [({}, np.tril), ({"upper": True}, np.triu)])
def test_numpys_cholesky_reads_one_triangle(options: Any, read: Any) -> None:
    x = read(normal(3, 3)) + 5 * np.eye(3)
    np.testing.assert_allclose(np.linalg.cholesky(gd.variable(x), **options).numpy(), np.linalg.cholesky(x, **options))
    gd.check_grads(lambda x: np.linalg.cholesky(x, **options), x)


def test_own_functions_take_the_symmetric_part() -> None:
    x = normal(3, 3) + 5 * np.eye(3)
    for function in (gd.linalg.cholesky, gd.linalg.eigvalsh):
        np.testing.assert_allclose(function(x).numpy(), function(symmetric_part(x)).numpy(), rtol=1e-12)
        slope = gd.grad(lambda x, f=function: gd.sum(f(x) ** 3))(x).numpy()
        np.testing.assert_allclose(slope, slope.T, rtol=1e-12)
