"""JAX: the whole step in one `jit`, parameters and moments donated so that they are updated in place."""

import jax
import jax.numpy as jnp

from benchmarks.peers import Step
from benchmarks.problem import Array, Config, Labels, Weights

Parameters = list[tuple[jax.Array, jax.Array]]
State = tuple[Parameters, Parameters, Parameters, jax.Array]


def loss(parameters: Parameters, x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the mean cross-entropy of the network's softmax."""
    for w, b in parameters[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = parameters[-1]
    log_probabilities = jax.nn.log_softmax(x @ w + b)
    return -jnp.mean(jnp.take_along_axis(log_probabilities, y[:, None], axis=1))


def train(state: State, x: jax.Array, y: jax.Array) -> tuple[State, jax.Array]:
    """Return the state after one step of Adam, and the loss before it."""
    parameters, first, second, steps = state
    value, gradients = jax.value_and_grad(loss)(parameters, x, y)
    steps = steps + 1
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradients)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradients)
    first_bias, second_bias = 1 - 0.9**steps, 1 - 0.999**steps
    parameters = jax.tree.map(
        lambda p, m, v: p - 1e-3 * (m / first_bias) / (jnp.sqrt(v / second_bias) + 1e-8), parameters, first, second
    )
    return (parameters, first, second, steps), value


def make_step(config: Config, weights: Weights, x: Array, y: Labels) -> Step:
    """Return one training step; it waits for the loss."""
    parameters = jax.tree.map(jnp.array, weights)
    first, second = jax.tree.map(jnp.zeros_like, (parameters, parameters))
    state = parameters, first, second, jnp.float32(0)
    features, labels = jnp.array(x), jnp.array(y)
    compiled = jax.jit(train, donate_argnums=0)

    def step() -> jax.Array:
        nonlocal state
        state, value = compiled(state, features, labels)
        return value.block_until_ready()

    return step
