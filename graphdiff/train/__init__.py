"""Minibatches, the fit loop, scaling, files, and scikit-learn estimators."""

from typing import TYPE_CHECKING

from graphdiff.train import augment
from graphdiff.train.averaging import AveragedWeights
from graphdiff.train.callbacks import Callback, EarlyStopping, Run
from graphdiff.train.files import Saved, load, save
from graphdiff.train.fit import fit
from graphdiff.train.history import History
from graphdiff.train.layer_histograms import LayerHistograms
from graphdiff.train.minibatches import Growing, minibatches
from graphdiff.train.onnx import export_onnx
from graphdiff.train.scaling import MinMax, Scaler, Standardise

if TYPE_CHECKING:
    from graphdiff.train.sklearn.estimators import MLPClassifier, MLPRegressor

__all__ = [
    "MLPClassifier",
    "MLPRegressor",
    "AveragedWeights",
    "Callback",
    "EarlyStopping",
    "Growing",
    "History",
    "LayerHistograms",
    "MinMax",
    "Run",
    "Saved",
    "Scaler",
    "Standardise",
    "augment",
    "export_onnx",
    "fit",
    "load",
    "minibatches",
    "save",
]


def __getattr__(name: str) -> type:
    if name not in ("MLPClassifier", "MLPRegressor"):
        raise AttributeError(f"module 'graphdiff.train' has no attribute {name!r}")
    try:
        from graphdiff.train.sklearn import estimators
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "sklearn":
            raise
        message = f"{name} needs scikit-learn 1.6 or newer: pip install 'graphdiff[demo]'"
        raise ImportError(message, name="sklearn") from error
    found: type = getattr(estimators, name)
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
