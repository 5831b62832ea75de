"""The picture of docs/second_order.md; run as ``python examples/second_order.py docs/images``.

Left: a saddle, with the eigenvectors of the Hessian and paths of gradient descent. Right: gradient descent on a
quadratic at several learning rates, beside Newton's method.
"""

import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

import graphdiff as gd

BLUE, ORANGE, GREEN, PINK, GREY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#6b7280"
FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else ".")

# The same picture makes the same file.
mpl.rcParams.update({"svg.hashsalt": "graphdiff", "font.size": 10})


def saddle(theta: Any) -> Any:
    """θ₁² - θ₂²: down along one axis, up along the other."""
    return theta[0] ** 2 - theta[1] ** 2


def bowl(theta: Any) -> Any:
    """A quadratic with the eigenvalues 1 and 10."""
    return 0.5 * (theta[0] ** 2 + 10 * theta[1] ** 2)


def descent(function: Any, start: Any, rate: float, steps: int) -> Any:
    """Return the points of gradient descent, the start first."""
    gradient = gd.compile(gd.grad(function))
    points = [np.array(start)]
    for _ in range(steps):
        points.append(points[-1] - rate * np.asarray(gradient(points[-1])))
    return np.array(points)


def newton(function: Any, start: Any, steps: int) -> Any:
    """Return the points of Newton's method: the learning rate is the inverse of the Hessian."""
    points = [np.array(start)]
    for _ in range(steps):
        matrix, slope = gd.hessian(function)(points[-1]), gd.grad(function)(points[-1])
        points.append(points[-1] - np.asarray(gd.linalg.solve(matrix, slope)))
    return np.array(points)


def draw_saddle(axes: Any) -> None:
    """Contours, paths that begin close to the ridge, and the eigenvectors where they meet."""
    across = np.linspace(-1.25, 1.25, 61)
    grid = np.stack(np.meshgrid(across, across))
    axes.contour(*grid, np.asarray(saddle(gd.constant(grid))), np.linspace(-1.4, 1.4, 15), colors=GREY, linewidths=0.6)
    for x, y in ((1.1, 0.03), (1.1, -0.03), (-1.1, 0.1), (-1.1, -0.1)):
        path = descent(saddle, [x, y], 0.05, 50)
        axes.plot(*path[np.abs(path).max(axis=1) < 1.25].T, ".-", color=BLUE, markersize=3, linewidth=1)
    values, vectors = gd.linalg.eigh(gd.hessian(saddle)(np.zeros(2)))
    for value, vector, colour, place in zip(
        np.asarray(values), np.asarray(vectors).T, (ORANGE, GREEN), ((0.12, 0.55), (0.3, -0.24))
    ):
        tip = 0.65 * np.abs(vector)
        axes.annotate("", tip, (0, 0), arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 2.5}, zorder=5)
        axes.text(*place, f"λ = {value:+.0f}", color=colour, weight="bold")
    kind = gd.critical_point(saddle, np.zeros(2)).kind
    axes.set(title=f"θ₁² − θ₂² at 0: a {kind}", xlabel="θ₁", ylabel="θ₂", aspect="equal")


def draw_rates(axes: Any) -> None:
    """Distance from the minimum over steps, one line per learning rate."""
    start = np.array([10.0, 1.0])
    low, high = gd.hessian_eigenvalues(bowl, start)
    best = gd.critical_point(bowl, np.zeros(2)).optimal_rate
    lines = [
        ("0.5 / λmax", 0.5 / high[0], GREY),
        ("1 / λmax", 1 / high[0], BLUE),
        ("2 / (λmin + λmax), the best", best, GREEN),
        ("2.02 / λmax: it diverges", 2.02 / high[0], ORANGE),
    ]
    for name, rate, colour in lines:
        distance = np.linalg.norm(descent(bowl, start, rate, 40), axis=1)
        axes.semilogy(distance, ".-", color=colour, label=f"{name} = {rate:.3f}", markersize=4, linewidth=1.2)
    distance = np.linalg.norm(newton(bowl, start, 1), axis=1)
    axes.semilogy(np.maximum(distance, 1e-3), "s--", color=PINK, label="inverse Hessian (Newton): one step")
    axes.set(title=f"a quadratic, λ from {low[0]:.0f} to {high[0]:.0f}", xlabel="steps")
    axes.set(ylabel="distance from the minimum", ylim=(8e-4, 300))
    axes.legend(frameon=False, fontsize=8, loc="upper right")
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Draw and save both."""
    figure = Figure(figsize=(9.2, 4.1), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_saddle(left)
    draw_rates(right)
    figure.savefig(FOLDER / "second_order.svg", metadata={"Date": None}, facecolor="white")
    print("wrote second_order.svg")


if __name__ == "__main__":
    main()
