"""What PyTorch has no counterpart for, against NumPy; clipping, groups, compiled steps, copies and refusals."""

import copy
import inspect
import math
import pickle
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import pytest

import graphdiff as gd
from graphdiff import errors

START = np.array([1.5, -2.0, 0.5])
SCALES = np.array([1.0, 0.3, 5.0])
PARTS = (slice(0, 3), slice(3, 4))


def loss(w: Any, b: Any) -> Any:
    return gd.sum(SCALES * w**2) / 2 + gd.sin(w[0]) + (b - w[1]) ** 2


def slope(theta: Any) -> Any:
    gradient = SCALES * theta[:3]
    gradient[0] += np.cos(theta[0])
    gradient[1] -= 2 * (theta[3] - theta[1])
    return np.append(gradient, 2 * (theta[3] - theta[1]))


Path = Callable[[Any], Iterator[Any]]


def averaged(lr: float, momentum: float, nesterov: bool = False) -> Path:
    def path(theta: Any) -> Iterator[Any]:
        v = np.zeros_like(theta)
        while True:
            g = slope(theta)
            v = (1 - momentum) * g + momentum * v
            theta = theta - lr * ((1 - momentum) * g + momentum * v if nesterov else v)
            yield theta

    return path


def lars(lr: float, momentum: float, decay: float, trust: float) -> Path:
    """Algorithm 1 of You, Gitman and Ginsburg, 2017."""

    def path(theta: Any) -> Iterator[Any]:
        v = np.zeros_like(theta)
        while True:
            g, new = slope(theta), theta.copy()
            for part in PARTS:
                size, steepness = np.linalg.norm(theta[part]), np.linalg.norm(g[part])
                ratio = trust * size / (steepness + decay * size) if size and steepness else 1.0
                v[part] = momentum * v[part] + lr * ratio * (g[part] + decay * theta[part])
                new[part] = theta[part] - v[part]
            theta = new
            yield theta

    return path


def lamb(lr: float, beta1: float, beta2: float, decay: float = 0.0, most: float = 10.0, eps: float = 1e-6) -> Path:
    """Algorithm 2 of You et al., 2020."""

    def path(theta: Any) -> Iterator[Any]:
        m, v, t = np.zeros_like(theta), np.zeros_like(theta), 0
        while True:
            t += 1
            g, new = slope(theta), theta.copy()
            m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
            r = (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps) + decay * theta
            for part in PARTS:
                size, length = np.linalg.norm(theta[part]), np.linalg.norm(r[part])
                ratio = min(size / length, most) if size and length else 1.0
                new[part] = theta[part] - lr * ratio * r[part]
            theta = new
            yield theta

    return path


def inside(name: str, lr: float, eps: float) -> Path:
    """ε under the root."""

    def path(theta: Any) -> Iterator[Any]:
        m, v, t = np.zeros_like(theta), np.zeros_like(theta), 0
        while True:
            t += 1
            g = slope(theta)
            if name == "AdaGrad":
                v = v + g * g
                theta = theta - lr * g / np.sqrt(v + eps)
            elif name == "RMSProp":
                v = 0.99 * v + 0.01 * g * g
                theta = theta - lr * g / np.sqrt(v + eps)
            else:
                m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
                theta = theta - lr * (m / (1 - 0.9**t)) / np.sqrt(v / (1 - 0.999**t) + eps)
            yield theta

    return path


def raised(momenta: Any, rates: Any) -> Path:
    """Momentum and rate that change from step to step."""

    def path(theta: Any) -> Iterator[Any]:
        v, t = np.zeros_like(theta), 0
        while True:
            v = momenta(t) * v + slope(theta)
            theta = theta - rates(t) * v
            t += 1
            yield theta

    return path


def clipped(lr: float, norm: float = math.inf, value: float = math.inf) -> Path:
    def path(theta: Any) -> Iterator[Any]:
        while True:
            g = np.clip(slope(theta), -value, value)
            g = g * min(1.0, norm / np.linalg.norm(g))
            theta = theta - lr * g
            yield theta

    return path


