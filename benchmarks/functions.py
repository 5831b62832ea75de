"""Forty functions of one array, of varied numbers of inputs and outputs and varied depth: the test bed of the modes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

import graphdiff as gd

__all__ = ["BED", "Case", "layers_of", "network", "rosenbrock"]


@dataclass(frozen=True)
class Case:
    """One function of the test bed.

    Attributes
    ----------
    function : callable
        Of one array.
    point : ndarray
        Where to differentiate.
    """

    function: Callable[[Any], Any]
    point: Any


def _normal(*shape: int, seed: int = 0, scale: float = 1.0) -> Any:
    return scale * np.random.default_rng(seed).normal(size=shape)


def _uniform(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).uniform(0.1, 1.0, shape)


def layers_of(widths: Sequence[int]) -> list[tuple[Any, Any]]:
    """Return weights and biases of a network, `widths` from the inputs to the outputs."""
    return [
        (_normal(before, after, seed=place, scale=before**-0.5), _normal(after, seed=100 + place, scale=0.1))
        for place, (before, after) in enumerate(pairwise(widths))
    ]


def network(*widths: int, final: Callable[[Any], Any] = gd.tanh) -> Case:
    """Return a tanh network of one example with the weights of `layers_of`."""
    layers = layers_of(widths)

    def run(x: Any) -> Any:
        for place, (weights, bias) in enumerate(layers):
            x = x @ weights + bias
            x = final(x) if place == len(layers) - 1 else gd.tanh(x)
        return x

    return Case(run, _normal(widths[0], seed=7))


def loss_of_weights(rows: int, features: int, hidden: int) -> Case:
    """Return the squared error of a small network as a function of all its weights in one vector."""
    x, y = _normal(rows, features, seed=1), _normal(rows, seed=2)

    def run(w: Any) -> Any:
        first = gd.reshape(w[: features * hidden], (features, hidden))
        return gd.mean((gd.tanh(x @ first) @ w[features * hidden :] - y) ** 2)

    return Case(run, _normal((features + 1) * hidden, seed=3, scale=0.3))


def scalar_chain(depth: int) -> Case:
    """Return a chain of functions of one number."""

    def run(x: Any) -> Any:
        for turn in range(depth):
            x = gd.sin(x) * 1.1 if turn % 2 else gd.exp(-x) + 0.3
        return x

    return Case(run, np.array(0.7))


def vector_chain(size: int, depth: int) -> Case:
    """Return a chain of elementwise functions of a vector: a diagonal Jacobian."""

    def run(x: Any) -> Any:
        for turn in range(depth):
            x = gd.tanh(x) if turn % 2 else x * x + 0.5
        return x

    return Case(run, _normal(size))


def rosenbrock(x: Any) -> Any:
    """Return Rosenbrock's function."""
    return gd.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def rosenbrock_residuals(x: Any) -> Any:
    """Return what Rosenbrock's function sums the squares of."""
    return gd.concatenate([10 * (x[1:] - x[:-1] ** 2), 1 - x[:-1]])


def robot_arm(t: Any) -> Any:
    """Return the position of a plane arm's joints and its end, all links of length one."""
    angle, x, y, out = t[0], gd.cos(t[0]), gd.sin(t[0]), []
    for joint in range(1, 6):
        angle = angle + t[joint]
        x, y = x + gd.cos(angle), y + gd.sin(angle)
        out += [x, y]
    return gd.stack(out)


def helmholtz(x: Any) -> Any:
    """Return the Helmholtz energy of a mixed fluid (Griewank and Walther 2008, section 1; all constants one)."""
    size = x.shape[0]
    a = gd.constant(1.0 / (1.0 + np.arange(size)[:, None] + np.arange(size)))
    b = gd.constant(0.5 + 0.01 * np.arange(size))
    total = b @ x
    logs = gd.sum(x * gd.log(x / (1 - total / (size + 1))))
    root = float(np.sqrt(8.0))
    mixed = (x @ (a @ x)) / (root * total) * gd.log((1 + (1 + root) * total) / (1 + (1 - root) * total / (4 * size)))
    return logs - mixed


