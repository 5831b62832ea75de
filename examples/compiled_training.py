"""A compiled training step, what it says about itself, and what it saves: the same loop eager and compiled."""

from time import perf_counter

import numpy as np

import graphdiff as gd

stream = np.random.default_rng(0)
points = stream.normal(size=(200, 2)).astype("float32")
labels = (np.hypot(*points.T) > 1.1).astype("int64")


def make_step():
    model = gd.nn.MLP([16, 16, 2], in_features=2, seed=1)
    optimizer = gd.optim.Adam(model.parameters(), lr=1e-2)

    def step(x, y):
        loss = gd.nn.softmax_cross_entropy(model(x), y)
        optimizer.minimize(loss)
        return loss

    return model, step


for name, wrap in (("eager", lambda step: step), ("compiled", gd.compile)):
    model, step = make_step()
    run = wrap(step)
    run(points, labels)
    started = perf_counter()
    for _ in range(500):
        loss = run(points, labels)
    microseconds = 1e6 * (perf_counter() - started) / 500
    print(f"{name:>8}: {microseconds:6.1f} µs per step, loss {float(loss):.4f}")

plan = run.plans[0]
print()
print(plan.explain())
print()
print(plan.source)
