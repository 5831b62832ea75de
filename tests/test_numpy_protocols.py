"""NumPy's functions on tensors: what builds graph, what looks at values, and what is refused in clear words."""

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.errors import MatrixError, OpError

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.5]])


@pytest.mark.parametrize(
    "function",
    [
        lambda x: np.add.reduce(x),
        lambda x: np.multiply.reduce(x, axis=1),
        lambda x: np.logaddexp.reduce(x, axis=None),
        lambda x: np.add.accumulate(x, axis=1),
        lambda x: np.multiply.accumulate(x),
        lambda x: np.multiply.outer(x, x[0]),
        lambda x: np.subtract.outer(x[0], X),
        lambda x: np.clip(x, a_min=-0.7, a_max=1.0),
        lambda x: np.full_like(X, 1.0) * x,
        lambda x: np.linspace(x[0, 0], x[1], 4),
        lambda x: np.vstack([x, x**2]),
    ],
)
def test_what_builds_graph(function) -> None:
    np.testing.assert_allclose(np.asarray(function(gd.constant(X))), function(X), rtol=1e-15)
    assert gd.check_grads(function, X).passed


def test_a_dtype_of_a_ufunc() -> None:
    assert np.exp(gd.variable(X), dtype="float32").dtype == np.float32


def test_functions_that_look_at_values_return_what_they_return_of_arrays() -> None:
    x = gd.variable(X)
    assert np.allclose(x, X) is True
    assert np.array_equal([x, x], np.stack([X, X]))
    assert (
        np.searchsorted(np.array([-1.0, 0.0, 1.0]), x[0]).tolist() == np.searchsorted([-1.0, 0.0, 1.0], X[0]).tolist()
    )
    assert (np.shape(x), np.ndim(x), np.size(x)) == ((2, 3), 2, 6)
    assert np.shape(gd.placeholder((2, 5))) == (2, 5)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda x: np.ones((2, 3)).__iadd__(x), "instead of `y \\+= x` write `y = y \\+ x`"),
        (lambda x: np.add(x, 1.0, out=np.zeros((2, 3))), "cannot write a tensor into an array"),
        (lambda x: np.exp(x, where=X > 0), r"gd\.where"),
        (lambda x: np.add.at(x, 0, 1.0), r"no counterpart of numpy\.add\.at"),
        (lambda x: np.spacing(x), r"no counterpart of numpy\.spacing"),
        (lambda x: np.linalg.lstsq(x, X), r"no counterpart of numpy\.linalg\.lstsq"),
        (lambda x: np.linalg.svd(x), "give full_matrices=False"),
        (lambda x: np.linalg.qr(x, mode="complete"), 'only mode "reduced"'),
        (lambda x: np.quantile(x, 0.5, method="hazen"), "the methods are linear"),
        (lambda x: np.quantile(x, [0.5, 1.5]), "fractions lie between 0 and 1"),
        (lambda x: np.linalg.pinv(x, 0.1, rtol=0.1), "two names of one number"),
        (lambda x: np.linalg.matrix_power(x[:, :2], 0.5), "whole number of factors"),
        (lambda x: np.sum(x, initial=1.0), "np.sum of a tensor is gd.sum, and .*'initial'"),
        (lambda x: np.einsum(x, [0, 1], [1]), "subscripts as text"),
    ],
)
def test_what_is_refused(call, said) -> None:
    with pytest.raises(OpError, match=said):
        call(gd.variable(X))


def test_einsum_takes_the_option_that_changes_no_result() -> None:
    np.testing.assert_allclose(np.einsum("ij,kj", gd.constant(X), X, optimize=True), X @ X.T)


def test_another_librarys_arrays_have_their_say() -> None:
    class Other:
        def __array_ufunc__(self, ufunc, method, *inputs, **options):
            return "other"

    assert np.add(gd.variable(1.0), Other()) == "other"


def test_a_copy_of_a_variable_keeps_its_value() -> None:
    w = gd.variable(np.ones(2))
    w.pin()
    before = w.copy()
    w.assign([5.0, 6.0])
    assert before.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    "call", [lambda: gd.linalg.inv(np.zeros((2, 2))), lambda: gd.linalg.cholesky(gd.variable(-np.eye(2)))]
)
def test_matrices_that_have_no_inverse_or_root(call) -> None:
    with pytest.raises(MatrixError, match=r"Singular matrix|not positive definite"):
        call()


def test_full_and_linspace_of_tensors() -> None:
    assert gd.check_grads(lambda x: gd.full((3, 2), x[0, 0]) * gd.linspace(x[0, 1], 2.0, 6).reshape(3, 2), X).passed
    assert gd.full(2, gd.variable(3.0), dtype="float32").dtype == np.float32


def test_constants_may_go_where_no_derivative_is_lost() -> None:
    point = np.array([3.0, 1.0])
    point -= 0.5 * gd.grad(lambda x: gd.sum(x**2))(point)
    assert point.tolist() == [0.0, 0.0]
    constant = gd.constant(X)
    np.testing.assert_array_equal(np.spacing(constant), np.spacing(X))
    for computed, expected in zip(np.linalg.svd(constant), np.linalg.svd(X), strict=True):
        np.testing.assert_array_equal(computed, expected)
    np.testing.assert_array_equal(np.quantile(constant, 0.3, method="hazen"), np.quantile(X, 0.3, method="hazen"))
    np.testing.assert_array_equal(np.add.reduceat(constant, [0, 1]), np.add.reduceat(X, [0, 1]))
    assert isinstance(np.atleast_1d(constant), np.ndarray)
    assert isinstance(np.atleast_1d(gd.variable(X)), gd.Tensor)


def test_optimisers_of_scipy_take_functions_and_their_derivatives() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    times = np.linspace(0, 1, 30)

    def residuals(p):
        return p[0] * gd.exp(-p[1] * times) - 2 * np.exp(-3 * times)

    def loss(p):
        return gd.sum(residuals(p) ** 2)

    fitted = optimize.least_squares(residuals, [1.0, 1.0], jac=lambda p: np.asarray(gd.jacobian(residuals)(p)))
    np.testing.assert_allclose(fitted.x, [2.0, 3.0], rtol=1e-6)
    fitted = optimize.minimize(loss, [1.0, 1.0], jac=gd.grad(loss), method="BFGS")
    np.testing.assert_allclose(np.asarray(fitted.x), [2.0, 3.0], rtol=1e-3)
