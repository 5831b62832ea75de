"""The types that signatures speak of: what users give, what rules compute with, what backends hand over.

`ArrayLike` is what a function of graphdiff accepts: a Tensor, an array of any library, a number, or sequences of these.
`Array` is what a rule computes with: a backend's array, or a Tensor where the rule builds graph. `Namespace` is `F`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar, overload

if TYPE_CHECKING:
    import numpy as np

    from graphdiff.backend import Backend
    from graphdiff.tensor import Tensor

    DType: TypeAlias = np.dtype[Any]

__all__ = [
    "Inference",
    "Array",
    "ArrayData",
    "ArrayLike",
    "Attribute",
    "Attributes",
    "Axis",
    "DTypeLike",
    "Derivative",
    "Described",
    "Function",
    "Index",
    "NamedFunction",
    "Namespace",
    "Operation",
    "Place",
    "Places",
    "Rule",
    "Shape",
    "Tree",
    "Update",
    "ValueAndGradient",
]

Shape: TypeAlias = tuple[int, ...]
Axis: TypeAlias = int | Sequence[int] | None

Leaf = TypeVar("Leaf")
Tree: TypeAlias = "Leaf | Sequence[Tree[Leaf]] | Mapping[str, Tree[Leaf]]"
"""A leaf, or leaves in nested sequences and mappings."""

Result = TypeVar("Result", covariant=True)
Key = TypeVar("Key")
Value = TypeVar("Value")
Entry = TypeVar("Entry", bound="ArrayData | complex")


class Function(Protocol[Result]):
    """A function of whatever arguments, whose result is known."""

    def __call__(self, *arguments: Any, **options: Any) -> Result: ...


class NamedFunction(Function[Result], Protocol[Result]):
    """A function that knows its name."""

    __name__: str
    __qualname__: str


class ArrayData(Protocol):
    """An array of any library, as far as its being one can be seen."""

    @property
    def shape(self) -> Shape: ...


class Array(Protocol):
    """What rules compute with: an array of a backend, or a Tensor."""

    @property
    def shape(self) -> Shape: ...
    @property
    def ndim(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def dtype(self) -> DType: ...
    @property
    def T(self) -> Array: ...
    @property
    def mT(self) -> Array: ...
    def __neg__(self) -> Array: ...
    def __abs__(self) -> Array: ...
    def __invert__(self) -> Array: ...
    def __add__(self, other: Array | complex, /) -> Array: ...
    def __radd__(self, other: Array | complex, /) -> Array: ...
    def __sub__(self, other: Array | complex, /) -> Array: ...
    def __rsub__(self, other: Array | complex, /) -> Array: ...
    def __mul__(self, other: Array | complex, /) -> Array: ...
    def __rmul__(self, other: Array | complex, /) -> Array: ...
    def __truediv__(self, other: Array | complex, /) -> Array: ...
    def __rtruediv__(self, other: Array | complex, /) -> Array: ...
    def __floordiv__(self, other: Array | complex, /) -> Array: ...
    def __mod__(self, other: Array | complex, /) -> Array: ...
    def __pow__(self, other: Array | complex, /) -> Array: ...
    def __rpow__(self, other: Array | complex, /) -> Array: ...
    def __matmul__(self, other: Array, /) -> Array: ...
    def __and__(self, other: Array | bool, /) -> Array: ...
    def __or__(self, other: Array | bool, /) -> Array: ...
    def __xor__(self, other: Array | bool, /) -> Array: ...
    def __lt__(self, other: Array | complex, /) -> Array: ...
    def __le__(self, other: Array | complex, /) -> Array: ...
    def __gt__(self, other: Array | complex, /) -> Array: ...
    def __ge__(self, other: Array | complex, /) -> Array: ...
    def __eq__(self, other: Array | complex, /) -> Array: ...  # type: ignore[override]
    def __ne__(self, other: Array | complex, /) -> Array: ...  # type: ignore[override]
    def __getitem__(self, index: Index, /) -> Array: ...
    def __setitem__(self, index: Index, value: Array | complex, /) -> None: ...


class Namespace:
    """`F`: the functions of the array API standard, of a backend's arrays or as builders of graph.

    Attributes
    ----------
    is_graph : bool
        Whether its functions build graph.
    backend : Backend
        Whose arrays they compute with; of graph there is none.
    """

    is_graph: bool
    backend: Backend

    if TYPE_CHECKING:
        float32: DType
        float64: DType
        int64: DType
        linalg: LinearAlgebra
        array_namespace: Namespace

        def __getattr__(self, name: str, /) -> Function[Array]: ...


class Places(Protocol):
    """``x.at``: what of an array is set or added to, the array itself staying as it is."""

    def __getitem__(self, index: Index, /) -> Update: ...


class Update(Protocol):
    """``x.at[index]``."""

    def set(self, values: ArrayLike, /) -> Tensor: ...
    def add(self, values: ArrayLike, /) -> Tensor: ...


class Derivative(Protocol):
    """A function's derivative: called with its arguments, it gives a Tensor per leaf of what is differentiated by."""

    @overload
    def __call__(self, argument: ArrayData | complex, /, *others: object, **options: object) -> Tensor: ...
    @overload
    def __call__(self, argument: list[Entry], /, *others: object, **options: object) -> list[Tensor]: ...
    @overload
    def __call__(self, argument: tuple[Entry, ...], /, *others: object, **options: object) -> tuple[Tensor, ...]: ...
    @overload
    def __call__(self, argument: Mapping[Key, Entry], /, *others: object, **options: object) -> dict[Key, Tensor]: ...
    @overload
    def __call__(self, *arguments: object, **options: object) -> Any: ...


