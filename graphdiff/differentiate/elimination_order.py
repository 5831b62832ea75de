"""Orders in which to eliminate the vertices of a computational graph, and what each costs in multiplications."""

from __future__ import annotations

import hashlib
import heapq
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from graphdiff.differentiate import annealing
from graphdiff.errors import GraphError
from graphdiff.graph import Graph
from graphdiff.tensor import Tensor

__all__ = ["EliminationOrder", "Vertices", "elimination_order"]

METHODS = ("forward", "reverse", "markowitz", "search")
TIES = ("lowest", "highest", "random")
EXACT = 20
"""Up to so many vertices (twins counted once, those with one neighbour on either side left out) are solved exactly."""


BOUNDED = 500
"""Up to so many vertices the bound on every order's cost is worth its time."""


class Vertices:
    """A computational graph as neighbour sets over the numbers 0, 1, 2 …, in topological order where it matters.

    Attributes
    ----------
    names : list
        What each number stands for.
    before, after : list of set of int
        Predecessors and successors.
    units : set of (int, int)
        The edges whose partial derivative is 1 or -1.
    inner : list of int
        The vertices with predecessors and successors, topologically sorted, ties by number.
    """

    def __init__(
        self, names: Sequence[Hashable], edges: Iterable[tuple[int, int]], units: Iterable[tuple[int, int]] = ()
    ) -> None:
        self.names = list(names)
        self.before: list[set[int]] = [set() for _ in self.names]
        self.after: list[set[int]] = [set() for _ in self.names]
        for tail, head in edges:
            self.before[head].add(tail)
            self.after[tail].add(head)
        self.units = set(units)
        topological = self._sorted()
        self.inner = [v for v in topological if self.before[v] and self.after[v]]

    def _sorted(self) -> list[int]:
        waiting = [len(before) for before in self.before]
        ready = [v for v, count in enumerate(waiting) if not count]
        heapq.heapify(ready)
        found = []
        while ready:
            v = heapq.heappop(ready)
            found.append(v)
            for head in self.after[v]:
                waiting[head] -= 1
                if not waiting[head]:
                    heapq.heappush(ready, head)
        if len(found) < len(self.names):
            raise GraphError("the graph has a cycle: a computational graph is a directed acyclic graph")
        return found

    def copy(self) -> tuple[list[set[int]], list[set[int]]]:
        """Return predecessors and successors to be changed."""
        return [set(each) for each in self.before], [set(each) for each in self.after]

    def count(self, order: Sequence[int]) -> tuple[int, int, int]:
        """Return the multiplications of eliminating in `order`, those by factors other than ±1, and the additions."""
        before, after = self.copy()
        units = set(self.units)
        total = without_units = additions = 0
        for v in order:
            total += len(before[v]) * len(after[v])
            for tail in before[v]:
                for head in after[v]:
                    first, second = (tail, v) in units, (v, head) in units
                    without_units += not (first or second)
                    if tail in before[head]:
                        additions += 1
                        units.discard((tail, head))
                    elif first and second:
                        units.add((tail, head))
            remove(v, before, after)
        return total, without_units, additions


def remove(v: int, before: list[set[int]], after: list[set[int]]) -> None:
    """Eliminate a vertex: connect each of its predecessors with each of its successors."""
    for tail in before[v]:
        after[tail].remove(v)
        after[tail] |= after[v]
    for head in after[v]:
        before[head].remove(v)
        before[head] |= before[v]


class EliminationOrder(Sequence[Any]):
    """The order in which the vertices between inputs and outputs are eliminated.

    Attributes
    ----------
    vertices : tuple
    multiplications : int
        The sum of predecessors × successors over the vertices as they are eliminated, the literature's count.
    multiplications_without_units : int
        The same, products with an edge of partial derivative 1 or -1 left out.
    method : str
    optimal : bool
        Whether it is known that no order takes fewer multiplications.
    numbers : tuple of int
        The vertices by their places among all vertices, inputs first, in the order of computation.
    """

    def __init__(
        self,
        vertices: Iterable[Any],
        multiplications: int,
        without_units: int,
        method: str,
        optimal: bool,
        numbers: Sequence[int] = (),
    ) -> None:
        self.numbers = tuple(numbers)
        self.vertices = tuple(vertices)
        self.multiplications = multiplications
        self.multiplications_without_units = without_units
        self.method = method
        self.optimal = optimal

    def __len__(self) -> int:
        return len(self.vertices)

    def __getitem__(self, index: Any) -> Any:
        return self.vertices[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.vertices)

    def __repr__(self) -> str:
        best = ", optimal" if self.optimal else ""
        return f"EliminationOrder({self.method}: {len(self)} vertices, {self.multiplications} multiplications{best})"


