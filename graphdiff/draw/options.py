"""What can be asked of a drawing, checked; and what a model is drawn for: a shape, or examples with their values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

from graphdiff.draw.drawing import Drawable, Drawing
from graphdiff.errors import GraphError
from graphdiff.graph import Graph
from graphdiff.host import is_integer
from graphdiff.tensor import Tensor
from graphdiff.typing import ArrayLike, Function, Tree

__all__ = ["COLOURS", "LABELS", "Example", "InputShape", "Inputs", "Options", "drawn_by_itself", "tensors_of"]

InputShape: TypeAlias = "int | Sequence[InputShape] | Mapping[str, InputShape]"
Inputs: TypeAlias = "ArrayLike | Mapping[str, ArrayLike]"

LABELS = ("op", "name", "expression", "shape", "dtype", "value", "adjoint", "tangent", "flops", "bytes", "time")
COLOURS = ("gradient", "flops", "bytes", "time")
_CHOICES: dict[str, tuple[str | None, ...]] = {
    "mode": (None, "forward", "reverse", "both"),
    "backward": (None, "joined", "beside"),
    "colour": (None, *COLOURS),
    "rankdir": ("LR", "BT", "TB", "RL"),
}


@dataclass(frozen=True)
class Options:
    """The options of `graphdiff.draw`, where each is described.

    Raises
    ------
    GraphError
        No such choice, or two that exclude each other.
    """

    mode: str | None = None
    wrt: Tensor | None = None
    seed: ArrayLike | None = None
    labels: Sequence[str] | None = None
    adjoints: bool | None = None
    local: bool | None = None
    backward: str | None = None
    collapse: bool | int | str | Iterable[str] = False
    expand: bool | str | Iterable[str] = False
    colour: str | None = None
    max_nodes: int | None = 1000
    digits: int = 4
    rankdir: str = "LR"
    simplify: bool = False

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            given = getattr(self, name)
            if given not in known:
                raise GraphError(f"{name} is {_listed(known)}, not {given!r}")
        if isinstance(self.labels, str):
            raise GraphError(f"labels is a list, such as [{self.labels!r}], not the text {self.labels!r}")
        for label in self.labels or ():
            if label not in LABELS:
                raise GraphError(f"labels are of {_listed(LABELS)}, not {label!r}")
        if self.max_nodes is not None and (not is_integer(self.max_nodes) or self.max_nodes < 1):
            raise GraphError(f"max_nodes is at least 1, or None for all nodes; not {self.max_nodes}")
        if self.digits < 1:
            raise GraphError(f"digits is at least 1, not {self.digits}")
        if self.seed is not None and self.mode not in ("forward", "reverse"):
            raise GraphError("a seed is drawn with mode='forward' or mode='reverse'")

    def asks(self, label: str) -> bool:
        """Whether a label of this kind was asked for by name."""
        return self.labels is not None and label in self.labels

    @property
    def tangents(self) -> bool:
        """Whether tangents are drawn."""
        return self.mode in ("forward", "both") or self.asks("tangent")

    @property
    def adjoint_graph(self) -> bool:
        """Whether adjoints are needed, whatever has been differentiated before."""
        reverse = self.mode in ("reverse", "both") or self.backward is not None
        return reverse or self.asks("adjoint") or self.colour == "gradient"

    @property
    def on_edges(self) -> bool:
        """Whether local derivatives stand on the edges."""
        return self.mode is not None if self.local is None else self.local


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

    input_shape: InputShape | None = None
    inputs: Inputs | None = None
    loss: Callable[[Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        if self.inputs is not None and self.input_shape is not None:
            raise GraphError("inputs have a shape: give inputs=… or input_shape=…, not both")
        if self.loss is not None and self.inputs is None:
            raise GraphError("a loss is of an output with values: give inputs=… too")

    def __bool__(self) -> bool:
        return self.inputs is not None or self.input_shape is not None


def drawn_by_itself(outputs: Drawable, options: Options, example: Example) -> Drawing | None:
    """Return the drawing of what knows how it is drawn, as models do; None of what a graph is made of.

    Modules of layers lie above those of drawing, which know of graphs only: a model has a method for this.

    Raises
    ------
    GraphError
        An example for what is no model.
    """
    draw: Function[Drawing] | None = getattr(type(outputs), "__graphdiff_draw__", None)
    if draw is None and example:
        raise GraphError("input_shape, inputs and loss are for drawing a model; a graph has its shapes and values")
    return None if draw is None else draw(outputs, options, example)


def tensors_of(outputs: Drawable, example: Example) -> Tree[Tensor] | Graph:
    """Return the Tensors to show: of a model its output for the example, or the loss of it."""
    drawing = drawn_by_itself(outputs, Options(), example)
    return cast("Tree[Tensor] | Graph", outputs) if drawing is None else drawing.outputs


def _listed(known: Iterable[str | None]) -> str:
    return ", ".join(repr(each) for each in known if each is not None)
