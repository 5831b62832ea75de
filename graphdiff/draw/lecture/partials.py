"""Local derivatives: as a lecture writes them, by an op's own rule run on symbols instead of arrays, and as numbers."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeAlias, cast

from graphdiff import host
from graphdiff.backend import use_backend, working_on
from graphdiff.differentiate.gradients import adjoints
from graphdiff.differentiate.reverse import fitted
from graphdiff.draw.lecture.symbols import LOOSE, PRODUCT, Number, Numbers, Symbol, transposed, written
from graphdiff.op import OPS, Composite, Elementwise, Linear
from graphdiff.tensor import Tensor, variable
from graphdiff.typing import DTypeLike, Function, Shape

__all__ = ["local_derivatives", "local_symbol"]

Operand: TypeAlias = "_Formula | float"
Method: TypeAlias = "Callable[[_Formula, Operand], _Formula]"


def _folding(combine: Function[Symbol]) -> Method:
    """Return an operator that writes itself down, or computes where both sides are numbers."""

    def folded(one: _Formula, other: Operand) -> _Formula:
        left, right = one.symbol, _formula(other).symbol
        if isinstance(left, Number) and isinstance(right, Number):
            # 1/0 and 1e300**2 stay as they are written, and so does what is complex.
            with suppress(ArithmeticError):
                figure: object = combine(left.value, right.value)
                if isinstance(figure, (int, float)):
                    return _Formula(Number(figure))
        return _Formula(combine(left, right))

    return folded


def _comparing(sign: str, latex: str, exceptional: bool = False) -> Method:
    signs = f" {sign} ", f" {latex} "
    return lambda one, other: _Formula(one.symbol.join(_formula(other).symbol, signs, LOOSE), True, exceptional)


def _reflected(combine: Function[_Formula]) -> Method:
    return lambda one, other: combine(_formula(other), one)


@dataclass(eq=False)
class _Formula:
    """A symbol that a rule computes with, tidied as it grows: numbers folded, x·x written x².

    A negative remembers what it is the negative of, and a condition whether it holds only on a set of measure zero, as
    x = 0 does.
    """

    symbol: Symbol
    condition: bool = False
    exceptional: bool = False
    opposite: _Formula | None = None
    negation: _Formula | None = None

    dtype = None  # rules cast masks to the dtype of an operand

    __add__, __radd__ = _folding(operator.add), _reflected(operator.add)
    __sub__, __rsub__ = _folding(operator.sub), _reflected(operator.sub)
    __rmul__, __rtruediv__ = _reflected(operator.mul), _reflected(operator.truediv)
    __gt__, __lt__, __ge__ = _comparing(">", ">"), _comparing("<", "<"), _comparing("≥", r"\ge")
    __eq__ = _comparing("=", "=", exceptional=True)  # type: ignore[assignment]
    # What rules ask of is whether a number is NaN.
    __ne__ = _comparing("≠", r"\ne", exceptional=True)  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise TypeError("a rule decides by where, not by if: a symbol is neither true nor false")

    def __mul__(self, other: Operand) -> _Formula:
        left, right = self.symbol, _formula(other).symbol
        if left.text == right.text and not isinstance(left, Number):
            return _Formula(left ** Number(2))
        if self.opposite is not None:
            return -(self.opposite * other)
        return _MULTIPLIED(self, other)

    def __truediv__(self, other: Operand) -> _Formula:
        above = self.symbol
        if isinstance(above, Number) and 0 < above.value < 1 and (1 / above.value).is_integer():
            return 1 / (1 / above.value * _formula(other))
        return _DIVIDED(self, other)

    def __pow__(self, other: Operand) -> _Formula:
        exponent = _formula(other).symbol
        return self if isinstance(exponent, Number) and exponent.value == 1 else _RAISED(self, other)

    def __neg__(self) -> _Formula:
        return _Formula(-self.symbol, opposite=None if isinstance(self.symbol, Number) else self)

    def __le__(self, other: Operand) -> _Formula:
        return replace(_AT_MOST(self, other), negation=self > other)

    def __invert__(self) -> _Formula:
        """Return what does not hold: of x ≤ y a lecture writes x > y, whatever NaN is."""
        if self.negation is not None:
            return self.negation
        return _Formula(written("bitwise_invert", [self.symbol]), condition=True)

    def __and__(self, other: _Formula) -> _Formula:
        joined = self.symbol.join(other.symbol, (" and ", r" \land "), LOOSE)
        return _Formula(joined, condition=True, exceptional=self.exceptional or other.exceptional)


_MULTIPLIED, _DIVIDED, _RAISED = map(_folding, (operator.mul, operator.truediv, operator.pow))
_AT_MOST = _comparing("≤", r"\le")


def _formula(operand: Operand) -> _Formula:
    return operand if isinstance(operand, _Formula) else _Formula(Number(operand))


class _Symbols:
    """The namespace that rules are handed: its functions write themselves down."""

    is_graph = False

    def __getattr__(self, name: str) -> Function[_Formula]:
        return lambda *operands: _Formula(written(name, [_formula(each).symbol for each in operands]))

    def astype(self, x: _Formula, dtype: DTypeLike) -> _Formula:
        """Return a condition as Iverson's bracket, 1 where it holds."""
        inner = x.symbol
        return _Formula(Symbol(f"[{inner.text}]", f"[{inner.latex}]", uses=inner.uses)) if x.condition else x

    def where(self, condition: _Formula, x: Operand, y: Operand) -> _Formula:
        """Leave out what holds only on a set of measure zero: a lecture does."""
        if condition.exceptional:
            return _formula(y)
        return _Formula(written("where", [condition.symbol, _formula(x).symbol, _formula(y).symbol]))

    def ones_like(self, x: Operand) -> _Formula:
        return _formula(1)

    def zeros(self, shape: Shape | Operand, dtype: DTypeLike | None = None) -> _Formula:
        return _formula(0)

    zeros_like = zeros


