"""Whole training steps of the CuPy backend on the CPU against NumPy's plans."""

from typing import Any

import numpy as np
import pytest
from cuda_emulator import COMPILER, WHY_NOT, Functions
from cupy_stand_in import Emulated
from graphdiff_cupy.nvrtc import compile_source

import graphdiff as gd
from graphdiff import errors

NETWORKS = {
    "A": ((2, 16, 16, 2), 100),
    "B": ((64, 64, 10), 64),
    "C": ((784, 128, 10), 64),
    "D": ((784, 512, 512, 10), 128),
}
ADAM = gd.optim.Adam
OPTIMISERS: dict[str, Any] = {
    "SGD": lambda p: gd.optim.SGD(p, lr=0.1),
    "SGD with momentum": lambda p: gd.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "Adam": lambda p: gd.optim.Adam(p, lr=0.01, clip_norm=0.5),
    "AdamW": lambda p: gd.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "NAdam": lambda p: gd.optim.NAdam(p, lr=0.01),
    "AdaGrad": lambda p: gd.optim.AdaGrad(p, lr=0.05, lr_decay=0.1, initial=0.1),
    "AdaDelta": lambda p: gd.optim.AdaDelta(p),
    "RMSProp": lambda p: gd.optim.RMSProp(p, lr=0.01, momentum=0.9, centered=True),
    "Rprop": lambda p: gd.optim.Rprop(p, lr=0.01),
    "LARS": lambda p: gd.optim.LARS(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "LAMB": lambda p: gd.optim.LAMB(p, lr=0.01, weight_decay=0.01),
    "scheduled": lambda p: gd.optim.Adam(p, lr=gd.optim.schedules.cosine(0.01, steps=6), clip_value=0.05),
}


def training(sizes: tuple[int, ...], batch: int, make: Any = ADAM, precision: str = "float32", **options: Any) -> Any:
    """Return a compiled step, its data and the parameters, on the current backend."""
    model = gd.nn.MLP(list(sizes[1:]), in_features=sizes[0], seed=0, **options)
    optimizer = make(model.parameters())

    @gd.compile(precision=precision)
    def step(x: Any, y: Any) -> gd.Tensor:
        loss = gd.nn.softmax_cross_entropy(model(x), y)
        optimizer.minimize(loss)
        return loss

    random = np.random.default_rng(0)
    x = random.normal(size=(batch, sizes[0])).astype(options.get("dtype", "float32"))
    return step, (x, random.integers(0, sizes[-1], batch)), model.parameters()


def trained(backend: Any, steps: int, *given: Any, **options: Any) -> tuple[list[float], list[Any]]:
    with gd.use_backend(backend):
        step, data, parameters = training(*given, **options)
        losses = [step(*data).item() for _ in range(steps)]
        return losses, [parameter.numpy() for parameter in parameters]


@pytest.mark.skipif(COMPILER is None, reason=WHY_NOT)
@pytest.mark.parametrize("name", NETWORKS)
def test_training_is_numpys(name: str) -> None:
    sizes, batch = NETWORKS[name]
    losses, weights = trained(Emulated(), 4, sizes, batch, ADAM)
    expected, expected_weights = trained("numpy", 4, sizes, batch, ADAM)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    for mine, theirs in zip(weights, expected_weights):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.skipif(COMPILER is None, reason=WHY_NOT)
@pytest.mark.parametrize("sizes", [(6, 8, 3), (100, 64, 40)])  # a block for everything, and a block for each row
def test_threads_wait_for_each_other(sizes: tuple[int, ...]) -> None:
    losses, _ = trained(Emulated(threads=64, blocks=7), 2, sizes, 300, ADAM)
    expected, _ = trained("numpy", 2, sizes, 300, ADAM)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


@pytest.mark.skipif(COMPILER is None, reason=WHY_NOT)
@pytest.mark.parametrize("name", OPTIMISERS)
def test_optimisers_are_numpys(name: str) -> None:
    given = ((6, 8, 3), 10, OPTIMISERS[name])
    losses, weights = trained(Emulated(), 6, *given, dtype="float64", activation="tanh")
    expected, expected_weights = trained("numpy", 6, *given, dtype="float64", activation="tanh")
    np.testing.assert_allclose(losses, expected, rtol=1e-10)
    for mine, theirs in zip(weights, expected_weights):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.skipif(COMPILER is None, reason=WHY_NOT)
def test_a_small_network_is_a_handful_of_launches() -> None:
    backend = Emulated()
    with gd.use_backend(backend):
        for name, most in (("A", 6), ("B", 7), ("C", 7), ("D", 10)):
            sizes, batch = NETWORKS[name]
            step, data, _ = training(sizes, batch)
            plan = step.plan(*data)
            assert len(plan.instructions) <= most, plan.explain()
            assert plan._runner._lowered.in_place == len(plan.program.updates)


def test_adams_powers_are_computed_once_a_step_not_by_every_thread() -> None:
    with gd.use_backend(Emulated()):
        step, data, _ = training(*NETWORKS["D"])
        *before, update = step.plan(*data)._runner.kernels
    assert sum(kernel.text.count("pow(") for kernel in before) == 2
    assert "pow(" not in update.text
    inside = update.text[update.text.index("for (int e") :].split("*(Pack")[0]
    assert "double" not in inside


@pytest.mark.skipif(COMPILER is None, reason=WHY_NOT)
def test_an_epoch_shuffles_and_gathers_on_the_device() -> None:
    examples, batch = 230, 10
    random = np.random.default_rng(0)
    x, y = random.normal(size=(examples, 6)), random.integers(0, 3, examples)

    def network() -> tuple[Any, Any]:
        model = gd.nn.MLP([8, 3], in_features=6, dtype="float64", seed=0)
        return model, gd.optim.Adam(model.parameters(), lr=0.01)

    backend = Emulated()
    with gd.use_backend(backend):
        model, optimizer = network()
        table, labels = gd.constant(x), gd.constant(y)
        order, number = gd.variable(np.arange(examples), name="order"), gd.variable(0, name="batch")
        here = gd.random.generator(3)

        @gd.compile
        def shuffle() -> None:
            order.assign(gd.argsort(gd.random.uniform((examples,), seed=here)))
            number.assign(0)

        @gd.compile
        def step() -> gd.Tensor:
            rows = order[number * batch + gd.arange(batch)]
            loss = gd.nn.softmax_cross_entropy(model(table[rows]), labels[rows])
            optimizer.minimize(loss)
            number.assign(number + 1)
            return loss

        ends, orders = [], []
        for _ in range(2):
            shuffle()
            launched = backend.device.launched
            ends.append(step.many(examples // batch).item())
            assert backend.device.launched - launched == 23 // 8 + 23 % 8
            orders.append(order.numpy())
        assert number.item() == examples // batch
        assert number.dtype == "int64"
        trained_there = [parameter.numpy() for parameter in model.parameters()]

    gd.random.seed()
    there, (model, optimizer) = gd.random.generator(3), network()
    for end, places in zip(ends, orders):
        np.testing.assert_array_equal(places, np.argsort(there.uniform(size=examples), kind="stable"))
        for rows in places.reshape(-1, batch):
            loss = gd.nn.softmax_cross_entropy(model(x[rows]), y[rows])
            optimizer.minimize(loss)
        assert end == pytest.approx(loss.item(), rel=1e-10)
    for mine, theirs in zip(trained_there, model.parameters()):
        np.testing.assert_allclose(mine, theirs.numpy(), rtol=1e-9)


@pytest.mark.skipif(COMPILER is None, reason=WHY_NOT)
def test_what_runs_on_the_cpu_is_also_compiled_for_gpus() -> None:
    pytest.importorskip("cuda.core", reason="cuda-core, which reaches the CUDA compiler, is not installed")
    backend = Emulated()
    trained(backend, 1, *NETWORKS["A"])
    assert set(backend.device.sources) <= Functions.for_gpus
    broken = Functions('extern "C" __global__ void k(float* x) { x[0] = __builtin_sqrt(x[0]); }')
    with pytest.raises(errors.BackendError, match=r"(?s)does not compile for sm_80.*__builtin_sqrt"):
        broken.function("k")


def test_a_source_that_does_not_compile_says_so() -> None:
    pytest.importorskip("cuda.core", reason="cuda-core, which reaches the CUDA compiler, is not installed")
    with pytest.raises(errors.BackendError, match=r"(?s)does not compile for sm_90.*undefined"):
        compile_source("__global__ void k() { nothing(); }", "sm_90")
