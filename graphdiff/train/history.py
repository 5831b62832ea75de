"""What training records: a list of dicts that can be saved and drawn."""

from __future__ import annotations

import csv
import io
import math
import os
from pathlib import Path

from graphdiff.errors import DataError
from graphdiff.files.atomic import write_atomically
from graphdiff.files.plotting import FIRST, SECOND, figure_for, rendered, styled

__all__ = ["History", "Record"]

Record = dict[str, float]

_PREFIX = "validation_"


class History(list[Record]):
    """One record per epoch.

    Examples
    --------
    >>> import graphdiff as gd
    >>> history = gd.train.History([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}])
    >>> history[-1]["loss"], history.column("loss")
    (0.25, [0.5, 0.25])
    """

    def names(self) -> list[str]:
        """Return the names of all that was recorded, in order of appearance."""
        return list(dict.fromkeys(name for record in self for name in record))

    def column(self, name: str) -> list[float]:
        """Return one quantity over the epochs; NaN where it was not recorded."""
        return [record.get(name, float("nan")) for record in self]

    def save_csv(self, path: str | os.PathLike[str]) -> Path:
        """Write a row per epoch, numbers in full precision."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self.names(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self)
        return write_atomically(path, text.getvalue().encode())

    def plot(self, path: str | os.PathLike[str]) -> Path:
        """Draw curves of the loss and of every metric, training and validation together.

        The loss has a logarithmic axis where it spans more than a decade.

        Parameters
        ----------
        path : path
            Its ending is the format: .png, .svg or .pdf.
        """
        if not self:
            raise DataError("there are no epochs to draw")
        panels = list(dict.fromkeys(name.removeprefix(_PREFIX) for name in self.names() if name != "epoch"))
        figure = figure_for(path, 4.5 * len(panels), 3.6)
        epochs = self.column("epoch")
        mark = "o" if len(self) == 1 else None
        for axes, name in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            drawn: list[float] = []
            for key, color, style, label in (
                (name, FIRST, "-", "training"),
                (_PREFIX + name, SECOND, "--", "validation"),
            ):
                if key in self.names():
                    values = self.column(key)
                    drawn += filter(math.isfinite, values)
                    axes.plot(epochs, values, color=color, linestyle=style, marker=mark, label=label)
            if name == "loss" and drawn and min(drawn) > 0 and max(drawn) > 10 * min(drawn):
                axes.set_yscale("log")
                axes.yaxis.set_major_formatter("{x:g}")
            styled(axes, title=name.replace("_", " ").capitalize(), xlabel="epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
        figure.axes[0].legend(frameon=False)
        return write_atomically(path, rendered(figure, path))
