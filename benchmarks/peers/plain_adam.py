"""Adam as one writes it down in NumPy, for the systems that bring no optimiser."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.problem import Array


class PlainAdam:
    """Adam over a list of arrays, which it updates in place.

    Kingma and Ba, "Adam: a method for stochastic optimization", algorithm 1.

    Parameters
    ----------
    parameters : sequence of array
        The arrays to update.
    """

    def __init__(self, parameters: Sequence[NDArray[np.floating]]) -> None:
        self.parameters = parameters
        self.first = [np.zeros_like(p) for p in parameters]
        self.second = [np.zeros_like(p) for p in parameters]
        self.steps = 0

    def update(self, gradients: Sequence[Array]) -> None:
        """Take one step down the gradients, given in the order of the parameters."""
        self.steps += 1
        first_bias, second_bias = 1 - 0.9**self.steps, 1 - 0.999**self.steps
        for p, m, v, g in zip(self.parameters, self.first, self.second, gradients, strict=True):
            m *= 0.9
            m += 0.1 * g
            v *= 0.999
            v += 0.001 * g * g
            p -= 1e-3 * (m / first_bias) / (np.sqrt(v / second_bias) + 1e-8)
