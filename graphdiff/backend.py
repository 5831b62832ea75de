"""What a backend provides, and how one is found.

A backend is a class with a name and an array-API namespace; everything else has a default. The engine asks
it for three things: the namespace on which the ops' rules are evaluated, the transfer of arrays from and to the
host, and, optionally, quicker kernels for single ops.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Generator, Iterator, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any, TypeVar

from graphdiff import host
from graphdiff.errors import BackendError, BackendNotInstalledError, DataError
from graphdiff.guard import guarded
from graphdiff.typing import Array, ArrayData, ArrayLike, Function, Namespace

Batch = TypeVar("Batch")

__all__ = [
    "ARRAY",
    "Backend",
    "Numbers",
    "backends",
    "current_backend",
    "fill_index",
    "get_backend",
    "require_labels",
    "require_within",
    "use_backend",
    "working_on",
]

ARRAY = "@"
"""Stands in an index template where an index array goes; see `fill_index`."""


def fill_index(template: tuple[object, ...], arrays: tuple[object, ...]) -> tuple[Any, ...]:
    """Return the index that a template and its arrays stand for.

    Examples
    --------
    >>> fill_index((slice(None), ARRAY, 0), ([1, 2],))
    (slice(None, None, None), [1, 2], 0)
    """
    remaining = iter(arrays)
    return tuple(next(remaining) if entry is ARRAY or entry == ARRAY else entry for entry in template)


def require_within(values: host.HostArray, low: float, high: float, told: str) -> None:
    """Raise DataError unless an array on the host, or whose like is, lies in [low, high]; it names the first row."""
    if values.size and not (values.min() >= low and (high == math.inf or values.max() <= high)):
        flat = values.reshape(-1)
        place = int((~((flat >= low) & (flat <= high))).argmax())
        row = place // math.prod(values.shape[1:])
        raise DataError(f"{told}, but row {row} of {values.dtype}{list(values.shape)} has {flat[place]:g}")


def require_labels(labels: host.HostArray, classes: int) -> None:
    """Raise DataError unless all labels, an array of integers on the host, are 0 … classes - 1; it names the row."""
    if not labels.size:
        return
    flat = labels.reshape(-1)
    # The quickest way by far: the array's own methods `min` and `max` take three times as long on few elements.
    if flat[flat.argmin()] >= 0 and flat[flat.argmax()] < classes:
        return
    place = int(((flat < 0) | (flat >= classes)).argmax())
    row = place // math.prod(labels.shape[1:])
    raise DataError(f"row {row}: label {flat[place]} is outside 0 … {classes - 1}")


class Numbers(Namespace):
    """The namespace `F` on which rules compute numbers: the backend's kernels, then its array-API functions.

    A name that neither has is looked up in `fallbacks`, the evaluation that the op itself declares.
    """

    is_graph = False

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.array_namespace = backend.namespace

    def __getattr__(self, name: str) -> Function[Array]:
        found = self.backend.kernels.get(name)
        if found is None:
            found = getattr(self.array_namespace, name, None)
        if found is None:
            found = self.fallback(name)
        setattr(self, name, found)
        return found

    def fallback(self, name: str) -> Function[Array]:
        """Return the op's own evaluation; replaced when the op registry is loaded."""
        raise AttributeError(name)


