"""The snippets of docs/comparing.md give what the page says, and its pictures are there."""

import doctest
import re
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "comparing.md"


def test_snippets() -> None:
    flags = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL | doctest.NORMALIZE_WHITESPACE
    found = doctest.testfile(str(PAGE), module_relative=False, optionflags=flags, encoding="utf-8")
    assert found.attempted > 20
    assert found.failed == 0


def test_pictures_are_there() -> None:
    names = re.findall(r"\]\((images/[^)]+|[a-z_]+\.md)\)", PAGE.read_text("utf-8"))
    assert len(names) == 5
    for name in names:
        assert (PAGE.parent / name).is_file()