def speelpenning(x: Any) -> Any:
    """Return the product of all elements, one after the other."""
    result = x[0]
    for place in range(1, x.shape[0]):
        result = result * x[place]
    return result


def burgers_step(u: Any) -> Any:
    """Return one explicit step of Burgers' equation, periodic."""
    left, right = gd.roll(u, 1), gd.roll(u, -1)
    return u - 0.1 * u * (right - left) / 2 + 0.05 * (right - 2 * u + left)


def burgers(steps: int) -> Callable[[Any], Any]:
    """Return several steps of it."""

    def run(u: Any) -> Any:
        for _ in range(steps):
            u = burgers_step(u)
        return u

    return run


def bratu(u: Any) -> Any:
    """Return the residual of the solid-fuel-ignition problem on a square grid (MINPACK-2)."""
    inner = 4 * u[1:-1, 1:-1] - u[:-2, 1:-1] - u[2:, 1:-1] - u[1:-1, :-2] - u[1:-1, 2:]
    return inner - 0.1 * gd.exp(u[1:-1, 1:-1])


def heat(steps: int) -> Callable[[Any], Any]:
    """Return a diffusion by products with one constant matrix, with a reaction in between."""

    def run(u: Any) -> Any:
        size = u.shape[0]
        step = gd.constant(np.eye(size) * 0.8 + 0.1 * (np.eye(size, k=1) + np.eye(size, k=-1)))
        for _ in range(steps):
            u = step @ u
            u = u - 0.01 * u**3
        return u

    return run


def gauss_newton(x: Any) -> Any:
    """Return residuals of an exponential fit: few parameters, many data."""
    t = gd.constant(np.linspace(0.0, 1.0, 200))
    return x[0] * gd.exp(-x[1] * t) + x[2] * gd.exp(-x[3] * t) + x[4]


def determinant(x: Any) -> Any:
    """Return the logarithm of a determinant."""
    return gd.linalg.slogdet(x @ gd.matrix_transpose(x) + gd.eye(x.shape[0]))[1]


def quadratic_form(x: Any) -> Any:
    """Return ‖tanh(x A)‖² of a matrix A."""
    return gd.sum(gd.tanh(x @ _normal(x.shape[0], 40, seed=4)) ** 2)


def narrow_in_the_middle(x: Any) -> Any:
    """Return many outputs of many inputs that go through few numbers."""
    few = gd.tanh(x @ _normal(x.shape[0], 3, seed=5, scale=0.1))
    return gd.sin(few @ _normal(3, 150, seed=6))


def attention(x: Any) -> Any:
    """Return softmax attention of rows to each other."""
    scores = x @ gd.matrix_transpose(x) / float(np.sqrt(x.shape[1]))
    return gd.softmax(scores, axis=1) @ x


def two_paths(x: Any) -> Any:
    """Return the sum of what two branches of different widths give."""
    wide = gd.tanh(x @ _normal(x.shape[0], 80, seed=8, scale=0.1)) @ _normal(80, 40, seed=9, scale=0.1)
    return wide + gd.sin(x @ _normal(x.shape[0], 40, seed=10, scale=0.1))


def residual_network(x: Any) -> Any:
    """Return a network whose layers add to their input."""
    for layer in range(4):
        x = x + gd.tanh(x @ _normal(x.shape[0], x.shape[0], seed=20 + layer, scale=0.1))
    return x


def logistic_map(x: Any) -> Any:
    """Return what a logistic map makes of a point and its parameter."""
    r, y = x[0], x[1]
    for _ in range(12):
        y = r * y * (1 - y)
    return y


def moments(x: Any) -> Any:
    """Return mean, variance, third moment and logarithm of the sum of exponentials."""
    centred = x - gd.mean(x)
    return gd.stack([gd.mean(x), gd.mean(centred**2), gd.mean(centred**3), gd.log(gd.sum(gd.exp(x)))])


