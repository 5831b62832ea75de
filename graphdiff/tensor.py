"""Tensor: one node of the graph, and its leaves `variable`, `constant` and `placeholder`.

A node has a value as soon as its inputs have values. Nodes carry a serial number, and inputs always have smaller
ones, so that sorting by serial is a topological order. Operators and methods are attached in `graphdiff._links`.
"""

from __future__ import annotations

import gc
import itertools
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from graphdiff import host
from graphdiff.backend import Backend, current_backend, get_backend
from graphdiff.errors import BackendError, DTypeError, ImmutableError, NoValueError, ShapeError

if TYPE_CHECKING:
    from types import CodeType

    from graphdiff.op import Op

__all__ = ["Tensor", "Variable", "constant", "name_scope", "placeholder", "variable"]


def _let_graphs_grow() -> None:
    """Make Python's garbage collector look at young objects less often, unless the user has set it already.

    A graph is a great many small objects that live as long as each other. With the interpreter's default of 700 or
    2,000 new objects between two looks, a chain of a million nodes spends two thirds of its time in the collector.
    """
    young, middle, old = gc.get_threshold()
    if 0 < young <= 2_000:
        gc.set_threshold(50_000, max(middle, 100), old)


_let_graphs_grow()


class _Scope(threading.local):
    """The scope that new nodes get: each thread has its own."""

    def __init__(self) -> None:
        self.path = ""


_scope = _Scope()
NO_ATTRIBUTES: dict[str, Any] = {}
next_serial = itertools.count(1).__next__
TRACES: list[Any] = []
"""The functions being traced by `graphdiff.compile`, of all threads, innermost last: see `current_trace`."""
WATCHES: list[Any] = []
"""The watches of `graphdiff.watch` that are open, of all threads: see `open_watches`."""
get_thread = threading.get_ident


def current_trace() -> Any:
    """Return the innermost trace of this thread, or None. While there is one, variables have no value here.

    Where speed counts, look first whether `TRACES` is empty, as it mostly is.
    """
    here = get_thread()
    for trace in reversed(TRACES):
        if trace.thread == here:
            return trace
    return None


def open_watches() -> list[Any]:
    """Return the watches that this thread has opened."""
    here = get_thread()
    return [watch for watch in WATCHES if watch.thread == here]


DEPARTURES: list[list[tuple[Tensor, str, int]]] = []
"""Lists that take up which recorded tensors' values are read as plain numbers or arrays, and on which line."""
MOVES = [0]
"""Counts how often arrays of pinned variables were moved; plans that hold on to them look here."""


def _note_departure(tensor: Tensor) -> None:
    """Tell those who want to know that the value of a tensor leaves the graph."""
    if tensor.recorded and host.is_real_floating(tensor.dtype):
        frame = sys._getframe(2)
        while frame.f_globals.get("__name__", "").partition(".")[0] in ("graphdiff", "numpy") and frame.f_back:
            frame = frame.f_back
        for departed in DEPARTURES:
            departed.append((tensor, frame.f_code.co_filename, frame.f_lineno))


class untraced:
    """Compute at once within the block, in a function under trace too: for what is made once, such as parameters."""

    __slots__ = ("_suspended",)

    def __enter__(self) -> None:
        self._suspended = [trace for trace in TRACES if trace.thread == get_thread()]
        for trace in self._suspended:
            TRACES.remove(trace)

    def __exit__(self, *exception: object) -> None:
        TRACES.extend(self._suspended)


SWITCHES = [0]
"""Counts the changes of switches; compiled functions that have read one look here."""


