"""Plans of the CuPy backend for random graphs, run on the CPU, against NumPy: small, and too large for one block."""

from typing import Any

import numpy as np
import pytest
from cuda_emulator import COMPILER, WHY_NOT
from cupy_stand_in import Emulated
from test_random_graphs import program, run

import graphdiff as gd

LARGER = {2: 110, 3: 130, 1: 1}


def made(seed: int, large: bool) -> tuple[Any, list[Any]]:
    """Return a random function with its gradient, and where to evaluate it."""
    shapes, steps, stream = program(2 + seed % 2, 8, seed)
    sizes = [tuple(LARGER[length] if large else length for length in shape) for shape in shapes]
    points = [stream.uniform(-1, 1, shape) for shape in sizes]

    def function(*leaves: Any) -> Any:
        return gd.sum(gd.tanh(run(steps, leaves)))

    return gd.value_and_grad(function, argnums=tuple(range(len(points)))), points


@pytest.mark.skipif(COMPILER is None, reason=WHY_NOT)
@pytest.mark.parametrize(("large", "count"), [(False, 60), (True, 40)])
def test_random_graphs_against_numpy(large: bool, count: int) -> None:
    drawn = [made(seed, large) for seed in range(count)]
    with np.errstate(all="ignore"):
        expected = [function(*map(gd.constant, points)) for function, points in drawn]
        with gd.use_backend(Emulated(blocks=3)):
            plans = [gd.compile(function) for function, _ in drawn]
            given = [[gd.constant(point) for point in points] for _, points in drawn]
            for compiled, leaves in zip(plans, given):
                compiled.plan(*leaves)
            found = [compiled(*leaves) for compiled, leaves in zip(plans, given)]
    for seed, ((value, slopes), (wanted, wanted_slopes)) in enumerate(zip(found, expected)):
        np.testing.assert_allclose(value.numpy(), wanted.numpy(), rtol=1e-9, atol=1e-9, err_msg=f"seed {seed}")
        for mine, theirs in zip(slopes, wanted_slopes):
            scale = 1e-10 * max(1.0, np.abs(theirs.numpy()).max(initial=0))
            np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-8, atol=scale, err_msg=f"seed {seed}")
