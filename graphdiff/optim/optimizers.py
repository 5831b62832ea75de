"""Update rules over arenas: all parameters of an optimiser in one flat array, so that a step is a few passes.

A rule is written once, in array-API names. It is compiled into a plan that updates the arena in place.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from graphdiff.differentiate.reverse import gradients_of
from graphdiff.errors import BackendError, DTypeError, GraphError, OpError
from graphdiff.host import is_real_floating
from graphdiff.op import GRAPH, as_tensor
from graphdiff.optim.arena import Arena, arena_of
from graphdiff.plan import RetraceError, compile
from graphdiff.tensor import TRACES, Tensor, Variable, variable

__all__ = ["SGD", "Adam", "Optimizer"]


class Optimizer:
    """What every optimiser has; subclasses define `rule` and say how many arrays of state it keeps.

    Parameters
    ----------
    parameters : iterable of Variable
        Of one backend; dtypes may differ.
    lr : float
        Learning rate; may be changed at any time.

    Attributes
    ----------
    steps : int
        How many steps were made.

    Raises
    ------
    GraphError
        No parameters, or one twice.
    DTypeError
        A parameter that is no real floating variable.
    """

    states = 0
    """How many arrays of state the rule keeps; they begin as zeros."""

    def __init__(self, parameters: Iterable[Variable], lr: float) -> None:
        _require("lr", lr, lr >= 0)
        self.parameters = list(parameters)
        if not self.parameters:
            raise GraphError("an optimiser needs at least one parameter")
        for parameter in self.parameters:
            if not isinstance(parameter, Variable) or not is_real_floating(parameter.dtype):
                raise DTypeError(f"an optimiser moves real floating variables, not {parameter!r}")
            if parameter.backend is not self.parameters[0].backend:
                raise BackendError("the parameters of an optimiser are on one backend")
        if len(set(self.parameters)) != len(self.parameters):
            raise GraphError("a parameter was given twice")
        self.backend = self.parameters[0].backend
        self._steps = variable(0.0, name="steps")
        self._lr = variable(float(lr), name="lr")
        self._join()

    @property
    def steps(self) -> int:
        """How many steps were made."""
        return int(self._steps._value)

    @property
    def lr(self) -> float:
        """The learning rate; assigning it takes effect at the next step, compiled or not."""
        return float(self._lr._value)

    @lr.setter
    def lr(self, value: float) -> None:
        _require("lr", value, value >= 0)
        self._lr.assign(float(value))

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in self.__dict__.items() if name not in ("_update", "_groups")}
        return kept | {"saved": [[state.numpy() for state in group.states] for group in self._groups]}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        arrays = kept.pop("saved")
        self.__dict__.update(kept)
        self._join()
        for group, saved in zip(self._groups, arrays, strict=True):
            for state, array in zip(group.states, saved, strict=True):
                state.assign(array)

    def _join(self) -> None:
        """Lay the parameters out in arenas, one per dtype."""
        members: dict[Any, list[Variable]] = {}
        for parameter in self.parameters:
            members.setdefault(parameter.dtype, []).append(parameter)
        self._groups = [_Group(group, self.states) for group in members.values()]
        self._steps.clock = self._groups[0].arena.flat.clock  # assigned together, counted together
        self._update = compile(self._trace_update)

    def rule(self, F: Any, value: Any, gradient: Any, state: tuple[Any, ...], steps: Any, lr: Any) -> tuple[Any, ...]:
        """Return the new value, followed by the new state.

        Parameters
        ----------
        F : namespace
            With array-API names.
        value, gradient : array
            Flat, of one dtype.
        state : tuple of array
            What the last call returned after the value; zeros at first.
        steps : 0-d float64
            How many steps were made, this one included.
        lr : 0-d float64
            The learning rate. Cast what you compute from these two to the dtype of `value`.
        """
        raise NotImplementedError

    def minimize(self, loss: Tensor) -> None:
        """Compute the gradients of `loss` and make a step. The parameters' `.grad` is left alone.

        If anything fails, nothing is changed.
        """
        self._apply(gradients_of(loss))

    def step(self) -> None:
        """Make a step along the gradients that the parameters hold; one without a gradient counts as zero."""
        self._apply({p: p.grad for p in self.parameters if p.grad is not None})

    def _apply(self, gradients: dict[Variable, Any]) -> None:
        settled = [group.settle() for group in self._groups]
        if TRACES and not all(settled):
            raise RetraceError  # what has been traced so far has read the parameters where they were
        if TRACES:
            self._trace_update(*[group.traced_gradient(gradients) for group in self._groups])
            return
        self._update(*[group.gradient(gradients) for group in self._groups])
        for group in self._groups:
            group.spread()

    def _trace_update(self, *gradients: Any) -> None:
        steps, lr = as_tensor(self._steps) + 1.0, as_tensor(self._lr)
        for group, gradient in zip(self._groups, gradients, strict=True):
            flat, states = group.arena.flat, group.states
            value, *new = self.rule(GRAPH, as_tensor(flat), gradient, tuple(map(as_tensor, states)), steps, lr)
            flat.assign(value)
            for state, changed in zip(states, new, strict=True):
                state.assign(changed)
        self._steps.assign(steps)


class _Group:
    """The parameters of one dtype: their arena, the state of the rule and a buffer for the gradient."""

    def __init__(self, members: list[Variable], states: int) -> None:
        self.members = members
        self.arena: Arena = arena_of(members)
        F = members[0].backend.numbers
        self.states = [variable(F.zeros_like(self.arena.flat._value), name=f"state {k}") for k in range(states)]
        for state in self.states:
            state.pin()
            state.clock = self.arena.flat.clock
        self._buffer: Any = None

    def settle(self) -> bool:
        """Have an arena with these members, and the flat array up to date; return whether there was one."""
        intact = self.arena.intact
        if not intact:
            self.arena = arena_of(self.members)
            self._buffer = None
        self.arena.gather()
        return intact

    def spread(self) -> None:
        """Show the members what the flat array holds, where their values are no views of it."""
        if not self.arena.backend.in_place:
            self.arena.show()

    def gradient(self, gradients: dict[Variable, Any]) -> Any:
        """Return the flat gradient."""
        F = self.arena.backend.numbers
        if not self.arena.backend.in_place:
            given = [gradients.get(member) for member in self.members]
            parts = [F.zeros_like(m._value) if g is None else g for m, g in zip(self.members, given, strict=True)]
            return F.concat([F.reshape(part, (-1,)) for part in parts])
        if self._buffer is None:
            self._buffer = F.zeros_like(self.arena.flat._value)
            self._views = [F.reshape(self._buffer[self.arena.place(m)], m.shape) for m in self.members]
        for member, view in zip(self.members, self._views, strict=True):
            gradient = gradients.get(member)
            view[...] = 0 if gradient is None else gradient
        return self._buffer

    def traced_gradient(self, gradients: dict[Variable, Any]) -> Tensor:
        """Return the flat gradient as graph."""
        parts = []
        for member in self.members:
            given = gradients.get(member)
            part = GRAPH.zeros_like(member) if given is None else as_tensor(given)
            parts.append(GRAPH.reshape(part, (-1,)))
        return GRAPH.concat(parts, axis=0)  # type: ignore[no-any-return]


def _require(name: str, value: float, ok: bool) -> None:
    if not ok or not math.isfinite(value):
        raise OpError(f"{name} cannot be {value!r}")


class SGD(Optimizer):
    """Gradient descent, with momentum as PyTorch has it: v ← momentum·v + (1 - dampening)·g, θ ← θ - lr·v.

    Parameters
    ----------
    parameters : iterable of Variable
    lr : float
        Learning rate.
    momentum, dampening : float
        The first velocity is g, without dampening.
    nesterov : bool
        Step along g + momentum·v instead of v.

    Examples
    --------
    >>> import graphdiff as gd
    >>> w = gd.variable(1.0)
    >>> gd.optim.SGD([w], lr=0.1).minimize((w - 1) ** 2 + (w - 3) ** 2)
    >>> round(float(w), 12)
    1.4
    """

    def __init__(
        self,
        parameters: Iterable[Variable],
        lr: float,
        momentum: float = 0.0,
        dampening: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        _require("momentum", momentum, momentum >= 0)
        _require("dampening", dampening, True)
        if nesterov and (momentum == 0 or dampening != 0):
            raise OpError("Nesterov's momentum needs a momentum and no dampening")
        self.momentum, self.dampening, self.nesterov = momentum, dampening, nesterov
        self.states = 1 if momentum else 0
        super().__init__(parameters, lr)

    def rule(self, F: Any, value: Any, gradient: Any, state: tuple[Any, ...], steps: Any, lr: Any) -> tuple[Any, ...]:
        rate = F.astype(lr, value.dtype)
        if not state:
            return (value - rate * gradient,)
        share = gradient
        if self.dampening:
            undamped = F.astype(steps == 1, "float64")
            share = F.astype(undamped * self.dampening + (1 - self.dampening), value.dtype) * gradient
        velocity = self.momentum * state[0] + share
        along = gradient + self.momentum * velocity if self.nesterov else velocity
        return value - rate * along, velocity


class Adam(Optimizer):
    """Adam with bias correction (Kingma and Ba, 2015), ε outside the square root.

    Parameters
    ----------
    parameters : iterable of Variable
    lr : float
        Learning rate.
    betas : (float, float)
        Decay of the means of the gradient and of its square.
    eps : float

    Notes
    -----
    The two means are kept divided by 1 - β₁ and 1 - β₂, which saves two passes over all parameters; the step makes
    up for it.

    Examples
    --------
    >>> import graphdiff as gd
    >>> w = gd.variable([1.0, -2.0])
    >>> gd.optim.Adam([w], lr=0.1).minimize(gd.sum(w * w))
    >>> [round(x, 6) for x in w.tolist()]
    [0.9, -1.9]
    """

    def __init__(
        self,
        parameters: Iterable[Variable],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        _require("eps", eps, eps >= 0)
        for beta in betas:
            _require("a beta", beta, 0 <= beta < 1)
        self.betas, self.eps = betas, eps
        super().__init__(parameters, lr)

    states = 2

    def rule(self, F: Any, value: Any, gradient: Any, state: tuple[Any, ...], steps: Any, lr: Any) -> tuple[Any, ...]:
        first, second = self.betas
        mean = first * state[0] + gradient
        square = second * state[1] + gradient * gradient
        # m̂ / (sqrt(v̂) + ε), with all factors that are the same for every parameter drawn into two numbers.
        root = F.sqrt((1 - second**steps) / (1 - second))
        rate = lr * (1 - first) * root / (1 - first**steps)
        epsilon = F.astype(self.eps * root, value.dtype)
        return value - F.astype(rate, value.dtype) * (mean / (F.sqrt(square) + epsilon)), mean, square
