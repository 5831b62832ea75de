"""What a plan returns lies in memory of its own; what it writes as lists, boxes and views is what eager code gives."""

from typing import Any

import numpy as np
import pytest

import graphdiff as gd

X = np.linspace(-1.0, 2.0, 12).reshape(3, 4)

FUNCTIONS: dict[str, Any] = {
    "last op": lambda x: gd.sin(x) * 2,
    "product": lambda x: gd.sin(x) @ gd.constant(np.ones((4, 5))),
    "by columns": lambda x: gd.matrix_transpose(gd.constant(np.ones((2, 3))) @ gd.exp(x)),
    "used and returned": lambda x: (lambda y: (y, y + 1.0, gd.sum(y)))(gd.exp(x)),
    "twice": lambda x: (lambda y: (y, y))(gd.exp(x)),
    "view of a result": lambda x: (lambda y: (y, y[1:], gd.reshape(y, (-1,))))(gd.exp(x)),
    "filled": lambda x: gd.at(gd.zeros((8,)), slice(1, 7, 2)).add(gd.sin(x[0, :3])),
    "filled by places": lambda x: gd.at(gd.zeros((8,)), [5, 1, 5]).add(gd.sin(x[0, :3])),
    "filled in a column": lambda x: gd.at(gd.zeros((8, 2)), ([5, 1, 5], 0)).add(gd.sin(x[0, :3])),
    "numbers as a list": lambda x: gd.stack([x[0, 0] * x[1, 1], x[2, 3], gd.sin(x[0, 1]), x[0, 0]]),
    "numbers and constants": lambda x: gd.stack(
        [x[0, 0] + 1.0, gd.constant(np.inf), gd.constant(-0.0), gd.constant(2.5)]
    ),
    "numbers used on": lambda x: (lambda y: (y, gd.stack([y, y])))(gd.stack([x[0, 0] * 2, x[1, 0] * 3])),
    "single number": lambda x: gd.cos(x[0, 0]),
    "number in a box": lambda x: gd.reshape(x[0, 0] * 2.0, (1, 1)) * x,
    "number broadcast": lambda x: gd.broadcast_to(x[0, 0] * 2.0, (3, 4)),
    "slices of an argument": lambda x: x[::-1, 1:-1:2] + x[:, None, 0][0] + x[..., -1:],
    "argument reshaped": lambda x: gd.reshape(x, (2, 6)) * 2.0,
    "transposed constant": lambda x: x @ gd.matrix_transpose(gd.constant(np.arange(20.0).reshape(5, 4))),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_same_as_eager_and_never_overwritten(name):
    function = FUNCTIONS[name]
    compiled = gd.compile(function)
    first = compiled(X)
    kept = [np.array(each) for each in (first if isinstance(first, tuple) else (first,))]
    second = compiled(X + 1.0)
    for result, copy in zip(first if isinstance(first, tuple) else (first,), kept, strict=True):
        np.testing.assert_array_equal(np.asarray(result), copy)
    for x, results in ((X, first), (X + 1.0, second)):
        expected = function(gd.constant(x))
        pairs = zip(
            results if isinstance(results, tuple) else (results,),
            expected if isinstance(expected, tuple) else (expected,),
            strict=True,
        )
        for result, truth in pairs:
            assert result.shape == truth.shape
            assert type(result.value) is type(truth.value)
            np.testing.assert_allclose(np.asarray(result), np.asarray(truth), rtol=1e-14, atol=0)


def test_results_do_not_share_memory():
    compiled = gd.compile(FUNCTIONS["view of a result"])
    results = [np.asarray(each) for each in (*compiled(X), *compiled(X))]
    for place, one in enumerate(results):
        assert not any(np.shares_memory(one, other) for other in results[place + 1 :])


def test_no_copy_is_made_of_a_result():
    source = gd.compile(FUNCTIONS["product"]).plan(X).source
    assert "empty((3, 5)" in source
    assert ".copy()" not in source
    assert "zeros((8,)" in gd.compile(FUNCTIONS["filled"]).plan(X).source


def test_variables_updated_and_returned():
    w = gd.variable(np.ones(4), name="w")

    @gd.compile
    def step(x):
        w.assign(w - 0.5 * x)
        return w * 2.0, w

    returned = [np.array(each) for each in step(np.ones(4))]
    np.testing.assert_array_equal(returned, [np.ones(4), np.full(4, 0.5)])
    step(np.ones(4))
    np.testing.assert_array_equal(returned, [np.ones(4), np.full(4, 0.5)])
    np.testing.assert_array_equal(w.numpy(), np.zeros(4))


def test_numbers_that_are_not_finite():
    compiled = gd.compile(lambda x: gd.stack([x[0] / x[1], -x[0] / x[1], x[1] / x[1], x[0]]))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(np.asarray(compiled(np.array([1.0, 0.0]))), [np.inf, -np.inf, np.nan, 1.0])


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64"])
def test_batches_of_products(dtype):
    """Batched products are single ones where they can be: the same numbers as a loop."""
    rng = np.random.default_rng(0)
    for left, right in (
        ((3,), (3, 4)),
        ((2, 3), (3, 4)),
        ((2, 3), (3,)),
        ((2, 1), (1, 4)),
        ((1,), (1, 4)),
        ((5, 2, 3), (3, 4)),
    ):
        x, y = (rng.integers(-4, 5, size=(6, *shape)).astype(dtype) for shape in (left, right))
        cases = (
            (gd.vmap(lambda a: a @ y[0])(x), np.stack([a @ y[0] for a in x])),  # noqa: B023
            (gd.vmap(lambda b: x[0] @ b)(y), np.stack([x[0] @ b for b in y])),  # noqa: B023
            (gd.vmap(lambda a, b: a @ b)(x, y), np.stack([a @ b for a, b in zip(x, y, strict=True)])),
        )
        for computed, expected in cases:
            assert computed.dtype == expected.dtype
            np.testing.assert_allclose(np.asarray(computed), expected, rtol=1e-6)
