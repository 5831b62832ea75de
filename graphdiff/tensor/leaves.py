"""The leaves of a graph: `variable`, `constant` and `placeholder`."""

from __future__ import annotations

from typing import Any, NoReturn, cast

from graphdiff import host
from graphdiff.arguments import lengths
from graphdiff.backend import Backend, current_backend
from graphdiff.errors import BackendError, DTypeError, ImmutableError, NoValueError, ShapeError
from graphdiff.guard import guarded
from graphdiff.tensor.context import DEPARTURES, NO_ATTRIBUTES, TRACES, current_trace, next_serial
from graphdiff.tensor.detached import MARK, MARKED, Departure, departure_of
from graphdiff.tensor.node import Tensor
from graphdiff.typing import Array, ArrayLike, DTypeLike

_FRESH = (list, tuple, *host.PYTHON_SCALARS)
"""What an array is made of that shares no memory with it."""


class Variable(Tensor):
    """A leaf that can be assigned and receives a gradient; made by `variable`.

    Attributes
    ----------
    grad : array of the backend or None
        Set by `Tensor.backward`; may be assigned. While a function is traced it is part of the graph, as the value is.
    version : int
        Grows with every assignment. A graph built before an assignment is stale, and using it raises StaleError.
    """

    __slots__ = ("_grad", "clock", "home", "pinned")
    clock: list[int]
    """[serial of the last assignment, number of assignments]; shared by variables that are assigned together."""
    _grad: Any
    home: Any
    """The flat buffer that holds the value, or None."""
    pinned: bool
    """Whether assignments write into the same array: flat buffers and compiled plans hold on to it."""

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("Variable is final")

    def _kind(self) -> str:
        return "variable"

    @property
    def version(self) -> int:
        """Grows with every assignment."""
        if TRACES and current_trace():
            raise NoValueError(
                f"the version of {self.describe()} is not known while a function is traced by gd.compile; count the "
                "calls in a variable of their own"
            )
        return self.clock[1]

    @property
    def grad(self) -> Any:
        """The gradient that `Tensor.backward` has set, or what has been assigned; None if there is none."""
        trace = current_trace() if TRACES else None
        return self._grad if trace is None else trace.gradient(self)

    @grad.setter
    def grad(self, new: ArrayLike | None) -> None:
        trace = current_trace() if TRACES else None
        if trace is not None:
            trace.set_gradient(self, new)
        elif new is None or self.backend.owns(new):
            self._grad = new
        else:
            self._grad = _own_value(new, None, self.backend)

    @property
    def value(self) -> Any:
        """The present value, not to be written into, or a copy; assigning checks shape and dtype."""
        if TRACES and current_trace():
            raise NoValueError(
                f"the value of {self.describe()} is not known while a function is traced by gd.compile; "
                "compute with the variable itself, and choose between values with gd.where"
            )
        return self.backend.normalize((self.backend.copy if self.pinned else self.backend.shown)(self._value))

    @value.setter
    def value(self, new: ArrayLike) -> None:
        self.assign(new)

    def assign(self, new: ArrayLike) -> Variable:
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

    def _replace(self, array: Array) -> None:
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

    def __iadd__(self, other: ArrayLike) -> Variable:
        return self.assign(self + _update(self, other, "+"))

    def __isub__(self, other: ArrayLike) -> Variable:
        return self.assign(self - _update(self, other, "-"))

    def __imul__(self, other: ArrayLike) -> Variable:
        return self.assign(self * _update(self, other, "*"))

    def __itruediv__(self, other: ArrayLike) -> Variable:
        return self.assign(self / _update(self, other, "/"))


def _update(variable: Variable, other: ArrayLike, sign: str) -> ArrayLike:
    """Return what a variable is to be changed by in place; refuse what belongs to a graph, outside of a trace.

    ``w -= 0.1 * w.grad`` assigns; where a loss says ``y = x; y += 2 * x`` a new node is meant, and x would be assigned.
    """
    parts = other if isinstance(other, (list, tuple)) else (other,)
    recorded = next((part for part in parts if isinstance(part, Tensor) and part.recorded), None)
    if recorded is not None and not (TRACES and current_trace()):
        raise ImmutableError(
            f"`{sign}=` would assign {variable.describe()} a value that depends on a graph, by {recorded.describe()}, "
            f"made at {recorded.source}. Write `y = y {sign} …` for a new tensor, and w.assign(…) to assign a variable."
        )
    return other


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
    host.refuse_masked(new)
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


