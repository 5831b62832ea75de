"""The page as one file: markup, style, scripts and data, with a policy that lets it load and run nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from graphdiff.text.quoting import html_text

__all__ = ["MODULES", "document", "embedded_json", "joined"]

MODULES = ("format", "dom", "evaluate", "numbers", "steps", "geometry", "view", "panel", "main")
"""The page's ECMAScript modules, those without imports first."""


def _part(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def joined(modules: Sequence[str]) -> str:
    """Return modules as one piece of code: in the order of `MODULES`, what one imports is there before it."""
    code = "\n".join(_part(f"{name}.js") for name in modules)
    return re.sub(r"^export ", "", re.sub(r"^import .*\n", "", code, flags=re.MULTILINE), flags=re.MULTILINE)


def _digest(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def embedded_json(data: Mapping[str, Any]) -> str:
    """Return JSON that can end neither its script element nor a line: ``<``, ``>``, ``&`` and separators escaped."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    # A lone surrogate, legal in a Python name, has no UTF-8 form.
    return text.encode("utf-8", "replace").decode("utf-8")


def document(data: Mapping[str, Any], title: str) -> str:
    """Return the whole page.

    Parameters
    ----------
    data : mapping
        What `content` returns.
    title : str
        Shown in the page's head and in the browser's tab.
    """
    style = _part("page.css")
    code = f'"use strict";\n(() => {{\n{joined(MODULES)}}})();\n'
    policy = (
        f"default-src 'none'; script-src {_digest(code)}; style-src {_digest(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {
        "policy": policy,
        "title": html_text(title),
        "style": style,
        "data": embedded_json(data),
        "script": code,
    }
    # One pass: text of the user's that looks like a place to fill is left as it is.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _part("page.html"))
