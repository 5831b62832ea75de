"""The gallery: what `gd.draw` draws, from a lecture's expression to a network whose gradient vanishes.

``python gallery.py FOLDER`` writes the pictures there as SVG; ``--format png`` or ``pdf`` as those.
"""

import argparse
from pathlib import Path

import numpy as np

import graphdiff as gd

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("folder", nargs="?", default="gallery", type=Path)
parser.add_argument("--format", choices=["svg", "png", "pdf", "dot"], default="svg")
arguments = parser.parse_args()
arguments.folder.mkdir(parents=True, exist_ok=True)
random = np.random.default_rng(0)
nn = gd.nn


def save(name, drawing):
    print("wrote", drawing.save(arguments.folder / f"{name}.{arguments.format}"))


# A lecture's expression: e = (a + b)·(b + 1).
a, b = gd.variable(2.0, name="a"), gd.variable(1.0, name="b")
c, d = (a + b).named("c"), (b + 1).named("d")
e = (c * d).named("e")
save("forward", gd.draw(e, mode="forward", wrt=b, rankdir="BT"))
save("reverse", gd.draw(e, mode="reverse", rankdir="BT"))
save("both", gd.draw(e, mode="both", wrt=b, rankdir="BT"))
save("backward", gd.draw(e, backward="joined"))

# Logistic regression of one example: p = σ(w·x + β), loss −log p.
w, x, beta = gd.variable(3.0, name="w"), gd.constant(3.0, name="x"), gd.variable(-8.0, name="β")
z = (w * x + beta).named("z")
p = gd.sigmoid(z).named("p")
save("logistic", gd.draw((-gd.log(p)).named("L"), mode="reverse"))

# A network of two layers: as layers, as a graph with a box for each layer, and every op.
mlp = nn.MLP([8, 3], "tanh", in_features=4, seed=1, dtype="float64")
batch = gd.constant(random.normal(size=(5, 4)), name="x")
probabilities = gd.softmax(mlp(batch)).named("p")
save("layers", gd.draw(mlp))
save("collapsed", gd.draw(probabilities, collapse=True))
save("expanded", gd.draw(probabilities, labels=["expression", "shape", "value"]))

# A composite, drawn as one node, opens: the product of four numbers is a tree of multiplications.
factors = gd.variable([1.0, 2.0, 3.0, 4.0], name="x")
save("composite", gd.draw(gd.prod(factors).named("f")))
save("opened", gd.draw(gd.prod(factors).named("f"), expand=True))

# Shortcuts around layers.
blocks = [nn.Residual(nn.Linear(8, 8), nn.Activation("relu"), nn.Linear(8, 8)) for _ in range(2)]
residual = nn.Sequential(nn.Linear(8, 4), *blocks, nn.Linear(3, 8))
save("residual", gd.draw(residual))

# Batch normalisation of three features, every op and the shape it has.
h = gd.variable(random.normal(size=(5, 3)), name="h")
normalised = nn.BatchNorm(3, dtype="float64")(h).named("y")
save("batchnorm", gd.draw(normalised, labels=["expression", "shape"]))

# The graph of the gradient of a network of three layers, beside the graph of its loss.
deep = nn.MLP([6, 6, 1], "tanh", in_features=4, seed=2, dtype="float64")
loss = gd.mean(deep(batch) ** 2).named("L")
save("backward_network", gd.draw(loss, backward="beside", labels=["expression", "shape"]))

# A derivative is a graph, and so is its derivative: of x·sin x, twice.
t = gd.variable(2.0, name="x")
first = gd.adjoints((t * gd.sin(t)).named("y"))[t].named("y′")
second = gd.adjoints(first)[t].named("y″")
save("second_order", gd.draw(second, labels=["expression", "value"]))
save("simplified", gd.draw(second, labels=["expression", "value"], simplify=True))

# Layers of sigmoids: the gradient shrinks by orders of magnitude on its way back from the loss.
vanishing = nn.MLP([10] * 4 + [1], "sigmoid", in_features=4, seed=0, dtype="float64")
loss = gd.mean(vanishing(batch) ** 2).named("L")
save("vanishing", gd.draw(loss, colour="gradient", collapse=True))
save("flops", gd.draw(probabilities, colour="flops", collapse=True))

# A network of two layers for one example, with its loss: what every layer makes of it.
small = nn.MLP([3, 2], "tanh", in_features=2, seed=1)
save("values", gd.draw(small, inputs=[[0.5, -1.0]], loss=lambda y: nn.softmax_cross_entropy(y, [1])))
