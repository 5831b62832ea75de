"""What every test begins with."""

import signal

import pytest

import graphdiff as gd

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a background job: tests of Ctrl-C would wait for ever
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _streams_begin_anew() -> None:
    """Layers without a seed draw the same whichever tests ran before."""
    gd.random.seed()
