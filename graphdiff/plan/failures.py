"""Errors of array libraries within a plan, told as an eager op tells them."""

from __future__ import annotations

from graphdiff.errors import GraphDiffError
from graphdiff.op.explain import ARRAY_ERRORS, explained
from graphdiff.tensor import Tensor

__all__ = ["ARRAY_ERRORS", "told"]


def told(node: Tensor, error: Exception) -> Exception:
    """Return what to raise for an error that computing a node has met.

    Parameters
    ----------
    node : Tensor
        Of the plan's graph.
    error : Exception
        One of `ARRAY_ERRORS`; what graphdiff has raised itself is returned as it is.
    """
    if isinstance(error, GraphDiffError) or node.op is None:
        return error
    return explained(node.op, node.inputs, error, node.attributes, where=f", made at {node.source}")
