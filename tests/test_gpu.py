"""What only a GPU can show: the op table, plans against NumPy, every optimiser, long training, and CUDA graphs."""

from typing import Any

import numpy as np
import pytest
from graphdiff_cupy import CupyBackend
from test_cupy_networks import ADAM, NETWORKS, OPTIMISERS, trained, training
from test_ops import CASES, every

import graphdiff as gd
from graphdiff import errors
from graphdiff.tree import flatten

WHY_NOT = CupyBackend.why_unavailable()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(WHY_NOT is not None, reason=f"no GPU: {WHY_NOT}")]


@pytest.fixture
def cupy() -> Any:
    with gd.use_backend("cupy") as backend:
        yield backend


def test_a_product_is_recorded_on_our_own_handle(cupy: Any) -> None:
    """The one thing that no documentation confirms: cuBLASLt on a recording stream of CuPy's."""
    r = np.random.default_rng(0)
    x, w, b = (r.normal(size=shape).astype("float32") for shape in ((64, 784), (784, 128), (128,)))
    compiled = gd.compile(lambda x, w, b: gd.relu(x @ w + b))
    for _ in range(3):
        found = compiled(x, w, b).numpy()
        np.testing.assert_allclose(found, np.maximum(x @ w + b, 0), rtol=1e-4, atol=1e-4)
    told = compiled.plan(x, w, b).explain()
    assert "1 launch a step" in told
    assert "refused" not in told
    assert "RELU_BIAS" in told, "PyTorch uses this epilog: it was described wrongly"


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_every_op_eager_and_compiled(case: Any, cupy: Any) -> None:
    name, function, arguments = case

    def both(*given: Any) -> Any:
        forward = gd.jacobian(function, every(arguments), mode="forward")(*given)
        return function(*given), forward, gd.jacobian(function, every(arguments), mode="reverse")(*given)

    with gd.use_backend("numpy"):
        expected = [leaf.numpy() for leaf in flatten(both(*map(gd.constant, arguments)))[0]]
    given = [gd.constant(argument) for argument in arguments]
    for run in (both, gd.compile(both)):
        for mine, theirs in zip(flatten(run(*given))[0], expected):
            assert mine.backend is cupy
            np.testing.assert_allclose(mine.numpy(), theirs, rtol=1e-8, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("size", [1, 31, 1000, 70_000, 3_000_001])
def test_gradients_agree_in_float32_in_every_size(size: int, cupy: Any) -> None:
    x = np.random.default_rng(0).uniform(0.5, 2.0, size).astype("float32")

    def function(x: Any) -> Any:
        return gd.sum(gd.tanh(x) * gd.exp(-x) + gd.sqrt(x)) + gd.max(x) + gd.mean(x * x)

    with gd.use_backend("numpy"):
        expected = gd.grad(function)(x.astype("float64")).numpy()
    found = gd.compile(gd.grad(function))(x).numpy()
    assert np.linalg.norm(found - expected) <= 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_training_is_numpys(name: str) -> None:
    sizes, batch = NETWORKS[name]
    losses, weights = trained("cupy", 5, sizes, batch, ADAM)
    expected, expected_weights = trained("numpy", 5, sizes, batch, ADAM)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    for mine, theirs in zip(weights, expected_weights):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-3 * np.abs(theirs).max())


@pytest.mark.parametrize("name", OPTIMISERS)
def test_optimisers_are_numpys(name: str) -> None:
    given = ((6, 8, 3), 10, OPTIMISERS[name])
    losses, weights = trained("cupy", 20, *given, dtype="float64", activation="tanh")
    expected, expected_weights = trained("numpy", 20, *given, dtype="float64", activation="tanh")
    np.testing.assert_allclose(losses, expected, rtol=1e-8)
    for mine, theirs in zip(weights, expected_weights):
        np.testing.assert_allclose(mine, theirs, rtol=1e-7, atol=1e-10)


def test_long_training_captured_and_one_by_one_are_the_same(cupy: Any) -> None:
    results = []
    for disable in ((), ("capture",)):
        gd.random.seed(0)  # the same weights, the same masks of dropout
        model = gd.nn.Sequential(
            gd.nn.Linear(64, in_features=20), gd.nn.Activation("relu"), gd.nn.Dropout(0.2), gd.nn.Linear(5)
        )
        r = np.random.default_rng(0)
        x, y = r.normal(size=(200, 20)).astype("float32"), r.integers(0, 5, 200)
        model(x)
        optimizer = gd.optim.Adam(model.parameters(), lr=1e-2)

        def step(x: Any, y: Any, model: Any = model, optimizer: Any = optimizer) -> Any:
            loss = gd.nn.softmax_cross_entropy(model(x), y)
            optimizer.minimize(loss)
            return loss

        compiled = gd.compile(step, disable=disable)
        results.append([compiled(x, y).item() for _ in range(500)])
    assert results[0] == results[1]
    assert results[0][-1] < 0.5 * results[0][0]


