"""A long chain of scalar nodes, as each system builds and differentiates it.

One link is ``x = tanh(x * w + b)``: three nodes. `w` and `b` are variables or Python literals; their values keep the
derivative of a million nodes from underflowing.
"""

import math
from collections.abc import Callable
from typing import Any

X, W, B = 0.5, 1.0001, 1e-9
NODES_PER_LINK = 3


def build(x: Any, w: Any, b: Any, tanh: Callable[[Any], Any], links: int) -> Any:
    """Return the end of a chain that starts at `x`."""
    for _ in range(links):
        x = tanh(x * w + b)
    return x


def reference(links: int) -> float:
    """Return the derivative of the chain's end by its start, from the chain rule."""
    x, derivative = X, 1.0
    for _ in range(links):
        x = math.tanh(x * W + B)
        derivative *= W * (1 - x * x)
    return derivative


def graphdiff(links: int, variables: bool) -> float:
    """Build and differentiate by graphdiff."""
    import graphdiff as gd

    x = gd.variable(X)
    w, b = (gd.variable(W), gd.variable(B)) if variables else (W, B)
    build(x, w, b, gd.tanh, links).backward()
    return float(x.grad)


def torch(links: int, variables: bool) -> float:
    """Build and differentiate by PyTorch."""
    import torch

    x, *parameters = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (X, W, B))
    w, b = parameters if variables else (W, B)
    build(x, w, b, torch.tanh, links).backward()
    return float(x.grad)


def mygrad(links: int, variables: bool) -> float:
    """Build and differentiate by MyGrad, without its guard against changed arrays."""
    import mygrad as mg

    mg.turn_memory_guarding_off()
    x = mg.tensor(X)
    w, b = (mg.tensor(W), mg.tensor(B)) if variables else (W, B)
    build(x, w, b, mg.tanh, links).backward()
    return float(x.grad)


def autograd(links: int, variables: bool) -> float:
    """Build and differentiate by autograd."""
    from autograd import grad
    from autograd.numpy import tanh

    if variables:
        return float(grad(lambda x, w, b: build(x, w, b, tanh, links), (0, 1, 2))(X, W, B)[0])
    return float(grad(lambda x: build(x, W, B, tanh, links))(X))


CHAINS: dict[str, Callable[[int, bool], float]] = {
    "graphdiff": graphdiff,
    "torch": torch,
    "mygrad": mygrad,
    "autograd": autograd,
}
