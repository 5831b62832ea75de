"""Checking derivatives: finite differences, the complex step, and the dot-product test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphdiff.arguments import require_function
from graphdiff.differentiate.functions import grad, jvp, vjp
from graphdiff.errors import GradientCheckError
from graphdiff.graph import Graph
from graphdiff.guard import guarded
from graphdiff.op import FUNCTIONS, as_tensor
from graphdiff.structure import flatten, unflatten
from graphdiff.tensor import Tensor, variable

__all__ = ["CheckReport", "check_grads"]

# Functions that NumPy extends analytically to complex arguments, away from kinks (complex numbers are ordered by their
# real parts): there the complex step has no truncation error.
_ANALYTIC = (
    "add subtract multiply divide power negative positive square reciprocal sqrt exp expm1 log log1p log2 log10 "
    "sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh sigmoid relu leaky_relu elu hard_tanh "
    "maximum minimum clip where matmul einsum_op inv solve det sum mean prod cumsum cumprod var std max min "
    "logsumexp softmax log_softmax reshape permute_dims broadcast_to concatenate flip roll pad "
    "getitem scatter_add tril triu argsort"
)
ANALYTIC = frozenset(_ANALYTIC.split())


@dataclass(frozen=True)
class Comparison:
    """One derivative, computed and expected."""

    mode: str
    argument: str
    index: tuple[int, ...]
    computed: float
    expected: float
    tolerance: float

    @property
    def error(self) -> float:
        """The relative error; absolute where the values are below 1."""
        difference = abs(self.computed - self.expected)
        return 0.0 if difference == 0 else difference / max(1.0, abs(self.computed), abs(self.expected))

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance; NaN is not."""
        return self.error <= self.tolerance


