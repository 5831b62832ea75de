"""The ways to a Jacobian, compiled, counted, measured and checked against each other."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from graphdiff.analysis.check import ANALYTIC
from graphdiff.compare.crossover import cross
from graphdiff.compare.results import Comparison, ModeResult
from graphdiff.compare.terms import MODES
from graphdiff.costs.node import Cost
from graphdiff.differentiate.functions import jvp, vjp
from graphdiff.elimination.orders import EliminationOrder
from graphdiff.errors import DTypeError, GraphDiffError, GraphError
from graphdiff.graph import Graph
from graphdiff.graph.walks import evaluated, run_kernel
from graphdiff.host import HostArray
from graphdiff.jacobians.choose import computed, is_of_numbers, predicted
from graphdiff.jacobians.jacobian import jacobian
from graphdiff.op import as_tensor
from graphdiff.plan import compile as compiled
from graphdiff.tensor import Tensor, variable
from graphdiff.tree import flatten, unflatten
from graphdiff.typing import ArrayLike, Function

__all__ = ["compare_modes"]

WIDEST = 3_000
"""Elements of all intermediate values; beyond, accumulating number by number is out of the question."""

MOST_SEEDS = 1 << 24
"""Elements of the seeds of all directions together: 128 MiB of them."""

MOST_PRODUCTS = 20_000
"""Multiplications of numbers; to compile more takes minutes."""


def _timed(run: Callable[[], object], seconds: float) -> tuple[float, float]:
    """Return the median time of a call and the distance between the quartiles."""
    run()
    began = time.perf_counter()
    run()
    once = max(time.perf_counter() - began, 1e-7)
    inner = max(1, int(2e-4 / once))
    times: list[float] = []
    deadline = time.perf_counter() + seconds
    while len(times) < 5 or (time.perf_counter() < deadline and len(times) < 1000):
        began = time.perf_counter()
        for _ in range(inner):
            run()
        times.append((time.perf_counter() - began) / inner)
        if len(times) >= 2 and time.perf_counter() > deadline + 4 * seconds:
            break
    low, _, high = statistics.quantiles(times, n=4)
    return statistics.median(times), high - low


class _Flat:
    """The function as one of a list of real arrays that returns a list of tensors."""

    def __init__(self, function: Function[ArrayLike], arguments: Sequence[ArrayLike]) -> None:
        leaves, self.structure = flatten(list(arguments))
        self.function = function
        self.points = []
        for leaf in leaves:
            tensor = as_tensor(leaf)
            if tensor.dtype.kind != "f":
                raise DTypeError(
                    f"compare_modes differentiates by every argument, and {tensor.describe()} is not real floating: "
                    "write 2.0 instead of 2, or close over it"
                )
            self.points.append(np.asarray(tensor.value))

    def __call__(self, *leaves: ArrayLike) -> list[Tensor]:
        results = flatten(self.function(*unflatten(self.structure, list(leaves))))[0]
        return [as_tensor(result) for result in results]


def _stacked(
    blocks: Sequence[Sequence[ArrayLike]], rows: Sequence[Tensor | HostArray], columns: Sequence[HostArray]
) -> HostArray:
    return np.block(
        [
            [np.asarray(block, dtype=np.float64).reshape(row.size, column.size) for block, column in zip(line, columns)]
            for line, row in zip(blocks, rows)
        ]
    )


def _complex_step(outputs: Sequence[Tensor], leaves: Sequence[Tensor]) -> HostArray | None:
    """Return the Jacobian by the complex step, or None where an op has no analytic extension here, or inputs are many.

    Im f(x + ih)/h with h = 1e-100 has no truncation and no cancellation (Squire and Trapp, SIAM Review 40, 1998).
    """
    if sum(leaf.size for leaf in leaves) ** 2 > MOST_SEEDS:
        return None
    graph = Graph(list(outputs), list(leaves))
    if any(node.op is not None and node.op.name not in ANALYTIC for node in graph.nodes if node.recorded):
        return None
    columns = []
    for leaf in leaves:
        base = np.asarray(leaf.value, dtype=np.complex128)
        for index in np.ndindex(base.shape):
            moved = base.copy()
            moved[index] += 1e-100j
            values: dict[Tensor, Any] = {leaf: moved if moved.shape else moved[()]}
            with np.errstate(all="ignore"):
                evaluated(graph.nodes, values, lambda node: node.value, run_kernel)
            columns.append(np.concatenate([np.imag(np.ravel(values[output])) / 1e-100 for output in outputs]))
    return np.stack(columns, axis=1)


def _runs(flat: _Flat, outputs: Sequence[Tensor], order: EliminationOrder | None) -> dict[str, Callable[[], object]]:
    """Return, per mode, a function that computes the whole Jacobian as one array."""
    points, count = flat.points, len(flat.points)
    everything = tuple(range(count))
    value = compiled(lambda *leaves: flat(*leaves))

    def of(mode: Any) -> Callable[[], object]:
        whole = compiled(jacobian(flat, argnums=everything, mode=mode))
        return lambda: whole(*points)

    # Arguments are all arrays: a structure of them takes longer to look through than a small function to run.
    push = compiled(lambda *arrays: jvp(flat, arrays[:count], arrays[count:])[1])
    pull = compiled(lambda *arrays: vjp(flat, *arrays[:count])[1](list(arrays[count:])))

    input_units = cache(lambda: list(_units(points)))
    output_units = cache(lambda: list(_units([np.asarray(output.value) for output in outputs])))

    @cache
    def moved() -> list[tuple[float, list[HostArray]]]:
        steps = [(_step(points, unit), unit) for unit in input_units()]
        return [(step, [point + step * each for point, each in zip(points, unit)]) for step, unit in steps]

    def differences() -> HostArray:
        base = _raveled(value(*points))
        return np.stack([(_raveled(value(*at)) - base) / step for step, at in moved()], axis=1)

    def forward() -> object:
        return [push(*points, *unit) for unit in input_units()]

    def reverse() -> object:
        return [pull(*points, *unit) for unit in output_units()]

    return {
        "value": lambda: value(*points),
        "finite differences": differences,
        "forward": forward,
        "batched forward": of("forward"),
        "reverse": reverse,
        "batched reverse": of("reverse"),
        "elimination": of(order if order is not None else "elimination"),
        "one reverse pass": lambda: pull(*points, *output_units()[0]),
    }


def _units(like: Sequence[HostArray]) -> Iterator[list[HostArray]]:
    """Yield the unit vectors of a list of arrays."""
    for place, array in enumerate(like):
        for index in np.ndindex(array.shape):
            unit = [np.zeros(each.shape, each.dtype) for each in like]
            unit[place][index] = 1
            yield unit


def _step(points: Sequence[HostArray], unit: Sequence[HostArray]) -> float:
    """Return how far to move along a unit vector for a difference of first order."""
    kind, place = next(
        (point.dtype, abs(float(point[each != 0][0]))) for point, each in zip(points, unit) if each.any()
    )
    return float(np.sqrt(np.finfo(kind).eps)) * max(1.0, place)


def _raveled(parts: Sequence[ArrayLike]) -> HostArray:
    raveled: HostArray = np.concatenate([np.asarray(part).reshape(-1) for part in parts])
    return raveled


def _as_matrix(mode: str, result: Any, outputs: Sequence[Tensor], points: Sequence[HostArray]) -> HostArray:
    if mode == "finite differences":
        return np.asarray(result)
    if mode == "forward":
        return np.stack([_raveled(each) for each in result], axis=1)
    if mode == "reverse":
        return np.stack([_raveled(each) for each in result])
    return _stacked(result, outputs, points)


def compare_modes(
    function: Callable[..., Any],
    *arguments: Any,
    seconds: float = 0.2,
    order: EliminationOrder | None = None,
    modes: Sequence[str] = MODES,
    crossover: bool = True,
) -> Comparison:
    """Count, run and check every way to a function's Jacobian by all its arguments; each mode is compiled.

    Parameters
    ----------
    function : callable
        Returns a Tensor or a nested structure of them.
    *arguments : array, number, Tensor or nested structure, real floating
    seconds : float
        How long to measure each mode.
    order : EliminationOrder, optional
        For elimination; by default the best greedy order.
    modes : sequence of str
        Of finite differences, forward and reverse (a pass per input, or output), batched forward and batched reverse
        (one pass), and elimination: of a function written in numbers, or in an order given, number by number, which is
        skipped where there are too many, and else block by block.
    crossover : bool
        Whether to measure passes of other numbers of directions too, to find where forward and reverse cost alike.

    Returns
    -------
    Comparison

    Raises
    ------
    DTypeError
        An argument is not real floating.
    GraphError
        No path leads from the arguments to the result, the result is not finite, the function gives another one when
        called again, there is no such mode, none that is asked for can be run, the order is another function's, or
        `seconds` is negative.

    Examples
    --------
    >>> import numpy as np, graphdiff as gd
    >>> report = gd.compare_modes(lambda x: gd.sum(gd.sin(x) * x), np.ones(3), seconds=0.001)
    >>> [result.mode for result in report.results if not result.note][-3:]
    ['reverse', 'batched reverse', 'elimination']
    >>> report.results[-1].error < 1e-15
    True
    """
    _require_asked(arguments, modes, order, seconds)
    flat = _Flat(function, arguments)
    leaves = [variable(point) for point in flat.points]
    outputs = flat(*leaves)
    _require_comparable(flat, outputs, leaves)
    runs = _runs(flat, outputs, order)
    runs["value"]()  # what cannot be compiled says so here
    counts = predicted(outputs, leaves, ["value", *(mode for mode in modes if mode != "elimination")])
    if order is not None:
        counts |= predicted(outputs, leaves, ["elimination"], order)
    results, matrices = _measured(modes, runs, counts, outputs, leaves, order, flat.points, seconds)
    if not matrices:
        raise GraphError(f"no mode could be run: {'; '.join(f'{each.mode}: {each.note}' for each in results)}")
    reference, errors = _errors(matrices, outputs, leaves)
    results = [replace(each, error=errors.get(each.mode, each.error)) for each in results]
    value = ModeResult("the function", counts["value"], *_timed(runs["value"], seconds))
    gradient, _ = _timed(runs["one reverse pass"], seconds)
    pass_flops = predicted(outputs[:1], leaves, ["reverse"])["reverse"].flops / max(outputs[0].size, 1)
    return Comparison(
        name=getattr(function, "__name__", type(function).__name__),
        inputs=sum(leaf.size for leaf in leaves),
        outputs=sum(output.size for output in outputs),
        value=value,
        results=results,
        reference=reference,
        gradient_ratio=gradient / value.median,
        counted_ratio=pass_flops / max(1, counts["value"].flops),
        calibration=statistics.median(r.median / r.cost.seconds for r in results if r.mode in matrices and r.cost),
        machine=_machine(),
        crossover=cross(flat, flat.points, outputs, leaves, lambda run: _timed(run, seconds / 4)[0])
        if crossover
        else None,
    )


def _measured(
    modes: Sequence[str],
    runs: Mapping[str, Callable[[], Any]],
    counts: dict[str, Cost],
    outputs: Sequence[Tensor],
    leaves: Sequence[Tensor],
    order: EliminationOrder | None,
    points: Sequence[Any],
    seconds: float,
) -> tuple[list[ModeResult], dict[str, Any]]:
    """Return what each mode costs and takes, and the Jacobians by mode of those that could be run."""
    results: list[ModeResult] = []
    matrices: dict[str, Any] = {}
    for mode in modes:
        try:
            if mode == "elimination":
                counts = predicted(outputs, leaves, [mode]) | counts
            _require_worth_running(mode, outputs, leaves, order, counts[mode])
            matrices[mode] = _as_matrix(mode, runs[mode](), outputs, points)
            results.append(ModeResult(mode, counts[mode], *_timed(runs[mode], seconds)))
        except GraphDiffError as error:
            results.append(ModeResult(mode, counts.get(mode), note=str(error).split(":")[0][:60]))
    return results, matrices


def _require_asked(arguments: Sequence[Any], modes: Sequence[str], order: object, seconds: float) -> None:
    if isinstance(modes, str):
        raise GraphError(f"modes are a sequence of names, such as [{modes!r}], not a text")
    unknown = [mode for mode in modes if mode not in MODES]
    if unknown or not modes:
        raise GraphError(f"compare_modes knows the modes {', '.join(MODES)}, not {unknown or 'none'}")
    if not arguments:
        raise GraphError("compare_modes needs arguments to differentiate by")
    if order is not None and not isinstance(order, EliminationOrder):
        raise GraphError(f"an order is what gd.elimination_order returns, not {order!r}")
    if not seconds >= 0:
        raise GraphError(f"each mode is measured for a number of seconds, not {seconds!r}")


def _require_worth_running(
    mode: str, outputs: Sequence[Tensor], leaves: Sequence[Tensor], order: EliminationOrder | None, cost: Cost
) -> None:
    """Raise GraphError, which says in few words why, for a mode that would take all memory or minutes to compile."""
    if mode != "elimination":
        if sum(each.size for each in (outputs if mode.endswith("reverse") else leaves)) ** 2 > MOST_SEEDS:
            raise GraphError("too many directions")
    elif order is not None or is_of_numbers(computed(outputs, leaves)):
        if _too_wide(outputs, leaves):
            raise GraphError("too many numbers")
        if cost.multiplications > MOST_PRODUCTS:
            raise GraphError(f"{cost.multiplications:,} products, one by one")


def _errors(
    matrices: dict[str, Any], outputs: Sequence[Tensor], leaves: Sequence[Tensor]
) -> tuple[str, dict[str, float]]:
    """Return what accuracy is measured against, and the largest error of each mode relative to its largest entry."""
    reference, truth = "the complex step", _complex_step(outputs, leaves)
    if truth is None:
        best = next(each for each in ("batched reverse", "batched forward", *matrices) if each in matrices)
        reference, truth = f"{best} (there is no complex step)", matrices[best]
    scale = float(np.max(np.abs(truth), initial=0.0)) or 1.0
    return reference, {mode: float(np.max(np.abs(found - truth)) / scale) for mode, found in matrices.items()}


def _machine() -> str:
    return f"{_processor()}, Python {platform.python_version()}, NumPy {np.__version__}"


def _processor() -> str:
    """Return the processor's name where the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _too_wide(outputs: Sequence[Tensor], leaves: Sequence[Tensor]) -> bool:
    size = sum(node.size for node in Graph(list(outputs)).nodes if node.recorded)
    return size > WIDEST or sum(leaf.size for leaf in leaves) * sum(output.size for output in outputs) > WIDEST


def _require_comparable(flat: _Flat, outputs: Sequence[Tensor], leaves: Sequence[Tensor]) -> None:
    if not any(output.recorded for output in outputs):
        raise GraphError("no path leads from the arguments to the result: there is nothing to differentiate")
    for output in outputs:
        if output.dtype.kind != "f":
            raise DTypeError(f"the result {output.describe()} is not real floating and has no derivative")
        if not np.all(np.isfinite(np.asarray(output.value))):
            raise GraphError(
                f"the result {output.describe()} is not finite at these arguments: modes are compared where the "
                "function is smooth, so give other arguments (on the command line another --seed)"
            )
    again = flat(*leaves)
    same = len(again) == len(outputs) and all(
        np.array_equal(np.asarray(one.value), np.asarray(other.value), equal_nan=True)
        for one, other in zip(outputs, again)
    )
    if not same:
        raise GraphError(
            "the function gives another result when it is called again with the same arguments: modes can only be "
            "compared on a function of its arguments alone; draw random numbers outside"
        )
