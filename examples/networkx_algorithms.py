"""NetworkX's algorithms on a computational graph: its longest chain, its bottlenecks, its paths, and back."""

import networkx

import graphdiff as gd

x, w = gd.variable(0.5, name="x"), gd.variable(2.0, name="w")
h = gd.tanh(w * x).named("h")
y = (h * h + gd.exp(-h)).named("y")
graph = gd.Graph(y)
view = graph.to_networkx()  # nodes are serial numbers; parallel edges are kept: h * h has two
title = {key: held["name"] or held["op"] for key, held in view.nodes(data=True)}

print("longest chain:", " → ".join(title[key] for key in networkx.dag_longest_path(view)))

# Against the edges, from the output: every derivative that reaches x has come through x's dominators.
dominator, key, bottlenecks = networkx.immediate_dominators(view.reverse(), y.serial), x.serial, []
while key != y.serial:
    key = dominator[key]
    bottlenecks.append(title[key])
print("between y and x:", ", ".join(bottlenecks))

paths = sum(1 for _ in networkx.all_simple_edge_paths(view, x.serial, y.serial))
print("paths from x to y:", paths, "and as gd.paths counts them:", gd.paths(y, x).count)
print("the same value from the graph built again:", gd.Graph.from_networkx(view).evaluate() == y.value)
