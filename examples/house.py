"""Draw the house: graphdiff's packages by their imports, each above those that it needs.

Run it as ``python examples/house.py [picture.svg]``. An arrow that follows from others is left out.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import networkx as nx

import graphdiff
from graphdiff.draw.dot import Drawing
from graphdiff.draw.picture import Arrow, Box, Line, Picture
from graphdiff.draw.write import to_dot

HOUSE = Path(graphdiff.__file__).parent
SHARED = {"errors", "guard", "arguments", "typing", "host", "backend", "tree", "text", "files"}
"""What is drawn as one room: small, and used by nearly all."""


def room(module: str) -> str | None:
    """Return the package that a module of graphdiff lies in; None for what ties all of them together."""
    name = module.split(".")[1] if "." in module else ""
    if name in SHARED:
        return "shared"
    return name if (HOUSE / name / "__init__.py").exists() and name else None


def imports() -> Iterator[tuple[str, str]]:
    """Yield the imports between rooms, those within functions and for type checkers included."""
    for path in sorted(set(HOUSE.rglob("*.py")) - {HOUSE / "typing.py"}):  # which names the types of all floors
        own = room(".".join(("graphdiff", *path.relative_to(HOUSE).with_suffix("").parts)))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "graphdiff":
                for name in node.names:
                    other = room(node.module if "." in node.module else f"graphdiff.{name.name}")
                    if own and other and own != other:
                        yield own, other


def question(name: str) -> str:
    """Return what a package is for: the first line of its docstring."""
    if name == "shared":
        return "Errors, types, backends, text, files."
    tree = ast.parse((HOUSE / name / "__init__.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").split("\n", 1)[0]


def lines(text: str, width: int = 34) -> list[Line]:
    """Return a text in lines of about so many letters."""
    found = [""]
    for word in text.replace("`", "").split():
        if len(found[-1]) + len(word) > width:
            found.append("")
        found[-1] = f"{found[-1]} {word}".strip()
    return [Line(line, "faint") for line in found]


def picture() -> Picture:
    """Return the rooms and the imports between them, from what needs to what is needed."""
    house = nx.DiGraph(imports())
    drawn = Picture(rankdir="TB")
    for name in nx.lexicographical_topological_sort(house):
        drawn.boxes[name] = Box([Line(name, "title"), *lines(question(name))], "op")
    for origin, target in sorted(nx.transitive_reduction(house).edges):
        drawn.arrows.append(Arrow(origin, target))
    return drawn


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "house.svg")
    print(Drawing(to_dot(picture())).save(target))
