"""A model drawn as its layers: which node belongs to which, found by running the model."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

from graphdiff.draw.compose import Layers
from graphdiff.draw.dot import Drawing, draw_graph
from graphdiff.draw.options import Example, Options
from graphdiff.draw.picture import Scope
from graphdiff.errors import GraphError
from graphdiff.nn.containers import Sequential
from graphdiff.nn.inputs import (
    Inputs,
    Names,
    Shapes,
    input_dtype,
    input_width,
    layers_of,
    placeholders,
    require_callable,
    shapes_of,
    split_inputs,
)
from graphdiff.nn.layers import Activation
from graphdiff.nn.module import Module
from graphdiff.nn.report import observed
from graphdiff.op import as_tensor
from graphdiff.tensor import Tensor, Variable, variable
from graphdiff.typing import ArrayLike

__all__ = ["draw_layers"]

_EXAMPLES = 1
"""How many examples the placeholder holds, and operations are counted for; drawn as n."""


def draw_layers(model: Module, options: Options, example: Example) -> Drawing:
    """Draw a model's layers with their shapes and parameters; the model stays as it is.

    Parameters
    ----------
    model : Module
    options : Options
        Without `collapse` every layer is one box; what it names is drawn as one box with all within.
    example : Example
        By default one of the shape that the first layer takes, without a value.

    Raises
    ------
    GraphError
        No layer tells the input's shape and none is given, options that a graph without values cannot have, or a loss
        that returns no Tensor.
    ShapeError
        The input does not fit the model.
    """
    for name in ("expand", "simplify"):
        if getattr(options, name) is not False:
            raise GraphError(f"{name} is for a graph: draw the model's output instead of the model")
    model = copy.deepcopy(model)
    batch = _EXAMPLES if example.inputs is None else None
    if example.inputs is None:
        inputs, names = _unknown(model, example.input_shape)
    else:
        inputs, names = _examples(model, example.inputs)
    output, turns = observed(model, inputs, names)
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
    drawn = output if example.loss is None else _lost(example.loss, output)
    return draw_graph(drawn, options, Layers(scopes, batch))


def _examples(model: Module, given: Inputs) -> tuple[list[Tensor], Names]:
    """Return inputs as variables: what is made of a constant before the first weight would not be recorded."""
    inputs, names = split_inputs(given)
    require_callable(model, len(inputs), names, "; several arrays are given as a tuple or, by name, a dict")
    called = names or (["x"] if len(inputs) == 1 else [f"x{place}" for place in range(len(inputs))])
    return [_example(model, array, name) for array, name in zip(inputs, called, strict=True)], names


def _example(model: Module, array: ArrayLike, name: str) -> Variable:
    dtype = input_dtype(layers_of(model))
    wanted = as_tensor(array)
    if wanted.dtype.kind in "iub" and dtype != "int64":
        wanted = wanted.astype(dtype)
    return variable(wanted, dtype=dtype if wanted.dtype.kind == "f" else None, name=wanted.name or name)


def _lost(loss: Callable[[Tensor], Tensor], output: Tensor) -> Tensor:
    made = loss(output)
    if not isinstance(made, Tensor):
        raise GraphError(f"the loss returns a Tensor of the model's output, not {type(made).__name__}")
    return made if made.name or made is output else made.named("loss")


def _unknown(model: Module, given: Shapes | None) -> tuple[list[Tensor], Names]:
    """Return placeholders for the inputs."""
    layers = layers_of(model)
    dtype = input_dtype(layers)
    several = "; give a shape or an array for each, as input_shape=((3,), (4,)) or inputs=(a, b)"
    if given is None:
        require_callable(model, 1, None, several)
        width = 1 if dtype == "int64" else input_width(layers)
        if width is None:
            raise GraphError(
                f"{type(model).__name__} does not tell the shape of its input: give input_shape=…, of one example"
            )
        given = width
    shapes, names = shapes_of(given)
    require_callable(model, len(shapes), names, several)
    return placeholders(shapes, names, _EXAMPLES, dtype), names


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


def _between(given: Sequence[Tensor], made: Tensor) -> list[Tensor]:
    """Return the nodes that a layer makes of its input, with the variables and constants that it reads."""
    seen, pending, found = set(given), [made], []
    while pending:
        node = pending.pop()
        if node not in seen:
            seen.add(node)
            if node.op is not None or node.__class__ is Variable or not node.recorded:
                found.append(node)
            pending.extend(node.inputs)
    return found
