"""How the scikit-learn estimators train: epochs of batches, one pass over some data, or L-BFGS on all of them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from graphdiff.backend import Backend, current_backend, get_backend, use_backend
from graphdiff.host import DType, HostArray
from graphdiff.optim.lbfgs import LBFGS
from graphdiff.optim.optimizers import Optimizer
from graphdiff.tensor import Tensor, Variable
from graphdiff.train.sklearn.network import SGD, AdamUncorrectedEpsilon, Trainer
from graphdiff.train.sklearn.parameters import MLPParameters
from graphdiff.typing import ArrayData, Function

__all__ = ["Examples", "TrainedMLP", "batches_of", "dense"]

_FALL = 1e7 * float(np.finfo("float64").eps)
"""By less than this the loss no longer falls, for lbfgs: SciPy's factor."""
_AUTO_BATCH = 200
"""Rows of a batch where the estimator chooses, as scikit-learn has it."""
_LEAST_RATE = 1e-6
"""An adaptive learning rate is lowered no more than to about here."""


_SOLVING = (
    *("solver", "learning_rate", "learning_rate_init", "power_t", "momentum", "nesterovs_momentum"),
    *("beta_1", "beta_2", "epsilon", "backend"),
)
"""What an optimiser is made with, and keeps as long as it lasts."""


class Examples(NamedTuple):
    """Rows of inputs, which may be sparse, their targets as a matrix, and how much each counts."""

    X: HostArray | csr_array
    y: HostArray
    weights: HostArray | None = None


def dense(rows: HostArray | csr_array) -> HostArray:
    """Return rows that may be sparse as an array that lies by rows.

    Products of matrices that lie otherwise are summed in another order: sparse and dense inputs would train apart.
    """
    return np.ascontiguousarray(rows if isinstance(rows, np.ndarray) else rows.toarray(order="C"))


def batches_of(
    order: HostArray, arrays: Sequence[HostArray | csr_array], size: int, backend: Backend, *, shuffled: bool
) -> Iterator[tuple[ArrayData, ...]]:
    """Yield one epoch's batches, on the backend; a batch on the host lasts until the next is asked for."""
    if not shuffled:
        for start in range(0, len(order), size):
            yield tuple(backend.from_host(dense(array[start : start + size])) for array in arrays)
    elif backend.from_host(arrays[-1]) is arrays[-1]:
        yield from _gathered(order, arrays, size)
    else:
        yield from batches_of(order, [array[order] for array in arrays], size, backend, shuffled=False)


def _gathered(order: HostArray, arrays: Sequence[HostArray | csr_array], size: int) -> Iterator[tuple[HostArray, ...]]:
    """Yield batches in one place that stays in the cache: a third of the time of a copy of everything."""
    places = [np.empty((size, *array.shape[1:]), dtype=array.dtype) for array in arrays]
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        batch = tuple(place[: len(rows)] for place in places)
        for array, place in zip(arrays, batch, strict=True):
            if isinstance(array, np.ndarray):
                np.take(array, rows, axis=0, out=place, mode="clip")  # any other mode fills a copy first
            else:
                array[rows].toarray(out=place)
        yield batch


