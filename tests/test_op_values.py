"""Values, shapes and dtypes of every function against NumPy's, eager and as pure graph, for arrays of every layout."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.op import FUNCTIONS, OPS

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """A call in graphdiff and the same in NumPy, with the shapes of the arguments."""

    name: str
    function: Callable[..., Any]
    reference: Callable[..., Any]
    shapes: tuple[Shape, ...]
    label: str
    make: Callable[..., Any] | None = None
    kinds: tuple[str, ...] = ("float64", "float32", "int64", "int32", "transposed", "strided")
    rtol: float = 1e-12

    @property
    def is_differentiated(self) -> bool:
        """No differences are taken of numbers of 1e30, nor of what hides its derivative."""
        return not {"huge", "stop_gradient"} & set(self.label.split())

    def arguments(self, kind: str) -> list[Any]:
        stream = np.random.default_rng(len(self.label))
        return [self._argument(shape, kind, stream) for shape in self.shapes]

    def _argument(self, shape: Shape, kind: str, stream: np.random.Generator) -> Any:
        if self.make is not None:
            array = self.make(stream, shape)
        else:
            array = np.asarray(stream.uniform(0.0 if kind == "uint8" else -3.0, 3.0, shape))
        if kind == "transposed":
            return np.asarray(array, order="F")
        if kind == "strided":
            wide = np.repeat(array, 2, axis=-1) if array.ndim else array
            view = wide[..., ::-2][..., ::-1] if array.ndim else wide
            assert view.shape == array.shape
            return view
        return np.round(array).astype(kind) if np.dtype(kind).kind in "iub" else array.astype(kind)


ROWS: list[Row] = []
ALL = ("float64", "float32", "float16", "int64", "int32", "uint8", "bool", "transposed", "strided")
REAL = ("float64", "float32", "transposed", "strided")
FLOATS = ("float64", "float32")


def row(
    name: str, function: Callable[..., Any], reference: Callable[..., Any], *shapes: Shape, label: str = "", **more: Any
) -> None:
    ROWS.append(Row(name, function, reference, shapes, " ".join([name, label, *map(str, shapes)]), **more))


# Reductions --------------------------------------------------------------------------------------------------


def floating(x: Any) -> Any:
    return x if x.dtype.kind == "f" else x.astype("float64")


def np_logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    x = floating(x)
    return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))


def np_softmax(x: Any, axis: int = -1) -> Any:
    x = floating(x)
    return np.exp(x) / np.sum(np.exp(x), axis=axis, keepdims=True)


def np_log_softmax(x: Any, axis: int = -1) -> Any:
    x = floating(x)
    return x - np.log(np.sum(np.exp(x), axis=axis, keepdims=True))


REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": np.sum,
    "prod": np.prod,
    "mean": np.mean,
    "var": np.var,
    "std": np.std,
    "any": np.any,
    "all": np.all,
    "max": np.max,
    "min": np.min,
    "logsumexp": np_logsumexp,
}
TAKES_EMPTY = {"sum", "prod", "any", "all"}
for _name, _reference in REDUCTIONS.items():
    _function = FUNCTIONS[_name]
    row(_name, _function, _reference, (), kinds=ALL)
    for _axis in (None, 0, -1, (0, 2), (2, 0, 1), ()):
        for _keep in (False, True):
            if _axis == () and _name in {"mean", "var", "std"}:
                continue  # over no axis at all: below
            row(
                _name,
                lambda x, f=_function, a=_axis, k=_keep: f(x, axis=a, keepdims=k),
                lambda x, f=_reference, a=_axis, k=_keep: f(x, axis=a, keepdims=k),
                (2, 3, 4),
                label=f"axis={_axis} keepdims={_keep}",
                kinds=ALL,
            )
    row(_name, lambda x, f=_function: f(x, axis=0), lambda x, f=_reference: f(x, axis=0), (3, 0))
    if _name in TAKES_EMPTY:
        row(_name, _function, _reference, (0,))
        row(_name, lambda x, f=_function: f(x, axis=1), lambda x, f=_reference: f(x, axis=1), (3, 0), label="axis=1")
for _name in ("mean", "var", "std"):
    _function, _reference = FUNCTIONS[_name], REDUCTIONS[_name]
    row(
        _name, lambda x, f=_function: f(x, axis=()), lambda x, f=_reference: f(x, axis=()), (2, 3), label="over no axis"
    )
for _name in ("var", "std"):
    for _option in ("ddof", "correction"):
        row(
            _name,
            lambda x, f=FUNCTIONS[_name], o=_option: f(x, axis=1, **{o: 1}),
            lambda x, f=REDUCTIONS[_name], o=_option: f(x, axis=1, **{o: 1}),
            (3, 4),
            label=_option,
        )
row("sum", lambda x: gd.sum(x, dtype="float32"), lambda x: np.sum(x, dtype="float32"), (3, 4), label="dtype", rtol=1e-5)
row(
    "mean", lambda x: gd.mean(x, dtype="float32"), lambda x: np.mean(x, dtype="float32"), (3,), label="dtype", rtol=1e-5
)
row("prod", lambda x: gd.prod(x, dtype="float64"), lambda x: np.prod(x, dtype="float64"), (3, 2), label="dtype")
for _name, _reference in {"argmax": np.argmax, "argmin": np.argmin}.items():
    for _axis in (None, 0, -1):
        for _keep in (False, True):
            row(
                _name,
                lambda x, f=FUNCTIONS[_name], a=_axis, k=_keep: f(x, axis=a, keepdims=k),
                lambda x, f=_reference, a=_axis, k=_keep: f(x, axis=a, keepdims=k),
                (4, 5),
                label=f"axis={_axis} keepdims={_keep}",
            )
    row(_name, FUNCTIONS[_name], _reference, (), label="0-d")
for _name, _reference in {"cumsum": np.cumsum, "cumprod": np.cumprod}.items():
    for _axis, _shapes in ((None, [(3, 4), (), (0,)]), (0, [(3, 4), (1,), (0, 2), (3, 0)]), (-1, [(2, 3, 5)])):
        for _shape in _shapes:
            row(
                _name,
                lambda x, f=FUNCTIONS[_name], a=_axis: f(x, axis=a),
                lambda x, f=_reference, a=_axis: f(x, axis=a),
                _shape,
                label=f"axis={_axis}",
            )
for _name, _reference in {"softmax": np_softmax, "log_softmax": np_log_softmax}.items():
    for _axis, _shape in ((-1, (3, 4)), (0, (3, 4)), (1, (2, 3, 4)), (0, (1,)), (-1, (0, 3))):
        row(
            _name,
            lambda x, f=FUNCTIONS[_name], a=_axis: f(x, axis=a),
            lambda x, f=_reference, a=_axis: f(x, axis=a),
            _shape,
            label=f"axis={_axis}",
            kinds=ALL,
        )

# Shape -------------------------------------------------------------------------------------------------------

for _shape, _new in (
    ((2, 3), (3, 2)),
    ((2, 3), (-1,)),
    ((), (1, 1)),
    ((1,), ()),
    ((0, 3), (3, 0)),
    ((2, 6), (3, -1, 2)),
):
    row("reshape", lambda x, n=_new: gd.reshape(x, n), lambda x, n=_new: np.reshape(x, n), _shape, label=f"to {_new}")
row("reshape", lambda x: gd.reshape(x, 6), lambda x: np.reshape(x, 6), (2, 3), label="to an integer")
for _shape in ((2, 3), (), (0, 2), (4,)):
    row("ravel", gd.ravel, np.ravel, _shape)
    row("transpose", gd.transpose, np.transpose, _shape)
    row("flip", gd.flip, np.flip, _shape)
    row("squeeze", gd.squeeze, np.squeeze, _shape)
    row("expand_dims", lambda x: gd.expand_dims(x, 0), lambda x: np.expand_dims(x, 0), _shape)
    row("expand_dims", lambda x: gd.expand_dims(x, (0, -1)), lambda x: np.expand_dims(x, (0, -1)), _shape, label="two")
    row("roll", lambda x: gd.roll(x, 5), lambda x: np.roll(x, 5), _shape)
    row("repeat", lambda x: gd.repeat(x, 2), lambda x: np.repeat(x, 2), _shape)
    row("tile", lambda x: gd.tile(x, 3), lambda x: np.tile(x, 3), _shape)
    row("tile", lambda x: gd.tile(x, (2, 1, 3)), lambda x: np.tile(x, (2, 1, 3)), _shape, label="thrice")
    row("stack", lambda x, y: gd.stack([x, y]), lambda x, y: np.stack([x, y]), _shape, _shape)
    row("concatenate", lambda x, y: gd.concatenate([x, y], axis=None), lambda x, y: np.concatenate([x, y], axis=None),
        _shape, _shape, label="flat")  # fmt: skip
    row("zeros_like", gd.zeros_like, np.zeros_like, _shape)
    row("ones_like", gd.ones_like, np.ones_like, _shape)
    row("full_like", lambda x: gd.full_like(x, 7), lambda x: np.full_like(x, 7), _shape)
    row("astype", lambda x: gd.astype(x, "float32"), lambda x: x.astype("float32"), _shape, label="to float32")
    row("astype", lambda x: gd.astype(x, "int32"), lambda x: x.astype("int32"), _shape, label="to int32")
    row("astype", lambda x: gd.astype(x, "bool"), lambda x: x.astype("bool"), _shape, label="to bool")
row("transpose", lambda x: gd.transpose(x, (1, 2, 0)), lambda x: np.transpose(x, (1, 2, 0)), (2, 3, 4), label="axes")
row("permute_dims", lambda x: gd.permute_dims(x, (2, 0, 1)), lambda x: np.permute_dims(x, (2, 0, 1)), (2, 3, 4))
row("permute_dims", lambda x: gd.permute_dims(x, (-1, 0)), lambda x: np.permute_dims(x, (-1, 0)), (2, 3))
row("matrix_transpose", gd.matrix_transpose, np.matrix_transpose, (2, 3, 4))
row("swapaxes", lambda x: gd.swapaxes(x, 0, -1), lambda x: np.swapaxes(x, 0, -1), (2, 3, 4))
row("moveaxis", lambda x: gd.moveaxis(x, 0, -1), lambda x: np.moveaxis(x, 0, -1), (2, 3, 4))
row("moveaxis", lambda x: gd.moveaxis(x, (0, 1), (-1, 0)), lambda x: np.moveaxis(x, (0, 1), (-1, 0)), (2, 3, 4, 5))
row("moveaxis", lambda x: gd.moveaxis(x, (3, 0), (0, 2)), lambda x: np.moveaxis(x, (3, 0), (0, 2)), (2, 3, 4, 5),
    label="other axes")  # fmt: skip
row("expand_dims", lambda x: gd.expand_dims(x, (1, 3)), lambda x: np.expand_dims(x, (1, 3)), (2, 3), label="between")
row("squeeze", gd.squeeze, np.squeeze, (1, 3, 1))
row("squeeze", lambda x: gd.squeeze(x, -1), lambda x: np.squeeze(x, -1), (1, 3, 1), label="one")
for _shape, _new in (((3,), (2, 3)), ((2, 1), (4, 2, 3)), ((), (2,)), ((), ()), ((1, 3), (0, 3))):
    row(
        "broadcast_to",
        lambda x, n=_new: gd.broadcast_to(x, n),
        lambda x, n=_new: np.broadcast_to(x, n),
        _shape,
        label=f"to {_new}",
    )
for _axis in (0, 1, -1):
    row("stack", lambda x, y, a=_axis: gd.stack([x, y], axis=a), lambda x, y, a=_axis: np.stack([x, y], axis=a),
        (2, 3), (2, 3), label=f"axis={_axis}")  # fmt: skip
row("concatenate", lambda x, y: gd.concatenate([x, y], axis=1), lambda x, y: np.concatenate([x, y], axis=1),
    (2, 3), (2, 0))  # fmt: skip
row("concatenate", lambda x, y: gd.concatenate([x, y, x]), lambda x, y: np.concatenate([x, y, x]), (2, 3), (1, 3))
row("concatenate", lambda x: gd.concatenate([x, np.ones(2, "float32")]),
    lambda x: np.concatenate([x, np.ones(2, "float32")]), (3,), label="dtypes differ")  # fmt: skip
row("split", lambda x: gd.split(x, 3, axis=1), lambda x: np.split(x, 3, axis=1), (2, 6))
row("split", lambda x: gd.split(x, (1, 3)), lambda x: np.split(x, (1, 3)), (5, 2), label="at indices")
row("tile", lambda x: gd.tile(x, 0), lambda x: np.tile(x, 0), (2, 3), label="none")
row("repeat", lambda x: gd.repeat(x, [1, 0, 2], axis=-1), lambda x: np.repeat(x, [1, 0, 2], axis=-1), (2, 3))
row("flip", lambda x: gd.flip(x, (0, -1)), lambda x: np.flip(x, (0, -1)), (2, 3, 4), label="two axes")
row("roll", lambda x: gd.roll(x, (1, -2), (0, 1)), lambda x: np.roll(x, (1, -2), (0, 1)), (3, 4), label="two axes")
row("roll", lambda x: gd.roll(x, 2, -1), lambda x: np.roll(x, 2, -1), (3, 4), label="one axis")
row("roll", lambda x: gd.roll(x, 7, (0, 1)), lambda x: np.roll(x, 7, (0, 1)), (3, 4), label="one shift, two axes")
for _width in (1, (2, 0), ((1, 2), (0, 3)), ((1,), (2,))):
    for _mode in ("constant", "edge", "reflect", "wrap"):
        row("pad", lambda x, w=_width, m=_mode: gd.pad(x, w, m), lambda x, w=_width, m=_mode: np.pad(x, w, m), (4, 5),
            label=f"{_width} {_mode}")  # fmt: skip
row("pad", lambda x: gd.pad(x, 1, constant_values=4), lambda x: np.pad(x, 1, constant_values=4), (2, 3), label="fours")
row("pad", lambda x: gd.pad(x, 1), lambda x: np.pad(x, 1), (0, 3))

# Indexing ----------------------------------------------------------------------------------------------------


def np_topk(x: Any, k: int, axis: int) -> Any:
    """The greatest by Python's own stable sort, line by line."""

    def line(row: Any) -> Any:
        return np.array(sorted(range(len(row)), key=lambda place: (-row[place].item(), place))[:k], int)

    chosen = np.apply_along_axis(line, axis, x) if k else np.zeros((0, *x.shape[1:]), int)
    return np.take_along_axis(x, chosen, axis), chosen


