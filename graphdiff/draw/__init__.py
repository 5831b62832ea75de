"""Drawing graphs: DOT by `graphviz`, laid out and rendered by `pygraphviz`, whose wheels carry Graphviz itself."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from graphdiff.draw.dot import Drawing, draw
from graphdiff.draw.lecture.path_sums import Paths, paths
from graphdiff.draw.lecture.table import Trace
from graphdiff.draw.lecture.tracer import trace
from graphdiff.draw.text import show

__all__ = ["Drawing", "Paths", "Trace", "draw", "paths", "show", "trace"]


class _CallableModule(ModuleType):
    """`gd.draw` is a function and a package: calling the package draws."""

    def __call__(self, *arguments: Any, **options: Any) -> Drawing:
        return draw(*arguments, **options)


def __dir__() -> list[str]:
    return sorted(__all__)


sys.modules[__name__].__class__ = _CallableModule
