"""What `fit` takes as data, and what it refuses before it trains."""

import inspect
from typing import Any

import numpy as np
import pytest
from test_train import X, Y, train

import graphdiff as gd


def flat_hinge(output: Any, target: Any) -> Any:
    return gd.nn.hinge(output[:, 0], target)


def divergence(output: Any, target: Any) -> Any:
    return gd.nn.kl_divergence(gd.log_softmax(output), target)


@pytest.mark.parametrize(
    ("loss", "outputs", "labels", "wrong", "message"),
    [
        (gd.nn.softmax_cross_entropy, 3, np.arange(60) % 3, 3, "row 17: label 3 is outside 0 … 2"),
        (gd.nn.softmax_cross_entropy, 3, (np.arange(60) % 3).astype("int8"), -1, "row 17: label -1 is outside 0 … 2"),
        (gd.nn.binary_cross_entropy, 1, np.arange(60.0)[:, None] % 2, -1, r"in \[0, 1\], but row 17 of .* has -1"),
        (flat_hinge, 1, np.arange(60) % 2 * 2.0 - 1, 0, r"are -1 and 1, but row 17 of .* has 0"),
        (gd.nn.softmax_cross_entropy, 2, np.full((60, 2), 0.5), -0.25, "not negative, but row 17 of .* has -0.25"),
        (gd.nn.softmax_cross_entropy, 2, np.full((60, 2), 0.5), 0.25, "sum to 1, but those of row 17 of .* to 0.5"),
        (gd.nn.softmax_cross_entropy, 2, np.full((60, 2), 0.5), np.nan, "y has nan in row 17, column 0"),
        (divergence, 2, np.full((60, 2), 0.5), -0.25, "not negative, but row 17 of .* has -0.25"),
    ],
)
def test_labels_that_the_loss_refuses_are_refused_before_training(
    loss: Any, outputs: int, labels: Any, wrong: float, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = labels.copy()
    bad[17] = wrong
    model = gd.nn.Linear(outputs, in_features=3)
    before = model.state()

    def refused(y: Any, message: str, **options: Any) -> None:
        optimizer = gd.optim.SGD(model.parameters(), lr=1.0)
        with pytest.raises(gd.errors.DataError, match=message):
            gd.train.fit(model, loss, (X, y), optimizer, progress=False, **options)
        assert all(np.array_equal(value, before[name]) for name, value in model.state().items())

    refused(bad, message)
    refused(bad, message, validation=0.5)
    refused(labels, message, validation=(X, bad))
    refused(bad, message, compiled=False)
    if outputs < 3 and not np.isnan(wrong):  # classes and NaN are looked for in the whole
        monkeypatch.setitem(inspect.unwrap(gd.train.fit).__globals__, "BLOCK_ROWS", 10)
        refused(bad, "counting from row 10 of the targets: .* row 7 of")


class Frame:
    """A table as pandas has it: an index picks columns, `iloc` rows."""

    def __init__(self, values: Any) -> None:
        self.values = self.iloc = np.asarray(values)
        self.shape = self.values.shape

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, column: Any) -> Any:
        return Frame(self.values[:, column])

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.values


def test_tables_and_lists_are_cut_into_rows() -> None:
    wanted = list(gd.train.minibatches((X[:3],), 2))
    for data in (Frame(X[:3]), X[:3].tolist()):
        for (cut,), (expected,) in zip(gd.train.minibatches((data,), 2), wanted, strict=True):
            np.testing.assert_array_equal(cut, expected)
    mixed = X.astype(object)
    mixed[:, 1] = mixed[:, 1] > 0
    model = gd.nn.Linear(2, in_features=3)
    optimizer = gd.optim.SGD(model.parameters(), lr=0.1)
    gd.train.fit(model, gd.nn.squared_error, (Frame(mixed), Frame(Y)), optimizer, epochs=1, progress=False)


def other(array: Any, row: int, column: int, value: Any) -> Any:
    changed = array.astype(object)
    changed[row, column] = value
    return changed


class Sparse:
    def toarray(self) -> Any:
        return X


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (X, r"a pair \(X, y\), not one ndarray of shape \[60, 3\]"),
        ([X], r"a pair \(X, y\), not a list of 1"),
        ((X, Y, Y), r"a pair \(X, y\), not a tuple of 3"),
        (iter([X, Y]), r"a pair \(X, y\), not a list_iterator"),
        ((X, np.where(Y[:, 0] > 0, "yes", "no")), r"y is text.*numpy\.unique\(y, return_inverse=True\)"),
        ((other(X, 7, 2, "red"), Y), "X has 'red' in row 7, column 2"),
        ((other(X, 7, 2, None), Y), "X has nan in row 7, column 2"),
        (([[1.0], [1.0, 2.0]], [1.0, 2.0]), "rows differ in length"),
        ((Sparse(), Y), r"X is sparse.*X\.toarray\(\)"),
    ],
)
def test_data_that_are_no_numbers_are_refused(data: Any, message: str) -> None:
    model = gd.nn.Linear(2, in_features=3)
    optimizer = gd.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(gd.errors.DataError, match=message):
        gd.train.fit(model, gd.nn.squared_error, data, optimizer, progress=False)


def test_parts_that_do_not_fit_are_refused() -> None:
    model, stranger = (gd.nn.Linear(2, in_features=3) for _ in range(2))
    loss, sgd = gd.nn.squared_error, gd.optim.SGD(stranger.parameters(), lr=0.1)
    for arguments, error, message in (
        ((model, (X, Y), loss, sgd), gd.errors.DataError, r"a pair \(X, y\), not a function"),
        ((model, "mse", (X, Y), sgd), gd.errors.OpError, "a function of output and targets, not a str"),
        ((model, loss, (X, Y), 0.1), gd.errors.OpError, "not a float"),
        ((model, loss, (X, Y), gd.optim.Adam), gd.errors.OpError, r"Adam\(model\.parameters\(\)\)"),
        ((model, loss, (X, Y), gd.optim.LBFGS(model.parameters())), gd.errors.OpError, "which LBFGS does not"),
        ((model, loss, (X, Y), sgd), gd.errors.GraphError, "moves no parameter of this model"),
    ):
        with pytest.raises(error, match=message):
            gd.train.fit(*arguments, progress=False)
    with pytest.raises(gd.errors.DataError, match="a whole number of rows"):
        train(batch_size=2.5)
    for callbacks in ([print], gd.train.Callback(), [gd.train.Callback]):
        with pytest.raises(gd.errors.OpError, match=r"a list of gd\.train\.Callback, not .*on_epoch="):
            train(callbacks=callbacks)
    for held_out, message in (
        ((X[:, :2], Y), r"validation X are of shape \[2\], and those of X of \[3\]"),
        ((X, Y[:, 0]), r"validation y are of shape \[\], and those of y of \[2\]"),
    ):
        with pytest.raises(gd.errors.DataError, match=message):
            train(validation=held_out)
