"""What each way to a function's Jacobian costs: counted before running, measured, and checked for accuracy."""

from graphdiff.compare.crossover import Crossover
from graphdiff.compare.measure import compare_modes
from graphdiff.compare.page import page
from graphdiff.compare.results import Comparison, ModeResult

__all__ = ["Comparison", "Crossover", "ModeResult", "compare_modes"]


def __dir__() -> list[str]:
    return sorted(__all__)


Comparison.to_html = page  # type: ignore[method-assign,assignment]
