"""Indexing where NumPy has special cases, and places as `nonzero` and `where` name them."""

from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.errors import DTypeError, NoValueError, OpError, ShapeError

CUBE = np.arange(24.0).reshape(2, 3, 4)


def test_where_with_a_condition_alone_names_places_as_numpy_does() -> None:
    x = np.array([[3.0, -1.0], [0.0, 5.0]])
    for places in (gd.where(x > 0), gd.nonzero(x > 0), np.where(gd.variable(x) > 0), np.nonzero(gd.variable(x) > 0)):
        assert [place.tolist() for place in places] == [place.tolist() for place in np.nonzero(x > 0)]
    taken = gd.grad(lambda t: gd.sum(t[np.where(t > 0)] ** 2))(x)
    np.testing.assert_array_equal(taken, np.where(x > 0, 2 * x, 0))


def test_where_with_one_of_its_values_is_refused() -> None:
    with pytest.raises(OpError, match="where takes a condition and two values"):
        gd.where(np.ones(2) > 0, 1.0)


def test_places_need_values_and_axes() -> None:
    with pytest.raises(NoValueError, match=r"gd\.where\(mask, x, 0\)"):
        gd.nonzero(gd.placeholder((2,)) > 0)
    with pytest.raises(ShapeError, match="0-d"):
        gd.nonzero(gd.constant(1.0))


@pytest.mark.parametrize(
    "index",
    [
        ([0, 1], Ellipsis, [0, 1]),
        ([0, 1], [0, 1], Ellipsis),
        (Ellipsis, [0, 1], [0, 1]),
        ([0, 1], [0, 2], Ellipsis, [1, 3]),
        (0, Ellipsis, [0, 1], 1),
        (None, 1, Ellipsis, 0),
        (slice(None), 0, Ellipsis, 1),
    ],
)
def test_an_ellipsis_beside_index_arrays(index) -> None:
    np.testing.assert_array_equal(gd.constant(CUBE)[index], CUBE[index])


@pytest.mark.parametrize("index", [(slice(None), [0, 1], Ellipsis, [0, 1]), (None, 0, [0, 1], Ellipsis, [0, 1])])
def test_an_ellipsis_for_no_axes_that_tears_index_arrays_apart_is_refused(index) -> None:
    """NumPy moves the arrays' axes to the front; they were left where they stood."""
    with pytest.raises(ShapeError, match="ellipsis for no axes"):
        gd.constant(CUBE)[index]


@pytest.mark.parametrize("truth", [True, np.False_, gd.constant(True)])
def test_a_single_truth_value_is_no_index(truth) -> None:
    with pytest.raises(DTypeError, match=r"no index|index is an integer"):
        gd.constant(CUBE)[truth]


@pytest.mark.parametrize("value", [np.datetime64("2020-01-01"), np.str_("a"), np.array(["a"]), None, 2**70])
def test_only_numbers_make_tensors(value) -> None:
    with pytest.raises(DTypeError, match="numbers and booleans only"):
        gd.variable(value)


def test_slices_by_numpys_integers_of_what_a_plan_leaves_to_a_kernel() -> None:
    empty, narrow = gd.variable(np.zeros((0, 3))), np.array([-1.5, 2.0], "float32")

    def function(x: Any) -> Any:
        gradient = gd.grad(lambda z, v: gd.sum(gd.norm(-z) * np.float64(1.0) * v), (0, 1))(narrow, empty)[1]
        return gradient[None, np.int64(1) : np.int64(0)]

    assert gd.compile(function)(np.ones(3)).shape == (1, 0, 3)


@pytest.mark.parametrize("name", ["argmin", "argmax", "vdot", "any"])
def test_a_number_seen_as_an_array_is_handed_out_twice_in_two_arrays(name: str) -> None:
    def function(x: Any) -> Any:
        number = gd.vdot(x, x) if name == "vdot" else getattr(gd, name)(x)
        return number[None], number[None], gd.reshape(number, (1, 1))

    for x in (np.ones(3), np.ones(3, "bool")):
        results = gd.compile(function)(x)
        for place, one in enumerate(results):
            assert not any(np.shares_memory(one.value, other.value) for other in results[:place])


def test_a_compiled_function_within_a_trace_works_on_tensors_not_on_arrays() -> None:
    kept = np.array([1.0, 2.0, 3.0])
    inner = gd.compile(lambda z, n: z[1:] if n else z.mT, static_argnames="n")
    outer = gd.compile(lambda x: (inner(kept, 1), inner(np.eye(2), n=0), x))
    for _ in range(2):
        part, turned, _ = outer(np.ones(2))
        assert isinstance(part, gd.Tensor)
        assert part.tolist() == [2.0, 3.0]
        assert not np.shares_memory(part.value, kept)
        assert turned.shape == (2, 2)
