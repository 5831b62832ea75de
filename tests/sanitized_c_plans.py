"""Plans as C under the address and undefined-behaviour sanitizers; `test_c_sanitizers` runs this."""

import sys
from typing import Any

import numpy as np
from graphdiff_numpy.native import compiler
from sanitized_plans import programs
from test_ops import CASES

import graphdiff as gd

UNDEFINED = "alignment,bounds,shift,signed-integer-overflow,integer-divide-by-zero"
FLAGS = ["-g", "-O1", "-fno-omit-frame-pointer", f"-fsanitize=address,{UNDEFINED}", "-fno-sanitize-recover=all"]


def cases() -> list[tuple[Any, tuple[Any, ...]]]:
    """Return functions and arguments: those of the GPU's sanitizers, the ops, products of odd sizes and a training."""
    r = np.random.default_rng(0)
    given = [[gd.constant(argument) for argument in arguments] for _, _, arguments in CASES]

    def ops(given: Any) -> list[Any]:
        return [function(*own) for (_, function, _), own in zip(CASES, given, strict=True)]

    def products(x: Any, y: Any) -> Any:
        z = x @ y
        return z, z.T @ x, z @ y.T, gd.sum(z, axis=0)

    sized = [(r.normal(size=(m, k)), r.normal(size=(k, n))) for m, n, k in ((3, 5, 2), (33, 17, 65), (130, 2, 19))]
    weights = [gd.variable(r.normal(size=shape), name=name) for shape, name in (((3, 9), "w"), ((9, 4), "v"))]
    optimizer = gd.optim.Adam(weights, lr=0.1)

    def step(x: Any, labels: Any) -> Any:
        loss = gd.nn.softmax_cross_entropy(gd.relu(x @ weights[0]) @ weights[1], labels)
        optimizer.minimize(loss)
        return loss

    training = (step, (r.normal(size=(37, 3)), r.integers(0, 4, 37)))
    narrow = [(products, (x.astype("float32"), y.astype("float32"))) for x, y in sized]
    return [*programs(), (ops, (given,)), *((products, each) for each in sized), *narrow, training]


if __name__ == "__main__":
    compiler.FLAGS += FLAGS
    for function, arguments in cases():
        compiled = gd.compile(function, engine="c")
        with np.errstate(all="ignore"):
            for _ in range(2):
                compiled(*arguments)
        assert dict(compiled.plans[0].reports)["engine"].startswith("c: "), compiled.plans[0].explain()
    print("done", file=sys.stdout)
