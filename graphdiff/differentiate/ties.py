"""Derivatives where eigenvalues or singular values are equal, as limits from where they are not.

Vectors of equal values are not determined, and the formula for their derivative divides by the values' difference. What
is made of them and does not depend on their choice, such as a function of a matrix, may be smooth all the same. So the
decomposition of A is replaced by those of six matrices A + h S in which the values are apart, everything above it is
computed for each, and the results are extrapolated to h = 0: a graph like any other, whose derivatives of every order
and in every mode are the limits. Where those from either side of 0 do not agree there is no derivative: NaN.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import cast

from graphdiff import host
from graphdiff.backend import working_on
from graphdiff.differentiate.batch import batch
from graphdiff.differentiate.reverse import below, pull_back
from graphdiff.errors import GraphDiffError
from graphdiff.graph import topological_order
from graphdiff.op import GRAPH
from graphdiff.ops.decompositions import TIED, depends_on_choice, factors, resolution, undefined_derivative, values_row
from graphdiff.tensor import NO_ATTRIBUTES, Tensor, constant, untraced
from graphdiff.typing import Array, Namespace

__all__ = ["untied"]

_STEPS = (1.0, 2.0, 3.0, -1.0, -2.0, -3.0)
_LIMIT = (0.75, -0.3, 0.05, 0.75, -0.3, 0.05)
"""What the results at the steps are weighted by: exact where the even part is of degree 4 or less."""
_SIDES = ((3.0, -3.0, 1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 3.0, -3.0, 1.0))
"""The weights of limits from one side, which are to agree."""


def untied(outputs: Sequence[Tensor], sources: frozenset[Tensor] = frozenset()) -> list[Tensor]:
    """Return outputs of the same values whose derivatives are right where decompositions below them have ties."""
    outputs = list(outputs)
    if not TIED:
        return outputs
    smooth = [place for place, output in enumerate(outputs) if host.is_real_floating(output.dtype)]
    seen: set[Tensor] = set(sources)
    while smooth:
        order = topological_order([outputs[place] for place in smooth], boundary=sources)
        tied = [node for node in order if node.serial in TIED and node not in seen]
        # From the top: what is computed above a decomposition must be smooth before it is looked at.
        tied = [node for node in tied if not any(other in below(order, {node}) for other in tied if other is not node)]
        if not tied:
            break
        seen.update(tied)
        with working_on(outputs[0].backend), untraced():
            limits = _limits([outputs[place] for place in smooth], tied, order)
        for place, limit in zip(smooth, limits, strict=True):
            outputs[place] = limit
    return outputs


def _limits(outputs: Sequence[Tensor], tied: Sequence[Tensor], order: Sequence[Tensor]) -> list[Tensor]:
    """Return the outputs as limits at these decompositions, on none of which another depends."""
    ends = set(outputs)
    by_values = [node for node in tied if node not in ends and _only_values_are_used(node, order)]
    masks = _masks_of_values(outputs, by_values)
    spread = [node for node in tied if node not in by_values]
    directions: dict[Tensor, Tensor] = {node: GRAPH.zeros_like(node.inputs[0]) for node in masks}
    bad: dict[Tensor, Array] = {}
    for size in _sizes(outputs[0].dtype) if spread else ():
        directions.update((node, _direction(node, size)) for node in spread)
        bad = _disagreeing(outputs, {node: directions[node] for node in spread}, order)
        if not bad:
            break
    masks.update(bad)
    return _combined(outputs, directions, masks) if directions else list(outputs)


def _combined(
    outputs: Sequence[Tensor], directions: Mapping[Tensor, Array], masks: Mapping[Tensor, Array]
) -> list[Tensor]:
    wide = {node: _spread(node, direction, masks.get(node)) for node, direction in directions.items()}
    limits = []
    for output, found in zip(outputs, batch(outputs, wide, len(_STEPS)), strict=True):
        limits.append(GRAPH.sum(found * _along(_LIMIT, output), axis=0))
    return limits


def _along(weights: Sequence[float], like: Tensor) -> Tensor:
    """Return weights along a new leading axis of something."""
    return GRAPH.reshape(constant(weights, dtype=like.dtype), (-1, *(1,) * like.ndim))


def _only_values_are_used(node: Tensor, order: Sequence[Tensor]) -> bool:
    row = values_row(node)
    users = [user for user in order if any(operand is node for operand in user.inputs)]
    return all(
        user.op is not None and user.op.name == "getitem" and user.attributes["template"][-2:] == (row, slice(None))
        for user in users
    )


def _masks_of_values(outputs: Sequence[Tensor], nodes: Sequence[Tensor]) -> dict[Tensor, Array]:
    """Return where functions of the values alone have no derivative: they do not treat those alike that are tied."""
    masks = {}
    for node, adjoint in _adjoints_at(outputs, nodes, _random_seeds(outputs)).items():
        F = node.backend.numbers
        parted = depends_on_choice(F, node, node.value, adjoint)
        if F.any(parted):
            masks[node] = _mask(F, parted, node)
    return masks


def _mask(F: Namespace, bad: Array, node: Tensor) -> Array:
    """Return, per matrix, NaN where there is no derivative and 1 elsewhere."""
    ones = F.ones(tuple(bad.shape), dtype=node.backend.native_dtype(node.dtype))
    return F.where(bad, ones * math.nan, ones)[..., None, None]


def _adjoints_at(outputs: Sequence[Tensor], nodes: Collection[Tensor], seeds: Sequence[Array]) -> dict[Tensor, Array]:
    order = topological_order(outputs, boundary=frozenset(nodes))
    found: dict[Tensor, Array] = {}
    for output, seed in zip(outputs, seeds, strict=True):
        found[output] = found[output] + seed if output in found else seed
    pull_back(order, found, outputs[0].backend.numbers, below(order, nodes), boundary=frozenset(nodes))
    return {node: found[node] for node in nodes if node in found}


def _random_seeds(outputs: Sequence[Tensor]) -> list[Array]:
    """Return adjoints in a direction that no function is likely to be symmetric in, the same each time."""
    stream = host.random_generator(0)
    return [constant(stream.normal(size=output.shape), dtype=output.dtype).value for output in outputs]


# The directions in which values come apart ---------------------------------------------------------------------------


def _spread(node: Tensor, direction: Array, mask: Array | None) -> Tensor:
    """Return the decomposition at each step along a direction."""
    (x,) = node.inputs
    if mask is not None:
        # A matrix without a derivative stays what it is, for the sake of derivatives by other things.
        direction = GRAPH.where(constant(mask) == 1, direction, 0.0)
        x = undefined_derivative(x, constant(mask))
    assert node.op is not None
    return node.op.node((x + _along(_STEPS, x) * direction,), NO_ATTRIBUTES)


def _direction(node: Tensor, size: float) -> Tensor:
    """Return the step by which matrices are moved: equal values apart, their vectors turned, others not at all."""
    left, values, right = factors(GRAPH, node, constant(node.value))
    rows = cast(Tensor, values).numpy().reshape(-1, values.shape[-1]).tolist()
    singular = _is_svd(node)
    within = resolution(values)
    blocks = [_block(row, within, size, singular) for row in rows]
    inner = GRAPH.reshape(constant(blocks, dtype=values.dtype), (*values.shape, values.shape[-1]))
    return GRAPH.matmul(GRAPH.matmul(left, inner), GRAPH.matrix_transpose(right))


def _is_svd(node: Tensor) -> bool:
    return node.op is not None and node.op.name == "svd"


def _block(values: Sequence[float], within: float, size: float, singular: bool) -> list[list[float]]:
    """Return the step in the frame of the vectors."""
    count, greatest = len(values), max(map(abs, values), default=0.0)
    block = [[0.0] * count for _ in range(count)]
    for first, last in _clusters(values, within * greatest):
        centre = abs(sum(values[first:last])) / (last - first)
        null = centre <= within * greatest
        if last - first == 1 and not (singular and null):
            continue
        others = [abs(value - values[first]) for value in (*values[:first], *values[last:])]
        room = min([size * ((greatest or 1.0) if null else centre), *(other / 12 for other in others)])
        for row, line in enumerate(_turned(_offsets(last - first, singular and null))):
            block[first + row][first:last] = [room * each for each in line]
    return block


def _clusters(values: Sequence[float], bound: float) -> Iterator[tuple[int, int]]:
    """Yield where runs of equal values begin and end."""
    first = 0
    for place in range(1, len(values) + 1):
        if place == len(values) or abs(values[place] - values[place - 1]) > bound:
            yield first, place
            first = place


def _offsets(count: int, one_sided: bool) -> list[float]:
    """Return how far each value is moved: apart from each other, and singular values that are 0 from 0 too."""
    if one_sided:
        return [(place + 1) / count for place in range(count)]
    return [2 * place / (count - 1) - 1 for place in range(count)]


def _turned(offsets: Sequence[float]) -> list[list[float]]:
    """Return Q diag(offsets) Q for a reflection Q that no function is likely to be symmetric under."""
    normal = [math.sqrt(2 + place) + (place % 3) for place in range(len(offsets))]
    square = sum(each * each for each in normal)
    reflection = [
        [(row == column) - 2 * normal[row] * normal[column] / square for column in range(len(offsets))]
        for row in range(len(offsets))
    ]
    return [
        [sum(a * offset * b for a, offset, b in zip(row, offsets, column, strict=True)) for column in reflection]
        for row in reflection
    ]


# Whether there is a limit --------------------------------------------------------------------------------------------


def _disagreeing(
    outputs: Sequence[Tensor], directions: Mapping[Tensor, Tensor], order: Sequence[Tensor]
) -> dict[Tensor, Array]:
    """Return masks of the matrices at which the limits from both sides differ, of the outputs or of their derivatives.

    Not of those by the matrices alone: what they are combined with has derivatives in which the vectors stand.
    """
    F = outputs[0].backend.numbers
    wide = {node: _spread(node, direction, None) for node, direction in directions.items()}
    above = below(order, directions)
    beside = {each for node in above.difference(directions) for each in node.inputs if each.recorded}
    try:
        found = batch(outputs, wide, len(_STEPS))
        sides = [_from_side(outputs, found, weights, {*wide.values(), *beside.difference(above)}) for weights in _SIDES]
    except GraphDiffError:
        sides = []
    masks: dict[Tensor, Array] = {}
    noise: Array | float = 0.0
    for node, point in wide.items() if sides else ():
        slopes, rounding = zip(*(_slope(F, point, side.pop(point, None)) for side in sides), strict=True)
        apart, size = _apart(F, *slopes), F.maximum(*(_size(F, slope) for slope in slopes))
        noise = noise + F.sum(rounding[0] + rounding[1])
        bound = _tolerance(node.dtype) * size + (rounding[0] + rounding[1]) / _least_gap(F, point)
        if not F.all(apart <= bound):
            masks[node] = _mask(F, F.logical_not(apart <= bound), node)
    if sides and _agree(F, outputs, found, sides, noise):
        return masks
    moved = {node: F.any(direction.value != 0, axis=(-2, -1)) for node, direction in directions.items()}
    return {node: _mask(F, places, node) for node, places in moved.items()}


def _from_side(
    outputs: Sequence[Tensor], found: Sequence[Tensor], weights: Sequence[float], nodes: Collection[Tensor]
) -> dict[Tensor, Array]:
    """Return the adjoints of nodes with which the outputs, extrapolated from one side, are pulled back."""
    drawn = _random_seeds(outputs)
    seeds = [(_along(weights, output) * constant(seed)).value for output, seed in zip(outputs, drawn, strict=True)]
    return _adjoints_at(found, nodes, seeds)


def _slope(F: Namespace, point: Tensor, adjoint: Array | None) -> tuple[Array, Array]:
    """Return the adjoints of matrices at each step, and what rounding may do to products of those of the vectors."""
    if adjoint is None:
        adjoint = F.zeros_like(point.value)
    operands = [operand.value for operand in point.inputs]
    assert point.op is not None
    slope = point.op.adjoint(F, adjoint, 0, point.value, operands, NO_ATTRIBUTES)
    return cast(Array, slope), 100 * point.shape[-1] * host.epsilon(point.dtype) * _size(F, adjoint)


def _size(F: Namespace, x: Array) -> Array:
    """Return, per matrix, the greatest of the elements at all steps."""
    last = len(x.shape) - 1
    return F.max(F.abs(x), axis=(0, last - 1, last))


def _apart(F: Namespace, first: Array, second: Array) -> Array:
    """Return, per matrix, how far two limits are apart, given as their terms."""
    return F.max(F.abs(F.sum(first, axis=0) - F.sum(second, axis=0)), axis=(-2, -1))


def _least_gap(F: Namespace, point: Tensor) -> Array:
    """Return, per matrix, what rounding is divided by: the least difference of values, of singular ones from 0 too."""
    values = factors(F, point, point.value)[1]
    gaps = F.abs(F.expand_dims(values, axis=-1) - F.expand_dims(values, axis=-2))
    huge = host.float_limits(point.dtype)[1]
    gaps = F.where(F.eye(values.shape[-1], dtype=values.dtype) == 0, gaps, F.zeros_like(gaps) + huge)
    least = F.min(gaps, axis=(0, len(gaps.shape) - 2, len(gaps.shape) - 1))
    if _is_svd(point):
        least = F.minimum(least, F.min(values, axis=(0, len(values.shape) - 1)))
    return least


def _agree(
    F: Namespace,
    outputs: Sequence[Tensor],
    found: Sequence[Tensor],
    sides: Sequence[Mapping[Tensor, Array]],
    noise: Array | float,
) -> bool:
    """Whether the outputs' limits from both sides are the outputs, and the derivatives by other things the same."""
    for output, wide in zip(outputs, found, strict=True):
        bound = _tolerance(output.dtype) * _greatest(F, wide.value) + noise
        for weights in _SIDES:
            limit = F.sum(_along(weights, output).value * wide.value, axis=0)
            if not F.all(F.abs(limit - output.value) <= bound):
                return False
    for node in sides[0].keys() | sides[1].keys():
        first, second = (side.get(node, F.zeros_like(node.value)) for side in sides)
        bound = _tolerance(node.dtype) * (_greatest(F, first) + _greatest(F, second)) + noise
        if not F.all(F.abs(first - second) <= bound):
            return False
    return True


def _greatest(F: Namespace, x: Array) -> Array | float:
    return F.max(F.abs(x)) if x.size else 0.0


def _sizes(kind_of: host.DType) -> list[float]:
    """Return how far matrices are moved at first, and where that is too far, relative to the values that are equal."""
    first = host.epsilon(kind_of) ** 0.15
    return [first, first / 8, first / 64]


def _tolerance(kind_of: host.DType) -> float:
    return 20 * _sizes(kind_of)[0] ** 3
