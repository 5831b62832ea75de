"""Twelve functions from the literature, and what their Jacobians cost in forward, reverse and the best greedy order."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from math import sqrt
from typing import Any

import numpy as np

import graphdiff as gd

MINPACK_2 = "B. M. Averick, R. G. Carter, J. J. Moré, G.-L. Xue, The MINPACK-2 test problem collection, Argonne 1992"

PRESSURE, RATIO = 40.0, 10.0
EQUILIBRIUM = {5: 1.930e-1, 6: 2.597e-3, 7: 3.448e-3, 8: 1.799e-5, 9: 2.155e-4, 10: 3.846e-5}


def propane_full(x: Any) -> Any:
    """Combustion of propane in air, full formulation: zero at the equilibrium (MINPACK-2, section 3.1)."""
    _, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11 = (None, *x)
    k = EQUILIBRIUM
    ratio = PRESSURE / x11
    root = gd.sqrt(ratio)
    total = x1 + x2 + x3 + x4 + x5 + x6 + x7 + x8 + x9 + x10
    return gd.stack(
        [
            x1 + x4 - 3,
            2 * x1 + x2 + x4 + x7 + x8 + x9 + 2 * x10 - RATIO,
            2 * x2 + 2 * x5 + x6 + x7 - 8,
            2 * x3 + x9 - 4 * RATIO,
            k[5] * x2 * x4 - x1 * x5,
            k[6] * gd.sqrt(x2 * x4) - gd.sqrt(x1) * x6 * root,
            k[7] * gd.sqrt(x1 * x2) - gd.sqrt(x4) * x7 * root,
            k[8] * x1 - x4 * x8 * ratio,
            k[9] * x1 * gd.sqrt(x3) - x4 * x9 * root,
            k[10] * x1**2 - x4**2 * x10 * ratio,
            x11 - total,
        ]
    )


def propane_reduced(x: Any) -> Any:
    """Combustion of propane in air, reduced formulation (MINPACK-2, section 3.2)."""
    x1, x2, x3, x4, x5 = x
    r5 = EQUILIBRIUM[5]
    r6, r7, r9 = (EQUILIBRIUM[i] / sqrt(PRESSURE) for i in (6, 7, 9))
    r8, r10 = (EQUILIBRIUM[i] / PRESSURE for i in (8, 10))
    return gd.stack(
        [
            x1 * x2 + x1 - 3 * x5,
            2 * x1 * x2 + x1 + 2 * r10 * x2**2 + x2 * x3**2 + r7 * x2 * x3 + r9 * x2 * x4 + r8 * x2 - RATIO * x5,
            2 * x2 * x3**2 + r7 * x2 * x3 + 2 * r5 * x3**2 + r6 * x3 - 8 * x5,
            r9 * x2 * x4 + 2 * x4**2 - 4 * RATIO * x5,
            x1 * x2
            + x1
            + r10 * x2**2
            + x2 * x3**2
            + r7 * x2 * x3
            + r9 * x2 * x4
            + r8 * x2
            + r5 * x3**2
            + r6 * x3
            + x4**2
            - 1,
        ]
    )


HEART = (0.485, -0.0019, -0.0581, 0.015, 0.105, 0.0406, 0.167, -0.399)


def heart_dipole(x: Any) -> Any:
    """Moments of two dipoles in the human heart, experiment 791129 (MINPACK-2, section 3.3)."""
    a, b, c, d, t, u, v, w = x
    mx, my, sa, sb, sc, sd, se, sf = HEART
    return gd.stack(
        [
            a + b - mx,
            c + d - my,
            t * a + u * b - v * c - w * d - sa,
            v * a + w * b + t * c + u * d - sb,
            a * (t**2 - v**2) - 2 * c * t * v + b * (u**2 - w**2) - 2 * d * u * w - sc,
            c * (t**2 - v**2) + 2 * a * t * v + d * (u**2 - w**2) + 2 * b * u * w - sd,
            a * t * (t**2 - 3 * v**2)
            + c * v * (v**2 - 3 * t**2)
            + b * u * (u**2 - 3 * w**2)
            + d * w * (w**2 - 3 * u**2)
            - se,
            c * t * (t**2 - 3 * v**2)
            - a * v * (v**2 - 3 * t**2)
            + d * u * (u**2 - 3 * w**2)
            - b * w * (w**2 - 3 * u**2)
            - sf,
        ]
    )


RATES = (0.1957, 0.1947, 0.1735, 0.16, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246)
CONCENTRATIONS = (4.0, 2.0, 1.0, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625)


def enzyme_reaction(x: Any) -> Any:
    """Residuals of a model of an enzyme reaction by Kowalik and Osborne (MINPACK-2, section 4.3)."""
    x1, x2, x3, x4 = x
    return gd.stack([v - x1 * (y * y + x2 * y) / (y * y + x3 * y + x4) for v, y in zip(RATES, CONCENTRATIONS)])


def solid_fuel_ignition(x: Any, size: int = 4, heat: float = 6.8) -> Any:
    """Bratu's equation -Δu = λ e^u on the unit square by five-point differences (MINPACK-2, section 3.6)."""
    step = 1 / (size + 1)

    def at(row: int, column: int) -> Any:
        return x[row * size + column] if 0 <= row < size and 0 <= column < size else 0.0

    return gd.stack(
        [
            4 * at(i, j) - at(i - 1, j) - at(i + 1, j) - at(i, j - 1) - at(i, j + 1) - step**2 * heat * gd.exp(at(i, j))
            for i in range(size)
            for j in range(size)
        ]
    )