# Graphs of either kind -------------------------------------------------------------------------------------------


def vertices_of(graph: Any) -> Vertices:
    """Return a `Graph` or a NetworkX directed graph as `Vertices`.

    Raises
    ------
    GraphError
        It is neither, or has a cycle, or no path leads from an input to an output.
    """
    if isinstance(graph, Vertices):
        return graph
    if isinstance(graph, Tensor):
        graph = Graph(graph)
    if isinstance(graph, Graph):
        from graphdiff.differentiate.eliminate import ScalarGraph

        found = ScalarGraph(graph.outputs, graph.inputs).vertices
    elif hasattr(graph, "is_directed") and hasattr(graph, "edges"):
        found = _of_networkx(graph)
    else:
        raise GraphError(f"elimination_order takes a gd.Graph or a networkx.DiGraph, not {type(graph).__name__}")
    if not any(found.before):
        raise GraphError("no path leads from an input to an output: there is no Jacobian to accumulate")
    return found


def _of_networkx(graph: Any) -> Vertices:
    if not graph.is_directed():
        raise GraphError("a computational graph is directed, and this one is not: give a networkx.DiGraph")
    names = list(graph.nodes)
    if all(isinstance(name, int) for name in names):
        names.sort()
    number = {name: index for index, name in enumerate(names)}
    edges: list[tuple[int, int]] = []
    units: set[tuple[int, int]] = set()
    for tail, head, attributes in graph.edges(data=True):
        edge = number[tail], number[head]
        if edge in edges:
            units.discard(edge)
        elif attributes.get("partial") in (1, -1):
            units.add(edge)
        edges.append(edge)
    return Vertices(names, edges, units)


# Orders ----------------------------------------------------------------------------------------------------------


def markowitz(vertices: Vertices, ties: str, generator: random.Random) -> list[int]:
    """Eliminate the cheapest vertex each time."""
    before, after = vertices.copy()
    rank = {v: place for place, v in enumerate(vertices.inner)}
    left = {v: len(before[v]) * len(after[v]) for v in vertices.inner}
    order = []
    while left:
        least = min(left.values())
        tied = [v for v, cost in left.items() if cost == least]
        if ties == "random":
            v = generator.choice(tied)
        else:
            v = (min if ties == "lowest" else max)(tied, key=rank.__getitem__)
        order.append(v)
        near = before[v] | after[v]
        remove(v, before, after)
        del left[v]
        for neighbour in near:
            if neighbour in left:
                left[neighbour] = len(before[neighbour]) * len(after[neighbour])
    return order


