"""The report on training steps on a GPU, from invented times: what is computed of them and how it reads."""

import doctest
import os
import warnings
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def gpu() -> Any:
    """Return the script, and undo what its package settles for measurements: one thread, one core."""
    cores = getattr(os, "sched_getaffinity", lambda _: None)(0)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(os, "environ", os.environ.copy())
        patch.syspath_prepend(Path(__file__).parent.parent)
        warnings.simplefilter("ignore")
        from benchmarks import gpu

        if cores is not None:
            os.sched_setaffinity(0, cores)
    return gpu


def test_the_bounds_are_those_worked_out_by_hand(gpu: Any) -> None:
    from benchmarks import roofline

    assert doctest.testmod(roofline).failed == 0
    medium = gpu.CASES[3].config
    assert (medium.sizes, medium.batch) == ((784, 2048, 2048, 10), 512)
    # 16.2 Gflop at 67 Tflop/s; 236 MB at 4.3 TB/s take longer than the products in TF32
    assert gpu.bound(medium, "float32", "NVIDIA H200") == pytest.approx(242e-6, rel=0.01)
    assert gpu.bound(medium, "tf32", "NVIDIA H200") == pytest.approx(55e-6, rel=0.01)


def test_a_table_divides_by_the_best_peer_and_by_the_bound(gpu: Any) -> None:
    found = {
        "graphdiff": {"seconds": 110e-6, "minimum": 90e-6, "loss": 1.0},
        "JAX jit": {"seconds": 220e-6, "minimum": 190e-6, "loss": 1.0},
        "PyTorch eager": {"missing": "torch is not installed"},
    }
    table = gpu.table_of(gpu.CASES[3], found, "NVIDIA H200")
    assert "Goal: at most 110 µs, 0.85 × the best of the others, at least 50% of the bound." in table.markdown()
    assert [row[3:5] for row in table.rows] == [("0.50", "50%"), ("1.00", "25%"), ("", "")]
    assert table.rows[2][1] == "torch is not installed"
    assert gpu.table_of(gpu.CASES[3], found, "another GPU").rows[0][4] == ""
