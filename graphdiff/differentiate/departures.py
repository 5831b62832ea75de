"""Values that leave the graph while a function is differentiated: the usual reason for a derivative that is zero."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from graphdiff import host
from graphdiff.structure import flatten
from graphdiff.tensor import DEPARTURES, Tensor

__all__ = ["called_attentively"]


def called_attentively(
    function: Callable[..., Any],
    arguments: Sequence[Any],
    options: dict[str, Any],
    leaves: Sequence[Tensor],
    titles: Callable[[], Sequence[str]],
) -> Any:
    """Call a function, and warn if its result does not depend on a leaf whose value it took out of the graph.

    ``np.asarray(x)``, ``float(x)`` and ``array[0] = x[0]`` make plain numbers, through which no derivative flows.
    Reading a value to branch on it is no mistake: nothing is said where the result depends on the leaf too.

    Parameters
    ----------
    function : callable
    arguments, options : sequence, dict
        What it is called with.
    leaves : sequence of Tensor
        What it is differentiated by.
    titles : callable
        Returns how a warning speaks of them.
    """
    departed: list[tuple[Tensor, str, int]] = []
    DEPARTURES.open(departed)
    try:
        result = function(*arguments, **options)
    finally:
        DEPARTURES.close(departed)
    if departed:
        reached = _smoothly_below(part for part in flatten(result)[0] if isinstance(part, Tensor))
        for leaf, title in zip(leaves, titles(), strict=True):
            if leaf not in reached:
                _warn_of(leaf, title, departed)
    return result


def _warn_of(leaf: Tensor, title: str, departed: Sequence[tuple[Tensor, str, int]]) -> None:
    for tensor, file, line in departed:
        if leaf in _smoothly_below([tensor]):
            message = (
                f"the result does not depend on {title}, {leaf.describe()}, so that its derivative is zero. Here its "
                "value left the graph and became a plain number or array. Compute with the tensor itself, for example "
                "gd.stack([…]) instead of np.array([…]); gd.stop_gradient(x) says that zero is meant."
            )
            warnings.warn_explicit(message, RuntimeWarning, file, line)
            return


def _smoothly_below(tensors: Any) -> set[Tensor]:
    """Return what the tensors depend on, but not through integers, comparisons and `stop_gradient`."""
    seen: set[Tensor] = set()
    pending = list(tensors)
    while pending:
        node = pending.pop()
        if node in seen or not host.is_real_floating(node.dtype) or (node.op and node.op.name == "stop_gradient"):
            continue
        seen.add(node)
        pending.extend(node.inputs)
    return seen
