"""What derivatives hand out: constants at the outermost level, and graph within another differentiation or trace."""

import gc
import weakref

import numpy as np
import pytest
import scipy.optimize

import graphdiff as gd
from graphdiff.errors import DTypeError, ImmutableError
from graphdiff.tree import flatten

X = np.array([1.0, 2.0])


def f(x):
    return gd.sum(x**3)


OUTERMOST = {
    "grad": lambda f, x: gd.grad(f)(x),
    "value_and_grad": lambda f, x: gd.value_and_grad(f)(x),
    "vjp": lambda f, x: (gd.vjp(f, x)[0], gd.vjp(f, x)[1](1.0)),
    "jvp": lambda f, x: gd.jvp(f, (x,), (X,)),
    "hvp": lambda f, x: gd.hvp(f, x, X),
    "hvp of a constant": lambda f, x: gd.hvp(f, gd.constant(x) if isinstance(x, np.ndarray) else x, X),
    "jacobian": lambda f, x: gd.jacobian(f)(x),
    "jacobian forward": lambda f, x: gd.jacobian(f, mode="forward")(x),
    "jacobian reverse": lambda f, x: gd.jacobian(f, mode="reverse")(x),
    "jacobian elimination": lambda f, x: gd.jacobian(f, mode="elimination")(x),
    "hessian": lambda f, x: gd.hessian(f)(x),
    "hessian reverse": lambda f, x: gd.hessian(f, mode="reverse")(x),
    "hessian elimination": lambda f, x: gd.hessian(f, mode="elimination")(x),
    "aux": lambda f, x: gd.grad(lambda x: (f(x), {"double": 2 * x, "self": x, "n": 3}), has_aux=True)(x),
    "tree": lambda f, x: gd.value_and_grad(lambda p: f(p["a"][0]))({"a": [x]}),
}


def tensors(tree):
    return [part for part in flatten(tree)[0] if isinstance(part, gd.Tensor)]


@pytest.mark.parametrize("way", OUTERMOST)
def test_results_are_constants_at_the_outermost_level(way) -> None:
    found = tensors(OUTERMOST[way](f, X))
    assert found
    assert not [each for each in found if each.recorded]


@pytest.mark.parametrize("way", OUTERMOST)
def test_results_carry_derivatives_of_what_lies_outside(way) -> None:
    """By a variable that is the argument, one that the function closes over, and within another derivative."""
    w = gd.variable(1.5)
    closed = gd.sum(gd.stack([gd.sum(each) for each in tensors(OUTERMOST[way](lambda x: f(x) * w * w, X))]))
    plain = sum(float(gd.sum(each)) for each in tensors(OUTERMOST[way](f, X)))
    closed.backward()
    own = [each for each in tensors(OUTERMOST[way](lambda x: f(x) * w * w, X)) if not each.recorded]
    independent = sum(float(gd.sum(each)) for each in own)
    np.testing.assert_allclose(w.grad, 2 * 1.5 * (plain - independent), rtol=1e-12)

    def total(x):
        return gd.sum(gd.stack([gd.sum(each) for each in tensors(OUTERMOST[way](f, x))]))

    h = 1e-6
    expected = [(total(X + h * d).item() - total(X - h * d).item()) / (2 * h) for d in np.eye(2)]
    v = gd.variable(X)
    total(v).backward()
    np.testing.assert_allclose(v.grad, expected, rtol=1e-5)
    np.testing.assert_allclose(gd.grad(total)(X).numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(gd.compile(gd.grad(total))(X).numpy(), expected, rtol=1e-5)


def test_kept_losses_keep_no_graph() -> None:
    inner = []

    def loss(x):
        y = x * x
        inner.append(weakref.ref(y))
        return gd.sum(y)

    kept = [gd.value_and_grad(loss)(X), gd.hvp(loss, X, X), gd.jvp(loss, (X,), (X,)), gd.hessian(loss)(X)]
    gc.collect()
    assert kept
    assert not [each for each in inner if each() is not None]


def test_what_is_handed_through_is_the_same_object_where_nothing_changes() -> None:
    rest = {"note": object(), "numbers": [1, 2]}
    assert gd.grad(lambda x: (f(x), rest), has_aux=True)(X)[1] is rest


def test_least_squares_takes_a_jacobian() -> None:
    def residuals(p):
        return gd.stack([p[0] - 1.0, p[1] * p[0] - 2.0, p[1] - 2.0])

    found = scipy.optimize.least_squares(residuals, np.array([3.0, 3.0]), jac=gd.jacobian(residuals))
    np.testing.assert_allclose(found.x, [1.0, 2.0], rtol=1e-8)
    found = scipy.optimize.minimize(f, X, jac=gd.grad(f), hess=gd.hessian(f), method="trust-exact", tol=1e-3)
    assert found.fun < 10


# In-place operators ---------------------------------------------------------------------------------------------------


UPDATES = {
    "+": lambda y, z: y.__iadd__(z),
    "-": lambda y, z: y.__isub__(z),
    "*": lambda y, z: y.__imul__(z),
    "/": lambda y, z: y.__itruediv__(z),
}


@pytest.mark.parametrize("sign", UPDATES)
@pytest.mark.parametrize("wrapped", [lambda z: z, lambda z: [z[0], z[1]]], ids=["tensor", "list"])
def test_a_loss_does_not_assign_its_variables(sign, wrapped) -> None:
    x = gd.variable([1.0, 2.0], name="x")
    with pytest.raises(ImmutableError, match=rf"y = y \{sign} ….*w\.assign"):
        UPDATES[sign](x, wrapped(2 * x))
    assert x.tolist() == [1.0, 2.0]
    assert x.version == 0


def test_in_place_operators_update_by_constants() -> None:
    w = gd.variable([1.0, 2.0])
    gd.sum(w * w).backward()
    w -= 0.1 * w.grad
    w *= 2.0
    w += gd.grad(f)(np.zeros(2))
    w /= np.array([2.0, 2.0])
    np.testing.assert_allclose(w.numpy(), [0.8, 1.6])

    u = gd.variable([1.0, 2.0])

    @gd.compile
    def step():
        nonlocal u
        gd.sum(u * u).backward()
        u -= 0.1 * u.grad

    step()
    step()
    np.testing.assert_allclose(u.numpy(), [0.64, 1.28])


def test_what_was_made_constant_is_named_by_its_line() -> None:
    w = gd.variable([1.0, 2.0])
    v = gd.sum(gd.constant((w * w).value))
    with pytest.raises(DTypeError, match=rf"{__file__}:{v.source.rpartition(':')[2]}, depends on no variable"):
        v.backward()
