"""Settings of the library's rules, declared as fields of their classes: constructors and checks are made of them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, dataclass_transform

from graphdiff.arguments import truth
from graphdiff.optim.groups import Parameters, Rate, require
from graphdiff.optim.optimizers import Optimizer
from graphdiff.typing import Attributes

__all__ = ["Rule", "setting"]

_EMPTY = inspect.Parameter.empty


@dataclass(frozen=True)
class _Field:
    """What a class says of one setting: limits are those of a number, None for what is none."""

    default: object = _EMPTY
    name: str | None = None
    kw_only: bool = False
    limits: Mapping[str, float] | None = None
    annotation: str | type = ""

    def parameter(self, name: str) -> inspect.Parameter:
        kind = inspect.Parameter.KEYWORD_ONLY if self.kw_only else inspect.Parameter.POSITIONAL_OR_KEYWORD
        return inspect.Parameter(name, kind, default=self.default, annotation=self.annotation)

    def require(self, name: str, value: object) -> None:
        if self.annotation in ("bool", bool):
            truth(value, name)
        elif self.limits is not None:
            require(name, value, **self.limits)


def setting(
    *,
    default: object = _EMPTY,
    alias: str | None = None,
    kw_only: bool = False,
    least: float = 0.0,
    above: float = -math.inf,
    below: float = math.inf,
) -> Any:
    """Declare a number within limits, as dataclasses' `field` declares one; an alias is its name in the constructor."""
    return _Field(default, alias, kw_only, {"least": least, "above": above, "below": below})


@dataclass_transform(eq_default=False, field_specifiers=(setting,))
class _Declared(Optimizer):
    """An optimiser whose annotated attributes are its settings, in the order of their classes, as of dataclasses.

    A class that defines `__init__` declares nothing so: its annotations are what they say.
    """

    fields: ClassVar[dict[str, _Field]] = {}
    __signature__: ClassVar[inspect.Signature | None] = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.__signature__ = None
        if "__init__" in vars(cls):
            return
        own: dict[str, _Field] = {}
        for name, annotation in inspect.get_annotations(cls).items():
            if name in vars(Optimizer) or "ClassVar" in str(annotation):
                continue  # of the class, such as how many arrays of state it keeps
            given = vars(cls).get(name, _EMPTY)
            field = given if isinstance(given, _Field) else _Field(given)
            own[field.name or name] = _Field(field.default, None, field.kw_only, field.limits, annotation)
            if given is not _EMPTY:
                delattr(cls, name)  # each instance has its own
        cls.fields = cls.fields | own
        parameters = [field.parameter(name) for name, field in cls.fields.items()]
        cls.__signature__ = inspect.Signature(sorted(parameters, key=lambda each: each.kind))

    def __init__(self, *arguments: object, **named: object) -> None:
        signature = next(filter(None, (vars(kind).get("__signature__") for kind in type(self).__mro__)))
        by_place = [each for each in signature.parameters.values() if each.kind is not each.KEYWORD_ONLY]
        if len(arguments) > len(by_place):
            told = f"takes at most {len(by_place)} positional arguments but {len(arguments)} were given"
            raise TypeError(f"{type(self).__name__}.__init__() {told}")
        try:
            bound = signature.bind(*arguments, **named)
        except TypeError as error:
            raise TypeError(f"{type(self).__name__}.__init__() {error}") from None
        bound.apply_defaults()
        given: dict[str, Any] = bound.arguments
        super().__init__(given.pop("parameters"), given.pop("lr"), **given)

    def require_settings(self, settings: Attributes) -> None:
        for name in self.fields.keys() & settings.keys():
            self.fields[name].require(name, settings[name])
        super().require_settings(settings)


class Rule(_Declared):
    """What all rules of the library are told."""

    given: Parameters = setting(alias="parameters")
    rate: Rate = setting(alias="lr")
    clip_norm: float | None = setting(default=None, kw_only=True)
    clip_value: float | None = setting(default=None, kw_only=True)
