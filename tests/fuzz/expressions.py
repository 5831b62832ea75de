"""Random expressions as text: value and derivative beside an evaluation of one's own; mutilated and hostile texts."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import mpmath
import numpy as np

import graphdiff as gd

from .cases import HEADER, Difference, Refused, literal, one_line

Wide = np.longdouble
Tree = tuple[Any, ...]
"""("number", text), ("name", name), (operator or function, operand, …, {keyword: value}), or ("named", name, tree)."""
HOSTILE_SECONDS = 2.0

# What functions mean, in NumPy's long doubles ----------------------------------------------------------------------


def by_digits(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function of arrays that computes with 30 digits."""

    def one(x: Any) -> Any:
        with mpmath.workdps(30):
            result = function(mpmath.mpf(np.format_float_scientific(x, precision=25, unique=False)))
            return Wide(mpmath.nstr(result, 25))

    whole = np.frompyfunc(one, 1, 1)
    return lambda x: np.asarray(whole(np.asarray(x, Wide)), Wide)


def solved(a: Any, b: Any) -> tuple[Any, Any]:
    """Return the solution of a·x = b and the determinant of a, by elimination with pivots."""
    a, b = np.array(a, Wide), np.array(b, Wide)
    determinant = Wide(1)
    for place in range(len(a)):
        pivot = place + int(np.argmax(np.abs(a[place:, place])))
        if pivot != place:
            a[[place, pivot]], b[[place, pivot]] = a[[pivot, place]], b[[pivot, place]]
            determinant = -determinant
        determinant = determinant * a[place, place]
        for row in range(len(a)):
            if row != place:
                factor = a[row, place] / a[place, place]
                a[row] = a[row] - factor * a[place]
                b[row] = b[row] - factor * b[place]
    return (b.T / np.diagonal(a)).T, determinant


def log_sum(x: Any, axis: Any = None) -> Any:
    most = np.max(x, axis=axis, keepdims=True)
    return np.log(np.sum(np.exp(x - most), axis=axis)) + np.squeeze(most, axis=axis)


def soft(x: Any, axis: int = -1) -> Any:
    grown = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return grown / np.sum(grown, axis=axis, keepdims=True)


def inverse_or_nan(x: Any, y: Any) -> Any:
    return np.where(y == 0, np.nan, x) / np.where(y == 0, 1, y)


UNARY: dict[str, Callable[[Any], Any]] = {
    "abs": np.abs,
    "acos": np.arccos,
    "acosh": lambda x: np.arccosh(x),
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "cbrt": np.cbrt,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "erf": by_digits(mpmath.erf),
    "exp": np.exp,
    "expm1": np.expm1,
    "floor": np.floor,
    "gelu": by_digits(lambda x: x * mpmath.ncdf(x)),
    "gelu_tanh": lambda x: (
        x * (1 + np.tanh(np.sqrt(2 / Wide(mpmath.nstr(mpmath.pi, 25))) * (x + Wide("0.044715") * x**3))) / 2
    ),
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "log": np.log,
    "log10": np.log10,
    "log1p": np.log1p,
    "log2": np.log2,
    "negative": np.negative,
    "positive": np.positive,
    "reciprocal": lambda x: 1 / x,
    "relu": lambda x: np.maximum(x, 0),
    "round": np.round,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "sign": np.sign,
    "sin": np.sin,
    "sinh": np.sinh,
    "softplus": lambda x: np.logaddexp(Wide(0), x),
    "sqrt": np.sqrt,
    "square": np.square,
    "stop_gradient": np.positive,
    "tan": np.tan,
    "tanh": np.tanh,
    "trunc": np.trunc,
}
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "power": np.power,
    "atan2": np.arctan2,
    "hypot": np.hypot,
    "logaddexp": np.logaddexp,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "floor_divide": np.floor_divide,
    "remainder": np.remainder,
}
TESTS: dict[str, Callable[[Any, Any], Any]] = {
    "equal": np.equal,
    "not_equal": np.not_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
}
LOGIC: dict[str, Callable[..., Any]] = {
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
    "logical_not": np.logical_not,
    "isnan": np.isnan,
    "isfinite": np.isfinite,
    "isinf": np.isinf,
}
REDUCING: dict[str, Callable[..., Any]] = {
    "sum": np.sum,
    "mean": np.mean,
    "prod": np.prod,
    "max": np.max,
    "min": np.min,
    "var": np.var,
    "std": np.std,
    "logsumexp": log_sum,
    "norm": lambda x, axis=None: np.sqrt(np.sum(x * x, axis=axis)),
}
ALONG: dict[str, Callable[..., Any]] = {
    "cumsum": np.cumsum,
    "cumprod": np.cumprod,
    "softmax": soft,
    "log_softmax": lambda x, axis=-1: np.log(soft(x, axis)),
}
MATRICES: dict[str, Callable[..., Any]] = {
    "det": lambda a: solved(a, np.eye(len(a)))[1],
    "inv": lambda a: solved(a, np.eye(len(a)))[0],
    "trace": np.trace,
    "transpose": np.transpose,
}
PRODUCTS: dict[str, Callable[[Any, Any], Any]] = {"matmul": np.matmul, "dot": np.dot, "outer": np.outer}
SIGNS: dict[str, tuple[int, Callable[..., Any]]] = {
    "+": (1, np.add),
    "-": (1, np.subtract),
    "*": (2, np.multiply),
    "/": (2, np.divide),
    "//": (2, np.floor_divide),
    "%": (2, np.remainder),
    "@": (2, np.matmul),
    "**": (4, np.power),
}
COMPARING = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}
MEANINGS: dict[str, Callable[..., Any]] = {
    **UNARY,
    **BINARY,
    **TESTS,
    **LOGIC,
    **REDUCING,
    **ALONG,
    **MATRICES,
    **PRODUCTS,
    "where": np.where,
    "solve": lambda a, b: solved(a, b)[0],
    "all": np.all,
    "any": np.any,
}


