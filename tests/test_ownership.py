"""What is recorded is the graph's own: writing into what was given, or what was handed out, changes no derivative."""

import numpy as np
import pytest

import graphdiff as gd

RNG = np.random.default_rng(0)
B = RNG.uniform(0.5, 1.5, size=(4, 3))
INDEX = np.array([2, 0, 2])
MASK = np.array([[True, False, True]] * 4)

# Each takes a variable of shape (4, 3) and arrays that are written into before `backward`.
READING = {
    "multiply": (lambda w, b: w * b, [B]),
    "reflected": (lambda w, b: b / w, [B]),
    "matmul": (lambda w, b: w @ b.T, [B]),
    "matmul of a view": (lambda w, b: b.T @ w, [B]),
    "einsum": (lambda w, b: gd.einsum("ij,ij->i", w, b), [B]),
    "where": (lambda w, m: gd.where(m, w * 2.0, w), [MASK]),
    "where branch": (lambda w, b: gd.where(w > 1.0, w * b, b), [B]),
    "index": (lambda w, i: w[i] ** 2, [INDEX]),
    "index of columns": (lambda w, i: w[:, i] ** 2, [INDEX]),
    "mask": (lambda w, m: w[m] ** 2, [MASK]),
    "take": (lambda w, i: gd.take(w, i, axis=1) ** 2, [INDEX]),
    "at": (lambda w, i, b: gd.at(w, i).set(b[:3]) * w, [INDEX, B]),
    "constant": (lambda w, b: w * gd.constant(b), [B]),
    "a list of arrays": (lambda w, b: gd.sum(gd.stack([w * b[0], w * 2.0])), [B]),
    "numpy": (lambda w, b: np.multiply(b, w) + np.maximum(w, b), [B]),
    "power": (lambda w, b: w**b, [B]),
    "broadcast": (lambda w, b: w * b[0], [B]),
    "interp": (lambda w, b: gd.interp(w[0], np.sort(b[0]), b[1]), [B]),
    "labels": (lambda w, y: gd.nn.softmax_cross_entropy(w, y), [np.array([0, 2, 1, 0])]),
    "targets": (lambda w, b: gd.nn.mse(w, b) if hasattr(gd.nn, "mse") else gd.mean((w - b) ** 2), [B]),
    "average": (lambda w, b: gd.average(w, weights=b), [B]),
    "clip": (lambda w, b: gd.clip(w, b * 0.9, b * 1.1) * w, [B]),
    "seeded": (lambda w, b: gd.stop_gradient(gd.constant(b)) * w, [B]),
}


def gradient(function, arrays, scramble):
    w = gd.variable(np.linspace(0.6, 1.4, 12).reshape(4, 3))
    given = [array.copy() for array in arrays]
    y = gd.sum(function(w, *given))
    if scramble:
        for array in given:
            array[...] = 0
    y.backward()
    return np.array(w.grad)


@pytest.mark.parametrize("name", READING)
def test_a_buffer_may_be_used_again_before_backward(name) -> None:
    function, arrays = READING[name]
    np.testing.assert_array_equal(gradient(function, arrays, True), gradient(function, arrays, False))


def test_a_buffer_of_any_size() -> None:
    for size in (1, 100, 1_000_000):
        b = np.ones(size)
        w = gd.variable(np.ones(size))
        y = gd.sum(w * b)
        b[:] = 0
        y.backward()
        assert (w.grad == 1).all()


def test_functional_derivatives_own_what_they_record() -> None:
    b = np.array([1.0, 2.0])
    x = np.array([3.0, 4.0])
    value, pull = gd.vjp(lambda x: x * x * b, x)
    b[:] = 0
    x[:] = 0
    assert pull(np.ones(2))[0].tolist() == [6.0, 16.0]
    assert value.tolist() == [9.0, 32.0]


HANDED_OUT = {
    "value": lambda node: node.value,
    "numpy": lambda node: node.numpy(),
    "asarray": np.asarray,
    "asarray of a part": lambda node: np.asarray(node)[1:],
}


@pytest.mark.parametrize("way", HANDED_OUT)
def test_what_is_handed_out_cannot_be_written_into(way) -> None:
    w = gd.variable([1.0, 2.0, 3.0])
    inner = w * w
    constant = gd.constant([1.0, 2.0, 3.0])
    y = gd.sum(inner * inner * constant)
    for node in (w, inner, constant, gd.grad(lambda x: gd.sum(x**3))(np.ones(3))):
        array = HANDED_OUT[way](node)
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0.0
        with pytest.raises(ValueError, match="read-only"):
            array *= 2.0
    y.backward()
    np.testing.assert_allclose(w.grad, [4.0, 64.0, 324.0])


@pytest.mark.parametrize("pinned", [False, True])
def test_a_variable_is_assigned_by_assigning_only(pinned) -> None:
    w = gd.variable([1.0, 2.0])
    if pinned:
        gd.optim.Adam([w], lr=0.1)
    for way in HANDED_OUT.values():
        try:
            way(w)[...] = 0.0
        except ValueError:
            continue
    assert w.tolist() == [1.0, 2.0]
    kept = gd.constant(w)
    before = np.asarray(w)
    gd.sum(w * w).backward()
    gd.optim.SGD([w], lr=0.5).step()
    assert kept.tolist() == [1.0, 2.0]
    assert before.tolist() == [1.0, 2.0]


def test_copies_can_be_written_into() -> None:
    x = gd.variable([1.0, 2.0]) * 2.0
    for copy in (np.array(x), x.numpy().copy(), np.from_dlpack(x).copy(), np.asarray(x, copy=True)):
        copy[:] = 0.0
    w = gd.variable([1.0, 2.0])
    gd.sum(w * w).backward()
    w.grad *= 0.5
    assert w.grad.tolist() == [1.0, 2.0]
    w.backward(np.ones(2))
    w.grad *= 0.5
    assert x.tolist() == [2.0, 4.0]


def test_variables_share_no_memory_with_what_they_are_made_of() -> None:
    node = gd.variable([1.0, 2.0]) * 2.0
    v = gd.variable(node.value)
    u = gd.variable(gd.stop_gradient(node))
    optimizer = gd.optim.SGD([v, u], lr=1.0)
    optimizer.minimize(gd.sum(v * v) + gd.sum(u * u))
    assert node.tolist() == [2.0, 4.0]
    assert v.tolist() == [-2.0, -4.0]
