"""Plans of the CuPy backend on the emulated device under a sanitizer; `test_cupy_sanitizers` runs this."""

import sys
from typing import Any

import cuda_emulator
import numpy as np
from cupy_stand_in import Emulated

import graphdiff as gd

UNDEFINED = "alignment,bounds,shift,signed-integer-overflow"
SANITIZERS = {
    "thread": ["-O1", "-g", "-fsanitize=thread"],
    "alignment": ["-O1", "-g", f"-fsanitize={UNDEFINED}", "-fno-sanitize-recover=all"],
}


def programs() -> list[tuple[Any, tuple[Any, ...]]]:
    """Return functions and arguments: sums in one and two stages, rows that share a kernel, odd sizes and begins."""
    r = np.random.default_rng(0)
    x, w, b = r.normal(size=(37, 61)), r.normal(size=(61, 5)), r.normal(size=5)

    def network(x: Any, w: Any, b: Any) -> Any:
        return gd.value_and_grad(lambda w, b: gd.mean(gd.relu(x @ w + b) ** 2), (0, 1))(w, b)

    return [
        (lambda x: (gd.sum(x), gd.sum(x, axis=0), gd.max(x, axis=1), gd.mean(x * x, axis=1, keepdims=True)), (x,)),
        (lambda x: gd.sum(x * x), (r.normal(size=70001),)),
        (lambda x: gd.softmax(x, axis=1) - gd.logsumexp(x, axis=0), (x,)),
        (lambda x: gd.concatenate([x[1:, ::2], x[:-1, 1::2][:, :30]], axis=1).T, (x,)),
        (lambda x: (x[1:] * 2, gd.ravel(x)[3:], x.astype("float16")[1:]), (x.astype("float32"),)),
        (lambda x, i: gd.sum(x[i] * x[i], axis=0), (x, r.integers(0, 37, 90))),
        (network, (x, w, b)),
        (network, (x.astype("float32"), w.astype("float32"), b.astype("float32"))),
    ]


if __name__ == "__main__":
    cuda_emulator.OPTIONS[:] = SANITIZERS[sys.argv[1]]
    cuda_emulator.find_spec = lambda name: None  # NVIDIA's compiler does not run under a sanitizer, and need not
    for threads, blocks in ((8, 3), (32, 1)):
        with gd.use_backend(Emulated(threads=threads, blocks=blocks)):
            compiled = [(gd.compile(function), given) for function, given in programs()]
            for plan, given in compiled:
                plan.plan(*given)
            for plan, given in compiled:
                plan(*given)
    print("done")
