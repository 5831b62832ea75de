"""Multilayer perceptrons as scikit-learn estimators.

They take the parameters of scikit-learn's own `MLPClassifier` and `MLPRegressor` and, in float64, follow them step by
step: the same initial weights, order of examples, objective and updates. scikit-learn is imported here and in the two
modules this one stands on; `graphdiff.train` loads it when an estimator is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from scipy.sparse import issparse
from sklearn.base import ClassifierMixin, RegressorMixin, is_regressor
from sklearn.metrics import accuracy_score, r2_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import Tags, check_random_state, column_or_1d
from sklearn.utils.multiclass import type_of_target, unique_labels
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from graphdiff.backend import use_backend
from graphdiff.host import DType, HostArray
from graphdiff.train.sklearn.network import forward
from graphdiff.train.sklearn.parameters import documented
from graphdiff.train.sklearn.training import Examples, TrainedMLP, dense
from graphdiff.typing import ArrayLike, Function

if TYPE_CHECKING:

    def available_if(check: Function[bool]) -> Callable[[Method], Method]: ...
else:
    from sklearn.utils.metaestimators import available_if  # which would hide a method's type

__all__ = ["MLPClassifier", "MLPRegressor"]

Own = TypeVar("Own", bound="_MLP")
Method = TypeVar("Method")

_SPARSE_ROWS = 1000
"""So many sparse rows at a time are made dense to predict."""


class _MLP(TrainedMLP):
    """What classifier and regressor share: `fit`, and the network's raw output."""

    # What the two kinds do differently ------------------------------------------------------------------------------

    def _encoded(self, y: HostArray, dtype: DType, *, first: bool, classes: ArrayLike | None) -> HostArray:
        """Return the targets as numbers: one for each row, or one for each row and output."""
        raise NotImplementedError

    def _out_activation(self) -> str:
        raise NotImplementedError

    if TYPE_CHECKING:  # scikit-learn's own, which is not typed

        def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float: ...

    def _checked(
        self, X: ArrayLike, y: ArrayLike, *, first: bool, classes: ArrayLike | None
    ) -> tuple[HostArray, HostArray]:
        """Return X, and the targets as a matrix with a column for each output."""
        dtype = self.dtype or [np.float64, np.float32]
        options = {"accept_sparse": "csr", "multi_output": True, "y_numeric": is_regressor(self), "dtype": dtype}
        rows, targets = validate_data(self, X, y, reset=first, **options)
        if targets.ndim == 2 and targets.shape[1] == 1:
            targets = column_or_1d(targets, warn=True)
        encoded = self._encoded(targets, rows.dtype, first=first, classes=classes)
        return rows, encoded[:, None] if encoded.ndim == 1 else encoded

    # Fitting --------------------------------------------------------------------------------------------------------

    def fit(self: Own, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Own:
        """Fit the network.

        Parameters
        ----------
        X : array-like or sparse array of shape (examples, features)
        y : array-like of shape (examples,) or (examples, outputs)
        sample_weight : array-like of shape (examples,), optional
            How much each example counts.

        Returns
        -------
        self
        """
        first = not hasattr(self, "coefs_") or not self.warm_start
        examples = self._begin(X, y, sample_weight, first=first)
        self._trainer = self._made_trainer(examples.X.shape[0])
        if self.solver == "lbfgs":
            self._descend_whole(examples)
        else:
            self._epochs(examples)
        self._require_finite()
        return self

    def _can_partial_fit(self) -> bool:
        if self.solver == "lbfgs":
            raise AttributeError("partial_fit makes steps, which the solver lbfgs does not: it takes the data whole")
        if self.early_stopping:
            raise AttributeError("partial_fit has no validation data, so that there is no early stopping")
        return True

    def _partial_fit(
        self: Own, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None, classes: ArrayLike | None = None
    ) -> Own:
        examples = self._begin(X, y, sample_weight, first=not hasattr(self, "coefs_"), classes=classes)
        self._trainer = self._kept_trainer()
        self._one_pass(examples)
        self._require_finite()
        return self

    def _begin(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None,
        *,
        first: bool,
        classes: ArrayLike | None = None,
    ) -> Examples:
        """Check parameters and data; initialise where it is the first call."""
        self._validate_params()
        hidden = self.hidden_layer_sizes
        hidden = list(hidden) if hasattr(hidden, "__iter__") else [hidden]
        if any(size <= 0 for size in hidden):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        rows, targets = self._checked(X, y, first=first, classes=classes)
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, rows, dtype=rows.dtype, ensure_non_negative=True)
        self._random_state = check_random_state(self.random_state)
        if first:
            self.out_activation_ = self._out_activation()
            self._initialise(rows.shape[1], targets.shape[1], hidden, rows.dtype)
        else:
            self._require_network(rows.shape[1], targets.shape[1], hidden)
        return Examples(rows, targets, weights)

    # Predicting -----------------------------------------------------------------------------------------------------

    def _raw(self, X: ArrayLike) -> HostArray:
        """Return the network's raw output, on the host."""
        check_is_fitted(self)
        given = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        backend = self._backend()
        dtype = np.asarray(self.coefs_[0]).dtype
        # A sparse array may be too large to be made dense at once.
        size = _SPARSE_ROWS if issparse(given) else given.shape[0]
        with use_backend(backend):
            coefs, intercepts = (
                [backend.from_host(np.asarray(array)) for array in arrays] for arrays in (self.coefs_, self.intercepts_)
            )
            found = []
            for start in range(0, given.shape[0], size):
                rows = dense(given[start : start + size]).astype(dtype, copy=False)
                found.append(forward(backend.from_host(rows), coefs, intercepts, self.activation).numpy())
        return np.concatenate(found)  # the caller's own, to write into

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


