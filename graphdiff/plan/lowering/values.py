"""The value of a node at an index, as C or C++: through everything that has no memory of its own, down to what has."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphdiff import host
from graphdiff.backend import ARRAY
from graphdiff.plan.identities import scalar
from graphdiff.plan.lowering.expressions import TYPES, cast, expression, has_type, number
from graphdiff.plan.lowering.views import Shape, View, dense_strides
from graphdiff.plan.program import Tensor

__all__ = ["INDEXING", "Body", "Index", "can_emit", "is_aligned", "is_array", "is_pointwise", "operands_below"]

_SIMPLE = re.compile(r"\w+")


@dataclass(frozen=True)
class Index:
    """A place in an array: the count of elements before it by rows, one number per axis, or both.

    Attributes
    ----------
    shape : tuple of int
    flat : str
        Empty where it is not known; `Body.flat` finds it.
    parts : tuple of str or None
    """

    shape: Shape
    flat: str = ""
    parts: tuple[str, ...] | None = None


class Body:
    """The inside of a loop: lines that give names to values, every value computed once.

    Parameters
    ----------
    views : Mapping of Tensor to View
        The memory of the nodes that have some.
    load : callable
        ``load(view, place)`` is the C++ that reads an element.
    computed : frozenset of Tensor
        Nodes that are computed here although they have memory.
    streams : callable
        ``streams(node)`` is the C++ name of the state of the random generator that a node draws from, and how many
        numbers are drawn before its own.
    """

    def __init__(
        self,
        views: Mapping[Tensor, View],
        load: Callable[[View, str, bool], str],
        computed: frozenset[Tensor],
        streams: Callable[[Tensor], tuple[str, int]],
    ) -> None:
        self.views = views
        self.load = load
        self.computed = computed
        self.streams = streams
        self.lines: list[str] = []
        self._names: dict[tuple[str, str], str] = {}
        self._values: dict[Any, str] = {}

    def let(self, kind: str, text: str) -> str:
        """Return a name for an expression; the same name for the same expression."""
        if _SIMPLE.fullmatch(text):
            return text
        found = self._names.get((kind, text))
        if found is None:
            found = self._names[kind, text] = f"v{len(self._names)}"
            self.lines.append(f"const {kind} {found} = {text};")
        return found

    # Indices ------------------------------------------------------------------------------------------------------

    def parts(self, index: Index) -> tuple[str, ...]:
        """Return an index as one number per axis."""
        if index.parts is not None:
            return index.parts
        found = []
        size = math.prod(index.shape)
        for length, stride in zip(index.shape, dense_strides(index.shape), strict=True):
            if length == 1:
                found.append("0")
                continue
            text = index.flat if stride == 1 else f"{index.flat} / {stride}"
            if length * stride < size:
                text = f"({text}) % {length}" if stride != 1 else f"{text} % {length}"
            found.append(self.let("Count", text))
        return tuple(found)

    def flat(self, index: Index) -> str:
        """Return an index as the count of elements before it."""
        if index.flat:
            return index.flat
        assert index.parts is not None
        return self.let("Count", _place(index.parts, dense_strides(index.shape), 0))

    def _axes(self, index: Index, shape: Shape) -> Index:
        """Return the index into an operand that is broadcast up to the index's shape."""
        if shape == index.shape:
            return index
        if math.prod(shape) == math.prod(index.shape) and index.flat:
            return Index(shape, index.flat)  # they differ in axes of length 1
        parts = self.parts(index)[len(index.shape) - len(shape) :]
        return Index(shape, "", tuple("0" if length == 1 else part for length, part in zip(shape, parts, strict=True)))

    # Values -------------------------------------------------------------------------------------------------------

    def value(self, node: Tensor, index: Index) -> str:
        """Return the name of a node's value at an index."""
        key = (node, index.flat, index.parts)
        found = self._values.get(key)
        if found is None:
            found = self._values[key] = self.let(TYPES[node.dtype.name], self._text(node, index))
        return found

    def _text(self, node: Tensor, index: Index) -> str:
        view = self.views.get(node)
        if view is not None and node not in self.computed:
            return self.loaded(view, index)
        if node.op is None:
            return number(scalar(node), node.dtype)
        special = _EMITTERS.get(node.op.name)
        if special is not None:
            return special(self, node, index)
        return _elementwise(self, node, index)

    def loaded(self, view: View, index: Index) -> str:
        return self.load(view, self.place(view, index), view.by_rows)

    def place(self, view: View, index: Index) -> str:
        """Return where in memory an element lies, counted from where the view begins."""
        if view.by_rows and index.flat:
            return index.flat
        return _place(self.parts(index), view.strides, 0)


