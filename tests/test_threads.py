"""Threads beside each other: what one traces, watches or scopes is no other's business."""

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pytest
from test_toy_backend import STRICT

import graphdiff as gd
from graphdiff.train.prefetch import prefetched


@contextmanager
def elsewhere(within: Callable[[Callable[[], Any]], Any]) -> Iterator[list[Any]]:
    """Run `within` in another thread, which stands at the call of its argument for as long as the block lasts."""
    entered, left, results = threading.Event(), threading.Event(), []

    def stand() -> None:
        entered.set()
        assert left.wait(20)

    worker = threading.Thread(target=lambda: results.append(within(stand)))
    worker.start()
    assert entered.wait(20)
    try:
        yield results
    finally:
        left.set()
        worker.join()


def within_a(manager: Callable[[], AbstractContextManager[Any]]) -> Callable[[Callable[[], Any]], None]:
    def run(stand: Callable[[], Any]) -> None:
        with manager():
            stand()

    return run


def test_variables_have_values_while_another_thread_traces() -> None:
    w = gd.variable(3.0, name="w")

    def traced(stand: Callable[[], Any]) -> Any:
        @gd.compile
        def step(x: Any) -> Any:
            stand()
            return gd.sum(w * x)

        return step(np.ones(2)).item()

    with elsewhere(traced) as results:
        y = w * w
        assert y.item() == 9.0
        y.backward()
        assert w.grad == 6.0
        assert w.value == 3.0
        model = gd.nn.MLP([2], in_features=2)
        optimizer = gd.optim.SGD(model.parameters(), lr=0.1)
        before = model.state()
        optimizer.minimize(gd.sum(model(np.ones((1, 2), "float32")) ** 2))
        assert any(not np.array_equal(before[name], value) for name, value in model.state().items())
        assert gd.compile(lambda x: gd.sum(w * x))(np.ones(3)).item() == 9.0
    assert results == [6.0]
    assert w.grad == 6.0


def test_a_watch_is_told_of_its_own_thread() -> None:
    with elsewhere(within_a(gd.detect_anomalies)), np.errstate(divide="ignore"):
        assert gd.log(gd.variable(0.0)).item() == -np.inf
    with elsewhere(lambda stand: (gd.sin(1.0), stand(), gd.cos(gd.variable(1.0)))), gd.watch.Counter() as counter:
        gd.tanh(gd.variable(1.0)).backward()
    assert dict(counter.values) == {"tanh": 1}


def test_every_thread_has_its_own_scope() -> None:
    with elsewhere(within_a(lambda: gd.name_scope("theirs"))):
        assert gd.variable(1.0).scope == ""
        with gd.name_scope("ours"):
            assert (gd.variable(1.0) * 2).scope == "ours"


def test_every_thread_chooses_its_own_backend() -> None:
    def chosen_for_good(stand: Callable[[], Any]) -> str:
        gd.use_backend(STRICT)
        stand()
        return gd.variable(1.0).backend.name

    with gd.use_backend(STRICT), elsewhere(lambda stand: (stand(), gd.variable(1.0).backend.name)) as begun:
        assert gd.variable(1.0).backend is STRICT
    assert begun == [(None, "numpy")]
    with elsewhere(within_a(lambda: gd.use_backend(STRICT))), elsewhere(chosen_for_good) as chosen:
        x = gd.variable([1.0, 2.0])
        assert x.backend.name == "numpy"
        gd.sum(x * x).backward()
        np.testing.assert_array_equal(x.grad, [2.0, 4.0])
        with gd.use_backend(STRICT):
            assert gd.ones(3).backend is STRICT
    assert chosen == [STRICT.name]
    assert gd.current_backend().name == "numpy"


def test_derivatives_on_two_backends_beside_each_other() -> None:
    """A derivative works on its graph's backend, and must not move another thread's to it."""
    mixed: list[str] = []

    def work(backend: Any) -> None:
        with gd.use_backend(backend):
            x = gd.variable(np.linspace(0.1, 1.0, 5))
            for _ in range(100):
                made = gd.hvp(lambda x: gd.sum(gd.sin(x) * x), x, np.ones(5))
                fresh = gd.ones(3) * gd.variable(2.0)
                if made.backend is not x.backend or fresh.backend is not x.backend:
                    mixed.append(fresh.backend.name)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, ["numpy", STRICT] * 2))
    finally:
        sys.setswitchinterval(interval)
    assert mixed == []


def test_batches_are_prepared_on_the_callers_backend() -> None:
    def batches() -> Iterator[Any]:
        yield from (gd.ones(2) for _ in range(3))

    with gd.use_backend(STRICT):
        assert [batch.backend for batch in prefetched(batches(), ahead=2)] == [STRICT] * 3


@pytest.mark.parametrize("compiled", [False, True])
def test_the_same_gradient_from_many_threads(compiled: bool) -> None:
    def loss(x: Any) -> Any:
        for _ in range(10):
            x = gd.sin(x) * 0.9 + x * x * 0.1
        return gd.sum(x)

    gradient = gd.compile(gd.grad(loss)) if compiled else gd.grad(loss)
    points = [np.linspace(0, 1, 7) * (1 + k) for k in range(4)]
    expected = [np.asarray(gd.grad(loss)(point)) for point in points]
    wrong: list[int] = []

    def work(k: int) -> None:
        for _ in range(20):
            if not np.allclose(np.asarray(gradient(points[k])), expected[k], rtol=1e-12):
                wrong.append(k)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []
