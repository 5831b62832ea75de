"""What a model tells of its inputs before it is called, and how it is called with several."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TypeAlias, TypeVar, cast

from graphdiff import host
from graphdiff.errors import OpError, ShapeError
from graphdiff.nn.containers import Sequential
from graphdiff.nn.layers import Embedding
from graphdiff.nn.module import Module
from graphdiff.tensor import Tensor, Variable, placeholder
from graphdiff.typing import ArrayLike, DTypeLike, Function

__all__ = [
    "Inputs",
    "Names",
    "Shapes",
    "call_with",
    "input_dtype",
    "input_width",
    "layers_of",
    "placeholders",
    "require_callable",
    "shapes_of",
    "signature_of",
    "split_inputs",
]

Names = tuple[str, ...] | None
"""By which names a model is given its inputs; None: by place."""
Shapes: TypeAlias = "int | Sequence[Shapes] | Mapping[str, Shapes]"
"""The shape of one example, or of each of several inputs: a sequence of shapes, or a dict of them by name."""
Inputs: TypeAlias = "ArrayLike | Mapping[str, ArrayLike]"
"""The array that a model is given, or several: a tuple of them, or a dict of them by name."""
Made = TypeVar("Made")


def split_inputs(given: Inputs) -> tuple[tuple[ArrayLike, ...], Names]:
    """Return the arrays that a model is called with: one, those of a tuple, or those of a dict by name."""
    if isinstance(given, Mapping):
        return tuple(given.values()), tuple(map(str, given))
    if isinstance(given, tuple) and given and all(hasattr(array, "shape") for array in given):
        return given, None
    return (given,), None


def call_with(model: Function[Made], inputs: Sequence[object], names: Names) -> Made:
    """Return what a model makes of inputs."""
    return model(*inputs) if names is None else model(**dict(zip(names, inputs, strict=True)))


def signature_of(function: Function[object]) -> inspect.Signature | None:
    """Return how a function is called, or None: one of C tells nothing of its arguments."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def require_callable(model: Function[object], count: int, names: Names, mend: str = "") -> None:
    """Refuse a model that takes other inputs than so many, of these names."""
    signature = signature_of(getattr(model, "forward", model))
    if signature is None:
        return
    try:
        call_with(signature.bind, [None] * count, names)
    except TypeError as error:
        told = "one array" if count == 1 else f"{count} arrays"
        if names is not None:
            told += f" named {', '.join(names)}"
        kind = type(model).__name__
        raise OpError(f"X is {told}, and {kind} is called as {kind}{signature}: {error}{mend}") from error


def shapes_of(given: Shapes) -> tuple[list[tuple[int, ...]], Names]:
    """Return the shapes of one example of each input, and the inputs' names where they have any."""
    if isinstance(given, Mapping):
        return [_shape(shape) for shape in given.values()], tuple(map(str, given))
    if isinstance(given, Sequence) and any(isinstance(shape, Sequence) for shape in given):
        return [_shape(shape) for shape in given], None
    return [_shape(given)], None


def _shape(given: Shapes) -> tuple[int, ...]:
    lengths = tuple(given) if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
    if any(not host.is_integer(length) or cast(int, length) < 0 for length in lengths):
        raise ShapeError(f"the shape of an example is non-negative integers, not {given!r}")
    return tuple(int(cast(int, length)) for length in lengths)


def placeholders(
    shapes: Sequence[tuple[int, ...]],
    names: Names,
    rows: int,
    dtype: DTypeLike | Sequence[DTypeLike],
    single: str = "x",
) -> list[Tensor]:
    """Return a placeholder for each input, of so many rows; `dtype` is of all of them, or a sequence with one for each.

    One input alone is called `single`.
    """
    each = list(dtype) if isinstance(dtype, (list, tuple)) else [dtype] * len(shapes)
    if len(each) != len(shapes):
        raise ShapeError(f"there are {len(shapes)} inputs, and {len(each)} dtypes for them")
    called = names or ([single] if len(shapes) == 1 else [f"{single}{place}" for place in range(len(shapes))])
    return [
        placeholder((rows, *shape), kind, name=name) for shape, kind, name in zip(shapes, each, called, strict=True)
    ]


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