def test_many_steps_are_as_many_calls(cupy: Any) -> None:
    ends = []
    for run in (lambda step, data: [step(*data) for _ in range(21)][-1], lambda step, data: step.many(21, *data)):
        step, data, parameters = training(*NETWORKS["C"], ADAM)
        ends.append((run(step, data).item(), [parameter.numpy() for parameter in parameters]))
    assert ends[0][0] == ends[1][0]
    for one, other in zip(ends[0][1], ends[1][1]):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", CupyBackend.precisions)
def test_every_precision_trains(name: str, cupy: Any) -> None:
    def adam(parameters: Any) -> Any:
        optimizer = ADAM(parameters)
        if name == "fp16":
            optimizer.scale_loss(2.0**24, interval=20)  # the first steps overflow
        return optimizer

    step, data, _ = training((256, 512, 10), 256, adam, precision=name)
    losses = [step(*data).item() for _ in range(60)]
    assert losses[-1] < 0.2 * losses[0]


def test_an_epoch_gathered_on_the_device_is_one_from_the_host(cupy: Any) -> None:
    r = np.random.default_rng(0)
    x, y = r.normal(size=(640, 20)).astype("float32"), r.integers(0, 5, 640)
    ends = []
    for resident in (True, False):
        model = gd.nn.MLP([64, 5], in_features=20, seed=0)
        optimizer = gd.optim.Adam(model.parameters(), lr=1e-2)
        table, labels, batch = gd.constant(x), gd.constant(y), gd.variable(0, name="batch")

        def gathered(
            table: Any = table, labels: Any = labels, batch: Any = batch, model: Any = model, optimizer: Any = optimizer
        ) -> Any:
            rows = batch * 64 + gd.arange(64)
            loss = gd.nn.softmax_cross_entropy(model(table[rows]), labels[rows])
            optimizer.minimize(loss)
            batch.assign(batch + 1)
            return loss

        if resident:
            ends.append(gd.compile(gathered).many(10).item())
        else:
            for _ in range(10):
                ends.append(gathered().item())
    assert ends[0] == pytest.approx(ends[-1], rel=1e-4)


def test_batches_copied_ahead_train_as_those_on_the_device(cupy: Any) -> None:
    r = np.random.default_rng(0)
    x = r.normal(size=(1000, 200)).astype("float32")
    losses = []
    for data in ((x, x[:, :1]),) * 2:
        model = gd.nn.MLP([64, 1], in_features=200, seed=0)
        optimizer = gd.optim.SGD(model.parameters(), lr=1e-2)
        history = gd.train.fit(model, gd.nn.squared_error, data, optimizer, epochs=3, batch_size=48, progress=False)
        losses.append([record["loss"] for record in history])
    with gd.use_backend("numpy"):
        model = gd.nn.MLP([64, 1], in_features=200, seed=0)
        optimizer = gd.optim.SGD(model.parameters(), lr=1e-2)
        history = gd.train.fit(
            model, gd.nn.squared_error, (x, x[:, :1]), optimizer, epochs=3, batch_size=48, progress=False
        )
    assert losses[0] == losses[1]
    np.testing.assert_allclose(losses[0], [record["loss"] for record in history], rtol=1e-3)


def test_random_numbers_are_the_hosts(cupy: Any) -> None:
    there, here = gd.random.generator(3), gd.random.generator(3)
    draw = gd.compile(lambda: gd.random.uniform((1001,), seed=here))
    for _ in range(3):
        np.testing.assert_array_equal(draw().numpy(), there.uniform(size=1001))


def test_arrays_go_to_pytorch_and_back(cupy: Any) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    ours = gd.constant([1.0, 2.0, 3.0])
    theirs = torch.from_dlpack(ours)
    assert theirs.is_cuda
    assert theirs.data_ptr() == ours.value.data.ptr
    back = gd.constant(theirs * 2)
    np.testing.assert_array_equal(back.numpy(), [2.0, 4.0, 6.0])


def test_tensors_move_and_do_not_mix(cupy: Any) -> None:
    with gd.use_backend("numpy"):
        here = gd.variable([1.0, 2.0], name="here")
    there = here.to("cupy")
    with pytest.raises(errors.BackendError, match=r"numpy.*cupy"):
        here + there
    np.testing.assert_array_equal(there.to("numpy").numpy(), [1.0, 2.0])


def test_out_of_memory_names_the_largest_buffers(cupy: Any) -> None:
    x = gd.constant(np.ones((2048, 2048), "float32"))
    compiled = gd.compile(lambda x: gd.sum(gd.tanh(x) @ x))
    pool = cupy.namespace.get_default_memory_pool()
    before = pool.get_limit()
    pool.free_all_blocks()
    pool.set_limit(pool.total_bytes() + (1 << 20))
    try:
        with pytest.raises(errors.DeviceMemoryError, match=r"largest buffers.*smaller batch"):
            compiled(x)
    finally:
        pool.set_limit(before)
    assert np.isfinite(compiled(x).item())
