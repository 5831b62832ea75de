"""Prove that the suite can fail: falsify every derivative rule by a thousandth, and see the generated tests notice.

Run as ``python tests/mutate.py [name of an op …]``. In one process, each rule of `graphdiff.op.OPS` in turn is replaced
by one whose result is 1.001 times as large: every partial of an elementwise op, every transpose and the tangent of a
linear or multilinear op, both rules of a custom op for each position, the body of a composite (its value is computed
otherwise or compared elsewhere), and every batching rule. The tests that involve the op run until one fails. Rules that
no test kills are printed, and make the exit status 1.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import test_extremes
import test_kinks
import test_op_values
import test_ops

import graphdiff as gd
from graphdiff.op import OPS, Composite, Custom, Elementwise, Linear, Multilinear, Op

FACTOR = 1.001


# Checks: tests of one function, with the ops that it involves -----------------------------------------------------


@dataclass(frozen=True)
class Check:
    """One call of a test function."""

    label: str
    run: Callable[[], None]
    function: Callable[..., Any]
    arguments: tuple[Any, ...]

    def graphs(self) -> tuple[gd.Graph, gd.Graph]:
        """Return the graph of the function, and that of its gradient."""
        inputs = [gd.variable(np.array(argument, dtype="float64")) for argument in self.arguments]
        outputs = test_op_values.real(self.function(*inputs))
        if not outputs:
            return gd.Graph([]), gd.Graph([])
        total = sum(gd.sum(output) for output in outputs)
        return gd.Graph(outputs), gd.Graph(list(gd.adjoints(total).values()))


def checks() -> Iterator[Check]:
    """Yield a check for each test of each case, the quickest to fail first."""

    def check(label: str, test: Callable[..., None], given: tuple[Any, ...], function: Any, arguments: Any) -> Check:
        return Check(label, lambda: test(*given), function, tuple(arguments))

    for case in test_ops.CASES:
        yield check(f"differences: {case[0]}", test_ops.test_both_modes_against_differences, (case,), *case[1:])
    for case in test_ops.ANALYTIC_CASES:
        for mode in ("forward", "reverse"):
            test = test_ops.test_both_modes_against_the_complex_step
            yield check(f"complex step: {case[0]}, {mode}", test, (case, mode), *case[1:])
    for row in test_op_values.ROWS:
        if "float64" not in row.kinds:
            continue
        arguments = row.arguments("float64")
        if row.is_differentiated:
            test = test_op_values.test_directional_derivatives_of_every_row
            yield check(f"directional: {row.label}", test, (row, "float64"), row.function, arguments)
        test_vmap = test_op_values.test_vmap_of_every_row_against_a_loop
        yield check(f"vmap: {row.label}", test_vmap, (row,), row.function, arguments)
    for name, point, exact in test_extremes.POINTS:
        for mode in ("forward", "reverse"):
            test = test_extremes.test_derivative_at_an_extreme_argument
            yield check(f"extreme: {name}, {mode}", test, (name, point, exact, mode), gd.op.FUNCTIONS[name], point)
    for name, function, point, expected in test_kinks.KINKS:
        test = test_kinks.test_convention
        yield check(f"kink: {name}", test, (name, function, point, expected), function, point)
    for case in test_ops.CASES:
        yield check(f"vmap: {case[0]}", test_ops.test_vmap_against_a_loop, (case,), *case[1:])
        yield check(f"second order: {case[0]}", test_ops.test_second_order_by_both_orders_of_modes, (case,), *case[1:])


def opened(graph: gd.Graph) -> Iterator[Any]:
    """Yield the nodes of a graph that have an op, composites followed by what they stand for."""
    pending = [node for node in graph if node.op is not None]
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node.op, Composite):
            stop = set(node.inputs)
            inside = gd.Graph(node.op.open(node.inputs, node.attributes))
            pending += [inner for inner in inside if inner.op is not None and inner not in stop and inner is not node]


class Involved:
    """Which checks involve an op, and at which positions it has operands that carry derivatives."""

    def __init__(self, every: list[Check]) -> None:
        self.first: dict[str, list[Check]] = {}
        self.further: dict[str, list[Check]] = {}
        self.positions: dict[str, set[int]] = {}
        for check in every:
            function, gradient = check.graphs()
            names = self._note(function)
            for name in names:
                self.first.setdefault(name, []).append(check)
            for name in self._note(gradient) - names:
                self.further.setdefault(name, []).append(check)

    def _note(self, graph: gd.Graph) -> set[str]:
        names = set()
        for node in opened(graph):
            names.add(node.op.name)
            real = {
                place for place, operand in enumerate(node.inputs) if operand.dtype.kind == "f" and operand.recorded
            }
            self.positions.setdefault(node.op.name, set()).update(real)
        return names

    def checks(self, op: Op) -> list[Check]:
        """Return the checks that involve an op, those of which it is a part of the function first."""
        return [*self.first.get(op.name, []), *self.further.get(op.name, [])]


# Mutants ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mutant:
    """A rule of an op, and what to put in its place."""

    op: Op
    rule: str
    attribute: str
    value: Any

    def __str__(self) -> str:
        return f"{self.op.name} ({self.op.kind}): {self.rule}"

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Put the false rule in the place of the right one for a while."""
        own = self.attribute in vars(self.op)
        right = getattr(self.op, self.attribute)
        setattr(self.op, self.attribute, self.value)
        try:
            yield
        finally:
            if own:
                setattr(self.op, self.attribute, right)
            else:
                delattr(self.op, self.attribute)


