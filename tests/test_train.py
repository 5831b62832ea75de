"""Minibatches and the fit loop."""

import math
import os
import subprocess
import sys
from pathlib import Path
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
    model = gd.nn.Linear(2, in_features=3, seed=0, dtype="float64")
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


def test_a_part_of_the_parameters_may_be_trained() -> None:
    model = gd.nn.MLP([4, 2], in_features=3)
    first, last = model.layers[0].weight.numpy().copy(), model.layers[2].weight.numpy().copy()
    optimizer = gd.optim.SGD(model.layers[2].parameters(), lr=0.1)
    gd.train.fit(model, gd.nn.squared_error, (X, Y), optimizer, epochs=1, progress=False)
    np.testing.assert_array_equal(model.layers[0].weight.numpy(), first)
    assert (model.layers[2].weight.numpy() != last).all()


def test_a_loss_that_is_no_number_is_told_once() -> None:
    with pytest.warns(UserWarning, match=r"the loss became (nan|inf) in epoch \d+: lower the learning rate") as told:
        _, history = train(lr=1e30, epochs=6)
    assert len(told) == 1
    assert not np.isfinite(history[-1]["loss"])


# Scaling


@pytest.mark.parametrize("kind", [gd.train.Standardise, gd.train.MinMax])
def test_scalers_are_fitted_in_blocks_and_undone(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = stream.normal(size=(1000, 4)) * [1, 100, 1e-6, 0] + [1e6, 0, 0, 0.1]
    monkeypatch.setattr(gd.train.scaling, "_BLOCK", 64)
    scaler = kind().fit(data)
    scaled = scaler.transform(data)
    if kind is gd.train.MinMax:
        np.testing.assert_allclose(scaled[:, :3].min(0), 0, atol=1e-12)
        np.testing.assert_allclose(scaled[:, :3].max(0), 1, rtol=1e-12)
    else:
        np.testing.assert_allclose(scaler.shift, data.mean(0), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(scaler.scale[:3], data.std(0)[:3], rtol=1e-9)
    assert np.abs(scaled[:, 3]).max() < 1e-12
    np.testing.assert_allclose(scaler.inverse(scaled), data, rtol=1e-12, atol=1e-12)
    again = gd.train.scaling.scaler_from_config(scaler.config())
    assert np.array_equal(again.transform(data), scaled)
    assert scaler.transform(data.astype("float32")).dtype == "float32"


def test_scaling_leaves_other_columns_and_refuses_what_does_not_fit() -> None:
    data = np.array([[1.0, 1.0], [3.0, 0.0]])
    np.testing.assert_array_equal(gd.train.Standardise([0]).fit(data).transform(data), [[-1, 1], [1, 0]])
    with pytest.raises(gd.errors.DataError, match="not been fitted"):
        gd.train.MinMax().transform(data)
    with pytest.raises(gd.errors.ShapeError, match="a scaler of 2 columns"):
        gd.train.MinMax().fit(data).transform(data[:, :1])
    with pytest.raises(gd.errors.DataError, match="column 1 cannot be scaled"):
        gd.train.Standardise().fit([[1.0, np.nan]])
    with pytest.raises(gd.errors.ShapeError):
        gd.train.Standardise().fit([1.0])


# Validation split, metrics, early stopping, callbacks, history


def test_a_share_is_held_out() -> None:
    seen: set[float] = set()

    def loss(output: Any, target: Any) -> Any:
        if len(target) <= 16:
            seen.update(target[:, 0].tolist())
        return gd.nn.squared_error(output, target)

    model = gd.nn.Linear(2, in_features=3, dtype="float64")
    optimizer = gd.optim.SGD(model.parameters(), lr=0.1)
    options: Any = {"epochs": 2, "batch_size": 16, "progress": False, "compiled": False, "validation": 0.3}
    history = gd.train.fit(model, loss, (X, Y), optimizer, **options | {"validation": np.float32(0.3)})
    assert len(seen) == 42
    seen.clear()
    history = gd.train.fit(model, loss, (X, Y), optimizer, **options)
    assert len(seen) == 42
    held = ~np.isin(Y[:, 0], list(seen))
    assert history[-1]["validation_loss"] == pytest.approx(np.mean((model(X[held]).numpy() - Y[held]) ** 2), rel=1e-12)
    for share in (0.0, 1.0, 0.999):
        with pytest.raises(gd.errors.DataError, match=r"hold out|held out"):
            gd.train.fit(model, loss, (X, Y), optimizer, validation=share)


def test_metrics() -> None:
    def mean_distance(output: Any, target: Any) -> Any:
        return gd.mean(gd.abs(output - target))

    model, history = train(metrics=[mean_distance], validation=(X[:9], Y[:9]))
    assert history[-1]["mean_distance"] == pytest.approx(np.abs(model(X).numpy() - Y).mean(), rel=1e-12)
    assert history[-1]["validation_mean_distance"] == pytest.approx(np.abs(model(X[:9]).numpy() - Y[:9]).mean())
    with pytest.raises(gd.errors.DataError, match="recorded anyway"):
        train(metrics={"loss": mean_distance})


def test_metrics_that_cannot_be_recorded() -> None:
    with pytest.raises(gd.errors.DataError, match="several metrics are called <lambda>: give a dict"):
        train(metrics=[lambda output, target: 1.0, lambda output, target: 2.0])
    with pytest.raises(gd.errors.DataError, match=r"'error' returns an array of shape \[60, 2\]"):
        train(metrics={"error": lambda output, target: output - target})


def test_measuring_in_blocks_is_measuring_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(validation=0.5, metrics={"again": gd.nn.squared_error})[1]
    monkeypatch.setattr("graphdiff.train.measures.BLOCK_ROWS", 7)
    blocks = train(validation=0.5, metrics={"again": gd.nn.squared_error})[1]
    for one, other in zip(whole, blocks, strict=True):
        assert one == pytest.approx(other, rel=1e-12)


def rows_r2(output: Any, target: Any) -> float:
    wrong = np.asarray(output.numpy() if isinstance(output, gd.Tensor) else output) - target
    return float(1 - (wrong**2).sum() / ((target - target.mean(axis=0)) ** 2).sum())


@pytest.mark.parametrize("compiled", [False, True])
def test_a_metric_sees_the_outputs_of_all_rows_at_once(compiled: bool) -> None:
    stream = np.random.default_rng(0)
    inputs = stream.normal(size=(20_000, 2)).astype("float32")
    answers = 3 * inputs[:, :1] + stream.normal(size=(20_000, 1)).astype("float32")
    order = answers[:, 0].argsort()  # blocks of sorted rows have spreads of their own
    inputs, answers = inputs[order], answers[order]
    calls: list[int] = []

    def r2(output: Any, target: Any) -> float:
        calls.append(len(target))
        return rows_r2(output, target)

    def averaged(output: Any, target: Any) -> Any:
        assert len(target) <= 8192
        return gd.mean(gd.abs(output - target))

    averaged.averages = True  # type: ignore[attr-defined]
    model = gd.nn.Linear(1, in_features=2)
    options: Any = {"epochs": 1, "batch_size": 1000, "progress": False, "metrics": [r2, averaged], "compiled": compiled}
    optimizer = gd.optim.SGD(model.parameters(), lr=0.01)
    data = (inputs, answers)
    history = gd.train.fit(model, gd.nn.squared_error, data, optimizer, validation=0.6, **options)
    rows = np.sort(np.random.default_rng((0, 0x5EED)).permutation(20_000)[:12_000])
    found = model(inputs[rows]).numpy()
    assert history[-1]["validation_r2"] == pytest.approx(rows_r2(found, answers[rows]), rel=1e-5)
    assert history[-1]["validation_averaged"] == pytest.approx(np.abs(found - answers[rows]).mean(), rel=1e-5)
    assert calls == [8000, 12_000]


def test_weighted_losses_of_blocks_are_those_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphdiff.train.measures.BLOCK_ROWS", 7)
    weights = np.r_[np.zeros(17), np.random.default_rng(0).uniform(size=43)]  # a block of nothing, and a smaller last
    model, history = train(validation=(X, Y, weights))
    wrong = ((model(X).numpy() - Y) ** 2).mean(axis=1)
    assert history[-1]["validation_loss"] == pytest.approx(np.average(wrong, weights=weights), rel=1e-12)


@pytest.mark.parametrize(
    "name",
    ["auc", "roc_auc", "AUC", "f1", "F1", "macro_f1", "recall", "precision_at_5", "precision@5", "kappa"]
    + ["R2", "r²", "top5_accuracy", "top_5_accuracy", "mean_iou", "neg_log_loss", "score", "accuracy_score", "mcc"],
)
def test_early_stopping_knows_of_what_more_is_better(name: str) -> None:
    assert epochs_watched([0.1, 0.2, 0.3, 0.2, 0.1, 0.0], monitor=f"validation_{name}") == (5, 3)


@pytest.mark.parametrize(
    "name",
    ["mse", "RMSE", "mean_absolute_error", "log_loss", "softmax_cross_entropy", "brier_score", "perplexity"]
    + ["neg_log_likelihood", "max_error", "mean_distance"],
)
def test_early_stopping_knows_of_what_less_is_better(name: str) -> None:
    assert epochs_watched([0.3, 0.2, 0.1, 0.2, 0.3, 0.4], monitor=f"validation_{name}") == (5, 3)


@pytest.mark.parametrize("name", ["sharpe", "1-auc", "one_minus_accuracy", "accuracy_loss", "false_positive_rate", "x"])
def test_early_stopping_is_told_what_it_does_not_know(name: str) -> None:
    with pytest.raises(gd.errors.DataError, match='give EarlyStopping mode="min" or mode="max"'):
        epochs_watched([0.1], monitor=name)
    assert epochs_watched([0.1, 0.2, 0.3, 0.2, 0.1, 0.0], monitor=name, mode="max") == (5, 3)
    assert epochs_watched([0.3, 0.2, 0.1, 0.2, 0.3, 0.4], monitor=name, mode="min") == (5, 3)
    steps: list[Any] = []
    with pytest.raises(gd.errors.DataError, match="give EarlyStopping"):  # of a metric it is known before training
        train(
            metrics={name: lambda output, target: 0.0},
            early_stopping=gd.train.EarlyStopping(monitor=name),
            on_epoch=steps.append,
        )
    assert not steps


def epochs_watched(values: list[float], **settings: Any) -> tuple[int, int]:
    """Return after how many epochs early stopping ends training, and which was best, as a quantity goes this way."""

    class Told(gd.train.Callback):
        def on_epoch(self, run: gd.train.Run, record: dict[str, float]) -> None:
            run.model.bias.assign(np.full(2, float(run.epoch)))
            record[settings["monitor"]] = values[run.epoch - 1]

    model, history = train(epochs=6, callbacks=[Told()], early_stopping=gd.train.EarlyStopping(2, **settings))
    return len(history), int(model.bias.numpy()[0])


def test_early_stopping_restores_the_best_weights() -> None:
    class Spoil(gd.train.Callback):
        best: Any = None

        def on_epoch(self, run: gd.train.Run, record: dict[str, float]) -> None:
            if run.epoch == 4:
                self.best = run.model.state()
            record["score"] = -abs(run.epoch - 4.0)

    spoil = Spoil()
    model, history = train(
        epochs=100, callbacks=[spoil], early_stopping=gd.train.EarlyStopping(3, monitor="score", restore_best=True)
    )
    assert len(history) == 7
    assert all(np.array_equal(value, spoil.best[name]) for name, value in model.state().items())
    kept, history = train(
        epochs=100, callbacks=[spoil], early_stopping=gd.train.EarlyStopping(3, monitor="score", restore_best=False)
    )
    assert not np.array_equal(kept.weight.numpy(), spoil.best["weight"])
    with pytest.raises(gd.errors.DataError, match="watches 'nothing', and an epoch records epoch, loss"):
        train(early_stopping=gd.train.EarlyStopping(monitor="nothing"))


def test_early_stopping_is_switched_on_and_off() -> None:
    class Rising(gd.train.Callback):
        def on_epoch(self, run: Any, record: Any) -> None:
            record["loss"] = run.epoch

    for early_stopping, epochs in ((True, 11), (False, 30), (None, 30), (1, 2), (4, 5)):
        _, history = train(early_stopping=early_stopping, epochs=30, callbacks=[Rising()])
        assert len(history) == epochs


def test_a_rate_on_a_plateau_is_told_the_loss(tmp_path: Path) -> None:
    schedules = gd.optim.schedules

    class Level(gd.train.Callback):
        """Makes what is recorded a plateau from the third epoch on."""

        def on_epoch(self, run: Any, record: Any) -> None:
            record["validation_loss"] = max(record["validation_loss"], 0.5)
            rates.append(run.optimizer.lr)

    def rates_of(**options: Any) -> list[float]:
        rates.clear()
        rate = schedules.scaled(schedules.reduce_on_plateau(0.1, factor=0.5, patience=1), 2.0)
        train(lr=rate, validation=(X, Y), callbacks=[Level()], **options)
        return list(rates)

    rates: list[float] = []
    whole = rates_of(epochs=9)
    _, history = train(lr=0.2, validation=(X, Y), epochs=9)
    expected, halves, best, waited = [], 0, math.inf, 0
    for record in history:
        expected.append(0.2 * 0.5**halves)
        loss = max(record["validation_loss"], 0.5)  # it is below from then on, at whatever rate
        best, waited = (loss, 0) if loss < best * (1 - 1e-4) else (best, waited + 1)
        if waited == 2:
            halves, waited = halves + 1, 0
    assert halves > 2
    np.testing.assert_allclose(whole, expected, rtol=1e-12)
    kept = {"checkpoint": tmp_path / "c", "resume": True}
    assert rates_of(epochs=5, **kept) + rates_of(epochs=9, **kept) == whole
    with pytest.raises(gd.errors.OpError, match="follows the accuracy"):
        train(lr=schedules.reduce_on_plateau(0.1, mode="max"))


def test_callbacks_come_in_order_and_can_stop() -> None:
    calls: list[str] = []

    class Note(gd.train.Callback):
        def on_start(self, run: gd.train.Run) -> None:
            calls.append("start")

        def on_batch(self, run: gd.train.Run) -> None:
            calls.append("batch")

        def on_epoch(self, run: gd.train.Run, record: dict[str, float]) -> None:
            calls.append("epoch")
            if run.epoch == 2:
                run.stop()

        def on_end(self, run: gd.train.Run) -> None:
            calls.append("end")

    assert len(train(callbacks=[Note()])[1]) == 2
    assert calls == ["start", *["batch"] * 4, "epoch", *["batch"] * 4, "epoch", "end"]


def test_growing_batches_and_dropped_ones() -> None:
    sizes: list[int] = []

    def loss(output: Any, target: Any) -> Any:
        sizes.append(len(target))
        return gd.nn.squared_error(output, target)

    model = gd.nn.Linear(2, in_features=3, dtype="float64")
    optimizer = gd.optim.SGD(model.parameters(), lr=0.0)
    options: Any = {"epochs": 2, "batch_size": gd.train.Growing(25), "progress": False, "compiled": False}
    gd.train.fit(model, loss, (X, Y), optimizer, drop_last=True, **options)
    assert sizes == [60, 25, 25, 50]  # the loss is shown all targets first
    with pytest.raises(gd.errors.DataError, match="drop_last would leave nothing"):
        gd.train.fit(model, loss, (X, Y), optimizer, drop_last=True, epochs=2, batch_size=61)
    with pytest.raises(gd.errors.DataError, match="no growing batch size"):
        gd.train.Growing(0)


def test_history_is_saved_and_drawn(tmp_path: Any) -> None:
    pytest.importorskip("matplotlib")
    history = train(validation=0.2)[1]
    lines = history.save_csv(tmp_path / "history.csv").read_text().splitlines()
    assert lines[0] == "epoch,loss,validation_loss"
    assert [float(value) for value in lines[-1].split(",")] == list(history[-1].values())
    assert history.plot(tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in history.plot(tmp_path / "curves.svg").read_bytes()
    with pytest.raises(gd.errors.DataError, match="drawn as"):
        history.plot(tmp_path / "curves.doc")
    with pytest.raises(gd.errors.DataError, match="no epochs"):
        gd.train.History().plot(tmp_path / "curves.png")


def test_nan_is_found_in_later_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gd.train.scaling, "_BLOCK", 8)
    bad = X.copy()
    bad[47, 2] = np.inf
    with pytest.raises(gd.errors.DataError, match="X has inf in row 47, column 2"):
        gd.train.fit(gd.nn.Linear(1), gd.nn.squared_error, (bad, Y), None)  # type: ignore[arg-type]


MAPPED = """
import sys
import numpy as np
import graphdiff as gd

def private():
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024

X = np.load(sys.argv[1], mmap_mode="r")
y = np.load(sys.argv[2], mmap_mode="r")
greatest = [0.0, 0.0]

class Look(gd.train.Callback):
    def on_batch(self, run):
        if run.batch % 50 == 0:
            greatest[0] = max(greatest[0], private())
    def on_epoch(self, run, record):
        greatest[0] = max(greatest[0], private())

model = gd.nn.MLP([32, 2], in_features=X.shape[1])
optimizer = gd.optim.Adam(model.parameters())
gd.train.Standardise().fit(X)
history = gd.train.fit(model, gd.nn.softmax_cross_entropy, (X, y), optimizer, epochs=1, batch_size=1024,
                       validation=0.1, callbacks=[Look()])
assert 0 < history[-1]["loss"] < 10
print(greatest[0])
"""


def test_a_mapped_file_is_not_loaded(tmp_path: Any) -> None:
    status = Path("/proc/self/status")
    if not status.exists() or "RssAnon" not in status.read_text():
        pytest.skip("private memory is measured on Linux only")
    megabytes = int(os.environ.get("GRAPHDIFF_MAPPED_MB", "600"))
    rows = megabytes * 2**20 // (4 * 256)
    X = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", "float32", (rows, 256))  # a file of holes
    X[:: rows // 7] = 1.0
    y = np.lib.format.open_memmap(tmp_path / "y.npy", "w+", "int64", (rows,))
    y[::3] = 1
    del X, y
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", MAPPED, str(tmp_path / "X.npy"), str(tmp_path / "y.npy")],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    print(f"{megabytes} MB mapped, at most {float(done.stdout):.0f} MB private")
    assert float(done.stdout) < (300 if megabytes <= 600 else 500), done.stdout
