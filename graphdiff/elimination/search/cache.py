"""Elimination orders kept on disk, by the structure of their graphs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from graphdiff.elimination.vertices import Vertices
from graphdiff.errors import DataError
from graphdiff.files.atomic import write_atomically

__all__ = ["cache_file", "remember", "remembered"]


def cache_folder() -> Path:
    """Return where orders are kept: GRAPHDIFF_CACHE_DIR, or the platform's folder for caches."""
    if given := os.environ.get("GRAPHDIFF_CACHE_DIR"):
        return Path(given)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "graphdiff"


def cache_file(vertices: Vertices, kind: str) -> Path:
    """Return where the best order of a kind is kept for graphs of this structure."""
    structure = [sorted(after) for after in vertices.after]
    digest = hashlib.sha256(json.dumps(structure).encode()).hexdigest()[:32]
    return cache_folder() / "orders" / f"{digest}-{kind}.json"


def remembered(path: Path, fits: Callable[[Any], bool]) -> dict[str, Any] | None:
    """Return an order that was kept, with its search time; None where there is none, or it does not fit the graph."""
    try:
        found = json.loads(path.read_text("utf-8"))
        valid = fits(found["order"]) and isinstance(found["seconds"], (int, float))
        return found if valid else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def remember(path: Path, order: Sequence[object], seconds: float, optimal: bool) -> None:
    """Keep an order; a cache that cannot be written is no cache."""
    with contextlib.suppress(OSError, DataError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps({"order": list(order), "seconds": seconds, "optimal": optimal}).encode())
