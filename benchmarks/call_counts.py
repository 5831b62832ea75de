"""Count the Python calls behind an operation and a gradient, and print them as JSON.

``python -P benchmarks/call_counts.py TREE`` imports whichever graphdiff comes first on the path and counts what runs
from the files of TREE: every `call` event of `sys.setprofile`, thus also each resumption of a generator and, before
Python 3.12, each comprehension. Figures of different versions of Python are therefore not comparable. Functions in C
are not counted. Every measured call is the second of its kind.
"""

import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import graphdiff as gd


def count(call: Callable[[], Any], tree: Path) -> dict[str, int]:
    """Return how many Python calls the second of two equal calls makes, in graphdiff/ and in backends/ of `tree`."""
    folders = {name: f"{tree / name}/" for name in ("graphdiff", "backends")}
    found = dict.fromkeys(folders, 0)

    def profile(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            for name, folder in folders.items():
                found[name] += frame.f_code.co_filename.startswith(folder)

    kept = [call()]  # freeing a result isn't part of the call
    sys.setprofile(profile)
    kept.append(call())
    sys.setprofile(None)
    return found


def main() -> None:
    """Count and print."""
    x, y = gd.variable([1.0, 2.0, 3.0]), gd.variable([4.0, 5.0, 6.0])

    def product(x: Any) -> Any:
        return gd.sum(gd.sin(x * y))

    def sine(x: Any) -> Any:
        return gd.sum(gd.sin(x))

    losses = iter([product(x), product(x)])
    gradient_of_product, gradient_of_sine = gd.grad(product), gd.grad(sine)
    array = x.numpy()
    calls: dict[str, Callable[[], Any]] = {
        "gd.sum(x)": lambda: gd.sum(x),
        "x[0]": lambda: x[0],
        "f = sum(sin(x*y))": lambda: product(x),
        "f.backward()": lambda: next(losses).backward(),
        "f = sum(sin(x*y)), f.backward()": lambda: product(x).backward(),
        "gd.grad(f)(x)": lambda: gradient_of_product(x),
        "g = sum(sin(x)), g.backward()": lambda: sine(x).backward(),
        "gd.grad(g)(array)": lambda: gradient_of_sine(array),
    }
    gc.disable()
    tree = Path(sys.argv[1])
    print(json.dumps({name: count(call, tree) for name, call in calls.items()}))


if __name__ == "__main__":
    main()
