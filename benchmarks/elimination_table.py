"""Multiplications for Jacobians of functions from the literature, in every order.

Run as ``python -m benchmarks.elimination_table``, it writes docs/results_elimination.md; ``--seconds`` sets the time
of each search.
"""

from __future__ import annotations

import json
import os
import runpy
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import click
import networkx as nx
from rich.console import Console
from rich.progress import track
from rich.table import Table

import graphdiff as gd
from graphdiff.elimination.scalar_graph import vertices_of

ROOT = Path(__file__).parent.parent
KINDS = ("vertex", "edge", "face")
COLUMNS = (
    "function",
    "n → m",
    "vertices",
    "edges",
    "forward",
    "reverse",
    "Markowitz, lowest",
    "Markowitz, highest",
    "search, vertices",
    "search, edges",
    "search, faces",
)

LION = [("x", "a"), ("y", "a"), ("a", "b"), ("a", "p"), ("b", "p"), ("b", "q"), ("b", "r"), ("b", "s")]

SOURCES = {
    "Roe flux, published graph": "the scalar graph in tests/data/jacobian_graphs.json",
    "robot arm, published graph": "the scalar graph in tests/data/jacobian_graphs.json",
    "lion graph": "U. Naumann; A. Griewank, A. Walther, Evaluating Derivatives, 2nd ed., SIAM 2008, section 9.2",
}

_PAGE = """# Multiplications for a Jacobian, in every order

Written by `python -m benchmarks.elimination_table --seconds {seconds:g}` on {day}, on one core; do not edit.

The functions are those of `examples/literature.py`. Inner vertices of the scalar graph are counted, and
multiplications as in the literature: those by 1 and -1 too. `gd.elimination_order` found all of it. A search has
{seconds:g} seconds; one of edges begins with the best vertex order, one of faces with the best order of edges.
**Bold**: fewest in its row. A dagger: known to be optimal, because the order meets a lower bound or everything was
tried. The bound is the sum of p·q over the vertices, where p vertex-disjoint paths lead to the vertex from inputs, and
q from it to outputs; it holds for edges and faces too.

{table}

Where edges and faces show no fewer than vertices, either the vertex order is optimal (a dagger), or no better one was
found in the time.

## Sources

{sources}
"""


def graphs() -> dict[str, tuple[Any, str]]:
    """Return the graphs with where they are from."""
    literature = runpy.run_path(str(ROOT / "examples" / "literature.py"))
    found = {problem.name: (literature["graph_of"](problem), problem.source) for problem in literature["PROBLEMS"]}
    published = json.loads((ROOT / "tests" / "data" / "jacobian_graphs.json").read_text("utf-8"))
    edges = [published["roe_flux_1d"]["edges"], published["robot_arm_6dof"]["edges"], LION]
    for (name, source), each in zip(SOURCES.items(), edges, strict=True):
        found[name] = nx.DiGraph([tuple(edge) for edge in each]), source
    return found


def row(name: str, graph: Any, seconds: float) -> list[str]:
    """Return the cells of one graph."""
    vertices = vertices_of(graph)
    inputs = sum(1 for before, after in zip(vertices.before, vertices.after) if after and not before)
    outputs = sum(1 for before, after in zip(vertices.before, vertices.after) if before and not after)
    plain = [gd.elimination_order(graph, method) for method in ("forward", "reverse", "markowitz")]
    plain.append(gd.elimination_order(graph, ties="highest"))
    searched = [gd.elimination_order(graph, "search", kind=kind, time_limit=seconds) for kind in KINDS]
    orders = [*plain, *searched]
    least = min(order.multiplications for order in orders)
    cells = []
    for order in orders:
        cell = f"{order.multiplications}{'†' if order.optimal else ''}"
        cells.append(f"**{cell}**" if order.multiplications == least else cell)
    size = [str(len(vertices.inner)), str(sum(map(len, vertices.after)))]
    return [name, f"{inputs} → {outputs}", *size, *cells]


@click.command()
@click.option("--seconds", default=3.0, show_default=True, help="For each search.")
@click.option("--only", help="Take the functions whose name has this in it, and write nothing.")
def main(seconds: float, only: str | None) -> None:
    """Count multiplications in every order."""
    os.environ["GRAPHDIFF_CACHE_DIR"] = tempfile.mkdtemp()  # what was found before must not help
    chosen = {name: each for name, each in graphs().items() if not only or only in name}
    rows = [row(name, graph, seconds) for name, (graph, _) in track(chosen.items(), "searching", transient=True)]
    table = Table(*COLUMNS)
    for cells in rows:
        table.add_row(*(cell.replace("**", "") for cell in cells))
    Console(width=150).print(table)
    if only:
        return
    lines = ["| " + " | ".join(cells) + " |" for cells in (COLUMNS, ["---"] + ["---:"] * (len(COLUMNS) - 1), *rows)]
    sources = "\n".join(f"- {name}: {source}" for name, (_, source) in chosen.items())
    path = ROOT / "docs" / "results_elimination.md"
    page = _PAGE.format(seconds=seconds, day=date.today().isoformat(), table="\n".join(lines), sources=sources)
    path.write_text(page, "utf-8")
    click.echo(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
