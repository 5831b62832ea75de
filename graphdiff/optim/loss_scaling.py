"""A factor of the loss that keeps small gradients of float16 from vanishing, found while training."""

from __future__ import annotations

from collections.abc import Sequence

from graphdiff.op import GRAPH, as_tensor
from graphdiff.tensor import Configured, Tensor, Variable, variable
from graphdiff.typing import Array

__all__ = ["LossScaling"]


class LossScaling(Configured):
    """The factor and how it changes; its state is two variables, so that a compiled step changes it by itself.

    P. Micikevicius et al., Mixed precision training, 2018, section 3.2.

    Parameters
    ----------
    start : float
        The first factor.
    growth : float
        The factor is multiplied by this after `interval` sound steps in a row.
    backoff : float
        The factor is multiplied by this after a step whose gradient is not finite.
    interval : int

    Attributes
    ----------
    scale, run : Variable
        The factor, and how many sound steps there were since it last changed; float64 scalars.
    """

    def __init__(self, start: float, growth: float, backoff: float, interval: int) -> None:
        self.growth, self.backoff, self.interval = growth, backoff, interval
        self.scale: Variable = variable(float(start), name="loss scale")
        self.run: Variable = variable(0.0, name="sound steps")

    def scaled(self, loss: Tensor) -> Tensor:
        """Return the loss times the factor."""
        return loss * GRAPH.astype(as_tensor(self.scale), loss.dtype)

    def unscaled(self, gradients: Sequence[Array]) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return gradients of the loss itself, and whether they are all finite."""
        found = [as_tensor(gradient) for gradient in gradients]
        finite = [GRAPH.all(GRAPH.isfinite(gradient)) for gradient in found]
        sound = finite[0]
        for other in finite[1:]:
            sound = GRAPH.logical_and(sound, other)
        inverse = 1.0 / as_tensor(self.scale)
        return tuple(gradient * GRAPH.astype(inverse, gradient.dtype) for gradient in found), sound

    def follow(self, sound: Tensor) -> None:
        """Change the factor after a step."""
        self.use_settings()
        scale, run = as_tensor(self.scale), as_tensor(self.run) + 1.0
        grows = run >= float(self.interval)
        reduced = GRAPH.maximum(scale * self.backoff, 1.0)  # a gradient that is never finite must not end at zero
        self.scale.assign(GRAPH.where(sound, GRAPH.where(grows, scale * self.growth, scale), reduced))
        self.run.assign(GRAPH.where(GRAPH.logical_and(sound, GRAPH.logical_not(grows)), run, 0.0))
