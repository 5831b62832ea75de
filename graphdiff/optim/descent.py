"""Rules that follow the gradient itself or its sign: SGD with its momenta, Rprop, LARS."""

from __future__ import annotations

import math

from graphdiff.errors import OpError
from graphdiff.optim.fields import Rule, setting
from graphdiff.optim.groups import Rate, require, require_pair
from graphdiff.typing import Array, Attributes, Namespace

__all__ = ["LARS", "SGD", "Rprop"]


class SGD(Rule):
    """Gradient descent, with momentum as PyTorch has it: v ← momentum·v + (1 - dampening)·g, θ ← θ - lr·v.

    Parameters
    ----------
    parameters : iterable of Variable or of dict
    lr : float or Schedule
        Learning rate.
    momentum : float or Schedule
    dampening : float
        The first velocity is g, without dampening.
    nesterov : bool
        Step along g + momentum·v instead of v.
    averaged : bool
        v ← (1 - momentum)·g + momentum·v, from zero: the velocity is a running mean of the gradients.
    weight_decay, clip_norm, clip_value : float
        As for every optimiser.

    Notes
    -----
    Sutskever, Martens, Dahl and Hinton (2013), in the form of torch.optim.SGD.

    Examples
    --------
    >>> import graphdiff as gd
    >>> w = gd.variable(1.0)
    >>> gd.optim.SGD([w], lr=0.1).minimize((w - 1) ** 2 + (w - 3) ** 2)
    >>> round(float(w), 12)
    1.4
    """

    momentum: Rate = setting(default=0.0)
    dampening: float = setting(default=0.0, least=-math.inf)
    nesterov: bool = False
    averaged: bool = False
    weight_decay: float = 0.0

    @classmethod
    def check(cls, settings: Attributes) -> None:
        momentum, dampening = settings["momentum"], settings["dampening"]
        for name, told in (("nesterov", "Nesterov's"), ("averaged", "averaged")):
            if settings[name] and (momentum == 0 or dampening != 0):
                raise OpError(f"{told} momentum needs a momentum and no dampening")
        if settings["averaged"]:
            require("momentum of an average", momentum, below=1)

    @property
    def states(self) -> int:  # type: ignore[override]
        """The velocity, if there is a momentum."""
        return 1 if self.momentum else 0

    def rule(
        self, F: Namespace, value: Array, gradient: Array, state: tuple[Array, ...], steps: Array, lr: Array
    ) -> tuple[Array, ...]:
        rate = F.astype(lr, value.dtype)
        if not state:
            return (value - rate * gradient,)
        momentum = self.at(F, "momentum", steps, value)
        share = gradient
        if self.averaged:
            share = (1 - momentum) * gradient
        elif self.dampening:
            undamped = F.astype(steps == 1, "float64")
            share = F.astype(undamped * self.dampening + (1 - self.dampening), value.dtype) * gradient
        velocity = momentum * state[0] + share
        along = velocity
        if self.nesterov:
            along = (share if self.averaged else gradient) + momentum * velocity
        return value - rate * along, velocity


class Rprop(Rule):
    """Resilient backpropagation: only the signs of the gradient count (Riedmiller and Braun, 1993).

    Each component has a step of its own, which grows while the sign of the gradient stays and shrinks where it changes;
    after a change, that component waits for one step. Steps already made are not taken back.

    Parameters
    ----------
    parameters : iterable of Variable or of dict
    lr : float or Schedule
        The first step of every component.
    factors : (float, float)
        By which steps shrink and grow.
    limits : (float, float)
        The smallest and the largest step.
    clip_norm, clip_value : float
        As for every optimiser.

    Examples
    --------
    >>> import graphdiff as gd
    >>> w = gd.variable([1.0, -50.0])
    >>> optimizer = gd.optim.Rprop([w], lr=0.1)
    >>> for _ in range(2):
    ...     optimizer.minimize(gd.sum(w**4))
    >>> [round(x, 6) for x in w.tolist()]
    [0.78, -49.78]
    """

    states = 2
    rate: Rate = setting(default=1e-2, alias="lr")
    factors: tuple[float, float] = (0.5, 1.2)
    limits: tuple[float, float] = (1e-6, 50.0)

    @classmethod
    def check(cls, settings: Attributes) -> None:
        shrink, grow = require_pair("factors", settings["factors"])
        require("the first of factors", shrink, above=0, below=1)
        require("the second of factors", grow, above=1)
        small, large = require_pair("limits", settings["limits"])
        require("the first of limits", small, above=0)
        require("the second of limits", large, least=small)

    def rule(
        self, F: Namespace, value: Array, gradient: Array, state: tuple[Array, ...], steps: Array, lr: Array
    ) -> tuple[Array, ...]:
        before, sizes = state
        shrink, grow = self.factors
        agreement = before * gradient
        factor = F.where(agreement > 0, grow, F.where(agreement < 0, shrink, F.ones_like(value)))
        sizes = F.where(steps == 1, F.astype(lr, value.dtype), sizes)
        sizes = F.clip(sizes * factor, *self.limits)
        counted = F.where(agreement < 0, F.zeros_like(gradient), gradient)
        return value - F.sign(counted) * sizes, counted, sizes


class LARS(Rule):
    """Layer-wise adaptive rate scaling (You, Gitman and Ginsburg, 2017), for large batches.

    Every parameter has a rate of its own, λ = lr·trust·‖θ‖ / (‖g‖ + weight_decay·‖θ‖), or lr where a norm is 0;
    v ← momentum·v + λ·(g + weight_decay·θ), θ ← θ - v.

    Parameters
    ----------
    parameters : iterable of Variable or of dict
    lr : float or Schedule
    momentum : float or Schedule
    weight_decay : float
    trust : float
        The coefficient η of the paper.
    clip_norm, clip_value : float
        As for every optimiser.

    Examples
    --------
    >>> import graphdiff as gd
    >>> w, b = gd.variable([3.0, 4.0]), gd.variable(0.0)
    >>> gd.optim.LARS([w, b], lr=1.0, trust=0.01).minimize(2 * w[1] + b)
    >>> [round(x, 6) for x in w.tolist()], b.item()
    ([3.0, 3.95], -1.0)
    """

    states = 1
    decays_itself = True
    momentum: Rate = setting(default=0.9)
    weight_decay: float = 0.0
    trust: float = setting(default=1e-3, above=0)

    def rule(
        self, F: Namespace, value: Array, gradient: Array, state: tuple[Array, ...], steps: Array, lr: Array
    ) -> tuple[Array, ...]:
        sizes, slopes = self.norms(F, value), self.norms(F, gradient)
        usable = F.logical_and(sizes > 0, slopes > 0)
        one = F.ones_like(sizes)
        below = F.where(usable, slopes + self.weight_decay * sizes, one)
        rates = F.astype(lr, value.dtype) * F.where(usable, self.trust * sizes / below, one)
        share = gradient + self.weight_decay * value if self.weight_decay else gradient
        momentum = self.at(F, "momentum", steps, value)
        velocity = momentum * state[0] + self.scaled(F, rates, share)
        return value - velocity, velocity
