"""PyTorch with its Adam fused into one kernel."""

import torch

from benchmarks.peers import Step
from benchmarks.peers.torch_eager import make_model, train_with
from benchmarks.problem import Array, Config, Labels, Weights


def make_step(config: Config, weights: Weights, x: Array, y: Labels) -> Step:
    """Return one training step."""
    model = make_model(config, weights)
    return train_with(model, torch.optim.Adam(model.parameters(), lr=1e-3, fused=True), x, y)
