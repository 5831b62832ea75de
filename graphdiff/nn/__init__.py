"""Layers, losses and initialisers."""

from graphdiff.nn import init
from graphdiff.nn.layers import (
    MLP,
    Activation,
    Embedding,
    Flatten,
    Highway,
    Linear,
    Maxout,
    Module,
    PReLU,
    Residual,
    Sequential,
)
from graphdiff.nn.losses import accuracy, softmax_cross_entropy, squared_error
from graphdiff.nn.regularize import BatchNorm, Dropout, LayerNorm

__all__ = [
    "MLP",
    "Activation",
    "BatchNorm",
    "Dropout",
    "Embedding",
    "Flatten",
    "Highway",
    "LayerNorm",
    "Linear",
    "Maxout",
    "Module",
    "PReLU",
    "Residual",
    "Sequential",
    "accuracy",
    "init",
    "softmax_cross_entropy",
    "squared_error",
]
