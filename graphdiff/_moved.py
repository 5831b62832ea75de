"""Modules under the paths that they had once, for programs and pickles that name them so."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from importlib.abc import Loader, MetaPathFinder

__all__ = ["MOVED", "attach"]

MOVED = {
    "graphdiff.check": "graphdiff.analysis.check",
    "graphdiff.curvature": "graphdiff.analysis.curvature",
    "graphdiff.dependence": "graphdiff.jacobians.dependence",
    "graphdiff.differentiate.elimination_order": "graphdiff.elimination.orders",
    "graphdiff.differentiate.jacobians": "graphdiff.jacobians.jacobian",
    "graphdiff.draw.path_sums": "graphdiff.draw.lecture.path_sums",
    "graphdiff.draw.table": "graphdiff.draw.lecture.table",
    "graphdiff.draw.tracer": "graphdiff.draw.lecture.tracer",
    "graphdiff.networks": "graphdiff.graph.networkx_io",
    "graphdiff.plan.compiler": "graphdiff.plan.compiled",
    "graphdiff.rates": "graphdiff.costs.rates",
    "graphdiff.serialize": "graphdiff.graph.pickling",
    "graphdiff.sparse": "graphdiff.jacobians.sparse",
    "graphdiff.structure": "graphdiff.tree",
    "graphdiff.train.estimators": "graphdiff.train.sklearn.estimators",
    "graphdiff.train.network": "graphdiff.train.sklearn.network",
    "graphdiff.train.tables": "graphdiff.train.tabular.tables",
}
"""Where each lies that holds a public name or a class that pickles refer to."""


class _Alias:  # no base of importlib.abc, whose import takes as long as all of graphdiff
    def __init__(self, name: str) -> None:
        self.name = name

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self.name)
        self.own = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.own  # it has been run, and stays what it is


class _Finder:
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        return ModuleSpec(name, cast("Loader", _Alias(MOVED[name]))) if name in MOVED else None


def attach() -> None:
    """Have imports find them; asked last, so that it costs other imports nothing."""
    sys.meta_path.append(cast("MetaPathFinder", _Finder()))
