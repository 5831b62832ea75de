"""Derivatives of functions: values known by hand, structures, and every nesting of the transforms."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphdiff as gd

X = np.array([0.4, -1.3, 0.7])
W = np.array([[0.2, -0.5, 1.0], [0.3, 0.8, -0.6]])


def close(computed: Any, expected: Any, rtol: float = 1e-12) -> None:
    np.testing.assert_allclose(np.asarray(computed), expected, rtol=rtol, atol=1e-14)


# grad ------------------------------------------------------------


def test_grad_and_value() -> None:
    value, gradient = gd.value_and_grad(lambda x: gd.sum(gd.sin(x) * x))(X)
    close(value, np.sum(np.sin(X) * X))
    close(gradient, np.cos(X) * X + np.sin(X))
    assert isinstance(gradient, gd.Tensor)


@pytest.mark.parametrize(
    ("argnums", "expected"),
    [(0, 12.0), (1, 4.0), (-1, 4.0), ((0, 1), (12.0, 4.0)), ([1, 0], (4.0, 12.0)), ((1,), (4.0,))],
)
def test_argnums(argnums: Any, expected: Any) -> None:
    computed = gd.grad(lambda x, y: x * x * y, argnums)(2.0, 3.0)
    assert type(computed) is (tuple if isinstance(expected, tuple) else gd.Tensor)
    close(computed, expected)


def test_the_gradient_has_the_structure_of_the_argument() -> None:
    parameters = {"layers": [(W, X[:2]), (3.0, np.float32(2.0))], "scale": gd.constant(0.5, name="scale")}

    def loss(p: Any, x: Any) -> Any:
        (weight, bias), (gain, offset) = p["layers"]
        return p["scale"] * gd.sum(gain * (weight @ x + bias) + offset)

    value, gradient = gd.value_and_grad(loss)(parameters, X)
    close(value, 0.5 * np.sum(3.0 * (W @ X + X[:2]) + 2.0), rtol=1e-6)
    assert list(gradient) == ["layers", "scale"]
    (weight, bias), (gain, offset) = gradient["layers"]
    close(weight, 1.5 * np.ones((2, 1)) * X)
    close(bias, [1.5, 1.5])
    close(gain, 0.5 * np.sum(W @ X + X[:2]))
    close(offset, 1.0)
    assert offset.dtype == np.float32
    close(gradient["scale"], value.item() / 0.5)


def test_keyword_arguments_are_passed_on() -> None:
    close(gd.grad(lambda x, *, power: x**power)(2.0, power=3), 12.0)


def test_what_does_not_influence_the_output_has_gradient_zero() -> None:
    close(gd.grad(lambda x, y: gd.sum(x), 1)(X, W), np.zeros((2, 3)))
    close(gd.grad(lambda x: 3.0)(X), np.zeros(3))
    close(gd.jvp(lambda x: gd.constant(W), (X,), (X,))[1], np.zeros((2, 3)))
    close(gd.jacobian(lambda x: gd.constant(W), mode="forward")(X), np.zeros((2, 3, 3)))


def test_grad_leaves_variables_alone() -> None:
    w = gd.variable(X)
    close(gd.grad(lambda x: gd.sum(x * w))(X), X)
    close(gd.grad(lambda x: gd.sum(x * x))(w), 2 * X)
    assert (w.grad, w.version) == (None, 0)


# backward, adjoints, tangents ------------------------------------------------


def test_backward_sets_or_accumulates() -> None:
    w, v = gd.variable(2.0), gd.variable(5.0)
    for _ in range(2):
        (w * w * v).backward()
        assert (w.grad, v.grad) == (20.0, 4.0)
    (w * 3).backward(accumulate=True)
    assert (w.grad, v.grad) == (23.0, 4.0)
    (w * v).backward(accumulate=True)
    assert (w.grad, v.grad) == (28.0, 6.0)
    fresh = gd.variable(1.0)
    (fresh * 7).backward(accumulate=True)
    assert fresh.grad == 7.0
    w.backward()
    assert w.grad == 1.0


@pytest.mark.parametrize("seed", [X[:2], X[:2].tolist(), gd.constant(X[:2]), np.float32(X[:2])], ids=type)
def test_a_seed_weighs_the_outputs(seed: Any) -> None:
    w = gd.variable(W)
    (w @ X).backward(seed)
    close(w.grad, np.outer(X[:2], X), rtol=1e-6)
    assert w.grad.dtype == np.float64


def test_adjoints_and_tangents_of_inner_nodes() -> None:
    x = gd.variable(X)
    y = gd.exp(x)
    z = y * y
    out = gd.sum(z)
    adjoint = gd.adjoints(out)
    close(adjoint[z], np.ones(3))
    close(adjoint[y], 2 * np.exp(X))
    close(adjoint[x], 2 * np.exp(2 * X))
    assert set(gd.adjoints(out, wrt=[y])) == set(gd.adjoints(out, wrt=y)) == {out, z, y}
    close(gd.adjoints(z, seed=X)[x], 2 * np.exp(2 * X) * X)
    # Seeded at an inner node: what lies below has no part in it.
    tangent = gd.tangents(out, {y: X})
    assert set(tangent) == {y, z, out}
    close(tangent[z], 2 * np.exp(X) * X)
    close(gd.tangents([z, out], {x: X, y: np.ones(3)})[out], np.sum(2 * np.exp(X)))


def test_adjoints_can_be_differentiated_again() -> None:
    x = gd.variable(1.5)
    first = gd.adjoints(x**4)[x]
    second = gd.adjoints(first)[x]
    third = gd.tangents(second, {x: 1.0})[second]
    close([first, second, third], [4 * 1.5**3, 12 * 1.5**2, 24 * 1.5])


def test_mixed_dtypes_meet_in_the_leaf() -> None:
    x, y = gd.variable(X, dtype="float32"), gd.variable(X)
    gd.sum(x * y).backward()
    assert (x.grad.dtype, y.grad.dtype) == (np.float32, np.float64)
    close(x.grad, X, rtol=1e-6)


# jvp, vjp ------------------------------------------------------------


def test_jvp_and_vjp_of_a_structured_function() -> None:
    def f(p: Any, x: Any) -> Any:
        return {"product": p["w"] @ x, "norms": (gd.sum(x * x), p["b"] * 2)}

    p, x = {"w": W, "b": 3.0}, X
    dp, dx = {"w": W**2, "b": 0.5}, X**2
    value, tangent = gd.jvp(f, (p, x), (dp, dx))
    close(value["product"], W @ X)
    close(tangent["product"], W**2 @ X + W @ X**2)
    close(tangent["norms"][0], 2 * X @ X**2)
    close(tangent["norms"][1], 1.0)

    value, pull = gd.vjp(f, p, x)
    close(value["norms"][1], 6.0)
    for scale in (1.0, -2.0):  # pulled back as often as wanted
        pulled_p, pulled_x = pull({"product": scale * np.ones(2), "norms": (scale, 0.0)})
        close(pulled_p["w"], scale * np.outer(np.ones(2), X))
        close(pulled_p["b"], 0.0)
        close(pulled_x, scale * (np.ones(2) @ W + 2 * X))


# jacobian, hessian, hvp ------------------------------------------------------

S = 1 / (1 + np.exp(-(W @ X)))
JACOBIANS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "wide": (lambda x: gd.sigmoid(W @ x), (S * (1 - S))[:, None] * W),
    "tall": (lambda x: gd.concatenate([x, x * x]), np.vstack([np.eye(3), np.diag(2 * X)])),
    "outer": (lambda x: gd.outer(x, x), np.einsum("ik,j->ijk", np.eye(3), X) + np.einsum("jk,i->ijk", np.eye(3), X)),
    "scalar": (gd.sum, np.ones(3)),
    "softmax": (
        gd.softmax,
        np.diag(np.exp(X) / np.exp(X).sum()) - np.outer(np.exp(X), np.exp(X)) / np.exp(X).sum() ** 2,
    ),
    "gather": (lambda x: x[[2, 0, 2, 1]], np.eye(3)[[2, 0, 2, 1]]),
    "loop": (
        lambda x: gd.stack([x[i] * x[i - 1] for i in range(3)]),
        [[X[2], 0, X[0]], [X[1], X[0], 0], [0, X[2], X[1]]],
    ),
}


@pytest.mark.parametrize("mode", ["forward", "reverse", "auto"])
@pytest.mark.parametrize("name", JACOBIANS)
def test_jacobian(name: str, mode: str) -> None:
    function, expected = JACOBIANS[name]
    close(gd.jacobian(function, mode=mode)(X), expected)


@pytest.mark.parametrize("mode", ["forward", "reverse", "auto"])
def test_jacobian_of_structures(mode: str) -> None:
    def f(p: Any, q: Any) -> Any:
        return [p["w"] @ q, {"sum": gd.sum(q * q) * p["b"]}]

    table = gd.jacobian(f, (0, 1), mode=mode)({"w": W, "b": 2.0}, X)
    (by_p, by_q), inner = table[0], table[1]["sum"]
    close(by_p["w"], np.einsum("ik,j->ikj", np.eye(2), X))
    close(by_p["b"], np.zeros(2))
    close(by_q, W)
    close(inner[0]["w"], np.zeros((2, 3)))
    close(inner[0]["b"], X @ X)
    close(inner[1], 4 * X)


def test_hessian() -> None:
    symmetric = W.T @ W
    close(gd.hessian(lambda x: x @ symmetric @ x)(X), 2 * symmetric)
    p = np.exp(X) / np.exp(X).sum()
    close(gd.hessian(gd.logsumexp)(X), np.diag(p) - np.outer(p, p))
    (xx, xy), (yx, yy) = gd.hessian(lambda x, y: x**3 * y**2, (0, 1))(2.0, 3.0)
    close([xx, xy, yx, yy], [6 * 2 * 9, 3 * 4 * 6, 3 * 4 * 6, 2 * 8])
    table = gd.hessian(lambda p: gd.sum(p["a"] ** 2) * p["b"])({"a": X, "b": 2.0})
    close(table["a"]["a"], 4 * np.eye(3))
    close(table["a"]["b"], 2 * X)
    close(table["b"]["a"], 2 * X)
    close(table["b"]["b"], 0.0)


def test_hessian_times_vector() -> None:
    def f(x: Any) -> Any:
        return gd.sum(gd.tanh(W @ x) ** 2)

    close(gd.hvp(f, X, X**2), gd.hessian(f)(X).numpy() @ X**2)
    moved = gd.hvp(lambda p: p["a"] ** 2 * p["b"], {"a": 3.0, "b": 2.0}, {"a": 1.0, "b": 10.0})
    close([moved["a"], moved["b"]], [2 * 2 + 2 * 3 * 10, 2 * 3])


# vmap ------------------------------------------------------------


def test_vmap_is_the_loop() -> None:
    rows = np.arange(12.0).reshape(4, 3) / 10

    def f(x: Any) -> Any:
        return {"y": gd.tanh(W @ x), "n": (gd.sum(x), x[1:] * 2, 5.0)}

    batched = gd.vmap(f)(rows)
    close(batched["y"], np.tanh(rows @ W.T))
    close(batched["n"][0], rows.sum(1))
    close(batched["n"][1], 2 * rows[:, 1:])
    close(batched["n"][2], np.full(4, 5.0))


def test_a_batch_of_columns_is_one_matrix() -> None:
    """Adjoints of matrix times vector are columns: all of them take one product, and no stack of products."""
    generator = np.random.default_rng(0)
    matrix, columns = generator.normal(size=(4, 3)), generator.normal(size=(7, 3, 1))
    result = gd.vmap(lambda column: gd.matmul(gd.constant(matrix), column))(columns)
    np.testing.assert_allclose(np.asarray(result), matrix @ columns, rtol=1e-14)
    x = gd.variable(generator.normal(size=3))
    adjoints = gd.jacobian(lambda x: gd.tanh(matrix @ gd.sin(x)), mode="reverse")(x)
    products = [node for node in gd.Graph(adjoints).nodes if node.op is not None and node.op.name == "matmul"]
    assert max(node.ndim for node in products) == 2


def test_vmap_axes() -> None:
    columns = np.arange(12.0).reshape(3, 4)
    close(gd.vmap(lambda x: W @ x, in_axes=1, out_axes=1)(columns), W @ columns)
    close(gd.vmap(lambda x, w: w @ x, in_axes=(-1, None))(columns, W), (W @ columns).T)
    close(gd.vmap(lambda p, s: p["a"] * s, in_axes=(0, 0))({"a": X}, X), X * X)
    pairwise = gd.vmap(gd.vmap(lambda x, y: x * y + 1, in_axes=(None, 0)), in_axes=(0, None))
    close(pairwise(X, columns[:, 0]), np.outer(X, columns[:, 0]) + 1)


def test_gradients_per_example() -> None:
    stream = np.random.default_rng(3)
    inputs, targets, weights = stream.normal(size=(5, 3)), stream.normal(size=5), stream.normal(size=3)

    def loss(w: Any, x: Any, y: Any) -> Any:
        return (gd.tanh(w @ x) - y) ** 2

    computed = gd.vmap(gd.grad(loss), in_axes=(None, 0, 0))(weights, inputs, targets)
    t = np.tanh(inputs @ weights)
    close(computed, (2 * (t - targets) * (1 - t**2))[:, None] * inputs)
    total = gd.grad(lambda w: gd.sum(gd.vmap(loss, in_axes=(None, 0, 0))(w, inputs, targets)))(weights)
    close(total, computed.numpy().sum(0))


# Nesting ------------------------------------------------------------


def along(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the derivative of a function of one number, by forward mode."""
    return lambda x: gd.jvp(f, (x,), (1.0,))[1]


