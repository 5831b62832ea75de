"""What a call of compiled code is told: the structures of call.c, written from Python."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from typing import Any

from graphdiff.plan.program import next_serial
from graphdiff_numpy.native.compiler import Compiler, Unavailable, find_compiler

__all__ = ["Held", "callable_of"]

NOTHING: tuple[()] = ()
VALUE = "_value"
Word = ctypes.c_ssize_t


class _Plan(ctypes.Structure):
    """`Plan` of call.c."""

    _fields_ = [
        ("body", ctypes.c_void_p),
        ("table", ctypes.c_void_p),
        *((name, Word) for name in ("arguments", "ranges", "loads", "stores", "clocks", "release", "times")),
        *((name, ctypes.c_void_p) for name in ("argument", "range", "load", "store", "clock")),
        *((name, ctypes.py_object) for name in ("nothing", "value", "next_serial", "turns")),
    ]


class Held:
    """A call, with all that it holds on to.

    Parameters
    ----------
    body : function of ctypes
        The segment.
    table : array of uint64
        Its pointers.
    """

    def __init__(self, body: Any, table: Any) -> None:
        self.clocks: list[list[int]] = []
        self._arguments: list[int] = []
        self._ranges: list[int] = []
        self._loads: list[int] = []
        self._stores: list[int] = []
        self._kept: list[Any] = [body, table]
        self._plan = _Plan()
        self._plan.body = ctypes.cast(body, ctypes.c_void_p)
        self._plan.table = table.ctypes.data

    @property
    def address(self) -> int:
        """Where the structure lies."""
        return ctypes.addressof(self._plan)

    def take(self, slot: int, like: Any, writable: bool) -> None:
        """Take one more array of the class, shape and dtype of another; its pointer goes into an entry of the table."""
        text = ctypes.create_string_buffer(memoryview(like).format.encode())
        shape = (Word * max(like.ndim, 1))(*like.shape)
        self._kept += [type(like), text, shape]
        kind, format_of, lengths = id(type(like)), ctypes.addressof(text), ctypes.addressof(shape)
        self._arguments += [slot, like.dtype.itemsize, int(writable), kind, format_of, like.ndim, lengths]

    def keep_apart(self, array: Any) -> None:
        """Refuse arrays that lie where the step writes."""
        self._ranges += [array.ctypes.data, array.nbytes]
        self._kept.append(array)

    def load(self, variable: Any, slot: Any) -> None:
        """Bring a number into the plan's memory before the step."""
        self._kept += [variable, slot]
        self._loads += [id(variable), id(slot)]

    def store(self, owner: Any, name: str, source: Any) -> None:
        """Set an attribute after the step: to a number in the plan's memory, or to the argument of that place."""
        self._kept += [owner, name, source]
        slot, place = (0, source) if isinstance(source, int) else (id(source), 0)
        self._stores += [id(owner), id(name), slot, place]

    def finish(self, release: bool) -> None:
        """Write everything down."""
        plan, self._kept = self._plan, [*self._kept, self.clocks]
        groups = {
            "argument": (self._arguments, 7),
            "range": (self._ranges, 2),
            "load": (self._loads, 2),
            "store": (self._stores, 4),
            "clock": ([id(clock) for clock in self.clocks], 1),
        }
        for name, (words, width) in groups.items():
            memory = (Word * max(len(words), 1))(*words)
            self._kept.append(memory)
            setattr(plan, name, ctypes.addressof(memory))
            setattr(plan, f"{name}s", len(words) // width)
        plan.release, plan.times = int(release), 1
        plan.nothing, plan.value, plan.next_serial, plan.turns = NOTHING, VALUE, next_serial, 1

    @contextmanager
    def several(self, turns: int) -> Iterator[None]:
        """Run so many steps at every call within."""
        self._plan.times, self._plan.turns = turns, turns
        try:
            yield
        finally:
            self._plan.times, self._plan.turns = 1, 1


@cache
def _library() -> ctypes.CDLL:
    compiler = find_compiler()
    assert isinstance(compiler, Compiler)
    return compiler.load(files("graphdiff_numpy.native").joinpath("call.c").read_text("utf-8"))


def callable_of(address: int) -> Callable[..., int]:
    """Return a function that runs the call whose structure lies at an address.

    Raises
    ------
    Unavailable
        This Python has no such functions.
    """
    try:
        make = ctypes.pythonapi.PyCFunction_NewEx
    except AttributeError as error:
        raise Unavailable(f"this Python makes no functions: {error}") from error
    make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
    method = ctypes.c_char.in_dll(_library(), "method")
    result: Callable[..., int] = make(ctypes.addressof(method), address, None)
    return result
