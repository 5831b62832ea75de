"""graphdiff: automatic differentiation on an explicit graph."""

from graphdiff import _links, errors, op
from graphdiff.backend import backends, current_backend, get_backend, use_backend
from graphdiff.differentiate import (
    adjoints,
    backward,
    grad,
    hessian,
    hvp,
    jacobian,
    jvp,
    tangents,
    value_and_grad,
    vjp,
    vmap,
)
from graphdiff.errors import GraphDiffError
from graphdiff.graph import Graph
from graphdiff.host import e, float32, float64, inf, int64, nan, newaxis, pi
from graphdiff.ops import random
from graphdiff.tensor import Tensor, Variable, constant, name_scope, placeholder, variable

_links.attach()
# Every array function by its name: declaring an op is all it takes to be found here.
globals().update(op.FUNCTIONS)