INDICES: dict[str, Any] = {
    "integer": 1,
    "negative": -1,
    "NumPy integer": np.int64(2),
    "slice": slice(1, None),
    "reversed": slice(None, None, -2),
    "empty slice": slice(2, 1),
    "tuple": (0, slice(None), -1),
    "ellipsis": (..., 0),
    "new axes": (None, ..., None, 1),
    "list": [0, 2, 0],
    "empty list": np.zeros(0, int),
    "grid": np.array([[0, 1], [2, -1]]),
    "two arrays": ([0, 1], [2, 0]),
    "torn arrays": ([0, 1], slice(None), [2, 0]),
    "broadcast arrays": ([[0], [1]], [0, 1, 2]),
    "array last": (..., [1, 0]),
    "integer and array": (slice(None), 1, [3, 0]),
    "mask of rows": np.array([True, False, True]),
    "mask of all": np.arange(3 * 3 * 4).reshape(3, 3, 4) % 5 == 0,
    "mask and slice": (slice(1, 3), np.array([True, False, True])),
}
for _name, _index in INDICES.items():
    row("getitem", lambda x, i=_index: x[i], lambda x, i=_index: x[i], (3, 3, 4), label=_name)


def np_set(x: Any, index: Any, value: Any) -> Any:
    result = np.array(x)
    result[index] = value
    return result


