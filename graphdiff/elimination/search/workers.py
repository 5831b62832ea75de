"""Searches in processes of their own, one for every core."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["in_parallel"]

MOST = 16
PATIENCE = 5.0
"""Seconds for which a result is waited for beyond the search's time."""


def in_parallel(
    search: Callable[..., Any], script: Sequence[str], task: dict[str, Any], seed: int, least: float
) -> list[Any]:
    """Run a search here, and elsewhere with seeds of their own, and return all results; the first is that from here.

    Other processes run a script instead of forking or importing the user's program, which then needs no
    ``if __name__ == "__main__"``.

    Parameters
    ----------
    search : callable
        Of the task's items and a seed.
    script : sequence of str
        Arguments to Python: what reads the task with its seed as JSON, and writes the result as JSON.
    task : dict
        With "seconds" among its items: how long to search.
    seed : int
    least : float
        Seconds below which no other process is worth its start.

    Returns
    -------
    list
        Those from elsewhere have been through JSON.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    began = time.monotonic()
    others = _started(script, task, seed, min(cores, MOST) - 1 if task["seconds"] > least else 0)
    try:
        left = max(0.0, task["seconds"] - (time.monotonic() - began))
        results = [search(**{**task, "seconds": left}, seed=seed)]
        for process in others:
            try:
                results.append(json.loads(process.communicate(timeout=PATIENCE)[0]))
            except (subprocess.TimeoutExpired, ValueError, OSError):
                continue
    finally:
        for process in others:
            if process.poll() is None:
                process.kill()
                process.wait()
    return results


def _started(script: Sequence[str], task: dict[str, object], seed: int, count: int) -> list[subprocess.Popen[str]]:
    """Start processes that read their task at once; none where the platform allows none."""
    started: list[subprocess.Popen[str]] = []
    path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for index in range(count if sys.executable else 0):
        # Bit masks of large graphs are longer than the digits that Python converts by default.
        command = [sys.executable, "-X", "int_max_str_digits=0", *script]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=os.environ | path,
            )
            assert process.stdin is not None
            process.stdin.write(json.dumps({**task, "seed": seed + 1 + index}))
            process.stdin.close()
            process.stdin = None
        except OSError:
            break
        started.append(process)
    return started
