"""The runner: a schedule written out as Python source, with every array that it names made beforehand."""

from __future__ import annotations

import builtins
import contextvars
import keyword
import math
import operator
import re
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import chain
from time import perf_counter_ns
from typing import Any

import numpy as np

from graphdiff.backend import require_labels
from graphdiff.plan.lowering.calls import Call, Instruction, Local, Operand
from graphdiff.plan.lowering.schedule import ALIGNMENT
from graphdiff.plan.lowering.views import Storage, View, dense_strides
from graphdiff.plan.plan import RetraceError
from graphdiff.plan.program import MOVES, Program, Tensor, Variable, counted_flops, next_serial
from graphdiff.plan.streams import Streams
from graphdiff_numpy.planner import Planner
from graphdiff_numpy.tiles import Tiled, tiled

__all__ = ["NumpyRunner"]


def _run_all(calls: Any) -> None:
    """Make calls one after the other without returning to the interpreter, so that no interrupt falls between."""
    deque(map(operator.call, calls), 0)


_HELPERS: dict[str, Any] = {
    "MOVES": MOVES,
    "began": 0,
    "chain": chain,
    "clock": perf_counter_ns,
    "float64": np.float64,
    "forget": None,
    "commit": (),
    "empty": np.empty,
    "inf": math.inf,
    "mark": None,
    "marks": [],
    "moved": 0,
    "nan": math.nan,
    "ndarray": np.ndarray,
    "number": float,
    "next_serial": next_serial,
    "outputs": None,
    "partial": partial,
    "rebind": None,
    "require_labels": require_labels,
    "rewind": None,
    "root": np.sqrt,
    "run": None,
    "run_all": _run_all,
    "serial": 0,
    "zeros": np.zeros,
}
"""What the source may name besides arrays and the functions that it calls."""


