"""Tensor: one node of the graph, and its leaves `variable`, `constant` and `placeholder`.

A node has a value as soon as its inputs have values. Nodes carry a serial number, and inputs always have smaller
ones, so that sorting by serial is a topological order. Operators and methods are attached in `graphdiff._links`.
"""

import sys
from types import ModuleType
from typing import NoReturn

from graphdiff.errors import OpError
from graphdiff.tensor.context import (
    DEPARTURES,
    MOVES,
    NO_ATTRIBUTES,
    OBSERVERS,
    SWITCHES,
    TRACES,
    WATCHES,
    current_trace,
    name_scope,
    next_serial,
    numbered_streams,
    seed_streams,
    untraced,
)
from graphdiff.tensor.detached import MARK, MARKED, PLACES, Departure, Places, departure_of, lets_through
from graphdiff.tensor.leaves import Variable, constant, placeholder, value_for, variable
from graphdiff.tensor.node import Tensor, leaf
from graphdiff.tensor.settings import Configured, Same, as_key, contents, is_held, put, put_traced

__all__ = [
    "DEPARTURES",
    "MARK",
    "MARKED",
    "MOVES",
    "NO_ATTRIBUTES",
    "OBSERVERS",
    "PLACES",
    "SWITCHES",
    "TRACES",
    "WATCHES",
    "Departure",
    "Places",
    "Configured",
    "Same",
    "Tensor",
    "Variable",
    "as_key",
    "constant",
    "contents",
    "current_trace",
    "leaf",
    "lets_through",
    "is_held",
    "name_scope",
    "departure_of",
    "next_serial",
    "numbered_streams",
    "placeholder",
    "put",
    "put_traced",
    "seed_streams",
    "untraced",
    "value_for",
    "variable",
]


class _Module(ModuleType):
    """A module that tells who takes it for a function what to call."""

    def __call__(self, *arguments: object, **named: object) -> NoReturn:
        raise OpError("graphdiff.tensor is a module: gd.constant(value) or gd.variable(value) makes a Tensor")


sys.modules[__name__].__class__ = _Module
