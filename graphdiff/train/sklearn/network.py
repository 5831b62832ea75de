"""The network of the scikit-learn estimators and its training, step for step as scikit-learn has it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from graphdiff.backend import Backend, use_backend
from graphdiff.host import HostArray
from graphdiff.nn.layers import ACTIVATIONS as LAYERS
from graphdiff.nn.losses import softmax_cross_entropy
from graphdiff.op import FUNCTIONS, as_tensor
from graphdiff.ops import activations, create, elementwise, products, reduce, selection
from graphdiff.optim.optimizers import Optimizer
from graphdiff.plan import compile
from graphdiff.tensor import Tensor, Variable, variable
from graphdiff.typing import Array, ArrayLike, Function, Namespace

__all__ = ["ACTIVATIONS", "SGD", "AdamUncorrectedEpsilon", "Trainer", "forward"]

_LEFT_OUT = ("gelu_tanh", "hard_tanh", "softmax", "log_softmax")
ACTIVATIONS: dict[str, str | None] = {"identity": None}
"""The function between layers by the estimators' name of it: scikit-learn's, and those of layers under their own."""
for _name in LAYERS:
    if _name not in _LEFT_OUT:
        ACTIVATIONS["logistic" if _name == "sigmoid" else _name] = _name


class AdamUncorrectedEpsilon(Optimizer):
    """Adam as scikit-learn has it: ε is added to the root of the second mean before that is corrected for its bias."""

    states = 2

    def __init__(self, parameters: Sequence[Variable], lr: float, betas: tuple[float, float], eps: float) -> None:
        self.betas, self.eps = betas, eps
        super().__init__(parameters, lr)

    def rule(self, F: Any, value: Any, gradient: Any, state: tuple[Any, ...], steps: Any, lr: Any) -> tuple[Any, ...]:
        first, second = self.betas
        # The means are kept divided by 1 - β, which saves two passes over all parameters.
        mean = first * state[0] + gradient
        square = second * state[1] + gradient * gradient
        scale = math.sqrt(1 - second)
        rate = lr * (1 - first) / scale * F.sqrt(1 - second**steps) / (1 - first**steps)
        step = F.astype(rate, value.dtype) * (mean / (F.sqrt(square) + self.eps / scale))
        return value - step, mean, square


class SGD(Optimizer):
    """Gradient descent as scikit-learn has it: the velocity contains the learning rates it was gathered with."""

    momentum: float
    nesterov: bool

    def __init__(self, parameters: Sequence[Variable], lr: float, momentum: float, nesterov: bool) -> None:
        super().__init__(parameters, lr, momentum=momentum, nesterov=nesterov)

    @property
    def states(self) -> int:  # type: ignore[override]
        """The velocity, if there is a momentum."""
        return 1 if self.momentum else 0

    def rule(
        self, F: Namespace, value: Array, gradient: Array, state: tuple[Array, ...], steps: Array, lr: Array
    ) -> tuple[Array, ...]:
        step = F.astype(lr, value.dtype) * gradient
        if not state:
            return (value - step,)
        velocity = self.momentum * state[0] - step
        return value + (self.momentum * velocity - step if self.nesterov else velocity), velocity


def forward(x: ArrayLike, weights: Sequence[ArrayLike], biases: Sequence[ArrayLike], activation: str) -> Tensor:
    """Return what the last layer puts out, before its own activation."""
    function = ACTIVATIONS[activation]
    for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        if index and function:
            x = FUNCTIONS[function](x)
        x = products.matmul(x, weight) + bias
    return as_tensor(x)


class Trainer:
    """Variables, an optimiser, and the compiled steps that train them."""

    def __init__(
        self,
        coefs: Sequence[HostArray],
        intercepts: Sequence[HostArray],
        activation: str,
        output: str,
        alpha: float,
        backend: Backend,
        make_optimizer: Callable[[list[Variable]], Any],
        calls: int | None = None,
    ) -> None:
        self.activation, self.output, self.alpha = activation, output, alpha
        self.backend = backend
        with use_backend(backend):
            self.weights = [variable(coef, name=f"W{index}") for index, coef in enumerate(coefs)]
            self.biases = [variable(intercept, name=f"b{index}") for index, intercept in enumerate(intercepts)]
            self.optimizer = make_optimizer([*self.weights, *self.biases])
        self._sizes: list[int] = []
        self._calls = calls
        self._compile()

    def _compile(self) -> None:
        self.step: Function[Tensor] = compile(self._step, calls=self._calls)
        self.weighted_step: Function[Tensor] = compile(self._step, calls=self._calls)
        self.predict: Function[Tensor] = compile(self._output)

    def __getstate__(self) -> dict[str, object]:
        return {k: v for k, v in self.__dict__.items() if k not in ("step", "weighted_step", "predict")}

    def __setstate__(self, kept: dict[str, object]) -> None:
        self.__dict__.update(kept)
        self._compile()

    def _output(self, x: Tensor) -> Tensor:
        return forward(x, self.weights, self.biases, self.activation)

    def _errors(self, x: Tensor, y: Tensor) -> Tensor:
        """Return each example's loss: the sum over the outputs."""
        raw = self._output(x)
        if self.output == "softmax":
            rows = -y * reduce.log_softmax(raw, axis=1)
        elif self.output == "logistic":
            rows = activations.softplus(raw) - y * raw
        else:
            rows = 0.5 * elementwise.square(raw - y)
        return reduce.sum(rows, axis=1)

    @property
    def _reports_mean(self) -> bool:
        """Whether what is descended is the sum over the outputs, and what is reported their mean."""
        return self.output == "identity" and self.biases[-1].size > 1

    def _penalised(self, loss: Tensor, weight: Tensor | float) -> tuple[Tensor, Tensor]:
        """Return the loss plus the penalty, as it is descended and as scikit-learn reports it."""
        objective = reported = loss
        if self._reports_mean:
            reported = loss / float(self.biases[-1].size)
        if self.alpha:
            squares = [reduce.sum(elementwise.square(matrix)) for matrix in self.weights]
            penalty = (0.5 * self.alpha) * sum(squares[1:], squares[0]) / weight
            objective, reported = objective + penalty, reported + penalty
        return objective, reported

    def _objective(self, x: Tensor, y: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return what is descended and what is reported, of a batch with or without weights of the examples."""
        if weights is not None:
            total = reduce.sum(weights)
            ones = create.ones_like(total)
            total = selection.where(total > 0, total, ones)  # a batch that counts for nothing
            return self._penalised(reduce.sum(self._errors(x, y) * weights) / total, total)
        if y.dtype.kind in "iu":
            loss = softmax_cross_entropy(self._output(x), y)
        else:
            loss = reduce.mean(self._errors(x, y))
        return self._penalised(loss, float(x.shape[0]))

    def _step(self, *batch: Tensor) -> Tensor:
        objective, reported = self._objective(*batch)
        self.optimizer.minimize(objective)
        return reported

    def descend_whole(self, *arrays: Array) -> tuple[list[float], float]:
        """Have L-BFGS lower the objective, on all examples; return what is reported after each iteration, and then."""
        curve: list[float] = []
        objective: Function[tuple[Tensor, Tensor]] = self._objective
        measure = compile(lambda: objective(*arrays)[1])

        def each(loss: float) -> None:
            curve.append(float(measure()) if self._reports_mean else loss)

        self.optimizer.minimize(compile(lambda: objective(*arrays)[0]), each)
        return curve, curve[-1] if curve else float(measure())

    def padded(self, rows: int, most: int) -> int:
        """Return how many rows to hand to a step of `partial_fit`, so that only two sizes are ever traced.

        These are that of the first call, and the greatest there is; all else is filled up with rows of weight zero.
        """
        if rows not in self._sizes:
            if self._sizes:
                rows = most
            if rows not in self._sizes:
                self._sizes.append(rows)
        return rows

    def go_on(self, coefs: Sequence[HostArray], intercepts: Sequence[HostArray], activation: str, alpha: float) -> None:
        """Go on with these weights, biases and parameters, and the optimiser's state as it is."""
        with use_backend(self.backend):
            for leaf, array in zip((*self.weights, *self.biases), (*coefs, *intercepts), strict=True):
                leaf.assign(array.astype(str(leaf.dtype), copy=False))
        if (activation, alpha) != (self.activation, self.alpha):
            self.activation, self.alpha = activation, alpha
            self._sizes.clear()
            self._compile()

    def coefs(self) -> tuple[list[HostArray], list[HostArray]]:
        """Return copies of weights and biases, on the host."""
        return [w.numpy().copy() for w in self.weights], [b.numpy().copy() for b in self.biases]