def scaled(result: Any) -> Any:
    return result * FACTOR if result is not None and np.dtype(str(result.dtype)).kind == "f" else result


def falsified(rule: Any) -> Callable[..., Any]:
    """Return the rule with its result scaled; a partial of 1, -1 or None becomes one of 1.001, -1.001 or 0.001."""
    if rule is None:
        return lambda *operands, **attributes: FACTOR - 1
    if isinstance(rule, int):
        return lambda *operands, **attributes: rule * FACTOR
    return lambda *operands, **attributes: scaled(rule(*operands, **attributes))


def falsified_at(rule: Callable[..., Any], wrong: int) -> Callable[..., Any]:
    """Return a rule that is called as ``rule(F, cotangent, position, …)``, falsified at one position."""

    def mutated(F: Any, cotangent: Any, position: int, *operands: Any, **attributes: Any) -> Any:
        result = rule(F, cotangent, position, *operands, **attributes)
        return scaled(result) if position == wrong else result

    return mutated


def mutants(op: Op, positions: set[int]) -> Iterator[Mutant]:
    """Yield every false version of an op, of which one rule is wrong."""
    if isinstance(op, Elementwise) and op.dtype_rule(np.dtype("float64")) != "bool":
        for place, partial in enumerate(op.partials):
            if partial is not None or place in positions:
                wrong = (*op.partials[:place], falsified(partial), *op.partials[place + 1 :])
                yield Mutant(op, f"partial {place}", "partials", wrong)
    if isinstance(op, (Linear, Multilinear)) and op.transposes:
        if callable(op.transposes):
            for place in sorted(positions):
                yield Mutant(op, f"transpose {place}", "transposes", falsified_at(op.transposes, place))
        else:
            for place, transpose in enumerate(op.transposes):
                wrong = (*op.transposes[:place], falsified(transpose), *op.transposes[place + 1 :])
                yield Mutant(op, f"transpose {place}", "transposes", wrong)
        yield Mutant(op, "tangent", "tangent", falsified(op.tangent))
    if isinstance(op, Custom):
        yield Mutant(op, "tangent", "tangent_rule", falsified(op.tangent_rule))
        for place in sorted(positions):
            assert op.adjoint_rule is not None
            yield Mutant(op, f"adjoint {place}", "adjoint_rule", falsified_at(op.adjoint_rule, place))
    if isinstance(op, Composite):
        yield Mutant(op, "body", "body", falsified(op.body))
    if op.batch_rule is not None:
        yield Mutant(op, "batch", "batch_rule", falsified(op.batch_rule))


# Why a false rule goes unseen, where it must.
IRRELEVANT = {
    "sign_of_det (custom): tangent": "returns None: the sign is constant wherever it has a derivative",
    "sign_of_det (custom): adjoint 0": "returns None: the sign is constant wherever it has a derivative",
    "within (custom): adjoint 1": "returns None: what is looked at carries no derivative",
    "argsort (linear): batch": "gives integers, which are not scaled",
    "argmax (linear): batch": "gives integers, which are not scaled",
    "argmin (linear): batch": "gives integers, which are not scaled",
    "any (linear): batch": "gives booleans, which are not scaled",
    "all (linear): batch": "gives booleans, which are not scaled",
}


def passes(check: Check) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check.run()
    except Exception:
        return False
    return True


def killer(mutant: Mutant, suspects: list[Check]) -> Check | None:
    """Return the first check that fails while the mutant lives."""
    with mutant.alive():
        return next((check for check in suspects if not passes(check)), None)


def main(names: list[str]) -> int:
    """Try every mutant; return the exit status."""
    started = time.perf_counter()
    every = list(checks())
    broken = [check.label for check in every if not passes(check)]
    if broken:
        print("These fail without any mutant:", *broken, sep="\n  ")
        return 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        involved = Involved(every)
    print(f"{len(every)} checks pass on the right rules ({time.perf_counter() - started:.0f} s)")
    killed = irrelevant = 0
    survivors = []
    for op in list(OPS.values()):
        if names and op.name not in names:
            continue
        for mutant in mutants(op, involved.positions.get(op.name, set())):
            if killer(mutant, involved.checks(op)) is not None:
                killed += 1
            elif str(mutant) in IRRELEVANT:
                irrelevant += 1
            else:
                survivors.append(f"{mutant}, in {len(involved.checks(op))} checks")
    total = killed + irrelevant + len(survivors)
    print(
        f"{total} mutants: {killed} killed, {irrelevant} irrelevant, {len(survivors)} survive", *survivors, sep="\n  "
    )
    print(f"{time.perf_counter() - started:.0f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
