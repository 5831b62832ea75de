"""What the pages under docs/ say is there: links and defaults. Their snippets are run in test_readme.py."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import graphdiff as gd

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(DOCS.glob("*.md"))


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
