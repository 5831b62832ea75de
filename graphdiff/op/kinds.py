"""The five kinds of op: how a declaration yields value, shape, dtype, tangent and adjoint."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from graphdiff import host
from graphdiff.errors import MatrixError
from graphdiff.op.contract import Op, Rule, Value
from graphdiff.op.explain import is_of_matrix, with_mend
from graphdiff.op.functions import GRAPH
from graphdiff.tensor import Tensor
from graphdiff.typing import ArrayLike, Attributes, Function, Namespace

Partial = Rule | int | None


class Applied(Protocol):
    """The function that applies an op."""

    op: Op
    __name__: str
    __qualname__: str

    def __call__(self, *operands: ArrayLike, **attributes: Any) -> Tensor: ...


class Elementwise(Op):
    """An op that works element by element, with one partial derivative per argument."""

    kind = "elementwise"

    def __init__(self, name: str, partials: tuple[Partial, ...], *, dtype: str = "same", **declared: Any) -> None:
        if dtype == "bool":
            declared.setdefault("work", "comparison")
        declared.setdefault("poles", any(callable(partial) for partial in partials))
        super().__init__(name, **declared)
        self.partials = partials
        rules: dict[str, Function[host.DType]] = {
            "same": host.result_dtype,
            "number": host.number_dtype,
            "float": host.float_result,
            "quotient": host.quotient_dtype,
            "magnitude": host.magnitude_dtype,
            "bool": lambda *dtypes: host.boolean,
        }
        self.dtype_rule = rules[dtype]

    def infer(self, operands: Sequence[Tensor], attributes: Attributes) -> tuple[host.Shape, host.DType]:
        return host.broadcast_shapes(*[o.shape for o in operands]), self.dtype_rule(*[o.dtype for o in operands])

    def adjoint(
        self, F: Namespace, cotangent: Value, position: int, out: Value, inputs: Sequence[Value], attributes: Attributes
    ) -> Value | None:
        return self._scale(self.partials[position], F, cotangent, out, inputs, attributes)

    def tangent(
        self,
        F: Namespace,
        tangents: Sequence[Value | None],
        out: Value,
        inputs: Sequence[Value],
        attributes: Attributes,
    ) -> Value | None:
        return _added(
            self._scale(partial, F, tangent, out, inputs, attributes)
            for partial, tangent in zip(self.partials, tangents, strict=True)
            if tangent is not None
        )

    def _scale(
        self, partial: Partial, F: Namespace, vector: Value, out: Value, inputs: Sequence[Value], attributes: Attributes
    ) -> Value | None:
        if partial is None:
            return None
        scaled: Any = vector
        if isinstance(partial, int):
            return vector if partial == 1 else -scaled
        result: Value = scaled * partial(F, out, *inputs, **attributes)
        return result


class Linear(Op):
    """An op that is linear in all its differentiable arguments together: its tangent is itself."""

    kind = "linear"

    def __init__(self, name: str, transposes: tuple[Rule | None, ...] | Rule, **declared: Any) -> None:
        super().__init__(name, **declared)
        self.transposes = transposes

    def adjoint(
        self, F: Namespace, cotangent: Value, position: int, out: Value, inputs: Sequence[Value], attributes: Attributes
    ) -> Value | None:
        if callable(self.transposes):
            result: Value | None = self.transposes(F, cotangent, position, *inputs, **attributes)
            return result
        transpose = self.transposes[position] if position < len(self.transposes) else None
        return None if transpose is None else transpose(F, cotangent, *inputs, **attributes)

    def tangent(
        self,
        F: Namespace,
        tangents: Sequence[Value | None],
        out: Value,
        inputs: Sequence[Value],
        attributes: Attributes,
    ) -> Value | None:
        varying = len(inputs) if callable(self.transposes) else len(self.transposes)
        if all(tangent is None for tangent in tangents):
            return None
        moved = []
        for position, (tangent, operand) in enumerate(zip(tangents, inputs, strict=True)):
            zero = F.zeros_like(operand) if position < varying and tangent is None else operand
            moved.append(tangent if tangent is not None else zero)
        result: Value | None = self._applied(F, moved, attributes)
        return result


class Multilinear(Op):
    """An op that is linear in each argument: the tangent is a sum, one transpose per argument."""

    kind = "multilinear"

    def __init__(self, name: str, transposes: Rule, **declared: Any) -> None:
        super().__init__(name, **declared)
        self.transposes = transposes

    def adjoint(
        self, F: Namespace, cotangent: Value, position: int, out: Value, inputs: Sequence[Value], attributes: Attributes
    ) -> Value | None:
        result: Value | None = self.transposes(F, cotangent, position, *inputs, **attributes)
        return result

    def tangent(
        self,
        F: Namespace,
        tangents: Sequence[Value | None],
        out: Value,
        inputs: Sequence[Value],
        attributes: Attributes,
    ) -> Value | None:
        return _added(
            self._applied(F, (*inputs[:position], tangent, *inputs[position + 1 :]), attributes)
            for position, tangent in enumerate(tangents)
            if tangent is not None
        )


def _added(terms: Iterable[Value | None]) -> Value | None:
    total: Any = None
    for term in terms:
        if term is not None:
            total = term if total is None else total + term
    result: Value | None = total
    return result


class Composite(Op):
    """An op written in other ops. It has no rule of its own, and is drawn as one node that opens.

    Differentiation opens it: `body` is run on the operands, and what it builds is differentiated.
    """

    kind = "composite"
    chooses = True
    inside: tuple[bool, bool] | None = None
    """Whether there are poles among the ops that it stands for, and ops that choose; None while nobody has looked."""

    def __init__(self, name: str, body: Rule, **declared: Any) -> None:
        declared.setdefault("evaluate", body)
        super().__init__(name, **declared)
        self.body = body

    def open(self, operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
        """Return the output of the ops that this one stands for."""
        result: Tensor = self.body(GRAPH, *operands, **attributes)
        return result

    def again(self, operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
        """Return the same for a backward pass."""
        return self.open(operands, attributes)

    def infer(self, operands: Sequence[Tensor], attributes: Attributes) -> tuple[host.Shape, host.DType]:
        if self.infer_rule is not None:
            return super().infer(operands, attributes)
        opened = self.open(operands, attributes)
        return opened.shape, opened.dtype


class Custom(Op):
    """An op with rules given by hand. Of two that are each other's transpose one is enough."""

    kind = "custom"
    poles = True
    tangent_by_adjoint: Rule
    adjoint_by_tangent: Rule

    def __init__(self, name: str, *, tangent: Rule | None, adjoint: Rule | None, **declared: Any) -> None:
        super().__init__(name, **declared)
        self.tangent_rule = tangent
        self.adjoint_rule = adjoint

    def adjoint(
        self, F: Namespace, cotangent: Value, position: int, out: Value, inputs: Sequence[Value], attributes: Attributes
    ) -> Value | None:
        if self.adjoint_rule is None and self.tangent_rule is None:
            self._raise_undefined("adjoint")
        try:
            if self.adjoint_rule is None:
                result: Value | None = self.adjoint_by_tangent(F, cotangent, position, out, inputs, attributes)
                return result
            result = self.adjoint_rule(F, cotangent, position, out, *inputs, **attributes)
            return result
        except ValueError as error:
            self._raise_of_matrix(error)
            raise

    def tangent(
        self,
        F: Namespace,
        tangents: Sequence[Value | None],
        out: Value,
        inputs: Sequence[Value],
        attributes: Attributes,
    ) -> Value | None:
        if all(tangent is None for tangent in tangents):
            return None
        if self.tangent_rule is None and self.adjoint_rule is None:
            self._raise_undefined("tangent")
        try:
            if self.tangent_rule is None:
                result: Value | None = self.tangent_by_adjoint(F, tangents, out, inputs, attributes)
                return result
            result = self.tangent_rule(F, tangents, out, *inputs, **attributes)
            return result
        except ValueError as error:
            self._raise_of_matrix(error)
            raise

    def _raise_of_matrix(self, error: ValueError) -> None:
        """Say of an array library's error about a matrix which derivative met it."""
        if is_of_matrix(error):
            raise MatrixError(f"derivative of {self.name}: {with_mend(error)}") from error
