"""The pictures of docs/comparing.md; run as ``python examples/comparing_pictures.py docs/images``."""

import sys
from pathlib import Path
from typing import Any

import checkpoint_memory as memory
import literature
import matplotlib as mpl
import networkx as nx
import numpy as np
from matplotlib.figure import Figure

import graphdiff as gd
from graphdiff.differentiate.revolve import recomputed_steps

BLUE, ORANGE, GREEN, PINK, GREY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#6b7280"
FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else ".")

# The same picture makes the same file.
mpl.rcParams.update(
    {"svg.hashsalt": "graphdiff", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
)


def save(figure: Figure, name: str) -> None:
    figure.savefig(FOLDER / name, bbox_inches="tight", metadata={"Date": None}, facecolor="white")
    print(f"wrote {name}")


def network(inputs: int, outputs: int) -> Any:
    """A network of four tanh layers, of the given sizes."""
    generator = np.random.default_rng(0)
    widths = (inputs, 64, 64, 64, outputs)
    weights = [gd.constant(generator.normal(size=(m, n)) / 8) for n, m in zip(widths, widths[1:])]

    def function(x: Any) -> Any:
        for weight in weights:
            x = gd.tanh(weight @ x)
        return x

    return function


def crossover() -> None:
    """Predicted and measured time of whole Jacobians over the number of inputs, with 30 outputs."""
    sizes = [1, 3, 10, 30, 100, 300]
    figure = Figure(figsize=(6.4, 4))
    axes = figure.subplots()
    modes = {"batched forward": BLUE, "batched reverse": ORANGE}
    reports = [
        gd.compare_modes(network(n, 30), np.full(n, 0.1), modes=list(modes), seconds=0.05, crossover=False)
        for n in sizes
    ]
    scale = float(np.median([report.calibration for report in reports]))
    for place, (mode, colour) in enumerate(modes.items()):
        results = [report.results[place] for report in reports]
        name = mode.removeprefix("batched ")
        counted = [1e6 * scale * result.cost.seconds for result in results]
        axes.loglog(sizes, counted, "--", color=colour, label=f"{name}, predicted from counts")
        axes.loglog(sizes, [1e6 * result.median for result in results], "o", color=colour, label=f"{name}, measured")
    axes.axvline(30, color=GREY, linewidth=0.8)
    axes.set(xlabel="inputs n; the outputs are 30", ylabel="µs for the whole Jacobian")
    axes.legend(frameon=False)
    save(figure, "comparing_crossover.svg")


PLACES = {"x": (0, 1), "y": (0, -1), "a": (1.3, 0), "b": (2.4, -0.5), "p": (3.6, 1.5)} | {
    name: (3.6, 0.5 - place) for place, name in enumerate("qrs")
}


def lion_panel(axes: Any, edges: set[tuple[str, str]], title: str, fresh: set[tuple[str, str]]) -> None:
    graph = nx.DiGraph(sorted(edges))
    colours = {"x": BLUE, "y": BLUE, "a": GREY, "b": GREY}
    nx.draw_networkx(
        graph,
        {node: PLACES[node] for node in graph},
        ax=axes,
        node_color=[colours.get(node, GREEN) for node in graph],
        edge_color=[ORANGE if edge in fresh else "#333333" for edge in graph.edges],
        width=[2.0 if edge in fresh else 1.0 for edge in graph.edges],
        font_color="white",
        font_size=9,
        node_size=280,
    )
    axes.set_title(title, fontsize=10)
    axes.set(xlim=(-0.4, 4), ylim=(-3, 2))
    axes.axis("off")


def lion() -> None:
    """The lion graph, eliminated vertex by vertex and edge by edge."""
    start = {("x", "a"), ("y", "a"), ("a", "b"), ("a", "p"), ("b", "p"), ("b", "q"), ("b", "r"), ("b", "s")}
    orders = {
        "vertices": [("a", "vertex a"), ("b", "vertex b")],
        "edges": [(("b", "p", "back"), "edge b → p"), ("a", "vertex a"), ("b", "vertex b")],
    }
    figure = Figure(figsize=(11, 5))
    grid = figure.subplots(2, 4)
    for row, (kind, steps) in zip(grid, orders.items()):
        edges, total = set(start), 0
        lion_panel(row[0], edges, f"by {kind}\n", set())
        for axes, (step, name) in zip(row[1:], steps):
            before = set(edges)
            edges, cost = eliminated(edges, step)
            total += cost
            plural = f"{cost} multiplication{'s' if cost > 1 else ''}"
            lion_panel(axes, edges, f"{name}\n{plural}, {total} in all", edges - before)
        for axes in row[1 + len(steps) :]:
            axes.axis("off")
    save(figure, "comparing_lion.svg")


def eliminated(edges: set[tuple[str, str]], step: Any) -> tuple[set[tuple[str, str]], int]:
    """Return the edges after a vertex, or an edge at its back, is eliminated, and the multiplications."""
    if isinstance(step, str):
        tails, heads = [t for t, h in edges if h == step], [h for t, h in edges if t == step]
        gone = {edge for edge in edges if step in edge}
    else:
        tails, heads = [t for t, h in edges if h == step[0]], [step[1]]
        gone = {step[:2]}
    return (edges - gone) | {(t, h) for t in tails for h in heads}, len(tails) * len(heads)


def orders() -> None:
    """Multiplications in several orders, relative to the better of forward and reverse."""
    methods = {"forward": BLUE, "reverse": ORANGE, "Markowitz": PINK, "search": GREEN}
    figure = Figure(figsize=(8, 5))
    axes = figure.subplots()
    for place, problem in enumerate(literature.PROBLEMS):
        graph = literature.graph_of(problem)
        counts = [
            gd.elimination_order(graph, method.lower(), time_limit=0.5, cache=False).multiplications
            for method in methods
        ]
        for offset, (colour, count) in enumerate(zip(methods.values(), counts)):
            axes.barh(place + 0.2 * (offset - 1.5), count / min(counts[:2]), height=0.18, color=colour)
    axes.set_yticks(range(len(literature.PROBLEMS)), [problem.name for problem in literature.PROBLEMS])
    axes.invert_yaxis()
    axes.axvline(1, color=GREY, linewidth=0.8)
    axes.set(xlabel="multiplications, relative to the better of forward and reverse")
    handles = [mpl.patches.Patch(color=colour, label=method) for method, colour in methods.items()]
    axes.legend(handles=handles, frameon=False, loc="lower right")
    save(figure, "comparing_orders.svg")


def checkpoints() -> None:
    """Peak memory against steps computed again, for a chain of 32 steps."""
    figure = Figure(figsize=(6.4, 4))
    axes = figure.subplots()
    parts = [memory.measured(memory.in_parts(length)) for length in memory.PARTS]
    binomial = [memory.measured(gd.checkpoint_chain([memory.step] * memory.STEPS, s)) for s in memory.SNAPSHOTS]
    snapshots = np.arange(2, memory.STEPS + 1)
    best = [recomputed_steps(memory.STEPS, int(s)) for s in snapshots]
    spare = binomial[0][0] - memory.SNAPSHOTS[0]
    axes.plot(best, snapshots + spare, color=GREEN, label=f"binomial optimum: snapshots + {spare:.0f} states")
    axes.plot(
        *zip(*[(again, held) for held, again in binomial]), "o", color=GREEN, label="gd.checkpoint_chain, measured"
    )
    axes.plot(
        *zip(*[(again, held) for held, again in parts]),
        "s",
        color=ORANGE,
        label="equal parts of so many steps, measured",
    )
    for length, (held, again) in zip(memory.PARTS, parts):
        side = (-14, -10) if length == 4 else (6, 3)
        axes.annotate(f"{length}", (again, held), side, textcoords="offset points", color=ORANGE)
    held, again = memory.measured(memory.plain)
    axes.plot([again], [held], "D", color=GREY, label="everything kept")
    axes.set(
        xlabel=f"steps computed again, of {memory.STEPS}", ylabel="peak memory, states", yscale="log", xlim=(-5, None)
    )
    axes.set_yticks([10, 20, 50, 100, 200], ["10", "20", "50", "100", "200"])
    axes.legend(frameon=False)
    save(figure, "comparing_memory.svg")


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    lion()
    orders()
    checkpoints()
    crossover()
