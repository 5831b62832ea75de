"""safetensors files with JSON facts beside the arrays. Nothing in them is ever executed."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from graphdiff.errors import DataError
from graphdiff.files.reading import reading

__all__ = ["pack", "unpack"]

_VERSION = 1
_FACTS = ', "facts": '


def pack(kind: str, arrays: Mapping[str, Any], facts: Mapping[str, Any]) -> bytes:
    """Return the bytes of a file of this kind."""
    from safetensors.numpy import save

    try:
        told = json.dumps(facts)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"only text, numbers, lists and dicts of them can be saved: {error}") from error
    # safetensors writes memory as it lies: rows first.
    tensors = {name: np.array(value, order="C") for name, value in arrays.items()}
    head = json.dumps({"kind": kind, "version": _VERSION, "checksum": _checksum(told, tensors)})
    # One entry, since safetensors writes several in an order of its own: the same model gives the same bytes.
    return save(tensors, {"graphdiff": f"{head[:-1]}{_FACTS}{told}}}"})


def _checksum(told: str, tensors: Mapping[str, Any]) -> int:
    """Return a checksum of facts, as they are written, and arrays with their names, dtypes and shapes."""
    total = zlib.crc32(told.encode("utf-8", "surrogatepass"))
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        total = zlib.crc32(f"{name} {array.dtype} {tensors[name].shape}".encode("utf-8", "surrogatepass"), total)
        total = zlib.crc32(array.reshape(-1).view("uint8").data, total)
    return total


def unpack(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arrays and facts of a file of this kind.

    Raises
    ------
    DataError
        There is no such file, it is truncated or damaged, or it is another program's or of another kind.
    """
    from safetensors import safe_open

    path = Path(path)
    with reading(path, f"{kind} of graphdiff"):
        if path.exists() and not path.is_file() and not path.is_dir():
            raise DataError(f"cannot read {path}: it is no regular file")
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
        # Files of earlier versions have no checksum.
        if "checksum" in stored and stored["checksum"] != _checksum(text.partition(_FACTS)[2][:-1], arrays):
            raise DataError(f"{path} is damaged: its checksum is of other contents than it has")
    if not isinstance(facts, dict):
        raise DataError(f"{path} is no {kind} of graphdiff: its facts are missing")
    return arrays, facts
