"""Write nn.json: what PyTorch's layers and losses give in float64, with their gradients.

    python tests/references/nn.py

Made with PyTorch 2.13.
"""

import json
from pathlib import Path

import torch
from torch.nn import functional

torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
found = {}


def listed(value):
    return value.detach().tolist() if isinstance(value, torch.Tensor) else value


def note(name, call, *inputs, **extra):
    """Note the value, and the gradients of sum(value · 1, 2, 3, …) by the inputs that are real."""
    leaves = [x.clone().requires_grad_() if x.is_floating_point() else x for x in inputs]
    out = call(*leaves)
    (out * torch.arange(1.0, out.numel() + 1).reshape(out.shape)).sum().backward()
    gradients = [listed(x.grad) if x.is_floating_point() and x.grad is not None else None for x in leaves]
    found[name] = {"inputs": [listed(x) for x in inputs], "value": listed(out), "gradients": gradients} | extra


x = torch.randn(6, 4)
gamma, beta = torch.rand(4) + 0.5, torch.randn(4)

mean, variance = torch.zeros(4), torch.ones(4)


def batch_norm(x, gamma, beta, training=True):
    return functional.batch_norm(x, mean, variance, gamma, beta, training, 0.1, 1e-5)


note("batch_norm", batch_norm, x, gamma, beta)
found["batch_norm"] |= {"mean": listed(mean), "variance": listed(variance)}
note("batch_norm_evaluating", lambda *given: batch_norm(*given, training=False), x, gamma, beta)
note("layer_norm", lambda x, g, b: functional.layer_norm(x, (4,), g, b, 1e-5), x, gamma, beta)
note("prelu", functional.prelu, x, torch.tensor([0.1, 0.2, 0.3, 0.4]))

target = torch.randn(6, 4)
binary = (torch.rand(6) > 0.5).double()
soft = torch.rand(6, 3).softmax(-1)
logits = 3 * torch.randn(6, 3)
labels = torch.tensor([0, 2, 1, 1, 0, 2])
classes = torch.tensor([0.5, 1.0, 2.0])
note("squared_error", functional.mse_loss, x, target)
note("absolute_error", functional.l1_loss, x, target)
note("huber", lambda x, y: functional.huber_loss(x, y, delta=0.7), x, target)
entropy = functional.binary_cross_entropy_with_logits
note("binary_cross_entropy", entropy, 5 * x[:, 0], binary)
note("binary_cross_entropy_soft", entropy, 5 * x[:, 0], torch.rand(6))
note("binary_cross_entropy_positive", lambda z, y: entropy(z, y, pos_weight=torch.tensor(3.0)), 5 * x[:, 0], binary)
note("softmax_cross_entropy", functional.cross_entropy, logits, labels)
note("softmax_cross_entropy_soft", functional.cross_entropy, logits, soft)
for smoothing in (0.0, 0.1):
    for weight in (None, classes):
        name = f"smoothing {smoothing}, {'weighted' if weight is not None else 'plain'}"
        options = {"label_smoothing": smoothing, "weight": weight}
        for kind, given in (("labels", labels), ("probabilities", soft)):
            note(
                f"{name}, {kind}",
                lambda z, y, options=options: functional.cross_entropy(z, y, **options),
                logits,
                given,
                smoothing=smoothing,
                class_weights=listed(weight),
            )
note("kl_divergence", lambda p, q: functional.kl_div(p, q, reduction="batchmean"), logits.log_softmax(-1), soft)
note("multiclass_hinge", lambda z, y: functional.multi_margin_loss(z, y) * 3, logits, labels)

Path(__file__).with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
