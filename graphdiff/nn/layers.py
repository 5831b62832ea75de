"""Layers: functions with parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from graphdiff.arguments import chosen, number, truth, whole
from graphdiff.errors import DataError, DTypeError, GraphError, OpError, ShapeError
from graphdiff.guard import guarded
from graphdiff.nn.init import Initialiser, find, normal
from graphdiff.nn.module import Config, Module, require_room
from graphdiff.op import FUNCTIONS, as_tensor
from graphdiff.op import GRAPH as F
from graphdiff.ops import random
from graphdiff.ops.checks import demand
from graphdiff.ops.random import Seed
from graphdiff.tensor import Tensor, Variable, untraced, variable
from graphdiff.typing import ArrayLike, DTypeLike

__all__ = ["Activation", "Embedding", "Flatten", "Linear", "Maxout", "PReLU"]


ACTIVATIONS: dict[str, tuple[str, ...]] = {
    "relu": (),
    "tanh": (),
    "sigmoid": (),
    "gelu": (),
    "gelu_tanh": (),
    "elu": ("alpha",),
    "leaky_relu": ("slope",),
    "softplus": (),
    "hard_tanh": (),
    "softmax": ("axis",),
    "log_softmax": ("axis",),
}
"""The functions that `Activation` knows, and their options."""
_STANDARD_NORMAL = partial(normal, std=1.0)


def _initial(
    make: Initialiser, shape: tuple[int, ...], stream: Seed, gain: float, dtype: DTypeLike, name: str
) -> Variable:
    require_room(shape)
    with untraced():
        drawn = as_tensor(make(shape, seed=stream))
        if drawn.shape != shape:
            raise ShapeError(f"the initialiser of {name} returned {drawn.describe()} for the shape {list(shape)}")
        return variable(drawn if gain == 1 else drawn * gain, dtype=dtype, name=name)


class Linear(Module):
    """x @ W + b.

    Parameters
    ----------
    out_features : int
    in_features : int, optional
        Inferred at the first call if not given.
    bias : bool
    seed : int or random stream, optional
        For the weights. By default a stream of its own, `gd.random.generator()`: every layer begins with other weights,
        which are the same in every run of a program.
    gain : float
        Multiplies the initial weights.
    init, bias_init : str or callable
        Of `graphdiff.nn.init` by name, or called as ``init(shape, seed=seed)``. By default the weights are He's,
        U(±sqrt(6 / in_features)), and the biases 0.
    dtype : dtype-like

    Raises
    ------
    ShapeError
        When called: the input's last axis is not `in_features` long.

    Examples
    --------
    >>> import graphdiff as gd
    >>> layer = gd.nn.Linear(3, in_features=2)
    >>> layer(gd.ones((5, 2), dtype="float32")).shape
    (5, 3)
    """

    fixed = ("out_features", "in_features")
    weight: Variable
    bias: Variable

    @guarded
    def __init__(
        self,
        out_features: int,
        in_features: int | None = None,
        *,
        bias: bool = True,
        seed: Seed | None = None,
        gain: float = 1.0,
        init: str | Initialiser = "he_uniform",
        bias_init: str | Initialiser = "zeros",
        dtype: DTypeLike = "float32",
    ) -> None:
        self.out_features = whole(out_features, "Linear: out_features", 1)
        self.in_features = in_features = None if in_features is None else whole(in_features, "Linear: in_features", 1)
        self._has_bias, self._gain = truth(bias, "Linear: bias"), number(gain, "Linear: gain")
        self._dtype = dtype
        self._stream = random.generator(seed)
        self._init: tuple[Initialiser, ...] | None = (find(init), find(bias_init))
        if in_features is not None:
            self._make(in_features)

    def _make(self, in_features: int) -> None:
        make_weight, make_bias = self._init or ()
        stream, dtype = self._stream, self._dtype
        self.weight = _initial(make_weight, (in_features, self.out_features), stream, self._gain, dtype, "W")
        if self._has_bias:
            self.bias = _initial(make_bias, (self.out_features,), stream, 1.0, dtype, "b")
        self.in_features = in_features
        self._init = self._stream = None  # neither is drawn from again, nor need it survive pickling

    def _require_made(self) -> None:
        if self.in_features is None:
            raise GraphError("a linear layer without in_features has no parameters before its first call")

    def forward(self, x: ArrayLike) -> Tensor:
        x = as_tensor(x)
        if self.in_features is None and x.ndim:
            with untraced():
                self._make(x.shape[-1])
        if not x.ndim or x.shape[-1] != self.in_features:
            swapped = bool(x.ndim) and x.shape[-1] == self.out_features
            mend = (
                ": its outputs, the first argument, are as many; Linear(out_features, in_features)" if swapped else ""
            )
            raise ShapeError(f"a linear layer of {self.in_features or 'some'} inputs was given {x.describe()}{mend}")
        product = F.matmul(x, self.weight)
        return product + self.bias if self._has_bias else product

    def config(self) -> Config:
        if self.in_features is None:
            raise GraphError("a linear layer without in_features cannot be saved before its first call")
        return {
            "out_features": self.out_features,
            "in_features": self.in_features,
            "bias": self._has_bias,
            "dtype": str(self.weight.dtype),
        }


class Activation(Module):
    """A function by its name, as a layer.

    Parameters
    ----------
    name : str
        "relu", "tanh", "sigmoid", "gelu", "gelu_tanh", "elu", "leaky_relu", "softplus", "hard_tanh", "softmax" or
        "log_softmax".
    **options
        What the function takes besides its argument: ``slope`` of "leaky_relu" (0.01), ``alpha`` of "elu" (1),
        ``axis`` of "softmax" and "log_softmax" (-1).

    Raises
    ------
    OpError
        There is no such activation, or it takes no such option.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.nn.Activation("leaky_relu", slope=0.5)([-1.0, 2.0]).tolist()
    [-0.5, 2.0]
    >>> gd.nn.Activation("softmax")([0.0, 0.0]).tolist()
    [0.5, 0.5]
    """

    fixed = ("name",)

    @guarded
    def __init__(self, name: str, **options: float) -> None:
        chosen(name, ACTIVATIONS, "activation")
        if not options.keys() <= set(ACTIVATIONS[name]):
            known = ", ".join(ACTIVATIONS[name]) or "no options"
            raise OpError(f"the activation {name} takes {known}, not {', '.join(sorted(options))}")
        self.name = name
        self._options = tuple(options.items())
        self._function = partial(FUNCTIONS[name], **options) if options else FUNCTIONS[name]

    @property
    def options(self) -> Mapping[str, float]:
        """What the function is given besides its argument; fixed."""
        return MappingProxyType(dict(self._options))

    def forward(self, x: ArrayLike) -> Tensor:
        return self._function(x)

    def config(self) -> Config:
        return {"name": self.name, **self.options}


class PReLU(Module):
    """x for x > 0, alpha·x elsewhere, where alpha is learned.

    He et al., Delving deep into rectifiers, 2015, equation 1.

    Parameters
    ----------
    features : int, optional
        One alpha for each of the last axis; by default a single one.
    alpha : float
        What it begins with.
    dtype : dtype-like

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.nn.PReLU(dtype="float64")([-1.0, 2.0]).tolist()
    [-0.25, 2.0]
    """

    fixed = ("features",)

    @guarded
    def __init__(self, features: int | None = None, *, alpha: float = 0.25, dtype: DTypeLike = "float32") -> None:
        self.features = None if features is None else whole(features, "PReLU: features", 1)
        shape = () if self.features is None else (self.features,)
        require_room(shape)
        self.alpha = variable(F.full(shape, alpha), dtype=dtype, name="alpha")

    def forward(self, x: ArrayLike) -> Tensor:
        x = as_tensor(x)
        if self.features is not None and (not x.ndim or x.shape[-1] != self.features):
            raise ShapeError(f"PReLU of {self.features} features was given {x.describe()}")
        return F.relu(x) - self.alpha * F.relu(-x)

    def config(self) -> Config:
        return {"features": self.features, "dtype": str(self.alpha.dtype)}


class Maxout(Module):
    """The greatest of several linear functions of the input, for every unit.

    Goodfellow et al., Maxout networks, 2013, section 3. Where some are equal they share the gradient.

    Parameters
    ----------
    out_features : int
    pieces : int
        How many linear functions a unit chooses from.
    in_features : int, optional
        Inferred at the first call if not given.
    seed, init, dtype
        As in `Linear`.

    Examples
    --------
    >>> import graphdiff as gd
    >>> layer = gd.nn.Maxout(3, pieces=2, in_features=4)
    >>> layer(gd.ones((5, 4), dtype="float32")).shape, layer.parameters()[0].shape
    ((5, 3), (4, 6))
    """

    fixed = ("out_features", "pieces")

    @guarded
    def __init__(
        self,
        out_features: int,
        pieces: int = 2,
        in_features: int | None = None,
        *,
        seed: Seed | None = None,
        init: str | Initialiser = "he_uniform",
        dtype: DTypeLike = "float32",
    ) -> None:
        self.out_features, self.pieces = (
            whole(out_features, "Maxout: out_features", 1),
            whole(pieces, "Maxout: pieces", 1),
        )
        self.linear = Linear(self.out_features * self.pieces, in_features, seed=seed, init=init, dtype=dtype)

    def forward(self, x: ArrayLike) -> Tensor:
        drawn = self.linear(x)
        grouped = F.reshape(drawn, (*drawn.shape[:-1], self.out_features, self.pieces))
        return F.max(grouped, axis=-1)

    def config(self) -> Config:
        linear = self.linear.config()
        own = {"out_features": self.out_features, "pieces": self.pieces}
        return own | {name: linear[name] for name in ("in_features", "dtype")}


class Flatten(Module):
    """Every example as one row: (n, …) becomes (n, the product of the rest).

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.nn.Flatten()(gd.ones((5, 2, 3))).shape
    (5, 6)
    """

    def forward(self, x: ArrayLike) -> Tensor:
        x = as_tensor(x)
        if not x.ndim:
            raise ShapeError(f"flatten takes a batch of examples, not {x.describe()}")
        return F.reshape(x, (x.shape[0], math.prod(x.shape[1:])))

    def config(self) -> Config:
        return {}


class Embedding(Module):
    """A learned row of numbers for each of `count` things, picked by integers.

    Parameters
    ----------
    count, width : int
        How many rows, and their length.
    seed, dtype
        As in `Linear`.
    init : str or callable
        As in `Linear`; by default N(0, 1).

    Raises
    ------
    DTypeError, DataError
        When called: with something else than integers, or, if their values are known, outside 0 … count - 1.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.nn.Embedding(10, 4)([[1, 2, 3]]).shape
    (1, 3, 4)
    """

    fixed = ("count", "width")

    @guarded
    def __init__(
        self,
        count: int,
        width: int,
        *,
        seed: Seed | None = None,
        init: str | Initialiser = _STANDARD_NORMAL,
        dtype: DTypeLike = "float32",
    ) -> None:
        self.count, self.width = whole(count, "Embedding: count", 1), whole(width, "Embedding: width", 1)
        self.weight = _initial(find(init), (self.count, self.width), random.generator(seed), 1.0, dtype, "W")

    def forward(self, x: ArrayLike) -> Tensor:
        x = as_tensor(x)
        if x.dtype.kind not in "iu":
            raise DTypeError(f"an embedding picks rows by integers, not by {x.describe()}")
        if x.has_value and x.size and not 0 <= int(F.min(x)) <= int(F.max(x)) < self.count:
            raise DataError(f"an embedding of {self.count} rows was given {x.describe()} with numbers outside them")
        told = f"an embedding has {self.count} rows, from 0 on"
        rows = demand(as_tensor(self.weight), x, 0, self.count - 1, told)
        return F.take(rows, x, axis=0)

    def config(self) -> Config:
        return {"count": self.count, "width": self.width, "dtype": str(self.weight.dtype)}
