"""graphdiff: automatic differentiation on an explicit graph."""

import importlib as _importlib
from types import ModuleType as _ModuleType
from typing import Any as _Any

from graphdiff import _links, _moved, errors, op
from graphdiff.backend import backends, current_backend, get_backend, use_backend
from graphdiff.differentiate import (
    adjoints,
    backward,
    checkpoint,
    checkpoint_chain,
    grad,
    hvp,
    jvp,
    tangents,
    value_and_grad,
    vjp,
    vmap,
)
from graphdiff.errors import GraphDiffError
from graphdiff.graph import Graph
from graphdiff.host import e, float32, float64, inf, int64, nan, newaxis, pi
from graphdiff.jacobians.jacobian import hessian, jacobian
from graphdiff.ops import random
from graphdiff.tensor import Tensor, Variable, constant, name_scope, placeholder, variable

_links.attach()
_moved.attach()
# Every array function by its name: declaring an op is all it takes to be found here.
globals().update({name: op.public(body) for name, body in op.FUNCTIONS.items()})
trace = _links.trace  # the diagonal's sum of a matrix, the trace table of an expression

# Imported when first asked for: what they need is heavy, and most programs need only some.
_LAZY = {
    "nn": None,
    "optim": None,
    "train": None,
    "draw": None,
    "plan": None,
    "typing": None,
    "watch": None,
    "rates": "costs",
    "compile": "plan",
    "check_grads": "analysis.check",
    "detect_anomalies": "watch",
    "cost": "costs",
    "critical_point": "analysis.curvature",
    "hessian_eigenvalues": "analysis.curvature",
    "sparse_hessian": "jacobians.sparse",
    "sparse_jacobian": "jacobians.sparse",
    "sparsity": "jacobians.sparse",
    "compare_modes": "compare",
    "elimination_order": "elimination.orders",
    "parse": "expression",
    "show": "draw",
    "paths": "draw",
}


def __getattr__(name: str) -> _Any:
    if name in op.FUNCTIONS:  # declared since
        return op.public(op.FUNCTIONS[name])
    if name not in _LAZY and not name.startswith("_"):
        _importlib.import_module("graphdiff.nn")  # which declares functions, too, that pickles refer to
        if name in op.FUNCTIONS:
            return op.public(op.FUNCTIONS[name])
    if name not in _LAZY:
        raise AttributeError(f"module 'graphdiff' has no attribute {name!r}")
    module = _importlib.import_module(f"graphdiff.{_LAZY[name] or name}")
    return getattr(module, name) if _LAZY[name] else module


def __dir__() -> list[str]:
    """List what users may use: the modules beneath are the engine's own, but those in `_LAZY` and these three."""
    modules = {"errors", "op", "random"}
    own = {
        name
        for name, value in globals().items()
        if not name.startswith("_") and (name in modules or not isinstance(value, _ModuleType))
    }
    names = {*own, *op.FUNCTIONS, *_LAZY}
    return sorted(name for name in names if not op.is_internal(op.FUNCTIONS.get(name)))
