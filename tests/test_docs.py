"""The pages under docs/ run: the Python of a page as one program, and graphdiff's command lines between."""

import ast
import inspect
import re
import shlex
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import graphdiff as gd
from graphdiff.cli import main

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(DOCS.glob("*.md"))


def blocks(page: Path) -> Iterator[tuple[str, str, int]]:
    """Yield language, text and first line of each block of code."""
    text = page.read_text(encoding="utf-8")
    for block in re.finditer(r"^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        yield block[1], block[2], text[: block.start(2)].count("\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        for language, text, line in blocks(page):
            if language == "python":
                exec(compile("\n" * line + text, str(page), "exec"), names)
            elif language == "sh":
                for command in text.splitlines():
                    program, *arguments = shlex.split(command)
                    assert program == "graphdiff", command
                    done = CliRunner().invoke(main, arguments)
                    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), target


def test_the_optimisers_defaults_are_as_documented() -> None:
    text = (DOCS / "optimizers.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", text, re.MULTILINE))
    kinds = {name for name in gd.optim.__all__ if hasattr(getattr(gd.optim, name), "minimize")} - {"Optimizer"}
    assert rows.keys() == kinds
    for name, defaults in rows.items():
        parameters = inspect.signature(getattr(gd.optim, name)).parameters
        for setting, value in re.findall(r"`(\w+)=([^`]*)`", defaults):
            assert str(parameters[setting].default) == str(ast.literal_eval(value)), (name, setting)
