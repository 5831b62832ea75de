"""Models as ONNX files, which other programs run: the graph of the model, node by node."""

from __future__ import annotations

import copy
import itertools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphdiff.atomic import write_atomically
from graphdiff.backend import current_backend, use_backend
from graphdiff.errors import GraphError, OpError, ShapeError
from graphdiff.graph import Graph
from graphdiff.guard import guarded
from graphdiff.nn.inputs import input_width, layers_of
from graphdiff.nn.layers import Embedding, Flatten
from graphdiff.nn.module import Module
from graphdiff.tensor import Tensor, placeholder
from graphdiff.train.files import Saved
from graphdiff.train.scaling import Scaler

__all__ = ["OPSET", "example_shape", "export_onnx"]

OPSET = 20
"""The version of ONNX's operators that files are written for: the first with Gelu; onnxruntime runs it from 1.17 on."""

_ROWS = (2, 3)
"""Two sizes of batch: what differs between the graphs of a model for them is the size of the batch."""

_SAME: dict[str, str] = {
    "abs": "Abs",
    "acos": "Acos",
    "acosh": "Acosh",
    "add": "Add",
    "asin": "Asin",
    "asinh": "Asinh",
    "atan": "Atan",
    "atanh": "Atanh",
    "ceil": "Ceil",
    "clip": "Clip",
    "cos": "Cos",
    "cosh": "Cosh",
    "divide": "Div",
    "equal": "Equal",
    "erf": "Erf",
    "exp": "Exp",
    "floor": "Floor",
    "gelu": "Gelu",
    "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
    "isnan": "IsNaN",
    "less": "Less",
    "less_equal": "LessOrEqual",
    "log": "Log",
    "logical_and": "And",
    "logical_not": "Not",
    "logical_or": "Or",
    "logical_xor": "Xor",
    "matmul": "MatMul",
    "maximum": "Max",
    "minimum": "Min",
    "multiply": "Mul",
    "negative": "Neg",
    "positive": "Identity",
    "power": "Pow",
    "reciprocal": "Reciprocal",
    "relu": "Relu",
    "round": "Round",
    "sigmoid": "Sigmoid",
    "sign": "Sign",
    "sin": "Sin",
    "sinh": "Sinh",
    "softplus": "Softplus",
    "sqrt": "Sqrt",
    "stop_gradient": "Identity",
    "subtract": "Sub",
    "tan": "Tan",
    "tanh": "Tanh",
}
"""Ops that mean the same in ONNX, and their names there."""

_REDUCTIONS: dict[str, str] = {
    "logsumexp": "ReduceLogSumExp",
    "max": "ReduceMax",
    "mean": "ReduceMean",
    "min": "ReduceMin",
    "sum": "ReduceSum",
}


class _Writer:
    """The nodes and constants of an ONNX graph under way."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._names: set[str] = set()

    def name(self, wanted: str) -> str:
        """Return a name that is not taken yet."""
        found, count = wanted, 1
        while found in self._names:
            found, count = f"{wanted}_{count}", count + 1
        self._names.add(found)
        return found

    def constant(self, value: Any, wanted: str = "constant") -> str:
        """Keep an array in the file; return its name."""
        from onnx import numpy_helper

        name = self.name(wanted)
        self.constants.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def node(self, kind: str, operands: Sequence[str], **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        from onnx import helper

        name = self.name(kind.lower())
        self.nodes.append(helper.make_node(kind, list(operands), [name], name=name, **attributes))
        return name

    def cast(self, operand: str, dtype: Any) -> str:
        from onnx import helper

        return self.node("Cast", [operand], to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _alike(writer: _Writer, node: Tensor, operands: Sequence[str]) -> list[str]:
    """Return a node's last operands, cast to one dtype: NumPy does that by itself, ONNX does not."""
    dtypes = [operand.dtype for operand in node.inputs[-len(operands) :]]
    joined = np.result_type(*dtypes)
    if joined.kind in "iub" and node.dtype.kind == "f":
        joined = node.dtype
    return [
        operand if dtype == joined else writer.cast(operand, joined)
        for operand, dtype in zip(operands, dtypes, strict=True)
    ]


def _square(writer: _Writer, node: Tensor, x: str) -> str:
    return writer.node("Mul", [x, x])


def _hard_tanh(writer: _Writer, node: Tensor, x: str) -> str:
    bounds = [writer.constant(np.array(bound, dtype=node.dtype)) for bound in (-1, 1)]
    return writer.node("Clip", [x, *bounds])


def _gather(writer: _Writer, node: Tensor, x: str, *places: str) -> str:
    template = node.attributes["template"]
    if not (len(places) == 1 and template[0] == "@" and all(entry == slice(None) for entry in template[1:])):
        raise OpError(f"ONNX export knows the indexing x[integers] only, not that of {node.describe()}")
    return writer.node("Gather", [x, *places], axis=0)


