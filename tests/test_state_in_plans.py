"""State and traces: what a compiled function reads or writes is what an eager one reads or writes, at every call."""

import copy
import enum
import inspect
import os
import pickle
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_toy_backend import STRICT

import graphdiff as gd

BACKENDS = pytest.mark.parametrize("backend", ["numpy", STRICT], ids=["generated", "op by op"])


# Gradients ------------------------------------------------------------------------------------------------------------


@BACKENDS
def test_a_compiled_step_alone_follows_the_gradients_of_each_call(backend: Any) -> None:
    with gd.use_backend(backend):
        w, other = gd.variable([1.0, 2.0]), gd.variable(3.0)
        optimizer = gd.optim.SGD([w, other], lr=0.1)
        step = gd.compile(optimizer.step)
        expected = np.array([1.0, 2.0])
        for factor in (1.0, 10.0, 100.0):
            gd.sum(w * factor).backward()
            step()
            expected -= 0.1 * factor
            np.testing.assert_allclose(w.numpy(), expected, rtol=1e-14)
        (other * 2.0).backward()  # there was no gradient before: another sort of call
        step()
        np.testing.assert_allclose([*w.tolist(), other.item()], [*(expected - 10.0), 2.8], rtol=1e-14)


def test_an_assignment_from_the_gradient_reads_it_at_each_call() -> None:
    w = gd.variable([1.0, 2.0])
    move = gd.compile(lambda: w.assign(w - 0.1 * w.grad))
    with pytest.raises(TypeError):  # as None * 0.1 is eagerly
        move()
    for factor, expected in ((1.0, [0.9, 1.9]), (10.0, [-0.1, 0.9])):
        w.grad = np.full(2, factor)
        move()
        np.testing.assert_allclose(w.numpy(), expected, rtol=1e-14, atol=1e-15)


@BACKENDS
def test_gradients_accumulate_over_compiled_calls(backend: Any) -> None:
    with gd.use_backend(backend):
        w = gd.variable([1.0, 2.0])
        run = gd.compile(lambda: gd.sum(w).backward(accumulate=True))
        found = []
        for _ in range(4):
            run()
            found.append(np.asarray(w.grad).tolist())
        assert found == [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0]]
        w.grad = None
        run()
        assert np.asarray(w.grad).tolist() == [1.0, 1.0]
        run.many(3)
        assert np.asarray(w.grad).tolist() == [4.0, 4.0]


@BACKENDS
def test_gradients_are_forgotten_at_every_compiled_call(backend: Any) -> None:
    with gd.use_backend(backend):
        w = gd.variable([1.0, 2.0])
        forget = gd.compile(gd.optim.SGD([w], lr=0.1).zero_grad)
        for _ in range(3):
            gd.sum(w).backward()
            forget()
            assert w.grad is None


def test_gradients_are_assigned_and_branched_on_within_a_trace() -> None:
    a, b = gd.variable([1.0, 2.0], name="a"), gd.variable([3.0, 4.0])

    @gd.compile
    def share(scale: Any) -> Any:
        seen = 0.0 if a.grad is None else gd.sum(a.grad)
        b.grad = scale * a
        a.grad = None if a.grad is None else a.grad * 2.0
        return seen

    assert share(np.float64(3.0)) == 0.0
    assert (a.grad, np.asarray(b.grad).tolist()) == (None, [3.0, 6.0])
    a.grad = [5.0, 1.0]
    assert share(np.float64(3.0)).item() == 6.0
    assert share(np.float64(1.0)).item() == 12.0
    assert (np.asarray(a.grad).tolist(), np.asarray(b.grad).tolist()) == ([20.0, 4.0], [1.0, 2.0])


def test_a_gradient_that_is_written_before_it_is_read_is_no_argument() -> None:
    w = gd.variable([1.0, 2.0])
    optimizer = gd.optim.Adam([w])

    @gd.compile
    def step(x: Any) -> Any:
        loss = gd.sum((w * x) ** 2)
        loss.backward()
        optimizer.step()
        return loss

    step(np.ones(2))
    assert step.plans[0].inherited == []
    assert step.plans[0].kinds == {}


def test_a_gradient_of_another_shape_is_refused_by_a_compiled_step() -> None:
    w = gd.variable([1.0, 2.0, 3.0], name="w")
    step = gd.compile(gd.optim.SGD([w], lr=0.1).step)
    w.grad = np.ones(3)
    step()
    w.grad = np.ones(2)
    with pytest.raises(gd.errors.ShapeError, match=r"gradient of 'w' float64\[3\] is of shape \[2\]"):
        step()


def test_a_profile_leaves_gradients_as_they_were() -> None:
    w = gd.variable([1.0, 2.0])
    run = gd.compile(lambda: gd.sum(w).backward(accumulate=True))
    run()
    run.plan().profile(repeats=2)
    assert w.grad.tolist() == [1.0, 1.0]


def test_a_call_that_fails_leaves_gradients_as_they_were() -> None:
    table, w = gd.variable(np.arange(5.0)), gd.variable(1.0)

    @gd.compile
    def run(rows: Any) -> Any:
        loss = gd.sum(table[rows]) * w
        loss.backward(accumulate=True)
        return loss

    run(np.array([0, 1]))
    before = table.grad.tolist(), float(w.grad)
    with pytest.raises(IndexError):
        run(np.array([0, 9]))
    assert (table.grad.tolist(), float(w.grad)) == before


# What is made at every call -------------------------------------------------------------------------------------------


def test_a_variable_made_at_every_call_is_refused_and_one_made_once_is_kept() -> None:
    def fresh(x: Any) -> Any:
        w = gd.variable([1.0, 2.0])
        w += x
        return gd.sum(w)

    with pytest.raises(gd.errors.CompileError, match=r"a variable at .*anew at every call"):
        gd.compile(fresh)(np.ones(2))

    class Lazy(gd.nn.Module):
        def forward(self, x: Any) -> Any:
            if not hasattr(self, "w"):
                self.w = gd.variable(np.ones(x.shape[-1]))
            self.w += 1.0
            return gd.sum(self.w * x)

    layer = Lazy()
    run = gd.compile(layer)
    assert [run(np.ones(3)).item() for _ in range(3)] == [6.0, 9.0, 12.0]


def test_streams_made_within_a_compiled_function_begin_anew_at_every_call() -> None:
    def draw() -> Any:
        stream = gd.random.generator(5)
        return gd.random.normal((2,), seed=stream) + gd.random.normal((2,), seed=stream)

    compiled, expected = gd.compile(draw), draw().numpy()
    for _ in range(3):
        np.testing.assert_array_equal(compiled().numpy(), expected)
    with pytest.raises(gd.errors.CompileError, match="random stream without a seed"):
        gd.compile(lambda: gd.random.normal((2,), seed=gd.random.generator()))()
    with pytest.raises(gd.errors.CompileError, match=r"gd\.random\.seed cannot be compiled"):
        gd.compile(lambda: gd.random.seed(1))()


