"""What users see: `dir` of every public module is what it documents, type checkers know it, old paths lead there."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import graphdiff as gd
from graphdiff._moved import MOVED

ROOT = Path(__file__).parent.parent
MODULES = [name for name in dir(gd) if inspect.ismodule(getattr(gd, name))]


def test_the_stub_is_what_is_declared(tmp_path: Path) -> None:
    script = "import runpy, sys; print(runpy.run_path(sys.argv[1])['stub'](), end='')"
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", script, str(ROOT / "docs" / "make_stubs.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    expected = (ROOT / "graphdiff" / "__init__.pyi").read_text(encoding="utf-8")
    assert done.stdout == expected, "graphdiff/__init__.pyi is not what is declared: run python docs/make_stubs.py"


def test_the_modules_that_users_have() -> None:
    assert MODULES == ["draw", "errors", "nn", "op", "optim", "plan", "random", "rates", "train", "typing", "watch"]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_lists_its_documented_names_and_no_others(name: str) -> None:
    module = getattr(gd, name)
    listed = [each for each in dir(module) if not each.startswith("__")]
    assert listed == sorted(module.__all__)
    assert all(hasattr(module, each) for each in listed)


def test_what_is_listed_is_described() -> None:
    for name in set(dir(gd)) - {"newaxis"}:  # which is None, as NumPy's
        assert inspect.getdoc(getattr(gd, name)), name


@pytest.mark.parametrize("name", dir(gd))
def test_no_public_name_comes_from_another_library(name: str) -> None:
    module = getattr(getattr(gd, name), "__module__", "graphdiff")
    assert module is None or module.partition(".")[0] in ("graphdiff", "numpy", "types"), module


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_an_old_path_leads_to_the_module(old: str, new: str) -> None:
    assert importlib.import_module(old) is importlib.import_module(new)
    assert importlib.import_module(new).__spec__.name == new  # type: ignore[union-attr]


def test_old_paths_work_in_a_fresh_program() -> None:
    program = (
        "from graphdiff.check import check_grads\n"
        "from graphdiff.sparse import sparse_hessian\n"
        "from graphdiff.differentiate.jacobians import jacobian\n"
        "import graphdiff as gd\n"
        "assert check_grads is gd.check_grads and sparse_hessian is gd.sparse_hessian and jacobian is gd.jacobian\n"
        "try:\n    import graphdiff.nothing\nexcept ModuleNotFoundError:\n    print('not found')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "not found\n"
