"""Multilayer perceptrons as scikit-learn estimators.

They take the parameters of scikit-learn's own `MLPClassifier` and `MLPRegressor` and, in float64, follow them step by
step: the same initial weights, order of examples, objective and updates. scikit-learn is imported here and nowhere else
in the package; `graphdiff.train` loads this module when an estimator is asked for.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target, unique_labels
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from graphdiff.backend import Backend, current_backend, get_backend, use_backend
from graphdiff.optim.curvature import LBFGS
from graphdiff.optim.descent import SGD
from graphdiff.optim.optimizers import Optimizer
from graphdiff.tensor import Variable
from graphdiff.train.network import ACTIVATIONS, Adam, Trainer, forward

__all__ = ["MLPClassifier", "MLPRegressor"]

_FALL = 1e7 * float(np.finfo("float64").eps)
"""By less than this the loss no longer falls, for lbfgs: SciPy's factor."""
AUTO_BATCH = 200
"""Rows of a batch where the estimator chooses, as scikit-learn has it."""


class _MLP(BaseEstimator):
    """What classifier and regressor share."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
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
    _trainer: Trainer

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
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
        backend: Any = None,
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

    # What the two kinds do differently ------------------------------------------------------------------------------

    def _checked(self, X: Any, y: Any, *, first: bool, classes: Any = None) -> tuple[Any, Any]:
        """Return X, and the targets as a matrix with a column for each output."""
        raise NotImplementedError

    def _out_activation(self) -> str:
        raise NotImplementedError

    def _targets(self, y: Any, dtype: Any) -> Any:
        """Return the targets as an unweighted step takes them."""
        return y.astype(dtype, copy=False)

    def _score_of(self, raw: Any, y: Any, sample_weight: Any) -> float:
        """Return the score on validation data, of the network's raw output and the matrix of targets."""
        raise NotImplementedError

    # Fitting --------------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Fit the network.

        Parameters
        ----------
        X : array-like of shape (examples, features)
        y : array-like of shape (examples,) or (examples, outputs)
        sample_weight : array-like of shape (examples,), optional
            How much each example counts.

        Returns
        -------
        self
        """
        self._validate_params()
        first = not hasattr(self, "coefs_") or not self.warm_start
        X, y, sample_weight = self._begin(X, y, sample_weight, first=first)
        self._trainer = self._made_trainer()
        if self.solver == "lbfgs":
            self._descend_whole(X, y, sample_weight)
        else:
            self._epochs(X, y, sample_weight)
        self._require_finite()
        return self

    def _can_partial_fit(self) -> bool:
        if self.solver == "lbfgs":
            raise AttributeError("partial_fit makes steps, which the solver lbfgs does not: it takes the data whole")
        if self.early_stopping:
            raise AttributeError("partial_fit has no validation data, so that there is no early stopping")
        return True

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, classes: Any = None) -> Any:
        self._validate_params()
        first = not hasattr(self, "coefs_")
        X, y, sample_weight = self._begin(X, y, sample_weight, first=first, classes=classes)
        if not hasattr(self, "_trainer"):
            self._trainer = self._made_trainer()
        self._one_pass(X, y, sample_weight)
        self._require_finite()
        return self

    def _begin(self, X: Any, y: Any, sample_weight: Any, *, first: bool, classes: Any = None) -> tuple[Any, Any, Any]:
        """Check data; initialise where it is the first call."""
        hidden = self.hidden_layer_sizes
        hidden = list(hidden) if hasattr(hidden, "__iter__") else [hidden]
        if any(size <= 0 for size in hidden):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        X, y = self._checked(X, y, first=first, classes=classes)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        self._random_state = check_random_state(self.random_state)
        if first:
            self.__dict__.pop("_trainer", None)
            self.n_iter_, self.t_ = 0, 0
            self.n_outputs_ = y.shape[1]
            units = [X.shape[1], *hidden, y.shape[1]]
            self.n_layers_ = len(units)
            self.out_activation_ = self._out_activation()
            self.coefs_, self.intercepts_ = [], []
            for fan_in, fan_out in zip(units, units[1:]):
                bound = math.sqrt((2.0 if self.activation == "logistic" else 6.0) / (fan_in + fan_out))
                coef = self._random_state.uniform(-bound, bound, (fan_in, fan_out))
                self.coefs_.append(coef.astype(X.dtype, copy=False))
                self.intercepts_.append(self._random_state.uniform(-bound, bound, fan_out).astype(X.dtype, copy=False))
            self.loss_curve_: list[float] = []
            self._without_improvement = 0
            self.best_loss_: float | None = None if self.early_stopping else math.inf
            self.validation_scores_: list[float] | None = [] if self.early_stopping else None
            self.best_validation_score_: float | None = -math.inf if self.early_stopping else None
        return X, y, sample_weight

    def _made_trainer(self) -> Trainer:
        def make_optimizer(parameters: list[Variable]) -> Optimizer | LBFGS:
            if self.solver == "lbfgs":
                # Limits and memory are SciPy's, which scikit-learn uses.
                limits: Any = {"iterations": self.max_iter, "evaluations": self.max_fun, "history": 10}
                return LBFGS(parameters, tolerance_gradient=self.tol, tolerance_change=_FALL, **limits)
            if self.solver == "adam":
                return Adam(parameters, self.learning_rate_init, (self.beta_1, self.beta_2), self.epsilon)
            nesterov = bool(self.nesterovs_momentum and self.momentum)
            return SGD(parameters, self.learning_rate_init, momentum=self.momentum, nesterov=nesterov)

        return Trainer(
            self.coefs_,
            self.intercepts_,
            self.activation,
            self.out_activation_,
            self.alpha,
            self._backend(),
            make_optimizer,
        )

    def _backend(self) -> Backend:
        return current_backend() if self.backend is None else get_backend(self.backend)

    def _batch_rows(self, rows: int) -> int:
        if self.batch_size == "auto":
            return min(AUTO_BATCH, rows)
        if self.batch_size > rows:
            warnings.warn(f"batch_size is {self.batch_size} and there are {rows} examples: it is {rows}", stacklevel=4)
        return min(self.batch_size, rows)

    def _batches(self, order: Any, arrays: list[Any]) -> Iterator[tuple[Any, ...]]:
        """Yield one epoch's batches, on the backend; a batch on the host lasts until the next is asked for."""
        size, backend = self._batch_rows(len(order)), self._trainer.backend
        if self.shuffle and backend.from_host(arrays[0]) is arrays[0]:
            # Into one place that stays in the cache, which takes a third of the time of a copy of everything.
            places = [np.empty((size, *array.shape[1:]), dtype=array.dtype) for array in arrays]
            for start in range(0, len(order), size):
                rows = order[start : start + size]
                batch = [place[: len(rows)] for place in places]
                for array, place in zip(arrays, batch, strict=True):
                    np.take(array, rows, axis=0, out=place, mode="clip")  # any other mode fills a copy first
                yield tuple(batch)
            return
        if self.shuffle:
            arrays = [array[order] for array in arrays]
        for start in range(0, len(order), size):
            yield tuple(backend.from_host(array[start : start + size]) for array in arrays)

    def _descend_whole(self, X: Any, y: Any, sample_weight: Any) -> None:
        """Train on all examples at once, with L-BFGS."""
        trainer, optimizer = self._trainer, self._trainer.optimizer
        targets = self._targets(y, X.dtype) if sample_weight is None else y.astype(X.dtype, copy=False)
        arrays = [X, targets] if sample_weight is None else [X, targets, sample_weight]
        with use_backend(trainer.backend):
            self.loss_ = self.best_loss_ = trainer.descend_whole(*map(trainer.backend.from_host, arrays))
        self.n_iter_ = optimizer.steps
        if self.verbose:
            print(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")
        if not optimizer.converged:
            warnings.warn(
                f"lbfgs has not converged after {self.n_iter_} iterations and {optimizer.evaluations_made} "
                "evaluations: increase max_iter or max_fun, or scale the data",
                ConvergenceWarning,
                stacklevel=3,
            )
        self.coefs_, self.intercepts_ = trainer.coefs()

    def _epochs(self, X: Any, y: Any, sample_weight: Any) -> None:
        """Train until nothing improves, or for max_iter epochs."""
        trainer, optimizer = self._trainer, self._trainer.optimizer
        held_out = None
        if self.early_stopping:
            X, y, sample_weight, held_out = self._split(X, y, sample_weight)
            best = self.coefs_, self.intercepts_
        if sample_weight is None:
            step, arrays = trainer.step, [X, self._targets(y, X.dtype)]
        else:
            step, arrays = trainer.weighted_step, [X, y.astype(X.dtype, copy=False), sample_weight]
        order = np.arange(len(X))
        self.n_iter_ = 0
        try:
            with use_backend(trainer.backend):
                for _ in range(self.max_iter):
                    order = self._next_order(order)
                    losses = [(batch[0].shape[0], step(*batch)) for batch in self._batches(order, arrays)]
                    self._note(sum(rows * float(loss) for rows, loss in losses) / len(X), len(X))
                    if self._improved(held_out) and held_out is not None:
                        best = trainer.coefs()
                    if self.solver == "sgd" and self.learning_rate == "invscaling":
                        optimizer.lr = self.learning_rate_init / (self.t_ + 1) ** self.power_t
                    if self._without_improvement > self.n_iter_no_change and self._stops(optimizer):
                        break
                else:
                    warnings.warn(
                        f"Maximum iterations ({self.max_iter}) reached and the optimization hasn't converged yet.",
                        ConvergenceWarning,
                        stacklevel=3,
                    )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=3)
        self.coefs_, self.intercepts_ = trainer.coefs() if held_out is None else best

    def _one_pass(self, X: Any, y: Any, sample_weight: Any) -> None:
        """Train on what `partial_fit` was given, once."""
        trainer = self._trainer
        weights = np.ones(len(X), dtype=X.dtype) if sample_weight is None else sample_weight
        order = self._next_order(np.arange(len(X)))
        most = AUTO_BATCH if self.batch_size == "auto" else self.batch_size
        losses = []
        with use_backend(trainer.backend):
            batch = min(most, len(X))
            for start in range(0, len(X), batch):
                rows = order[start : start + batch]
                given = [X[rows], y[rows].astype(X.dtype, copy=False), weights[rows]]
                filling = trainer.padded(len(rows), most) - len(rows)
                if filling:
                    given = [np.pad(array, ((0, filling), *((0, 0),) * (array.ndim - 1))) for array in given]
                losses.append((len(rows), trainer.weighted_step(*map(trainer.backend.from_host, given))))
        self.n_iter_ = 0
        self._note(sum(rows * float(loss) for rows, loss in losses) / len(X), len(X))
        self._improved(None)
        self.coefs_, self.intercepts_ = trainer.coefs()

    def _next_order(self, order: Any) -> Any:
        if not self.shuffle:
            return order
        places = np.arange(len(order))
        self._random_state.shuffle(places)
        return order[places]

    def _note(self, loss: float, rows: int) -> None:
        """Record the loss of an epoch."""
        self.n_iter_ += 1
        self.t_ += rows
        self.loss_ = loss
        self.loss_curve_.append(loss)
        if self.verbose:
            print(f"Iteration {self.n_iter_}, loss = {loss:.8f}")

    def _improved(self, held_out: Any) -> bool:
        """Measure the validation score, or take the loss; count epochs without improvement; say whether it is best."""
        if held_out is None:
            best_loss = math.inf if self.best_loss_ is None else self.best_loss_
            stuck = self.loss_ > best_loss - self.tol
            better = self.loss_ < best_loss
            self.best_loss_ = min(best_loss, self.loss_)
        else:
            X, y, sample_weight = held_out
            raw = self._trainer.predict(self._trainer.backend.from_host(X)).numpy()
            score = self._score_of(raw, y, sample_weight) if np.isfinite(raw).all() else math.nan
            assert self.validation_scores_ is not None
            assert self.best_validation_score_ is not None
            self.validation_scores_.append(score)
            if self.verbose:
                print(f"Validation score: {score:f}")
            stuck = score < self.best_validation_score_ + self.tol
            better = score > self.best_validation_score_
            if better:
                self.best_validation_score_ = score
        self._without_improvement = self._without_improvement + 1 if stuck else 0
        return better

    def _stops(self, optimizer: Optimizer) -> bool:
        """Whether training ends where nothing has improved for long: an adaptive rate is lowered first."""
        if self.solver == "sgd" and self.learning_rate == "adaptive" and optimizer.lr > 1e-6:
            optimizer.lr /= 5.0
            self._without_improvement = 0
            return False
        if self.verbose:
            measured = "Validation score" if self.early_stopping else "Training loss"
            print(
                f"{measured} did not improve more than tol={self.tol:f} for {self.n_iter_no_change} epochs. Stopping."
            )
        return True

    def _split(self, X: Any, y: Any, sample_weight: Any) -> tuple[Any, Any, Any, Any]:
        """Set validation data aside."""
        arrays = [X, y] if sample_weight is None else [X, y, sample_weight]
        stratify = y if is_classifier(self) and self.n_outputs_ == 1 else None
        parts = train_test_split(
            *arrays, random_state=self._random_state, test_size=self.validation_fraction, stratify=stratify
        )
        weights = parts[4:] or [None, None]
        if len(parts[1]) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        return parts[0], parts[2], weights[0], (parts[1], parts[3], weights[1])

    def _require_finite(self) -> None:
        if not all(np.isfinite(weights).all() for weights in (*self.coefs_, *self.intercepts_)):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
                "preprocessed."
            )

    # Predicting -----------------------------------------------------------------------------------------------------

    def _raw(self, X: Any) -> Any:
        """Return the network's raw output, on the host."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        backend = self._backend()
        with use_backend(backend):
            dtype = self.coefs_[0].dtype
            x, *arrays = map(backend.from_host, [X.astype(dtype, copy=False), *self.coefs_, *self.intercepts_])
            half = len(arrays) // 2
            return forward(x, arrays[:half], arrays[half:], self.activation).numpy()


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
        The loss of each epoch; empty after "lbfgs".
    validation_scores_, best_validation_score_
        With early stopping: of each epoch, and the best.
    out_activation_ : str"""


