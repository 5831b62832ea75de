"""Random training runs: one sequence of steps and of state calls, eager and compiled, all state compared after each."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import numpy as np

import graphdiff as gd
from graphdiff.errors import CompileError, NoValueError, OpError

from .cases import HEADER, Difference, Refused, executed, one_line, unlike
from .engines import engine

WIDTH = 4
ROWS = 6

LAYERS = [
    *("gd.nn.Linear({w}, in_features={w}, seed={seed}, dtype={dtype})",) * 4,
    *("gd.nn.Activation({activation})",) * 3,
    *("gd.nn.Dropout({p}, seed={seed})", "gd.nn.Dropout({p})", "gd.nn.BatchNorm({w}, momentum={p}, dtype={dtype})"),
    *("gd.nn.BatchNorm({w}, eps=0.01, affine=False, dtype={dtype})", "gd.nn.LayerNorm({w}, eps=0.01, dtype={dtype})"),
    *("gd.nn.PReLU({w}, dtype={dtype})", "gd.nn.Highway({w}, 'tanh', seed={seed}, dtype={dtype})", "gd.nn.Flatten()"),
    "gd.nn.Maxout({w}, 2, in_features={w}, seed={seed}, dtype={dtype})",
    "gd.nn.Residual(gd.nn.Linear({w}, in_features={w}, seed={seed}, dtype={dtype}), gd.nn.Activation({activation}))",
    "gd.nn.Sequential(gd.nn.Dropout({p}, seed={seed}), gd.nn.Activation({activation}))",
]
LOSSES = {
    "gd.nn.squared_error(model(x), y)": "values",
    "gd.nn.huber(model(x), y, delta=0.5)": "values",
    "gd.nn.absolute_error(model(x), y)": "values",
    "gd.mean((model(x) - y) ** 2) + gd.nn.l2_penalty(model, 0.1)": "values",
    "gd.sum(gd.tanh(model(x)) * y)": "values",
    "gd.nn.softmax_cross_entropy(model(x), y)": "labels",
    "gd.nn.softmax_cross_entropy(model(x), y, label_smoothing=0.1)": "labels",
    "gd.nn.binary_cross_entropy(model(x), y)": "binary",
    "gd.nn.hinge(model(x), y)": "labels",
}
TARGETS = {
    "values": f"stream.normal(size=({ROWS}, {WIDTH}))",
    "labels": f"stream.integers(0, {WIDTH}, {ROWS})",
    "binary": f"stream.integers(0, 2, ({ROWS}, {WIDTH}))",
}
OPTIMIZERS = ["SGD", "SGD", "Adam", "AdamW", "RMSProp", "AdaGrad", "AdaDelta", "NAdam", "LAMB", "LARS", "Rprop"]
SETTINGS: dict[str, list[str]] = {
    "lr": ["0.1", "0.01", "0.3"],
    "weight_decay": ["0.0", "0.1", "0.5"],
    "momentum": ["0.0", "0.5", "0.9"],
    "dampening": ["0.0", "0.5"],
    "nesterov": ["True", "False"],
    "averaged": ["True", "False"],
    "betas": ["(0.9, 0.999)", "(0.5, 0.9)", "(0.0, 0.5)"],
    "eps": ["1e-8", "0.01", "0.5"],
    "eps_inside_sqrt": ["True", "False"],
    "rho": ["0.5", "0.9"],
    "centered": ["True", "False"],
    "lr_decay": ["0.0", "0.1"],
    "initial": ["0.0", "0.1"],
    "momentum_decay": ["0.004", "0.1"],
    "most": ["10.0", "0.5"],
    "trust": ["0.001", "0.1"],
    "factors": ["(0.5, 1.2)", "(0.3, 1.5)"],
    "limits": ["(1e-6, 50.0)", "(0.01, 0.1)"],
    "clip_norm": ["None", "0.1", "1.0"],
    "clip_value": ["None", "0.05", "1.0"],
}
RATES = [
    "gd.optim.schedules.exponential(0.1, factor=0.5)",
    "gd.optim.schedules.cosine(0.1, steps=4)",
    "gd.optim.schedules.linear(0.1, 0.02, steps=3)",
]
FUNCTIONS = """
@wrap
def minimized(x, y):
    loss = loss_of(x, y)
    optimizer.minimize(loss)
    return loss

@wrap
def stepped(x, y):
    loss = loss_of(x, y)
    loss.backward()
    optimizer.step()
    return loss

@wrap
def backward(x, y):
    loss = loss_of(x, y)
    loss.backward()
    return loss

@wrap
def accumulated(x, y):
    loss = loss_of(x, y)
    loss.backward(accumulate=True)
    return loss

@wrap
def zeroed(x, y):
    optimizer.zero_grad()
    loss_of(x, y).backward(accumulate=True)
    optimizer.step()

