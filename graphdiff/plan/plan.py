"""Plan: a program made ready to run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphdiff.backend import Backend
from graphdiff.errors import CompileError
from graphdiff.plan.generic import GenericRunner
from graphdiff.plan.passes import PASSES, optimize
from graphdiff.plan.program import Program
from graphdiff.structure import Structure, unflatten
from graphdiff.tensor import NO_ATTRIBUTES, Tensor

__all__ = ["Plan", "RetraceError"]


class RetraceError(Exception):
    """The variables of a plan have moved to other arenas since it was traced."""


class Plan:
    """A traced function, optimised and ready to run; made by a compiled function.

    Attributes
    ----------
    program : Program
        The graph after all passes.
    reports : list of (str, str)
        What each pass did.
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
        disable: frozenset[str],
        memory_limit: int | None,
    ) -> None:
        known = {*PASSES, *getattr(backend, "plan_passes", ())}
        if disable - known:
            raise CompileError(f"there is no pass {sorted(disable - known)[0]!r}; there are {', '.join(sorted(known))}")
        self.name = name
        self.backend = backend
        self.program, self.reports = optimize(program, disable)
        self._runner = (backend.planner or GenericRunner)(self.program)
        self.run = self._wrapped(structure, results)

    @property
    def source(self) -> str:
        """What runs, as text."""
        return self._runner.source  # type: ignore[no-any-return]

    def _wrapped(self, structure: Structure, results: list[Any]) -> Callable[..., Any]:
        """Return the function that runs the plan and gives what the traced function returned."""
        run, backend = self._runner.run, self.backend
        if structure is None and isinstance(results[0], Tensor):

            def single(*arrays: Any) -> Tensor:
                (value,) = run(*arrays)
                return Tensor(None, (), NO_ATTRIBUTES, value, backend, False)

            return single

        def several(*arrays: Any) -> Any:
            values = iter(run(*arrays))
            leaves = [
                Tensor(None, (), NO_ATTRIBUTES, next(values), backend, False) if isinstance(result, Tensor) else result
                for result in results
            ]
            return unflatten(structure, leaves)

        return several

    def __repr__(self) -> str:
        return f"<plan of {self.name}: {sum(1 for node in self.program.nodes() if node.op is not None)} ops>"