O = gd.optim  # noqa: E741
S = gd.optim.schedules
RULES: dict[str, tuple[Callable[[Any], Any], Path]] = {
    "averaged": (lambda p: O.SGD(p, 0.1, momentum=0.8, averaged=True), averaged(0.1, 0.8)),
    "averaged, Nesterov": (
        lambda p: O.SGD(p, 0.1, momentum=0.8, averaged=True, nesterov=True),
        averaged(0.1, 0.8, True),
    ),
    "LARS": (lambda p: O.LARS(p, 0.5, weight_decay=0.1, trust=0.1), lars(0.5, 0.9, 0.1, 0.1)),
    "LARS, no momentum": (lambda p: O.LARS(p, 2.0, momentum=0.0, trust=0.05), lars(2.0, 0.0, 0.0, 0.05)),
    "LAMB": (lambda p: O.LAMB(p, 0.05), lamb(0.05, 0.9, 0.999)),
    "LAMB, decay and clip": (
        lambda p: O.LAMB(p, 0.05, betas=(0.8, 0.9), weight_decay=0.3, most=1.2),
        lamb(0.05, 0.8, 0.9, 0.3, 1.2),
    ),
    "AdaGrad, eps inside": (lambda p: O.AdaGrad(p, 0.1, eps=0.1, eps_inside_sqrt=True), inside("AdaGrad", 0.1, 0.1)),
    "RMSProp, eps inside": (lambda p: O.RMSProp(p, 0.1, eps=0.1, eps_inside_sqrt=True), inside("RMSProp", 0.1, 0.1)),
    "Adam, eps inside": (lambda p: O.Adam(p, 0.1, eps=0.1, eps_inside_sqrt=True), inside("Adam", 0.1, 0.1)),
    "scheduled": (
        lambda p: O.SGD(p, S.exponential(0.1, 0.9), momentum=S.linear(0.5, 0.9, 10)),
        raised(lambda t: min(0.5 + 0.04 * t, 0.9), lambda t: 0.1 * 0.9**t),
    ),
    "clip_norm": (lambda p: O.SGD(p, 0.1, clip_norm=1.0), clipped(0.1, norm=1.0)),
    "clip_value": (lambda p: O.SGD(p, 0.1, clip_value=0.5), clipped(0.1, value=0.5)),
    "both clips": (lambda p: O.SGD(p, 0.1, clip_norm=1.0, clip_value=0.8), clipped(0.1, 1.0, 0.8)),
}


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("name", RULES)
def test_twenty_steps(name: str, compiled: bool) -> None:
    make, path = RULES[name]
    w, b = gd.variable(START), gd.variable(0.0)
    optimizer = make([w, b])

    def step() -> None:
        optimizer.minimize(loss(w, b))

    run = gd.compile(step) if compiled else step
    for number, theta in zip(range(20), path(np.append(START, 0.0))):
        run()
        np.testing.assert_allclose(
            np.append(w.numpy(), b.numpy()), theta, rtol=1e-12, atol=1e-13, err_msg=f"step {number}"
        )
    if compiled:
        assert len(run.plans) == 1
    assert w.grad is b.grad is None


