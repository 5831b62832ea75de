"""What a drawing consists of before any layout: boxes with lines of text, arrows between them, scopes around."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

__all__ = ["Arrow", "Box", "Key", "Line", "Picture", "Scope", "Swatch", "grouped"]

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

Scope = tuple[str, ...]
"""The names of the clusters around a box, outermost first."""


@dataclass(frozen=True)
class Line:
    """One line of text.

    Attributes
    ----------
    text : str
        Plain text: whoever writes a format escapes it.
    tone : {"title", "plain", "faint", "tangent", "adjoint"}
        What it is; the writer chooses weight and colour.
    """

    text: str
    tone: str = "plain"


@dataclass
class Box:
    """A node, a collapsed scope, or a note that stands for several nodes.

    Attributes
    ----------
    style : str
        A key of `graphdiff.draw.colours.STYLES`.
    scope : tuple of str
    fill : (str, str) or None
        Colours of the ground and of the text, instead of the style's.
    hint : str
        Shown where the pointer rests: what the lines had no room for.
    """

    lines: list[Line]
    style: str
    scope: Scope = ()
    fill: tuple[str, str] | None = None
    hint: str = ""


@dataclass
class Arrow:
    """An edge.

    Attributes
    ----------
    origin, target : str
        Keys of boxes.
    kind : {"plain", "forward", "reverse", "backward", "stored", "folded"}
        "reverse" is drawn against its direction: adjoints flow from the target to the origin.
    """

    origin: str
    target: str
    label: str = ""
    kind: str = "plain"


@dataclass(frozen=True)
class Swatch:
    """A colour of the legend with the figure that it stands for; an empty figure continues the one before."""

    colour: str
    figure: str


@dataclass
class Picture:
    """Everything that is drawn.

    Attributes
    ----------
    boxes : dict of str to Box
        By key, origins before targets wherever the graph has no cycle.
    arrows : list of Arrow
    legend : (str, list of Swatch) or None
    notes : list of str
        Written below.
    """

    rankdir: str = "LR"
    boxes: dict[str, Box] = field(default_factory=dict)
    arrows: list[Arrow] = field(default_factory=list)
    legend: tuple[str, list[Swatch]] | None = None
    notes: list[str] = field(default_factory=list)


def grouped(pairs: Iterable[tuple[Key, Value]]) -> dict[Key, list[Value]]:
    """Return the values of each key."""
    found: dict[Key, list[Value]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found
