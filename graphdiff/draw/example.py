"""What a model is drawn for: an input that is not known, or examples with their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphdiff.draw.options import Options
from graphdiff.errors import GraphError
from graphdiff.tensor import Tensor

__all__ = ["Example", "drawn_by_itself", "tensors_of"]


@dataclass(frozen=True)
class Example:
    """What a model is drawn for.

    Attributes
    ----------
    input_shape : int, sequence of int, or a sequence or dict of them, optional
        Of one example, whose values are not known; of several inputs the shape of each.
    inputs : array-like, tuple or dict of arrays, optional
        Examples, with their values.
    loss : callable, optional
        Called with the model's output for the inputs; what it returns is drawn too.

    Raises
    ------
    GraphError
        Two that exclude each other, or a loss of an output that has no value.
    """

    input_shape: int | Sequence[Any] | Mapping[str, Any] | None = None
    inputs: Any = None
    loss: Callable[[Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        if self.inputs is not None and self.input_shape is not None:
            raise GraphError("inputs have a shape: give inputs=… or input_shape=…, not both")
        if self.loss is not None and self.inputs is None:
            raise GraphError("a loss is of an output with values: give inputs=… too")

    def __bool__(self) -> bool:
        return self.inputs is not None or self.input_shape is not None


def drawn_by_itself(outputs: Any, options: Options, example: Example) -> Any:
    """Return the drawing of what knows how it is drawn, as models do; None of what a graph is made of.

    Modules of layers lie above those of drawing, which know of graphs only: a model has a method for this.

    Raises
    ------
    GraphError
        An example for what is no model.
    """
    draw = getattr(type(outputs), "__graphdiff_draw__", None)
    if draw is None and example:
        raise GraphError("input_shape, inputs and loss are for drawing a model; a graph has its shapes and values")
    return None if draw is None else draw(outputs, options, example)


def tensors_of(outputs: Any, example: Example) -> Any:
    """Return the Tensors to show: of a model its output for the example, or the loss of it."""
    drawing = drawn_by_itself(outputs, Options(), example)
    return outputs if drawing is None else drawing.outputs
