"""What can be asked of a drawing, checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from graphdiff.errors import GraphError
from graphdiff.tensor import Tensor

__all__ = ["COLOURS", "LABELS", "Options"]

LABELS = ("op", "name", "expression", "shape", "dtype", "value", "adjoint", "tangent", "flops", "bytes", "time")
COLOURS = ("gradient", "flops", "bytes", "time")
_CHOICES: dict[str, tuple[Any, ...]] = {
    "mode": (None, "forward", "reverse", "both"),
    "backward": (None, "joined", "beside"),
    "colour": (None, *COLOURS),
    "rankdir": ("LR", "BT", "TB", "RL"),
}


@dataclass(frozen=True)
class Options:
    """The options of `graphdiff.draw`, where each is described.

    Raises
    ------
    GraphError
        No such choice, or two that exclude each other.
    """

    mode: str | None = None
    wrt: Tensor | None = None
    seed: Any = None
    labels: Sequence[str] | None = None
    adjoints: bool | None = None
    local: bool | None = None
    backward: str | None = None
    collapse: bool | int | str | Iterable[str] = False
    expand: bool | str | Iterable[str] = False
    colour: str | None = None
    max_nodes: int | None = 1000
    digits: int = 4
    rankdir: str = "LR"
    simplify: bool = False

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            given = getattr(self, name)
            if given not in known:
                raise GraphError(f"{name} is {_listed(known)}, not {given!r}")
        if isinstance(self.labels, str):
            raise GraphError(f"labels is a list, such as [{self.labels!r}], not the text {self.labels!r}")
        for label in self.labels or ():
            if label not in LABELS:
                raise GraphError(f"labels are of {_listed(LABELS)}, not {label!r}")
        if self.max_nodes is not None and self.max_nodes < 1:
            raise GraphError(f"max_nodes is at least 1, or None for all nodes; not {self.max_nodes}")
        if self.digits < 1:
            raise GraphError(f"digits is at least 1, not {self.digits}")
        if self.seed is not None and self.mode not in ("forward", "reverse"):
            raise GraphError("a seed is drawn with mode='forward' or mode='reverse'")

    def asks(self, label: str) -> bool:
        """Whether a label of this kind was asked for by name."""
        return self.labels is not None and label in self.labels

    @property
    def tangents(self) -> bool:
        """Whether tangents are drawn."""
        return self.mode in ("forward", "both") or self.asks("tangent")

    @property
    def adjoint_graph(self) -> bool:
        """Whether adjoints are needed, whatever has been differentiated before."""
        reverse = self.mode in ("reverse", "both") or self.backward is not None
        return reverse or self.asks("adjoint") or self.colour == "gradient"

    @property
    def on_edges(self) -> bool:
        """Whether local derivatives stand on the edges."""
        return self.mode is not None if self.local is None else self.local


def _listed(known: Iterable[Any]) -> str:
    return ", ".join(repr(each) for each in known if each is not None)