class TrainedMLP(MLPParameters):
    """An estimator that has a network and trains it; a subclass brings data and targets into shape."""

    _trainer: Trainer
    _solving: dict[str, Any]
    n_outputs_: int
    out_activation_: str
    coefs_: list[HostArray]
    intercepts_: list[HostArray]
    best_loss_: float | None
    validation_scores_: list[float] | None
    best_validation_score_: float | None
    loss_curve_: list[float]

    # What classifier and regressor do differently -------------------------------------------------------------------

    def _targets(self, y: HostArray, dtype: DType) -> HostArray:
        """Return the targets as an unweighted step takes them."""
        return y.astype(dtype, copy=False)

    def _score_of(self, raw: HostArray, y: HostArray, sample_weight: HostArray | None) -> float:
        """Return the score on validation data, of the network's raw output and the matrix of targets."""
        raise NotImplementedError

    # The network ----------------------------------------------------------------------------------------------------

    def _initialise(self, features: int, outputs: int, hidden: Sequence[int], dtype: DType) -> None:
        """Draw weights as scikit-learn does, and forget what was learnt and measured."""
        self.__dict__.pop("_trainer", None)
        self.n_iter_, self.t_ = 0, 0
        self.n_outputs_ = outputs
        units = [features, *hidden, outputs]
        self.n_layers_ = len(units)
        self.coefs_, self.intercepts_ = [], []
        for fan_in, fan_out in zip(units, units[1:]):
            bound = math.sqrt((2.0 if self.activation == "logistic" else 6.0) / (fan_in + fan_out))
            coef = self._random_state.uniform(-bound, bound, (fan_in, fan_out))
            self.coefs_.append(coef.astype(dtype, copy=False))
            self.intercepts_.append(self._random_state.uniform(-bound, bound, fan_out).astype(dtype, copy=False))
        self.loss_curve_ = []
        self._without_improvement = 0
        self.best_loss_, self.validation_scores_, self.best_validation_score_ = math.inf, None, None
        if self.early_stopping:
            self._begin_scores()

    def _require_network(self, features: int, outputs: int, hidden: Sequence[int]) -> None:
        """Refuse to go on with weights of other layers than the parameters say."""
        units = [features, *hidden, outputs]
        self.coefs_, self.intercepts_ = (list(map(np.asarray, given)) for given in (self.coefs_, self.intercepts_))
        shapes = [array.shape for array in (*self.coefs_, *self.intercepts_)]
        if shapes != [*zip(units, units[1:]), *((width,) for width in units[1:])]:
            raise ValueError(
                f"training goes on with coefs_ and intercepts_ of shapes {shapes}, and {features} features, "
                f"hidden_layer_sizes={tuple(hidden)} and {outputs} outputs make other layers"
            )

    def _made_trainer(self, rows: int | None = None) -> Trainer:
        """Return a trainer; of how many rows, if it is known that all epochs are of them."""
        self._solving = {name: getattr(self, name) for name in _SOLVING}
        return Trainer(
            self.coefs_,
            self.intercepts_,
            self.activation,
            self.out_activation_,
            self.alpha,
            self._backend(),
            self._made_optimizer,
            calls=None if rows is None else self.max_iter * -(-rows // min(self._most_rows, rows)),
        )

    def _kept_trainer(self) -> Trainer:
        """Return a trainer of the weights and parameters as they are now, with the optimiser of earlier calls."""
        trainer: Trainer | None = self.__dict__.get("_trainer")
        if trainer is None or isinstance(trainer.optimizer, LBFGS):
            return self._made_trainer()
        changed = [name for name, value in self._solving.items() if getattr(self, name) != value]
        if changed:
            warnings.warn(
                f"the optimiser goes on with the {', '.join(changed)} that it was made with: the first call of fit or "
                "partial_fit fixes them, as in scikit-learn",
                stacklevel=4,
            )
        trainer.go_on(self.coefs_, self.intercepts_, self.activation, self.alpha)
        return trainer

    def _made_optimizer(self, parameters: list[Variable]) -> Optimizer | LBFGS:
        if self.solver == "lbfgs":
            # Limits and memory are SciPy's, which scikit-learn uses.
            limits = {"iterations": self.max_iter, "evaluations": self.max_fun, "history": 10}
            return LBFGS(parameters, tolerance_gradient=self.tol, tolerance_change=_FALL, **limits)
        if self.solver == "adam":
            return AdamUncorrectedEpsilon(parameters, self.learning_rate_init, (self.beta_1, self.beta_2), self.epsilon)
        return SGD(parameters, self.learning_rate_init, self.momentum, self.nesterovs_momentum)

    def _backend(self) -> Backend:
        return current_backend() if self.backend is None else get_backend(self.backend)

    def _step_and_arrays(self, examples: Examples) -> tuple[Function[Tensor], list[HostArray | csr_array]]:
        """Return the compiled step, and what its batches are cut from."""
        X, y, weights = examples
        if weights is None:
            return self._trainer.step, [X, self._targets(y, X.dtype)]
        return self._trainer.weighted_step, [X, y.astype(X.dtype, copy=False), weights]

    # All examples at once -------------------------------------------------------------------------------------------

    def _descend_whole(self, examples: Examples) -> None:
        """Train with L-BFGS."""
        trainer, optimizer = self._trainer, self._trainer.optimizer
        _, arrays = self._step_and_arrays(examples)
        with use_backend(trainer.backend):
            curve, self.loss_ = trainer.descend_whole(*map(trainer.backend.from_host, map(dense, arrays)))
        self.loss_curve_ += curve
        self.best_loss_ = self.loss_
        self.n_iter_ = optimizer.steps
        self._say(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")
        if not optimizer.converged:
            warnings.warn(
                f"lbfgs has not converged after {self.n_iter_} iterations and {optimizer.evaluations_made} "
                "evaluations: increase max_iter or max_fun, or scale the data",
                ConvergenceWarning,
                stacklevel=3,
            )
        self.coefs_, self.intercepts_ = trainer.coefs()

    # Epochs of batches ----------------------------------------------------------------------------------------------

    def _epochs(self, examples: Examples) -> None:
        """Train until nothing improves, or for max_iter epochs."""
        trainer, held_out = self._trainer, None
        best = self.coefs_, self.intercepts_
        if self.early_stopping:
            self._begin_scores()
            examples, held_out = self._split(examples)
        step, arrays = self._step_and_arrays(examples)
        rows = examples.X.shape[0]
        size, order = self._batch_rows(rows), np.arange(rows)
        self.n_iter_ = 0
        try:
            with use_backend(trainer.backend):
                for _ in range(self.max_iter):
                    order = self._next_order(order)
                    batches = batches_of(order, arrays, size, trainer.backend, shuffled=self.shuffle)
                    self._note([(batch[0].shape[0], step(*batch)) for batch in batches])
                    if self._improved(held_out) and held_out is not None:
                        best = trainer.coefs()
                    if self._ends():
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

    def _begin_scores(self) -> None:
        """Have validation scores to compare with: the weights may have been trained without."""
        if self.best_validation_score_ is None:
            self.best_loss_, self.validation_scores_, self.best_validation_score_ = None, [], -math.inf

    def _split(self, examples: Examples) -> tuple[Examples, Examples]:
        """Set validation data aside."""
        X, y, weights = examples
        stratify = y if is_classifier(self) and self.n_outputs_ == 1 else None
        parts = train_test_split(
            *([X, y] if weights is None else [X, y, weights]),
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=stratify,
        )
        kept, held_out = Examples(*parts[0::2]), Examples(*parts[1::2])
        if held_out.X.shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        return kept, held_out

    def _batch_rows(self, rows: int) -> int:
        if self._most_rows > rows and self.batch_size != "auto":
            warnings.warn(f"batch_size is {self.batch_size} and there are {rows} examples: it is {rows}", stacklevel=4)
        return min(self._most_rows, rows)

    @property
    def _most_rows(self) -> int:
        return _AUTO_BATCH if isinstance(self.batch_size, str) else self.batch_size

    def _next_order(self, order: HostArray) -> HostArray:
        if not self.shuffle:
            return order
        places = np.arange(len(order))
        self._random_state.shuffle(places)
        return order[places]

    def _note(self, losses: Sequence[tuple[int, Tensor]]) -> None:
        """Record an epoch, of the rows and the loss of each of its batches."""
        rows = sum(count for count, _ in losses)
        self.n_iter_ += 1
        self.t_ += rows
        self.loss_ = sum(count * float(loss) for count, loss in losses) / rows
        self.loss_curve_.append(self.loss_)
        self._say(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")

    def _improved(self, held_out: Examples | None) -> bool:
        """Compare an epoch with the best; count those in a row that are no improvement; say whether it is best."""
        better, stuck = self._loss_improved() if held_out is None else self._score_improved(held_out)
        self._without_improvement = self._without_improvement + 1 if stuck else 0
        return better

    def _loss_improved(self) -> tuple[bool, bool]:
        """Return whether the loss is the least so far, and whether it is not so by more than the tolerance."""
        best = math.inf if self.best_loss_ is None else self.best_loss_
        self.best_loss_ = min(best, self.loss_)
        return self.loss_ < best, self.loss_ > best - self.tol

    def _score_improved(self, held_out: Examples) -> tuple[bool, bool]:
        """Return the same for the score on validation data, and record that."""
        raw = self._trainer.predict(self._trainer.backend.from_host(dense(held_out.X))).numpy()
        score = self._score_of(raw, held_out.y, held_out.weights) if np.isfinite(raw).all() else math.nan
        best = self.best_validation_score_
        assert self.validation_scores_ is not None
        assert best is not None
        self.validation_scores_.append(score)
        self._say(f"Validation score: {score:f}")
        if score > best:
            self.best_validation_score_ = score
        return score > best, score < best + self.tol

    def _ends(self) -> bool:
        """Whether training ends after this epoch; if not, the learning rate goes where its schedule has it."""
        optimizer, solving = self._trainer.optimizer, self._solving
        schedule = solving["learning_rate"] if solving["solver"] == "sgd" else "constant"
        if schedule == "invscaling":
            optimizer.lr = solving["learning_rate_init"] / (self.t_ + 1) ** solving["power_t"]
        if self._without_improvement <= self.n_iter_no_change:
            return False
        if schedule == "adaptive" and optimizer.lr > _LEAST_RATE:
            optimizer.lr /= 5.0
            self._without_improvement = 0
            return False
        measured = "Validation score" if self.early_stopping else "Training loss"
        self._say(
            f"{measured} did not improve more than tol={self.tol:f} for {self.n_iter_no_change} epochs. Stopping."
        )
        return True

    def _say(self, line: str) -> None:
        if self.verbose:
            print(line)

    # One pass -------------------------------------------------------------------------------------------------------

    def _one_pass(self, examples: Examples) -> None:
        """Train on what `partial_fit` was given, once."""
        trainer = self._trainer
        X, y, weights = examples
        count = X.shape[0]
        weights = np.ones(count, dtype=X.dtype) if weights is None else weights
        order = self._next_order(np.arange(count))
        size = min(self._most_rows, count)
        losses = []
        with use_backend(trainer.backend):
            for start in range(0, count, size):
                rows = order[start : start + size]
                given = [dense(X[rows]), y[rows].astype(X.dtype, copy=False), weights[rows]]
                filling = trainer.padded(len(rows), self._most_rows) - len(rows)
                if filling:
                    given = [np.pad(array, ((0, filling), *((0, 0),) * (array.ndim - 1))) for array in given]
                losses.append((len(rows), trainer.weighted_step(*map(trainer.backend.from_host, given))))
        self.n_iter_ = 0
        self._note(losses)
        self._improved(None)
        self._ends()
        self.coefs_, self.intercepts_ = trainer.coefs()

    def _require_finite(self) -> None:
        if not all(np.isfinite(weights).all() for weights in (*self.coefs_, *self.intercepts_)):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
                "preprocessed."
            )
