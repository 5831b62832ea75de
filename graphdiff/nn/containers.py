"""Modules made of layers: one after the other, around a shortcut, or gated."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial, wraps
from typing import Any, Self, cast, overload

from graphdiff.arguments import chosen, number, whole, wholes
from graphdiff.errors import CompileError, GraphError, ShapeError
from graphdiff.guard import guarded
from graphdiff.nn.init import Initialiser, constant, find
from graphdiff.nn.layers import ACTIVATIONS, Activation, Linear
from graphdiff.nn.module import Config, Module
from graphdiff.op import GRAPH as F
from graphdiff.op import as_tensor
from graphdiff.ops import random
from graphdiff.ops.random import Seed
from graphdiff.tensor import SWITCHES, Tensor, current_trace, name_scope, untraced
from graphdiff.typing import ArrayLike, DTypeLike, Function

__all__ = ["MLP", "Highway", "Residual", "Sequential"]


class _Layers(list[Module]):
    """The layers of a Sequential: a list that is a setting, as whose changes its own count."""


def _counted(name: str) -> Function[object]:
    change: Function[object] = getattr(list, name)

    @wraps(change)
    def changed(self: _Layers, *arguments: object, **named: object) -> object:
        if current_trace():
            raise CompileError("layers cannot be put in or taken out in a compiled function: do so before it is called")
        SWITCHES[0] += 1
        return change(self, *arguments, **named)

    return changed


for _name in ("append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"):
    setattr(_Layers, _name, _counted(_name))
for _name in ("delitem", "iadd", "imul", "setitem"):
    setattr(_Layers, f"__{_name}__", _counted(f"__{_name}__"))


class Sequential(Module):
    """Modules one after the other, each in a name scope of its own.

    It has a length, and its layers an index; a part of it shares its layers.

    Examples
    --------
    >>> import graphdiff as gd
    >>> model = gd.nn.MLP([8, 3], in_features=4)
    >>> len(model), model[-1].out_features, model[:2](gd.ones((5, 4))).shape
    (3, 3, (5, 8))
    """

    @guarded
    def __init__(self, *layers: Module) -> None:
        for layer in layers:
            if not isinstance(layer, Module):
                mend = "; gd.nn.Activation(name) makes one of a function" if callable(layer) else ""
                raise GraphError(f"the layers of Sequential are modules, not {type(layer).__name__}{mend}")
        self.layers = list(layers)

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, _Layers(cast(list[Module], value)) if name == "layers" else value)

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    @overload
    def __getitem__(self, place: int) -> Module: ...
    @overload
    def __getitem__(self, place: slice) -> Sequential: ...
    def __getitem__(self, place: int | slice) -> Module:
        return Sequential(*self.layers[place]) if isinstance(place, slice) else self.layers[place]

    def forward(self, x: ArrayLike) -> Tensor:
        for index, layer in enumerate(self.layers):
            with name_scope(f"{layer.kind}{index}"):
                x = layer(x)
        return as_tensor(x)

    def config(self) -> Config:
        return {"layers": self.layers}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        made = cls.__new__(cls)
        Sequential.__init__(made, *config["layers"])
        return made


class Residual(Module):
    """The input plus what layers make of it: x + f(x).

    He et al., Deep residual learning for image recognition, 2016, equations 1 and 2.

    Parameters
    ----------
    *layers : Module
        f, one after the other.
    shortcut : Module, optional
        Applied to the input that is added, where f changes its shape.

    Raises
    ------
    ShapeError
        When called: the two differ in shape.

    Examples
    --------
    >>> import graphdiff as gd
    >>> layer = gd.nn.Residual(gd.nn.Linear(2, in_features=2, init="zeros", dtype="float64"), gd.nn.Activation("relu"))
    >>> layer([[1.0, 2.0]]).tolist()
    [[1.0, 2.0]]
    """

    @guarded
    def __init__(self, *layers: Module, shortcut: Module | None = None) -> None:
        self.inner = Sequential(*layers)
        self.shortcut = shortcut

    def forward(self, x: ArrayLike) -> Tensor:
        x = as_tensor(x)
        changed = self.inner(x)
        kept = x if self.shortcut is None else self.shortcut(x)
        if changed.shape != kept.shape:
            raise ShapeError(
                f"a residual layer cannot add {changed.describe()}, made by its layers, to {kept.describe()}; "
                "give shortcut=gd.nn.Linear(…) to change the latter's shape"
            )
        return kept + changed

    def config(self) -> Config:
        return {"layers": self.inner.layers, "shortcut": self.shortcut}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        return cls(*config["layers"], shortcut=config["shortcut"])


class Highway(Module):
    """A gated mixture of the input and a layer of it: t·h(x) + (1 - t)·x with t = sigmoid(x @ W + b).

    Srivastava, Greff and Schmidhuber, Highway networks, 2015, equation 3.

    Parameters
    ----------
    width : int, optional
        Inferred at the first call if not given.
    activation : str
        Of h, a linear layer.
    gate_bias : float
        What b begins with; negative, so that at first the input is carried through.
    seed, init, dtype
        As in `Linear`.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.nn.Highway(3)(gd.ones((5, 3), dtype="float32")).shape
    (5, 3)
    """

    fixed = ("width",)

    @guarded
    def __init__(
        self,
        width: int | None = None,
        activation: str = "relu",
        *,
        gate_bias: float = -2.0,
        seed: Seed | None = None,
        init: str | Initialiser = "he_uniform",
        dtype: DTypeLike = "float32",
    ) -> None:
        self.width = width = None if width is None else whole(width, "Highway: width", 1)
        gate_bias = number(gate_bias, "Highway: gate_bias")
        self.activation = Activation(activation)
        stream = random.generator(seed)
        self._options: dict[str, Any] = {"seed": stream, "init": find(init), "dtype": dtype, "gate_bias": gate_bias}
        if width is not None:
            self._make(width)

    def _make(self, width: int) -> None:
        options = dict(self._options)
        gate_bias = partial(constant, value=options.pop("gate_bias"))
        self.transform = Linear(width, width, **options)
        self.gate = Linear(width, width, bias_init=gate_bias, **options)
        self.width = width
        self._options = {}

    def _require_made(self) -> None:
        if self.width is None:
            raise GraphError("a highway layer without width has no parameters before its first call")

    def forward(self, x: ArrayLike) -> Tensor:
        x = as_tensor(x)
        if self.width is None and x.ndim:
            with untraced():
                self._make(x.shape[-1])
        if not x.ndim or x.shape[-1] != self.width:
            raise ShapeError(f"a highway layer of width {self.width or 'unknown'} was given {x.describe()}")
        share = F.sigmoid(self.gate(x))
        return x + share * (self.activation(self.transform(x)) - x)

    def config(self) -> Config:
        self._require_made()
        return {"width": self.width, "activation": self.activation.name, "dtype": str(self.gate.weight.dtype)}


class MLP(Sequential):
    """Linear layers with an activation between them.

    Parameters
    ----------
    sizes : sequence of int
        The width of each layer; the last is the output, which has no activation.
    activation : str
        "relu", "tanh", "sigmoid", "gelu", "gelu_tanh", "elu", "leaky_relu", "softplus" or "hard_tanh".
    in_features : int, optional
        Inferred at the first call if not given.
    seed : int or random stream, optional
        For the initial weights; by default a stream of its own, as in `Linear`.
    init : str or callable, optional
        Of the weights of every layer, as `Linear` takes it. By default uniform with the variance 2 / inputs (He), or
        1 / inputs (LeCun) for the last layer and where the activation saturates.
    dtype : dtype-like

    Examples
    --------
    >>> import graphdiff as gd
    >>> model = gd.nn.MLP([16, 3], in_features=4)
    >>> [parameter.shape for parameter in model.parameters()]
    [(4, 16), (16,), (16, 3), (3,)]
    """

    @guarded
    def __init__(
        self,
        sizes: Sequence[int],
        activation: str = "relu",
        *,
        in_features: int | None = None,
        seed: Seed | None = None,
        init: str | Initialiser | None = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        sizes = wholes(sizes, "MLP: the width of a layer", 1)
        if not sizes:
            raise ShapeError("an MLP has at least one layer")
        chosen(activation, ACTIVATIONS, "activation")
        stream = random.generator(seed)
        # Saturating activations want Glorot's smaller weights; half of He's variance is theirs for equal widths.
        gain = 1.0 if activation not in ("tanh", "sigmoid", "hard_tanh") else math.sqrt(0.5)
        layers: list[Module] = []
        width = in_features
        for index, size in enumerate(sizes):
            last = index == len(sizes) - 1
            factor = 1.0 if init is not None else math.sqrt(0.5) if last else gain
            drawn = "he_uniform" if init is None else init
            layers.append(Linear(size, width, seed=stream, gain=factor, init=drawn, dtype=dtype))
            if not last:
                layers.append(Activation(activation))
            width = size
        super().__init__(*layers)