def np_add(x: Any, index: Any, value: Any) -> Any:
    result = np.array(x)
    np.add.at(result, index, np.broadcast_to(value, result[index].shape).astype(x.dtype))
    return result


for _name, _index in INDICES.items():
    row("at", lambda x, v, i=_index: gd.at(gd.op.as_tensor(x), i).set(v), lambda x, v, i=_index: np_set(x, i, v),
        (3, 3, 4), (), label=f"set {_name}")  # fmt: skip
    if "mask" not in _name:
        row("at", lambda x, v, i=_index: gd.at(gd.op.as_tensor(x), i).add(v), lambda x, v, i=_index: np_add(x, i, v),
            (3, 3, 4), (), label=f"add {_name}")  # fmt: skip
row("take", lambda x: gd.take(x, [2, 0, 2]), lambda x: np.take(x, [2, 0, 2]), (2, 3), label="flat")
row("take", lambda x: gd.take(x, [[1], [0]], axis=-1), lambda x: np.take(x, [[1], [0]], axis=-1), (2, 3), label="axis")
row("take", lambda x: gd.take(x, 1, axis=0), lambda x: np.take(x, 1, axis=0), (2, 3), label="integer")
_ALONG = np.array([[0, 1, 0], [1, 1, 0]])
for _axis in (0, -1):
    row("take_along_axis", lambda x, a=_axis: gd.take_along_axis(x, _ALONG, axis=a),
        lambda x, a=_axis: np.take_along_axis(x, _ALONG, axis=a), (2, 3), label=f"axis={_axis}")  # fmt: skip
row("undefined_derivative", lambda x: gd.undefined_derivative(x, np.ones((2, 1))), lambda x: +x, (2, 3), kinds=REAL)
row(
    "label_weights",
    lambda x: gd.label_weights(gd.astype(x, "int64"), classes=3, value=-0.5, dtype=np.dtype("float32")),
    lambda x: (-0.5 * (x.astype("int64")[..., None] == np.arange(3))).astype("float32"),
    (5,),
    label="stop_gradient",
    make=lambda stream, shape: stream.uniform(0, 3, shape),
)
row(
    "cross_entropy",
    lambda x: gd.nn.softmax_cross_entropy(x, np.array([2, 0, 1, 2])),
    lambda x: -np.mean(np_log_softmax(x)[np.arange(4), [2, 0, 1, 2]]),
    (4, 3),
    kinds=(*REAL, "int64"),
)
row(
    "weighted_total",
    lambda x, y: FUNCTIONS["weighted_total"](x, gd.where(y > 0, y, 0.0)),
    lambda x, y: np.sum(x * np.maximum(y, 0), axis=(-2, -1)),
    (4, 3),
    (4, 3),
    kinds=REAL,
)
row("within", lambda x: FUNCTIONS["within"](x, gd.abs(x), low=0, high=np.inf, told=""), lambda x: x, (2, 3), kinds=REAL)
row(
    "divergence",
    lambda t, p: FUNCTIONS["divergence"](gd.abs(t) + 1, p),
    lambda t, p: (abs(t) + 1) * (np.log(abs(t) + 1) - p),
    (2, 3),
    (2, 3),
    kinds=REAL,
)
row("barrier", gd.barrier, lambda x: x, (2, 3), kinds=ALL)
row("sum_wide", lambda x: gd.sum_wide(x, scale=2.0), lambda x: 0 * x + 2 * x.sum(-1, keepdims=True), (2, 3), kinds=REAL)
row("one_hot", lambda x: gd.one_hot(gd.astype(x, "int64"), 3), lambda x: np.eye(9)[x.astype("int64")][..., :3], (5,),
    make=lambda stream, shape: stream.uniform(0, 5, shape))  # fmt: skip
