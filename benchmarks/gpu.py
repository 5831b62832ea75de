"""Everything that needs a GPU, in under eight minutes: the tests marked `gpu`, then training steps beside the peers'.

``python -m benchmarks.gpu --out DIR`` writes ``DIR/gpu.md``, ``DIR/gpu.json`` and the tests' log. Without a GPU it says
why there is none and exits with status 2; where tests fail, or systems disagree, with 1.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
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
GRACE = 20
"""Seconds in which tests that are stopped may tell what has failed."""
EXAMPLES = 60_000
"""Of an epoch."""
ROUNDS, BLOCK = 15, 0.02
"""Rounds of every contender, and seconds of a round's block of steps."""
AGREED, AGREE = 16, 0.02
"""Steps after which losses are compared, and their largest relative distance."""


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


def run_tests(folder: Path, tests: str = "tests/test_gpu.py", seconds: float = TESTS) -> bool:
    """Run the tests marked `gpu`; return whether they passed."""
    # Each test's kernels are compiled first, which takes longer than running them, and on every core.
    workers = str(max(1, min(8, (os.cpu_count() or 1) // 2)))
    command = [sys.executable, "-m", "pytest", tests, "-n", workers, "-q", "-rfEs", "--tb=short", "--durations=10"]
    # CuPy's sums by CUB are templates that take seconds to compile, each.
    quickly = {**os.environ, "CUPY_ACCELERATORS": "", "PYTHONFAULTHANDLER": "1"}
    with (folder / "tests.log").open("w") as log:
        running = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=quickly)
        try:
            return running.wait(seconds) == 0
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGINT)  # then pytest tells what has failed so far
            try:
                running.wait(GRACE)
            except subprocess.TimeoutExpired:
                running.kill()
            log.write(f"\nnot done after {seconds} s\n")
            return False


@dataclass
class Contender:
    """One system's training step, ready to be timed.

    Attributes
    ----------
    call, wait : callable
        What gives the device `steps` steps to do, and what waits until they are done.
    loss : float
        After `AGREED` steps.
    calls : int
        So many make a block.
    samples : list of float
        Seconds per step on the device, a block each.
    """

    call: Callable[[], Any]
    wait: Callable[[], Any]
    steps: int
    loss: float = 0.0
    calls: int = 1
    samples: list[float] = field(default_factory=list)

    def prepare(self) -> None:
        """Train until the losses are compared, and see how many calls make a block."""
        for _ in range(AGREED // self.steps):
            self.loss = float(self.call())
        self.wait()
        start = perf_counter()
        self.call()
        self.wait()
        self.calls = max(1, min(2000, round(BLOCK / max(perf_counter() - start, 1e-6))))

    def time(self) -> None:
        """Take a sample.

        CUDA events of the default stream around a block; the host waits for the system's own streams before the second,
        so that whatever they have been given is counted.
        """
        import cupy

        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        self.wait()
        cupy.cuda.Device().synchronize()
        begin.record()
        for _ in range(self.calls):
            self.call()
        self.wait()
        end.record()
        end.synchronize()
        self.samples.append(1e-3 * cupy.cuda.get_elapsed_time(begin, end) / (self.calls * self.steps))


def why_absent(package: str) -> str | None:
    """Return why a system cannot take part, or None: it is not installed, or a build that knows no GPU."""
    if find_spec(package) is None:
        return f"{package} is not installed"
    if package == "torch":
        import torch

        if not torch.cuda.is_available():
            return f"PyTorch {torch.__version__} sees no GPU"
    if package == "jax":
        import jax

        if jax.default_backend() != "gpu":
            return f"JAX {jax.__version__} sees no GPU"
    return None


def measure(case: Case) -> dict[str, Any]:
    """Measure every system that is installed on one case, in turns."""
    from benchmarks.gpu_peers import CONTENDERS

    weights, (x, y) = initial_weights(case.config), data(case.config)
    found: dict[str, Any] = {}
    ready: dict[str, Contender] = {}
    for name, (package, make, steps) in CONTENDERS.items():
        absent = why_absent(package)
        if absent is not None:
            found[name] = {"missing": absent}
            continue
        try:
            contender = Contender(*make(case.config, weights, x, y, case.precision), steps)
            contender.prepare()
        except Exception as error:  # one system's failure must not cost the others' figures
            found[name] = {"missing": f"{type(error).__name__}: {error}"[:300], "traceback": traceback.format_exc()}
            continue
        ready[name] = contender
    for _ in range(ROUNDS):
        for contender in ready.values():
            contender.time()
    for name, contender in ready.items():
        seconds, least = median(contender.samples), min(contender.samples)
        found[name] = {"seconds": seconds, "minimum": least, "loss": contender.loss}
    return {name: found[name] for name in CONTENDERS}


def launches(case: Case) -> Table:
    """Return how long the device takes for each launch of our step."""
    from benchmarks.gpu_peers import graphdiff_step

    step, given, _ = graphdiff_step(case.config, initial_weights(case.config), *data(case.config), case.precision)
    profile = step.plan(*given).profile(*given, repeats=5)
    table = Table(
        f"{case.config}, {case.precision}, launch by launch",
        ("launch", "µs", "GFLOP/s", "GB/s"),
        note="Each by itself, many times over: together they can overlap.",
    )
    for row in profile.rows():
        rates = f"{row['gflops']:,.0f}", f"{row['gbytes']:,.0f}"
        table.rows.append((row["instruction"], f"{row['microseconds']:.2f}", *rates))
    return table


def table_of(case: Case, found: dict[str, Any], device: str) -> Table:
    """Return the table of one case; `device` is the GPU's name."""
    least = bound(case.config, case.precision, device)
    table = Table(
        f"{case.config}, {case.precision}, a step with Adam",
        ("system", "median µs", "minimum µs", "÷ best peer", "% of the bound", f"loss after {AGREED} steps"),
        note=_goal(case) + ("" if least is None else f" Bound by flops and bytes: {microseconds(least)} µs."),
        bold="graphdiff",
    )
    peers = [entry["seconds"] for name, entry in found.items() if "graphdiff" not in name and "seconds" in entry]
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
    x = random.normal(size=(EXAMPLES, config.sizes[0])).astype(np.float32)
    y = random.integers(0, config.sizes[-1], len(x))
    table = Table(
        f"An epoch of {EXAMPLES:,} × 784 on the device, batches of 64, network C",
        ("system", "seconds", "÷ PyTorch eager", "last loss"),
        note="Least of three epochs after a first. Goal: at most 0.1 × PyTorch eager.",
        bold="graphdiff",
    )
    seconds: dict[str, float] = {}
    for name, package, make in (("PyTorch eager", "torch", torch_epoch), ("graphdiff", "cupy", graphdiff_epoch)):
        absent = why_absent(package)
        if absent is not None:
            table.rows.append((name, absent, "", ""))
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


class Report:
    """The report, written anew whenever something is added: what comes later may fail, or the time be up.

    Parameters
    ----------
    folder : Path
    tables : list of Table
        What it begins with.

    Attributes
    ----------
    figures : dict
        By case, then by system.
    complete : bool
        Whether everything could be measured.
    """

    def __init__(self, folder: Path, tables: list[Table]) -> None:
        self.folder, self.tables = folder, tables
        self.figures: dict[str, Any] = {}
        self.complete = True

    @property
    def text(self) -> str:
        """All tables in Markdown."""
        return "# Training steps on a GPU\n\n" + "\n".join(table.markdown() for table in self.tables)

    def add(self, table: Table, figures: dict[str, Any] | None = None) -> None:
        """Add a table and the figures behind it, and write everything."""
        self.tables.append(table)
        self.figures |= figures or {}
        (self.folder / "gpu.md").write_text(self.text)
        run = dict(row for row in self.tables[0].rows if len(row) == 2)
        (self.folder / "gpu.json").write_text(json.dumps({"run": run, "figures": self.figures}, indent=1))

    def attempt(self, title: str, make: Callable[[], Table]) -> None:
        """Add a table if it can be made; else why it cannot."""
        figures = None
        try:
            table = make()
        except Exception as error:  # one table's failure must not cost the others
            self.complete = False
            table = Table(f"{title}: {type(error).__name__}: {error}"[:300], ())
            figures = {title: {title: {"traceback": traceback.format_exc()}}}
        self.add(table, figures)


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
    run = environment(["graphdiff", "cupy-cuda13x", "cupy-cuda12x", "nvmath-python", "torch", "jax"])
    told = device_told()
    outcome = "skipped" if options.skip_tests else "passed" if passed else "FAILED, see tests.log"
    run.rows += [*told.items(), ("tests on the GPU", outcome)]
    report = Report(options.out, [run])
    for case in CASES:
        if perf_counter() - started > BUDGET - 60:
            report.add(Table(f"{case.config}: not measured, the time was up", ()))
            continue
        found = measure(case)
        table = table_of(case, found, told["device"])
        table.note += "" if agree(found) else " THE SYSTEMS DISAGREE: these times must not be compared."
        report.add(table, {str(case.config): found})
        report.complete &= all("seconds" in entry for name, entry in found.items() if "graphdiff" in name)
        if "seconds" in found["graphdiff"]:
            report.attempt(f"{case.config}, launch by launch", partial(launches, case))
    if perf_counter() - started < BUDGET - 60:
        report.attempt("An epoch", epochs)
    print(report.text)
    return 0 if passed and report.complete and all(map(agree, report.figures.values())) else 1


if __name__ == "__main__":
    sys.exit(main())
