"""Random streams within plans: a run that fails leaves them where they were, as it leaves the variables."""

from __future__ import annotations

from typing import Any

from graphdiff.plan.program import Program

__all__ = ["Streams"]


class Streams:
    """The random streams that a program draws from, and the states to go back to.

    False if there are none.

    Parameters
    ----------
    program : Program
    """

    def __init__(self, program: Program) -> None:
        drawn = [node.attributes.get("generator") for node in program.nodes() if node.op is not None]
        found = {id(generator): generator.bit_generator for generator in drawn if generator is not None}
        self._streams = list(found.values())
        self._states: list[tuple[Any, Any]] = []

    def __bool__(self) -> bool:
        return bool(self._streams)

    def mark(self) -> None:
        """Remember the states of now."""
        self._states = [(stream, stream.state) for stream in self._streams]

    def forget(self) -> None:
        """Keep what was drawn: there is nothing to go back to any more."""
        self._states = []

    def rewind(self) -> None:
        """Go back to the states that were marked, if they are not forgotten."""
        for stream, state in self._states:
            stream.state = state
