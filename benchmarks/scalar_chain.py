"""What one scalar node costs: built, differentiated and freed, in graphdiff and its peers, and how that grows.

``python -m benchmarks.scalar_chain`` compares a chain of 10⁴ nodes with the peers', then measures graphdiff's
phases at 10⁴ and 10⁶ nodes, and writes the tables to ``results/scalar_chain.md``.
"""

import argparse
import gc
import math
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from time import perf_counter

from benchmarks.chains import CHAINS, NODES_PER_LINK, B, W, X, build, reference
from benchmarks.harness import DisagreementError, Timing, alternate
from benchmarks.report import Table, microseconds, publish

SHORT, LONG, LONG_IN_QUICK_RUN = 3_333, 333_333, 33_333  # links
TOLERANCE = 1e-9


def check(name: str, derivative: float, links: int) -> None:
    """Raise if a derivative of the chain is wrong."""
    if not math.isclose(derivative, reference(links), rel_tol=TOLERANCE):
        raise DisagreementError(f"{name}: derivative {derivative!r} instead of {reference(links)!r}")


def peers_table(names: list[str], *, variables: bool, rounds: int, collector: bool) -> Table:
    """Measure build and backward of the short chain by every system in turns."""
    present = {name: partial(CHAINS[name], SHORT, variables) for name in names if find_spec(name)}
    for name, run in present.items():
        check(name, run(), SHORT)
    operands = "variables" if variables else "Python literals"
    nodes = SHORT * NODES_PER_LINK
    title = f"Build, backward and free, per node of {nodes:,}; second operands are {operands}"
    timings = alternate(present, rounds=rounds, block=0.1, collector=collector, title=operands)
    baseline = timings.get("torch")
    table = Table(title, ("system", "median µs", "minimum µs", "spread", "÷ torch"), bold="torch")
    for name, timing in sorted(timings.items(), key=lambda item: item[1].median):
        per_node = timing.median / nodes, timing.minimum / nodes
        ratio = f"{timing.ratio(baseline):.2f}" if baseline else ""
        table.rows.append((name, *map(microseconds, per_node), f"{timing.spread:.1%}", ratio))
    table.rows += [(name, "not installed", "", "", "") for name in names if name not in present]
    return table


def phases(links: int) -> dict[str, float]:
    """Return seconds per node of building, both modes of differentiation, and freeing, in graphdiff."""
    import graphdiff as gd

    x, w, b = gd.variable(X), gd.variable(W), gd.variable(B)
    times = [perf_counter()]
    y = build(x, w, b, gd.tanh, links)
    times.append(perf_counter())
    y.backward()
    times.append(perf_counter())
    tangents = gd.tangents(y, {x: 1.0})
    times.append(perf_counter())
    reverse, forward = float(x.grad), float(tangents[y])
    check("reverse mode", reverse, links)
    check("forward mode", forward, links)
    start = perf_counter()
    del y, tangents
    freed = perf_counter() - start
    durations = [*(end - begin for begin, end in pairwise(times)), freed]
    names = "build", "reverse mode", "forward mode", "free graph and tangents"
    return {name: seconds / (links * NODES_PER_LINK) for name, seconds in zip(names, durations, strict=True)}


def growth_table(long: int, *, rounds: int, collector: bool) -> Table:
    """Measure graphdiff's phases on the short and the long chain in turns."""
    samples: dict[int, list[dict[str, float]]] = {SHORT: [], long: []}
    phases(SHORT)
    for _ in range(rounds):
        for links, repeats in ((SHORT, 10), (long, 1)):
            for _ in range(repeats):
                gc.collect()
                if not collector:
                    gc.disable()
                try:
                    samples[links].append(phases(links))
                finally:
                    gc.enable()
    table = Table(
        f"graphdiff per node by length of the chain, garbage collector {'on' if collector else 'off'}",
        ("phase", *(f"{links * NODES_PER_LINK:,} nodes: µs" for links in samples), "ratio"),
    )
    for phase in samples[SHORT][0]:
        short, large = (Timing([sample[phase] for sample in samples[links]]) for links in (SHORT, long))
        table.rows.append((phase, microseconds(short.median), microseconds(large.median), f"{large.ratio(short):.2f}"))
    return table


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scalar_chain", description=__doc__.partition("\n")[0])
    parser.add_argument("--peers", default=",".join(CHAINS), help="systems to compare (default: %(default)s)")
    parser.add_argument("--collector", action="store_true", help="leave the garbage collector on in the comparison")
    parser.add_argument("--quick", action="store_true", help="few rounds, 10⁵ nodes instead of 10⁶, no results file")
    arguments = parser.parse_args()
    names = arguments.peers.split(",")
    if unknown := set(names) - set(CHAINS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(CHAINS)}")

    rounds = 5 if arguments.quick else 20
    tables = [
        peers_table(names, variables=variables, rounds=rounds, collector=arguments.collector)
        for variables in (True, False)
    ]
    if "graphdiff" in names and find_spec("graphdiff"):
        long, rounds = (LONG_IN_QUICK_RUN, 2) if arguments.quick else (LONG, 5)
        tables += [growth_table(long, rounds=rounds, collector=collector) for collector in (False, True)]
    packages = ["numpy", *(name for name in names if find_spec(name))]
    full = not arguments.quick and names == list(CHAINS) and not arguments.collector
    publish("scalar_chain", "Chains of scalar nodes", tables, packages, write=full)


if __name__ == "__main__":
    main()
