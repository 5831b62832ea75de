"""What every test begins with."""

import signal
from collections.abc import Iterator

import pytest

import graphdiff as gd
import graphdiff.nn  # the ops of losses are there before any test, and are not taken for a test's own
from graphdiff.op import FUNCTIONS, OPS

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a background job: tests of Ctrl-C would wait for ever
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _streams_begin_anew() -> None:
    """Layers without a seed draw the same whichever tests ran before."""
    gd.random.seed()


@pytest.fixture(autouse=True)
def _own_ops() -> Iterator[None]:
    """Ops that a test declares are forgotten at its end."""
    known = set(OPS)
    yield
    for name in set(OPS) - known:
        OPS.pop(name)
        FUNCTIONS.pop(name, None)