row("one_hot", lambda x: gd.one_hot(gd.astype(x, "int64"), 4, dtype="float32"),
    lambda x: np.eye(4, dtype="float32")[x.astype("int64")], (2, 3),
    make=lambda stream, shape: stream.uniform(0, 3, shape))  # fmt: skip
for _offset in (0, 1, -1, 3, -4):
    row("diagonal", lambda x, k=_offset: gd.diagonal(x, k), lambda x, k=_offset: np.diagonal(x, k), (3, 4),
        label=f"offset={_offset}")  # fmt: skip
    row("diag", lambda x, k=_offset: gd.diag(x, k), lambda x, k=_offset: np.diag(x, k), (3,), label=f"{_offset}")
    row("diag", lambda x, k=_offset: gd.diag(x, k), lambda x, k=_offset: np.diag(x, k), (4, 3), label=f"{_offset}")
    row("tril", lambda x, k=_offset: gd.tril(x, k), lambda x, k=_offset: np.tril(x, k), (2, 3, 4), label=f"{_offset}")
    row("triu", lambda x, k=_offset: gd.triu(x, k), lambda x, k=_offset: np.triu(x, k), (4, 3), label=f"{_offset}")
    row("trace", lambda x, k=_offset: gd.trace(x, k), lambda x, k=_offset: np.trace(x, k), (3, 4), label=f"{_offset}")
row("diagonal", lambda x: gd.diagonal(x, 1, 2, 0), lambda x: np.diagonal(x, 1, 2, 0), (3, 2, 4), label="other axes")
row("diagonal", gd.diagonal, np.diagonal, (0, 3))
row("trace", lambda x: gd.trace(x, 0, 1, 2), lambda x: np.trace(x, 0, 1, 2), (2, 3, 3), label="of a stack")
for _name, _reference in {"sort": np.sort, "argsort": lambda x, axis: np.argsort(x, axis, stable=True)}.items():
    for _axis, _shape in ((-1, (3, 5)), (0, (5, 3)), (1, (2, 4, 2)), (0, (0,)), (-1, (2, 0))):
        row(_name, lambda x, f=FUNCTIONS[_name], a=_axis: f(x, a), lambda x, f=_reference, a=_axis: f(x, axis=a),
            _shape, label=f"axis={_axis}")  # fmt: skip
for _axis in (None, 0, -1, (0, 2)):
    for _keep in (False, True):
        row("median", lambda x, a=_axis, k=_keep: gd.median(x, a, keepdims=k),
            lambda x, a=_axis, k=_keep: np.median(floating(x), a, keepdims=k), (2, 3, 4), label=f"{_axis} {_keep}",
            kinds=ALL)  # fmt: skip
        for _method in ("linear", "lower", "higher", "midpoint", "nearest"):
            for _fraction in (0.0, 0.3, [0.5, 1.0], [[0.1], [0.2]]):
                row("quantile",
                    lambda x, q=_fraction, a=_axis, m=_method, k=_keep: gd.quantile(x, q, a, method=m, keepdims=k),
                    lambda x, q=_fraction, a=_axis, m=_method, k=_keep: np.quantile(
                        floating(x), np.asarray(q, floating(x).dtype), a, method=m, keepdims=k),
                    (2, 3, 4), label=f"{_fraction} {_axis} {_method} {_keep}", kinds=("float64", "int64"))  # fmt: skip
row("median", gd.median, np.median, (), kinds=FLOATS)
row("percentile", lambda x: gd.percentile(x, [12.5, 80], 0), lambda x: np.percentile(x, [12.5, 80], 0), (5, 2),
    kinds=("float64", "int64"))  # fmt: skip
for _axis, _k in ((-1, 2), (0, 0), (1, 5)):
    row("topk", lambda x, a=_axis, k=_k: gd.topk(x, k, a), lambda x, a=_axis, k=_k: np_topk(x, k, a), (3, 5),
        label=f"{_k} axis={_axis}", kinds=ALL)  # fmt: skip
_MASK = np.array([True, False, True])
row("where", lambda x, y: gd.where(_MASK, x, y), lambda x, y: np.where(_MASK, x, y), (2, 3), (3,))
row("where", lambda x, y: gd.where(x > 0, x, y), lambda x, y: np.where(x > 0, x, y), (2, 1), (0,))
row("where", lambda x, y: gd.where(x > 0, x, y), lambda x, y: np.where(x > 0, x, y), (), ())
row("where", lambda x: gd.where(x > 0, x, 0), lambda x: np.where(x > 0, x, 0), (3,), label="a number")
row("clip", lambda x: gd.clip(x, -1, 1), lambda x: np.clip(x, -1, 1), (3, 4))
row("clip", lambda x: gd.clip(x, None, 1), lambda x: np.clip(x, None, 1), (3,), label="above")
row("clip", lambda x: gd.clip(x, 0, None), lambda x: np.clip(x, 0, None), (0,), label="below")

# Products ----------------------------------------------------------------------------------------------------

for _left, _right in (
    ((2, 3), (3, 4)),
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 2)),
    ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
    ((5, 1, 2, 3), (4, 3, 2)),
    ((3,), (5, 3, 2)),
    ((5, 2, 3), (3,)),
    ((2, 0), (0, 3)),
    ((0,), (0,)),
    ((0, 3), (3, 2)),
):
    row("matmul", gd.matmul, np.matmul, _left, _right)
for _left, _right in (((2, 3), (3,)), ((), (2, 3)), ((2, 3), (4, 3, 2)), ((3,), (3,)), ((4, 2, 3), (3,)), ((), ())):
    row("dot", gd.dot, np.dot, _left, _right)
