"""Minibatches and the fit loop."""

from typing import Any

import numpy as np
import pytest

import graphdiff as gd

stream = np.random.default_rng(11)
ROWS = np.arange(23)


def batches(**options: Any) -> list[Any]:
    return [batch for (batch,) in gd.train.minibatches((ROWS,), 5, **options)]


@pytest.mark.parametrize("shuffle", [True, False])
def test_every_row_comes_once(shuffle: bool) -> None:
    cut = batches(shuffle=shuffle)
    assert [len(batch) for batch in cut] == [5, 5, 5, 5, 3]
    joined = np.concatenate(cut)
    assert sorted(joined) == ROWS.tolist()
    assert np.array_equal(joined, ROWS) is not shuffle


def test_the_order_is_fixed_by_seed_and_epoch() -> None:
    orders = [
        np.concatenate(batches(seed=seed, epoch=epoch)).tolist() for seed, epoch in [(0, 0), (0, 0), (0, 1), (1, 0)]
    ]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2] != orders[3] != orders[0]


def test_a_small_last_batch_can_be_dropped() -> None:
    assert [len(batch) for batch in batches(drop_last=True)] == [5, 5, 5, 5]
    assert [len(batch) for (batch,) in gd.train.minibatches((ROWS[:20],), 5, drop_last=True)] == [5, 5, 5, 5]


def test_rows_stay_together() -> None:
    X, y = stream.normal(size=(23, 2)), ROWS
    for inputs, targets in gd.train.minibatches((X, y), 4):
        np.testing.assert_array_equal(inputs, X[targets])


@pytest.mark.parametrize(("arrays", "size"), [((ROWS, ROWS[:7]), 5), ((ROWS,), 0), ((ROWS,), -1)])
def test_bad_minibatches(arrays: Any, size: int) -> None:
    with pytest.raises(gd.errors.DataError):
        list(gd.train.minibatches(arrays, size))


# fit

X = stream.normal(size=(60, 3))
TRUE = np.array([[1.0, -1.0], [2.0, 0.5], [-3.0, 0.0]])
Y = X @ TRUE + [0.5, -2.0] + 0.1 * stream.normal(size=(60, 2))


def train(**options: Any) -> tuple[gd.nn.Module, list[dict[str, float]]]:
    model = gd.nn.Linear(2, in_features=3, dtype="float64")
    optimizer = gd.optim.SGD(model.parameters(), lr=options.pop("lr", 0.1))
    options = {"epochs": 3, "batch_size": 16, "progress": False, **options}
    return model, gd.train.fit(model, gd.nn.squared_error, (X, Y), optimizer, **options)


def test_fit_reaches_the_least_squares_solution() -> None:
    model, history = train(epochs=400, batch_size=60, lr=0.5)
    solution, residual, *_ = np.linalg.lstsq(np.column_stack([X, np.ones(60)]), Y)
    np.testing.assert_allclose(model.weight.numpy(), solution[:3], rtol=1e-9)
    np.testing.assert_allclose(model.bias.numpy(), solution[3], rtol=1e-9)
    assert history[-1]["loss"] == pytest.approx(residual.sum() / 120, rel=1e-9)


def test_history() -> None:
    seen: list[dict[str, float]] = []
    model, history = train(on_epoch=lambda record: seen.append(dict(record)), validation=(X[:9], Y[:9]))
    assert seen == history
    assert [record["epoch"] for record in history] == [1, 2, 3]
    assert all(set(record) == {"epoch", "loss", "validation_loss"} for record in history)
    expected = np.mean((model(X[:9]).numpy() - Y[:9]) ** 2)
    assert history[-1]["validation_loss"] == pytest.approx(expected, rel=1e-12)
    assert history[0]["loss"] > history[-1]["loss"]