def _place(parts: tuple[str, ...], strides: Shape, shift: int) -> str:
    terms = [part if step == 1 else f"{part} * {step}" for part, step in zip(parts, strides, strict=True) if step]
    terms = [term for term in terms if not term.startswith("0 *") and term != "0"]
    return " + ".join([*terms, str(shift)] if shift or not terms else terms)


# Elementwise ------------------------------------------------------------------------------------------------------


def _computes_in(node: Tensor) -> Any:
    """Return the dtype that the operands of an elementwise op are brought to: its own, or theirs for comparisons."""
    if node.dtype.kind != "b":
        return node.dtype
    return host.result_dtype(*[operand.dtype for operand in node.inputs])


def _elementwise(body: Body, node: Tensor, index: Index) -> str:
    wanted = _computes_in(node)
    assert node.op is not None
    template = expression(node.op.name, wanted.kind)
    assert template is not None, node.op
    texts = []
    for operand in node.inputs:
        text = body.value(operand, body._axes(index, operand.shape))
        texts.append(f"({cast(text, operand.dtype, wanted)})" if operand.dtype != wanted else text)
    # C++ computes with small integers as int: the cast brings the result back.
    return cast(f"({template.format(*texts)})", None, node.dtype) if wanted.kind in "iu" else template.format(*texts)


def _where(body: Body, node: Tensor, index: Index) -> str:
    condition, x, y = (body.value(operand, body._axes(index, operand.shape)) for operand in node.inputs)
    x, y = (cast(text, operand.dtype, node.dtype) for text, operand in zip((x, y), node.inputs[1:], strict=True))
    return f"{condition} ? {x} : {y}"


def _cast(body: Body, node: Tensor, index: Index) -> str:
    operand = node.inputs[0]
    return cast(body.value(operand, body._axes(index, operand.shape)), operand.dtype, node.dtype)


def _same(body: Body, node: Tensor, index: Index) -> str:
    return body.value(node.inputs[0], body._axes(index, node.inputs[0].shape))


# Moving -----------------------------------------------------------------------------------------------------------


def _reshape(body: Body, node: Tensor, index: Index) -> str:
    return body.value(node.inputs[0], Index(node.inputs[0].shape, body.flat(index)))


def _permute(body: Body, node: Tensor, index: Index) -> str:
    parts, axes = body.parts(index), node.attributes["axes"]
    moved = tuple(parts[axes.index(axis)] for axis in range(len(axes)))
    return body.value(node.inputs[0], Index(node.inputs[0].shape, "", moved))


def _flip(body: Body, node: Tensor, index: Index) -> str:
    axes = node.attributes["axis"]
    turned = tuple(
        body.let("Count", f"{length - 1} - {part}") if axis in axes and length > 1 else part
        for axis, (part, length) in enumerate(zip(body.parts(index), node.shape, strict=True))
    )
    return body.value(node.inputs[0], Index(node.inputs[0].shape, "", turned))


def _getitem(body: Body, node: Tensor, index: Index) -> str:
    """Read at slices, integers and index arrays that lie side by side."""
    source, *arrays = node.inputs
    rank = max((array.ndim for array in arrays), default=0)
    remaining, given = list(body.parts(index)), iter(arrays)
    own: list[str] = []
    chosen: tuple[str, ...] | None = None
    axis = 0
    for entry in node.attributes["template"]:
        if entry is None:
            remaining.pop(0)
            continue
        length = source.shape[axis]
        axis += 1
        if isinstance(entry, slice):
            start, _, step = entry.indices(length)
            part = remaining.pop(0)
            term = part if step == 1 else f"{part} * {step}"
            own.append(body.let("Count", f"{start} + {term}" if start else term))
        elif isinstance(entry, int):
            own.append(str(entry % length))
        else:
            array = next(given)
            if chosen is None:
                chosen, remaining = tuple(remaining[:rank]), remaining[rank:]
            own.append(_wrapped(body, array, chosen, length))
    return body.value(source, Index(source.shape, "", (*own, *remaining)))


