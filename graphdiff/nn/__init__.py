"""Layers, losses and initialisers."""

from graphdiff.nn import init
from graphdiff.nn.containers import MLP, Highway, Residual, Sequential
from graphdiff.nn.layers import Activation, Embedding, Flatten, Linear, Maxout, PReLU
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
from graphdiff.nn.module import Module
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


def __dir__() -> list[str]:
    return sorted(__all__)
