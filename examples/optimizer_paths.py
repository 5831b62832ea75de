"""The paths of eight optimisers over a long valley, a saddle and Beale's function: a picture, and an animation.

``python optimizer_paths.py`` writes optimizer_paths.png and optimizer_paths.gif; ``--frames 0`` leaves out the second.
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import graphdiff as gd

STEPS = 120
# Each function with a rate for the methods whose steps are as long as the gradient, the start, the minimum, the axes'
# limits, and the contours' levels.
LANDSCAPES = {
    "A long valley: x²/20 + y²": (
        lambda x, y: x**2 / 20 + y**2,
        0.1,
        (-9.0, 2.2),
        (0.0, 0.0),
        (-10.5, 4.5, -3.2, 3.2),
        np.geomspace(0.02, 20, 12),
    ),
    "A saddle: x² − y²": (
        lambda x, y: x**2 - y**2,
        0.03,
        (-1.6, 1e-3),
        None,
        (-1.9, 1.1, -0.9, 1.6),
        np.concatenate([-np.geomspace(4, 0.1, 6), [0.0], np.geomspace(0.1, 4, 6)]),
    ),
    "Beale's function": (
        lambda x, y: (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2,
        0.003,
        (1.0, 1.5),
        (3.0, 0.5),
        (-0.4, 4.0, -1.9, 2.0),
        np.geomspace(0.02, 400, 16),
    ),
}
# Each optimiser with its colour (Okabe and Ito's, told apart by everyone) and its line.
METHODS = {
    "gradient descent": (lambda w, rate: gd.optim.SGD(w, lr=rate), "#000000", "-"),
    "momentum": (lambda w, rate: gd.optim.SGD(w, lr=rate, momentum=0.9), "#e69f00", "-"),
    "Nesterov": (lambda w, rate: gd.optim.SGD(w, lr=rate, momentum=0.9, nesterov=True), "#d55e00", "--"),
    "AdaGrad": (lambda w, rate: gd.optim.AdaGrad(w, lr=0.4), "#009e73", "-"),
    "RMSProp": (lambda w, rate: gd.optim.RMSProp(w, lr=0.06, rho=0.9), "#56b4e9", "-"),
    "AdaDelta": (lambda w, rate: gd.optim.AdaDelta(w, eps=1e-3), "#cc79a7", "-"),
    "Adam": (lambda w, rate: gd.optim.Adam(w, lr=0.2), "#0072b2", "-"),
    "L-BFGS": (lambda w, rate: gd.optim.LBFGS(w, iterations=1), "#000000", ":"),
}


def path(function, rate, start, make, limits):
    """Return the points that an optimiser visits; it waits where it leaves the picture."""
    w = gd.variable(start, name="w")
    optimizer = make([w], rate)
    points = [w.numpy().copy()]
    left, right, bottom, top = limits
    for _ in range(STEPS):
        x, y = points[-1]
        if left < x < right and bottom < y < top:
            searches = isinstance(optimizer, gd.optim.LBFGS)  # for which it evaluates the function by itself
            optimizer.minimize((lambda: function(w[0], w[1])) if searches else function(w[0], w[1]))
        points.append(w.numpy().copy())
    return np.array(points)


def landscape(axes, title, function, start, minimum, limits, levels):
    x, y = np.meshgrid(np.linspace(*limits[:2], 300), np.linspace(*limits[2:], 300))
    axes.contour(x, y, function(x, y), levels, colors="0.78", linewidths=0.8, linestyles="-")
    axes.plot(*start, "ks", markersize=7, zorder=5, label="start")
    if minimum:
        axes.plot(*minimum, "k*", markersize=13, zorder=5, label="minimum")
    axes.set(title=title, xlim=limits[:2], ylim=limits[2:], xlabel="x", ylabel="y")


parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--frames", type=int, default=60, help="of the animation (default: %(default)s)")
frames = parser.parse_args().frames

figure, panels = plt.subplots(1, 3, figsize=(13, 5.2), layout="constrained")
drawn = []
for axes, (title, (function, rate, start, minimum, limits, levels)) in zip(panels, LANDSCAPES.items()):
    landscape(axes, title, function, start, minimum, limits, levels)
    for name, (make, color, style) in METHODS.items():
        points = path(function, rate, start, make, limits)
        (line,) = axes.plot(*points.T, style, color=color, linewidth=2, label=name)
        (head,) = axes.plot(*points[-1:].T, "o", color=color, markersize=6, markeredgecolor="white", zorder=6)
        drawn.append((points, line, head))
        print(f"{title:<26} {name:<17} after {STEPS} steps at ({points[-1][0]:6.3f}, {points[-1][1]:6.3f})")
figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
title = figure.suptitle(f"after {STEPS} steps")
figure.savefig("optimizer_paths.png", dpi=80)


def picture(step):
    """Return the paths up to a step as an image."""
    for points, line, head in drawn:
        line.set_data(*points[: step + 1].T)
        head.set_data(*points[step : step + 1].T)
    title.set_text(f"after {step} steps")
    figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")


if frames:
    figure.set_dpi(75)
    # The first steps are the most interesting: the animation hurries later, and rests at the end.
    shown = [*(STEPS * np.linspace(0, 1, frames) ** 1.5).round().astype(int), *[STEPS] * (frames // 4)]
    # One palette for all, without dithering: what does not change from picture to picture takes no room.
    palette = picture(STEPS).quantize(96)
    first, *others = [picture(step).quantize(palette=palette, dither=Image.Dither.NONE) for step in shown]
    first.save("optimizer_paths.gif", save_all=True, append_images=others, duration=90, loop=0)
