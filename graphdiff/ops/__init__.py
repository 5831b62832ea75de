"""The ops, a file per family. Importing this package registers them all."""

from graphdiff.ops import create, derived, elementwise, index, linalg, products, random, reduce, shape

__all__ = ["create", "derived", "elementwise", "index", "linalg", "products", "random", "reduce", "shape"]
