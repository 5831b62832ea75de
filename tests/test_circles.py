"""No circle of imports between siblings of any package, lazy imports and those for type checkers included."""

import ast
from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import pytest

import graphdiff

HOUSE = Path(graphdiff.__file__).parent
NAMED_ONLY = {"graphdiff.typing"}
"""Names the types of all floors, for type checkers alone."""
ATTACHED = {"graphdiff", "graphdiff.__main__", "graphdiff._links", "graphdiff._moved"}
"""Tie the floors together, and are above all of them."""


def module_of(path: Path) -> str:
    return ".".join(("graphdiff", *path.relative_to(HOUSE).with_suffix("").parts)).removesuffix(".__init__")


MODULES = {module_of(path): path for path in HOUSE.rglob("*.py")}
PACKAGES = {name for name, path in MODULES.items() if path.name == "__init__.py"}


def imports() -> Iterator[tuple[str, str]]:
    """Yield every import of one module by another, wherever it stands."""
    for module, path in MODULES.items():
        if module in NAMED_ONLY | ATTACHED:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "graphdiff":
                for name in node.names:
                    inner = f"{node.module}.{name.name}"
                    yield module, inner if inner in MODULES else node.module
            elif isinstance(node, ast.Import):
                yield from ((module, name.name) for name in node.names if name.name in MODULES)


def siblings(package: str) -> nx.DiGraph:
    """Return which members of a package import which."""
    found = nx.DiGraph()
    depth = package.count(".") + 2
    for origin, target in imports():
        if origin.startswith(package + ".") and target.startswith(package + "."):
            one, other = (".".join(name.split(".")[:depth]) for name in (origin, target))
            if one != other:
                found.add_edge(one, other)
    return found


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_siblings_import_one_way(package: str) -> None:
    circles = [sorted(circle) for circle in nx.strongly_connected_components(siblings(package)) if len(circle) > 1]
    assert circles == []


def test_a_circle_would_be_found() -> None:
    found = siblings("graphdiff")
    assert found.has_edge("graphdiff.ops", "graphdiff.op")
    found.add_edge("graphdiff.op", "graphdiff.ops")
    assert not nx.is_directed_acyclic_graph(found)
