"""Write graphdiff/__init__.pyi, by which type checkers and editors know what `gd.` has.

Most of it are imports from where things are declared. Functions that an op's declaration makes have no source of their
own: their signatures are written out from the declarations.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import graphdiff as gd

STUB = Path(gd.__file__).with_suffix(".pyi")

HEAD = '''"""What graphdiff has, for type checkers: written from the declarations by `python docs/make_stubs.py`."""

# ruff: noqa: A001, A002, A004, E501, F811
'''

NUMBERS = {float: "float", int: "int", type(None): "None"}


def declared_at(value: object, module: str) -> str | None:
    """Return the name by which a module has what a public name stands for."""
    members = vars(sys.modules[module])
    bodies = (value, getattr(value, "__wrapped__", value))
    return next((name for name, member in members.items() if any(member is each for each in bodies)), None)


class Written(str):
    """A type as it is written in source."""

    def __repr__(self) -> str:
        return str(self)


def annotation(parameter: inspect.Parameter) -> Written:
    """Return a parameter's type: as it is annotated, or else an array's by position and its default's by name."""
    if parameter.annotation not in (parameter.empty, "Any"):  # what an op is applied to is an array of any kind
        return Written(parameter.annotation)
    default = parameter.default
    return Written("ArrayLike" if default in (parameter.empty, None) else type(default).__name__)


def definition(name: str, function: Callable[..., object], indent: str = "") -> Iterator[str]:
    """Yield the lines that define a function in the stub."""
    signature = inspect.signature(function)
    result = Written("Tensor" if signature.return_annotation is signature.empty else signature.return_annotation)
    parameters = [
        each if each.name == "self" else each.replace(annotation=annotation(each))
        for each in signature.parameters.values()
    ]
    doc = (inspect.getdoc(function) or "").split("\n", 1)[0].replace("\\", "\\\\")
    yield f"{indent}def {name}{signature.replace(parameters=parameters, return_annotation=result)}:"
    yield f'{indent}    """{doc}"""'


def space(name: str, value: types.SimpleNamespace) -> Iterator[str]:
    """Yield the lines for a name under which there are functions."""
    yield f"class {name}:"
    yield f'    """Functions as `gd.{name}` has them."""'
    for member, function in sorted(vars(value).items()):
        yield "    @staticmethod"
        yield from definition(member, function, "    ")


def callable_module(name: str, module: types.ModuleType) -> Iterator[str]:
    """Yield the lines for a package that may be called."""
    members = {each: getattr(module, each) for each in sorted(module.__all__)}
    for each in members:
        yield f"from graphdiff.{name} import {each} as _{name}_{each}"
    yield f"class _{name}:"
    yield from definition("__call__", type(module).__call__, "    ")
    for each, member in members.items():
        yield f"    {each} = " + (f"_{name}_{each}" if isinstance(member, type) else f"staticmethod(_{name}_{each})")
    yield f"{name}: _{name}"


def line(name: str, value: object) -> list[str]:
    """Return what the stub says of one public name."""
    if isinstance(value, types.SimpleNamespace):
        return list(space(name, value))
    if isinstance(value, types.ModuleType):
        if "__call__" in vars(type(value)):
            return list(callable_module(name, value))
        package, _, own = value.__name__.rpartition(".")
        return [f"from {package} import {own} as {own}"]
    if type(value) in NUMBERS:
        return [f"{name}: {NUMBERS[type(value)]}"]
    module = getattr(getattr(value, "__wrapped__", value), "__module__", None) or "graphdiff.host"
    module = "graphdiff.host" if module.startswith("numpy") else module
    own = None if module == "graphdiff" else declared_at(value, module)
    if own is None:
        return list(definition(name, value))  # type: ignore[arg-type]
    # Another name is not exported by being imported.
    return [
        f"from {module} import {own} as {own}"
        if own == name
        else f"from {module} import {own} as _{name}\n{name} = _{name}"
    ]


def stub() -> str:
    """Return the whole text."""
    lines = [each for name in dir(gd) for each in line(name, getattr(gd, name))]
    names = set(re.findall(r"\b[A-Z]\w+", "\n".join(each for each in lines if "def " in each)))
    names -= set(dir(gd))
    known = {name: module for module in MODULES for name in vars(importlib.import_module(module)) if name in names}
    imports = [f"from {module} import {name}" for name, module in sorted(known.items(), key=lambda pair: pair[::-1])]
    return "\n".join([HEAD, *imports, "", *lines, ""])


MODULES = (
    "graphdiff.ops.linalg",
    "graphdiff.draw.options",
    "graphdiff.draw.drawing",
    "graphdiff.typing",
    "graphdiff.tensor",
    "typing",
    "collections.abc",
)
"""Where the types are that signatures name."""

if __name__ == "__main__":
    STUB.write_text(stub(), encoding="utf-8")
