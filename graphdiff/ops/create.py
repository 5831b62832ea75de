"""Tensors made from nothing: constants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from graphdiff import host
from graphdiff.arguments import lengths, require_real, whole
from graphdiff.backend import current_backend, use_backend
from graphdiff.errors import OpError
from graphdiff.op import FUNCTIONS, as_tensor, function
from graphdiff.tensor import Tensor, constant, departure_of
from graphdiff.typing import ArrayLike, DTypeLike, Function

Lengths = int | Sequence[int]


def _make(name: str, *arguments: Any, dtype: DTypeLike) -> Tensor:
    backend = current_backend()
    return constant(getattr(backend.namespace, name)(*arguments, dtype=backend.native_dtype(host.dtype(dtype))))


@function()
def zeros(shape: Lengths, *, dtype: DTypeLike = "float64") -> Tensor:
    """Return a constant of zeros."""
    return _make("zeros", lengths(shape, "zeros"), dtype=dtype)


@function()
def ones(shape: Lengths, *, dtype: DTypeLike = "float64") -> Tensor:
    """Return a constant of ones."""
    return _make("ones", lengths(shape, "ones"), dtype=dtype)


@function()
def full(shape: Lengths, fill_value: ArrayLike, *, dtype: DTypeLike | None = None) -> Tensor:
    """Return an array of `fill_value`, of its own dtype unless told otherwise."""
    if not isinstance(fill_value, Tensor) and not host.as_host(fill_value).ndim:
        kind_of = host.as_host(fill_value).dtype if dtype is None else dtype
        return _make("full", lengths(shape, "full"), fill_value, dtype=kind_of)
    filled = FUNCTIONS["broadcast_to"](as_tensor(fill_value), lengths(shape, "full"))
    return filled if dtype is None else filled.astype(dtype)


def _like(x: ArrayLike, make: Function[Tensor], *arguments: ArrayLike, dtype: DTypeLike | None) -> Tensor:
    """Make a constant of the shape of x, and of its dtype unless told otherwise, on its backend."""
    x = as_tensor(x)
    kind_of = x.dtype if dtype is None else dtype
    if x.backend is current_backend():
        return make(x.shape, *arguments, dtype=kind_of)
    with use_backend(x.backend):
        return make(x.shape, *arguments, dtype=kind_of)


@function()
def zeros_like(x: ArrayLike, /, *, dtype: DTypeLike | None = None) -> Tensor:
    """Return zeros of the shape and dtype of x."""
    return _like(x, zeros, dtype=dtype)


@function()
def ones_like(x: ArrayLike, /, *, dtype: DTypeLike | None = None) -> Tensor:
    """Return ones of the shape and dtype of x."""
    return _like(x, ones, dtype=dtype)


@function()
def full_like(x: ArrayLike, /, fill_value: ArrayLike, *, dtype: DTypeLike | None = None) -> Tensor:
    """Return `fill_value` in the shape and dtype of x."""
    x, filled = as_tensor(x), as_tensor(fill_value)
    if filled.ndim or filled.recorded:
        made = FUNCTIONS["broadcast_to"](filled, x.shape)
        return made.astype(x.dtype if dtype is None else dtype)
    return _like(x, full, fill_value, dtype=dtype)


@function()
def arange(start: float, /, stop: float | None = None, step: float = 1, *, dtype: DTypeLike | None = None) -> Tensor:
    """Return start, start + step, … below stop; with one argument, from 0."""
    first, last = (0, start) if stop is None else (start, stop)
    bounds = [_number(each, "arange") for each in (first, last, step)]
    if not bounds[2]:
        raise OpError("arange: a step of 0 reaches no end")
    if not all(math.isfinite(bound) for bound in bounds):
        raise OpError(f"arange: from {bounds[0]} to {bounds[1]} by steps of {bounds[2]} there is no count of numbers")
    return _make("arange", *bounds, dtype=host.as_host(bounds).dtype if dtype is None else dtype)


def _number(value: ArrayLike, name: str) -> Any:
    """Return a real number, of Python or NumPy or a tensor of one element."""
    single = as_tensor(value)
    require_real(single, name)
    if single.size != 1:
        raise OpError(f"{name} takes single numbers, not {single.describe()}")
    if isinstance(value, (int, float)):
        return value
    departure_of(single)
    return single.item()


@function()
def linspace(
    start: ArrayLike, stop: ArrayLike, /, num: int = 50, *, dtype: DTypeLike = "float64", endpoint: bool = True
) -> Tensor:
    """Return `num` evenly spaced numbers from start to stop."""
    num = whole(num, "linspace: the count of numbers", 0)
    if isinstance(start, Tensor) or isinstance(stop, Tensor):
        first, last = as_tensor(start), as_tensor(stop)
        part = linspace(0.0, 1.0, num, dtype=dtype, endpoint=endpoint)
        part = FUNCTIONS["reshape"](part, (-1, *(1,) * max(first.ndim, last.ndim)))
        return first * (1 - part) + last * part
    backend, wanted = current_backend(), host.dtype(dtype)
    if wanted.kind != "c":
        require_real(as_tensor(start), "linspace")
        require_real(as_tensor(stop), "linspace")
    native = backend.native_dtype(wanted)
    return constant(backend.namespace.linspace(start, stop, num, dtype=native, endpoint=endpoint))


@function()
def eye(rows: int, columns: int | None = None, /, *, k: int = 0, dtype: DTypeLike = "float64") -> Tensor:
    """Return a matrix with ones on its k-th diagonal."""
    rows = whole(rows, "eye: the count of rows", 0)
    columns = rows if columns is None else whole(columns, "eye: the count of columns", 0)
    k = whole(k, "eye: the number of a diagonal")
    backend = current_backend()
    native = backend.native_dtype(host.dtype(dtype))
    return constant(backend.namespace.eye(rows, columns, k=k, dtype=native))
