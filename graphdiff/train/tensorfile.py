"""safetensors files with JSON facts beside the arrays. Nothing in them is ever executed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from graphdiff.errors import DataError

__all__ = ["pack", "unpack"]

_VERSION = 1


def pack(kind: str, arrays: Mapping[str, Any], facts: Mapping[str, Any]) -> bytes:
    """Return the bytes of a file of this kind."""
    from safetensors.numpy import save

    try:
        text = json.dumps({"kind": kind, "version": _VERSION, "facts": facts})
    except (TypeError, ValueError) as error:
        raise DataError(f"only text, numbers, lists and dicts of them can be saved: {error}") from error
    # safetensors writes memory as it lies: rows first.
    tensors = {name: np.array(value, order="C") for name, value in arrays.items()}
    # One entry, since safetensors writes several in an order of its own: the same model gives the same bytes.
    return save(tensors, {"graphdiff": text})


def unpack(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arrays and facts of a file of this kind.

    Raises
    ------
    DataError
        There is no such file, it is truncated or damaged, or it is another program's or of another kind.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    try:
        with open(path, "rb"):
            pass
        with safe_open(path, "np") as opened:
            text = (opened.metadata() or {}).get("graphdiff")
            if text is None:
                raise DataError(f"{path} is a safetensors file of another program, not a graphdiff {kind}")
            stored = json.loads(text)
            if stored["kind"] != kind:
                raise DataError(f"{path} is a graphdiff {stored['kind']}, not a graphdiff {kind}")
            if stored["version"] != _VERSION:
                raise DataError(f"{path} was written by another version of graphdiff")
            facts = stored["facts"]
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is truncated or no {kind} of graphdiff: {error}") from error
    if not isinstance(facts, dict):
        raise DataError(f"{path} is no {kind} of graphdiff: its facts are missing")
    return arrays, facts
