"""Tensor: one node of the graph, and its leaves `variable`, `constant` and `placeholder`.

A node has a value as soon as its inputs have values. Nodes carry a serial number, and inputs always have smaller
ones, so that sorting by serial is a topological order. Operators and methods are attached in `graphdiff._links`.
"""

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
    read_switch,
    seed_streams,
    untraced,
    write_switch,
)
from graphdiff.tensor.leaves import Variable, constant, placeholder, value_for, variable
from graphdiff.tensor.node import Tensor

__all__ = [
    "DEPARTURES",
    "MOVES",
    "NO_ATTRIBUTES",
    "OBSERVERS",
    "SWITCHES",
    "TRACES",
    "WATCHES",
    "Tensor",
    "Variable",
    "constant",
    "current_trace",
    "name_scope",
    "next_serial",
    "numbered_streams",
    "placeholder",
    "read_switch",
    "seed_streams",
    "untraced",
    "value_for",
    "variable",
    "write_switch",
]