_SPECIAL: dict[str, Callable[..., str]] = {
    "astype": lambda writer, node, x: writer.cast(x, node.dtype),
    "concatenate": lambda writer, node, *parts: writer.node(
        "Concat", _alike(writer, node, parts), axis=node.attributes["axis"]
    ),
    "where": lambda writer, node, condition, *parts: writer.node("Where", [condition, *_alike(writer, node, parts)]),
    "elu": lambda writer, node, x: writer.node("Elu", [x], alpha=float(node.attributes.get("alpha", 1.0))),
    "gelu_tanh": lambda writer, node, x: writer.node("Gelu", [x], approximate="tanh"),
    "getitem": _gather,
    "hard_tanh": _hard_tanh,
    "leaky_relu": lambda writer, node, x: writer.node(
        "LeakyRelu", [x], alpha=float(node.attributes.get("slope", 0.01))
    ),
    "log_softmax": lambda writer, node, x: writer.node("LogSoftmax", [x], axis=node.attributes["axis"]),
    "permute_dims": lambda writer, node, x: writer.node("Transpose", [x], perm=list(node.attributes["axes"])),
    "softmax": lambda writer, node, x: writer.node("Softmax", [x], axis=node.attributes["axis"]),
    "square": _square,
}
"""Ops that are written otherwise in ONNX: functions of writer, node and the operands' names."""


