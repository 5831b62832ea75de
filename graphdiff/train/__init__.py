"""Minibatches, the fit loop, scaling, and what is kept in files."""

from graphdiff.train.callbacks import Callback, EarlyStopping, Run
from graphdiff.train.files import Saved, load, save
from graphdiff.train.fit import fit
from graphdiff.train.history import History
from graphdiff.train.minibatches import Growing, minibatches
from graphdiff.train.scaling import MinMax, Scaler, Standardise

__all__ = [
    "Callback",
    "EarlyStopping",
    "Growing",
    "History",
    "MinMax",
    "Run",
    "Saved",
    "Scaler",
    "Standardise",
    "fit",
    "load",
    "minibatches",
    "save",
]
