"""Losses that are evaluated as often as a method needs: closures, and their parameters as one flat array."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import SupportsFloat, cast

from graphdiff.backend import use_backend
from graphdiff.differentiate.gradients import gradients_of
from graphdiff.errors import CompileError, DTypeError
from graphdiff.op import GRAPH, as_tensor
from graphdiff.optim.flat_buffer import buffer_of, laid_flat
from graphdiff.optim.groups import flat_gradient, require_parameters
from graphdiff.plan import Compiled, compile
from graphdiff.tensor import Tensor, Variable, current_trace
from graphdiff.typing import Array, Namespace

__all__ = ["Closure", "FlatParameters", "require_no_trace"]

Closure = Callable[[], Tensor]


class FlatParameters:
    """Parameters as one flat array, and what a closure makes of them.

    Parameters
    ----------
    parameters : iterable of Variable
        Of one dtype and backend.
    """

    def __init__(self, parameters: Iterable[Variable]) -> None:
        self.parameters = list(parameters)
        require_parameters(self.parameters)
        first = self.parameters[0]
        for parameter in self.parameters:
            if parameter.dtype != first.dtype:
                raise DTypeError(f"the parameters are of one dtype here, not {first.dtype} and {parameter.dtype}")
        self.backend = first.backend

    @property
    def F(self) -> Namespace:
        """The backend's namespace of arrays."""
        return self.backend.numbers

    def read(self) -> Array:
        """Return the parameters' values, as a flat array of its own."""
        return laid_flat(self.parameters)

    def write(self, x: Array) -> None:
        """Give the parameters the values in a flat array."""
        buffer = buffer_of(self.parameters)
        buffer.gather()
        buffer.flat.assign(Tensor(None, (), {}, x, self.backend, False))
        if not self.backend.in_place:
            buffer.show()

    def evaluator(self, closure: Closure) -> Callable[[], tuple[Tensor, Array]]:
        """Return what evaluates the loss and its flat gradient; of a compiled closure, a plan for both."""
        require_no_trace()
        if not isinstance(closure, Compiled):
            return lambda: self.evaluate(closure)
        function = closure.function

        @compile
        def both() -> tuple[Tensor, Tensor]:
            loss = as_tensor(function())
            return loss, as_tensor(flat_gradient(GRAPH, self.parameters, gradients_of(loss)))

        def run() -> tuple[Tensor, Array]:
            with use_backend(self.backend):
                loss, gradient = both()
            return loss, gradient.value

        return run

    def evaluate(self, closure: Closure) -> tuple[Tensor, Array]:
        """Return the loss and its flat gradient."""
        with use_backend(self.backend):
            loss = closure()
        return as_tensor(loss), flat_gradient(self.F, self.parameters, gradients_of(loss))

    def dot(self, a: Array, b: Array) -> float:
        """Return the inner product of two flat arrays."""
        return float(cast(SupportsFloat, self.F.vecdot(a, b)))

    def largest(self, a: Array) -> float:
        """Return the largest size of a component."""
        return float(cast(SupportsFloat, self.F.max(self.F.abs(a)))) if a.shape[0] else 0.0


def require_no_trace() -> None:
    """Raise CompileError within a function that is being compiled."""
    if current_trace():
        raise CompileError("a method that evaluates its loss as often as it needs cannot be compiled")
