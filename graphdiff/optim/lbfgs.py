"""L-BFGS: curvature estimated from the gradients met."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import SupportsFloat, cast

from graphdiff.errors import OpError
from graphdiff.guard import guarded
from graphdiff.optim.closures import Closure, FlatParameters
from graphdiff.optim.groups import require, require_whole
from graphdiff.optim.line_search import Point, search
from graphdiff.tensor import Tensor, Variable
from graphdiff.typing import Array

__all__ = ["LBFGS"]


class LBFGS:
    """Limited-memory BFGS with a line search for the strong Wolfe conditions; for losses without noise.

    Parameters
    ----------
    parameters : iterable of Variable
        Of one dtype and backend.
    lr : float
        The first step that a search tries; 1 is Newton's.
    iterations : int
        At most so many per call of `minimize`.
    evaluations : int, optional
        At most about so many evaluations of the loss per call; by default 5/4 of the iterations.
    history : int
        How many past steps give the estimate of the curvature.
    tolerance_gradient, tolerance_change : float
        Stop where no component of the gradient is larger, or step and loss change by less.

    Raises
    ------
    OpError
        A setting that cannot be.
    GraphError, DTypeError, BackendError
        No parameters, or one twice; one that is no real floating variable; several dtypes or backends.

    Attributes
    ----------
    steps : int
        Iterations made.
    evaluations_made : int
    converged : bool
        Whether the last call stopped at a tolerance, not for want of iterations.

    Notes
    -----
    J. Nocedal and S. J. Wright, Numerical Optimization, 2nd edition 2006, algorithm 7.4; see `line_search` for 3.5 and
    3.6.

    Examples
    --------
    >>> import graphdiff as gd
    >>> x = gd.variable([-1.2, 1.0])
    >>> optimizer = gd.optim.LBFGS([x], iterations=100)
    >>> loss = optimizer.minimize(lambda: (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2)
    >>> [round(value, 3) for value in x.tolist()]
    [1.0, 1.0]
    """

    @guarded
    def __init__(
        self,
        parameters: Iterable[Variable],
        lr: float = 1.0,
        iterations: int = 20,
        evaluations: int | None = None,
        history: int = 100,
        tolerance_gradient: float = 1e-7,
        tolerance_change: float = 1e-9,
    ) -> None:
        require("lr", lr, above=0)
        require_whole("iterations", iterations)
        require_whole("history", history)
        require("tolerance_gradient", tolerance_gradient)
        require("tolerance_change", tolerance_change)
        if evaluations is not None:
            require_whole("evaluations", evaluations)
        self.lr, self.iterations, self.history = lr, iterations, history
        self.evaluations = iterations * 5 // 4 if evaluations is None else evaluations
        self.tolerance_gradient, self.tolerance_change = tolerance_gradient, tolerance_change
        self._flat = FlatParameters(parameters)
        self.parameters = self._flat.parameters
        self.steps = self.evaluations_made = 0
        self.converged = False
        self._pairs: list[tuple[Array, Array, float]] = []
        self._scale = 1.0
        self._last: tuple[Array, Array] | None = None

    def minimize(self, closure: Closure, each: Callable[[float], object] | None = None) -> Tensor:
        """Lower a loss, evaluated as often as needed; return what it was at the start.

        Parameters
        ----------
        closure : callable
            Without arguments; returns the loss, made of the parameters as they are then. `.grad` is left alone. If it
            fails, parameters and memory are as before the call. One made by `gd.compile` is traced once in this call,
            together with its gradient, which pays from some ten evaluations on.
        each : callable, optional
            Called after every iteration with the loss there, while the parameters have the values that give it.

        Raises
        ------
        OpError
            The loss is not finite at the start.
        CompileError
            Within a function that is being compiled.

        Examples
        --------
        >>> import graphdiff as gd
        >>> x, losses = gd.variable(3.0), []
        >>> loss = gd.optim.LBFGS([x]).minimize(lambda: x * x, losses.append)
        >>> losses[-1] < 1e-12 < losses[0] < loss.item()
        True
        """
        flat = self._flat
        evaluate = flat.evaluator(closure)
        before = flat.read()
        memory = self.steps, self.evaluations_made, self.converged, list(self._pairs), self._scale, self._last
        try:
            return self._minimize(evaluate, each or (lambda loss: None))
        except BaseException:
            self.steps, self.evaluations_made, self.converged, self._pairs, self._scale, self._last = memory
            flat.write(before)
            raise

    def _minimize(self, evaluate: Callable[[], tuple[Tensor, Array]], each: Callable[[float], object]) -> Tensor:
        flat = self._flat
        first, gradient = evaluate()
        loss, used = float(first), 1
        if not math.isfinite(loss):
            raise OpError(f"the loss is {loss} where the search would begin")
        self.evaluations_made += 1
        self.converged = flat.largest(gradient) <= self.tolerance_gradient
        for number in range(self.iterations):
            if self.converged or (number and used >= self.evaluations):
                break
            direction = self._direction(gradient)
            slope = flat.dot(gradient, direction)
            self.steps += 1
            if slope > -self.tolerance_change:
                self.converged, self._last = True, None
                each(loss)
                break
            trial, start = self._trial(gradient), flat.read()

            def along(step: float, start: Array = start, direction: Array = direction) -> Point:
                flat.write(start + step * direction)
                value, slopes = evaluate()
                self.evaluations_made += 1
                return Point(step, float(value), flat.dot(slopes, direction), slopes)

            reach = flat.largest(direction)
            begin = Point(0.0, loss, slope, gradient)
            found, count = search(along, begin, trial, reach, self.tolerance_change, max(self.evaluations - used, 1))
            used += count
            flat.write(start + found.step * direction)
            self._last = found.step * direction, gradient
            change, loss, gradient = abs(found.loss - loss), found.loss, found.gradient
            self.converged = (
                flat.largest(gradient) <= self.tolerance_gradient
                or found.step * reach <= self.tolerance_change
                or change < self.tolerance_change
            )
            each(loss)
        return first

    def _trial(self, gradient: Array) -> float:
        """Return the step that a search begins with; nothing is known of the first gradient, and the step is short."""
        total = float(cast(SupportsFloat, self._flat.F.sum(self._flat.F.abs(gradient))))
        return self.lr * (min(1.0, 1.0 / total) if not self._pairs and self._last is None else 1.0)

    def _direction(self, gradient: Array) -> Array:
        """Return minus the estimated inverse Hessian times the gradient: the two-loop recursion."""
        dot = self._flat.dot
        if self._last is not None:
            moved, former = self._last
            turned = gradient - former
            curvature = dot(turned, moved)
            if curvature > 1e-10:
                self._pairs = [*self._pairs, (moved, turned, curvature)][-self.history :]
                self._scale = curvature / dot(turned, turned)
        direction = -gradient
        weights = []
        for moved, turned, curvature in reversed(self._pairs):
            weights.append(dot(moved, direction) / curvature)
            direction = direction - weights[-1] * turned
        direction = self._scale * direction
        for (moved, turned, curvature), weight in zip(self._pairs, reversed(weights), strict=True):
            direction = direction + (weight - dot(turned, direction) / curvature) * moved
        return direction
