"""How quick a training step of an MLP with Adam can be: the bound that a GPU's rates set.

Two things bound a step from below: the multiplications of its matrix products, and the bytes that must pass through
memory. The larger of the two times is the bound. What lies in the level-2 cache can be quicker than memory, and a chain
of small kernels is bound by latency instead: so the bound is approached by large networks only.
"""

from dataclasses import dataclass
from itertools import pairwise

from benchmarks.problem import Config

FLOAT = 4
"""Bytes."""
PASSES = 10
"""How often a parameter passes: read forward and backward, its gradient written; Adam reads value, gradient and two
moments, and writes value and moments. Those of the first layer are not read backward."""


@dataclass(frozen=True)
class Rates:
    """What a GPU reaches.

    Attributes
    ----------
    flops : dict of str to float
        Per second, dense, by precision of the products.
    bandwidth : float
        Bytes of memory per second.
    """

    flops: dict[str, float]
    bandwidth: float


DEVICES = {
    "NVIDIA H200": Rates({"float32": 67e12, "tf32": 495e12, "bf16": 790e12, "fp16": 790e12}, 4.3e12),
}
"""By the name that CUDA gives. float32 and TF32 from NVIDIA's data sheet; bf16 and bandwidth as measured with large
products and copies, since the data sheet's 989 TFLOP/s and 4.8 TB/s are reached by none."""


def flops(config: Config) -> float:
    """Return the additions and multiplications of a step's matrix products.

    Forward, gradient of the weights, and gradient of the inputs of all layers but the first.

    Examples
    --------
    >>> flops(Config("one layer", (3, 5), 2)) == 2 * (2 * 2 * 3 * 5)
    True
    """
    products = [2.0 * config.batch * inputs * outputs for inputs, outputs in pairwise(config.sizes)]
    return 3 * sum(products) - products[0]


def traffic(config: Config) -> float:
    """Return the bytes that a step must read and write, at least: parameters as often as `PASSES` says, all else once.

    Examples
    --------
    >>> traffic(Config("one layer", (3, 5), 2)) == 4 * (9 * (3 + 1) * 5 + 2 * (3 + 5))
    True
    """
    first = (config.sizes[0] + 1) * config.sizes[1]
    return float(FLOAT * (PASSES * config.parameters - first + config.batch * sum(config.sizes)))


def bound(config: Config, precision: str, device: str) -> float | None:
    """Return the seconds that a step takes at least on a device, or None where its rates are not known here.

    Examples
    --------
    >>> network = Config("F", (1024, 4096, 4096, 1000), 4096)
    >>> [f"{1e3 * bound(network, name, 'NVIDIA H200'):.2f} ms" for name in ("float32", "tf32", "bf16")]
    ['8.68 ms', '1.18 ms', '0.74 ms']
    >>> bound(network, "float32", "another device") is None
    True
    """
    rates = DEVICES.get(device)
    if rates is None:
        return None
    return max(flops(config) / rates.flops[precision], traffic(config) / rates.bandwidth)