EVERY: dict[str, Callable[[Any], Any]] = {name: make for name, (make, _) in RULES.items()} | {
    "Rprop": lambda p: O.Rprop(p, 0.05),
    "AdaDelta": lambda p: O.AdaDelta(p, weight_decay=0.1),
    "centred RMSProp": lambda p: O.RMSProp(p, momentum=0.5, centered=True),
    "AdamW": lambda p: O.AdamW(p, 0.1, clip_norm=1.0),
    "NAdam": lambda p: O.NAdam(p, 0.1),
    "groups": lambda p: O.NAdam([{"params": p[:1]}, {"params": p[1], "lr": S.step(0.2, 3), "eps": 0.1}], 0.1),
    "plateau": lambda p: O.Adam(p, S.warm_up(3, S.reduce_on_plateau(0.1))),
}


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(
    "round_trip", [copy.deepcopy, lambda whole: pickle.loads(pickle.dumps(whole))], ids=["deepcopy", "pickle"]
)
def test_a_copy_goes_on_alike(name: str, round_trip: Any) -> None:
    w, b = gd.variable(START), gd.variable(0.7)
    optimizer = EVERY[name]([w, b])
    for _ in range(3):
        optimizer.minimize(loss(w, b))
    w2, b2, other = round_trip((w, b, optimizer))
    for _ in range(3):
        optimizer.minimize(loss(w, b))
        other.minimize(loss(w2, b2))
    np.testing.assert_array_equal(w2.numpy(), w.numpy())
    np.testing.assert_array_equal(b2.numpy(), b.numpy())
    assert other.steps == 6


@pytest.mark.parametrize("name", EVERY)
def test_the_state_of_another_can_be_loaded(name: str) -> None:
    w, b = gd.variable(START), gd.variable(0.7)
    optimizer = EVERY[name]([w, b])
    for _ in range(3):
        optimizer.minimize(loss(w, b))
    w2, b2 = gd.variable(w.numpy()), gd.variable(b.numpy())
    other = EVERY[name]([w2, b2])
    other.load_state(optimizer.state())
    for _ in range(3):
        optimizer.minimize(loss(w, b))
        other.minimize(loss(w2, b2))
    np.testing.assert_array_equal(np.append(w2.numpy(), b2.numpy()), np.append(w.numpy(), b.numpy()))
    state = optimizer.state()
    with pytest.raises(errors.OpError, match="'other'"):
        optimizer.load_state(state | {"other": np.zeros(2)})
    with pytest.raises(errors.ShapeError):
        optimizer.load_state(state | {"steps": np.zeros(2)})
    assert {key: value.tolist() for key, value in state.items()} == {
        key: value.tolist() for key, value in optimizer.state().items()
    }


@pytest.mark.parametrize("name", EVERY)
def test_float32_stays_float32_eager_and_compiled(name: str) -> None:
    found = []
    for compiled in (False, True):
        w, b = gd.variable(START, dtype="float32"), gd.variable(0.7, dtype="float32")
        optimizer = EVERY[name]([w, b])

        def step(w: Any = w, b: Any = b, optimizer: Any = optimizer) -> None:
            optimizer.minimize(gd.sum(w**2) + gd.sin(w[0]) + (b - w[1]) ** 2)

        run = gd.compile(step) if compiled else step
        for _ in range(10):
            run()
        assert w.dtype == b.dtype == np.float32
        assert all(state.dtype in (np.float32, np.float64) for state in optimizer.state().values())
        found.append(np.append(w.numpy(), b.numpy()))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-6)


def test_a_zero_gradient_is_not_scaled_to_nan() -> None:
    for name, make in EVERY.items():
        w, b = gd.variable(np.zeros(3)), gd.variable(0.0)
        optimizer = make([w, b])
        for _ in range(3):
            optimizer.minimize(gd.sum(w**2) + b**2)
        np.testing.assert_array_equal(np.append(w.numpy(), b.numpy()), np.zeros(4), err_msg=name)


def test_clipping_is_common_to_groups_and_dtypes() -> None:
    w, b = gd.variable([3.0, 0.0]), gd.variable(4.0, dtype="float32")
    O.SGD([{"params": [w]}, {"params": [b], "lr": 2.0}], 1.0, clip_norm=1.0).minimize(gd.sum(w**2) / 2 + b**2 / 2)
    np.testing.assert_allclose(w.numpy(), [3 - 0.6, 0.0], rtol=1e-12)
    np.testing.assert_allclose(b.numpy(), 4 - 1.6, rtol=1e-6)


