"""Checkpoints: everything that a training run needs to go on as if it had never been interrupted."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Any

import numpy as np

from graphdiff.errors import DataError, GraphDiffError
from graphdiff.files.atomic import remove_leftovers, write_atomically
from graphdiff.files.tensorfile import pack, unpack
from graphdiff.host import HostArray
from graphdiff.train.callbacks import Callback, Run, State, Watcher

__all__ = ["Checkpoint", "deferred_interrupts"]

_KIND = "checkpoint"


class Checkpoint:
    """Where a run is kept.

    Parameters
    ----------
    path : path
    run : Run
    watcher : Watcher, optional
        Early stopping's state.
    sizes : list of int
        Rows per batch, for each epoch.
    options : dict
        What must be the same when the run is resumed.
    data : (X, y)
        A sample of them is compared too.
    callbacks : sequence of Callback
        The state of those that have one is kept.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        run: Run,
        watcher: Watcher | None,
        sizes: Sequence[int],
        options: dict[str, object],
        data: Sequence[HostArray],
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.path = Path(path)
        self._run, self._watcher, self._sizes = run, watcher, list(sizes)
        self._options = options | {"data": _sample(data)}
        self._callbacks = [callback for callback in callbacks if type(callback).state is not Callback.state]
        remove_leftovers(self.path)

    def save(self) -> None:
        """Write the checkpoint; DataError, and the one before stays, if that is not possible."""
        run, watcher = self._run, self._watcher
        parts = {"model": run.model.state(), "optimizer": run.optimizer.state()}
        # Sizes of epochs to come may be others when the run goes on.
        begun = self._sizes[: run.epoch + (run.batch > 0)]
        kept: dict[str, HostArray] = {}
        facts: State = {
            "options": self._options,
            "sizes": begun,
            "epoch": run.epoch,
            "batch": run.batch,
            "loss": run.loss,
            "stopped": run.stopped,
            "finished": bool(run.stopped) or run.epoch >= len(self._sizes),
            "history": list(run.history),
            "streams": {path: _plain(stream.bit_generator.state) for path, stream in run.model.named_streams()},
            "callbacks": [[type(callback).__name__, _plain(callback.state(), kept)] for callback in self._callbacks],
        }
        parts["callbacks"] = kept
        if watcher is not None:
            parts["best"], facts["best"] = watcher.weights, [watcher.best, watcher.best_epoch]
        arrays = {f"{part}/{path}": value for part, state in parts.items() for path, value in state.items()}
        write_atomically(self.path, pack(_KIND, arrays, facts))

    def restore(self) -> bool:
        """Bring run, model and optimiser to where the checkpoint is; False if there is none.

        Raises
        ------
        DataError
            The file is no checkpoint, or one of another run. Nothing is changed then.
        """
        if not self.path.exists():
            return False
        arrays, facts = unpack(self.path, _KIND)
        undo = self._undoing()
        try:
            self._compare(facts)
            self._put(_parts_of(arrays), facts)
        except Exception as error:
            undo()
            if isinstance(error, GraphDiffError):
                raise
            # What a damaged file holds may be of any form; callbacks meet it with errors of their own.
            raise DataError(f"{self.path} is no checkpoint that can be read: {error!r}") from error
        return True

    def _undoing(self) -> Callable[[], None]:
        """Return what brings the run to where it is now."""
        run, watcher = self._run, self._watcher
        model, optimizer = run.model.state(), run.optimizer.state()
        streams = [(stream, stream.bit_generator.state) for _, stream in run.model.named_streams()]
        place = run.epoch, run.batch, run.loss, run.stopped
        history = list(run.history)
        best = None if watcher is None else (watcher.best, watcher.best_epoch, watcher.weights)
        states = [callback.state() for callback in self._callbacks]

        def undo() -> None:
            run.model.load_state(model)
            run.optimizer.load_state(optimizer)
            for stream, state in streams:
                stream.bit_generator.state = state
            run.epoch, run.batch, run.loss, run.stopped = place
            run.history[:] = history
            if watcher is not None and best is not None:
                watcher.best, watcher.best_epoch, watcher.weights = best
            for callback, state in zip(self._callbacks, states, strict=True):
                with contextlib.suppress(Exception):  # one that has just refused a state may refuse its own
                    callback.load_state(state)

        return undo

    def _put(self, parts: Mapping[str, dict[str, HostArray]], facts: State) -> None:
        """Bring the run to where a checkpoint is; what fails is for the caller to put back."""
        run, watcher = self._run, self._watcher
        own = run.optimizer.state()
        if own.keys() != parts["optimizer"].keys():
            raise DataError(f"{self.path} is of an optimiser with other settings")
        for path, value in parts["optimizer"].items():
            if value.shape != own[path].shape or value.dtype != own[path].dtype:
                raise DataError(f"{self.path} is of a model of other layers, or an optimiser of other parameters")
        try:
            run.model.load_state(parts["model"])
        except GraphDiffError as error:
            raise DataError(f"{self.path} is of another model: {error}") from error
        run.optimizer.load_state(parts["optimizer"])
        for path, stream in run.model.named_streams():
            stream.bit_generator.state = _arrays(facts["streams"][path])
        run.epoch, run.batch = _whole(facts["epoch"]), _whole(facts["batch"])
        run.loss, run.stopped = _number(facts["loss"]), str(facts["stopped"])
        run.history[:] = [{name: _number(value) for name, value in record.items()} for record in facts["history"]]
        if watcher is not None and "best" in facts:
            best, epoch = facts["best"]
            watcher.best, watcher.best_epoch = None if best is None else _number(best), _whole(epoch)
            watcher.weights = parts["best"]
            if watcher.weights:
                _require_alike(run.model.state(), watcher.weights)
        kept = [_arrays(state, parts["callbacks"]) for _, state in facts["callbacks"]]
        for callback, state in zip(self._callbacks, kept, strict=True):
            callback.load_state(state)

    def _compare(self, facts: State) -> None:
        for name, now in self._options.items():
            then = facts["options"].get(name)
            if then != now:
                what = "other data" if name == "data" else f"a run with {name} {then}, not {now}"
                raise DataError(f"{self.path} is of {what}")
        kept = ", ".join(name for name, _ in facts["callbacks"]) or "none"
        own = ", ".join(type(callback).__name__ for callback in self._callbacks) or "none"
        if kept != own:
            raise DataError(f"{self.path} holds the state of the callbacks {kept}, not {own}")
        sizes = facts["sizes"]
        if self._sizes[: len(sizes)] != sizes[: len(self._sizes)]:
            raise DataError(f"{self.path} is of a run with batches of {sizes[:3]} rows, not {self._sizes[:3]}")
        if facts["epoch"] > len(self._sizes) or (facts["epoch"] == len(self._sizes) and facts["batch"]):
            raise DataError(f"{self.path} is of a run that is {facts['epoch']} epochs on, not {len(self._sizes)}")


