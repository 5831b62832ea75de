"""Rebuilding a program: only what changes is made anew, and the order of nodes stays."""

from typing import Any

import graphdiff as gd
from graphdiff.plan.program import Program, Tensor, clone, rewrite


def program() -> Program:
    x = gd.placeholder((3,), name="x")
    first = (x * 2.0).named("first")
    second = (first + 1.0).named("second")
    third = (gd.exp(x) + second).named("third")
    return Program([x], {}, [third * first])


def test_a_rule_that_does_nothing_leaves_every_node() -> None:
    before = program()
    after = rewrite(before, lambda node, operands: None)
    assert all(one is other for one, other in zip(before.nodes(), after.nodes(), strict=True))


def test_what_follows_a_change_is_made_anew_in_the_same_order() -> None:
    def negated(node: Tensor, operands: tuple[Tensor, ...]) -> Any:
        return operands[0] - operands[1] if node.name == "second" else None

    before = program()
    after = rewrite(before, negated)
    old, new = before.nodes(), after.nodes()
    assert [node.name for node in old] == [node.name for node in new]
    assert [node.op.name for node in new if node.op] == ["multiply", "subtract", "exp", "add", "multiply"]
    place = next(place for place, node in enumerate(old) if node.name == "second")
    assert all(one is other for one, other in zip(old[:place], new[:place], strict=True))
    made = [(one, other) for one, other in zip(old[place:], new[place:], strict=True) if one.op]
    assert all(one is not other and one.serial < other.serial for one, other in made)
    assert gd.Graph(after.outputs[0]).evaluate({after.arguments[0]: [0.0] * 3})[0] == 0.0


def test_a_copy_has_all_that_a_node_has() -> None:
    node = program().outputs[0]
    copied = clone(node, node.inputs)
    for slot in Tensor.__slots__:
        if slot not in ("__weakref__", "serial", "_signature"):
            assert getattr(copied, slot) is getattr(node, slot), slot
    assert (copied.shape, copied.dtype) == (node.shape, node.dtype)
    assert copied.serial > node.serial
