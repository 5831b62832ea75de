"""Write curves.json: 200 steps of one-hidden-layer networks in PyTorch, from noted weights and data in noted order.

    python tests/references/curves.py

Made with PyTorch 2.13.
"""

import json
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
found = {}
for name, outputs, activation, error in (
    ("binary", 1, nn.Tanh(), lambda z, y: functional.binary_cross_entropy_with_logits(z[:, 0], y)),
    ("multi-class", 3, nn.ReLU(), functional.cross_entropy),
):
    x = torch.randn(40, 4)
    y = (x[:, 0] * x[:, 1] > 0).double() if outputs == 1 else (x @ torch.randn(4, 3)).argmax(1)
    model = nn.Sequential(nn.Linear(4, 8), activation, nn.Linear(8, outputs))
    weights = [parameter.detach().T.tolist() for parameter in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    curve = []
    for step in range(200):
        rows = slice(step % 4 * 10, step % 4 * 10 + 10)
        loss = error(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        curve.append(loss.item())
    found[name] = {"x": x.tolist(), "y": y.tolist(), "weights": weights, "curve": curve}

Path(__file__).with_suffix(".json").write_text(json.dumps(found, indent=None) + "\n")
