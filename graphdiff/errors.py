"""Every error a user can meet.

Each derives from :class:`GraphDiffError` and from the builtin exception that a Python user would expect,
so that ``except ValueError`` keeps working.
"""

__all__ = [
    "AnomalyError",
    "ArgumentError",
    "BackendError",
    "BackendNotInstalledError",
    "CompileError",
    "DTypeError",
    "DataError",
    "DeviceMemoryError",
    "ExpressionError",
    "GradientCheckError",
    "GraphDiffError",
    "GraphError",
    "ImmutableError",
    "IndexOutsideError",
    "MatrixError",
    "NoValueError",
    "NonScalarError",
    "NotDifferentiableError",
    "OpError",
    "OutsideGraphError",
    "ScalarError",
    "ShapeError",
    "StaleError",
]


class GraphDiffError(Exception):
    """The base of every error that graphdiff raises on purpose."""


class ArgumentError(GraphDiffError, TypeError, ValueError):
    """An argument of a kind or value that a function cannot work with."""


class ShapeError(GraphDiffError, ValueError):
    """Shapes, axes or indices that do not fit together."""


class IndexOutsideError(ShapeError, IndexError):
    """An index outside its axis, or more indices than axes."""


class ScalarError(ShapeError, TypeError):
    """A scalar has no length and no elements: `iter` and `len` raise TypeErrors of what has none."""


class DTypeError(GraphDiffError, TypeError):
    """A dtype that the operation cannot work with."""


class NonScalarError(ShapeError):
    """A gradient asked of a non-scalar without a seed."""


class NotDifferentiableError(GraphDiffError, TypeError):
    """A derivative that does not exist, or that an op does not define."""


class ImmutableError(GraphDiffError, TypeError):
    """An attempt to change a Tensor in place."""


class MatrixError(GraphDiffError, ArithmeticError, ValueError):
    """A matrix that is singular, or not positive definite, where it must not be."""


class NoValueError(GraphDiffError, ValueError):
    """The value of a node was asked for, but a placeholder below it has not been fed."""


class StaleError(GraphDiffError, RuntimeError):
    """A graph was used after one of its variables had been assigned."""


class GraphError(GraphDiffError, ValueError):
    """Nodes that do not form the graph that was asked for."""


class OutsideGraphError(GraphError, KeyError):
    """A derivative was asked for by a node that does not lie in the graph."""

    __str__ = Exception.__str__  # a KeyError shows its message as a key


class OpError(GraphDiffError, ValueError):
    """An op was declared or called wrongly."""


class BackendError(GraphDiffError, ValueError):
    """An unknown backend, two backends mixed, or an operation that a backend cannot express."""


class BackendNotInstalledError(BackendError, ImportError):
    """A known backend whose package is not installed."""


class DeviceMemoryError(BackendError, MemoryError):
    """A device has not the memory that was asked for."""


class CompileError(GraphDiffError, RuntimeError):
    """A function that cannot be compiled: it depends on what is not known while it is traced."""


class GradientCheckError(GraphDiffError, AssertionError):
    """A derivative disagrees with finite differences, the complex step or its own transpose."""


class AnomalyError(GraphDiffError, FloatingPointError):
    """A value or a derivative became NaN or infinite while `graphdiff.detect_anomalies` was watching."""


class DataError(GraphDiffError, ValueError):
    """Data that cannot be used (NaN, wrong sizes, wrong labels), or a file that cannot be read or written."""


class ExpressionError(GraphDiffError, ValueError):
    """A text that is no expression of the language of `graphdiff.parse`.

    Attributes
    ----------
    line, column : int or None
        Where, both counted from 1; None where it is about the text as a whole.
    """

    def __init__(self, message: str, *, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.line = line
        self.column = column