class _Reduced:
    """What is left to search: vertices of one predecessor and one successor gone first, false twins in groups."""

    def __init__(self, vertices: Vertices) -> None:
        before, after = vertices.copy()
        # Such a vertex costs at least one multiplication whenever it goes, and going first it enlarges nobody's set.
        self.first: list[int] = []
        left = list(vertices.inner)
        while single := [v for v in left if len(before[v]) == 1 and len(after[v]) == 1]:
            for v in single:
                if len(before[v]) == 1 and len(after[v]) == 1:
                    self.first.append(v)
                    remove(v, before, after)
            gone = set(self.first)
            left = [v for v in left if v not in gone]
        # Equal neighbours stay equal, and neither enlarges the other's sets: they may go one after the other
        # (arXiv 2506.17521).
        twins: dict[Any, list[int]] = {}
        for v in left:
            twins.setdefault((frozenset(before[v]), frozenset(after[v])), []).append(v)
        self.members = list(twins.values())
        bit: dict[int, int] = {group[0]: place for place, group in enumerate(self.members)}
        extra = [v for group in self.members for v in group[1:]]
        gone = set(self.first)
        extra += [v for v in range(len(vertices.names)) if v not in gone and v not in bit and v not in set(extra)]
        bit |= {v: len(self.members) + place for place, v in enumerate(extra)}
        self.groups = [sum(1 << bit[v] for v in group) for group in self.members]
        self.before = [sum(1 << bit[v] for v in before[group[0]]) for group in self.members]
        self.after = [sum(1 << bit[v] for v in after[group[0]]) for group in self.members]

    def expand(self, order: Iterable[int]) -> list[int]:
        """Return the whole order of one of groups."""
        return self.first + [v for group in order for v in self.members[group]]

    def shrink(self, order: Sequence[int]) -> list[int]:
        """Return the groups in the order of their first members."""
        place = {v: index for index, v in enumerate(order)}
        return sorted(range(len(self.members)), key=lambda group: min(place[v] for v in self.members[group]))

    def cost(self, order: Sequence[int]) -> int:
        """Return the multiplications of an order of groups, the vertices gone first not counted."""
        return annealing.State(self.before, self.after, self.groups, order).cost

    def bounds(self) -> list[int]:
        """Return, per group, a number of multiplications that it takes in every order.

        Predecessors are never fewer than vertex-disjoint paths from the inputs, successors than those to the outputs
        (Menger).
        """
        count = len(self.members)
        return [
            each.bit_count() * _disjoint(self.before, group, count) * _disjoint(self.after, group, count)
            for group, each in enumerate(self.groups)
        ]

    def exact(self, upper: int, start: list[int], deadline: float) -> list[int] | None:
        """Return an order of least cost by dynamic programming over the sets of eliminated groups, or None for time.

        A set's cost so far and the bounds of what is left must stay below `upper`, the cost of the order `start`.
        """
        count = len(self.members)
        bounds = self.bounds()
        leaders = (1 << count) - 1
        layer: dict[int, tuple[int, int, Any]] = {0: (0, sum(bounds), None)}
        for _ in range(count):
            following: dict[int, tuple[int, int, Any]] = {}
            for turn, (gone, (cost, remaining, trail)) in enumerate(layer.items()):
                if not turn % 64 and time.monotonic() > deadline:
                    return None
                for v, p, q in self._choices(gone, leaders):
                    step = self.groups[v].bit_count() * p * q
                    total, left = cost + step, remaining - bounds[v]
                    if total + left >= upper:
                        continue
                    key = gone | self.groups[v]
                    known = following.get(key)
                    if known is None or total < known[0]:
                        following[key] = total, left, (v, trail)
            layer = following
        if not layer:
            return start
        order = []
        ((_, _, trail),) = layer.values()
        while trail is not None:
            v, trail = trail
            order.append(v)
        return order[::-1]

    def _choices(self, gone: int, leaders: int) -> list[tuple[int, int, int]]:
        choices = []
        left = leaders & ~gone
        while left:
            low = left & -left
            left ^= low
            v = low.bit_length() - 1
            p = annealing.through(self.before[v], self.before, gone, leaders).bit_count()
            q = annealing.through(self.after[v], self.after, gone, leaders).bit_count()
            if p * q == 1:
                return [(v, p, q)]
            choices.append((v, p, q))
        return choices


def _disjoint(neighbours: Sequence[int], group: int, count: int) -> int:
    """Return how many vertex-disjoint paths lead from a group to vertices that are not to be eliminated."""
    # Augmenting paths on the graph with every vertex split in two; sets are small, so this is quick.
    follows: dict[int, int] = {}  # on a path: vertex -> next
    precedes: dict[int, int] = {}
    paths = 0
    while True:
        parent: dict[tuple[int, bool], tuple[int, bool] | None] = {(group, True): None}
        pending: list[tuple[int, bool]] = [(group, True)]
        end: tuple[int, bool] | None = None
        while pending and end is None:
            v, leaving = here = pending.pop()
            steps: list[tuple[int, bool]] = []
            if leaving:
                mask = neighbours[v] if v < count else 0
                while mask:
                    low = mask & -mask
                    mask ^= low
                    w = low.bit_length() - 1
                    if not (v != group and follows.get(v) == w) and not (v == group and precedes.get(w) == group):
                        steps.append((w, False))
                if v in precedes:
                    steps.append((v, False))  # back across the vertex itself
            elif v in precedes:
                if precedes[v] != group:
                    steps.append((precedes[v], True))
            elif v >= count:
                end = here
            else:
                steps.append((v, True))
            for step in steps:
                if step not in parent:
                    parent[step] = here
                    pending.append(step)
        if end is None:
            return paths
        paths += 1
        trail = [end]
        while (earlier := parent[trail[-1]]) is not None:
            trail.append(earlier)
        trail.reverse()
        added, dropped = [], []
        for (v, leaving), (w, arriving) in zip(trail, trail[1:], strict=False):
            if leaving and not arriving and v != w:
                added.append((v, w))
            elif not leaving and arriving and v != w:
                dropped.append((w, v))
        for v, w in dropped:
            follows.pop(v, None)
            if precedes.get(w) == v:
                del precedes[w]
        for v, w in added:
            if v != group:
                follows[v] = w
            precedes[w] = v


