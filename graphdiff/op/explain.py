"""What is said of operands that an op cannot be applied to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NoReturn

from graphdiff.errors import BackendError, DTypeError, GraphDiffError, IndexOutsideError, MatrixError, ShapeError
from graphdiff.tensor import NO_ATTRIBUTES, Tensor
from graphdiff.typing import Attributes, Operation


def raise_mixed(op: Operation, operands: Iterable[Tensor]) -> NoReturn:
    """Raise the error for operands that are not all on one backend."""
    placed = ", ".join(f"{operand.describe()} on {operand.backend.name}" for operand in operands)
    raise BackendError(f"{op.name}: tensors of two backends are mixed: {placed}. Move one with tensor.to(backend).")


ARRAY_ERRORS = (ValueError, TypeError, IndexError, ArithmeticError)
"""What array libraries raise of operands that they cannot work with."""


def explained(
    op: Operation,
    operands: Sequence[Tensor],
    error: Exception,
    attributes: Attributes = NO_ATTRIBUTES,
    where: str = "",
) -> GraphDiffError:
    """Turn an array library's error into one that names the operands, in the words of the op's own shape rule.

    `where` follows the op and its operands: for errors raised elsewhere than on the user's line.
    """
    try:
        op.infer(operands, attributes)
    except (ValueError, TypeError, IndexError) as own:
        error = own if type(own) is type(error) else error
    except Exception:  # the rule has nothing to say of this
        pass
    asked = f"{op.name}({', '.join(operand.describe() for operand in operands)}){where}"
    made = "; ".join(f"{operand.name or operand.describe()} was made at {operand.source}" for operand in operands)
    if isinstance(error, IndexError):
        return IndexOutsideError(f"{asked}: {error} ({made})")
    if is_of_matrix(error):
        return MatrixError(f"{asked}: {with_mend(error)} ({made})")
    kind = DTypeError if isinstance(error, TypeError) else ShapeError
    return kind(f"{asked}: {_BITWISE.get(op.name, error)} ({made})")


_BITWISE = {
    "bitwise_xor": "^ is of integers and booleans, bit by bit; a power is written x ** y",
    "bitwise_and": "& is of integers and booleans; conditions are compared first: (x > 0) & (y > 0)",
    "bitwise_or": "| is of integers and booleans; conditions are compared first: (x > 0) | (y > 0)",
    "bitwise_invert": "~ is of integers and booleans; a reciprocal is written 1 / x, a negative -x",
}
"""What is said of operators on floats, instead of the name of a function that the user has not written."""


def is_of_matrix(error: Exception) -> bool:
    """Whether an array library says something of a matrix: that it is singular, say."""
    return type(error).__name__ == "LinAlgError"  # every array library has its own


def with_mend(error: Exception) -> str:
    """Return what an array library says of a matrix, with what helps."""
    mend = "; add a multiple of gd.eye(n) to it where that serves" if "ingular" in str(error) else ""
    return f"{error}{mend}"


def raise_complex() -> NoReturn:
    """Refuse to differentiate through complex numbers: a cast to real would drop the imaginary part of a derivative."""
    raise DTypeError(
        "a complex value lies between the real tensor differentiated by and the result, and derivatives are of real "
        "floating tensors only. Compute with the real and the imaginary part as two real tensors."
    )
