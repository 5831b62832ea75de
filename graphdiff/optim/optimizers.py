"""Update rules over an arena: all parameters of an optimiser in one flat array, so that a step is a few passes.

A rule is written once, in array-API names, as a function of the flat parameters, their gradient and the state.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from graphdiff.differentiate.reverse import gradients_of
from graphdiff.errors import BackendError, DTypeError, GraphError, OpError
from graphdiff.host import is_real_floating
from graphdiff.tensor import Tensor, Variable

__all__ = ["SGD", "Adam", "Optimizer"]


class Optimizer:
    """What every optimiser has; subclasses define `rule`.

    Parameters
    ----------
    parameters : iterable of Variable
        Of one backend; dtypes may differ.

    Raises
    ------
    GraphError
        No parameters, or one twice.
    DTypeError
        A parameter that is no real floating variable.
    """

    def __init__(self, parameters: Iterable[Variable]) -> None:
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
        groups: dict[Any, list[Variable]] = {}
        for parameter in self.parameters:
            groups.setdefault(parameter.dtype, []).append(parameter)
        self._arenas = [_Arena(members) for members in groups.values()]
        self.steps = 0

    def rule(self, F: Any, value: Any, gradient: Any, state: tuple[Any, ...], steps: int) -> tuple[Any, ...]:
        """Return the new value, followed by the new state.

        Parameters
        ----------
        F : namespace
            With array-API names.
        value, gradient : array
            Flat, of one dtype.
        state : tuple of array
            What the last call returned after the value; empty at first.
        steps : int
            How many steps were made, this one included.
        """
        raise NotImplementedError

    def minimize(self, loss: Tensor) -> None:
        """Compute the gradients of `loss` and make a step. If anything fails, nothing is changed."""
        gradients = gradients_of(loss)
        earlier = {leaf: leaf.grad for leaf in gradients}
        try:
            for leaf, gradient in gradients.items():
                leaf.grad = gradient
            self.step()
        except BaseException:
            for leaf, gradient in earlier.items():
                leaf.grad = gradient
            raise

    def step(self) -> None:
        """Make a step along the gradients that the parameters hold; one without a gradient counts as zero."""
        F = self.backend.numbers
        results = []
        with self.backend.quiet():
            for arena in self._arenas:
                results.append(self.rule(F, arena.value(F), arena.gradient(F), arena.state, self.steps + 1))
        for arena, (value, *state) in zip(self._arenas, results, strict=True):
            arena.replace(F, value, tuple(state))
        self.steps += 1


class _Arena:
    """Parameters of one dtype as one flat array. Their values are views of it until the user assigns one."""

    def __init__(self, members: list[Variable]) -> None:
        self.members = members
        self.state: tuple[Any, ...] = ()
        self._flat: Any = None
        self._versions: list[int] = []
        ends = [0]
        for member in members:
            ends.append(ends[-1] + member.size)
        self._parts = [
            (member, slice(start, end), member.shape)
            for member, start, end in zip(members, ends[:-1], ends[1:], strict=True)
        ]

    def value(self, F: Any) -> Any:
        if self._versions != [member.version for member in self.members]:
            self._flat = F.concat([F.reshape(member.value, (-1,)) for member in self.members])
        return self._flat

    def gradient(self, F: Any) -> Any:
        return F.concat(
            [
                F.reshape(F.zeros_like(member.value) if member.grad is None else member.grad, (-1,))
                for member in self.members
            ]
        )

    def replace(self, F: Any, flat: Any, state: tuple[Any, ...]) -> None:
        # A fresh array each step: nobody's earlier view of a value changes under their feet.
        normalize = self.members[0].backend.normalize
        for member, part, shape in self._parts:
            member._replace(normalize(F.reshape(flat[part], shape)))
        self._flat, self.state = flat, state
        self._versions = [member.version for member in self.members]


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
        _require("lr", lr, lr >= 0)
        _require("momentum", momentum, momentum >= 0)
        _require("dampening", dampening, True)
        if nesterov and (momentum == 0 or dampening != 0):
            raise OpError("Nesterov's momentum needs a momentum and no dampening")
        super().__init__(parameters)
        self.lr, self.momentum, self.dampening, self.nesterov = lr, momentum, dampening, nesterov

    def rule(self, F: Any, value: Any, gradient: Any, state: tuple[Any, ...], steps: int) -> tuple[Any, ...]:
        if not self.momentum:
            return (value - self.lr * gradient,)
        velocity = self.momentum * state[0] + (1 - self.dampening) * gradient if state else gradient
        along = gradient + self.momentum * velocity if self.nesterov else velocity
        return value - self.lr * along, velocity


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
        _require("lr", lr, lr >= 0)
        _require("eps", eps, eps >= 0)
        for beta in betas:
            _require("a beta", beta, 0 <= beta < 1)
        super().__init__(parameters)
        self.lr, self.betas, self.eps = lr, betas, eps

    def rule(self, F: Any, value: Any, gradient: Any, state: tuple[Any, ...], steps: int) -> tuple[Any, ...]:
        first, second = self.betas
        mean, square = state or (F.zeros_like(value), F.zeros_like(value))
        mean = first * mean + (1 - first) * gradient
        square = second * square + (1 - second) * (gradient * gradient)
        # m̂ / (sqrt(v̂) + ε) with the corrections folded into two numbers.
        root = math.sqrt(1 - second**steps)
        scale = self.lr * root / (1 - first**steps)
        return value - scale * mean / (F.sqrt(square) + self.eps * root), mean, square