def _documented(estimator: Any) -> Any:
    """Write what both estimators have in common into a docstring."""
    if estimator.__doc__:  # there is none under python -OO
        shared = estimator.__doc__.replace("%(parameters)s", _PARAMETERS).replace("%(attributes)s", _ATTRIBUTES)
        estimator.__doc__ = shared
    return estimator


@_documented
class MLPClassifier(ClassifierMixin, _MLP):
    """A multilayer perceptron that classifies, as a scikit-learn estimator.

    Minimises cross-entropy: of softmax for several classes, of a logistic output for two, of one logistic output per
    label for a matrix of labels.

    Parameters
    ----------
    %(parameters)s

    Attributes
    ----------
    classes_ : numpy.ndarray
    %(attributes)s

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> import graphdiff as gd
    >>> X, X_test, y, y_test = train_test_split(*load_digits(return_X_y=True), random_state=0)
    >>> network = gd.train.MLPClassifier((32,), learning_rate_init=0.01, max_iter=20, random_state=0)
    >>> import warnings; warnings.simplefilter("ignore")  # twenty epochs are few, and it says so
    >>> pipeline = make_pipeline(StandardScaler(), network).fit(X, y)
    >>> pipeline.score(X_test, y_test) > 0.9
    True
    >>> pipeline.predict_proba(X_test[:3]).shape
    (3, 10)
    """

    def _checked(self, X: Any, y: Any, *, first: bool, classes: Any = None) -> tuple[Any, Any]:
        X, y = validate_data(self, X, y, multi_output=True, dtype=self.dtype or [np.float64, np.float32], reset=first)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if first:
            multilabel = type_of_target(y).startswith("multilabel")  # each label has a column, seen or not
            self._label_binarizer = LabelBinarizer().fit(y if classes is None or multilabel else classes)
            self.classes_ = self._label_binarizer.classes_
        else:
            given, known = set(unique_labels(y)), set(self.classes_)
            if classes is not None and set(np.unique(classes)) != known:
                raise ValueError(f"`classes` is {classes}, and was {self.classes_} in an earlier call to partial_fit")
            if given - known:
                raise ValueError(f"`y` has classes {sorted(given - known)}, which are not in {self.classes_}")
        y = self._label_binarizer.transform(y)
        return X, y[:, None] if y.ndim == 1 else y

    def _out_activation(self) -> str:
        return "softmax" if self._label_binarizer.y_type_ == "multiclass" else "logistic"

    def _targets(self, y: Any, dtype: Any) -> Any:
        return y.argmax(axis=1) if self.out_activation_ == "softmax" else super()._targets(y, dtype)

    def _score_of(self, raw: Any, y: Any, sample_weight: Any) -> float:
        if self.out_activation_ == "softmax":
            return float(accuracy_score(y.argmax(axis=1), raw.argmax(axis=1), sample_weight=sample_weight))
        return float(accuracy_score(y > 0, raw > 0, sample_weight=sample_weight))

    @available_if(_MLP._can_partial_fit)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Any:
        """Go once over some data.

        Parameters
        ----------
        X : array-like of shape (examples, features)
        y : array-like of shape (examples,) or (examples, labels)
        sample_weight : array-like of shape (examples,), optional
        classes : array-like, optional
            All classes there are; needed at the first call, may be left out later.

        Returns
        -------
        self
        """
        if not hasattr(self, "classes_") and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        return self._partial_fit(X, y, sample_weight, classes)

    def predict(self, X: Any) -> Any:
        """Return the class of every row; for labels that don't exclude each other, a matrix of 0 and 1."""
        raw = self._raw(X)
        if self.out_activation_ == "softmax":
            return self.classes_[raw.argmax(axis=1)]
        if self._label_binarizer.y_type_ == "binary":
            return self.classes_[(raw[:, 0] > 0).astype(int)]
        return self._label_binarizer.inverse_transform(raw > 0, threshold=0.5)

    def predict_proba(self, X: Any) -> Any:
        """Return the probability of every class, in a row for each example."""
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X: Any) -> Any:
        """Return the logarithm of the probability of every class: finite where the probability itself is 0."""
        raw = self._raw(X)
        if self.out_activation_ == "softmax":
            raw = raw - raw.max(axis=1, keepdims=True)
            return raw - np.log(np.exp(raw).sum(axis=1, keepdims=True))
        present = -np.logaddexp(0, -raw)
        return present if raw.shape[1] > 1 else np.hstack([-np.logaddexp(0, raw), present])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


