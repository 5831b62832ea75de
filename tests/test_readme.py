"""What README and the pages of docs/ show runs, and prints what they say.

Blocks marked ``python`` are run, ``pycon`` run as doctests, ``console`` have commands after ``$`` and their output, and
the pages' ``sh`` are commands; ``shell`` and ``py`` are not run here. README's snippets are each pasted into an empty
session; those of a page follow each other.
"""

import doctest
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from graphdiff.cli import main

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(python|pycon|console|sh)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
README = [block for block in BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8")) if block[0] != "sh"]
PAGES = {
    path.name: BLOCK.findall(text)
    for path in sorted((ROOT / "docs").glob("*.md"))
    if BLOCK.search(text := path.read_text(encoding="utf-8"))
}


def run_python(code: str, names: dict[str, Any]) -> None:
    exec(compile(code, "<snippet>", "exec"), names)


def run_doctest(session: str, names: dict[str, Any]) -> None:
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    test = doctest.DocTestParser().get_doctest(session, names, "snippet", None, None)
    test.globs = names  # later snippets see what this one has made
    said: list[str] = []
    result = doctest.DocTestRunner(optionflags=flags).run(test, out=said.append, clear_globs=False)
    assert result.failed == 0, "".join(said)


def run_commands(session: str, names: dict[str, Any]) -> None:
    for command, output in re.findall(r"^\$ graphdiff (.*)\n((?:[^$].*\n|\n)*)", session, re.MULTILINE):
        assert CliRunner().invoke(main, shlex.split(command)).output.rstrip() == output.rstrip()


def run_lines(commands: str, names: dict[str, Any]) -> None:
    for command in commands.splitlines():
        program, *arguments = shlex.split(command)
        assert program == "graphdiff", command
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 0, done.output


RUN = {"python": run_python, "pycon": run_doctest, "console": run_commands, "sh": run_lines}


@pytest.mark.parametrize(("kind", "snippet"), README, ids=range(len(README)))
def test_readme(kind: str, snippet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    RUN[kind](snippet, {})


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("page", PAGES)
def test_page(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    for kind, snippet in PAGES[page]:
        RUN[kind](snippet, names)


def test_there_is_a_snippet_for_each_of_the_three_jobs() -> None:
    assert len(README) >= 3
    assert "seeing.md" in PAGES
