"""Charts as inline SVG, coloured by the classes of the page that they stand in."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from graphdiff.text.quoting import html_text

__all__ = ["Axis", "Series", "bars", "dots", "lines"]

ROW = 30
LABELS = 150


@dataclass(frozen=True)
class Axis:
    """A logarithmic axis from `low` to `high` over pixels from `start` to `end`, with a name and a text per value."""

    low: float
    high: float
    start: float
    end: float
    name: str
    text: Callable[[float], str] = "{:g}".format

    def at(self, value: float) -> float:
        """Return the pixel of a value; values outside are put at the ends."""
        share = math.log(max(value, 1e-300) / self.low) / math.log(self.high / self.low)
        return self.start + (self.end - self.start) * min(1.0, max(0.0, share))

    def ticks(self) -> list[float]:
        """Return powers of ten, fewer where there would be many; also 2 and 5 of each where there would be few."""
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        steps = [10.0**power for power in range(first, last + 1, max(1, (last - first) // 6 + 1))]
        if len(steps) >= 3:
            return steps
        fine = [step * 10.0**power for power in range(first - 1, last + 1) for step in (1, 2, 5)]
        return [value for value in fine if self.low * 0.999 <= value <= self.high * 1.001]


@dataclass(frozen=True)
class Series:
    """Points of a line chart, joined or single, with the class that colours them and a name for the legend."""

    name: str
    kind: str
    points: Sequence[tuple[float, float]]
    joined: bool = True
    dashed: bool = False


def _svg(width: float, height: float, label: str, content: list[str]) -> str:
    head = f'<svg role="img" aria-label="{html_text(label)}" viewBox="0 0 {width:g} {height:g}">'
    return head + "".join(content) + "</svg>"


def _text(x: float, y: float, text: str, anchor: str = "start", kind: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{html_text(text)}</text>'


def _grid(axis: Axis, top: float, bottom: float) -> list[str]:
    found = []
    for tick in axis.ticks():
        x = axis.at(tick)
        found.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top:g}" y2="{bottom:g}"/>')
        found.append(_text(x, bottom + 16, axis.text(tick), "middle", "faint"))
    return [*found, _text((axis.start + axis.end) / 2, bottom + 34, axis.name, "middle", "faint")]


def bars(
    names: Sequence[str],
    values: Sequence[float],
    axis: Axis,
    label: str,
    spreads: Sequence[float] | None = None,
    marks: Sequence[float] | None = None,
    best: str = "",
) -> str:
    """Return horizontal bars with their values; whiskers for spreads, and a mark each for a second value."""
    height = ROW * len(names)
    content = _grid(axis, 0, height)
    for place, (name, value) in enumerate(zip(names, values, strict=True)):
        y = ROW * place + ROW / 2
        content.append(_text(LABELS - 10, y + 4, name, "end", "strong" if name == best else ""))
        end = axis.at(value)
        content.append(
            f'<rect class="{"best" if name == best else "measured"}" x="{axis.start:g}" y="{y - 8:.1f}" rx="2" '
            f'width="{max(1.5, end - axis.start):.1f}" height="16"><title>{html_text(f"{name}: {axis.text(value)}")}'
            "</title></rect>"
        )
        reach = end
        if spreads is not None and value > 0:
            low, high = axis.at(max(axis.low, value - spreads[place] / 2)), axis.at(value + spreads[place] / 2)
            content.append(f'<line class="whisker" x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
            reach = max(reach, high)
        if marks is not None and math.isfinite(marks[place]):
            x = axis.at(marks[place])
            content.append(
                f'<line class="predicted mark" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 11:.1f}" y2="{y + 11:.1f}"/>'
            )
            reach = max(reach, x)
        content.append(_text(reach + 7, y + 4, axis.text(value), "start", "strong" if name == best else ""))
    return _svg(axis.end + 80, height + 42, label, content)


def dots(names: Sequence[str], values: Sequence[float], axis: Axis, label: str) -> str:
    """Return a dot per value on a common axis."""
    height = ROW * len(names)
    content = _grid(axis, 0, height)
    for place, (name, value) in enumerate(zip(names, values, strict=True)):
        y = ROW * place + ROW / 2
        x = axis.at(value)
        content.append(_text(LABELS - 10, y + 4, name, "end"))
        content.append(f'<line class="grid" x1="{axis.start:g}" x2="{x:.1f}" y1="{y:g}" y2="{y:g}"/>')
        content.append(f'<circle class="measured" cx="{x:.1f}" cy="{y:g}" r="5"/>')
        content.append(_text(x + 10, y + 4, "exact" if value == 0 else f"{value:.0e}"))
    return _svg(axis.end + 80, height + 42, label, content)


def lines(
    series: Sequence[Series],
    across: Axis,
    up: Axis,
    label: str,
    markers: Sequence[tuple[float, float, str]],
    notes: Sequence[tuple[float, float, str]] = (),
) -> str:
    """Return a line chart on two logarithmic axes with marked places and notes; the legend is above."""
    top, bottom = up.end, up.start
    content = _grid(across, top, bottom)
    for tick in up.ticks():
        y = up.at(tick)
        content.append(f'<line class="grid" x1="{across.start:g}" x2="{across.end:g}" y1="{y:.1f}" y2="{y:.1f}"/>')
        content.append(_text(across.start - 8, y + 4, up.text(tick), "end", "faint"))
    content.append(_text(across.start - 44, top - 12, up.name, "start", "faint"))
    content += [_text(across.at(x), up.at(y), text, "middle", "faint") for x, y, text in notes]
    for place, each in enumerate(series):
        content += _drawn(each, across, up)
        content += _key(each, across.start + 175 * (place % 2), top - 62 + 18 * (place // 2))
    for place, (x, y, name) in enumerate(markers):
        left, height = across.at(x), up.at(y)
        content.append(f'<circle class="here" cx="{left:.1f}" cy="{height:.1f}" r="8"/>')
        content.append(_text(left, height + (26 if place else -15), name, "middle", "strong"))
    return _svg(across.end + 20, bottom + 42, label, content)


def _drawn(series: Series, across: Axis, up: Axis) -> list[str]:
    within = [(x, y) for x, y in series.points if across.low <= x <= across.high and up.low <= y <= up.high]
    points = [(across.at(x), up.at(y)) for x, y in within]
    if not series.joined:
        return [f'<circle class="{series.kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return [f'<polyline class="line {series.kind}" points="{path}"{_dash(series)}/>']


def _key(series: Series, x: float, y: float) -> list[str]:
    name = _text(x + 31, y + 4, series.name)
    if not series.joined:
        return [f'<circle class="{series.kind}" cx="{x + 12:g}" cy="{y:g}" r="4"/>', name]
    place = f'x1="{x:g}" x2="{x + 24:g}" y1="{y:g}" y2="{y:g}"'
    return [f'<line class="line {series.kind}" {place}{_dash(series)}/>', name]


def _dash(series: Series) -> str:
    return ' stroke-dasharray="5 4"' if series.dashed else ""
