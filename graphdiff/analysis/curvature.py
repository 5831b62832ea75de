"""Second order as it is used: extreme eigenvalues, kinds of critical points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphdiff.arguments import whole
from graphdiff.differentiate.functions import grad, hvp
from graphdiff.errors import GraphError
from graphdiff.guard import guarded
from graphdiff.jacobians.jacobian import hessian
from graphdiff.op import as_tensor
from graphdiff.typing import ArrayLike, Function

__all__ = [
    "CriticalPoint",
    "critical_point",
    "hessian_eigenvalues",
]


@guarded
def hessian_eigenvalues(
    function: Callable[..., Any],
    x: Any,
    count: int = 1,
    *,
    steps: int | None = None,
    tolerance: float = 1e-8,
    seed: int = 0,
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
        The most Hessian-vector products that are taken, each with a vector that is kept; by default as many as two
        gigabytes hold, and no more than there are eigenvalues.
    tolerance : float
        What the residual |H v - λ v| of each is at most, in terms of the largest eigenvalue in size, for vectors v of
        length 1: an eigenvalue is no further away, and most often much closer. Not below 100 times the rounding of
        x's dtype.
    seed : int
        For the start.

    Returns
    -------
    (smallest, largest) : tuple of ndarray
        Each ascending; NaN where the Hessian is not finite.

    Raises
    ------
    GraphError
        There are not so many eigenvalues, or the steps do not suffice to find them.

    Notes
    -----
    Block Lanczos with full reorthogonalisation, in blocks of `count`, so that an eigenvalue is found as often as it
    occurs: Golub and Van Loan, Matrix Computations, 4th ed. 2013, section 10.3.

    Examples
    --------
    >>> import graphdiff as gd
    >>> low, high = gd.hessian_eigenvalues(lambda x: gd.sum(x * x * gd.constant([1.0, 2.0, 3.0])), np.ones(3))
    >>> float(low.round(9)[0]), float(high.round(9)[0])
    (2.0, 6.0)
    """
    point = as_tensor(x)
    size, count = point.size, whole(count, "hessian_eigenvalues: the count", 1)
    if not 1 <= count <= size:
        raise GraphError(f"a Hessian of {size} × {size} has no {count} eigenvalues at either end")
    if steps is not None and steps < count:
        raise GraphError(f"{count} eigenvalues take at least as many steps, not {steps}")
    most = min(size, steps or max(_KEPT_NUMBERS // size, 2 * count))

    def product(vector: Any) -> Any:
        return np.asarray(hvp(function, point, vector.reshape(point.shape)), dtype=np.float64).ravel()

    return _lanczos(product, size, count, most, max(tolerance, 100 * float(np.finfo(point.dtype).eps)), seed)


_KEPT_NUMBERS = 1 << 27
"""Numbers in the vectors of a Krylov space, and as many in their products."""


def _lanczos(
    product: Callable[[Any], Any], size: int, count: int, most: int, tolerance: float, seed: int
) -> tuple[Any, Any]:
    """Return the `count` smallest and largest eigenvalues of a symmetric matrix, given by its products."""
    generator = np.random.default_rng(seed)
    room = np.empty((2, min(most, 4 * count + 28), size))  # of the basis and of its products
    block, made, tested = generator.normal(size=(count, size)), 0, 0
    while True:
        block = _orthonormal(block, room[0, :made], generator, min(len(block), most - made))
        if made + len(block) > room.shape[1]:
            room = np.concatenate([room, np.empty((2, min(most, 2 * made) - room.shape[1], size))], axis=1)
        ends = slice(made, made + len(block))
        room[0, ends] = block
        room[1, ends] = block = np.array([product(vector) for vector in block])
        made = ends.stop
        if not np.isfinite(block).all():
            return np.full(count, np.nan), np.full(count, np.nan)
        if made < min(most, max(2 * count, 1.2 * tested)):
            continue
        tested = made
        found, residual = _ritz(room[0, :made], room[1, :made], count)
        if made == size or residual <= tolerance:
            return found[:count], found[-count:]
        if made == most:
            raise GraphError(
                f"{most} Hessian-vector products find the {count} outer eigenvalues of {size} to a residual of "
                f"{residual:.0e} only: give more steps, up to {size}, or a larger tolerance than {tolerance:.0e}"
            )


def _orthonormal(block: Any, basis: Any, generator: Any, wanted: int) -> Any:
    """Return so many orthonormal vectors orthogonal to a basis: of the block, and random ones for what it lacks."""
    made: list[Any] = []
    candidates = list(block)
    while len(made) < wanted:
        vector = candidates.pop(0) if candidates else generator.normal(size=basis.shape[1])
        before = np.linalg.norm(vector)
        others = np.array(made).reshape(-1, basis.shape[1])
        for _ in range(2):
            vector = vector - basis.T @ (basis @ vector)
            vector = vector - others.T @ (others @ vector)
        length = np.linalg.norm(vector)
        if length > 1e-10 * before:  # else the space is invariant: go on in what is orthogonal to it
            made.append(vector / length)
    return np.array(made)


def _ritz(basis: Any, images: Any, count: int) -> tuple[Any, float]:
    """Return the eigenvalues within a subspace, and the largest residual of the outer ones in terms of the largest."""
    projected = basis @ images.T
    values, vectors = np.linalg.eigh((projected + projected.T) / 2)
    outer = [*range(min(count, len(values))), *range(max(len(values) - count, 0), len(values))]
    residuals = images.T @ vectors[:, outer] - (basis.T @ vectors[:, outer]) * values[outer]
    scale = float(np.abs(values).max())
    return values, float(np.linalg.norm(residuals, axis=0).max()) / scale if scale else 0.0


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
def critical_point(function: Function[object], x: ArrayLike, tolerance: float = 1e-8) -> CriticalPoint:
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
