"""What a model tells of its input before it is called."""

from __future__ import annotations

from collections.abc import Sequence

from graphdiff.nn.containers import Sequential
from graphdiff.nn.layers import Embedding
from graphdiff.nn.module import Module
from graphdiff.tensor import Variable

__all__ = ["input_dtype", "input_width", "layers_of"]


def layers_of(model: Module) -> list[Module]:
    """Return the modules within that are no mere sequences, in order of definition."""
    return [module for module in model.modules() if not isinstance(module, Sequential)]


def input_dtype(layers: Sequence[Module]) -> str:
    """Return the dtype of what the first layer takes."""
    if layers and isinstance(layers[0], Embedding):
        return "int64"
    variables = [leaf for module in layers for leaf in vars(module).values() if isinstance(leaf, Variable)]
    return str(variables[0].dtype) if variables else "float32"


def input_width(layers: Sequence[Module]) -> int | None:
    """Return how many features the first layer takes that has a number of them; None where it infers it later."""
    for layer in layers:
        for name in ("in_features", "width", "features"):
            if hasattr(layer, name):
                width: int | None = getattr(layer, name)
                return width
    return None
