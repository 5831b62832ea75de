"""What a rendered drawing says, read off its SVG."""

import xml.etree.ElementTree as ElementTree
from typing import Any

_SVG = "{http://www.w3.org/2000/svg}"


def _groups(drawing: Any, kind: str) -> list[tuple[str, list[str]]]:
    root = ElementTree.fromstring(drawing.render("svg"))
    return [
        (group.findtext(f"{_SVG}title") or "", [_plain(text.text) for text in group.iter(f"{_SVG}text")])
        for group in root.iter(f"{_SVG}g")
        if group.get("class") == kind
    ]


def _plain(text: str | None) -> str:
    return (text or "").replace("\xa0", " ").strip()


def labels(drawing: Any) -> list[str]:
    """Return the lines of text of every node."""
    return ["\n".join(lines) for _, lines in _groups(drawing, "node")]


def edges(drawing: Any) -> list[tuple[str, str, str]]:
    """Return first lines of the labels of origin and target, and the edge's own label."""
    titles = {key: lines[0] for key, lines in _groups(drawing, "node")}
    found = []
    for key, lines in _groups(drawing, "edge"):
        origin, target = key.split("->")
        found.append((titles[origin], titles[target], " ".join(lines)))
    return found


def clusters(drawing: Any) -> list[str]:
    """Return the titles of the clusters."""
    return [lines[0] for _, lines in _groups(drawing, "cluster")]


def texts(drawing: Any) -> list[str]:
    """Return every text in the picture."""
    root = ElementTree.fromstring(drawing.render("svg"))
    return [_plain(text.text) for text in root.iter(f"{_SVG}text")]
