"""Plan: a program made ready to run."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter_ns
from types import CodeType
from typing import Any

from graphdiff.backend import Backend
from graphdiff.costs.node import Cost
from graphdiff.errors import CompileError
from graphdiff.graph import without_collector
from graphdiff.plan.failures import ARRAY_ERRORS, told
from graphdiff.plan.lowering.calls import Instruction
from graphdiff.plan.lowering.generic import GenericRunner
from graphdiff.plan.passes import PASSES, optimize
from graphdiff.plan.program import Program
from graphdiff.plan.recompute import fit_memory
from graphdiff.plan.report import Profile, counted, explanation
from graphdiff.plan.streams import Streams
from graphdiff.tensor import NO_ATTRIBUTES, Tensor, Variable, next_serial
from graphdiff.tree import Structure, unflatten

__all__ = ["Plan", "RetraceError"]


class RetraceError(Exception):
    """The variables of a plan have moved to other flat buffers since it was traced."""


class Plan:
    """A traced function, optimised and ready to run; made by a compiled function.

    Attributes
    ----------
    program : Program
        The graph after all passes.
    guard : (classes of arrays, list, callable) or None
        The quick way to run it on such arrays, and what it has seen of settings.
    kinds : dict of Variable to (shape, dtype) or None
        Of what sort the gradients from before the call are, of all that the traced function has asked for.
    source : str
        What runs: generated Python where the backend generates it, else the ops in order.
    """

    def __init__(
        self,
        program: Program,
        structure: Structure,
        results: list[Any],
        backend: Backend,
        *,
        name: str,
        kinds: dict[Variable, Any],
        disable: frozenset[str],
        memory_limit: int | None,
        precision: str,
        engine: str,
        calls: int | None,
    ) -> None:
        known = {*PASSES, *backend.plan_passes}
        if disable - known:
            raise CompileError(f"there is no pass {sorted(disable - known)[0]!r}; there are {', '.join(sorted(known))}")
        self.name = name
        self.backend = backend
        self.kinds = kinds
        self.guard: Any = None
        self.inherited = program.inherited
        self.effects = program.effects
        with without_collector(len(program.nodes())):
            self._prepare(program, disable, memory_limit, precision, _engine(engine, backend), calls)
        self.wrap = _wrapper(structure, results, backend)

    def _prepare(
        self,
        program: Program,
        disable: frozenset[str],
        memory_limit: int | None,
        precision: str,
        engine: str,
        calls: int | None,
    ) -> None:
        """Run the passes, and have the backend's planner make what runs."""
        backend = self.backend
        self.program, self._passes = optimize(program, disable)

        if precision not in backend.precisions:
            self._passes.append(("precision", f"products are computed in float32: {backend.name} has no {precision}"))
            precision = "float32"

        def made(program: Program) -> Any:
            return (
                GenericRunner(program, disable)
                if backend.planner is None
                else backend.planner(program, disable, precision, *([engine, calls] if backend.engines else []))
            )

        if memory_limit is not None:
            disable |= {"keep"}
            self.program, note = fit_memory(self.program, memory_limit, lambda program: made(program).memory)
            self._passes.append(("recompute", note))
        self._runner = made(self.program)
        if hasattr(self._runner, "renewed"):
            self._runner.renewed = self._renew

    def _renew(self, run: Callable[..., Any]) -> None:
        """Let the quick way call what runs from now on."""
        if self.guard is not None:
            self.guard[2].__globals__["run"] = run

    @property
    def reports(self) -> list[tuple[str, str]]:
        """What each pass did, by name, and what the backend says of running it."""
        return [*self._passes, *self._runner.notes]

    def run(self, *arrays: Any) -> Any:
        """Run on arrays of the traced shapes and dtypes, unchecked; return what the traced function returned."""
        return self.wrap(self._values(*arrays))

    def _values(self, *arrays: Any) -> Any:
        try:
            values = self._runner.run(*arrays, *self._gradients())
        except ARRAY_ERRORS as error:
            self.raise_told(error)
            raise
        for effect in self.effects:
            effect()
        return values

    def _gradients(self) -> list[Any]:
        """Return the gradients from before a run that it reads: its last arguments."""
        return [variable._grad for variable in self.inherited]

    def raise_told(self, error: Exception) -> None:
        """Raise a run's error as the op would have raised it eagerly, if the runner knows which op that is."""
        failed = getattr(self._runner, "failed", None)
        node = None if failed is None else failed(error)
        if node is not None:
            raise told(node, error) from error

    def many(self, count: int, *arrays: Any) -> Any:
        """Run `count` times on the same arrays, unchecked; return what the last run returned."""
        together = getattr(self._runner, "many", None)
        if together is not None and not self.inherited and not self.effects:
            try:
                return self.wrap(together(count, *arrays))
            except ARRAY_ERRORS as error:
                self.raise_told(error)
                raise
        for _ in range(count - 1):
            self._values(*arrays)
        return self.run(*arrays)

    @property
    def instructions(self) -> list[Instruction]:
        """What runs, call by call."""
        result: list[Instruction] = self._runner.instructions
        return result

    @property
    def cost(self) -> Cost:
        """Flops, bytes and memory of a run, counted; memory is what the plan holds besides the variables."""
        return counted(self.program.nodes(), self.instructions, self._runner.memory)

    def explain(self) -> str:
        """Return what every pass did, and the instructions with their buffers, flops and bytes, as text."""
        return explanation(self.name, self.reports, self.instructions, self.cost)

    def profile(self, *arguments: Any, repeats: int = 30) -> Profile:
        """Time every instruction.

        Parameters
        ----------
        *arguments : array, number or Tensor
            As the compiled function was called with, flat. Variables and random streams are as before when it returns.
        repeats : int
            Medians are taken over so many runs.

        Returns
        -------
        Profile
        """
        given = [a.value if isinstance(a, Tensor) else self.backend.from_host(a) for a in arguments]
        arrays = [*given, *self._gradients()]
        kept = [(variable, variable.backend.copy(variable._value)) for variable in self.program.updates]
        gradients = [(variable, variable._grad) for variable in self.program.gradients]
        streams = Streams(self.program)
        streams.mark()
        try:
            self._runner.timed(*arrays)
            runs, plain = [], []
            for _ in range(repeats):
                runs.append(self._runner.timed(*arrays))
                self.backend.synchronize()
                start = perf_counter_ns()
                self._runner.run(*arrays)
                self.backend.synchronize()
                plain.append(perf_counter_ns() - start)
        finally:
            for variable, value in kept:
                variable._replace(self.backend.normalize(value))
            for variable, gradient in gradients:
                variable._grad = gradient
            streams.rewind()
        # One run that was interrupted must not make the parts disagree with the whole: the median run gives both.
        each, total = sorted(runs, key=lambda run: run[1])[len(runs) // 2]
        seconds = [1e-9 * nanoseconds for nanoseconds in each]
        return Profile(self.instructions, seconds, 1e-9 * total, 1e-9 * median(plain))

    @property
    def quick(self) -> tuple[Callable[..., Any], ...]:
        """(function, its leading arguments, …): what `run` calls before it wraps the values."""
        given = getattr(self._runner, "strict", self._runner.run)
        return (given.func, *given.args) if isinstance(given, partial) else (given,)

    @property
    def tells_arrays(self) -> bool:
        """Whether the quick way raises RetraceError itself for arrays that it was not made for."""
        return hasattr(self._runner, "strict")

    @property
    def source(self) -> str:
        """What runs, as text."""
        result: str = self._runner.source
        return result

    def __repr__(self) -> str:
        return f"<plan of {self.name}: {sum(1 for node in self.program.nodes() if node.op is not None)} ops>"


def _engine(named: str, backend: Backend) -> str:
    """Return what runs a plan: as was asked for, or as the environment says."""
    told = f"engine={named!r}"
    if named == "auto":
        named = os.environ.get("GRAPHDIFF_ENGINE", "auto")
        told = f"GRAPHDIFF_ENGINE={named}"
        if not backend.engines:
            return "auto"
    if named != "auto" and named not in backend.engines:
        there = ", ".join(("auto", *backend.engines))
        raise CompileError(f"{told} is none of the engines of {backend.name}: {there}")
    return named


def _wrapper(structure: Structure, results: list[Any], backend: Backend) -> Callable[[Any], Any]:
    """Return the function that makes of a run's values what the traced function returned."""
    if structure is None and isinstance(results[0], Tensor):
        code = results[0]._code
        return lambda values: _result(values[0], backend, code)

    def several(values: Any) -> Any:
        remaining = iter(values)
        leaves = [
            _result(next(remaining), backend, result._code) if isinstance(result, Tensor) else result
            for result in results
        ]
        return unflatten(structure, leaves)

    return several


def _result(value: Any, backend: Backend, code: CodeType | str) -> Tensor:
    """Return a constant as `Tensor` makes it, without the search for the user's line: it is that of the trace."""
    made = Tensor.__new__(Tensor)
    made.op = None
    made.inputs = ()
    made.attributes = NO_ATTRIBUTES
    made._value = value
    made.backend = backend
    made.recorded = False
    made._signature = None
    made.serial = next_serial()
    made.name = None
    made.scope = ""
    made._code = code
    made._instruction = 0
    return made
