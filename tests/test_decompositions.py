"""Decompositions where vectors are not determined, and determinants of singular matrices."""

import itertools
from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.errors import MatrixError

MODES = ("forward", "reverse")


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape)


def minors(x: Any) -> Any:
    """The cofactors by their definition: determinants without a row and a column."""
    size = len(x)
    found = np.zeros((size, size))
    for row, column in itertools.product(range(size), repeat=2):
        rest = np.delete(np.delete(x, row, 0), column, 1)
        found[row, column] = (-1) ** (row + column) * np.linalg.det(rest)
    return found


def of_rank(rank: int, size: int) -> Any:
    """An integer matrix of that rank, of which elimination leaves rows of exact zeros."""
    x = np.triu(np.arange(1.0, size * size + 1).reshape(size, size))
    x[rank:] = x[0] if rank else 0.0
    return x


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("rank", "size"), [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3), (3, 4), (5, 6), (6, 6)])
def test_the_determinant_changes_by_cofactors(rank: int, size: int, mode: str) -> None:
    x = of_rank(rank, size)
    assert (np.linalg.det(x) == 0) == (rank < size)
    computed = gd.jacobian(gd.linalg.det, mode=mode)(x).numpy()
    np.testing.assert_allclose(computed, minors(x), rtol=1e-11, atol=1e-11 * max(1.0, abs(minors(x)).max()))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_determinant_that_is_nan_has_such_a_derivative() -> None:
    x = np.array([[1.0, np.nan], [1.0, 1.0]])
    assert np.isnan(gd.grad(gd.linalg.det)(x).numpy()).any()
    assert np.isnan(gd.hessian(gd.linalg.det)(x).numpy()).any()


@pytest.mark.parametrize("mode", MODES)
def test_third_derivatives_of_a_determinant_of_equal_singular_values(mode: str) -> None:
    """The determinant of a 3 x 3 matrix is cubic: its third derivative is the sign of the permutation, anywhere."""
    expected = np.zeros((3,) * 6)
    for order in itertools.permutations(range(3)):
        sign = np.linalg.det(np.eye(3)[list(order)])
        for rows in itertools.permutations(range(3)):
            expected[tuple(each for row in rows for each in (row, order[row]))] = sign
    third = gd.jacobian(gd.hessian(gd.linalg.det), mode=mode)(np.eye(3)).numpy()
    np.testing.assert_allclose(third, expected, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_equal_singular_values(mode: str) -> None:
    """What does not depend on the choice of the vectors is right: the nuclear norm's derivative is U Vᵀ."""
    rotation = np.linalg.qr(normal(3, 3))[0]
    nuclear = gd.jacobian(lambda x: gd.linalg.norm(x, "nuc"), mode=mode)(2 * rotation)
    np.testing.assert_allclose(nuclear.numpy(), rotation, atol=1e-14)
    for x in (np.eye(3), np.zeros((3, 2)), np.ones((2, 4))):  # the sum of the vectors depends on their choice
        slope = gd.jacobian(lambda x: sum(gd.sum(part) for part in gd.linalg.svd(x, False)), mode=mode)(x)
        assert np.isnan(slope.numpy()).all()


def test_nearly_equal_singular_values_keep_their_digits() -> None:
    """The derivative of u₁ towards u₂ is 1 / (s₁ - s₂) for a symmetric change."""
    x, gap = np.diag([1.0 + 1e-9, 1.0]), (1.0 + 1e-9) - 1.0
    change = np.array([[0.0, 1.0], [1.0, 0.0]])
    _, moved = gd.jvp(lambda x: gd.linalg.svd(x)[0], (x,), (change,))
    assert abs(moved.numpy()[1, 0]) == pytest.approx(1 / gap, rel=1e-6)


@pytest.mark.parametrize("shape", [(3, 3), (5, 2), (2, 5), (2, 4, 3)])
def test_the_parts_put_together_are_the_matrix(shape: tuple[int, ...]) -> None:
    x = normal(*shape)
    left, values, right = gd.linalg.svd(x, full_matrices=False)
    basis, upper = gd.linalg.qr(x)
    np.testing.assert_allclose(((left * values[..., None, :]) @ right).numpy(), x, atol=1e-14)
    np.testing.assert_allclose((basis @ upper).numpy(), x, atol=1e-14)
    for parts in (lambda x: gd.linalg.svd(x, False), gd.linalg.qr):

        def again(x: Any, parts: Any = parts) -> Any:
            first, *rest = parts(x)
            return (first * rest[0][..., None, :]) @ rest[1] if len(rest) == 2 else first @ rest[0]

        identity = np.eye(x.size).reshape(x.shape + x.shape)
        np.testing.assert_allclose(gd.jacobian(again, mode="forward")(x).numpy(), identity, atol=1e-12)
        np.testing.assert_allclose(gd.jacobian(again, mode="reverse")(x).numpy(), identity, atol=1e-12)


@pytest.mark.parametrize("function", [gd.linalg.svdvals, gd.linalg.pinv, gd.linalg.det, lambda x: gd.linalg.qr(x)[1]])
def test_decompositions_in_plans(function: Any) -> None:
    gradient = gd.grad(lambda x: gd.sum(function(x) ** 2))
    x = normal(3, 3)
    np.testing.assert_allclose(gd.compile(gradient)(x).numpy(), gradient(x).numpy(), rtol=1e-12, atol=1e-13)


def test_columns_that_depend_on_each_other_have_no_derivative() -> None:
    for name, function in (("qr", lambda x: gd.sum(gd.linalg.qr(x)[0])), ("logabsdet", lambda x: gd.slogdet(x)[1])):
        with pytest.raises(MatrixError, match=f"derivative of {name}: Singular matrix; add a multiple of"):
            gd.grad(function)(np.zeros((2, 2)))
        with pytest.raises(MatrixError, match="Singular matrix; add a multiple of"):
            gd.jacobian(function, mode="forward")(np.zeros((2, 2)))
