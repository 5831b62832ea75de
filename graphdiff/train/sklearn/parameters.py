"""The parameters that the scikit-learn estimators share, and what their docstrings say of them."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import ClassVar, TypeVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, Options, StrOptions

from graphdiff.backend import Backend
from graphdiff.train.sklearn.network import ACTIVATIONS

__all__ = ["MLPParameters", "documented"]


class MLPParameters(BaseEstimator):
    """An estimator with the parameters of a network and nothing else, which scikit-learn gets, sets and checks."""

    _parameter_constraints: ClassVar[dict[str, list[object]]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "dtype": [None, StrOptions({"float32", "float64"})],
        "backend": [None, str, Backend],
    }

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dtype: str | None = None,
        backend: str | Backend | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.dtype = dtype
        self.backend = backend


_PARAMETERS = """hidden_layer_sizes : int or sequence of int
        Width of each hidden layer.
    activation : str
        Of the hidden layers: "identity", "logistic", "tanh", "relu"; beyond scikit-learn's also "leaky_relu", "elu",
        "gelu", "softplus".
    solver : {"adam", "sgd", "lbfgs"}
        "lbfgs" takes all examples at once, for small data; with it there are no batches, epochs or early stopping.
    alpha : float
        Strength of the L2 penalty on the weights; as in scikit-learn it is divided by the number of examples of a
        batch.
    batch_size : int or "auto"
        "auto" is 200, or all examples if there are fewer.
    learning_rate : {"constant", "invscaling", "adaptive"}
        Of "sgd": as it is; divided by the `power_t`-th power of the examples seen, after each epoch; divided by 5
        whenever nothing has improved for `n_iter_no_change` epochs.
    learning_rate_init, power_t : float
    max_iter : int
        Epochs at most; of "lbfgs", iterations.
    shuffle : bool
        Take the examples in a new order in every epoch.
    random_state : int, RandomState or None
        For initial weights, the order of examples and the choice of validation data. In float64 it gives the weights
        that scikit-learn's estimator of the same name and parameters gives, to rounding.
    tol : float
        What counts as an improvement; "lbfgs" ends where no component of the gradient is larger.
    verbose : bool
        Print the loss of each epoch.
    warm_start : bool
        Let `fit` go on from the weights there are.
    momentum : float
    nesterovs_momentum : bool
        Of "sgd".
    early_stopping : bool
        Set validation data aside, stop when the score on it no longer improves, and keep the best weights.
    validation_fraction : float
    beta_1, beta_2, epsilon : float
        Of "adam".
    n_iter_no_change : int
        Epochs without an improvement after which training ends.
    max_fun : int
        Of "lbfgs": evaluations of the loss at most.
    dtype : {None, "float32", "float64"}
        What to compute in; by default in the data's own precision, float64 for what is no float. float32 takes about
        half the time.
    backend : str or Backend, optional
        Where to compute, such as "cupy"; by default the current backend."""
_ATTRIBUTES = """n_features_in_, n_iter_, n_layers_, n_outputs_ : int
    coefs_, intercepts_ : list of numpy.ndarray
        Weights and biases, layer by layer.
    loss_, best_loss_ : float
    loss_curve_ : list of float
        The loss of each epoch; of each iteration of "lbfgs", where scikit-learn's estimators have no such attribute.
    validation_scores_, best_validation_score_
        With early stopping: of each epoch, and the best.
    out_activation_ : str"""


Estimator = TypeVar("Estimator", bound=type)


def documented(estimator: Estimator) -> Estimator:
    """Write what both estimators have in common into a docstring."""
    if estimator.__doc__:  # there is none under python -OO
        shared = estimator.__doc__.replace("%(parameters)s", _PARAMETERS).replace("%(attributes)s", _ATTRIBUTES)
        estimator.__doc__ = shared
    return estimator
