"""Second order as it is used: extreme eigenvalues, kinds of critical points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphdiff.differentiate.functions import grad, hvp
from graphdiff.differentiate.jacobians import hessian
from graphdiff.errors import GraphError
from graphdiff.guard import guarded
from graphdiff.op import as_tensor

__all__ = [
    "CriticalPoint",
    "critical_point",
    "hessian_eigenvalues",
]


@guarded
def hessian_eigenvalues(
    function: Callable[..., Any], x: Any, count: int = 1, *, steps: int | None = None, seed: int = 0
) -> tuple[Any, Any]:
    """Return the smallest and the largest eigenvalues of a scalar function's Hessian, from Hessian-vector products.

    Parameters
    ----------
    function : callable
        Of one array.
    x : array
    count : int
        How many at either end.
    steps : int, optional
        Lanczos steps, each a Hessian-vector product; by default enough for well separated ends.
    seed : int
        For the start.

    Returns
    -------
    (smallest, largest) : tuple of ndarray
        Each ascending.

    Notes
    -----
    Lanczos with full reorthogonalisation: Golub and Van Loan, Matrix Computations, 4th ed. 2013, section 10.3.

    Examples
    --------
    >>> import numpy as np, graphdiff as gd
    >>> low, high = gd.hessian_eigenvalues(lambda x: gd.sum(x * x * gd.constant([1.0, 2.0, 3.0])), np.ones(3))
    >>> float(low.round(9)[0]), float(high.round(9)[0])
    (2.0, 6.0)
    """
    point = as_tensor(x)
    size = point.size
    if not 1 <= count <= size:
        raise GraphError(f"a Hessian of {size} × {size} has no {count} eigenvalues at either end")
    steps = min(size, steps or max(40, 4 * count))
    if steps < count:
        raise GraphError(f"{count} eigenvalues take at least as many steps, not {steps}")
    generator = np.random.default_rng(seed)
    start = generator.normal(size=size)
    basis = [start / np.linalg.norm(start)]
    diagonal: list[float] = []
    beside: list[float] = []
    for _ in range(steps):
        product = np.asarray(hvp(function, point, basis[-1].reshape(point.shape)), dtype=np.float64).ravel()
        diagonal.append(float(basis[-1] @ product))
        known = np.array(basis)
        for _ in range(2):
            product = product - known.T @ (known @ product)
        norm = float(np.linalg.norm(product))
        if len(basis) == steps:
            break
        if norm <= 1e-12 * max(map(abs, diagonal), default=1.0) or norm == 0:
            # An invariant subspace: go on in what is orthogonal to it, as repeated eigenvalues need.
            product, norm = generator.normal(size=size), 0.0
            for _ in range(2):
                product = product - known.T @ (known @ product)
            beside.append(0.0)
        else:
            beside.append(norm)
        basis.append(product / np.linalg.norm(product))
    matrix = np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
    values = np.linalg.eigvalsh(matrix)
    return values[:count], values[-count:]


@dataclass(frozen=True)
class CriticalPoint:
    """What a point is to a function.

    Attributes
    ----------
    kind : {"minimum", "maximum", "saddle", "degenerate", "regular"}
        Degenerate: an eigenvalue is zero, and the second order does not decide. Regular: the gradient is not zero.
    eigenvalues : ndarray
        Of the Hessian, ascending.
    gradient_norm : float
    optimal_rate : float
        2 / (smallest + largest eigenvalue), the best constant learning rate of gradient descent on the quadratic model
        at a minimum (B. Polyak, Introduction to Optimization, 1987, section 1.4); NaN elsewhere.
    """

    kind: str
    eigenvalues: Any
    gradient_norm: float
    optimal_rate: float


@guarded
def critical_point(function: Callable[..., Any], x: Any, tolerance: float = 1e-8) -> CriticalPoint:
    """Classify a point by gradient and Hessian.

    Parameters
    ----------
    function : callable
        Scalar, of one array.
    x : array
    tolerance : float
        What counts as zero: of the gradient's norm, and of eigenvalues relative to the largest in size.

    Examples
    --------
    >>> import numpy as np, graphdiff as gd
    >>> gd.critical_point(lambda x: x[0] ** 2 - x[1] ** 2, np.zeros(2)).kind
    'saddle'
    >>> gd.critical_point(lambda x: x[0] ** 2 + 3 * x[1] ** 2, np.zeros(2)).optimal_rate
    0.25
    """
    point = as_tensor(x)
    norm = float(np.linalg.norm(np.asarray(grad(function)(point)).ravel()))
    matrix = np.asarray(hessian(function)(point)).reshape(point.size, point.size)
    values = np.linalg.eigvalsh((matrix + matrix.T) / 2)
    scale = float(np.max(np.abs(values), initial=0.0))
    rate = float("nan")
    if not norm <= tolerance:
        kind = "regular"
    elif values[0] < -tolerance * scale and values[-1] > tolerance * scale:
        kind = "saddle"
    elif scale == 0 or np.min(np.abs(values)) <= tolerance * scale:
        kind = "degenerate"
    elif values[0] > 0:
        kind, rate = "minimum", 2 / float(values[0] + values[-1])
    else:
        kind = "maximum"
    return CriticalPoint(kind, values, norm, rate)