row("outer", gd.outer, np.outer, (2,), (3,))
row("outer", gd.outer, np.outer, (2, 2), (3,))
row("outer", gd.outer, np.outer, (), (0,))
row("vecdot", gd.vecdot, np.vecdot, (2, 3), (3,))
row("vecdot", lambda x, y: gd.vecdot(x, y, axis=0), lambda x, y: np.vecdot(x, y, axis=0), (3, 2), (3, 2), label="axis")
for _axes, _left, _right in (
    (2, (4, 2, 3), (2, 3, 5)),
    (1, (2, 3), (3,)),
    (0, (2,), (3,)),
    (((0, 2), (1, 0)), (2, 3, 4), (4, 2)),
    ((-1, 0), (2, 3), (3, 2)),
    (1, (2, 0), (0, 3)),
):
    row("tensordot", lambda x, y, a=_axes: gd.tensordot(x, y, axes=a), lambda x, y, a=_axes: np.tensordot(x, y, axes=a),
        _left, _right, label=f"{_axes}")  # fmt: skip
for _subscripts, *_shapes in (
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,jk", (2, 3), (3, 4)),
    ("ji", (2, 3)),
    ("ii", (3, 3)),
    ("ii->i", (3, 3)),
    ("ij->", (2, 3)),
    ("i,j->ij", (2,), (3,)),
    ("...ij,...jk->...ik", (5, 2, 3), (3, 4)),
    ("...i->...", (2, 3, 4)),
    ("i...,i...", (2, 3), (2, 1)),
    ("b i j, b j -> b i", (4, 2, 3), (4, 3)),
    ("i,ij,jk->k", (2,), (2, 3), (3, 4)),
    ("ij,ij->j", (1, 3), (2, 3)),
    ("iij->j", (2, 2, 3)),
    (",i->i", (), (3,)),
    ("ij,jk->ik", (2, 0), (0, 3)),
    ("ijj,jk->ki", (2, 3, 3), (3, 4)),
):
    row("einsum", lambda *x, s=_subscripts: gd.einsum(s, *x), lambda *x, s=_subscripts: np.einsum(s, *x), *_shapes,
        label=_subscripts)  # fmt: skip
row("cross", gd.cross, np.cross, (2, 3), (3,))
row("cross", lambda x, y: gd.cross(x, y, axis=0), lambda x, y: np.cross(x, y, axis=0), (3, 2), (3, 2), label="axis=0")

# Linear algebra ----------------------------------------------------------------------------------------------


def regular(stream: np.random.Generator, shape: Shape) -> Any:
    """Random numbers; where they make square matrices, far from singular."""
    array = stream.normal(size=shape)
    return array + 3 * np.eye(shape[-1]) if len(shape) > 1 and shape[-1] == shape[-2] else array


def symmetric(stream: np.random.Generator, shape: Shape) -> Any:
    root = stream.normal(size=shape)
    return root @ root.swapaxes(-1, -2) + shape[-1] * np.eye(shape[-1])


def square(name: str, reference: Callable[..., Any], make: Any, function: Callable[..., Any] | None = None) -> None:
    for shape in ((3, 3), (2, 4, 4), (1, 1), (0, 2, 2), (0, 0)):
        row(name, function or getattr(gd.linalg, name), reference, shape, make=make, kinds=REAL, rtol=1e-9)
    row(name, function or getattr(gd.linalg, name), reference, (2, 2), make=lambda stream, shape: np.diag((3.0, 2.0)),
        kinds=("int64",), label="ints")  # fmt: skip


square("inv", np.linalg.inv, regular)
square("det", np.linalg.det, regular)
square("cofactor", lambda x: np.linalg.det(x)[..., None, None] * np.linalg.inv(x).swapaxes(-1, -2), regular,
       lambda x: gd.cofactor(gd.astype(x, "float64") if x.dtype == "int64" else x))  # fmt: skip
square("slogdet", np.linalg.slogdet, regular)
square("pinv", np.linalg.pinv, regular)
for _power in (0, 1, 2, 7, -1, -4):
    for _shape in ((3, 3), (2, 2, 2)):
        row("matrix_power", lambda x, n=_power: gd.linalg.matrix_power(x, n),
            lambda x, n=_power: np.linalg.matrix_power(x, n), _shape, make=regular, label=f"{_power}",
            kinds=(*REAL, *["int64"] * (_power >= 0)), rtol=1e-9)  # fmt: skip
square("cholesky", np.linalg.cholesky, symmetric)
square("eigvalsh", np.linalg.eigvalsh, symmetric)
square("eigh", lambda x: (np.linalg.eigh(x)[0], abs(np.linalg.eigh(x)[1])), symmetric,
       lambda x: (gd.linalg.eigh(x)[0], abs(gd.linalg.eigh(x)[1])))  # fmt: skip
for _shape in ((3, 3), (4, 2), (2, 4), (2, 3, 2), (1, 1), (0, 2, 3), (3, 0), (0, 3)):
    row("svd", lambda x: tuple(abs(part) for part in gd.linalg.svd(x, full_matrices=False)),
        lambda x: tuple(abs(part) for part in np.linalg.svd(x, full_matrices=False)), _shape, kinds=REAL,
        rtol=1e-9)  # fmt: skip
    row("qr", gd.linalg.qr, np.linalg.qr, _shape, kinds=REAL, rtol=1e-9)
    row("svdvals", gd.linalg.svdvals, np.linalg.svdvals, _shape, kinds=REAL, rtol=1e-9)
    row("pinv", gd.linalg.pinv, np.linalg.pinv, _shape, kinds=REAL, rtol=1e-9)
row("pinv", lambda x: gd.linalg.pinv(x, 0.5), lambda x: np.linalg.pinv(x, 0.5), (3, 3), kinds=REAL, rtol=1e-9,
    label="of lower rank", make=lambda stream, shape: np.diag([3.0, 2.0, 0.0])[[1, 0, 2]])  # fmt: skip
row("pinv", lambda x: gd.linalg.pinv(x, rtol=0.5), lambda x: np.linalg.pinv(x, rtol=0.5), (3, 3), kinds=REAL, rtol=1e-9,
    label="by rtol", make=lambda stream, shape: np.diag([3.0, 2.0, 0.0])[[1, 0, 2]])  # fmt: skip
