"""A graph made ready to run: traced, simplified, given buffers, and handed to the backend."""

from graphdiff.plan.compiled import Compiled, RetraceWarning, compile
from graphdiff.plan.plan import Plan, RetraceError

__all__ = ["Compiled", "Plan", "RetraceError", "RetraceWarning", "compile"]


def __dir__() -> list[str]:
    return sorted(__all__)
