"""How the code is built: its size, its functions, its types, and the Python calls behind an operation.

``python -m benchmarks.house --base REVISION`` measures this working tree and an earlier revision, without `--base` this
tree alone, and writes the table to ``results/house.md``. It needs mypy.

lines
    Logical ones: statements, of which a `def`, `class` or `if` is one besides those in it. Docstrings, comments and
    blank lines do not count, nor do stubs. The row of `graphdiff` is of the modules outside its packages.
functions
    Methods and nested functions are functions of their own. The body runs from the first statement after the docstring
    to the last line, nested functions included. Complexity is McCabe's: one, and one more for every `if`, loop,
    `except`, conditional expression, further operand of `and` or `or`, `if` of a comprehension, and `case` but
    `case _`.
mypy
    Reports by error code under flags stricter than the project's.
newcomer
    Physical lines of the files to read first.
calls
    Python calls with x and y of shape (3,); see `call_counts.py` for what counts as one. They include those of the
    backend, which are also listed apart.
"""

import argparse
import ast
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

from benchmarks.report import RESULTS, Table, publish
from benchmarks.revision import ROOT, environment, extract, short_name

FOLDERS = "graphdiff", "backends"
LONG = 40
STRICT = "--disallow-any-explicit", "--disallow-any-generics", "--warn-return-any", "--warn-unused-ignores"
CODES = "type-arg", "no-any-return", "unused-ignore"
# What a newcomer reads first; where a file is not there, the next of its line.
READ_FIRST = (
    ("op/kinds.py",),
    ("ops/elementwise.py",),
    ("differentiate/reverse.py",),
    ("differentiate/forward.py",),
    ("graph/walks.py", "graph.py"),
)
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


# Sources ----------------------------------------------------------------------------------------------------------


def sources(tree: Path) -> Iterator[Path]:
    """Yield the paths of the modules, relative to the tree."""
    for folder in FOLDERS:
        yield from sorted(path.relative_to(tree) for path in (tree / folder).rglob("*.py"))


def package(path: Path) -> str:
    """Return the top-level package of a module's path, such as graphdiff/ops, or graphdiff for a module outside one."""
    return "/".join(path.parts[:-1][:2])


def by_package(title: str, counts: Counter[str]) -> dict[str, float]:
    """Return counts by package, then the sums."""
    sums = {f"all of {folder}": sum(counts[name] for name in counts if name.startswith(folder)) for folder in FOLDERS}
    rows = dict(sorted(counts.items())) | sums | {"total": counts.total()}
    return {f"{title}: {name}": count for name, count in rows.items()}


def is_text(statement: ast.AST) -> bool:
    """Return whether a statement is a string standing alone, as a docstring does."""
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def logical_lines(module: ast.Module) -> int:
    """Count statements other than docstrings."""
    return sum(isinstance(node, ast.stmt) and not is_text(node) for node in ast.walk(module))


# Functions --------------------------------------------------------------------------------------------------------


def functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, FunctionNode]]:
    """Yield every function under a node with its qualified name."""
    for child in ast.iter_child_nodes(node):
        name = f"{prefix}.{child.name}" if isinstance(child, FunctionNode | ast.ClassDef) else prefix
        if isinstance(child, FunctionNode):
            yield name, child
        yield from functions(child, name)


def body_length(function: FunctionNode) -> int:
    """Return the number of source lines after the docstring."""
    body = function.body[is_text(function.body[0]) :]
    if not body:
        return 0
    starts = [body[0].lineno, *(each.lineno for each in getattr(body[0], "decorator_list", ()))]
    return (function.end_lineno or 0) - min(starts) + 1


def branches(node: ast.AST) -> int:
    """Return how many ways a node adds to the one through its function."""
    match node:
        case ast.If() | ast.IfExp() | ast.For() | ast.AsyncFor() | ast.While() | ast.ExceptHandler():
            return 1
        case ast.BoolOp():
            return len(node.values) - 1
        case ast.comprehension():
            return len(node.ifs)
        case ast.match_case():
            return not (isinstance(node.pattern, ast.MatchAs) and node.pattern.pattern is None and node.guard is None)
    return 0


def complexity(node: ast.AST) -> int:
    """Return McCabe's number less one; nested functions and classes are on their own account."""
    inner = (each for each in ast.iter_child_nodes(node) if not isinstance(each, FunctionNode | ast.ClassDef))
    return branches(node) + sum(map(complexity, inner))


def summary(found: list[FunctionNode]) -> dict[str, float]:
    """Return what there is to say of all functions together; a docstring alone is no body."""
    lengths = [length for length in map(body_length, found) if length]
    numbers = [1 + complexity(function) for function in found]
    return {
        "functions: number": len(found),
        "functions: median length": median(lengths),
        "functions: 90th percentile of length": quantiles(lengths, n=10)[-1],
        "functions: greatest length": max(lengths),
        f"functions: longer than {LONG}": sum(length > LONG for length in lengths),
        "functions: median complexity": median(numbers),
        "functions: greatest complexity": max(numbers),
    }


