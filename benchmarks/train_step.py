"""How long one training step of a small network takes, in graphdiff and in its peers.

``python -m benchmarks.train_step`` runs every configuration with every system that is installed, in turns, and
writes the tables to ``results/train_step.md``.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from benchmarks.harness import DisagreementError, Timing, alternate
from benchmarks.peers import PEERS, MakeStep, Peer, Step
from benchmarks.peers.numpy_plain import make_step as make_plain_step
from benchmarks.problem import CONFIGS, Config, data, initial_weights
from benchmarks.report import Table, microseconds, publish

STEPS_COMPARED = 10
TOLERANCE = 1e-4
SUBJECTS = "graphdiff_compiled", "graphdiff_eager"


@dataclass(frozen=True)
class Result:
    """What one configuration gave.

    Parameters
    ----------
    config : Config
    timings : dict of str to Timing
        By contender.
    first_calls : dict of str to float
        Seconds of the very first step by contender, tracing and compiling included.
    loss : float
        The loss after ten steps.
    deviation : float
        The largest relative deviation of a contender from the float64 reference.
    """

    config: Config
    timings: dict[str, Timing]
    first_calls: dict[str, float]
    loss: float
    deviation: float


def reference_losses(config: Config) -> list[float]:
    """Return the losses of the first steps, computed in float64."""
    x, y = data(config)
    weights = [(w.astype(np.float64), b.astype(np.float64)) for w, b in initial_weights(config)]
    step = make_plain_step(config, weights, x.astype(np.float64), y)  # type: ignore[arg-type]
    return [float(step()) for _ in range(STEPS_COMPARED)]


def compare_losses(config: Config, losses: dict[str, list[float]]) -> tuple[float, float]:
    """Check that all contenders train alike.

    Parameters
    ----------
    config : Config
    losses : dict of str to list of float
        The losses of the first ten steps by contender.

    Returns
    -------
    loss, deviation : float
        The reference's last loss, and the largest relative deviation from it.

    Raises
    ------
    DisagreementError
        If a contender's loss deviates by more than the tolerance at any step.
    """
    reference = np.array(reference_losses(config))
    deviations = {name: float(np.max(np.abs(np.array(own) / reference - 1))) for name, own in losses.items()}
    wrong = [f"{name} by {value:.1e}" for name, value in deviations.items() if not value <= TOLERANCE]
    if wrong:
        raise DisagreementError(f"{config}: losses deviate from the reference: {', '.join(wrong)}")
    return float(reference[-1]), max(deviations.values())


def start_up(makers: dict[str, MakeStep]) -> None:
    """Let every system do one step of another network, so that no first call includes the library's own start."""
    config = Config("start", (3, 5, 4), 6)
    for make_step in makers.values():
        float(make_step(config, initial_weights(config), *data(config))())


def measure(config: Config, makers: dict[str, MakeStep], *, rounds: int, block: float) -> Result:
    """Run one configuration with every contender in turns."""
    x, y = data(config)
    steps: dict[str, Step] = {}
    losses: dict[str, list[float]] = {}
    first_calls: dict[str, float] = {}
    for name, make_step in makers.items():
        step = steps[name] = make_step(config, initial_weights(config), x, y)
        start = perf_counter()
        first_loss = step()
        first_calls[name] = perf_counter() - start
        losses[name] = [float(first_loss), *(float(step()) for _ in range(STEPS_COMPARED - 1))]
    loss, deviation = compare_losses(config, losses)
    timings = alternate(steps, rounds=rounds, block=block, title=str(config))
    return Result(config, timings, first_calls, loss, deviation)


def config_table(result: Result, baseline: str, absent: Sequence[Peer]) -> Table:
    """Return one configuration's table, quickest contender first."""
    table = Table(
        str(result.config),
        ("system", "median µs", "minimum µs", "spread", f"÷ {baseline}", "first call ms"),
        note=f"All agree: loss {result.loss:.6f} after {STEPS_COMPARED} steps, "
        f"largest relative deviation from float64 {result.deviation:.0e}.",
        bold=baseline,
    )
    for name, timing in sorted(result.timings.items(), key=lambda item: item[1].median):
        table.rows.append(
            (
                name,
                microseconds(timing.median),
                microseconds(timing.minimum),
                f"{timing.spread:.1%}",
                f"{timing.ratio(result.timings[baseline]):.2f}",
                f"{result.first_calls[name] * 1e3:.1f}",
            )
        )
    table.rows += [(peer.name, "not installed", "", "", "", "") for peer in absent]
    return table


def median_table(results: Sequence[Result]) -> Table:
    """Return median and minimum of every contender in every configuration."""
    table = Table("Median / minimum µs per step", ("system", *(result.config.name for result in results)))
    for name in results[0].timings:
        timings = [result.timings[name] for result in results]
        table.rows.append((name, *(f"{microseconds(t.median)} / {microseconds(t.minimum)}" for t in timings)))
    return table


def ratio_table(subject: str, results: Sequence[Result]) -> Table:
    """Return the subject's median divided by every other contender's."""
    table = Table(
        f"{subject} ÷ peer",
        ("peer", *(result.config.name for result in results)),
        note="Ratios of medians: below 1, graphdiff is quicker.",
    )
    for name in results[0].timings:
        if name != subject:
            ratios = [result.timings[subject].ratio(result.timings[name]) for result in results]
            table.rows.append((name, *(f"{ratio:.2f}" for ratio in ratios)))
    return table


def names(text: str) -> list[str]:
    """Split a comma-separated option."""
    return [name for name in text.split(",") if name]


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train_step", description=__doc__.partition("\n")[0])
    parser.add_argument("--configs", type=names, default=list(CONFIGS), help=f"of {','.join(CONFIGS)} (default: all)")
    parser.add_argument("--peers", type=names, help=f"of {','.join(PEERS)} (default: all but torch_compile)")
    parser.add_argument("--baseline", default="numpy_tuned", help="what the ratios divide by (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=40, help="blocks timed per contender (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="few and short rounds, for a first impression")
    parser.add_argument(
        "--write", action="store_true", help="write the results file even though this is not a full run"
    )
    arguments = parser.parse_args()
    for given, known in ((arguments.configs, CONFIGS), (arguments.peers or [], PEERS), ([arguments.baseline], PEERS)):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    return arguments


def main() -> None:
    """Measure and report."""
    arguments = parse()
    full = not (arguments.quick or arguments.peers or len(arguments.configs) < len(CONFIGS))
    wanted = [PEERS[name] for name in arguments.peers] if arguments.peers else [p for p in PEERS.values() if p.default]
    if arguments.baseline not in [peer.name for peer in wanted]:
        wanted.append(PEERS[arguments.baseline])
    present = [peer for peer in wanted if peer.installed]
    absent = [peer for peer in wanted if not peer.installed]

    makers = {peer.name: peer.load() for peer in present}
    start_up(makers)
    rounds, block = (8, 0.02) if arguments.quick else (arguments.rounds, 0.05)
    results = [measure(CONFIGS[name], makers, rounds=rounds, block=block) for name in arguments.configs]

    tables = [config_table(result, arguments.baseline, absent) for result in results]
    tables.append(median_table(results))
    tables += [ratio_table(subject, results) for subject in SUBJECTS if subject in makers]
    packages = dict.fromkeys(["numpy", *(peer.package for peer in present)])
    publish("train_step", "One training step", tables, packages, write=full or arguments.write)


if __name__ == "__main__":
    main()
