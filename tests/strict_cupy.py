"""Arrays that NumPy computes and that are as particular as CuPy's: no array of the host is mixed in or made by itself.

Where CuPy is installed, which needs no GPU, its functions are asked too whether they have the name and take the
arguments, and its ufuncs whether they take the dtypes.
"""

import inspect
import operator
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

CUPY = import_module("cupy") if find_spec("cupy") else None
ABSENT = {"vecdot", "matvec", "vecmat", "unstack", "cumulative_prod", "isdtype", "float128"}
"""NumPy's functions that CuPy 14.2 has not."""
ON_ARRAYS = {"all", "any", "broadcast_to", "expand_dims", "max", "mean", "min", "prod", "reshape", "sum"}
"""Functions that CuPy has for its own arrays alone."""
FROM_HOST = {"array", "asarray"}
GUARDS: list[Callable[[str], None]] = []
"""Called with what is about to be done that CUDA forbids while a stream records."""
OF_TWO = "add sub mul truediv floordiv mod pow matmul and or xor eq ne lt le gt ge"


@dataclass(frozen=True)
class Address:
    """A place in an array's memory."""

    ptr: int
    owner: Any

    def __add__(self, count: int) -> "Address":
        return Address(self.ptr + count, self.owner)


class DeviceArray:
    """An array as CuPy has it."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, shape: Any, dtype: Any, memptr: Address, strides: Any = None) -> None:
        whole, first = memptr.owner.reshape(-1).view(np.uint8), memptr.owner.ctypes.data
        self.held = np.ndarray(shape, dtype, whole, memptr.ptr - first, strides)

    @classmethod
    def holding(cls, held: Any) -> "DeviceArray":
        """Return what an array of NumPy's is on the device."""
        made = cls.__new__(cls)
        made.held = held
        return made

    @property
    def data(self) -> Address:
        """Where it begins."""
        return Address(self.held.ctypes.data, self.held)

    def __array__(self, *given: Any, **options: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __array_ufunc__(self, ufunc: Any, method: str, *given: Any, **options: Any) -> Any:
        assert method == "__call__"
        return getattr(NAMESPACE, ufunc.__name__)(*given, **options)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.held, name)
        if name in ("item", "tolist") or not callable(found):
            return lent(found)
        return lambda *given, **options: lent(found(*taken(given), **taken(options)))

    def __getitem__(self, place: Any) -> Any:
        return lent(self.held[taken(place)])

    def __setitem__(self, place: Any, value: Any) -> None:
        self.held[taken(place)] = taken(value)

    def __len__(self) -> int:
        return len(self.held)

    def __float__(self) -> float:
        return float(self.held)

    def __int__(self) -> int:
        return int(self.held)

    def __bool__(self) -> bool:
        return bool(self.held)


def _define_operators() -> None:
    for name in OF_TWO.split():
        of_two = getattr(operator, f"__{name}__")
        setattr(DeviceArray, f"__{name}__", lambda x, y, of_two=of_two: lent(of_two(x.held, taken(y))))
        setattr(DeviceArray, f"__r{name}__", lambda x, y, of_two=of_two: lent(of_two(taken(y), x.held)))
    for name in ("neg", "abs", "invert"):
        of_one = getattr(operator, f"__{name}__")
        setattr(DeviceArray, f"__{name}__", lambda x, of_one=of_one: lent(of_one(x.held)))


_define_operators()


def lent(value: Any) -> Any:
    """Return a result as CuPy returns it: no numbers, arrays without axes."""
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        if array.base is None:
            _guard("reserving memory for a result")
        return DeviceArray.holding(array)
    return tuple(map(lent, value)) if isinstance(value, tuple) and any(map(_is_array, value)) else value


def _guard(what: str) -> None:
    for guard in GUARDS:
        guard(what)


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic)


def taken(value: Any, host: bool = False) -> Any:
    """Return an argument as NumPy takes it; arrays of the host are refused."""
    if isinstance(value, DeviceArray):
        return value.held
    if isinstance(value, np.ndarray) and not host:
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, tuple | list):
        return type(value)(taken(each, host) for each in value)
    return {name: taken(each, host) for name, each in value.items()} if isinstance(value, dict) else value


class Function:
    """A function of NumPy that takes what CuPy's takes."""

    def __init__(self, name: str, theirs: Any) -> None:
        self.name, self.theirs = name, theirs
        self.ours: Callable[..., Any] = operator.attrgetter(name)(np)

    def __call__(self, *given: Any, **options: Any) -> Any:
        if inspect.isfunction(self.theirs):
            inspect.signature(self.theirs).bind(*given, **options)
        elif hasattr(self.theirs, "types"):
            self._check_dtypes([each.dtype for each in given if isinstance(each, DeviceArray)])
        if self.name in ON_ARRAYS and not isinstance(given[0], DeviceArray):
            raise TypeError(f"{self.name} of {type(given[0])}")
        if self.name == "linalg.solve" and given[1].ndim > 1 and given[0].shape[:-1] != given[1].shape[:-1]:
            raise ValueError("a must have (..., M, M) shape and b must have (..., M, K)")
        host = self.name in FROM_HOST
        if self.name.startswith("linalg."):
            _guard("cuSOLVER")
        return lent(self.ours(*taken(given, host), **taken(options, host)))

    def _check_dtypes(self, dtypes: list[Any]) -> None:
        taken = [signature.split("->")[0] for signature in self.theirs.types]
        fits = any(all(np.can_cast(dtype, kind) for kind in kinds for dtype in dtypes) for kinds in taken)
        assert fits, f"{self.name} takes {taken}, not {dtypes}"

    def reduceat(self, array: Any, starts: Any) -> Any:
        """Sums of parts, as differences of sums from the beginning: so CuPy makes them."""
        ends = np.append(starts.held[1:], len(array.held))
        sums = np.append(0, np.cumsum(array.held))
        return lent(sums[ends] - sums[starts.held])


class Namespace:
    """NumPy under CuPy's names: what CuPy has not is not there."""

    ndarray = DeviceArray

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix

    @staticmethod
    def asnumpy(array: Any) -> Any:
        return taken(array, host=True)

    def __getattr__(self, name: str) -> Any:
        path = f"{self.prefix}{name}"
        found = operator.attrgetter(path)(np)
        theirs = None
        if name in ABSENT:
            raise AttributeError(name)
        if CUPY is not None:
            theirs = operator.attrgetter(path)(CUPY)
        if inspect.ismodule(found):
            return Namespace(f"{path}.")
        return Function(path, theirs) if callable(found) and not isinstance(found, type) else found


NAMESPACE = Namespace()
