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
from graphdiff.nn.losses import (
    absolute_error,
    accuracy,
    binary_cross_entropy,
    hinge,
    huber,
    kl_divergence,
    l1_penalty,
    l2_penalty,
    softmax_cross_entropy,
    squared_error,
)
from graphdiff.nn.regularize import BatchNorm, Dropout, LayerNorm
from graphdiff.nn.report import Table, statistics, summary

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
    "Table",
    "absolute_error",
    "accuracy",
    "binary_cross_entropy",
    "hinge",
    "huber",
    "init",
    "kl_divergence",
    "l1_penalty",
    "l2_penalty",
    "softmax_cross_entropy",
    "squared_error",
    "statistics",
    "summary",
]
