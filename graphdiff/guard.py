"""Whatever fails within a public function because of what it was given, the error names function and arguments."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import wraps
from types import TracebackType
from typing import Any, TypeVar, cast

from graphdiff.errors import ArgumentError, GraphDiffError, IndexOutsideError
from graphdiff.typing import Function, NamedFunction

__all__ = ["guarded"]

Body = TypeVar("Body", bound=Function[object])

_RAW = (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, SyntaxError)
"""What Python and array libraries raise of arguments that they cannot work with; SyntaxError is NumPy's, of dtypes."""
_OWN = {"graphdiff", "graphdiff_numpy", "graphdiff_cupy"}
_LIBRARIES = {*_OWN, "numpy", "scipy", "networkx", "graphviz", "safetensors", *sys.stdlib_module_names}


def guarded(body: Body) -> Body:
    """Turn a bare error that a function ends with into a GraphDiffError that names it, its arguments and the line.

    Errors of the user's own functions pass as they are, and so does what Python says of the call itself.
    """

    @wraps(body)
    def call(*arguments: object, **named: object) -> object:
        try:
            return body(*arguments, **named)
        except _RAW as error:
            raw = getattr(error, "raw", error)  # what a guarded function within was given is told by the outermost
            inner = error.__traceback__ and error.__traceback__.tb_next
            if isinstance(raw, GraphDiffError) or inner is None or not _is_within(inner):
                raise
            raise _misused(cast(NamedFunction[object], body), arguments, named, raw) from raw

    return call  # type: ignore[return-value]


def _is_within(trace: TracebackType | None) -> bool:
    """Whether an error passed through no code but graphdiff's and that of libraries."""
    while trace is not None:
        if _package(trace.tb_frame.f_globals) not in _LIBRARIES:
            return False
        trace = trace.tb_next
    return True


def _package(names: Mapping[str, object]) -> str:
    return str(names.get("__name__", "")).partition(".")[0]


def _misused(
    body: NamedFunction[object], arguments: Sequence[object], named: Mapping[str, object], error: Exception
) -> GraphDiffError:
    """Return the error for a call whose arguments made it fail."""
    name, shown = body.__qualname__, arguments
    if "." in name and "<locals>" not in name:  # a method's first argument is its owner
        name = type(arguments[0]).__name__ if body.__name__ in ("__init__", "__post_init__") else body.__name__
        shown = arguments[1:]
    given = [*map(_told, shown), *(f"{key}={_told(value)}" for key, value in named.items())]
    frame = sys._getframe(1)
    while _package(frame.f_globals) in _OWN and frame.f_back is not None:
        frame = frame.f_back
    place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
    kind: type[GraphDiffError] = IndexOutsideError if isinstance(error, IndexError) else ArgumentError
    made = kind(f"{name}({', '.join(given)}), called at {place}: {type(error).__name__}: {error}")
    made.raw = error  # type: ignore[attr-defined]
    return made


def _told(value: Any) -> str:
    """Return an argument in a few words."""
    try:
        if hasattr(value, "describe"):
            return str(value.describe())
        if getattr(value, "shape", ()):
            return f"{type(value).__name__} {value.dtype}{list(value.shape)}"
        text = repr(value)
    except Exception:
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}…"
