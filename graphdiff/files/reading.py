"""Reading files that may be damaged, or made to do harm."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from graphdiff.errors import DataError

__all__ = ["INFLATED", "reading", "require_inflated"]

INFLATED = 100
"""A compressed file may become so many times as large, and a quarter of a gigabyte besides."""
_BESIDE = 1 << 28


@contextlib.contextmanager
def reading(path: str | os.PathLike[str], kind: str) -> Iterator[None]:
    """Have whatever goes wrong with a file, within the context, be a DataError that names it."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:
        # The parsers of others meet a damaged file with errors of every kind: zlib.error, IndexError, RecursionError.
        told = str(error) or type(error).__name__
        raise DataError(f"{path!s} is truncated or no {kind}: {told}") from error


def require_inflated(path: str | os.PathLike[str], size: int) -> None:
    """Refuse a compressed file that becomes too large: more than 100 times its own size and 256 MB.

    Parameters
    ----------
    path : path
    size : int
        What its contents take in memory, as the file declares.
    """
    most = INFLATED * os.path.getsize(path) + _BESIDE
    if size > most:
        raise DataError(
            f"{path} would become {size / 2**20:,.0f} MB, and a file of its size may become {most / 2**20:,.0f} MB"
        )
