"""Random streams within compiled functions: a call that fails has drawn nothing, others what eager code draws."""

import signal
import threading
from typing import Any

import numpy as np
import pytest
from test_toy_backend import STRICT

import graphdiff as gd


def place(stream: Any) -> Any:
    """Return where a stream is, as something that can be compared."""
    state = stream.bit_generator.state
    return state["state"]["counter"].tolist(), state["buffer_pos"], state["has_uint32"]


@pytest.mark.parametrize("backend", ["numpy", STRICT], ids=["generated", "op by op"])
def test_a_call_that_fails_has_drawn_nothing(backend: Any) -> None:
    stream, reference = gd.random.generator(3), gd.random.generator(3)
    with gd.use_backend(backend):
        total, table = gd.variable(np.zeros(3)), gd.variable(np.arange(5.0))

        @gd.compile
        def step(rows: Any) -> Any:
            noise = gd.random.normal((3,), seed=stream)
            total.assign(total + noise * table[rows])
            return noise

        rows = [gd.constant(np.arange(3) + start).value for start in (0, 4)]
        first = step(rows[0]).numpy()
        before = place(stream), total.numpy().tolist()
        with pytest.raises(IndexError):
            step(rows[1])
        assert (place(stream), total.numpy().tolist()) == before
        second = step(rows[0]).numpy()
    expected = reference.normal(0, 1, (2, 3))
    np.testing.assert_array_equal([first, second], expected)
    np.testing.assert_allclose(total.numpy(), expected.sum(axis=0) * np.arange(3), rtol=1e-15)


def test_a_step_that_runs_again_with_other_numbers_draws_once() -> None:
    """Python's floats raise where 1 is divided by 0; the step is then run again with NumPy's."""
    stream, reference = gd.random.generator(3), gd.random.generator(3)
    count = gd.variable(0.0)

    @gd.compile
    def step() -> Any:
        noise = gd.random.normal((2,), seed=stream)
        rate = 1.0 / count
        count.assign(count + 1)
        return noise, rate

    found = [step() for _ in range(3)]
    assert [rate.item() for _, rate in found] == [np.inf, 1.0, 0.5]
    np.testing.assert_array_equal([noise.numpy() for noise, _ in found], reference.normal(0, 1, (3, 2)))


def test_profiling_draws_nothing() -> None:
    stream = gd.random.generator(3)
    step = gd.compile(lambda x: x + gd.random.uniform((2,), seed=stream))
    plan = step.plan(np.ones(2))
    before = place(stream)
    plan.profile(np.ones(2), repeats=2)
    assert place(stream) == before


def test_an_interrupted_call_has_drawn_if_it_has_assigned() -> None:
    stream, reference = gd.random.generator(3), gd.random.generator(3)
    count = gd.variable(0)

    @gd.compile
    def step() -> Any:
        noise = gd.random.uniform((4,), seed=stream)
        count.assign(count + 1)
        return noise

    step()
    drawn = interrupted = 0
    for attempt in range(40):
        timer = threading.Timer(0.0002 + 0.00003 * attempt, signal.raise_signal, [signal.SIGINT])
        try:
            timer.start()
            for _ in range(100_000):
                step()
        except KeyboardInterrupt:
            interrupted += 1
        timer.join()
        while drawn < count.item():
            reference.random(4)
            drawn += 1
        assert place(stream) == place(reference)
    assert interrupted == 40
