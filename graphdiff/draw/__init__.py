"""Drawing graphs: DOT by `graphviz`, laid out and rendered by `pygraphviz`, whose wheels carry Graphviz itself."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Concatenate, ParamSpec, TypeVar

from graphdiff.draw.dot import Drawing, draw
from graphdiff.draw.lecture.path_sums import Paths, paths
from graphdiff.draw.lecture.table import Trace
from graphdiff.draw.lecture.tracer import trace
from graphdiff.draw.text import show

__all__ = ["Drawing", "Paths", "Trace", "draw", "paths", "show", "trace"]
__doc__ = inspect.getdoc(draw) or ""

Given = ParamSpec("Given")
Made = TypeVar("Made")


def _as_method(function: Callable[Given, Made]) -> Callable[Concatenate[ModuleType, Given], Made]:
    """Return a function as a method that knows its signature."""

    def method(self: ModuleType, /, *arguments: Given.args, **options: Given.kwargs) -> Made:
        return function(*arguments, **options)

    signature = inspect.signature(function)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    method.__doc__ = function.__doc__
    method.__signature__ = signature.replace(parameters=[own, *signature.parameters.values()])  # type: ignore[attr-defined]
    return method


class _CallableModule(ModuleType):
    """`gd.draw` is a function and a package: calling the package draws."""

    __call__ = _as_method(draw)


def __dir__() -> list[str]:
    return sorted(__all__)


sys.modules[__name__].__class__ = _CallableModule
