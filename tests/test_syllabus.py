"""The worked numbers of the lectures."""

import math

import numpy as np
import pytest

import graphdiff as gd


def test_the_expression_in_both_modes() -> None:
    a, b = gd.variable(2.0, name="a"), gd.variable(1.0, name="b")
    c, d = a + b, b + 1
    e = c * d
    e.backward()
    assert (e.item(), a.grad, b.grad) == (6.0, 2.0, 5.0)
    adjoint, tangent = gd.adjoints(e), gd.tangents(e, {b: 1.0})
    assert [adjoint[node].item() for node in (a, b, c, d, e)] == [2, 5, 2, 3, 1]
    assert [tangent[node].item() for node in (b, c, d, e)] == [1, 1, 1, 5]
    assert a not in tangent


def test_nine_paths_count_as_one_multiplication() -> None:
    weights = [gd.variable(float(w)) for w in (2, 3, 5, 7, 11, 13)]
    x = gd.variable(1.0)
    y = x * weights[0] + x * weights[1] + x * weights[2]
    z = y * weights[3] + y * weights[4] + y * weights[5]
    paths = [p.item() * q.item() for p in weights[:3] for q in weights[3:]]
    assert len(paths) == 9
    assert gd.adjoints(z)[x].item() == sum(paths) == (2 + 3 + 5) * (7 + 11 + 13)


def test_the_trace_of_sigmoid_and_log() -> None:
    w, x, y = gd.variable(3.0), gd.variable(3.0), 1.0
    nodes = [-(w * x)]
    nodes.append(gd.exp(nodes[-1]))
    nodes.append(1 + nodes[-1])
    nodes.append(1 / nodes[-1])
    nodes.append(gd.log(nodes[-1]))
    loss = -y * nodes[-1]
    assert nodes[0].item() == -9
    assert nodes[3].item() == pytest.approx(1 / (1 + math.exp(-9)), rel=1e-15)
    assert abs(gd.adjoints(loss)[w].item()) == pytest.approx(0.00037018372, rel=1e-7)
    assert abs(gd.tangents(loss, {w: 1.0})[loss].item()) == pytest.approx(0.00037018372, rel=1e-7)


def test_why_topological_order() -> None:
    a = gd.variable(3.0)
    b = a + a
    c = b + b
    c.backward()
    assert a.grad == 4.0


def test_repeated_operands() -> None:
    x = gd.variable(3.0)
    assert gd.adjoints(x * x)[x].item() == 6.0
    assert gd.adjoints(x / x)[x].item() == 0.0
    assert gd.tangents(x * x, {x: 1.0}).popitem()[1].item() == 6.0


def test_layer_shapes_and_softmax() -> None:
    random = np.random.default_rng(1)
    weights, bias, x = random.normal(size=(3, 2)), random.normal(size=2), random.normal(size=3)
    hidden = x @ weights + bias
    slope = 1 / (1 + np.exp(-hidden)) * (1 - 1 / (1 + np.exp(-hidden)))
    computed = gd.jacobian(lambda x: gd.sigmoid(x @ gd.constant(weights) + bias))(x)
    np.testing.assert_allclose(computed.numpy(), np.diag(slope) @ weights.T, rtol=1e-12)

    logits, label = random.normal(size=(1, 4)), np.array([2])
    p = np.exp(logits) / np.exp(logits).sum()
    gradient = gd.grad(lambda z: gd.nn.softmax_cross_entropy(z, label))(logits)
    np.testing.assert_allclose(gradient.numpy(), p - np.eye(4)[label], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(gd.grad(gd.logsumexp)(logits).numpy(), p, rtol=1e-12)


def test_jacobian_and_hessian() -> None:
    def f(x: gd.Tensor) -> gd.Tensor:
        return gd.stack([x[0] ** 2 + x[1] ** 2, x[1] ** 2 + x[2] ** 2 * x[1]])

    x = np.array([1.5, -2.0, 0.5])
    expected = [[2 * x[0], 2 * x[1], 0], [0, 2 * x[1] + x[2] ** 2, 2 * x[1] * x[2]]]
    for mode in ("forward", "reverse"):
        np.testing.assert_allclose(gd.jacobian(f, mode=mode)(x).numpy(), expected, rtol=1e-15)
    hessian = gd.hessian(lambda t: t[0] ** 2 - t[1] ** 2)(np.zeros(2)).numpy()
    np.testing.assert_array_equal(hessian, np.diag([2.0, -2.0]))
    assert np.linalg.eigvalsh(hessian).tolist() == [-2.0, 2.0]  # a saddle


def test_gradient_descent() -> None:
    w = gd.variable(1.0)
    gd.optim.SGD([w], lr=0.1).minimize((w - 1) ** 2 + (w - 3) ** 2)
    assert w.item() == pytest.approx(1.4, rel=1e-15)
    assert ((w - 1) ** 2 + (w - 3) ** 2).item() == pytest.approx(2.72, rel=1e-15)
    w = gd.variable(10.0)
    gd.optim.SGD([w], lr=0.1).minimize(gd.mean((w - np.array([1.0, 2.0, 3.0, 4.0])) ** 2))
    assert w.item() == pytest.approx(8.5, rel=1e-15)


def test_terminal_velocity_of_momentum() -> None:
    w = gd.variable(0.0)
    optimizer = gd.optim.SGD([w], lr=0.1, momentum=0.5)
    for _ in range(60):
        before = w.item()
        optimizer.minimize(3.0 * w)
    assert w.item() - before == pytest.approx(-0.1 / (1 - 0.5) * 3.0, rel=1e-12)
