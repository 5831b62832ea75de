"""What is called with wrong arguments says so: a GraphDiffError that names function, arguments and line."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.errors import ArgumentError

X = gd.constant([1.0, 2.0, 3.0])
MISUSES: dict[str, Callable[[], Any]] = {
    "arange": lambda: gd.arange(0, 3, 0),
    "eye": lambda: gd.eye(-1),
    "zeros": lambda: gd.zeros(2.5),
    "ones": lambda: gd.ones("a"),
    "linspace": lambda: gd.linspace(0, 1, -1),
    "concatenate": lambda: gd.concatenate(3.0),
    "stack": lambda: gd.stack(None),
    "reshape": lambda: gd.reshape(X, "a"),
    "repeat": lambda: np.repeat(X, "a"),
    "the output of adjoints is a Tensor, not 'x'": lambda: gd.adjoints("x"),
    "tangents takes a sequence of tensors, not 3": lambda: gd.tangents(3, {}),
    "placeholder": lambda: gd.placeholder(2.5),
    "outputs of a graph": lambda: gd.Graph(3),
    "ropout": lambda: gd.nn.Dropout("0.5"),
    "MLP: the width of a layer is an integer that is at least 1, not 'a'": lambda: gd.nn.MLP("a"),
    "Maxout": lambda: gd.nn.Maxout("3"),
    "a penalty takes a sequence of tensors, not 3": lambda: gd.nn.l2_penalty(3),
    "sequence": lambda: gd.optim.schedules.sequence(0.1, 0.2),
    "AveragedWeights": lambda: gd.train.AveragedWeights("a"),
    "load": lambda: gd.train.load(3),
    "MinMax": lambda: gd.train.MinMax(3),
    "vmap": lambda: gd.vmap(3)(X),
    "a backend is given by its name, not as []": lambda: gd.get_backend([]),
    "functions are differentiated, not 3": lambda: gd.vjp(3, 1.0),
    "functions are differentiated, not None": lambda: gd.grad(None)(1.0),
    "functions are differentiated, not 'sin'": lambda: gd.hessian("sin")(X),
    "elu(x, /, *, alpha=1.0) was called with beta": lambda: gd.elu(X, beta=2.0),
    "is a module: gd.constant": lambda: gd.tensor([1.0]),
    "100000000000000000000 beside a tensor of int64": lambda: gd.constant([1, 2]) + 10**20,
    "is no dtype": lambda: gd.zeros(3, dtype="0"),
    "object data": lambda: gd.compile(gd.sin)(10**30),
}


@pytest.mark.parametrize("told", MISUSES)
def test_a_misuse_is_told(told: str) -> None:
    with pytest.raises(gd.GraphDiffError) as raised:
        MISUSES[told]()
    assert told in str(raised.value)


def test_the_line_is_the_users_and_the_outermost_call_is_told() -> None:
    with pytest.raises(ArgumentError, match=r"^MinMax\(3\), called at .*test_guard.py:\d+: TypeError"):
        gd.train.MinMax(3)
    for kind in (ValueError, TypeError):  # what NumPy raises, and what Python does
        with pytest.raises(kind, match="MinMax") as raised:
            gd.train.MinMax(3)
        assert isinstance(raised.value.__cause__, TypeError)


def test_errors_of_the_users_own_code_and_of_the_call_stay_as_they_are() -> None:
    def wrong(x: Any) -> Any:
        return {}["absent"] * x

    class Odd(gd.nn.Module):
        def forward(self, x: Any) -> Any:
            return wrong(x)

    for call in (gd.grad(wrong), gd.vmap(wrong), lambda x: gd.jvp(wrong, (x,), (x,)), Odd(), gd.sparse_jacobian(wrong)):
        with pytest.raises(KeyError, match="absent"):
            call(X)
    with pytest.raises(TypeError, match="unexpected keyword argument 'axes'") as raised:
        gd.sum(X, axes=0)
    assert not isinstance(raised.value, gd.GraphDiffError)


def test_options_of_an_op_may_follow_its_operands() -> None:
    x = np.array([-1.0, 2.0])
    np.testing.assert_allclose(gd.elu(x, 2.0).numpy(), [2 * np.expm1(-1.0), 2.0])
    np.testing.assert_allclose(gd.leaky_relu(x, 0.5).numpy(), gd.leaky_relu(x, slope=0.5).numpy())
    with pytest.raises(gd.GraphDiffError, match=r"elu\(.* was called with 2 arguments by position"):
        gd.elu(x, 2.0, alpha=1.0)


def test_public_functions_are_one_object_that_pickles() -> None:
    assert gd.sum is gd.reduce_sum
    for function in (gd.sum, gd.amax, gd.grad, gd.nn.huber, gd.linalg.norm, gd.sin, gd.train.fit):
        assert pickle.loads(pickle.dumps(function)) is function


def test_what_numpy_takes_is_taken() -> None:
    x = np.arange(6.0)
    assert gd.copy([True, False]).tolist() == np.copy([True, False]).tolist()
    assert np.copy(gd.constant([True, False])).tolist() == [True, False]
    for cuts in (np.array([1, 3]), np.cumsum([1, 2]), range(1, 4), np.int64(2), 3):
        parts = gd.split(x, cuts)
        assert [part.tolist() for part in parts] == [part.tolist() for part in np.split(x, cuts)]
    assert gd.tensordot(np.eye(2), np.ones((2, 3)), axes=np.int64(1)).tolist() == np.ones((2, 3)).tolist()
    assert gd.repeat(x, [2]).tolist() == np.repeat(x, [2]).tolist()
    assert gd.repeat(np.ones((2, 2)), np.array([3]), axis=1).shape == (2, 6)


def test_a_seed_that_is_none_leaves_the_streams_alone() -> None:
    gd.random.seed(3)
    first = gd.nn.Linear(2, in_features=2).weight.tolist()
    for wrong in ("a", None, -1, np.datetime64("2020-01-01"), 2.5):
        with pytest.raises(gd.GraphDiffError):
            gd.random.seed(wrong)
    gd.random.seed(3)
    assert gd.nn.Linear(2, in_features=2).weight.tolist() == first


@pytest.mark.parametrize("wrong", [np.ones(3, "float16"), "ab", [0.5, 1]])
def test_methods_that_take_several_integers_are_guarded(wrong: Any) -> None:
    for method in (X.transpose, X.reshape):
        with pytest.raises(gd.GraphDiffError):
            method(wrong)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gd.nn.MLP([2], in_features=2).train(np.ones(2)), "train takes True or False"),
        (lambda: gd.check_grads(lambda x: x * x, 1 + 2j), "check_grads is of real numbers"),
        (lambda: gd.compile(lambda x: x, memory_limit=set()), "memory_limit"),
        (lambda: gd.compile(lambda x: x, memory_limit=-1), "memory_limit"),
        (lambda: gd.optim.schedules.step(2.0, 10**400), "cannot be 1000"),
        (lambda: gd.train.Standardise(columns=np.ma.masked_array([1.0, 2.0], [0, 1])), "masked"),
    ],
)
def test_options_are_looked_at_where_they_are_given(call: Any, message: str) -> None:
    with pytest.raises(gd.errors.GraphDiffError, match=message):
        call()
