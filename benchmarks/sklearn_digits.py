"""How long the same network takes on scikit-learn's digits, fitted by graphdiff's estimator and by scikit-learn's own.

``python -m benchmarks.sklearn_digits`` fits both in turns and writes the tables to ``results/sklearn_digits.md``.
"""

import argparse
import random
import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier as PeerClassifier

from benchmarks.harness import DisagreementError, Timing, time_block
from benchmarks.report import Table, publish
from graphdiff.train import MLPClassifier

SUBJECT, PEER = "graphdiff", "scikit-learn"
MAKERS: dict[str, Any] = {SUBJECT: MLPClassifier, PEER: PeerClassifier}
TOLERANCE = {"float64": 1e-6, "float32": 1e-2}
EPOCHS_COMPARED = {"float64": 100, "float32": 20}  # later, rounding has grown beyond what can be compared
LBFGS_TOLERANCE = 0.25  # another line search takes another way down, and only how far down it leads can be compared


@dataclass(frozen=True)
class Config:
    """A network, what fits it, and for how many epochs."""

    solver: str
    hidden: tuple[int, ...]
    epochs: int

    def __str__(self) -> str:
        passes = "iterations" if self.solver == "lbfgs" else "epochs"
        return f"{self.solver}, 64-{'-'.join(map(str, self.hidden))}-10, {self.epochs} {passes}"


CONFIGS = [
    Config("adam", (100,), 100),
    Config("adam", (64, 64), 100),
    Config("sgd", (100,), 100),
    Config("lbfgs", (100,), 500),
]


def data(dtype: str, seed: int) -> list[Any]:
    """Return X, X_test, y, y_test, scaled to 0 … 1."""
    X, y = load_digits(return_X_y=True)
    return train_test_split((X / 16).astype(dtype), y, test_size=0.25, random_state=seed, stratify=y)  # type: ignore[no-any-return]


def make(name: str, config: Config, seed: int) -> Any:
    """Return an estimator that stops for nothing but the number of epochs; all else is the default of both."""
    return MAKERS[name](
        config.hidden,
        solver=config.solver,
        learning_rate_init=1e-3 if config.solver == "adam" else 0.1,
        batch_size=200,
        max_iter=config.epochs,
        tol=0,
        n_iter_no_change=config.epochs + 1,
        random_state=seed,
    )


def measure(config: Config, dtype: str, *, rounds: int) -> tuple[dict[str, Timing], dict[str, list[float]], float]:
    """Fit with both in turns: every round another seed and split, in an order drawn anew.

    Returns
    -------
    timings, accuracies, deviation
        Seconds per fit; the held-out accuracy of each round; the largest relative deviation of the losses.
    """
    samples: dict[str, list[float]] = {name: [] for name in MAKERS}
    accuracies: dict[str, list[float]] = {name: [] for name in MAKERS}
    deviation = 0.0
    shuffle = random.Random(0).shuffle
    for seed in range(rounds):
        X, X_test, y, y_test = data(dtype, seed)
        order, losses = list(MAKERS), {}
        shuffle(order)
        for name in order:
            estimator = make(name, config, seed)
            samples[name].append(time_block(partial(estimator.fit, X, y), 1))
            accuracies[name].append(estimator.score(X_test, y_test))
            losses[name] = compared_losses(estimator, dtype)
        deviation = max(deviation, float(np.max(np.abs(losses[SUBJECT] / losses[PEER] - 1))))
    if not deviation <= (LBFGS_TOLERANCE if config.solver == "lbfgs" else TOLERANCE[dtype]):
        raise DisagreementError(f"{config} in {dtype}: the losses deviate by {deviation:.1e}")
    return {name: Timing(values) for name, values in samples.items()}, accuracies, deviation


def dtypes_of(config: Config) -> tuple[str, ...]:
    """Return what both compute in: with lbfgs scikit-learn's weights are float64, whatever the data's precision."""
    return ("float64",) if config.solver == "lbfgs" else ("float64", "float32")


def compared_losses(estimator: Any, dtype: str) -> Any:
    """Return the losses in which both must agree: of the first epochs, or with lbfgs the one reached."""
    return np.array(
        [estimator.loss_] if estimator.solver == "lbfgs" else estimator.loss_curve_[: EPOCHS_COMPARED[dtype]]
    )


def table(config: Config, *, rounds: int) -> Table:
    """Return one configuration's table."""
    made = Table(
        str(config),
        (
            "system",
            "median ms",
            "minimum ms",
            "spread",
            f"÷ {PEER}, same dtype",
            "÷ same, float64",
            "held-out accuracy",
        ),
        note="",
    )
    notes = []
    default = None
    for dtype in dtypes_of(config):
        timings, accuracies, deviation = measure(config, dtype, rounds=rounds)
        default = default or timings[PEER]  # float64 is what the digits come in
        for name, timing in timings.items():
            made.rows.append(
                (
                    f"{name}, {dtype}",
                    f"{1e3 * timing.median:.0f}",
                    f"{1e3 * timing.minimum:.0f}",
                    f"{timing.spread:.1%}",
                    f"{timing.ratio(timings[PEER]):.2f}",
                    f"{timing.ratio(default):.2f}",
                    f"{np.mean(accuracies[name]):.2%}",
                )
            )
        compared = "reached" if config.solver == "lbfgs" else f"of the first {EPOCHS_COMPARED[dtype]} epochs"
        notes.append(f"{dtype}: the losses {compared} agree to {deviation:.0e}.")
    made.note = " ".join(notes)
    return made


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sklearn_digits", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="fits per system (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="few rounds, for a first impression")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # both say that they stop at the last epoch
    for name in MAKERS:  # so that no fit includes a library's own start
        make(name, Config("adam", (4,), 2), 0).fit(*data("float32", 0)[::2])
    tables = [table(config, rounds=4 if arguments.quick else arguments.rounds) for config in CONFIGS]
    tables[0].note += (
        " A fit of graphdiff includes tracing and compiling its step for two sizes of batch; seeds and splits differ "
        "from round to round and are the same for both."
    )
    publish(
        "sklearn_digits",
        "The digits, beside scikit-learn",
        tables,
        ["numpy", "scikit-learn"],
        write=not arguments.quick,
    )


if __name__ == "__main__":
    main()
