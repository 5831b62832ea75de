"""The training problems that every system is given: configurations A to D, their initial weights and their data."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Labels = NDArray[np.int64]
Weights = list[tuple[Array, Array]]


@dataclass(frozen=True)
class Config:
    """One multilayer perceptron with ReLU between its layers, and the size of its minibatch.

    Parameters
    ----------
    name : str
        Short name in tables.
    sizes : tuple of int
        Features of the input, of each hidden layer, and number of classes.
    batch : int
        Examples per step.
    """

    name: str
    sizes: tuple[int, ...]
    batch: int

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum((inputs + 1) * outputs for inputs, outputs in pairwise(self.sizes))

    def __str__(self) -> str:
        return f"{self.name}: {'-'.join(map(str, self.sizes))}, batch {self.batch}"


CONFIGS = {
    config.name: config
    for config in (
        Config("A", (2, 16, 16, 2), 100),
        Config("B", (64, 64, 10), 64),
        Config("C", (784, 128, 10), 64),
        Config("D", (784, 512, 512, 10), 128),
    )
}


def initial_weights(config: Config) -> Weights:
    """He-initialised weights of shape (inputs, outputs) and zero biases, one pair per layer.

    Returns
    -------
    list of (array, array)
        float32, the same at every call.
    """
    random = np.random.default_rng(0)
    return [
        (
            random.normal(scale=np.sqrt(2 / inputs), size=(inputs, outputs)).astype(np.float32),
            np.zeros(outputs, np.float32),
        )
        for inputs, outputs in pairwise(config.sizes)
    ]


def data(config: Config) -> tuple[Array, Labels]:
    """One minibatch: standard normal features of shape (batch, features), and labels of shape (batch,).

    Each example occurs twice, under two labels. No network can fit that, so the gradients of a long run do not fade
    into subnormal numbers, which some processors and libraries handle far more slowly than others.
    """
    random = np.random.default_rng(1)
    half = config.batch // 2
    features = random.normal(size=(half, config.sizes[0])).astype(np.float32)
    labels = random.integers(0, config.sizes[-1], half)
    return np.concatenate([features, features]), np.concatenate([labels, (labels + 1) % config.sizes[-1]])
