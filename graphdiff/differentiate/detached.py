"""Values that leave the graph while something is differentiated: the usual reason for a derivative that is wrong.

``np.asarray(x)``, ``float(x)``, ``math.sin(x)`` and ``array[0] = x[0]`` make plain numbers, through which no derivative
flows. A function that is differentiated is known beforehand, and every such value that depends on its arguments is told
of. A graph that `backward` meets was built before: there only what has come back into it is. What was only compared,
branched on or counted is no mistake.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from graphdiff import host
from graphdiff.differentiate.dataflow import flows_into, is_smooth
from graphdiff.errors import ArgumentError
from graphdiff.tensor import DEPARTURES, MARK, MARKED, PLACES, Departure, Places, Tensor, lets_through
from graphdiff.tree import flatten
from graphdiff.typing import Function

__all__ = ["called_attentively", "tell_of_returns"]

Returned = TypeVar("Returned")

_ADVICE = (
    "Compute with the tensor itself, for example gd.stack([…]) instead of np.array([…]) and gd.sin instead of "
    "math.sin; x.numpy(), x.item() and gd.stop_gradient(x) say that a constant is meant."
)


def called_attentively(
    function: Function[Returned],
    arguments: Sequence[object],
    options: Mapping[str, object],
    leaves: Sequence[Tensor],
    titles: Callable[[], Sequence[str]],
) -> Returned:
    """Call a function, and warn of every value below which one of `leaves` lies and which leaves the graph.

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
    if not callable(function):
        raise ArgumentError(f"functions are differentiated, not {function!r}")
    departed: list[tuple[Tensor, Departure]] = []
    DEPARTURES.open(departed)
    try:
        result = function(*arguments, **options)
    finally:
        DEPARTURES.close(departed)
    if departed:
        _tell(departed, dict(zip(leaves, titles(), strict=True)), result)
    return result


def _tell(departed: Sequence[tuple[Tensor, Departure]], titles: dict[Tensor, str], result: object) -> None:
    """Warn once per line of what depends on one of the tensors that have titles, which are differentiated by."""
    leaf_of = _first_leaves([tensor for tensor, _ in departed], titles)
    reached = _smoothly_below(part for part in flatten(result)[0] if isinstance(part, Tensor))
    told = set()
    for tensor, departure in departed:
        leaf = leaf_of.get(tensor)
        if leaf is None or departure.where in told or not is_smooth(departure.code, departure.instruction):
            continue
        told.add(departure.where)
        for outer in DEPARTURES.here():  # what is differentiated twice is told of once
            outer[:] = [each for each in outer if each[1] is not departure]
        named = f"{titles[leaf]}, {leaf.describe()}"
        _warn(
            f"the result does not depend on {named}, so that its derivative is zero. Here its value"
            if leaf not in reached
            else f"the derivative by {named} lacks a part: here a value that depends on it",
            departure,
        )


def _first_leaves(tensors: Sequence[Tensor], leaves: Collection[Tensor]) -> dict[Tensor, Tensor]:
    """Return one of `leaves` for each tensor and node below that depends on any, smoothly."""
    found = {leaf: leaf for leaf in leaves}
    for node in sorted(_smoothly_below(tensors), key=lambda node: node.serial):
        if node not in found:
            below = next((operand for operand in node.inputs if operand in found), None)
            if below is not None:
                found[node] = found[below]
    return found


def _smoothly_below(tensors: Iterable[Tensor]) -> set[Tensor]:
    """Return what the tensors depend on smoothly."""
    seen: set[Tensor] = set()
    pending = list(tensors)
    while pending:
        node = pending.pop()
        if node not in seen and lets_through(node):
            seen.add(node)
            pending.extend(node.inputs)
    return seen


def tell_of_returns(order: Iterable[Tensor]) -> None:
    """Warn of what left a graph and has come back into it as a constant: a derivative does not flow through that.

    Parameters
    ----------
    order : iterable of Tensor
        The graph that is being differentiated.
    """
    if not PLACES and not MARKED[0]:
        return
    told = set()
    for node, departure in [*_marked(order), *_flowing(order)]:
        if departure.where not in told and (node.op is None or _constants(node)):
            told.add(departure.where)
            _warn("a value that depends on variables", departure, " It is an operand of what is differentiated.")


def _constants(node: Tensor) -> list[Tensor]:
    """Return the operands of a node that carry no derivative though they could."""
    return [each for each in node.inputs if not each.recorded and host.is_real_floating(each.dtype)]


def _marked(order: Iterable[Tensor]) -> Iterator[tuple[Tensor, Departure]]:
    """Yield variables, and users of constants, whose value is known to have left a graph, and where."""
    if not MARKED[0]:
        return
    for node in order:
        for leaf in (node,) if node.op is None else _constants(node):
            departure = leaf.attributes.get(MARK)
            if departure is not None:
                yield node, departure


def _flowing(order: Iterable[Tensor]) -> Iterator[tuple[Tensor, Departure]]:
    """Yield nodes into whose expression a value flows that left a graph within it or before, and where it left."""
    code: object = None
    instruction = -1
    departure: Departure | None = None
    for node in order:
        if node._code is not code or node._instruction != instruction:  # nodes of one call come one after the other
            code, instruction = node._code, node._instruction
            places = PLACES.get(id(code))
            departure = None if places is None else _verdict(places, instruction)
        if departure is not None and node.op is not None:
            yield node, departure


def _verdict(places: Places, instruction: int) -> Departure | None:
    """Return a departure whose value becomes an operand at an instruction, if there is one; known from then on."""
    if instruction not in places.verdicts:
        places.verdicts[instruction] = _flowing_in(places, instruction)
    return places.verdicts[instruction]


def _flowing_in(places: Places, instruction: int) -> Departure | None:
    """Return a departure whose value becomes an operand at an instruction, if there is one."""
    for departure in list(places.departures.values()):
        if flows_into(places.code, departure.instruction, instruction):
            return departure
    return None


def _warn(what: str, departure: Departure, more: str = "") -> None:
    message = f"{what} left the graph and became a plain number or array.{more} {_ADVICE}"
    file, line = departure.where
    warnings.warn_explicit(message, RuntimeWarning, file, line, registry=departure.registry)
