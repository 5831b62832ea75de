"""Minibatches and the fit loop."""

from graphdiff.train.fit import fit
from graphdiff.train.minibatches import minibatches

__all__ = ["fit", "minibatches"]
