"""Batches prepared ahead of their use, by a thread in the background."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from graphdiff.backend import current_backend, use_backend

__all__ = ["prefetched"]

Batch = TypeVar("Batch")


def prefetched(batches: Generator[Batch, None, None], ahead: int) -> Generator[Batch, None, None]:
    """Yield what `batches` yields, in its order, having the next few made by a thread in the meantime.

    The thread makes tensors on the backend that the caller has chosen.

    An error in `batches` is raised when its turn has come. The thread ends with the generator: when it is exhausted,
    closed, or thrown away.

    Parameters
    ----------
    batches : generator
        Of anything but None; closed at the end.
    ahead : int
        At most so many batches are ready or being made at any time.

    Examples
    --------
    >>> list(prefetched((n * n for n in range(5)), ahead=2))
    [0, 1, 4, 9, 16]
    """
    # One worker takes one task after the other, so that the order is that of the generator.
    worker = ThreadPoolExecutor(1, "graphdiff-prefetch", use_backend, (current_backend(),))
    try:
        pending: deque[Future[Batch | None]] = deque(worker.submit(next, batches, None) for _ in range(ahead))
        while (batch := pending.popleft().result()) is not None:
            pending.append(worker.submit(next, batches, None))
            yield batch
    finally:
        worker.shutdown(cancel_futures=True)
        batches.close()
