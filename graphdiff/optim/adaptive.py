"""Rules with a rate for every component, from the size of its past gradients: AdaGrad, AdaDelta and RMSProp."""

from __future__ import annotations

from graphdiff.optim.fields import Rule, setting
from graphdiff.optim.groups import Rate
from graphdiff.typing import Array, Namespace

__all__ = ["AdaDelta", "AdaGrad", "RMSProp", "root_of"]


def root_of(F: Namespace, square: Array, eps: Array | float, inside: bool) -> Array:
    """Return sqrt(square) + ε, or sqrt(square + ε)."""
    return F.sqrt(square + eps) if inside else F.sqrt(square) + eps


class AdaGrad(Rule):
    """AdaGrad (Duchi, Hazan and Singer, 2011): r ← r + g², θ ← θ - lr·g / (sqrt(r) + ε).

    Parameters
    ----------
    parameters : iterable of Variable or of dict
    lr : float or Schedule
    lr_decay : float
        The rate of step t, from 0, is lr / (1 + lr_decay·t).
    initial : float
        The value from which r grows.
    eps, eps_inside_sqrt, weight_decay, clip_norm, clip_value
        As for `RMSProp`.

    Examples
    --------
    >>> import graphdiff as gd
    >>> w = gd.variable([1.0, -2.0])
    >>> gd.optim.AdaGrad([w], lr=0.1).minimize(gd.sum(w * w))
    >>> [round(x, 6) for x in w.tolist()]
    [0.9, -1.9]
    """

    states = 1
    rate: Rate = setting(default=1e-2, alias="lr")
    lr_decay: float = setting(default=0.0)
    initial: float = setting(default=0.0)
    eps: float = setting(default=1e-10)
    eps_inside_sqrt: bool = False
    weight_decay: float = 0.0

    def rule(
        self, F: Namespace, value: Array, gradient: Array, state: tuple[Array, ...], steps: Array, lr: Array
    ) -> tuple[Array, ...]:
        total = state[0] + gradient * gradient
        if self.initial:
            total = total + F.astype(F.astype(steps == 1, "float64") * self.initial, value.dtype)
        rate = F.astype(lr / (1 + (steps - 1) * self.lr_decay), value.dtype)
        return value - rate * (gradient / root_of(F, total, self.eps, self.eps_inside_sqrt)), total


class AdaDelta(Rule):
    """AdaDelta (Zeiler, 2012): steps as large as past steps were, by the size of past gradients.

    E[g²] ← ρ·E[g²] + (1 - ρ)·g², Δ = sqrt(E[Δ²] + ε) / sqrt(E[g²] + ε)·g, E[Δ²] ← ρ·E[Δ²] + (1 - ρ)·Δ²,
    θ ← θ - lr·Δ.

    Parameters
    ----------
    parameters : iterable of Variable or of dict
    lr : float or Schedule
        1 in the paper.
    rho : float
    eps : float
    weight_decay, clip_norm, clip_value : float
        As for every optimiser.

    Examples
    --------
    >>> import graphdiff as gd
    >>> w = gd.variable([1.0, -2.0])
    >>> gd.optim.AdaDelta([w]).minimize(gd.sum(w * w))
    >>> [round(x, 4) for x in w.tolist()]
    [0.9968, -1.9968]
    """

    states = 2
    rate: Rate = setting(default=1.0, alias="lr")
    rho: float = setting(default=0.9, below=1)
    eps: float = setting(default=1e-6, above=0)
    weight_decay: float = 0.0

    def rule(
        self, F: Namespace, value: Array, gradient: Array, state: tuple[Array, ...], steps: Array, lr: Array
    ) -> tuple[Array, ...]:
        square = self.rho * state[0] + (1 - self.rho) * (gradient * gradient)
        change = F.sqrt(state[1] + self.eps) / F.sqrt(square + self.eps) * gradient
        changes = self.rho * state[1] + (1 - self.rho) * (change * change)
        return value - F.astype(lr, value.dtype) * change, square, changes


class RMSProp(Rule):
    """RMSProp (Tieleman and Hinton, 2012): r ← ρ·r + (1 - ρ)·g², θ ← θ - lr·g / (sqrt(r) + ε).

    Parameters
    ----------
    parameters : iterable of Variable or of dict
    lr : float or Schedule
    rho : float
        PyTorch's `alpha`.
    eps : float
    momentum : float or Schedule
        v ← momentum·v + g / (sqrt(r) + ε), θ ← θ - lr·v.
    centered : bool
        Divide by the standard deviation instead: r less the square of the mean gradient (Graves, 2013).
    eps_inside_sqrt : bool
        Divide by sqrt(r + ε).
    weight_decay, clip_norm, clip_value : float
        As for every optimiser.

    Examples
    --------
    >>> import graphdiff as gd
    >>> w = gd.variable([1.0, -2.0])
    >>> gd.optim.RMSProp([w], lr=0.01).minimize(gd.sum(w * w))
    >>> [round(x, 6) for x in w.tolist()]
    [0.9, -1.9]
    """

    rate: Rate = setting(default=1e-2, alias="lr")
    rho: float = setting(default=0.99, below=1)
    eps: float = setting(default=1e-8)
    momentum: Rate = setting(default=0.0)
    centered: bool = False
    eps_inside_sqrt: bool = False
    weight_decay: float = 0.0

    @property
    def states(self) -> int:  # type: ignore[override]
        """The mean square, with `centered` the mean, with momentum the velocity."""
        return 1 + bool(self.centered) + bool(self.momentum)

    def rule(
        self, F: Namespace, value: Array, gradient: Array, state: tuple[Array, ...], steps: Array, lr: Array
    ) -> tuple[Array, ...]:
        rate = F.astype(lr, value.dtype)
        square = self.rho * state[0] + (1 - self.rho) * (gradient * gradient)
        kept = [square]
        spread = square
        if self.centered:
            mean = self.rho * state[1] + (1 - self.rho) * gradient
            kept.append(mean)
            spread = F.maximum(square - mean * mean, 0.0)
        along = gradient / root_of(F, spread, self.eps, self.eps_inside_sqrt)
        if self.momentum:
            along = self.at(F, "momentum", steps, value) * state[-1] + along
            kept.append(along)
        return value - rate * along, *kept
