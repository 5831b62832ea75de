"""Side-by-side measurements of graphdiff and its peers, on one thread.

Numeric libraries decide once, when they are loaded, how many threads they run on, so that is settled here: this
module is imported before any script of the package, and the scripts import NumPy only after it. Where the system
allows it the process also keeps to one core, because JAX uses all of them whatever its flags say.
"""

import os
import sys
import warnings

_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
}

if "numpy" in sys.modules:
    warnings.warn("NumPy was imported before benchmarks: it may run on more than one thread", stacklevel=2)
os.environ.update(_ONE_THREAD)
if sys.platform == "linux":
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