@dataclass
class CheckReport:
    """What `check_grads` compared; prints as a table of the worst entry per mode and argument."""

    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether every comparison passed."""
        return all(comparison.passed for comparison in self.comparisons)

    def worst(self) -> Comparison:
        """Return the comparison with the largest error in terms of its tolerance."""
        return max(self.comparisons, key=lambda c: np.nan_to_num(c.error / c.tolerance, nan=np.inf))

    def __str__(self) -> str:
        rows = [f"{'mode':<34}{'argument':<12}{'index':<12}{'computed':>14}{'expected':>14}{'error':>10}"]
        grouped: dict[tuple[str, str], CheckReport] = {}
        for comparison in self.comparisons:
            key = comparison.mode, comparison.argument
            grouped.setdefault(key, CheckReport()).comparisons.append(comparison)
        for (mode, argument), group in grouped.items():
            worst = group.worst()
            rows.append(
                f"{mode:<34}{argument:<12}{worst.index!s:<12}{worst.computed:>14.7g}{worst.expected:>14.7g}"
                f"{worst.error:>10.1e}{'' if worst.passed else '  FAILED'}"
            )
        return "\n".join(rows)


@guarded
def check_grads(
    function: Callable[..., Any],
    *arguments: Any,
    order: int = 1,
    modes: Sequence[str] = ("forward", "reverse"),
    tolerance: float = 1e-6,
    seed: int = 0,
) -> CheckReport:
    """Check a function's derivatives in float64 against finite differences, the complex step and each other.

    Parameters
    ----------
    function : callable
        Returns a Tensor or a nested structure of them.
    *arguments : array, number, Tensor or nested structure
        Where to check; cast to float64. Keep away from kinks.
    order : {1, 2}
        2 checks the gradient's derivatives too.
    modes : sequence of {"forward", "reverse"}
    tolerance : float
        For finite differences, relative; the complex step is held to 1e-10 and the dot-product test to 1e-10.
    seed : int
        For the random projections.

    Returns
    -------
    CheckReport

    Raises
    ------
    GradientCheckError
        With op, argument, index, the two values and the relative error of the worst entry.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.check_grads(lambda x: gd.sum(gd.sin(x) * x), [0.5, 1.5]).passed
    True
    """
    require_function(function, "check_grads")
    leaves, structure = flatten(list(arguments))
    arrays = [np.array(as_tensor(leaf).numpy(), dtype=np.float64) for leaf in leaves]
    names = [_name(leaf, index) for index, leaf in enumerate(leaves)]
    stream = np.random.default_rng(seed)

    def flat(*tensors: Any) -> Tensor:
        outputs = flatten(function(*unflatten(structure, list(tensors))))[0]
        return FUNCTIONS["concatenate"]([FUNCTIONS["ravel"](output) for output in outputs])  # type: ignore[no-any-return]

    weights = stream.uniform(0.5, 1.5, flat(*arrays).shape)

    def projected(*tensors: Any) -> Tensor:
        return FUNCTIONS["sum"](flat(*tensors) * weights)  # type: ignore[no-any-return]

    report = CheckReport()
    _compare(report, projected, arrays, names, modes, tolerance, "")
    _dot_product(report, flat, arrays, names, stream)
    if order > 1:
        _compare(report, _slope(projected, arrays, stream), arrays, names, modes, 10 * tolerance, "second order, ")
    if not report.passed:
        raise GradientCheckError(_explain(report, projected, arrays))
    return report


def _name(leaf: Any, index: int) -> str:
    return leaf.name if isinstance(leaf, Tensor) and leaf.name else f"#{index}"


def _compare(
    report: CheckReport,
    scalar: Callable[..., Tensor],
    arrays: list[Any],
    names: list[str],
    modes: Sequence[str],
    tolerance: float,
    prefix: str,
) -> None:
    differences = _finite_differences(scalar, arrays)
    references = [("finite differences", differences, tolerance)]
    steps = _complex_steps(scalar, arrays)
    if steps is not None:
        references.append(("complex step", steps, 1e-10))
    for mode in modes:
        derivative = _forward(scalar, arrays) if mode == "forward" else _reverse(scalar, arrays)
        for kind, expected, allowed in references:
            for name, computed_part, expected_part in zip(names, derivative, expected, strict=True):
                for index in np.ndindex(computed_part.shape):
                    values = float(computed_part[index]), float(expected_part[index])
                    report.comparisons.append(Comparison(f"{prefix}{mode} – {kind}", name, index, *values, allowed))


def _reverse(scalar: Callable[..., Tensor], arrays: list[Any]) -> list[Any]:
    return [part.numpy() for part in grad(scalar, tuple(range(len(arrays))))(*arrays)]


def _forward(scalar: Callable[..., Tensor], arrays: list[Any]) -> list[Any]:
    derivative = [np.zeros(array.shape) for array in arrays]
    for position, array in enumerate(arrays):
        for index in np.ndindex(array.shape):
            seeds = [np.zeros(other.shape) for other in arrays]
            seeds[position][index] = 1.0
            derivative[position][index] = float(jvp(scalar, arrays, seeds)[1])
    return derivative


def _finite_differences(scalar: Callable[..., Tensor], arrays: list[Any]) -> list[Any]:
    """Five-point central differences: error O(h⁴), so that h = 1e-3 balances it with rounding."""
    derivative = [np.zeros(array.shape) for array in arrays]
    for position, array in enumerate(arrays):
        for index in np.ndindex(array.shape):
            step = 1e-3 * max(1.0, abs(array[index]))
            values = []
            for multiple in (-2, -1, 1, 2):
                moved = [other.copy() for other in arrays]
                moved[position][index] += multiple * step
                values.append(float(scalar(*moved)))
            derivative[position][index] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
    return derivative


def _complex_steps(scalar: Callable[..., Tensor], arrays: list[Any]) -> list[Any] | None:
    """Return Im f(x + ih) / h, whose error is rounding alone; None if an op is not analytic in NumPy."""
    inputs = [variable(array) for array in arrays]
    graph = Graph(scalar(*inputs))
    if any(node.recorded and node.op is not None and node.op.name not in ANALYTIC for node in graph):
        return None
    step = 1e-30
    derivative = [np.zeros(array.shape) for array in arrays]
    for position, array in enumerate(arrays):
        if inputs[position] not in graph:
            continue
        for index in np.ndindex(array.shape):
            shifted = array.astype(np.complex128)
            shifted[index] += 1j * step
            values: dict[Tensor, Any] = {inputs[position]: shifted[()]}
            for node in graph:
                if node in values:
                    continue
                if node.op is None:
                    values[node] = node.value
                else:
                    operands = [values[operand] for operand in node.inputs]
                    values[node] = node.op.kernel(node.backend)(*operands, **node.attributes)
            derivative[position][index] = values[graph.outputs[0]].imag / step
    return derivative


def _dot_product(
    report: CheckReport, flat: Callable[..., Tensor], arrays: list[Any], names: list[str], stream: Any
) -> None:
    """Compare ⟨v, J u⟩ with ⟨Jᵀ v, u⟩: exact up to rounding, and no differences are taken."""
    directions = [stream.normal(size=array.shape) for array in arrays]
    output, moved = jvp(flat, arrays, directions)
    cotangent = stream.normal(size=output.shape)
    pulled = vjp(flat, *arrays)[1](cotangent)
    left = float(np.sum(cotangent * moved.numpy()))
    right = float(sum(np.sum(part.numpy() * along) for part, along in zip(pulled, directions, strict=True)))
    report.comparisons.append(Comparison("dot product: ⟨v, J u⟩ – ⟨Jᵀ v, u⟩", "all", (), left, right, 1e-10))


def _explain(report: CheckReport, scalar: Callable[..., Tensor], arrays: list[Any]) -> str:
    worst = report.worst()
    suspects = _suspects(scalar, arrays, second=worst.mode.startswith("second order"))
    blamed = f" The rule of {', '.join(suspects)} disagrees with finite differences." if suspects else ""
    return (
        f"{worst.mode}: derivative by argument {worst.argument} at index {worst.index} is {worst.computed:.10g}, "
        f"expected {worst.expected:.10g} (relative error {worst.error:.2e}, tolerance {worst.tolerance:.0e}).{blamed}"
        f"\n{report}"
    )


def _suspects(scalar: Callable[..., Tensor], arrays: list[Any], second: bool) -> list[str]:
    """Return the ops of the graph whose own derivative is wrong at the values they have there."""
    found: list[str] = []
    for node in Graph(scalar(*[variable(array) for array in arrays])):
        op = node.op
        if op is None or op.name in found:
            continue
        real = [position for position, operand in enumerate(node.inputs) if operand.dtype.kind == "f"]
        values = [node.inputs[position].numpy().astype(np.float64) for position in real]
        # Unequal weights, or a transpose that only confuses positions would go unnoticed.
        weights = np.linspace(0.5, 1.5, node.size).reshape(node.shape)

        def alone(*tensors: Any, node: Tensor = node, real: list[int] = real, weights: Any = weights) -> Tensor:
            operands = list(node.inputs)
            for position, tensor in zip(real, tensors, strict=True):
                operands[position] = as_tensor(tensor)
            output = node.op.node(tuple(operands), node.attributes)  # type: ignore[union-attr]
            return FUNCTIONS["sum"](output * weights)  # type: ignore[no-any-return]

        if _is_wrong(alone, values) or (second and _is_wrong(_slope(alone, values), values)):
            found.append(op.name)
    return found


def _is_wrong(function: Callable[..., Tensor], values: list[Any]) -> bool:
    expected = _finite_differences(function, values)
    return any(
        not np.allclose(computed, wanted, rtol=1e-5, atol=1e-6)
        for mode in (_forward, _reverse)
        for computed, wanted in zip(mode(function, values), expected, strict=True)
    )


def _slope(function: Callable[..., Tensor], arrays: list[Any], stream: Any = None) -> Callable[..., Tensor]:
    """Return the function's derivative along a random direction, as a function of the same arguments."""
    stream = stream or np.random.default_rng(0)
    gradient = grad(function, tuple(range(len(arrays))))
    directions = [stream.uniform(0.5, 1.5, array.shape) for array in arrays]

    def slope(*tensors: Any) -> Tensor:
        parts = gradient(*tensors)
        return sum(FUNCTIONS["sum"](part * along) for part, along in zip(parts, directions, strict=True))  # type: ignore[return-value]

    return slope
