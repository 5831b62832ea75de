"""The scikit-learn estimators: scikit-learn's own checks, and the same training as scikit-learn's own networks."""

import pickle
import subprocess
import sys
import warnings
from inspect import signature
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn import neural_network
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits, load_iris, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator
from test_toy_backend import STRICT

import graphdiff as gd
from graphdiff.train import MLPClassifier, MLPRegressor
from graphdiff.train.sklearn.training import batches_of

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Got `batch_size`"),
]

X, Y = load_digits(return_X_y=True)
X = X[:500] / 16
Y = Y[:500]
Z, T = load_diabetes(return_X_y=True)
FLOWERS = load_iris(return_X_y=True)
Z, T = Z / Z.std(axis=0), T / 100
ESTIMATORS = [MLPClassifier(), MLPRegressor(), MLPClassifier(solver="sgd", dtype="float64", early_stopping=False)]
# With a weak penalty lbfgs fits the checks' data so well that probabilities round to 0 and 1, which two checks refuse.
ESTIMATORS += [MLPClassifier(solver="lbfgs", alpha=1.0), MLPRegressor(solver="lbfgs")]
CHECKS = [(e, check) for estimator in ESTIMATORS for e, check in estimator_checks_generator(estimator)]


def called(check: Any) -> str:
    return check.func.__name__ if hasattr(check, "func") else type(check).__name__


