"""Numbers computed when the page is made: in full where they are few, as statistics and a histogram where not."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from graphdiff import host
from graphdiff.backend import working_on
from graphdiff.differentiate.forward import push_forward
from graphdiff.differentiate.reverse import pull_back
from graphdiff.differentiate.seeds import seed_for
from graphdiff.differentiate.zeros import exposed
from graphdiff.draw.lecture.symbols import Numbers
from graphdiff.draw.page.programs import JSON, Record, numbers_of
from graphdiff.tensor import Tensor
from graphdiff.typing import Array

__all__ = ["IN_FULL", "adjoint_records", "record", "tangent_records"]

IN_FULL = 64
"""Arrays of so many elements are shown in full."""
_BINS = 24


def record(array: Numbers, in_full: int = IN_FULL) -> Record:
    """Return an array as the page shows it.

    Returns
    -------
    dict
        ``data``, every element, up to `in_full` of them; beyond, ``size``, ``finite`` (how many are), and of those
        ``mean``, ``std``, ``min``, ``max`` and ``counts``, a histogram of equal bins between the extremes.
    """
    if array.size <= in_full:
        return {"data": numbers_of(array)}
    flat = array.reshape(-1).astype(np.float64)
    finite = flat[np.isfinite(flat)]
    made: Record = {"size": array.size, "finite": finite.size}
    if finite.size:
        low, high = float(finite.min()), float(finite.max())
        counts = np.histogram(finite, _BINS, (low, high))[0] if high > low else np.array([finite.size])
        made |= {"mean": float(finite.mean()), "std": float(finite.std()), "min": low, "max": high}
        made["counts"] = counts.tolist()
    return made


def _host(node: Tensor, array: Array) -> Numbers:
    return host.as_host(node.backend.to_host(node.backend.normalize(array)))


def adjoint_records(
    order: Sequence[Tensor], output: Tensor, index: Mapping[Tensor, int], sources: Collection[Tensor]
) -> Record:
    """Walk down from `output` node by node, and record what each adds to the adjoints of its operands.

    Parameters
    ----------
    order : sequence of Tensor
        The recorded nodes below the output, in topological order.
    output : Tensor
        Its adjoint is one everywhere: what is differentiated is the sum of its elements.
    index : mapping of Tensor to int
        The nodes' places on the page.
    sources : collection of Tensor
        Where the walk ends.

    Returns
    -------
    dict
        ``adjoints``: by node, the complete adjoint; ``steps``: by node, for every operand ``amount``, what is added,
        and ``after``, what has been added up by then. Operands that a node has twice receive one joint amount.
    """
    steps: Record = {}
    with working_on(output.backend):
        F = output.backend.numbers
        seed = {output: seed_for(output, np.ones(output.shape, output.dtype)).value}
        adjoint: dict[Tensor, Array] = {**seed}
        for node in reversed(order):
            if node.op is None or node in sources or node not in adjoint:
                continue
            alone = {node: adjoint[node]}
            pull_back([node], alone, F, set(node.inputs))
            moved: list[JSON] = [None] * len(node.inputs)
            for position, operand in enumerate(node.inputs):
                amount = alone.pop(operand, None)
                if amount is not None and operand.recorded:
                    adjoint[operand] = adjoint[operand] + amount if operand in adjoint else amount
                    after = record(_host(operand, adjoint[operand]))
                    moved[position] = {"amount": record(_host(operand, amount)), "after": after}
            steps[str(index[node])] = moved
        if exposed(order):
            # Zeros that are structural survive infinite partials only in one walk over the whole graph.
            adjoint = {**seed}
            pull_back(order, adjoint, F, set(order), keep=True, boundary=sources)
    final = {str(index[node]): record(_host(node, array)) for node, array in adjoint.items()}
    return {"output": index[output], "adjoints": final, "steps": steps}


def tangent_records(order: Sequence[Tensor], leaf: Tensor, index: Mapping[Tensor, int]) -> Record:
    """Record the tangents of the nodes above `leaf`, whose own tangent is one everywhere."""
    with working_on(leaf.backend):
        F = leaf.backend.numbers
        tangent: dict[Tensor, Array] = {leaf: F.ones_like(leaf.value)}
        push_forward(order, tangent, F)
    return {"input": index[leaf], "tangents": {str(index[node]): record(_host(node, t)) for node, t in tangent.items()}}