def meaning(tree: Tree, values: dict[str, Any], disturb: Callable[[Any], Any] = lambda value: value) -> Any:
    """Return what an expression is, in long doubles; every number on the way goes through `disturb`."""
    kind = tree[0]
    if kind == "number":
        return Wide(mpmath.nstr(mpmath.mpf(float(eval(tree[1], {"__builtins__": {}}))), 25))
    if kind == "name":
        return values[tree[1]]
    if kind == "named":
        return meaning(tree[2], values, disturb)
    return applied(tree, [disturb(meaning(operand, values, disturb)) for operand in tree[1:-1]])


def applied(tree: Tree, operands: list[Any]) -> Any:
    """Return what the outermost function of an expression makes of its operands."""
    kind = tree[0]
    if kind == "list":
        return np.array(operands, Wide)
    if kind == "negated":
        return -operands[0]
    if kind == "compared":
        pairs = zip(operands, operands[1:])
        return functools.reduce(np.logical_and, [COMPARING[sign](*pair) for sign, pair in zip(tree[-1], pairs)])
    function = SIGNS[kind][1] if kind in SIGNS else MEANINGS[kind]
    return function(*operands, **(tree[-1] or {}))


class Roundings:
    """Changes numbers by chance: by so much relative to them, or to the larger of them and `least`."""

    def __init__(self, seed: int, size: float, least: float = 0.0) -> None:
        self.stream = np.random.default_rng(seed)
        self.size, self.least = size, least

    def __call__(self, value: Any) -> Any:
        if np.asarray(value).dtype.kind != "f":
            return value
        return value + self.size * self.stream.normal(size=np.shape(value)) * np.maximum(np.abs(value), self.least)


# Writing ---------------------------------------------------------------------------------------------------------


def written(tree: Tree, named: list[str], binding: int = 0) -> str:
    """Return the text of an expression with no more parentheses than it needs; parts with names go to `named`."""
    kind = tree[0]
    if kind in ("number", "name"):
        return str(tree[1])
    if kind == "named":
        line = f"{tree[1]} = {written(tree[2], named)}"
        if line not in named:
            named.append(line)
        return str(tree[1])
    if kind == "list":
        return f"[{', '.join(written(each, named) for each in tree[1:-1])}]"
    if kind == "negated":
        own, text = 3, f"-{written(tree[1], named, 3)}"
    elif kind == "compared":
        parts = [written(each, named, 1) for each in tree[1:-1]]
        own, text = 0, parts[0] + "".join(f" {sign} {part}" for sign, part in zip(tree[-1], parts[1:]))
    elif kind == "**":  # its right operand may begin with a sign, its left one is a single thing
        own, text = 4, f"{written(tree[1], named, 5)}**{written(tree[2], named, 3)}"
    elif kind in SIGNS:
        own = SIGNS[kind][0]
        text = f"{written(tree[1], named, own)} {kind} {written(tree[2], named, own + 1)}"
    else:
        given = [written(each, named) for each in tree[1:-1]] + [f"{key}={value}" for key, value in tree[-1].items()]
        return f"{kind}({', '.join(given)})"
    return f"({text})" if own < binding else text


