"""The array functions by name, and the namespace `F` on which rules build graph of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from graphdiff import host
from graphdiff.guard import guarded
from graphdiff.tensor import Tensor
from graphdiff.typing import Array, Function, Namespace

Summed = TypeVar("Summed", bound=Array)
Body = TypeVar("Body", bound=Callable[..., Any])

FUNCTIONS: dict[str, Function[Tensor]] = {}
"""Every public array function by name: the ops', and those written in terms of ops."""


class GraphFunctions(Namespace):
    """The namespace `F` on which rules build graph: every function of graphdiff under its array-API name."""

    is_graph = True

    def __getattr__(self, name: str) -> Function[Tensor]:
        found = FUNCTIONS.get(name)
        if found is None:
            raise AttributeError(f"graphdiff has no function {name!r}")
        setattr(self, name, found)
        return found


GRAPH = GraphFunctions()


def function(*aliases: str, name: str | None = None) -> Callable[[Body], Body]:
    """Register a public array function under its own name and `aliases`."""

    def register(body: Body) -> Body:
        for key in (name or body.__name__, *aliases):
            FUNCTIONS[key] = cast(Function[Tensor], body)
        return body

    return register


def is_internal(body: object) -> bool:
    """Whether a function applies an op that nobody calls by name."""
    return getattr(getattr(body, "op", None), "internal", False)


_guards: dict[Function[Tensor], Function[Tensor]] = {}


def public(body: Function[Tensor]) -> Function[Tensor]:
    """Return an array function as users call it, with errors that name function and arguments.

    Functions among themselves call what is in `FUNCTIONS`. An op's own call explains its errors already.
    """
    if not callable(body) or body.__module__ == "graphdiff":
        return body
    if body not in _guards:
        _guards[body] = guarded(body)
        _guards[body].__module__ = "graphdiff"  # where pickle finds it
    return _guards[body]


def sum_to(F: Namespace, array: Summed, shape: host.Shape) -> Summed:
    """Sum an array down to a shape that broadcasts to the array's: the transpose of broadcasting."""
    lead = len(array.shape) - len(shape)
    stretched = [lead + axis for axis, length in enumerate(shape) if length == 1 and array.shape[lead + axis] != 1]
    axes = (*range(lead), *stretched)
    summed = F.sum(array, axis=axes) if axes else array
    return cast(Summed, summed if tuple(summed.shape) == tuple(shape) else F.reshape(summed, shape))
