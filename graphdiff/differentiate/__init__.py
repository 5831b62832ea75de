"""Graph in, graph out: reverse, forward and batch, and the derivatives of functions on top."""

from graphdiff.differentiate.batch import batch
from graphdiff.differentiate.checkpoint import checkpoint
from graphdiff.differentiate.functions import grad, hvp, jvp, value_and_grad, vjp, vmap
from graphdiff.differentiate.gradients import adjoints, backward, tangents
from graphdiff.differentiate.revolve import checkpoint_chain

__all__ = [
    "adjoints",
    "backward",
    "batch",
    "checkpoint",
    "checkpoint_chain",
    "grad",
    "hvp",
    "jvp",
    "tangents",
    "value_and_grad",
    "vjp",
    "vmap",
]
