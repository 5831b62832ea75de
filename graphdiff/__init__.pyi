"""What graphdiff has, for type checkers: written from the declarations by `python docs/make_stubs.py`."""

# ruff: noqa: A001, A002, A004, E501, F811

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from graphdiff.draw.drawing import Drawable
from graphdiff.draw.drawing import Drawing
from graphdiff.draw.options import InputShape
from graphdiff.draw.options import Inputs
from graphdiff.typing import ArrayLike
from graphdiff.typing import Attribute
from graphdiff.typing import Axis
from graphdiff.typing import DTypeLike
from typing import Any

from graphdiff.graph.graph import Graph as Graph
from graphdiff.errors import GraphDiffError as GraphDiffError
from graphdiff.tensor.node import Tensor as Tensor
from graphdiff.tensor.leaves import Variable as Variable
def abs(x: ArrayLike, /) -> Tensor:
    """Absolute value; derivative 0 at 0."""
def absolute(x: ArrayLike, /) -> Tensor:
    """Absolute value; derivative 0 at 0."""
def acos(x: ArrayLike, /) -> Tensor:
    """Inverse cosine."""
def acosh(x: ArrayLike, /) -> Tensor:
    """Inverse hyperbolic cosine."""
def add(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """x + y."""
from graphdiff.differentiate.gradients import adjoints as adjoints
from graphdiff.ops.reduce import all as all
from graphdiff.ops.reduce import max as _amax
amax = _amax
from graphdiff.ops.reduce import min as _amin
amin = _amin
from graphdiff.ops.reduce import any as any
from graphdiff.ops.derived import append as append
from graphdiff.ops.create import arange as arange
def arccos(x: ArrayLike, /) -> Tensor:
    """Inverse cosine."""
def arccosh(x: ArrayLike, /) -> Tensor:
    """Inverse hyperbolic cosine."""
def arcsin(x: ArrayLike, /) -> Tensor:
    """Inverse sine."""
def arcsinh(x: ArrayLike, /) -> Tensor:
    """Inverse hyperbolic sine."""
def arctan(x: ArrayLike, /) -> Tensor:
    """Inverse tangent."""
def arctan2(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """The angle of the point (x, y), called as atan2(y, x); derivative 0 at the origin."""
def arctanh(x: ArrayLike, /) -> Tensor:
    """Inverse hyperbolic tangent."""
from graphdiff.ops.reduce import argmax as argmax
from graphdiff.ops.reduce import argmin as argmin
from graphdiff.ops.order import argsort as argsort
from graphdiff.ops.derived import round as _around
around = _around
def asin(x: ArrayLike, /) -> Tensor:
    """Inverse sine."""
def asinh(x: ArrayLike, /) -> Tensor:
    """Inverse hyperbolic sine."""
from graphdiff.ops.shape import astype as astype
from graphdiff.ops.index import at as at
def atan(x: ArrayLike, /) -> Tensor:
    """Inverse tangent."""
def atan2(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """The angle of the point (x, y), called as atan2(y, x); derivative 0 at the origin."""
def atanh(x: ArrayLike, /) -> Tensor:
    """Inverse hyperbolic tangent."""
from graphdiff.ops.derived import atleast_1d as atleast_1d
from graphdiff.ops.derived import atleast_2d as atleast_2d
from graphdiff.ops.derived import average as average
from graphdiff.backend import backends as backends
from graphdiff.differentiate.gradients import backward as backward
def bitwise_and(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """Bitwise and."""
def bitwise_invert(x: ArrayLike, /) -> Tensor:
    """Bitwise not; on booleans, not."""
def bitwise_or(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """Bitwise or."""
def bitwise_xor(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """Bitwise exclusive or."""
from graphdiff.ops.shape import broadcast_to as broadcast_to
from graphdiff.ops.shape import astype as _cast
cast = _cast
def cbrt(x: ArrayLike, /) -> Tensor:
    """Cube root."""
def ceil(x: ArrayLike, /) -> Tensor:
    """Least integer not below x; derivative 0."""
from graphdiff.analysis.check import check_grads as check_grads
from graphdiff.differentiate.checkpoint import checkpoint as checkpoint
from graphdiff.differentiate.revolve import checkpoint_chain as checkpoint_chain
from graphdiff.ops.decompositions import cholesky as cholesky
from graphdiff.ops.selection import clip as clip
from graphdiff.ops.derived import column_stack as column_stack
from graphdiff.compare.measure import compare_modes as compare_modes
from graphdiff.plan.compiled import compile as compile
from graphdiff.ops.shape import concatenate as _concat
concat = _concat
from graphdiff.ops.shape import concatenate as concatenate
from graphdiff.tensor.leaves import constant as constant
from graphdiff.ops.derived import copy as copy
def cos(x: ArrayLike, /) -> Tensor:
    """Cosine of radians."""
def cosh(x: ArrayLike, /) -> Tensor:
    """Hyperbolic cosine."""
from graphdiff.costs.graph import cost as cost
from graphdiff.analysis.curvature import critical_point as critical_point
from graphdiff.ops.products import cross as cross
from graphdiff.ops.reduce import cumprod as cumprod
from graphdiff.ops.reduce import cumsum as cumsum
from graphdiff.ops.reduce import cumprod as _cumulative_prod
cumulative_prod = _cumulative_prod
from graphdiff.ops.reduce import cumsum as _cumulative_sum
cumulative_sum = _cumulative_sum
from graphdiff.backend import current_backend as current_backend
from graphdiff.ops.derived import deg2rad as deg2rad
from graphdiff.ops.derived import rad2deg as _degrees
degrees = _degrees
from graphdiff.ops.linalg import det as det
from graphdiff.watch import detect_anomalies as detect_anomalies
from graphdiff.ops.index import diag as diag
from graphdiff.ops.index import diagonal as diagonal
from graphdiff.ops.derived import diff as diff
def divide(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """x / y."""
from graphdiff.ops.products import dot as dot
from graphdiff.draw import Drawing as _draw_Drawing
from graphdiff.draw import Paths as _draw_Paths
from graphdiff.draw import Trace as _draw_Trace
from graphdiff.draw import draw as _draw_draw
from graphdiff.draw import paths as _draw_paths
from graphdiff.draw import show as _draw_show
from graphdiff.draw import trace as _draw_trace
class _draw:
    def __call__(self, /, outputs: Drawable, *, mode: str | None = None, wrt: Tensor | None = None, seed: ArrayLike | None = None, labels: Sequence[str] | None = None, adjoints: bool | None = None, local: bool | None = None, backward: str | None = None, collapse: bool | int | str | Iterable[str] = False, expand: bool | str | Iterable[str] = False, colour: str | None = None, max_nodes: int | None = 1000, digits: int = 4, rankdir: str = 'LR', simplify: bool = False, input_shape: InputShape | None = None, inputs: Inputs | None = None, loss: Callable[[Tensor], Tensor] | None = None) -> Drawing:
        """Draw the graph below `outputs`, or the layers of a model."""
    Drawing = _draw_Drawing
    Paths = _draw_Paths
    Trace = _draw_Trace
    draw = staticmethod(_draw_draw)
    paths = staticmethod(_draw_paths)
    show = staticmethod(_draw_show)
    trace = staticmethod(_draw_trace)
draw: _draw
e: float
from graphdiff.ops.decompositions import eigh as eigh
from graphdiff.ops.decompositions import eigvalsh as eigvalsh
from graphdiff.ops.products import einsum as einsum
from graphdiff.elimination.orders import elimination_order as elimination_order
def elu(x: ArrayLike, /, *, alpha: float = 1.0) -> Tensor:
    """x for x > 0, alpha·(exp(x) - 1) elsewhere."""
from graphdiff.ops.create import zeros_like as _empty_like
empty_like = _empty_like
def equal(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """x == y."""
def erf(x: ArrayLike, /) -> Tensor:
    """Error function, after Cody (1969); accurate to rounding."""
from graphdiff import errors as errors
def exp(x: ArrayLike, /) -> Tensor:
    """Exponential."""
from graphdiff.ops.derived import exp2 as exp2
from graphdiff.ops.shape import expand_dims as expand_dims
def expm1(x: ArrayLike, /) -> Tensor:
    """exp(x) - 1, accurate near 0."""
from graphdiff.ops.create import eye as eye
def fabs(x: ArrayLike, /) -> Tensor:
    """Absolute value; derivative 0 at 0."""
from graphdiff.ops.shape import ravel as _flatten
flatten = _flatten
from graphdiff.ops.shape import flip as flip
from graphdiff.ops.derived import fliplr as fliplr
from graphdiff.ops.derived import flipud as flipud
from graphdiff.host import float32 as float32
from graphdiff.host import float64 as float64
def floor(x: ArrayLike, /) -> Tensor:
    """Greatest integer not above x; derivative 0."""
def floor_divide(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """floor(x / y); derivative 0."""
from graphdiff.ops.create import full as full
from graphdiff.ops.create import full_like as full_like
def gelu(x: ArrayLike, /) -> Tensor:
    """x·Φ(x), Φ the normal distribution function (Hendrycks and Gimpel, 2016), the exact form."""
def gelu_tanh(x: ArrayLike, /) -> Tensor:
    """x/2·(1 + tanh(sqrt(2/π)·(x + 0.044715·x³))): within 5e-4 of gelu (Hendrycks and Gimpel, 2016)."""
from graphdiff.backend import get_backend as get_backend
from graphdiff.differentiate.functions import grad as grad
def greater(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """x > y."""
def greater_equal(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """x >= y."""
def hard_tanh(x: ArrayLike, /) -> Tensor:
    """x clipped to [-1, 1]; derivative 0 at ±1, as PyTorch's hardtanh has it."""
from graphdiff.jacobians.jacobian import hessian as hessian
from graphdiff.analysis.curvature import hessian_eigenvalues as hessian_eigenvalues
from graphdiff.ops.derived import hstack as hstack
from graphdiff.differentiate.functions import hvp as hvp
def hypot(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """sqrt(x² + y²) without overflow; derivative 0 at (0, 0)."""
inf: float
from graphdiff.ops.derived import inner as inner
from graphdiff.host import int64 as int64
from graphdiff.ops.derived import interp as interp
from graphdiff.ops.linalg import inv as inv
def invert(x: ArrayLike, /) -> Tensor:
    """Bitwise not; on booleans, not."""
def isfinite(x: ArrayLike, /) -> Tensor:
    """Whether x is neither NaN nor infinite."""
def isinf(x: ArrayLike, /) -> Tensor:
    """Whether x is infinite."""
def isnan(x: ArrayLike, /) -> Tensor:
    """Whether x is NaN."""
from graphdiff.jacobians.jacobian import jacobian as jacobian
from graphdiff.differentiate.functions import jvp as jvp
from graphdiff.ops.derived import kron as kron
def leaky_relu(x: ArrayLike, /, *, slope: float = 0.01) -> Tensor:
    """x for x > 0, slope·x elsewhere (slope 0.01)."""
def less(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """x < y."""
def less_equal(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """x <= y."""
class linalg:
    """Functions as `gd.linalg` has them."""
    @staticmethod
    def cholesky(x: ArrayLike, /) -> Tensor:
        """Lower triangular L with L @ Lᵀ = x, for symmetric positive definite x; only its symmetric part is used."""
    @staticmethod
    def cross(x: ArrayLike, y: ArrayLike, /, axis: int = -1) -> Tensor:
        """Vector product of vectors of three components along an axis."""
    @staticmethod
    def det(x: ArrayLike, /) -> Tensor:
        """Determinant of square matrices; its derivative, the cofactors, is right where it is 0 too."""
    @staticmethod
    def diagonal(x: ArrayLike, /, *, offset: int = 0) -> Tensor:
        """Return a diagonal of the matrices in the last two axes, as the last axis: the array API standard's."""
    @staticmethod
    def eigh(x: ArrayLike, /) -> tuple[Tensor, Tensor]:
        """Eigenvalues, ascending, and eigenvectors (columns) of symmetric matrices; only the symmetric part is used."""
    @staticmethod
    def eigvalsh(x: ArrayLike, /) -> Tensor:
        """Eigenvalues of symmetric matrices, ascending; only the symmetric part is used."""
    @staticmethod
    def inv(x: ArrayLike, /) -> Tensor:
        """Inverse of square matrices."""
    @staticmethod
    def matmul(x: ArrayLike, y: ArrayLike, /) -> Tensor:
        """Matrix product over the last two axes, the others broadcast; vectors as in NumPy."""
    @staticmethod
    def matrix_power(x: ArrayLike, n: int, /) -> Tensor:
        """Square matrices multiplied n times with each other; the inverse, -n times, where n is negative."""
    @staticmethod
    def matrix_transpose(x: ArrayLike, /) -> Tensor:
        """Swap the last two axes."""
    @staticmethod
    def norm(x: ArrayLike, /, ord: float | str | None = None, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Vector norm over axes (all by default): Euclidean, or of order 1, inf, -inf or p. Its derivative at 0 is 0."""
    @staticmethod
    def outer(x: ArrayLike, y: ArrayLike, /) -> Tensor:
        """All products of an element of x with one of y, both flattened."""
    @staticmethod
    def pinv(x: ArrayLike, /, rcond: float | None = None, *, rtol: float | None = None) -> Tensor:
        """Pseudo-inverse of matrices (Moore and Penrose), by their singular values."""
    @staticmethod
    def qr(x: ArrayLike, /, mode: str = 'reduced') -> tuple[Tensor, Tensor]:
        """QR decomposition: x = Q R, the columns of Q orthonormal, R upper triangular."""
    @staticmethod
    def slogdet(x: ArrayLike, /) -> tuple[Tensor, Tensor]:
        """Sign and logarithm of the absolute value of the determinant."""
    @staticmethod
    def solve(a: ArrayLike, b: ArrayLike, /) -> Tensor:
        """Solve a @ x = b; b is a vector (1-d) or matrices."""
    @staticmethod
    def svd(x: ArrayLike, /, full_matrices: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        """Singular value decomposition: x = U diag(s) Vᵀ, the singular values s descending."""
    @staticmethod
    def svdvals(x: ArrayLike, /) -> Tensor:
        """Singular values of matrices, descending."""
    @staticmethod
    def tensordot(x: ArrayLike, y: ArrayLike, /, axes: int | Sequence[Any] = 2) -> Tensor:
        """Sum of products over pairs of axes: x's last `axes` with y's first, or the axes named."""
    @staticmethod
    def trace(x: ArrayLike, /, *, offset: int = 0, dtype: DTypeLike | None = None) -> Tensor:
        """Sum of a diagonal of the matrices in the last two axes: the array API standard's."""
    @staticmethod
    def vecdot(x: ArrayLike, y: ArrayLike, /, axis: int = -1) -> Tensor:
        """Inner products along an axis, which both have, of one length."""
from graphdiff.ops.create import linspace as linspace
def log(x: ArrayLike, /) -> Tensor:
    """Natural logarithm."""
def log10(x: ArrayLike, /) -> Tensor:
    """Logarithm to base 10."""
def log1p(x: ArrayLike, /) -> Tensor:
    """log(1 + x), accurate near 0."""
def log2(x: ArrayLike, /) -> Tensor:
    """Logarithm to base 2."""
from graphdiff.ops.reduce import log_softmax as log_softmax
def logaddexp(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """log(exp(x) + exp(y)) without overflow."""
def logical_and(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """x and y."""
def logical_not(x: ArrayLike, /) -> Tensor:
    """Not."""
def logical_or(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """x or y."""
def logical_xor(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """Either x or y."""
from graphdiff.ops.reduce import logsumexp as logsumexp
from graphdiff.ops.products import matmul as matmul
from graphdiff.ops.linalg import matrix_power as matrix_power
from graphdiff.ops.shape import matrix_transpose as matrix_transpose
from graphdiff.ops.reduce import max as max
def maximum(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """The greater of x and y; ties share the gradient equally."""
from graphdiff.ops.reduce import mean as mean
from graphdiff.ops.order import median as median
from graphdiff.ops.derived import meshgrid as meshgrid
from graphdiff.ops.reduce import min as min
def minimum(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """The lesser of x and y; ties share the gradient equally."""
def mod(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """x - floor(x / y)·y: Python's %."""
from graphdiff.ops.shape import moveaxis as moveaxis
def multiply(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """x · y."""
from graphdiff.tensor.context import name_scope as name_scope
nan: float
from graphdiff.ops.derived import nan_to_num as nan_to_num
def negative(x: ArrayLike, /) -> Tensor:
    """Return -x."""
newaxis: None
from graphdiff import nn as nn
from graphdiff.ops.index import nonzero as nonzero
from graphdiff.ops.linalg import norm as norm
def normal_cdf(x: ArrayLike, /) -> Tensor:
    """The normal distribution function, accurate in both tails."""
def not_equal(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """x != y."""
from graphdiff.ops.index import one_hot as one_hot
from graphdiff.ops.create import ones as ones
from graphdiff.ops.create import ones_like as ones_like
from graphdiff import op as op
from graphdiff import optim as optim
from graphdiff.ops.products import outer as outer
from graphdiff.ops.shape import pad as pad
from graphdiff.expression.parser import parse as parse
from graphdiff.draw.lecture.path_sums import paths as paths
from graphdiff.ops.order import percentile as percentile
from graphdiff.ops.shape import permute_dims as permute_dims
pi: float
from graphdiff.ops.linalg import pinv as pinv
from graphdiff.tensor.leaves import placeholder as placeholder
from graphdiff import plan as plan
def positive(x: ArrayLike, /) -> Tensor:
    """Return +x."""
from graphdiff.ops.powers import power as _pow
pow = _pow
from graphdiff.ops.powers import power as power
from graphdiff.ops.reduce import prod as prod
from graphdiff.ops.derived import ptp as ptp
from graphdiff.ops.decompositions import qr as qr
from graphdiff.ops.order import quantile as quantile
from graphdiff.ops.derived import rad2deg as rad2deg
from graphdiff.ops.derived import deg2rad as _radians
radians = _radians
from graphdiff.ops import random as random
from graphdiff.costs import rates as rates
from graphdiff.ops.shape import ravel as ravel
def reciprocal(x: ArrayLike, /) -> Tensor:
    """Return 1/x."""
from graphdiff.ops.reduce import sum as _reduce_sum
reduce_sum = _reduce_sum
def relu(x: ArrayLike, /) -> Tensor:
    """max(x, 0); derivative 0 at 0, and 1 at NaN."""
def remainder(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """x - floor(x / y)·y: Python's %."""
from graphdiff.ops.shape import repeat as repeat
from graphdiff.ops.shape import reshape as reshape
from graphdiff.ops.derived import round as _rint
rint = _rint
from graphdiff.ops.shape import roll as roll
from graphdiff.ops.derived import round as round
from graphdiff.draw.text import show as show
def sigmoid(x: ArrayLike, /) -> Tensor:
    """Logistic function 1 / (1 + exp(-x))."""
def sign(x: ArrayLike, /) -> Tensor:
    """Sign of x: -1, 0 or 1; derivative 0 everywhere."""
def sin(x: ArrayLike, /) -> Tensor:
    """Sine of radians."""
def sinh(x: ArrayLike, /) -> Tensor:
    """Hyperbolic sine."""
from graphdiff.ops.linalg import slogdet as slogdet
from graphdiff.ops.reduce import softmax as softmax
def softplus(x: ArrayLike, /) -> Tensor:
    """log(1 + exp(x)), without overflow."""
from graphdiff.ops.linalg import solve as solve
from graphdiff.ops.order import sort as sort
from graphdiff.jacobians.sparse import sparse_hessian as sparse_hessian
from graphdiff.jacobians.sparse import sparse_jacobian as sparse_jacobian
from graphdiff.jacobians.sparse import sparsity as sparsity
from graphdiff.ops.shape import split as split
def sqrt(x: ArrayLike, /) -> Tensor:
    """Square root."""
def square(x: ArrayLike, /) -> Tensor:
    """Return x²."""
from graphdiff.ops.shape import squeeze as squeeze
from graphdiff.ops.shape import stack as stack
from graphdiff.ops.reduce import std as std
def stop_gradient(x: ArrayLike, /) -> Tensor:
    """Return x, through which no derivative flows."""
def subtract(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """x - y."""
from graphdiff.ops.reduce import sum as sum
from graphdiff.ops.decompositions import svd as svd
from graphdiff.ops.decompositions import svdvals as svdvals
from graphdiff.ops.shape import swapaxes as swapaxes
from graphdiff.ops.index import take as take
from graphdiff.ops.index import take_along_axis as take_along_axis
def tan(x: ArrayLike, /) -> Tensor:
    """Tangent of radians."""
from graphdiff.differentiate.gradients import tangents as tangents
def tanh(x: ArrayLike, /) -> Tensor:
    """Hyperbolic tangent."""
from graphdiff.ops.products import tensordot as tensordot
from graphdiff.ops.shape import tile as tile
from graphdiff.ops.order import topk as _top_k
top_k = _top_k
from graphdiff.ops.order import topk as topk
from graphdiff._links import trace as trace
from graphdiff import train as train
from graphdiff.ops.shape import transpose as transpose
from graphdiff.ops.derived import trapezoid as trapezoid
from graphdiff.ops.index import tril as tril
from graphdiff.ops.index import triu as triu
def true_divide(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """x / y."""
def trunc(x: ArrayLike, /) -> Tensor:
    """Integer part; derivative 0."""
from graphdiff import typing as typing
def undefined_derivative(*operands: ArrayLike, **attributes: Attribute) -> Tensor:
    """Return x; its derivative is multiplied by a mask of ones and, where there is none, NaN."""
from graphdiff.ops.derived import unstack as unstack
from graphdiff.backend import use_backend as use_backend
from graphdiff.differentiate.functions import value_and_grad as value_and_grad
from graphdiff.ops.reduce import var as var
from graphdiff.tensor.leaves import variable as variable
from graphdiff.ops.derived import vdot as vdot
from graphdiff.ops.products import vecdot as vecdot
from graphdiff.differentiate.functions import vjp as vjp
from graphdiff.differentiate.functions import vmap as vmap
from graphdiff.ops.derived import vstack as vstack
from graphdiff import watch as watch
from graphdiff.ops.selection import where as where
from graphdiff.ops.create import zeros as zeros
from graphdiff.ops.create import zeros_like as zeros_like
