"""Settings: attributes that Python code branches on, and that are part of the signature of what is traced over them.

Modules, optimisers and schedules are `Configured`. A trace notes whose settings it has used; what was set since is seen
by the next call, which takes another plan, or traces a new one. What is set within a trace holds there, and is set
again at every call, when it has succeeded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from numbers import Number
from typing import Any, ClassVar, TypeAlias, TypeVar

from graphdiff.errors import GraphError
from graphdiff.tensor.context import SWITCHES, TRACES, current_trace
from graphdiff.tensor.leaves import Variable
from graphdiff.tensor.node import Tensor

__all__ = ["Configured", "Same", "as_key", "contents", "is_held", "put", "put_traced"]

Value = TypeVar("Value")
Container: TypeAlias = "list[object] | dict[object, object]"


class Same:
    """Stands in a key for an object of which only itself will do."""

    __slots__ = ("held",)

    def __init__(self, held: object) -> None:
        self.held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.held is self.held

    def __hash__(self) -> int:
        return id(self.held)


def is_plain(value: object) -> bool:
    """Whether a value is text, a number, None, or a tuple of such: what code may branch on."""
    if isinstance(value, tuple):
        return all(map(is_plain, value))
    return value is None or isinstance(value, (str, bytes, Number))


def as_key(value: object) -> object:
    """Return plain values as they are, containers as tuples, and for everything else what stands for it alone."""
    if is_plain(value):
        return value
    if isinstance(value, Mapping):
        return (value.__class__, *((as_key(name), as_key(item)) for name, item in value.items()))
    if isinstance(value, (list, tuple)):
        return (value.__class__, *map(as_key, value))
    return Same(value)


def put(mapping: dict[str, Value], name: str, value: Value) -> None:
    """Set a setting in the dict that holds it; what has been traced over another value is not run again for this."""
    if name not in mapping or mapping[name] is not value:
        mapping[name] = value
        SWITCHES[0] += 1


def put_traced(mapping: dict[str, Value], name: str, value: Value) -> None:
    """Set a setting: within a trace until it ends, and then whenever the plan has run."""
    trace = current_trace() if TRACES else None
    if trace is not None:
        trace.put(mapping, name, value)
    put(mapping, name, value)


class Configured:
    """What has settings as attributes. Subclasses may say which are fixed, and check those that are not."""

    fixed: ClassVar[tuple[str, ...]] = ()
    """Attributes that cannot be set to something else: others were made by them."""
    _is_used = False
    """Whether a trace has used the settings."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.fixed:
            held = vars(self).get(name)
            if held is not None and (held is not value and not (is_plain(held) and held == value)):
                raise GraphError(
                    f"{name} of {type(self).__name__} cannot be changed from {held!r} to {value!r}: other parts were "
                    f"made for it. Make another {type(self).__name__}"
                )
        self.check_setting(name, value)
        trace = current_trace() if TRACES else None
        if trace is not None and hasattr(self, name) and not _is_result(value):
            trace.put(vars(self), name, value)
        object.__setattr__(self, name, value)
        if self._is_used:
            SWITCHES[0] += 1

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        if self._is_used:
            SWITCHES[0] += 1

    def check_setting(self, name: str, value: object) -> None:
        """Raise OpError where an attribute cannot have this value. For subclasses to define."""

    def use_settings(self) -> None:
        """Make all that is set part of the signature of what is being traced."""
        self._use("settings", self.settings_key)

    def use_setting(self, name: str) -> Any:
        """Return one attribute, and make it alone part of the signature of what is being traced."""
        self._use(name, partial(getattr, self, name))
        return getattr(self, name)

    def _use(self, what: str, probe: Callable[[], object]) -> None:
        trace = current_trace() if TRACES else None
        if trace is not None and not trace.has_put(vars(self), what):
            object.__setattr__(self, "_is_used", True)
            trace.probes[id(self), what] = probe

    def settings_key(self) -> object:
        """Return what is equal as long as nothing is set to another value.

        Left out are results that code has put here, such as the last activations: they are new at every call. And the
        mode, of which a layer says when it reads it.
        """
        return tuple(
            (name, as_key(value))
            for name, value in vars(self).items()
            if name not in ("_is_used", "_training") and not (_is_result(value))
        )

    def containers(self) -> list[Any]:
        """Return the lists and dicts among the attributes, at any depth: changes of these are not counted."""
        return list(_containers(vars(self).values()))


def _containers(values: Iterable[object]) -> Iterator[Container]:
    for value in values:
        if type(value) is list or type(value) is dict:
            yield value
        if isinstance(value, (list, tuple, dict)):
            yield from _containers(value.values() if isinstance(value, dict) else value)


def contents(containers: Iterable[Container]) -> list[object]:
    """Return what containers hold, to be compared with `is_held`."""
    held: list[object] = []
    for container in containers:
        items = container if isinstance(container, list) else chain.from_iterable(container.items())
        held += [len(container), *items]
    return held


def is_held(containers: Iterable[Container], held: list[object]) -> bool:
    """Whether containers still hold the very same objects."""
    return [*map(id, contents(containers))] == [*map(id, held)]


def _is_result(value: object) -> bool:
    return isinstance(value, Tensor) and value.recorded and not isinstance(value, Variable)
