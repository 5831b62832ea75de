"""What a program is lowered to: loops over elements, matrix products, and calls of the ops' own kernels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from graphdiff.plan.lowering.views import Shape, View
from graphdiff.plan.program import Tensor

__all__ = ["Check", "Copied", "Fallback", "Output", "Product", "Step", "Unit"]


@dataclass(frozen=True)
class Copied:
    """A value that is read from given memory, whatever computes it."""

    node: Tensor
    source: View


@dataclass(frozen=True)
class Output:
    """Where a value is stored, and how it is cast before: "" for not at all."""

    node: Tensor | Copied
    view: View
    cast: str = ""


@dataclass(eq=False)
class Unit:
    """One loop: over the elements of results of one shape, or over those of a reduction.

    Attributes
    ----------
    shape : tuple of int
        Of the results.
    outputs : list of Output
    reduced : Tensor or None
        The node that is a reduction; then it is the only one.
    members : set of Tensor
        What is computed element by element, stored or not.
    reads : list of View
        Memory that it reads.
    chunk : int
        Where one result is put together of several by a second unit: how many values each of those has; else 0.
    partials : View or None
        What a second unit puts together.
    """

    shape: Shape
    outputs: list[Output] = field(default_factory=list)
    reduced: Tensor | None = None
    members: set[Tensor] = field(default_factory=set)
    reads: list[View] = field(default_factory=list)
    chunk: int = 0
    partials: View | None = None

    @property
    def size(self) -> int:
        """Number of results."""
        return math.prod(self.shape)

    @property
    def inner(self) -> int:
        """How many values each result is made of."""
        if self.reduced is None:
            return 1
        if self.chunk or self.partials is not None:
            return self.chunk if self.partials is None else self.partials.size
        source = self.reduced.inputs[0]
        if self.reduced.op is not None and self.reduced.op.name == "matmul":
            return source.shape[-1]
        return source.size // self.size if self.size else 0

    @property
    def work(self) -> int:
        """Elements that it goes over."""
        return self.size * max(self.inner, 1)

    @property
    def writes(self) -> list[View]:
        """Memory that it writes."""
        return [output.view for output in self.outputs]


@dataclass(eq=False)
class Product:
    """A matrix product out = epilog(scale · x @ y + bias), all matrices in memory.

    Attributes
    ----------
    node : Tensor
        What it computes, epilog included.
    x, y, out : View
        Of shapes (rows, inner), (inner, columns) and (rows, columns); every matrix has one axis of stride 1.
    bias : View or None
        Of shape (columns,), added to every row.
    activation : {"", "RELU", "GELU"}
        Of the result; GELU as the hyperbolic tangent approximates it.
    derivative : {"", "RELU", "GELU"}
        The result is multiplied by the derivative of this one, at what `aux` holds.
    aux : View or None
        Written with an activation, read for its derivative: of RELU bits, 1 where it was positive; of GELU what it
        is of.
    bias_gradient : View or None
        Takes the sums over the rows: with a derivative of the result, else of `y`.
    compute : str
        "float64", "float32", "tf32", "bf16" or "fp16". In the last two the operands are kept as 16 bits; so may be the
        result, and the bias with it.
    """

    node: Tensor
    x: View
    y: View
    out: View
    bias: View | None = None
    activation: str = ""
    derivative: str = ""
    aux: View | None = None
    bias_gradient: View | None = None
    compute: str = "float32"

    @property
    def operands(self) -> dict[str, View | None]:
        """All that lies in memory, by name."""
        return {name: getattr(self, name) for name in ("x", "y", "out", "bias", "aux", "bias_gradient")}

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(rows, columns, inner)."""
        return self.x.shape[0], self.y.shape[1], self.x.shape[1]

    @property
    def epilog(self) -> str:
        """What is done to the result, as cuBLASLt names it."""
        if self.activation:
            return self.activation + "_AUX" * (self.aux is not None) + "_BIAS" * (self.bias is not None)
        if self.derivative:
            return f"D{self.derivative}" + "_BGRAD" * (self.bias_gradient is not None)
        if self.bias_gradient is not None:
            return "BGRADA"
        return "BIAS" if self.bias is not None else "DEFAULT"

    @property
    def reads(self) -> list[View]:
        """Memory that it reads."""
        read = [self.bias, self.aux if self.derivative else None]
        return [self.x, self.y, *(view for view in read if view is not None)]

    @property
    def writes(self) -> list[View]:
        """Memory that it writes."""
        written = [self.aux if self.activation else None, self.bias_gradient]
        return [self.out, *(view for view in written if view is not None)]


@dataclass(eq=False)
class Fallback:
    """A call of an op's own kernel, for what no loop is written for.

    Attributes
    ----------
    reason : str
        Why, for people to read.
    """

    node: Tensor
    kernel: Callable[..., Any]
    reads: list[View]
    out: View
    reason: str

    @property
    def writes(self) -> list[View]:
        """Memory that it writes."""
        return [self.out]


@dataclass(eq=False)
class Check:
    """A step goes on only if every element lies in [low, high]; otherwise it has changed nothing.

    Attributes
    ----------
    node : Tensor
        The op that refuses others.
    reads : list of View
        The one array.
    """

    node: Tensor
    reads: list[View]
    low: float
    high: float

    @property
    def writes(self) -> list[View]:
        """Nothing."""
        return []


Step = Unit | Product | Fallback | Check
