"""Tables for the terminal and, with command, date, machine and versions, for a Markdown file under `results/`."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table as RichTable

RESULTS = Path(__file__).parent / "results"


@dataclass
class Table:
    """A table whose first column names things and whose other columns hold numbers.

    Parameters
    ----------
    title : str
    columns : sequence of str
    rows : list of sequences of str
        Cells, already formatted.
    note : str
        A line below the table.
    bold : str
        The name of the row to stress, usually the baseline of the ratios.
    text : bool
        Whether the other columns hold text instead.
    """

    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    note: str = ""
    bold: str = ""
    text: bool = False

    def show(self, console: Console) -> None:
        """Print the table."""
        table = RichTable(box=box.SIMPLE_HEAD, show_header=any(self.columns))
        for index, column in enumerate(self.columns):
            table.add_column(column, justify="right" if index and not self.text else "left", no_wrap=index == 0)
        for row in self.rows:
            table.add_row(*row, style="bold" if row[0] == self.bold else None)
        console.print(f"[bold]{self.title}[/bold]", table, sep="\n", end="")
        if self.note:
            console.print(f"  [dim]{self.note}[/dim]", highlight=False)
        console.print()

    def markdown(self) -> str:
        """Return the table in Markdown."""
        rule = ["---", *["---" if self.text else "---:"] * (len(self.columns) - 1)]
        rows = [[f"**{row[0]}**" if row[0] == self.bold else row[0], *row[1:]] for row in self.rows]
        cells = (self.columns, rule, *rows) if self.columns else ()
        lines = ["| " + " | ".join(row) + " |" for row in cells]
        return "\n".join([f"## {self.title}", "", *lines, *(["", self.note] if self.note else []), ""])


def cpu_model() -> str:
    """Return the processor's name as the system gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def package_version(package: str) -> str:
    """Return the installed version of `package`, or say why there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "from the source tree" if package == "graphdiff" else "not installed"


def blas() -> str:
    """Return the BLAS library NumPy was built with and, of OpenBLAS, the processor whose kernels it runs.

    The environment variable OPENBLAS_CORETYPE overrides OpenBLAS's own choice and can halve its speed. OpenBLAS tells
    the choice when it is loaded, so a second process loads it.
    """
    library = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    command = [sys.executable, "-c", "import numpy"]
    environ = {**os.environ, "OPENBLAS_VERBOSE": "2"}
    output = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stderr
    cores = [line.removeprefix("Core: ") for line in output.splitlines() if line.startswith("Core: ")]
    kernels = f", kernels for {cores[0]}" if cores else ""
    forced = " (forced by OPENBLAS_CORETYPE)" if "OPENBLAS_CORETYPE" in os.environ else ""
    return f"{library['name']} {library['version']}{kernels}{forced}"


def environment(packages: Iterable[str]) -> Table:
    """Return command, date, machine and versions as a table.

    Parameters
    ----------
    packages : iterable of str
        The packages whose versions matter.
    """
    module = sys.modules["__main__"].__spec__
    command = ["python", "-m", module.name] if module else ["python", sys.argv[0]]
    return Table(
        "Run",
        ("", ""),
        [
            ("command", " ".join([*command, *sys.argv[1:]])),
            ("date", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
            ("machine", f"{cpu_model()} ({platform.machine()}), {os.cpu_count()} cores, {platform.system()}"),
            ("threads", "one"),
            ("BLAS of NumPy", blas()),
            ("Python", f"{platform.python_implementation()} {platform.python_version()}"),
            *((package, package_version(package)) for package in packages),
        ],
        text=True,
    )


def publish(name: str, title: str, tables: Sequence[Table], packages: Iterable[str], *, write: bool | Path) -> None:
    """Print the tables and, on request, write them to `results/<name>.md` or another file.

    Parameters
    ----------
    name : str
        The file's name without extension.
    title : str
        Its heading.
    tables : sequence of Table
        The results.
    packages : iterable of str
        The packages whose versions are recorded.
    write : bool or Path
        Whether to write the file, or where else.
    """
    console = Console()
    if not console.is_terminal:
        console.width = 110
    every = [*tables, environment(packages)]
    for table in every:
        table.show(console)
    if write:
        path = write if isinstance(write, Path) else RESULTS / f"{name}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"# {title}\n\n" + "\n".join(table.markdown() for table in every))
        console.print(f"written to {path}")


def microseconds(seconds: float) -> str:
    """Format a duration in µs with three significant digits or whole numbers."""
    value = seconds * 1e6
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