def call_price(x: Any) -> Any:
    """Price of a European call by spot, strike, rate, volatility and years (Black and Scholes 1973)."""
    spot, strike, rate, volatility, years = x
    spread = volatility * gd.sqrt(years)
    d1 = (gd.log(spot / strike) + (rate + volatility * volatility / 2) * years) / spread
    normal = [(1 + gd.erf(d / sqrt(2))) / 2 for d in (d1, d1 - spread)]
    return spot * normal[0] - strike * gd.exp(-rate * years) * normal[1]


def black_scholes_greeks(x: Any) -> Any:
    """The first-order Greeks of a European call; their Jacobian holds the second-order ones."""
    return gd.grad(call_price)(x)


def speelpenning(x: Any) -> Any:
    """The product of all variables (B. Speelpenning, PhD thesis, Illinois 1980)."""
    return reduce(lambda product, factor: product * factor, x)


def helmholtz_energy(x: Any) -> Any:
    """Helmholtz energy of a mixed fluid (A. Griewank, On automatic differentiation, 1989)."""
    size = len(x)
    b = [0.1 / (i + 2) for i in range(size)]
    bx = sum((b[i] * x[i] for i in range(1, size)), b[0] * x[0])
    entropy = sum((x[i] * gd.log(x[i] / (1 - bx)) for i in range(1, size)), x[0] * gd.log(x[0] / (1 - bx)))
    rows = [sum((x[j] / (i + j + 1) for j in range(1, size)), x[0] / (i + 1)) for i in range(size)]
    form = sum((x[i] * rows[i] for i in range(1, size)), x[0] * rows[0])
    return entropy - form / (sqrt(8) * bx) * gd.log((1 + (1 + sqrt(2)) * bx) / (1 + (1 - sqrt(2)) * bx))


def lorenz_step(x: Any, step: float = 0.01) -> Any:
    """One step of the classical Runge–Kutta method on the Lorenz system (E. N. Lorenz 1963)."""

    def slope(p: Any) -> list[Any]:
        return [10 * (p[1] - p[0]), p[0] * (28 - p[2]) - p[1], p[0] * p[1] - 8 / 3 * p[2]]

    def moved(by: float, direction: list[Any]) -> list[Any]:
        return [x[i] + by * direction[i] for i in range(3)]

    k1 = slope(x)
    k2 = slope(moved(step / 2, k1))
    k3 = slope(moved(step / 2, k2))
    k4 = slope(moved(step, k3))
    return gd.stack([x[i] + step / 6 * (k1[i] + 2 * k2[i] + 2 * k3[i] + k4[i]) for i in range(3)])


def weight(layer: int, row: int, column: int) -> float:
    """A fixed weight between -1 and 1."""
    return float(np.sin(1.0 + 7 * layer + 3 * row + 5 * column))


def small_network(x: Any) -> Any:
    """Four inputs, two hidden layers of three tanh units, four outputs."""
    values = list(x)
    for layer, width in enumerate((3, 3, 4)):
        sums = []
        for row in range(width):
            terms = [weight(layer, row, column) * value for column, value in enumerate(values)]
            sums.append(sum(terms[1:], terms[0]))
        values = [gd.tanh(each) for each in sums] if layer < 2 else sums
    return gd.stack(values)


def broyden_tridiagonal(x: Any) -> Any:
    """C. G. Broyden's function (J. J. Moré, B. S. Garbow, K. E. Hillstrom, ACM TOMS 7, 1981, problem 30)."""
    ends = (0.0, *x, 0.0)
    return gd.stack([(3 - 2 * ends[i]) * ends[i] - ends[i - 1] - 2 * ends[i + 1] + 1 for i in range(1, len(ends) - 1)])


GAMMA = 1.4