@guarded
def export_onnx(
    model: Module | Saved,
    path: str | os.PathLike[str],
    input_shape: int | Sequence[int] | None = None,
    *,
    dtype: Any = "float32",
) -> Path:
    """Write a model as an ONNX file, to be run by onnxruntime and other programs.

    What is written is the graph of the model in evaluation mode: running statistics instead of a batch's, no dropout.
    The file has one input, "input", and one output, "output"; the first axis of both is the batch, of any size. The
    operator set is version 20. Classifiers put out what `model` does, which for an `MLP` is logits.

    Parameters
    ----------
    model : Module or Saved
        Of a `Saved`, as `load` returns it, the scalers become part of the graph, so that the file takes inputs as they
        were before scaling; names of columns and classes are kept as metadata.
    path : path
        Written atomically.
    input_shape : int or sequence of int, optional
        Of one example, without the batch. By default as many numbers as the scaler of a `Saved` has columns, or as the
        first layer takes.
    dtype : dtype-like
        Of the input.

    Returns
    -------
    Path

    Raises
    ------
    OpError
        An op of the model, named with its layer, has no counterpart in ONNX, or depends on the size of the batch.
    GraphError
        The model has no parameters yet, or its layers do not tell the shape of its input, as after a `Flatten`.
    ImportError
        onnx is not installed.
    DataError
        The file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import graphdiff as gd
    >>> model = gd.nn.MLP([8, 3], "tanh", in_features=4)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = gd.train.export_onnx(model, f"{folder}/model.onnx")
    ...     path.name
    'model.onnx'
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportError("ONNX export needs onnx: pip install 'graphdiff[onnx]'", name="onnx") from error
    saved = model if isinstance(model, Saved) else Saved(model)
    shape = example_shape(saved, input_shape)
    # A copy can be put into evaluation mode, and be called, with nothing to undo.
    twin = Saved(copy.deepcopy(saved.model).eval(), saved.scaler, target_scaler=saved.target_scaler)
    names: dict[Tensor, str] = {
        leaf: name for name, leaf in (*twin.model.named_parameters(), *twin.model.named_buffers())
    }
    with use_backend(next((leaf.backend for leaf in names), current_backend())):
        graph, other = (_graph(twin, (rows, *shape), dtype) for rows in _ROWS)
    made = _written(graph, other, names)
    facts = {"columns": saved.columns, "classes": saved.classes, "notes": saved.notes or None}
    onnx.helper.set_model_props(made, {name: json.dumps(fact) for name, fact in facts.items() if fact is not None})
    onnx.checker.check_model(made, full_check=True)
    return write_atomically(path, made.SerializeToString())


def example_shape(saved: Saved, given: int | Sequence[int] | None) -> tuple[int, ...]:
    """Return the shape of one example: as given, as many numbers as there are columns, or as the first layer takes."""
    columns = None if saved.scaler is None else (len(saved.scaler.shift),)
    if given is None:
        return columns or (_first_width(saved.model),)
    shape = tuple(given) if isinstance(given, Sequence) else (given,)
    if columns is not None and shape != columns:
        raise ShapeError(f"the model's scaler is of {columns[0]} columns, not of examples of shape {list(shape)}")
    return shape


def _first_width(model: Module) -> int:
    # Images may be flattened, or rows picked, before the first width: that says nothing of the input's shape then.
    told = itertools.takewhile(lambda layer: not isinstance(layer, (Embedding, Flatten)), layers_of(model))
    width = input_width(list(told))
    if width is None:
        raise GraphError(
            f"{type(model).__name__} does not tell the shape of one example: give input_shape, such as 4 for four "
            "columns"
        )
    return width


def _graph(saved: Saved, shape: tuple[int, ...], dtype: Any) -> Graph:
    """Return the graph from inputs to outputs, scaling included."""
    x = placeholder(shape, dtype, name="input")
    output: Any = saved.model(_scaled(x, saved.scaler))
    if saved.target_scaler is not None:
        scaler = saved.target_scaler
        output = (output * scaler.scale + scaler.shift).astype(output.dtype)
    return Graph(output, x)


def _scaled(x: Tensor, scaler: Scaler | None) -> Tensor:
    """Return the node of what `Scaler.transform` computes, in float64 as there."""
    if scaler is None:
        return x
    return ((x - scaler.shift) / scaler.scale).astype(x.dtype if x.dtype.kind == "f" else "float64")  # type: ignore[no-any-return]


def _pairs(graph: Graph, other: Graph) -> dict[Tensor, Tensor]:
    """Return which node of the graph for another size of batch does what each node of a graph does."""
    pairs = dict(zip(graph.outputs, other.outputs, strict=True))
    for node in reversed(graph.nodes):
        twin = pairs[node]
        if node.op is not twin.op or len(node.inputs) != len(twin.inputs):
            raise OpError(f"{_place(node)} computes something else for another size of batch: ONNX cannot say that")
        pairs |= zip(node.inputs, twin.inputs, strict=True)
    return pairs


def _written(graph: Graph, other: Graph, names: Mapping[Tensor, str]) -> Any:
    """Return the ONNX model of a graph; `other` is the same one for another size of batch."""
    from onnx import helper

    writer = _Writer()
    pairs = _pairs(graph, other)
    (source,), (output,) = graph.inputs, graph.outputs
    written = {source: writer.name("input")}
    writer.name("output")
    for node in graph.nodes:
        if node.op is not None:
            written[node] = _write(writer, node, pairs[node], [written[operand] for operand in node.inputs])
        elif node is not source:
            if node.shape != pairs[node].shape:
                raise OpError(f"{node.describe()} in {_place(node)} is of a size that depends on the batch's")
            written[node] = writer.constant(node.numpy(), names.get(node, "constant"))
    writer.nodes.append(helper.make_node("Identity", [written[output]], ["output"], name="output"))
    infos = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(leaf.dtype), _with_free_axis(leaf.shape, pairs[leaf].shape, "batch")
        )
        for name, leaf in [("input", source), ("output", output)]
    ]
    made = helper.make_graph(writer.nodes, "graphdiff", infos[:1], infos[1:], writer.constants)
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(
        made, opset_imports=[opset], ir_version=helper.find_min_ir_version_for([opset]), producer_name="graphdiff"
    )


def _with_free_axis(shape: Sequence[int], other: Sequence[int], free: Any) -> list[Any]:
    """Return a shape with `free` for the length that is the batch's."""
    return [length if length == again else free for length, again in zip(shape, other, strict=True)]


def _place(node: Tensor) -> str:
    return f"layer {node.scope!r}" if node.scope else f"what {node.source} built"


def _write(writer: _Writer, node: Tensor, twin: Tensor, operands: list[str]) -> str:
    """Write a node; return its name in the file."""
    assert node.op is not None
    kind, attributes = node.op.name, node.attributes
    if kind == "reshape":
        shape = _with_free_axis(attributes["shape"], twin.attributes["shape"], -1)
        if shape.count(-1) > 1:
            raise OpError(f"the reshape in {_place(node)} spreads the batch over several axes, which ONNX cannot say")
        return writer.node("Reshape", [*operands, writer.constant(np.array(shape, dtype="int64"))])
    if attributes != twin.attributes:
        raise OpError(f"the op {kind} in {_place(node)} depends on the size of the batch, which ONNX leaves open")
    if kind in _SPECIAL:
        return _SPECIAL[kind](writer, node, *operands)
    if kind in _REDUCTIONS and node.inputs[0].dtype != bool:
        axes = writer.constant(np.array(attributes["axis"], dtype="int64"))
        return writer.node(_REDUCTIONS[kind], [*operands, axes], keepdims=int(attributes["keepdims"]))
    if kind in _SAME and not attributes:
        return writer.node(_SAME[kind], _alike(writer, node, operands))
    raise OpError(f"ONNX export does not know the op {kind!r}, used in {_place(node)}")