for _order in (1, -1, 2, -2, np.inf, -np.inf, "nuc"):
    for _axes in ((0, 1), (2, 0)):
        for _keep in (False, True):
            row("norm", lambda x, o=_order, a=_axes, k=_keep: gd.linalg.norm(x, o, a, k),
                lambda x, o=_order, a=_axes, k=_keep: np.linalg.norm(x, o, a, k), (2, 3, 4),
                label=f"of matrices {_order} {_axes} {_keep}", rtol=1e-9)  # fmt: skip
    row("norm", lambda x, o=_order: gd.linalg.norm(x, o), lambda x, o=_order: np.linalg.norm(x, o), (2, 3),
        label=f"of a matrix {_order}", rtol=1e-9)  # fmt: skip
for _left, _right in (((3, 3), (3,)), ((3, 3), (3, 2)), ((2, 3, 3), (3, 2)), ((3, 3), (2, 3, 1)), ((2, 2), (2, 0))):
    row("solve", gd.linalg.solve, np.linalg.solve, _left, _right, make=regular, kinds=REAL, rtol=1e-9)
for _order in (None, 0, 1, 2, 3, 0.5, -1, np.inf, -np.inf):
    row(
        "norm",
        lambda x, o=_order: gd.linalg.norm(x, o),
        lambda x, o=_order: np.linalg.norm(x, o),
        (5,),
        label=f"{_order}",
    )
    for _keep in (False, True):
        row("norm", lambda x, o=_order, k=_keep: gd.linalg.norm(x, o, 1, k),
            lambda x, o=_order, k=_keep: np.linalg.norm(x, o, 1, k), (2, 3), label=f"{_order} {_keep}")  # fmt: skip
row("norm", lambda x: gd.linalg.norm(x, "fro"), lambda x: np.linalg.norm(x, "fro"), (2, 3), label="Frobenius")
row("norm", gd.linalg.norm, np.linalg.norm, (2, 3, 2))
row(
    "norm",
    lambda x: gd.linalg.norm(x, None, (0, 2)),
    lambda x: np.linalg.norm(x, None, (0, 2)),
    (2, 3, 2),
    label="axes",
)
row("norm", gd.linalg.norm, np.linalg.norm, (0,))
row("norm", gd.linalg.norm, np.linalg.norm, (3,), label="huge", make=lambda stream, shape: np.full(shape, 1e30),
    kinds=("float64",))  # fmt: skip


# Written in others -------------------------------------------------------------------------------------------

PLACES = np.array([-2.0, -0.5, 1.0, 2.5])
WEIGHTS = np.array([1.0, 3.0, 0.5])
DERIVED: list[tuple[str, Callable[[Any, Any], Any], tuple[Shape, ...]]] = [
    ("round", lambda m, x: m.round(x, 1), ((2, 3),)),
    ("round", lambda m, x: m.around(x, decimals=-1), ((5,),)),
    ("deg2rad", lambda m, x: m.radians(x), ((2, 3),)),
    ("rad2deg", lambda m, x: m.degrees(x), ((3,),)),
    ("exp2", lambda m, x: m.exp2(x), ((2, 3),)),
    ("nan_to_num", lambda m, x: m.nan_to_num(x), ((2, 3),)),
    ("nan_to_num", lambda m, x: m.nan_to_num(x * np.array([np.inf, 1.0, -np.inf, np.nan])), ((4,),)),
    *(("atleast_1d", lambda m, x: m.atleast_1d(x), (shape,)) for shape in ((), (3,), (2, 3))),
    *(("atleast_2d", lambda m, x: m.atleast_2d(x), (shape,)) for shape in ((), (3,), (2, 3))),
    *(("vstack", lambda m, x: m.vstack([x, 2 * x]), (shape,)) for shape in ((), (3,), (2, 3))),
    *(("hstack", lambda m, x: m.hstack([x, 2 * x]), (shape,)) for shape in ((), (3,), (2, 3), (2, 3, 2))),
    *(("column_stack", lambda m, x: m.column_stack([x, 2 * x]), (shape,)) for shape in ((3,), (2, 3))),
    ("append", lambda m, x: m.append(x, x[0]), ((2, 3),)),
    ("append", lambda m, x: m.append(x, x[:1], axis=0), ((2, 3),)),
    ("unstack", lambda m, x: m.unstack(x, axis=1), ((2, 3),)),
    ("meshgrid", lambda m, x: m.meshgrid(x, x[:2]), ((3,),)),
    ("meshgrid", lambda m, x: m.meshgrid(x, x[:2], x[1:], indexing="ij"), ((3,),)),
    ("meshgrid", lambda m, x: m.meshgrid(x), ((3,),)),
    ("flipud", lambda m, x: m.flipud(x), ((2, 3),)),
    ("fliplr", lambda m, x: m.fliplr(x), ((2, 3),)),
    ("copy", lambda m, x: m.copy(x), ((2, 3),)),
    *(("diff", lambda m, x, n=n: m.diff(x, n), ((2, 4),)) for n in (0, 1, 3)),
    ("diff", lambda m, x: m.diff(x, axis=0), ((3, 2),)),
    ("trapezoid", lambda m, x: m.trapezoid(x, dx=0.5), ((2, 4),)),
    ("trapezoid", lambda m, x: m.trapezoid(x, PLACES), ((2, 4),)),
    ("trapezoid", lambda m, x: m.trapezoid(x, PLACES, axis=0), ((4, 2),)),
    ("trapezoid", lambda m, x: m.trapezoid(x, x * x, axis=0), ((4, 2),)),
    ("average", lambda m, x: m.average(x), ((2, 3),)),
    ("average", lambda m, x: m.average(x, weights=x * x), ((2, 3),)),
    ("average", lambda m, x: m.average(x, axis=0, weights=WEIGHTS), ((3, 2),)),
    ("ptp", lambda m, x: m.ptp(x), ((2, 3),)),
    ("ptp", lambda m, x: m.ptp(x, axis=1), ((2, 3),)),
    ("inner", lambda m, x: m.inner(x, x[0]), ((2, 3),)),
    ("inner", lambda m, x: m.inner(x, 2 * x), ((2, 3),)),
    ("inner", lambda m, x: m.inner(x, x), ((),)),
    ("vdot", lambda m, x: m.vdot(x, 2 * x), ((2, 3),)),
    ("kron", lambda m, x: m.kron(x, x[:1]), ((2, 3),)),
    ("kron", lambda m, x: m.kron(x, x[:2]), ((3,),)),
    ("interp", lambda m, x: m.interp(x, PLACES, PLACES**2), ((2, 5),)),
    ("interp", lambda m, x: m.interp(0.3, PLACES, x), ((4,),)),
    ("interp", lambda m, x: m.interp(x, PLACES[:1], x[:1]), ((3,),)),
]
for _count, (_name, _through, _shapes) in enumerate(DERIVED):
    row(
        _name,
        lambda x, f=_through: f(gd, x),
        lambda x, f=_through: f(np, x),
        *_shapes,
        label=f"derived {_count}" + " huge" * (_name == "nan_to_num"),
        kinds=FLOATS,
    )


