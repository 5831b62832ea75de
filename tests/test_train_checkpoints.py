"""Checkpoints: interrupted training goes on bit for bit, and no file is ever half written."""

import errno
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from killed_training import EPOCHS, trained

import graphdiff as gd
from graphdiff.files.atomic import write_atomically
from graphdiff.files.tensorfile import unpack

SCRIPT = Path(__file__).with_name("killed_training.py")
FULL = trained(None)


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(one[name].tobytes() == other[name].tobytes() for name in one)


class Break(gd.train.Callback):
    """Raise after some batches."""

    def __init__(self, after: int) -> None:
        self.left = after

    def on_batch(self, run: gd.train.Run) -> None:
        self.left -= 1
        if self.left == 0:
            raise ConnectionError


@pytest.mark.parametrize("after", [1, 2, 7, 9, 10, 11, 20, 57])
@pytest.mark.parametrize("every", [1, 3, None])
def test_resuming_after_an_exception_is_bitwise_the_same(after: int, every: int | None, tmp_path: Path) -> None:
    path = str(tmp_path / "run.checkpoint")
    with pytest.raises(ConnectionError):
        trained(path, callbacks=[Break(after)], checkpoint_every=every)
    assert same(trained(path, checkpoint_every=every), FULL)
    assert [file.name for file in tmp_path.iterdir()] == ["run.checkpoint"]


def test_training_with_checkpoints_is_the_same_as_without(tmp_path: Path) -> None:
    assert same(trained(str(tmp_path / "a")), FULL)
    assert same(trained(str(tmp_path / "a")), FULL)  # finished already: nothing is left to do


def test_a_finished_run_can_be_prolonged_and_keeps_its_history(tmp_path: Path) -> None:
    X = np.arange(10.0)[:, None]

    def run(epochs: int, **options: Any) -> Any:
        model = gd.nn.Linear(1, in_features=1, seed=0, dtype="float64")
        optimizer = gd.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
        history = gd.train.fit(
            model, gd.nn.squared_error, (X, 2 * X), optimizer, epochs=epochs, batch_size=4, progress=False, **options
        )
        return history, model.state(), optimizer.steps

    options: Any = {"checkpoint": tmp_path / "a", "resume": True}
    run(2, **options)
    prolonged, whole = run(5, **options), run(5)
    assert prolonged[0] == whole[0]
    assert same(prolonged[1], whole[1])
    assert prolonged[2] == whole[2] == 15


def test_a_run_killed_at_random_moments(tmp_path: Path) -> None:
    moments = random.Random(17)
    begun = time.perf_counter()
    assert same(trained(str(tmp_path / "timing")), FULL)
    length = time.perf_counter() - begun
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    kills = int(os.environ.get("GRAPHDIFF_KILLS", "8"))
    killed = attempt = 0
    while killed < kills:  # runs that end before their moment are not counted
        attempt += 1
        folder = tmp_path / str(attempt)
        folder.mkdir()
        path = folder / "run.checkpoint"
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(path)], stdout=subprocess.PIPE, text=True, env=environment
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0, length))
        process.send_signal(signal.SIGKILL)
        killed += "done" not in process.communicate()[0]
        if path.exists():
            unpack(path, "checkpoint")
        assert same(trained(str(path)), FULL), attempt
        assert [file.name for file in folder.iterdir()] == ["run.checkpoint"]
    print(f"{killed} runs killed before their end, and resumed: all ended with the same weights")


def test_an_interrupt_from_the_keyboard_saves_first(tmp_path: Path) -> None:
    path = tmp_path / "a"

    class Interrupt(gd.train.Callback):
        batches = 0

        def on_batch(self, run: gd.train.Run) -> None:
            self.batches += 1
            if self.batches == 14:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trained(str(path), callbacks=[Interrupt()], checkpoint_every=10_000)
    facts = unpack(path, "checkpoint")[1]
    assert (facts["epoch"], facts["batch"]) == (1, 4)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert same(trained(str(path)), FULL)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    with pytest.raises(ConnectionError):
        trained(str(path), callbacks=[Break(5)])
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(gd.errors.DataError, match=r"cannot write .*/a: No space left on device"):
            trained(str(path))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
    assert same(trained(str(path)), FULL)


