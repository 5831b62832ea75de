"""graphdiff, the whole step compiled into a plan of NumPy calls, as where there is no C compiler."""

from benchmarks.peers import Step
from benchmarks.peers.graphdiff_compiled import planned
from benchmarks.problem import Array, Config, Labels, Weights


def make_step(config: Config, weights: Weights, x: Array, y: Labels) -> Step:
    """Return one training step."""
    return planned(config, weights, x, y, "numpy")