# The search ------------------------------------------------------------------------------------------------------


def cache_folder() -> Path:
    """Return where orders are kept: GRAPHDIFF_CACHE_DIR, or the platform's folder for caches."""
    if given := os.environ.get("GRAPHDIFF_CACHE_DIR"):
        return Path(given)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "graphdiff"


def _cache_file(vertices: Vertices) -> Path:
    structure = [sorted(after) for after in vertices.after]
    return cache_folder() / "orders" / f"{hashlib.sha256(json.dumps(structure).encode()).hexdigest()[:32]}.json"


def _remembered(path: Path, vertices: Vertices) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text("utf-8"))
        valid = sorted(found["order"]) == sorted(vertices.inner) and isinstance(found["seconds"], (int, float))
        return found if valid else None  # type: ignore[no-any-return]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(path: Path, order: Sequence[int], seconds: float, optimal: bool) -> None:
    """Keep an order; a cache that cannot be written is no cache."""
    aside = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps({"order": list(order), "seconds": seconds, "optimal": optimal}), "utf-8")
        os.replace(aside, path)
    except OSError:
        aside.unlink(missing_ok=True)


def _anneal_in_parallel(reduced: _Reduced, start: list[int], seed: int, seconds: float, enough: int) -> list[int]:
    """Search in as many processes as there are cores, each with a seed of its own."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    task: dict[str, Any] = {
        **{"before": reduced.before, "after": reduced.after, "groups": reduced.groups, "start": start},
        **{"seconds": seconds, "restarts": max(1, round(seconds / 12)), "enough": enough},
    }
    began = time.monotonic()
    others = _start_workers(task, seed, min(workers, 16) - 1 if seconds > 0.3 else 0)
    try:
        task["seconds"] = max(0.0, seconds - (time.monotonic() - began))
        results = [annealing.search(**task, seed=seed)]
        for process in others:
            try:
                text = process.communicate(timeout=5)[0]
                results.append(tuple(json.loads(text)))
            except (subprocess.TimeoutExpired, ValueError, OSError):
                continue
    finally:
        for process in others:
            if process.poll() is None:
                process.kill()
                process.wait()
    return min(results, key=lambda result: result[0])[1]


def _start_workers(task: dict[str, Any], seed: int, count: int) -> list[subprocess.Popen[str]]:
    """Start processes that read their task at once; none where the platform allows none."""
    started: list[subprocess.Popen[str]] = []
    for index in range(count if sys.executable else 0):
        # Bit masks of large graphs are longer than the digits that Python converts by default.
        command = [sys.executable, "-I", "-S", "-X", "int_max_str_digits=0", str(Path(annealing.__file__))]
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            assert process.stdin is not None
            process.stdin.write(json.dumps({**task, "seed": seed + 1 + index}))
            process.stdin.close()
            process.stdin = None
        except OSError:
            break
        started.append(process)
    return started


def _search(
    vertices: Vertices, seed: int, time_limit: float, cache: bool, greedy: Callable[[], Iterator[list[int]]]
) -> tuple[list[int], bool]:
    began = time.monotonic()
    path = _cache_file(vertices)
    known = _remembered(path, vertices) if cache else None
    if known and (known["optimal"] or known["seconds"] >= time_limit):
        return known["order"], bool(known["optimal"])
    deadline = began + time_limit
    candidates = [known["order"]] if known else []
    for order in greedy():
        candidates.append(order)
        if time.monotonic() - began > time_limit / 4 and len(candidates) > 2:
            break
    reduced = _Reduced(vertices)
    starts = [reduced.shrink(order) for order in candidates]
    start = min(starts, key=reduced.cost)
    upper = reduced.cost(start)
    enough = sum(reduced.bounds()) if len(reduced.members) <= BOUNDED else 0
    best: list[int] | None = start if upper <= enough else None
    if best is None and len(reduced.members) <= EXACT:
        best = reduced.exact(upper, start, deadline)
    optimal = best is not None
    if best is None:
        best = _anneal_in_parallel(reduced, start, seed, max(0.0, deadline - time.monotonic()), enough)
        optimal = reduced.cost(best) <= enough
    order = reduced.expand(best)
    if cache and len(order) > 1:
        _remember(path, order, time_limit, optimal)
    return order, optimal


def elimination_order(
    graph: Any,
    method: str = "markowitz",
    *,
    ties: str = "lowest",
    time_limit: float = 3.0,
    seed: int = 0,
    cache: bool = True,
) -> EliminationOrder:
    """Return an order in which to eliminate the vertices between inputs and outputs, with its cost.

    Eliminating a vertex multiplies each of its in-edges by each of its out-edges. When all are gone, the edges from
    inputs to outputs are the Jacobian. Topological order is forward mode, its opposite reverse mode.

    Parameters
    ----------
    graph : Graph or networkx.DiGraph
        Sources are inputs, sinks are outputs. An edge of a NetworkX graph may carry ``partial=1`` or ``-1``. On a
        `Graph` copies (casts, reshapes) are no vertices, and an output that others use is eliminated too.
    method : {"forward", "reverse", "markowitz", "search"}
        ``"markowitz"`` takes the vertex of least cost each time; ``"search"`` anneals, from the best greedy order,
        or, where there are few vertices, finds the optimum.
    ties : {"lowest", "highest", "random"}
        Which of several cheapest vertices ``"markowitz"`` takes.
    time_limit : float
        Seconds for ``"search"``.
    seed : int
        For random ties and for the search.
    cache : bool
        Whether ``"search"`` looks into, and adds to, the orders kept on disk (in GRAPHDIFF_CACHE_DIR, or the
        platform's folder for caches) by the graph's structure. GRAPHDIFF_CACHE=0 switches it off everywhere.

    Returns
    -------
    EliminationOrder

    Raises
    ------
    GraphError
        No such method, a cycle, no path from an input to an output, a time limit below 0.

    Notes
    -----
    A. Griewank and A. Walther, Evaluating Derivatives, 2nd ed., SIAM 2008, chapters 9 and 10: vertex elimination and
    the Markowitz rule. To find the best order is NP-hard (conjectured there; related problems: U. Naumann, 2008).

    Examples
    --------
    >>> import networkx, graphdiff as gd
    >>> bat = networkx.DiGraph([("x", "a"), ("y", "a"), ("a", "b"), ("b", "u"), ("b", "v"), ("b", "w")])
    >>> [gd.elimination_order(bat, method).multiplications for method in ("forward", "reverse", "markowitz")]
    [8, 9, 8]
    """
    if method not in METHODS:
        raise GraphError(f"elimination_order has the methods {', '.join(METHODS)}, not {method!r}")
    if ties not in TIES:
        raise GraphError(f"ties go to the {', '.join(TIES)}, not {ties!r}")
    if not time_limit >= 0:
        raise GraphError(f"a time limit is a number of seconds, not {time_limit!r}")
    vertices = vertices_of(graph)
    generator = random.Random(seed)
    optimal = False

    def greedy() -> Iterator[list[int]]:
        yield vertices.inner
        yield vertices.inner[::-1]
        for each in (*TIES, "random", "random"):
            yield markowitz(vertices, each, generator)

    if method == "forward":
        order = vertices.inner
    elif method == "reverse":
        order = vertices.inner[::-1]
    elif method == "markowitz":
        order = markowitz(vertices, ties, generator)
    else:
        cached = cache and os.environ.get("GRAPHDIFF_CACHE", "1") != "0"
        order, optimal = _search(vertices, seed, time_limit, cached, greedy)
    names = [vertices.names[v] for v in order]
    return EliminationOrder(names, *vertices.count(order)[:2], method, optimal, order)