def roe_flux(x: Any) -> Any:
    """Flux of the one-dimensional Euler equations between two states (density, momentum, energy each).

    P. L. Roe, Approximate Riemann solvers, parameter vectors, and difference schemes, J. Comput. Phys. 43, 1981.
    """
    left, right = x[:3], x[3:]

    def state(u: Any) -> tuple[Any, Any, Any]:
        velocity = u[1] / u[0]
        pressure = (GAMMA - 1) * (u[2] - u[1] * velocity / 2)
        return velocity, pressure, (u[2] + pressure) / u[0]

    (vl, pl, hl), (vr, pr, hr) = state(left), state(right)
    rl, rr = gd.sqrt(left[0]), gd.sqrt(right[0])
    total = rl + rr
    v, h = (rl * vl + rr * vr) / total, (rl * hl + rr * hr) / total
    sound = gd.sqrt((GAMMA - 1) * (h - v * v / 2))
    density, dv, dp = rl * rr, vr - vl, pr - pl
    middle = gd.abs(v) * (right[0] - left[0] - dp / (sound * sound))
    slow = gd.abs(v - sound) * (dp - density * sound * dv) / (2 * sound * sound)
    fast = gd.abs(v + sound) * (dp + density * sound * dv) / (2 * sound * sound)
    jumps = (
        slow + middle + fast,
        slow * (v - sound) + middle * v + fast * (v + sound),
        slow * (h - v * sound) + middle * v * v / 2 + fast * (h + v * sound),
    )
    fluxes = (
        (left[1], right[1]),
        (left[1] * vl + pl, right[1] * vr + pr),
        (left[1] * hl, right[1] * hr),
    )
    return gd.stack([(one + other - jump) / 2 for (one, other), jump in zip(fluxes, jumps)])


@dataclass(frozen=True)
class Problem:
    """A function of one vector, with a point at which it is smooth."""

    name: str
    function: Callable[[Any], Any]
    point: tuple[float, ...]
    source: str


PROBLEMS = (
    Problem(
        "propane combustion, full",
        propane_full,
        (5.0, 2.5, 5.0, 0.1, 0.01, 4e-4, 0.03, 4e-4, 0.02, 0.05, 20.0),
        MINPACK_2,
    ),
    Problem("propane combustion, reduced", propane_reduced, (0.005, 0.005, 0.05, 0.5, 0.05), MINPACK_2),
    Problem(
        "human heart dipole",
        heart_dipole,
        (0.299, 0.186, -0.0273, 0.0254, -0.474, 0.474, -0.0892, 0.0892),
        MINPACK_2,
    ),
    Problem("enzyme reaction", enzyme_reaction, (0.25, 0.39, 0.415, 0.39), MINPACK_2),
    Problem("solid fuel ignition, 4 × 4", solid_fuel_ignition, tuple(0.1 + 0.02 * i for i in range(16)), MINPACK_2),
    Problem(
        "Black–Scholes, second-order Greeks",
        black_scholes_greeks,
        (100.0, 105.0, 0.03, 0.2, 0.75),
        "F. Black, M. Scholes, The pricing of options and corporate liabilities, J. Political Economy 81, 1973",
    ),
    Problem(
        "Speelpenning's product, 10", speelpenning, tuple(0.5 + 0.1 * i for i in range(10)), "B. Speelpenning, 1980"
    ),
    Problem("Helmholtz energy, 6", helmholtz_energy, tuple(0.2 + 0.1 * i for i in range(6)), "A. Griewank, 1989"),
    Problem("Runge–Kutta step, Lorenz", lorenz_step, (1.0, 2.0, 20.0), "E. N. Lorenz, J. Atmos. Sci. 20, 1963"),
    Problem("network 4-3-3-4", small_network, (0.1, -0.4, 0.7, 0.3), "textbooks"),
    Problem(
        "Broyden tridiagonal, 10",
        broyden_tridiagonal,
        tuple(-1 + 0.05 * i for i in range(10)),
        "J. J. Moré, B. S. Garbow, K. E. Hillstrom, Testing unconstrained optimization software, ACM TOMS 7, 1981",
    ),
    Problem("Roe flux", roe_flux, (1.0, 0.3, 2.5, 0.5, 0.1, 1.4), "P. L. Roe, J. Comput. Phys. 43, 1981"),
)


def graph_of(problem: Problem) -> gd.Graph:
    """Return the function's graph at its point."""
    x = gd.variable(np.array(problem.point))
    return gd.Graph(problem.function(x), [x])


if __name__ == "__main__":
    print(f"{'multiplications for the Jacobian':36}{'inner':>7}{'forward':>9}{'reverse':>9}{'Markowitz':>11}")
    for problem in PROBLEMS:
        graph = graph_of(problem)
        orders = [gd.elimination_order(graph, method) for method in ("forward", "reverse", "markowitz")]
        counts = [order.multiplications for order in orders]
        print(f"{problem.name:36}{len(orders[0]):7}{counts[0]:9}{counts[1]:9}{counts[2]:11}")
