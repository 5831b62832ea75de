"""CUDA C++ to cubins through NVRTC, which needs no GPU; kept on disk, since a step's kernels take about a second."""

from __future__ import annotations

import atexit
import hashlib
import os
import tempfile
from functools import cache
from pathlib import Path

from graphdiff.errors import BackendError

__all__ = ["compile_source", "compiled"]


def compile_source(source: str, architecture: str) -> bytes:
    """Compile kernels.

    Subnormal numbers are kept, and products and sums may be one operation with one rounding.

    Parameters
    ----------
    source : str
    architecture : str
        Such as "sm_90".

    Returns
    -------
    bytes
        A cubin.

    Raises
    ------
    BackendError
        The compiler is missing, or it refuses the source; then the message has what it says.
    """
    try:
        from cuda.core import Program, ProgramOptions
    except ImportError as error:
        raise BackendError(
            f'the CUDA compiler is not installed ({error}). Install it: pip install "graphdiff[cuda13]"'
        ) from error
    options = ProgramOptions(arch=architecture, std="c++17", ftz=False, fma=True, prec_div=True, prec_sqrt=True)
    try:
        return bytes(Program(source, "c++", options).compile("cubin").code)
    except Exception as error:
        raise BackendError(f"a generated kernel does not compile for {architecture}: {error}") from error


def compiled(source: str, architecture: str) -> Path:
    """Return the file of the cubin for a source, made if there is none yet."""
    key = hashlib.sha256("\0".join([source, architecture, _compiler()]).encode()).hexdigest()[:32]
    folder = _writable(Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "graphdiff" / "cubins")
    file = folder / f"{key}.cubin"
    if not file.exists():
        code = compile_source(source, architecture)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as made:
            made.write(code)
        Path(made.name).replace(file)
    return file


@cache
def _writable(folder: Path) -> Path:
    """Return a folder, made if it is not there; one of this process where that cannot be made or written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        own = tempfile.TemporaryDirectory(prefix="graphdiff-cubins-")
        atexit.register(own.cleanup)
        return Path(own.name)


def _compiler() -> str:
    """Return the version of NVRTC that is loaded, wherever it comes from."""
    try:
        from cuda.bindings import nvrtc

        status, major, minor = nvrtc.nvrtcVersion()
    except (ImportError, RuntimeError):
        return "unknown"
    return f"{major}.{minor}" if status == nvrtc.nvrtcResult.NVRTC_SUCCESS else "unknown"
