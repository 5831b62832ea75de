"""Layers, losses and initialisers."""

from graphdiff.nn import init
from graphdiff.nn.layers import MLP, Activation, Linear, Module, Sequential
from graphdiff.nn.losses import accuracy, softmax_cross_entropy, squared_error

__all__ = [
    "MLP",
    "Activation",
    "Linear",
    "Module",
    "Sequential",
    "accuracy",
    "init",
    "softmax_cross_entropy",
    "squared_error",
]
