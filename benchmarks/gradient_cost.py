"""What a gradient costs in terms of the function, compiled: time(loss and gradient) ÷ time(loss).

``python -m benchmarks.gradient_cost`` runs every configuration in graphdiff and in JAX, where it is installed, in
turns, and writes the table to ``results/gradient_cost.md``. Counting multiplications, the gradient of a network costs
two or three times the loss: one product forward, two backward, none of them for the input.
"""

import argparse
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

import graphdiff as gd
from benchmarks.harness import DisagreementError, Timing, alternate
from benchmarks.peers.graphdiff_eager import make_training
from benchmarks.problem import CONFIGS, Config, data, initial_weights
from benchmarks.report import Table, microseconds, publish


def graphdiff_calls(config: Config) -> dict[str, Callable[[], Any]]:
    """Return loss, and loss and gradient, as compiled functions of the minibatch."""
    model, _ = make_training(config, initial_weights(config))
    x, y = data(config)

    def loss(x: Any, y: Any) -> gd.Tensor:
        return gd.nn.softmax_cross_entropy(model(x), y)

    def loss_and_gradient(x: Any, y: Any) -> gd.Tensor:
        value = loss(x, y)
        value.backward()
        return value

    return {
        "graphdiff loss": partial(gd.compile(loss), x, y),
        "graphdiff loss and gradient": partial(gd.compile(loss_and_gradient), x, y),
    }


def jax_calls(config: Config) -> dict[str, Callable[[], Any]]:
    """Return the same as jitted functions of the parameters and the minibatch."""
    import jax
    from jax import numpy as jnp

    parameters = [(jnp.asarray(w), jnp.asarray(b)) for w, b in initial_weights(config)]
    x, y = map(jnp.asarray, data(config))

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        for w, b in parameters[:-1]:
            x = jax.nn.relu(x @ w + b)
        w, b = parameters[-1]
        return -jnp.mean(jax.nn.log_softmax(x @ w + b)[jnp.arange(len(y)), y])

    value, both = jax.jit(loss), jax.jit(jax.value_and_grad(loss))
    return {
        "jax loss": lambda: value(parameters, x, y).block_until_ready(),
        "jax loss and gradient": lambda: jax.block_until_ready(both(parameters, x, y))[0],
    }


def measure(config: Config, rounds: int, block: float) -> dict[str, Timing]:
    """Time the functions in turns, after checking that they agree."""
    calls = graphdiff_calls(config) | (jax_calls(config) if find_spec("jax") else {})
    values = {name: float(call()) for name, call in calls.items()}
    if np.ptp(list(values.values())) > 1e-4 * max(values.values()):
        raise DisagreementError(f"{config}: {values}")
    return alternate(calls, rounds=rounds, block=block, title=str(config))


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gradient_cost", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few and short rounds, for a first impression")
    quick = parser.parse_args().quick
    table = Table(
        "Loss and gradient ÷ loss", ("system", *CONFIGS), note="In brackets the medians, in µs. Ratios of medians."
    )
    results = {name: measure(config, *((8, 0.02) if quick else (40, 0.05))) for name, config in CONFIGS.items()}
    for system in ("graphdiff", "jax") if find_spec("jax") else ("graphdiff",):
        cells = []
        for timings in results.values():
            loss, both = timings[f"{system} loss"], timings[f"{system} loss and gradient"]
            cells.append(f"{both.ratio(loss):.2f} ({microseconds(both.median)} / {microseconds(loss.median)})")
        table.rows.append((system, *cells))
    publish("gradient_cost", "What a gradient costs", [table], ["numpy", "graphdiff", "jax"], write=not quick)


if __name__ == "__main__":
    main()
