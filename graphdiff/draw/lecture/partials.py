"""Local derivatives as a lecture writes them: an op's own rule, run on symbols instead of arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphdiff.draw.lecture.symbols import LOOSE, PRODUCT, Number, Symbol, transposed, written
from graphdiff.op import Elementwise, Linear
from graphdiff.tensor import Tensor

__all__ = ["local_symbol"]


class _Formula:
    """A symbol that a rule computes with, tidied as it grows: numbers folded, x·x written x².

    A negative remembers what it is the negative of, and a condition whether it holds only on a set of measure zero, as
    x = 0 does.
    """

    dtype = None  # rules cast masks to the dtype of an operand

    opposite: _Formula | None = None
    negation: _Formula | None = None

    def __init__(self, symbol: Symbol, *, condition: bool = False, exceptional: bool = False) -> None:
        self.symbol = symbol
        self.condition = condition
        self.exceptional = exceptional

    def __bool__(self) -> bool:
        raise TypeError("a rule decides by where, not by if: a symbol is neither true nor false")

    def __add__(self, other: Any) -> _Formula:
        return _folded(lambda x, y: x + y, self, other)

    def __radd__(self, other: Any) -> _Formula:
        return _formula(other) + self

    def __sub__(self, other: Any) -> _Formula:
        return _folded(lambda x, y: x - y, self, other)

    def __rsub__(self, other: Any) -> _Formula:
        return _formula(other) - self

    def __mul__(self, other: Any) -> _Formula:
        left, right = self.symbol, _formula(other).symbol
        if left.text == right.text and not isinstance(left, Number):
            return _Formula(left ** Number(2))
        if self.opposite is not None:
            return -(self.opposite * other)
        return _folded(lambda x, y: x * y, self, other)

    def __rmul__(self, other: Any) -> _Formula:
        return _formula(other) * self

    def __truediv__(self, other: Any) -> _Formula:
        above = self.symbol
        if isinstance(above, Number) and 0 < above.value < 1 and (1 / above.value).is_integer():
            return 1 / (1 / above.value * _formula(other))
        return _folded(lambda x, y: x / y, self, other)

    def __rtruediv__(self, other: Any) -> _Formula:
        return _formula(other) / self

    def __pow__(self, other: Any) -> _Formula:
        exponent = _formula(other).symbol
        if isinstance(exponent, Number) and exponent.value == 1:
            return self
        return _folded(lambda x, y: x**y, self, other)

    def __neg__(self) -> _Formula:
        made = _Formula(-self.symbol)
        made.opposite = None if isinstance(self.symbol, Number) else self
        return made

    def __gt__(self, other: Any) -> _Formula:
        return _compared(self, other, ">", ">")

    def __lt__(self, other: Any) -> _Formula:
        return _compared(self, other, "<", "<")

    def __ge__(self, other: Any) -> _Formula:
        return _compared(self, other, "≥", r"\ge")

    def __le__(self, other: Any) -> _Formula:
        made = _compared(self, other, "≤", r"\le")
        made.negation = self > other
        return made

    def __eq__(self, other: Any) -> _Formula:  # type: ignore[override]
        return _compared(self, other, "=", "=", exceptional=True)

    def __ne__(self, other: Any) -> _Formula:  # type: ignore[override]
        # What rules ask of is whether a number is NaN.
        return _compared(self, other, "≠", r"\ne", exceptional=True)

    __hash__ = None  # type: ignore[assignment]

    def __invert__(self) -> _Formula:
        """Return what does not hold: of x ≤ y a lecture writes x > y, whatever NaN is."""
        if self.negation is not None:
            return self.negation
        return _Formula(written("bitwise_invert", [self.symbol]), condition=True)

    def __and__(self, other: _Formula) -> _Formula:
        joined = self.symbol.join(other.symbol, (" and ", r" \land "), LOOSE)
        return _Formula(joined, condition=True, exceptional=self.exceptional or other.exceptional)


def _formula(operand: Any) -> _Formula:
    return operand if isinstance(operand, _Formula) else _Formula(Number(operand))


def _folded(combine: Callable[[Any, Any], Any], one: _Formula, other: Any) -> _Formula:
    left, right = one.symbol, _formula(other).symbol
    if isinstance(left, Number) and isinstance(right, Number):
        try:
            folded = combine(left.value, right.value)
        except ArithmeticError:  # 1/0 and 1e300**2 stay as they are written
            folded = None
        if isinstance(folded, (int, float)):
            return _Formula(Number(folded))
    return _Formula(combine(left, right))


def _compared(one: _Formula, other: Any, sign: str, latex: str, exceptional: bool = False) -> _Formula:
    joined = one.symbol.join(_formula(other).symbol, (f" {sign} ", f" {latex} "), LOOSE)
    return _Formula(joined, condition=True, exceptional=exceptional)


class _Symbols:
    """The namespace that rules are handed: its functions write themselves down."""

    is_graph = False

    def __getattr__(self, name: str) -> Callable[..., _Formula]:
        return lambda *operands: _Formula(written(name, [_formula(each).symbol for each in operands]))

    def astype(self, x: _Formula, dtype: Any) -> _Formula:
        """Return a condition as Iverson's bracket, 1 where it holds."""
        inner = x.symbol
        return _Formula(Symbol(f"[{inner.text}]", f"[{inner.latex}]", uses=inner.uses)) if x.condition else x

    def where(self, condition: _Formula, x: Any, y: Any) -> _Formula:
        """Leave out what holds only on a set of measure zero: a lecture does."""
        if condition.exceptional:
            return _formula(y)
        return _Formula(written("where", [condition.symbol, _formula(x).symbol, _formula(y).symbol]))

    def ones_like(self, x: Any) -> _Formula:
        return _formula(1)

    def zeros_like(self, x: Any) -> _Formula:
        return _formula(0)

    def zeros(self, shape: Any, dtype: Any) -> _Formula:
        return _formula(0)


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
        terms = [_Formula(_folding(*each)) for each in zip(node.inputs, operands, strict=True)]
        try:
            return _formula(partial(_Symbols(), _Formula(out), *terms, **node.attributes)).symbol
        except (TypeError, AttributeError, ValueError):  # a user's rule that needs arrays
            pass
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


def _folding(operand: Tensor, symbol: Symbol) -> Symbol:
    """Return an unnamed number as one that folds."""
    literal = operand.op is None and not operand.recorded and not operand.name and operand.shape == ()
    return Number(operand.item()) if literal and operand.has_value else symbol
