"""Identities: what puts a simpler node in another's place, as x for x + 0.

Rules compute the same to rounding: a product of two factors that are known takes their place only where it neither
overflows nor vanishes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from graphdiff import host
from graphdiff.backend import ARRAY
from graphdiff.op import FUNCTIONS, OPS
from graphdiff.plan.program import clone
from graphdiff.tensor import Tensor

__all__ = ["scalar", "simpler"]


def simpler(node: Tensor, operands: tuple[Tensor, ...]) -> Tensor | None:
    """Return what an identity puts in a node's place, once its operands are these; None where there is none."""
    assert node.op is not None
    rule = _IDENTITIES.get(node.op.name)
    if rule is None:
        return None
    made = rule(node, *operands)
    if made is None or made.shape != node.shape or made.dtype != node.dtype:
        return None
    return made


def scalar(node: Tensor) -> Any:
    """Return the number that a constant holds in every element, or None."""
    if node.recorded:
        return None
    if node.size == 1:
        return node.item()
    if node.op is not None or node.dtype.kind not in "fiu" or node.size == 0:
        return None
    values = node.numpy()
    first = values.reshape(-1)[0]
    return first.item() if (values == first).all() else None


def _is(node: Tensor, name: str) -> bool:
    return node.op is not None and node.op.name == name


def _within(node: Tensor, x: Tensor, name: str) -> bool:
    """Whether an operand of `node` is a result of that op which was computed in the node's own dtype.

    What wraps around or overflows in a narrower one is another number: 1.0 - (-x) is not 1.0 + x for x of uint8.
    """
    return _is(x, name) and x.dtype == node.dtype


def _narrow(x: Tensor, shape: tuple[int, ...], others: tuple[Tensor, ...]) -> Tensor:
    """Return what `x` was broadcast from, where the other operands bring about the shape by themselves."""
    while _is(x, "broadcast_to") and any(other.shape == shape for other in others):
        x = x.inputs[0]
    return x


