"""What may be hung into the fit loop, and early stopping."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection
from typing import Any

from graphdiff.errors import DataError
from graphdiff.guard import guarded
from graphdiff.host import HostArray
from graphdiff.nn.module import Module
from graphdiff.optim.optimizers import Optimizer
from graphdiff.train.history import History, Record

__all__ = ["Callback", "EarlyStopping", "Run", "State"]

State = dict[str, Any]
"""What checkpoints keep of a callback: text, numbers, arrays, and lists and dicts of them."""

_MORE = re.compile(
    "acc|accuracy|ap|au(c|roc|prc)|bleu|correlation|corrcoef|d2|dice|f1|f1score|f2|fbeta|iou|jaccard|kappa|likelihood|map|"
    "mcc|ndcg|pearson|precision|psnr|r2|r2score|recall|rocauc|rouge|sensitivity|spearman|specificity|ssim"
)
_LESS = re.compile(
    "bce|brier|cer|crossentropy|crps|deviance|distance|divergence|ece|errors?|logloss|loss|mae|mape|mse|msle|nll|"
    "perplexity|ppl|rmse|rmsle|smape|wer"
)
_BESIDE = re.compile(
    "absolute|average|averaged|balanced|binary|categorical|class|coefficient|cohens?|l[12]|log|macro|matthews|max|maximum|"
    "mean|median|micro|multiclass|neg|negative|normali[sz]ed|percentage|pr|quadratic|relative|roc|root|score|softmax|"
    "sparse|squared|test|top|total|train|training|val|validation|weighted"
)
"""Words of which the names of measures are made: more of it is better, less is, and what says nothing of that."""


@dataclasses.dataclass
class Run:
    """Where a training run is; what callbacks are given.

    Attributes
    ----------
    model, optimizer
    history : History
        Of the finished epochs.
    epoch : int
        The number of finished epochs.
    batch : int
        The number of finished batches of the epoch under way.
    loss : float
        Of the epoch under way: the sum over its batches so far, each weighted by its share of the epoch's rows, or of
        their `sample_weight`.
    stopped : str
        Why training ends after this epoch; empty as long as it goes on.
    """

    model: Module
    optimizer: Optimizer
    history: History = dataclasses.field(default_factory=History)
    epoch: int = 0
    batch: int = 0
    loss: float = 0.0
    stopped: str = ""

    def stop(self, reason: str = "a callback asked for it") -> None:
        """End training after this epoch."""
        self.stopped = reason


class Callback:
    """Called by `fit`; subclasses define what they need.

    One that remembers anything from epoch to epoch defines `state` and `load_state` too, so that a resumed run goes on
    as if never interrupted.

    Examples
    --------
    >>> import graphdiff as gd
    >>> class HalveOnRise(gd.train.Callback):
    ...     last = float("inf")
    ...
    ...     def on_epoch(self, run, record):
    ...         if record["loss"] > self.last:
    ...             run.optimizer.lr /= 2
    ...         self.last = record["loss"]
    ...
    ...     def state(self):
    ...         return {"last": self.last}
    ...
    ...     def load_state(self, state):
    ...         self.last = state["last"]
    """

    def on_start(self, run: Run) -> None:
        """Before the first batch."""

    def on_batch(self, run: Run) -> None:
        """After each batch."""

    def on_epoch(self, run: Run, record: Record) -> None:
        """After each epoch, whose record may be added to."""

    def on_end(self, run: Run) -> None:
        """When training has ended of itself."""

    def state(self) -> State:
        """Return what checkpoints keep: text, numbers, arrays, and lists and dicts of them."""
        return {}

    def load_state(self, state: State) -> None:
        """Go on from what `state` returned; called before `on_start` when a run is resumed."""


class EarlyStopping:
    """Stop when a quantity has not improved for some epochs.

    Parameters
    ----------
    patience : int
        How many epochs without improvement are borne.
    monitor : str, optional
        A name of the history's records; by default "validation_loss", or "loss" where nothing is held out.
    mode : {"auto", "min", "max"}
        Whether less or more is better. "auto" knows the usual names, such as loss, error, rmse, and accuracy, auc, f1,
        recall, r2, score; of any other it has to be said.
    min_delta : float
        What counts as an improvement is larger than this.
    restore_best : bool
        Give the model the weights of the best epoch at the end.
    """

    @guarded
    def __init__(
        self,
        patience: int = 10,
        *,
        monitor: str | None = None,
        mode: str = "auto",
        min_delta: float = 0.0,
        restore_best: bool = True,
    ) -> None:
        if patience < 1:
            raise DataError(f"early stopping waits at least one epoch, not {patience}")
        if mode not in ("auto", "min", "max"):
            raise DataError(f"the mode is auto, min or max, not {mode!r}")
        self.patience, self.monitor, self.mode = patience, monitor, mode
        self.min_delta, self.restore_best = min_delta, restore_best


def _direction(name: str) -> str | None:
    """Return whether less ("min") or more ("max") of what is called so is better; None where the name does not tell."""
    name = re.sub(r"cross[ _-]?entropy", "crossentropy", name.lower().replace("²", "2"))
    words = set(re.split(r"[\W_]+", re.sub(r"(top|at|@)[ _-]?(\d+|k)(?![a-z0-9])", " top ", name))) - {""}
    more, less, beside = ({word for word in words if kind.fullmatch(word)} for kind in (_MORE, _LESS, _BESIDE))
    if not less:
        more |= words & {"score"}
    if bool(more) == bool(less) or words - more - less - beside:
        return None
    return "max" if bool(more) != bool(words & {"neg", "negative"}) else "min"


class Watcher:
    """The state of early stopping in one run: the best epoch so far and its weights.

    Parameters
    ----------
    settings : EarlyStopping
    held_out : bool
        Whether there is validation data.
    measured : collection of str
        What is recorded in any case; callbacks may record more.
    """

    def __init__(self, settings: EarlyStopping, held_out: bool, measured: Collection[str] = ()) -> None:
        self._settings = settings
        self._name = settings.monitor or ("validation_loss" if held_out else "loss")
        self._mode = _direction(self._name) if settings.mode == "auto" else settings.mode
        if self._name in measured:
            self._require_mode()
        self.best: float | None = None
        self.best_epoch = 0
        self.weights: dict[str, HostArray] = {}

    def _require_mode(self) -> None:
        if self._mode is None:
            raise DataError(
                f"early stopping watches {self._name!r}, whose name does not tell whether less of it is better "
                'or more: give EarlyStopping mode="min" or mode="max"'
            )

    def look(self, run: Run, record: Record) -> None:
        """Compare an epoch with the best one, and stop the run if that is too long ago."""
        if self._name not in record:
            raise DataError(f"early stopping watches {self._name!r}, and an epoch records {', '.join(record)}")
        self._require_mode()
        value = (1.0 if self._mode == "min" else -1.0) * float(record[self._name])
        if value == value and (self.best is None or value < self.best - self._settings.min_delta):
            self.best, self.best_epoch = value, run.epoch
            if self._settings.restore_best:
                self.weights = run.model.state()
        elif run.epoch - self.best_epoch >= self._settings.patience:
            run.stop(f"{self._name} has not improved for {self._settings.patience} epochs")

    def restore(self, model: Module) -> None:
        """Give the model its best weights."""
        if self.weights:
            model.load_state(self.weights)
