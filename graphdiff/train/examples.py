"""Examples: what a model is called with, row by row, what it should answer, and how much each row counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from graphdiff.errors import DataError, OpError
from graphdiff.host import HostArray
from graphdiff.nn.inputs import call_with, require_callable, signature_of, split_inputs
from graphdiff.tensor import Tensor
from graphdiff.train.augment import Augmentation
from graphdiff.train.minibatches import Change, Inputs, check_data, require_pair
from graphdiff.typing import ArrayLike, Function

__all__ = ["Examples", "examples_of", "require_weighted"]

Part = TypeVar("Part")


@dataclasses.dataclass(frozen=True)
class Examples:
    """Arrays with one row per example.

    Attributes
    ----------
    inputs : tuple of array
        What the model is called with.
    names : tuple of str or None
        The inputs' names, where the model takes them by name.
    targets : array
    weights : array of shape (examples,) or None
        How much each example counts; None: all the same.
    """

    inputs: tuple[HostArray, ...]
    names: tuple[str, ...] | None
    targets: HostArray
    weights: HostArray | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def arrays(self) -> tuple[HostArray, ...]:
        """All arrays: inputs, targets, and the weights if there are any."""
        return (*self.inputs, self.targets, *(() if self.weights is None else (self.weights,)))

    @property
    def labels(self) -> list[str]:
        """What errors call the inputs."""
        return _labels(len(self.inputs), self.names)

    def ordered_as(self, others: Examples) -> Examples:
        """Return the same examples, with the inputs in the order of others of the same names."""
        if self.names is None or others.names is None or set(self.names) != set(others.names):
            return self
        by_name = dict(zip(self.names, self.inputs, strict=True))
        return dataclasses.replace(self, inputs=tuple(by_name[name] for name in others.names), names=others.names)

    def taken(self, rows: HostArray | slice) -> list[HostArray]:
        """Return rows of `arrays`."""
        return [array[rows] for array in self.arrays]

    def parts(self, batch: Sequence[Part]) -> tuple[Sequence[Part], Part, dict[str, Part]]:
        """Return a batch's inputs, its targets, and what a loss is given besides, by name."""
        count = len(self.inputs)
        return batch[:count], batch[count], {} if self.weights is None else {"weights": batch[count + 1]}

    def call(self, model: Function[Tensor], inputs: Sequence[ArrayLike]) -> Tensor:
        """Return what a model makes of a batch's inputs."""
        return call_with(model, inputs, self.names)

    def changed_by(self, augment: Augmentation) -> Change:
        """Return what an augmentation does to a batch: it is given the inputs in the form in which `fit` was."""
        count, names = len(self.inputs), self.names

        def change(batch: list[HostArray], stream: np.random.Generator) -> list[HostArray]:
            inputs = batch[:count]
            if names is not None:
                made = augment(dict(zip(names, inputs, strict=True)), stream)
                if not isinstance(made, Mapping) or made.keys() != set(names):
                    raise DataError(f"augmentation returns a dict of {', '.join(names)}, as it is given, not {made!r}")
                return [*(made[name] for name in names), *batch[count:]]
            made = augment(inputs[0] if count == 1 else tuple(inputs), stream)
            changed = (made,) if count == 1 else made
            if not isinstance(changed, tuple) or len(changed) != count:
                raise DataError(f"augmentation returns a tuple of {count} arrays, as it is given, not {made!r}")
            return [*changed, *batch[count:]]

        return change

    def require_callable(self, model: Function[Tensor]) -> None:
        """Refuse a model that takes other inputs."""
        require_callable(model, len(self.inputs), self.names)


def _labels(count: int, names: Sequence[str] | None) -> list[str]:
    if names is not None:
        return [f"X[{name!r}]" for name in names]
    return ["X"] if count == 1 else [f"X[{place}]" for place in range(count)]


def examples_of(data: object, weights: Inputs | None = None, prefix: str = "") -> Examples:
    """Return data as examples, refused where it cannot be trained on; errors call them by names with a prefix.

    Parameters
    ----------
    data : (X, y)
        X is an array, a tuple of arrays, or a dict of them.
    weights : array of shape (examples,), optional
    prefix : str
    """
    given, targets = require_pair(data, (f"{prefix}X", f"{prefix}y"))
    inputs, names = split_inputs(given)
    if not inputs:
        raise DataError(f"{prefix}X is an empty {type(given).__name__}: a model is called with one array at least")
    told = [prefix + label for label in [*_labels(len(inputs), names), "y"]]
    *checked, y = check_data((*inputs, targets), told)
    return Examples(tuple(checked), names, y, None if weights is None else _checked_weights(weights, y, prefix))


def _checked_weights(weights: Inputs, targets: HostArray, prefix: str) -> HostArray:
    name = f"{prefix}sample_weight"
    checked, _ = check_data((weights, targets), (name, f"{prefix}y"))
    if checked.ndim != 1 or checked.dtype.kind not in "biuf":
        raise DataError(f"{name} is one real number per row, not {checked.dtype}{list(checked.shape)}")
    negative = checked < 0
    if negative.any():
        row = int(negative.argmax())
        raise DataError(f"{name} is not negative, but {checked[row]:g} in row {row}")
    return checked


def require_weighted(examples: Examples, rows: HostArray | None, loss: Function[Tensor], purpose: str) -> None:
    """Refuse weights that count for nothing, in these rows (None: all), and a loss that takes none."""
    weights = examples.weights
    if weights is None:
        return
    if not (weights if rows is None else weights[rows]).any():
        raise DataError(f"the sample_weight of every row {purpose} is 0")
    signature = signature_of(loss)
    parameters = {} if signature is None else signature.parameters
    takes = "weights" in parameters or any(each.kind == each.VAR_KEYWORD for each in parameters.values())
    if signature is not None and not takes:
        name = getattr(loss, "__name__", type(loss).__name__)
        raise OpError(f"sample_weight needs a loss that takes weights=, as those of gd.nn do, and {name} does not")