@wrap
def applied():
    optimizer.step()

@wrap
def forgotten():
    optimizer.zero_grad()

@wrap
def descended(x, y):
    loss = loss_of(x, y)
    loss.backward()
    for parameter in parameters:
        parameter.assign(parameter - 0.05 * parameter.grad)
    return loss

@wrap
def along_the_old(x, y):
    for parameter in parameters:
        if parameter.grad is not None:
            parameter -= 0.05 * parameter.grad
    return loss_of(x, y)

@wrap
def predicted(x, y):
    return model(x)
"""
CALLS = (
    ["minimized"] * 4
    + ["stepped"] * 3
    + ["backward", "accumulated", "zeroed", "descended", "along_the_old", "predicted"]
)


@dataclass(frozen=True)
class Training:
    """A model, an optimiser, and what happens.

    Attributes
    ----------
    layers, options : tuple of str
        Texts of the model's layers and of the optimiser's arguments.
    events : tuple of str
        Statements, one after the other.
    """

    seed: int
    dtype: str
    layers: tuple[str, ...]
    loss: str
    optimizer: str
    grouped: bool
    options: tuple[str, ...]
    events: tuple[str, ...]

    # Text -----------------------------------------------------------------------------------------------------

    def setup(self) -> str:
        """Return the text of everything that events are about."""
        options = ", ".join(self.options)
        given = (
            '[{"params": parameters[:1], "weight_decay": 0.2}, {"params": parameters[1:]}]'
            if self.grouped
            else "parameters"
        )
        called = [
            line
            for line in FUNCTIONS.split("\n\n")
            if any(f"{line.split('def ')[1].split('(')[0]}(" in e for e in self.events)
        ]
        return "\n".join(
            [
                f"gd.random.seed({self.seed})",
                f"stream = np.random.default_rng({self.seed})",
                f"x, y = stream.normal(size=({ROWS}, {WIDTH})).astype({self.dtype!r}), {TARGETS[LOSSES[self.loss]]}",
                f"model = gd.nn.Sequential({', '.join(self.layers)})",
                "layers, parameters = model.modules(), model.parameters()",
                f"optimizer = gd.optim.{self.optimizer}({given}, {options})",
                f"def loss_of(x, y):\n    return {self.loss}",
                *(line.strip("\n") for line in called),
                "",
            ]
        )

    def source(self) -> str:
        """Return a program that shows both sides."""
        return (
            f"{HEADER}\nfor wrap in (lambda function: function, gd.compile):\n"
            + indented("\n".join([self.setup(), *self.events]))
            + "    print([parameter.tolist() for parameter in parameters], optimizer.state(), model.state())\n"
        )

    # Checking -------------------------------------------------------------------------------------------------

    def check(self) -> Difference | None:
        with unplanned_updates():
            expected = self.history(eager)
        for moment in expected:
            if moment["raised"] and not moment["raised"].startswith("GraphDiffError"):
                return Difference(f"eager raises {moment['raised'].split(':')[0]}", moment["raised"])
        difference = self.compared(expected, self.history(eager), "eager")
        if difference is not None:
            return difference
        with engine():
            return self.compared(expected, self.history(gd.compile), "compiled")

    def compared(self, expected: list[Any], found: list[Any], how: str) -> Difference | None:
        """Return the first difference between a run and one in which nothing at all is planned."""
        for place, (event, one, other) in enumerate(zip(self.events, expected, found)):
            told = f"{how}, after event {place}, `{event}`: "
            if one["raised"] != other["raised"]:
                return self.of_errors(one["raised"], other, found[place - 1] if place else None, told)
            difference = self.unlike(one, other)
            if one["raised"] and (difference is not None or "(x" in event):  # what it did before it failed stays done
                raise Refused(f"event: {one['raised']}")
            if difference is not None:
                self.require_steady(expected)
                return Difference(f"training, {difference.kind}", told + difference.told)
        return None

    def unlike(self, one: dict[str, Any], other: dict[str, Any]) -> Difference | None:
        """Return how two moments differ; parameters are of the size of 1.

        Where a gradient is 0 but for rounding, rules other than SGD's divide rounding by their small constants.
        """
        floor = 1.0 if self.optimizer == "SGD" else 1e3 if self.dtype == "float64" else 10.0
        return unlike(one["state"], other["state"], least=self.dtype, floor=floor)

    def of_errors(self, one: str, other: Any, before: Any, told: str) -> Difference:
        """Return the difference that one side raises an error; a plan may refuse, clearly, and change nothing."""
        if not one and isinstance(other["error"], (CompileError, NoValueError, OpError)):
            if before is None or self.unlike(before, other) is None:
                raise Refused(f"compile: {type(other['error']).__name__}")
            return Difference("training, half done", told + f"{other['raised']}, and state has changed")
        return Difference("training, errors", told + f"{one or 'no error'}, found {other['raised'] or 'no error'}")

    def require_steady(self, expected: list[Any]) -> None:
        """Refuse a run in which a few roundings make such differences as well: of the input, or within gradients.

        Of a gradient that is 0 but for rounding, rules other than SGD's make a whole step.
        """
        for seed in range(1, 9):
            with unplanned_updates(), rounded_gradients(seed):
                moved = self.history(eager, seed)
            if any(self.unlike(one, other) for one, other in zip(expected, moved)):
                raise Refused("delicate")

    def history(self, wrap: Any, seed: int = 0) -> list[dict[str, Any]]:
        """Run everything; return the state after each event, and the error that it raised."""
        names = executed("wrap = None\ndef prepare(wrap):\n" + indented(self.setup()) + "    return dict(locals())")
        try:
            names |= names["prepare"](wrap)
        except gd.GraphDiffError as error:
            raise Refused(f"setup: {type(error).__name__}") from error
        if seed:
            disturbed = Roundings(seed)
            names["x"] = disturbed(names["x"])
            for parameter in names["parameters"]:
                parameter.assign(disturbed(parameter.numpy()))
        moments = []
        for event in self.events:
            moment: dict[str, Any] = {"raised": "", "error": None}
            names["loss"] = None
            try:
                exec(event, names)
            except gd.GraphDiffError as error:
                moment |= {"raised": f"GraphDiffError, {type(error).__name__}", "error": error}
            except Exception as error:
                moment |= {"raised": one_line(error), "error": error}
            moments.append(moment | {"state": state_of(names)})
        return moments

    # Shrinking ------------------------------------------------------------------------------------------------

    def smaller(self) -> Iterator[Training]:
        """Yield runs with an event, a layer or an option less."""
        for place in reversed(range(len(self.events))):
            yield replace(self, events=self.events[:place] + self.events[place + 1 :])
        for place in range(len(self.layers)):
            if len(self.layers) > 1:
                yield replace(self, layers=self.layers[:place] + self.layers[place + 1 :])
        for place in range(len(self.options)):
            yield replace(self, options=self.options[:place] + self.options[place + 1 :])
        if self.grouped:
            yield replace(self, grouped=False)
        if self.loss != next(iter(LOSSES)) and LOSSES[self.loss] == "values":
            yield replace(self, loss=next(iter(LOSSES)))
        if self.optimizer != "SGD":
            yield replace(self, optimizer="SGD", options=("lr=0.1",))


class Roundings:
    """Changes arrays by about two roundings of every number."""

    def __init__(self, seed: int) -> None:
        self.stream = np.random.default_rng(seed)

    def __call__(self, array: np.ndarray) -> np.ndarray:
        noise = 1 + 2 * np.finfo(array.dtype).eps * self.stream.normal(size=array.shape)
        return (array * noise).astype(array.dtype)


def eager(function: Any) -> Any:
    return function


@contextmanager
def unplanned_updates() -> Iterator[None]:
    """Let optimisers compute their updates one op after the other, which they plan otherwise in eager steps too."""
    with mock.patch("graphdiff.optim.optimizers.compile", eager):
        yield


@contextmanager
def rounded_gradients(seed: int) -> Iterator[None]:
    """Change every gradient that an optimiser is given by about two roundings of what it was summed of, of size 1."""
    stream, apply = np.random.default_rng(seed), gd.optim.Optimizer._apply

    def noisy(gradient: Any) -> Any:
        size = 2 * np.finfo(gradient.dtype).eps * np.abs(gradient).max(initial=1)
        return (gradient + size * stream.normal(size=gradient.shape)).astype(gradient.dtype)

    def disturbed(self: Any, gradients: dict[Any, Any]) -> None:
        apply(self, {parameter: noisy(gradient) for parameter, gradient in gradients.items()})

    with mock.patch.object(gd.optim.Optimizer, "_apply", disturbed):
        yield


def indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def state_of(names: dict[str, Any]) -> dict[str, Any]:
    """Return all that may differ between two runs, as arrays."""
    optimizer, model = names["optimizer"], names["model"]
    loss = names["loss"]
    return {
        "loss": None if loss is None else loss.numpy().copy(),
        "parameters": [parameter.numpy().copy() for parameter in names["parameters"]],
        "gradients": [None if p.grad is None else np.array(p.grad) for p in names["parameters"]],
        "optimizer": {name: array.copy() for name, array in optimizer.state().items()},
        "model": model.state(),
        "lr": np.asarray(optimizer.lr),
        "training": [np.asarray(module.training) for module in names["layers"]],
    }


# Making ---------------------------------------------------------------------------------------------------------


def of_layers(setting: str, value: str) -> str:
    """Return a statement that changes a setting of the layers that have it."""
    return f"for layer in layers:\n    if hasattr(layer, {setting!r}):\n        layer.{setting} = {value}"


class Coach:
    """Thinks up one training run."""

    def __init__(self, seed: int, number: int) -> None:
        self.stream = np.random.default_rng([seed, number, 1])
        self.seed = int(self.stream.integers(1000))
        self.dtype = "float64" if self.chance(0.85) else "float32"

    def chance(self, probability: float) -> bool:
        return bool(self.stream.random() < probability)

    def pick(self, items: Sequence[str]) -> str:
        return items[int(self.stream.integers(len(items)))]

    def layer(self, template: str) -> str:
        return template.format(
            w=WIDTH,
            seed=int(self.stream.integers(1000)),
            dtype=repr(self.dtype),
            activation=repr(self.pick(["relu", "tanh", "sigmoid", "gelu", "softplus"])),
            p=self.pick(["0.2", "0.5", "0.3"]),
        )

    def options(self, optimizer: str) -> tuple[list[str], list[str]]:
        """Return the texts of an optimiser's arguments, and what it can be set."""
        known = [name for name in inspect.signature(getattr(gd.optim, optimizer)).parameters if name in SETTINGS]
        chosen = [name for name in known if name != "lr" and self.chance(0.3)]
        rate = self.pick(RATES) if self.chance(0.12) else self.pick(SETTINGS["lr"])
        return [f"lr={rate}", *(f"{name}={self.pick(SETTINGS[name])}" for name in chosen)], known

    def training(self) -> Training:
        layers = [self.layer(self.pick(LAYERS)) for _ in range(int(self.stream.integers(1, 5)))]
        layers.append(self.layer(LAYERS[0]))
        optimizer = self.pick(OPTIMIZERS)
        options, known = self.options(optimizer)
        grouped = self.chance(0.2)
        count = int(self.stream.integers(3, 9))
        favourite = self.pick(CALLS)
        events: list[str] = []
        for _ in range(count):
            if events and self.chance(0.6):
                events.append(self.state_call(known, grouped))
            events.append(self.call(favourite if self.chance(0.6) else self.pick(CALLS)))
        loss = self.pick(list(LOSSES))
        if optimizer in ("Rprop", "SGD") and self.chance(0.1):
            events.insert(0, "optimizer.scale_loss(4.0, interval=2)")
        return Training(self.seed, self.dtype, tuple(layers), loss, optimizer, grouped, tuple(options), tuple(events))

    def call(self, name: str) -> str:
        part = "" if self.chance(0.85) else f"[:{self.pick(['3', '5', '1'])}]"
        return f"loss = {name}(x{part}, y{part})"

    def state_call(self, known: list[str], grouped: bool) -> str:
        """Return something that changes state between two steps."""
        place = int(self.stream.integers(8))
        number = f"parameters[{place} % len(parameters)]"
        layer = f"layers[{place} % len(layers)]"
        setting = self.pick(known)
        group = f"optimizer.groups[{place % (1 + grouped)}]"
        own = [name for name in known if name not in ("lr", "clip_norm", "clip_value")] or ["weight_decay"]
        of_group = self.pick(own)
        return self.pick(
            [
                *(f"optimizer.{setting} = {self.pick(SETTINGS[setting])}",) * 5,
                f"{group}.lr = {self.pick(SETTINGS['lr'])}",
                *(f"{group}.settings[{of_group!r}] = {self.pick(SETTINGS[of_group])}",) * 2,
                "optimizer.zero_grad()",
                "applied()",
                "forgotten()",
                "optimizer.step()",
                "loss_of(x, y).backward()",
                "loss_of(x, y).backward(accumulate=True)",
                "optimizer.minimize(loss_of(x, y))",
                f"{number}.assign({number}.numpy() * 0.5)",
                f"{number}.value = {number}.numpy() + 0.25",
                f"{number}.grad = np.full({number}.shape, 0.5, {number}.dtype)",
                f"{number}.grad = None",
                "model.train()",
                "model.eval()",
                "model.eval()",
                f"{layer}.train({self.pick(['True', 'False'])})",
                "model.load_state({path: 0.5 * array for path, array in model.state().items()})",
                "optimizer.load_state({name: 0.5 * array for name, array in optimizer.state().items()})",
                f"gd.random.seed({place})",
                *(of_layers("p", self.pick(["0.1", "0.6", "0.0"])),) * 2,
                *(of_layers("momentum", self.pick(["0.7", "0.0"])),) * 2,
                *(of_layers("eps", self.pick(["0.5", "1e-3"])),) * 2,
                "x[0] = 0.5",
            ]
        )


def make(seed: int, number: int) -> Training:
    """Think up training run `number` of a seed."""
    return Coach(seed, number).training()
