"""Adam and its kin: steps along the mean of the gradient, by the root of the mean of its square."""

from __future__ import annotations

from graphdiff.optim.adaptive import root_of
from graphdiff.optim.fields import Rule, setting
from graphdiff.optim.groups import Rate, require, require_pair
from graphdiff.typing import Array, Attributes, Namespace

__all__ = ["LAMB", "Adam", "AdamW", "NAdam"]


class Moments(Rule):
    """What Adam and its kin share: the means of the gradient and of its square, their decay and ε."""

    states = 2
    rate: Rate = setting(default=1e-3, alias="lr")
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = setting(default=1e-8)
    eps_inside_sqrt: bool = False
    weight_decay: float = 0.0

    @classmethod
    def check(cls, settings: Attributes) -> None:
        for beta in require_pair("betas", settings["betas"]):
            require("a beta", beta, below=1)

    def means(
        self, F: Namespace, gradient: Array, state: tuple[Array, ...], steps: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Return the new means and what m̂ / (sqrt(v̂) + ε) is: a 0-d float64 factor and a flat array.

        The means are kept divided by 1 - β₁ and 1 - β₂, which saves two passes over all parameters; the factor makes
        up for it.
        """
        first, second = self.betas
        mean = first * state[0] + gradient
        square = second * state[1] + gradient * gradient
        # All factors that are the same for every parameter are drawn into two numbers.
        root = F.sqrt((1 - second**steps) / (1 - second))
        factor = (1 - first) * root / (1 - first**steps)
        epsilon = F.astype(self.eps * (root * root if self.eps_inside_sqrt else root), gradient.dtype)
        return mean, square, factor, mean / root_of(F, square, epsilon, self.eps_inside_sqrt)


class Adam(Moments):
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

    Examples
    --------
    >>> import graphdiff as gd
    >>> w = gd.variable([1.0, -2.0])
    >>> gd.optim.Adam([w], lr=0.1).minimize(gd.sum(w * w))
    >>> [round(x, 6) for x in w.tolist()]
    [0.9, -1.9]
    """

    def rule(
        self, F: Namespace, value: Array, gradient: Array, state: tuple[Array, ...], steps: Array, lr: Array
    ) -> tuple[Array, ...]:
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
    weight_decay: float = 1e-2

    def rule(
        self, F: Namespace, value: Array, gradient: Array, state: tuple[Array, ...], steps: Array, lr: Array
    ) -> tuple[Array, ...]:
        shrunk = F.astype(1 - lr * self.weight_decay, value.dtype) * value if self.weight_decay else value
        return super().rule(F, shrunk, gradient, state, steps, lr)


class NAdam(Moments):
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
    rate: Rate = setting(default=2e-3, alias="lr")
    momentum_decay: float = setting(default=4e-3)

    def rule(
        self, F: Namespace, value: Array, gradient: Array, state: tuple[Array, ...], steps: Array, lr: Array
    ) -> tuple[Array, ...]:
        first, second = self.betas
        mean = first * state[0] + (1 - first) * gradient
        square = second * state[1] + (1 - second) * (gradient * gradient)
        now = first * (1 - 0.5 * 0.96 ** (steps * self.momentum_decay))
        following = first * (1 - 0.5 * 0.96 ** ((steps + 1) * self.momentum_decay))
        product = F.where(steps == 1, 1.0, state[2]) * now
        scaled = square / F.astype(1 - second**steps, value.dtype)
        of_gradient = F.astype(lr * (1 - now) / (1 - product), value.dtype)
        of_mean = F.astype(lr * following / (1 - product * following), value.dtype)
        root = root_of(F, scaled, self.eps, self.eps_inside_sqrt)
        return value - (of_gradient * gradient + of_mean * mean) / root, mean, square, product


class LAMB(Moments):
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
    eps: float = setting(default=1e-6)
    most: float = setting(default=10.0, above=0)

    def rule(
        self, F: Namespace, value: Array, gradient: Array, state: tuple[Array, ...], steps: Array, lr: Array
    ) -> tuple[Array, ...]:
        mean, square, factor, along = self.means(F, gradient, state, steps)
        along = F.astype(factor, value.dtype) * along
        if self.weight_decay:
            along = along + self.weight_decay * value
        sizes, lengths = self.norms(F, value), self.norms(F, along)
        usable = F.logical_and(sizes > 0, lengths > 0)
        one = F.ones_like(sizes)
        ratios = F.where(usable, F.minimum(sizes / F.where(usable, lengths, one), self.most), one)
        return value - self.scaled(F, F.astype(lr, value.dtype) * ratios, along), mean, square
