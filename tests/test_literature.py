"""The functions of examples/literature.py against published numbers and other formulas, and their Jacobians."""

import importlib.util
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import graphdiff as gd


def load() -> Any:
    path = Path(__file__).parent.parent / "examples" / "literature.py"
    spec = importlib.util.spec_from_file_location("literature", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where a dataclass looks its module up
    spec.loader.exec_module(module)
    return module


literature = load()
PROBLEMS = {problem.name: problem for problem in literature.PROBLEMS}


def value(function: Any, point: Any) -> np.ndarray:
    return np.asarray(function(gd.constant(np.asarray(point, dtype=float))))


@pytest.mark.parametrize("name", PROBLEMS)
def test_jacobians_agree(name):
    problem = PROBLEMS[name]
    point = np.array(problem.point)
    truth = np.asarray(gd.jacobian(problem.function, mode="reverse")(point))
    step = 1e-6
    differences = [
        (value(problem.function, point + step * e) - value(problem.function, point - step * e)) / (2 * step)
        for e in np.eye(len(point))
    ]
    scale = np.abs(truth).max()
    assert np.abs(np.stack(differences, axis=-1) - truth).max() < 1e-6 * scale
    graph = literature.graph_of(problem)
    orders = [gd.elimination_order(graph, "markowitz", kind=kind) for kind in ("vertex", "edge", "face")]
    for mode in ("forward", "elimination", *orders):
        assert np.abs(np.asarray(gd.jacobian(problem.function, mode=mode)(point)) - truth).max() <= 1e-12 * scale


EQUILIBRIUM = np.array([0.003114102, 34.59792, 0.06504178, 0.8593781, 0.03695186])
"""The reduced problem's published solution (K. Meintjes, A. P. Morgan, ACM TOMS 16, 1990)."""


def polished() -> np.ndarray:
    point = EQUILIBRIUM
    for _ in range(3):
        matrix = np.asarray(gd.jacobian(literature.propane_reduced)(point))
        point = point - np.linalg.solve(matrix, value(literature.propane_reduced, point))
    return point


def test_propane_at_the_published_equilibrium():
    np.testing.assert_allclose(polished(), EQUILIBRIUM, rtol=3e-7)
    assert np.abs(value(literature.propane_reduced, polished())).max() < 1e-14


def test_both_formulations_of_propane_have_the_same_equilibrium():
    y1, y2, y3, y4, y5 = polished()
    k, root = literature.EQUILIBRIUM, math.sqrt(literature.PRESSURE)
    shares = [
        *(y1 * y2, y2 * y3**2, y4**2, y1, k[5] * y3**2, k[6] / root * y3, k[7] / root * y2 * y3),
        *(k[8] / root**2 * y2, k[9] / root * y2 * y4, k[10] / root**2 * y2**2, 1.0),
    ]
    assert np.abs(value(literature.propane_full, np.array(shares) / y5)).max() < 1e-12


def test_heart_dipole_in_complex_numbers():
    a, b, c, d, t, u, v, w = point = np.array(PROBLEMS["human heart dipole"].point)
    first, second = complex(a, c), complex(b, d)
    moments = [first * complex(t, v) ** n + second * complex(u, w) ** n for n in range(4)]
    expected = np.array([part for moment in moments for part in (moment.real, moment.imag)])
    np.testing.assert_allclose(value(literature.heart_dipole, point), expected - literature.HEART, atol=1e-15)


def test_enzyme_reaction_at_the_published_minimum():
    """J. Kowalik and M. R. Osborne, 1968: a sum of squares of 3.07505e-4."""
    best = [0.1928069, 0.1912823, 0.1230565, 0.1360623]
    assert np.sum(value(literature.enzyme_reaction, best) ** 2) == pytest.approx(3.07505e-4, rel=2e-6)
    assert (
        np.abs(np.asarray(gd.grad(lambda x: gd.sum(literature.enzyme_reaction(x) ** 2))(np.array(best)))).max() < 1e-6
    )


def test_solid_fuel_ignition_by_slices():
    u = np.array(PROBLEMS["solid fuel ignition, 4 × 4"].point).reshape(4, 4)
    p = np.pad(u, 1)
    expected = 4 * u - p[:-2, 1:-1] - p[2:, 1:-1] - p[1:-1, :-2] - p[1:-1, 2:] - 6.8 / 25 * np.exp(u)
    np.testing.assert_allclose(value(literature.solid_fuel_ignition, u.ravel()), expected.ravel(), rtol=1e-13)


def test_black_scholes():
    """The price of J. C. Hull's example, and closed forms of first and second-order Greeks."""
    assert value(literature.call_price, [42, 40, 0.1, 0.2, 0.5]).item() == pytest.approx(4.76, abs=0.005)
    spot, strike, rate, volatility, years = point = np.array([100.0, 105.0, 0.03, 0.2, 0.75])
    spread = volatility * math.sqrt(years)
    d1 = (math.log(spot / strike) + (rate + volatility**2 / 2) * years) / spread
    density = math.exp(-d1 * d1 / 2) / math.sqrt(2 * math.pi)
    greeks = value(literature.black_scholes_greeks, point)
    assert greeks[0] == pytest.approx((1 + math.erf(d1 / math.sqrt(2))) / 2, rel=1e-13)
    assert greeks[3] == pytest.approx(spot * density * math.sqrt(years), rel=1e-13)
    second = np.asarray(gd.jacobian(literature.black_scholes_greeks, mode="elimination")(point))
    assert second[0, 0] == pytest.approx(density / (spot * spread), rel=1e-12)
    assert second[0, 3] == pytest.approx(-density * (d1 - spread) / volatility, rel=1e-12)
    assert second[3, 3] == pytest.approx(greeks[3] * d1 * (d1 - spread) / volatility, rel=1e-12)
    np.testing.assert_allclose(second, second.T, rtol=1e-10, atol=1e-10)


def test_speelpenning():
    point = np.array(PROBLEMS["Speelpenning's product, 10"].point)
    assert value(literature.speelpenning, point).item() == pytest.approx(np.prod(point), rel=1e-14)
    gradient = np.asarray(gd.jacobian(literature.speelpenning, mode="elimination")(point))
    np.testing.assert_allclose(gradient, np.prod(point) / point, rtol=1e-13)


def test_helmholtz_energy_in_matrices():
    x = np.array(PROBLEMS["Helmholtz energy, 6"].point)
    index = np.arange(6)
    b, matrix = 0.1 / (index + 2), 1 / (index[:, None] + index + 1)
    root = math.sqrt(2)
    last = x @ matrix @ x / (math.sqrt(8) * (b @ x))
    expected = np.sum(x * np.log(x / (1 - b @ x))) - last * np.log(
        (1 + (1 + root) * (b @ x)) / (1 + (1 - root) * (b @ x))
    )
    assert value(literature.helmholtz_energy, x).item() == pytest.approx(expected, rel=1e-13)


def test_a_lorenz_step_follows_the_solution():
    def slope(t: float, p: np.ndarray) -> list[float]:
        return [10 * (p[1] - p[0]), p[0] * (28 - p[2]) - p[1], p[0] * p[1] - 8 / 3 * p[2]]

    start = np.array([1.0, 2.0, 20.0])
    errors = []
    for step in (0.01, 0.005):
        exact = solve_ivp(slope, (0, step), start, method="DOP853", rtol=1e-13, atol=1e-13).y[:, -1]
        stepped = value(lambda x, step=step: literature.lorenz_step(x, step), start)
        errors.append(np.abs(stepped - exact).max())
    assert 20 < errors[0] / errors[1] < 45  # fifth order: a factor of 2⁵


def test_small_network_in_matrices():
    values = np.array(PROBLEMS["network 4-3-3-4"].point)
    for layer, width in enumerate((3, 3, 4)):
        rows, columns = np.arange(width)[:, None], np.arange(len(values))
        values = np.sin(1 + 7 * layer + 3 * rows + 5 * columns) @ values
        values = np.tanh(values) if layer < 2 else values
    np.testing.assert_allclose(value(literature.small_network, PROBLEMS["network 4-3-3-4"].point), values, rtol=1e-12)


def test_broyden_tridiagonal_by_slices():
    x = np.array(PROBLEMS["Broyden tridiagonal, 10"].point)
    p = np.pad(x, 1)
    expected = (3 - 2 * x) * x - p[:-2] - 2 * p[2:] + 1
    np.testing.assert_allclose(value(literature.broyden_tridiagonal, x), expected, rtol=1e-13)


def euler_flux(u: np.ndarray) -> np.ndarray:
    velocity = u[1] / u[0]
    pressure = 0.4 * (u[2] - u[0] * velocity**2 / 2)
    return np.array([u[1], u[1] * velocity + pressure, velocity * (u[2] + pressure)])


def test_roe_flux_by_the_absolute_roe_matrix():
    """Half the sum of fluxes less |A| times half the jump, where A is the Euler Jacobian at Roe's mean state."""
    point = np.array(PROBLEMS["Roe flux"].point)
    left, right = point[:3], point[3:]
    roots = np.sqrt([left[0], right[0]])
    enthalpies = [(u[2] + 0.4 * (u[2] - u[1] ** 2 / u[0] / 2)) / u[0] for u in (left, right)]
    v = roots @ [left[1] / left[0], right[1] / right[0]] / roots.sum()
    h = roots @ enthalpies / roots.sum()
    matrix = np.array([[0, 1, 0], [-0.8 * v**2, 1.6 * v, 0.4], [v * (0.2 * v**2 - h), h - 0.4 * v**2, 1.4 * v]])
    speeds, vectors = np.linalg.eig(matrix)
    absolute = vectors @ np.diag(np.abs(speeds)) @ np.linalg.inv(vectors)
    expected = (euler_flux(left) + euler_flux(right) - absolute @ (right - left)) / 2
    np.testing.assert_allclose(value(literature.roe_flux, point), expected, rtol=1e-12)
    both = np.concatenate([left, left])
    np.testing.assert_allclose(value(literature.roe_flux, both), euler_flux(left), rtol=1e-13)
