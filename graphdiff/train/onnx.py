"""Models as ONNX files, which other programs run: the graph of the model, node by node."""

from __future__ import annotations

import copy
import inspect
import itertools
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import numpy as np

from graphdiff.backend import current_backend, use_backend
from graphdiff.errors import DTypeError, GraphError, OpError, ShapeError
from graphdiff.files.atomic import write_atomically
from graphdiff.graph import Graph
from graphdiff.guard import guarded
from graphdiff.host import DType, HostArray
from graphdiff.nn.inputs import (
    Names,
    Shapes,
    call_with,
    input_width,
    layers_of,
    placeholders,
    require_callable,
    shapes_of,
    signature_of,
)
from graphdiff.nn.layers import Embedding, Flatten
from graphdiff.nn.module import Module
from graphdiff.tensor import Tensor
from graphdiff.train.files import Saved, input_names, target_dtype
from graphdiff.train.scaling import Scaler
from graphdiff.typing import DTypeLike, Function

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

__all__ = ["OPSET", "example_shape", "export_onnx", "input_dtype"]

Free = TypeVar("Free", int, str)
DTypes: TypeAlias = "DTypeLike | Sequence[DTypeLike]"

OPSET = 20
"""The version of ONNX's operators that files are written for: the first with Gelu; onnxruntime runs it from 1.17 on."""

