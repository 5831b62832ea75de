"""Which launches wait for which: against every pair of them, on random memory."""

import numpy as np
import pytest
from cuda_emulator import COMPILER, WHY_NOT, latest_first
from cupy_stand_in import Emulated
from graphdiff_cupy.ordering import LANES, Access, Launch, accesses, lanes, waits
from test_cupy_networks import ADAM, NETWORKS, trained, training

import graphdiff as gd
from graphdiff.plan.lowering.views import Storage, View


def random_launches(seed: int) -> list[list[Access]]:
    r = np.random.default_rng(seed)

    def access() -> Access:
        first = int(r.integers(0, 30))
        return Access(str(r.integers(0, 3)), first, first + int(r.integers(1, 12)), bool(r.integers(0, 2)))

    return [[access() for _ in range(r.integers(0, 4))] for _ in range(40)]


@pytest.mark.parametrize("seed", range(20))
def test_a_launch_comes_after_all_that_touch_the_same_memory_and_waits_for_no_other(seed: int) -> None:
    launches = random_launches(seed)
    found = waits(launches)
    behind: list[set[int]] = []
    for place, nearest in enumerate(found):
        needed = {
            earlier
            for earlier in range(place)
            if any(own.meets(other) for own in launches[place] for other in launches[earlier])
        }
        assert set(nearest) <= needed
        farther = set().union(*(behind[earlier] for earlier in nearest))
        assert not farther & set(nearest), "what is waited for anyway is not waited for twice"
        behind.append(farther | set(nearest))
        assert needed <= behind[place]


@pytest.mark.parametrize("seed", range(5))
def test_a_lane_is_shared_without_need_only_where_there_are_no_more(seed: int) -> None:
    launches = random_launches(seed)
    waiting = waits(launches)
    taken = lanes(waiting)
    assert max(taken) < LANES
    behind: list[set[int]] = []
    last: dict[int, int] = {}
    for place, (lane, nearest) in enumerate(zip(taken, waiting)):
        behind.append(set(nearest).union(*(behind[earlier] for earlier in nearest)))
        if lane in last and last[lane] not in behind[place]:
            assert len(last) == LANES
        last[lane] = place


def test_views_reach_from_their_first_to_their_last_byte() -> None:
    storage = Storage(100, np.dtype("float32"))
    storage.offset = 640
    whole = View(storage, (10, 10), (10, 1), 0, storage.dtype)
    (row,) = accesses([whole.indexed([3])], [])  # type: ignore[list-item]
    assert (row.first, row.end, row.writes) == (640 + 120, 640 + 160, False)
    (column,) = accesses([], [whole.indexed([slice(None), 3])])  # type: ignore[list-item]
    assert (column.first, column.end, column.writes) == (640 + 12, 640 + 4 * 94, True)
    (backwards,) = accesses([whole.indexed([slice(None, None, -1), 3])], [])  # type: ignore[list-item]
    assert (backwards.first, backwards.end) == (column.first, column.end)
    assert accesses([whole.indexed([slice(3, 3)])], []) == []  # type: ignore[list-item]


@pytest.mark.skipif(COMPILER is None, reason=WHY_NOT)
@pytest.mark.parametrize("name", NETWORKS)
def test_side_by_side_or_one_by_one_training_is_the_same(name: str) -> None:
    sizes, batch = NETWORKS[name]
    results = [trained(Emulated(late=late), 3, sizes, batch, ADAM) for late in (False, True)]
    assert results[0][0] == results[1][0]
    for one, other in zip(results[0][1], results[1][1]):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("name", "longest"), [("B", 6), ("C", 6), ("D", 8)])
def test_the_gradients_of_weights_do_not_hold_up_those_of_activations(name: str, longest: int) -> None:
    with gd.use_backend(Emulated()):
        step, data, _ = training(*NETWORKS[name], ADAM)
        runner = step.plan(*data)._runner
    launches = [Launch(lambda: None, lane, touches) for lane, touches in zip(runner._lanes, runner._touches)]
    depth: list[int] = []
    lane_depth: dict[int, int] = {}
    for launch, nearest in zip(launches, waits([launch.touches for launch in launches])):
        depth.append(1 + max([lane_depth.get(launch.lane, 0), *(depth[earlier] for earlier in nearest)]))
        lane_depth[launch.lane] = depth[-1]
    assert max(depth) == longest < len(launches)
    assert latest_first(launches) != launches
