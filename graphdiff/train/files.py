"""Models in files: safetensors, with architecture and scaling as JSON. Nothing in a file is ever executed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphdiff.errors import DataError, GraphDiffError
from graphdiff.files.atomic import write_atomically
from graphdiff.files.tensorfile import pack, unpack
from graphdiff.guard import guarded
from graphdiff.host import DType, HostArray
from graphdiff.nn.module import Module, parameters_within
from graphdiff.train.measures import rows_at_once
from graphdiff.train.minibatches import array_of
from graphdiff.train.scaling import Scaler, scaler_from_config
from graphdiff.typing import ArrayLike

__all__ = ["Saved", "input_names", "load", "module_config", "module_from_config", "save", "target_dtype"]

_KIND = "model"


@dataclasses.dataclass
class Saved:
    """What `load` found in a file.

    Attributes
    ----------
    model : Module
    scaler, target_scaler : Scaler or None
        Of the inputs, and of what a regression predicts.
    columns : list or None
        The inputs' columns, as they were given to `save`.
    classes : list or None
        What the outputs stand for.
    notes : dict
    """

    model: Module
    scaler: Scaler | None = None
    columns: list[Any] | None = None
    classes: list[Any] | None = None
    target_scaler: Scaler | None = None
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __call__(self, X: ArrayLike) -> HostArray:
        """Return the model's outputs for inputs as they were before scaling, as a NumPy array.

        Many rows are gone through block by block, so that only inputs and outputs are in memory as a whole. A table
        whose columns have other names than those saved, or another order, is refused.
        """
        self._require_columns(X)
        X = array_of(X, "X")
        size = rows_at_once(X) if X.ndim > 1 else 0
        if not size or len(X) <= size:
            return self._outputs(X)
        return np.concatenate([self._outputs(X[start : start + size]) for start in range(0, len(X), size)])

    def _require_columns(self, X: ArrayLike) -> None:
        """Refuse a table, such as a DataFrame, whose columns are not those of the model."""
        given, own = getattr(X, "column_names", getattr(X, "columns", None)), input_names(self.columns)
        if given is None or own is None:
            return
        given = list(given)
        # What a category's column of zeros and ones is called nobody knows, but for its beginning.
        alike = len(given) == len(own) and all(
            str(name).startswith(column) if several else str(name) == column
            for name, (column, several) in zip(given, own)
        )
        if not alike:
            names = ", ".join(repr(column) for column, _ in own)
            raise DataError(f"the model's inputs are {names}, in this order, and X has {', '.join(map(repr, given))}")

    def _outputs(self, X: HostArray) -> HostArray:
        output: HostArray = self.model(X if self.scaler is None else self.scaler.transform(X)).numpy().copy()
        if self.target_scaler is None:
            return output
        return self.target_scaler.inverse(output.astype(target_dtype(self.target_scaler, output.dtype), copy=False))


@guarded
def save(
    model: Module,
    path: str | os.PathLike[str],
    *,
    scaler: Scaler | None = None,
    columns: Sequence[Any] | None = None,
    classes: Sequence[Any] | None = None,
    target_scaler: Scaler | None = None,
    notes: Mapping[str, Any] | None = None,
) -> Path:
    """Save a model with all that is needed to use it.

    The file is written atomically: what was there before stays if writing fails.

    Parameters
    ----------
    model : Module
        Of classes that declare `config`.
    path : path
    scaler, target_scaler : Scaler, optional
        Fitted; of the inputs, and of what a regression predicts.
    columns, classes : sequence, optional
        Names of the inputs' columns and of the outputs, or anything that JSON has.
    notes : dict, optional
        More of the same.

    Raises
    ------
    GraphError
        A module does not declare `config`, or has no parameters yet.
    DataError
        The file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import graphdiff as gd
    >>> model = gd.nn.MLP([4, 2], "tanh", in_features=3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = gd.train.save(model, f"{folder}/model.safetensors", classes=["no", "yes"])
    ...     saved = gd.train.load(path)
    >>> saved.classes
    ['no', 'yes']
    >>> bool(gd.all(saved.model([[1.0, 2.0, 3.0]]) == model([[1.0, 2.0, 3.0]])))
    True
    """
    facts = {
        "architecture": module_config(model),
        "scaler": None if scaler is None else scaler.config(),
        "target_scaler": None if target_scaler is None else target_scaler.config(),
        "columns": None if columns is None else list(columns),
        "classes": None if classes is None else list(classes),
        "notes": dict(notes or {}),
    }
    return write_atomically(path, pack(_KIND, model.state(), facts))


@guarded
def load(path: str | os.PathLike[str]) -> Saved:
    """Return what `save` wrote, its parameters on the current backend and the model in evaluation mode.

    A layer that was held in several places comes back as so many layers of the same values.

    Raises
    ------
    DataError
        There is no such file, it is truncated, or it is none of graphdiff's; the message names it.
    """
    arrays, facts = unpack(path, _KIND)
    try:
        # A small file may declare layers that would fill the memory.
        with parameters_within(sum(array.size for array in arrays.values())):
            model = module_from_config(facts["architecture"])
        model.load_state(arrays)
        return Saved(
            model.eval(),
            *(_maybe_scaler(facts["scaler"]), facts["columns"], facts["classes"]),
            _maybe_scaler(facts["target_scaler"]),
            facts["notes"],
        )
    except Exception as error:
        # What a file declares may be anything, to any depth, and modules of others meet it with errors of their own.
        told = str(error) if isinstance(error, GraphDiffError) else repr(error)
        raise DataError(f"{path} is no model that can be read: {told}") from error


def target_dtype(scaler: Scaler, dtype: DType) -> DType:
    """Return the dtype of predictions that are scaled back: a model's own, or float64 where that would blur them."""
    return np.dtype("float64") if dtype.kind != "f" or scaler.too_fine_for(dtype) else dtype


def input_names(columns: Sequence[Any] | None) -> list[tuple[str, bool]] | None:
    """Return which column each input is of, and whether it is of one of its categories; None where that is not told."""
    names = []
    for column in columns or ():
        name = column.get("name") if isinstance(column, Mapping) else column
        if not isinstance(name, str):
            return None
        categories = column.get("categories") if isinstance(column, Mapping) else None
        names += [(name, True)] * len(categories) if categories is not None else [(name, False)]
    return names or None


def _maybe_scaler(config: Any) -> Scaler | None:
    return None if config is None else scaler_from_config(config)


def module_config(module: Module) -> dict[str, Any]:
    """Return a module's architecture as dicts, lists, text and numbers."""
    return {"class": type(module).__name__, "config": _encoded(module.config())}


def _encoded(value: Any) -> Any:
    if isinstance(value, Module):
        return module_config(value)
    if isinstance(value, Mapping):
        return {name: _encoded(item) for name, item in value.items()}
    return [_encoded(item) for item in value] if isinstance(value, (list, tuple)) else value


def module_from_config(config: Mapping[str, Any]) -> Module:
    """Return a module of the architecture that `module_config` described; its class is found by name."""
    name = config["class"]
    for kind in _classes(Module):
        if kind.__name__ == name:
            return kind.from_config(_decoded(config["config"]))
    raise DataError(f"there is no module {name!r}: import what defines it first")


def _decoded(value: Any) -> Any:
    if isinstance(value, Mapping):
        if value.keys() == {"class", "config"}:
            return module_from_config(value)
        return {name: _decoded(item) for name, item in value.items()}
    return [_decoded(item) for item in value] if isinstance(value, list) else value


def _classes(base: type[Module]) -> Iterator[type[Module]]:
    """Yield all classes of modules, those of graphdiff before others of the same name."""
    found = dict.fromkeys(base.__subclasses__())
    pending = list(found)
    while pending:
        below = pending.pop().__subclasses__()
        pending += below
        found |= dict.fromkeys(below)
    yield from sorted(found, key=lambda kind: not kind.__module__.startswith("graphdiff."))
