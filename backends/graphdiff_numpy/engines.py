"""What runs a plan on the CPU: calls of NumPy, or C; and the change from one to the other.

A plan that is called again and again begins as calls of NumPy, which are ready at once. After some calls its C is
compiled beside them, and from a later call on it is the C that runs. Which call that is depends on the program alone,
never on the clock or on what was compiled before: results do not, either.
"""

from __future__ import annotations

import os
from _thread import start_new_thread
from collections.abc import Callable, Sequence
from time import sleep
from typing import Any
from weakref import WeakSet

from graphdiff.plan.program import Program
from graphdiff.typing import Array, Function
from graphdiff_numpy.native.compiler import Compiler, Unavailable, find_compiler
from graphdiff_numpy.native.lower import work_of
from graphdiff_numpy.native.runner import NativeRunner, Written
from graphdiff_numpy.runner import NumpyRunner

__all__ = ["Switching", "planned"]

WORTH = 0.1
"""Seconds that all calls expected must take for C to be compiled before the first."""
BEFORE = 0.2
"""Seconds of calls of NumPy before the change, as they are expected; compiling begins after an eighth of them."""
FEWEST, MOST = 64, 1 << 15
"""The least and the most calls before the change."""
A_CALL, A_FLOP, A_BYTE = 4e-7, 5e-11, 5e-11
"""Seconds that a call of NumPy, an operation and a byte are expected to take."""

Runner = NumpyRunner | NativeRunner


def planned(
    program: Program, disable: frozenset[str], engine: str, calls: int | None
) -> NumpyRunner | NativeRunner | Switching:
    """Return what runs a program.

    Parameters
    ----------
    program : Program
    disable : frozenset of str
        Passes to leave out.
    engine : {"auto", "c", "numpy"}
    calls : int or None
        How many calls are expected, if that is known: then there is no change later.
    """
    if engine == "auto" and calls is None:
        return Switching(program, disable)
    wanted = engine == "c" or (engine == "auto" and calls is not None and calls * expected(program) >= WORTH)
    reason = "calls of NumPy" if engine == "numpy" else "calls of NumPy: too few for compiling C"
    if wanted:
        compiler = find_compiler()
        try:
            if isinstance(compiler, Compiler):
                return NativeRunner(Written(program, disable, compiler))
            reason = f"calls of NumPy: {compiler}"
        except Unavailable as error:
            reason = f"calls of NumPy: {error}"
    runner = NumpyRunner(program, disable)
    runner.notes.append(("engine", reason))
    return runner


def expected(program: Program) -> float:
    """Return how many seconds a run is expected to take as calls of NumPy."""
    nodes = [node for node in program.nodes() if node.op is not None]
    moved = sum(each.size * each.dtype.itemsize for node in nodes for each in (node, *node.inputs))
    return len(nodes) * A_CALL + work_of(nodes) * A_FLOP + moved * A_BYTE


class Switching:
    """Runs a program as calls of NumPy at first, and as C from a fixed call on.

    Attributes
    ----------
    current : NumpyRunner or NativeRunner
    run : callable
        Takes the arguments' arrays and returns the outputs.
    renewed : callable or None
        Called with the new `run` when it changes.
    """

    def __init__(self, program: Program, disable: frozenset[str]) -> None:
        count = min(max(int(BEFORE / max(expected(program), 1e-9)), FEWEST), MOST)
        # One for each call before the change; taken out together with what a step changes, whatever interrupts it.
        self._left: list[None] = [None] * count
        self._counts = not program.updates
        self.current: Runner = NumpyRunner(program, disable, None if self._counts else self._left.pop)
        self.renewed: Callable[[Function[Sequence[Array]]], None] | None = None
        self._program, self._disable = program, disable
        self._beginning = count - count // 8
        self._made: _Making | None = None
        self._beside = [("engine", f"calls of NumPy; C from call {count + 1:,} on, if there is a compiler")]
        self.run: Function[Sequence[Array]] = self._counted

    def __getattr__(self, name: str) -> Any:
        if name == "strict":  # its guard is not made anew when C takes over
            raise AttributeError(name)
        return getattr(self.__dict__["current"], name)

    @property
    def notes(self) -> list[tuple[str, str]]:
        """What the planner did, and what runs."""
        return [*self.current.notes, *self._beside]

    def _counted(self, *arrays: Array) -> Sequence[Array]:
        left = len(self._left)
        if left <= self._beginning and self._made is None:
            self._made = _Making(self._program, self._disable)
        if not left:
            self._change()
        values = self.current.run(*arrays)
        if self._counts and left:
            self._left.pop()
        return values

    def _change(self) -> None:
        """Go on as C, if there is any."""
        assert self._made is not None
        found = self._made.runner()
        if not isinstance(found, str):
            self.current, self._beside = found, []
        elif isinstance(self.current, NumpyRunner):
            self.current.stop_counting()
            self._beside = [("engine", f"calls of NumPy: {found}")]
        self.run = self.current.run
        if self.renewed is not None:
            self.renewed(getattr(self.current, "strict", self.run))

    def many(self, count: int, *arrays: Array) -> Sequence[Array]:
        """Run several steps on the same arguments."""
        result: Sequence[Array] = ()
        while count and self._left:
            result = self._counted(*arrays)
            count -= 1
        if count:
            result = self._counted(*arrays)
            count -= 1
        if count and isinstance(self.current, NativeRunner):
            return self.current.many(count, *arrays)
        for _ in range(count):
            result = self.current.run(*arrays)
        return result


class _Making:
    """C that is written and compiled in a thread of its own, where no interrupt falls, while the plan runs on."""

    def __init__(self, program: Program, disable: frozenset[str]) -> None:
        self._program, self._disable = program, disable
        self._found: Written | str | None = None
        _MAKING.add(self)
        start_new_thread(self._make, ())  # `Thread` waits for its beginning by a lock, which an interrupt breaks

    def _make(self) -> None:
        found: Written | str = find_compiler()  # type: ignore[assignment]
        try:
            if isinstance(found, Compiler):
                found = Written(self._program, self._disable, found)
                found.library()
        except Unavailable as error:
            found = str(error)
        except BaseException as error:  # which the plan must not wait for
            found = f"{type(error).__name__}: {error}"
            raise
        finally:
            self._found = found

    def wait(self) -> None:
        """Wait until it is found out; an interrupt ends that and harms nothing, as it would a lock."""
        while self._found is None:
            sleep(1e-3)

    def runner(self) -> NativeRunner | str:
        """Wait for the C; return what runs it, or why nothing does."""
        self.wait()
        if not isinstance(self._found, Written):
            return str(self._found)
        try:
            return NativeRunner(self._found)
        except Unavailable as error:
            return str(error)


_MAKING: WeakSet[_Making] = WeakSet()


def _wait_for_all() -> None:
    """Let no child begin with a thread that holds locks and is not there."""
    for making in list(_MAKING):
        making.wait()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_wait_for_all)
