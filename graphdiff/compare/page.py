"""The report on the modes as a page of its own: verdicts, time, crossover, memory, accuracy, all figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from graphdiff.compare import charts
from graphdiff.compare.crossover import Crossover
from graphdiff.compare.results import Comparison, ModeResult
from graphdiff.compare.terms import CHEAP_GRADIENT, COLUMNS
from graphdiff.text.quoting import html_text
from graphdiff.text.units import bytes_text, seconds_text

__all__ = ["page"]

SMALLEST_ERROR = 1e-17

WIDE, NARROW = 780.0, 400.0
"""Where the axes of bars end, in pixels, in a whole and in half a page."""


def page(report: Comparison) -> str:
    """Return the report as a page of its own with plots; it loads nothing, and follows the choice of light or dark."""
    ran = [each for each in report.results if not each.note]
    sections = [
        _verdicts(report),
        _section(
            "Time for the whole Jacobian",
            "Bars are medians, whiskers the middle half of all runs, upright marks predictions from counts.",
            _time(report, ran),
        ),
    ]
    if report.crossover:
        sections.append(_crossover(report, report.crossover))
    accuracy = charts.dots(
        [each.mode for each in ran if math.isfinite(each.error)],
        [each.error for each in ran if math.isfinite(each.error)],
        charts.Axis(SMALLEST_ERROR, 1.0, charts.LABELS, NARROW, "relative error", "{:.0e}".format),
        "error per mode",
    )
    sections.append(
        '<div class="pair">'
        + _section("Memory", "What a pass holds at its fullest, the value included.", _memory(report))
        + _section("Accuracy", f"The largest difference from {report.reference}.", accuracy)
        + "</div>"
    )
    sections.append(_section("All figures", "", _table(report)))
    return _PAGE.format(
        title=html_text(report.title()),
        name=html_text(report.name),
        size=f"{report.inputs:,} → {report.outputs:,}",
        machine=html_text(report.machine),
        calibration=f"{report.calibration:.2f}",
        sections="\n".join(sections),
    )


def _section(title: str, note: str, content: str) -> str:
    return f"<section><h2>{html_text(title)}</h2><p class=faint>{html_text(note)}</p>{content}</section>"


def _verdicts(report: Comparison) -> str:
    agree = "as predicted" if report.cheapest == report.fastest else f"predicted: {report.cheapest}"
    ran = [each for each in report.results if math.isfinite(each.median)]
    slowest = max(ran, key=lambda each: each.median)
    fastest = min(each.median for each in ran if each.mode == report.fastest)
    cards = [
        ("Fastest here", report.fastest, agree),
        ("The wrong choice costs", f"{slowest.median / fastest:,.1f} ×", f"{slowest.mode}, beside the fastest"),
        (
            "One gradient costs",
            f"{report.counted_ratio:.2f} ×",
            f"the function, counted (bound: {CHEAP_GRADIENT:.0f}); {report.gradient_ratio:.2f} × in measured time",
        ),
    ]
    return "<div class=cards>" + "".join(_card(*map(html_text, card)) for card in cards) + "</div>"


def _card(title: str, value: str, note: str) -> str:
    return f"<div class=card><span class=faint>{title}</span><strong>{value}</strong><span>{note}</span></div>"


def _axis(values: Sequence[float], name: str, text: Callable[[float], str], end: float) -> charts.Axis:
    low, high = min(values), max(values)
    return charts.Axis(low / 2, max(high * 1.2, low * 4), charts.LABELS, end, name, text)


def _time(report: Comparison, ran: Sequence[ModeResult]) -> str:
    predicted = [report.predicted(each) for each in ran]
    medians = [each.median for each in ran]
    axis = _axis([*medians, *predicted], "time, logarithmic", seconds_text, WIDE)
    spreads = [each.spread for each in ran]
    return charts.bars([each.mode for each in ran], medians, axis, "time per mode", spreads, predicted, report.fastest)


def _memory(report: Comparison) -> str:
    counted = [(each.mode, each.cost.peak_memory) for each in [report.value, *report.results] if each.cost]
    names, sizes = zip(*[(mode, size) for mode, size in counted if size], strict=True)
    axis = _axis(sizes, "bytes alive at once, counted", bytes_text, NARROW)
    return charts.bars(names, sizes, axis, "peak memory per mode")


def _crossover(report: Comparison, crossover: Crossover) -> str:
    return (
        '<div class="pair">'
        + _section(
            "Time against directions",
            "One batched pass of k directions. Forward mode takes n of them, reverse mode m.",
            _against_directions(report, crossover),
        )
        + _section(
            "Forward or reverse",
            "Where both cost alike for functions like this one, of n inputs and m outputs.",
            _over_sizes(report, crossover),
        )
        + "</div>"
    )


def _against_directions(report: Comparison, crossover: Crossover) -> str:
    most = max(crossover.forward.directions[-1], report.inputs, report.outputs, 2)
    grid = [float(value) for value in np.geomspace(1, most, 40)]
    series, times = [], []
    for name, kind, line in (("tangents", "forward", crossover.forward), ("adjoints", "reverse", crossover.reverse)):
        counted = [(k, report.calibration * line.predicted(k)) for k in grid]
        series.append(charts.Series(f"{name}, predicted", kind, counted, dashed=True))
        series.append(charts.Series(f"{name}, measured", kind, list(zip(line.directions, line.seconds)), joined=False))
        times += [time for _, time in counted] + line.seconds
    up = charts.Axis(min(times) / 1.5, max(times) * 1.5, 330, 80, "time", seconds_text)
    rings = [
        (report.inputs, crossover.forward.measured(report.inputs), f"n = {report.inputs}"),
        (report.outputs, crossover.reverse.measured(report.outputs), f"m = {report.outputs}"),
    ]
    across = charts.Axis(1, most, 60, 480, "directions k in one pass")
    return charts.lines(series, across, up, "time against the number of directions", rings)


def _over_sizes(report: Comparison, crossover: Crossover) -> str:
    alike = [crossover.inputs_for(report.outputs, measured) for measured in (False, True)]
    most = max(report.inputs, report.outputs, 10, *(min(each, 5e3) for each in alike))
    reach = float(10 ** math.ceil(math.log10(most * 1.5)))
    outputs = [float(value) for value in np.geomspace(1, reach, 200)]
    curves = [
        charts.Series(
            f"alike, {'measured' if measured else 'predicted'}",
            "here" if measured else "predicted",
            [(crossover.inputs_for(m, measured), m) for m in outputs],
            dashed=not measured,
        )
        for measured in (False, True)
    ]
    across, up = charts.Axis(1, reach, 60, 480, "inputs n"), charts.Axis(1, reach, 330, 80, "outputs m")
    high, low = reach**0.93, reach**0.06
    notes = [(reach**0.2, high, "forward cheaper"), (reach**0.8, low, "reverse cheaper")]
    label = "which mode is cheaper, over inputs and outputs"
    return charts.lines(curves, across, up, label, [(report.inputs, report.outputs, "this function")], notes)


def _table(report: Comparison) -> str:
    head = "".join(f"<th>{each}</th>" for each in COLUMNS)
    rows = []
    for row in report.cells():
        kind = ' class="strong"' if row[0] == report.fastest else ""
        rows.append(f"<tr{kind}>" + "".join(f"<td>{html_text(cell)}</td>" for cell in row) + "</tr>")
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title><style>
:root{{color-scheme:light dark;--page:#fbfbf9;--card:#fff;--ink:#1d2129;--faint:#636a75;--rule:#e3e4e0;
--blue:#0072b2;--orange:#c2500a;--green:#007a5a}}
@media (prefers-color-scheme:dark){{:root{{--page:#14171c;--card:#1c2027;--ink:#e6e8eb;--faint:#9aa2ad;--rule:#333943;
--blue:#56b4e9;--orange:#f0924a;--green:#2fc39a}}}}
body{{font:15px/1.5 system-ui,sans-serif;max-width:68rem;margin:2.5rem auto;padding:0 1.2rem;color:var(--ink);
background:var(--page)}}
h1{{font-size:1.7rem;line-height:1.2;margin:0}}h2{{font-size:1.1rem;margin:0}}
h1 code{{font-size:.95em}}p{{margin:.2rem 0 .8rem}}.faint{{color:var(--faint)}}
section,.card{{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:1rem 1.3rem}}
section{{margin:1rem 0}}
.cards,.pair{{display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(15rem,1fr))}}
.pair{{grid-template-columns:repeat(auto-fit,minmax(24rem,1fr))}}.pair section{{margin:0}}
.pair,.cards{{margin:1rem 0}}
.card{{display:flex;flex-direction:column}}.card strong{{font-size:1.5rem}}
svg{{width:100%;height:auto;display:block}}svg text{{font:13px system-ui,sans-serif;fill:var(--ink);
paint-order:stroke;stroke:var(--card);stroke-width:4px;stroke-linejoin:round}}
svg text.faint{{fill:var(--faint);font-size:12px}}svg text.strong,tr.strong{{font-weight:650}}
.grid{{stroke:var(--rule)}}.whisker{{stroke:var(--ink);stroke-width:1.5}}.line{{fill:none;stroke-width:2.2}}
rect.measured,circle.measured{{fill:var(--blue)}}rect.best{{fill:var(--green)}}.mark{{stroke-width:3}}
line.predicted,polyline.predicted{{stroke:var(--orange)}}
line.forward,polyline.forward{{stroke:var(--blue)}}circle.forward{{fill:var(--blue)}}
line.reverse,polyline.reverse{{stroke:var(--orange)}}circle.reverse{{fill:var(--orange)}}
line.here,polyline.here{{stroke:var(--green)}}circle.here{{fill:none;stroke:var(--green);stroke-width:2.5}}
.scroll{{overflow-x:auto}}table{{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}}
td,th{{padding:.35rem .6rem;text-align:right;border-bottom:1px solid var(--rule)}}
th{{color:var(--faint);font-weight:500}}
td:first-child,th:first-child{{text-align:left}}
</style></head><body>
<header><h1>The Jacobian of <code>{name}</code>, {size}</h1>
<p class=faint>{machine}. Predictions are counted operations, scaled by {calibration} to this machine.</p></header>
{sections}
</body></html>
"""
