"""The step by hand in C: the yardstick for plans as C.

Strict arithmetic: no -ffast-math, so that NaN and infinity mean what they mean elsewhere; sums are reassociated only
where a pragma says so. Which way is quicker is found by timing both when the step is made:

- loops: features by rows, the batch innermost, so that every loop is one of vectors; the input is turned first;
- BLAS: the products of the library that NumPy has loaded, everything by rows.

Calls pass pointers that were bound beforehand: what Python's side of a call costs is left out of it.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import numpy as np
from graphdiff_numpy.native.blas import find_blas

from benchmarks.peers import Step
from benchmarks.problem import Array, Config, Labels, Weights

FLAGS = ["-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd", "-shared", "-fPIC"]

FUNCTIONS = r"""
#include <math.h>
#include <string.h>
// Polynomials of S. L. Moshier's Cephes; without branches, so that they become vectors.
static inline float exp_of(float x) {
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    const float n = __builtin_rintf(x * 1.44269504088896341f);
    float r = x - n * 0.693359375f;
    r -= n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1;
    union { int bits; float real; } scale = {((int)n + 127) << 23};
    return p * scale.real;
}
static inline float log_of(float x) {
    union { float real; int bits; } u = {x};
    int n = (u.bits >> 23) - 126;
    u.bits = (u.bits & 0x7fffff) | 0x3f000000;
    const int low = u.real < 0.707106781186547524f;
    n -= low;
    const float m = low ? u.real + u.real - 1 : u.real - 1, z = m * m;
    float p = 7.0376836292e-2f;
    p = p * m - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    p = p * m * z - 2.12194440e-4f * n - 0.5f * z;
    return m + p + 0.693359375f * n;
}
"""

ADAM = """
    for (int j = 0; j < COUNT; ++j) {
        m[j] = 0.9f * m[j] + 0.1f * g[j];
        v[j] = 0.999f * v[j] + 0.001f * g[j] * g[j];
        p[j] -= 1e-3f * (m[j] * first) / (sqrtf(v[j] * second) + 1e-8f);
    }
    return loss / B;
}
"""
HEAD = (
    "float step(const float *restrict x, const long *restrict y, float *restrict p, float *restrict m,"
    " float *restrict v, float first, float second) {\n    float loss = 0;"
)


def make_step(config: Config, weights: Weights, x: Array, y: Labels) -> Step:
    """Return one training step, with loops or with BLAS."""
    kinds = [loops, products] if find_blas() is not None else [loops]
    steps = [bound(config, weights, x, y, source(config)) for source in kinds]
    if len(steps) == 1 or config.parameters > 100_000:
        return steps[-1]
    times = []
    for step in steps:
        for _ in range(20):
            step()
        start = perf_counter()
        for _ in range(200):
            step()
        times.append(perf_counter() - start)
    return bound(config, weights, x, y, kinds[int(np.argmin(times))](config))


def bound(config: Config, weights: Weights, x: Array, y: Labels, source: str) -> Step:
    """Compile a step, and return it as a function of nothing."""
    folder = Path(tempfile.mkdtemp(prefix="c_tuned-"))
    (folder / "step.c").write_text(source)
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, *FLAGS, "step.c", "-o", "step.so", "-lm"], cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "step.so"))
    blas = find_blas()
    if "set_product" in source:
        assert blas is not None
        library.set_product(ctypes.c_void_p(blas.single))
    parameters = np.concatenate([part.ravel() for pair in weights for part in pair])
    held = (x, y.astype(np.int64), parameters, np.zeros_like(parameters), np.zeros_like(parameters))
    function = library.step
    function.restype, function.argtypes = ctypes.c_float, [*[ctypes.c_void_p] * 5, *[ctypes.c_float] * 2]
    pointers = [array.ctypes.data for array in held]
    powers = [1.0, 1.0]

    def step(held: object = held) -> float:
        powers[0] *= 0.9
        powers[1] *= 0.999
        return float(function(*pointers, 1 / (1 - powers[0]), 1 / (1 - powers[1])))

    return step


def layers(config: Config) -> list[tuple[int, int, int]]:
    """Return inputs, outputs and the place of the weights among all parameters, for each layer."""
    found, place = [], 0
    for inputs, outputs in pairwise(config.sizes):
        found.append((inputs, outputs, place))
        place += (inputs + 1) * outputs
    return found


def begun(config: Config) -> list[str]:
    """Return what both ways begin with: sizes, and memory for values and adjoints."""
    lines = [f"#define B {config.batch}", f"#define COUNT {config.parameters}", FUNCTIONS]
    lines.append("static float g[COUNT] __attribute__((aligned(64)));")
    for k, size in enumerate(config.sizes):
        lines.append(f"static float h{k}[{size} * B] __attribute__((aligned(64)));")
        lines.append(f"static float d{k}[{size} * B] __attribute__((aligned(64)));")
    return lines


EACH = "for (int b = 0; b < B; ++b)"
SUMMED = "#pragma omp simd reduction(+:a)"


def loops(config: Config) -> str:
    """Write a step whose values have the batch innermost."""
    classes, last = config.sizes[-1], len(config.sizes) - 1
    lines = [*begun(config), HEAD]
    lines.append(f"for (int i = 0; i < {config.sizes[0]}; ++i) {EACH} h0[i * B + b] = x[b * {config.sizes[0]} + i];")
    for k, (inputs, outputs, w) in enumerate(layers(config)):
        value = "a[b] > 0 ? a[b] : 0" if k + 1 < last else "a[b]"
        lines += [
            f"for (int o = 0; o < {outputs}; ++o) {{ float a[B]; {EACH} a[b] = p[{w + inputs * outputs} + o];",
            f"for (int i = 0; i < {inputs}; ++i) {{ const float s = p[{w} + i * {outputs} + o];",
            f"{EACH} a[b] += s * h{k}[i * B + b]; }} {EACH} h{k + 1}[o * B + b] = {value}; }}",
        ]
    z, d = f"h{last}", f"d{last}"
    lines += [
        f"float most[B], sum[B]; {EACH} {{ most[b] = {z}[b]; sum[b] = 0; }}",
        f"for (int k = 1; k < {classes}; ++k) {EACH} most[b] = {z}[k * B + b] > most[b] ? {z}[k * B + b] : most[b];",
        f"for (int k = 0; k < {classes}; ++k) {EACH} {{",
        f"const float e = exp_of({z}[k * B + b] - most[b]); {d}[k * B + b] = e; sum[b] += e; }}",
        f"{EACH} most[b] += log_of(sum[b]);",
        f"{EACH} loss += most[b] - {z}[y[b] * B + b];",
        f"{EACH} sum[b] = 1 / (sum[b] * B);",
        f"for (int k = 0; k < {classes}; ++k) {EACH} {d}[k * B + b] *= sum[b];",
        f"{EACH} {d}[y[b] * B + b] -= 1.0f / B;",
    ]
    for k, (inputs, outputs, w) in reversed(list(enumerate(layers(config)))):
        lines += [
            f"for (int i = 0; i < {inputs}; ++i) for (int o = 0; o < {outputs}; ++o) {{ float a = 0;",
            SUMMED,
            f"{EACH} a += h{k}[i * B + b] * d{k + 1}[o * B + b]; g[{w} + i * {outputs} + o] = a; }}",
            f"for (int o = 0; o < {outputs}; ++o) {{ float a = 0;",
            SUMMED,
            f"{EACH} a += d{k + 1}[o * B + b]; g[{w + inputs * outputs} + o] = a; }}",
        ]
        if k:
            lines += [
                f"for (int i = 0; i < {inputs}; ++i) {{ float a[B]; {EACH} a[b] = 0;",
                f"for (int o = 0; o < {outputs}; ++o) {{ const float s = p[{w} + i * {outputs} + o];",
                f"{EACH} a[b] += s * d{k + 1}[o * B + b]; }}",
                f"{EACH} d{k}[i * B + b] = h{k}[i * B + b] > 0 ? a[b] : 0; }}",
            ]
    return "\n".join([*lines, ADAM])


def products(config: Config) -> str:
    """Write a step whose products are BLAS's."""
    blas = find_blas()
    assert blas is not None
    classes, last = config.sizes[-1], len(config.sizes) - 1
    lines = [
        f"typedef {blas.integer} I; typedef const float *In;",
        "typedef void (*Product)(int, int, int, I, I, I, float, In, I, In, I, float, float *, I);",
        "static Product product; void set_product(Product given) { product = given; }",
        *begun(config),
        HEAD,
    ]
    for k, (inputs, outputs, w) in enumerate(layers(config)):
        value = "x" if k == 0 else f"h{k}"
        bias = w + inputs * outputs
        lines += [
            f"{EACH} memcpy(h{k + 1} + b * {outputs}, p + {bias}, {outputs} * sizeof(float));",
            f"product(101, 111, 111, B, {outputs}, {inputs}, 1, {value}, {inputs}, p + {w}, {outputs}, 1, h{k + 1}, "
            f"{outputs});",
        ]
        if k + 1 < last:
            lines.append(f"for (int j = 0; j < B * {outputs}; ++j) h{k + 1}[j] = h{k + 1}[j] > 0 ? h{k + 1}[j] : 0;")
    lines += [
        f"{EACH} {{ float *z = h{last} + b * {classes}, *d = d{last} + b * {classes}, most = z[0], a = 0;",
        f"for (int k = 1; k < {classes}; ++k) most = z[k] > most ? z[k] : most;",
        SUMMED,
        f"for (int k = 0; k < {classes}; ++k) {{ const float e = exp_of(z[k] - most); d[k] = e; a += e; }}",
        "loss += log_of(a) + most - z[y[b]];",
        "const float q = 1 / (a * B);",
        f"for (int k = 0; k < {classes}; ++k) d[k] *= q;",
        "d[y[b]] -= 1.0f / B; }",
    ]
    for k, (inputs, outputs, w) in reversed(list(enumerate(layers(config)))):
        value = "x" if k == 0 else f"h{k}"
        bias = w + inputs * outputs
        lines += [
            f"product(101, 112, 111, {inputs}, {outputs}, B, 1, {value}, {inputs}, d{k + 1}, {outputs}, 0, g + {w}, "
            f"{outputs});",
            f"memset(g + {bias}, 0, {outputs} * sizeof(float));",
            f"{EACH} for (int k = 0; k < {outputs}; ++k) g[{bias} + k] += d{k + 1}[b * {outputs} + k];",
        ]
        if k:
            lines += [
                f"product(101, 111, 112, B, {inputs}, {outputs}, 1, d{k + 1}, {outputs}, p + {w}, {outputs}, 0, d{k}, "
                f"{inputs});",
                f"for (int j = 0; j < B * {inputs}; ++j) d{k}[j] = h{k}[j] > 0 ? d{k}[j] : 0;",
            ]
    return "\n".join([*lines, ADAM])