def lotka_volterra(steps: int) -> Callable[[Any], Any]:
    """Return predators and prey after Euler steps, as a function of both and of the four rates."""

    def run(p: Any) -> Any:
        prey, predators = p[0], p[1]
        for _ in range(steps):
            met = prey * predators
            born, died = p[2] * prey - p[3] * met, p[4] * met - p[5] * predators
            prey, predators = prey + 0.01 * born, predators + 0.01 * died
        return gd.stack([prey, predators])

    return run


BED: dict[str, Case] = {
    "scalar chain, 20 deep": scalar_chain(20),
    "scalar chain, 100 deep": scalar_chain(100),
    "logistic map": Case(logistic_map, np.array([3.6, 0.3])),
    "Lotka-Volterra": Case(lotka_volterra(10), np.array([1.0, 0.5, 1.1, 0.4, 0.1, 0.4])),
    "robot arm": Case(robot_arm, _normal(6)),
    "Speelpenning's product, 10": Case(speelpenning, _uniform(10)),
    "Speelpenning's product, 60": Case(speelpenning, _uniform(60)),
    "product as one op, 256": Case(gd.prod, 0.9 + 0.2 * _uniform(256)),
    "Helmholtz energy, 10": Case(helmholtz, 0.05 * _uniform(10)),
    "Helmholtz energy, 200": Case(helmholtz, 0.002 * _uniform(200)),
    "Rosenbrock, 200": Case(rosenbrock, _normal(200)),
    "Rosenbrock, gradient of 100": Case(gd.grad(rosenbrock), _normal(100)),
    "Rosenbrock, residuals of 100": Case(rosenbrock_residuals, _normal(100)),
    "elementwise, 200 wide, 3 deep": vector_chain(200, 3),
    "elementwise, 40 wide, 30 deep": vector_chain(40, 30),
    "network 1-64-64-1000": network(1, 64, 64, 1000),
    "network 1000-64-64-1": network(1000, 64, 64, 1),
    "network 30-64-64-300": network(30, 64, 64, 300),
    "network 300-64-64-30": network(300, 64, 64, 30),
    "network 300-64-64-300": network(300, 64, 64, 300),
    "network 100-5-100": network(100, 5, 100),
    "network 8-8-8-8-8-8-8-8": network(8, 8, 8, 8, 8, 8, 8, 8),
    "network 5-200-5-200-5": network(5, 200, 5, 200, 5),
    "network 200-10, softmax": network(200, 10, final=gd.softmax),
    "network 20-40-40, softplus": network(20, 40, 40, final=gd.softplus),
    "residual network, 50": Case(residual_network, _normal(50)),
    "two paths, 120 to 40": Case(two_paths, _normal(120)),
    "narrow in the middle, 150-3-150": Case(narrow_in_the_middle, _normal(150)),
    "loss by 220 weights": loss_of_weights(50, 10, 20),
    "loss by 33 weights": loss_of_weights(400, 10, 3),
    "exponential fit, 5 to 200": Case(gauss_newton, _uniform(5)),
    "norm of a layer, 60": Case(quadratic_form, _normal(60, scale=0.1)),
    "moments, 300 to 4": Case(moments, _normal(300)),
    "Burgers, 64, one step": Case(burgers(1), _normal(64)),
    "Burgers, 64, five steps": Case(burgers(5), _normal(64)),
    "reaction and diffusion, 40, five steps": Case(heat(5), _normal(40, scale=0.3)),
    "Bratu, 12 × 12": Case(bratu, _normal(12, 12, scale=0.3)),
    "log determinant, 6 × 6": Case(determinant, _normal(6, 6)),
    "attention, 8 × 6": Case(attention, _normal(8, 6)),
    "softmax, 100": Case(lambda x: gd.softmax(x * x), _normal(100)),
}
