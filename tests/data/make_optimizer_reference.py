"""Write optimizers.json and schedules.json: what PyTorch's optimisers and schedulers do, as data for the tests.

Run with PyTorch 2.13: python tests/data/make_optimizer_reference.py
"""

import json
from pathlib import Path

import torch
from torch.optim import lr_scheduler

HERE = Path(__file__).parent
START_W, START_B = [[1.5, -2.0], [0.5, 0.8]], [0.7, -0.3]
STEPS = 20

CASES = {
    "SGD": [
        {"lr": 0.05},
        {"lr": 0.05, "momentum": 0.9},
        {"lr": 0.05, "momentum": 0.8, "dampening": 0.3},
        {"lr": 0.02, "momentum": 0.9, "nesterov": True},
        {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1},
    ],
    "Rprop": [{}, {"lr": 0.1}, {"lr": 0.5, "etas": [0.3, 1.5], "step_sizes": [0.01, 1.0]}],
    "Adagrad": [
        {"lr": 0.1},
        {"lr": 0.5, "lr_decay": 0.1, "initial_accumulator_value": 0.3},
        {"lr": 0.2, "weight_decay": 0.1, "eps": 0.01},
    ],
    "Adadelta": [{}, {"lr": 0.5, "rho": 0.8, "eps": 0.001}, {"weight_decay": 0.1}],
    "RMSprop": [
        {},
        {"lr": 0.05, "alpha": 0.9, "momentum": 0.7},
        {"lr": 0.02, "alpha": 0.9, "centered": True},
        {"lr": 0.02, "alpha": 0.8, "centered": True, "momentum": 0.5, "weight_decay": 0.1, "eps": 0.001},
    ],
    "Adam": [{}, {"lr": 0.1}, {"lr": 0.1, "betas": [0.5, 0.8], "eps": 0.1}, {"lr": 0.1, "weight_decay": 0.2}],
    "AdamW": [{}, {"lr": 0.1, "weight_decay": 0.2}, {"lr": 0.1, "betas": [0.7, 0.9], "weight_decay": 0.0}],
    "NAdam": [{}, {"lr": 0.1}, {"lr": 0.05, "betas": [0.8, 0.95], "weight_decay": 0.1, "momentum_decay": 0.02}],
}

SCHEDULES = {
    "step": (lambda o: lr_scheduler.StepLR(o, 7, gamma=0.3), 40),
    "exponential": (lambda o: lr_scheduler.ExponentialLR(o, 0.9), 40),
    "cosine": (lambda o: lr_scheduler.CosineAnnealingLR(o, 30, eta_min=0.05), 31),
    "warm_restarts": (lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 5, T_mult=3, eta_min=0.01), 120),
    "warm_restarts, equal": (lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 7), 50),
    "triangular": (lambda o: lr_scheduler.CyclicLR(o, 0.1, 0.6, 8, cycle_momentum=False), 70),
    "triangular2": (lambda o: lr_scheduler.CyclicLR(o, 0.1, 0.6, 8, mode="triangular2", cycle_momentum=False), 70),
    "one_cycle": (lambda o: lr_scheduler.OneCycleLR(o, 0.5, total_steps=50), 50),
    "one_cycle, linear": (lambda o: lr_scheduler.OneCycleLR(o, 0.5, total_steps=50, anneal_strategy="linear"), 50),
    "linear": (lambda o: lr_scheduler.LinearLR(o, 0.25, 1.0, total_iters=10), 30),
    "sequence": (
        lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.ConstantLR(o, 1.0, 1), lr_scheduler.ExponentialLR(o, 0.9)], [10]
        ),
        30,
    ),
}