_ROWS = (2, 3)
"""Two sizes of batch: what differs between the graphs of a model for them is the size of the batch."""
_NEAR = (5, 10, 20, 50, 100, 200, 500, 1000, 10**4, 10**5, 10**6, *(2**power for power in range(17)))
_OTHER_ROWS = sorted({size + step for size in _NEAR for step in (-1, 0, 1)} - {0, *_ROWS})
"""Sizes for which the model has to build the same graph: code that branches on the size does so near such numbers."""

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
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self._names: set[str] = set()

    def name(self, wanted: str) -> str:
        """Return a name that is not taken yet."""
        found, count = wanted, 1
        while found in self._names:
            found, count = f"{wanted}_{count}", count + 1
        self._names.add(found)
        return found

    def constant(self, value: HostArray, wanted: str = "constant") -> str:
        """Keep an array in the file; return its name."""
        from onnx import numpy_helper

        name = self.name(wanted)
        self.constants.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def number(self, value: float, dtype: DType) -> str:
        """Keep a number in the file; return its name."""
        return self.constant(np.array(value, dtype=dtype))

    def node(self, kind: str, operands: Sequence[str], **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        from onnx import helper

        name = self.name(kind.lower())
        self.nodes.append(helper.make_node(kind, list(operands), [name], name=name, **attributes))
        return name

    def cast(self, operand: str, dtype: DType) -> str:
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


def _gather(writer: _Writer, node: Tensor, x: str, *places: str) -> str:
    template = node.attributes["template"]
    if not (len(places) == 1 and template[0] == "@" and all(entry == slice(None) for entry in template[1:])):
        raise OpError(f"ONNX export knows the indexing x[integers] only, not that of {node.describe()}")
    return writer.node("Gather", [x, *places], axis=0)


def _within(writer: _Writer, node: Tensor, x: str, values: str) -> str:
    """Write a demand as a device has it, which cannot refuse either: the result is NaN where it is not met."""
    for kind, compare, bound in (("ReduceMin", "GreaterOrEqual", "low"), ("ReduceMax", "LessOrEqual", "high")):
        if math.isfinite(limit := node.attributes[bound]):
            extreme = writer.node(kind, [values], keepdims=0)
            met = writer.node(compare, [extreme, writer.number(limit, node.inputs[1].dtype)])
            x = writer.node("Where", [met, x, writer.number(np.nan, node.dtype)])
    return x


_SPECIAL: dict[str, Function[str]] = {
    "astype": lambda writer, node, x: writer.cast(x, node.dtype),
    "concatenate": lambda writer, node, *parts: writer.node(
        "Concat", _alike(writer, node, parts), axis=node.attributes["axis"]
    ),
    "where": lambda writer, node, condition, *parts: writer.node("Where", [condition, *_alike(writer, node, parts)]),
    "elu": lambda writer, node, x: writer.node("Elu", [x], alpha=float(node.attributes.get("alpha", 1.0))),
    "gelu_tanh": lambda writer, node, x: writer.node("Gelu", [x], approximate="tanh"),
    "getitem": _gather,
    "hard_tanh": lambda writer, node, x: writer.node("Clip", [x, *(writer.number(end, node.dtype) for end in (-1, 1))]),
    "leaky_relu": lambda writer, node, x: writer.node(
        "LeakyRelu", [x], alpha=float(node.attributes.get("slope", 0.01))
    ),
    "log_softmax": lambda writer, node, x: writer.node("LogSoftmax", [x], axis=node.attributes["axis"]),
    "permute_dims": lambda writer, node, x: writer.node("Transpose", [x], perm=list(node.attributes["axes"])),
    "softmax": lambda writer, node, x: writer.node("Softmax", [x], axis=node.attributes["axis"]),
    "square": lambda writer, node, x: writer.node("Mul", [x, x]),
    "within": _within,
}
"""Ops that are written otherwise in ONNX: functions of writer, node and the operands' names."""


@guarded
def export_onnx(
    model: Module | Saved,
    path: str | os.PathLike[str],
    input_shape: Shapes | None = None,
    *,
    dtype: DTypes | None = None,
) -> Path:
    """Write a model as an ONNX file, to be run by onnxruntime and other programs.

    What is written is the graph of the model in evaluation mode: running statistics instead of a batch's, no dropout.
    The file has one input, "input", and one output, "output"; the first axis of both is the batch, of any size. A model
    of several inputs has one for each, named as the arguments of its `forward`. The operator set is version 20.
    Classifiers put out what `model` does, which for an `MLP` is logits.

    The graph is built for some eighty sizes of batch, from 1 to a million: where it is not the same for all of them, or
    holds a number made of the size, the model is refused.

    Parameters
    ----------
    model : Module or Saved
        Of a `Saved`, as `load` returns it, the scalers become part of the graph, so that the file takes inputs as they
        were before scaling; names of columns and classes are kept as metadata.
    path : path
        Written atomically.
    input_shape : int or sequence of int, or a sequence or dict of them, optional
        Of one example, without the batch; of a model of several inputs the shape of each. By default as many numbers as
        the scaler of a `Saved` has columns, or as the first layer takes.
    dtype : dtype-like, or a sequence of them, optional
        Of the inputs. By default float32, or float64 where that would blur a column of the scaler of a `Saved`: one of
        large numbers that differ little, such as times.

    Returns
    -------
    Path

    Raises
    ------
    OpError
        An op of the model, named with its layer, has no counterpart in ONNX, or depends on the size of the batch, or
        the model takes other inputs.
    DTypeError
        The dtype blurs a column of the scaler.
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
    shapes, given = shapes_of(example_shape(saved, input_shape) if input_shape is None else input_shape)
    if given is None and len(shapes) == 1:
        shapes = [example_shape(saved, shapes[0])]
    elif saved.scaler is not None:
        raise ShapeError(f"the model's scaler is of one input, not of {len(shapes)}")
    require_callable(saved.model, len(shapes), given, "; give input_shape for each, such as ((3,), (4,))")
    dtype = input_dtype(saved, dtype)
    # A copy can be put into evaluation mode, and be called, with nothing to undo.
    twin = Saved(copy.deepcopy(saved.model).eval(), saved.scaler, target_scaler=saved.target_scaler)
    names: dict[Tensor, str] = {
        leaf: name for name, leaf in (*twin.model.named_parameters(), *twin.model.named_buffers())
    }
    called = ("input",) if given is None and len(shapes) == 1 else _argument_names(saved.model, len(shapes), given)

    def graph_for(rows: int) -> Graph:
        return _graph(twin, placeholders(shapes, called, rows, dtype), given)

    with use_backend(next((leaf.backend for leaf in names), current_backend())):
        graph, other = map(graph_for, _ROWS)
        made = _written(graph, other, names)
        shapes_made = _shapes_made(graph, other)
        for rows in _OTHER_ROWS:
            if _shapes_made(graph, graph_for(rows)) != shapes_made:
                raise OpError(f"{type(saved.model).__name__} makes other shapes of {rows} rows than of {_ROWS[0]}")
    facts = {"columns": saved.columns, "classes": saved.classes, "notes": saved.notes or None}
    onnx.helper.set_model_props(made, {name: json.dumps(fact) for name, fact in facts.items() if fact is not None})
    onnx.checker.check_model(made, full_check=True)
    return write_atomically(path, made.SerializeToString())


def input_dtype(saved: Saved, given: DTypes | None) -> DTypes:
    """Return the dtype of a model's input: as given, or float32 unless that would blur a column."""
    if given is not None and (saved.scaler is None or np.dtype(cast("DTypeLike", given)).kind != "f"):
        return given
    dtype = np.dtype("float32" if given is None else cast("DTypeLike", given))
    fine = [] if saved.scaler is None else saved.scaler.too_fine_for(dtype)
    if not fine:
        return dtype
    if given is None:
        return np.dtype("float64")
    labels = _input_labels(saved)
    told = ", ".join(labels[place] for place in fine)
    raise DTypeError(f"{dtype} would blur {told}, whose values differ little for their size: give dtype='float64'")


def _input_labels(saved: Saved) -> list[str]:
    """Return what errors call the inputs that a scaler is of."""
    count = len(saved.scaler.fitted[0]) if saved.scaler is not None else 0
    names = input_names(saved.columns) or []
    return [f"column {name!r}" for name, _ in names] if len(names) == count else [f"column {k}" for k in range(count)]


def _argument_names(model: Module, count: int, given: Names) -> tuple[str, ...]:
    """Return what the file calls several inputs: as they were given, or as the model does."""
    if given is not None:
        return given
    signature = signature_of(model.forward)
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    found = [name for name, each in signature.parameters.items() if each.kind in kinds] if signature else []
    return tuple(found[:count]) if len(found) >= count else tuple(f"input{place}" for place in range(count))


def example_shape(saved: Saved, given: int | Sequence[int] | None) -> tuple[int, ...]:
    """Return the shape of one example: as given, as many numbers as there are columns, or as the first layer takes."""
    columns = None if saved.scaler is None else (len(saved.scaler.fitted[0]),)
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


def _graph(saved: Saved, inputs: Sequence[Tensor], names: Names) -> Graph:
    """Return the graph from inputs to outputs, scaling included."""
    output: Tensor = call_with(saved.model, [_scaled(x, saved.scaler) for x in inputs], names)
    if saved.target_scaler is not None:
        shift, scale = saved.target_scaler.fitted
        output = (output * scale + shift).astype(str(target_dtype(saved.target_scaler, output.dtype)))
    return Graph(output, inputs)


def _scaled(x: Tensor, scaler: Scaler | None) -> Tensor:
    """Return the node of what `Scaler.transform` computes, in float64 as there."""
    if scaler is None:
        return x
    shift, scale = scaler.fitted
    return ((x - shift) / scale).astype(x.dtype if x.dtype.kind == "f" else "float64")


def _pairs(graph: Graph, other: Graph) -> dict[Tensor, Tensor]:
    """Return which node of the graph for another size of batch does what each node of a graph does.

    What would have to be written otherwise for that size, numbers made of it included, is refused.
    """
    pairs = dict(zip(graph.outputs, other.outputs, strict=True))
    for node in reversed(graph.nodes):
        twin = pairs[node]
        if node.op is not twin.op or len(node.inputs) != len(twin.inputs):
            raise OpError(f"{_place(node)} computes something else for another size of batch: ONNX cannot say that")
        if node.op is None:
            _require_same(node, twin)
        elif node.op.name == "reshape":
            _free_shape(node, twin)
        elif node.attributes != twin.attributes:
            raise OpError(
                f"the op {node.op.name} in {_place(node)} depends on the size of the batch, which ONNX leaves open"
            )
        pairs |= zip(node.inputs, twin.inputs, strict=True)
    return pairs


def _shapes_made(graph: Graph, other: Graph) -> list[list[int]]:
    """Return the shapes that reshapes make, with -1 for the length that is the batch's."""
    pairs = _pairs(graph, other)
    return [
        _free_shape(node, twin) for node, twin in pairs.items() if node.op is not None and node.op.name == "reshape"
    ]


def _require_same(leaf: Tensor, twin: Tensor) -> None:
    """Refuse a constant that is another for another size of batch."""
    if leaf is twin or not leaf.has_value:
        return
    if leaf.shape != twin.shape:
        raise OpError(f"{leaf.describe()} in {_place(leaf)} is of a size that depends on the batch's")
    value, other = leaf.numpy(), twin.numpy()
    if not np.array_equal(value, other, equal_nan=value.dtype.kind in "fc"):
        raise OpError(
            f"{leaf.describe()} in {_place(leaf)} is made of the size of the batch, which ONNX leaves open: a mean is "
            "gd.mean, and other sizes can be had as a sum of ones"
        )


def _free_shape(node: Tensor, twin: Tensor) -> list[int]:
    """Return the shape that a reshape makes, with -1 for the length that is the batch's."""
    if len(node.shape) != len(twin.shape):
        raise OpError(f"the reshape in {_place(node)} depends on the size of the batch, which ONNX leaves open")
    shape = _with_free_axis(node.attributes["shape"], twin.attributes["shape"], -1)
    if shape.count(-1) > 1:
        raise OpError(f"the reshape in {_place(node)} spreads the batch over several axes, which ONNX cannot say")
    return shape


def _written(graph: Graph, other: Graph, names: Mapping[Tensor, str]) -> ModelProto:
    """Return the ONNX model of a graph; `other` is the same one for another size of batch."""
    from onnx import helper

    writer = _Writer()
    pairs = _pairs(graph, other)
    sources, (output,) = graph.inputs, graph.outputs
    written = {source: writer.name(str(source.name)) for source in sources}
    result = writer.name("output")
    for node in graph.nodes:
        if node.op is not None:
            written[node] = _write(writer, node, pairs[node], [written[operand] for operand in node.inputs])
        elif node not in written:
            written[node] = writer.constant(node.numpy(), names.get(node, "constant"))
    writer.nodes.append(helper.make_node("Identity", [written[output]], [result], name=result))
    infos = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(leaf.dtype), _with_free_axis(leaf.shape, pairs[leaf].shape, "batch")
        )
        for name, leaf in [*((written[source], source) for source in sources), (result, output)]
    ]
    made = helper.make_graph(writer.nodes, "graphdiff", infos[:-1], infos[-1:], writer.constants)
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(
        made, opset_imports=[opset], ir_version=helper.find_min_ir_version_for([opset]), producer_name="graphdiff"
    )