def test_a_file_that_cannot_grow_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(gd.errors.DataError, match=r"cannot write .*File too large"):
            write_atomically(path, bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"before"
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_an_unwritable_path_is_refused_before_training(tmp_path: Path) -> None:
    seen: list[Any] = []
    with pytest.raises(gd.errors.DataError, match=r"cannot write .*No such file"):
        trained(str(tmp_path / "nowhere" / "a"), on_epoch=seen.append)
    assert seen == []


def test_files_that_are_no_checkpoint_of_this_run(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with pytest.raises(ConnectionError):
        trained(str(path), callbacks=[Break(15)])
    good = path.read_bytes()
    for length in [0, 1, 8, 100, len(good) // 2, len(good) - 1]:
        path.write_bytes(good[:length])
        with pytest.raises(gd.errors.DataError, match=r"/a is truncated or no checkpoint"):
            trained(str(path))
    path.write_text("foreign")
    with pytest.raises(gd.errors.DataError, match=r"/a is truncated or no checkpoint"):
        trained(str(path))
    path.write_bytes(good)
    for options, message in [
        ({"batch_size": 16}, "batches of .32.* rows, not .16"),
        ({"seed": 5}, "a run with seed 0, not 5"),
        ({"validation": 0.5}, "rows 320, not 200"),
        ({"epochs": 1}, "1 epochs on, not 1"),
    ]:
        with pytest.raises(gd.errors.DataError, match=message):
            trained(str(path), **options)
    assert path.read_bytes() == good
    assert EPOCHS > 2


class Plateau(gd.train.Callback):
    """Reduces its schedules when the loss stands still; counts, and keeps a mean of the weights."""

    def __init__(self, *schedules: Any) -> None:
        self.schedules = schedules
        self.batches = 0
        self.reduced: list[int] = []
        self.mean: Any = np.zeros((24, 1), dtype="float32")

    def on_batch(self, run: gd.train.Run) -> None:
        self.batches += 1
        self.mean = self.mean * np.float32(0.9) + run.model.state()["layers.2.weight"].astype("float32")

    def on_epoch(self, run: gd.train.Run, record: Any) -> None:
        for schedule in self.schedules:
            if schedule.update(record["loss"]):
                self.reduced.append(run.epoch)
        record["batches"] = self.batches

    def state(self) -> dict[str, Any]:
        return {"batches": self.batches, "inner": {"reduced": self.reduced, "mean": self.mean}}

    def load_state(self, state: dict[str, Any]) -> None:
        self.batches = state["batches"]
        self.reduced, self.mean = state["inner"]["reduced"], state["inner"]["mean"]


def reduced(path: Path | None, *more: Any, **options: Any) -> tuple[Any, Any, Any]:
    stream = np.random.default_rng(3)
    X = stream.normal(size=(100, 6))
    model = gd.nn.MLP([24, 1], in_features=6, seed=2, dtype="float64")
    rate = gd.optim.schedules.reduce_on_plateau(0.1, factor=0.5, patience=0, threshold=0.05)
    momentum = gd.optim.schedules.reduce_on_plateau(0.9, factor=0.7, patience=1, threshold=0.05)
    optimizer = gd.optim.SGD(
        [{"params": model.parameters()[:2], "lr": 0.02}, {"params": model.parameters()[2:]}], lr=rate, momentum=momentum
    )
    callback = Plateau(rate, momentum)
    if path:
        options = {"checkpoint": path, "checkpoint_every": 2, "resume": True} | options
    options = {"epochs": 12, "batch_size": 30, "progress": False, "early_stopping": 3} | options
    history = gd.train.fit(model, gd.nn.squared_error, (X, X[:, :1]), optimizer, callbacks=[callback, *more], **options)
    return model.state(), history, callback.state()


@pytest.mark.parametrize("after", [1, 6, 14, 29])
def test_schedules_and_callbacks_go_on_where_they_were(after: int, tmp_path: Path) -> None:
    weights, history, kept = reduced(None)
    assert len(kept["inner"]["reduced"]) > 1
    with pytest.raises(ConnectionError):
        reduced(tmp_path / "a", Break(after))
    again = reduced(tmp_path / "a")
    assert same(again[0], weights)
    assert again[1] == history
    assert again[2]["inner"]["reduced"] == kept["inner"]["reduced"]
    assert again[2]["inner"]["mean"].tobytes() == kept["inner"]["mean"].tobytes()
    assert again[2]["inner"]["mean"].dtype == "float32"


def test_callbacks_of_another_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError):
        reduced(tmp_path / "a", Break(3))
    with pytest.raises(gd.errors.DataError, match=r"state of the callbacks Plateau, not Plateau, Plateau"):
        reduced(tmp_path / "a", Plateau())