def test_the_first_epochs_loss_is_the_mean_over_rows() -> None:
    # With no step the model stays as it is, and batches of 16, 16, 16 and 12 rows must be weighted.
    model, history = train(lr=0.0, epochs=1)
    assert history[0]["loss"] == pytest.approx(np.mean((model(X).numpy() - Y) ** 2), rel=1e-12)


def test_fit_is_reproducible_by_seed() -> None:
    runs = [train(seed=seed)[1] for seed in (0, 0, 1)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_classes_are_learnt_and_accuracy_reported() -> None:
    labels = (X[:, 0] > 0).astype(int)
    model = gd.nn.MLP([8, 2], in_features=3, seed=1)
    optimizer = gd.optim.Adam(model.parameters(), lr=0.02)
    held_out = (X[:20], labels[:20])
    history = gd.train.fit(
        model,
        gd.nn.softmax_cross_entropy,
        (X.astype("float32"), labels),
        optimizer,
        epochs=40,
        validation=held_out,
        progress=False,
    )
    assert history[-1]["accuracy"] == np.mean(model(X).numpy().argmax(1) == labels)
    assert history[-1]["accuracy"] > 0.95
    assert history[-1]["validation_accuracy"] == np.mean(model(X[:20]).numpy().argmax(1) == labels[:20])


def test_integer_targets_of_a_regression_are_no_classes() -> None:
    model = gd.nn.Linear(1, in_features=1, dtype="float64")
    optimizer = gd.optim.SGD(model.parameters(), lr=0.05)
    inputs = np.arange(8).reshape(8, 1) / 4
    history = gd.train.fit(
        model, gd.nn.squared_error, (inputs, (12 * inputs - 9).astype(int)), optimizer, epochs=900, progress=False
    )
    assert "accuracy" not in history[-1]
    assert model.weight.item() == pytest.approx(12, rel=1e-3)
    assert model.bias.item() == pytest.approx(-9, rel=1e-3)


def test_lists_are_data() -> None:
    model = gd.nn.Linear(1, in_features=1)
    optimizer = gd.optim.SGD(model.parameters(), lr=0.1)
    history = gd.train.fit(
        model, gd.nn.squared_error, ([[0.0], [1.0]], [[1.0], [3.0]]), optimizer, epochs=200, progress=False
    )
    assert history[-1]["loss"] < 1e-3


def test_the_progress_bar_goes_to_the_error_stream(capsys: pytest.CaptureFixture[str]) -> None:
    train(progress=True)
    train(progress=None)  # no terminal: no bar
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("training") <= captured.err.count("\n") + 1


def test_an_interrupted_fit_stops_the_bar() -> None:
    def interrupt(record: dict[str, float]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(progress=True, on_epoch=interrupt)
    train(progress=True)  # a second bar can be shown: the first is gone


def test_training_is_the_same_eager_and_compiled_and_falls_back_with_a_warning() -> None:
    X = np.random.default_rng(0).normal(size=(50, 3)).astype("float32")
    y = (X[:, 0] > 0).astype("int64")

    def trained(loss: Any, **options: Any) -> Any:
        model = gd.nn.MLP([8, 2], in_features=3, seed=1)
        optimizer = gd.optim.Adam(model.parameters(), lr=0.01)
        history = gd.train.fit(model, loss, (X, y), optimizer, epochs=3, batch_size=16, progress=False, **options)
        return [record["loss"] for record in history], [record["accuracy"] for record in history]

    def branching(logits: Any, labels: Any) -> Any:
        loss = gd.nn.softmax_cross_entropy(logits, labels)
        return loss if loss < 1e9 else loss * 2

    eager = trained(gd.nn.softmax_cross_entropy, compiled=False)
    compiled = trained(gd.nn.softmax_cross_entropy)
    with pytest.warns(UserWarning, match=r"runs eagerly.*gd\.where"):
        fallen_back = trained(branching)
    np.testing.assert_allclose(compiled[0], eager[0], rtol=1e-5)
    np.testing.assert_allclose(fallen_back[0], eager[0], rtol=1e-12)
    assert compiled[1] == eager[1]
