"""Whether this working tree is slower than an earlier revision, in what `train_step` and the other scripts measure.

``python -m benchmarks.regression --base REVISION`` runs both in fresh processes, in turns, and writes the table to
``results/regression.md``. The exit status is 1 where something has certainly become slower: where the 95 % bootstrap
interval of the ratio of medians lies above 1.02.
"""

from time import perf_counter as _now

_started = _now()
import graphdiff as gd  # noqa: E402 - its import is measured, before anything else is loaded

_IMPORTED = _now() - _started

import argparse  # noqa: E402
import json  # noqa: E402
import random  # noqa: E402
import shutil  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from functools import partial  # noqa: E402
from pathlib import Path  # noqa: E402
from statistics import median  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import track  # noqa: E402

from benchmarks.chains import graphdiff as scalar_chain  # noqa: E402
from benchmarks.functions import network, rosenbrock  # noqa: E402
from benchmarks.harness import calls_per_block, time_block  # noqa: E402
from benchmarks.peers import graphdiff_compiled, graphdiff_eager  # noqa: E402
from benchmarks.problem import CONFIGS, data, initial_weights  # noqa: E402
from benchmarks.report import Table, microseconds, publish  # noqa: E402
from benchmarks.revision import ROOT, environment, extract, short_name  # noqa: E402

ALLOWED = 1.02
BLOCKS, BLOCK_SECONDS = 7, 0.02
RESAMPLES = 10_000


# What one process measures ----------------------------------------------------------------------------------------


def calls() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield what is timed, by name."""
    for config in CONFIGS.values():
        for title, peer in (("compiled", graphdiff_compiled), ("eager", graphdiff_eager)):
            yield f"train_step: {config.name} {title}", peer.make_step(config, initial_weights(config), *data(config))
    yield "scalar_chain: 999 nodes", partial(scalar_chain, 333, False)
    yield "scalar_chain: 999 nodes, variables", partial(scalar_chain, 333, True)
    for inputs, outputs in ((1, 1000), (1000, 1), (30, 300), (300, 30), (300, 300)):
        case = network(inputs, 64, 64, outputs)
        yield f"jacobians: {inputs} → {outputs}", partial(gd.compile(gd.jacobian(case.function)), case.point)
    x, v = (np.random.default_rng(seed).normal(size=1000) for seed in (0, 1))
    yield "jacobians: Rosenbrock's gradient", partial(gd.compile(gd.grad(rosenbrock)), x)
    yield "jacobians: Hessian times vector", partial(gd.compile(lambda x, v: gd.hvp(rosenbrock, x, v)), x, v)
    yield "jacobians: Hessian", partial(gd.compile(gd.hessian(rosenbrock)), x)
    yield "jacobians: sparse Hessian", partial(gd.sparse_hessian(rosenbrock), x)
    yield "jacobians: eager gradient", partial(gd.grad(rosenbrock), x)


def fits() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the estimators' fits, planning included."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    for dtype in ("float64", "float32"):
        estimator = gd.train.MLPClassifier((100,), batch_size=200, max_iter=10, tol=0, n_iter_no_change=11)
        yield f"sklearn_digits: {dtype}", partial(estimator.fit, (X / 16).astype(dtype), y)


def measure() -> dict[str, float]:
    """Return seconds per call of everything, in this process."""
    import warnings

    warnings.simplefilter("ignore")
    found = {"import_time: graphdiff": _IMPORTED}
    for name, call in calls():
        for _ in range(3):  # a sparse derivative is planned when it is asked for again
            call()
        count = calls_per_block(call, BLOCK_SECONDS)
        found[name] = min(time_block(call, count) for _ in range(BLOCKS)) / count
    for name, call in fits():
        found[name] = min(time_block(call, 1) for _ in range(3))
    return found


# Both in turns ----------------------------------------------------------------------------------------------------


def run(code: Path, scripts: Path) -> dict[str, float]:
    """Measure in a fresh process, with graphdiff from `code`."""
    variables = environment(code)
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "benchmarks.regression", "--measure"]
    done = subprocess.run(command, cwd=scripts, capture_output=True, text=True, env=variables, check=False)
    if done.returncode:
        raise RuntimeError(f"with graphdiff from {code}:\n{done.stderr}")
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def interval(before: list[float], after: list[float]) -> tuple[float, float, float]:
    """Return the ratio of medians, and the ends of its 95 % bootstrap interval; processes are drawn in pairs."""
    pairs = np.array([before, after])
    drawn = pairs[:, np.random.default_rng(0).integers(0, len(before), (RESAMPLES, len(before)))]
    ratios = np.median(drawn[1], axis=1) / np.median(drawn[0], axis=1)
    lower, upper = np.quantile(ratios, (0.025, 0.975))
    return median(after) / median(before), float(lower), float(upper)


def compare(base: str, rounds: int) -> dict[str, tuple[list[float], list[float]]]:
    """Measure the base and this tree in turns; return seconds before and after by name."""
    samples: dict[str, tuple[list[float], list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        # The scripts are this tree's for both, in a folder without a graphdiff of its own.
        old, new, scripts = (Path(folder) / name for name in ("old", "new", "scripts"))
        extract(base, old)
        for part in ("graphdiff", "backends"):
            shutil.copytree(ROOT / part, new / part)
        shutil.copytree(ROOT / "benchmarks", scripts / "benchmarks")
        for code in (old, new):
            run(code, scripts)  # so that byte code is there
        sides = [(0, old), (1, new)]
        for _ in track(range(rounds), transient=True, disable=not Console().is_terminal):
            random.shuffle(sides)
            for side, code in sides:
                for name, seconds in run(code, scripts).items():
                    samples.setdefault(name, ([], []))[side].append(seconds)
    return samples


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.regression", description=__doc__.partition("\n")[0])
    parser.add_argument("--base", default="HEAD", help="the revision to compare with (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=15, help="processes of each (default: %(default)s)")
    parser.add_argument("--measure", action="store_true", help="measure this process alone and print JSON")
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure()))
        return 0
    table = Table(
        f"This tree beside {short_name(arguments.base)}",
        ("measured", "before µs", "now µs", "ratio", "95 % interval", f"above {ALLOWED}"),
        note=f"Medians of the quickest blocks of {arguments.rounds} processes each, in turns; below 1 is quicker now.",
    )
    slower = 0
    for name, (before, after) in compare(arguments.base, arguments.rounds).items():
        ratio, lower, upper = interval(before, after)
        slower += lower > ALLOWED
        verdict = "SLOWER" if lower > ALLOWED else ""
        times = microseconds(median(before)), microseconds(median(after))
        table.rows.append((name, *times, f"{ratio:.3f}", f"{lower:.3f} to {upper:.3f}", verdict))
    publish("regression", "Slower than before?", [table], ["numpy"], write=arguments.rounds >= 15)
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