class ValueAndGradient(Protocol):
    """A function's value and derivative, as `Derivative` has it."""

    @overload
    def __call__(
        self, argument: ArrayData | complex, /, *others: object, **options: object
    ) -> tuple[Tensor, Tensor]: ...
    @overload
    def __call__(self, argument: list[Entry], /, *others: object, **options: object) -> tuple[Tensor, list[Tensor]]: ...
    @overload
    def __call__(
        self, argument: Mapping[Key, Entry], /, *others: object, **options: object
    ) -> tuple[Tensor, dict[Key, Tensor]]: ...
    @overload
    def __call__(self, *arguments: object, **options: object) -> tuple[Tensor, Any]: ...


class Described(Protocol):
    """A Tensor, as far as an error's text needs one."""

    @property
    def ndim(self) -> int: ...
    @property
    def dtype(self) -> DType: ...
    def describe(self) -> str: ...
    def astype(self, dtype: DTypeLike, /) -> Any: ...


class Operation(Protocol):
    """What a node knows of its op: the contract that `graphdiff.op.Op` describes and every kind of op keeps."""

    name: str
    symbol: str
    kind: str
    module: str
    built_in: bool
    calls: int
    pure: bool
    work: Any
    function: str
    poles: bool | tuple[int, ...]
    chooses: bool
    is_suspect: bool
    keeps: Literal["places", "elements"] | None
    evaluate: Function[Any] | None
    batch_rule: Function[Any] | None

    def __call__(self, *operands: ArrayLike, **attributes: Attribute) -> Tensor: ...
    def node(self, operands: tuple[Tensor, ...], attributes: Attributes) -> Tensor: ...
    def kernel(self, backend: Backend) -> Function[Array]: ...
    def infer(self, operands: Sequence[Tensor], attributes: Attributes) -> tuple[Shape, DType]: ...
    def may_be_written(self, operands: Sequence[Tensor]) -> bool: ...
    def written(self, node: Tensor, operands: Sequence[Tensor]) -> Tensor | None: ...
    def flops_of(self, node: Tensor) -> int: ...
    def adjoint(
        self, F: Namespace, cotangent: Value, position: int, out: Value, inputs: Sequence[Value], attributes: Attributes
    ) -> Value | None: ...
    def tangent(
        self,
        F: Namespace,
        tangents: Sequence[Value | None],
        out: Value,
        inputs: Sequence[Value],
        attributes: Attributes,
    ) -> Value | None: ...


class LinearAlgebra(Namespace):
    """`F.linalg`, whose decompositions have several results."""

    eigh: Function[tuple[Array, Array]]
    qr: Function[tuple[Array, Array]]
    svd: Function[tuple[Array, Array, Array]]


ArrayLike: TypeAlias = "ArrayData | complex | Sequence[ArrayLike]"
DTypeLike: TypeAlias = "str | type | DType"
Place: TypeAlias = "int | slice | EllipsisType | ArrayLike | None"
"""One entry of an index."""
Index: TypeAlias = "Place | tuple[Place, ...]"
Attribute: TypeAlias = (
    "bool | int | float | complex | str | slice | EllipsisType | DType | tuple[Attribute, ...] | None"
)
"""What an op is told besides its operands: plain, so that plans can write it out as source."""
Attributes: TypeAlias = Mapping[str, Any]
"""An op's attributes by name: each op knows the type of its own."""
Rule: TypeAlias = Function[Array]
"""A rule of an op, called as ``rule(F, ...)``."""
Inference: TypeAlias = "Function[tuple[Shape, DType]]"
"""What tells shape and dtype of a result from operands and attributes."""


def __dir__() -> list[str]:
    return sorted(__all__)
