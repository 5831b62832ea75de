"""What all kinds of fuzzing share: differences, comparing, shrinking, time limits, and the loop over the cases."""

from __future__ import annotations

import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

import graphdiff as gd

CASE_SECONDS = 20.0
"""What takes longer is a hang."""
SHRINK_SECONDS = 15.0


@dataclass(frozen=True)
class Difference:
    """What was found: its kind, which shrinking keeps, and what to tell."""

    kind: str
    told: str
    nan_for_zero: bool = False
    """Whether all that differs are exact zeros, for which NaN was found."""


class Case(Protocol):
    """One random input, which can be made smaller and written out as a program."""

    def check(self) -> Difference | None: ...

    def smaller(self) -> Iterator[Any]: ...

    def source(self) -> str: ...


class Refused(Exception):
    """A case that is no test, since what it asks for is refused with a clear error."""


class TooSlow(BaseException):
    """A case took longer than its time."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TooSlow within the block after so many seconds; for the main thread, where there is such a signal."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def stop(*_: object) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def checked(case: Case) -> Difference | None:
    """Check a case, quietly and within its time."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            with time_limit(CASE_SECONDS):
                return case.check()
        except TooSlow:
            return Difference("hang", f"no end after {CASE_SECONDS:.0f} s")
        except MemoryError as error:
            return Difference("memory", str(error))


def shrunk(case: Any, difference: Difference, seconds: float = SHRINK_SECONDS) -> tuple[Any, Difference]:
    """Return the smallest case found that shows a difference of the same kind, and that difference."""
    end = time.monotonic() + seconds
    smaller = True
    while smaller:
        smaller = False
        for candidate in case.smaller():
            if time.monotonic() > end:
                return case, difference
            try:
                found = checked(candidate)
            except Exception:  # Refused, or no program any more
                continue
            if found is not None and found.kind == difference.kind:
                case, difference, smaller = candidate, found, True
                break
    return case, difference


@dataclass
class Tally:
    """What a run over many cases has met."""

    cases: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    found: list[tuple[int, Any, Difference]] = field(default_factory=list)


def run(
    make: Callable[[int, int], Any],
    seed: int,
    numbers: range,
    *,
    seconds: float = SHRINK_SECONDS,
    tell: Callable[[str], None] | None = None,
    name: str = "",
    ignore: Collection[str] = (),
    once: bool = False,
) -> Tally:
    """Make and check the cases of these numbers, and shrink those that show a difference.

    Parameters
    ----------
    make : callable
        ``make(seed, number)`` returns the case, always the same.
    seconds : float
        For shrinking one case.
    tell : callable, optional
        Is given the text of every difference as it is found.
    ignore : collection of str
        Kinds of differences that are only counted.
    once : bool
        Whether of each kind only the first is shrunk and told.
    """
    tally = Tally()
    for number in numbers:
        tally.cases += 1
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                case = make(seed, number)
            difference = checked(case)
            if difference is not None and difference.kind in ignore:
                raise Refused(difference.kind)
        except Refused as refusal:
            reason = str(refusal)
            tally.refused[reason] = tally.refused.get(reason, 0) + 1
            continue
        if difference is not None:
            known = once and any(earlier.kind == difference.kind for _, _, earlier in tally.found)
            if not known:
                case, difference = shrunk(case, difference, seconds)
            tally.found.append((number, case, difference))
            if tell is not None and not known:
                tell(report(name, seed, number, case, difference))
    return tally


def report(name: str, seed: int, number: int, case: Case, difference: Difference) -> str:
    """Return what to print of a difference: where it was found, what it is, and a program that shows it."""
    again = f"python -m tests.fuzz --{name} 1 --only {number} --seed {seed}"
    return f"── {name} {number} of seed {seed} ({again})\n{difference.kind}: {difference.told}\n\n{case.source()}\n"


# Comparing ------------------------------------------------------------------------------------------------------

TOLERANCES = {"float16": (2e-2, 2e-2), "float32": (1e-4, 1e-5), "float64": (1e-9, 1e-11)}
"""Relative to the element, and to the largest one."""


