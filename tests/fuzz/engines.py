"""What runs compiled functions: the one place to name another."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import graphdiff as gd


@contextmanager
def numpy_plans() -> Iterator[None]:
    """Plans on NumPy, the default."""
    yield


@contextmanager
def c_plans() -> Iterator[None]:
    """Plans on NumPy, compiled as C."""
    before = os.environ.get("GRAPHDIFF_ENGINE")
    os.environ["GRAPHDIFF_ENGINE"] = "c"
    try:
        yield
    finally:
        del os.environ["GRAPHDIFF_ENGINE"]
        if before is not None:
            os.environ["GRAPHDIFF_ENGINE"] = before


@contextmanager
def emulated_cuda() -> Iterator[None]:
    """The plans of the CuPy backend, their kernels compiled as C++ and run on the CPU."""
    from cupy_stand_in import Emulated

    with gd.use_backend(Emulated(blocks=3)):
        yield


ENGINES: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "numpy": numpy_plans,
    "c": c_plans,
    "emulated-cuda": emulated_cuda,
}
"""Within the block that one opens, `gd.compile` plans for it."""
_chosen = ["numpy"]


def choose(name: str) -> None:
    """Let the blocks that `engine` opens be of this engine."""
    _chosen[0] = name


def engine() -> AbstractContextManager[None]:
    """Return a context manager within which `gd.compile` plans for the chosen engine."""
    return ENGINES[_chosen[0]]()
