"""Initialisers: bounds exactly, means and variances within five standard errors."""

import copy
import math
import pickle
from functools import partial
from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.errors import GraphDiffError, OpError, ShapeError

init = gd.nn.init
M, N = 300, 200
# name: (variance, bound) for weights of shape (300, 200)
FORMULAS = {
    "fan_in_uniform": (1 / (3 * M), 1 / math.sqrt(M)),
    "glorot_uniform": (2 / (M + N), math.sqrt(6 / (M + N))),
    "glorot_normal": (2 / (M + N), None),
    "xavier_uniform": (2 / (M + N), math.sqrt(6 / (M + N))),
    "xavier_normal": (2 / (M + N), None),
    "he_uniform": (2 / M, math.sqrt(6 / M)),
    "he_normal": (2 / M, None),
    "kaiming_uniform": (2 / M, math.sqrt(6 / M)),
    "kaiming_normal": (2 / M, None),
    "lecun_uniform": (1 / M, math.sqrt(3 / M)),
    "lecun_normal": (1 / M, None),
    "normal": (1e-4, None),
    "uniform": (0.1**2 / 12, 0.05),
    # 1 - 2·2·φ(2) / (Φ(2) - Φ(-2))
    "truncated_normal": (1e-4 * 0.7737413035499, 0.02),
    "orthogonal": (1 / M, None),
    "sparse": (15 / M, None),
}
# Fourth moment over the square of the second: what the standard error of a variance depends on.
KURTOSIS = {"sparse": 3 * M / 15, "truncated_normal": 2.4}


@pytest.mark.parametrize("name", FORMULAS)
def test_moments(name: str) -> None:
    drawn = init.INITIALISERS[name]((M, N), seed=3).numpy()
    variance, bound = FORMULAS[name]
    kurtosis = KURTOSIS.get(name, 1.8 if bound else 3.0)
    assert abs(drawn.mean()) < 5 * math.sqrt(variance / drawn.size)
    assert abs(drawn.var() / variance - 1) < 5 * math.sqrt((kurtosis - 1) / drawn.size)
    if bound is not None:
        assert 0.99 * bound < np.abs(drawn).max() <= bound


@pytest.mark.parametrize("name", init.INITIALISERS)
def test_seeds_dtypes_and_stacks(name: str) -> None:
    make = init.INITIALISERS[name]
    first, again, other = (make((40, 30), seed=seed).numpy() for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.array_equal(first, other) == (name in ("zeros", "ones", "constant"))
    assert make((40, 30), seed=1, dtype="float32").dtype == np.float32
    assert make((2, 40, 30), seed=1).shape == (2, 40, 30)


def test_every_initialiser_has_a_formula() -> None:
    assert init.INITIALISERS.keys() - FORMULAS.keys() == {"zeros", "ones", "constant"}


@pytest.mark.parametrize("shape", [(4, 4), (100, 100), (30, 7), (7, 30), (3, 6, 4), (1, 1), (1, 5)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    drawn = init.orthogonal(shape, seed=0, gain=1.5).numpy()
    turned = np.swapaxes(drawn, -1, -2)
    product = drawn @ turned if shape[-2] < shape[-1] else turned @ drawn
    np.testing.assert_allclose(product, np.broadcast_to(2.25 * np.eye(min(shape[-2:])), product.shape), atol=1e-13)


def test_orthogonal_is_uniform() -> None:
    """Half of the 2 × 2 ones are rotations, and their angles are uniform."""
    drawn = init.orthogonal((4000, 2, 2), seed=0).numpy()
    assert abs((np.linalg.det(drawn) > 0).mean() - 0.5) < 5 * 0.5 / math.sqrt(4000)
    angles = np.arctan2(drawn[:, 1, 0], drawn[:, 0, 0])
    assert abs(np.exp(1j * angles).mean()) < 5 / math.sqrt(4000)


def test_sparse() -> None:
    drawn = init.sparse((50, 400), seed=0, nonzero=4, std=2.0).numpy()
    np.testing.assert_array_equal((drawn != 0).sum(0), 4)
    assert drawn[drawn != 0].std() == pytest.approx(2.0, rel=0.1)
    counts = (drawn != 0).sum(1)  # every input is as likely as every other
    assert abs(counts - 32).max() < 5 * math.sqrt(32)
    assert (init.sparse((3, 2), seed=0).numpy() != 0).all()


def test_constants() -> None:
    assert init.zeros((2, 3)).tolist() == [[0.0] * 3] * 2
    assert init.ones(2).tolist() == [1.0, 1.0]
    assert init.constant((2,), value=0.5).tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: init.he_normal(3, seed=0), ShapeError, r"he_normal .* not \[3\]"),
        (lambda: init.orthogonal((0, 3), seed=0), ShapeError, "orthogonal"),
        (lambda: init.zeros((-1,)), ShapeError, "at least 0, not -1"),
        (lambda: init.normal(3, seed=0, std=-1), OpError, "std"),
        (lambda: init.uniform(3, seed=0, low=2, high=1), OpError, "low"),
        (lambda: init.truncated_normal(3, seed=0, bound=0), OpError, "bound"),
        (lambda: init.sparse((3, 3), seed=0, nonzero=-1), OpError, "nonzero"),
        (lambda: init.normal(3, seed=-1), GraphDiffError, "seed"),
        (lambda: gd.nn.Linear(2, init="he"), OpError, "'he'.*he_uniform"),
        (lambda: gd.nn.Linear(2, 3, init=lambda shape, seed: np.ones(2)), ShapeError, r"\[3, 2\]"),
    ],
)
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_layers_take_names_and_functions() -> None:
    layer = gd.nn.Linear(3, in_features=4, init="orthogonal", bias_init="ones", seed=5, gain=2.0, dtype="float64")
    np.testing.assert_array_equal(layer.weight.numpy(), 2 * init.orthogonal((4, 3), seed=5).numpy())
    assert layer.bias.tolist() == [1.0] * 3
    lazy = gd.nn.Linear(3, init=lambda shape, seed: np.full(shape, 7.0))
    lazy(np.ones((2, 4), "float32"))
    assert lazy.weight.tolist() == [[7.0] * 3] * 4
    assert pickle.loads(pickle.dumps(lazy)).weight.tolist() == lazy.weight.tolist()
    model = gd.nn.MLP([5, 2], in_features=4, init=partial(init.constant, value=0.5))
    assert {value for path, array in model.state().items() if "weight" in path for value in array.ravel()} == {0.5}
    copied = copy.deepcopy(gd.nn.MLP([5, 2], init="he_normal"))
    assert copied(np.ones((2, 4), "float32")).shape == (2, 2)


def test_a_deep_network_keeps_its_scale() -> None:
    x = np.random.default_rng(0).normal(size=(200, 100))
    sizes = {}
    for name in ("he_normal", "glorot_normal", "normal"):
        model = gd.nn.MLP([100] * 20, "relu", in_features=100, init=name, dtype="float64", seed=1)
        sizes[name] = float(gd.std(model(x)))
    assert 0.2 < sizes["he_normal"] < 5
    assert sizes["glorot_normal"] < 0.01
    assert sizes["normal"] < 1e-15
