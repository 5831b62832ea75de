"""Is the cheapest mode the one that was predicted? Forty functions, each mode estimated, then measured, compiled.

``python -m benchmarks.testbed`` prints a row per function and two figures of agreement, and writes them to
``results/testbed.md``. The modes of one function are measured in turns; a function's figure for a mode is the quickest
round, which is what other programs on the machine disturb least.
"""

import argparse
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np

import graphdiff as gd
from benchmarks.functions import BED, Case
from benchmarks.harness import DisagreementError, alternate
from benchmarks.report import Table, microseconds, publish

MODES = ("forward", "reverse", "elimination")
ALIKE = 1.10
"""Times that differ by less than this factor are the same."""


@dataclass(frozen=True)
class Row:
    """Seconds of one function, by mode."""

    estimated: dict[str, float]
    measured: dict[str, float]
    chosen: str

    @property
    def best(self) -> float:
        """The quickest mode's seconds."""
        return min(self.measured.values())

    @property
    def loss(self) -> float:
        """What the mode that ``auto`` takes costs in terms of the quickest."""
        return self.measured[self.chosen] / self.best

    @property
    def agrees(self) -> bool:
        """Whether the mode predicted to be the cheapest, which ``auto`` takes, is the quickest or as quick."""
        return self.loss <= ALIKE

    @property
    def pairs(self) -> list[bool]:
        """Whether estimates order two modes as measurements do, for every two that differ."""
        found = []
        for one, other in combinations(MODES, 2):
            ratio = self.measured[one] / self.measured[other]
            if not 1 / ALIKE <= ratio <= ALIKE:
                found.append((ratio > 1) == (self.estimated[one] > self.estimated[other]))
        return found


def measure(case: Case, rounds: int, block: float) -> Row:
    """Estimate and measure the modes of one function, after checking that they agree."""
    calls = {mode: partial(gd.compile(gd.jacobian(case.function, mode=mode)), case.point) for mode in MODES}
    values = {mode: np.asarray(call()) for mode, call in calls.items()}
    scale = np.abs(values["reverse"]).max()
    for mode, value in values.items():
        if np.abs(value - values["reverse"]).max() > 1e-12 * scale:
            raise DisagreementError(f"{mode} differs from reverse mode")
    choice = gd.jacobian(case.function).explain(case.point)
    timings = alternate(calls, rounds=rounds, block=block)
    return Row(
        {mode: choice.costs[mode].seconds for mode in MODES},
        {mode: timing.minimum for mode, timing in timings.items()},
        choice.mode,
    )


def figures(rows: dict[str, Row]) -> Table:
    """Return how far estimates and measurements agree."""
    agreeing = sum(row.agrees for row in rows.values())
    pairs = [pair for row in rows.values() for pair in row.pairs]
    worst = max(rows, key=lambda name: rows[name].loss)
    return Table(
        "Agreement",
        ("", ""),
        [
            ("functions whose predicted mode is the quickest, or within 10 % of it", f"{agreeing} of {len(rows)}"),
            ("pairs of modes, of those more than 10 % apart, in the estimated order", f"{sum(pairs)} of {len(pairs)}"),
            ("the most that mode auto costs in terms of the quickest mode", f"{rows[worst].loss:.2f} × ({worst})"),
            ("rates", gd.rates.current().source),
        ],
        text=True,
    )


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.testbed", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few and short rounds, for a first impression")
    parser.add_argument("--calibrate", action="store_true", help="with rates measured on this machine")
    options = parser.parse_args()
    if options.calibrate:
        gd.rates.calibrate()
    rows = {name: measure(case, *((5, 0.002) if options.quick else (15, 0.01))) for name, case in BED.items()}
    table = Table(
        "Jacobians, compiled",
        ("function", *MODES, "auto takes", "auto ÷ quickest"),
        note="Measured µs, in brackets estimated ones.",
    )
    for name, row in rows.items():
        cells = [f"{microseconds(row.measured[mode])} ({microseconds(row.estimated[mode])})" for mode in MODES]
        table.rows.append((name, *cells, row.chosen, f"{row.loss:.2f}"))
    tables = [table, figures(rows)]
    publish("testbed", "Which mode is the cheapest", tables, ["numpy", "graphdiff"], write=not options.quick)


if __name__ == "__main__":
    main()
