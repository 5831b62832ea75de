"""Normalisation and dropout: layers that keep activations in bounds or make them noisy, while a model trains."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import ClassVar, TypeGuard

from graphdiff import host
from graphdiff.arguments import truth, whole
from graphdiff.backend import use_backend
from graphdiff.errors import DTypeError, GraphError, OpError, ShapeError
from graphdiff.guard import guarded
from graphdiff.nn.module import Config, Module, require_room
from graphdiff.op import GRAPH as F
from graphdiff.op import as_tensor
from graphdiff.ops import random
from graphdiff.ops.random import Seed
from graphdiff.tensor import Tensor, Variable, current_trace, untraced, variable
from graphdiff.typing import ArrayLike, DTypeLike

__all__ = ["BatchNorm", "Dropout", "LayerNorm"]


def _real(x: ArrayLike, layer: str) -> Tensor:
    x = as_tensor(x)
    if x.dtype.kind != "f":
        raise DTypeError(f"{layer} takes real floating numbers, not {x.describe()}")
    return x


def _lies_in(value: object, most: float) -> TypeGuard[float]:
    """Whether a setting is a number from 0 to `most`."""
    return isinstance(value, Real) and 0 <= float(value) <= most


class Dropout(Module):
    """In training, set each number to 0 with probability p and divide the others by 1 - p; in evaluation, nothing.

    Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, 2014, section 10, the form
    that scales in training.

    Parameters
    ----------
    p : float
        In [0, 1].
    seed : int or random stream, optional
        By default a stream of its own, `gd.random.generator()`, so that two layers draw different numbers.

    Attributes
    ----------
    stream : random stream
        Draws new numbers at every call, in compiled functions too. Eager and compiled calls draw the same.

    Examples
    --------
    >>> import graphdiff as gd
    >>> layer = gd.nn.Dropout(0.5, seed=1)
    >>> sorted(set(layer(gd.ones(100)).tolist()))
    [0.0, 2.0]
    >>> layer.eval()(gd.ones(3)).tolist()
    [1.0, 1.0, 1.0]
    """

    @guarded
    def __init__(self, p: float = 0.5, *, seed: Seed | None = None) -> None:
        self.p = p
        self.stream = random.generator(seed)

    def check_setting(self, name: str, value: object) -> None:
        if name == "p" and not _lies_in(value, 1):
            raise OpError(f"dropout's p is a probability, not {value!r}")
        if name == "stream" and not host.is_random_generator(value):
            raise OpError(f"dropout's stream is of gd.random.generator, not {value!r}")

    def forward(self, x: ArrayLike) -> Tensor:
        x = _real(x, "dropout")
        if not self.training or self.p == 0:
            return x
        keep = 1 - self.p
        with use_backend(x.backend):
            kept = random.bernoulli(x.shape, seed=self.stream, p=keep, dtype=x.dtype)
        return x * (kept * (1 / keep if keep else 0.0))

    def config(self) -> Config:
        return {"p": self.p}


class _Normalising(Module):
    """Features of mean β and standard deviation γ, made from the last axis of the input."""

    name: ClassVar[str]
    fixed = ("features", "affine")
    features: int | None
    gamma: Variable
    beta: Variable

    @guarded
    def __init__(self, features: int | None, eps: float, affine: bool, dtype: DTypeLike) -> None:
        if features is not None:
            features = whole(features, f"{type(self).__name__}: features", 1)
        affine = truth(affine, f"{type(self).__name__}: affine")
        self.features, self.eps, self.affine, self._dtype = None, eps, affine, host.dtype(dtype)
        if features is not None:
            self._make(features)

    def check_setting(self, name: str, value: object) -> None:
        if name == "eps" and not (_lies_in(value, math.inf) and math.isfinite(value)):
            raise OpError(f"{self.name}'s eps is a small number that is not negative, not {value!r}")

    def _variable(self, name: str, fill: Callable[..., Tensor]) -> Variable:
        require_room((self.features or 0,))
        return variable(fill((self.features,)), dtype=self._dtype, name=name)

    def _make(self, features: int) -> None:
        self.features = features
        if self.affine:
            self.gamma = self._variable("γ", F.ones)
            self.beta = self._variable("β", F.zeros)

    def _require_made(self) -> None:
        if self.features is None:
            raise GraphError(f"{self.name} without features has no parameters before its first call")

    def _taken(self, x: ArrayLike, least: int) -> Tensor:
        x = _real(x, self.name)
        if x.ndim < least:
            wanted = "(examples, …, features)" if least == 2 else "(…, features)"
            raise ShapeError(f"{self.name} takes {wanted}, not {x.describe()}")
        if self.features is None:
            with untraced():
                self._make(x.shape[-1])
        if x.shape[-1] != self.features:
            raise ShapeError(f"{self.name} of {self.features} features was given {x.describe()}")
        return x

    def _scaled(self, centred: Tensor, variance: Tensor) -> Tensor:
        deviation = F.sqrt(variance + self.eps)
        if not self.affine:
            return centred / deviation
        return centred * (self.gamma / deviation) + self.beta

    def config(self) -> Config:
        self._require_made()
        return {"features": self.features, "eps": self.eps, "affine": self.affine, "dtype": str(self._dtype)}


class BatchNorm(_Normalising):
    """Each feature less its mean and divided by its standard deviation, then times γ plus β, which are learned.

    In training mean and variance are the batch's, over all axes but the last; running means of them are kept, which
    are used in evaluation. Ioffe and Szegedy, Batch normalization, 2015, algorithms 1 and 2.

    Parameters
    ----------
    features : int, optional
        Inferred at the first call if not given.
    momentum : float
        running ← (1 - momentum)·running + momentum·batch, with the unbiased variance, as PyTorch has it.
    eps : float
        Added to the variance.
    affine : bool
        Whether there are γ and β.
    dtype : dtype-like

    Notes
    -----
    A batch of a single example has no variance: its output is β, and the running statistics stay as they are. They also
    do while a graph is built on placeholders outside of `gd.compile`.

    Examples
    --------
    >>> import graphdiff as gd
    >>> layer = gd.nn.BatchNorm(dtype="float64")
    >>> [round(value, 4) for value in layer([[1.0], [3.0]]).numpy().ravel().tolist()]
    [-1.0, 1.0]
    >>> layer.running_mean.tolist(), layer.running_variance.tolist()
    ([0.2], [1.1])
    """

    name = "batch normalisation"
    buffers = ("running_mean", "running_variance")
    running_mean: Variable
    running_variance: Variable

    @guarded
    def __init__(
        self,
        features: int | None = None,
        *,
        momentum: float = 0.1,
        eps: float = 1e-5,
        affine: bool = True,
        dtype: DTypeLike = "float32",
    ) -> None:
        self.momentum = momentum
        super().__init__(features, eps, affine, dtype)

    def check_setting(self, name: str, value: object) -> None:
        if name == "momentum" and not _lies_in(value, 1):
            raise OpError(f"batch normalisation's momentum is in [0, 1], not {value!r}")
        super().check_setting(name, value)

    def _make(self, features: int) -> None:
        super()._make(features)
        self.running_mean = self._variable("running mean", F.zeros)
        self.running_variance = self._variable("running variance", F.ones)

    def forward(self, x: ArrayLike) -> Tensor:
        training = self.training
        x = self._taken(x, 2 if training else 1)
        if not training:
            return self._scaled(x - self.running_mean, as_tensor(self.running_variance))
        axes = tuple(range(x.ndim - 1))
        count = math.prod(x.shape[:-1])
        if not count:
            raise ShapeError(f"batch normalisation has no statistics of {x.describe()}")
        mean = F.mean(x, axis=axes)
        centred = x - mean
        variance = F.mean(F.square(centred), axis=axes)
        if count > 1 and (x.has_value or current_trace()):
            self._follow(self.running_mean, mean, 1.0)
            self._follow(self.running_variance, variance, count / (count - 1))
        return self._scaled(centred, variance)

    def _follow(self, running: Variable, batch: Tensor, factor: float) -> None:
        batch = F.stop_gradient(batch)
        running.assign((1 - self.momentum) * running + (self.momentum * factor) * batch)

    def config(self) -> Config:
        return super().config() | {"momentum": self.momentum}


class LayerNorm(_Normalising):
    """Each example's features less their mean and divided by their standard deviation, then times γ plus β.

    Ba, Kiros and Hinton, Layer normalization, 2016, equation 4 with γ and β per feature. Training and evaluation do not
    differ.

    Parameters
    ----------
    features : int, optional
        Inferred at the first call if not given.
    eps : float
        Added to the variance.
    affine : bool
        Whether there are γ and β, which are learned.
    dtype : dtype-like

    Examples
    --------
    >>> import graphdiff as gd
    >>> [round(value, 4) for value in gd.nn.LayerNorm(dtype="float64")([1.0, 3.0]).tolist()]
    [-1.0, 1.0]
    """

    name = "layer normalisation"

    def __init__(
        self, features: int | None = None, *, eps: float = 1e-5, affine: bool = True, dtype: DTypeLike = "float32"
    ) -> None:
        super().__init__(features, eps, affine, dtype)

    def forward(self, x: ArrayLike) -> Tensor:
        x = self._taken(x, 1)
        centred = x - F.mean(x, axis=-1, keepdims=True)
        return self._scaled(centred, F.mean(F.square(centred), axis=-1, keepdims=True))
