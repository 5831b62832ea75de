"""Optimisers: how parameters follow their gradients."""

from graphdiff.optim import schedules
from graphdiff.optim.adam import LAMB, Adam, AdamW, NAdam
from graphdiff.optim.adaptive import AdaDelta, AdaGrad, RMSProp
from graphdiff.optim.descent import LARS, SGD, Rprop
from graphdiff.optim.groups import ParameterGroup
from graphdiff.optim.lbfgs import LBFGS
from graphdiff.optim.newton import Newton
from graphdiff.optim.optimizers import Optimizer
from graphdiff.optim.range_test import RangeTest, lr_range_test
from graphdiff.optim.schedules import Schedule

__all__ = [
    "LAMB",
    "LARS",
    "LBFGS",
    "SGD",
    "AdaDelta",
    "AdaGrad",
    "Adam",
    "AdamW",
    "NAdam",
    "Newton",
    "Optimizer",
    "ParameterGroup",
    "RMSProp",
    "RangeTest",
    "Rprop",
    "Schedule",
    "lr_range_test",
    "schedules",
]


def __dir__() -> list[str]:
    return sorted(__all__)
