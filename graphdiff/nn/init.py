"""Initialisers: functions of a shape and an explicit seed.

The last two axes of a shape are (inputs, outputs) of a unit's weights, m and n below: weights multiply from the right,
x @ W. Axes before them are a stack of such matrices. Every initialiser returns a constant; layers copy it into their
variables and cast it to their dtype.

Layers take an initialiser by its name here or as a function called as ``function(shape, seed=seed)``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from graphdiff import host
from graphdiff.arguments import chosen
from graphdiff.arguments import lengths as lengths_of
from graphdiff.errors import OpError, ShapeError
from graphdiff.op import GRAPH as F
from graphdiff.op import as_tensor
from graphdiff.ops import random
from graphdiff.ops.random import Seed
from graphdiff.tensor import Tensor
from graphdiff.typing import ArrayLike, DTypeLike, Function

__all__ = [
    "INITIALISERS",
    "constant",
    "fan_in_uniform",
    "find",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "orthogonal",
    "sparse",
    "truncated_normal",
    "uniform",
    "zeros",
]

Shape = int | Sequence[int]
Initialiser = Function[ArrayLike]


def _shape_of(shape: Shape) -> tuple[int, ...]:
    return lengths_of(shape, "an initialiser")


def _fans(shape: Shape, name: str) -> tuple[tuple[int, ...], int, int]:
    lengths = _shape_of(shape)
    if len(lengths) < 2 or not all(lengths[-2:]):
        raise ShapeError(f"{name} is for weights of shape (…, inputs, outputs), both at least 1, not {list(lengths)}")
    return lengths, lengths[-2], lengths[-1]


def _not_negative(name: str, value: float) -> None:
    if not value >= 0 or not math.isfinite(value):
        raise OpError(f"{name} is a finite number that is not negative, not {value!r}")


def zeros(shape: Shape, *, seed: Seed = 0, dtype: DTypeLike = "float64") -> Tensor:
    """Return zeros: for biases. Units whose weights all begin at zero get the same gradient and stay the same.

    Examples
    --------
    >>> import numpy as np
    >>> import graphdiff as gd
    >>> model = gd.nn.MLP([3, 1], "tanh", in_features=2, init=gd.nn.init.ones)  # every unit alike, as with zeros
    >>> gd.sum(model(np.array([[1.0, 2.0]], "float32"))).backward()
    >>> gradient = model.layers[0].weight.grad
    >>> bool((gradient == gradient[:, :1]).all())  # they never become different: the symmetry must be broken
    True
    """
    return F.zeros(_shape_of(shape), dtype=dtype)


def ones(shape: Shape, *, seed: Seed = 0, dtype: DTypeLike = "float64") -> Tensor:
    """Return ones.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.nn.init.ones(2).tolist()
    [1.0, 1.0]
    """
    return F.ones(_shape_of(shape), dtype=dtype)


def constant(shape: Shape, *, value: float = 0.0, seed: Seed = 0, dtype: DTypeLike = "float64") -> Tensor:
    """Return `value` everywhere.

    Examples
    --------
    >>> import functools
    >>> import graphdiff as gd
    >>> tenth = functools.partial(gd.nn.init.constant, value=0.1)
    >>> gd.nn.Linear(2, in_features=1, init=tenth, dtype="float64").weight.tolist()
    [[0.1, 0.1]]
    """
    return F.full(_shape_of(shape), value, dtype=dtype)


def normal(shape: Shape, *, seed: Seed, mean: float = 0.0, std: float = 0.01, dtype: DTypeLike = "float64") -> Tensor:
    """Draw from N(mean, std²).

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.nn.init.normal((2, 3), seed=0).shape
    (2, 3)
    """
    _not_negative("std", std)
    return random.normal(_shape_of(shape), seed=seed, mean=mean, std=std, dtype=dtype)


def uniform(
    shape: Shape, *, seed: Seed, low: float = -0.05, high: float = 0.05, dtype: DTypeLike = "float64"
) -> Tensor:
    """Draw from U(low, high).

    Examples
    --------
    >>> import graphdiff as gd
    >>> bool(gd.all(gd.abs(gd.nn.init.uniform((2, 3), seed=0)) <= 0.05))
    True
    """
    if not low <= high:
        raise OpError(f"low is at most high, not {low} and {high}")
    return random.uniform(_shape_of(shape), seed=seed, low=low, high=high, dtype=dtype)


def truncated_normal(
    shape: Shape, *, seed: Seed, mean: float = 0.0, std: float = 0.01, bound: float = 2.0, dtype: DTypeLike = "float64"
) -> Tensor:
    """Draw from N(mean, std²) again and again until within `bound` standard deviations of the mean.

    The variance is smaller than std²: at bound 2 it is 0.774 std².

    Examples
    --------
    >>> import graphdiff as gd
    >>> drawn = gd.nn.init.truncated_normal(10_000, seed=0, std=1.0)
    >>> bool(gd.max(gd.abs(drawn)) <= 2), round(float(gd.var(drawn)), 2)
    (True, 0.77)
    """
    _not_negative("std", std)
    if not bound >= 0.1:  # a normal number is within 0.1 in 8 % of the draws
        raise OpError(f"bound is at least 0.1 standard deviations, not {bound!r}")
    lengths, stream = _shape_of(shape), random.generator(seed)
    drawn = random.normal(lengths, seed=stream)
    outside = F.abs(drawn) > bound
    while F.any(outside):
        drawn = F.where(outside, random.normal(lengths, seed=stream), drawn)
        outside = F.abs(drawn) > bound
    return (mean + std * drawn).astype(dtype)


def fan_in_uniform(shape: Shape, *, seed: Seed, dtype: DTypeLike = "float64") -> Tensor:
    """Draw from U(-1/√m, 1/√m), of variance 1/(3m): the usual heuristic before Glorot and Bengio (2010, equation 1).

    Examples
    --------
    >>> import graphdiff as gd
    >>> bool(gd.max(gd.abs(gd.nn.init.fan_in_uniform((100, 5), seed=0))) <= 0.1)
    True
    """
    lengths, inputs, _ = _fans(shape, "fan_in_uniform")
    return _scaled_uniform(lengths, 1 / (3 * inputs), seed, dtype)


def glorot_uniform(shape: Shape, *, seed: Seed, dtype: DTypeLike = "float64") -> Tensor:
    """Draw from U(±√(6/(m + n))), of variance 2/(m + n).

    Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010, equation 16.

    Examples
    --------
    >>> import graphdiff as gd
    >>> bool(gd.max(gd.abs(gd.nn.init.glorot_uniform((4, 2), seed=0))) <= 1)
    True
    """
    lengths, inputs, outputs = _fans(shape, "glorot_uniform")
    return _scaled_uniform(lengths, 2 / (inputs + outputs), seed, dtype)


def glorot_normal(shape: Shape, *, seed: Seed, dtype: DTypeLike = "float64") -> Tensor:
    """Draw from N(0, 2/(m + n)): Glorot and Bengio, 2010, equation 12.

    Examples
    --------
    >>> import graphdiff as gd
    >>> round(float(gd.var(gd.nn.init.glorot_normal((100, 300), seed=0))), 3)
    0.005
    """
    lengths, inputs, outputs = _fans(shape, "glorot_normal")
    return random.normal(lengths, seed=seed, std=math.sqrt(2 / (inputs + outputs)), dtype=dtype)


def he_uniform(shape: Shape, *, seed: Seed, dtype: DTypeLike = "float64") -> Tensor:
    """Draw from U(±√(6/m)), of variance 2/m, which keeps the size of activations through layers of ReLU.

    He et al., Delving deep into rectifiers, 2015, equation 10 with the uniform distribution of that variance.

    Examples
    --------
    >>> import graphdiff as gd
    >>> bool(gd.max(gd.abs(gd.nn.init.he_uniform((6, 2), seed=0))) <= 1)
    True
    """
    lengths, inputs, _ = _fans(shape, "he_uniform")
    return _scaled_uniform(lengths, 2 / inputs, seed, dtype)


def he_normal(shape: Shape, *, seed: Seed, dtype: DTypeLike = "float64") -> Tensor:
    """Draw from N(0, 2/m): He et al., 2015, equation 10.

    Examples
    --------
    >>> import graphdiff as gd
    >>> round(float(gd.var(gd.nn.init.he_normal((100, 300), seed=0))), 2)
    0.02
    """
    lengths, inputs, _ = _fans(shape, "he_normal")
    return random.normal(lengths, seed=seed, std=math.sqrt(2 / inputs), dtype=dtype)


def lecun_normal(shape: Shape, *, seed: Seed, dtype: DTypeLike = "float64") -> Tensor:
    """Draw from N(0, 1/m): LeCun et al., 1998, equation 16.

    Examples
    --------
    >>> import graphdiff as gd
    >>> round(float(gd.var(gd.nn.init.lecun_normal((100, 300), seed=0))), 2)
    0.01
    """
    lengths, inputs, _ = _fans(shape, "lecun_normal")
    return random.normal(lengths, seed=seed, std=math.sqrt(1 / inputs), dtype=dtype)


def lecun_uniform(shape: Shape, *, seed: Seed, dtype: DTypeLike = "float64") -> Tensor:
    """Draw from U(±√(3/m)), of variance 1/m.

    LeCun et al., Efficient backprop, 1998, equation 16.

    Examples
    --------
    >>> import graphdiff as gd
    >>> bool(gd.max(gd.abs(gd.nn.init.lecun_uniform((3, 2), seed=0))) <= 1)
    True
    """
    lengths, inputs, _ = _fans(shape, "lecun_uniform")
    return _scaled_uniform(lengths, 1 / inputs, seed, dtype)


def _scaled_uniform(lengths: tuple[int, ...], variance: float, seed: Seed, dtype: DTypeLike) -> Tensor:
    bound = math.sqrt(3 * variance)
    return random.uniform(lengths, seed=seed, low=-bound, high=bound, dtype=dtype)


def orthogonal(shape: Shape, *, seed: Seed, gain: float = 1.0, dtype: DTypeLike = "float64") -> Tensor:
    """Draw a matrix with orthonormal rows or columns, whichever are fewer, uniformly among these, times `gain`.

    Saxe, McClelland and Ganguli, Exact solutions to the nonlinear dynamics of learning in deep linear neural networks,
    2014. The matrix is the polar factor A (AᵀA)^(-1/2) of a matrix A of normal numbers, which is uniformly
    distributed as A's distribution does not change under rotations; two Newton steps remove its rounding errors.

    Examples
    --------
    >>> import graphdiff as gd
    >>> W = gd.nn.init.orthogonal((5, 3), seed=0)
    >>> bool(gd.max(gd.abs(W.T @ W - gd.eye(3))) < 1e-14)
    True
    """
    lengths, inputs, outputs = _fans(shape, "orthogonal")
    wide = inputs < outputs
    drawn = as_tensor(random.normal(lengths, seed=seed))
    tall = drawn.mT if wide else drawn
    values, vectors = F.eigh(tall.mT @ tall)
    basis = tall @ (vectors / F.sqrt(values)[..., None, :]) @ vectors.mT
    for _ in range(2):
        basis = 1.5 * basis - 0.5 * basis @ (basis.mT @ basis)
    return (gain * (basis.mT if wide else basis)).astype(dtype)


def sparse(shape: Shape, *, seed: Seed, nonzero: int = 15, std: float = 1.0, dtype: DTypeLike = "float64") -> Tensor:
    """Give every unit `nonzero` incoming weights from N(0, std²), at random places, and zeros elsewhere.

    Martens, Deep learning via Hessian-free optimization, 2010, section 5, which takes 15. A unit with fewer inputs has
    all of them.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.sum(gd.nn.init.sparse((20, 3), seed=0, nonzero=4) != 0, axis=0).tolist()
    [4, 4, 4]
    """
    lengths, _, _ = _fans(shape, "sparse")
    _not_negative("std", std)
    if not host.is_integer(nonzero) or nonzero < 0:
        raise OpError(f"nonzero is a number of weights, not {nonzero!r}")
    stream = random.generator(seed)
    order = F.argsort(random.uniform(lengths, seed=stream), axis=-2)
    weights = random.normal(lengths, seed=stream, std=std)
    return F.where(order < nonzero, weights, 0.0).astype(dtype)


INITIALISERS: dict[str, Initialiser] = {
    "zeros": zeros,
    "ones": ones,
    "constant": constant,
    "normal": normal,
    "uniform": uniform,
    "truncated_normal": truncated_normal,
    "fan_in_uniform": fan_in_uniform,
    "glorot_uniform": glorot_uniform,
    "glorot_normal": glorot_normal,
    "xavier_uniform": glorot_uniform,
    "xavier_normal": glorot_normal,
    "he_uniform": he_uniform,
    "he_normal": he_normal,
    "kaiming_uniform": he_uniform,
    "kaiming_normal": he_normal,
    "lecun_uniform": lecun_uniform,
    "lecun_normal": lecun_normal,
    "orthogonal": orthogonal,
    "sparse": sparse,
}
"""Every initialiser by its name, Glorot's and He's by their first names too."""


def find(init: str | Initialiser) -> Initialiser:
    """Return the initialiser that a name stands for; a function stands for itself.

    Raises
    ------
    OpError
        There is none of this name.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.nn.init.find("kaiming_normal") is gd.nn.init.he_normal
    True
    """
    if callable(init):
        return init
    return INITIALISERS[chosen(init, INITIALISERS, "initialiser")]
