"""What the walks start from: adjoints of outputs and tangents of inputs, as they were given, checked."""

from __future__ import annotations

from graphdiff.backend import use_backend
from graphdiff.errors import BackendError, DTypeError, NonScalarError, ShapeError
from graphdiff.host import is_real_floating
from graphdiff.op import GRAPH, as_tensor, literal
from graphdiff.tensor import Tensor
from graphdiff.typing import ArrayLike

__all__ = ["seed_for", "starting_tangent"]


def seed_for(output: Tensor, seed: ArrayLike | None = None) -> Tensor:
    """Return the adjoint to start from: ones for a scalar, else the seed given, checked.

    Raises
    ------
    DTypeError
        The output is not real floating.
    NonScalarError
        No seed for a non-scalar.
    ShapeError, BackendError
        The seed's shape is not the output's, or it is on another backend.
    """
    dtype, shape = output.dtype, output.shape
    if not is_real_floating(dtype):
        raise DTypeError(
            f"{output.describe()} carries no gradient: derivatives are of real floating tensors. "
            "Write 2.0 instead of 2, or cast with astype('float64')."
        )
    if seed is not None:
        return _fitting(output, seed, "seed")
    if not shape:
        return literal(1.0, dtype, output.backend)
    if output.size != 1:
        raise NonScalarError(
            f"{output.describe()}, made at {output.source}, is no scalar: give a seed of its shape "
            "(backward(seed=…)), or reduce it first, for example with gd.sum"
        )
    return GRAPH.ones_like(output)


def starting_tangent(node: Tensor, given: ArrayLike) -> Tensor:
    """Return what was given as a node's tangent as a Tensor of its shape, dtype and backend.

    Raises
    ------
    DTypeError
        The node is not real floating and has no tangent.
    ShapeError, BackendError
        The tangent's shape is not the node's, or it is on another backend.
    """
    if not is_real_floating(node.dtype):
        raise DTypeError(
            f"{node.describe()} has no tangent: only real floating tensors carry derivatives. Write 2.0 instead of 2, "
            "or cast with astype('float64')."
        )
    return _fitting(node, given, "tangent")


def _fitting(node: Tensor, given: ArrayLike, title: str) -> Tensor:
    """Return a derivative that was given for a node, in the node's dtype; raise an error unless it fits."""
    with use_backend(node.backend):
        tensor = as_tensor(given)
    if tensor.backend is not node.backend:
        raise BackendError(
            f"the {title} {tensor.describe()} is on {tensor.backend.name}, and {node.describe()} on "
            f"{node.backend.name}. Move it with tensor.to(backend)."
        )
    if tensor.shape != node.shape:
        raise ShapeError(f"the {title} {tensor.describe()} does not have the shape of {node.describe()}")
    return tensor.astype(node.dtype)
