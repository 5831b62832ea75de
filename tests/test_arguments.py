"""What differentiated functions are called with: structures, numbers of arguments, and values that leave the graph."""

import math
import warnings

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.errors import DTypeError, GraphError, ShapeError

POINT = {"a": 3.0, "b": np.array([1.0, 2.0])}


def scaled(p):
    return gd.sum(p["a"] ** 2 * p["b"])


# Structures --------------------------------------------------------------------------------------------------


def test_tangents_of_a_dict_go_by_key_whatever_their_order() -> None:
    tangent = gd.jvp(scaled, (POINT,), ({"b": np.zeros(2), "a": 1.0},))[1]
    assert tangent.item() == 2 * 3.0 * 3.0
    product = gd.hvp(scaled, POINT, {"b": np.array([1.0, 0.0]), "a": 0.0})
    assert (product["a"].item(), product["b"].tolist()) == (6.0, [0.0, 0.0])


def test_adjoints_of_a_dict_go_by_key_whatever_their_order() -> None:
    _, pull = gd.vjp(lambda x: {"once": x, "twice": 2 * x}, 5.0)
    assert pull({"twice": 1.0, "once": 0.0})[0].item() == 2.0


def test_an_adjoint_of_an_array_may_be_a_list() -> None:
    _, pull = gd.vjp(lambda x: x * np.array([1.0, 10.0]), np.ones(2))
    assert pull([1.0, 2.0])[0].tolist() == [1.0, 20.0]


@pytest.mark.parametrize(
    ("adjoint", "said"),
    [
        ({"p": 1.0, "r": 0.0}, r"keys \['p', 'r'\] where a dict with the keys \['p', 'q'\]"),
        ((1.0, 0.0), "is a tuple where a dict"),
        ({"p": {"s": 1.0}, "q": 1.0}, r"the adjoint of the result\['p'\] is a dict where an array"),
    ],
)
def test_an_adjoint_of_another_structure_is_refused(adjoint, said) -> None:
    _, pull = gd.vjp(lambda x: {"p": x, "q": 2 * x}, 1.0)
    with pytest.raises(ShapeError, match=said):
        pull(adjoint)


def test_a_tangent_of_another_structure_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"the tangent of argument 0\['b'\] is a float where a list of 2 is expected"):
        gd.jvp(lambda p: p["b"][0], ({"b": [1.0, 2.0]},), ({"b": 1.0},))
    with pytest.raises(GraphError, match="the tangents come as a tuple with one item per argument, not as float"):
        gd.jvp(gd.sin, (1.0,), 1.0)


@pytest.mark.parametrize("wrong", [{"w": 1.0, "steps": 3}, {"w": 1.0, "steps": None}])
def test_the_leaf_that_cannot_be_differentiated_by_is_named(wrong) -> None:
    with pytest.raises(DTypeError, match=r"argument 0\['steps'\]"):
        gd.grad(lambda p: p["w"] ** 2)(wrong)


# Numbers of arguments, and what is returned beside -----------------------------------------------------------


@pytest.mark.parametrize("argnums", ["a", 1.0, (0, "b"), None])
def test_argnums_are_integers(argnums) -> None:
    with pytest.raises(GraphError, match="argnums is the number of an argument"):
        gd.grad(lambda a, b: a * b, argnums=argnums)(2.0, 3.0)


@pytest.mark.parametrize("argnums", [(0, 0), (1, -1)])
def test_an_argument_named_twice_is_refused(argnums) -> None:
    with pytest.raises(GraphError, match="names an argument twice"):
        gd.grad(lambda a, b: a * b, argnums=argnums)(2.0, 3.0)


def test_argnums_of_numpy() -> None:
    assert gd.grad(lambda a, b: a * b, argnums=np.int64(1))(2.0, 3.0).item() == 2.0


def test_the_rest_of_what_a_function_returns_is_handed_through() -> None:
    def loss(x):
        return gd.sum(x**2), {"double": 2 * x, "note": "as it is"}

    gradient, rest = gd.grad(loss, has_aux=True)(np.array([1.0, 2.0]))
    assert gradient.tolist() == [2.0, 4.0]
    assert rest["note"] == "as it is"
    (value, rest), gradient = gd.value_and_grad(loss, has_aux=True)(np.array([1.0, 2.0]))
    assert (value.item(), rest["double"].tolist(), gradient.tolist()) == (5.0, [2.0, 4.0], [2.0, 4.0])
    with pytest.raises(GraphError, match="returns two things"):
        gd.grad(gd.sum, has_aux=True)(np.ones(2))


# Values that leave the graph ---------------------------------------------------------------------------------


def into_an_array(x):
    y = np.zeros(2)
    y[0] = x[0]
    return gd.sum(y)


LEAVING = {
    "asarray": lambda x: gd.sum(np.asarray(x) ** 2),
    "array of elements": lambda x: gd.sum(np.array([x[0], x[1]])),
    "float": lambda x: gd.constant(math.sin(x[0])),
    "set in an array": into_an_array,
    "a variable of it": lambda x: gd.sum(gd.variable(x)),
}
WAYS = {
    "grad": lambda f: gd.grad(f)(np.ones(2)),
    "jacobian": lambda f: gd.jacobian(f)(np.ones(2)),
    "vjp": lambda f: gd.vjp(f, np.ones(2)),
    "jvp": lambda f: gd.jvp(f, (np.ones(2),), (np.ones(2),)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", LEAVING)
def test_a_value_that_left_the_graph_is_warned_of_where_it_left(name, way) -> None:
    with pytest.warns(RuntimeWarning, match="does not depend on argument 0, float64") as caught:
        WAYS[way](LEAVING[name])
    assert [each.filename for each in caught] == [__file__]


def test_only_the_argument_that_left_is_named() -> None:
    with pytest.warns(RuntimeWarning, match=r"does not depend on argument 1\['rate'\]"):
        gd.grad(lambda x, options: x * float(options["rate"]), argnums=(0, 1))(2.0, {"rate": 3.0})


@pytest.mark.parametrize(
    "function",
    [
        lambda x: gd.sum(x) if float(x[0]) > 0 else -gd.sum(x),  # read to branch on
        lambda x: gd.constant(float(gd.stop_gradient(x[0]))),  # said to be meant
        lambda x: gd.sum(np.arange(4.0)[int(gd.argmax(x)) :]),  # an integer, whose derivative is zero anyway
        lambda x: gd.sum(gd.ones(2)[x > 0]),  # a mask
        lambda x: gd.constant(1.0),
    ],
)
def test_what_is_no_mistake_is_not_warned_of(function) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gd.grad(function)(np.ones(2))


# Complex numbers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [
        lambda x: gd.abs(gd.exp(1j * x)) ** 2,
        lambda x: gd.abs(x.astype("complex128")) ** 2,
        lambda x: gd.abs(gd.stack([x, x]) @ np.array([1j, 2.0])),
    ],
)
@pytest.mark.parametrize("mode", ["forward", "reverse", "elimination"])
def test_complex_numbers_in_between_are_refused(function, mode) -> None:
    """|exp(ix)|² is constant; with imaginary parts dropped its derivative came out as 1.5 in reverse mode."""
    with pytest.raises(DTypeError, match="complex value lies between"):
        gd.jacobian(function, mode=mode)(2.0)
    v = gd.variable(2.0)
    with pytest.raises(DTypeError, match="complex value lies between"):
        function(v).backward()
    assert v.grad is None
