"""Trace tables as files: a page, LaTeX to include, CSV, plain text."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

from graphdiff.draw.lecture.table import Trace
from graphdiff.errors import GraphError

__all__ = ["ENDINGS", "document"]

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --line: #bbb; --shade: #f3f5f7; --note: #555; }}
@media (prefers-color-scheme: dark) {{ :root {{ --line: #555; --shade: #22262a; --note: #b4b4b4; }} }}
body {{ font: 16px/1.45 system-ui, sans-serif; margin: 2rem; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .35rem .9rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }}
td {{ overflow-wrap: break-word; max-width: 30rem; }}
th {{ background: var(--shade); white-space: nowrap; }}
caption {{ text-align: left; padding: .7rem .9rem; color: var(--note); overflow-wrap: anywhere; }}
</style></head>
<body>{table}</body></html>
"""

_LATEX = """% Include with \\input; needs \\usepackage{{amsmath}} and \\usepackage[T1]{{fontenc}}.
{{\\renewcommand{{\\arraystretch}}{{1.4}}%
{table}}}
"""


def _csv(table: Trace) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.header)
    writer.writerows(["; ".join(lines) for lines in cells] for cells in table.cells())
    return text.getvalue()


_WRITERS: dict[str, Callable[[Trace], str]] = {
    ".html": lambda table: _PAGE.format(title=f"Trace, {table.mode} mode", table=table.html()),
    ".tex": lambda table: _LATEX.format(table=table.latex()),
    ".csv": _csv,
    ".txt": lambda table: f"{table}\n",
}
ENDINGS = tuple(_WRITERS)
"""How the names of files end that a trace table can be written to."""


def document(table: Trace, ending: str) -> str:
    """Return what a file holds that shows the table.

    Parameters
    ----------
    table : Trace
    ending : {".html", ".tex", ".csv", ".txt"}

    Raises
    ------
    GraphError
        Another ending.

    Examples
    --------
    >>> import graphdiff as gd
    >>> from graphdiff.draw.export import document
    >>> x = gd.variable(3.0, name="x")
    >>> print(document(gd.trace((x * x).named("y"), mode="forward"), ".csv"), end="")
    expression,local derivative,value,numeric value,running derivative d·/dx
    x,,,3,1
    y = x·x,∂y/∂x = x + x = 6,3·3,9,6·1 = 6
    """
    if ending.lower() not in _WRITERS:
        raise GraphError(f"a trace is written to {', '.join(ENDINGS)}, not {ending or 'a file without an ending'!r}")
    return _WRITERS[ending.lower()](table)
