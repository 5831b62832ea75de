"""The CuPy backend's own code over NumPy under CuPy's names: eager, and its plans on the emulated device."""

import math
from typing import Any

import numpy as np
from cuda_emulator import Emulator
from graphdiff_cupy import CupyBackend
from graphdiff_cupy.runner import Runner

from graphdiff.backend import Backend

# NumPy's functions that CuPy 14.2 has not.
ABSENT = {"vecdot", "matvec", "vecmat", "unstack", "cumulative_sum", "cumulative_prod", "isdtype", "float128"}


class Ufunc:
    """A function of NumPy that, as CuPy's do, gives arrays and never numbers."""

    def __init__(self, ufunc: Any) -> None:
        self.ufunc = ufunc

    def __call__(self, *arrays: Any, **options: Any) -> Any:
        return np.asarray(self.ufunc(*arrays, **options))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ufunc, name)


class NumpyAsCupy:
    """NumPy under CuPy's names: what CuPy has not is not there."""

    asnumpy = staticmethod(np.asarray)

    def __getattr__(self, name: str) -> Any:
        if name in ABSENT:
            raise AttributeError(name)
        found = getattr(np, name)
        return Ufunc(found) if isinstance(found, np.ufunc) or name == "round" else found


class StandIn(CupyBackend):
    name = "cupy-stand-in"
    planner = None
    fed, synchronize = Backend.fed, Backend.synchronize
    namespace = NumpyAsCupy()

    def special_functions(self) -> Any:
        return {"erf": lambda x: np.asarray(np.vectorize(math.erf, otypes=[float])(x), getattr(x, "dtype", None))}


STAND_IN = StandIn()


class Emulated(StandIn):
    """Plans of generated kernels, run on the CPU.

    Parameters
    ----------
    **device
        As `Emulator` takes them.
    """

    def __init__(self, **device: Any) -> None:
        super().__init__()
        self.device = Emulator(**device)
        self.planner = self.made  # type: ignore[method-assign]

    def made(self, program: Any, disable: frozenset[str], precision: str) -> Runner:
        return Runner(program, disable, self.device, precision)
