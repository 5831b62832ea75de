"""Expressions as text: a subset of Python's that is parsed, looked at node by node, and built as a graph.

Nothing is ever handed to Python to evaluate. What the subset has no rule for is refused, with a caret below it.
"""

from __future__ import annotations

import ast
import difflib
import operator
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import NoReturn, TypeAlias, cast

from graphdiff import host
from graphdiff.errors import ExpressionError, GraphDiffError
from graphdiff.expression.source_text import Part, SourceText
from graphdiff.op import FUNCTIONS, as_tensor
from graphdiff.tensor import Tensor, constant, next_serial, placeholder, variable
from graphdiff.tree import flatten
from graphdiff.typing import ArrayLike, Function

__all__ = ["parse"]

Value: TypeAlias = "Tensor | float | list[Value] | None"
"""What a part of an expression stands for; None is one only of arguments, as axis=None."""

_LENGTH = 10_000
"""Characters. Python's parser takes memory in proportion, and a person writes less."""
_ELEMENTS = 10_000
"""Elements of an array on the way, unless the arrays given are larger: ten broadcasts could fill any memory."""

_OPERATORS: dict[type[ast.AST], Function[Tensor]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.MatMult: operator.matmul,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ARRAY_FUNCTIONS = {
    *(
        "all",
        "any",
        "cumprod",
        "cumsum",
        "det",
        "dot",
        "inv",
        "log_softmax",
        "logsumexp",
        "matmul",
        "max",
        "mean",
        "min",
    ),
    *("norm", "outer", "prod", "softmax", "solve", "std", "sum", "trace", "transpose", "var", "where"),
}
"""What is allowed beside the elementwise functions: how large the result is follows from the operands' shapes."""
_CONSTANTS = {"pi": host.pi}

_REFUSED: dict[type[ast.AST], str] = {
    ast.Attribute: "attributes (x.y) are not read",
    ast.Subscript: "elements (x[i]) are not taken; give each a name of its own",
    ast.Lambda: "lambda makes a function",
    ast.ListComp: "a comprehension is a loop; write the elements out",
    ast.SetComp: "a comprehension is a loop; write the elements out",
    ast.DictComp: "a comprehension is a loop; write the elements out",
    ast.GeneratorExp: "a comprehension is a loop; write the elements out",
    ast.JoinedStr: "an f-string is no number",
    ast.NamedExpr: "write `c = a + b; …` to name a part",
    ast.IfExp: "write where(condition, a, b) to choose between values",
    ast.BoolOp: "write logical_and(a, b) or logical_or(a, b)",
    ast.Starred: "write the arguments out",
    ast.Dict: "a dict is no number",
    ast.Set: "a set is no number; write a list",
    ast.Constant: "text and complex numbers are no real numbers",
    ast.Call: "functions are called by their names, with arguments written out",
}
_SUBSET = "an expression has names, numbers, lists, + - * / // % ** @, comparisons and calls of graphdiff's functions"


def parse(text: str, /, **values: ArrayLike) -> Tensor:
    """Build the graph of an expression given as text, safely whatever the text is.

    The text is a subset of Python: names, numbers, lists, ``+ - * / // % ** @``, comparisons, and calls of graphdiff's
    elementwise and reducing functions, with keywords such as ``axis=0``. Statements before it, ``c = a + b; c * 2``,
    name parts. Literals count as float64, and ``pi`` is known.

    Parameters
    ----------
    text : str
        At most 10,000 characters.
    **values : number, nested list, array or Tensor
        What the names stand for. Numbers and arrays become variables of these names, integers as float64; Tensors are
        used as they are. Without any, every name becomes a placeholder of a number, and the graph has no values.

    Returns
    -------
    Tensor

    Raises
    ------
    ExpressionError
        The text is not of the subset, a name is missing or not used, or the expression cannot be computed. The message
        points at the place.

    Examples
    --------
    >>> import graphdiff as gd
    >>> e = gd.parse("(a + b) * (b + 1)", a=2, b=1)
    >>> e.item()
    6.0
    >>> {leaf.name: gd.adjoints(e)[leaf].item() for leaf in gd.Graph(e).inputs}
    {'a': 2.0, 'b': 5.0}
    >>> gd.show(gd.parse("c = a + b; d = b + 1; e = c * d"), style="table")
    node       shape   dtype    value  made at
    ─────────  ──────  ───────  ─────  ───────────────
    a          scalar  float64         expression:1:5
    b          scalar  float64         expression:1:9
    c = a + b  scalar  float64         expression:1:5
    d = b + 1  scalar  float64         expression:1:16
    e = c·d    scalar  float64         expression:1:27
    >>> gd.parse("a.real + 1", a=2)
    Traceback (most recent call last):
    ...
    graphdiff.errors.ExpressionError: attributes (x.y) are not read: ...
      line 1: a.real + 1
              ^^^^^^
    """
    return _Builder(text, values).build()


class _Builder:
    """The graph of one expression in the making."""

    def __init__(self, text: str, values: Mapping[str, ArrayLike]) -> None:
        if not isinstance(text, str):
            raise ExpressionError(f"an expression is a str, not {type(text).__name__}")
        if len(text) > _LENGTH:
            raise ExpressionError(f"the expression has {len(text):,} characters; at most {_LENGTH:,} are read")
        self.source = SourceText(text)
        self.started = next_serial()
        # Python's parser gives names in this normal form.
        self.values = {unicodedata.normalize("NFKC", name): _given(name, value) for name, value in values.items()}
        self.unused = set(self.values)
        self.symbolic = not values
        self.largest = max([_ELEMENTS, *(value.size for value in self.values.values())])
        self.functions = {name: function for name, function in FUNCTIONS.items() if _is_allowed(name, function)}

    def build(self) -> Tensor:
        statements = self.syntax_tree().body
        if not statements:
            raise ExpressionError("the expression is empty: write one such as (a + b) * (b + 1)")
        result: Tensor | None = None
        for position, statement in enumerate(statements):
            if isinstance(statement, ast.Assign):
                result = self.assign(statement)
            elif not isinstance(statement, ast.Expr):
                self.refuse(statement, f"{_SUBSET}; parts are named by `c = a + b; …`")
            elif position < len(statements) - 1:
                self.refuse(statement, "only the last statement is the result: give this one a name (c = …)")
            else:
                result = self.tensor(self.value_of(statement.value), statement.value)
        if self.unused:
            listed = ", ".join(sorted(map(repr, self.unused)))
            raise ExpressionError(f"the expression has no name {listed}, for which a value was given")
        assert result is not None
        return result

    def syntax_tree(self) -> ast.Module:
        try:
            return ast.parse(self.source.text)
        except SyntaxError as error:
            digits = "integer string conversion" in error.msg
            message = "a number has too many digits" if digits else error.msg
            self.source.point(message, error.lineno or 1, error.offset or 1, error.end_lineno, error.end_offset)
        except (RecursionError, MemoryError) as error:
            raise ExpressionError("the expression is nested too deeply; name its parts: c = …; d = …") from error
        except ValueError as error:  # characters that no Python source has: NUL, lone surrogates
            raise ExpressionError(f"the expression is not plain text: {error}") from error

    def refuse(self, node: Part, message: str, cause: BaseException | None = None) -> NoReturn:
        self.source.refuse(node, message, cause)

    def assign(self, statement: ast.Assign) -> Tensor:
        """Compute a named part and enter it among the values."""
        target = statement.targets[0]
        if len(statement.targets) > 1 or not isinstance(target, ast.Name):
            self.refuse(target, "one name stands on the left of =")
        if target.id in self.values:
            self.refuse(target, f"{target.id!r} has a value already: choose another name")
        plain = self.value_of(statement.value)
        value = self.tensor(plain, statement.value)
        if not isinstance(plain, Tensor) or (value.op is not None and value.name is None):
            value.name = target.id
        self.values[target.id] = value
        return value

    def value_of(self, root: ast.expr) -> Value:
        """Return what an expression stands for: a Tensor, a number, or a list of such. No recursion."""
        values: list[Value] = []
        pending: list[tuple[ast.expr, bool]] = [(root, False)]
        while pending:
            node, ready = pending.pop()
            parts = self.parts(node)
            if ready or not parts:
                operands = values[len(values) - len(parts) :]
                del values[len(values) - len(parts) :]
                values.append(self.combine(node, operands))
                self.mark(values[-1], node)
            else:
                pending.append((node, True))
                pending.extend((part, False) for part in reversed(parts))
        return values.pop()

    def parts(self, node: ast.expr) -> Sequence[ast.expr]:
        """Return the expressions that a node is made of; refuse a node that is not of the subset."""
        match node:
            case ast.BinOp() if type(node.op) in _OPERATORS:
                return node.left, node.right
            case ast.UnaryOp() if type(node.op) in _OPERATORS:
                return (node.operand,)
            case ast.Compare() if all(type(each) in _OPERATORS for each in node.ops):
                return node.left, *node.comparators
            case ast.Call(func=ast.Name() as name) if all(each.arg for each in node.keywords):
                self.function(name)
                return *node.args, *(each.value for each in node.keywords)
            case ast.List() | ast.Tuple():
                return node.elts
            case ast.Name():
                return ()
            case ast.Constant(value=bool() | int() | float() | None):
                return ()
        self.refuse(node, f"{_REFUSED.get(type(node), 'this is something else')}: {_SUBSET}")

    def combine(self, node: ast.expr, operands: list[Value]) -> Value:
        """Return what a node stands for, of what its parts stand for."""
        try:
            match node:
                case ast.Name():
                    return self.named(node)
                case ast.Constant(value=bool() | int() | float() | None as value):
                    return self.number(value, node)
                case ast.List() | ast.Tuple():
                    return operands
                case ast.Call():
                    return self.call(node, operands)
                case ast.Compare():
                    return self.compare(node, operands)
                case ast.BinOp() | ast.UnaryOp():
                    return self.operate(_OPERATORS[type(node.op)], operands, node)
        except ExpressionError:
            raise
        except (GraphDiffError, TypeError, ValueError, IndexError, ArithmeticError) as error:
            self.refuse(node, str(error), error)
        raise AssertionError(node)

    def named(self, node: ast.Name) -> Value:
        name = node.id
        if name in self.values:
            self.unused.discard(name)
            return self.values[name]
        if name in _CONSTANTS:
            return _CONSTANTS[name]
        if name in self.functions:
            self.refuse(node, f"{name} is a function: call it, {name}(…)")
        if not self.symbolic:
            known = ", ".join(map(repr, self.values))
            self.refuse(node, f"no value was given for {name!r}; there are {known}")
        self.values[name] = placeholder(name=name)
        return self.values[name]

    def number(self, value: float | None, node: ast.expr) -> float | None:
        if not isinstance(value, (int, float)):
            return value
        with suppress(OverflowError):
            if abs(float(value)) != host.inf:
                return value if abs(value) <= 2**53 else float(value)
        self.refuse(node, "this number is too large for float64")

    def tensor(self, value: Value, node: Part) -> Tensor:
        """Return a Tensor for a number or a list: float64, as Python's floats are, and bool for a truth value."""
        if isinstance(value, Tensor):
            return value
        leaves = [leaf for leaf in flatten(value)[0] if isinstance(leaf, Tensor)]
        self.require_small(sum(leaf.size for leaf in leaves), node)
        try:
            if leaves:
                return as_tensor(cast(ArrayLike, value))
            return constant(cast(ArrayLike, value), dtype="bool" if value.__class__ is bool else "float64")
        except (GraphDiffError, TypeError, ValueError) as error:
            self.refuse(node, str(error), error)

    def operate(self, function: Function[Tensor], operands: Sequence[Value], node: ast.expr) -> Tensor | float:
        numbers = [operand for operand in operands if isinstance(operand, (int, float))]
        if len(numbers) == len(operands):
            return self.fold(function, numbers, node)
        return self.apply(function, [self.operand(each, node) for each in operands], {}, node)

    def operand(self, value: Value, node: ast.expr) -> Tensor | float:
        """Return an operand: a list as a Tensor, a number as it is, to take its dtype from what is beside it."""
        return value if isinstance(value, (int, float)) else self.tensor(value, node)

    def fold(self, function: Function[Tensor], numbers: Sequence[float], node: ast.expr) -> float:
        """Compute with plain numbers, in float64, which bounds what it costs: 9**9**9 has 370 million digits."""
        try:
            result = cast(float, function(*map(float, numbers)))
        except ArithmeticError as error:
            zero = isinstance(error, ZeroDivisionError)
            self.refuse(node, "division by zero" if zero else "the result is too large for float64", error)
        if isinstance(result, bool):
            return result
        if isinstance(result, complex) or abs(result) == host.inf:
            self.refuse(node, f"the result is {'complex' if isinstance(result, complex) else 'too large for float64'}")
        whole = all(isinstance(each, int) for each in numbers) and function is not operator.truediv
        return int(result) if whole and result.is_integer() and abs(result) <= 2**53 else result

    def compare(self, node: ast.Compare, operands: list[Value]) -> Value:
        pairs = zip(node.ops, pairwise(operands))
        joined, *others = [self.operate(_OPERATORS[type(comparison)], pair, node) for comparison, pair in pairs]
        for each in others:
            joined = self.apply(self.functions["logical_and"], [joined, each], {}, node)
        return joined

    def function(self, node: ast.Name) -> Function[Tensor]:
        """Return the function of that name; refuse a name that is none."""
        found = self.functions.get(node.id)
        if found is None:
            near = difflib.get_close_matches(node.id, self.functions, 3, 0.6)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(sorted(self.functions))}"
            self.refuse(node, f"there is no function {node.id!r} for expressions; {hint}")
        return found

    def call(self, node: ast.Call, operands: list[Value]) -> Value:
        assert isinstance(node.func, ast.Name)
        name, function = node.func.id, self.function(node.func)
        count = len(node.args)
        given = [self.operand(each, node) for each in operands[:count]]
        if name in ("max", "min") and count > 1:
            self.refuse(node, f"{name}(x) is of the elements of one array; of two values it is {name}imum(a, b)")
        if not any(isinstance(each, Tensor) for each in given):
            given = [float(each) for each in given]
        keywords = {keyword.arg or "": value for keyword, value in zip(node.keywords, operands[count:])}
        return self.apply(function, given, keywords, node)

    def apply(
        self,
        function: Function[Tensor],
        operands: Sequence[Tensor | float],
        keywords: Mapping[str, Value],
        node: ast.expr,
    ) -> Tensor:
        """Call a function on Tensors and numbers, once it is known that the result is not too large."""
        if any(isinstance(each, Tensor) and each.size > 1 for each in operands):
            # Of placeholders only the shape is computed.
            stand_ins = [placeholder(x.shape, x.dtype) if isinstance(x, Tensor) else x for x in operands]
            self.require_small(function(*stand_ins, **keywords).size, node)
        return function(*operands, **keywords)

    def require_small(self, elements: int, node: Part) -> None:
        if elements > self.largest:
            self.refuse(node, f"this would have {elements:,} elements; at most {self.largest:,} are computed")

    def mark(self, value: Value, node: ast.expr) -> None:
        """Let the nodes that were made for this part of the text say that they come from there."""
        pending = [value] if isinstance(value, Tensor) else []
        while pending:
            made = pending.pop()
            if made.serial > self.started and not isinstance(made._code, str):
                made._code = self.source.place(node)
                pending.extend(made.inputs)


def _given(name: str, value: ArrayLike) -> Tensor:
    if isinstance(value, Tensor):
        return value
    try:
        array = host.as_host(value)
    except ValueError as error:
        raise ExpressionError(f"the value given for {name!r} is no array: {error}") from error
    if array.dtype.kind not in "biuf":
        raise ExpressionError(
            f"the value given for {name!r} is no real number or array of them: {type(value).__name__}"
        )
    return variable(array, name=name, dtype=None if array.dtype.kind == "f" else "float64")


def _is_allowed(name: str, function: Function[Tensor]) -> bool:
    op = getattr(function, "op", None)
    elementwise = op is not None and op.kind == "elementwise" and not op.name.startswith("bitwise")
    return name in _ARRAY_FUNCTIONS or elementwise
