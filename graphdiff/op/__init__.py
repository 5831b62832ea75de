"""What one op declares, and how calling it makes a node.

An op is declared once. Its kind says how the declaration yields value, shape, dtype, tangent, adjoint and batching:

- `elementwise`: one partial derivative per argument;
- `linear`: the tangent is the op itself, one transpose per argument;
- `multilinear`: linear in each argument, one transpose per argument;
- `composite`: written in other ops, differentiated by opening it;
- `custom`: both rules by hand.

Rules are called as ``rule(F, ...)``, where `F` has the names of the Python array API standard. Handed a backend's
namespace they compute numbers; handed graphdiff's functions they build graph.
"""

from graphdiff.op.contract import OPS, Op
from graphdiff.op.declare import composite, custom, elementwise, linear, multilinear
from graphdiff.op.explain import raise_complex
from graphdiff.op.functions import FUNCTIONS, GRAPH, GraphFunctions, function, is_internal, public, sum_to
from graphdiff.op.kinds import Applied, Composite, Custom, Elementwise, Linear, Multilinear
from graphdiff.op.operands import Number, as_tensor, as_tensors, literal
from graphdiff.op.work import Work, summing

__all__ = [
    "OPS",
    "Composite",
    "Custom",
    "Elementwise",
    "Linear",
    "Multilinear",
    "Op",
    "Work",
    "composite",
    "custom",
    "elementwise",
    "linear",
    "multilinear",
]
"""What one needs for ops of one's own; the rest is the engine's."""


def __dir__() -> list[str]:
    return sorted(__all__)
