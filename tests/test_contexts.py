"""Contexts: what a thread, asyncio task or process traces, watches, names, chooses or seeds is no other's business."""

import asyncio
import contextvars
import multiprocessing
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from context_reports import report, trained
from test_toy_backend import STRICT

import graphdiff as gd
from graphdiff.tensor import OBSERVERS, TRACES


def in_turns(*tasks: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Run coroutines as tasks that give way to each other at every await."""

    async def together() -> list[Any]:
        return await asyncio.gather(*(task() for task in tasks))

    return asyncio.run(together())


async def turn() -> None:
    await asyncio.sleep(0)


def test_scopes_of_tasks_do_not_mix() -> None:
    async def named(name: str) -> list[str]:
        made = []
        with gd.name_scope(name):
            await turn()
            made.append((gd.variable(1.0) * 2).scope)
            with gd.name_scope("inner"):
                await turn()
                made.append(gd.variable(1.0).scope)
            await turn()
            made.append(gd.variable(1.0).scope)
        return [*made, gd.variable(1.0).scope]

    assert in_turns(lambda: named("a"), lambda: named("b")) == [["a", "a/inner", "a", ""], ["b", "b/inner", "b", ""]]


def test_a_task_keeps_the_scope_that_it_was_begun_in() -> None:
    async def later() -> str:
        await turn()
        await turn()
        return gd.variable(1.0).scope

    async def beginning() -> tuple[str, str]:
        with gd.name_scope("outer"):
            task = asyncio.ensure_future(later())
        return gd.variable(1.0).scope, await task

    assert asyncio.run(beginning()) == ("", "outer")


def test_a_watch_is_told_of_its_own_task() -> None:
    async def watching() -> dict[str, int]:
        with gd.watch.Counter() as counter:
            await turn()
            gd.sin(gd.variable(1.0))
            await turn()
        return dict(counter.values)

    async def working() -> None:
        for _ in range(3):
            gd.cos(gd.variable(1.0))
            await turn()

    assert in_turns(watching, working, watching) == [{"sin": 1}, None, {"sin": 1}]


def test_a_watch_that_is_closed_is_told_nothing_by_a_task_that_inherited_it() -> None:
    async def later() -> None:
        gd.sin(gd.variable(1.0))
        await turn()
        await turn()
        gd.cos(gd.variable(1.0))

    async def beginning() -> dict[str, int]:
        with gd.watch.Counter() as counter:
            task = asyncio.ensure_future(later())
            await turn()
        with gd.watch.Counter():
            await task
        return dict(counter.values)

    assert asyncio.run(beginning()) == {"sin": 1}


def test_a_task_begun_by_a_traced_function_is_not_traced() -> None:
    w = gd.variable(2.0)
    tasks: list[Any] = []

    async def later() -> float:
        return float(gd.sum(w * w).item())

    async def beginning() -> float:
        @gd.compile
        def step(x: Any) -> Any:
            tasks.append(asyncio.ensure_future(later()))
            return gd.sum(w * x)

        assert step(np.ones(3)).item() == 6.0
        return await tasks[0]

    assert asyncio.run(beginning()) == 4.0


def test_tasks_choose_their_own_backend() -> None:
    async def strict() -> list[str]:
        with gd.use_backend(STRICT):
            await turn()
            within = gd.variable(1.0).backend.name
            await turn()
        return [within, gd.variable(1.0).backend.name]

    async def for_good() -> str:
        gd.use_backend(STRICT)
        await turn()
        return gd.current_backend().name

    async def plain() -> list[str]:
        found = []
        for _ in range(4):
            found.append(gd.variable(1.0).backend.name)
            await turn()
        return found

    assert in_turns(strict, plain, for_good) == [[STRICT.name, "numpy"], ["numpy"] * 4, STRICT.name]
    assert gd.current_backend().name == "numpy"


def test_a_derivative_watched_in_one_task_says_nothing_of_another() -> None:
    async def detecting() -> float:
        with gd.detect_anomalies():
            await turn()
            return float(gd.sin(gd.variable(0.0)).item())

    async def dividing() -> float:
        await turn()
        with np.errstate(divide="ignore"):
            return float(gd.log(gd.variable(0.0)).item())

    assert in_turns(detecting, dividing) == [0.0, -np.inf]


def test_summary_counts_its_own_modules_only() -> None:
    """While one thread stands within a summary, another calls its model."""
    entered, left, tables = threading.Event(), threading.Event(), []

    class Standing(gd.nn.Module):
        def forward(self, x: Any) -> Any:
            entered.set()
            assert left.wait(20)
            return x * 2

    model = gd.nn.Sequential(Standing(), gd.nn.Linear(2, in_features=3))
    worker = threading.Thread(target=lambda: tables.append(gd.nn.summary(model, (4, 3))))
    worker.start()
    assert entered.wait(20)
    try:
        assert OBSERVERS
        gd.nn.MLP([5, 2], in_features=3)(np.ones((1, 3), "float32"))
    finally:
        left.set()
        worker.join()
    assert str(tables[0]) == str(gd.nn.summary(model, (4, 3)))
    assert not OBSERVERS


# Random streams ------------------------------------------------------------------------------------------------------


def test_trainings_in_threads_are_those_of_one_after_the_other() -> None:
    alone = [trained(1), trained(2)]
    assert alone[0] != alone[1]
    assert alone[0] == trained(1)
    barrier = threading.Barrier(4)
    with ThreadPoolExecutor(4) as pool:
        beside = list(pool.map(lambda seed: trained(seed, lambda: barrier.wait(20) and None), [1, 2, 1, 2]))
    assert beside == alone * 2


def test_trainings_in_tasks_are_those_of_one_after_the_other() -> None:
    async def training(seed: int) -> list[Any]:
        gd.random.seed(seed)
        drawn = []
        for _ in range(3):
            drawn.append(gd.random.normal(2, seed=gd.random.generator()).tolist())
            await turn()
        return drawn

    alone = [asyncio.run(training(seed)) for seed in (1, 2)]
    assert in_turns(*(lambda seed=seed: training(seed) for seed in (1, 2, 1))) == [*alone, alone[0]]


def weights() -> Any:
    return gd.nn.Linear(2, in_features=2).weight.numpy().tolist()


def test_threads_without_a_seed_differ_from_each_other() -> None:
    gd.random.seed(5)
    mine = [weights(), weights()]
    gd.random.seed(5)

    def in_threads() -> list[Any]:
        made: list[Any] = []
        for _ in range(3):
            thread = threading.Thread(target=lambda: made.extend([weights(), weights()]))
            thread.start()
            thread.join()
        return made

    theirs = in_threads()
    every = [str(each) for each in [*mine, *theirs]]
    assert len(set(every)) == 8
    assert [weights(), weights()] == mine, "threads took numbers of the main thread's streams"
    gd.random.seed(5)
    assert in_threads() == theirs, "the main thread's seed decides"


def test_a_copied_context_in_another_thread_has_streams_of_its_own() -> None:
    gd.random.seed(7)
    first, second = weights(), weights()
    gd.random.seed(7)
    theirs: list[Any] = []
    run = contextvars.copy_context().run
    thread = threading.Thread(target=lambda: theirs.append(run(weights)))
    thread.start()
    thread.join()
    assert [weights(), weights()] == [first, second]
    assert theirs[0] not in (first, second)


# Processes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [m for m in ("fork", "spawn") if m in multiprocessing.get_all_start_methods()])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_begins_without_what_other_threads_have_open(method: str) -> None:
    """A thread traces, watches and summarises while the process is forked: the child has none of that thread's."""
    entered, left = threading.Event(), threading.Event()

    def stand(x: Any) -> Any:
        entered.set()
        assert left.wait(60)
        return x * 2

    def elsewhere() -> None:
        with gd.name_scope("theirs"), gd.use_backend(STRICT):
            gd.compile(stand)(gd.ones(2))

    worker = threading.Thread(target=elsewhere)
    worker.start()
    assert entered.wait(20)
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=report, args=(queue,))
    try:
        assert TRACES
        child.start()
        assert queue.get(timeout=60) == [0, 0, 0, "", "numpy", 6.0, trained(1)]
        child.join(20)
        assert child.exitcode == 0
    finally:
        left.set()
        worker.join()


@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_keeps_what_the_forking_thread_has_open() -> None:
    context = multiprocessing.get_context("fork")
    queue = context.Queue()

    def work() -> None:
        gd.sin(gd.variable(1.0))
        queue.put((dict(counter.values), gd.variable(1.0).scope))

    with gd.watch.Counter() as counter, gd.name_scope("mine"):
        child = context.Process(target=work)
        child.start()
        assert queue.get(timeout=60) == ({"sin": 1}, "mine")
        child.join(20)
    assert counter.values == {}