class NumpyRunner:
    """Runs a program as a sequence of NumPy calls into planned memory.

    Parameters
    ----------
    program : Program
    disable : frozenset of str
        Passes to leave out.
    counting : callable, optional
        Called with what changes variables, so that it is called just as often; not a function of Python's own, within
        which an interrupt might fall.

    Attributes
    ----------
    source : str
        The Python function that runs.
    run : callable
        Takes the arguments' arrays and returns the outputs.
    notes : list of (str, str)
        What the planner did.
    """

    def __init__(
        self, program: Program, disable: frozenset[str] = frozenset(), counting: Callable[[], object] | None = None
    ) -> None:
        self._program = program
        self._counting = () if counting is None else (counting,)
        self._plan = Planner(program, disable)
        self._streams = Streams(program)
        schedule = self._plan.schedule
        cut = "tile" not in disable
        self.compute = tiled(schedule.compute) if cut else schedule.compute
        self.commit = tiled(schedule.commit) if cut else schedule.commit
        self.calls = [*self.compute, *self.commit]
        self.notes = [*self._plan.notes, ("tile", self._tiles_told() if cut else "switched off")]

        self._scope: dict[str, Any] = {}
        self._taken: set[str] = {*keyword.kwlist, *_HELPERS, *dir(builtins)}
        self._counts: dict[str, int] = {}
        self._names: dict[Any, str] = {}
        self._known: dict[View, str] = {}
        self._views: dict[str, View] = {}
        self._objects: dict[str, Any] = {}
        self._titles: dict[int, str] = {}
        self._methods: dict[str, tuple[str, str]] = {}
        self._tiles: dict[Tiled, str] = {}
        self._memory: dict[Storage, Any] = {}
        self._arrays: dict[Any, Any] = {}
        self.workspace = schedule.workspace
        whole = np.zeros(self.workspace + ALIGNMENT, np.uint8)
        start = -whole.ctypes.data % ALIGNMENT
        self._bytes = whole[start : start + self.workspace]

        for call in self.calls:  # functions keep their names, arrays are numbered
            for part in call.parts if isinstance(call, Tiled) else [call]:
                if not isinstance(part.function, (str, tuple)):
                    self._function_name(part)
        self.source = self._write(timed=False)
        streams = self._streams
        self._scope |= _HELPERS | {"rebind": self._bind}
        self._scope |= {"mark": streams.mark, "forget": streams.forget, "rewind": streams.rewind}
        self._bind()
        self._context = contextvars.copy_context()
        self._context.run(np.seterr, all="ignore")
        run = self._compiled(self.source)
        self._code = run.__code__
        self.run: Callable[..., Any] = partial(self._context.run, run)
        self._timed: Callable[..., Any] | None = None

    def _tiles_told(self) -> str:
        groups = [call for call in self.calls if isinstance(call, Tiled)]
        return f"{sum(len(group.parts) for group in groups)} calls on large arrays, in {len(groups)} groups"

    # Memory -------------------------------------------------------------------------------------------------------

    def _array(self, view: View) -> Any:
        """Return the array of a view: one object per place, since NumPy sees at once that it overlaps with itself."""
        key = _key(view)
        found = self._arrays.get(key)
        if found is None:
            found = self._arrays[key] = self._made(view)
        return found

    def _made(self, view: View) -> Any:
        root, shift = view.place()
        buffer, start = self._buffer(root)
        width = root.dtype.itemsize
        if view.size == 0:
            return np.empty(view.shape, view.dtype)
        strides = tuple(stride * width for stride in view.strides)
        reach = sum(
            (length - 1) * stride for length, stride in zip(view.shape, view.strides, strict=True) if stride > 0
        )
        back = sum((1 - length) * stride for length, stride in zip(view.shape, view.strides, strict=True) if stride < 0)
        if not back:  # ten times as quick as `as_strided`
            return np.ndarray(view.shape, view.dtype, buffer, start + shift * width, strides)
        span = np.ndarray((reach + back + 1,), view.dtype, buffer, start + (shift - back) * width)
        return np.lib.stride_tricks.as_strided(span[back:], view.shape, strides)

    def _buffer(self, root: Storage) -> tuple[Any, int]:
        """Return the array behind a storage, and the byte where it begins there."""
        if root.kind == "variable":
            return root.source._value, 0
        if root.kind == "constant":
            return root.source, 0
        if root.is_shared:
            return self._bytes, root.offset
        found = self._memory.get(root)
        if found is None:
            found = self._memory[root] = np.zeros(root.size, root.dtype)
            found[root.size - root.spare :] = 1
        return found, 0

    @property
    def memory(self) -> int:
        """Bytes of the memory that the plan holds besides the variables."""
        roots = {view.place()[0] for view in self._views.values()}
        own = sum(root.nbytes for root in roots if root.private or root.kind in ("constant", "slot"))
        return self.workspace + own

    def _bind(self) -> None:
        """Make every array that the source names, and every call that it does not write out."""
        for variable in self._program.reads.values():
            if variable.home is not None and not variable.home.intact:
                raise RetraceError
        scope = self._scope
        self._arrays.clear()
        for name, view in self._views.items():
            if not _is_fresh(view):
                scope[name] = self._array(view)
        for name, (owner, method) in self._methods.items():
            scope[name] = getattr(scope[owner], method)
        scope.update(self._objects)
        for group, name in self._tiles.items():
            scope[name] = self._bound(group)
        scope["commit"] = (*(function for call in self.commit for function in self._bound(call)), *self._counting)
        scope["moved"] = MOVES[0]

    def stop_counting(self) -> None:
        """Call `counting` no more."""
        self._counting = ()
        self._bind()

    def _bound(self, call: Call) -> tuple[Callable[..., Any], ...]:
        """Return a call as functions without arguments: one, or one per tile and part."""
        if isinstance(call, Tiled):
            return tuple(function for piece in call.pieces() for function in self._bound(piece))
        assert call.out is not None
        out = self._array(call.out)
        operands = [self._array(each) if isinstance(each, View) else self._staged(each) for each in call.operands]
        function = call.function
        if isinstance(function, tuple):
            function = getattr(self._array(function[0]), function[1])
        if call.keyword == "-":
            return (partial(function, *operands),)
        if call.keyword:
            return (partial(function, *operands, **{call.keyword: out}),)
        return (partial(function, *operands, out),)

    def _staged(self, operand: Operand) -> Any:
        return self._objects[operand.text] if isinstance(operand, Local) else operand

    # Names --------------------------------------------------------------------------------------------------------

    def _fresh(self, wanted: str) -> str:
        # What begins with an underscore is the source's own.
        base = re.sub(r"\W", "_", wanted).strip("_") or "x"
        base = f"x{base}" if base[0].isdigit() else base
        name, count = base, self._counts.get(base, 1)
        while name in self._taken:
            count += 1
            name = f"{base}{count}"
        self._counts[base] = count
        self._taken.add(name)
        return name

    def _name_of(self, view: View) -> str:
        known = self._known.get(view)
        if known is not None:
            return known
        key = _key(view)
        found = self._names.get(key)
        if found is None:
            turned = "_T" if len(view.shape) == 2 and view.turned else ""
            found = self._names[key] = self._fresh(f"{view.label or 'array'}{turned}")
            self._views[found] = view
        self._known[view] = found
        return found

    def _text(self, operand: Operand) -> str:
        if isinstance(operand, View):
            return self._name_of(operand)
        return operand.text if isinstance(operand, Local) else repr(operand)

    def _named(self, thing: Any, title: str) -> str:
        name = self._titles.get(id(thing))
        if name is None:
            name = self._titles[id(thing)] = self._fresh(title)
            self._objects[name] = thing
        return name

    def _holder(self, variable: Variable) -> str:
        return self._named(variable, f"{variable.name or 'unnamed'}_variable")

    def _function_name(self, call: Call) -> str:
        function = call.function
        if isinstance(function, tuple):
            view, method = function
            owner = self._name_of(view)
            if _is_fresh(view):
                return f"{owner}.{method}"
            name = f"{owner}_{method}"
            self._taken.add(name)
            self._methods[name] = (owner, method)
            return name
        plain: Any = function.func if isinstance(function, partial) else function
        title = getattr(plain, "__name__", "kernel")
        if title == "kernel" and call.node is not None and call.node.op is not None:
            title = f"{call.node.op.name}_kernel"
        of_ufunc = isinstance(getattr(plain, "__self__", None), np.ufunc)
        return self._named(function, f"{plain.__self__.__name__}_{title}" if of_ufunc else title)

    # Source -------------------------------------------------------------------------------------------------------

    def _line(self, call: Call) -> str:
        if isinstance(call, Tiled):
            name = self._tiles.get(call) or self._tiles.setdefault(call, self._fresh("tiles"))
            told = "; ".join(self._line(part) for part in call.parts)
            return f"run_all({name})  # in {call.count} tiles: {told}"
        if isinstance(call.function, str):
            texts = [operand if isinstance(operand, str) else self._text(operand) for operand in call.operands]
            text = call.function.format(*texts)
            return text if call.assigns is None else f"{call.assigns.text} = {text}"
        if call.function is np.copyto and len(call.operands) == 2:
            target, source = (self._text(operand) for operand in call.operands)
            return f"{target}[...] = {source}"
        # The result is named first, so that it is named after its op.
        out = self._name_of(call.out) if call.out is not None else ""
        texts = [self._text(operand) for operand in call.operands]
        function = self._function_name(call)
        if out and call.keyword != "-":
            texts.append(f"{call.keyword}={out}" if call.keyword else out)
        assigned = f"{call.assigns.text} = " if call.assigns is not None else ""
        return f"{assigned}{function}({', '.join(texts)})"

    def _line_with_memory(self, call: Call, made: set[str]) -> str:
        """Return a call's line, behind lines that make the fresh memory which it is the first to touch."""
        before: list[str] = []
        owner = call.function[0] if isinstance(call.function, tuple) else None
        for view in (call.out, *call.operands, owner):
            if not isinstance(view, View) or not _is_fresh(view):
                continue
            whole = _whole(view)
            base, name = self._name_of(whole), self._name_of(view)
            if base not in made:
                made.add(base)
                cleared = owner is not None and call.function[1] == "fill" and call.operands == (0,)
                kind = self._named(whole.dtype, f"{whole.dtype}_type")
                order = ", 'F'" if whole.turned else ""
                before.append(f"{base} = {'zeros' if cleared else 'empty'}({whole.shape}, {kind}{order})")
                if cleared and view.size == whole.size:
                    return before[0]
            if name not in made:
                made.add(name)
                width = view.dtype.itemsize
                strides = tuple(stride * width for stride in view.strides)
                kind = self._named(view.dtype, f"{view.dtype}_type")
                place = view.place()[1] * width if view.size else 0  # nothing may begin beyond the end
                before.append(f"{name} = ndarray({view.shape}, {kind}, {base}, {place}, {strides})")
        return "; ".join([*before, self._line(call)])

    def _write(self, timed: bool) -> str:
        plan = self._plan
        lines = []
        for name, variable in plan.loads:
            value = f"{self._holder(variable)}._value"
            lines.append(f"{name} = number({value})" if variable.dtype == np.float64 else f"{name} = {value}")
        if timed:
            lines = ["global began", *lines, "began = clock()"]
        made: set[str] = set()
        lines += _marked([self._line_with_memory(call, made) for call in self.compute], timed, 0)
        # What is a variable's old value, or a view of it, is copied before the commit; what the commit computes, after.
        results = [self._result(operand) for operand in plan.outputs]
        if any(node in plan.late for node in self._program.outputs):
            for place, node in enumerate(self._program.outputs):
                if node not in plan.late:
                    lines.append(f"_o{place} = {results[place]}")
                    results[place] = f"_o{place}"
        returned = f"({', '.join(results)}{',' if len(results) == 1 else ''})"
        if not any(node in plan.late for node in self._program.outputs):
            lines.append(f"outputs = {returned}")
            returned = "outputs"
        after = []
        for place, (variable, operand) in enumerate(plan.gradients):
            result = self._result(operand)
            if self._program.gradients[variable] not in plan.late:
                lines.append(f"_g{place} = {result}")
                result = f"_g{place}"
            after.append(f"{self._holder(variable)}._grad = {result}")
        lines += self._write_commit(timed)
        lines += [*after, f"return {returned}"]
        names = [f"_a{place}" for place in range(len(self._program.arguments))]
        head = [
            f'"""{len(self.calls)} calls, workspace {self.workspace:,} bytes; arrays are made beforehand."""',
            "if MOVES[0] != moved:",
            "    rebind()",
        ]
        handlers: list[str] = []
        if any("number(" in line for line in lines):
            # Python's own numbers are the quickest, but raise where NumPy's give an infinity: then those take over.
            again = f"return run({', '.join([*names, 'float64'])})"
            rewound = ["    rewind()"] if self._streams else []
            handlers += ["except (ArithmeticError, TypeError):", *rewound]
            handlers += ["    if number is float64:", "        raise", f"    {again}"]
            names = [*names, "number=float"]
        if self._streams:
            head.append("mark()")
            handlers += ["except BaseException:", "    rewind()", "    raise"]
        if not timed:
            self._first_line = 2 + len(head) + bool(handlers) + len(plan.loads)
        if handlers:
            lines = ["try:", *(f"    {line}" for line in lines), *handlers]
        return "\n    ".join([f"def run({', '.join(names)}):", *head, *lines]) + "\n"

    def _write_commit(self, timed: bool) -> list[str]:
        """Write the part in which variables change: one call, which nothing interrupts."""
        updated = list(self._program.updates)
        if not updated:
            return []
        lines = self._stage_locals()
        clocks: list[Any] = []
        for variable in updated:
            if not any(clock is variable.clock for clock in clocks):
                clocks.append(variable.clock)
        lines.append("serial = next_serial()")
        for place, clock in enumerate(clocks):
            self._objects[f"_clock{place}"] = clock
            lines.append(f"_clock{place}[0] = serial; _clock{place}[1] += 1")
        numbers = [
            f"partial(setattr, {self._holder(variable)}, '_value', {operand.text})"
            for variable, operand in self._plan.numbers
        ]
        if self._streams:  # what was drawn is used now
            numbers.insert(0, "forget")
        if timed:
            return lines + self._timed_commit() + [f"{number}()" for number in numbers]
        described = [f"#   {self._line(call)}" for call in self.commit]
        everything = f"chain(({', '.join(numbers)},), commit)" if numbers else "commit"
        return [*lines, "# From here on nothing is interrupted:", *described, f"run_all({everything})"]

    def _timed_commit(self) -> list[str]:
        lines, start = [], 0
        for call in self.commit:
            end = start + (len(call.parts) * call.count if isinstance(call, Tiled) else 1)
            lines.append(f"run_all(commit[{start}:{end}])")
            start = end
        return _marked(lines, True, len(self.compute))

    def _stage_locals(self) -> list[str]:
        """Copy what calls have allocated into planned memory where the commit reads it."""
        lines = []
        for call in self.commit:
            for part in call.parts if isinstance(call, Tiled) else [call]:
                staged = []
                for operand in part.operands:
                    if isinstance(operand, Local) and operand.text not in self._objects:
                        name = self._fresh("stage")
                        self._objects[name] = np.zeros(operand.shape, operand.dtype)
                        lines.append(f"{name}[...] = {operand.text}")
                        operand = Local(name, operand.shape, operand.dtype, operand.roots)
                    staged.append(operand)
                part.operands = tuple(staged)
        return lines

    def _result(self, operand: Operand) -> str:
        if isinstance(operand, Local):
            # A kernel may return a view of its operands' memory: an argument's, or what the next run overwrites.
            kept = [root for each in self._plan.kept if isinstance(each, Local) for root in each.roots]
            if operand.roots and all(root.kind == "allocated" and kept.count(root) == 1 for root in operand.roots):
                return operand.text
            return f"{operand.text}.copy()" if operand.shape else f"{operand.text}[()]"
        if _is_fresh(operand):
            return self._name_of(_whole(operand))
        name = self._name_of(operand)
        return f"{name}.copy()" if operand.shape else f"{name}[()]"

    def _compiled(self, source: str) -> Callable[..., Any]:
        exec(compile(source, f"<plan {id(self):x}>", "exec"), self._scope)
        result: Callable[..., Any] = self._scope["run"]
        return result

    def failed(self, error: BaseException) -> Tensor | None:
        """Return the node that a run was computing when it met an error, found by the line of the source."""
        line, trace = 0, error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code is self._code:
                line = trace.tb_lineno
            trace = trace.tb_next
        place = line - self._first_line
        return self.compute[place].node if 0 <= place < len(self.compute) else None

    # Reports ------------------------------------------------------------------------------------------------------

    @property
    def instructions(self) -> list[Instruction]:
        """What runs, call by call."""
        return [
            Instruction(
                text=self._line(call),
                op=call.node.op.name if call.node is not None and call.node.op is not None else "copy",
                shape=tuple((call.out or call.assigns or call.operands[0]).shape),
                where=_where(call),
                flops=flops,
                nbytes=call.nbytes,
            )
            for call, flops in zip(self.calls, self._flops(), strict=True)
        ]

    def _flops(self) -> list[int]:
        """Return the operations of every call: of the nodes that it computes, and of what they take with them."""
        first: dict[Tensor, int] = {}
        for place, call in enumerate(self.calls):
            for node in call.computed():
                first.setdefault(node, place)
        found, carried = [0] * len(self.calls), dict[Tensor, int]()
        for node in self._program.nodes():
            flops = counted_flops(node) + sum(carried.pop(operand, 0) for operand in node.inputs)
            if node in first:
                found[first[node]] += flops
            else:
                carried[node] = flops
        if found:
            found[-1] += sum(carried.values())
        return found

    def timed(self, *arrays: Any) -> tuple[list[int], int]:
        """Run once; return the nanoseconds of every call, and those of the whole run."""
        if self._timed is None:
            self._timed = self._compiled(self._write(timed=True))
            self._bind()
        marks = self._scope["marks"] = [0] * len(self.calls)
        start = perf_counter_ns()
        self._context.run(self._timed, *arrays)
        end = perf_counter_ns()
        earlier = [self._scope["began"], *marks[:-1]]
        return [after - before for before, after in zip(earlier, marks, strict=True)], end - start


def _is_fresh(view: View) -> bool:
    return view.place()[0].kind == "fresh"


def _whole(view: View) -> View:
    """Return all of the fresh memory that a view lies in, as it is returned."""
    root = view.place()[0]
    shape, columns = root.source
    return View(root, shape, dense_strides(shape, columns), 0, root.dtype, view.label)


def _key(view: View) -> Any:
    return (*view.place(), view.shape, view.strides, view.dtype)


def _marked(lines: list[str], timed: bool, start: int) -> list[str]:
    if not timed:
        return lines
    return [text for place, line in enumerate(lines, start) for text in (line, f"marks[{place}] = clock()")]


def _where(call: Call) -> str:
    if call.out is not None:
        return call.out.where
    return "number" if call.assigns is None or not call.assigns.shape else "allocated"
