"""Choosing a backend: for new tensors only. A graph is differentiated and trained on the backend it lives on."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from test_toy_backend import STRICT

import graphdiff as gd


def cube(x: Any) -> Any:
    """Return Σ x³ for x > 0, through a composite, a `where` and a reduction."""
    return gd.sum(gd.where(x > 1, x * gd.square(x), gd.relu(x) ** 3))


POINT = np.array([0.5, 2.0])
FROM_OUTSIDE: dict[str, tuple[Callable[..., Any], Any]] = {
    "grad": (lambda x: gd.grad(cube)(x), [0.75, 12.0]),
    "adjoints": (lambda x, cubed: gd.adjoints(cubed)[x], [0.75, 12.0]),
    "tangents": (lambda x, cubed: gd.tangents(cubed, {x: np.ones(2)})[cubed], 12.75),
    "jvp": (lambda x: gd.jvp(cube, (x,), (np.ones(2),))[1], 12.75),
    "vjp": (lambda x: gd.vjp(lambda x: x * x, x)[1](np.ones(2))[0], [1.0, 4.0]),
    "hvp": (lambda x: gd.hvp(cube, x, np.ones(2)), [3.0, 12.0]),
    "hessian": (lambda x: gd.hessian(cube)(x), [[3.0, 0.0], [0.0, 12.0]]),
    "jacobian": (lambda x: gd.jacobian(gd.cumsum, mode="reverse")(x), [[1.0, 0.0], [1.0, 1.0]]),
    "vmap": (lambda x: gd.vmap(lambda t: gd.clip(t, 0, 1) * 2)(x), [1.0, 2.0]),
    "zeros_like": (gd.zeros_like, [0.0, 0.0]),
    "full_like": (lambda x: gd.full_like(x, 7), [7.0, 7.0]),
}


@pytest.mark.parametrize("name", FROM_OUTSIDE)
def test_derivatives_are_made_where_the_graph_lives(name: str) -> None:
    with gd.use_backend(STRICT):
        x = gd.variable(POINT)
        cubed = cube(x)
    differentiate, expected = FROM_OUTSIDE[name]
    result = differentiate(x, cubed) if name in ("adjoints", "tangents") else differentiate(x)
    assert gd.current_backend().name == "numpy"
    assert result.backend is STRICT
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-14)


def test_backward_where_the_graph_lives() -> None:
    with gd.use_backend(STRICT):
        x = gd.variable(POINT)
        total, squares = cube(x), x * x
    total.backward()
    np.testing.assert_allclose(STRICT.to_host(x.grad), 3 * POINT**2, rtol=1e-15)
    squares.backward([1.0, 10.0])
    np.testing.assert_allclose(STRICT.to_host(x.grad), [1.0, 40.0], rtol=1e-15)
    assert STRICT.owns(x.grad)


def test_training_gives_the_same_on_any_backend() -> None:
    X, y = np.random.default_rng(0).normal(size=(8, 3)), np.array([0, 1, 0, 1, 1, 0, 1, 0])
    losses = []
    for backend in ("numpy", STRICT):
        with gd.use_backend(backend):
            model = gd.nn.MLP([5, 2], in_features=3, dtype="float64", seed=1)
            optimizer = gd.optim.Adam(model.parameters(), lr=1e-2)
            history = gd.train.fit(
                model, gd.nn.softmax_cross_entropy, (X, y), optimizer, epochs=5, batch_size=3, progress=False
            )
        assert model.parameters()[0].backend.name == getattr(backend, "name", backend)
        losses.append([record["loss"] for record in history])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-12)
    assert losses[0][-1] < losses[0][0]


def test_a_with_block_restores_the_backend_even_after_an_error() -> None:
    def fail() -> None:
        with gd.use_backend(STRICT) as inside:
            assert inside is gd.current_backend() is STRICT
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert gd.current_backend().name == "numpy"


def test_to_and_back() -> None:
    there = gd.variable(POINT).to(STRICT)
    assert there.backend is STRICT
    assert STRICT.owns(there.value)
    assert not there.recorded
    np.testing.assert_array_equal(there.to("numpy").value, POINT)


def test_backends_lists_what_is_available() -> None:
    assert gd.backends()["numpy"] == "available"
    assert "cupy" in gd.backends()


def test_an_array_that_needs_no_copy_is_taken_as_it_is() -> None:
    backend = gd.get_backend("numpy")
    array = np.ones((2, 3))
    assert backend.from_host(array) is array
    assert isinstance(backend.from_host(np.ones(())), np.float64)
    assert backend.from_host(array, np.dtype("float32")).dtype == np.float32
