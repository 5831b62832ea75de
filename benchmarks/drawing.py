"""How long it takes to draw graphs of 1,000 nodes to SVG, and of 10,000 to the interactive page.

``python -m benchmarks.drawing`` draws each a few times and writes the tables to ``results/drawing.md``.
"""

import argparse
import random
from collections.abc import Callable
from time import perf_counter

import numpy as np

import graphdiff as gd
from benchmarks.harness import Timing
from benchmarks.report import Table, publish

GOALS = {"svg": (1_000, 2.0), "html": (10_000, 20.0)}
"""Nodes, and seconds to draw them in."""


def chain(count: int) -> gd.Tensor:
    """Return a chain of scalar nodes."""
    x = gd.variable(0.5, name="x")
    for step in range(count - 1):
        x = gd.tanh(x) if step % 2 else gd.sin(x)
    return x


def layered(count: int) -> gd.Tensor:
    """Return nodes in layers of ten, each of two nodes of the layer before."""
    choose = random.Random(0)
    layer = [gd.variable(0.1 * place) for place in range(10)]
    for _ in range((count - 20) // 10):
        layer = [choose.choice(layer) * choose.choice(layer) for _ in layer]
    return gd.stack(layer)


def crossed(count: int) -> gd.Tensor:
    """Return nodes each of two of the fifty before."""
    choose = random.Random(0)
    nodes = [gd.variable(0.1)]
    while len(nodes) < count:
        nodes.append(choose.choice(nodes[-50:]) + choose.choice(nodes[-50:]))
    return nodes[-1]


def network(count: int) -> gd.Tensor:
    """Return the loss of a network of named layers: about six nodes to a layer."""
    depth = count // 6
    model = gd.nn.MLP([4] * depth + [2], activation="tanh", in_features=4, seed=0)
    return gd.nn.softmax_cross_entropy(model(np.ones((8, 4), "float32")), np.zeros(8, "int64"))


def gradient(count: int) -> list[gd.Tensor]:
    """Return a network's loss and its gradient by every parameter: the backward graph."""
    loss = network(count // 4)
    adjoints = gd.adjoints(loss)
    return [loss, *(adjoints[leaf] for leaf in gd.Graph(loss).inputs)]


GRAPHS: dict[str, Callable[[int], object]] = {
    "chain": chain,
    "layers of ten": layered,
    "crossed at random": crossed,
    "network": network,
    "network and its gradient": gradient,
}


def sized(make: Callable[[int], object], nodes: int) -> object:
    """Return a graph of about so many nodes."""
    count = nodes
    for _ in range(4):
        count = max(30, round(count * nodes / len(gd.Graph(make(count)))))
    return make(count)


def times_table(form: str, repeats: int) -> Table:
    """Draw every kind of graph in one format."""
    nodes, goal = GOALS[form]
    title = f"{nodes:,} nodes to {'SVG' if form == 'svg' else 'the page'}, goal {goal:g} s"
    table = Table(title, ("graph", "nodes", "median s", "slowest s", "MB", "÷ goal"))
    for name, make in GRAPHS.items():
        drawn = sized(make, nodes)
        samples, size = [], 0
        for _ in range(repeats):
            start = perf_counter()
            size = len(gd.draw(drawn, max_nodes=None).render(form))
            samples.append(perf_counter() - start)
        timing = Timing(samples)
        seconds = f"{timing.median:.2f}", f"{max(samples):.2f}"
        table.rows.append(
            (name, f"{len(gd.Graph(drawn)):,}", *seconds, f"{size / 1e6:.1f}", f"{timing.median / goal:.2f}")
        )
    return table


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drawing", description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="drawings of each (default: %(default)s)")
    arguments = parser.parse_args()
    tables = [times_table(form, arguments.repeats) for form in GOALS]
    publish("drawing", "Time of a drawing", tables, ["graphdiff", "pygraphviz"], write=True)


if __name__ == "__main__":
    main()
