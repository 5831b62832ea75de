"""What array functions take besides tensors: NumPy's results where it has them, and clear errors where it has none."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.errors import DTypeError, GraphDiffError, IndexOutsideError, OpError, ShapeError

X = np.random.default_rng(0).normal(size=(2, 3, 4))
Z = X[0, :, :3] + 1j * X[1, :, :3]


def same(computed: Any, expected: Any) -> None:
    if isinstance(expected, (list, tuple)):
        assert len(computed) == len(expected)
        for one, other in zip(computed, expected, strict=True):
            same(one, other)
        return
    assert (computed.shape, computed.dtype) == (np.shape(expected), np.asarray(expected).dtype)
    tolerance = 1e-5 if computed.dtype == np.float32 else 1e-12
    np.testing.assert_allclose(computed.numpy(), expected, rtol=tolerance, atol=tolerance)


AS_NUMPY: list[Callable[[Any, Any], Any]] = [
    lambda m, x: m.sum(x > 0, dtype="int8"),
    lambda m, x: m.sum((100 * x).astype("int64"), axis=0, dtype="int8"),
    lambda m, x: m.sum(x, dtype="float32"),
    lambda m, x: m.prod(m.astype(x, "int64"), axis=1, dtype="uint8"),
    lambda m, x: m.mean(m.astype(3 * x, "float32"), axis=0, dtype="int64"),
    lambda m, x: m.var(x, axis=0, ddof=2),
    lambda m, x: m.var(x, axis=0, correction=5),
    lambda m, x: m.std(x, axis=(0, 1), correction=7),
    lambda m, x: m.std(m.astype(x, "float32"), axis=1, ddof=np.int64(1)),
    lambda m, x: m.var(x, ddof=np.uint8(30)),
    lambda m, x: m.split(x, np.array([1, 3]), axis=2),
    lambda m, x: m.split(x, np.int64(2), axis=-1),
    lambda m, x: m.split(x, list(np.cumsum([1, 2])), axis=2),
    lambda m, x: m.split(x, [5, 1], axis=2),
    lambda m, x: m.tensordot(x, x, axes=np.int64(3)),
    lambda m, x: m.tensordot(x, x, axes=np.array([[0, 1], [0, 1]])),
    lambda m, x: m.tensordot(x, x, axes=([np.int64(0)], [0])),
    lambda m, x: m.repeat(x, [2], axis=1),
    lambda m, x: m.repeat(x, np.array([1, 0, 2]), axis=1),
    lambda m, x: m.repeat(x, np.int64(2)),
    lambda m, x: m.roll(x, (1, 2), axis=0),
    lambda m, x: m.roll(x, 1, axis=(0, 1)),
    lambda m, x: m.roll(x, (1, 2)),
    lambda m, x: m.roll(x, (1, 2), axis=(1, 1)),
    lambda m, x: m.tile(x, np.array([2, 1])),
    lambda m, x: m.tile(x, 0),
    lambda m, x: m.reshape(x, np.array([6, -1])),
    lambda m, x: m.broadcast_to(x, np.array([2, 2, 3, 4])),
    lambda m, x: m.transpose(x, np.array([2, 0, 1])),
    lambda m, x: m.zeros(np.array([2, 3])) + m.sum(x),
    lambda m, x: m.full((2, 4), x[0, 0]),
    lambda m, x: m.copy(x > 0),
    lambda m, x: m.round(m.astype(10 * x, "int64"), 2),
    lambda m, x: m.round(m.astype(100 * x, "int64"), -1),
    lambda m, x: m.round(m.astype(10 * x, "int8"), 5),
    lambda m, x: m.kron(x[0], x[0, 0]),
    lambda m, x: m.kron(x, x[0]),
    lambda m, x: m.sort(x, axis=None),
    lambda m, x: m.argsort(x, axis=None),
    lambda m, x: m.pad(x[0, 0, 0], 0),
    lambda m, x: m.average(x, axis=1, weights=[1.0, 2.0, 3.0]),
    lambda m, x: m.linspace(0, 1, np.int64(3)) + m.sum(x),
    lambda m, x: m.eye(np.int64(2), k=np.int64(1)) + m.sum(x),
    lambda m, x: m.arange(np.float32(3)) + m.sum(x),
]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("call", AS_NUMPY)
def test_results_are_numpys(call: Any) -> None:
    same(call(gd, gd.constant(X)), call(np, X))
    compiled = gd.compile(lambda x: call(gd, x))(X)
    same(compiled, call(np, X))


REFUSED: list[tuple[Callable[[Any], Any], type[Exception], str]] = [
    (lambda x: gd.arange(0, 3, 0), OpError, "a step of 0 reaches no end"),
    (lambda x: gd.arange("a"), GraphDiffError, "numbers and booleans only"),
    (lambda x: gd.arange(np.inf), OpError, "no count of numbers"),
    (lambda x: gd.arange(1j), DTypeError, "complex"),
    (lambda x: gd.arange([1, 2]), OpError, "single numbers"),
    (lambda x: gd.eye(-1), ShapeError, "count of rows is an integer that is at least 0, not -1"),
    (lambda x: gd.eye(2, 1.5), ShapeError, "count of columns"),
    (lambda x: gd.eye(2, k=0.5), ShapeError, "number of a diagonal"),
    (lambda x: gd.zeros(2.5), ShapeError, "zeros: a length of a shape is an integer that is at least 0, not 2.5"),
    (lambda x: gd.ones((2, -1)), ShapeError, "ones: a length"),
    (lambda x: gd.full("ab", 1.0), ShapeError, "full: a length"),
    (lambda x: gd.zeros(2, dtype="zz"), DTypeError, "no dtype"),
    (lambda x: gd.linspace(0, 1, -1), ShapeError, "count of numbers"),
    (lambda x: gd.linspace(0, 1j), DTypeError, "complex"),
    (lambda x: gd.random.normal(2.5, seed=0), ShapeError, "a length"),
    (lambda x: gd.random.permutation(-1, seed=0), ShapeError, "the count"),
    (lambda x: gd.split(x, -2), ShapeError, "count of parts is an integer that is at least 1, not -2"),
    (lambda x: gd.split(x, 0), ShapeError, "count of parts"),
    (lambda x: gd.split(x, [0.5]), ShapeError, "split: an index"),
    (lambda x: gd.repeat(x, -1), ShapeError, "repeat: a count is an integer that is at least 0, not -1"),
    (lambda x: gd.repeat(x, 1.5), ShapeError, "repeat: a count"),
    (lambda x: gd.repeat(x, [1, 2], axis=1), ShapeError, "2 counts for 3 elements"),
    (lambda x: gd.roll(x, 1.5), ShapeError, "roll: a shift is an integer, not 1.5"),
    (lambda x: gd.roll(x, (1, 2, 3), axis=(0, 1)), ShapeError, "3 shifts for 2 axes"),
    (lambda x: gd.tile(x, -1), ShapeError, "tile: a count"),
    (lambda x: gd.tile(x, "a"), ShapeError, "tile: a count"),
    (lambda x: gd.pad(x, -1), ShapeError, "no pair of widths"),
    (lambda x: gd.pad(x[0, 0, 0], [1, 2, 3]), ShapeError, "no pair of widths"),
    (lambda x: gd.reshape(x, 2.0), ShapeError, "reshape: a length"),
    (lambda x: x.reshape("a"), ShapeError, "reshape: a length"),
    (lambda x: gd.broadcast_to(x, (2.0, 3, 4)), ShapeError, "broadcast_to: a length"),
    (lambda x: gd.transpose(x, 1), ShapeError, "no permutation"),
    (lambda x: gd.transpose(x, (0, 1.0, 2)), ShapeError, "an axis is an integer"),
    (lambda x: gd.moveaxis(x, None, 0), ShapeError, "an axis is an integer, not None"),
    (lambda x: gd.squeeze(x[:1, :1], (0, 0)), ShapeError, "named twice"),
    (lambda x: gd.flip(x, (0, 0)), ShapeError, "named twice"),
    (lambda x: gd.sum(x, axis=True), ShapeError, "an axis is an integer"),
    (lambda x: gd.sum(x, axis="a"), ShapeError, "sum"),
    (lambda x: gd.concatenate(3.0), ShapeError, "concatenate takes a sequence of tensors, not 3.0"),
    (lambda x: gd.stack(3), ShapeError, "stack takes a sequence"),
    (lambda x: gd.stack([]), ShapeError, "nothing to join"),
    (lambda x: gd.vstack(1.0), ShapeError, "vstack takes a sequence"),
    (lambda x: gd.concat([x[0, 0, 0], x[0, 0, 1:]]), ShapeError, "is 0-d and has no axis to join along; gd.stack"),
    (lambda x: gd.tensordot(x, x, axes=-1), ShapeError, "number of axes"),
    (lambda x: gd.tensordot(x, x, axes=4), ShapeError, "have no 4 axes"),
    (lambda x: gd.tensordot(x, x, axes=((0, 0), (0, 0))), ShapeError, "named twice"),
    (lambda x: gd.tensordot(x, x, axes=((0, 1), (0,))), ShapeError, "do not pair up"),
    (lambda x: gd.tensordot(x, x, axes="ab"), ShapeError, "number of axes"),
    (lambda x: gd.vecdot([1.0, 2.0, 3.0], [2.0]), ShapeError, "differ in length along axis -1"),
    (lambda x: gd.vdot(x, x[0]), ShapeError, "differ in size"),
    (lambda x: gd.diff(x, 1.5), ShapeError, "number of times"),
    (lambda x: gd.diagonal(x, 0, 1, 1), ShapeError, "are the same"),
    (lambda x: gd.diagonal(x[0, 0]), ShapeError, "takes matrices"),
    (lambda x: gd.diagonal(x, 0.5), ShapeError, "offset"),
    (lambda x: gd.tril(x, 1.5), ShapeError, "number of a diagonal"),
    (lambda x: gd.diag(x[0, 0], "a"), ShapeError, "number of a diagonal"),
    (lambda x: gd.one_hot([0], -1), ShapeError, "count of classes"),
    (lambda x: gd.one_hot([0], 2.5), ShapeError, "count of classes"),
    (lambda x: gd.var(x, ddof=1, correction=1), OpError, "two names of one number"),
    (lambda x: gd.std(x, ddof="a"), OpError, "correction is a number"),
    (lambda x: gd.average(x[0, 0], weights=np.zeros(4)), OpError, "weights sum up to 0"),
    (lambda x: gd.average(x, axis=0, weights=[1.0, -1.0]), OpError, "weights sum up to 0"),
    (lambda x: gd.average(x, weights=np.ones(4)), ShapeError, "neither the shape of"),
    (lambda x: gd.average(x, axis=1, weights=[1.0]), ShapeError, "1 weights for 3 places"),
    (lambda x: gd.norm(x, axis=()), ShapeError, "no axis"),
    (lambda x: gd.norm(x, np.ones(2)), OpError, "an order is a number"),
    (lambda x: gd.linalg.qr(x, np.ones(2)), OpError, "only mode"),
    (lambda x: gd.astype(x, "1+1j]"), DTypeError, "no dtype"),
    (lambda x: gd.constant(np.ones(2, "int8")) * 1000, DTypeError, "1000 beside a tensor of int8"),
    (lambda x: gd.constant(np.ma.masked_array([1.0, 2.0], [0, 1])), DTypeError, r"array\.filled"),
    (lambda x: gd.sum(np.ma.masked_array([1.0, 2.0], [0, 1])), DTypeError, r"array\.filled"),
    (lambda x: x * np.ma.masked_array(np.ones(4)), DTypeError, r"array\.filled"),
    (lambda x: gd.variable([1.0, 2.0]).assign(np.ma.masked_array([1.0, 2.0], [0, 1])), DTypeError, r"array\.filled"),
]


@pytest.mark.parametrize(("call", "kind", "said"), REFUSED)
def test_what_is_refused(call: Any, kind: Any, said: str) -> None:
    with pytest.raises(kind, match=said) as caught:
        call(gd.constant(X))
    assert isinstance(caught.value, GraphDiffError)


# Masks ---------------------------------------------------------------------------------------------------------------


def test_a_mask_has_the_shape_of_what_it_covers() -> None:
    shapes = [(4,), (1,), (2,), (3,), (2, 3), (3, 4), (2, 3, 4), (1, 3), (0,), (2, 3, 4, 1)]
    for shape, place in itertools.product(shapes, range(6)):
        mask = np.arange(int(np.prod(shape))).reshape(shape) % 2 == 0
        index = (mask, (mask, ...), (..., mask), (0, mask), (slice(None), mask), (None, mask))[place]
        x = gd.constant(X)
        try:
            expected = X[index]
        except IndexError:
            with pytest.raises(IndexOutsideError):
                x[index]
            with pytest.raises(IndexOutsideError):
                gd.grad(lambda x, index=index: gd.sum(x[index]))(X)
            with pytest.raises(GraphDiffError):
                gd.compile(lambda x, index=index: x[index])(X)
            with pytest.raises(IndexOutsideError):
                gd.at(x, index).set(0.0)
        else:
            np.testing.assert_array_equal(x[index].numpy(), expected)


# Complex numbers -----------------------------------------------------------------------------------------------------


DROPPING = (
    "cholesky det eigh eigvalsh inv norm pinv qr slogdet svd svdvals vecdot solve median std var logsumexp softmax "
    "log_softmax vdot cbrt erf gelu quantile percentile"
)


@pytest.mark.parametrize("name", DROPPING.split())
def test_what_would_drop_the_imaginary_part_is_refused(name: str) -> None:
    function = getattr(gd.linalg, name, None) or getattr(gd, name)
    arguments = {"solve": (Z, Z[0]), "vdot": (Z, Z), "vecdot": (Z, Z), "quantile": (Z, 0.5), "percentile": (Z, 5)}
    options = {"full_matrices": False} if name == "svd" else {}
    with pytest.raises(DTypeError, match=r"real numbers|complex"):
        function(*arguments.get(name, (Z,)), **options)
    if name == "solve":
        with pytest.raises(DTypeError):
            gd.solve(Z.real, Z)
    if name in ("vdot", "vecdot"):
        with pytest.raises(DTypeError):
            function(Z.real, Z)


@pytest.mark.parametrize("function", [np.linalg.det, np.linalg.inv, np.std, np.linalg.norm, np.linalg.svdvals])
def test_numpys_own_functions_take_complex_constants(function: Any) -> None:
    np.testing.assert_allclose(np.asarray(function(gd.constant(Z))), function(Z), rtol=1e-12)


@pytest.mark.parametrize("power", [0, 1, 3])
def test_powers_of_complex_matrices(power: int) -> None:
    np.testing.assert_allclose(gd.linalg.matrix_power(Z, power).numpy(), np.linalg.matrix_power(Z, power))
    with pytest.raises(DTypeError):
        gd.linalg.matrix_power(Z, -1)


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "cumsum", "cumprod", "exp", "sqrt", "abs", "square", "sin"])
def test_what_is_right_for_complex_numbers_stays(name: str) -> None:
    np.testing.assert_allclose(getattr(gd, name)(Z).numpy(), getattr(np, name)(Z), rtol=1e-12)


# Stacks of matrices --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 1, -2])
def test_traces_of_stacks_are_the_standards_in_linalg_and_numpys_elsewhere(offset: int) -> None:
    x = gd.constant(X)
    same(gd.linalg.trace(x, offset=offset), np.linalg.trace(X, offset=offset))
    same(gd.linalg.diagonal(x, offset=offset), np.linalg.diagonal(X, offset=offset))
    same(np.linalg.trace(x, offset=offset), np.linalg.trace(X, offset=offset))
    same(np.trace(x, offset), np.trace(X, offset))
    same(x.trace(offset), X.trace(offset))
    same(gd.diagonal(x, offset), np.diagonal(X, offset))
    same(gd.linalg.trace(X > 0, dtype="int8"), np.linalg.trace(X > 0, dtype="int8"))


# Functions that take functions, and layers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: gd.vmap([]), "vmap takes a function"),
        (lambda: gd.check_grads(1.0, 2.0), "check_grads takes a function"),
        (lambda: gd.cost("f", 1.0), "cost takes a function"),
        (lambda: gd.checkpoint_chain([1.0], 2), "checkpoint_chain takes a function"),
        (lambda: gd.checkpoint_chain([gd.sin], 1.5), "snapshots is an integer"),
        (lambda: gd.jacobian(gd.sin, [])(1.0), "argnums names no argument"),
        (lambda: gd.adjoints("x"), "the output of adjoints is a Tensor, not 'x'"),
        (lambda: gd.adjoints(gd.variable(1.0) * 2, wrt=3), "wrt takes a sequence of tensors"),
        (lambda: gd.adjoints(gd.variable(1.0) * 2, wrt=[3]), "what is in wrt is a Tensor, not 3"),
        (lambda: gd.tangents(gd.variable(1.0), {"x": 1.0}), "a Tensor, not 'x'"),
        (lambda: gd.tangents([1.0], {}), "an output of tangents is a Tensor"),
        (lambda: gd.Graph(gd.variable(1.0), "x"), "an input of a graph is a Tensor, not 'x'"),
        (lambda: gd.paths("x", "y"), "the end of a path is a Tensor"),
        (lambda: gd.get_backend([]), "a backend is given by its name"),
        (lambda: gd.placeholder(2.5), "a length of a shape"),
        (lambda: gd.percentile(X, "a"), "numbers and booleans only"),
        (lambda: gd.full_like(X, "a"), "numbers and booleans only"),
        (lambda: gd.nn.Linear(2.5), "out_features is an integer that is at least 1, not 2.5"),
        (lambda: gd.nn.Linear(2, "a"), "in_features is an integer"),
        (lambda: gd.nn.Linear(2, init=[]), r"no initialiser \[\]"),
        (lambda: gd.nn.MLP("a"), "the width of a layer is an integer that is at least 1, not 'a'"),
        (lambda: gd.nn.MLP([3, 2], []), r"no activation \[\]"),
        (lambda: gd.nn.Dropout("0.5"), "p is a probability, not '0.5'"),
        (lambda: gd.nn.BatchNorm("a"), "features is an integer"),
        (lambda: gd.nn.LayerNorm(1.5), "features is an integer"),
        (lambda: gd.nn.PReLU("a"), "features is an integer"),
        (lambda: gd.nn.Embedding(2.0, 3), "count is an integer"),
        (lambda: gd.nn.Maxout(3, "a"), "pieces"),
        (lambda: gd.nn.Highway("a"), "width is an integer"),
        (lambda: gd.nn.Highway(3, gate_bias="a"), "gate_bias is a number"),
        (lambda: gd.nn.Activation([]), "no activation"),
        (lambda: gd.nn.huber([1.0], [1.0], delta="a"), "delta is a number"),
        (lambda: gd.nn.l1_penalty(3), "a penalty takes a sequence"),
        (lambda: gd.nn.l2_penalty([X], "a"), "strength of a penalty is a number"),
        (lambda: gd.nn.softmax_cross_entropy(X[0], [0, 1, 1], label_smoothing="a"), "label_smoothing is a number"),
        (lambda: gd.nn.summary(3, 2), "a summary is of a gd.nn.Module"),
    ],
)
def test_clear_errors_where_python_would_say_something(call: Any, said: str) -> None:
    with pytest.raises(GraphDiffError, match=said):
        call()


def test_numpys_integers_make_layers() -> None:
    model = gd.nn.MLP(np.array([4, 3]), in_features=np.int64(2))
    assert model(np.ones((5, 2))).shape == (5, 3)
    assert type(model[0].out_features) is int


def test_weights_of_classes_by_their_numbers() -> None:
    logits, labels = X[0], [0, 1, 3]
    loss = gd.nn.softmax_cross_entropy(logits, labels, class_weights={0: 2.0, 3: 0.5})
    assert loss.item() == gd.nn.softmax_cross_entropy(logits, labels, class_weights=[2.0, 1.0, 1.0, 0.5]).item()
    for wrong in ({4: 1.0}, {"0": 1.0}, {-1: 1.0}):
        with pytest.raises(GraphDiffError, match="the classes are 0 … 3"):
            gd.nn.softmax_cross_entropy(logits, labels, class_weights=wrong)
    with pytest.raises(GraphDiffError, match="the weight of class 0 is a number"):
        gd.nn.softmax_cross_entropy(logits, labels, class_weights={0: "a"})


def test_axes_of_the_parts_of_an_argument() -> None:
    rows, columns = X[0], X[1].T
    add = lambda p, y: p["a"] * y + p["b"][0] + p["b"][1]  # noqa: E731
    mapped = gd.vmap(add, in_axes=({"a": 0, "b": (1, None)}, None))
    expected = [rows[i] * 2.0 + columns[:, i] + 1.0 for i in range(3)]
    np.testing.assert_allclose(mapped({"a": rows, "b": (columns, 1.0)}, 2.0).numpy(), expected)
    np.testing.assert_allclose(gd.vmap(gd.sin, in_axes=np.int64(1))(rows).numpy(), np.sin(rows.T))
    for axes in (({"a": 0},), ({"c": 0},), ((0, 0),), ([0],), ("a",), (1.5,)):
        with pytest.raises(ShapeError, match="vmap"):
            gd.vmap(lambda p: p["b"], in_axes=axes)({"b": rows, "c": rows})
    with pytest.raises(ShapeError, match="the axis of the outputs"):
        gd.vmap(gd.sin, out_axes="a")


def test_squares_of_lengths_are_numpys() -> None:
    v = gd.variable(1.5)
    turning = gd.exp(1j * v)
    same(gd.abs(turning) ** 2, np.float64(1.0))
    for dtype in ("int8", "int64", "uint8"):
        x, y = np.array([3, 100]).astype(dtype), np.array([4, 100]).astype(dtype)
        compiled = gd.compile(lambda x, y: (gd.abs(x) ** 2, gd.hypot(x, y) ** 2))(x, y)
        for found, expected in zip(compiled, (np.abs(x) ** 2, np.hypot(x, y) ** 2), strict=True):
            assert found.dtype == expected.dtype
            np.testing.assert_allclose(found.numpy(), expected, rtol=1e-3)


def test_masks_are_not_lost_anywhere() -> None:
    masked = np.ma.masked_array(np.ones((6, 2)), mask=np.eye(6, 2, dtype=bool))
    twice = gd.compile(lambda x: x * 2)
    twice(np.ones((6, 2)))
    twice(np.ones((6, 2)))
    x = gd.placeholder((6, 2))

    def fitted(inputs: Any, targets: Any) -> Any:
        model = gd.nn.Linear(1, in_features=2)
        optimizer = gd.optim.SGD(model.parameters(), lr=0.1)
        return gd.train.fit(model, gd.nn.squared_error, (inputs, targets), optimizer, epochs=1, progress=False)

    for call in (
        lambda: twice(masked),
        lambda: gd.Graph(x * 2).evaluate({x: masked}),
        lambda: gd.constant([masked, masked]),
        lambda: gd.ones(3)[np.ma.masked_array([0, 1], [0, 1])],
        lambda: gd.take(gd.ones(3), np.ma.masked_array([0, 1], [0, 1])),
        lambda: fitted(masked, np.ones((6, 1))),
        lambda: fitted(np.ones((6, 2)), masked[:, :1]),
    ):
        with pytest.raises(GraphDiffError, match=r"array\.filled"):
            call()


PAIR = np.array([1.0, 2.0])
BRANCH = gd.Graph(gd.sin(gd.variable(1.0)) * 2)
LOGITS, CLASSES = np.zeros((3, 2)), np.array([0, 1, 0])
NO_ARRAYS: dict[str, Callable[[Any], Any]] = {
    **{
        f"elimination_order: {name}": lambda given, name=name: gd.elimination_order(BRANCH, **{name: given})
        for name in ("method", "kind", "ties", "time_limit", "seed", "cache")
    },
    **{
        f"{layer}: affine": lambda given, layer=layer: getattr(gd.nn, layer)(affine=given)(LOGITS)
        for layer in ("BatchNorm", "LayerNorm")
    },
    "Linear: bias": lambda given: gd.nn.Linear(2, bias=given)(LOGITS),
    "Linear: gain": lambda given: gd.nn.Linear(2, gain=given)(LOGITS),
    "label_smoothing": lambda given: gd.nn.softmax_cross_entropy(LOGITS, CLASSES, label_smoothing=given),
    "SGD: nesterov": lambda given: gd.optim.SGD([gd.variable(1.0)], 0.1, momentum=0.9, nesterov=given),
    "SGD: averaged": lambda given: gd.optim.SGD([gd.variable(1.0)], 0.1, momentum=0.9, averaged=given),
    "Adam: eps_inside_sqrt": lambda given: gd.optim.Adam([gd.variable(1.0)], 0.1, eps_inside_sqrt=given),
    "RMSProp: centered": lambda given: gd.optim.RMSProp([gd.variable(1.0)], 0.1, centered=given),
}


@pytest.mark.parametrize("given", [PAIR, gd.constant(PAIR), "yes", [True]], ids=["array", "tensor", "text", "list"])
@pytest.mark.parametrize("name", NO_ARRAYS)
def test_one_number_or_truth_value_is_asked_for_by_name(name: str, given: Any) -> None:
    with pytest.raises(GraphDiffError) as raised:
        NO_ARRAYS[name](given)
    told = str(raised.value)
    assert "truth value" not in told
    assert "bool()" not in told
    assert name.rpartition(": ")[2].replace("_", " ").split()[0] in told.replace("_", " ")


def test_truth_values_of_numpy_and_numbers_will_do() -> None:
    assert hasattr(gd.nn.Linear(2, 2, bias=np.True_), "bias")
    assert not hasattr(gd.nn.Linear(2, 2, bias=0), "bias")
    assert gd.optim.SGD([gd.variable(1.0)], 0.1, momentum=0.9, nesterov=np.bool_(True)).nesterov
