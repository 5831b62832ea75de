"""Tensor: one node of the graph, and its leaves `variable`, `constant` and `placeholder`.

A node has a value as soon as its inputs have values. Nodes carry a serial number, and inputs always have smaller
ones, so that sorting by serial is a topological order. Operators and methods are attached in `graphdiff._links`.
"""

from graphdiff.tensor.leaves import Variable, constant, placeholder, value_for, variable
from graphdiff.tensor.node import Tensor
from graphdiff.tensor.recording import (
    DEPARTURES,
    MOVES,
    NO_ATTRIBUTES,
    SWITCHES,
    TRACES,
    WATCHES,
    Departures,
    current_trace,
    get_thread,
    name_scope,
    next_serial,
    open_watches,
    read_switch,
    untraced,
)

__all__ = [
    "DEPARTURES",
    "MOVES",
    "NO_ATTRIBUTES",
    "SWITCHES",
    "TRACES",
    "WATCHES",
    "Departures",
    "Tensor",
    "Variable",
    "constant",
    "current_trace",
    "get_thread",
    "name_scope",
    "next_serial",
    "open_watches",
    "placeholder",
    "read_switch",
    "untraced",
    "value_for",
    "variable",
]