SIZES = {
    "squares overflow": ("float32", [1e20, 1e20], [0.5**0.5, 0.5**0.5]),
    "the norm overflows": ("float32", [3e38, 3e38, 3e38, 3e38], [0.5] * 4),
    "the norm of float64 overflows": ("float64", [1.5e308, -1.5e308], [0.5**0.5, -(0.5**0.5)]),
    "squares vanish": ("float32", [3e-30, 4e-30], [3e-30, 4e-30]),
    "one of many": ("float64", [1e200, 1e-200, 0.0], [1.0, 0.0, 0.0]),
    "half precision": ("float16", [6e4, 6e4], [0.5**0.5, 0.5**0.5]),
    "much of half precision": ("float16", [1.0] * 70000, [70000**-0.5] * 70000),
    "nothing": ("float32", [0.0, 0.0], [0.0, 0.0]),
}


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("name", SIZES)
def test_clipping_survives_gradients_of_any_size(name: str, compiled: bool) -> None:
    dtype, gradient, step = SIZES[name]
    w = gd.variable(np.zeros(len(gradient), dtype))
    optimizer = O.SGD([w], 1.0, clip_norm=1.0)
    with_slope = lambda g: optimizer.minimize(gd.sum(w * g))  # noqa: E731
    (gd.compile(with_slope) if compiled else with_slope)(np.array(gradient, dtype))
    np.testing.assert_allclose(-w.numpy(), step, rtol=2e-3 if dtype == "float16" else 1e-6)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_clipping_a_large_gradient_is_common_to_groups(compiled: bool) -> None:
    w, b, none = gd.variable([0.0, 0.0]), gd.variable(np.float32(0.0)), gd.variable(np.zeros(0))
    optimizer = O.SGD([{"params": [w, none]}, {"params": [b], "lr": 2.0}], 1.0, clip_norm=10.0)
    step = lambda a, c: optimizer.minimize(gd.sum(w * a) + b * c)  # noqa: E731
    (gd.compile(step) if compiled else step)(np.array([3e200, 0.0]), np.float32(4e38 / 2))
    np.testing.assert_allclose([*-w.numpy(), -b.numpy()], [10.0, 0.0, 0.0], atol=1e-12)


# Groups --------------------------------------------------------------------------------------------------------------


def test_rates_of_groups_can_change() -> None:
    w, b = gd.variable(1.0), gd.variable(1.0)
    optimizer = O.SGD([{"params": w}, {"params": [b], "lr": 0.5}], lr=0.1)
    step = gd.compile(lambda: optimizer.minimize(w + b))
    step()
    assert (w.item(), b.item()) == (0.9, 0.5)
    optimizer.lr = 0.2
    assert [group.lr for group in optimizer.groups] == [0.2, 0.5]
    optimizer.groups[1].lr = 0.25
    step()
    assert (round(w.item(), 12), b.item()) == (0.7, 0.25)
    assert optimizer.lr == 0.2
    assert len(step.plans) == 1


def test_a_group_may_have_more_state_than_another() -> None:
    w, b = gd.variable(1.0), gd.variable(1.0)
    optimizer = O.SGD([{"params": [w]}, {"params": [b], "momentum": 0.5}], lr=0.1)
    for _ in range(2):
        optimizer.minimize(w + b)
    assert (round(w.item(), 12), round(b.item(), 12)) == (0.8, 0.75)


w0 = gd.variable([1.0, 2.0], name="w")


def test_a_rule_tells_how_it_is_called() -> None:
    assert str(inspect.signature(O.NAdam)).replace("'", "") == (
        "(parameters: Parameters, lr: Rate = 0.002, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-08, "
        "eps_inside_sqrt: bool = False, weight_decay: float = 0.0, momentum_decay: float = 0.004, *, "
        "clip_norm: float | None = None, clip_value: float | None = None)"
    )
    assert [*inspect.signature(O.Rprop).parameters][:4] == ["parameters", "lr", "factors", "limits"]
    with pytest.raises(TypeError, match=r"SGD\.__init__\(\) missing a required argument: 'lr'"):
        O.SGD([w0])  # type: ignore[call-arg]


