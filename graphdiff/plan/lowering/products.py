"""Matrix products: with what their epilog does besides where the device can, else with loops behind them."""

from __future__ import annotations

from dataclasses import replace

from graphdiff import host
from graphdiff.plan.lowering.epilogs import Epilog
from graphdiff.plan.lowering.expressions import CASTS
from graphdiff.plan.lowering.instructions import Product
from graphdiff.plan.lowering.lowered import Lowered
from graphdiff.plan.lowering.views import Storage, View, dense_strides
from graphdiff.plan.program import Tensor

__all__ = ["multiply"]

BYTE = host.dtype("uint8")
NARROW = host.dtype("uint16")
"""The bits of bf16 and fp16."""


def multiply(lowering: Lowered, epilog: Epilog) -> None:
    """Compute a product with what follows it; what the device cannot do so is computed by itself."""
    node = epilog.product
    compute = "float64" if node.dtype.itemsize == 8 else lowering.target.precision
    x, y = (operand_of(lowering, operand, compute) for operand in node.inputs)
    activation, derivative = epilog.activation, epilog.derivative
    # The sums beside a product, and what a GELU is of, have the type of its result.
    whole = epilog.total is not None or "GELU" in (activation, derivative)
    narrow = compute in CASTS and not whole and only_multiplied(lowering, epilog.end)
    out = lowering.placed.get(epilog.end) or lowering.new(epilog.end)
    if narrow:
        out = replace(out, storage=Storage(node.size, NARROW), shift=0, dtype=NARROW)
    bias = None if epilog.bias is None else vector_of(lowering, epilog.bias, compute if narrow else "")
    product = Product(epilog.end, x, y, out, bias, activation, derivative, aux_of(lowering, epilog), compute=compute)
    if epilog.total is not None and epilog.total not in lowering.views:
        product.bias_gradient = lowering.placed.get(epilog.total) or lowering.new(epilog.total)
    wanted = product.aux is not None or not derivative
    if not wanted or not lowering.target.supports(product):
        if epilog.before is not None:
            multiply_before(lowering, epilog)
        else:
            multiply_apart(lowering, epilog, product)
        return
    lowering.add(product)
    if activation and product.aux is not None:
        lowering.aux[epilog.end] = product.aux
        if epilog.before is not None:
            lowering.views[epilog.before] = product.aux
    if product.bias_gradient is not None and epilog.total is not None:
        lowering.views[epilog.total] = product.bias_gradient
    (lowering.narrow if narrow else lowering.views)[epilog.end] = out


def aux_of(lowering: Lowered, epilog: Epilog) -> View | None:
    """Return what a product writes for the derivative of its activation, or reads for that of another's."""
    if epilog.masked_by is not None:
        return lowering.aux.get(epilog.masked_by)
    rows, columns = epilog.end.shape
    is_derived = any(other.masked_by is epilog.end for other in lowering.epilogs.values())
    if epilog.activation == "RELU" and is_derived:
        # A bit per element, rows of multiples of 128 bits.
        row = -(-columns // 128) * 16
        return View(Storage(rows * row, BYTE), (rows, row), (row, 1), 0, BYTE, "positive")
    if epilog.before is not None and (is_derived or len(lowering.users[epilog.before]) > 1):
        row = -(-columns // 8) * 8
        dtype = epilog.before.dtype
        return View(Storage(rows * row, dtype), (rows, columns), (row, 1), 0, dtype, "before the activation")
    return None


def only_multiplied(lowering: Lowered, node: Tensor) -> bool:
    """Whether a value is read by nothing but products and what they absorb: then it is stored as they read it."""
    if node in lowering.rooted or node in lowering.placed:
        return False
    return all(
        user in lowering.absorbed
        or (user.op is not None and user.op.name == "permute_dims" and only_multiplied(lowering, user))
        or any(epilog.product is user for epilog in lowering.epilogs.values())
        for user in lowering.users.get(node, [])
    )


def multiply_before(lowering: Lowered, epilog: Epilog) -> None:
    """Compute what a GELU is of as a product with a bias, and the GELU in a loop."""
    assert epilog.before is not None
    del lowering.epilogs[epilog.end]
    lowering.absorbed.remove(epilog.before)
    inner = [node for node in epilog.absorbed if node is not epilog.before]
    shorter = Epilog(epilog.product, epilog.before, epilog.bias, absorbed=inner)
    lowering.epilogs[epilog.before] = shorter
    multiply(lowering, shorter)
    lowering.lower(epilog.end)


def multiply_apart(lowering: Lowered, epilog: Epilog, wanted: Product) -> None:
    """Compute a product alone, and what would have been its epilog in loops."""
    for node in (epilog.masked_by, epilog.product.inputs[1] if wanted.bias_gradient is not None else None):
        if node is not None:
            lowering.widen(node)
    if wanted.out.dtype == NARROW:
        out = lowering.new(epilog.end)
        bias = None if epilog.bias is None else vector_of(lowering, epilog.bias, "")
        wanted = replace(wanted, out=out, bias=bias)
    smaller = replace(wanted, aux=None, bias_gradient=None)
    plain = epilog.masked_by is None
    if plain and (epilog.activation or epilog.bias is not None) and lowering.target.supports(smaller):
        lowering.add(smaller)
        lowering.views[epilog.end] = smaller.out
        return
    out = wanted.out if epilog.end is epilog.product else lowering.new(epilog.product)
    lowering.add(Product(epilog.product, wanted.x, wanted.y, out, compute=wanted.compute))
    lowering.views[epilog.product] = out
    lowering.absorbed.difference_update(epilog.absorbed)
    if epilog.end is not epilog.product:
        del lowering.epilogs[epilog.end]
        for node in sorted({*epilog.absorbed, epilog.end}, key=lambda node: node.serial):
            lowering.lower(node)
    if epilog.total in lowering.absorbed:
        lowering.absorbed.remove(epilog.total)
        lowering.lower(epilog.total)


def operand_of(lowering: Lowered, node: Tensor, compute: str) -> View:
    """Return a matrix as a product reads it: with an axis of stride 1, in the precision wanted."""
    if node in lowering.narrow:
        return lowering.narrow[node]
    view = lowering.memory(node)
    kind = compute if compute in CASTS else ""
    if not kind and _has_leading_axis(view):
        return view
    key = (*view.place(), (view.shape, view.strides), kind)
    found = lowering.casts.get(key)
    if found is not None:
        return found
    turned = view.turned  # the copy lies as the original does, so that neither order costs more
    source = view.T if turned else view
    dtype = NARROW if kind else view.dtype
    storage = Storage(view.size, dtype)
    out = View(
        storage, source.shape, dense_strides(source.shape), 0, dtype, f"{view.label or 'operand'}_{kind or 'copy'}"
    )
    lowering.copied(node, source, out, kind)
    lowering.casts[key] = out.T if turned else out
    return lowering.casts[key]


def vector_of(lowering: Lowered, node: Tensor, kind: str) -> View:
    """Return a vector as a product reads it, cast where `kind` says to what."""
    view = lowering.memory(node)
    if not kind:
        return view if view.by_rows else lowering.copied(node, view)
    out = View(Storage(view.size, NARROW), view.shape, dense_strides(view.shape), 0, NARROW, f"{view.label}_{kind}")
    return lowering.copied(node, view, out, kind)


def _has_leading_axis(view: View) -> bool:
    rows, columns = view.strides
    dense = columns == 1 and (rows >= view.shape[1] or view.shape[0] == 1)
    return dense or (rows == 1 and (columns >= view.shape[0] or view.shape[1] == 1))