def _own_value(value: Any, dtype: DTypeLike | None, backend: Backend, written: bool = False) -> Any:
    """Return an array of a leaf's own: the memory of what was given is the user's to write into.

    Other tensors' memory may be a constant's, too, but not that of variables, which are `written` into.
    """
    if value.__class__ is host.ARRAY and dtype is None and backend.owns(value):  # the quick way, of minibatches
        host.require_numeric(value.dtype)
        return backend.normalize(backend.copy(cast(Array, value)))
    if isinstance(value, Tensor):
        mine = not written and value.__class__ is not Variable
        value = value.backend.to_host(value.value)
    else:
        mine = isinstance(value, _FRESH)
    wanted = None if dtype is None else host.dtype(dtype)
    host.refuse_masked(value)
    if backend.owns(value):
        host.require_numeric(backend.host_dtype(value))
    else:
        adopted = backend.adopt(value)
        try:
            value = host.as_host(value) if adopted is None else adopted
        except ValueError as error:
            raise ShapeError(f"cannot make a tensor of this: {error}") from error
        if adopted is None:
            host.require_numeric(value.dtype)
    try:
        array = backend.from_host(value, wanted)
    except (ValueError, TypeError, OverflowError) as error:
        raise DTypeError(f"cannot make a tensor of dtype {wanted} of this: {error}") from error
    return backend.normalize(backend.copy(array) if array is value and not mine else array)


def _departed(value: ArrayLike, dtype: DTypeLike | None, backend: Backend) -> tuple[Array, Departure | None]:
    """Return the value of a leaf made of a list, and where it left the graph if recorded tensors are in that."""
    noted: list[tuple[Tensor, Departure]] = []
    DEPARTURES.open(noted)
    try:
        return _own_value(value, dtype, backend), noted[0][1] if noted else None
    finally:
        DEPARTURES.close(noted)


def _marked(departure: Departure) -> dict[str, Departure]:
    """Return the attributes of a leaf whose value left the graph there."""
    MARKED[0] += 1
    return {MARK: departure}


def variable(value: ArrayLike, *, name: str | None = None, dtype: DTypeLike | None = None) -> Variable:
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
    trace = current_trace() if TRACES else None
    if trace is not None:
        trace.make("a variable")
    departure = None
    if isinstance(value, (list, tuple)):
        array, departure = _departed(value, dtype, backend)
    else:
        array = _own_value(value, dtype, backend, written=True)
        if isinstance(value, Tensor) and (value.op is not None or DEPARTURES):
            departure = departure_of(value)  # another variable's value is copied without a word
    leaf = Variable(None, (), _marked(departure) if departure else NO_ATTRIBUTES, array, backend, True)
    leaf.name = name
    leaf._grad = None
    leaf.clock = [leaf.serial, 0]
    leaf.home = None
    leaf.pinned = False
    return leaf


def constant(value: ArrayLike, *, name: str | None = None, dtype: DTypeLike | None = None) -> Tensor:
    """Make a leaf without a gradient. What is given is copied.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.constant([1, 2, 3]).dtype
    dtype('int64')
    """
    backend = current_backend()
    departure = None
    if isinstance(value, (list, tuple)):
        array, departure = _departed(value, dtype, backend)
    else:
        array = _own_value(value, dtype, backend)
        if not isinstance(value, Tensor):
            departure = host.departure_in(value)
        elif DEPARTURES:
            departure_of(value)
    leaf = Tensor(None, (), _marked(departure) if departure else NO_ATTRIBUTES, array, backend, False)
    leaf.name = name
    return leaf


@guarded
def placeholder(shape: int | tuple[int, ...] = (), dtype: Any = "float64", *, name: str | None = None) -> Tensor:
    """Make a leaf without a value: expressions over it are pure graph, evaluated by feeding it.

    Examples
    --------
    >>> import graphdiff as gd
    >>> x = gd.placeholder((), name="x")
    >>> gd.Graph(x * x).evaluate({x: 3.0}).item()
    9.0
    """
    signature = lengths(shape, "placeholder"), host.dtype(dtype)
    leaf = Tensor(None, (), NO_ATTRIBUTES, None, current_backend(), True, signature)
    leaf.name = name
    return leaf
