"""The parameters of an optimiser in groups: as they are given, each with settings, and as they lie in flat buffers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import TypeAlias, cast

from graphdiff.errors import BackendError, DTypeError, GraphError, OpError, ShapeError
from graphdiff.guard import guarded
from graphdiff.host import broadcasts_to, is_integer, is_real_floating
from graphdiff.op import GRAPH, as_tensor
from graphdiff.optim.flat_buffer import buffer_of
from graphdiff.optim.schedules import Schedule
from graphdiff.optim.schedules.schedule import require_number
from graphdiff.tensor import TRACES, Configured, Tensor, Variable, current_trace, put_traced, variable
from graphdiff.typing import Array, Attribute, Attributes, Namespace

__all__ = [
    "BufferGroup",
    "Gradients",
    "ParameterGroup",
    "Parameters",
    "Rate",
    "Setting",
    "Settings",
    "flat_gradient",
    "groups_of",
    "number_of",
    "rate_of",
    "require",
    "require_pair",
    "require_parameters",
    "require_whole",
    "set_rate",
]


Parameters = Iterable[Variable | Attributes]
Rate = float | Schedule
Setting: TypeAlias = "Attribute | Schedule"
"""What a rule is told besides parameters and gradients."""

Gradients = Mapping[Variable, Array]
"""The gradient of each variable that has one."""


class Settings(MutableMapping[str, Setting]):
    """Settings of a rule by name; those that a group was not given are its optimiser's.

    Setting one takes effect at the next step, compiled or not, unless it cannot be: then nothing is changed.

    Parameters
    ----------
    own : dict
    shared : Settings, optional
        The optimiser's.
    accept : callable
        Called as ``accept(settings, name, value)`` before one is set; raises OpError if it cannot be.
    """

    def __init__(
        self, own: dict[str, Setting], shared: Settings | None, accept: Callable[[Settings, str, Setting], None]
    ) -> None:
        self.own, self.shared, self._accept = own, shared, accept

    def __getitem__(self, name: str) -> Setting:
        return self.own[name] if self.shared is None or name in self.own else self.shared[name]

    def __setitem__(self, name: str, value: Setting) -> None:
        self._accept(self, name, value)
        put_traced(self.own, name, value)

    def __delitem__(self, name: str) -> None:
        raise OpError(f"{name} is a setting of the rule: it can be set, not deleted")

    def __iter__(self) -> Iterator[str]:
        return iter(self.own if self.shared is None else self.shared)

    def __len__(self) -> int:
        return len(self.own if self.shared is None else self.shared)

    def __repr__(self) -> str:
        return repr(dict(self))


class ParameterGroup(Configured):
    """Parameters that share their settings; made by an optimiser, see its `groups`.

    Attributes
    ----------
    parameters : tuple of Variable
    settings : dict
        All settings of the rule but the learning rate. Those that the group was not given are the optimiser's; setting
        one takes effect at the next step, compiled or not.

    Examples
    --------
    >>> import graphdiff as gd
    >>> w, b = gd.variable([1.0, 2.0]), gd.variable(0.0)
    >>> optimizer = gd.optim.AdamW([{"params": [w]}, {"params": [b], "lr": 0.1, "weight_decay": 0.0}], lr=0.01)
    >>> [(group.lr, group.settings["weight_decay"]) for group in optimizer.groups]
    [(0.01, 0.01), (0.1, 0.0)]
    """

    fixed = ("parameters", "rate", "settings")

    @guarded
    def __init__(self, parameters: Sequence[Variable], rate: Variable | Schedule, settings: Settings) -> None:
        self.parameters = tuple(parameters)
        self.settings = settings
        self.rate = rate

    @property
    def lr(self) -> float:
        """The learning rate; a number can be assigned at any time, unless it is a schedule."""
        if isinstance(self.rate, Schedule):
            raise OpError("the learning rate is a schedule: ask it for its value at a step, as schedule(step)")
        return number_of(self.rate)

    @lr.setter
    def lr(self, value: float) -> None:
        set_rate(self.rate, value)


def number_of(variable: Variable) -> float:
    """Return a 0-d variable's value as a Python number; while a function is traced, which has no value, as a Tensor."""
    return cast(float, as_tensor(variable)) if TRACES and current_trace() else float(variable._value)


def set_rate(rate: Variable | Schedule, value: Rate | Tensor) -> None:
    """Assign a learning rate; within a trace, which knows no values, a Tensor too."""
    if not (isinstance(value, Tensor) and value.shape == () and current_trace()):
        require("lr", value)
    if isinstance(rate, Schedule) or isinstance(value, Schedule):
        raise OpError("lr cannot be assigned where it is a schedule: give one when the optimiser is made")
    rate.assign(value if isinstance(value, Tensor) else float(value))


