"""State and traces: what a compiled function reads or writes is what an eager one reads or writes, at every call."""

import copy
import enum
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
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


@pytest.mark.filterwarnings("ignore::graphdiff.plan.compiler.RetraceWarning")
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
