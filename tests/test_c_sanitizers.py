"""Plans as C under the compiler's sanitizers: nothing beside an array is read or written, nothing is undefined."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cuda_emulator import COMPILER, WHY_NOT

pytestmark = pytest.mark.skipif(COMPILER is None, reason=WHY_NOT)
PLANTED = """
import ctypes, sys
import numpy as np
from graphdiff_numpy.native import compiler
from sanitized_c_plans import FLAGS
compiler.FLAGS += FLAGS
library = compiler.find_compiler().load("double last(double *p, long n) { return p[n]; }")
library.last(np.zeros(5).ctypes.data_as(ctypes.c_void_p), 5)
"""


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the sanitizer's library, which must be there before anything else is loaded."""
    found = subprocess.run([str(COMPILER), "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    environment = os.environ | {
        "LD_PRELOAD": found.stdout.strip(),
        "ASAN_OPTIONS": "detect_leaks=0 exitcode=66",
        "UBSAN_OPTIONS": "exitcode=66 print_stacktrace=1",
        "PYTHONMALLOC": "malloc",
        "GRAPHDIFF_CACHE": str(folder),
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)]),
    }
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env=environment, timeout=300, check=False
    )


def test_plans_are_clean(tmp_path: Path) -> None:
    done = run(tmp_path, str(Path(__file__).parent / "sanitized_c_plans.py"))
    assert (done.returncode, done.stdout.strip()) == (0, "done"), done.stderr[-4000:]


def test_the_sanitizer_finds_what_is_planted(tmp_path: Path) -> None:
    done = run(tmp_path, "-c", PLANTED)
    assert done.returncode == 66
    assert "heap-buffer-overflow" in done.stderr
