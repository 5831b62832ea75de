"""Optimisers: how parameters follow their gradients."""

from graphdiff.optim.optimizers import SGD, Adam, Optimizer

__all__ = ["SGD", "Adam", "Optimizer"]
