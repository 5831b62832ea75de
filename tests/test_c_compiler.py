"""Whatever is wrong with a compiler or its folder: plans run as calls of NumPy, say why, and no error is raised.

What users of other packages that compile have met is named by where they reported it.
"""

import os
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphdiff_numpy import engines
from graphdiff_numpy.native import call, compiler

import graphdiff as gd

TRIAL = """
import numpy as np, graphdiff as gd
f = gd.compile(lambda x: gd.sum(gd.exp(x) * {factor}), engine="c")
assert abs(f(np.arange(3.0)).item() - {factor} * np.exp(np.arange(3.0)).sum()) < 1e-12
print(dict(f.plans[0].reports)["engine"])
"""


@pytest.fixture(autouse=True)
def anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Look for the compiler anew, with a folder of the test's own."""
    monkeypatch.setenv("GRAPHDIFF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(compiler, "_LOADED", {})
    for found in (compiler.find_compiler, call._library):
        found.cache_clear()
    yield
    for found in (compiler.find_compiler, call._library):
        found.cache_clear()


def told(factor: float = 2.0) -> str:
    """Return what runs a plan, and see that it runs right."""
    compiled = gd.compile(lambda x: gd.sum(x * factor), engine="c")
    assert compiled(np.arange(4.0)).item() == 6 * factor
    result: str = dict(compiled.plans[0].reports)["engine"]
    assert result in compiled.plans[0].explain()
    return result


def in_a_process(factor: float = 2.0, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, "-c", TRIAL.format(factor=factor)],
        env=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def program(path: Path, text: str) -> Path:
    """Write a program that can be run."""
    path.write_text(f"#!/bin/sh\n{textwrap.dedent(text)}")
    path.chmod(0o755)
    return path


def test_with_a_compiler_it_is_c() -> None:
    assert told().startswith("c: compiled by ")


def test_no_compiler_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a container or on Windows: pytensor#262, bitsandbytes#1251."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert told() == "calls of NumPy: there is no C compiler (cc, gcc, clang, or the package ziglang)"


def test_a_compiler_of_another_environment_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Left in the settings: pytensor#991."""
    monkeypatch.setenv("CC", "/not/there/gcc -m64")
    assert told().startswith("c: ")


def test_a_compiler_that_refuses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As newer ones refuse what older ones took: pytensor#1401."""
    bad = program(tmp_path / "cc", 'case "$*" in *--version*) echo cc 99;; *) echo "error: no" >&2; exit 1;; esac')
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CC", str(bad))
    assert told() == f"calls of NumPy: {bad} refuses: error: no; {bad} refuses: error: no"


def test_a_compiler_that_never_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    slow = program(tmp_path / "cc", "exec /bin/sleep 60")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(compiler, "SECONDS", 0.2)
    assert told() == f"calls of NumPy: {slow} takes more than 0.2 s"


def test_a_compiler_whose_code_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a disk from which nothing may be run."""
    bad = program(tmp_path / "cc", 'case "$*" in *--version*) echo cc 1;; *) echo nothing > plan.so;; esac')
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CC", str(bad))
    assert "cannot be loaded" in told()


def test_a_folder_of_the_path_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytorch#89472."""

    def refused(name: str) -> str:
        raise PermissionError(13, "Permission denied", name)

    monkeypatch.setattr(compiler.shutil, "which", refused)
    monkeypatch.delenv("CC", raising=False)
    assert "there is no C compiler" in told() or told().startswith("c: ")


def test_a_folder_for_code_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home that may not be written: another folder is taken; without any there is no C."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("GRAPHDIFF_CACHE", str(blocked / "cache"))
    monkeypatch.setattr(compiler.tempfile, "gettempdir", lambda: str(tmp_path))
    assert told().startswith("c: ")
    compiler.find_compiler.cache_clear()
    monkeypatch.setattr(compiler.tempfile, "gettempdir", lambda: str(blocked))
    assert told().startswith("calls of NumPy: ")


def test_a_folder_that_others_can_write_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    monkeypatch.setenv("GRAPHDIFF_CACHE", str(shared))
    monkeypatch.setattr(compiler.tempfile, "gettempdir", lambda: str(tmp_path))
    assert told().startswith("c: ")
    assert not list(shared.iterdir())


def test_the_folder_is_private_and_holds_nothing_half_done(tmp_path: Path) -> None:
    told()
    folder = tmp_path / "cache"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {entry.suffix for entry in folder.iterdir()} == {".so"}


def test_a_path_with_spaces_and_letters_of_any_language(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """pytorch#135954."""
    monkeypatch.setenv("GRAPHDIFF_CACHE", str(tmp_path / "größe \\ 'of' \"all\" \u4e2d"))
    assert told().startswith("c: ")


def test_a_folder_for_temporary_files_that_is_gone(tmp_path: Path) -> None:
    """pytorch#110933."""
    done = in_a_process(TMPDIR=str(tmp_path / "gone"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("c: ")


def test_the_next_run_of_a_program_compiles_nothing(tmp_path: Path) -> None:
    """pytensor#1581."""
    first = in_a_process()
    assert first.stdout.startswith("c: "), first.stderr
    entries = {entry: entry.stat().st_mtime_ns for entry in (tmp_path / "cache").iterdir()}
    second = in_a_process()
    assert second.stdout == first.stdout
    assert {entry: entry.stat().st_mtime_ns for entry in (tmp_path / "cache").iterdir()} == entries


def test_several_processes_compile_at_once() -> None:
    """pymc#6818."""
    given = [sys.executable, "-c", TRIAL.format(factor=7.0)]
    running = [subprocess.Popen(given, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for process in running:
        out, _ = process.communicate(timeout=100)
        assert process.returncode == 0
        assert out.startswith("c: ")


@pytest.mark.parametrize("damage", [b"", b"\x7fELF", b"nothing"])
def test_damaged_entries_are_made_again(damage: bytes, tmp_path: Path) -> None:
    assert in_a_process().stdout.startswith("c: ")
    for entry in (tmp_path / "cache").iterdir():
        entry.write_bytes(damage)
    done = in_a_process()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("c: ")


def test_entries_that_are_cut_off_are_made_again(tmp_path: Path) -> None:
    assert in_a_process().stdout.startswith("c: ")
    for entry in (tmp_path / "cache").iterdir():
        entry.write_bytes(entry.read_bytes()[: entry.stat().st_size // 2])
    assert in_a_process().stdout.startswith("c: ")


def test_there_are_not_more_and_more_entries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(compiler, "MOST", 3)
    for factor in range(6):
        told(float(factor + 2))
    assert len(list((tmp_path / "cache").iterdir())) == 3


# Which engine -----------------------------------------------------------------------------------------------------


def test_an_engine_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(gd.errors.CompileError, match="engine='rust' is none of the engines of numpy: auto, c, numpy"):
        gd.compile(lambda x: x * 2, engine="rust")(np.ones(2))
    monkeypatch.setenv("GRAPHDIFF_ENGINE", "fortran")
    with pytest.raises(gd.errors.CompileError, match="GRAPHDIFF_ENGINE=fortran is none of the engines"):
        gd.compile(lambda x: x * 2)(np.ones(2))


def test_the_environment_names_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    for engine, begins in (("c", "c: "), ("numpy", "calls of NumPy")):
        monkeypatch.setenv("GRAPHDIFF_ENGINE", engine)
        compiled = gd.compile(lambda x: x * 2)
        compiled(np.ones(2))
        assert dict(compiled.plans[0].reports)["engine"].startswith(begins)


def walk(calls: int, monkeypatch: pytest.MonkeyPatch, before: int) -> tuple[Any, str, Any]:
    """Return the values of a variable over so many steps, with so many calls before the change."""
    monkeypatch.setattr(engines, "FEWEST", before)
    monkeypatch.setattr(engines, "MOST", before)
    w = gd.variable(np.linspace(0.1, 1.0, 50))

    @gd.compile
    def step(x: Any) -> Any:
        w.assign(w - 0.1 * gd.tanh(gd.exp(w) * x))
        return gd.sum(w)

    x = np.linspace(-1, 1, 50)
    values = [step(x).item() for _ in range(calls)]
    return values, dict(step.plans[0].reports)["engine"], w.numpy()


def test_c_takes_over_at_a_fixed_call(monkeypatch: pytest.MonkeyPatch) -> None:
    numpy_alone, engine, _ = walk(30, monkeypatch, 1 << 20)
    assert engine.startswith("calls of NumPy")
    first, engine, last = walk(30, monkeypatch, 16)
    assert engine.startswith("c: ")
    np.testing.assert_allclose(first, numpy_alone, rtol=1e-12)
    assert first[:16] == numpy_alone[:16]
    again, _, once_more = walk(30, monkeypatch, 16)  # now nothing is compiled any more
    assert again == first
    np.testing.assert_array_equal(once_more, last)


def test_many_steps_over_the_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "FEWEST", 16)
    monkeypatch.setattr(engines, "MOST", 16)
    n = gd.variable(np.zeros(3))
    step = gd.compile(lambda: n.assign(n + 1.0))
    step.many(50)
    np.testing.assert_array_equal(n.numpy(), np.full(3, 50.0))
    assert dict(step.plans[0].reports)["engine"].startswith("c: ")


def test_without_a_compiler_nothing_changes_at_that_call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    values, engine, _ = walk(30, monkeypatch, 16)
    assert engine.startswith("calls of NumPy: there is no C compiler")
    assert values == walk(30, monkeypatch, 1 << 20)[0]


def test_calls_that_are_expected_decide_at_once() -> None:
    for calls, begins in ((1, "calls of NumPy: too few"), (10_000_000, "c: ")):
        compiled = gd.compile(lambda x: gd.sum(x * 2.0), calls=calls)
        compiled(np.ones(10))
        assert dict(compiled.plans[0].reports)["engine"].startswith(begins)


def test_a_child_process_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forked while C is being compiled."""
    if not hasattr(os, "fork"):
        pytest.skip("this system does not fork")
    text = """
    import os, numpy as np, graphdiff as gd
    from graphdiff_numpy import engines
    engines.FEWEST = engines.MOST = 16
    n = gd.variable(np.zeros(3))
    step = gd.compile(lambda: n.assign(n + 1.0))
    for _ in range(8):
        step()
    child = os.fork()
    for _ in range(40):
        step()
    assert n.numpy()[0] == 48, n
    if child:
        _, status = os.waitpid(child, 0)
        assert status == 0
        print("both")
    """
    given = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(text)]
    done = subprocess.run(given, capture_output=True, text=True, check=False, timeout=100)
    assert done.stdout.endswith("both\n"), done.stderr
