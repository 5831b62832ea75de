"""Every example in a docstring runs."""

import doctest
import importlib
import pkgutil

import pytest

import graphdiff

MODULES = sorted(module.name for module in pkgutil.walk_packages(graphdiff.__path__, "graphdiff."))


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert failed == 0


def test_op_functions_have_docstrings() -> None:
    undocumented = [name for name, function in graphdiff.op.FUNCTIONS.items() if not function.__doc__]
    assert undocumented == []
