"""Tracing: a Python function is run once on placeholders, and what it builds is the program.

While a function is traced, a variable has no value: reading it gives its stand-in, a placeholder, or what has been
assigned to it since. Assignments are collected and made by the plan, all together, when a step has succeeded. So it is
with gradients and with settings, such as the modes of layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

from graphdiff.errors import CompileError, StaleError
from graphdiff.graph import topological_order
from graphdiff.op import FUNCTIONS, Number, as_tensor
from graphdiff.plan.program import Program
from graphdiff.tensor import NO_ATTRIBUTES, TRACES, Tensor, Variable, constant, next_serial, put
from graphdiff.tree import Structure, flatten

__all__ = ["Trace", "trace"]

_MISSING: Any = object()


class Trace:
    """What a function under trace has read, assigned and differentiated.

    Attributes
    ----------
    inherited : dict of Variable to Tensor
        What stands for the gradients from before the call that the function has read.
    probes : dict of (id, name) to callable
        What the function has branched on, by an object's id and the name of what it was asked: return what it is now.
    probed : list of Variable
        Those whose gradient from before the call the function has asked for.
    draws : list of Tensor
        What the function has drawn from random streams.
    made : list of str
        What the function has made that would be made anew at each call, such as variables, and where.
    """

    def __init__(self, arguments: Sequence[Tensor]) -> None:
        self.started = min([next_serial(), *(argument.serial for argument in arguments)])
        self.reads: dict[Tensor, Variable] = {}
        self.updates: dict[Variable, Tensor] = {}
        self.gradients: dict[Variable, Tensor | None] = {}
        self.inherited: dict[Variable, Tensor] = {}
        self.probes: dict[tuple[int, str], Callable[[], Any]] = {}
        self.probed: list[Variable] = []
        self.draws: list[Tensor] = []
        self.made: list[str] = []
        self._put: dict[tuple[int, str], tuple[dict[str, Any], str, Any, Any]] = {}
        self._streams: dict[int, tuple[Any, Any]] = {}
        self._present: dict[Variable, Tensor] = {}
        self._parts: dict[tuple[Tensor, Variable], Tensor] = {}

    # Called by the engine --------------------------------------------------------------------------------------

    def enter(self, tensor: Tensor) -> Tensor:
        """Return what stands for an operand: for a variable its present value in the trace, else the tensor itself."""
        if tensor.__class__ is Variable:
            return self.present(tensor)
        return tensor

    def present(self, variable: Variable) -> Tensor:
        """Return the value of a variable at this point of the trace."""
        home = variable.home
        if home is not None and variable is not home.flat:
            whole = self.present(home.flat)
            found = self._parts.get((whole, variable))
            if found is None:
                found = self._parts[whole, variable] = home.part(whole, variable)
                found.name = variable.name
            return found
        found = self._present.get(variable)
        if found is None:
            signature = variable.shape, variable.dtype
            found = Tensor(None, (), NO_ATTRIBUTES, None, variable.backend, True, signature)
            found.name = variable.name
            self._present[variable] = found
            self.reads[found] = variable
        return found

    def assign(self, variable: Variable, new: Any) -> None:
        """Note that a variable is to take a new value."""
        value = as_tensor(new)
        variable.require_fit(value.shape, value.dtype)
        value = FUNCTIONS["astype"](value, variable.dtype)
        home = variable.home
        if home is not None and variable is not home.flat:
            whole = self.present(home.flat)
            flat = FUNCTIONS["reshape"](value, (-1,))
            self.assign(home.flat, whole.at[home.place(variable)].set(flat))
            return
        self.present(variable)  # so that it is among the reads, even if nothing reads it
        self._present[variable] = self.updates[variable] = value

    def stands(self, node: Tensor) -> bool:
        """Whether a node stands for a variable."""
        return node in self.reads or any(node is symbol for symbol in self._parts.values())

    def leaves(self, output: Tensor) -> dict[Tensor, Variable]:
        """Return the variables below `output`, by what stands for them.

        Raises
        ------
        StaleError
            A variable was assigned after `output` had been built from it.
        """
        symbols = {symbol: variable for variable, symbol in self._present.items() if variable.home is None}
        symbols |= {symbol: variable for (_, variable), symbol in self._parts.items()}
        order = topological_order([output], boundary=frozenset(symbols))
        found = {node: symbols[node] for node in order if node in symbols}
        for symbol, variable in found.items():
            if self.present(variable) is not symbol:
                raise StaleError(
                    f"variable {variable.describe()} was assigned after {output.describe()} had been built"
                )
        return found

    def gradient(self, variable: Variable) -> Tensor | None:
        """Return the gradient of a variable at this point of the trace; whether there is one is known."""
        if variable in self.gradients:
            return self.gradients[variable]
        found = self.inherited.get(variable)
        if found is None:
            self.probes[id(variable), "grad"] = partial(gradient_kind, variable)
            self.probed.append(variable)
            kind = gradient_kind(variable)
            if kind is None:
                return None
            found = self.inherited[variable] = Tensor(None, (), NO_ATTRIBUTES, None, variable.backend, True, kind)
            found.name = variable.name and f"{variable.name}.grad"
        return found

    def set_gradient(self, variable: Variable, gradient: Any) -> None:
        """Give a variable a gradient that is known when the plan runs, or None."""
        self.gradients[variable] = None if gradient is None else as_tensor(gradient)

    def put(self, mapping: dict[str, Any], name: str, value: Any) -> None:
        """Note that a setting is being set: what it was comes back when the trace ends."""
        if id(value) in self._streams:
            raise CompileError(f"{name} is set to a stream that is made at every call: make it outside of the function")
        before = self._put[id(mapping), name][3] if self.has_put(mapping, name) else mapping.get(name, _MISSING)
        self._put[id(mapping), name] = mapping, name, value, before

    def has_put(self, mapping: dict[str, Any], name: str) -> bool:
        """Whether a setting has been set by the trace, so that what it was before does not count."""
        return (id(mapping), name) in self._put

    def make(self, what: str) -> None:
        """Note that the function makes something, on the line that it is at."""
        self.made.append(f"{what} at {constant(0).source}")

    def make_stream(self, stream: Any) -> None:
        """Note a random stream with a seed: every call begins it anew, so that its numbers are known now."""
        self._streams[id(stream)] = stream, deepcopy(stream)

    @property
    def makes_anew(self) -> bool:
        """Whether the function has made something that lasts, if this was done once for all at its first run."""
        return bool(self.made or self._streams)

    def own_stream(self, stream: Any) -> Any:
        """Return a copy to draw from now of a stream that the function has made, or None."""
        return self._streams.get(id(stream), (None, None))[1]

    def effects(self) -> list[Callable[[], None]]:
        """Return what a call changes besides values and gradients, as functions without arguments."""
        cleared = [variable for variable, gradient in self.gradients.items() if gradient is None]
        forget = [partial(setattr, variable, "_grad", None) for variable in cleared]
        return [*forget, *(partial(put, *setting[:3]) for setting in self._put.values())]

    # Around the function ------------------------------------------------------------------------------------------

    def __enter__(self) -> Trace:
        TRACES.open(self)
        return self

    def __exit__(self, *exception: object) -> None:
        TRACES.close(self)
        if exception[0] is not None or not self.makes_anew:  # what it has made lasts, and so what it has set for that
            self.undo()

    def undo(self) -> None:
        """Put settings back to what they were before the trace."""
        for mapping, name, _, before in self._put.values():
            if before is _MISSING:
                mapping.pop(name, None)
            else:
                mapping[name] = before


def gradient_kind(variable: Variable) -> tuple[Any, Any] | None:
    """Return shape and dtype of the gradient that a variable has, or None."""
    held = variable._grad
    return None if held is None else (tuple(held.shape), variable.backend.host_dtype(held))


def trace(
    function: Callable[..., Any],
    arguments: Sequence[Any],
    rebuild: Callable[[list[Any]], tuple[Any, Any]],
) -> tuple[Program, Structure, list[Any], Trace]:
    """Run a function on placeholders.

    Parameters
    ----------
    function : callable
    arguments : sequence of Tensor
        Placeholders.
    rebuild : callable
        Makes (args, kwargs) of the placeholders.

    Returns
    -------
    program, structure, results, tracing
        The structure of what the function returned, and its leaves: Tensors are outputs of the program, others are
        returned as they are.
    """
    with Trace(arguments) as tracing:
        positional, named = rebuild(list(arguments))
        returned = function(*positional, **named)
        results, structure = flatten(returned)
        results = [tracing.enter(result) if isinstance(result, Tensor) else result for result in results]
        outputs = [result for result in results if isinstance(result, Tensor)]
        gradients = {variable: set_to for variable, set_to in tracing.gradients.items() if set_to is not None}
        program = Program(
            [*arguments, *tracing.inherited.values()],
            tracing.reads,
            outputs,
            tracing.updates,
            gradients,
            inherited=list(tracing.inherited),
            effects=tracing.effects(),
        )
        needed = set(program.nodes())
        program = replace(program, kept=[drawn for drawn in tracing.draws if drawn not in needed])
    _require_own_leaves(program, tracing.started)
    return program, structure, results, tracing


def _require_own_leaves(program: Program, started: int) -> None:
    known = {*program.arguments, *program.reads}
    foreign = [node for node in program.nodes() if node.recorded and node not in known and _is_foreign(node, started)]
    if foreign:
        # The last is the one that the function used: the others are what it was made of.
        last = foreign[-1]
        raise CompileError(
            f"the compiled function uses {last.describe()}, made at {last.source}, outside of it. Compute it inside, "
            "or pass it as an argument."
        )


def _is_foreign(node: Tensor, started: int) -> bool:
    return node.serial < started or (node.op is None and (node._value is None or node.__class__ is Variable))


def placeholder_like(shape: tuple[int, ...], dtype: Any, backend: Any, is_number: bool) -> Tensor:
    """Return the placeholder for an argument."""
    kind = Number if is_number else Tensor
    return kind(None, (), NO_ATTRIBUTES, None, backend, True, (shape, dtype))
