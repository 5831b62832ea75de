"""`graphdiff demo`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from graphdiff.backend import use_backend
from graphdiff.cli.common import errors_told, require_writable, widths_of
from graphdiff.draw import draw
from graphdiff.host import HostArray
from graphdiff.nn import MLP, softmax_cross_entropy
from graphdiff.optim import Adam
from graphdiff.train import fit

__all__ = ["demo"]

_EXAMPLES = """\b
Examples:
  graphdiff demo
  graphdiff demo --epochs 10 --hidden 128 --out results/
"""


@click.command(epilog=_EXAMPLES)
@click.option("--epochs", default=25, show_default=True, type=click.IntRange(1), help="Passes over the training data.")
@click.option("--hidden", default="64,64", show_default=True, help="Widths of the hidden layers, separated by commas.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Fixes weights, split and order.")
@click.option("--out", default=".", show_default=True, type=click.Path(path_type=Path), help="Where pictures go.")
@click.option("--backend", default="numpy", show_default=True, help="Where arrays live.")
def demo(epochs: int, hidden: str, seed: int, out: Path, backend: str) -> None:
    """Train an MLP on scikit-learn's 1,797 handwritten digits, a quarter of them held out.

    Prints loss and accuracy per epoch, and writes digits_loss.svg (the graph of the loss on a small batch) and
    digits_curves.png (the curves).
    """
    widths = widths_of(hidden)
    require_writable(out)
    with errors_told(), use_backend(backend):
        _train_digits(epochs, widths, seed, out)


def _digits(seed: int) -> tuple[HostArray, HostArray, HostArray, HostArray]:
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise click.ClickException(f'the demo needs {error.name}: pip install "graphdiff[demo]"') from error
    images, labels = load_digits(return_X_y=True)
    scaled = (images / 16).astype("float32")
    return tuple(train_test_split(scaled, labels, test_size=0.25, random_state=seed, stratify=labels))


def _train_digits(epochs: int, widths: list[int], seed: int, out: Path) -> None:
    train_images, test_images, train_labels, test_labels = _digits(seed)
    model = MLP([*widths, 10], in_features=64, seed=seed)
    optimizer = Adam(model.parameters(), lr=3e-3)
    click.echo(
        f"{len(train_images)} digits to train on, {len(test_images)} held out; MLP 64-{'-'.join(map(str, widths))}-10"
    )
    click.echo(f"{'epoch':>5}  {'loss':>8}  {'accuracy':>8}  {'held-out loss':>13}  {'held-out accuracy':>17}")
    started = time.perf_counter()
    history = fit(
        model,
        softmax_cross_entropy,
        (train_images, train_labels),
        optimizer,
        epochs=epochs,
        batch_size=32,
        validation=(test_images, test_labels),
        seed=seed,
        on_epoch=_print_epoch,
    )
    seconds = time.perf_counter() - started
    click.echo(f"held-out accuracy {history[-1]['validation_accuracy']:.2%} after {seconds:.2f} s of training")
    few = slice(0, 4)
    loss = softmax_cross_entropy(model(train_images[few]), train_labels[few]).named("loss")
    loss.backward()
    graph = draw(loss).save(out / "digits_loss.svg")
    curves = history.plot(out / "digits_curves.png")
    click.echo(f"wrote {graph} and {curves}")


def _print_epoch(record: dict[str, float]) -> None:
    click.echo(
        f"{record['epoch']:>5}  {record['loss']:>8.4f}  {record['accuracy']:>8.2%}"
        f"  {record['validation_loss']:>13.4f}  {record['validation_accuracy']:>17.2%}"
    )
