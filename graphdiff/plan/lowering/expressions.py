"""Ops as C++ expressions, and numbers and dtypes as C++ writes them."""

from __future__ import annotations

import math
from typing import Any

__all__ = [
    "CASTS",
    "EXPRESSIONS",
    "IDENTITIES",
    "REDUCTIONS",
    "TYPES",
    "WIDENED",
    "cast",
    "expression",
    "has_type",
    "number",
]

TYPES = {
    "float32": "float",
    "float64": "double",
    "bool": "bool",
    "int8": "signed char",
    "int16": "short",
    "int32": "int",
    "int64": "long long",
    "uint8": "unsigned char",
    "uint16": "unsigned short",
    "uint32": "unsigned int",
    "uint64": "unsigned long long",
}
"""C++ types by dtype. Complex numbers and float16 are left to CuPy."""

CASTS = {"bf16": "to_bf16({})", "fp16": "to_fp16({})"}
"""How float32 becomes what a product reads, kept as its 16 bits."""
WIDENED = {"float32 of bf16": "from_bf16({})", "float32 of fp16": "from_fp16({})"}
"""And back."""

_NAMED_ALIKE = (
    "sqrt exp expm1 log log1p log2 log10 sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh erf "
    "floor ceil trunc"
)
_COMPARISONS = {
    "equal": "==",
    "not_equal": "!=",
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
}

EXPRESSIONS: dict[str, str] = {
    **{name: f"{name}({{0}})" for name in _NAMED_ALIKE.split()},
    **{name: f"{{0}} {sign} {{1}}" for name, sign in _COMPARISONS.items()},
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "divide": "{0} / {1}",
    "negative": "-{0}",
    "positive": "{0}",
    "square": "{0} * {0}",
    "abs": "magnitude({0})",
    "sign": "sign_of({0})",
    "round": "rint({0})",
    "isnan": "{0} != {0}",
    "isfinite": "{0} - {0} == 0",
    "isinf": "{0} == {0} && {0} - {0} != 0",
    "gelu_tanh": "gelu_tanh({0})",
    "gelu_tanh_slope": "gelu_tanh_slope({0})",
    "power": "pow({0}, {1})",
    "maximum": "greater_of({0}, {1})",
    "minimum": "lesser_of({0}, {1})",
    "atan2": "atan2({0}, {1})",
    "hypot": "hypot({0}, {1})",
    "logaddexp": "log_sum({0}, {1})",
    "floor_divide": "floor_quotient({0}, {1})",
    "remainder": "floor_remainder({0}, {1})",
    "logical_not": "!{0}",
    "logical_and": "{0} && {1}",
    "logical_or": "{0} || {1}",
    "logical_xor": "!{0} != !{1}",
    "bitwise_invert": "~{0}",
    "bitwise_and": "{0} & {1}",
    "bitwise_or": "{0} | {1}",
    "bitwise_xor": "{0} ^ {1}",
}
"""Elementwise ops; the operands are of the dtype that the op computes in."""

_WHOLE = {"floor": "{0}", "ceil": "{0}", "trunc": "{0}", "round": "{0}", "isnan": "false", "isfinite": "true"}
_INTEGERS = {**_WHOLE, "isinf": "false"}
_FLOATS_ONLY = {"power", "gelu_tanh", "gelu_tanh_slope", *_NAMED_ALIKE.split()} - set(_WHOLE)
_TRUTHS = {
    "add": "{0} || {1}",
    "multiply": "{0} && {1}",
    "maximum": "{0} || {1}",
    "minimum": "{0} && {1}",
    "bitwise_invert": "!{0}",
}
_BOOLEANS = _TRUTHS | {name: text for name, text in EXPRESSIONS.items() if name.startswith(("logical_", "bitwise_"))}
_BOOLEANS |= {name: EXPRESSIONS[name] for name in _COMPARISONS} | {"bitwise_invert": "!{0}"} | _INTEGERS


def has_type(dtype: Any) -> bool:
    """Whether generated code computes with a dtype: it has a type in C, and lies in the machine's order of bytes."""
    return dtype.name in TYPES and bool(dtype.isnative)


def expression(name: str, kind: str) -> str | None:
    """Return the template of an elementwise op on operands of a kind of dtype ("f", "i", "u" or "b"), or None.

    Examples
    --------
    >>> expression("maximum", "f")
    'greater_of({0}, {1})'
    >>> expression("maximum", "b")
    '{0} || {1}'
    >>> expression("power", "i") is None
    True
    """
    if kind == "f":
        return EXPRESSIONS.get(name)
    if kind == "b":
        return _BOOLEANS.get(name)
    return None if name in _FLOATS_ONLY else _INTEGERS.get(name, EXPRESSIONS.get(name))


REDUCTIONS = {
    "sum": "{0} + {1}",
    "mean": "{0} + {1}",
    "sum_wide": "{0} + {1}",
    "matmul": "{0} + {1}",
    "prod": "{0} * {1}",
    "max": "greater_of({0}, {1})",
    "min": "lesser_of({0}, {1})",
    "any": "{0} || {1}",
    "all": "{0} && {1}",
}
"""How a reduction puts two values together."""

IDENTITIES = {"sum": 0, "mean": 0, "sum_wide": 0, "matmul": 0, "prod": 1, "any": False, "all": True}
"""What a reduction begins with; the greatest and the least begin with the extremes of their dtype."""


def number(value: Any, dtype: Any) -> str:
    """Return a number as an exact C++ literal of a dtype.

    Examples
    --------
    >>> import numpy as np
    >>> number(0.1, np.dtype("float32"))
    '0x1.99999a0000000p-4f'
    >>> number(-3, np.dtype("int64")), number(True, np.dtype("bool"))
    ('(long long)-3LL', 'true')
    """
    if dtype.kind == "b":
        return "true" if value else "false"
    if dtype.kind in "iu":
        if value == -(2**63):
            return "(-9223372036854775807LL - 1)"
        return f"({TYPES[dtype.name]}){int(value)}{'LL' if dtype.kind == 'i' else 'ULL'}"
    exact = float(dtype.type(value))
    if not math.isfinite(exact):
        word = "nan" if math.isnan(exact) else "infinity"
        sign = "-" if exact < 0 else ""
        return f"{sign}{TYPES[dtype.name]}_{word}"
    return exact.hex() + ("f" if dtype.itemsize == 4 else "")


def cast(text: str, given: Any, wanted: Any) -> str:
    """Return an expression of one dtype as another."""
    if given == wanted:
        return text
    if wanted.kind == "b":
        return f"({text} != 0)"
    return f"({TYPES[wanted.name]}){text}"