def subtrees(tree: Tree) -> Iterator[Tree]:
    """Yield the parts of an expression, from the outside."""
    if tree[0] in ("number", "name"):
        return
    inner = tree[2:] if tree[0] == "named" else tree[1:-1]
    yield from inner
    for part in inner:
        yield from subtrees(part)


def replaced(tree: Tree, old: Tree, new: Tree) -> Tree:
    if tree is old:
        return new
    if tree[0] in ("number", "name"):
        return tree
    if tree[0] == "named":
        return ("named", tree[1], replaced(tree[2], old, new))
    return (tree[0], *(replaced(each, old, new) for each in tree[1:-1]), tree[-1])


# Cases -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Expression:
    """A tree with values for its names."""

    tree: Tree
    values: dict[str, Any]

    @property
    def text(self) -> str:
        named: list[str] = []
        last = written(self.tree, named)
        return "; ".join([*named, last])

    def used(self) -> dict[str, Any]:
        names = {part[1] for part in (self.tree, *subtrees(self.tree)) if part[0] == "name"}
        return {name: value for name, value in self.values.items() if name in names}

    def source(self) -> str:
        given = "".join(f", {name}={literal(value)}" for name, value in self.used().items())
        return (
            f"{HEADER}\ne = gd.parse({self.text!r}{given})\nprint(e)\n"
            "print({leaf.name: adjoint.tolist() for leaf, adjoint in gd.adjoints(gd.sum(e)).items()})\n"
        )

    def check(self) -> Difference | None:
        values = {name: np.asarray(value, Wide) for name, value in self.used().items() if name != "pi"}
        wide = meaning(self.tree, values)
        narrow = np.asarray(wide)
        if narrow.dtype.kind == "f" and not np.isfinite(narrow.astype(float)).all():
            raise Refused("not finite")
        try:
            found = gd.parse(self.text, **self.used())
        except gd.errors.ExpressionError as error:
            return Difference("refused", one_line(error))
        except Exception as error:
            return Difference(f"parse raises {type(error).__name__}", one_line(error))
        return self.of_value(found, narrow, values) or self.of_derivative(found, values)

    def of_value(self, found: gd.Tensor, wide: np.ndarray, values: dict[str, Any]) -> Difference | None:
        if found.shape != wide.shape:
            return Difference("shape", f"expected {wide.shape}, found {found.shape}")
        if (found.dtype.kind == "b") != (wide.dtype.kind == "b"):
            return Difference("dtype", f"expected {wide.dtype}, found {found.dtype}")
        size = np.abs(wide).max(initial=0) if wide.dtype.kind == "f" else 1
        if np.all(np.abs(found.numpy().astype(Wide) - wide) <= 1e-11 * size):
            return None
        for seed in range(3):
            moved = meaning(self.tree, values, Roundings(seed, 1e-15))
            if not np.all(np.abs(moved.astype(Wide) - wide) <= 1e-12 * size):
                raise Refused("delicate")
        if "gelu_tanh(" in self.text:
            raise Refused("gelu_tanh")  # whose lower tail 1 + tanh has lost: docs/accuracy.md measures it
        return Difference("value", f"expected {wide.tolist()}, found {found.tolist()}")

    def of_derivative(self, found: gd.Tensor, values: dict[str, Any]) -> Difference | None:
        if found.dtype.kind != "f" or not found.recorded:
            return None
        adjoints = {leaf.name: adjoint.numpy() for leaf, adjoint in gd.adjoints(gd.sum(found)).items()}
        for name, value in values.items():
            slope = adjoints.get(name, np.zeros(value.shape))
            for place in np.ndindex(value.shape):
                expected = self.slope(values, name, place)
                error = abs(Wide(slope[place]) - expected)
                if np.isnan(slope[place]) and self.is_singular(values):
                    raise Refused("singular within")
                if not error <= 1e-6 * max(abs(expected), abs(self.total(values)), Wide(1e-3)):
                    return Difference("derivative", f"by {name}{list(place)}: {float(expected)}, found {slope[place]}")
        return None

    def is_singular(self, values: dict[str, Any]) -> bool:
        """Whether a function on the way leaps, or has no finite slope, where it is evaluated: then NaN is in order."""
        for part in (self.tree, *subtrees(self.tree)):
            if part[0] not in ("number", "name", "named"):
                operands = [meaning(operand, values) for operand in part[1:-1]]
                result = applied(part, operands)
                for seed in range(3):
                    moved = applied(part, list(map(Roundings(seed, 1e-10, 1.0), operands)))
                    if np.asarray(result).dtype.kind == "f" and not np.all(
                        np.abs(moved - result) <= 1e-6 * (1 + np.abs(result))
                    ):
                        return True
        return False

    def total(self, values: dict[str, Any]) -> Any:
        return np.sum(meaning(self.tree, values))

    def slope(self, values: dict[str, Any], name: str, place: tuple[int, ...]) -> Any:
        """Return a derivative by differences that agree from both sides and with steps of two sizes."""
        if "stop_gradient" in self.text:
            raise Refused("stop_gradient")

        def at(change: Any) -> Any:
            moved = values[name].copy()
            moved[place] = moved[place] + change
            return self.total(values | {name: moved})

        estimates = []
        middle = at(Wide(0))
        for step in (Wide(2) ** -14, Wide(2) ** -16):
            up, down, far_up, far_down = at(step), at(-step), at(2 * step), at(-2 * step)
            estimates.append((8 * (up - down) - (far_up - far_down)) / (12 * step))
            right, left = (4 * up - far_up - 3 * middle) / (2 * step), (3 * middle + far_down - 4 * down) / (2 * step)
            estimates += [right, left]
        size = max(abs(estimates[3]), abs(middle), Wide(1e-3))
        if not all(abs(estimate - estimates[3]) <= 1e-5 * size for estimate in estimates):
            raise Refused("kink, or too steep")
        return estimates[3]

    def smaller(self) -> Iterator[Expression]:
        """Yield expressions with a part in the place of what it is in, or a number in its place."""
        for part in subtrees(self.tree):
            yield replace(self, tree=part)
        for part in list(subtrees(self.tree)):
            for inner in subtrees(part):
                yield replace(self, tree=replaced(self.tree, part, inner))
            if part[0] not in ("number", "name"):
                yield replace(self, tree=replaced(self.tree, part, ("number", "2.0")))
        for part in subtrees(self.tree):
            if part[0] == "name" and np.ndim(self.values[part[1]]):
                yield replace(self, tree=replaced(self.tree, part, ("name", "s")))


