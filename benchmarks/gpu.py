"""Everything that needs a GPU, in under eight minutes: the tests marked `gpu`, then training steps beside the peers'.

``python -m benchmarks.gpu --out DIR`` writes ``DIR/gpu.md``, ``DIR/gpu.json`` and the tests' log. Without a GPU it says
why there is none and exits with status 2; where tests fail, or systems disagree, with 1.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.problem import CONFIGS, Config, data, initial_weights
from benchmarks.report import Table, environment, microseconds
from benchmarks.roofline import bound

BUDGET = 460.0
"""Seconds for everything."""
TESTS = 200
"""Seconds that the tests may take."""
ROUNDS, BLOCK = 15, 0.02
"""Rounds of every contender, and seconds of a round's block of steps."""
AGREE = 0.02
"""Largest relative distance of losses after ten steps."""


@dataclass(frozen=True)
class Case:
    """One network in one precision, and what it should reach.

    Attributes
    ----------
    microseconds, ratio, share : float or None
        The goals: for a step, for its time divided by that of the best peer, for the bound divided by its time.
    """

    config: Config
    precision: str
    microseconds: float | None
    ratio: float
    share: float | None = None


CASES = (
    Case(CONFIGS["B"], "float32", 25.0, 0.5),
    Case(CONFIGS["C"], "float32", 25.0, 0.5),
    Case(CONFIGS["D"], "float32", 40.0, 0.6),
    Case(Config("E", (784, 2048, 2048, 10), 512), "tf32", 110.0, 0.85, 0.5),
    Case(Config("F", (1024, 4096, 4096, 1000), 4096), "bf16", None, 1.0, 0.6),
)


def loose() -> None:
    """Undo what `benchmarks` settles for the CPU: compilers may use every core, and JAX the GPU."""
    os.environ.pop("XLA_FLAGS", None)
    os.environ["JAX_PLATFORMS"] = "cuda"
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    if sys.platform == "linux":
        os.sched_setaffinity(0, range(os.cpu_count() or 1))


