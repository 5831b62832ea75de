"""Newton's method: curvature computed, as the whole Hessian."""

from __future__ import annotations

from collections.abc import Iterable

from graphdiff.backend import working_on
from graphdiff.errors import MatrixError, OpError
from graphdiff.guard import guarded
from graphdiff.jacobians.jacobian import hessian_of
from graphdiff.op import GRAPH as F
from graphdiff.optim.closures import Closure, FlatParameters, require_no_trace
from graphdiff.optim.groups import require
from graphdiff.tensor import Tensor, Variable

__all__ = ["Newton"]


class Newton:
    """Newton's method: θ ← θ - lr·(H + damping·I)⁻¹·g, with the whole Hessian H; for small problems.

    Parameters
    ----------
    parameters : iterable of Variable
        Of one dtype and backend.
    lr : float
    damping : float
        Added to every curvature. Where the Hessian is not positive definite, plain Newton steps lead to saddle points
        and maxima as well; a damping larger than its most negative eigenvalue leads downhill.

    Attributes
    ----------
    steps : int

    Notes
    -----
    Nocedal and Wright, Numerical Optimization, 2nd edition, section 3.3; damped as by Levenberg (1944).

    Examples
    --------
    >>> import graphdiff as gd
    >>> x = gd.variable([5.0, -7.0])
    >>> loss = gd.optim.Newton([x]).minimize(lambda: (x[0] - 1) ** 2 + 10 * (x[1] - x[0]) ** 2)
    >>> [round(value, 9) for value in x.tolist()]
    [1.0, 1.0]
    """

    @guarded
    def __init__(self, parameters: Iterable[Variable], lr: float = 1.0, damping: float = 0.0) -> None:
        require("lr", lr)
        require("damping", damping)
        self.lr, self.damping = lr, damping
        self._flat = FlatParameters(parameters)
        self.parameters = self._flat.parameters
        self.steps = 0

    def minimize(self, closure: Closure) -> Tensor:
        """Make a step; return the loss as it was before. `.grad` is left alone; if anything fails, nothing changes.

        Parameters
        ----------
        closure : callable
            Without arguments; returns the loss.

        Raises
        ------
        OpError
            The Hessian is singular, or not finite.
        CompileError
            Within a function that is being compiled.
        """
        flat = self._flat
        require_no_trace()
        loss, gradient = flat.evaluate(closure)
        with working_on(flat.backend):
            curvature = hessian_of(loss, self.parameters)
            if self.damping:
                size = curvature.shape[0]
                curvature = curvature + self.damping * F.eye(size, dtype=curvature.dtype)
            slope = Tensor(None, (), {}, gradient, flat.backend, False)
            if not bool(F.all(F.isfinite(curvature))):
                raise OpError("the Hessian is not finite here")
            try:
                step = F.solve(curvature, slope)
            except MatrixError as error:
                raise OpError("the Hessian is singular here; give a damping") from error
        if not bool(flat.F.all(flat.F.isfinite(step.value))):
            raise OpError("the Hessian is singular here, or nearly; give a damping")
        flat.write(flat.read() - self.lr * step.value)
        self.steps += 1
        return loss
