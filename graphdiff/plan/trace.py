"""Tracing: a Python function is run once on placeholders, and what it builds is the program.

While a function is traced, a variable has no value: reading it gives its stand-in, a placeholder, or what has been
assigned to it since. Assignments are collected and made by the plan, all together, when a step has succeeded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphdiff.errors import CompileError, StaleError
from graphdiff.graph import topological_order
from graphdiff.op import FUNCTIONS, Number, as_tensor
from graphdiff.plan.program import Program
from graphdiff.structure import Structure, flatten
from graphdiff.tensor import NO_ATTRIBUTES, TRACES, Tensor, Variable, next_serial

__all__ = ["Trace", "trace"]


class Trace:
    """What a function under trace has read, assigned and differentiated.

    Attributes
    ----------
    switches : dict of (id, name) to object
        The attributes, by the object's id and their name, that the function has branched on.
    """

    def __init__(self, arguments: Sequence[Tensor]) -> None:
        self.started = min([next_serial(), *(argument.serial for argument in arguments)])
        self.reads: dict[Tensor, Variable] = {}
        self.updates: dict[Variable, Tensor] = {}
        self.gradients: dict[Variable, Tensor] = {}
        self.switches: dict[tuple[int, str], Any] = {}
        self._present: dict[Variable, Tensor] = {}
        self._parts: dict[tuple[Tensor, Variable], Tensor] = {}
        self._kept: dict[Variable, Any] = {}

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
            self.assign(home.flat, FUNCTIONS["at"](whole, home.place(variable)).set(flat))
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

    def set_gradient(self, variable: Variable, gradient: Any) -> None:
        """Give a variable a gradient that is known when the plan runs."""
        self._kept.setdefault(variable, variable.grad)
        variable.grad = self.gradients[variable] = gradient

    # Around the function ------------------------------------------------------------------------------------------

    def __enter__(self) -> Trace:
        TRACES.open(self)
        return self

    def __exit__(self, *exception: object) -> None:
        TRACES.close(self)
        for variable, gradient in self._kept.items():
            variable.grad = gradient


def trace(
    function: Callable[..., Any],
    arguments: Sequence[Any],
    rebuild: Callable[[list[Any]], tuple[Any, Any]],
    switches: dict[tuple[int, str], Any] | None = None,
) -> tuple[Program, Structure, list[Any]]:
    """Run a function on placeholders.

    Parameters
    ----------
    function : callable
    arguments : sequence of Tensor
        Placeholders.
    rebuild : callable
        Makes (args, kwargs) of the placeholders.
    switches : dict, optional
        Takes up the switches that the function has read.

    Returns
    -------
    program, structure, results
        The structure of what the function returned, and its leaves: Tensors are outputs of the program, others are
        returned as they are.
    """
    with Trace(arguments) as tracing:
        positional, named = rebuild(list(arguments))
        returned = function(*positional, **named)
        results, structure = flatten(returned)
        results = [tracing.enter(result) if isinstance(result, Tensor) else result for result in results]
        outputs = [result for result in results if isinstance(result, Tensor)]
        program = Program(list(arguments), tracing.reads, outputs, tracing.updates, tracing.gradients)
    if switches is not None:
        switches.update(tracing.switches)
    _require_own_leaves(program, tracing.started)
    return program, structure, results


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