def loss(w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return a function of a matrix and a vector that is not quadratic."""
    return (w**2).sum() / 2 + torch.sin(3 * w[0] * b).sum() + ((b - w[1]) ** 4).sum() / 4 + torch.exp(b[0] - w[0, 1])


def trajectory(make: object) -> list[list[float]]:
    """Return w and b, laid flat, after each step."""
    w = torch.tensor(START_W, dtype=torch.float64, requires_grad=True)
    b = torch.tensor(START_B, dtype=torch.float64, requires_grad=True)
    optimizer = make(w, b)
    path = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss(w, b).backward()
        optimizer.step()
        path.append([*w.detach().ravel().tolist(), *b.detach().tolist()])
    return path


def optimisers() -> list[dict]:
    """Return one entry per optimiser and settings."""
    found = []
    for name, settings in CASES.items():
        for options in settings:
            rule = getattr(torch.optim, name)
            path = trajectory(lambda w, b, rule=rule, options=options: rule([w, b], foreach=False, **options))
            found.append({"rule": name, "options": options, "path": path})
    grouped = {"lr": 0.01, "momentum": 0.9}
    path = trajectory(
        lambda w, b: torch.optim.SGD([{"params": [w]}, {"params": [b], "lr": 0.05, "weight_decay": 0.1}], **grouped)
    )
    found.append({"rule": "SGD", "options": grouped, "group": {"lr": 0.05, "weight_decay": 0.1}, "path": path})
    path = trajectory(
        lambda w, b: torch.optim.Adam([{"params": [w]}, {"params": [b], "betas": (0.5, 0.9), "lr": 0.05}], lr=0.1)
    )
    found.append({"rule": "Adam", "options": {"lr": 0.1}, "group": {"betas": [0.5, 0.9], "lr": 0.05}, "path": path})
    return found


def schedules() -> dict[str, list[float]]:
    """Return the rates that are used at steps 0, 1, …"""
    found = {}
    for name, (make, count) in SCHEDULES.items():
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
        scheduler = make(optimizer)
        rates = []
        for place in range(count):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if place + 1 < count:
                scheduler.step()
        found[name] = rates
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4, momentum=0.9)
    scheduler = lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=50)
    found["one_cycle, momentum"] = []
    for place in range(50):
        found["one_cycle, momentum"].append(optimizer.param_groups[0]["momentum"])
        optimizer.step()
        if place < 49:
            scheduler.step()
    return found


METRICS = [5.0, 4.0, 4.0, 3.9999, 4.1, 3.0, 3.1, 3.1, 3.1, 3.1, 3.1, 3.1, 3.1, 3.1, 3.1, 2.0, 2.5, 2.5, 2.5, 2.5, 2.5]


def plateau() -> dict[str, list[float]]:
    """Return the rate after each metric."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=2, cooldown=1)
    rates = []
    for metric in METRICS:
        scheduler.step(metric)
        rates.append(optimizer.param_groups[0]["lr"])
    return {"metrics": METRICS, "rates": rates}


def rosenbrock() -> dict:
    """Return where L-BFGS with a strong-Wolfe line search goes, call by call."""
    x = torch.tensor([-1.2, 1.0], dtype=torch.float64, requires_grad=True)
    options = {"max_iter": 5, "tolerance_grad": 1e-9, "tolerance_change": 1e-16}
    optimizer = torch.optim.LBFGS([x], line_search_fn="strong_wolfe", **options)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
        value.backward()
        return value

    path = []
    for _ in range(12):
        optimizer.step(closure)
        path.append(x.tolist())
    return {"start": [-1.2, 1.0], **options, "path": path}


def write(name: str, data: object) -> None:
    """Write one entry per line, every number as its shortest exact decimal form."""
    rows = data.items() if isinstance(data, dict) else enumerate(data)
    if isinstance(data, dict):
        lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in rows]
        text = "{\n" + ",\n".join(lines) + "\n}\n"
    else:
        text = "[\n" + ",\n".join(json.dumps(value) for _, value in rows) + "\n]\n"
    (HERE / name).write_text(text)


if __name__ == "__main__":
    assert torch.__version__.startswith("2.13"), torch.__version__
    # NAdam keeps the product of its momenta in the default dtype, whatever the parameters have.
    torch.set_default_dtype(torch.float64)
    write(
        "optimizers.json",
        {"torch": torch.__version__, "w": START_W, "b": START_B, "cases": optimisers(), "rosenbrock": rosenbrock()},
    )
    write("schedules.json", schedules() | {"plateau": plateau()})