def test_a_layer_made_at_the_first_call_draws_new_numbers_at_each() -> None:
    class Lazy(gd.nn.Module):
        def forward(self, x: Any) -> Any:
            if not hasattr(self, "drop"):
                self.drop = gd.nn.Dropout(0.5, seed=7)
            return self.drop(x)

    eager, layer, x = gd.nn.Dropout(0.5, seed=7), Lazy(), np.ones(20)
    run = gd.compile(layer)
    for _ in range(3):
        np.testing.assert_array_equal(run(x).numpy(), eager(x).numpy())


# Modes ----------------------------------------------------------------------------------------------------------------


def test_modes_that_a_compiled_function_sets_are_set_at_every_call() -> None:
    layer = gd.nn.Dropout(0.5, seed=1)

    @gd.compile
    def predict(x: Any) -> Any:
        return layer.eval()(x)

    @gd.compile
    def train(x: Any) -> Any:
        return layer.train()(x)

    x = np.ones(50)
    for _ in range(3):
        assert predict(x).tolist() == x.tolist()
        assert not layer.training
        assert set(train(x).tolist()) == {0.0, 2.0}
        assert layer.training


def test_a_mode_is_read_before_it_is_set() -> None:
    layer = gd.nn.Dropout(0.5)

    @gd.compile
    def turn() -> Any:
        before = layer.training
        layer.train(not before)
        return before, layer.training

    assert [turn() for _ in range(4)] == [(True, False), (False, True), (True, False), (False, True)]


# Arguments ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", ["f2", "f4", "f8", "i4", "bool"])
@pytest.mark.parametrize(
    "scalar",
    [
        np.float64(3),
        np.float32(3),
        np.float16(3),
        np.int64(3),
        np.int8(3),
        np.uint8(3),
        np.bool_(True),
        np.complex128(3j),
    ],
    ids=lambda scalar: type(scalar).__name__,
)
def test_numpy_scalars_are_no_python_numbers(base: str, scalar: Any) -> None:
    """NumPy's own scalars take part in promotion, as NEP 50 has it."""
    array = np.ones(2, base)
    for found in (gd.multiply(array, scalar), gd.compile(gd.multiply)(array, scalar)):
        assert found.dtype == (array * scalar).dtype
        np.testing.assert_array_equal(found.numpy(), array * scalar)


def test_a_large_numpy_scalar_stays_itself() -> None:
    product = gd.compile(gd.multiply)
    np.testing.assert_array_equal(product(np.ones(2, "f4"), np.float64(1e300)).numpy(), [1e300, 1e300])
    assert product(np.ones(2, "f4"), 2.0).dtype == np.float32
    assert product(np.ones(2, "f4"), np.float64(2.0)).dtype == np.float64


class Whole(enum.IntEnum):
    ONE = 1


@dataclass(frozen=True)
class Settings:
    k: Any