class Backend:
    """What a backend provides. Subclass it, set `name` and `namespace`; the rest may stay.

    Attributes
    ----------
    name : str
        The name users give to `use_backend`.
    namespace : module
        An array-API namespace.
    kernels : Mapping of str to callable
        Quicker or missing evaluations by op name, called as ``kernel(*arrays, **attributes)``.
    normal : frozenset of str
        The kernels whose results are in the backend's one form already: see `normalize`.
    install : str
        The command that installs what this backend needs; shown in errors.
    in_place : bool
        Whether a slice of an array is a view that can be written into.
    planner : callable or None
        Makes a program ready to run, as ``planner(program, disable, precision)``; None for a plan of plain calls.
    engines : tuple of str
        In what plans may be run, where there is a choice: the planner is then given two more arguments, `engine`, one
        of these or "auto", and `calls`, how many are expected, or None.
    plan_passes : tuple of str
        What the planner does that can be switched off.
    precisions : tuple of str
        Those of `compile` in which the planner can have products of float32 matrices computed.
    """

    name: str = ""
    namespace: Any = None
    kernels: Mapping[str, Function[Array]] = {}
    normal: frozenset[str] = frozenset()
    install: str = ""
    in_place: bool = False
    planner: Callable[..., Any] | None = None
    plan_passes: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ("float32",)
    engines: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.numbers = Numbers(self)

    @classmethod
    def why_unavailable(cls) -> str | None:
        """Return why the backend cannot be used here, or None where it can."""
        return None

    def from_host(self, array: ArrayLike, dtype: host.DType | None = None) -> Array:
        """Return a host array, number or nested sequence as an array of this backend."""
        held = host.as_host(array)
        made: Array = self.namespace.asarray(held, dtype=self.native_dtype(dtype or held.dtype))
        return made

    def to_host(self, array: Array) -> host.HostArray:
        """Return an array of this backend as a NumPy array."""
        return host.as_host(array)

    def native_dtype(self, dtype: host.DType) -> object:
        """Return the namespace's object for a NumPy dtype."""
        return getattr(self.namespace, "bool" if dtype.kind == "b" else dtype.name)

    def host_dtype(self, array: Array) -> host.DType:
        """Return the NumPy dtype of an array of this backend."""
        return host.dtype(array.dtype)

    def owns(self, array: object) -> bool:
        """Whether `array` is an array of this backend."""
        return getattr(array, "__array_namespace__", lambda: None)() is self.namespace

    def adopt(self, array: ArrayData) -> Array | None:
        """Return another library's array that lies on this backend's device as one of this backend's, uncopied.

        None for everything else, which goes by way of the host.
        """
        return None

    def copy(self, array: Array) -> Array:
        """Return a copy that shares no memory."""
        made: Array = self.namespace.asarray(array, copy=True)
        return made

    def shown(self, array: Array) -> Array:
        """Return what users may have of an array that graphs refer to: a copy, or a view that is not written into."""
        return self.copy(array)

    def normalize(self, value: Array) -> Array:
        """Bring a result to the backend's one form for 0-d values; called once per computed value."""
        return value

    def quiet(self) -> contextlib.AbstractContextManager[object]:
        """Return a context in which floating-point warnings are silent; derivative passes run in it."""
        return contextlib.nullcontext()

    def fed(self, batches: Generator[Batch, None, None]) -> Generator[Batch, None, None]:
        """Yield batches of host arrays, as they are or copied to the device ahead of their use.

        What is yielded need be valid only until the next batch is asked for.
        """
        return batches

    def synchronize(self) -> None:
        """Wait until all work given to the device is done."""

    def __repr__(self) -> str:
        return f"<graphdiff backend {self.name!r}>"

    def __reduce__(self) -> tuple[Function[Backend], tuple[str]]:
        return get_backend, (self.name,)


_BUILT_IN = {
    "numpy": ("graphdiff_numpy", "NumpyBackend"),
    "cupy": ("graphdiff_cupy", "CupyBackend"),
}
_INSTALL = {"cupy": 'pip install "graphdiff[cuda12]" or, for a driver of CUDA 13, "graphdiff[cuda13]"'}
_instances: dict[str, Backend] = {}


_CHOSEN: ContextVar[Backend | None] = ContextVar("graphdiff_backend", default=None)
"""The backend for new leaves, of a context as all that `graphdiff.tensor.context` holds; None is NumPy's."""