def local_symbol(node: Tensor, position: int, out: Symbol, operands: Sequence[Symbol]) -> Symbol:
    """Return the derivative of a node by the operand at `position`, as a lecture writes it.

    Parameters
    ----------
    node : Tensor
    position : int
    out : Symbol
        How the node itself is written.
    operands : sequence of Symbol
        How its operands are.

    Returns
    -------
    Symbol
        An elementwise op's own partial derivative; a matrix product's other factor, transposed; 1 for a sum, 1/n for a
        mean; otherwise ∂out/∂operand.
    """
    op = node.op
    assert op is not None
    if isinstance(op, Elementwise):
        partial = op.partials[position]
        if not callable(partial):
            return Number(partial or 0)
        terms = [_Formula(_literal(*each)) for each in zip(node.inputs, operands, strict=True)]
        with suppress(TypeError, AttributeError, ValueError):  # a user's rule that needs arrays
            made = partial(_Symbols(), _Formula(out), *terms, **node.attributes)
            return _formula(cast(Operand, made)).symbol
    if op.name == "matmul":
        return transposed(operands[1 - position])
    if op.name == "sum":
        return Number(1)
    if op.name == "mean" and node.size:
        return Number(1) / Number(node.inputs[0].size // node.size)
    by = operands[position]
    # What a rule that is not written out keeps is not known here: all that it may read.
    kept = () if isinstance(op, Linear) else [operand for operand in node.inputs if operand.recorded]
    return Symbol(f"∂{out.text}/∂{by.text}", rf"\frac{{\partial {out.latex}}}{{\partial {by.latex}}}", PRODUCT, kept)


def _literal(operand: Tensor, symbol: Symbol) -> Symbol:
    """Return an unnamed number as one that folds."""
    literal = operand.op is None and not operand.recorded and not operand.name and operand.shape == ()
    return Number(operand.item()) if literal and operand.has_value else symbol


def local_derivatives(node: Tensor) -> list[Numbers | None]:
    """Return the derivative of the sum of a node's elements by each operand, as NumPy arrays; None where zero.

    For a scalar node these are the numbers on the edges of the graph, parallel edges apart.
    """
    assert node.op is not None
    backend = node.backend
    if isinstance(node.op, Composite) or node.op is OPS["where"]:
        with use_backend(backend):
            leaves = [variable(operand._value) for operand in node.inputs]
            opened = node.op(*leaves, **node.attributes)
            if not host.is_real_floating(opened.dtype):
                return [None] * len(leaves)
            seed = None if opened.size == 1 else backend.numbers.ones_like(opened.value)
            found = adjoints(opened, seed)
        return [found[leaf].numpy() if leaf in found else None for leaf in leaves]
    if not host.is_real_floating(node.dtype):
        return [None] * len(node.inputs)
    values = [operand._value for operand in node.inputs]
    made: list[Numbers | None] = [None] * len(values)
    with working_on(backend):
        F = backend.numbers
        seed = F.ones_like(node._value)
        for position, operand in enumerate(node.inputs):
            if host.is_real_floating(operand.dtype):
                part = node.op.adjoint(F, seed, position, node._value, values, node.attributes)
                if part is not None:
                    made[position] = host.as_host(backend.to_host(backend.normalize(fitted(F, part, operand._value))))
    return made
