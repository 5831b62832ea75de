"""The page of functions and ops is what the ops declare."""

import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def test_the_op_reference_is_up_to_date(tmp_path: Path) -> None:
    script = "import runpy, sys; print(runpy.run_path(sys.argv[1])['page'](), end='')"
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", script, str(DOCS / "make_op_reference.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    expected = (DOCS / "ops.md").read_text(encoding="utf-8")
    assert done.stdout == expected, "docs/ops.md is not what the ops declare: run python docs/make_op_reference.py"