def _parts_of(arrays: Mapping[str, HostArray]) -> dict[str, dict[str, HostArray]]:
    """Return a checkpoint's arrays by what they are of."""
    parts: dict[str, dict[str, HostArray]] = {"model": {}, "optimizer": {}, "best": {}, "callbacks": {}}
    for path, value in arrays.items():
        part, name = path.split("/", 1)
        parts[part][name] = value
    return parts


def _require_alike(own: Mapping[str, HostArray], kept: Mapping[str, HostArray]) -> None:
    """Refuse weights of another model."""
    if {path: value.shape for path, value in own.items()} != {path: value.shape for path, value in kept.items()}:
        raise ValueError("the best weights are of another model")


def _number(value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise ValueError(f"{value!r} is no number")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value


def _sample(data: Sequence[HostArray]) -> str:
    """Return a checksum of a thousand rows, spread over all."""
    total = 0
    for array in data:
        rows = np.linspace(0, len(array) - 1, min(len(array), 1000)).astype(np.int64)
        total = zlib.crc32(np.ascontiguousarray(array[rows]).tobytes(), total)
        total = zlib.crc32(f"{array.dtype}{array.shape}".encode(), total)
    return f"{total:08x}"


def _plain(state: Any, kept: dict[str, HostArray] | None = None) -> Any:
    """Return a state, of a random stream or a callback, with arrays as lists, or moved to `kept`."""
    if isinstance(state, dict):
        return {name: _plain(value, kept) for name, value in state.items()}
    if isinstance(state, (list, tuple)):
        return [_plain(item, kept) for item in state]
    if isinstance(state, np.ndarray):
        if kept is None:
            return {"array": state.tolist(), "dtype": str(state.dtype)}
        name = str(len(kept))
        kept[name] = state
        return {"kept": name}
    return state.item() if isinstance(state, np.generic) else state


def _arrays(state: Any, kept: Mapping[str, HostArray] = MappingProxyType({})) -> Any:
    """Undo `_plain`."""
    if isinstance(state, dict):
        if state.keys() == {"array", "dtype"}:
            return np.array(state["array"], dtype=state["dtype"])
        if state.keys() == {"kept"}:
            return kept[state["kept"]]
        return {name: _arrays(value, kept) for name, value in state.items()}
    return [_arrays(item, kept) for item in state] if isinstance(state, list) else state


@contextlib.contextmanager
def deferred_interrupts(wanted: bool) -> Iterator[Callable[[], bool]]:
    """Have an interrupt from the keyboard wait; the context gives a function that says whether there was one.

    A second one is raised at once.
    """
    ours = wanted and threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: False
        return
    happened = False

    def remember(number: int, frame: FrameType | None) -> None:
        nonlocal happened
        if happened:
            signal.default_int_handler(number, frame)
        happened = True

    signal.signal(signal.SIGINT, remember)
    try:
        yield lambda: happened
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if happened:
        raise KeyboardInterrupt
