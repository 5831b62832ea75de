"""Scaling of inputs: fitted on the training data, applied to all, saved with the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np

from graphdiff import host
from graphdiff.errors import DataError, ShapeError
from graphdiff.guard import guarded
from graphdiff.host import HostArray
from graphdiff.typing import ArrayLike, DTypeLike

__all__ = ["MinMax", "Scaler", "Standardise", "scaler_from_config"]

Own = TypeVar("Own", bound="Scaler")

_BLOCK = 1 << 20
"""How many numbers of an array, which may be a map of a file, are looked at together."""

_BLUR = 1e-3
"""By this share of a column's spread its values may be rounded."""


def blocks_of(array: HostArray) -> Iterator[HostArray]:
    """Yield an array's rows in blocks of a few MB."""
    size = max(1, _BLOCK // max(1, int(np.prod(array.shape[1:]))))
    for start in range(0, len(array), size):
        yield array[start : start + size]


class Scaler:
    """(x - shift) / scale, column by column; subclasses say how `fit` finds the two.

    Parameters
    ----------
    columns : sequence of int, optional
        Which columns are scaled; the others stay as they are. By default all.

    Attributes
    ----------
    shift, scale : float64 array of shape (columns,), or None before `fit`
    """

    kind: ClassVar[str] = ""

    @guarded
    def __init__(self, columns: Sequence[int] | None = None) -> None:
        host.refuse_masked(columns)
        self.columns = None if columns is None else [int(column) for column in columns]
        self.shift: HostArray | None = None
        self.scale: HostArray | None = None

    def _find(self, X: HostArray) -> tuple[HostArray, HostArray]:
        raise NotImplementedError

    def fit(self: Own, X: ArrayLike) -> Own:
        """Find shift and scale from training data, which is read in blocks and may be a map of a file.

        Constant columns are shifted and not scaled.

        Returns
        -------
        Scaler
            Itself.
        """
        X = np.asarray(X)
        if X.ndim != 2 or not len(X) or X.dtype.kind not in "biuf":
            raise ShapeError(
                f"a scaler is fitted on real numbers of shape (examples, columns), and not on {X.dtype}{list(X.shape)}"
            )
        shift, scale = self._find(X)
        if not (np.isfinite(shift).all() and np.isfinite(scale).all()):
            column = int((~(np.isfinite(shift) & np.isfinite(scale))).argmax())
            raise DataError(f"column {column} cannot be scaled: it holds NaN or infinity, or its range overflows")
        scale = np.where(scale > 0, scale, 1.0)
        if self.columns is not None:
            others = np.setdiff1d(np.arange(X.shape[1]), self.columns)
            shift[others], scale[others] = 0.0, 1.0
        self.shift, self.scale = shift, scale
        return self

    def transform(self, X: ArrayLike) -> HostArray:
        """Return scaled rows, of the dtype they have where it is floating, else float64."""
        X, shift, scale = self._checked(X)
        return _rounded((X - shift) / scale, X)

    def inverse(self, X: ArrayLike) -> HostArray:
        """Return what `transform` would have made these rows of."""
        X, shift, scale = self._checked(X)
        return _rounded(X * scale + shift, X)

    def too_fine_for(self, dtype: DTypeLike) -> list[int]:
        """Return the columns whose values lie so close together, for their size, that a dtype blurs them.

        Of a time in seconds since 1970, neighbours in float32 are two minutes apart.
        """
        shift, scale = self.fitted
        largest = np.maximum(np.abs(shift), np.abs(shift + scale))
        close: list[int] = np.flatnonzero(np.finfo(dtype).eps * largest > _BLUR * scale).tolist()
        return close

    @property
    def fitted(self) -> tuple[HostArray, HostArray]:
        """Shift and scale; DataError before `fit`."""
        if self.shift is None or self.scale is None:
            raise DataError("the scaler has not been fitted")
        return self.shift, self.scale

    def _checked(self, X: ArrayLike) -> tuple[HostArray, HostArray, HostArray]:
        X = np.asarray(X)
        shift, scale = self.fitted
        if X.dtype.kind not in "biuf":
            kind = "text" if X.dtype.kind in "US" else X.dtype
            raise DataError(f"X is {kind}, and a scaler takes real numbers: encode it as for training")
        if X.ndim == 0 or X.shape[-1] != len(shift):
            raise ShapeError(f"a scaler of {len(shift)} columns was given {X.dtype}{list(X.shape)}")
        return X, shift, scale

    def config(self) -> dict[str, Any]:
        """Return what `scaler_from_config` makes an equal scaler of: text and numbers only."""
        shift, scale = self.fitted
        return {"kind": self.kind, "columns": self.columns, "shift": shift.tolist(), "scale": scale.tolist()}


def _rounded(values: HostArray, given: HostArray) -> HostArray:
    return values.astype(given.dtype if given.dtype.kind == "f" else "float64", copy=False)


class Standardise(Scaler):
    """Mean 0 and standard deviation 1.

    Parameters
    ----------
    columns : sequence of int, optional
        Which columns are scaled; by default all.

    Examples
    --------
    >>> import graphdiff as gd
    >>> scaler = gd.train.Standardise().fit([[0.0, 5.0], [2.0, 5.0]])
    >>> scaler.transform([[4.0, 6.0]])
    array([[3., 1.]])
    """

    kind = "standardise"

    def _find(self, X: HostArray) -> tuple[HostArray, HostArray]:
        with np.errstate(over="ignore", invalid="ignore"):
            mean, deviation = _moments(X, 1.0)
            if not np.isfinite(deviation).all():
                # Squares of numbers near the largest overflow.
                largest = np.max([np.abs(block.astype("float64")).max(axis=0) for block in blocks_of(X)], axis=0)
                mean, deviation = (moment * largest for moment in _moments(X, np.where(largest > 0, largest, 1.0)))
        # What rounding leaves of a constant column is no spread.
        return mean, np.where(deviation > 1e-14 * np.abs(mean), deviation, 0.0)


def _moments(X: HostArray, unit: float | HostArray) -> tuple[HostArray, HostArray]:
    """Return mean and standard deviation of each column, counted in units."""
    # Blocks are joined as by Chan, Golub and LeVeque (1979), so that no mean square is subtracted from a square.
    count, mean, squares = 0, np.zeros(X.shape[1]), np.zeros(X.shape[1])
    for block in blocks_of(X):
        rows = block.astype("float64")
        rows /= unit
        centre = rows.mean(axis=0)
        rows -= centre
        step, joined = centre - mean, count + len(rows)
        squares += (rows * rows).sum(axis=0) + step * step * (count * len(rows) / joined)
        mean += step * (len(rows) / joined)
        count = joined
    return mean, np.sqrt(squares / count)


class MinMax(Scaler):
    """The least value of each column becomes 0 and the greatest 1.

    Examples
    --------
    >>> import graphdiff as gd
    >>> scaler = gd.train.MinMax().fit([[1.0], [5.0]])
    >>> scaler.transform([[2.0]]), scaler.inverse([[0.25]])
    (array([[0.25]]), array([[2.]]))
    """

    kind = "min-max"

    def _find(self, X: HostArray) -> tuple[HostArray, HostArray]:
        least, greatest = np.full(X.shape[1], np.inf), np.full(X.shape[1], -np.inf)
        for block in blocks_of(X):
            np.minimum(least, block.min(axis=0), out=least)
            np.maximum(greatest, block.max(axis=0), out=greatest)
        return least, greatest - least


def scaler_from_config(config: Mapping[str, Any]) -> Scaler:
    """Return the scaler that `Scaler.config` described."""
    for kind in (Standardise, MinMax):
        if kind.kind == config["kind"]:
            scaler = kind(config["columns"])
            scaler.shift, scaler.scale = (np.array(config[name], dtype="float64") for name in ("shift", "scale"))
            if scaler.shift.ndim != 1 or scaler.shift.shape != scaler.scale.shape:
                raise DataError("the scaler's numbers do not fit together")
            return scaler
    raise DataError(f"there is no scaler {config['kind']!r}")
