"""PyTorch and JAX on a GPU: one training step with Adam, the minibatch resident on the device.

Each function takes the network's configuration, its initial weights and a minibatch as NumPy arrays, and the precision
of products; it returns a call of one step or several, which does not wait for the device, and a function that does.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.problem import Array, Config, Labels, Weights

TOGETHER = 8
Made = tuple[Callable[[], Any], Callable[[], Any]]


def graphdiff(config: Config, weights: Weights, x: Array, y: Labels, precision: str) -> Made:
    """Return the step as one plan."""
    step, given, backend = graphdiff_step(config, weights, x, y, precision)
    return partial(step, *given), backend.synchronize


def graphdiff_many(config: Config, weights: Weights, x: Array, y: Labels, precision: str) -> Made:
    """Return the step as one plan, `TOGETHER` of them in one launch."""
    step, given, backend = graphdiff_step(config, weights, x, y, precision)
    return partial(step.many, TOGETHER, *given), backend.synchronize


def graphdiff_step(config: Config, weights: Weights, x: Array, y: Labels, precision: str) -> tuple[Any, Any, Any]:
    """Return the compiled step, the minibatch as it takes it, and the backend."""
    import graphdiff as gd
    from benchmarks.peers.graphdiff_eager import make_training

    gd.use_backend("cupy")  # for good: the step is called with CuPy's arrays, which do not say whose they are
    model, optimizer = make_training(config, weights)

    @gd.compile(precision=precision)
    def step(x: Any, y: Any) -> gd.Tensor:
        loss = gd.nn.softmax_cross_entropy(model(x), y)
        optimizer.minimize(loss)
        return loss

    given = gd.constant(x).value, gd.constant(y).value
    return step, given, gd.current_backend()


def torch_eager(config: Config, weights: Weights, x: Array, y: Labels, precision: str) -> Made:
    """Return the step as PyTorch's tutorials write it, with Adam fused."""
    return _torch(config, weights, x, y, precision, compiled=False)


def torch_compiled(config: Config, weights: Weights, x: Array, y: Labels, precision: str) -> Made:
    """Return the step with the model under ``torch.compile(mode="reduce-overhead")``."""
    return _torch(config, weights, x, y, precision, compiled=True)


def _torch(config: Config, weights: Weights, x: Array, y: Labels, precision: str, compiled: bool) -> Made:
    import torch

    from benchmarks.peers.torch_eager import make_model

    torch.set_float32_matmul_precision("highest" if precision == "float32" else "high")
    plain = make_model(config, weights).cuda()
    model = torch.compile(plain, mode="reduce-overhead") if compiled else plain
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-3, fused=True)
    features, labels = torch.tensor(x, device="cuda"), torch.tensor(y, device="cuda")

    def step() -> Any:
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16"):
            loss = torch.nn.functional.cross_entropy(model(features), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step, torch.cuda.synchronize


def jax_jit(config: Config, weights: Weights, x: Array, y: Labels, precision: str) -> Made:
    """Return the step in one ``jit``, parameters and moments donated."""
    import jax
    import jax.numpy as jnp

    from benchmarks.peers.jax_jit import train

    names = {"float32": "highest", "tf32": "tensorfloat32", "bf16": "bfloat16"}
    parameters = jax.tree.map(jnp.array, weights)
    first, second = jax.tree.map(jnp.zeros_like, (parameters, parameters))
    held: dict[str, Any] = {"state": (parameters, first, second, jnp.float32(0)), "loss": None}
    features, labels = jnp.array(x), jnp.array(y)
    compiled = jax.jit(train, donate_argnums=0)

    def step() -> Any:
        with jax.default_matmul_precision(names[precision]):
            held["state"], held["loss"] = compiled(held["state"], features, labels)
        return held["loss"]

    return step, lambda: held["loss"].block_until_ready()


Epoch = Callable[[], float]


def graphdiff_epoch(config: Config, weights: Weights, x: Array, y: Labels) -> Epoch:
    """Return an epoch over data on the device: batches are gathered within the step, several steps are one launch."""
    import graphdiff as gd
    from benchmarks.peers.graphdiff_eager import make_training

    with gd.use_backend("cupy"):
        model, optimizer = make_training(config, weights)
        table, classes = gd.constant(x), gd.constant(y)
        order, batch = gd.variable(np.arange(len(x)), name="order"), gd.variable(0, name="batch")
        random = gd.random.generator(0)

        @gd.compile
        def step() -> gd.Tensor:
            rows = order[batch * config.batch + gd.arange(config.batch)]
            loss = gd.nn.softmax_cross_entropy(model(table[rows]), classes[rows])
            optimizer.minimize(loss)
            batch.assign(batch + 1)
            return loss

        @gd.compile
        def shuffle() -> None:
            order.assign(gd.argsort(gd.random.uniform((len(x),), seed=random)))
            batch.assign(0)

    def epoch() -> float:
        with gd.use_backend("cupy"):
            shuffle()
            return float(step.many(len(x) // config.batch))

    return epoch


def torch_epoch(config: Config, weights: Weights, x: Array, y: Labels) -> Epoch:
    """Return an epoch of PyTorch, eager, over data on the device."""
    import torch

    from benchmarks.peers.torch_eager import make_model

    model = make_model(config, weights).cuda()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    table, classes = torch.tensor(x, device="cuda"), torch.tensor(y, device="cuda")

    def epoch() -> float:
        order = torch.randperm(len(x), device="cuda")
        for rows in order[: len(x) // config.batch * config.batch].split(config.batch):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(table[rows]), classes[rows])
            loss.backward()
            optimizer.step()
        return loss.item()

    return epoch


CONTENDERS: dict[str, tuple[str, Callable[..., Made], int]] = {
    "graphdiff": ("cupy", graphdiff, 1),
    f"graphdiff, {TOGETHER} steps a launch": ("cupy", graphdiff_many, TOGETHER),
    "PyTorch eager": ("torch", torch_eager, 1),
    "PyTorch compiled": ("torch", torch_compiled, 1),
    "JAX jit": ("jax", jax_jit, 1),
}
"""By name: the package it needs, the function that makes the call, and how many steps a call is."""