def run_tests(folder: Path) -> bool:
    """Run the tests marked `gpu`; return whether they passed."""
    # Each test's kernels are compiled first, which takes longer than running them, and on every core.
    workers = str(max(1, min(8, (os.cpu_count() or 1) // 2)))
    command = [sys.executable, "-m", "pytest", "tests/test_gpu.py", "-n", workers, "-q", "--durations=10"]
    with (folder / "tests.log").open("w") as log:
        try:
            done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, timeout=TESTS, check=False)
        except subprocess.TimeoutExpired:
            log.write(f"\nnot done after {TESTS} s\n")
            return False
    return done.returncode == 0


def timed(step: Callable[[], Any], wait: Callable[[], Any]) -> list[float]:
    """Return seconds per step on the device, a sample per round.

    CUDA events of the default stream around a block of steps; the host waits for the system's own streams before the
    second, so that whatever they have been given is counted.
    """
    import cupy

    step()
    wait()
    start = perf_counter()
    step()
    wait()
    count = max(1, min(2000, round(BLOCK / max(perf_counter() - start, 1e-6))))
    samples = []
    for _ in range(ROUNDS):
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        wait()
        cupy.cuda.Device().synchronize()
        begin.record()
        for _ in range(count):
            step()
        wait()
        end.record()
        end.synchronize()
        samples.append(1e-3 * cupy.cuda.get_elapsed_time(begin, end) / count)
    return samples


def measure(case: Case) -> dict[str, Any]:
    """Measure every contender that is installed on one case."""
    from benchmarks.gpu_peers import CONTENDERS

    weights, (x, y) = initial_weights(case.config), data(case.config)
    found: dict[str, Any] = {}
    for name, (package, make) in CONTENDERS.items():
        if find_spec(package) is None:
            found[name] = {"missing": f"{package} is not installed"}
            continue
        try:
            step, wait = make(case.config, weights, x, y, case.precision)
            losses = [float(step()) for _ in range(10)]
            samples = timed(step, wait)
        except Exception as error:  # one system's failure must not cost the others' figures
            found[name] = {"missing": f"{type(error).__name__}: {error}"[:300]}
            continue
        found[name] = {"seconds": median(samples), "minimum": min(samples), "loss": losses[-1]}
    return found


def table_of(case: Case, found: dict[str, Any], device: str) -> Table:
    """Return the table of one case; `device` is the GPU's name."""
    least = bound(case.config, case.precision, device)
    table = Table(
        f"{case.config}, {case.precision}, a step with Adam",
        ("system", "median µs", "minimum µs", "÷ best peer", "% of the bound", "loss after 10 steps"),
        note=_goal(case) + ("" if least is None else f" Bound by flops and bytes: {microseconds(least)} µs."),
        bold="graphdiff",
    )
    peers = [entry["seconds"] for name, entry in found.items() if name != "graphdiff" and "seconds" in entry]
    for name, entry in found.items():
        if "missing" in entry:
            table.rows.append((name, entry["missing"], "", "", "", ""))
            continue
        ratio = f"{entry['seconds'] / min(peers):.2f}" if peers else ""
        share = "" if least is None else f"{least / entry['seconds']:.0%}"
        times = microseconds(entry["seconds"]), microseconds(entry["minimum"])
        table.rows.append((name, *times, ratio, share, f"{entry['loss']:.4f}"))
    return table


def _goal(case: Case) -> str:
    time = [] if case.microseconds is None else [f"at most {case.microseconds:g} µs"]
    share = [] if case.share is None else [f"at least {case.share:.0%} of the bound"]
    return f"Goal: {', '.join([*time, f'{case.ratio:g} × the best of the others', *share])}."


def agree(found: dict[str, Any]) -> bool:
    """Whether all systems have come to the same loss."""
    losses = [entry["loss"] for entry in found.values() if "loss" in entry]
    return not losses or max(losses) - min(losses) <= AGREE * max(map(abs, losses)) + 1e-3


def epochs() -> Table:
    """Return the time of an epoch of 60,000 examples that lie on the device, beside PyTorch's."""
    from benchmarks.gpu_peers import graphdiff_epoch, torch_epoch

    config = CONFIGS["C"]
    random = np.random.default_rng(0)
    x = random.normal(size=(60_000, config.sizes[0])).astype(np.float32)
    y = random.integers(0, config.sizes[-1], len(x))
    table = Table(
        "An epoch of 60,000 × 784 on the device, batches of 64, network C",
        ("system", "seconds", "÷ PyTorch eager", "last loss"),
        note="Least of three epochs after a first. Goal: at most 0.1 × PyTorch eager.",
        bold="graphdiff",
    )
    seconds: dict[str, float] = {}
    for name, package, make in (("PyTorch eager", "torch", torch_epoch), ("graphdiff", "cupy", graphdiff_epoch)):
        if find_spec(package) is None:
            table.rows.append((name, f"{package} is not installed", "", ""))
            continue
        epoch = make(config, initial_weights(config), x, y)
        epoch()
        taken = []
        for _ in range(3):
            start = perf_counter()
            loss = epoch()
            taken.append(perf_counter() - start)
        seconds[name] = min(taken)
        ratio = f"{seconds[name] / seconds['PyTorch eager']:.3f}" if "PyTorch eager" in seconds else ""
        table.rows.append((name, f"{seconds[name]:.4f}", ratio, f"{loss:.4f}"))
    return table


def device_told() -> dict[str, str]:
    """Return the device, its driver and the versions of the CUDA libraries."""
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    return {
        "device": properties["name"].decode(),
        "driver": str(cupy.cuda.runtime.driverGetVersion()),
        "CUDA runtime": str(cupy.cuda.runtime.runtimeGetVersion()),
    }


def main() -> int:
    """Run everything, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the report goes")
    parser.add_argument("--skip-tests", action="store_true", help="measure only")
    options = parser.parse_args()
    from graphdiff_cupy import CupyBackend

    reason = CupyBackend.why_unavailable()
    if reason is not None:
        print(f"There is nothing to measure: {reason}. {CupyBackend.install}", file=sys.stderr)
        return 2
    started = perf_counter()
    loose()
    options.out.mkdir(parents=True, exist_ok=True)
    passed = options.skip_tests or run_tests(options.out)
    tables, figures, told = [], {}, device_told()
    for case in CASES:
        if perf_counter() - started > BUDGET - 60:
            tables.append(Table(f"{case.config}: not measured, the time was up", ("",)))
            continue
        found = figures[str(case.config)] = measure(case)
        tables.append(table_of(case, found, told["device"]))
        tables[-1].note += "" if agree(found) else " THE SYSTEMS DISAGREE: these times must not be compared."
    if perf_counter() - started < BUDGET - 60:
        tables.append(epochs())
    run = environment(["graphdiff", "cupy-cuda13x", "cupy-cuda12x", "nvmath-python", "torch", "jax"])
    run.rows += list(told.items())
    outcome = "skipped" if options.skip_tests else "passed" if passed else "FAILED, see tests.log"
    run.rows.append(("tests on the GPU", outcome))
    text = "# Training steps on a GPU\n\n" + "\n".join(table.markdown() for table in [*tables, run])
    (options.out / "gpu.md").write_text(text)
    (options.out / "gpu.json").write_text(json.dumps({"run": told, "figures": figures}, indent=1))
    print(text)
    return 0 if passed and all(agree(found) for found in figures.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