@_documented
class MLPRegressor(RegressorMixin, _MLP):
    """A multilayer perceptron for numbers, as a scikit-learn estimator.

    Minimises half the squared error, summed over the outputs; the loss that it reports is their mean.

    Parameters
    ----------
    %(parameters)s

    Attributes
    ----------
    %(attributes)s

    Examples
    --------
    >>> import numpy as np
    >>> import graphdiff as gd
    >>> X = np.linspace(-1, 1, 200)[:, None]
    >>> network = gd.train.MLPRegressor((16,), solver="sgd", learning_rate_init=0.1, batch_size=20, random_state=0)
    >>> round(network.fit(X, np.abs(X[:, 0])).score(X, np.abs(X[:, 0])), 1)
    1.0
    """

    def _checked(self, X: Any, y: Any, *, first: bool, classes: Any = None) -> tuple[Any, Any]:
        dtype = self.dtype or [np.float64, np.float32]
        X, y = validate_data(self, X, y, multi_output=True, y_numeric=True, dtype=dtype, reset=first)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        y = y[:, None] if y.ndim == 1 else y
        if not first and y.shape[1] != self.n_outputs_:
            raise ValueError(f"`y` has {y.shape[1]} outputs, and had {self.n_outputs_}")
        return X, y.astype(X.dtype, copy=False)

    def _out_activation(self) -> str:
        return "identity"

    def _score_of(self, raw: Any, y: Any, sample_weight: Any) -> float:
        return float(r2_score(y, raw, sample_weight=sample_weight))

    @available_if(_MLP._can_partial_fit)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Go once over some data.

        Parameters
        ----------
        X : array-like of shape (examples, features)
        y : array-like of shape (examples,) or (examples, outputs)
        sample_weight : array-like of shape (examples,), optional

        Returns
        -------
        self
        """
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Any) -> Any:
        """Return the targets' estimate for every row."""
        raw = self._raw(X)
        return raw[:, 0] if raw.shape[1] == 1 else raw

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