def read_switch(owner: Any, name: str) -> Any:
    """Return an attribute that Python code branches on, and make it part of the signature of what is being traced."""
    for trace in TRACES:
        if trace.thread == get_thread():
            trace.switches[id(owner), name] = owner
    return getattr(owner, name)


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
        op: Op | None,
        inputs: tuple[Tensor, ...],
        attributes: dict[str, Any],
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
        self.scope = _scope.path
        # The line is kept as a code object and an offset: a frame would keep the user's locals alive.
        frame = sys._getframe(2)
        while frame.f_globals.get("__name__", "")[:10] == "graphdiff." and frame.f_back is not None:
            frame = frame.f_back
        self._code: CodeType | str = frame.f_code
        self._instruction = frame.f_lasti

    # What it holds -------------------------------------------------------------------------------------------

    @property
    def value(self) -> Any:
        """The value: an array of the backend.

        Raises
        ------
        NoValueError
            A placeholder below this node has not been fed.
        """
        if self._value is None:
            self._raise_no_value()
        return self._value

    @value.setter
    def value(self, new: Any) -> None:
        raise ImmutableError(f"{self.describe()} is no variable: its value cannot be assigned")

    @property
    def has_value(self) -> bool:
        """Whether a value is known: no placeholder lies below."""
        return self._value is not None

    @property
    def shape(self) -> host.Shape:
        """The length along each axis."""
        return self._signature[0] if self._value is None else self._value.shape  # type: ignore[index,no-any-return]

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
        title = repr(self.name) if self.name else self.op.name if self.op else "placeholder" if self.recorded else ""
        return f"{title} {self.dtype}{list(self.shape)}".strip()

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
        return Tensor(None, (), NO_ATTRIBUTES, target.normalize(target.from_host(host_value)), target, False)

    def numpy(self) -> Any:
        """Return the value as a NumPy array."""
        if DEPARTURES:
            _note_departure(self)
        return host.as_host(self.backend.to_host(self.value))

    def item(self) -> Any:
        """Return the only element as a Python number."""
        self._require_single("item")
        return self.numpy().item()

    def tolist(self) -> Any:
        """Return the value as nested lists of Python numbers."""
        return self.numpy().tolist()

    # Python's protocols --------------------------------------------------------------------------------------

    __hash__ = object.__hash__

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def __dlpack__(self, **options: Any) -> Any:
        return self.value.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.value.__dlpack_device__()  # type: ignore[no-any-return]

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self.value.__cuda_array_interface__  # type: ignore[no-any-return]

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
            raise ShapeError(f"{self.describe()} has no length: it is 0-d")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[position] for position in range(len(self)))

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
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
        if DEPARTURES and wanted != "bool":
            _note_departure(self)
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
        raise NoValueError(
            f"{self.describe()}, made at {self.source}, has no value: it depends on {self._unfed()}, not fed. "
            "Evaluate it with gd.Graph(output).evaluate({placeholder: value})."
        )

    if TYPE_CHECKING:  # attached in graphdiff._links; named here for type checkers
        T: Tensor
        mT: Tensor
        at: Any
        backward: Any
        sum: Any
        mean: Any
        prod: Any
        var: Any
        std: Any
        max: Any
        min: Any
        argmax: Any
        argmin: Any
        any: Any
        all: Any
        cumsum: Any
        cumprod: Any
        reshape: Any
        ravel: Any
        flatten: Any
        transpose: Any
        swapaxes: Any
        squeeze: Any
        astype: Any
        clip: Any
        copy: Any
        round: Any
        dot: Any
        take: Any
        repeat: Any
        diagonal: Any
        trace: Any

        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __floordiv__(self, other: Any) -> Tensor: ...
        def __rfloordiv__(self, other: Any) -> Tensor: ...
        def __mod__(self, other: Any) -> Tensor: ...
        def __rmod__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __rmatmul__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __pos__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __and__(self, other: Any) -> Tensor: ...
        def __or__(self, other: Any) -> Tensor: ...
        def __xor__(self, other: Any) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __eq__(self, other: Any) -> Tensor: ...  # type: ignore[override]
        def __ne__(self, other: Any) -> Tensor: ...  # type: ignore[override]
        def __getitem__(self, index: Any) -> Tensor: ...


