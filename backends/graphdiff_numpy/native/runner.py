"""The runner of plans as C: memory, what is called with it, and what a step changes in variables."""

from __future__ import annotations

import contextvars
import ctypes
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter_ns
from typing import Any, cast

import numpy as np

from graphdiff.plan.failures import ARRAY_ERRORS, told
from graphdiff.plan.lowering.calls import Instruction
from graphdiff.plan.lowering.generic import GenericRunner
from graphdiff.plan.lowering.instructions import Check, Fallback, Product, Step, Unit
from graphdiff.plan.lowering.schedule import ALIGNMENT
from graphdiff.plan.lowering.views import Storage, View
from graphdiff.plan.plan import RetraceError
from graphdiff.plan.program import MOVES, Program, Tensor, Variable, counted_flops
from graphdiff.plan.streams import Streams
from graphdiff.typing import Array, Function
from graphdiff_numpy.native.blas import find_blas
from graphdiff_numpy.native.call import Held, callable_of
from graphdiff_numpy.native.compiler import Compiler
from graphdiff_numpy.native.emit import FIXED, Emitter, _told, whole
from graphdiff_numpy.native.lower import lowered, work_of

__all__ = ["NativeRunner", "Written"]

APART, OTHER = -1, -2
"""What a call answers to arrays that it cannot take as they lie, and to others than it was made for."""
SHORT = 20_000
"""Floating-point operations up to which a step keeps the interpreter's lock: to give it back takes a tenth of a
microsecond."""


class OtherArrays(RetraceError):
    """The arrays are not of the class, shape and dtype that the code was made for."""


class Written:
    """A program written as C for a compiler.

    Parameters
    ----------
    program : Program
    disable : frozenset of str
        "fuse": every op has its own loop.
    compiler : Compiler

    Attributes
    ----------
    native : Native
    emitter : Emitter
    """

    def __init__(self, program: Program, disable: frozenset[str], compiler: Compiler) -> None:
        self.program, self.compiler = program, compiler
        self.native = lowered(program, disable)
        self.emitter = Emitter(self.native, find_blas(), compiler.width)

    def library(self, *options: str) -> ctypes.CDLL:
        """Return the compiled code.

        Raises
        ------
        Unavailable
            It could not be compiled.
        """
        return self.compiler.load(whole(self.emitter.source), *options)


