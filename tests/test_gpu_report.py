"""The report on training steps on a GPU: how it is made, on an emulated one, and what it makes of invented times."""

import doctest
import json
import os
import sys
import time
import warnings
from contextvars import ContextVar
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from cuda_emulator import COMPILER, WHY_NOT
from cupy_stand_in import Emulated
from graphdiff_cupy import CupyBackend

import graphdiff as gd
from graphdiff import backend


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


class Event:
    """An event of CUDA's, on a device that is never behind."""

    seconds = 0.0

    def record(self) -> None:
        self.seconds = time.perf_counter()

    def synchronize(self) -> None:
        pass


@pytest.fixture
def on_an_emulated_gpu(gpu: Any, monkeypatch: Any, tmp_path: Path) -> Path:
    """Let the script find a GPU, measure little, and write to a folder, which is given."""
    cupy = ModuleType("cupy")
    cupy.__spec__ = ModuleSpec("cupy", None)
    cupy.cuda = SimpleNamespace(  # type: ignore[attr-defined]
        Event=Event,
        get_elapsed_time=lambda begin, end: 1e3 * (end.seconds - begin.seconds),
        Device=lambda: SimpleNamespace(id=0, synchronize=lambda: None),
        runtime=SimpleNamespace(
            getDeviceProperties=lambda _: {"name": b"NVIDIA H200"},
            driverGetVersion=lambda: 13000,
            runtimeGetVersion=lambda: 13010,
        ),
    )
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    emulated = Emulated()
    monkeypatch.setitem(backend._instances, "cupy", emulated)
    monkeypatch.setattr(CupyBackend, "why_unavailable", staticmethod(lambda: None))
    monkeypatch.setattr(gpu, "loose", lambda: None)
    monkeypatch.setattr(gpu, "BLOCK", 1e-4)
    small = [case for case in gpu.CASES if case.config.name == "B"]
    monkeypatch.setattr(gpu, "CASES", small)
    monkeypatch.setattr(sys, "argv", ["gpu", "--out", str(tmp_path), "--skip-tests"])
    monkeypatch.setattr(backend, "_CHOSEN", ContextVar("chosen", default=None))
    return tmp_path


@pytest.mark.skipif(COMPILER is None, reason=WHY_NOT)
def test_one_command_measures_and_writes_everything(
    gpu: Any, on_an_emulated_gpu: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setattr(gpu, "EXAMPLES", 256)
    assert gpu.main() == 0
    text = (on_an_emulated_gpu / "gpu.md").read_text()
    assert text.strip() == capsys.readouterr().out.strip()
    for part in ("**graphdiff**", "graphdiff, 8 steps a launch", "cublasLt RELU_AUX_BIAS 64×64", "An epoch of 256"):
        assert part in text
    (figures,) = json.loads((on_an_emulated_gpu / "gpu.json").read_text())["figures"].values()
    from benchmarks.peers.graphdiff_eager import make_step
    from benchmarks.problem import data, initial_weights

    config = gpu.CASES[0].config
    with gd.use_backend("numpy"):
        step = make_step(config, initial_weights(config), *data(config))
        expected = [step().item() for _ in range(16)][-1]
    assert figures["graphdiff"]["loss"] == figures["graphdiff, 8 steps a launch"]["loss"]
    assert figures["graphdiff"]["loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("package", "module"),
    [
        ("torch", SimpleNamespace(__version__="2.13.0+cpu", cuda=SimpleNamespace(is_available=lambda: False))),
        ("jax", SimpleNamespace(__version__="0.10.0", default_backend=lambda: "cpu")),
    ],
)
def test_a_peer_built_for_the_cpu_does_not_take_part(gpu: Any, monkeypatch: Any, package: str, module: Any) -> None:
    module.__spec__ = ModuleSpec(package, None)
    monkeypatch.setitem(sys.modules, package, module)
    assert "sees no GPU" in gpu.why_absent(package)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(gpu, "find_spec", lambda name: None)
    assert gpu.why_absent(package) == f"{package} is not installed"


@pytest.mark.skipif(COMPILER is None, reason=WHY_NOT)
def test_what_fails_is_told_and_costs_nothing_else(gpu: Any, on_an_emulated_gpu: Path, monkeypatch: Any) -> None:
    def fail() -> Any:
        raise MemoryError("no room for the examples")

    monkeypatch.setattr(gpu, "epochs", fail)
    assert gpu.main() == 1
    text = (on_an_emulated_gpu / "gpu.md").read_text()
    assert "An epoch: MemoryError: no room for the examples" in text
    assert "cublasLt RELU_AUX_BIAS 64×64" in text


@pytest.mark.skipif(COMPILER is None, reason=WHY_NOT)
def test_a_step_that_cannot_be_measured_is_told_to_the_last_line(
    gpu: Any, on_an_emulated_gpu: Path, monkeypatch: Any
) -> None:
    def refuse(*given: Any) -> Any:
        raise RuntimeError("misaligned address")

    monkeypatch.setattr(gpu, "EXAMPLES", 256)
    monkeypatch.setattr(backend._instances["cupy"], "planner", refuse)
    assert gpu.main() == 1
    (figures,) = list(json.loads((on_an_emulated_gpu / "gpu.json").read_text())["figures"].values())[:1]
    assert figures["graphdiff"]["missing"] == "RuntimeError: misaligned address"
    assert "in refuse" in figures["graphdiff"]["traceback"]


def test_tests_that_take_too_long_tell_what_failed_so_far(gpu: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    tests = tmp_path / "test_slow.py"
    tests.write_text("import time\ndef test_wrong(): assert 1 == 2\ndef test_slow(): time.sleep(7)\n")
    start = time.perf_counter()
    assert not gpu.run_tests(tmp_path, str(tests), seconds=4)
    assert time.perf_counter() - start < 20
    log = (tmp_path / "tests.log").read_text()
    assert "assert 1 == 2" in log
    assert "not done after 4 s" in log
