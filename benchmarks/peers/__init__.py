"""The systems compared, one module each.

A module offers ``make_step(config, weights, x, y)``: it takes the initial weights and a minibatch as NumPy arrays,
keeps copies in the system's own form, and returns a function that does one training step and returns the loss
before it. A step is forward, mean softmax cross-entropy, backward and Adam (learning rate 1e-3, decay rates 0.9 and
0.999, epsilon 1e-8), in float32. The minibatch counts as new at every step: nothing derived from it may be
prepared, and the loss is there when the step returns.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import SupportsFloat, cast

from benchmarks.problem import Array, Config, Labels, Weights

Step = Callable[[], SupportsFloat]
MakeStep = Callable[[Config, Weights, Array, Labels], Step]


@dataclass(frozen=True)
class Peer:
    """A contender.

    Parameters
    ----------
    name : str
        Name of its module, and of its row in the tables.
    package : str
        The package it needs.
    default : bool
        Whether it takes part unless asked for.
    """

    name: str
    package: str
    default: bool = True

    @property
    def installed(self) -> bool:
        """Whether the package it needs is there."""
        return find_spec(self.package) is not None

    def load(self) -> MakeStep:
        """Import the peer and return its `make_step`."""
        return cast(MakeStep, import_module(f"{__name__}.{self.name}").make_step)


PEERS = {
    peer.name: peer
    for peer in (
        Peer("graphdiff_compiled", "graphdiff"),
        Peer("graphdiff_numpy", "graphdiff"),
        Peer("graphdiff_eager", "graphdiff"),
        Peer("c_tuned", "numpy"),
        Peer("numpy_tuned", "numpy"),
        Peer("numpy_plain", "numpy"),
        Peer("jax_jit", "jax"),
        Peer("torch_fused", "torch"),
        Peer("torch_eager", "torch"),
        Peer("torch_compile", "torch", default=False),
        Peer("mygrad", "mygrad"),
        Peer("autograd", "autograd"),
    )
}