class NativeRunner:
    """Runs a program as C.

    Parameters
    ----------
    written : Written

    Attributes
    ----------
    source : str
        The C.
    strict : callable
        Takes the arguments' arrays and returns the outputs. It looks at the arrays itself, so that nobody else need:
        others than it was made for are an OtherArrays.
    notes : list of (str, str)
    """

    def __init__(self, written: Written) -> None:
        self._written_as, self._given = written, written.program
        self._native, emitter = written.native, written.emitter
        native = self._native
        self.program = native.lowering.program
        self.source = emitter.source
        self._table_of = emitter.table
        self.workspace = native.schedule.workspace
        self._bytes = _aligned(self.workspace + emitter.scratch)
        self._memory: dict[Storage, Any] = {}
        self._streams = Streams(self.program)
        self._steps = [step for steps in native.segments for step in steps]
        self._plans: dict[int, Held] = {}
        self._is_dense = False
        self.memory = self.workspace + emitter.scratch
        self.memory += sum(
            root.nbytes for root in self._table_of if root.kind not in ("variable", "argument", "output")
        )
        self.notes = self._noted(written.compiler)
        self._context = contextvars.copy_context()
        self._context.run(np.seterr, all="ignore")
        self._scopes = [self._scope(written.library())]
        self._bodies = self._scopes[0]["bodies"]
        self.strict: Function[Sequence[Array]] = self._scopes[0]["run"]

    def _noted(self, compiler: Compiler) -> list[tuple[str, str]]:
        lowering, schedule = self._native.lowering, self._native.schedule
        units = [step for step in self._steps if isinstance(step, Unit)]
        products = sum(isinstance(step, Product) for step in self._steps)
        eager = [step for step in self._steps if isinstance(step, Fallback)]
        return [
            ("engine", f"c: compiled by {compiler.version}, vectors of {compiler.width} bytes"),
            ("fuse", f"{len(units)} loops, {products} products; {lowering.in_place} variables computed in place"),
            ("reuse", f"values of {schedule.unshared:,} bytes share {schedule.workspace:,} bytes"),
            *[("eager", f"{_told(step)}: {step.reason}") for step in eager],
        ]

    # Memory -----------------------------------------------------------------------------------------------------------

    def _array(self, root: Storage) -> Any:
        """Return the memory of a storage as a vector, or as a number."""
        if root.kind == "variable" and root.source.shape:
            return root.source._value.reshape(-1)
        if root.is_shared:
            return np.ndarray((root.size,), root.dtype, self._bytes, root.offset)
        found = self._memory.get(root)
        if found is None:
            if root.kind == "constant":
                found = np.array(root.source, order="C").reshape(-1)
            else:
                found = np.zeros((), root.dtype) if root.size == 1 else np.zeros(root.size, root.dtype)
            self._memory[root] = found
        return found

    def _view(self, view: View, arrays: dict[Storage, Any]) -> Any:
        """Return memory as an array."""
        root, shift = view.place()
        base = arrays[root].reshape(-1) if root in arrays else self._array(root).reshape(-1)
        if not view.size:
            return np.empty(view.shape, view.dtype)
        strides = tuple(stride * view.dtype.itemsize for stride in view.strides)
        return np.lib.stride_tricks.as_strided(base[shift:], view.shape, strides)

    def _hold(self, variable: Variable) -> None:
        """See to it that a variable keeps its memory."""
        if variable.shape and not (variable.pinned and variable._value.flags.c_contiguous):
            variable._value = np.array(variable._value, order="C")
            variable.pin()

    def _bind(self) -> None:
        """Write down where everything lies."""
        program = self.program
        for variable in [*program.reads.values(), *program.updates]:
            if variable.home is not None and not variable.home.intact:
                raise RetraceError
            self._hold(variable if variable.home is None else variable.home.flat)
        self._table = np.zeros(FIXED + len(self._table_of) + 1, np.uint64)
        self._marks = np.zeros(len(self._steps), np.int64)
        self._table[3] = self._marks.ctypes.data
        self._table[0] = self._bytes.ctypes.data
        blas = find_blas()
        if blas is not None:
            self._table[1:3] = blas.single, blas.double
        self._slots: dict[Storage, int] = {}
        for place, root in enumerate(self._table_of, FIXED):
            self._slots[root] = place
            if root.kind not in ("argument", "output"):
                self._table[place] = self._array(root).ctypes.data
        for scope in self._scopes:
            self._rebind(scope)

    def _rebind(self, scope: dict[str, Any]) -> None:
        """Give the Python function around the C what it calls."""
        last = len(self._bodies) - 1
        for turn, body in enumerate(scope["bodies"]):
            self._plans[id(body)] = plan = self._written(body, turn == 0, turn == last)
            scope[f"step{turn}"] = callable_of(plan.address)
        scope["moved"] = MOVES[0]

    def _written(self, body: Any, first: bool, last: bool) -> Held:
        """Write down for a call what it checks, loads and stores."""
        lowering, program = self._native.lowering, self.program
        held = Held(body, self._table)
        given = [(self._slot(view), view, False) for view in lowering.arguments] if first else []
        made = [(self._slot(view), view, True) for view in self._native.results if view.shape]
        for slot, view, writable in [*given, *made]:
            held.take(slot, _example(view), writable)
        written = {lowering.variable_view(variable).place()[0] for variable in program.updates} if first else ()
        for root in written:
            if root.source.shape:
                held.keep_apart(root.source._value)
        if first:
            for variable, storage in lowering.storages.items():
                if not variable.shape:
                    held.load(variable, self._array(storage))
        if last:
            self._write_stores(held, len(given))
        held.finish(release=work_of(program.nodes()) > SHORT)
        return held

    def _slot(self, view: View) -> int:
        """Return the entry of the table for an argument or a result; one that nothing reads has the last, a spare."""
        return self._slots.get(view.place()[0], len(self._table) - 1)

    def _write_stores(self, held: Held, before: int) -> None:
        lowering, program = self._native.lowering, self.program
        for variable in program.updates:
            if not variable.shape and variable.home is None:
                held.store(variable, "_value", self._array(lowering.storages[variable]))
        held.clocks = list({id(variable.clock): variable.clock for variable in program.updates}.values())
        gradients = self._native.results[len(program.outputs) :]
        arrays = [view for view in self._native.results if view.shape]
        for variable, view in zip(program.gradients, gradients, strict=True):
            if view.shape:
                held.store(variable, "_grad", before + next(at for at, other in enumerate(arrays) if other is view))
            else:
                held.store(variable, "_grad", self._array(view.place()[0]))
        if self._streams:
            held.store(self._streams, "_states", {(): []})

    # The Python around the C ------------------------------------------------------------------------------------------

    def _scope(self, library: ctypes.CDLL) -> dict[str, Any]:
        """Return what the function around the C names, and that function as `run`."""
        program, segments = self.program, self._native.segments
        names = [f"a{place}" for place in range(len(program.arguments))]
        scope: dict[str, Any] = {
            "MOVES": MOVES,
            "moved": -1,
            "empty": np.empty,
            "bind": self._bind,
            "again": self._again,
            "mark": self._streams.mark,
            "rewind": self._streams.rewind,
            "bodies": [getattr(library, f"segment{turn}") for turn in range(0, len(segments), 2)],
        }
        outputs, arrays, lines = [], [], []
        for place, view in enumerate(self._native.results):
            if view.shape:
                scope |= {f"shape{place}": view.shape, f"dtype{place}": view.dtype}
                lines.append(f"o{place} = empty(shape{place}, dtype{place})")
                arrays.append(f"o{place}")
                outputs.append(f"o{place}")
            else:
                scope[f"s{place}"] = self._array(view.place()[0])
                outputs.append(f"s{place}[()]")
        passed = ", ".join([*names, *arrays])
        refused = f"return again(code{''.join(', ' + name for name in names)})"
        lines += [f"code = step0({passed})", "if code:", f"    {refused}"]
        for turn in range(1, len(scope["bodies"])):
            (eager,) = segments[2 * turn - 1]
            assert isinstance(eager, Fallback)
            scope[f"eager{turn}"] = self._eager(eager)
            lines.append(f"eager{turn}(({passed}{',' if passed else ''}))")
            lines += [f"code = step{turn}({', '.join(arrays)})", "if code:"]
            lines += ["    rewind()"] if self._streams else []
            lines.append(f"    {refused}")
        if self._streams:
            lines = [
                "mark()",
                "try:",
                *(f"    {line}" for line in lines),
                "except BaseException:",
                "    rewind()",
                "    raise",
            ]
        kept = outputs[: len(program.outputs)]
        lines.append(f"return ({', '.join(kept)}{',' if len(kept) == 1 else ''})")
        head = [f"def run({', '.join(names)}):", "if MOVES[0] != moved:", "    bind()"]
        # Compiled first: an interrupt within `exec` of a text makes Python end by it, even if it is caught.
        exec(compile("\n    ".join([*head, *lines]), "<call of a plan>", "exec"), scope)
        return scope

    def _eager(self, step: Fallback) -> Callable[[tuple[Array, ...]], None]:
        """Return the call of an op's own kernel on memory of the plan and on what the step was given."""
        lowering = self._native.lowering
        places = [*lowering.arguments, *(view for view in self._native.results if view.shape)]
        roots = [view.place()[0] for view in places]

        def call(given: tuple[Array, ...]) -> None:
            arrays = dict(zip(roots, given, strict=True))
            operands = [self._view(view, arrays)[() if not view.shape else ...] for view in step.reads]
            try:
                value = self._context.run(step.kernel, *operands)
            except ARRAY_ERRORS as error:
                raise told(step.node, error) from error
            self._view(step.out, arrays)[...] = value

        return call

    def run(self, *arrays: Array) -> Sequence[Array]:
        """Run on arrays of the right shapes and dtypes, of whatever class; return the outputs."""
        try:
            return self.strict(*arrays)
        except OtherArrays:
            return self.strict(*_dense(arrays))

    def _again(self, code: int, *arrays: Array) -> Sequence[Array]:
        """Run on arrays that C could not take as they lie, or refuses."""
        if code == OTHER:
            raise OtherArrays
        if code == APART and not self._is_dense:
            self._is_dense = True  # so that copies are not copied again, whatever is the matter with them
            try:
                return self.strict(*_dense(arrays))
            finally:
                self._is_dense = False
        return GenericRunner(self._given).run(*arrays)

    def many(self, count: int, *arrays: Array) -> Sequence[Array]:
        """Run several steps on the same arguments in one call, in pieces between which an interrupt is heard."""
        together = len(self._bodies) == 1 and not any(isinstance(step, Check) for step in self._steps)
        result: Sequence[Array] = ()
        left, piece = count, 1
        while left:
            turns = min(piece, left) if together else 1
            start = perf_counter_ns()
            with self._held().several(turns):
                result = self.run(*arrays)
            left -= turns
            piece = max(1, int(PIECE * turns / max(perf_counter_ns() - start, 1)))
        return result

    def _held(self) -> Held:
        if self._scopes[0]["moved"] != MOVES[0]:
            self._bind()
        return self._plans[id(self._scopes[0]["bodies"][0])]

    # Reports ----------------------------------------------------------------------------------------------------------

    def timed(self, *arrays: Array) -> tuple[list[int], int]:
        """Run once; return the nanoseconds of every step, and those of the whole run."""
        if len(self._scopes) == 1:
            self._scopes.append(self._scope(self._written_as.library("-DTIMED")))
            self._bind()
        start = perf_counter_ns()
        self._scopes[1]["run"](*arrays)
        end = perf_counter_ns()
        marks = [int(mark) for mark in self._marks]
        for place, step in enumerate(self._steps):
            if isinstance(step, Fallback):  # whose end is not noted
                marks[place] = marks[place - 1] if place else start
        return [max(after - before, 0) for before, after in zip([start, *marks[:-1]], marks, strict=True)], end - start

    @property
    def instructions(self) -> list[Instruction]:
        """What runs, step by step."""
        return [self._instruction(step) for step in self._steps]

    def _instruction(self, step: Step) -> Instruction:
        touched = {view.place(): view.size * view.dtype.itemsize for view in (*step.reads, *step.writes)}
        out = step.writes[-1] if step.writes else step.reads[0]
        if isinstance(step, Unit):
            nodes = [node for node in {*step.members, step.reduced} if node is not None and node.op is not None]
            named = [output.node for output in step.outputs]
        else:
            nodes = [] if isinstance(step, Check) else [step.node]
            named = [step.node]
        computed = (node.op for node in named if isinstance(node, Tensor) and node.op is not None)
        op = next((each.name for each in computed), "copy")
        flops = sum(counted_flops(node) for node in nodes)
        return Instruction(_told(step), op, out.shape, _where(out), flops, sum(touched.values()))


PIECE = 50_000_000
"""Nanoseconds that steps without the interpreter may take together."""


def _dense(arrays: Iterable[Array]) -> list[Array]:
    """Return copies that lie by rows, of NumPy's own classes: numbers are no arrays."""
    return [cast("Array", np.array(array, order="C")[()]) for array in arrays]


def _example(view: View) -> Any:
    """Return something of the class, shape and dtype of what lies in a view."""
    return np.broadcast_to(np.zeros((), view.dtype), view.shape) if view.shape else view.dtype.type(0)


def _where(view: View) -> str:
    root = view.place()[0]
    return {"output": "returned", "argument": "argument"}.get(root.kind, view.where)


def _aligned(size: int) -> Any:
    whole = np.zeros(size + ALIGNMENT, np.uint8)
    start = -whole.ctypes.data % ALIGNMENT
    return whole[start : start + size]
