"""What is said where a plain Python error used to be: of missing derivatives, operators, numbers from rules."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.errors import DTypeError, GraphError, OpError


def test_an_unnamed_variable_is_called_a_variable() -> None:
    assert gd.variable([1.0]).describe() == "variable float64[1]"
    assert gd.placeholder((2,)).describe() == "placeholder float64[2]"
    assert gd.constant([1]).describe() == "int64[1]"
    with pytest.raises(gd.GraphDiffError, match=r"variable float64\[2\]") as caught:
        gd.variable([1.0, 2.0]) + gd.variable([1.0, 2.0, 3.0])
    assert "placeholder" not in str(caught.value)


@pytest.mark.parametrize("walk", ["adjoint", "tangent"])
def test_a_derivative_by_a_node_outside_the_graph_is_named(walk) -> None:
    a, b = gd.variable(1.0, name="a"), gd.variable(2.0, name="outside")
    found = gd.adjoints(a * a) if walk == "adjoint" else gd.tangents(a * a, {a: 1.0})
    with pytest.raises(KeyError, match=rf"^'outside' float64\[\], made at .*, has no {walk}"):
        found[b]
    with pytest.raises(GraphError):
        found[b]
    assert found.get(b) is None
    assert b not in found
    assert isinstance(found, dict)


@pytest.mark.parametrize(
    ("operator", "word"),
    [
        (lambda x: x ^ 2, r"x \*\* y"),
        (lambda x: 2 ^ x, r"x \*\* y"),
        (lambda x: x & x, r"\(x > 0\) & \(y > 0\)"),
        (lambda x: x | x, r"\(x > 0\) \| \(y > 0\)"),
        (lambda x: ~x, "1 / x"),
    ],
)
@pytest.mark.parametrize("compiled", [False, True])
def test_operators_of_integers_say_what_they_are(operator, word, compiled) -> None:
    with pytest.raises(DTypeError, match=word):
        gd.compile(operator)(np.ones(2)) if compiled else operator(gd.variable([1.0, 2.0]))
    assert (gd.constant([6, 5]) ^ 3).tolist() == [5, 6]


def declared(name, returned):
    gd.op.OPS.pop(name, None)
    return gd.op.custom(name, evaluate=lambda F, x: x * 2.0, adjoint=lambda F, v, position, out, x: returned)


def test_an_adjoint_rule_may_return_a_number() -> None:
    twice = declared("twice_by_number", 2.0)
    assert gd.grad(twice)(1.5).item() == 2.0
    w = gd.variable(1.5)
    twice(w).backward()
    assert w.grad == 2.0
    assert gd.compile(gd.grad(twice))(1.5).item() == 2.0
    assert gd.grad(lambda x: gd.grad(twice)(x) * x)(3.0).item() == 2.0
    with pytest.raises(OpError, match=r"shape \(\) for an operand of shape \(3,\)"):
        gd.grad(lambda x: gd.sum(twice(x)))(np.ones(3))
    with pytest.raises(OpError, match="returned str"):
        gd.grad(declared("twice_by_text", "2"))(1.5)


def test_losses_are_loaded_where_only_graphdiff_was_imported(tmp_path) -> None:
    w = gd.variable(np.eye(2, 3), name="w")
    loss = gd.nn.softmax_cross_entropy(w, [0, 1])
    path = tmp_path / "loss.pkl"
    path.write_bytes(pickle.dumps([loss, gd.cross_entropy]))
    load = f"import graphdiff, pickle; loss, f = pickle.load(open({str(path)!r}, 'rb'))"
    source = f"{load}; loss.backward(); print(repr(loss.item()))"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert float(done.stdout) == pytest.approx(loss.item(), rel=1e-12)


def test_ops_of_other_modules_are_found_by_their_module(tmp_path) -> None:
    (tmp_path / "home_work.py").write_text(
        "import graphdiff as gd\n"
        "thrice = gd.op.elementwise('thrice_home_work', lambda F, out, x: 3.0 + 0 * x, evaluate=lambda F, x: 3 * x)\n"
    )
    made = "pickle.dump(home_work.thrice(gd.variable(2.0)), open('y.pkl', 'wb'))"
    make = f"import graphdiff as gd, home_work, pickle; {made}"
    load = "import graphdiff, pickle; print(pickle.load(open('y.pkl', 'rb')).item())"
    for source, wanted in ((make, ""), (load, "6.0")):
        done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False, cwd=tmp_path)
        assert (done.stdout.strip(), done.stderr) == (wanted, "")