def test_a_class_made_of_a_rule_may_have_settings_or_a_constructor_of_its_own() -> None:
    class Slower(O.Adam):
        states: int = 2
        told: ClassVar[str] = "slower"
        share: float = 0.5

        def rule(self, F: Any, value: Any, gradient: Any, state: Any, steps: Any, lr: Any) -> Any:
            return super().rule(F, value, gradient, state, steps, lr * self.share)

    class Fixed(Slower):
        def __init__(self, parameters: Any) -> None:
            super().__init__(parameters, lr=0.2, share=0.25)

    assert [*inspect.signature(Slower).parameters][-3:] == ["share", "clip_norm", "clip_value"]
    assert [*inspect.signature(Fixed).parameters] == ["parameters"]
    assert (Fixed.states, Fixed.told) == (2, "slower")
    w = gd.variable([1.0, -2.0])
    Fixed([w]).minimize(gd.sum(w * w))
    np.testing.assert_allclose(w.tolist(), [0.95, -1.95], rtol=1e-6)
    with pytest.raises(errors.OpError, match=r"eps cannot be -1\.0"):
        Slower([w], eps=-1.0)


@pytest.mark.parametrize(
    "name", sorted({name for name in O.__all__ if hasattr(getattr(O, name), "minimize")} - {"Optimizer"})
)
def test_a_misspelt_setting_is_refused(name: str) -> None:
    with pytest.raises((TypeError, errors.OpError), match=r"wieght_decay"):
        getattr(O, name)([w0], lr=0.1, wieght_decay=0.1)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: O.SGD([{"params": [w0], "beta": 1.0}], 0.1), errors.OpError, "SGD has no setting 'beta'; .* momentum"),
        (lambda: O.SGD([{"params": [w0], "lr": -1.0}], 0.1), errors.OpError, "lr cannot be -1.0"),
        (lambda: O.SGD([{"params": [w0], "momentum": -1.0}], 0.1), errors.OpError, "momentum cannot be -1.0"),
        (lambda: O.SGD([{"params": [w0]}, {"params": [w0]}], 0.1), errors.GraphError, "twice"),
        (lambda: O.SGD([{"params": []}], 0.1), errors.GraphError, "at least one"),
        (lambda: O.SGD([{"params": [w0]}, w0], 0.1), errors.GraphError, '"params"'),
        (lambda: O.SGD([w0], "fast"), errors.OpError, "lr cannot be 'fast'"),
        (lambda: O.SGD(gd.nn.Linear(1, in_features=1), 0.1), errors.GraphError, r"model\.parameters\(\), not Linear"),
        (lambda: O.SGD(gd.nn.MLP([1], in_features=1), 0.1), errors.DTypeError, r"not Linear.*model\.parameters\(\)"),
        (lambda: O.Adam([w0], beta1=0.9), TypeError, "beta1"),  # type: ignore[call-arg]
        (lambda: O.AdamW([w0], amsgrad=True), TypeError, "amsgrad"),  # type: ignore[call-arg]
        (lambda: O.Adam([{"params": [w0], "amsgrad": True}]), errors.OpError, "Adam has no setting 'amsgrad'"),
        (lambda: O.SGD([w0], 0.1, clip_norm=0.0), errors.OpError, "clip_norm cannot be 0.0"),
        (lambda: O.SGD([w0], 0.1, clip_value=-1.0), errors.OpError, "clip_value cannot be -1.0"),
        (lambda: O.SGD([w0], 0.1, weight_decay=-1.0), errors.OpError, "weight_decay cannot be -1.0"),
        (lambda: O.SGD([w0], 0.1, weight_decay=S.constant(1.0)), errors.OpError, "weight_decay cannot be a schedule"),
        (lambda: O.SGD([w0], 0.1, averaged=True), errors.OpError, "averaged momentum needs"),
        (lambda: O.SGD([w0], 0.1, momentum=1.0, averaged=True), errors.OpError, "average cannot be 1.0"),
        (lambda: O.Rprop([w0], factors=(1.5, 1.2)), errors.OpError, "first of factors cannot be 1.5"),
        (lambda: O.Rprop([w0], factors=0.5), errors.OpError, "factors are a pair of numbers, not 0.5"),  # type: ignore[arg-type]
        (lambda: O.Rprop([w0], limits=(1.0,)), errors.OpError, "limits are a pair"),  # type: ignore[arg-type]
        (lambda: O.Adam([w0], betas=0.9), errors.OpError, "betas are a pair of numbers, not 0.9"),  # type: ignore[arg-type]
        (lambda: O.LAMB([w0], betas=(0.9, 0.99, 0.999)), errors.OpError, "betas are a pair"),  # type: ignore[arg-type]
        (lambda: O.Rprop([w0], limits=(1.0, 0.5)), errors.OpError, "second of limits cannot be 0.5"),
        (lambda: O.AdaGrad([w0], lr_decay=-1.0), errors.OpError, "lr_decay cannot be -1.0"),
        (lambda: O.AdaDelta([w0], rho=1.0), errors.OpError, "rho cannot be 1.0"),
        (lambda: O.AdaDelta([w0], eps=0.0), errors.OpError, "eps cannot be 0.0"),
        (lambda: O.RMSProp([w0], eps=math.nan), errors.OpError, "eps cannot be nan"),
        (lambda: O.NAdam([w0], momentum_decay=-1.0), errors.OpError, "momentum_decay cannot be -1.0"),
        (lambda: O.LARS([w0], 0.1, trust=0.0), errors.OpError, "trust cannot be 0.0"),
        (lambda: O.LAMB([w0], most=0.0), errors.OpError, "most cannot be 0.0"),
    ],
)
def test_refusals(make: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
    assert w0.home is None
    assert w0.version == 0


def test_a_scheduled_rate_cannot_be_assigned() -> None:
    w = gd.variable(1.0)
    optimizer = O.SGD([w], S.step(1.0, every=1, factor=0.5))
    assert optimizer.lr == 1.0
    optimizer.minimize(w * 1)
    assert (w.item(), optimizer.lr) == (0.0, 0.5)
    with pytest.raises(errors.OpError, match="schedule"):
        optimizer.lr = 0.1
    with pytest.raises(errors.OpError, match="schedule"):
        O.SGD([w], 0.1).lr = S.constant(0.1)


# Scaled losses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("by_hand", [False, True])
def test_a_power_of_two_before_the_loss_changes_nothing(compiled: bool, by_hand: bool) -> None:
    ends = []
    for scaled in (False, True):
        w = gd.variable(np.linspace(-1.0, 2.0, 7), name="w")
        optimizer = gd.optim.Adam([w], lr=0.1, clip_norm=0.5, weight_decay=0.01)
        if scaled:
            optimizer.scale_loss(2.0**10)

        def step(w: Any = w, optimizer: Any = optimizer) -> Any:
            loss = gd.sum(gd.tanh(w) ** 2)
            if by_hand:
                optimizer.scaled_loss(loss).backward()
                optimizer.step()
            else:
                optimizer.minimize(loss)
            return loss

        run = gd.compile(step) if compiled else step
        losses = [run().item() for _ in range(5)]
        ends.append((losses, w.numpy().tolist(), optimizer.steps))
    assert ends[0] == ends[1]


def test_an_infinite_gradient_changes_only_the_factor() -> None:
    w, factor = gd.variable([1.0, 2.0], name="w"), gd.variable(1.0, name="factor")
    optimizer = gd.optim.SGD([w], lr=0.25, momentum=0.9)
    optimizer.scale_loss(8.0, interval=2)
    history = []
    for value in (1.0, np.inf, 1.0, 1.0, 1.0, 1.0, np.nan):
        before = [w.numpy(), *[kept for name, kept in optimizer.state().items() if name[0].isdigit()], optimizer.steps]
        factor.assign(value)
        optimizer.minimize(gd.sum(w * w) * factor)
        after = [w.numpy(), *[kept for name, kept in optimizer.state().items() if name[0].isdigit()], optimizer.steps]
        same = all(np.array_equal(one, other) for one, other in zip(before, after))
        history.append((same, optimizer.loss_scale))
    scales = [8.0, 4.0, 4.0, 8.0, 8.0, 16.0, 8.0]
    assert history == list(zip([False, True, False, False, False, False, True], scales))


def test_the_factor_is_part_of_an_optimisers_state() -> None:
    w = gd.variable([1.0, 2.0])
    optimizer = gd.optim.SGD([w], lr=0.25)
    optimizer.scale_loss(8.0, interval=2)
    for _ in range(3):
        optimizer.minimize(gd.sum(w))
    other = gd.optim.SGD([gd.variable([1.0, 2.0])], lr=0.25)
    other.scale_loss(2.0)
    other.load_state(optimizer.state())
    assert other.loss_scale == optimizer.loss_scale == 16.0
    assert pickle.loads(pickle.dumps(optimizer)).loss_scale == 16.0


@pytest.mark.parametrize(
    ("states", "rule", "said"),
    [
        (0, lambda F, value, gradient, state: (value, state[0] + gradient), r"reads state\[0\].*`states = 1`"),
        (1, lambda F, value, gradient, state: (value, state[1] + gradient), r"reads state\[1\], and 1 arrays"),
        (1, lambda F, value, gradient, state: (value,), "2 in a tuple, not 1"),
        (0, lambda F, value, gradient, state: (value, gradient), "1 in a tuple, not 2"),
        (0, lambda F, value, gradient, state: value, "1 in a tuple, not Tensor"),
    ],
)
def test_a_rule_that_keeps_more_or_less_than_it_says(states: int, rule: Any, said: str) -> None:
    class Own(gd.optim.Optimizer):
        def rule(self, F: Any, value: Any, gradient: Any, state: Any, steps: Any, lr: Any) -> Any:
            return rule(F, value, gradient, state)

    Own.states = states
    w = gd.variable([1.0, 2.0])
    with pytest.raises(gd.errors.OpError, match=said):
        Own([w], lr=0.1).minimize(gd.sum(w * w))
    assert w.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("kind", "dtype", "unit"),
    [
        ("LARS", "float32", 1e25),
        ("LARS", "float32", 1e-25),
        ("LARS", "float64", 1e200),
        ("LARS", "float64", 1e-200),
        ("LAMB", "float32", 1e-25),
        ("LAMB", "float64", 1e-200),
    ],
)
def test_lengths_of_which_squares_are_no_numbers(kind: str, dtype: str, unit: float) -> None:
    """LARS is the same in any unit of parameters and gradients, LAMB in any unit of parameters."""

    def trained(unit: float) -> list[Any]:
        weights = [gd.variable(np.arange(1.0, n).astype(dtype) * np.array(unit, dtype)) for n in (4, 6)]
        optimizer = getattr(gd.optim, kind)(weights, 0.1, weight_decay=0.0)
        slope = np.array(unit if kind == "LARS" else 1.0, dtype)
        step = gd.compile(lambda: optimizer.minimize(sum(gd.sum(w * slope) for w in weights)))
        step()
        step()
        return [w.numpy() / np.array(unit, dtype) for w in weights]

    for found, expected in zip(trained(unit), trained(1.0), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        assert (expected < [1.0, 2.0, 3.0, 4.0, 5.0][: len(expected)]).all()
