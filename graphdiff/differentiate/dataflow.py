"""Where a value that is computed in the user's code goes: into the expression around it, and by a name into later ones.

Read off the byte code and its positions, once per place; without positions (``python -X no_debug_ranges``) nothing is
known to go anywhere.
"""

from __future__ import annotations

import dis
from functools import lru_cache
from types import CodeType
from typing import NamedTuple

__all__ = ["flows_into", "is_smooth"]

_NAMED = ("FAST", "NAME", "GLOBAL", "DEREF")
_STORED_WITHIN = ("STORE_SUBSCR", "STORE_SLICE")
_COMPARED = ("COMPARE_OP", "IS_OP", "CONTAINS_OP")
_BESIDE = ("COPY", "SWAP", "DUP_TOP", "UNPACK_SEQUENCE", "UNPACK_EX", "CACHE", "NOP")
_STEPS = frozenset(
    {
        *("argmax", "argmin", "argsort", "argpartition", "argwhere", "searchsorted", "digitize", "nonzero"),
        *("flatnonzero", "count_nonzero", "bool", "len", "isnan", "isfinite", "isinf", "isclose", "allclose"),
        *("sign", "floor", "ceil", "rint", "trunc", "lexsort", "print"),
    }
)
"""Functions whose derivative is zero wherever it is defined."""

Place = tuple[int, int]


class _Instruction(NamedTuple):
    offset: int
    name: str
    names: tuple[str, ...]
    start: Place
    end: Place

    def covers(self, other: _Instruction) -> bool:
        return self.start <= other.start and other.end <= self.end


@lru_cache(maxsize=256)
def _instructions(code: CodeType) -> tuple[_Instruction, ...]:
    found = []
    for each in dis.get_instructions(code):
        place = each.positions
        if place is None or None in (place.lineno, place.col_offset, place.end_lineno, place.end_col_offset):
            continue
        given = each.argval if isinstance(each.argval, tuple) else (each.argval,)
        names = tuple(name for name in given if isinstance(name, str))
        start, end = (place.lineno, place.col_offset), (place.end_lineno, place.end_col_offset)
        found.append(_Instruction(each.offset, each.opname, names, start, end))  # type: ignore[arg-type]
    return tuple(found)


def _at(code: CodeType, offset: int) -> _Instruction | None:
    """Return the instruction at an offset, which may be that of its inline cache."""
    return next((each for each in reversed(_instructions(code)) if each.offset <= offset), None)


def _is_step(code: CodeType, inner: _Instruction, outer: _Instruction | None = None) -> bool:
    """Whether what is computed at `inner` is compared, branched on or counted before it comes to `outer`."""
    before = inner
    for each in _instructions(code):
        within = outer is None or (outer.covers(each) and each is not outer)
        if each.name.startswith("POP_JUMP") and before.covers(inner) and within:
            return True
        if each.covers(inner) and within:
            if each.name in _COMPARED:
                return True
            if each.name.startswith("CALL") and each is not inner and _called(code, each) in _STEPS:
                return True
        if each.name != "TO_BOOL":
            before = each
    return False


def _called(code: CodeType, call: _Instruction) -> str:
    """Return the name of the function or method that a call is of."""
    loads = [
        each
        for each in _instructions(code)
        if each.name.startswith("LOAD_") and each.names and each.start == call.start and call.covers(each)
    ]
    return max(loads, key=lambda each: each.end).names[-1] if loads else ""


def is_smooth(code: CodeType, offset: int) -> bool:
    """Whether a value that is computed at an instruction is used as more than a condition or a place."""
    inner = _at(code, offset)
    return inner is None or not _is_step(code, inner)


def flows_into(code: CodeType, offset: int, user: int) -> bool:
    """Whether a value computed at instruction `offset` becomes part of an operand at instruction `user`.

    It does where the expression of the one lies within that of the other, and where it is part of what a name is
    assigned that the other reads.
    """
    inner, outer = _at(code, offset), _at(code, user)
    if inner is None or outer is None:
        return False
    if inner is not outer and outer.covers(inner):
        return not _is_step(code, inner, outer)
    if _is_step(code, inner):
        return False
    names, assigned = _assigned(code, inner)
    return any(
        each.name.startswith("LOAD_")
        and names & set(each.names)
        and outer.covers(each)
        and not _is_step(code, each, outer)
        and any(_assignment_before(code, name, each.offset) == assigned for name in names & set(each.names))
        for each in _instructions(code)
    )


def _assigned(code: CodeType, inner: _Instruction) -> tuple[frozenset[str], int]:
    """Return the names that the statement around an instruction assigns its value, and where."""
    instructions = _instructions(code)
    if inner.name in _STORED_WITHIN:  # y[1] = x: y holds it
        return _container(code, inner), inner.offset
    last = max(index for index, each in enumerate(instructions) if each is inner or each.covers(inner))
    names: list[str] = []
    for each in instructions[last + 1 :]:
        if each.name.startswith("STORE_") and each.name.split("_")[1] in _NAMED:
            names += each.names
        elif not each.name.startswith(_BESIDE):
            break
    return frozenset(names), instructions[last].offset


def _container(code: CodeType, store: _Instruction) -> frozenset[str]:
    """Return the name of what an element or a slice is assigned to: nothing if it has none."""
    loads = [each for each in _instructions(code) if each.name.startswith("LOAD_") and each.offset < store.offset]
    held = [each.names[0] for each in loads if each.start == store.start and each.names]
    # Since Python 3.13 one instruction may load two names, and has the place of the first: here of what is assigned.
    pairs = [each.names[1] for each in loads if len(each.names) == 2]
    return frozenset(held[:1] or pairs[-1:])


def _assignment_before(code: CodeType, name: str, offset: int) -> int:
    """Return where the value was computed that a name has at an instruction: before it, or at the end of a loop."""
    found = [where for where in _assignments(code) if name in where[0]]
    earlier = [where for where in found if where[1] < offset]
    return (earlier or found or [(frozenset(), -1)])[-1][1]


@lru_cache(maxsize=256)
def _assignments(code: CodeType) -> tuple[tuple[frozenset[str], int], ...]:
    """Return every assignment: the names, and the instruction that computed what they are assigned."""
    found: list[tuple[frozenset[str], int]] = []
    before = -1
    for each in _instructions(code):
        if each.name.startswith("STORE_") and each.name.split("_")[1] in _NAMED:
            found.append((frozenset(each.names), before))
        elif each.name in _STORED_WITHIN:
            found.append((_container(code, each), each.offset))
            before = each.offset
        elif not each.name.startswith(_BESIDE):
            before = each.offset
    return tuple(found)