def _wrapped(body: Body, array: Tensor, parts: tuple[str, ...], length: int) -> str:
    """Return an element of an index array: negative ones count from the end, and none reads outside the array."""
    lead = len(parts) - array.ndim
    own = tuple("0" if size == 1 else part for size, part in zip(array.shape, parts[lead:], strict=True))
    text = body.value(array, Index(array.shape, "", own))
    wrapped = body.let("Count", f"{text} < 0 ? (Count){text} + {length} : (Count){text}")
    return body.let("Count", f"{wrapped} < 0 ? 0 : {wrapped} >= {length} ? {length - 1} : {wrapped}")


def _concatenate(body: Body, node: Tensor, index: Index) -> str:
    axis, parts = node.attributes["axis"], body.parts(index)
    here, start, text = parts[axis], 0, ""
    for place, operand in enumerate(node.inputs):
        end = start + operand.shape[axis]
        shifted = body.let(
            "Count", f"{here} < {start} ? 0 : {here} >= {end} ? {operand.shape[axis] - 1} : {here} - {start}"
        )
        moved = (*parts[:axis], shifted, *parts[axis + 1 :])
        value = cast(body.value(operand, Index(operand.shape, "", moved)), operand.dtype, node.dtype)
        last = place == len(node.inputs) - 1
        text += value if last else f"{here} < {end} ? {value} : "
        start = end
    return text


def _placed(body: Body, node: Tensor, index: Index, given: Tensor) -> tuple[str, str]:
    """Return whether an element is among those that a template of slices and integers names, and its value if so."""
    parts = iter(body.parts(index))
    conditions, inner, lengths = [], [], []
    for entry, length in zip(node.attributes["template"], node.shape, strict=False):
        part = next(parts)
        if isinstance(entry, int):
            conditions.append(f"{part} == {entry % length}")
            continue
        start, stop, step = entry.indices(length)
        count = len(range(start, stop, step))
        turn = body.let("Count", f"({part} - {start}) / {step}")
        found = body.let("bool", f"({part} - {start}) % {step} == 0 && {turn} >= 0 && {turn} < {count}")
        conditions.append(found)
        inner.append(body.let("Count", f"{found} ? {turn} : 0"))
        lengths.append(count)
    inner += parts
    lengths += node.shape[len(node.attributes["template"]) :]
    place = Index(tuple(lengths), "", tuple(inner))
    value = body.value(given, body._axes(place, given.shape))
    return body.let("bool", " && ".join(conditions) or "true"), value


def _index_set(body: Body, node: Tensor, index: Index) -> str:
    inside, value = _placed(body, node, index, node.inputs[1])
    return f"{inside} ? {cast(value, node.inputs[1].dtype, node.dtype)} : {body.value(node.inputs[0], index)}"


def _scatter(body: Body, node: Tensor, index: Index) -> str:
    inside, value = _placed(body, node, index, node.inputs[0])
    return f"{inside} ? {value} : {number(0, node.dtype)}"


def _label_weights(body: Body, node: Tensor, index: Index) -> str:
    parts, labels, classes = body.parts(index), node.inputs[0], node.attributes["classes"]
    label = body.value(labels, Index(labels.shape, "", parts[:-1]))
    value, outside = number(node.attributes["value"], node.dtype), number(math.nan, node.dtype)
    chosen = f"{label} == {parts[-1]} ? {value} : {number(0, node.dtype)}"
    return f"{label} < 0 || {label} >= {classes} ? {outside} : {chosen}"


def _triangle(sign: str) -> Callable[[Body, Tensor, Index], str]:
    def emit(body: Body, node: Tensor, index: Index) -> str:
        parts = body.parts(index)
        value = body.value(node.inputs[0], index)
        kept = f"{parts[-1]} - {parts[-2]} {sign} {node.attributes['k']}"
        return f"{kept} ? {value} : {number(0, node.dtype)}"

    return emit