DISTINCT = [
    (2,), (2.0,), (True,), (1,), (1.0,), ((1,),), ((1.0,),), ((True,),), frozenset([1]), frozenset([1.0]),
    frozenset([(1,)]), frozenset([(True,)]), 0.0, -0.0, (0.0,), (-0.0,), 0, False, True, 1, 1.0, 1 + 0j,
    complex(1, -0.0), float("nan"), float("inf"), None, "1", b"1", Whole.ONE, Settings(1), Settings(1.0),
    Settings((True,)), slice(0, 1), slice(0, True), range(0, 3, 2), range(0, 4, 2), np.float64(1.0), np.float32(1.0),
    np.int64(1), (), frozenset(),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::graphdiff.plan.RetraceWarning")
def test_static_arguments_are_one_only_if_type_and_value_are() -> None:
    told: list[Any] = []

    def look(x: Any, k: Any) -> Any:
        told.append(k)
        return x + float(len(told))

    run = gd.compile(look, static_argnames=("k",))
    found = [run(0.0, k).item() for k in DISTINCT]
    assert found == [float(place + 1) for place in range(len(DISTINCT))]
    again = [*map(copy.deepcopy, DISTINCT)]
    again[DISTINCT.index((2,))] = (2,)
    assert [run(0.0, k).item() for k in again] == found


def test_a_static_argument_of_one_type_is_not_taken_for_another() -> None:
    run = gd.compile(lambda x, k: x / k[0] if type(k[0]) is int else x * 100, static_argnames=("k",))
    assert (run(1.0, (2,)).item(), run(1.0, (2.0,)).item()) == (0.5, 100.0)


def test_whatever_is_no_array_is_static_by_type_and_value() -> None:
    run = gd.compile(lambda x, k: x * (1.0 if type(k.k) is int else 2.0))
    assert [run(1.0, Settings(k)).item() for k in (1, 1.0, True, 1)] == [1.0, 2.0, 2.0, 1.0]
    keys = gd.compile(lambda tree: sum(tree.values()) * (1.0 if type(next(iter(tree))) is int else 2.0))
    assert [keys({key: 3.0}).item() for key in (1, True, 1.0, 1)] == [3.0, 6.0, 6.0, 3.0]


# Every call that changes state ----------------------------------------------------------------------------------------

X = np.random.default_rng(1).normal(size=(6, 3))


class World:
    """A model, variables, an optimiser of two groups, a schedule and streams: what state calls change."""

    def __init__(self) -> None:
        gd.random.seed(3)
        self.w = gd.variable([0.5, -1.0, 2.0], name="w")
        self.count = gd.variable(0.0, name="count")
        self.drop, self.norm = gd.nn.Dropout(0.5, seed=4), gd.nn.BatchNorm(3, dtype="float64")
        linear = gd.nn.Linear(3, 3, seed=5, dtype="float64")
        self.model = gd.nn.Sequential(linear, self.norm, gd.nn.PReLU(dtype="float64"), self.drop)
        self.rate = gd.optim.schedules.reduce_on_plateau(0.1, factor=0.5, patience=0)
        groups = [{"params": self.model.parameters()}, {"params": [self.w], "lr": self.rate, "weight_decay": 0.1}]
        self.optimizer = gd.optim.SGD(groups, lr=0.05, momentum=0.5, weight_decay=0.01)
        self.other = gd.optim.Adam([self.count], lr=0.1)
        self.stream = gd.random.generator(6)
        self.averaged = gd.train.AveragedWeights(decay=0.5)
        self.epoch = SimpleNamespace(model=self.model, epoch=0, batch=0)
        self.averaged.on_start(self.epoch)  # type: ignore[arg-type]

    def loss(self, x: Any = X) -> Any:
        return gd.mean((self.model(x) * self.w - 1.0) ** 2)

    def state(self) -> dict[str, Any]:
        """Return everything that calls may have changed."""
        leaves = {"w": self.w, "count": self.count, **dict(self.model.named_parameters())}
        found: dict[str, Any] = {f"value of {name}": leaf.numpy() for name, leaf in leaves.items()}
        found |= {f"gradient of {name}": leaf.grad for name, leaf in leaves.items()}
        found |= {f"buffer {name}": leaf.numpy() for name, leaf in self.model.named_buffers()}
        for name in ("optimizer", "other"):
            optimizer = getattr(self, name)
            found |= {f"{name} {key}": array for key, array in optimizer.state().items()}
            found |= {f"{name} settings {place}": dict(g.settings) for place, g in enumerate(optimizer.groups)}
            found[name] = optimizer.lr, optimizer.steps, optimizer.loss_scale, optimizer.clip_norm, optimizer.clip_value
        found["modes"] = [module.training for module in self.model.modules()]
        found["settings"] = self.drop.p, self.norm.momentum, self.norm.eps, self.rate.factor, self.averaged.decay
        streams = {"own": self.stream, "dropout": self.drop.stream}
        found |= {f"stream {name}": stream.bit_generator.state for name, stream in streams.items()}
        found["averages"] = self.averaged.state()["average"]
        return found


def put_into(name: str, value: Any) -> Callable[[World], Any]:
    def call(world: World) -> None:
        *path, last = name.split(".")
        owner: Any = world
        for part in path:
            owner = getattr(owner, part)
        setattr(owner, last, value(world) if callable(value) else value)

    return call


def in_place(world: World, how: str) -> None:
    w = world.w
    if how == "+":
        w += 0.5
    elif how == "-":
        w -= np.array([0.25, 0.5, 0.75])
    elif how == "*":
        w *= 1.5
    else:
        w /= 2.0
    assert w is world.w


CHANGES: dict[str, Callable[[World], Any]] = {
    "assign": lambda s: s.w.assign([1.0, 2.0, 3.0]),
    "assign an expression": lambda s: s.w.assign(s.w * 2.0 - 1.0),
    "set value": put_into("w.value", np.array([3.0, 2.0, 1.0])),
    "set value to an expression": put_into("count.value", lambda s: s.count + 1.0),
    "add": lambda s: in_place(s, "+"),
    "subtract": lambda s: in_place(s, "-"),
    "multiply": lambda s: in_place(s, "*"),
    "divide": lambda s: in_place(s, "/"),
    "forget a gradient": put_into("w.grad", None),
    "set a gradient": put_into("w.grad", np.array([0.5, 0.25, -0.5])),
    "set a gradient to an expression": put_into("w.grad", lambda s: s.w * 0.5),
    "move along a gradient": lambda s: None if s.w.grad is None else s.w.assign(s.w - 0.1 * s.w.grad),
    "copy a gradient": put_into("w.grad", lambda s: s.model.layers[0].bias.grad),
    "backward": lambda s: s.loss().backward(),
    "backward of a part": lambda s: gd.sum(s.w**2).backward(),
    "accumulate": lambda s: s.loss().backward(accumulate=True),
    "step": lambda s: s.optimizer.step(),
    "minimise": lambda s: s.optimizer.minimize(s.loss()),
    "minimise another": lambda s: s.other.minimize((s.count - 1.0) ** 2),
    "scaled": lambda s: s.optimizer.scaled_loss(gd.sum(s.w)).backward(),
    "scale the loss": lambda s: s.optimizer.scale_loss(8.0, interval=2),
    "zero": lambda s: s.optimizer.zero_grad(),
    "rate": put_into("other.lr", 0.5),
    "rate from the rate": put_into("other.lr", lambda s: s.other.lr * 0.5),
    "rate of a group": lambda s: setattr(s.optimizer.groups[0], "lr", 0.25),
    "rate of a schedule": lambda s: setattr(s.optimizer.groups[1], "lr", 0.25),
    "decay": put_into("optimizer.weight_decay", 0.2),
    "decay of a group": lambda s: s.optimizer.groups[1].settings.update(weight_decay=0.3),
    "momentum": put_into("optimizer.momentum", 0.75),
    "no momentum": put_into("optimizer.momentum", 0.0),
    "nesterov": put_into("optimizer.nesterov", True),
    "betas": put_into("other.betas", (0.5, 0.75)),
    "norm": put_into("optimizer.clip_norm", 0.01),
    "no norm": put_into("optimizer.clip_norm", None),
    "limit": put_into("optimizer.clip_value", 0.05),
    "load the optimiser": lambda s: s.other.load_state({name: 0.5 * a for name, a in s.other.state().items()}),
    "count in steps": put_into("count.value", lambda s: s.count + 1.0 * s.optimizer.steps),
    "count in rates": put_into("count.value", lambda s: s.count + s.other.lr),
    "train": lambda s: s.model.train(),
    "evaluate": lambda s: s.model.eval(),
    "turn one layer": lambda s: s.drop.train(not s.drop.training),
    "dropout": put_into("drop.p", 0.25),
    "running": put_into("norm.momentum", 0.5),
    "epsilon": put_into("norm.eps", 0.25),
    "run": lambda s: s.model(X * 2.0),
    "load the model": lambda s: s.model.load_state({name: 0.5 * a for name, a in s.model.state().items()}),
    "another stream": put_into("drop.stream", lambda s: gd.random.generator(8)),
    "a stream of one's own": put_into("drop.stream", lambda s: s.stream),
    "take out a layer": lambda s: s.model.layers.pop(),
    "normal": lambda s: s.w.assign(gd.random.normal((3,), seed=s.stream)),
    "uniform": lambda s: s.w.assign(s.w + gd.random.uniform((3,), seed=s.stream)),
    "bernoulli": lambda s: s.w.assign(s.w * gd.random.bernoulli((3,), seed=s.stream, p=0.75, dtype="float64")),
    "permutation": lambda s: s.w.assign(gd.take(s.w, gd.random.permutation(3, seed=s.stream))),
    "seeded": lambda s: s.w.assign(gd.random.normal((3,), seed=11)),
    "seed": lambda s: gd.random.seed(9),
    "unseeded": put_into("drop.stream", lambda s: gd.random.seed(12) or gd.random.generator()),
    "plateau": lambda s: s.rate.update(1.0),
    "factor": put_into("rate.factor", 0.25),
    "average": lambda s: s.averaged.on_batch(s.epoch),  # type: ignore[arg-type]
    "keep": put_into("averaged.decay", 0.75),
    "version": put_into("count.value", lambda s: s.count + float(s.w.version)),
}


def made(name: str, world: World) -> None:
    CHANGES[name](world)


def same(found: Any, expected: Any, where: str) -> None:
    """Compare states to rounding, and everything that is no number exactly."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for name in expected:
            same(found[name], expected[name], f"{where}: {name}")
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected), where
        for place in range(len(expected)):
            same(found[place], expected[place], f"{where}[{place}]")
    elif isinstance(expected, (str, type(None), bool)):
        assert found == expected, where
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12, err_msg=where)


def train_step(world: World) -> Callable[[Any], Any]:
    def step(x: Any) -> Any:
        loss = world.loss(x)
        loss.backward()
        world.optimizer.step()
        return loss

    return step


def between(names: Sequence[str]) -> None:
    """Make state calls between the calls of a step, eager and compiled."""
    worlds = [World(), World()]
    steps = [train_step(worlds[0]), gd.compile(train_step(worlds[1]))]
    for name in (None, *names, None):
        if name is not None:
            told = [outcome(partial(made, name, world)) for world in worlds]
            assert told[0] == told[1], names
        losses = [step(X).item() for step in steps]
        same(losses[1], losses[0], f"loss after {name} of {names}")
        same(worlds[1].state(), worlds[0].state(), f"after {name} of {names}")


def inside(names: Sequence[str]) -> None:
    """Make state calls within a compiled function: they do what they do eagerly, or are refused and change nothing."""
    worlds = [World(), World()]

    def program(world: World) -> Callable[[Any], Any]:
        def run(x: Any) -> Any:
            for name in names:
                CHANGES[name](world)
            return gd.sum(world.w * x) + gd.sum(world.model(x)) + world.count

        return run

    runs = [program(worlds[0]), gd.compile(program(worlds[1]))]
    for call in range(3):
        before = worlds[1].state()
        try:
            found = runs[1](X).item()
        except REFUSALS:
            same(worlds[1].state(), before, f"call {call} of {names}, refused")
            return
        same(found, runs[0](X).item(), f"value at call {call} of {names}")
        same(worlds[1].state(), worlds[0].state(), f"after call {call} of {names}")


REFUSALS = gd.errors.CompileError, gd.errors.NoValueError, gd.errors.OpError
ALONE_REFUSED = {
    "rate of a schedule", "nesterov", "no momentum", "load the optimiser", "load the model", "seed", "unseeded",
    "plateau", "average", "version", "scale the loss", "another stream", "take out a layer",
}  # fmt: skip
"""What cannot be compiled, since it looks at values or would be made at every call, or cannot be at all."""
COMPILED = [name for name in CHANGES if name not in {*ALONE_REFUSED, "keep"}]
"""The others, without attributes of what is no module, optimiser or schedule: these are set while tracing."""


@pytest.mark.filterwarnings("ignore::graphdiff.plan.RetraceWarning")
@pytest.mark.parametrize("name", CHANGES)
def test_a_state_call_alone(name: str) -> None:
    between([name])
    inside([name])
    world = World()
    refused = outcome(gd.compile(partial(made, name, world)))
    assert (refused is not None) <= (name in ALONE_REFUSED), refused


@pytest.mark.filterwarnings("ignore::graphdiff.plan.RetraceWarning")
@pytest.mark.parametrize("seed", range(120))
def test_state_calls_in_sequences_of_three(seed: int) -> None:
    chance = random.Random(seed)
    between([chance.choice([*CHANGES]) for _ in range(3)])
    inside([chance.choice(COMPILED if seed % 3 else [*COMPILED, *sorted(ALONE_REFUSED)]) for _ in range(3)])


# Processes ------------------------------------------------------------------------------------------------------------

_weight = gd.variable(2.0)


@gd.compile
def scaled(x: Any) -> Any:
    return _weight * x


def tripled(x: Any) -> Any:
    return 3 * x


class Holder:
    @gd.compile
    def add(self, x: Any) -> Any:
        return x + 1


def test_a_decorated_function_is_pickled_by_name() -> None:
    for function in (scaled, Holder.add):
        assert pickle.loads(pickle.dumps(function)) is function
        assert copy.copy(function) is function
        assert copy.deepcopy(function) is function


def test_a_compiled_function_is_pickled_without_its_plans() -> None:
    made = gd.compile(tripled, static_argnames=(), disable=("merge",), precision="bf16")
    made(2.0)
    for found in (pickle.loads(pickle.dumps(made)), copy.copy(made), copy.deepcopy(made)):
        assert found(2.0).item() == 6.0
        assert len(found.plans) == 1
        assert (found.function, found._options) == (tripled, made._options)


class Trainer:
    def __init__(self) -> None:
        self.w = gd.variable([1.0, 2.0])
        self.optimizer = gd.optim.SGD([self.w], lr=0.5)
        self.step = gd.compile(self._step)

    def _step(self, x: Any) -> Any:
        loss = gd.sum(self.w * x)
        self.optimizer.minimize(loss)
        return loss


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda trainer: pickle.loads(pickle.dumps(trainer))])
def test_what_holds_a_compiled_method_is_copied_with_it(copied: Callable[[Any], Any]) -> None:
    trainer = Trainer()
    trainer.step(np.ones(2))
    other = copied(trainer)
    other.step(np.ones(2))
    assert (trainer.w.tolist(), other.w.tolist()) == ([0.5, 1.5], [0.0, 1.0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_a_forked_child_runs_what_a_thread_was_running() -> None:
    large = gd.variable(np.full((400, 400), 1e-3))
    count = gd.variable(0.0)

    @gd.compile
    def run() -> Any:
        count.assign(count + 1)
        return gd.sum(large @ large @ large)

    run()
    going = True

    def work() -> None:
        while going:
            run()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(5):
            time.sleep(0.02)
            child = os.fork()
            if not child:
                signal.alarm(20)  # ends the child if it hangs
                code = 1
                try:
                    code = int(abs(run().item() - 400**4 * 1e-9) > 1e-3)
                finally:
                    os._exit(code)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        going = False
        thread.join()


# Planning -------------------------------------------------------------------------------------------------------------


def planned(count: int) -> tuple[float, list[Any]]:
    """Return the seconds in which a step over so many variables is planned, and what it makes of them."""
    leaves = [gd.variable(np.full(3, 1.0 + place)) for place in range(count)]

    @gd.compile
    def step() -> Any:
        loss = sum((gd.sum(leaf * leaf) for leaf in leaves[1:]), gd.sum(leaves[0] * leaves[0]))
        loss.backward()
        for leaf in leaves:
            leaf.assign(leaf - 0.1 * leaf.grad)
        return loss

    start = time.process_time()
    step()
    return time.process_time() - start, [leaf.numpy() for leaf in leaves]


def test_planning_is_linear_in_the_variables_that_a_step_assigns() -> None:
    small, _ = planned(50)
    large, values = planned(400)
    assert large < 8 * 3 * small + 0.5, "eight times the variables take far more than eight times as long"
    np.testing.assert_allclose(values, [np.full(3, 0.8 * (1.0 + place)) for place in range(400)], rtol=1e-14)


def test_variables_that_follow_each_other_take_their_old_values() -> None:
    leaves = [gd.variable(np.full(2, float(place))) for place in range(40)]

    @gd.compile
    def turn() -> Any:
        old = [leaf * 1.0 for leaf in leaves]
        for leaf, following in zip(leaves, [*old[1:], old[0]], strict=True):
            leaf.assign(following * 2.0)
        return sum((gd.sum(leaf) for leaf in leaves), 0.0)

    assert turn().item() == 2 * 2 * sum(range(40))
    assert [leaf.numpy()[0] for leaf in leaves] == [2.0 * place for place in [*range(1, 40), 0]]


# Settings -------------------------------------------------------------------------------------------------------------

VALUES: dict[str, list[Any]] = {
    "weight_decay": [0.0, 0.5],
    "momentum": [0.5, 0.0, 0.8, gd.optim.schedules.linear(0.5, 0.9, steps=3)],
    "dampening": [0.5],
    "nesterov": [True, False],
    "averaged": [True, False],
    "betas": [(0.5, 0.9)],
    "eps": [0.5],
    "eps_inside_sqrt": [True],
    "rho": [0.5],
    "centered": [True],
    "lr_decay": [0.5],
    "initial": [0.25],
    "momentum_decay": [0.5],
    "most": [0.25],
    "trust": [0.5],
    "factors": [(0.25, 2.0)],
    "limits": [(0.01, 0.05)],
    "clip_norm": [0.01, None],
    "clip_value": [0.01, None],
}


def below(module: Any, kind: type) -> list[Any]:
    """Return the classes of a module that derive from one of its own."""
    return [each for each in vars(module).values() if kind in getattr(each, "__mro__", ())[1:]]


OPTIMISERS: list[tuple[Any, dict[str, Any]]] = [
    *(
        (kind, {"lr": 0.05})
        for kind in vars(gd.optim).values()
        if gd.optim.Optimizer in getattr(kind, "__mro__", ())[1:]
    ),
    (gd.optim.SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}),
    (gd.optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True, "clip_norm": 0.1}),
    (gd.optim.RMSProp, {"lr": 0.05, "momentum": 0.9, "clip_value": 0.1}),
]


class Run:
    """Two parameters, an optimiser of each, and steps that are compiled or not."""

    def __init__(self, kind: Any, options: dict[str, Any], how: str) -> None:
        self.w, self.b = gd.variable([1.0, -2.0, 3.0]), gd.variable([0.5])
        self.optimizer = kind([self.w, self.b], **options)
        self.step: Any = gd.compile(self._step) if how == "compiled" else self._step

    def _step(self, x: Any) -> Any:
        loss = gd.sum((self.w * x) ** 2) + gd.sum(self.b * self.b * self.w[0])
        self.optimizer.minimize(loss)
        return loss

    def steps(self, count: int) -> list[Any]:
        losses = [self.step(np.array([1.0, 0.5, 0.25])).item() for _ in range(count)]
        state = {name: array.tolist() for name, array in self.optimizer.state().items()}
        return [losses, self.w.tolist(), self.b.tolist(), state]


def outcome(work: Callable[[], Any]) -> Any:
    """Return what something gives, or the sort of its error."""
    try:
        return work()
    except gd.errors.GraphDiffError as error:
        return type(error)


def changed(kind: Any, options: dict[str, Any], name: str, value: Any) -> tuple[list[Any], list[Any]]:
    """Return what an eager and a compiled run give after a setting was changed, and what they should give."""
    runs = [Run(kind, options, how) for how in ("eager", "compiled")]
    before, _ = [run.steps(3) for run in runs]
    told = [outcome(lambda run=run: setattr(run.optimizer, name, value)) for run in runs]
    assert told[0] == told[1]
    # An optimiser made with the setting, in the same state, is the truth; one without where it is refused.
    fresh = Run(kind, options if told[0] or not takes(kind, name) else {**options, name: value}, "eager")
    if not told[0] and not takes(kind, name):
        setattr(fresh.optimizer, name, value)
    fresh.w.assign(before[1])
    fresh.b.assign(before[2])
    fresh.optimizer.load_state({key: np.array(array) for key, array in before[3].items()})
    assert all(told[0] or getattr(run.optimizer, name) == value for run in runs)
    return [run.steps(3) for run in runs], fresh.steps(3)


def takes(kind: Any, name: str) -> bool:
    return name in inspect.signature(kind).parameters


@pytest.mark.parametrize(("kind", "options"), OPTIMISERS, ids=lambda given: getattr(given, "__name__", ""))
def test_every_setting_of_every_optimiser_is_obeyed_or_refused(kind: Any, options: dict[str, Any]) -> None:
    names = [*kind([gd.variable(1.0)], **options).groups[0].settings, "clip_norm", "clip_value"]
    assert set(names) <= VALUES.keys(), "a new setting: give values to try"
    for name in names:
        for value in VALUES[name]:
            found, expected = changed(kind, options, name, value)
            for each in found:
                for one, other in zip(each[:3], expected[:3], strict=True):
                    np.testing.assert_allclose(one, other, rtol=1e-12, err_msg=f"{name} = {value}")


def test_settings_of_groups_and_of_all() -> None:
    def made() -> tuple[Any, Any, Any]:
        w, b = gd.variable([1.0, 2.0]), gd.variable([3.0])
        return w, b, gd.optim.AdamW([{"params": [w]}, {"params": [b], "weight_decay": 0.0}], lr=0.05, weight_decay=0.5)

    results = []
    for wrap in (lambda function: function, gd.compile):
        w, b, optimizer = made()
        step = wrap(lambda w=w, b=b, optimizer=optimizer: optimizer.minimize(gd.sum(w * 0.0) + gd.sum(b * 0.0)))
        step()
        optimizer.weight_decay = 0.25  # of the first group: the second was given one of its own
        step()
        optimizer.groups[1].settings["weight_decay"] = 0.5
        step()
        assert [group.settings["weight_decay"] for group in optimizer.groups] == [0.25, 0.5]
        results.append((w.tolist(), b.tolist()))
        for _ in range(3):
            optimizer.weight_decay = 0.0
            step()
    shrink = (1 - 0.05 * 0.5) * (1 - 0.05 * 0.25) ** 2
    for w, b in results:
        np.testing.assert_allclose([*w, *b], [shrink, 2 * shrink, 3 * (1 - 0.05 * 0.5)], rtol=1e-12)


def test_settings_that_cannot_be_are_refused_where_they_are_set() -> None:
    w = gd.variable([1.0])
    optimizer = gd.optim.Adam([w])
    for name, value in (
        ("betas", 0.9),
        ("betas", (0.9, 1.0)),
        ("eps", -1.0),
        ("weight_decay", -0.1),
        ("clip_norm", 0.0),
        ("clip_value", "1"),
        ("weight_decay", gd.optim.schedules.constant(0.1)),
    ):
        before = getattr(optimizer, name)
        with pytest.raises(gd.errors.OpError):
            setattr(optimizer, name, value)
        assert getattr(optimizer, name) == before
    with pytest.raises(gd.errors.OpError, match="no setting 'momentum'"):
        optimizer.groups[0].settings["momentum"] = 0.5
    with pytest.raises(gd.errors.OpError, match=r"momentum cannot be changed from 0\.0 to 0\.9"):
        gd.optim.SGD([w], 0.1).momentum = 0.9
    for name, value in (("backend", "numpy"), ("groups", ()), ("parameters", [])):
        with pytest.raises(gd.errors.GraphDiffError, match="cannot be changed"):
            setattr(optimizer, name, value)


def test_what_a_rule_of_ones_own_reads_is_a_setting() -> None:
    class Scaled(gd.optim.Optimizer):
        def __init__(self, parameters: Any, lr: float, factor: float) -> None:
            super().__init__(parameters, lr, power=1.0)
            self.factor = factor

        def rule(self, F: Any, value: Any, gradient: Any, state: Any, steps: Any, lr: Any) -> Any:
            return (value - lr * self.factor * self.power * gradient,)

    for wrap in (lambda function: function, gd.compile):
        w = gd.variable([0.0])
        optimizer = Scaled([w], 1.0, 2.0)
        step = wrap(lambda w=w, optimizer=optimizer: optimizer.minimize(gd.sum(w)))
        step()
        optimizer.factor = 10.0
        step()
        optimizer.power = 3.0
        step()
        assert w.tolist() == [-42.0]


class Offset(gd.nn.Module):
    """A layer of one's own, with settings of many sorts."""

    def __init__(self) -> None:
        self.scale, self.on, self.shifts, self.table = 2.0, True, [1.0, 2.0], {"a": 3.0}
        self.kind, self.inner, self.w = "plus", gd.nn.Activation("relu"), gd.variable(1.0)

    def forward(self, x: Any) -> Any:
        x = self.inner(x) * self.scale * self.w + sum(self.shifts) * self.table["a"]
        return x if not self.on else x + 1.0 if self.kind == "plus" else x - 1.0


LAYERS: dict[str, Callable[[], Any]] = {
    "Linear": lambda: gd.nn.Linear(3, 3, seed=1, dtype="float64"),
    "Activation": lambda: gd.nn.Activation("leaky_relu", slope=0.5),
    "PReLU": lambda: gd.nn.PReLU(3, dtype="float64"),
    "Maxout": lambda: gd.nn.Maxout(3, 2, 3, seed=1, dtype="float64"),
    "Flatten": lambda: gd.nn.Flatten(),
    "Embedding": lambda: gd.nn.Embedding(4, 3, seed=1, dtype="float64"),
    "Dropout": lambda: gd.nn.Dropout(0.5, seed=1),
    "BatchNorm": lambda: gd.nn.BatchNorm(3, dtype="float64"),
    "LayerNorm": lambda: gd.nn.LayerNorm(3, dtype="float64"),
    "Sequential": lambda: gd.nn.Sequential(gd.nn.Activation("tanh"), gd.nn.Dropout(0.5, seed=1)),
    "Residual": lambda: gd.nn.Residual(gd.nn.Activation("tanh"), shortcut=gd.nn.Activation("relu")),
    "Highway": lambda: gd.nn.Highway(3, seed=1, dtype="float64"),
    "MLP": lambda: gd.nn.MLP([4, 3], in_features=3, seed=1, dtype="float64"),
    "Offset": Offset,
}


def others(value: Any) -> list[Any]:
    """Return values to put in an attribute's place."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, (int, float)):
        return [value / 4, value + 1]
    if isinstance(value, gd.Variable):
        return [gd.variable(value.numpy() * 0.5 + 1.0)]
    if isinstance(value, gd.nn.Module):
        return [gd.nn.Activation("sigmoid")]
    if isinstance(value, np.random.Generator):
        return [gd.random.generator(9)]
    if isinstance(value, list):
        return [[*value[:-1], value[0]]]
    return [{"a": 5.0}] if isinstance(value, dict) else ["tanh", None]


def public(layer: Any) -> list[str]:
    """Return the names of the attributes that users see."""
    properties = [name for name in dir(type(layer)) if isinstance(getattr(type(layer), name), property)]
    return [name for name in [*vars(layer), *properties] if not name.startswith("_")]


@pytest.mark.parametrize("name", LAYERS)
def test_every_attribute_of_every_layer_is_obeyed_or_refused(name: str) -> None:
    assert {kind.__name__ for kind in vars(gd.nn).values() if gd.nn.Module in getattr(kind, "__mro__", ())[1:]} <= {
        *LAYERS
    }
    x = np.arange(4) if name == "Embedding" else np.random.default_rng(0).normal(size=(4, 3))
    for attribute in public(LAYERS[name]()):
        for place in range(len(others(getattr(LAYERS[name](), attribute)))):
            outputs = []
            for wrap in (lambda function: function, gd.compile):
                layer = LAYERS[name]()
                call = wrap(layer)
                found: list[Any] = [call(x).numpy() for _ in range(2)]
                value = others(getattr(layer, attribute))[place]
                try:
                    setattr(layer, attribute, value)
                except (gd.errors.GraphDiffError, AttributeError) as error:
                    found.append(type(error).__name__)
                found += [outcome(lambda call=call: call(x).numpy()) for _ in range(2)]
                outputs.append([*found, {path: array.tolist() for path, array in layer.state().items()}])
            for eager, compiled in zip(*outputs, strict=True):
                if isinstance(eager, np.ndarray):
                    np.testing.assert_allclose(compiled, eager, rtol=1e-12, err_msg=f"{attribute} = {value}")
                elif isinstance(eager, dict):
                    for path, array in eager.items():
                        np.testing.assert_allclose(compiled[path], array, rtol=1e-12, err_msg=f"{attribute}: {path}")
                else:
                    assert compiled == eager, f"{attribute} = {value}"


@pytest.mark.filterwarnings("ignore::graphdiff.plan.RetraceWarning")
def test_layers_put_in_and_taken_out_are_seen() -> None:
    model = gd.nn.Sequential(gd.nn.Activation("relu"), gd.nn.Activation("tanh"))
    run, x = gd.compile(model), np.array([-1.0, 2.0])
    changes: list[Callable[[list[Any]], Any]] = [
        lambda layers: None,
        lambda layers: layers.append(gd.nn.Activation("sigmoid")),
        lambda layers: layers.pop(0),
        lambda layers: layers.__setitem__(0, gd.nn.Activation("softplus")),
        lambda layers: layers.__delitem__(0),
        lambda layers: layers.insert(0, gd.nn.Activation("hard_tanh")),
        lambda layers: layers.extend([gd.nn.Activation("elu")]),
        lambda layers: layers.reverse(),
        lambda layers: layers.__iadd__([gd.nn.Activation("gelu")]),
        lambda layers: layers.clear(),
    ]
    for change in changes:
        change(model.layers)
        for _ in range(2):
            np.testing.assert_allclose(run(x).numpy(), model(x).numpy(), rtol=1e-12)


def test_settings_of_schedules_are_obeyed_or_refused() -> None:
    class Halved(gd.optim.Schedule):
        def __init__(self) -> None:
            self.base = 0.5

        def at(self, steps: Any) -> Any:
            return self.base**steps

    for wrap in (lambda function: function, gd.compile):
        w, rate = gd.variable(0.0), Halved()
        optimizer = gd.optim.SGD([w], lr=rate)
        step = wrap(lambda w=w, optimizer=optimizer: optimizer.minimize(w * 1.0))
        step()
        rate.base = 0.25
        step()
        assert w.item() == -1.25
        plateau = gd.optim.schedules.reduce_on_plateau(1.0)
        w = gd.variable(0.0)
        optimizer = gd.optim.SGD([w], lr=plateau)
        step = wrap(lambda w=w, optimizer=optimizer: optimizer.minimize(w * 1.0))
        step()
        plateau.initial = gd.optim.schedules.constant(0.125)
        step()
        assert w.item() == -1.125
    with pytest.raises(AttributeError, match="cannot assign to field"):
        gd.optim.schedules.cosine(1.0, 10).initial = 2.0  # type: ignore[misc]


def test_settings_set_within_a_compiled_function_are_set_at_every_call() -> None:
    for wrap in (lambda function: function, gd.compile):
        layer, w = gd.nn.BatchNorm(2, dtype="float64"), gd.variable([1.0, 2.0])
        optimizer = gd.optim.SGD([w], lr=0.5, momentum=0.5)

        @wrap
        def step(layer: Any = layer, w: Any = w, optimizer: Any = optimizer) -> Any:
            layer.momentum = 0.5
            optimizer.momentum = 0.25
            optimizer.lr = optimizer.lr * 0.5
            loss = gd.sum(layer(np.array([[1.0, 2.0], [3.0, 5.0]]) * w))
            optimizer.minimize(loss + gd.sum(w))
            return optimizer.lr * 1.0, optimizer.steps * 1

        rates = []
        for _ in range(2):
            rate, steps = step()
            rates.append((float(rate), int(steps)))
            assert (layer.momentum, optimizer.momentum) == (0.5, 0.25)
            layer.momentum, optimizer.momentum = 0.125, 0.75
        assert rates == [(0.25, 1), (0.125, 2)]
        np.testing.assert_allclose(w.numpy(), [1 - 0.25 - 0.125 * 1.25, 2 - 0.25 - 0.125 * 1.25], rtol=1e-9)


def test_a_counter_of_ones_own_counts_in_compiled_calls_too() -> None:
    class Counted(gd.nn.Module):
        calls = 0

        def forward(self, x: Any) -> Any:
            self.calls += 1
            return x * float(self.calls)

    for wrap in (lambda function: function, gd.compile):
        layer = Counted()
        call = wrap(layer)
        assert [call(np.ones(())).item() for _ in range(4)] == [1.0, 2.0, 3.0, 4.0]
        assert layer.calls == 4


def test_scaling_begun_after_the_first_step_is_obeyed() -> None:
    for wrap in (lambda function: function, gd.compile):
        w = gd.variable([1.0])
        optimizer = gd.optim.SGD([w], lr=0.5)
        step = wrap(lambda w=w, optimizer=optimizer: optimizer.minimize(gd.sum(w)))
        step()
        optimizer.scale_loss(4.0, interval=1)
        step()
        assert (w.tolist(), optimizer.loss_scale) == ([0.0], 8.0)


def test_lists_and_dicts_of_a_layer_of_ones_own_are_looked_at() -> None:
    layer = Offset()
    run, x = gd.compile(layer), np.array([1.0])
    changes: list[Callable[[], Any]] = [
        lambda: layer.shifts.append(5.0),
        lambda: layer.shifts.__setitem__(0, -1.0),
        lambda: layer.table.update(a=7.0),
        lambda: setattr(layer, "shifts", [3.0]),
        lambda: layer.shifts.append(4.0),
    ]
    for change in changes:
        for _ in range(2):
            assert run(x).numpy() == layer(x).numpy()
        change()
        assert run(x).numpy() == layer(x).numpy()


# What eager code refuses ----------------------------------------------------------------------------------------------

SCORES, LOGITS = np.array([0.3, -0.4, 0.2]), np.array([[0.1, 0.2, 0.3], [0.2, 0.1, -1.0]])
ROWS = gd.nn.Embedding(5, 2, seed=1, dtype="float64")
SURE, TORN = np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]), np.array([[1.0, 0.0, 0.0], [1.5, -0.5, 0.0]])
REFUSED: dict[str, tuple[Callable[[Any], Any], Any, list[Any]]] = {
    "binary": (lambda y: gd.nn.binary_cross_entropy(SCORES, y), [0.0, 1.0, 1.0], [[0.0, 2.0, 1.0], [0.0, 1.0, np.nan]]),
    "binary, whole": (lambda y: gd.nn.binary_cross_entropy(SCORES, y), [0, 1, 1], [[0, -1, 1], [2, 0, 0]]),
    "binary, weighted": (
        lambda y: gd.nn.binary_cross_entropy(SCORES, y, positive_weight=2.0), [0, 1, 1], [[0, 2, 1], [0, -1, 1]],
    ),
    "hinge": (lambda y: gd.nn.hinge(SCORES, y), [-1, 1, 1], [[0, 1, 1], [-1, 1, 2]]),
    "hinge of floats": (lambda y: gd.nn.hinge(SCORES, y), [-1.0, 1.0, 1.0], [[-1.0, 1.0, 0.5], [-1.0, np.nan, 1.0]]),
    "hinge of classes": (lambda y: gd.nn.hinge(LOGITS, y), [1, 2], [[1, 3], [-1, 1]]),
    "smoothed": (
        lambda y: gd.nn.softmax_cross_entropy(LOGITS, y, label_smoothing=0.1), [1, 2], [[1, 3], [-1, 1]],
    ),
    "by class": (
        lambda y: gd.nn.softmax_cross_entropy(LOGITS, y, class_weights=[1.0, 2.0, 3.0]), [1, 2], [[1, 3], [-1, 1]],
    ),
    "probabilities": (
        lambda y: gd.nn.softmax_cross_entropy(LOGITS, y), SURE, [TORN, SURE * 1.1, SURE * np.nan],
    ),
    "divergence": (lambda y: gd.nn.kl_divergence(LOGITS, y), SURE, [TORN, SURE * np.nan]),
    **{
        f"weights of {loss.__name__}": (
            lambda w, loss=loss: loss(SCORES, abs(SCORES), weights=w),
            [1.0, 0.0, 2.0], [[1.0, 0.0, -1.0], [np.nan, 1.0, 1.0]],
        )
        for loss in (gd.nn.squared_error, gd.nn.absolute_error, gd.nn.huber, gd.nn.binary_cross_entropy)
    },
    "weights of classes": (
        lambda w: gd.nn.softmax_cross_entropy(LOGITS, [1, 2], weights=w), [1.0, 2.0], [[1.0, -2.0]],
    ),
    "weights of a hinge": (lambda w: gd.nn.hinge(SCORES, [1, -1, 1], weights=w), [1.0, 2.0, 0.0], [[-1.0, 1.0, 1.0]]),
    "weights of a divergence": (lambda w: gd.nn.kl_divergence(LOGITS, SURE, weights=w), [1.0, 2.0], [[1.0, -2.0]]),
    "embedding": (lambda rows: gd.sum(ROWS(rows)), [0, 4], [[0, -1], [5, 0]]),
    "one row": (lambda row: gd.sum(ROWS(row)), 3, [-1, 5]),
    "quantile": (lambda q: gd.quantile(SCORES, q), 0.5, [1.5, -0.5]),
    "an index": (lambda rows: gd.sum(gd.constant(SCORES)[rows]), [0, -1], [[0, 3], [-4, 0]]),
    "take": (lambda rows: gd.sum(gd.take(SCORES, rows)), [0, -1], [[0, 3], [-4, 0]]),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_plan_refuses_what_eager_code_refuses_and_changes_nothing(name: str) -> None:
    function, good, bad = REFUSED[name]
    w = gd.variable(1.0)
    optimizer = gd.optim.SGD([w], lr=0.1, momentum=0.9)

    @gd.compile
    def step(given: Any) -> Any:
        loss = function(given) * w
        optimizer.minimize(loss)
        return loss

    expected = function(np.asarray(good)).numpy()
    np.testing.assert_allclose(gd.compile(function)(np.asarray(good)).numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(step(np.asarray(good)).numpy(), expected, rtol=1e-12)
    before = w.item(), {path: array.tolist() for path, array in optimizer.state().items()}
    for given in map(np.asarray, bad):
        for call in (function, gd.compile(function), step):
            with pytest.raises(gd.errors.GraphDiffError):
                call(given)
    assert (w.item(), {path: array.tolist() for path, array in optimizer.state().items()}) == before


def test_what_is_demanded_of_values_names_the_row() -> None:
    loss = gd.compile(lambda y: gd.nn.binary_cross_entropy(LOGITS, y))
    with pytest.raises(gd.errors.DataError, match=r"labels are in \[0, 1\], but row 1 of float64\[2, 3\] has 1\.5"):
        loss(TORN)


def test_labels_that_depend_on_variables_may_leave_the_simplex() -> None:
    """As eagerly, where they may be differentiated by."""
    raw = gd.variable(SURE + 0.1)
    loss = gd.compile(lambda: gd.nn.softmax_cross_entropy(LOGITS, raw))
    np.testing.assert_allclose(loss().numpy(), gd.nn.softmax_cross_entropy(LOGITS, raw).numpy(), rtol=1e-12)


def test_demands_are_differentiated_through_and_batched() -> None:
    def loss(z: Any, y: Any) -> Any:
        return gd.nn.binary_cross_entropy(z, y)

    labels = np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 0.5]])
    both = gd.compile(lambda y: gd.vmap(lambda row: gd.grad(loss)(SCORES, row))(y))(labels).numpy()
    np.testing.assert_allclose(both, (1 / (1 + np.exp(-SCORES)) - labels) / 3, rtol=1e-12)
    slopes = gd.compile(lambda rows: gd.grad(lambda w: gd.sum(gd.take(w, rows, axis=0) ** 2))(ROWS.weight))
    assert slopes(np.array([1, 1])).numpy()[1].tolist() == (4 * ROWS.weight.numpy()[1]).tolist()


# Empty parameters -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", below(gd.optim, gd.optim.Optimizer), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("shape", [(0,), (0, 3)])
def test_empty_parameters_are_moved_by_nothing(kind: Any, shape: tuple[int, ...]) -> None:
    for wrap in (lambda function: function, gd.compile):
        alone, beside, w, same = (
            gd.variable(np.zeros(shape)),
            gd.variable(np.zeros(shape)),
            *map(gd.variable, ([1.0, 2.0],) * 2),
        )
        only, both, plain = kind([alone], lr=0.1), kind([beside, w], lr=0.1), kind([same], lr=0.1)
        step = wrap(lambda: only.minimize(gd.sum(alone * alone)))  # noqa: B023
        joint = wrap(lambda: both.minimize(gd.sum(beside * beside) + gd.sum(w * w)))  # noqa: B023
        for _ in range(2):
            step()
            joint()
            plain.minimize(gd.sum(same * same))
        assert (alone.shape, only.steps) == (shape, 2)
        np.testing.assert_allclose(w.numpy(), same.numpy(), rtol=1e-12)


def test_empty_parameters_of_methods_that_use_curvature() -> None:
    for kind in (gd.optim.LBFGS, gd.optim.Newton):
        empty, w = gd.variable(np.zeros(0)), gd.variable([1.0, 2.0])
        kind([empty, w]).minimize(lambda empty=empty, w=w: gd.sum(w * w) + gd.sum(empty))
        np.testing.assert_allclose(w.numpy(), 0.0, atol=1e-9)
    assert gd.optim.LBFGS([empty]).minimize(lambda: gd.sum(empty)).item() == 0.0
