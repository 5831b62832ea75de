"""Where values of recorded tensors become plain numbers and arrays, through which no derivative flows.

Only that it happened is taken up here; `graphdiff.differentiate.detached` says when to tell of it.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Sequence
from functools import lru_cache
from types import CodeType, FrameType
from typing import Protocol

from graphdiff import host
from graphdiff.tensor.context import DEPARTURES
from graphdiff.typing import Operation

_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib", "platstdlib")})
_WITHIN = frozenset({"<listcomp>", "<genexpr>", "<setcomp>", "<dictcomp>"})
"""The code of parts of an expression."""
_LIMIT = 4096

MARK = "departure"
"""The attribute of a leaf whose value is known to have left the graph."""
MARKED = [0]
"""Counts the leaves that have been marked: while there is none, no graph need be searched for them."""


class Departure:
    """A place where a value leaves the graph: the user's line, and the instruction.

    It refers to no tensor: an array that is kept must not keep a graph.
    """

    __slots__ = ("code", "instruction", "line", "registry")

    def __init__(self, frame: FrameType) -> None:
        self.code = frame.f_code
        self.instruction = frame.f_lasti
        self.line = frame.f_lineno
        self.registry: dict[str | tuple[str, type[Warning], int], int] = frame.f_globals.setdefault(
            "__warningregistry__", {}
        )

    @property
    def where(self) -> tuple[str, int]:
        """File and line."""
        return self.code.co_filename, self.line

    def __reduce__(self) -> tuple[object, ...]:
        return _forgotten, ()  # a leaf that is loaded is a constant like others


class Places:
    """The instructions of one code object at which values have left the graph."""

    __slots__ = ("code", "departures", "verdicts")

    def __init__(self, code: CodeType) -> None:
        self.code = code
        self.departures: dict[int, Departure] = {}
        self.verdicts: dict[int, Departure | None] = {}


def _forgotten() -> None:
    """Return what pickles have in the place of a departure."""


PLACES: dict[int, Places] = {}
"""By the code object's id."""


@lru_cache(maxsize=1024)
def _is_library(file: str) -> bool:
    return file.startswith(_LIBRARIES) or "site-packages" in file or "dist-packages" in file


def _is_own(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__", "").partition(".")[0] in ("graphdiff", "numpy")


def _noted(frame: FrameType) -> Departure:
    """Return the departure at a frame's present instruction, made if it is the first there."""
    places = PLACES.get(id(frame.f_code))
    if places is None:
        if len(PLACES) >= _LIMIT:
            PLACES.clear()
        places = PLACES[id(frame.f_code)] = Places(frame.f_code)
    found = places.departures.get(frame.f_lasti)
    if found is None:
        found = places.departures[frame.f_lasti] = Departure(frame)
        places.verdicts.clear()
    return found


class Recorded(Protocol):
    """A node, as far as what leaves the graph needs one."""

    recorded: bool

    @property
    def op(self) -> Operation | None: ...
    @property
    def inputs(self) -> Sequence[Recorded]: ...
    @property
    def dtype(self) -> host.DType: ...


def departure_of(tensor: Recorded) -> Departure | None:
    """Take up that the value of a tensor leaves the graph on the user's line; None if no derivative is lost."""
    if not tensor.recorded or not lets_through(tensor):
        return None
    frames = _calls(sys._getframe(1))
    if not frames:
        return None
    known = PLACES.get(id(frames[-1].f_code))
    if (known is None or frames[-1].f_lasti not in known.departures) and not _reaches_a_leaf(tensor):
        return None
    found = [_noted(frame) for frame in frames][-1]
    for noted in DEPARTURES and DEPARTURES.here():
        noted.append((tensor, found))
    return found


def _calls(frame: FrameType | None) -> list[FrameType]:
    """Return the calls outwards through libraries and parts of an expression, the innermost that is the user's last."""
    calls: list[FrameType] = []
    users: list[FrameType] = []
    while frame is not None:
        if not _is_own(frame):
            is_users = not _is_library(frame.f_code.co_filename)
            (users if is_users else calls).append(frame)
            if is_users and frame.f_code.co_name not in _WITHIN:
                break
        frame = frame.f_back
    return [*calls, *reversed(users)]


def lets_through(node: Recorded) -> bool:
    """Whether a derivative may flow through a node: not through integers, comparisons, steps and `stop_gradient`."""
    op = node.op
    if not host.is_real_floating(node.dtype) or (op is not None and op.name == "stop_gradient"):
        return False
    partials = getattr(op, "partials", None)
    return partials is None or any(partial is not None for partial in partials)


def _reaches_a_leaf(tensor: Recorded) -> bool:
    """Whether a derivative flows from a tensor to a leaf: the first path that does is enough."""
    seen, pending = {tensor}, [tensor]
    while pending:
        node = pending.pop()
        if node.op is None:
            return True
        for operand in node.inputs:
            if operand.recorded and operand not in seen and lets_through(operand):
                seen.add(operand)
                pending.append(operand)
    return False