@dataclass(frozen=True)
class Hostile:
    """A text that may be no expression: it is computed or refused, soon."""

    text: str
    values: dict[str, Any]

    def source(self) -> str:
        given = "".join(f", {name}={literal(value)}" for name, value in self.values.items())
        return f"{HEADER}\nprint(gd.parse({self.text!r}{given}))\n"

    def check(self) -> Difference | None:
        started = time.perf_counter()
        try:
            made = gd.parse(self.text, **self.values)
            assert isinstance(made, gd.Tensor)
        except gd.GraphDiffError:
            pass
        except Exception as error:
            return Difference(f"parse raises {type(error).__name__}", one_line(error))
        seconds = time.perf_counter() - started
        return Difference("slow", f"{seconds:.1f} s") if seconds > HOSTILE_SECONDS else None

    def smaller(self) -> Iterator[Hostile]:
        """Yield texts with a piece less."""
        length = len(self.text)
        piece = max(1, length // 2)
        while piece:
            for start in range(0, length, piece):
                if piece < length:
                    yield replace(self, text=self.text[:start] + self.text[start + piece :])
            piece //= 2


# Making ----------------------------------------------------------------------------------------------------------

NUMBERS = ["2", "0.5", "1", "3.0", "1e-1", ".25", "1.5e0", "10", "3", "4.", "0x2", "1_0"]
SNIPPETS = [
    *(
        "9**9**9",
        "1e308*10",
        "__import__('os')",
        "a.real",
        "a[0]",
        "lambda x: x",
        "[x for x in a]",
        "(" * 60,
        "[" * 300,
    ),
    *(
        "round(a, decimals=1000000000)",
        "round(1.5, decimals=10**9)",
        "\x00",
        "\ud800",
        "ﬁ",
        "π",
        "0" * 5000,
        "-" * 2000,
        "~a",
    ),
    *(
        "a if b else c",
        "a and b",
        "not a",
        "f'{a}'",
        "'text'",
        "1j",
        "None",
        "...",
        "*a",
        "**a",
        "a := 2",
        "import os",
        "x" * 300,
    ),
    *(
        "sum(a, axis=10**9)",
        "sum(v, axis=None)",
        "sum(v, axis='x')",
        "norm(v, ord='nuc')",
        "norm(v, ord=1e308)",
        "var(v, correction=99)",
    ),
    *(
        "where(a)",
        "where(a, b)",
        "max(a, b)",
        "outer(outer(v, v), outer(v, v))",
        "solve(v, v)",
        "det(v)",
        "inv(a)",
        "sin()",
        "sin(a, b)",
    ),
    *(
        "sum(v, keepdims=3)",
        "elu(a, alpha='x')",
        "clip(a, 1, 0)",
        "clip(a, min=v)",
        "leaky_relu(a, slope=[1, 2])",
        "trace(a)",
        "cumsum(v, axis=7)",
    ),
    *(
        "a = 1",
        "c = c",
        "; ;",
        "#",
        "\\",
        "\n",
        "\t",
        "a b",
        ",",
        ")",
        "]",
        "=",
        "==",
        "@",
        "!",
        "`",
        "$",
        "?",
        ":",
        "def f(): pass",
        "del a",
    ),
    *(
        "True",
        "False",
        "1 < 2 < 3",
        "a @ b",
        "v @ v @ v",
        "sum(dtype=1)",
        "a(b)",
        "sin(sin)",
        "pi(2)",
        "nan",
        "inf",
        "1e999",
        "1/0",
        "1%0",
    ),
    *(
        "(" + "a+" * 3000 + "a)",
        "[" * 50 + "1" + "]" * 50,
        "[[1, 2], [3]]",
        "[]",
        "[[]]",
        "[v, a]",
        "[None]",
        "[True, 1]",
        "sum([])",
        "max([])",
    ),
    *(
        "2**-1075",
        "(-8)**(1/3)",
        "0**-1",
        "10**400",
        "2.0**5000",
        "7//0.0",
        "softmax(a)",
        "softmax(v, axis=1.5)",
        "transpose(m, axes=[0])",
    ),
]


class Writer:
    """Writes one expression."""

    def __init__(self, seed: int, number: int) -> None:
        self.stream = np.random.default_rng([seed, number, 2])
        draw = self.stream.normal
        self.values: dict[str, Any] = {
            "a": float(np.round(draw(), 3)),
            "b": float(draw()),
            "s": float(self.stream.uniform(0.2, 2)),
            "α": float(draw()),
            "n": int(self.stream.integers(1, 4)),
            "v": draw(size=3),
            "w": self.stream.uniform(0.1, 2, 3),
            "m": draw(size=(3, 3)),
            "r": draw(size=(2, 3)),
        }
        self.named = 0

    def chance(self, probability: float) -> bool:
        return bool(self.stream.random() < probability)

    def pick(self, items: Any) -> Any:
        items = list(items)
        return items[int(self.stream.integers(len(items)))]

    def leaf(self, names: str) -> Tree:
        if self.chance(0.25):
            return ("number", self.pick(NUMBERS))
        return ("name", self.pick(names))

    def array(self, depth: int) -> Tree:
        """Return an expression of a vector, row or matrix."""
        if depth <= 0 or self.chance(0.3):
            return ("name", self.pick("vwmr"))
        kind = self.pick(["along", "matrix", "product", "elementwise", "elementwise", "list", "where"])
        if kind == "along":
            return (self.pick(ALONG), self.array(depth - 1), {"axis": self.pick([0, -1])})
        if kind == "matrix":
            return (self.pick(["inv", "transpose"]), ("name", "m"), {})
        if kind == "product":
            return self.pick(
                [
                    ("@", ("name", "r"), ("name", "m"), None),
                    ("outer", ("name", "v"), ("name", "w"), {}),
                    ("matmul", ("name", "m"), ("name", "v"), {}),
                    ("solve", ("name", "m"), ("name", "w"), {}),
                    ("dot", ("name", "r"), ("name", "v"), {}),
                ]
            )
        if kind == "list":
            return ("list", *(self.number(depth - 2) for _ in range(3)), None)
        if kind == "where":
            return ("where", self.truth(depth - 1, "vw"), ("name", "w"), self.number(depth - 1), {})
        if self.chance(0.4):
            return (self.pick(UNARY), self.array(depth - 1), {})
        return self.signed(self.pick(["+", "-", "*", "/"]), self.array(depth - 1), self.number(depth - 1))

    def signed(self, sign: str, left: Tree, right: Tree) -> Tree:
        return (sign, left, right, None)

    def truth(self, depth: int, names: str = "") -> Tree:
        """Return a comparison, or a combination of such."""
        one = ("name", self.pick(names)) if names else self.number(depth - 1)
        if self.chance(0.6):
            count = self.pick([1, 1, 2])
            others = [self.number(depth - 1) for _ in range(count)]
            return ("compared", one, *others, tuple(self.pick(COMPARING) for _ in others))
        if self.chance(0.5):
            return (self.pick(TESTS), one, ("name", "s"), {})
        return (
            self.pick(list(LOGIC)[:3]),
            ("compared", one, ("name", "s"), (">",)),
            ("compared", one, ("name", "b"), ("<",)),
            {},
        )

    def number(self, depth: int) -> Tree:
        """Return an expression of a single number."""
        made = self.unnamed(depth)
        if made[0] not in ("number", "name") and self.chance(0.1):
            self.named += 1
            return ("named", f"t{self.named}", made)
        return made

    def unnamed(self, depth: int) -> Tree:
        if depth <= 0:
            return self.leaf("abssαn")
        kind = self.pick(
            ["sign"] * 6
            + ["unary"] * 4
            + ["negated", "binary", "binary", "reduce", "reduce", "where", "power", "matrix"]
        )
        if kind == "sign":
            return self.signed(
                self.pick(["+", "-", "*", "/", "+", "-", "*", "%", "//"]),
                self.number(depth - 1),
                self.number(depth - 1),
            )
        if kind == "power":
            exponent: Tree = (
                ("number", self.pick(["2", "3", "0.5", "1"])) if self.chance(0.6) else self.number(depth - 2)
            )
            base = self.number(depth - 1) if exponent[1] in ("2", "3", "1") else ("name", "s")
            return ("**", base, exponent, None)
        if kind == "negated":
            return ("negated", self.number(depth - 1), None)
        if kind == "unary":
            return (self.pick(UNARY), self.number(depth - 1), {})
        if kind == "binary":
            return (self.pick(BINARY), self.number(depth - 1), self.number(depth - 1), {})
        if kind == "matrix":
            return (self.pick(["det", "trace"]), ("name", "m"), {})
        if kind == "where":
            return ("where", self.truth(depth - 1), self.number(depth - 1), self.number(depth - 1), {})
        return (self.pick(REDUCING), self.array(depth - 1), {})

    def whole(self) -> Expression:
        depth = self.pick([1, 2, 2, 3, 3, 4])
        kind = self.pick(["number"] * 6 + ["array", "truth", "axis"])
        if kind == "axis":
            tree: Tree = (self.pick(REDUCING), ("name", self.pick("mr")), {"axis": self.pick([0, 1, -1])})
        else:
            tree = {"number": self.number, "array": self.array, "truth": self.truth}[kind](depth)
        return Expression(tree, self.values)

    def hostile(self) -> Hostile:
        """Return a text made worse."""
        text = self.whole().text
        for _ in range(int(self.stream.integers(1, 4))):
            start = int(self.stream.integers(len(text) + 1))
            end = min(len(text), start + int(self.stream.integers(0, 6)))
            text = self.pick(
                [
                    text[:start] + text[end:],
                    text[:start] + text[start:end] * 3 + text[end:],
                    text[:start] + self.pick(SNIPPETS) + text[end:],
                    text[:start] + self.pick(SNIPPETS) + text[end:],
                    text[:start] + chr(int(self.stream.integers(1, 0x3000))) + text[end:],
                    self.pick(SNIPPETS),
                    f"{self.pick(SNIPPETS)} + {text}",
                ]
            )
        # Of the names for which there are values, those that it has: another would be refused for that alone.
        return Hostile(text, {name: value for name, value in self.values.items() if name in text})


def make(seed: int, number: int) -> Expression | Hostile:
    """Write expression `number` of a seed; every fourth is hostile."""
    writer = Writer(seed, number)
    return writer.hostile() if number % 4 == 3 else writer.whole()
