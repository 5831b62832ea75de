"""What `import graphdiff` costs beside `import numpy`, and which heavy modules it pulls in.

``python -m benchmarks.import_time`` imports both in fresh processes, in turns, and writes the tables to
``results/import_time.md``.
"""

import argparse
import os
import subprocess
import sys
from importlib.util import find_spec

from rich.console import Console
from rich.progress import track

from benchmarks.harness import Timing
from benchmarks.report import Table, publish

HEAVY = "networkx", "graphviz", "pygraphviz", "rich", "scipy", "matplotlib", "click", "safetensors", "sklearn"


def run(code: str) -> str:
    """Run Python code in a fresh process and return what it prints."""
    # As after an installation, byte code is kept: compiling the sources each time would be measured with the import.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout


def import_seconds(module: str) -> float:
    """Return the time of one import in a fresh process, the interpreter's start not included."""
    return float(run(f"from time import perf_counter as t; s = t(); import {module}; print(t() - s)"))


def imported_by(module: str) -> set[str]:
    """Return the modules that importing `module` loads."""
    return set(run(f"import sys, {module}; print(*sys.modules)").split())


def times_table(modules: list[str], repeats: int) -> Table:
    """Time the imports in turns."""
    samples: dict[str, list[float]] = {module: [] for module in modules}
    for module in modules:
        import_seconds(module)
    for _ in track(range(repeats), transient=True, disable=not Console().is_terminal):
        for module, own in samples.items():
            own.append(import_seconds(module))
    timings = {module: Timing(own) for module, own in samples.items()}
    table = Table("Import", ("module", "median ms", "minimum ms", "spread", "÷ numpy"), bold="numpy")
    for module, timing in timings.items():
        milliseconds = f"{timing.median * 1e3:.1f}", f"{timing.minimum * 1e3:.1f}"
        table.rows.append((module, *milliseconds, f"{timing.spread:.1%}", f"{timing.ratio(timings['numpy']):.2f}"))
    return table


def modules_table(module: str) -> Table:
    """List what an import loads."""
    loaded = imported_by(module)
    heavy = [name for name in HEAVY if name in loaded]
    beyond = loaded - imported_by("numpy")
    own = {name for name in beyond if name.partition(".")[0].startswith(module)}
    table = Table(f"Modules loaded by importing {module}", ("", ""), text=True)
    table.rows += [
        ("heavy modules", ", ".join(heavy) or "none"),
        ("of its own", str(len(own))),
        ("others beyond NumPy's", ", ".join(sorted({name.partition(".")[0] for name in beyond - own})) or "none"),
    ]
    return table


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.import_time", description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=60, help="imports of each (default: %(default)s)")
    parser.add_argument("--also", default="", help="more modules to time, for instance torch,jax")
    arguments = parser.parse_args()
    modules = ["numpy", "graphdiff", *filter(None, arguments.also.split(","))]
    present = [module for module in modules if find_spec(module)]
    table = times_table(present, arguments.repeats)
    table.rows += [(module, "not installed", "", "", "") for module in modules if module not in present]
    tables = [table, *(modules_table("graphdiff") for module in present if module == "graphdiff")]
    publish("import_time", "Time of an import", tables, present, write="graphdiff" in present)


if __name__ == "__main__":
    main()