# Elementwise -------------------------------------------------------------------------------------------------

NUMPY_NAMES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2"}
NUMPY_NAMES |= {"asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh"}


def gelu_tanh_slope(x: Any) -> Any:
    """The derivative of x/2·(1 + tanh u), in hyperbolic functions."""
    factor = math.sqrt(2 / math.pi)
    u = factor * (x + 0.044715 * x * x * x)
    return 0.5 + 0.5 * np.tanh(u) + 0.5 * x / np.cosh(u) ** 2 * factor * (1 + 3 * 0.044715 * x * x)


def np_erf(x: Any) -> Any:
    import math

    result = np.vectorize(math.erf, otypes=["float64"])(x)
    return result.astype(x.dtype) if np.asarray(x).dtype.kind == "f" else result


def np_sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


WRITTEN_OUT: dict[str, Callable[..., Any]] = {
    "reciprocal": lambda x: 1 / x,  # of integers too, where NumPy's is 0 or 1
    "erf": np_erf,
    "exp_of_square": lambda x: np.exp(-x * x),
    "gaussian": lambda x: np.exp(-x * x / 2),
    "normal_cdf": lambda x: 0.5 * (1 + np_erf(np.sqrt(0.5) * x)).astype((0.5 * x).dtype),
    "sigmoid": np_sigmoid,
    "logistic": np_sigmoid,
    "softplus": lambda x: np.log(1 + np.exp(x)),
    "relu": lambda x: np.maximum(x, x.dtype.type(0)),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "gelu": lambda x: 0.5 * x * (1 + np_erf(np.sqrt(0.5) * x)).astype((0.5 * x).dtype),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))),
    "gelu_tanh_slope": gelu_tanh_slope,
    "hard_tanh": lambda x: np.minimum(np.maximum(x, x.dtype.type(-1)), x.dtype.type(1)),
    "stop_gradient": lambda x: x,
    "over_length": lambda x, length: x / length,
}
INTEGERS_ONLY = {"bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_invert"}
DOMAIN: dict[str, tuple[float, float]] = {"acosh": (1, 4), "asin": (-1, 1), "acos": (-1, 1), "atanh": (-0.4, 0.4)}
DOMAIN |= dict.fromkeys(
    ("log", "log2", "log10", "sqrt", "log1p", "power", "divide", "over_length", "reciprocal"), (1.0, 4.0)
)
DOMAIN |= dict.fromkeys(("floor_divide", "remainder"), (1.0, 9.0))
ELEMENTWISE = [op for op in OPS.values() if op.kind == "elementwise" and not op.name.endswith("_example")]
for _op in ELEMENTWISE:
    if _op.name == "clip":
        continue
    _domain = DOMAIN.get(_op.name, (-3.0, 3.0))
    _function, _count = FUNCTIONS[_op.name], len(_op.partials)  # type: ignore[attr-defined]
    _reference = WRITTEN_OUT.get(_op.name) or getattr(np, NUMPY_NAMES.get(_op.name, _op.name))
    for _shapes in [((2, 3),), ((),), ((0, 3),)] if _count == 1 else [((2, 3), (3,)), ((), (2, 1)), ((0, 3), (1,))]:
        row(
            _op.name,
            _function,
            _reference,
            *_shapes,
            make=lambda stream, shape, d=_domain: np.asarray(stream.uniform(*d, shape)),
            kinds=("int64", "int32", "bool") if _op.name in INTEGERS_ONLY else ("int32", "int64", *REAL),
            rtol=1e-10,
        )


def parts(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (tuple, list)) else [result]


def jobs() -> Iterator[Any]:
    for case in ROWS:
        for kind in case.kinds:
            yield pytest.param(case, kind, id=f"{case.label}-{kind}")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("case", "kind"), list(jobs()))
def test_value_shape_and_dtype_are_those_of_numpy(case: Row, kind: str) -> None:
    arguments = case.arguments(kind)
    expected = parts(case.reference(*arguments))
    constants = [gd.constant(argument) for argument in arguments]
    eager = parts(case.function(*constants))
    slots = [gd.placeholder(argument.shape, argument.dtype) for argument in arguments]
    pure = parts(case.function(*slots))
    narrowest = max(np.finfo(a.dtype).eps for a in map(np.asarray, [*expected, *arguments, 1.0]) if a.dtype.kind == "f")
    rtol = max(case.rtol, 1e3 * narrowest if narrowest < 1e-4 else 2e-2)
    assert len(eager) == len(pure) == len(expected)
    for mine, drawn, theirs in zip(eager, pure, expected, strict=True):
        assert (mine.shape, mine.dtype) == (np.shape(theirs), np.asarray(theirs).dtype)
        assert (drawn.shape, drawn.dtype) == (mine.shape, mine.dtype)
        np.testing.assert_allclose(mine.numpy(), theirs, rtol=rtol, atol=rtol / 10)
        if drawn.recorded and not drawn.has_value:
            graph = gd.Graph(drawn)
            # What is fed lies as it was given, what a constant is made of is copied: BLAS may sum in another order.
            for values, bound in ((arguments, rtol), (constants, 0)):
                used = {slot: value for slot, value in zip(slots, values, strict=True) if slot in graph}
                np.testing.assert_allclose(graph.evaluate(used), mine.numpy(), rtol=bound, atol=bound / 10)


def real(result: Any) -> list[Any]:
    return [part for part in parts(result) if part.dtype.kind == "f"]