def pulled(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: gd.vjp(f, x)[1](1.0)[0]


def batched(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: gd.vmap(gd.grad(f))(gd.stack([x, x]))[1]


def inside_a_sum(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the gradient of a batched function."""
    return lambda x: gd.grad(lambda t: gd.sum(gd.vmap(f)(gd.stack([t, t]))) / 2)(x)


DERIVATIVES: dict[str, Callable[..., Any]] = {
    "grad": gd.grad,
    "jvp": along,
    "vjp": pulled,
    "jacobian forward": lambda f: gd.jacobian(f, mode="forward"),
    "jacobian reverse": lambda f: gd.jacobian(f, mode="reverse"),
    "vmap of grad": batched,
    "grad of vmap": inside_a_sum,
}


def third_derivative_at(point: complex) -> float:
    """Return f'''(point) by Cauchy's integral formula over a circle: spectrally accurate."""
    angles = 2 * np.pi * np.arange(64) / 64
    z = point + 0.5 * np.exp(1j * angles)
    values = np.sin(z * z) / (1 + np.exp(-z))
    return float((6 / 0.5**3 * np.mean(values * np.exp(-3j * angles))).real)


THIRD = third_derivative_at(0.7)


@pytest.mark.parametrize("outer", DERIVATIVES)
@pytest.mark.parametrize("middle", DERIVATIVES)
@pytest.mark.parametrize("inner", DERIVATIVES)
def test_third_derivative_in_every_nesting(outer: str, middle: str, inner: str) -> None:
    def f(x: Any) -> Any:
        return gd.sin(x * x) / (1 + gd.exp(-x))

    third = DERIVATIVES[outer](DERIVATIVES[middle](DERIVATIVES[inner](f)))
    close(third(0.7), THIRD, rtol=1e-11)


def test_jacobian_of_jacobian() -> None:
    # f(x) = x ⊗ x: ∂²f_ij / ∂x_k ∂x_l = δ_ik δ_jl + δ_il δ_jk.
    expected = np.einsum("ik,jl->ijkl", np.eye(3), np.eye(3)) + np.einsum("il,jk->ijkl", np.eye(3), np.eye(3))
    for first in ("forward", "reverse"):
        for second in ("forward", "reverse"):
            close(gd.jacobian(gd.jacobian(lambda x: gd.outer(x, x), mode=first), mode=second)(X), expected)


def test_no_confusion_of_perturbations() -> None:
    # d/dx [x · d/dy (x + y)] = 1, where a confused system says 2 (Siskind and Pearlmutter, 2005).
    close(gd.jvp(lambda x: x * gd.jvp(lambda y: x + y, (1.0,), (1.0,))[1], (1.0,), (1.0,))[1], 1.0)
    close(gd.grad(lambda x: x * gd.grad(lambda y: x + y)(1.0))(1.0), 1.0)
    close(gd.grad(lambda x: gd.grad(lambda y: x * x * y * y)(x))(3.0), 6 * 3.0**2)
    close(gd.jvp(lambda x: gd.grad(lambda y: x * y * y)(2.0) * x, (3.0,), (1.0,))[1], 8 * 3.0)


def test_derivatives_of_derivatives_by_variables() -> None:
    w = gd.variable(3.0)
    slope = gd.grad(lambda x: x * x * w * w)(2.0)  # 2 x w²
    slope.backward()
    assert w.grad == 4 * 2.0 * 3.0
    gd.sum(gd.jacobian(lambda x: x * w**3)(X)).backward()
    assert w.grad == 3 * 3 * 9.0
    gd.jvp(lambda x: x * gd.exp(w), (1.0,), (2.0,))[1].backward()
    close(w.grad, 2 * np.exp(3.0))
    gd.sum(gd.vmap(lambda x: x * w)(X)).backward()
    close(w.grad, X.sum())


def test_stop_gradient() -> None:
    def f(x: Any) -> Any:
        return x * gd.stop_gradient(gd.exp(x) * x)

    for derivative in (gd.grad(f), along(f), gd.jacobian(f, mode="forward"), batched(f)):
        close(derivative(0.5), 0.5 * np.exp(0.5))
    close(gd.grad(gd.grad(f))(0.5), 0.0)
    w = gd.variable(2.0)
    (w * gd.stop_gradient(w)).backward()
    assert w.grad == 2.0
    close(gd.vmap(f)(X), X * X * np.exp(X))


def test_long_chains_do_not_recurse() -> None:
    x = gd.variable(1.0)
    y = x
    for _ in range(20_000):
        y = y * 1.0001
    y.backward()
    close(x.grad, 1.0001**20_000, rtol=1e-9)
    close(gd.tangents(y, {x: 1.0})[y], x.grad)
    close(gd.Graph(y).evaluate({x: 2.0}), 2 * y.item())


def test_an_integer_variable_below_carries_no_gradient_and_is_no_error() -> None:
    batch, w = gd.variable(1, name="batch"), gd.variable([1.0, 2.0], name="w")
    table = np.array([[3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])
    gd.sum(gd.constant(table)[batch + 1] * w).backward()
    np.testing.assert_array_equal(w.grad, table[2])
    assert batch.grad is None


@pytest.mark.parametrize("mode", ["auto", "forward", "reverse", "elimination"])
def test_the_jacobian_of_eigenvalues(mode: str) -> None:
    """Its cost was counted by opening the op into itself, without end. Truth: v vᵀ for each eigenvector v."""
    matrix = np.array([[2.0, 0.5, 0.1], [0.5, 1.0, 0.3], [0.1, 0.3, 3.0]])
    found = gd.jacobian(lambda x: gd.linalg.eigh(x)[0], mode=mode)(matrix)
    vectors = np.linalg.eigh(matrix)[1]
    np.testing.assert_allclose(found, np.einsum("ik,jk->kij", vectors, vectors), atol=1e-12)


def test_a_gradient_changed_in_place_changes_no_other() -> None:
    """A sum hands the same array down to both; so does a transposition, whose array is another view of it."""
    a, b, c = (gd.variable(np.ones(shape)) for shape in ((2, 3), (2, 3), (3, 2)))
    seed = np.full((2, 3), 2.0)
    (a + b + c.T).backward(seed)
    a.grad *= 0.0
    b.grad += 5.0
    np.testing.assert_array_equal(c.grad, np.full((3, 2), 2.0))
    np.testing.assert_array_equal(b.grad, np.full((2, 3), 7.0))
    np.testing.assert_array_equal(seed, np.full((2, 3), 2.0))
