"""The picture of the house is that of today's imports, and the tour leads to files that are there."""

import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_picture_shows_todays_imports() -> None:
    picture = runpy.run_path(str(ROOT / "examples" / "house.py"))["picture"]()
    drawn = (ROOT / "docs" / "images" / "house.svg").read_text(encoding="utf-8")
    shown = set(re.findall(r"<title>(\w+)&#45;&gt;(\w+)</title>", drawn))
    now = {(arrow.origin, arrow.target) for arrow in picture.arrows}
    assert len(now) > 20
    assert shown == now, "run python examples/house.py docs/images/house.svg"


def test_the_tour_leads_to_files_that_are_there() -> None:
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `?([\w/`, ]+?)`? \|.*\| (.*) \|$", page, re.MULTILINE)
    assert len(rows) > 12
    for packages, reading in rows:
        folders = [ROOT / "graphdiff", ROOT, *(ROOT / "graphdiff" / name for name in re.findall(r"\w+", packages))]
        for path in re.findall(r"`([\w/]+\.py|[\w/]+/)`", reading):
            assert any((folder / path).exists() for folder in folders) or (ROOT / "backends" / path).exists(), path
