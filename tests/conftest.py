"""What every test begins with."""

import pytest

import graphdiff as gd


@pytest.fixture(autouse=True)
def _streams_begin_anew() -> None:
    """Layers without a seed draw the same whichever tests ran before."""
    gd.random.seed()
