"""Memory for time: `checkpoint` and `memory_limit` give the same numbers from less memory."""

from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff import errors

X = np.random.default_rng(0).normal(size=(1024, 32)).astype("float32")


def deep(layers: int = 9, every: int = 0, **options: Any) -> Any:
    """A deep network, its parameters, and a compiled step; `every` so many layers are one checkpoint."""
    chain = [gd.nn.Linear(32, 32, seed=seed) for seed in range(layers)]
    parameters = [parameter for layer in chain for parameter in layer.parameters()]
    optimizer = gd.optim.Adam(parameters, lr=1e-3)

    def block(part: Any) -> Any:
        def run(h: Any) -> Any:
            for layer in part:
                h = gd.tanh(layer(h))
            return h

        return gd.checkpoint(run) if every else run

    blocks = [block(chain[start : start + (every or 1)]) for start in range(0, layers, every or 1)]

    def step(x: Any) -> Any:
        for run in blocks:
            x = run(x)
        loss = gd.mean(x * x)
        optimizer.minimize(loss)
        return loss

    return parameters, step, gd.compile(step, **options)


def after(steps: int, parameters: Any, step: Any) -> Any:
    losses = [step(X).item() for _ in range(steps)]
    return losses, np.concatenate([parameter.numpy().ravel() for parameter in parameters])


def agree(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(found[1], expected[1], atol=5e-5)


def test_checkpointing_changes_no_number_and_takes_less_memory() -> None:
    parameters, eager, _ = deep()
    expected = after(4, parameters, eager)
    _, _, plain = deep()
    plain(X)
    for compiled in (False, True):
        parameters, step, planned = deep(every=3)
        agree(after(4, parameters, planned if compiled else step), expected)
    assert planned.plans[0].cost.peak_memory < 0.75 * plain.plans[0].cost.peak_memory
    assert planned.plans[0].cost.flops > plain.plans[0].cost.flops


def test_checkpointed_functions_are_differentiated_in_both_modes_and_twice() -> None:
    scale = gd.variable(1.5)
    bent = gd.checkpoint(lambda x, options: gd.sin(options["rate"] * x) * gd.stop_gradient(scale))
    gd.check_grads(lambda x: bent(x, {"rate": 2.0}), [0.3, 0.7], order=2)
    np.testing.assert_allclose(
        gd.hessian(lambda x: gd.sum(bent(x, {"rate": 2.0})))(np.array([0.3])).item(), -6 * np.sin(0.6)
    )


def test_variables_within_a_checkpoint_receive_gradients_and_make_it_stale() -> None:
    w = gd.variable([1.0, 2.0], name="w")
    loss = gd.checkpoint(lambda x: gd.sum(gd.exp(w * x)))(2.0)
    assert len(gd.Graph(loss)) == 3
    loss.backward()
    np.testing.assert_allclose(w.grad, 2 * np.exp([2.0, 4.0]))
    w.assign([0.0, 0.0])
    with pytest.raises(errors.StaleError):
        loss.backward()


def test_a_checkpoint_returns_one_tensor() -> None:
    with pytest.raises(errors.GraphError, match="returns one tensor"):
        gd.checkpoint(lambda x: (x, x))(1.0)


@pytest.mark.parametrize("share", [0.9, 0.6])
def test_a_memory_limit_is_kept_and_its_price_named(share: float) -> None:
    parameters, _, plain = deep()
    expected = after(4, parameters, plain)
    full = plain.plans[0].cost
    limit = int(share * full.peak_memory)
    parameters, _, limited = deep(memory_limit=limit)
    agree(after(4, parameters, limited), expected)
    plan = limited.plans[0]
    assert plan.cost.peak_memory <= limit
    assert plan.cost.flops > full.flops
    assert "computed again" in dict(plan.reports)["recompute"]
    assert "% flops" in plan.explain()


def test_a_limit_that_cannot_be_met_names_the_least() -> None:
    _, _, limited = deep(memory_limit=1000)
    with pytest.raises(errors.CompileError, match=r"memory_limit=1,000 bytes cannot be met.*holds [\d,]+ bytes"):
        limited(X)


def test_streams_of_random_numbers_run_on_in_a_plan() -> None:
    def drawn(stream: Any) -> Any:
        return gd.random.normal((3,), seed=stream, mean=2.0), gd.random.bernoulli((4,), seed=stream, p=0.5)

    stream, twin = gd.random.generator(3), gd.random.generator(3)
    compiled = gd.compile(lambda: drawn(stream))
    for _ in range(3):
        for mine, theirs in zip(compiled(), drawn(twin), strict=True):
            np.testing.assert_array_equal(mine.numpy(), theirs.numpy())
    fixed = gd.compile(lambda: gd.random.uniform((2,), seed=5))
    assert fixed().tolist() == fixed().tolist() == gd.random.uniform((2,), seed=5).tolist()
