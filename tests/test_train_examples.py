"""`fit` with several inputs, and with weights of the examples."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphdiff as gd

stream = np.random.default_rng(5)
LEFT = stream.normal(size=(40, 3))
RIGHT = stream.normal(size=(40, 2))
Y = LEFT @ [[1.0], [2.0], [-1.0]] + RIGHT @ [[0.5], [-2.0]] + 0.3 * stream.normal(size=(40, 1))
WEIGHTS = np.where(np.arange(40) % 4 == 0, 0.0, stream.uniform(0.5, 3.0, 40))


class Sum(gd.nn.Module):
    """Two linear maps, of inputs that are not exchangeable."""

    def __init__(self) -> None:
        self.first = gd.nn.Linear(1, in_features=3, seed=0, dtype="float64")
        self.second = gd.nn.Linear(1, in_features=2, seed=1, dtype="float64")
        self.noise = gd.nn.Dropout(0.1, seed=3)

    def forward(self, left: Any, right: Any) -> Any:
        return self.first(left) + self.second(self.noise(right))


def trained(X: Any, **options: Any) -> tuple[dict[str, Any], Any]:
    model = Sum()
    optimizer = gd.optim.Adam(model.parameters(), lr=0.05)
    options = {"epochs": 4, "batch_size": 8, "progress": False, "validation": 0.25, **options}
    history = gd.train.fit(model, gd.nn.squared_error, (X, Y), optimizer, **options)
    return model.state(), history


def same(one: tuple[dict[str, Any], Any], other: tuple[dict[str, Any], Any]) -> bool:
    return one[1] == other[1] and all(np.array_equal(value, other[0][name]) for name, value in one[0].items())


# Several inputs ---------------------------------------------------------------------------------------------------


def test_two_inputs_are_what_one_of_their_columns_is() -> None:
    model = Sum()
    model.noise = gd.nn.Dropout(0.0)
    gd.train.fit(
        model,
        gd.nn.squared_error,
        ((LEFT, RIGHT), Y),
        gd.optim.SGD(model.parameters(), lr=0.2),
        epochs=600,
        batch_size=40,
        progress=False,
    )
    solution = np.linalg.lstsq(np.column_stack([LEFT, RIGHT, np.ones(40)]), Y)[0][:, 0]
    np.testing.assert_allclose(model.first.weight.numpy()[:, 0], solution[:3], rtol=1e-9)
    np.testing.assert_allclose(model.second.weight.numpy()[:, 0], solution[3:5], rtol=1e-9)


@pytest.mark.parametrize("options", [{}, {"sample_weight": WEIGHTS}, {"drop_last": True, "sample_weight": WEIGHTS}])
def test_all_forms_of_data_and_ways_of_running_agree(options: dict[str, Any]) -> None:
    expected = trained((LEFT, RIGHT), **options)
    assert same(expected, trained({"right": RIGHT, "left": LEFT}, **options))
    assert same(expected, trained((LEFT, RIGHT), prefetch=2, **options))
    state, history = trained((LEFT, RIGHT), compiled=False, **options)
    assert history[-1]["loss"] == pytest.approx(expected[1][-1]["loss"], rel=1e-12)
    for name, value in state.items():
        np.testing.assert_allclose(value, expected[0][name], rtol=1e-10, atol=1e-13)


def test_validation_data_may_name_inputs_in_another_order() -> None:
    pair = trained((LEFT, RIGHT), validation=((LEFT[:9], RIGHT[:9]), Y[:9]))
    assert same(
        pair, trained({"left": LEFT, "right": RIGHT}, validation=({"right": RIGHT[:9], "left": LEFT[:9]}, Y[:9]))
    )


def test_augmentation_is_given_the_inputs_as_fit_was() -> None:
    def shifted(left: Any, stream: np.random.Generator) -> Any:
        return left + stream.normal(size=left.shape)

    def of_pair(inputs: Any, stream: np.random.Generator) -> Any:
        left, right = inputs
        return shifted(left, stream), right

    def of_names(inputs: Any, stream: np.random.Generator) -> Any:
        return inputs | {"left": shifted(inputs["left"], stream)}

    pair = trained((LEFT, RIGHT), augment=of_pair)
    assert not same(pair, trained((LEFT, RIGHT)))
    assert same(pair, trained({"left": LEFT, "right": RIGHT}, augment=of_names, prefetch=1))
    with pytest.raises(gd.errors.DataError, match=r"makes float64\[1, 1\] of X\[1\], float64\[1, 2\]"):
        trained((LEFT, RIGHT), augment=lambda inputs, stream: (inputs[0], inputs[1][:, :1]))
    with pytest.raises(gd.errors.DataError, match=r"returns a tuple of 2 arrays, as it is given, not array"):
        trained((LEFT, RIGHT), augment=lambda inputs, stream: inputs[0])
    with pytest.raises(gd.errors.DataError, match=r"returns a dict of left, right, as it is given, not {'left'"):
        trained({"left": LEFT, "right": RIGHT}, augment=lambda inputs, stream: {"left": inputs["left"]})


@pytest.mark.parametrize("every", [None, 3])
def test_a_run_of_weighted_pairs_is_resumed_bit_for_bit(every: int | None, tmp_path: Path) -> None:
    class Stop(gd.train.Callback):
        left = 10

        def on_batch(self, run: Any) -> None:
            self.left -= 1
            if not self.left:
                raise KeyError("power cut")

    options = {"sample_weight": WEIGHTS, "checkpoint": tmp_path / "run.safetensors", "checkpoint_every": every}
    with pytest.raises(KeyError):
        trained((LEFT, RIGHT), callbacks=[Stop()], **options)
    assert same(trained((LEFT, RIGHT), resume=True, **options), trained((LEFT, RIGHT), sample_weight=WEIGHTS))
    for other in ({"sample_weight": 2 * WEIGHTS}, {"sample_weight": None}):
        with pytest.raises(gd.errors.DataError, match="is of other data"):
            trained((LEFT, RIGHT), resume=True, **options | other)
    with pytest.raises(gd.errors.DataError, match="inputs None, not"):
        trained({"left": LEFT, "right": RIGHT}, resume=True, **options)


@pytest.mark.parametrize(
    ("X", "options", "message"),
    [
        ((LEFT, RIGHT[:7]), {}, r"X\[0\] has 40 rows and X\[1\] has 7"),
        ({"left": LEFT, "right": RIGHT * np.nan}, {}, r"X\['right'\] has nan in row 0, column 0"),
        ({}, {}, "X is an empty dict"),
        (LEFT, {}, "X is one array, and Sum is called as .*left.*right.*missing a required argument: 'right'"),
        ((LEFT, RIGHT, Y), {}, "X is 3 arrays, .*too many positional"),
        ({"left": LEFT, "write": RIGHT}, {}, "2 arrays named left, write, and Sum .*right"),
        ((LEFT, RIGHT), {"validation": (LEFT, Y)}, r"to train on are X\[0\], X\[1\], and those of the validation X"),
        ((LEFT, RIGHT), {"validation": ((LEFT, LEFT), Y)}, r"rows of validation X\[1\] are of shape \[3\]"),
        ((LEFT, RIGHT), {"sample_weight": WEIGHTS[:7]}, "sample_weight has 7 rows and y has 40"),
        ((LEFT, RIGHT), {"sample_weight": -WEIGHTS}, "sample_weight is not negative, but -.* in row 1"),
        ((LEFT, RIGHT), {"sample_weight": WEIGHTS * np.nan}, "sample_weight has nan in row 0"),
        ((LEFT, RIGHT), {"sample_weight": Y}, r"one real number per row, not float64\[40, 1\]"),
        ((LEFT, RIGHT), {"sample_weight": 0 * WEIGHTS}, "sample_weight of every row to train on is 0"),
        (
            (LEFT, RIGHT),
            {"validation": ((LEFT, RIGHT), Y, 0 * WEIGHTS)},
            "sample_weight of every row to validate on is 0",
        ),
    ],
)
def test_what_does_not_fit_is_refused(X: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((gd.errors.DataError, gd.errors.OpError), match=message):
        trained(X, **options)


# Weights ----------------------------------------------------------------------------------------------------------


def weighted_fit(weights: Any, rows: Any = slice(None), **options: Any) -> tuple[Any, Any]:
    model = gd.nn.Linear(1, in_features=3, seed=0, dtype="float64")
    optimizer = gd.optim.SGD(model.parameters(), lr=0.1)
    options = {"epochs": 2, "batch_size": 1000, "progress": False, "sample_weight": weights, **options}
    history = gd.train.fit(model, gd.nn.squared_error, (LEFT[rows], Y[rows]), optimizer, **options)
    return model, history


def test_a_weight_counts_like_so_many_equal_rows() -> None:
    counts = np.arange(40) % 3
    weighted, history = weighted_fit(counts)
    repeated, expected = weighted_fit(None, np.repeat(np.arange(40), counts))
    np.testing.assert_allclose(weighted.weight.numpy(), repeated.weight.numpy(), rtol=1e-12)
    np.testing.assert_allclose(weighted.bias.numpy(), repeated.bias.numpy(), rtol=1e-12)
    assert history.column("loss") == pytest.approx(expected.column("loss"), rel=1e-12)


def test_steps_are_those_worked_out_by_hand() -> None:
    # y = w·x from w = 0, weights 1 and 3, squared error: slope -2·(1·1·2 + 3·2·6) / 4 = -19, loss (4 + 3·36) / 4 = 28.
    # PyTorch says the same of (weights * (model(x) - y) ** 2).sum() / weights.sum().
    model = gd.nn.Linear(1, in_features=1, bias=False, dtype="float64")
    model.weight.assign([[0.0]])
    data = np.array([[1.0], [2.0]]), np.array([[2.0], [6.0]])
    optimizer = gd.optim.SGD(model.parameters(), lr=0.01)
    history = gd.train.fit(
        model, gd.nn.squared_error, data, optimizer, epochs=1, sample_weight=[1, 3], progress=False, validation=data
    )
    assert model.weight.item() == pytest.approx(0.19, rel=1e-14)
    assert history[0]["loss"] == pytest.approx(28.0, rel=1e-14)
    # The validation data have no weights of their own.
    assert history[0]["validation_loss"] == pytest.approx(((2 - 0.19) ** 2 + (6 - 0.38) ** 2) / 2, rel=1e-14)


@pytest.mark.parametrize("drop_last", [False, True])
def test_losses_are_weighted_means_over_all_batches(drop_last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    import graphdiff.train.measures as measures

    monkeypatch.setattr(measures, "BLOCK_ROWS", 7)
    model = gd.nn.Linear(1, in_features=3, seed=0, dtype="float64")
    optimizer = gd.optim.SGD(model.parameters(), lr=0.0)
    history = gd.train.fit(
        model,
        gd.nn.squared_error,
        (LEFT, Y),
        optimizer,
        epochs=1,
        batch_size=9,
        shuffle=False,
        drop_last=drop_last,
        sample_weight=WEIGHTS,
        validation=(LEFT[5:], Y[5:], WEIGHTS[5:]),
        metrics={"bias": lambda output, target: gd.mean(output - target)},
        progress=False,
    )
    wrong = (model(LEFT).numpy() - Y)[:, 0]
    used = slice(36 if drop_last else 40)
    assert history[0]["loss"] == pytest.approx(np.average(wrong[used] ** 2, weights=WEIGHTS[used]), rel=1e-12)
    assert history[0]["validation_loss"] == pytest.approx(np.average(wrong[5:] ** 2, weights=WEIGHTS[5:]), rel=1e-12)
    assert history[0]["bias"] == pytest.approx(wrong.mean(), rel=1e-12)


def test_a_held_out_share_takes_its_weights_along() -> None:
    # What is held out is known by its weights, which are large enough to tell.
    weights = 2.0 ** np.arange(40)
    model, history = weighted_fit(weights, validation=0.5, metrics=[], epochs=1)
    order = np.random.default_rng((0, 0x5EED)).permutation(40)[:20]
    wrong = (model(LEFT[order]).numpy() - Y[order])[:, 0]
    assert history[0]["validation_loss"] == pytest.approx(np.average(wrong**2, weights=weights[order]), rel=1e-12)


@pytest.mark.parametrize("compiled", [True, False])
def test_a_batch_without_weight_moves_nothing(compiled: bool) -> None:
    weights = np.zeros(40)
    weights[:8] = 1.0
    alone, _ = weighted_fit(None, slice(8), epochs=1)
    among, history = weighted_fit(weights, batch_size=8, shuffle=False, epochs=1, compiled=compiled)
    np.testing.assert_allclose(among.weight.numpy(), alone.weight.numpy(), rtol=1e-14)
    assert np.isfinite(history[0]["loss"])


def test_classes_are_weighted_by_their_examples_or_by_the_loss() -> None:
    labels = (LEFT[:, 0] > 0.5).astype("int64")
    by_class = np.array([1.0, 4.0])

    def weight_after(loss: Any, **options: Any) -> Any:
        model = gd.nn.Linear(2, in_features=3, seed=0, dtype="float64")
        optimizer = gd.optim.SGD(model.parameters(), lr=0.1)
        gd.train.fit(model, loss, (LEFT, labels), optimizer, epochs=2, batch_size=16, progress=False, **options)
        return model.weight.numpy()

    np.testing.assert_allclose(
        weight_after(gd.nn.softmax_cross_entropy, sample_weight=by_class[labels]),
        weight_after(partial(gd.nn.softmax_cross_entropy, class_weights=by_class)),
        rtol=1e-12,
    )


def test_a_loss_without_weights_is_refused() -> None:
    def loss(output: Any, target: Any) -> Any:
        return gd.mean(gd.square(output - target))

    model = gd.nn.Linear(1, in_features=3)
    optimizer = gd.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(gd.errors.OpError, match=r"a loss that takes weights=, .* and loss does not"):
        gd.train.fit(model, loss, (LEFT, Y), optimizer, sample_weight=WEIGHTS)


@pytest.mark.parametrize("labels", [[0, 1], [[0.5, 0.5], [1.0, 0.0]]])
def test_losses_of_nothing_are_zero(labels: Any) -> None:
    logits = gd.variable([[1.0, 2.0], [0.0, 5.0]])
    loss = gd.nn.softmax_cross_entropy(logits, labels, weights=[0, 0], class_weights=[1.0, 2.0])
    assert loss.item() == 0
    assert not gd.grad(lambda z: gd.nn.squared_error(z, z + 1, weights=[0.0, 0.0]))(logits).numpy().any()


def test_accuracy_is_weighted_as_the_examples() -> None:
    labels = (LEFT[:, 0] > 0).astype("int64")
    model = gd.nn.Linear(2, in_features=3, seed=0)
    optimizer = gd.optim.SGD(model.parameters(), lr=0.0)
    history = gd.train.fit(
        model,
        gd.nn.softmax_cross_entropy,
        (LEFT, labels),
        optimizer,
        epochs=1,
        sample_weight=WEIGHTS,
        validation=(LEFT, labels),
        progress=False,
    )
    right = model(LEFT).numpy().argmax(1) == labels
    assert history[0]["accuracy"] == pytest.approx(np.average(right, weights=WEIGHTS), rel=1e-12)
    assert history[0]["validation_accuracy"] == pytest.approx(right.mean(), rel=1e-12)
