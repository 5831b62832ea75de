"""The `graphdiff` command."""

from __future__ import annotations

import click

from graphdiff.cli.compare import compare
from graphdiff.cli.demo import demo
from graphdiff.cli.export import export
from graphdiff.cli.see import draw, explore, show, trace
from graphdiff.cli.tables import evaluate, predict
from graphdiff.cli.train import train

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="graphdiff")
def main() -> None:
    """Automatic differentiation on an explicit graph."""


for _command in (demo, draw, show, trace, explore, train, predict, evaluate, export, compare):
    main.add_command(_command)