# What other programs tell -----------------------------------------------------------------------------------------


def mypy_reports(tree: Path) -> dict[str, float]:
    """Count mypy's reports by error code, those of explicit `Any` also by package."""
    command = [sys.executable, "-m", "mypy", "--no-pretty", "--no-incremental", *STRICT]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, env=environment(tree), check=False)
    if done.returncode not in (0, 1) or not done.stdout:
        raise RuntimeError(f"mypy in {tree}:\n{done.stdout}{done.stderr}")
    reports = re.findall(r"^(.+?):\d+: error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE)
    codes = Counter(code for _, code in reports)
    explicit = Counter(package(Path(path)) for path, code in reports if code == "explicit-any")
    others = codes.total() - explicit.total() - sum(codes[code] for code in CODES)
    return (
        by_package("explicit Any", explicit)
        | {f"mypy: {code}": codes[code] for code in CODES}
        | {"mypy: other reports": others}
    )


def call_counts(tree: Path) -> dict[str, float]:
    """Count Python calls, those of the backend also apart."""
    command = [sys.executable, "-P", str(ROOT / "benchmarks" / "call_counts.py"), str(tree)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(tree), check=True)
    rows: dict[str, float] = {}
    for name, found in json.loads(done.stdout).items():
        rows |= {f"calls: {name}": sum(found.values()), f"calls: {name}, in the backend": found["backends"]}
    return rows


# One tree, or two side by side ------------------------------------------------------------------------------------


def newcomers_path(tree: Path) -> dict[str, float]:
    """Return the lines of the files to read first; one that is elsewhere now is found by its name, if at all."""
    rows: dict[str, float] = {}
    for names in READ_FIRST:
        moved = sorted((tree / "graphdiff").rglob(Path(names[0]).name))
        paths = [*(tree / "graphdiff" / name for name in names if (tree / "graphdiff" / name).exists()), *moved]
        rows[f"newcomer: {' or '.join(names)}"] = len(paths[0].read_text("utf-8").splitlines()) if paths else 0
    return rows | {"newcomer: together": sum(rows.values())}


def measure(tree: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Measure everything; return figures by name, and the lengths of long functions."""
    lines: Counter[str] = Counter()
    ignores = Counter({f"mypy: type: ignore in {folder}": 0 for folder in FOLDERS})
    found: list[tuple[str, FunctionNode]] = []
    for path in sources(tree):
        text = (tree / path).read_text("utf-8")
        module = ast.parse(text)
        lines[package(path)] += logical_lines(module)
        ignores[f"mypy: type: ignore in {path.parts[0]}"] += len(re.findall(r"#\s*type:\s*ignore", text))
        found += functions(module, ".".join(path.with_suffix("").parts))
    figures = by_package("lines", lines) | summary([function for _, function in found]) | mypy_reports(tree) | ignores
    long = {name: float(body_length(function)) for name, function in found if body_length(function) > LONG}
    return figures | newcomers_path(tree) | call_counts(tree), long


def side_by_side(title: str, now: dict[str, float], before: dict[str, float] | None) -> Table:
    """Return a table of figures, beside earlier ones where there are any; what is in one alone is 0 in the other."""
    if before is None:
        return Table(title, ("measured", "now"), [(name, f"{figure:g}") for name, figure in now.items()])
    table = Table(title, ("measured", "before", "now", "ratio"))
    groups = list(dict.fromkeys(name.partition(":")[0] for name in now | before))
    for name in sorted(now | before, key=lambda name: groups.index(name.partition(":")[0])):
        old, new = before.get(name, 0), now.get(name, 0)
        table.rows.append((name, f"{old:g}", f"{new:g}", f"{new / old:.2f}" if old else ""))
    return table


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.house", description=__doc__.partition("\n")[0])
    parser.add_argument("--base", help="a revision to compare with")
    parser.add_argument("--out", type=Path, default=RESULTS / "house.md", help="the file to write (%(default)s)")
    arguments = parser.parse_args()
    before = long_before = None
    if arguments.base:
        with tempfile.TemporaryDirectory() as folder:
            tree = Path(folder).resolve() / "base"
            extract(arguments.base, tree)
            before, long_before = measure(tree)
    now, long = measure(ROOT)
    beside = f" beside {short_name(arguments.base)}" if arguments.base else ""
    tables = [
        side_by_side(f"This tree{beside}", now, before),
        side_by_side(f"Functions longer than {LONG} lines", long, long_before),
    ]
    tables[1].note = f"0: not longer than {LONG} lines, or not there." if arguments.base else ""
    publish("house", "How the code is built", tables, ["mypy"], write=arguments.out)


if __name__ == "__main__":
    main()