DIFFERENTIATED = [
    pytest.param(case, kind, id=f"{case.label}-{kind}")
    for case in ROWS
    for kind in ("float64", "strided")
    if kind in case.kinds and case.is_differentiated
]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("case", "kind"), DIFFERENTIATED)
def test_directional_derivatives_of_every_row(case: Row, kind: str) -> None:
    """J u against five-point differences, and ⟨v, J u⟩ against ⟨Jᵀ v, u⟩, for every shape, option and layout."""
    arguments = case.arguments(kind)
    stream = np.random.default_rng(7)
    along = [stream.normal(size=np.shape(argument)) for argument in arguments]

    def outputs(*tensors: Any) -> list[Any]:
        return real(case.function(*tensors))

    values = outputs(*map(gd.constant, arguments))
    if not values:
        return
    # A function that casts to float32 is linear here: a long step loses nothing and drowns the rounding.
    narrow = any(value.dtype == "float32" for value in values)
    step, tolerance = (0.05, 1e-4) if narrow else (1e-4, 1e-6)

    def at(multiple: int) -> list[Any]:
        moved = [gd.constant(a + multiple * step * u) for a, u in zip(arguments, along, strict=True)]
        return [part.numpy().astype("float64") for part in outputs(*moved)]

    _, pushed = gd.jvp(outputs, tuple(arguments), tuple(along))
    weights = [stream.normal(size=part.shape) for part in pushed]
    pulled = gd.vjp(outputs, *arguments)[1](weights)
    far_left, left, right, far_right = (at(multiple) for multiple in (-2, -1, 1, 2))
    for place, tangent in enumerate(pushed):
        expected = (far_left[place] - 8 * left[place] + 8 * right[place] - far_right[place]) / (12 * step)
        np.testing.assert_allclose(tangent.numpy(), expected, rtol=tolerance, atol=tolerance / 10)
    forward = sum(np.sum(v * part.numpy()) for v, part in zip(weights, pushed, strict=True))
    reverse = sum(np.sum(part.numpy() * u) for part, u in zip(pulled, along, strict=True))
    np.testing.assert_allclose(reverse, forward, rtol=1e-5 if narrow else 1e-9, atol=1e-6 if narrow else 1e-9)
    for part, argument in zip(pulled, arguments, strict=True):
        assert (part.shape, part.dtype) == (argument.shape, argument.dtype)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("case", ROWS, ids=[case.label for case in ROWS])
def test_vmap_of_every_row_against_a_loop(case: Row) -> None:
    """With every argument mapped over, and with each alone, the others being the same for every call."""
    arguments = case.arguments(case.kinds[0])
    wide = [np.stack([argument, (argument * 0.9).astype(argument.dtype)]) for argument in arguments]
    alone = [tuple(0 if place == mapped else None for place in range(len(wide))) for mapped in range(len(wide))]
    for axes in {(0,) * len(wide), *alone}:
        given = [w if axis == 0 else argument for w, axis, argument in zip(wide, axes, arguments, strict=True)]
        looped = []
        for turn in range(2):
            single = [g[turn] if axis == 0 else g for g, axis in zip(given, axes, strict=True)]
            looped.append(parts(case.function(*map(gd.constant, single))))
        for place, tensor in enumerate(parts(gd.vmap(case.function, in_axes=axes)(*given))):
            assert tensor.dtype == looped[0][place].dtype
            expected = np.stack([single[place].numpy() for single in looped])
            tolerance = 1e-5 if tensor.dtype == "float32" else 1e-11
            np.testing.assert_allclose(tensor.numpy(), expected, rtol=tolerance, atol=tolerance / 10)


CREATED: list[tuple[str, Callable[[Any], Any]]] = [
    ("zeros", lambda m: m.zeros((2, 3))),
    ("zeros", lambda m: m.zeros(3, dtype="float32")),
    ("zeros", lambda m: m.zeros(())),
    ("ones", lambda m: m.ones((2, 0))),
    ("ones", lambda m: m.ones((2,), dtype="int64")),
    ("full", lambda m: m.full((2, 2), 3.5)),
    ("full", lambda m: m.full(2, 3)),
    ("full", lambda m: m.full(2, True)),
    ("full", lambda m: m.full((), 3, dtype="float32")),
    ("arange", lambda m: m.arange(5)),
    ("arange", lambda m: m.arange(2, 5)),
    ("arange", lambda m: m.arange(1, 9, 3)),
    ("arange", lambda m: m.arange(5, 0, -2)),
    ("arange", lambda m: m.arange(0.5)),
    ("arange", lambda m: m.arange(0, 1, 0.25)),
    ("arange", lambda m: m.arange(3, dtype="float32")),
    ("arange", lambda m: m.arange(0)),
    ("linspace", lambda m: m.linspace(0, 1)),
    ("linspace", lambda m: m.linspace(-1, 1, 5, endpoint=False)),
    ("linspace", lambda m: m.linspace(0, 1, 3, dtype="float32")),
    ("eye", lambda m: m.eye(3)),
    ("eye", lambda m: m.eye(2, 4, k=1)),
    ("eye", lambda m: m.eye(3, k=-1, dtype="int64")),
    ("zeros_like", lambda m: m.zeros_like(np.ones(3), dtype="int64")),
    ("ones_like", lambda m: m.ones_like(np.ones((2, 3)), dtype="bool")),
    ("full_like", lambda m: m.full_like(np.ones(2, "float32"), 2.5)),
]


@pytest.mark.parametrize(("name", "make"), CREATED)
def test_created_constants_are_those_of_numpy(name: str, make: Callable[[Any], Any]) -> None:
    mine, theirs = make(gd), make(np)
    assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype)
    np.testing.assert_array_equal(mine.numpy(), theirs)


# `random_draw` draws afresh at every run of a plan (see test_recompute).
# `linalg` is a namespace, of whose functions each has a row; the others are the ops behind `x[…]`, `at`, `einsum` and
# `slogdet`, which reach them.
# The length of what `nonzero` returns depends on values (see test_index).
NO_ROW_OF_THEIR_OWN = {
    *("random_draw", "linalg", "scatter_add", "index_set", "einsum_op", "logabsdet", "sign_of_det", "nonzero"),
}


def own(names: Any) -> set[str]:
    return {name for name in names if not name.endswith("_example")}


def test_every_function_has_a_row() -> None:
    having = {id(FUNCTIONS[name]) for name in {case.name for case in ROWS} | {name for name, _ in CREATED}}
    missing = {name for name in own(FUNCTIONS) - NO_ROW_OF_THEIR_OWN if id(FUNCTIONS[name]) not in having}
    assert missing == set()


def test_every_op_is_in_the_graph_of_a_row() -> None:
    seen: set[str] = set()
    for case in ROWS:
        slots = [gd.placeholder(argument.shape, argument.dtype) for argument in case.arguments(case.kinds[0])]
        for output in parts(case.function(*slots)):
            seen |= {node.op.name for node in gd.Graph(output) if node.op is not None}
    assert own(OPS) - seen - {"random_draw"} == set()
