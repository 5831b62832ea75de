"""Methods that use curvature: L-BFGS, which estimates it from gradients, and Newton's, which computes it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from graphdiff.backend import use_backend, working_on
from graphdiff.differentiate.jacobians import hessian_of
from graphdiff.differentiate.reverse import gradients_of
from graphdiff.errors import CompileError, DTypeError, MatrixError, OpError
from graphdiff.op import FUNCTIONS, as_tensor
from graphdiff.optim.arena import arena_of
from graphdiff.optim.groups import require, require_parameters
from graphdiff.plan import Compiled, compile
from graphdiff.tensor import Tensor, Variable, current_trace

__all__ = ["LBFGS", "Newton"]

Closure = Callable[[], Tensor]


class _Flat:
    """Parameters as one flat array, and what a closure makes of them."""

    def __init__(self, parameters: Iterable[Variable]) -> None:
        self.parameters = list(parameters)
        require_parameters(self.parameters)
        first = self.parameters[0]
        for parameter in self.parameters:
            if parameter.dtype != first.dtype:
                raise DTypeError(f"the parameters are of one dtype here, not {first.dtype} and {parameter.dtype}")
        self.backend = first.backend

    @property
    def F(self) -> Any:
        return self.backend.numbers

    def join(self, parts: list[Any]) -> Any:
        """Return a flat array, of memory of its own."""
        return self.backend.copy(self.F.concat([self.F.reshape(part, (-1,)) for part in parts]))

    def read(self) -> Any:
        return self.join([parameter._value for parameter in self.parameters])

    def write(self, x: Any) -> None:
        """Give the parameters the values in a flat array."""
        arena = arena_of(self.parameters)
        arena.gather()
        arena.flat.assign(Tensor(None, (), {}, x, self.backend, False))
        if not self.backend.in_place:
            arena.show()

    def evaluator(self, closure: Closure) -> Callable[[], tuple[Tensor, Any]]:
        """Return what evaluates the loss and its flat gradient; of a compiled closure, a plan for both."""
        _require_no_trace()
        if not isinstance(closure, Compiled):
            return lambda: self.evaluate(closure)
        function = closure.function

        @compile
        def both() -> tuple[Tensor, Tensor]:
            loss = as_tensor(function())
            gradients = gradients_of(loss)
            parts = [gradients.get(p, FUNCTIONS["zeros_like"](p)) for p in self.parameters]
            return loss, FUNCTIONS["concat"]([FUNCTIONS["reshape"](part, (-1,)) for part in parts])

        def run() -> tuple[Tensor, Any]:
            with use_backend(self.backend):
                loss, gradient = both()
            return loss, gradient.value

        return run

    def evaluate(self, closure: Closure) -> tuple[Tensor, Any]:
        """Return the loss and its flat gradient."""
        with use_backend(self.backend):
            loss = closure()
        gradients = gradients_of(loss)
        found = [gradients.get(parameter) for parameter in self.parameters]
        parts = [
            self.F.zeros_like(p._value) if gradient is None else gradient
            for p, gradient in zip(self.parameters, found, strict=True)
        ]
        return as_tensor(loss), self.join(parts)

    def dot(self, a: Any, b: Any) -> float:
        return float(self.F.vecdot(a, b))

    def largest(self, a: Any) -> float:
        return float(self.F.max(self.F.abs(a)))


def _require_no_trace() -> None:
    if current_trace():
        raise CompileError("a method that evaluates its loss as often as it needs cannot be compiled")


class _Point(NamedTuple):
    """A point on the line of a search: how far along, loss, slope along the line, gradient."""

    step: float
    loss: float
    slope: float
    gradient: Any


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

    Attributes
    ----------
    steps : int
        Iterations made.
    evaluations_made : int
    converged : bool
        Whether the last call stopped at a tolerance, not for want of iterations.

    Notes
    -----
    Nocedal and Wright, Numerical Optimization, 2nd edition, algorithms 7.4, 3.5 and 3.6; with the interpolation and
    the limits of torch.optim.LBFGS.

    Examples
    --------
    >>> import graphdiff as gd
    >>> x = gd.variable([-1.2, 1.0])
    >>> optimizer = gd.optim.LBFGS([x], iterations=100)
    >>> loss = optimizer.minimize(lambda: (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2)
    >>> [round(value, 3) for value in x.tolist()]
    [1.0, 1.0]
    """

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
        require("iterations", iterations, least=1)
        require("history", history, least=1)
        require("tolerance_gradient", tolerance_gradient)
        require("tolerance_change", tolerance_change)
        if evaluations is not None:
            require("evaluations", evaluations, least=1)
        self.lr, self.iterations, self.history = lr, iterations, history
        self.evaluations = iterations * 5 // 4 if evaluations is None else evaluations
        self.tolerance_gradient, self.tolerance_change = tolerance_gradient, tolerance_change
        self._flat = _Flat(parameters)
        self.parameters = self._flat.parameters
        self.steps = self.evaluations_made = 0
        self.converged = False
        self._pairs: list[tuple[Any, Any, float]] = []
        self._scale = 1.0
        self._last: tuple[Any, Any] | None = None

    def minimize(self, closure: Closure, each: Callable[[float], Any] | None = None) -> Tensor:
        """Lower a loss, evaluated as often as needed; return what it was at the start.

        Parameters
        ----------
        closure : callable
            Without arguments; returns the loss, made of the parameters as they are then. `.grad` is left alone. If it
            fails, parameters and memory are as before the call. One made by `gd.compile` is traced once in this call,
            together with its gradient, which pays from some ten evaluations on.
        each : callable, optional
            Called after every iteration with the loss there, while the parameters have the values that give it.

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

    def _minimize(self, evaluate: Callable[[], tuple[Tensor, Any]], each: Callable[[float], Any]) -> Tensor:
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
            total = float(flat.F.sum(flat.F.abs(gradient)))
            trial = self.lr * (min(1.0, 1.0 / total) if not self._pairs and self._last is None else 1.0)
            start = flat.read()

            def along(step: float, start: Any = start, direction: Any = direction) -> _Point:
                flat.write(start + step * direction)
                value, slopes = evaluate()
                self.evaluations_made += 1
                return _Point(step, float(value), flat.dot(slopes, direction), slopes)

            reach = flat.largest(direction)
            begin = _Point(0.0, loss, slope, gradient)
            found, count = _search(along, begin, trial, reach, self.tolerance_change, max(self.evaluations - used, 1))
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

    def _direction(self, gradient: Any) -> Any:
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


def _search(
    along: Callable[[float], _Point], begin: _Point, trial: float, reach: float, tolerance: float, most: int
) -> tuple[_Point, int]:
    """Return a point that satisfies the strong Wolfe conditions, or the best that was found, and the evaluations."""
    most = min(most, 25)

    def falls(point: _Point) -> bool:
        return point.loss <= begin.loss + 1e-4 * point.step * begin.slope

    def is_flat(point: _Point) -> bool:
        return abs(point.slope) <= -0.9 * begin.slope

    # Go on until two points have a good one between them.
    last, now, tried = begin, along(trial), 1
    while True:
        if not falls(now) or (tried > 2 and now.loss >= last.loss):
            break
        if is_flat(now):
            return now, tried
        if now.slope >= 0:
            break
        if tried > most:
            last = begin
            break
        least, furthest = now.step + 0.01 * (now.step - last.step), 10 * now.step
        last, now, tried = now, along(_interpolated(last, now, least, furthest)), tried + 1
    # Draw the two together.
    low, high = (now, last) if now.loss < last.loss else (last, now)
    stalled = False
    while tried <= most and abs(high.step - low.step) * reach >= tolerance:
        left, right = sorted((low.step, high.step))
        step = _interpolated(low, high, left, right)
        margin = 0.1 * (right - left)
        if min(right - step, step - left) < margin:
            if stalled or not left < step < right:
                step = right - margin if abs(step - right) < abs(step - left) else left + margin
                stalled = False
            else:
                stalled = True
        else:
            stalled = False
        point = along(step)
        tried += 1
        if not falls(point) or not point.loss < low.loss:
            high = point
            if high.loss < low.loss:
                low, high = high, low
        else:
            if is_flat(point):
                return point, tried
            if point.slope * (high.step - low.step) >= 0:
                high = low
            low = point
    return low, tried


def _interpolated(a: _Point, b: _Point, least: float, most: float) -> float:
    """Return where the cubic with the losses and slopes of two points has its minimum, within limits."""
    if a.step > b.step:
        a, b = b, a
    width = b.step - a.step
    if width == 0 or not math.isfinite(a.loss + b.loss + a.slope + b.slope):
        return (least + most) / 2
    mean = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.step - b.step)
    square = mean * mean - a.slope * b.slope
    if square < 0:
        return (least + most) / 2
    root = math.sqrt(square)
    below = b.slope - a.slope + 2 * root
    if below == 0:
        return (least + most) / 2
    return min(max(b.step - width * ((b.slope + root - mean) / below), least), most)


class Newton:
    """Newton's method: θ ← θ - lr·(H + damping·I)⁻¹·g, with the whole Hessian H; for small problems.

    Parameters
    ----------
    parameters : iterable of Variable
        Of one dtype and backend.
    lr : float
    damping : float
        Added to every curvature. Where the Hessian is not positive definite, plain Newton steps lead to saddle points
        and maxima as well; a damping larger than its most negative eigenvalue leads downhill.

    Attributes
    ----------
    steps : int

    Notes
    -----
    Nocedal and Wright, Numerical Optimization, 2nd edition, section 3.3; damped as by Levenberg (1944).

    Examples
    --------
    >>> import graphdiff as gd
    >>> x = gd.variable([5.0, -7.0])
    >>> loss = gd.optim.Newton([x]).minimize(lambda: (x[0] - 1) ** 2 + 10 * (x[1] - x[0]) ** 2)
    >>> [round(value, 9) for value in x.tolist()]
    [1.0, 1.0]
    """

    def __init__(self, parameters: Iterable[Variable], lr: float = 1.0, damping: float = 0.0) -> None:
        require("lr", lr)
        require("damping", damping)
        self.lr, self.damping = lr, damping
        self._flat = _Flat(parameters)
        self.parameters = self._flat.parameters
        self.steps = 0

    def minimize(self, closure: Closure) -> Tensor:
        """Make a step; return the loss as it was before. `.grad` is left alone; if anything fails, nothing changes.

        Parameters
        ----------
        closure : callable
            Without arguments; returns the loss.
        """
        flat = self._flat
        _require_no_trace()
        loss, gradient = flat.evaluate(closure)
        with working_on(flat.backend):
            curvature = hessian_of(loss, self.parameters)
            if self.damping:
                size = curvature.shape[0]
                curvature = curvature + self.damping * FUNCTIONS["eye"](size, dtype=curvature.dtype)
            slope = Tensor(None, (), {}, gradient, flat.backend, False)
            if not bool(FUNCTIONS["all"](FUNCTIONS["isfinite"](curvature))):
                raise OpError("the Hessian is not finite here")
            try:
                step = FUNCTIONS["solve"](curvature, slope)
            except MatrixError as error:
                raise OpError("the Hessian is singular here; give a damping") from error
        if not bool(flat.F.all(flat.F.isfinite(step.value))):
            raise OpError("the Hessian is singular here, or nearly; give a damping")
        flat.write(flat.read() - self.lr * step.value)
        self.steps += 1
        return loss
