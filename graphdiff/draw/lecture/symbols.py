"""What a lecture writes beside a node: its expression, its local derivatives, its numbers."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from graphdiff import host
from graphdiff.draw.names import plain_name
from graphdiff.tensor import Tensor
from graphdiff.typing import Attribute, Function

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "ATOM",
    "DIGITS",
    "LOOSE",
    "POWER",
    "PRODUCT",
    "SUM",
    "Number",
    "Numbers",
    "Symbol",
    "equation",
    "escape_latex",
    "expression",
    "number",
    "numbers_latex",
    "shown",
    "symbol_of",
    "transposed",
    "written",
]

Numbers: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"
"""An array on the host."""

DIGITS = 6
"""Significant digits of a number, where no other are asked for."""
ATOM, POWER, PRODUCT, SUM, LOOSE = 5, 4, 3, 2, 1
"""How tightly a piece of mathematics holds together; what binds tighter around it puts it in parentheses."""


class Symbol:
    """A piece of mathematics as text and as LaTeX, with what it binds by and the nodes whose values it needs."""

    __slots__ = ("latex", "level", "text", "uses")

    def __init__(self, text: str, latex: str | None = None, level: int = ATOM, uses: Iterable[Tensor] = ()) -> None:
        self.text = text
        self.latex = escape_latex(text) if latex is None else latex
        self.level = level
        self.uses = frozenset(uses)

    def inside(self, level: int) -> tuple[str, str]:
        """Return text and LaTeX, in parentheses where something binds tighter than this symbol."""
        if self.level >= level:
            return self.text, self.latex
        return f"({self.text})", rf"\left({self.latex}\right)"

    def join(self, other: Symbol, between: tuple[str, str], level: int, tight: bool = False) -> Symbol:
        """Return both with a sign between them; `tight` if the sign binds the right one closer."""
        left, right = self.inside(level), other.inside(level + tight)
        if other.text.startswith("−") and right == (other.text, other.latex):
            right = f"({right[0]})", rf"({right[1]})"
        return Symbol(
            f"{left[0]}{between[0]}{right[0]}",
            f"{left[1]}{between[1]}{right[1]}",
            level,
            self.uses | other.uses,
        )

    def __add__(self, other: Symbol) -> Symbol:
        if other.text.startswith("−") and other.level >= PRODUCT:
            return self - Symbol(other.text[1:], other.latex.removeprefix("-"), other.level, other.uses)
        return self.join(other, (" + ", " + "), SUM)

    def __sub__(self, other: Symbol) -> Symbol:
        return self.join(other, (" − ", " - "), SUM, tight=True)

    def __mul__(self, other: Symbol) -> Symbol:
        for one, rest in ((self, other), (other, self)):
            if isinstance(one, Number) and abs(one.value) == 1:
                return rest if one.value == 1 else -rest
        return self.join(other, ("·", r" \cdot "), PRODUCT)

    def __truediv__(self, other: Symbol) -> Symbol:
        left, right = self.inside(PRODUCT), other.inside(POWER)
        if other.text.startswith("−") and right[0] == other.text:
            right = f"({other.text})", other.latex
        return Symbol(
            f"{left[0]}/{right[0]}", rf"\frac{{{self.latex}}}{{{other.latex}}}", PRODUCT, self.uses | other.uses
        )

    def __neg__(self) -> Symbol:
        if self.text.startswith("−") and self.level >= PRODUCT:
            return Symbol(self.text[1:], self.latex.removeprefix("-"), self.level, self.uses)
        inner = self.inside(PRODUCT)
        return Symbol(f"−{inner[0]}", f"-{inner[1]}", PRODUCT, self.uses)

    def __pow__(self, other: Symbol) -> Symbol:
        base = self.inside(ATOM)
        if self.text.startswith("−") and base[0] == self.text:
            base = f"({self.text})", rf"({self.latex})"
        exponent = "²" if other.text == "2" else f"^{other.inside(ATOM)[0]}"
        return Symbol(f"{base[0]}{exponent}", f"{base[1]}^{{{other.latex}}}", POWER, self.uses | other.uses)

    def of(self, *arguments: Symbol) -> Symbol:
        """Return the function of this name, applied."""
        return Symbol(
            f"{self.text}({', '.join(each.text for each in arguments)})",
            rf"{self.latex}\left({', '.join(each.latex for each in arguments)}\right)",
            ATOM,
            frozenset().union(self.uses, *(each.uses for each in arguments)),
        )


class Number(Symbol):
    """A number; in a product 1 and −1 are left out.

    Attributes
    ----------
    value : float
    """

    __slots__ = ("value",)

    def __init__(self, value: float) -> None:
        text = number(value)
        super().__init__(text, numbers_latex(text), ATOM if value >= 0 else PRODUCT)
        self.value = value

    def __neg__(self) -> Symbol:
        return Number(-self.value)


_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "−": r"\ensuremath{-}",
    "·": r"\ensuremath{\cdot}",
    "×": r"\ensuremath{\times}",
    "∂": r"\ensuremath{\partial}",
    "ᵀ": r"\ensuremath{^\top}",
    "ℓ": r"\ensuremath{\ell}",
    "∇": r"\ensuremath{\nabla}",
    "′": r"\ensuremath{'}",
    "″": r"\ensuremath{''}",
    "‖": r"\ensuremath{\|}",
    "√": r"\ensuremath{\surd}",
    "≤": r"\ensuremath{\leq}",
    "≥": r"\ensuremath{\geq}",
    "→": r"\ensuremath{\rightarrow}",
}
_LETTERS = (
    "alpha beta gamma delta varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon varphi chi "
    "psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega"
)
_GREEK = {
    letter: f"\\{name}" for letter, name in zip("αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩ", _LETTERS.split(), strict=True)
}


_ESCAPES |= {letter: rf"\ensuremath{{{latex}}}" for letter, latex in _GREEK.items()}
_ESCAPES |= {digit: rf"\ensuremath{{_{plain_name(digit)}}}" for digit in "₀₁₂₃₄₅₆₇₈₉"}


def escape_latex(text: str) -> str:
    """Return plain text as LaTeX that shows it, on one line; characters LaTeX may lack become their code point."""
    return "".join(_ESCAPES.get(each) or _plain_latex(each) for each in " ".join(text.split()))


def _plain_latex(character: str) -> str:
    return character if character.isprintable() and character < "\u0250" else f"[U+{ord(character):04X}]"


_POWER = re.compile(r"(?<![\d.])(?:1(?=e)|([\d.]+))e([+-]?\d+)")
"""A number with an exponent; its digits are a group unless they are a lone 1."""


def numbers_latex(text: str) -> str:
    """Return a number, or an array of numbers, as LaTeX mathematics; what is neither as upright text."""
    made = text.replace("−", "-")
    if not re.match(r"\[*-?(\d|inf|nan)", made):
        return rf"\text{{{escape_latex(text)}}}"
    made = _POWER.sub(lambda found: (rf"{found[1]} \cdot " if found[1] else "") + f"10^{{{int(found[2])}}}", made)
    return made.replace("inf", r"\infty").replace("nan", r"\text{nan}")


_ACCENTS = {"\u0302": "hat", "\u0304": "bar", "\u0303": "tilde", "\u0307": "dot", "\u0308": "ddot", "\u20d7": "vec"}
_NAME = re.compile(r"(.)([\u0302\u0304\u0303\u0307\u0308\u20d7]?)(?:_?([0-9]+)|_([A-Za-z]+))?([′″']*)")
"""A letter, perhaps with an accent, an index and primes."""


def _name_symbol(name: str, uses: Iterable[Tensor] = ()) -> Symbol:
    """Return a name: in LaTeX a letter with accent, index and primes where it reads as one, upright text otherwise."""
    latex = rf"\text{{{escape_latex(name)}}}"
    parts = _NAME.fullmatch(unicodedata.normalize("NFD", plain_name(name)))
    if parts is not None:
        letter, accent, number, word, primes = parts.groups()
        if letter in _GREEK or letter == "ℓ" or (letter.isalpha() and letter.isascii()):
            latex = r"\ell" if letter == "ℓ" else _GREEK.get(letter, letter)
            latex = rf"\{_ACCENTS[accent]}{{{latex}}}" if accent else latex
            index = number or (rf"\text{{{word}}}" if word else "")
            latex += (f"_{{{index}}}" if index else "") + primes.replace("″", "''").replace("′", "'")
    return Symbol(name, latex, ATOM, uses)


def number(value: float | str, digits: int = DIGITS) -> str:
    """Return a number with `digits` significant digits and a proper minus sign."""
    return f"{value:.{digits}g}".replace("-", "−") if not isinstance(value, (bool, str)) else str(value)


_PADDING = re.compile(r"(?<=\[) +| +(?=[,\]])|(?<=\d)\.(?=[ ,\]])")
"""What NumPy adds to numbers that they stand below each other in rows: blanks, and the points of whole numbers."""


def shown(array: Numbers, digits: int = DIGITS, width: int = 40) -> str:
    """Return an array as text: a scalar as a number, a small one in full, a large one as its range."""
    if array.shape == ():
        return number(array.item(), digits)
    return _PADDING.sub("", host.describe(array, width=width).replace("-", "−"))


def symbol_of(node: Tensor, names: Mapping[Tensor, str], digits: int = DIGITS) -> Symbol:
    """Return how a node is written where it is used; a literal to so many digits."""
    title = names.get(node)
    if title is None:
        if not node.has_value or node.size != 1:
            return Symbol(node.describe())
        # float32 knows seven digits: more would show 1e-5 as 9.9999997e-06.
        return Symbol(number(node.item(), min(digits, 6) if node.dtype.itemsize < 8 else digits))
    return _name_symbol(title, (node,))


def _call(name: str) -> Function[Symbol]:
    return lambda *arguments: _function_of(name).of(*arguments)


def _function_of(name: str) -> Symbol:
    """Return the name of a function, to be applied with `Symbol.of`."""
    known = {"exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "max", "min"}
    latex = rf"\{name}" if name in known else r"\sigma" if name == "σ" else rf"\operatorname{{{escape_latex(name)}}}"
    return Symbol(name, latex)


def _exponential(x: Symbol) -> Symbol:
    plain = x.level == ATOM or (x.text.startswith("−") and not set(" ·/^") & set(x.text))
    return Symbol(f"e^{x.text}" if plain else f"e^({x.text})", f"e^{{{x.latex}}}", POWER, x.uses)


def _compared(sign: str, latex: str) -> Callable[[Symbol, Symbol], Symbol]:
    return lambda x, y: x.join(y, (f" {sign} ", f" {latex} "), LOOSE, tight=True)


def transposed(symbol: Symbol) -> Symbol:
    """Return a matrix transposed."""
    text, latex = symbol.inside(ATOM)
    return Symbol(f"{text}ᵀ", rf"{latex}^\top", POWER, symbol.uses)


# How each op is written, of its operands.
_WRITTEN: dict[str, Function[Symbol]] = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
    "over_length": lambda x, y: x / y,
    "negative": lambda x: -x,
    "positive": lambda x: x,
    "reciprocal": lambda x: Number(1) / x,
    "square": lambda x: x ** Number(2),
    "power": lambda x, y: x**y,
    "exp": _exponential,
    "sqrt": lambda x: Symbol(f"√{x.inside(ATOM)[0]}", rf"\sqrt{{{x.latex}}}", POWER, x.uses),
    "abs": lambda x: Symbol(f"|{x.text}|", rf"\left|{x.latex}\right|", ATOM, x.uses),
    "sigmoid": _call("σ"),
    "logistic": _call("σ"),
    "normal_cdf": _call("Φ"),
    "exp_of_square": lambda x: _exponential(-(x ** Number(2))),
    "gaussian": lambda x: _exponential(-(x ** Number(2)) / Number(2)),
    "floor_divide": lambda x, y: _call("floor")(x / y),
    "maximum": _call("max"),
    "minimum": _call("min"),
    "matmul": lambda x, y: x.join(y, (" @ ", r"\,"), PRODUCT),
    "greater": _compared(">", ">"),
    "greater_equal": _compared("≥", r"\geq"),
    "less": _compared("<", "<"),
    "less_equal": _compared("≤", r"\leq"),
    "equal": _compared("=", "="),
    "not_equal": _compared("≠", r"\neq"),
}


def written(name: str, operands: Sequence[Symbol]) -> Symbol:
    """Return a function of the array API, applied to its operands."""
    return _WRITTEN.get(name, _function_of(name).of)(*operands)


def expression(node: Tensor, operands: Sequence[Symbol]) -> Symbol:
    """Return the node's op applied to its operands; for a leaf its name is all there is."""
    assert node.op is not None
    if node.op.name == "permute_dims" and node.attributes["axes"] == (1, 0):
        return transposed(operands[0])
    made = written(node.op.name, operands)
    if node.op.name not in _WRITTEN and node.attributes:
        extra = ", ".join(f"{key}={text}" for key, text in _told(node))
        if extra:
            latex = rf"{made.latex.removesuffix(_CLOSING)},\ \text{{{escape_latex(extra)}}}{_CLOSING}"
            made = Symbol(f"{made.text[:-1]}, {extra})", latex, ATOM, made.uses)
    return made


def equation(node: Tensor, names: Mapping[Tensor, str], digits: int = DIGITS) -> str:
    """Return ``c = a + b``, of a node that has a name and is no leaf."""
    return f"{names[node]} = {expression(node, [symbol_of(each, names, digits) for each in node.inputs]).text}"


_CLOSING = r"\right)"


def _told(node: Tensor) -> Iterator[tuple[str, str]]:
    """Yield the attributes that say something: not those that are off, nor the axes of a reduction over all."""
    for key, value in node.attributes.items():
        if value is None or value is False:
            continue
        if key == "axis" and isinstance(value, tuple):
            if len(value) == node.inputs[0].ndim and not node.ndim:
                continue
            value = value[0] if len(value) == 1 else value
        yield key, _brief(value)


def _brief(value: Attribute) -> str:
    text = host.describe(value) if host.is_host_array(value) else repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
