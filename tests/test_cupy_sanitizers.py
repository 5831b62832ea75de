"""Generated kernels under the compiler's sanitizers: no two threads meet at one place, nothing is read askew."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cuda_emulator import COMPILER, WHY_NOT
from sanitized_plans import SANITIZERS

pytestmark = pytest.mark.skipif(COMPILER is None, reason=WHY_NOT)
RACE = """
#include <pthread.h>
static int shared;
static void* work(void*) { for (int k = 0; k < 1000; ++k) shared = shared + 1; return 0; }
extern "C" void race() {
    pthread_t other;
    pthread_create(&other, 0, work, 0);
    work(0);
    pthread_join(other, 0);
}
"""
ASKEW = """
extern "C" void race() {
    alignas(4) char bytes[9] = {};
    volatile int taken = *(volatile int*)(bytes + 1);
}
"""


def run(sanitizer: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python with a sanitizer's library, which must be there before anything else is loaded."""
    name = "libtsan.so" if sanitizer == "thread" else "libubsan.so"
    library = subprocess.run([str(COMPILER), f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()
    paths = [str(Path(__file__).parent), *filter(None, sys.path)]
    environment = os.environ | {
        "LD_PRELOAD": library,
        "TSAN_OPTIONS": "exitcode=66 halt_on_error=1",
        "UBSAN_OPTIONS": "exitcode=66 print_stacktrace=1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(paths),
    }
    # Addresses that are drawn at random may be where the sanitizer keeps its own.
    fixed = ["setarch", "-R"] if sanitizer == "thread" and Path("/usr/bin/setarch").exists() else []
    return subprocess.run(
        [*fixed, sys.executable, *command], capture_output=True, text=True, env=environment, timeout=300, check=False
    )


@pytest.mark.parametrize("sanitizer", SANITIZERS)
def test_kernels_are_clean(sanitizer: str) -> None:
    done = run(sanitizer, str(Path(__file__).parent / "sanitized_plans.py"), sanitizer)
    assert (done.returncode, done.stdout.strip()) == (0, "done"), done.stderr[-4000:]


@pytest.mark.parametrize("sanitizer", SANITIZERS)
def test_the_sanitizer_finds_what_is_planted(sanitizer: str, tmp_path: Path) -> None:
    source, library = tmp_path / "planted.cpp", tmp_path / "planted.so"
    source.write_text(RACE if sanitizer == "thread" else ASKEW)
    options = [*SANITIZERS[sanitizer], "-std=c++20", "-w", "-shared", "-fPIC", "-pthread"]
    subprocess.run([str(COMPILER), *options, str(source), "-o", str(library)], check=True)
    done = run(sanitizer, "-c", f"import ctypes; ctypes.CDLL({str(library)!r}).race(); print('done')")
    assert done.returncode != 0
    assert "data race" in done.stderr or "misaligned" in done.stderr
