"""Modules: functions with parameters, state and a mode."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias, TypeVar, cast

from graphdiff import host
from graphdiff.errors import GraphError, OpError, ShapeError
from graphdiff.guard import guarded
from graphdiff.host import Generator, HostArray
from graphdiff.tensor import OBSERVERS, TRACES, Configured, Tensor, Variable, value_for
from graphdiff.typing import ArrayLike

if TYPE_CHECKING:
    from graphdiff.draw.drawing import Drawing
    from graphdiff.draw.options import Example, Options

__all__ = ["Config", "Module", "parameters_within", "require_room"]

Kind = TypeVar("Kind")
Config: TypeAlias = dict[str, Any]
"""What a module is made from by name; each class knows the types of its own."""

_room: ContextVar[list[int] | None] = ContextVar("room", default=None)
"""How many numbers the layers that are made may still have, in a list; None: as many as they like."""


@contextlib.contextmanager
def parameters_within(count: int) -> Iterator[None]:
    """Have layers that are made within the context refuse to be of more numbers, before they take memory for them."""
    token = _room.set([count])
    try:
        yield
    finally:
        _room.reset(token)


def require_room(shape: Sequence[int]) -> None:
    """Refuse a parameter that `parameters_within` has no room for."""
    left = _room.get()
    if left is not None:
        left[0] -= math.prod(shape)
        if left[0] < 0:
            raise ShapeError(f"a parameter of shape {list(shape)} is larger than what there is to give it")


class Module(Configured):
    """A function with parameters. Subclasses set variables and modules as attributes and define `forward`.

    Attributes may also be lists, tuples and dicts of them, nested as you like. A variable that is held in several
    places is one parameter: `parameters` has it once. `forward` takes whatever the module is called with.

    Modules begin in training mode; what differs between training and evaluation reads `training`.

    Examples
    --------
    >>> import graphdiff as gd
    >>> class Scale(gd.nn.Module):
    ...     def __init__(self):
    ...         self.factor = gd.variable(2.0, name="factor")
    ...
    ...     def forward(self, x):
    ...         return self.factor * x
    >>> Scale()(3.0).item()
    6.0
    """

    kind: ClassVar[str] = "module"
    """The class's name in lower case, for the scopes of the nodes that its instances make."""
    buffers: ClassVar[tuple[str, ...]] = ()
    """Attributes that hold variables which belong to the state but are not trained."""
    _training = True

    def __init_subclass__(cls) -> None:
        cls.kind = cls.__name__.lower()

    def _forward(self, x: ArrayLike, *others: ArrayLike, **named: ArrayLike) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    forward: Callable[..., Tensor] = _forward
    """Returns the output for a batch of inputs. Subclasses define it with the arguments that they need."""

    def config(self) -> Config:
        """Return what `from_config` makes a module of the same architecture of: text, numbers, lists and modules.

        A class that declares it can be saved by `gd.train.save`.
        """
        raise GraphError(f"{type(self).__name__} does not declare config(), which saving needs")

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Return a module as `config` described it; by default these are the class's arguments by name."""
        return cls(**config)

    def __call__(self, *inputs: Any, **named: Any) -> Tensor:
        if TRACES:
            self.use_settings()
        output = self.forward(*inputs, **named)
        for observer in OBSERVERS and OBSERVERS.here():
            observer(self, (*inputs, *named.values()), output)
        return output

    def __setattr__(self, name: str, value: object) -> None:
        held = vars(self).get(name)
        if isinstance(held, Variable) and not isinstance(value, Variable):
            raise GraphError(
                f"{name!r} of {type(self).__name__} is a variable, and {type(value).__name__} would take its place: "
                f"change its value with {name}.assign(…), or delete the attribute first"
            )
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        name = type(self).__name__
        within = "\n".join(f"{path}: {module!r}" for path, module, _ in self._named(Module))
        if within:
            return f"{name}(\n  " + within.replace("\n", "\n  ") + "\n)"
        try:
            settings = [f"{key}={value!r}" for key, value in self.config().items()]
        except GraphError:
            settings = [f"{path}={item.dtype}{list(item.shape)}" for path, item, _ in self._named(Variable)]
        return f"{name}({', '.join(settings)})"

    if TYPE_CHECKING:  # attached in graphdiff.nn; named here for type checkers

        def __graphdiff_draw__(self, options: Options, example: Example) -> Drawing: ...

    # What it holds ---------------------------------------------------------------------------------------------

    def _named(self, *kinds: type[Kind]) -> Iterator[tuple[str, Kind, str]]:
        """Yield (path, item, attribute) for the attributes of some kinds, and for those in lists and dicts."""
        if TRACES:
            self.use_settings()
        for name, value in vars(self).items():
            for path, item in _leaves(name, value):
                if isinstance(item, kinds):
                    yield path, item, name

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield (path, module) for this module, whose path is empty, and all within, in order of definition."""
        yield prefix[:-1], self
        for path, module, _ in self._named(Module):
            yield from module.named_modules(f"{prefix}{path}.")

    def modules(self) -> list[Module]:
        """Return this module and all within."""
        return [module for _, module in self.named_modules()]

    def _require_made(self) -> None:
        """Raise an error where parameters are made at the first call, and there was none."""

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Variable]]:
        """Yield (path, variable) for the parameters of this module and those within, in order of definition."""
        yield from _once(self._named_variables(prefix, buffers=False))

    def named_buffers(self, prefix: str = "") -> Iterator[tuple[str, Variable]]:
        """Yield (path, variable) for what belongs to the state but is not trained, such as running statistics."""
        yield from _once(self._named_variables(prefix, buffers=True))

    def _named_variables(self, prefix: str, *, buffers: bool) -> Iterator[tuple[str, Variable]]:
        """Yield (path, variable) by every path that leads to one."""
        self._require_made()
        kinds: tuple[type[Variable | Module], ...] = (Variable, Module)
        for path, item, name in self._named(*kinds):
            if isinstance(item, Module):
                yield from item._named_variables(f"{prefix}{path}.", buffers=buffers)
            elif (name in self.buffers) == buffers:
                yield f"{prefix}{path}", item

    def named_streams(self, prefix: str = "") -> Iterator[tuple[str, Generator]]:
        """Yield (path, stream) for the streams of random numbers that layers draw from while they train."""
        for path, item, _ in self._named(object):
            if isinstance(item, Module):
                yield from item.named_streams(f"{prefix}{path}.")
            elif host.is_random_generator(item):
                yield f"{prefix}{path}", cast("Generator", item)

    def parameters(self) -> list[Variable]:
        """Return the parameters, layer by layer, weight before bias; one that is shared comes once."""
        return [parameter for _, parameter in self.named_parameters()]

    # State -----------------------------------------------------------------------------------------------------

    def _variables(self) -> dict[str, Variable]:
        return dict(self._named_variables("", buffers=False)) | dict(self._named_variables("", buffers=True))

    def state(self) -> dict[str, HostArray]:
        """Return a copy of the value of every parameter and running statistic as a NumPy array, by path."""
        return {path: leaf.numpy().copy() for path, leaf in self._variables().items()}

    @guarded
    def load_state(self, state: Mapping[str, ArrayLike]) -> None:
        """Assign every parameter and running statistic from what `state` returned.

        Raises
        ------
        GraphError
            Paths are missing or unknown; nothing is assigned then.
        ShapeError, DTypeError
            A value does not fit; nothing is assigned then.
        """
        own = self._variables()
        if own.keys() != state.keys():
            raise GraphError(f"the state's parameters differ: {sorted(own.keys() ^ state.keys())}")
        values = {path: value_for(leaf, state[path], f"assigned, as {path},") for path, leaf in own.items()}
        for path, leaf in own.items():
            leaf.assign(values[path])

    # Mode ------------------------------------------------------------------------------------------------------

    @property
    def training(self) -> bool:
        """Whether the module trains; a compiled function that has read it has a plan for either mode."""
        if TRACES:
            self.use_settings()
            result: bool = self.use_setting("_training")
            return result
        return self._training

    def train(self, mode: bool = True) -> Self:
        """Put this module and all within into training mode; return the module.

        Examples
        --------
        >>> import graphdiff as gd
        >>> model = gd.nn.Sequential(gd.nn.Dropout(0.5))
        >>> model.eval()([1.0, 2.0]).tolist()
        [1.0, 2.0]
        >>> model.train().layers[0].training
        True
        """
        if not isinstance(mode, (bool, int)):
            raise OpError(f"train takes True or False, not {mode!r}")
        for module in self.modules():
            if module._training != bool(mode):
                module._training = bool(mode)
        return self

    def eval(self) -> Self:
        """Put this module and all within into evaluation mode; return the module."""
        return self.train(False)


def _leaves(path: str, value: object) -> Iterator[tuple[str, object]]:
    """Yield (path, item) for what lists, tuples and dicts hold at last, or for the value itself."""
    if not isinstance(value, (list, tuple, dict)):
        yield path, value
        return
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _leaves(f"{path}.{key}", item)


def _once(named: Iterator[tuple[str, Variable]]) -> Iterator[tuple[str, Variable]]:
    """Yield every variable under the first of its paths."""
    seen: set[Variable] = set()
    for path, leaf in named:
        if leaf not in seen:
            seen.add(leaf)
            yield path, leaf