def _narrowed(node: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    left = _narrow(x, node.shape, (y,))
    return left, _narrow(y, node.shape, (left,))


def _rebuilt(node: Tensor, x: Tensor, y: Tensor, left: Tensor, right: Tensor) -> Tensor | None:
    return None if left is x and right is y else clone(node, (left, right))


def _constant_last(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return (y, x) if not x.recorded and y.recorded else (x, y)


def _constant(value: float, like: Tensor) -> Tensor:
    return FUNCTIONS["full"]((), value, dtype=like.dtype)


def _product(factor: float, other: float | None, node: Tensor) -> float | None:
    """Return the product of two numbers that `node` would be computed with; None where it is not as good as they."""
    if other is None:
        return None
    product = factor * other
    least, largest = host.normal_range(node.dtype)
    as_good = least <= abs(product) <= largest or (product == 0 and 0 in (factor, other))
    return product if as_good else None


def _add(node: Tensor, x: Tensor, y: Tensor) -> Tensor | None:
    left, right = _narrowed(node, x, y)
    first, last = _constant_last(left, right)
    if scalar(last) == 0 and first.shape == node.shape:
        return first
    if _within(node, right, "negative"):
        return FUNCTIONS["subtract"](left, right.inputs[0])
    if _within(node, left, "negative"):
        return FUNCTIONS["subtract"](right, left.inputs[0])
    return _rebuilt(node, x, y, left, right)


def _subtract(node: Tensor, x: Tensor, y: Tensor) -> Tensor | None:
    left, right = _narrowed(node, x, y)
    if scalar(right) == 0 and left.shape == node.shape:
        return left
    if _within(node, right, "negative"):
        return FUNCTIONS["add"](left, right.inputs[0])
    return _rebuilt(node, x, y, left, right)


def _multiply(node: Tensor, x: Tensor, y: Tensor) -> Tensor | None:
    left, right = _narrowed(node, x, y)
    first, last = _constant_last(left, right)
    factor = scalar(last)
    if factor is None:
        quotient = _quotient(node, left, right)
        return _rebuilt(node, x, y, left, right) if quotient is None else quotient
    if factor == 1 and first.shape == node.shape:
        return first
    if node.dtype.kind != "f" or first.shape != node.shape:
        return _rebuilt(node, x, y, left, right)
    if factor == -1:
        return FUNCTIONS["negative"](first)
    if _within(node, first, "negative"):
        return FUNCTIONS["multiply"](first.inputs[0], _constant(-factor, node))
    joined = _joined(node, first, factor)
    return _rebuilt(node, x, y, left, right) if joined is None else joined


def _joined(node: Tensor, first: Tensor, factor: float) -> Tensor | None:
    """Return c · first as one op, where first multiplies or divides by a number itself."""
    if _is(first, "sum_wide"):
        scale = _product(factor, first.attributes["scale"], node)
        return None if scale is None else OPS["sum_wide"].node(first.inputs, {"scale": scale})
    if not (_within(node, first, "multiply") or _within(node, first, "divide")):
        return None
    x, y = first.inputs
    before, behind = (_product(factor, scalar(operand), node) for operand in (x, y))
    if _is(first, "divide"):
        return None if before is None else FUNCTIONS["divide"](_constant(before, node), y)
    if behind is not None:
        return FUNCTIONS["multiply"](x, _constant(behind, node))
    return None if before is None else FUNCTIONS["multiply"](y, _constant(before, node))


def _quotient(node: Tensor, left: Tensor, right: Tensor) -> Tensor | None:
    """Turn x · (1 / y) into x / y."""
    for factor, inverse in ((left, right), (right, left)):
        if _within(node, inverse, "divide") and scalar(inverse.inputs[0]) == 1 and factor.recorded:
            return FUNCTIONS["divide"](factor, inverse.inputs[1])
    return None


def _divide(node: Tensor, x: Tensor, y: Tensor) -> Tensor | None:
    left, right = _narrowed(node, x, y)
    if scalar(right) == 1 and left.shape == node.shape:
        return left
    return _rebuilt(node, x, y, left, right)


def _negative(node: Tensor, x: Tensor) -> Tensor | None:
    if _is(x, "negative"):
        return x.inputs[0]
    if _is(x, "subtract"):
        return FUNCTIONS["subtract"](x.inputs[1], x.inputs[0])
    return None


def _reshape(node: Tensor, x: Tensor) -> Tensor | None:
    if x.shape == node.shape:
        return x
    return FUNCTIONS["reshape"](x.inputs[0], node.shape) if _is(x, "reshape") else None


def _permute(node: Tensor, x: Tensor) -> Tensor | None:
    axes = node.attributes["axes"]
    if axes == tuple(range(len(axes))):
        return x
    if _is(x, "permute_dims"):
        inner = x.attributes["axes"]
        return FUNCTIONS["permute_dims"](x.inputs[0], tuple(inner[axis] for axis in axes))
    return None


def _broadcast(node: Tensor, x: Tensor) -> Tensor | None:
    if x.shape == node.shape:
        return x
    return FUNCTIONS["broadcast_to"](x.inputs[0], node.shape) if _is(x, "broadcast_to") else None


def _sum(node: Tensor, x: Tensor) -> Tensor | None:
    if all(x.shape[axis] == 1 for axis in node.attributes["axis"]):
        return FUNCTIONS["reshape"](x, node.shape)
    return None


def _astype(node: Tensor, x: Tensor) -> Tensor | None:
    return x if x.dtype == node.dtype else None


def _getitem(node: Tensor, x: Tensor, *arrays: Tensor) -> Tensor | None:
    template = node.attributes["template"]
    if arrays or x.shape != node.shape or any(entry == ARRAY for entry in template):
        return None
    return x if all(isinstance(entry, slice) and (entry.step or 1) > 0 for entry in template) else None


_IDENTITIES: Mapping[str, Callable[..., Tensor | None]] = {
    "add": _add,
    "subtract": _subtract,
    "multiply": _multiply,
    "divide": _divide,
    "negative": _negative,
    "positive": lambda node, x: x,
    "stop_gradient": lambda node, x: x,
    "reshape": _reshape,
    "permute_dims": _permute,
    "broadcast_to": _broadcast,
    "sum": _sum,
    "astype": _astype,
    "getitem": _getitem,
}
