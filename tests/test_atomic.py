"""Files that are there whole or not at all."""

import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

import graphdiff as gd
from graphdiff.errors import DataError
from graphdiff.files.atomic import remove_leftovers, write_atomically

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links and pipes are POSIX's")


@pytest.mark.parametrize("relative", [False, True])
def test_a_link_stays_and_the_file_it_leads_to_is_written(relative: bool, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    target, link, chain = tmp_path / "kept" / "file", tmp_path / "link", tmp_path / "chain"
    target.write_bytes(b"old")
    link.symlink_to("kept/file" if relative else target)
    chain.symlink_to(link)
    for path, data in ((link, b"new"), (chain, b"newer")):
        assert write_atomically(path, data) == path
        assert link.is_symlink()
        assert chain.is_symlink()
        assert target.read_bytes() == data
    target.unlink()
    write_atomically(link, b"there again")
    assert target.read_bytes() == b"there again"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["chain", "file", "kept", "link"]


def test_a_link_in_a_circle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(DataError, match=r"cannot write .*/a: "):
        write_atomically(tmp_path / "a", b"data")
    assert (tmp_path / "a").is_symlink()


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        found: list[bytes] = []
        reader = threading.Thread(target=lambda found=found: found.append(pipe.read_bytes()))
        reader.start()
        gd.train.History([{"epoch": 1, "loss": 0.5}]).save_csv(path)
        reader.join()
        assert found == [b"epoch,loss\n1,0.5\n"]
        assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_file_keeps_who_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "private"
    path.write_bytes(b"old")
    path.chmod(0o600)
    write_atomically(path, b"new")
    assert (stat.S_IMODE(path.stat().st_mode), path.read_bytes()) == (0o600, b"new")


def test_a_full_disk_and_impossible_names_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(DataError, match="No space left"):
            write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    with pytest.raises(DataError, match="cannot write"):
        write_atomically(tmp_path / "a\0b", b"data")
    with pytest.raises(DataError, match="cannot write"):
        write_atomically(tmp_path, b"data")
    assert [other.name for other in tmp_path.iterdir()] == ["file"]


def test_threads_write_the_same_file_whole(tmp_path: Path) -> None:
    path, texts = tmp_path / "file", [bytes([65 + k]) * 300_000 for k in range(4)]
    errors: list[Any] = []

    def write(data: bytes) -> None:
        try:
            for _ in range(10):
                write_atomically(path, data)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    seen = {path.read_bytes() for _ in range(50) if path.exists()}
    for thread in threads:
        thread.join()
    assert not errors
    assert seen | {path.read_bytes()} <= set(texts)


def test_leftovers_of_killed_writers_are_removed_where_the_file_is(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept" / "file")
    for name in (".file.999999999.partial", ".file.999999999-12.partial", f".file.{os.getpid()}-1.partial"):
        (tmp_path / "kept" / name).write_bytes(b"")
    remove_leftovers(tmp_path / "link")
    assert [path.name for path in (tmp_path / "kept").iterdir()] == [f".file.{os.getpid()}-1.partial"]
