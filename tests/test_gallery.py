"""The gallery shows the pictures that its example draws, by the lines that draw them."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/gallery.md").read_text("utf-8")
CODE = (ROOT / "examples/gallery.py").read_text("utf-8")


def test_every_picture_is_shown_with_the_line_that_drew_it() -> None:
    shown = re.findall(r"```py\n(.*?)\n```\n\n!\[.+?\]\(images/gallery/(\w+)\.svg\)", PAGE, re.S)
    assert len(shown) == PAGE.count("![")
    assert {f'save("{name}", {line})' for line, name in shown} == set(re.findall(r"^save\(.*\)$", CODE, re.M))


def test_every_picture_is_there() -> None:
    drawn = set(re.findall(r'^save\("(\w+)"', CODE, re.M))
    pictures = {path.stem: path for path in (ROOT / "docs/images/gallery").glob("*.svg")}
    assert pictures.keys() == drawn
    for path in pictures.values():
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