def _with_free_axis(shape: Sequence[int], other: Sequence[int], free: Free) -> list[int | Free]:
    """Return a shape with `free` for the length that is the batch's."""
    return [length if length == again else free for length, again in zip(shape, other, strict=True)]


def _place(node: Tensor) -> str:
    return f"layer {node.scope!r}" if node.scope else f"what {node.source} built"


def _write(writer: _Writer, node: Tensor, twin: Tensor, operands: list[str]) -> str:
    """Write a node; return its name in the file."""
    assert node.op is not None
    kind, attributes = node.op.name, node.attributes
    if kind == "reshape":
        shape = np.array(_free_shape(node, twin), dtype="int64")
        return writer.node("Reshape", [*operands, writer.constant(shape)])
    if kind in _SPECIAL:
        return _SPECIAL[kind](writer, node, *operands)
    if kind in _REDUCTIONS and node.inputs[0].dtype != bool:
        axes = writer.constant(np.array(attributes["axis"], dtype="int64"))
        return writer.node(_REDUCTIONS[kind], [*operands, axes], keepdims=int(attributes["keepdims"]))
    if kind in _SAME and not attributes:
        return writer.node(_SAME[kind], _alike(writer, node, operands))
    raise OpError(f"ONNX export does not know the op {kind!r}, used in {_place(node)}")