class Variable(Tensor):
    """A leaf that can be assigned and receives a gradient; made by `variable`.

    Attributes
    ----------
    grad : array of the backend or None
        Set by `Tensor.backward`.
    version : int
        Grows with every assignment. A graph built before an assignment is stale, and using it raises StaleError.
    """

    __slots__ = ("clock", "grad", "home", "pinned")
    clock: list[int]
    """[serial of the last assignment, number of assignments]; shared by variables that are assigned together."""
    grad: Any
    home: Any
    """The arena that holds the value, or None."""
    pinned: bool
    """Whether assignments write into the same array: arenas and compiled plans hold on to it."""

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("Variable is final")

    @property
    def version(self) -> int:
        """Grows with every assignment."""
        return self.clock[1]

    @property
    def value(self) -> Any:
        """The present value, a copy where assignments write in place; assigning checks shape and dtype."""
        if TRACES and current_trace():
            raise NoValueError(
                f"the value of {self.describe()} is not known while a function is traced by gd.compile; "
                "compute with the variable itself, and choose between values with gd.where"
            )
        return self.backend.normalize(self.backend.copy(self._value)) if self.pinned else self._value

    @value.setter
    def value(self, new: Any) -> None:
        self.assign(new)

    def assign(self, new: Any) -> Variable:
        """Replace the value by a copy of `new`, of the same shape, cast to the variable's dtype.

        Raises
        ------
        ShapeError, DTypeError
            `new` does not fit; the variable is left as it was.

        Examples
        --------
        >>> import graphdiff as gd
        >>> w = gd.variable([1.0, 2.0], name="w")
        >>> w.assign([3.0, 4.0]).version
        1
        """
        trace = current_trace() if TRACES else None
        if trace is not None:
            if isinstance(new, Tensor) and new.backend is not self.backend:
                raise BackendError(f"{self.describe()} is on {self.backend.name}, the new value on {new.backend.name}")
            trace.assign(self, new)
            return self
        value = value_for(self, new, "assigned")
        self._replace(self.backend.normalize(value if self.pinned else self.backend.copy(value)))
        return self

    def require_fit(self, shape: host.Shape, given: host.DType) -> None:
        """Raise an error where an array of this shape and dtype cannot be assigned."""
        _require_fit(self, shape, given, "assigned")

    def _replace(self, array: Any) -> None:
        """Take over `array`, known to fit and to be nobody else's."""
        if self.pinned:
            self._value[...] = array
        else:
            self._value = array
        self.clock[0] = next_serial()
        self.clock[1] += 1

    def pin(self) -> None:
        """Write later assignments into the same array, on backends whose arrays can be written into."""
        if self.shape and self.backend.in_place:
            self.pinned = True

    def __iadd__(self, other: Any) -> Variable:
        return self.assign(self + other)

    def __isub__(self, other: Any) -> Variable:
        return self.assign(self - other)

    def __imul__(self, other: Any) -> Variable:
        return self.assign(self * other)

    def __itruediv__(self, other: Any) -> Variable:
        return self.assign(self / other)


TENSOR_TYPES = (Tensor, Variable)


def _require_fit(node: Tensor, shape: host.Shape, given: host.DType, verb: str) -> None:
    if given.kind not in "biufc" or "biufc".index(given.kind) > "biufc".index(node.dtype.kind):
        raise DTypeError(f"{node.describe()} cannot be {verb} a value of dtype {given}")
    if shape != node.shape:
        raise ShapeError(f"{node.describe()} cannot be {verb} a value of shape {list(shape)}")


def value_for(node: Tensor, new: Any, verb: str) -> Any:
    """Return `new` as an array of the node's backend, shape and dtype, not copied unless it must be.

    Raises
    ------
    ShapeError, DTypeError, BackendError
        `new` does not fit the node; the message says that it cannot be `verb` ("assigned", "fed") such a value.
    """
    backend = node.backend
    if isinstance(new, Tensor):
        if new.backend is not backend:
            raise BackendError(
                f"{node.describe()} on {backend.name} cannot be {verb} {new.describe()} on {new.backend.name}. "
                "Move it with tensor.to(backend)."
            )
        new = new.value
    if not backend.owns(new):
        adopted = backend.adopt(new)
        try:
            new = host.as_host(new) if adopted is None else adopted
        except ValueError as error:
            raise ShapeError(f"{node.describe()} cannot be {verb} a value that is no array: {error}") from error
        if adopted is None and new.dtype.kind in "biufc":
            new = backend.from_host(new)
    given = backend.host_dtype(new)
    _require_fit(node, tuple(new.shape), given, verb)
    return new if given == node.dtype else backend.numbers.astype(new, backend.native_dtype(node.dtype))


