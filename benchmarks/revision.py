"""An earlier revision of this code, to measure beside the working tree."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def short_name(revision: str) -> str:
    """Return the abbreviated hash of a revision."""
    command = ["git", "rev-parse", "--short", revision]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def extract(revision: str, target: Path) -> None:
    """Write the files of a revision into a folder."""
    archive = subprocess.run(["git", "archive", revision], cwd=ROOT, capture_output=True, check=True).stdout
    target.mkdir()
    subprocess.run(["tar", "-x", "-C", target], input=archive, check=True)


def environment(code: Path) -> dict[str, str]:
    """Return the environment of a process that is to import graphdiff and its backends from the folder `code`."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (code, code / "backends")))}
