"""Random generators shared between host and device: numbers drawn by a kernel are those the host would have drawn.

NumPy's Philox4x64-10 makes four 64-bit numbers of each count; a number in [0, 1) takes one. So the n-th from now can be
computed by itself, and afterwards the host's generator goes on behind the numbers that the device drew.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["WORDS", "advance", "is_counted", "words_of"]

WORDS = 7
"""64-bit words of a state on the device: key (2), counter (4), numbers drawn since that count."""
_MASK = (1 << 64) - 1


def is_counted(generator: Any) -> bool:
    """Whether a generator's numbers can be computed by their count."""
    result: bool = generator.bit_generator.state["bit_generator"] == "Philox"
    return result


def words_of(generator: Any) -> Any:
    """Return a generator's state as the device holds it.

    Returns
    -------
    array of uint64, shape (7,)
    """
    state = generator.bit_generator.state
    counter = (_joined(state["state"]["counter"]) - 1) % (1 << 256)
    key = [int(word) for word in state["state"]["key"]]
    return np.array([*key, *_words(counter), state["buffer_pos"]], np.uint64)


def advance(generator: Any, count: int) -> None:
    """Leave a generator as it would be after it had drawn `count` numbers.

    Examples
    --------
    >>> there, here = (np.random.Generator(np.random.Philox(7)) for _ in range(2))
    >>> _ = there.random(13)
    >>> advance(here, 13)
    >>> bool(there.random() == here.random())
    True
    """
    bits = generator.bit_generator
    state = bits.state
    blocks, rest = divmod(state["buffer_pos"] + count, 4)
    counter = (_joined(state["state"]["counter"]) - 1 + blocks) % (1 << 256)
    state["state"]["counter"] = np.array(_words(counter), np.uint64)
    state["buffer_pos"] = 4
    bits.state = state
    if rest:
        bits.random_raw(rest)


def _joined(words: Any) -> int:
    return sum(int(word) << (64 * place) for place, word in enumerate(words))


def _words(number: int) -> list[int]:
    return [number >> (64 * place) & _MASK for place in range(4)]
