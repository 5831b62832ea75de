"""The search for a good elimination order, on bit masks and the standard library alone: it also runs as a script.

A vertex's neighbours at its elimination depend only on which vertices went before, so that moving a vertex past others
changes the cost of those alone that are its neighbours as it passes them. A move passes a few neighbours and computes
one set of predecessors or successors anew for each.
"""

from __future__ import annotations

import json
import math
import random
import sys
import time
from collections.abc import Sequence

__all__ = ["State", "anneal", "search", "through"]

HOT, COLD = 6.0, 0.02


def through(start: int, jump: Sequence[int], gone: int, leaders: int) -> int:
    """Return the vertices that `start` leads to when those of `gone` are passed through by their masks in `jump`."""
    reached = start
    gone_leaders = gone & leaders
    hit = reached & gone_leaders
    seen = 0
    while hit:
        low = hit & -hit
        seen |= low
        reached |= jump[low.bit_length() - 1]
        hit = reached & gone_leaders & ~seen
    return reached & ~gone


class State:
    """An elimination order with every vertex's predecessors and successors at the time of its elimination.

    Parameters
    ----------
    before, after : sequence of int
        Masks of the neighbours of each group of vertices; a group's leader is the bit of its number.
    groups : sequence of int
        Masks of the members of each group.
    order : sequence of int
        Groups.
    """

    def __init__(
        self, before: Sequence[int], after: Sequence[int], groups: Sequence[int], order: Sequence[int]
    ) -> None:
        self.before, self.after, self.groups = before, after, groups
        self.order = list(order)
        self.sizes = [group.bit_count() for group in groups]
        self.leaders = (1 << len(groups)) - 1
        self.into, self.out = [0] * len(groups), [0] * len(groups)
        self.prefix: list[int] = []
        gone = self.cost = 0
        for v in self.order:
            self.prefix.append(gone)
            self.into[v] = through(before[v], self.into, gone, self.leaders)
            self.out[v] = through(after[v], self.out, gone, self.leaders)
            gone |= groups[v]
            self.cost += self.sizes[v] * self.into[v].bit_count() * self.out[v].bit_count()


def anneal(state: State, generator: random.Random, seconds: float, hot: float = HOT, cold: float = COLD) -> list[int]:
    """Anneal an order for that long and return the best met; the temperature falls geometrically."""
    before, after, groups, order = state.before, state.after, state.groups, state.order
    sizes, leaders, into, out, prefix = state.sizes, state.leaders, state.into, state.out, state.prefix
    count = len(order)
    best, best_cost, cost = list(order), state.cost, state.cost
    if count < 2:
        return best
    uniform, log, clock = generator.random, math.log, time.monotonic
    started = clock()
    rate = log(cold / hot) / seconds if seconds > 0 else 0.0
    while (elapsed := clock() - started) < seconds:
        temperature = hot * math.exp(rate * elapsed)
        for _ in range(200):
            draw = uniform()
            to_pass = 1 if draw < 0.5 else 2 if draw < 0.75 else 3 if draw < 0.88 else 6
            place = end = int(uniform() * count)
            v = order[place]
            p, q = into[v], out[v]
            mask = groups[v]
            change = -sizes[v] * p.bit_count() * q.bit_count()
            undo = []
            if uniform() < 0.5:
                gone = prefix[place]
                near = p | q
                reached = place
                while to_pass and reached + 1 < count:
                    reached += 1
                    w = order[reached]
                    if near >> w & 1:
                        old_p, old_q = into[w], out[w]
                        undo.append((w, old_p, old_q))
                        if q >> w & 1:
                            new = through(before[w], into, gone, leaders)
                            change += sizes[w] * (new.bit_count() - old_p.bit_count()) * old_q.bit_count()
                            into[w] = new
                            q = q & ~groups[w] | old_q
                        else:
                            new = through(after[w], out, gone, leaders)
                            change += sizes[w] * (new.bit_count() - old_q.bit_count()) * old_p.bit_count()
                            out[w] = new
                            p = p & ~groups[w] | old_p
                        near = p | q
                        to_pass -= 1
                        end = reached
                    gone |= groups[w]
            else:
                reached = place
                while to_pass and reached:
                    reached -= 1
                    w = order[reached]
                    old_p, old_q = into[w], out[w]
                    if (old_p | old_q) >> v & 1:
                        undo.append((w, old_p, old_q))
                        if old_q >> v & 1:
                            new = old_q & ~mask | q
                            change += sizes[w] * (new.bit_count() - old_q.bit_count()) * old_p.bit_count()
                            out[w] = new
                            p = through(before[v], into, prefix[reached], leaders)
                        else:
                            new = old_p & ~mask | p
                            change += sizes[w] * (new.bit_count() - old_p.bit_count()) * old_q.bit_count()
                            into[w] = new
                            q = through(after[v], out, prefix[reached], leaders)
                        to_pass -= 1
                        end = reached
            if not undo:
                continue
            change += sizes[v] * p.bit_count() * q.bit_count()
            if change > 0 and change > -temperature * log(1.0 - uniform()):
                for w, old_p, old_q in undo:
                    into[w], out[w] = old_p, old_q
                continue
            into[v], out[v] = p, q
            if end > place:
                order[place:end] = order[place + 1 : end + 1]
                order[end] = v
                low, high = place, end
            else:
                order[end + 1 : place + 1] = order[end:place]
                order[end] = v
                low, high = end, place
            gone = prefix[low]
            for position in range(low, high + 1):
                prefix[position] = gone
                gone |= groups[order[position]]
            cost += change
            if cost < best_cost:
                best_cost, best = cost, list(order)
    state.cost = cost
    return best


def search(
    before: Sequence[int],
    after: Sequence[int],
    groups: Sequence[int],
    start: Sequence[int],
    seed: int,
    seconds: float,
    restarts: int,
    enough: int,
) -> tuple[int, list[int]]:
    """Anneal `restarts` times within the time, and return (cost, order) of the best; stops at the cost `enough`."""
    generator = random.Random(seed)
    best = list(start)
    best_cost = State(before, after, groups, best).cost
    deadline = time.monotonic() + seconds
    for turn in range(restarts):
        left = deadline - time.monotonic()
        if left <= 0 or best_cost <= enough:
            break
        found = anneal(State(before, after, groups, best), generator, left / (restarts - turn))
        cost = State(before, after, groups, found).cost
        if cost < best_cost:
            best_cost, best = cost, found
    return best_cost, best


def main() -> None:
    """Read one task as JSON from standard input and write its result as JSON."""
    task = json.load(sys.stdin)
    cost, order = search(**task)
    json.dump([cost, order], sys.stdout)


if __name__ == "__main__":
    main()
