"""PyTorch as its tutorials use it, with the default Adam."""

import torch
from torch import nn

from benchmarks.peers import Step
from benchmarks.problem import Array, Config, Labels, Weights


def make_model(config: Config, weights: Weights) -> nn.Sequential:
    """Return the network with the given weights, on one thread."""
    torch.set_num_threads(1)
    modules: list[nn.Module] = []
    for w, b in weights:
        linear = nn.Linear(*w.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(w.T))
            linear.bias.copy_(torch.from_numpy(b))
        modules += [linear, nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def train_with(model: nn.Module, optimizer: torch.optim.Optimizer, x: Array, y: Labels) -> Step:
    """Return one training step of `model`."""
    features, labels = torch.tensor(x), torch.tensor(y)

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(features), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def make_step(config: Config, weights: Weights, x: Array, y: Labels) -> Step:
    """Return one training step."""
    model = make_model(config, weights)
    return train_with(model, torch.optim.Adam(model.parameters(), lr=1e-3), x, y)