@documented
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

    classes_: HostArray

    def _encoded(self, y: HostArray, dtype: DType, *, first: bool, classes: ArrayLike | None) -> HostArray:
        if first:
            multilabel = type_of_target(y).startswith("multilabel")  # each label has a column, seen or not
            self._label_binarizer = LabelBinarizer().fit(y if classes is None or multilabel else classes)
            self.classes_ = self._label_binarizer.classes_
        else:
            given, known = set(unique_labels(y)), set(self.classes_)
            if classes is not None and set(np.asarray(classes).flat) != known:
                raise ValueError(f"`classes` is {classes}, and was {self.classes_} in an earlier call to partial_fit")
            if given - known:
                new = np.array(sorted(given - known))
                raise ValueError(f"`y` has the classes {new}, and was fitted to {self.classes_}")
        return np.asarray(self._label_binarizer.transform(y))

    def _out_activation(self) -> str:
        return "softmax" if self._label_binarizer.y_type_ == "multiclass" else "logistic"

    def _targets(self, y: HostArray, dtype: DType) -> HostArray:
        return y.argmax(axis=1) if self.out_activation_ == "softmax" else super()._targets(y, dtype)

    def _score_of(self, raw: HostArray, y: HostArray, sample_weight: HostArray | None) -> float:
        if self.out_activation_ == "softmax":
            return float(accuracy_score(y.argmax(axis=1), raw.argmax(axis=1), sample_weight=sample_weight))
        return float(accuracy_score(y > 0, raw > 0, sample_weight=sample_weight))

    @available_if(_MLP._can_partial_fit)
    def partial_fit(
        self: Own,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        classes: ArrayLike | None = None,
    ) -> Own:
        """Go once over some data, from the weights there are: `coefs_` and `intercepts_` may have been assigned.

        What the optimiser was made with by the first call, its learning rate and momentum among it, it keeps.

        Parameters
        ----------
        X : array-like or sparse array of shape (examples, features)
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

    def predict(self, X: ArrayLike) -> HostArray:
        """Return the class of every row; for labels that don't exclude each other, a matrix of 0 and 1."""
        raw = self._raw(X)
        if self.out_activation_ == "softmax":
            chosen = raw.argmax(axis=1)
        elif len(self.classes_) > 1 and self._label_binarizer.y_type_ != "binary":
            return np.asarray(self._label_binarizer.inverse_transform(raw > 0, threshold=0.5))
        else:
            chosen = (raw[:, 0] > 0) & (len(self.classes_) > 1)
        classes: HostArray = self.classes_[chosen.astype(int)]
        return classes

    def predict_proba(self, X: ArrayLike) -> HostArray:
        """Return the probability of every class, in a row for each example."""
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X: ArrayLike) -> HostArray:
        """Return the logarithm of the probability of every class: finite where the probability itself is 0."""
        raw = self._raw(X)
        if self.out_activation_ == "softmax":
            raw -= raw.max(axis=1, keepdims=True)
            raw -= np.log(np.exp(raw).sum(axis=1, keepdims=True))
            return raw
        if len(self.classes_) == 1:
            return np.zeros_like(raw)
        present: HostArray = -np.logaddexp(0, -raw)
        return present if raw.shape[1] > 1 else np.hstack([-np.logaddexp(0, raw), present])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


@documented
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

    def _encoded(self, y: HostArray, dtype: DType, *, first: bool, classes: ArrayLike | None) -> HostArray:
        outputs = 1 if y.ndim == 1 else y.shape[1]
        if not first and outputs != self.n_outputs_:
            raise ValueError(f"`y` has {outputs} outputs, and had {self.n_outputs_}")
        return y.astype(dtype, copy=False)

    def _out_activation(self) -> str:
        return "identity"

    def _score_of(self, raw: HostArray, y: HostArray, sample_weight: HostArray | None) -> float:
        return float(r2_score(y, raw, sample_weight=sample_weight))

    @available_if(_MLP._can_partial_fit)
    def partial_fit(self: Own, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Own:
        """Go once over some data, from the weights there are: `coefs_` and `intercepts_` may have been assigned.

        What the optimiser was made with by the first call, its learning rate and momentum among it, it keeps.

        Parameters
        ----------
        X : array-like or sparse array of shape (examples, features)
        y : array-like of shape (examples,) or (examples, outputs)
        sample_weight : array-like of shape (examples,), optional

        Returns
        -------
        self
        """
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: ArrayLike) -> HostArray:
        """Return the targets' estimate for every row."""
        raw = self._raw(X)
        return raw[:, 0] if raw.shape[1] == 1 else raw

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
