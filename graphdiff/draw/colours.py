"""Colours: of kinds of nodes, of derivatives, and on a scale by size. All are told apart with any colour vision."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

from graphdiff.draw.picture import Swatch

__all__ = ["ARROWS", "STYLES", "TONES", "shade", "swatches"]

# The hues are Okabe and Ito's (Color universal design, 2008), lightened: text on them has a contrast above 4.5.
STYLES: dict[str, dict[str, str]] = {
    "variable": {"fillcolor": "#d8edfa", "color": "#0072b2", "style": "filled"},
    "placeholder": {"fillcolor": "#ffffff", "color": "#0072b2", "style": "filled,dashed"},
    "constant": {"fillcolor": "#f2f2f2", "color": "#8c8c8c", "style": "filled"},
    "op": {"fillcolor": "#fdf3d9", "color": "#b37700", "style": "filled,rounded"},
    "composite": {"fillcolor": "#fdf3d9", "color": "#b37700", "style": "filled,rounded", "peripheries": "2"},
    "output": {"fillcolor": "#dcf3e9", "color": "#00805c", "style": "filled,rounded", "penwidth": "2"},
    "backward": {"fillcolor": "#fdebe1", "color": "#b84b00", "style": "filled,rounded"},
    "stored": {"fillcolor": "#ffffff", "color": "#b84b00", "style": "filled,dashed"},
    "scope": {"fillcolor": "#ece8f7", "color": "#6a51a3", "style": "filled,rounded", "penwidth": "1.5"},
    "folded": {"fillcolor": "#ffffff", "color": "#8c8c8c", "style": "filled,dashed"},
}
TONES = {"plain": "#000000", "title": "#000000", "faint": "#555555", "tangent": "#00598c", "adjoint": "#9c3f00"}
"""The colour of text by what it says."""
ARROWS: dict[str, dict[str, str]] = {
    "plain": {"color": "#666666"},
    "forward": {"color": TONES["tangent"], "fontcolor": TONES["tangent"]},
    "reverse": {"color": TONES["adjoint"], "fontcolor": TONES["adjoint"], "dir": "back"},
    "backward": {"color": "#b84b00"},
    "stored": {"color": "#b84b00", "style": "dashed"},
    "folded": {"color": "#8c8c8c", "style": "dashed"},
}
# Nine steps of the colour map cividis (Nuñez, Anderton and Renslow, 2018) from light to dark.
_STEPS = ["#fee838", "#e1cc55", "#c3b369", "#a59c74", "#8e8978", "#666970", "#4a556c", "#213d6b", "#00224e"]
_DARK = 5
"""From this step on text is white."""
_NONE = ("#ffffff", "#000000")
_NOT_FINITE = ("#f2a6cf", "#000000")

Key = TypeVar("Key", bound=Hashable)


def _range(sizes: Mapping[Key, float]) -> tuple[float, float] | None:
    known = [math.log10(size) for size in sizes.values() if 0 < size < math.inf]
    return (min(known), max(known)) if known else None


def shade(sizes: Mapping[Key, float]) -> dict[Key, tuple[str, str]]:
    """Return the colours of ground and text for each size: darker for larger, on a logarithmic scale.

    Zero is white, and what is not finite has a colour of its own.
    """
    limits = _range(sizes)
    found: dict[Key, tuple[str, str]] = {}
    for key, size in sizes.items():
        if not math.isfinite(size):
            found[key] = _NOT_FINITE
        elif size <= 0 or limits is None:
            found[key] = _NONE
        else:
            low, high = limits
            # Where all are alike the middle is as good as any.
            share = (math.log10(size) - low) / (high - low) if high > low else 0.5
            step = round(share * (len(_STEPS) - 1))
            found[key] = _STEPS[step], "#ffffff" if step >= _DARK else "#000000"
    return found


def swatches(sizes: Mapping[Key, float], written: Callable[[float], str]) -> list[Swatch]:
    """Return the legend of `shade`: the scale's ends and its middle, zero and what is not finite where they occur.

    Parameters
    ----------
    sizes : mapping of key to float
    written : callable
        Returns a size as text.
    """
    limits = _range(sizes)
    found = [Swatch(_NONE[0], "0")] if any(size == 0 for size in sizes.values()) else []
    if limits is not None and limits[0] == limits[1]:
        found.append(Swatch(_STEPS[len(_STEPS) // 2], written(10 ** limits[0])))
    elif limits is not None:
        low, high = limits
        for step, colour in enumerate(_STEPS):
            told = step % 4 == 0
            value = 10 ** (low + (high - low) * step / (len(_STEPS) - 1))
            found.append(Swatch(colour, written(value) if told else ""))
    if not all(map(math.isfinite, sizes.values())):
        found.append(Swatch(_NOT_FINITE[0], "not finite"))
    return found
