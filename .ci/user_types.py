"""Check what a user's type checker meets: README's and docs' snippets, and the types of all public names.

Snippets pass ``mypy --strict`` and pyright, README's each by itself, a page's one after the other; a public name may
not be of type Any, as far as ``reveal_type`` tells.
"""

from __future__ import annotations

import doctest
import inspect
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import graphdiff as gd

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(python|pycon)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
REVEALED = re.compile(r"names\.py:(\d+).*(?:Revealed type is|Type of \".*\" is) \"(.*)\"")


def source(kind: str, snippet: str) -> str:
    """Return a snippet as the source of a program."""
    if kind == "python":
        return snippet
    return "".join(example.source for example in doctest.DocTestParser().get_examples(snippet))


def programs() -> Iterator[tuple[str, str]]:
    """Yield name and source of each program that README and the pages show."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        parts = [source(kind, snippet) for kind, snippet in BLOCK.findall(page.read_text(encoding="utf-8"))]
        if page.name == "README.md":
            yield from ((f"readme_{number}", part) for number, part in enumerate(parts, 1))
        elif parts:
            yield page.stem, "\n".join(parts)


def names() -> list[str]:
    """Return every public name, those of public modules included."""
    found = []
    for name in dir(gd):
        found.append(f"gd.{name}")
        value = getattr(gd, name)
        if inspect.ismodule(value):
            found += [f"gd.{name}.{each}" for each in dir(value) if not each.startswith("__")]
    return found


def untyped(told: str, asked: list[str]) -> list[str]:
    """Return the names that a checker's report calls Any or unknown, or a function of what is not known."""
    kinds = {int(line): kind for line, kind in REVEALED.findall(told)}
    return [name for line, name in enumerate(asked, 2) if kinds.get(line, "Any") in ("Any", "Unknown")]


def main() -> int:
    """Run both checkers; print what they say; return 1 if there is anything to mend."""
    asked, failed = names(), False
    with tempfile.TemporaryDirectory() as folder:
        for name, text in programs():
            (Path(folder) / f"{name}.py").write_text(text, encoding="utf-8")
        (Path(folder) / "mypy.ini").write_text(
            "[mypy]\n[mypy-sklearn.*]\nignore_missing_imports = True\n", encoding="utf-8"
        )
        (Path(folder) / "names.py").write_text(
            "import graphdiff as gd\n" + "".join(f"reveal_type({name})\n" for name in asked), encoding="utf-8"
        )
        for checker in (["mypy", "--strict", "--no-incremental"], ["pyright", "--pythonpath", sys.executable]):
            done = subprocess.run([*checker, "."], cwd=folder, capture_output=True, text=True)
            errors = [line for line in done.stdout.splitlines() if re.search(r"\berror\b(?!s)", line)]
            bad = untyped(done.stdout, asked)
            failed |= bool(errors or bad)
            print(f"{checker[0]}: {len(errors)} errors in snippets, {len(bad)} of {len(asked)} public names untyped")
            print(*errors, *bad, sep="\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
