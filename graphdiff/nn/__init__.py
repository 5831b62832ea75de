"""Layers, losses and initialisers."""

from __future__ import annotations

from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from graphdiff.draw.drawing import Drawing
    from graphdiff.draw.options import Example, Options

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


def _drawing(module: Module, options: Options, example: Example) -> Drawing:
    """Return the drawing of a module's layers, for `graphdiff.draw`."""
    from graphdiff.nn.drawing import draw_layers  # which knows all kinds of layers

    return draw_layers(module, options, example)


Module.__graphdiff_draw__ = _drawing  # type: ignore[method-assign,assignment]


def __dir__() -> list[str]:
    return sorted(__all__)