def require_parameters(parameters: Sequence[Variable]) -> None:
    """Raise an error unless these are parameters that one optimiser can move."""
    if not parameters:
        raise GraphError("an optimiser needs at least one parameter")
    for parameter in parameters:
        if not isinstance(parameter, Variable) or not is_real_floating(parameter.dtype):
            mend = "" if isinstance(parameter, Variable) else "; a module's are model.parameters()"
            raise DTypeError(f"an optimiser moves real floating variables, not {parameter!r}{mend}")
        if parameter.backend is not parameters[0].backend:
            raise BackendError("the parameters of an optimiser are on one backend")
    if len(set(parameters)) != len(parameters):
        raise GraphError("a parameter was given twice")


class BufferGroup:
    """The parameters of one group and dtype: their flat buffer, the state of the rule and a buffer for the gradient."""

    def __init__(self, members: list[Variable], owner: ParameterGroup, states: int, numbers: int) -> None:
        self.members = members
        self.owner = owner
        self.buffer = buffer_of(members)
        F = members[0].backend.numbers
        self.states = [variable(F.zeros_like(self.buffer.flat._value), name=f"state {k}") for k in range(states)]
        self.states += [variable(0.0, name=f"state {states + k}") for k in range(numbers)]
        for state in self.states:
            state.pin()
            state.clock = self.buffer.flat.clock
        self._gradient: Array | None = None

    def settle(self) -> bool:
        """Have a flat buffer with these members, and the flat array up to date; return whether there was one."""
        intact = self.buffer.intact
        if not intact:
            self.buffer = buffer_of(self.members)
            self._gradient = None
        self.buffer.gather()
        return intact

    def spread(self) -> None:
        """Show the members what the flat array holds, where their values are no views of it."""
        if not self.buffer.backend.in_place:
            self.buffer.show()

    def gradient(self, gradients: Gradients) -> Array:
        """Return the flat gradient."""
        F = self.buffer.backend.numbers
        if not self.buffer.backend.in_place:
            return flat_gradient(F, self.members, gradients)
        if self._gradient is None:
            self._gradient = F.zeros_like(self.buffer.flat._value)
            self._views = [F.reshape(self._gradient[self.buffer.place(m)], m.shape) for m in self.members]
        for member, view in zip(self.members, self._views, strict=True):
            gradient = gradients.get(member, 0)
            try:
                view[...] = gradient
            except ValueError as error:
                raise _misshapen(member, gradient) from error
        return self._gradient

    def traced_gradient(self, gradients: Gradients) -> Array:
        """Return the flat gradient as graph."""
        return flat_gradient(GRAPH, self.members, gradients)


def flat_gradient(F: Namespace, parameters: Sequence[Variable], gradients: Gradients) -> Array:
    """Return gradients laid flat one behind the other, 0 where there is none: arrays or graph, as `F` has them."""
    parts = []
    for parameter in parameters:
        given = gradients.get(parameter)
        part = F.zeros_like(parameter if F.is_graph else parameter._value) if given is None else given
        if tuple(part.shape) != parameter.shape:
            if not broadcasts_to(tuple(part.shape), parameter.shape):
                raise _misshapen(parameter, part)
            part = F.broadcast_to(part, parameter.shape)
        parts.append(F.reshape(part, (-1,)))
    return F.concat(parts)


def _misshapen(parameter: Variable, gradient: object) -> ShapeError:
    return ShapeError(f"the gradient of {parameter.describe()} is of shape {list(getattr(gradient, 'shape', ()))}")


def require(name: str, value: object, *, least: float = 0.0, above: float = -math.inf, below: float = math.inf) -> None:
    """Raise OpError unless a setting is a finite number within limits; a schedule is taken as it is."""
    if not isinstance(value, Schedule):
        require_number(name, value, least, above, below)


def require_whole(name: str, value: object) -> None:
    """Raise OpError unless a setting is a whole number of at least 1."""
    if not is_integer(value) or cast(int, value) < 1:
        raise OpError(f"{name} is a whole number of at least 1, not {value!r}")


def require_pair(name: str, value: object) -> tuple[float, float]:
    """Return a setting that has two parts; raise OpError if it has not."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise OpError(f"{name} are a pair of numbers, not {value!r}")
    return value[0], value[1]


def rate_of(lr: Rate) -> Variable | Schedule:
    """Return a learning rate as what steps read: a variable, or the schedule itself."""
    return lr if isinstance(lr, Schedule) else variable(float(lr), name="lr")


def groups_of(parameters: Parameters) -> list[tuple[list[Variable], dict[str, Setting]]]:
    """Return the groups of parameters, each with the settings it was given."""
    if not isinstance(parameters, Iterable):
        raise GraphError(f"an optimiser takes variables, such as model.parameters(), not {type(parameters).__name__}")
    given = list(parameters)
    if not any(isinstance(entry, Mapping) for entry in given):
        return [(cast(list[Variable], given), {})]
    groups: list[tuple[list[Variable], dict[str, Setting]]] = []
    for entry in given:
        if not isinstance(entry, Mapping) or "params" not in entry:
            raise GraphError(f'a group of parameters is a dict with "params" among its keys, not {entry!r}')
        own = dict(entry)
        members = own.pop("params")
        groups.append(([members] if isinstance(members, Variable) else list(members), own))
    return groups