def _find_class(name: str) -> type[Backend]:
    """Look a backend up: the built-in table first, entry points (a slow scan) only for other names."""
    import importlib

    if name in _BUILT_IN:
        module, attribute = _BUILT_IN[name]
        try:
            result: type[Backend] = getattr(importlib.import_module(module), attribute)
            return result
        except ImportError as error:
            command = _INSTALL.get(name, f'pip install "graphdiff[{name}]"')
            message = f"backend {name!r} is not installed ({error}). Install it: {command}"
            raise BackendNotInstalledError(message) from error
    from importlib.metadata import entry_points

    points = {point.name: point for point in entry_points(group="graphdiff.backends")}
    if name not in points:
        known = ", ".join(sorted({*_BUILT_IN, *points}))
        raise BackendError(f"there is no backend {name!r}; known are: {known}")
    result = points[name].load()
    return result


@guarded
def get_backend(name: str | Backend) -> Backend:
    """Return the backend of that name, made once.

    Raises
    ------
    BackendError
        No such backend.
    BackendNotInstalledError
        Its package, or the device it needs, is missing; the message has the command that installs it.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.get_backend("numpy") is gd.constant(1.0).backend
    True
    """
    if isinstance(name, Backend):
        _instances.setdefault(name.name, name)
        return name
    if not isinstance(name, str):
        raise BackendError(f"a backend is given by its name, not as {name!r}")
    if name not in _instances:
        found = _find_class(name)
        reason = found.why_unavailable()
        if reason is not None:
            raise BackendNotInstalledError(f"backend {name!r} is not available: {reason}. {found.install}".strip())
        _instances[name] = found()
    return _instances[name]


def forget(name: str, *namespaces: object) -> None:
    """Let namespaces, those of all backends too, look a function's name up anew: it stands for another one now."""
    for namespace in (*namespaces, *(backend.numbers for backend in _instances.values())):
        namespace.__dict__.pop(name, None)


def current_backend() -> Backend:
    """Return the backend on which this thread or asyncio task makes new leaves.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.current_backend().name
    'numpy'
    """
    return _CHOSEN.get() or _instances.get("numpy") or get_backend("numpy")


class use_backend:
    """Choose the backend for new tensors, for good or within a ``with`` block.

    The choice is that of the thread or asyncio task which makes it. A thread begins with NumPy, a task with the choice
    of its maker.

    Parameters
    ----------
    name : str or Backend
        ``"numpy"``, ``"cupy"``, or the name a plug-in registered.

    Examples
    --------
    >>> import graphdiff as gd
    >>> with gd.use_backend("numpy"):
    ...     x = gd.variable(1.0)
    >>> x.backend.name
    'numpy'
    """

    def __init__(self, name: str | Backend) -> None:
        self._previous = _CHOSEN.get()
        _CHOSEN.set(get_backend(name))

    def __enter__(self) -> Backend:
        return current_backend()

    def __exit__(self, *exception: object) -> None:
        _CHOSEN.set(self._previous)


class working_on:
    """Make new tensors on `backend`, without floating-point warnings: how derivative passes run.

    A graph is differentiated on the backend that it lives on, whichever is chosen for new tensors meanwhile.
    """

    __slots__ = ("_backend", "_previous", "_quiet")

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def __enter__(self) -> None:
        self._quiet = self._backend.quiet()
        self._quiet.__enter__()
        self._previous = _CHOSEN.get()
        _CHOSEN.set(self._backend)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _CHOSEN.set(self._previous)
        self._quiet.__exit__(kind, error, trace)


def _names() -> Iterator[str]:
    from importlib.metadata import entry_points

    yield from sorted({*_BUILT_IN, *_instances, *(point.name for point in entry_points(group="graphdiff.backends"))})


def backends() -> dict[str, str]:
    """Return every known backend with ``"available"`` or the reason why it is not.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.backends()["numpy"]
    'available'
    """
    report: dict[str, str] = {}
    for name in _names():
        try:
            get_backend(name)
            report[name] = "available"
        except BackendError as error:
            report[name] = str(error)
    return report
