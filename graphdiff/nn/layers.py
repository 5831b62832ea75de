"""Layers: functions with parameters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from graphdiff.errors import GraphError, OpError, ShapeError
from graphdiff.op import FUNCTIONS, as_tensor
from graphdiff.ops import random
from graphdiff.tensor import Tensor, Variable, name_scope, value_for, variable

__all__ = ["MLP", "Activation", "Linear", "Module", "Sequential"]

ACTIVATIONS = ("relu", "tanh", "sigmoid", "gelu", "elu", "leaky_relu", "softplus", "hard_tanh")


class Module:
    """A function with parameters. Subclasses set variables and modules as attributes and define `forward`."""

    kind: ClassVar[str] = "module"
    """The class's name in lower case, for the scopes of the nodes that its instances make."""

    def __init_subclass__(cls) -> None:
        cls.kind = cls.__name__.lower()

    def forward(self, x: Any) -> Tensor:
        """Return the output for a batch of inputs."""
        raise NotImplementedError

    def __call__(self, x: Any) -> Tensor:
        return self.forward(x)

    def config(self) -> dict[str, Any]:
        """Return what `from_config` makes a module of the same architecture of: text, numbers, lists and modules.

        A class that declares it can be saved by `gd.train.save`.
        """
        raise GraphError(f"{type(self).__name__} does not declare config(), which saving needs")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """Return a module as `config` described it; by default these are the class's arguments by name."""
        return cls(**config)

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Variable]]:
        """Yield (path, variable) for the parameters of this module and those within, in order of definition."""
        for name, value in vars(self).items():
            items = enumerate(value) if isinstance(value, (list, tuple)) else [(None, value)]
            for index, item in items:
                path = f"{prefix}{name}" if index is None else f"{prefix}{name}.{index}"
                if isinstance(item, Variable):
                    yield path, item
                elif isinstance(item, Module):
                    yield from item.named_parameters(f"{path}.")

    def parameters(self) -> list[Variable]:
        """Return the parameters, layer by layer, weight before bias."""
        return [parameter for _, parameter in self.named_parameters()]

    def state(self) -> dict[str, Any]:
        """Return a copy of every parameter's value as a NumPy array, by path."""
        return {path: parameter.numpy().copy() for path, parameter in self.named_parameters()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Assign every parameter from what `state` returned.

        Raises
        ------
        GraphError
            Paths are missing or unknown; nothing is assigned then.
        ShapeError, DTypeError
            A value does not fit; nothing is assigned then.
        """
        own = dict(self.named_parameters())
        if own.keys() != state.keys():
            raise GraphError(f"the state's parameters differ: {sorted(own.keys() ^ state.keys())}")
        values = {path: value_for(parameter, state[path], f"assigned, as {path},") for path, parameter in own.items()}
        for path, parameter in own.items():
            parameter.assign(values[path])


class Linear(Module):
    """x @ W + b.

    Parameters
    ----------
    out_features : int
    in_features : int, optional
        Inferred at the first call if not given.
    bias : bool
    seed : int or random stream
        For the weights: He's uniform initialisation, U(±sqrt(6 / in_features)); biases begin at 0.
        (He et al., Delving deep into rectifiers, 2015, equation 10 with the uniform distribution of that variance.)
    gain : float
        Scales the weights' bound.
    dtype : dtype-like

    Examples
    --------
    >>> import graphdiff as gd
    >>> layer = gd.nn.Linear(3, in_features=2)
    >>> layer(gd.ones((5, 2), dtype="float32")).shape
    (5, 3)
    """

    weight: Variable
    bias: Variable

    def __init__(
        self,
        out_features: int,
        in_features: int | None = None,
        *,
        bias: bool = True,
        seed: Any = 0,
        gain: float = 1.0,
        dtype: Any = "float32",
    ) -> None:
        if out_features < 1 or (in_features is not None and in_features < 1):
            raise ShapeError(f"a linear layer has at least one input and output, not {in_features} and {out_features}")
        self.out_features = out_features
        self.in_features = in_features
        self._has_bias, self._seed, self._gain, self._dtype = bias, seed, gain, dtype
        if in_features is not None:
            self._make(in_features)

    def _make(self, in_features: int) -> None:
        bound = self._gain * math.sqrt(6 / in_features)
        drawn = random.uniform((in_features, self.out_features), seed=self._seed, low=-bound, high=bound)
        self.in_features = in_features
        self.weight = variable(drawn, dtype=self._dtype, name="W")
        if self._has_bias:
            self.bias = variable(FUNCTIONS["zeros"](self.out_features), dtype=self._dtype, name="b")

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Variable]]:
        if self.in_features is None:
            raise GraphError("a linear layer without in_features has no parameters before its first call")
        return super().named_parameters(prefix)

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x)
        if self.in_features is None and x.ndim:
            self._make(x.shape[-1])
        if not x.ndim or x.shape[-1] != self.in_features:
            raise ShapeError(f"a linear layer of {self.in_features or 'some'} inputs was given {x.describe()}")
        product = FUNCTIONS["matmul"](x, self.weight)
        return product + self.bias if self._has_bias else product  # type: ignore[no-any-return]

    def config(self) -> dict[str, Any]:
        if self.in_features is None:
            raise GraphError("a linear layer without in_features cannot be saved before its first call")
        return {
            "out_features": self.out_features,
            "in_features": self.in_features,
            "bias": self._has_bias,
            "dtype": str(self.weight.dtype),
        }


class Activation(Module):
    """An elementwise function by its name, as a layer."""

    def __init__(self, name: str) -> None:
        if name not in ACTIVATIONS:
            raise OpError(f"there is no activation {name!r}; there are {', '.join(ACTIVATIONS)}")
        self.name = name
        self._function = FUNCTIONS[name]

    def forward(self, x: Any) -> Tensor:
        return self._function(x)  # type: ignore[no-any-return]

    def config(self) -> dict[str, Any]:
        return {"name": self.name}


class Sequential(Module):
    """Modules one after the other, each in a name scope of its own."""

    def __init__(self, *layers: Module) -> None:
        for layer in layers:
            if not isinstance(layer, Module):
                raise GraphError(f"the layers of Sequential are modules, not {type(layer).__name__}")
        self.layers = list(layers)

    def forward(self, x: Any) -> Tensor:
        for index, layer in enumerate(self.layers):
            with name_scope(f"{layer.kind}{index}"):
                x = layer(x)
        return as_tensor(x)

    def config(self) -> dict[str, Any]:
        return {"layers": self.layers}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        made = cls.__new__(cls)
        Sequential.__init__(made, *config["layers"])
        return made


class MLP(Sequential):
    """Linear layers with an activation between them.

    Parameters
    ----------
    sizes : sequence of int
        The width of each layer; the last is the output, which has no activation.
    activation : str
        "relu", "tanh", "sigmoid", "gelu", "elu", "leaky_relu", "softplus" or "hard_tanh".
    in_features : int, optional
        Inferred at the first call if not given.
    seed : int
        For the initial weights.
    dtype : dtype-like

    Examples
    --------
    >>> import graphdiff as gd
    >>> model = gd.nn.MLP([16, 3], in_features=4)
    >>> [parameter.shape for parameter in model.parameters()]
    [(4, 16), (16,), (16, 3), (3,)]
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str = "relu",
        *,
        in_features: int | None = None,
        seed: int = 0,
        dtype: Any = "float32",
    ) -> None:
        if not sizes:
            raise ShapeError("an MLP has at least one layer")
        stream = random.generator(seed)
        # Saturating activations want Glorot's smaller weights; half of He's variance is theirs for equal widths.
        gain = 1.0 if activation not in ("tanh", "sigmoid", "hard_tanh") else math.sqrt(0.5)
        layers: list[Module] = []
        width = in_features
        for index, size in enumerate(sizes):
            last = index == len(sizes) - 1
            layers.append(Linear(size, width, seed=stream, gain=math.sqrt(0.5) if last else gain, dtype=dtype))
            if not last:
                layers.append(Activation(activation))
            width = size
        super().__init__(*layers)