def _leaf_value(given: Any, dtype: Any, backend: Backend, copy: bool) -> Any:
    value = given
    if isinstance(value, Tensor):
        if DEPARTURES:
            _note_departure(value)
        value = value.backend.to_host(value.value)
    wanted = None if dtype is None else host.dtype(dtype)
    adopted = None if backend.owns(value) else backend.adopt(value)
    if adopted is not None:
        value = adopted
    if not backend.owns(value):
        try:
            value = host.as_host(value)
        except ValueError as error:
            raise ShapeError(f"cannot make a tensor of this: {error}") from error
    kind_of = backend.host_dtype(value) if backend.owns(value) else value.dtype
    if kind_of.kind not in "biufc":
        held = f"{kind_of} data" if kind_of.kind != "O" or host.is_host_array(given) else f"{given!r:.60}"
        raise DTypeError(f"cannot make a tensor of {held}: numbers and booleans only")
    array = backend.from_host(value, wanted)
    return backend.normalize(backend.copy(array) if copy else array)


def variable(value: Any, *, name: str | None = None, dtype: Any = None) -> Variable:
    """Make a leaf that can be assigned and receives a gradient.

    Parameters
    ----------
    value : number, array, Tensor or nested sequence
        Copied. A Python float becomes float64.
    name : str, optional
        Shown in drawings, tables and errors.
    dtype : dtype-like, optional
        float64 and float32 carry gradients; integers and booleans do not.

    Returns
    -------
    Variable

    Examples
    --------
    >>> import graphdiff as gd
    >>> a = gd.variable(2.0, name="a")
    >>> (a * a).backward()
    >>> a.grad.item()
    4.0
    """
    backend = current_backend()
    leaf = Variable(None, (), NO_ATTRIBUTES, _leaf_value(value, dtype, backend, copy=True), backend, True)
    leaf.name = name
    leaf.grad = None
    leaf.clock = [leaf.serial, 0]
    leaf.home = None
    leaf.pinned = False
    return leaf


def constant(value: Any, *, name: str | None = None, dtype: Any = None) -> Tensor:
    """Make a leaf without a gradient. An array of the right dtype is not copied: do not change it afterwards.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.constant([1, 2, 3]).dtype
    dtype('int64')
    """
    backend = current_backend()
    leaf = Tensor(None, (), NO_ATTRIBUTES, _leaf_value(value, dtype, backend, copy=False), backend, False)
    leaf.name = name
    return leaf


def placeholder(shape: int | tuple[int, ...] = (), dtype: Any = "float64", *, name: str | None = None) -> Tensor:
    """Make a leaf without a value: expressions over it are pure graph, evaluated by feeding it.

    Examples
    --------
    >>> import graphdiff as gd
    >>> x = gd.placeholder((), name="x")
    >>> gd.Graph(x * x).evaluate({x: 3.0}).item()
    9.0
    """
    lengths = (shape,) if isinstance(shape, int) else tuple(shape)
    if any(not host.is_integer(length) or length < 0 for length in lengths):
        raise ShapeError(f"a shape is non-negative integers, not {shape!r}")
    leaf = Tensor(None, (), NO_ATTRIBUTES, None, current_backend(), True, (lengths, host.dtype(dtype)))
    leaf.name = name
    return leaf


class name_scope:
    """Give every node made within the block the scope `name`, nested scopes joined by ``/``.

    Examples
    --------
    >>> import graphdiff as gd
    >>> with gd.name_scope("layer1"):
    ...     y = gd.variable(1.0) * 2.0
    >>> y.scope
    'layer1'
    """

    __slots__ = ("_outer", "name")

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> str:
        self._outer = _scope.path
        _scope.path = f"{self._outer}/{self.name}" if self._outer else self.name
        return _scope.path

    def __exit__(self, *exception: object) -> None:
        _scope.path = self._outer
