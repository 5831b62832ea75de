"""The ops, a file per family. Importing this package registers them all."""

from graphdiff.ops import (
    checks,
    create,
    decompositions,
    derived,
    elementwise,
    index,
    linalg,
    order,
    products,
    random,
    reduce,
    shape,
)

__all__ = [
    "checks",
    "create",
    "decompositions",
    "derived",
    "elementwise",
    "index",
    "linalg",
    "order",
    "products",
    "random",
    "reduce",
    "shape",
]
