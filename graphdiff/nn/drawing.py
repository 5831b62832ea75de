"""A model drawn as its layers: which node belongs to which, found by running the model on a placeholder."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from graphdiff.draw.compose import Layers
from graphdiff.draw.dot import Drawing, draw_graph
from graphdiff.draw.options import Options
from graphdiff.draw.picture import Scope
from graphdiff.errors import GraphError, ShapeError
from graphdiff.nn.layers import Activation, Embedding, Sequential
from graphdiff.nn.module import Module
from graphdiff.nn.report import observed
from graphdiff.tensor import Tensor, Variable, placeholder

__all__ = ["draw_layers"]

_EXAMPLES = 1
"""How many examples the placeholder holds, and operations are counted for; drawn as n."""


def draw_layers(model: Module, options: Options, input_shape: int | Sequence[int] | None) -> Drawing:
    """Draw a model's layers with their shapes and parameters; the model stays as it is.

    Parameters
    ----------
    model : Module
    options : Options
        Without `collapse` every layer is one box; what it names is drawn as one box with all within.
    input_shape : int or sequence of int, optional
        Of one example; by default what the first layer takes.

    Raises
    ------
    GraphError
        No layer tells the input's shape and none is given, or options that a graph without values cannot have.
    ShapeError
        The input does not fit the model.
    """
    if options.expand is not False:
        raise GraphError("expand opens composites of a graph: draw the model's output instead of the model")
    if options.simplify:
        raise GraphError("simplify is for a graph: draw the model's output instead of the model")
    model = copy.deepcopy(model)
    shape, dtype = _input(model, input_shape)
    x = placeholder((_EXAMPLES, *shape), dtype, name="x")
    output, turns = observed(model, x)
    paths = _paths(model)
    scopes: dict[Tensor, Scope] = {}
    calls: dict[Module, int] = {}
    for module, given, made in turns:
        # A module that is listed in several places is drawn in each.
        call = calls[module] = calls.get(module, -1) + 1
        for node in _between(given, made):
            scopes.setdefault(node, paths[module][min(call, len(paths[module]) - 1)])
    if options.collapse is False:
        leaves = {"/".join(scope) for module in paths if not _holds_modules(module) for scope in paths[module] if scope}
        options = replace(options, collapse=sorted(leaves & {"/".join(scope) for scope in scopes.values()}))
    return draw_graph(output, options, Layers(scopes, _EXAMPLES))


def _input(model: Module, given: int | Sequence[int] | None) -> tuple[tuple[int, ...], Any]:
    """Return shape and dtype of one example."""
    layers = [module for module in model.modules() if not isinstance(module, Sequential)]
    integers = bool(layers) and isinstance(layers[0], Embedding)
    variables = [leaf for module in layers for leaf in vars(module).values() if isinstance(leaf, Variable)]
    dtype = "int64" if integers else str(variables[0].dtype) if variables else "float32"
    if given is None:
        width = 1 if integers else _width(layers)
        if width is None:
            raise GraphError(
                f"{type(model).__name__} does not tell the shape of its input: give input_shape=…, of one example"
            )
        return (width,), dtype
    shape = tuple(given) if isinstance(given, Sequence) else (given,)
    if any(not isinstance(length, int) or length < 0 for length in shape):
        raise ShapeError(f"input_shape is non-negative integers, not {given!r}")
    return shape, dtype


def _width(layers: Sequence[Module]) -> int | None:
    """Return how many features the first layer takes that has a number of them; None where it infers it later."""
    for layer in layers:
        for name in ("in_features", "width", "features"):
            if hasattr(layer, name):
                width: int | None = getattr(layer, name)
                return width
    return None


def _paths(model: Module) -> dict[Module, list[Scope]]:
    """Return the clusters around each place of each module, its own included: the modules it lies in but the model."""
    by_name = dict(model.named_modules())
    found: dict[Module, list[Scope]] = {}
    for name, module in by_name.items():
        parts = name.split(".") if name else []
        scope = []
        for length in range(1, len(parts) + 1):
            outer = by_name.get(".".join(parts[:length]))
            # A sequence that only holds another module's layers says nothing of its own.
            if outer is not None and (parts[length - 1].isdigit() or not isinstance(outer, Sequential)):
                scope.append(f"{parts[length - 1]} {_title(outer)}")
        found.setdefault(module, []).append(tuple(scope))
    return found


def _title(module: Module) -> str:
    return module.name if isinstance(module, Activation) else type(module).__name__


def _holds_modules(module: Module) -> bool:
    return len(module.modules()) > 1


def _between(given: Tensor, made: Tensor) -> list[Tensor]:
    """Return the nodes that a layer makes of its input, with the variables it reads."""
    seen, pending, found = {given}, [made], []
    while pending:
        node = pending.pop()
        if node not in seen:
            seen.add(node)
            if node.op is not None or node.__class__ is Variable:
                found.append(node)
            pending.extend(node.inputs)
    return found
