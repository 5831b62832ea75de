"""Tensor: one node of the graph."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from graphdiff import host
from graphdiff.backend import Backend, get_backend
from graphdiff.errors import DTypeError, ImmutableError, NoValueError, ScalarError, ShapeError
from graphdiff.tensor.context import NO_ATTRIBUTES, current_scope, current_trace, next_serial
from graphdiff.tensor.detached import departure_of

if TYPE_CHECKING:
    from types import CodeType

    from graphdiff.typing import Array, ArrayLike, Attributes, Axis, DTypeLike, Index, Operation, Places


class Tensor:
    """One node of the computational graph.

    Tensors are made by `variable`, `constant`, `placeholder` and by operations on other tensors, never directly.

    Attributes
    ----------
    op : Op or None
        The operation that made it; None for a leaf.
    inputs : tuple of Tensor
        Its operands, repeated operands repeated. Empty for leaves.
    attributes : dict
        What the op was called with besides tensors: axes, shapes, indices.
    backend : Backend
        Where its value lives.
    serial : int
        Larger than the serials of its inputs.
    name : str or None
        Free to set; drawings, tables and errors show it.
    recorded : bool
        Whether it is a variable or placeholder or depends on one. What is not recorded keeps no inputs.
    """

    __slots__ = (
        "__weakref__",
        "_code",
        "_instruction",
        "_signature",
        "_value",
        "attributes",
        "backend",
        "inputs",
        "name",
        "op",
        "recorded",
        "scope",
        "serial",
    )

    def __init__(
        self,
        op: Operation | None,
        inputs: tuple[Tensor, ...],
        attributes: Attributes,
        value: Any,
        backend: Backend,
        recorded: bool,
        signature: tuple[host.Shape, host.DType] | None = None,
    ) -> None:
        self.op = op
        self.inputs = inputs
        self.attributes = attributes
        self._value = value
        self.backend = backend
        self.recorded = recorded
        self._signature = signature
        self.serial = next_serial()
        self.name: str | None = None
        self.scope = current_scope()
        # The line is kept as a code object and an offset: a frame would keep the user's locals alive.
        frame = sys._getframe(2)
        while frame.f_globals.get("__name__", "")[:10] == "graphdiff." and frame.f_back is not None:
            frame = frame.f_back
        self._code: CodeType | str = frame.f_code
        self._instruction = frame.f_lasti

    # What it holds -------------------------------------------------------------------------------------------

    @property
    def value(self) -> Any:
        """The value: an array of the backend, not to be written into, or a copy.

        Raises
        ------
        NoValueError
            A placeholder below this node has not been fed.
        """
        if self._value is None:
            self._raise_no_value()
        return self.backend.shown(self._value)

    @value.setter
    def value(self, new: ArrayLike) -> None:
        raise ImmutableError(f"{self.describe()} is no variable: its value cannot be assigned")

    @property
    def has_value(self) -> bool:
        """Whether a value is known: no placeholder lies below."""
        return self._value is not None

    @property
    def shape(self) -> host.Shape:
        """The length along each axis."""
        return self._signature[0] if self._value is None else self._value.shape  # type: ignore[index]

    @property
    def dtype(self) -> host.DType:
        """The NumPy dtype, on every backend."""
        if self._value is None:
            return self._signature[1]  # type: ignore[index]
        return self.backend.host_dtype(self._value)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        size = 1
        for length in self.shape:
            size *= length
        return size

    @property
    def source(self) -> str:
        """The file and line of the user's code that made this node."""
        if isinstance(self._code, str):  # loaded from a pickle, which has the line as text
            return self._code
        line = self._code.co_firstlineno
        for start, end, number in self._code.co_lines():
            if start <= self._instruction < end and number is not None:
                line = number
        return f"{self._code.co_filename}:{line}"

    def describe(self) -> str:
        """Return name (or op), dtype and shape: how errors speak of this node."""
        title = repr(self.name) if self.name else self.op.name if self.op else self._kind()
        return f"{title} {self.dtype}{list(self.shape)}".strip()

    def _kind(self) -> str:
        """Return what an unnamed leaf is called."""
        return "placeholder" if self._value is None else ""

    def named(self, name: str) -> Tensor:
        """Set the name and return the tensor itself.

        Examples
        --------
        >>> import graphdiff as gd
        >>> c = (gd.variable(2.0) + 1.0).named("c")
        >>> c.name
        'c'
        """
        self.name = name
        return self

    def to(self, backend: str | Backend) -> Tensor:
        """Return a constant with this value on another backend."""
        target = get_backend(backend)
        host_value = self.backend.to_host(self.value)
        return leaf(target.normalize(target.from_host(host_value)), target)

    def numpy(self) -> host.HostArray:
        """Return the value as a NumPy array, which cannot be written into: ``np.array(x)`` is a copy that can."""
        return host.as_host(self.backend.to_host(self.value))

    def item(self) -> float:
        """Return the only element as a Python number."""
        self._require_single("item")
        number: float = self.numpy().item()
        return number

    def tolist(self) -> Any:
        """Return the value as nested lists of Python numbers."""
        return self.numpy().tolist()

    # Python's protocols --------------------------------------------------------------------------------------

    __hash__ = object.__hash__

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> host.HostArray:
        array = self.numpy()
        departure = departure_of(self)
        if departure is not None:
            array = host.departed(array, departure)
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def __dlpack__(self, **options: Any) -> Any:
        departure_of(self)
        copied: Any = self.backend.copy(self.value)
        return copied.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        result: tuple[int, int] = self.value.__dlpack_device__()
        return result

    @property
    def __cuda_array_interface__(self) -> dict[str, object]:
        departure_of(self)
        interface = self._value.__cuda_array_interface__
        return {**interface, "data": (interface["data"][0], True)}  # not to be written into

    def __float__(self) -> float:
        return float(self._single("float"))

    def __int__(self) -> int:
        return int(self._single("int"))

    def __complex__(self) -> complex:
        return complex(self._single("complex"))

    def __index__(self) -> int:
        if self.dtype.kind not in "iu":
            raise DTypeError(f"{self.describe()} cannot be an index: its dtype is not an integer")
        return int(self._single("index"))

    def __bool__(self) -> bool:
        if self._value is None:
            raise NoValueError(
                f"the truth of {self.describe()}, made at {self.source}, is not known: it depends on "
                f"{self._unfed()}. Choose between values with gd.where(condition, a, b) instead of `if`."
            )
        return bool(self._single("bool"))

    def __len__(self) -> int:
        if not self.shape:
            raise ScalarError(f"{self.describe()} has no length: it is 0-d")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[position] for position in range(len(self)))

    def __setitem__(self, index: object, value: object) -> NoReturn:
        raise ImmutableError(
            f"{self.describe()} cannot be changed in place; gd.at(x, index).set(value) returns a changed copy"
        )

    def __repr__(self) -> str:
        title = f"name={self.name!r}, " if self.name else ""
        made = "" if self.op is None else f", op={self.op.name}"
        shown = "no value" if self._value is None else host.describe(self.backend.to_host(self._value))
        return f"{type(self).__name__}({title}{shown}, shape={self.shape}, dtype={self.dtype}{made})"

    def __format__(self, specification: str) -> str:
        return format(self.item(), specification) if specification else str(self)

    def _single(self, wanted: str) -> Any:
        self._require_single(wanted)
        if wanted != "bool":
            departure_of(self)
        return self.value.item() if hasattr(self.value, "item") else self.value

    def _require_single(self, wanted: str) -> None:
        if self.size != 1:
            raise ShapeError(f"{wanted}() takes a single element, and {self.describe()} has {self.size}")

    def _leaves_without_value(self) -> Iterator[Tensor]:
        seen, pending = {self}, [self]
        while pending:
            node = pending.pop()
            if node.op is None and node._value is None:
                yield node
            for operand in node.inputs:
                if operand._value is None and operand not in seen:
                    seen.add(operand)
                    pending.append(operand)

    def _unfed(self) -> str:
        first = list(itertools.islice(self._leaves_without_value(), 4))
        return ", ".join(f"placeholder {leaf.name!r}" if leaf.name else f"the {leaf.describe()}" for leaf in first)

    def _raise_no_value(self) -> NoReturn:
        if current_trace():
            raise NoValueError(
                f"{self.describe()}, made at {self.source}, has no value while the function is traced: it depends on "
                f"{self._unfed()}. Return it to look at it after the call. An argument that Python itself needs, such "
                'as how often to repeat, is one of gd.compile(static_argnames="…").'
            )
        raise NoValueError(
            f"{self.describe()}, made at {self.source}, has no value: it depends on {self._unfed()}, not fed. "
            "Evaluate it with gd.Graph(output).evaluate({placeholder: value})."
        )

    if TYPE_CHECKING:  # attached in graphdiff._links; named here for type checkers

        @property
        def T(self) -> Tensor: ...
        @property
        def mT(self) -> Tensor: ...
        @property
        def at(self) -> Places: ...
        def backward(self, seed: ArrayLike | None = None, *, accumulate: bool = False) -> None: ...
        def sum(self, axis: Axis = None, *, dtype: DTypeLike | None = None, keepdims: bool = False) -> Tensor: ...
        def mean(self, axis: Axis = None, *, dtype: DTypeLike | None = None, keepdims: bool = False) -> Tensor: ...
        def prod(self, axis: Axis = None, *, dtype: DTypeLike | None = None, keepdims: bool = False) -> Tensor: ...
        def var(self, axis: Axis = None, *, correction: float | None = None, keepdims: bool = False) -> Tensor: ...
        def std(self, axis: Axis = None, *, correction: float | None = None, keepdims: bool = False) -> Tensor: ...
        def max(self, axis: Axis = None, *, keepdims: bool = False) -> Tensor: ...
        def min(self, axis: Axis = None, *, keepdims: bool = False) -> Tensor: ...
        def argmax(self, axis: int | None = None, *, keepdims: bool = False) -> Tensor: ...
        def argmin(self, axis: int | None = None, *, keepdims: bool = False) -> Tensor: ...
        def argsort(self, axis: int | None = -1) -> Tensor: ...
        def sort(self, axis: int | None = -1) -> Tensor: ...
        def any(self, axis: Axis = None, *, keepdims: bool = False) -> Tensor: ...
        def all(self, axis: Axis = None, *, keepdims: bool = False) -> Tensor: ...
        def cumsum(self, axis: int | None = None) -> Tensor: ...
        def cumprod(self, axis: int | None = None) -> Tensor: ...
        def reshape(self, *shape: int | Sequence[int]) -> Tensor: ...
        def ravel(self) -> Tensor: ...
        def flatten(self) -> Tensor: ...
        def transpose(self, *axes: int | Sequence[int]) -> Tensor: ...
        def swapaxes(self, axis1: int, axis2: int) -> Tensor: ...
        def squeeze(self, axis: Axis = None) -> Tensor: ...
        def astype(self, dtype: DTypeLike, /) -> Tensor: ...
        def clip(self, min: ArrayLike | None = None, max: ArrayLike | None = None) -> Tensor: ...
        def copy(self) -> Tensor: ...
        def round(self, decimals: int = 0) -> Tensor: ...
        def dot(self, other: ArrayLike, /) -> Tensor: ...
        def take(self, indices: ArrayLike, /, axis: int | None = None) -> Tensor: ...
        def repeat(self, repeats: int | Sequence[int], axis: int | None = None) -> Tensor: ...
        def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor: ...
        def trace(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor: ...
        def __add__(self, other: ArrayLike) -> Tensor: ...
        def __radd__(self, other: ArrayLike) -> Tensor: ...
        def __sub__(self, other: ArrayLike) -> Tensor: ...
        def __rsub__(self, other: ArrayLike) -> Tensor: ...
        def __mul__(self, other: ArrayLike) -> Tensor: ...
        def __rmul__(self, other: ArrayLike) -> Tensor: ...
        def __truediv__(self, other: ArrayLike) -> Tensor: ...
        def __rtruediv__(self, other: ArrayLike) -> Tensor: ...
        def __floordiv__(self, other: ArrayLike) -> Tensor: ...
        def __rfloordiv__(self, other: ArrayLike) -> Tensor: ...
        def __mod__(self, other: ArrayLike) -> Tensor: ...
        def __rmod__(self, other: ArrayLike) -> Tensor: ...
        def __pow__(self, other: ArrayLike) -> Tensor: ...
        def __rpow__(self, other: ArrayLike) -> Tensor: ...
        def __matmul__(self, other: ArrayLike) -> Tensor: ...
        def __rmatmul__(self, other: ArrayLike) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __pos__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __and__(self, other: ArrayLike) -> Tensor: ...
        def __or__(self, other: ArrayLike) -> Tensor: ...
        def __xor__(self, other: ArrayLike) -> Tensor: ...
        def __lt__(self, other: ArrayLike) -> Tensor: ...
        def __le__(self, other: ArrayLike) -> Tensor: ...
        def __gt__(self, other: ArrayLike) -> Tensor: ...
        def __ge__(self, other: ArrayLike) -> Tensor: ...
        def __eq__(self, other: ArrayLike) -> Tensor: ...  # type: ignore[override]
        def __ne__(self, other: ArrayLike) -> Tensor: ...  # type: ignore[override]
        def __getitem__(self, index: Index) -> Tensor: ...


def leaf(
    value: Array | None,
    backend: Backend,
    recorded: bool = False,
    signature: tuple[host.Shape, host.DType] | None = None,
) -> Tensor:
    """Make a node without op, of a value that is in the backend's form already, or of a signature alone."""
    return Tensor(None, (), NO_ATTRIBUTES, value, backend, recorded, signature)