def _random(body: Body, node: Tensor, index: Index) -> str:
    low, high = node.attributes["options"]
    stream = body.streams(node)
    drawn = f"philox_uniform({stream[0]}, {stream[1]}ULL + {body.flat(index)})"
    if (low, high) == (0.0, 1.0):
        return cast(drawn, None, node.dtype)
    double = host.dtype("float64")
    # Rounded twice, as NumPy does: one fused operation would round once.
    scaled = f"__dmul_rn({number(high - low, double)}, {drawn})"
    return f"({TYPES[node.dtype.name]})__dadd_rn({number(low, double)}, {scaled})"


_EMITTERS: Mapping[str, Callable[[Body, Tensor, Index], str]] = {
    "astype": _cast,
    "barrier": _same,
    "broadcast_to": _same,
    "concatenate": _concatenate,
    "flip": _flip,
    "getitem": _getitem,
    "index_set": _index_set,
    "label_weights": _label_weights,
    "permute_dims": _permute,
    "random_draw": _random,
    "reshape": _reshape,
    "scatter_add": _scatter,
    "stop_gradient": _same,
    "tril": _triangle("<="),
    "triu": _triangle(">="),
    "where": _where,
    "within": _same,
}
INDEXING = frozenset({"broadcast_to", "flip", "getitem", "permute_dims", "reshape", "barrier"})
"""Ops that only say where an element is."""


def is_pointwise(node: Tensor) -> bool:
    """Whether an element depends on the elements at the same place alone."""
    assert node.op is not None
    return node.op.name in ("astype", "where", "stop_gradient") or node.op.name not in _EMITTERS


def is_aligned(node: Tensor, operand: Tensor) -> bool:
    """Whether a node reads an operand at the place that it computes."""
    return node.op is not None and is_pointwise(node) and operand.shape == node.shape


def operands_below(
    nodes: Iterable[Tensor], keeps: Callable[[Tensor, Tensor], bool], passes: Callable[[Tensor], bool]
) -> Iterator[tuple[Tensor, bool]]:
    """Yield what computing nodes reads, and whether a property holds at every step on the way there; each pair once.

    Parameters
    ----------
    nodes : iterable of Tensor
    keeps : callable
        Whether the property holds between a node and an operand of it.
    passes : callable
        Whether an operand is computed along, so that what it reads is read, too.
    """
    pending = [(operand, keeps(node, operand)) for node in nodes for operand in node.inputs]
    seen: set[tuple[Tensor, bool]] = set()
    while pending:
        pair = pending.pop()
        if pair in seen:
            continue
        seen.add(pair)
        yield pair
        operand, kept = pair
        if passes(operand):
            pending += [(below, kept and keeps(operand, below)) for below in operand.inputs]


def can_emit(node: Tensor) -> bool:
    """Whether an op without a reduction can be written as C++ for its dtypes."""
    assert node.op is not None
    if any(not has_type(each.dtype) for each in (node, *node.inputs)):
        return False
    name = node.op.name
    if name == "random_draw":
        return node.attributes["method"] == "uniform" and node.dtype.kind == "f"
    if name == "getitem":
        return _side_by_side(node)
    if name in ("index_set", "scatter_add"):
        arrays = len(node.inputs) > (2 if name == "index_set" else 1)
        return not arrays and None not in node.attributes["template"]
    if name in _EMITTERS:
        return True
    return (
        node.op.kind == "elementwise" and not node.attributes and expression(name, _computes_in(node).kind) is not None
    )


def is_array(entry: object) -> bool:
    """Whether an entry of an index template stands for an index array."""
    return entry is ARRAY or entry == ARRAY


def _side_by_side(node: Tensor) -> bool:
    """Whether an index has its arrays, if any, at neighbouring places, so that their axes stay where they are."""
    template = node.attributes["template"]
    places = [place for place, entry in enumerate(template) if is_array(entry)]
    integers = any(isinstance(entry, int) for entry in template)
    if any(array.dtype.kind not in "iu" for array in node.inputs[1:]):
        return False
    return not places or (places == list(range(places[0], places[-1] + 1)) and not integers)
