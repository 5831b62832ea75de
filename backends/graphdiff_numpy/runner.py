"""The runner: a schedule written out as Python source, with every array that it names made beforehand."""

from __future__ import annotations

import ast
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

from graphdiff.plan.plan import RetraceError
from graphdiff.plan.program import Program
from graphdiff.plan.schedule import ALIGNMENT, Call, Local, Operand, Storage, View
from graphdiff.tensor import MOVES, next_serial
from graphdiff_numpy.planner import Planner

__all__ = ["NumpyRunner"]

_ABOUT = '''"""{count} calls, workspace {workspace} bytes. Arrays are views of memory made beforehand."""
'''


def _run_all(calls: Any) -> None:
    """Make calls one after the other without returning to the interpreter, so that no interrupt falls between."""
    deque(map(operator.call, calls), 0)


_HELPERS: dict[str, Any] = {
    "MOVES": MOVES,
    "chain": chain,
    "clock": perf_counter_ns,
    "commit": (),
    "inf": math.inf,
    "moved": 0,
    "nan": math.nan,
    "next_serial": next_serial,
    "outputs": None,
    "partial": partial,
    "rebind": None,
    "root": np.sqrt,
    "run": None,
    "run_all": _run_all,
    "serial": 0,
}
"""What the source may name besides arrays and the functions that it calls."""


