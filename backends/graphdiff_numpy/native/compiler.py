"""The C compiler of this machine, and what it has compiled before.

Compiled code is kept in a private folder, named by its source, the flags, the compiler and the processor. It is written
beside its place and moved there, so that several processes can compile the same; a damaged entry is made again, and
the oldest go when there are many. Whatever goes wrong is an Unavailable with its reason: then plans run as NumPy calls.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import product
from pathlib import Path

__all__ = ["Compiler", "Unavailable", "find_compiler"]

FLAGS = shlex.split("-O2 -fno-math-errno -fopenmp-simd -fwrapv -ffp-contract=off -w -shared -fPIC -std=gnu11")
"""NaN, infinity and −0 mean what they mean elsewhere: no -ffast-math. Nor -fno-trapping-math, with which gcc 12 makes
wrong vectors of nested selections. Integers wrap around, as NumPy's do."""
VECTORS = shlex.split("-ftree-vectorize -fvect-cost-model=dynamic -fno-tree-sink")
"""With which gcc makes vectors of loops, if nothing is moved under a condition. Clang does by itself, and refuses
them."""
PROCESSORS = ("-march=native", "-mcpu=native")
"""Compilers know the processor by one name or the other."""
SECONDS = 60
"""After which a compiler is given up."""
MOST = 512
"""Entries that are kept."""
MAGIC = 32
"""Bytes of the digest behind every entry."""


class Unavailable(Exception):
    """There is no compiled code, for a reason that people can read."""


@dataclass
class Compiler:
    """A C compiler.

    Attributes
    ----------
    command : list of str
    version : str
        What it says of itself.
    width : int
        Bytes of the vectors of the processor that it compiles for.
    folder : Path
        Where compiled code is kept.
    """

    command: list[str]
    version: str
    width: int
    folder: Path

    def load(self, source: str, *options: str) -> ctypes.CDLL:
        """Return the library of a source, compiled now or before.

        Raises
        ------
        Unavailable
            It cannot be compiled, or not be loaded.
        """
        told = "\0".join([source, *FLAGS, *options, *self.command, self.version, _processor()])
        path = self.folder / f"{hashlib.sha256(told.encode()).hexdigest()[:40]}.so"
        found = _LOADED.get(path)
        if found is None:
            if not _is_whole(path):
                self._compile(source, path, options)
            found = _LOADED[path] = _opened(path)
        return found

    def _compile(self, source: str, path: Path, options: tuple[str, ...]) -> None:
        try:
            with tempfile.TemporaryDirectory(prefix="making-", dir=self.folder) as folder:
                given, made = Path(folder, "plan.c"), Path(folder, "plan.so")
                given.write_text(source, "utf-8")
                _run([*self.command, *FLAGS, *options, "plan.c", "-o", "plan.so", "-lm"], folder)
                made.write_bytes(made.read_bytes() + hashlib.sha256(made.read_bytes()).digest())
                made.chmod(0o700)
                os.replace(made, path)
        except OSError as error:
            raise Unavailable(f"{self.folder} cannot be written: {error}") from error
        self._prune()

    def _prune(self) -> None:
        """Let the entries go that were made longest ago, if there are many."""
        entries = []
        for entry in self.folder.glob("*.so"):
            try:
                entries.append((entry.stat().st_mtime, entry))
            except OSError:  # another process was quicker
                continue
        for _, entry in sorted(entries)[:-MOST]:
            entry.unlink(missing_ok=True)


_LOADED: dict[Path, ctypes.CDLL] = {}


def _is_whole(path: Path) -> bool:
    """Whether an entry is there as it was written: what is cut off would end the process when it is loaded."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return hashlib.sha256(content[:-MAGIC]).digest() == content[-MAGIC:]


def _opened(path: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise Unavailable(f"compiled code cannot be loaded: {error}") from error


def _run(command: list[str], folder: str) -> str:
    """Run a compiler; return what it prints."""
    environment = {**os.environ, "LC_ALL": "C", "TMPDIR": folder}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
            encoding="utf-8",
            errors="replace",
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{command[0]} takes more than {SECONDS} s") from error
    except (OSError, ValueError) as error:
        raise Unavailable(f"{command[0]} cannot be run: {error}") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["it says nothing"]
        raise Unavailable(f"{command[0]} refuses: {next((line for line in lines if 'error' in line), lines[0])}")
    return done.stdout


@cache
def _processor() -> str:
    """Return what tells processors apart for which code is compiled: their names and abilities."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()} {platform.node()}"
    wanted = ("model name", "flags", "Features", "CPU part", "isa")
    first = {line.split(":")[0].strip(): line for line in reversed(lines)}
    return platform.machine() + "".join(first.get(name, "") for name in wanted)


def _folder() -> Path:
    """Return a folder for compiled code that is this user's alone, and whose files can be run.

    Raises
    ------
    Unavailable
        There is none.
    """
    named = os.environ.get("GRAPHDIFF_CACHE")
    home = os.environ.get("XDG_CACHE_HOME")
    wanted = [Path(named)] if named else [Path(home, "graphdiff") if home else Path("~/.cache/graphdiff").expanduser()]
    reasons = []
    for folder in [*wanted, Path(tempfile.gettempdir(), f"graphdiff-{_user()}")]:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            state = folder.stat()
            if hasattr(os, "getuid") and (state.st_uid != os.getuid() or state.st_mode & 0o022):
                raise OSError("others can write there")
            with tempfile.TemporaryDirectory(prefix="making-", dir=folder):
                return folder
        except (OSError, RuntimeError) as error:
            reasons.append(f"{folder} cannot be used: {error}")
    raise Unavailable("; ".join(reasons))


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")


def _commands() -> list[list[str]]:
    """Return the compilers that may be there, the one that the user names first."""
    named = os.environ.get("CC")
    found = [shlex.split(named)] if named and named.strip() else []
    found += [[path] for name in ("cc", "gcc", "clang") if (path := _which(name)) is not None]
    if find_spec("ziglang") is not None:
        found.append([sys.executable, "-m", "ziglang", "cc"])
    return found


def _which(name: str) -> str | None:
    try:
        return shutil.which(name)
    except OSError:  # a folder of PATH that may not be read
        return None


@cache
def find_compiler() -> Compiler | str:
    """Return the first compiler that compiles and whose code runs, or why there is none."""
    try:
        folder = _folder()
    except Unavailable as error:
        return str(error)
    reasons = []
    for command in _commands():
        try:
            return _tried(command, folder)
        except Unavailable as error:
            reasons.append(str(error))
    return "; ".join(reasons) or "there is no C compiler (cc, gcc, clang, or the package ziglang)"


_TRIAL = """
int width(void) {
#if defined(__AVX512F__)
    return 64;
#elif defined(__AVX2__)
    return 32;
#else
    return 16;
#endif
}
"""


def _tried(command: list[str], folder: Path) -> Compiler:
    """Return a compiler that compiles for this processor, and see that its code can be loaded and run."""
    with tempfile.TemporaryDirectory(prefix="making-", dir=folder) as made:
        version = _run([*command, "--version"], made).partition("\n")[0]
    reason = Unavailable("")
    for processor, vectors in product(PROCESSORS, (VECTORS, [])):
        compiler = Compiler([*command, processor, *vectors], version, 16, folder)
        try:
            compiler.width = compiler.load(_TRIAL).width()
        except Unavailable as error:
            reason = error
        else:
            return compiler
    raise reason
