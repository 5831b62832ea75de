"""Whole Jacobians and Hessians beside JAX: jitted ``jacfwd`` and ``jacrev``, and graphdiff's compiled ``jacobian``.

``python -m benchmarks.jacobians`` needs JAX and SciPy, runs everything in turns in float64 on one thread, and writes
the tables to ``results/jacobians.md``. The functions: a tanh network of three layers, 64 wide, by its input; and
Rosenbrock's function in 1000 dimensions.
"""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

import graphdiff as gd
from benchmarks.functions import layers_of, network, rosenbrock
from benchmarks.harness import DisagreementError, Timing, alternate
from benchmarks.report import Table, microseconds, publish

jax.config.update("jax_enable_x64", True)

SIZES = ((1, 1000), (1000, 1), (30, 300), (300, 30), (300, 300))
"""Inputs and outputs of the networks."""
WIDTH = 64
DIMENSIONS = 1000

Calls = dict[str, Callable[[], Any]]


def _jitted(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    compiled, given = jax.jit(function), [jnp.asarray(argument) for argument in arguments]
    return lambda: compiled(*given).block_until_ready()


def _network_in_jax(inputs: int, outputs: int) -> Callable[[Any], Any]:
    layers = [tuple(map(jnp.asarray, layer)) for layer in layers_of((inputs, WIDTH, WIDTH, outputs))]

    def run(x: Any) -> Any:
        for weights, bias in layers:
            x = jnp.tanh(x @ weights + bias)
        return x

    return run


def network_calls(inputs: int, outputs: int) -> Calls:
    """Return the ways to one network's Jacobian."""
    case, in_jax = network(inputs, WIDTH, WIDTH, outputs), _network_in_jax(inputs, outputs)
    ours = {
        f"graphdiff {mode}": partial(gd.compile(gd.jacobian(case.function, mode=mode)), case.point)
        for mode in ("auto", "forward", "reverse")
    }
    return ours | {
        "jax jacfwd": _jitted(jax.jacfwd(in_jax), case.point),
        "jax jacrev": _jitted(jax.jacrev(in_jax), case.point),
    }


def _rosenbrock_in_jax(x: Any) -> Any:
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def rosenbrock_calls() -> dict[str, Calls]:
    """Return the ways to derivatives of Rosenbrock's function, by derivative."""
    x, v = (np.random.default_rng(seed).normal(size=DIMENSIONS) for seed in (0, 1))
    f = _rosenbrock_in_jax
    return {
        "gradient": {
            "graphdiff": partial(gd.compile(gd.grad(rosenbrock)), x),
            "jax": _jitted(jax.grad(f), x),
        },
        "Hessian times vector": {
            "graphdiff": partial(gd.compile(lambda x, v: gd.hvp(rosenbrock, x, v)), x, v),
            "jax": _jitted(lambda x, v: jax.jvp(jax.grad(f), (x,), (v,))[1], x, v),
        },
        "Hessian": {
            "graphdiff": partial(gd.compile(gd.hessian(rosenbrock)), x),
            "graphdiff, forward over reverse": partial(gd.compile(gd.hessian(rosenbrock, mode="forward")), x),
            "graphdiff, sparse": partial(gd.sparse_hessian(rosenbrock), x),
            "jax": _jitted(jax.hessian(f), x),
        },
    }


def timed(calls: Calls, rounds: int, block: float) -> dict[str, Timing]:
    """Time calls in turns, after checking that they agree."""
    results = {name: call() for name, call in calls.items()}
    arrays = {name: np.asarray(r.toarray() if hasattr(r, "toarray") else r) for name, r in results.items()}
    first = next(iter(arrays.values()))
    for name, array in arrays.items():
        if np.abs(array - first).max() > 1e-11 * np.abs(first).max():
            raise DisagreementError(f"{name} differs")
    return alternate(calls, rounds=rounds, block=block)


def network_table(settings: tuple[int, float]) -> Table:
    """Measure the networks' Jacobians."""
    names = list(network_calls(1, 1))
    table = Table(
        f"Jacobian of a tanh network of three layers, {WIDTH} wide, by its input",
        ("inputs → outputs", *names, "auto takes", "auto ÷ JAX's better"),
        note="Medians, in µs.",
    )
    for inputs, outputs in SIZES:
        timings = timed(network_calls(inputs, outputs), *settings)
        case = network(inputs, WIDTH, WIDTH, outputs)
        better = min((timings["jax jacfwd"], timings["jax jacrev"]), key=lambda timing: timing.median)
        cells = [microseconds(timings[name].median) for name in names]
        mode = gd.jacobian(case.function).explain(case.point).mode
        table.rows.append((f"{inputs} → {outputs}", *cells, mode, f"{timings['graphdiff auto'].ratio(better):.2f}"))
    return table


def rosenbrock_table(settings: tuple[int, float]) -> Table:
    """Measure the derivatives of Rosenbrock's function."""
    table = Table(
        f"Rosenbrock's function in {DIMENSIONS} dimensions",
        ("derivative", "median µs", "÷ JAX"),
        note="The sparse Hessian is a SciPy matrix; the others are dense.",
    )
    for derivative, calls in rosenbrock_calls().items():
        timings = timed(calls, *settings)
        for name, timing in timings.items():
            ratio = f"{timing.ratio(timings['jax']):.2f}" if name != "jax" else ""
            table.rows.append((f"{derivative}: {name}", microseconds(timing.median), ratio))
    return table


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.jacobians", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few and short rounds, for a first impression")
    quick = parser.parse_args().quick
    settings = (8, 0.01) if quick else (40, 0.03)
    tables = [network_table(settings), rosenbrock_table(settings)]
    publish("jacobians", "Whole Jacobians and Hessians", tables, ["numpy", "graphdiff", "jax"], write=not quick)


if __name__ == "__main__":
    main()