class NumpyRunner:
    """Runs a program as a sequence of NumPy calls into planned memory.

    Attributes
    ----------
    source : str
    calls : list of Call
    workspace : int
        Bytes of scratch memory.
    """

    def __init__(self, program: Program) -> None:
        self._plan = Planner(program)
        self._program = program
        schedule = self._plan.schedule
        self.schedule = schedule
        self.calls = schedule.calls
        self._names: dict[Any, str] = {}
        self._views: dict[str, View] = {}
        self._functions: dict[str, Any] = {}
        self._methods: dict[str, tuple[str, str]] = {}
        self._taken: set[str] = {*keyword.kwlist, *_HELPERS, *dir(builtins)}
        self._memory: dict[Storage, Any] = {}
        self._commit: list[tuple[str, list[str], Call]] = []
        self._scope: dict[str, Any] = {}
        self.workspace = schedule.workspace
        self._bytes = np.zeros(self.workspace + ALIGNMENT, np.uint8)
        start = -self._bytes.ctypes.data % ALIGNMENT
        self._bytes = self._bytes[start : start + self.workspace]
        self.source = self._write(timed=False)
        self._bind()
        context = contextvars.copy_context()
        context.run(np.seterr, all="ignore")
        self.run: Callable[..., Any] = partial(context.run, self._compiled("run", self.source))
        self._context = context

    # Memory --------------------------------------------------------------------------------------------------------

    def _array(self, view: View) -> Any:
        root, shift = view.place()
        width = root.dtype.itemsize
        strides = tuple(stride * width for stride in view.strides)
        if root.kind == "variable":
            buffer, offset = root.source._value, 0
        elif root.kind == "scratch" and not root.private:
            buffer, offset = self._bytes, root.offset
        else:
            found = self._memory.get(root)
            if found is None:
                found = self._memory[root] = root.source if root.kind == "constant" else np.zeros(root.size, root.dtype)
                if root.fill is not None:
                    root.fill(found)
            buffer, offset = found, 0
        if view.size == 0:
            return np.empty(view.shape, view.dtype)
        flat = np.ndarray((_extent(view),), view.dtype, buffer, offset + shift * width) if _forward(view) else None
        if flat is None:
            whole = np.ndarray((root.size,), view.dtype, buffer, offset)
            return np.lib.stride_tricks.as_strided(whole[shift:], view.shape, strides)
        return np.lib.stride_tricks.as_strided(flat, view.shape, strides)

    def _bind(self) -> None:
        """Make every array that the source names."""
        scope = self._scope
        for variable in self._program.reads.values():
            if variable.home is not None and not variable.home.intact:
                raise RetraceError
        for name, view in self._views.items():
            scope[name] = self._array(view)
        for name, (owner, method) in self._methods.items():
            scope[name] = getattr(scope[owner], method)
        scope.update(self._functions)
        commit = [
            partial(scope[function], *[self._valued(text) for text in positional], **self._kept_out(call))
            for function, positional, call in self._commit
        ]
        scope["commit"] = tuple(commit)
        scope["moved"] = MOVES[0]

    def _valued(self, text: str) -> Any:
        return self._scope[text] if text in self._scope else ast.literal_eval(text)

    def _kept_out(self, call: Call) -> dict[str, Any]:
        if call.out is not None and call.keyword not in ("", "-"):
            return {call.keyword: self._scope[self._name_of(call.out, call)]}
        return {}

    # Names -----------------------------------------------------------------------------------------------------------

    def _fresh(self, wanted: str) -> str:
        # What begins with an underscore and a digit or letter is the source's own.
        base = re.sub(r"\W", "_", wanted).strip("_") or "x"
        base = f"x{base}" if base[0].isdigit() else base
        name, count = base, 1
        while name in self._taken:
            count += 1
            name = f"{base}{count}"
        self._taken.add(name)
        return name

    def _name_of(self, view: View, call: Call | None) -> str:
        root, shift = view.place()
        key = (root, shift, view.shape, view.strides, view.dtype)
        found = self._names.get(key)
        if found is None:
            found = self._names[key] = self._fresh(self._title(root, view, call))
            self._views[found] = view
        return found

    @staticmethod
    def _title(root: Storage, view: View, call: Call | None) -> str:
        if root.kind == "variable":
            return root.source.name or "parameters"
        if root.kind == "constant":
            return "constant"
        if root.kind == "slot":
            return "number"
        node = call.node if call is not None else None
        title = (node.name or (node.op.name if node.op else "")) if node is not None else ""
        turned = "_T" if len(view.shape) == 2 and view.by_columns and not view.by_rows else ""
        return f"{title or 'x'}{turned}"

    def _text(self, operand: Operand, call: Call) -> str:
        if isinstance(operand, View):
            return self._name_of(operand, call if operand is call.out else None)
        if isinstance(operand, Local):
            return operand.text
        return repr(operand)

    def _function_name(self, function: Any) -> str:
        if isinstance(function, tuple):
            view, method = function
            owner = self._name_of(view, None)
            name = f"{owner}_{method}"
            if name not in self._methods:
                self._taken.add(name)
                self._methods[name] = (owner, method)
            return name
        owner = getattr(function, "__self__", None)
        title = getattr(function, "__name__", None) or getattr(getattr(function, "func", None), "__name__", "kernel")
        if isinstance(owner, np.ufunc):
            title = f"{owner.__name__}_{title}"
        for name, known in self._functions.items():
            if known is function:
                return name
        name = self._fresh(title)
        self._functions[name] = function
        return name

    # Source ----------------------------------------------------------------------------------------------------------

    def _line(self, call: Call) -> str:
        if isinstance(call.function, str):
            texts = [operand if isinstance(operand, str) else self._text(operand, call) for operand in call.operands]
            text = call.function.format(*texts)
            return text if call.assigns is None else f"{call.assigns.text} = {text}"
        if call.function is np.copyto and len(call.operands) == 2:
            target, source = (self._text(operand, call) for operand in call.operands)
            return f"{target}[...] = {source}"
        # The result is named first, so that it is named after its op.
        out = self._name_of(call.out, call) if call.out is not None else ""
        texts = [self._text(operand, call) for operand in call.operands]
        function = self._function_name(call.function)
        if out and call.keyword != "-":
            texts.append(f"{call.keyword}={out}" if call.keyword else out)
        assigned = f"{call.assigns.text} = " if call.assigns is not None else ""
        return f"{assigned}{function}({', '.join(texts)})"

    def _write(self, timed: bool) -> str:
        plan = self._plan
        count = len(self._program.arguments)
        names = ", ".join(f"_a{place}" for place in range(count))
        lines = []
        for name, variable in plan.loads:
            holder = self._fresh(f"{variable.name or 'variable'}_variable")
            self._functions[holder] = variable
            lines.append(f"{name} = {holder}._value")
        lines += self._marked([self._line(call) for call in self.schedule.compute], timed, 0)
        outputs = [self._result(operand) for operand in plan.outputs]
        gradients = [(variable, self._result(operand)) for variable, operand in plan.gradients]
        early = not self.schedule.commit or not any(self._is_late(operand) for operand in plan.outputs)
        returned = f"({', '.join(outputs)}{',' if len(outputs) == 1 else ''})"
        if early and any(isinstance(operand, View) for operand in plan.outputs):
            lines.append(f"outputs = {returned}")
            returned = "outputs"
        held = []
        for place, (variable, text) in enumerate(gradients):
            lines.append(f"_g{place} = {text}")
            holder = self._fresh(f"{variable.name or 'variable'}_variable")
            self._functions[holder] = variable
            held.append(f"{holder}.grad = _g{place}")
        lines += self._write_commit(timed)
        lines += held
        lines.append(f"return {returned}")
        body = "\n".join(f"    {line}" for line in lines)
        guard = "    if MOVES[0] != moved:\n        rebind()\n"
        head = f"def run({names}):\n    " + _ABOUT.format(count=len(self.calls), workspace=self.workspace)
        return f"{head}{guard}{body}\n"

    def _is_late(self, operand: Operand) -> bool:
        if not isinstance(operand, View):
            return False
        root = operand.place()[0]
        return any(call.out is not None and call.out.place()[0] is root for call in self.schedule.commit)

    def _write_commit(self, timed: bool) -> list[str]:
        commit = self.schedule.commit
        numbers = self._plan.numbers
        lines = self._stage_locals(commit)
        updated = list(self._program.updates)
        if not updated:
            return lines
        self._commit = []
        described = []
        for call in commit:
            described.append(f"#   {self._line(call)}")
            out = [self._name_of(call.out, call)] if call.out is not None and call.keyword == "" else []
            texts = [self._text(operand, call) for operand in call.operands] + out
            self._commit.append((self._function_name(call.function), texts, call))
        clocks: list[Any] = []
        for variable in updated:
            if not any(clock is variable.clock for clock in clocks):
                clocks.append(variable.clock)
        lines.append("serial = next_serial()")
        lines += [f"_clock{place}[0] = serial; _clock{place}[1] += 1" for place in range(len(clocks))]
        for place, clock in enumerate(clocks):
            self._functions[f"_clock{place}"] = clock
        extra = []
        for variable, operand in numbers:
            holder = self._fresh(f"{variable.name or 'variable'}_variable")
            self._functions[holder] = variable
            extra.append(f"partial(setattr, {holder}, '_value', {operand.text})")
        if timed:
            lines += self._marked(
                [f"commit[{place}]()" for place in range(len(commit))], True, len(self.schedule.compute)
            )
            lines += [f"{text}()" for text in extra]
            return lines
        everything = f"chain(({', '.join(extra)},), commit)" if extra else "commit"
        lines += ["# From here on nothing is interrupted:", *described, f"run_all({everything})"]
        return lines

    def _stage_locals(self, commit: list[Call]) -> list[str]:
        """Copy what calls have allocated into planned memory where the commit reads it."""
        lines = []
        for call in commit:
            staged = []
            for operand in call.operands:
                if isinstance(operand, Local) and operand.shape:
                    name = self._fresh("stage")
                    self._functions[name] = np.zeros(operand.shape, operand.dtype)
                    lines.append(f"{name}[...] = {operand.text}")
                    operand = Local(name, operand.shape, operand.dtype, operand.roots)
                staged.append(operand)
            call.operands = tuple(staged)
        return lines

    @staticmethod
    def _marked(lines: list[str], timed: bool, start: int) -> list[str]:
        if not timed:
            return lines
        marked = []
        for place, line in enumerate(lines, start):
            marked += [line, f"marks[{place}] = clock()"]
        return marked

    def _result(self, operand: Operand) -> str:
        if isinstance(operand, Local):
            return operand.text
        name = self._name_of(operand, None)
        return f"{name}.copy()" if operand.shape else f"{name}[()]"

    def _compiled(self, name: str, source: str) -> Callable[..., Any]:
        scope = self._scope
        scope |= _HELPERS | {"rebind": self._bind}
        exec(compile(source, f"<plan {id(self):x}>", "exec"), scope)
        return scope["run"]  # type: ignore[no-any-return]


def _forward(view: View) -> bool:
    return all(stride >= 0 for stride in view.strides)


def _extent(view: View) -> int:
    return 1 + sum((length - 1) * stride for length, stride in zip(view.shape, view.strides, strict=True))