def leaves_of(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path, leaf) for what nested tuples, lists and dicts hold."""
    if isinstance(tree, dict):
        for key, item in tree.items():
            yield from leaves_of(item, f"{path}[{key!r}]")
    elif isinstance(tree, (tuple, list)):
        for place, item in enumerate(tree):
            yield from leaves_of(item, f"{path}[{place}]")
    else:
        yield path, tree


def array_of(leaf: Any) -> np.ndarray:
    return leaf.numpy() if isinstance(leaf, gd.Tensor) else np.asarray(leaf)


def unlike(
    expected: Any, found: Any, *, dtypes: bool = True, least: str = "float64", floor: float = 0.0
) -> Difference | None:
    """Return how two results differ, if they do: in structure, shape, dtype, NaN and infinities, or value.

    Parameters
    ----------
    dtypes : bool
        Whether their dtypes are compared.
    least : str
        The dtype of the least precision that anything on the way had.
    floor : float
        The size of numbers beside which the elements are small, if they are.
    """
    left, right = list(leaves_of(expected)), list(leaves_of(found))
    if [path for path, _ in left] != [path for path, _ in right]:
        return Difference("structure", f"{[path for path, _ in left]} and {[path for path, _ in right]}")
    for (path, one), (_, other) in zip(left, right):
        if one is None or other is None:
            if one is not other:
                return Difference("structure", f"result{path} is {one!r} and {other!r}")
            continue
        difference = unlike_arrays(array_of(one), array_of(other), dtypes, least, floor)
        if difference is not None:
            return replace(difference, told=f"result{path}: {difference.told}")
    return None


def unlike_arrays(expected: np.ndarray, found: np.ndarray, dtypes: bool, least: str, floor: float) -> Difference | None:
    """Return how two arrays differ, if they do."""
    if expected.shape != found.shape:
        return Difference("shape", f"expected {expected.shape}, found {found.shape}")
    if dtypes and expected.dtype != found.dtype:
        return Difference("dtype", f"expected {expected.dtype}, found {found.dtype}")
    if expected.dtype.kind not in "fc":
        if not np.array_equal(expected, found):
            return Difference("value", f"expected {expected.tolist()}, found {found.tolist()}")
        return None
    with np.errstate(all="ignore"):
        relative, absolute = max(TOLERANCES[least], TOLERANCES.get(str(expected.dtype), TOLERANCES["float64"]))
        finite = np.isfinite(expected)
        largest = np.abs(expected[finite]).max(initial=floor)
        close = np.abs(expected - found) <= relative * np.abs(expected) + absolute * largest
        same = (expected == found) | (np.isnan(expected) & np.isnan(found)) | (finite & np.isfinite(found) & close)
    if same.all():
        return None
    kind = "value" if np.array_equal(finite, np.isfinite(found)) else "NaN or infinite"
    nan_for_zero = bool(((expected == 0) & np.isnan(found))[~same].all())
    return Difference(kind, f"expected {expected.tolist()}, found {found.tolist()}"[:600], nan_for_zero)


def one_line(error: BaseException) -> str:
    """Return an error's class and the beginning of its text, and for one that is no GraphDiffError, where it arose."""
    where = ""
    if not isinstance(error, gd.GraphDiffError):
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "/graphdiff" in f.filename]
        where = f" (at {frames[-1].filename.rsplit('/graphdiff', 1)[-1]}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {str(error)[:300]}{where}"


def executed(source: str, filename: str = "<fuzz>") -> dict[str, Any]:
    """Run a program's text; return its names."""
    names: dict[str, Any] = {"np": np, "gd": gd, "nan": np.nan, "inf": np.inf}
    exec(compile(source, filename, "exec"), names)
    return names


def literal(value: Any) -> str:
    """Return the text of an argument: a Python number, a NumPy scalar, or an array."""
    if isinstance(value, np.ndarray):
        if value.size == 0:
            return f"np.zeros({value.shape}, {str(value.dtype)!r})"
        return f"np.array({value.tolist()!r}, {str(value.dtype)!r})"
    if isinstance(value, np.generic):
        return f"np.{type(value).__name__}({value.item()!r})"
    return repr(value)


HEADER = "import numpy as np\nimport graphdiff as gd\n\nnan, inf = np.nan, np.inf\n"


def flush(text: str) -> None:
    print(text, flush=True)
    sys.stdout.flush()
