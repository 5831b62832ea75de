"""What the walks return: derivatives by node."""

from __future__ import annotations

from typing import NoReturn

from graphdiff.errors import OutsideGraphError
from graphdiff.tensor import Tensor

__all__ = ["Derivatives"]


class Derivatives(dict[Tensor, Tensor]):
    """Derivatives by node; a node that has none is named when it is asked for."""

    def __init__(self, found: dict[Tensor, Tensor], of: str) -> None:
        super().__init__(found)
        self._of = of

    def __missing__(self, node: object) -> NoReturn:
        title = f"{node.describe()}, made at {node.source}," if isinstance(node, Tensor) else repr(node)
        raise OutsideGraphError(
            f"{title} has no {self._of}: it is no node of this graph through which a derivative flows. Use "
            ".get(node) where it may have none."
        )
