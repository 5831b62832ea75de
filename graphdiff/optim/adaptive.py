"""Rules with a rate for every component, from the size of its past gradients: from AdaGrad to Adam and LAMB."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphdiff.optim.optimizers import Optimizer, Parameters, Rate, require

__all__ = ["LAMB", "AdaDelta", "AdaGrad", "Adam", "AdamW", "NAdam", "RMSProp"]


def _root(F: Any, square: Any, eps: Any, inside: bool) -> Any:
    """Return sqrt(square) + ε, or sqrt(square + ε)."""
    return F.sqrt(square + eps) if inside else F.sqrt(square) + eps


class AdaGrad(Optimizer):
    """AdaGrad (Duchi, Hazan and Singer, 2011): r ← r + g², θ ← θ - lr·g / (sqrt(r) + ε).

    Parameters
    ----------
    parameters : iterable of Variable or of dict
    lr : float or Schedule
    lr_decay : float
        The rate of step t, from 0, is lr / (1 + lr_decay·t).
    initial : float
        The value from which r grows.
    eps : float
    eps_inside_sqrt : bool
        Divide by sqrt(r + ε).
    weight_decay, clip_norm, clip_value : float
        As for every optimiser.

    Examples
    --------
    >>> import graphdiff as gd
    >>> w = gd.variable([1.0, -2.0])
    >>> gd.optim.AdaGrad([w], lr=0.1).minimize(gd.sum(w * w))
    >>> [round(x, 6) for x in w.tolist()]
    [0.9, -1.9]
    """

    states = 1
    lr_decay: float
    initial: float
    eps: float
    eps_inside_sqrt: bool

    def __init__(
        self,
        parameters: Parameters,
        lr: Rate = 1e-2,
        lr_decay: float = 0.0,
        initial: float = 0.0,
        eps: float = 1e-10,
        eps_inside_sqrt: bool = False,
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(
            parameters,
            lr,
            weight_decay=weight_decay,
            clip_norm=clip_norm,
            clip_value=clip_value,
            lr_decay=lr_decay,
            initial=initial,
            eps=eps,
            eps_inside_sqrt=eps_inside_sqrt,
        )

    @classmethod
    def check(cls, settings: Mapping[str, Any]) -> None:
        for name in ("lr_decay", "initial", "eps"):
            require(name, settings[name])

    def rule(self, F: Any, value: Any, gradient: Any, state: tuple[Any, ...], steps: Any, lr: Any) -> tuple[Any, ...]:
        total = state[0] + gradient * gradient
        if self.initial:
            total = total + F.astype(F.astype(steps == 1, "float64") * self.initial, value.dtype)
        rate = F.astype(lr / (1 + (steps - 1) * self.lr_decay), value.dtype)
        return value - rate * (gradient / _root(F, total, self.eps, self.eps_inside_sqrt)), total


class AdaDelta(Optimizer):
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
    rho: float
    eps: float

    def __init__(
        self,
        parameters: Parameters,
        lr: Rate = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(
            parameters, lr, weight_decay=weight_decay, clip_norm=clip_norm, clip_value=clip_value, rho=rho, eps=eps
        )

    @classmethod
    def check(cls, settings: Mapping[str, Any]) -> None:
        require("rho", settings["rho"], below=1)
        require("eps", settings["eps"], above=0)

    def rule(self, F: Any, value: Any, gradient: Any, state: tuple[Any, ...], steps: Any, lr: Any) -> tuple[Any, ...]:
        square = self.rho * state[0] + (1 - self.rho) * (gradient * gradient)
        change = F.sqrt(state[1] + self.eps) / F.sqrt(square + self.eps) * gradient
        changes = self.rho * state[1] + (1 - self.rho) * (change * change)
        return value - F.astype(lr, value.dtype) * change, square, changes


class RMSProp(Optimizer):
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

    rho: float
    eps: float
    momentum: Rate
    centered: bool
    eps_inside_sqrt: bool

    def __init__(
        self,
        parameters: Parameters,
        lr: Rate = 1e-2,
        rho: float = 0.99,
        eps: float = 1e-8,
        momentum: Rate = 0.0,
        centered: bool = False,
        eps_inside_sqrt: bool = False,
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(
            parameters,
            lr,
            weight_decay=weight_decay,
            clip_norm=clip_norm,
            clip_value=clip_value,
            rho=rho,
            eps=eps,
            momentum=momentum,
            centered=centered,
            eps_inside_sqrt=eps_inside_sqrt,
        )

    @classmethod
    def check(cls, settings: Mapping[str, Any]) -> None:
        require("rho", settings["rho"], below=1)
        require("eps", settings["eps"])
        require("momentum", settings["momentum"])

    @property
    def states(self) -> int:  # type: ignore[override]
        """The mean square, with `centered` the mean, with momentum the velocity."""
        return 1 + bool(self.centered) + bool(self.momentum)

    def rule(self, F: Any, value: Any, gradient: Any, state: tuple[Any, ...], steps: Any, lr: Any) -> tuple[Any, ...]:
        rate = F.astype(lr, value.dtype)
        square = self.rho * state[0] + (1 - self.rho) * (gradient * gradient)
        kept = [square]
        spread = square
        if self.centered:
            mean = self.rho * state[1] + (1 - self.rho) * gradient
            kept.append(mean)
            spread = F.maximum(square - mean * mean, 0.0)
        along = gradient / _root(F, spread, self.eps, self.eps_inside_sqrt)
        if self.momentum:
            along = self.at(F, "momentum", steps, value) * state[-1] + along
            kept.append(along)
        return value - rate * along, *kept


class Adam(Optimizer):
    """Adam with bias correction (Kingma and Ba, 2015): θ ← θ - lr·m̂ / (sqrt(v̂) + ε).

    Parameters
    ----------
    parameters : iterable of Variable or of dict
    lr : float or Schedule
        Learning rate.
    betas : (float, float)
        Decay of the means of the gradient and of its square.
    eps : float
    eps_inside_sqrt : bool
        Divide by sqrt(v̂ + ε).
    weight_decay, clip_norm, clip_value : float
        As for every optimiser.

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

    states = 2
    betas: tuple[float, float]
    eps: float
    eps_inside_sqrt: bool

    def __init__(
        self,
        parameters: Parameters,
        lr: Rate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        eps_inside_sqrt: bool = False,
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(
            parameters,
            lr,
            weight_decay=weight_decay,
            clip_norm=clip_norm,
            clip_value=clip_value,
            betas=betas,
            eps=eps,
            eps_inside_sqrt=eps_inside_sqrt,
        )

    @classmethod
    def check(cls, settings: Mapping[str, Any]) -> None:
        require("eps", settings["eps"])
        for beta in settings["betas"]:
            require("a beta", beta, below=1)

    def means(self, F: Any, gradient: Any, state: tuple[Any, ...], steps: Any) -> tuple[Any, Any, Any, Any]:
        """Return the new means and what m̂ / (sqrt(v̂) + ε) is: a 0-d float64 factor and a flat array."""
        first, second = self.betas
        mean = first * state[0] + gradient
        square = second * state[1] + gradient * gradient
        # All factors that are the same for every parameter are drawn into two numbers.
        root = F.sqrt((1 - second**steps) / (1 - second))
        factor = (1 - first) * root / (1 - first**steps)
        epsilon = F.astype(self.eps * (root * root if self.eps_inside_sqrt else root), gradient.dtype)
        return mean, square, factor, mean / _root(F, square, epsilon, self.eps_inside_sqrt)

    def rule(self, F: Any, value: Any, gradient: Any, state: tuple[Any, ...], steps: Any, lr: Any) -> tuple[Any, ...]:
        mean, square, factor, along = self.means(F, gradient, state, steps)
        return value - F.astype(lr * factor, value.dtype) * along, mean, square


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019): θ ← (1 - lr·weight_decay)·θ before the step.

    Parameters
    ----------
    parameters, lr, betas, eps, eps_inside_sqrt, clip_norm, clip_value
        As for Adam.
    weight_decay : float

    Examples
    --------
    >>> import graphdiff as gd
    >>> w = gd.variable([1.0, -2.0])
    >>> gd.optim.AdamW([w], lr=0.1, weight_decay=0.5).minimize(gd.sum(w * w))
    >>> [round(x, 6) for x in w.tolist()]
    [0.85, -1.8]
    """

    decays_itself = True

    def __init__(
        self,
        parameters: Parameters,
        lr: Rate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        eps_inside_sqrt: bool = False,
        weight_decay: float = 1e-2,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(
            parameters, lr, betas, eps, eps_inside_sqrt, weight_decay, clip_norm=clip_norm, clip_value=clip_value
        )

    def rule(self, F: Any, value: Any, gradient: Any, state: tuple[Any, ...], steps: Any, lr: Any) -> tuple[Any, ...]:
        shrunk = F.astype(1 - lr * self.weight_decay, value.dtype) * value if self.weight_decay else value
        return super().rule(F, shrunk, gradient, state, steps, lr)


class NAdam(Adam):
    """Adam with Nesterov's momentum (Dozat, 2016), as PyTorch has it.

    With μₜ = β₁·(1 - 0.96^(t·momentum_decay) / 2), the mean of the gradient is replaced by
    μₜ₊₁·m / (1 - μ₁⋯μₜ₊₁) + (1 - μₜ)·g / (1 - μ₁⋯μₜ).

    Parameters
    ----------
    parameters, lr, betas, eps, eps_inside_sqrt, weight_decay, clip_norm, clip_value
        As for Adam.
    momentum_decay : float

    Examples
    --------
    >>> import graphdiff as gd
    >>> w = gd.variable([1.0, -2.0])
    >>> gd.optim.NAdam([w], lr=0.1).minimize(gd.sum(w * w))
    >>> [round(x, 3) for x in w.tolist()]
    [0.894, -1.894]
    """

    numbers = 1
    momentum_decay: float

    def __init__(
        self,
        parameters: Parameters,
        lr: Rate = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        eps_inside_sqrt: bool = False,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        Optimizer.__init__(  # Adam's own takes no setting besides Adam's
            self,
            parameters,
            lr,
            weight_decay=weight_decay,
            clip_norm=clip_norm,
            clip_value=clip_value,
            betas=betas,
            eps=eps,
            eps_inside_sqrt=eps_inside_sqrt,
            momentum_decay=momentum_decay,
        )

    @classmethod
    def check(cls, settings: Mapping[str, Any]) -> None:
        super().check(settings)
        require("momentum_decay", settings["momentum_decay"])

    def rule(self, F: Any, value: Any, gradient: Any, state: tuple[Any, ...], steps: Any, lr: Any) -> tuple[Any, ...]:
        first, second = self.betas
        mean = first * state[0] + (1 - first) * gradient
        square = second * state[1] + (1 - second) * (gradient * gradient)
        now = first * (1 - 0.5 * 0.96 ** (steps * self.momentum_decay))
        following = first * (1 - 0.5 * 0.96 ** ((steps + 1) * self.momentum_decay))
        product = F.where(steps == 1, 1.0, state[2]) * now
        scaled = square / F.astype(1 - second**steps, value.dtype)
        of_gradient = F.astype(lr * (1 - now) / (1 - product), value.dtype)
        of_mean = F.astype(lr * following / (1 - product * following), value.dtype)
        root = _root(F, scaled, self.eps, self.eps_inside_sqrt)
        return value - (of_gradient * gradient + of_mean * mean) / root, mean, square, product


class LAMB(Adam):
    """Adam's direction, with steps in proportion to each parameter's own norm (You et al., 2020).

    r = m̂ / (sqrt(v̂) + ε) + weight_decay·θ, and for every parameter θ ← θ - lr·min(‖θ‖ / ‖r‖, most)·r; where a norm is
    0 the ratio is 1.

    Parameters
    ----------
    parameters, lr, betas, eps, eps_inside_sqrt, clip_norm, clip_value
        As for Adam.
    weight_decay : float
    most : float
        Where the trust ratio is clipped.

    Examples
    --------
    >>> import graphdiff as gd
    >>> w, b = gd.variable([3.0, 4.0]), gd.variable(0.0)
    >>> gd.optim.LAMB([w, b], lr=0.1).minimize(2 * w[1] + b)
    >>> [round(x, 4) for x in w.tolist()], round(b.item(), 4)
    ([3.0, 3.5], -0.1)
    """

    decays_itself = True
    most: float

    def __init__(
        self,
        parameters: Parameters,
        lr: Rate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        eps_inside_sqrt: bool = False,
        weight_decay: float = 0.0,
        most: float = 10.0,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        Optimizer.__init__(  # Adam's own takes no setting besides Adam's
            self,
            parameters,
            lr,
            weight_decay=weight_decay,
            clip_norm=clip_norm,
            clip_value=clip_value,
            betas=betas,
            eps=eps,
            eps_inside_sqrt=eps_inside_sqrt,
            most=most,
        )

    @classmethod
    def check(cls, settings: Mapping[str, Any]) -> None:
        super().check(settings)
        require("most", settings["most"], above=0)

    def rule(self, F: Any, value: Any, gradient: Any, state: tuple[Any, ...], steps: Any, lr: Any) -> tuple[Any, ...]:
        mean, square, factor, along = self.means(F, gradient, state, steps)
        along = F.astype(factor, value.dtype) * along
        if self.weight_decay:
            along = along + self.weight_decay * value
        sizes, lengths = self.norms(F, value), self.norms(F, along)
        usable = F.logical_and(sizes > 0, lengths > 0)
        one = F.ones_like(sizes)
        ratios = F.where(usable, F.minimum(sizes / F.where(usable, lengths, one), self.most), one)
        return value - self.scaled(F, F.astype(lr, value.dtype) * ratios, along), mean, square
