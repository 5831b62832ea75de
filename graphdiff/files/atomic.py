"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import threading
from pathlib import Path

from graphdiff.errors import DataError

__all__ = ["remove_leftovers", "write_atomically"]


def write_atomically(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write a file by way of a temporary one beside it: whoever reads `path` sees the old bytes or the new, no others.

    A symbolic link is followed: it stays, and the file it leads to is written. What is no file, such as a pipe or a
    device, cannot be replaced and is written to.

    Raises
    ------
    DataError
        The file cannot be written; what was there before still is.
    """
    path = Path(path)
    try:
        before = _status(path)
        if before is None or stat.S_ISREG(before.st_mode) or stat.S_ISDIR(before.st_mode):
            _replace(Path(os.path.realpath(path)), data, before)
        else:
            with open(path, "wb") as stream:
                stream.write(data)
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        raise DataError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error
    return path


def _status(path: Path) -> os.stat_result | None:
    """Return what is known of a file; None where there is none yet."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _replace(path: Path, data: bytes, before: os.stat_result | None) -> None:
    # Threads of one process may write the same file.
    partial = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        with open(partial, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        if before is not None:
            os.chmod(partial, stat.S_IMODE(before.st_mode))
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Have the new name reach the disk as well; not every file system can be asked to."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove the temporary files of `path` whose writer was killed."""
    with contextlib.suppress(OSError, ValueError):
        path = Path(os.path.realpath(path))
        pattern = re.compile(rf"\.{re.escape(path.name)}\.(\d+)(-\d+)?\.partial")
        for other in path.parent.iterdir():
            match = pattern.fullmatch(other.name)
            if match and not _is_running(int(match[1])):
                other.unlink()


def _is_running(process: int) -> bool:
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True