@pytest.mark.parametrize(("estimator", "check"), CHECKS, ids=lambda value: called(value))
def test_scikit_learns_own_check(estimator: Any, check: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


PAIRS = [
    ("adam", {}),
    ("adam with early stopping", {"early_stopping": True, "max_iter": 40, "n_iter_no_change": 3}),
    ("adam, no penalty, in order", {"alpha": 0.0, "shuffle": False, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-3}),
    ("sgd", {"solver": "sgd", "learning_rate_init": 0.05}),
    ("plain sgd", {"solver": "sgd", "momentum": 0.0, "nesterovs_momentum": False, "batch_size": 32}),
    ("momentum", {"solver": "sgd", "nesterovs_momentum": False, "activation": "logistic"}),
    ("two layers", {"hidden_layer_sizes": (20, 15), "activation": "tanh", "alpha": 0.1}),
    ("no hidden layer", {"hidden_layer_sizes": ()}),
    ("identity", {"hidden_layer_sizes": 7, "activation": "identity"}),
    ("adaptive", {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 2, "tol": 1e-1, "momentum": 0.0}),
    ("inverse scaling", {"solver": "sgd", "learning_rate": "invscaling", "momentum": 0.0, "learning_rate_init": 0.05}),
]


def apart(own: Any, peer: Any) -> float:
    """Return by how much the weights of two networks differ."""
    pairs = zip((*own.coefs_, *own.intercepts_), (*peer.coefs_, *peer.intercepts_), strict=True)
    return max(float(np.abs(ours - theirs).max()) for ours, theirs in pairs)


def targets(kind: str) -> tuple[Any, Any]:
    if kind == "multiclass":
        return X, np.array(list("abcdefghij"))[Y]
    if kind == "binary":
        return X, np.where(Y > 4, "large", "small")
    if kind == "multilabel":
        return X, np.stack([Y > 4, Y % 2 == 0, Y == 3], axis=1).astype(int)
    return Z, T if kind == "regression" else np.stack([T, T**2, -T], axis=1)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel", "regression", "outputs"])
@pytest.mark.parametrize("options", [options for _, options in PAIRS], ids=[name for name, _ in PAIRS])
def test_training_is_that_of_scikit_learn(kind: str, options: dict[str, Any], weighted: bool) -> None:
    inputs, y = targets(kind)
    if "early_stopping" in options and y.dtype.kind == "U":  # scikit-learn could not score texts for some time
        y = np.unique(y, return_inverse=True)[1]
    weights = {"sample_weight": np.random.default_rng(0).integers(0, 3, len(inputs))} if weighted else {}
    options = {"max_iter": 12, "random_state": 3} | options
    if weighted and "sample_weight" not in signature(neural_network.MLPClassifier.fit).parameters:
        pytest.skip("this scikit-learn's networks take no weights")
    pair: list[Any] = []
    for module in (gd.train, neural_network):
        estimator = module.MLPRegressor if kind in ("regression", "outputs") else module.MLPClassifier
        pair.append(estimator(**options).fit(inputs, y, **weights))
    own, peer = pair
    np.testing.assert_allclose(own.loss_curve_, peer.loss_curve_, rtol=1e-7)
    for ours, theirs in zip((*own.coefs_, *own.intercepts_), (*peer.coefs_, *peer.intercepts_), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-8)
    for name in ("n_iter_", "n_features_in_", "n_layers_", "n_outputs_", "out_activation_", "t_"):
        assert getattr(own, name) == getattr(peer, name), name
    for name in ("best_loss_", "validation_scores_", "best_validation_score_"):
        theirs = getattr(peer, name)
        assert getattr(own, name) == (theirs if theirs is None else pytest.approx(theirs)), name
    assert own.score(inputs, y) == pytest.approx(peer.score(inputs, y))
    predicted, expected = own.predict(inputs), peer.predict(inputs)
    assert predicted.shape == expected.shape
    assert predicted.dtype == expected.dtype
    if hasattr(own, "classes_"):
        assert np.array_equal(own.classes_, peer.classes_)
        np.testing.assert_allclose(own.predict_proba(inputs), peer.predict_proba(inputs), atol=1e-6)
        np.testing.assert_allclose(np.exp(own.predict_log_proba(inputs)), peer.predict_proba(inputs), atol=1e-6)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("schedule", ["constant", "invscaling", "adaptive"])
def test_every_momentum_under_every_schedule_is_that_of_scikit_learn(
    schedule: str, momentum: float, nesterov: bool, early_stopping: bool
) -> None:
    options: dict[str, Any] = {"solver": "sgd", "learning_rate": schedule, "momentum": momentum}
    options |= {"nesterovs_momentum": nesterov, "early_stopping": early_stopping}
    options |= {"max_iter": 40, "random_state": 0, "n_iter_no_change": 2, "tol": 1e-3, "hidden_layer_sizes": (8,)}
    for name, (inputs, y), rate in (("MLPClassifier", FLOWERS, 0.2), ("MLPRegressor", (Z[:150], T[:150]), 0.02)):
        options["learning_rate_init"] = rate
        pair = [getattr(module, name)(**options).fit(inputs, y) for module in (gd.train, neural_network)]
        own, peer = pair
        assert own.n_iter_ == peer.n_iter_
        assert apart(own, peer) < 1e-9


@pytest.mark.parametrize("weighted", [False, True])
def test_lbfgs_solves_ridge_regression(weighted: bool) -> None:
    weights = np.random.default_rng(0).uniform(0, 2, len(Z)) if weighted else np.ones(len(Z))
    network = MLPRegressor((), solver="lbfgs", alpha=30.0, tol=1e-9, max_iter=500, random_state=0)
    network.fit(Z, T, sample_weight=weights if weighted else None)
    # (ZᵀWZ + αI) w = ZᵀWt for what is centred: the intercept is not penalised.
    Zc, Tc = Z - np.average(Z, axis=0, weights=weights), T - np.average(T, weights=weights)
    slopes = np.linalg.solve(Zc.T @ (weights[:, None] * Zc) + 30.0 * np.eye(Z.shape[1]), Zc.T @ (weights * Tc))
    np.testing.assert_allclose(network.coefs_[0][:, 0], slopes, atol=1e-4)
    wrong = network.predict(Z) - T
    expected = 0.5 * np.average(wrong**2, weights=weights) + 0.5 * 30.0 * (slopes**2).sum() / weights.sum()
    assert network.loss_ == network.best_loss_ == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel", "regression"])
def test_lbfgs_finds_the_minimum_that_scikit_learn_finds(kind: str) -> None:
    inputs, y = (part[:200] for part in targets(kind))
    options: dict[str, Any] = {"solver": "lbfgs", "random_state": 3, "max_iter": 2000, "tol": 1e-6, "alpha": 1.0}
    # Without a hidden layer there is one minimum; with one, both go downhill from the same weights.
    for hidden, tolerance in (((), 1e-6), ((8,), None)):
        pair: list[Any] = []
        for module in (gd.train, neural_network):
            estimator = module.MLPRegressor if kind == "regression" else module.MLPClassifier
            pair.append(estimator(hidden_layer_sizes=hidden, **options).fit(inputs, y))
        own, peer = pair
        assert 0 < own.n_iter_ < 2000
        if tolerance:
            assert own.loss_ == pytest.approx(peer.loss_, rel=tolerance)
            np.testing.assert_allclose(own.coefs_[0], peer.coefs_[0], atol=2e-3)
        else:
            assert own.loss_ < 1.3 * peer.loss_
        assert own.score(inputs, y) > peer.score(inputs, y) - 0.03


@pytest.mark.parametrize("kind", ["multiclass", "regression", "outputs"])
def test_lbfgs_has_a_loss_for_every_iteration(kind: str) -> None:
    inputs, y = (part[:200] for part in targets(kind))
    estimator = MLPRegressor if kind != "multiclass" else MLPClassifier
    network: Any = estimator((8,), solver="lbfgs", alpha=1.0, max_iter=25, random_state=0, warm_start=True)
    for fits in (1, 2):
        with pytest.warns(ConvergenceWarning):
            network.fit(inputs, y)
        assert network.n_iter_ == 25
        assert len(network.loss_curve_) == 25 * fits  # it goes on where fits do, as after "sgd"
    assert network.loss_curve_[-1] == network.loss_
    if kind != "outputs":
        assert network.loss_curve_ == sorted(network.loss_curve_, reverse=True)
    else:  # the sum over the outputs is descended, and their mean reported
        squares = sum((weights**2).sum() for weights in network.coefs_)
        expected = 0.5 * np.mean((network.predict(inputs) - y) ** 2) + 0.5 * squares / len(inputs)
        assert network.loss_ == pytest.approx(expected, rel=1e-10)


def test_lbfgs_that_has_nothing_to_do_still_has_a_loss() -> None:
    network = MLPRegressor((), solver="lbfgs", alpha=0.0, tol=1e9, random_state=0).fit(Z, T)
    assert (network.n_iter_, network.loss_curve_) == (0, [])
    assert network.loss_ == pytest.approx(0.5 * np.mean((network.predict(Z) - T) ** 2), rel=1e-10)


def test_lbfgs_is_warned_of_goes_on_and_has_no_partial_fit() -> None:
    with pytest.warns(ConvergenceWarning, match="lbfgs has not converged after 3 iterations"):
        network = MLPClassifier((8,), solver="lbfgs", max_iter=3, random_state=0, warm_start=True).fit(X, Y)
    assert network.n_iter_ == 3
    before = network.loss_
    with pytest.warns(ConvergenceWarning, match=r"and [567] evaluations"):
        assert network.set_params(max_iter=100, max_fun=5).fit(X, Y).loss_ < before
    assert not hasattr(network, "partial_fit")
    assert np.array_equal(pickle.loads(pickle.dumps(network)).predict(X), network.predict(X))


@pytest.mark.parametrize("batch_size", ["auto", 64])
@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel", "regression", "outputs"])
def test_partial_fits_are_those_of_scikit_learn(kind: str, batch_size: Any) -> None:
    inputs, y = targets(kind)
    pair = []
    for module in (gd.train, neural_network):
        if kind in ("regression", "outputs"):
            estimator, options = module.MLPRegressor, {}
        else:
            estimator, options = module.MLPClassifier, {"classes": np.unique(y)}
            if kind == "multilabel":
                options = {"classes": np.arange(3)}
        made = estimator(random_state=0, batch_size=batch_size)
        for start, end in [(0, 50), (50, 100), (100, 130), (130, 131), (131, 440)]:  # pieces of several sizes
            made.partial_fit(inputs[start:end], y[start:end], **options)
        pair.append(made)
    own, peer = pair
    assert len(own._trainer.weighted_step.plans) <= 2
    np.testing.assert_allclose(own.loss_curve_, peer.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(own.coefs_[0], peer.coefs_[0], atol=1e-9)


def test_partial_fit_goes_on_from_weights_that_were_assigned() -> None:
    inputs = np.random.default_rng(0).normal(size=(120, 4))
    y = inputs @ [1.0, 2.0, 0.0, 0.0]
    pair = []
    for module in (gd.train, neural_network):
        options: dict[str, Any] = {"hidden_layer_sizes": (8,), "random_state": 0, "max_iter": 300}
        good = module.MLPRegressor(learning_rate_init=0.01, **options).fit(inputs, y)
        fresh = module.MLPRegressor(**options).partial_fit(inputs[:5], y[:5])
        fresh.coefs_ = [array.copy() for array in good.coefs_]
        fresh.intercepts_ = [array.copy() for array in good.intercepts_]
        assert np.array_equal(fresh.predict(inputs), good.predict(inputs))
        pair.append(fresh.partial_fit(inputs, y))
        assert fresh.score(inputs, y) > 0.9
    assert apart(*pair) < 1e-9


CHANGES: list[dict[str, Any]] = [{"alpha": 5.0}, {"activation": "tanh"}, {"batch_size": 30}, {"shuffle": False}]


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("changed", CHANGES, ids=str)
def test_parameters_that_were_changed_are_obeyed(changed: dict[str, Any], warm: bool) -> None:
    inputs, y = FLOWERS
    pair = []
    for module in (gd.train, neural_network):
        made = module.MLPClassifier((8,), random_state=0, max_iter=4, warm_start=True, batch_size=50)
        made = made.fit(inputs, y) if warm else made.partial_fit(inputs, y, classes=[0, 1, 2])
        made.set_params(**changed)
        pair.append(made.fit(inputs, y) if warm else made.partial_fit(inputs, y).partial_fit(inputs, y))
    assert apart(*pair) < 1e-9


def test_what_the_optimiser_keeps_is_said() -> None:
    inputs, y = FLOWERS
    pair = []
    for module in (gd.train, neural_network):
        made = module.MLPClassifier((8,), random_state=0).partial_fit(inputs, y, classes=[0, 1, 2])
        made.set_params(learning_rate_init=0.5, beta_1=0.1)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            pair.append(made.partial_fit(inputs, y))
        if module is gd.train:
            assert "learning_rate_init, beta_1" in str(told[0].message)
            assert told[0].filename == __file__
    assert apart(*pair) < 1e-9


@pytest.mark.parametrize("schedule", ["constant", "invscaling", "adaptive"])
def test_partial_fits_have_the_schedules_of_scikit_learn(schedule: str) -> None:
    inputs, y = FLOWERS
    pair = []
    for module in (gd.train, neural_network):
        options: dict[str, Any] = {"learning_rate": schedule, "learning_rate_init": 0.2, "tol": 1e-1}
        made = module.MLPClassifier((8,), solver="sgd", random_state=0, n_iter_no_change=1, **options)
        for _ in range(12):
            made.partial_fit(inputs, y, classes=[0, 1, 2])
        pair.append(made)
    assert apart(*pair) < 1e-9


def test_training_does_not_go_on_with_other_layers() -> None:
    inputs, y = FLOWERS
    network = MLPClassifier((8,), random_state=0, max_iter=2, warm_start=True).fit(inputs, y)
    with pytest.raises(ValueError, match=r"hidden_layer_sizes=\(9,\)"):
        network.set_params(hidden_layer_sizes=(9,)).fit(inputs, y)
    network.set_params(hidden_layer_sizes=(8,))
    network.coefs_[0] = network.coefs_[0][:, :5]
    with pytest.raises(ValueError, match="coefs_ and intercepts_ of shapes"):
        network.partial_fit(inputs, y)
    stopping = MLPClassifier((8,), random_state=0, max_iter=2, warm_start=True).fit(inputs, y)
    assert len(stopping.set_params(early_stopping=True).fit(inputs, y).validation_scores_) == 2


def test_a_fit_traces_two_sizes_of_batch() -> None:
    fitted = MLPClassifier(batch_size=120, max_iter=3).fit(X, Y)
    assert len(fitted._trainer.step.plans) == 2
    assert len(fitted._trainer.weighted_step.plans) == 0
    fitted = MLPClassifier(batch_size=125, max_iter=3).fit(X, Y, sample_weight=np.ones(500))
    assert len(fitted._trainer.weighted_step.plans) == 1


def test_a_fitted_estimator_goes_through_pickle_and_trains_on_alike() -> None:
    fitted = MLPClassifier((8,), max_iter=3, random_state=0).fit(X, Y)
    loaded = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(loaded.predict_proba(X), fitted.predict_proba(X))
    for estimator in (fitted, loaded):
        estimator.partial_fit(X, Y)
    assert loaded._trainer.optimizer.steps == fitted._trainer.optimizer.steps == 12
    assert all(np.array_equal(a, b) for a, b in zip(loaded.coefs_, fitted.coefs_, strict=True))
    assert "coefs_" not in vars(clone(fitted))


def test_warm_start_goes_on() -> None:
    network = MLPClassifier((8,), max_iter=5, random_state=0, warm_start=True)
    first = network.fit(X, Y).loss_
    assert network.fit(X, Y).loss_ < first
    assert len(network.loss_curve_) == 10
    network.set_params(warm_start=False)
    assert network.fit(X, Y).loss_ == first
    with pytest.raises(ValueError, match="classes"):
        network.set_params(warm_start=True).fit(X, Y + 1)


def test_dtypes() -> None:
    for options, data, dtype in [
        ({}, X, "float64"),
        ({}, X.astype("float32"), "float32"),
        ({"dtype": "float32"}, X, "float32"),
        ({"dtype": "float64"}, X.astype("float32"), "float64"),
        ({}, (16 * X).astype("int32"), "float64"),
    ]:
        fitted = MLPClassifier((8,), max_iter=2, **options).fit(data, Y)
        assert {array.dtype for array in (*fitted.coefs_, *fitted.intercepts_)} == {np.dtype(dtype)}
        assert fitted.predict_proba(data).dtype == dtype


@pytest.mark.parametrize("options", [{"learning_rate_init": 1e-2}, {"solver": "sgd", "learning_rate_init": 0.2}])
def test_it_learns_the_digits(options: dict[str, Any]) -> None:
    train, test, y, y_test = train_test_split(*load_digits(return_X_y=True), random_state=0)
    network = MLPClassifier((32,), random_state=0, max_iter=60, dtype="float32", **options)
    assert make_pipeline(StandardScaler(), network).fit(train, y).score(test, y_test) > 0.95


def test_pipelines_grid_search_and_cross_validation() -> None:
    pipeline = make_pipeline(
        StandardScaler(), MLPRegressor((8,), learning_rate_init=0.01, max_iter=100, random_state=0)
    )
    assert cross_val_score(pipeline, Z, T, cv=3).mean() > 0.3
    grid = {"mlpregressor__alpha": [1e-4, 1.0], "mlpregressor__hidden_layer_sizes": [(4,), (8, 4)]}
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=2).fit(Z, T)  # in processes of their own, through pickle
    assert search.best_score_ > 0.2
    several = MultiOutputClassifier(MLPClassifier((4,), max_iter=2)).fit(X, np.stack([Y, Y > 3], axis=1))
    assert several.predict(X).shape == (500, 2)


def test_labels_that_do_not_exclude_each_other() -> None:
    inputs, labels = make_multilabel_classification(300, random_state=0)
    fitted = MLPClassifier(max_iter=300, random_state=0).fit(inputs, labels)
    assert fitted.score(inputs, labels) > 0.6
    assert set(np.unique(fitted.predict(inputs))) == {0, 1}
    assert fitted.predict(inputs).shape == labels.shape
    assert fitted.predict_proba(inputs).shape == labels.shape


SPARSE = [{}, {"solver": "sgd"}, {"solver": "lbfgs"}, {"early_stopping": True}, {"shuffle": False, "batch_size": 64}]


@pytest.mark.parametrize("options", SPARSE, ids=str)
@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
def test_sparse_inputs_train_as_dense_ones(options: dict[str, Any], kind: str) -> None:
    data = sparse.random_array((300, 40), density=0.1, format=kind, rng=np.random.default_rng(0))
    target = data.sum(axis=1)
    for network, y in ((MLPRegressor, target), (MLPClassifier, target > np.median(target))):
        fitted, expected = (network((8,), max_iter=5, random_state=0, **options) for _ in range(2))
        fitted.fit(data, y)
        expected.fit(data.toarray(), y)
        np.testing.assert_array_equal(fitted.coefs_[0], expected.coefs_[0])
        np.testing.assert_array_equal(fitted.predict(data), expected.predict(data.toarray()))


@pytest.mark.parametrize("shuffled", [False, True])
def test_batches_lie_by_rows_however_the_inputs_lie(shuffled: bool) -> None:
    data = sparse.random_array((300, 40), density=0.1, rng=np.random.default_rng(0))
    backend, order = gd.get_backend("numpy"), np.arange(300)
    for kind in (data.tocsr(), data.toarray(), np.asfortranarray(data.toarray())):
        for X, y in batches_of(order, [kind, np.asfortranarray(data.toarray()[:, :3])], 64, backend, shuffled=shuffled):
            assert X.flags.c_contiguous
            assert y.flags.c_contiguous


def test_sparse_inputs_are_made_dense_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    data = sparse.csr_array(X)
    fitted = MLPClassifier((4,), random_state=0).partial_fit(data, Y, classes=range(10))
    expected = MLPClassifier((4,), random_state=0).partial_fit(X, Y, classes=range(10))
    np.testing.assert_array_equal(fitted.coefs_[0], expected.coefs_[0])
    monkeypatch.setitem(MLPClassifier._raw.__globals__, "_SPARSE_ROWS", 7)
    np.testing.assert_allclose(fitted.predict_proba(data), expected.predict_proba(X), rtol=1e-12)
    assert fitted.predict_proba(data).shape == (500, 10)


@pytest.mark.parametrize("label", [0, 3, "only"])
def test_a_single_class_is_predicted(label: Any) -> None:
    fitted = MLPClassifier((4,), max_iter=2).fit(X, [label] * 500)
    assert set(fitted.predict(X)) == {label}
    assert fitted.score(X, [label] * 500) == 1.0
    np.testing.assert_array_equal(fitted.predict_proba(X), np.ones((500, 1)))
    assert not fitted.predict_log_proba(X[:1]).any()


def test_log_probabilities_stay_finite() -> None:
    fitted = MLPClassifier((4,), max_iter=2, random_state=0).fit(X, Y)
    assert np.isfinite(fitted.predict_log_proba(1e6 * X)).all()
    fitted = MLPClassifier((4,), max_iter=2, random_state=0).fit(X, Y > 4)
    assert np.isfinite(fitted.predict_log_proba(1e6 * X)).all()


def test_a_backend_is_used_and_kept() -> None:
    fitted = MLPClassifier((4,), max_iter=2, backend="numpy").fit(X, Y)
    assert fitted._trainer.backend is gd.get_backend("numpy")
    with pytest.raises(gd.errors.BackendError):
        MLPClassifier(backend="abacus").fit(X, Y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solver": "newton"}, "solver"),
        ({"solver": "lbfgs", "max_fun": 0}, "max_fun"),
        ({"activation": "step"}, "activation"),
        ({"hidden_layer_sizes": (3, 0)}, "hidden_layer_sizes"),
        ({"learning_rate_init": 0.0}, "learning_rate_init"),
        ({"dtype": "int8"}, "dtype"),
        ({"early_stopping": True, "validation_fraction": 0.001}, "validation set is too small|test_size|classes"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MLPClassifier(**options).fit(X, Y)


def test_what_partial_fit_refuses() -> None:
    with pytest.raises(ValueError, match="classes must be passed"):
        MLPClassifier().partial_fit(X, Y)
    assert not hasattr(MLPClassifier(early_stopping=True), "partial_fit")
    network = MLPClassifier((4,)).partial_fit(X, Y, classes=range(10))
    with pytest.raises(ValueError, match="classes"):
        network.partial_fit(X, Y + 1)
    with pytest.raises(ValueError, match="outputs"):
        MLPRegressor((4,)).partial_fit(Z, T).partial_fit(Z, np.stack([T, T], axis=1))


def test_what_diverges_is_an_error() -> None:
    with pytest.raises(ValueError, match="non-finite"), np.errstate(all="ignore"):
        MLPRegressor(solver="sgd", learning_rate_init=1e3, max_iter=50).fit(1e3 * Z, 1e3 * T)


def test_too_few_epochs_and_too_large_batches_are_warned_of() -> None:
    with pytest.warns(ConvergenceWarning, match="Maximum iterations"):
        MLPClassifier((4,), max_iter=1).fit(X, Y)
    with pytest.warns(UserWarning, match="batch_size is 1000"):
        MLPClassifier((4,), max_iter=1, batch_size=1000).fit(X, Y)


def test_an_interrupt_keeps_what_was_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    network = MLPClassifier((4,), max_iter=5, random_state=0)
    monkeypatch.setattr(network, "_improved", interrupted)
    with pytest.warns(UserWarning, match="interrupted"):
        network.fit(X, Y)
    assert len(network.loss_curve_) == 1
    assert not np.array_equal(network.coefs_[0], MLPClassifier((4,), max_iter=1, random_state=1).fit(X, Y).coefs_[0])


def test_verbose_prints_the_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    MLPClassifier((4,), max_iter=200, tol=1.0, n_iter_no_change=2, verbose=True).fit(X, Y)
    told = capsys.readouterr().out
    assert "Iteration 1, loss = " in told
    assert "did not improve more than tol=1.0" in told


def test_everything_else_works_without_scikit_learn() -> None:
    program = """
import sys
sys.modules["sklearn"] = None
import graphdiff as gd
print(gd.train.fit.__name__)
from graphdiff.train import minibatches
try:
    gd.train.MLPClassifier
except ImportError as error:
    print(error)
try:
    gd.train.nothing
except AttributeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "fit",
        "MLPClassifier needs scikit-learn 1.6 or newer: pip install 'graphdiff[demo]'",
        "module 'graphdiff.train' has no attribute 'nothing'",
    ]


@pytest.mark.parametrize("shuffle", [True, False])
def test_another_backend_trains_alike(shuffle: bool) -> None:
    pair = []
    for backend in (None, STRICT):
        network = MLPClassifier((6,), max_iter=3, batch_size=150, shuffle=shuffle, random_state=0, backend=backend)
        pair.append(network.fit(X, Y).partial_fit(X[:70], Y[:70]))
    own, other = pair
    np.testing.assert_allclose(other.loss_curve_, own.loss_curve_)
    np.testing.assert_allclose(other.predict_proba(X), own.predict_proba(X), atol=1e-9)


def test_batches_are_gathered_into_one_place() -> None:
    X, y = np.arange(300.0).reshape(100, 3), np.arange(100)
    order = np.random.default_rng(0).permutation(100)
    places = []
    batches = batches_of(order, [X, y], 20, gd.get_backend("numpy"), shuffled=True)
    for number, (inputs, targets) in enumerate(batches):
        np.testing.assert_array_equal(inputs, X[order[20 * number : 20 * number + 20]])
        np.testing.assert_array_equal(targets, y[order[20 * number : 20 * number + 20]])
        places.append(inputs.ctypes.data)
    assert len(places) == 5
    assert len(set(places)) == 1
