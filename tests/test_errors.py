"""Every bad input gives an error that names what was wrong, and changes nothing."""

import builtins
import importlib.util
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from test_toy_backend import STRICT

import graphdiff as gd
from graphdiff import errors

NAN = float("nan")


def line() -> int:
    """Return the number of the line that calls this."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_derives_from_the_base_and_from_a_builtin(name: str) -> None:
    error = getattr(errors, name)
    assert issubclass(error, gd.GraphDiffError)
    assert error.__doc__
    if error is not gd.GraphDiffError:
        special = [base for base in error.__mro__ if getattr(builtins, base.__name__, None) is base]
        assert special[0] is not Exception


def test_the_list_of_errors_is_complete() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    assert sorted(c.__name__ for c in classes) == sorted(errors.__all__)


# What an error says ------------------------------------------------------------


@pytest.mark.parametrize(
    ("apply", "op"),
    [
        (lambda a, b: a + b, "add"),
        (gd.maximum, "maximum"),
        (lambda a, b: a @ b, "matmul"),
        (lambda a, b: gd.concatenate([gd.expand_dims(a, 0), b.reshape(4, 1)], axis=0), "concatenate"),
        (lambda a, b: gd.where(a > 0, a, b), "where"),
        (lambda a, b: gd.einsum("i,i->i", a, b), "einsum"),
    ],
)
@pytest.mark.parametrize("pure", [False, True], ids=["values", "placeholders"])
def test_mismatched_shapes_name_the_operands_and_their_lines(apply: Callable[..., Any], op: str, pure: bool) -> None:
    made = [line() + 1, line() + 2]
    a = gd.placeholder(3, name="height") if pure else gd.variable(np.ones(3), name="height")
    b = gd.placeholder(4, name="width") if pure else gd.variable(np.ones(4), name="width")
    with pytest.raises(errors.ShapeError) as caught:
        apply(a, b)
    message = str(caught.value)
    assert op in message
    if op != "concatenate":  # its operands are expressions, shown by their op
        for name, shape in (("height", "[3]"), ("width", "[4]")):
            assert f"{name!r} float64{shape}" in message
        for number in made:
            assert f"{__file__}:{number}" in message
    else:
        assert "[1, 3]" in message
        assert "[4, 1]" in message


def test_an_unnamed_operand_is_shown_by_its_op_and_line() -> None:
    a = gd.exp(gd.variable(np.ones(3)))
    number = line() - 1
    with pytest.raises(ValueError, match=r"exp float64") as caught:
        a * np.ones(2)
    assert f"{__file__}:{number}" in str(caught.value)


@pytest.mark.parametrize(
    "apply",
    [
        lambda x: x & 1,
        lambda x: ~x,
        lambda x: x[x],
        lambda x: range(x),
        lambda x: x + "one",
        lambda x: x == None,  # noqa: E711
        lambda x: gd.variable(["one", "two"]),
        lambda x: gd.variable(object()),
        lambda x: gd.variable([True]) - gd.variable([True]),
    ],
    ids=["and", "invert", "index", "range", "add text", "compare None", "text", "object", "subtract booleans"],
)
def test_wrong_dtypes(apply: Callable[..., Any]) -> None:
    with pytest.raises(TypeError) as caught:
        apply(gd.variable(1.5, name="speed"))
    assert isinstance(caught.value, gd.GraphDiffError)
    assert any(word in str(caught.value) for word in ("float64", "<U", "object", "bool"))


@pytest.mark.parametrize(
    "values",
    [
        np.array("text"),
        np.array(["one", "two"]),
        np.array([1, None], dtype=object),
        np.array("2026-01-01", dtype="datetime64[D]"),
        np.timedelta64(3, "s"),
        np.zeros(2, dtype=[("x", "f8"), ("y", "f8")]),
        np.bytes_(b"raw"),
    ],
    ids=["text", "texts", "object", "date", "duration", "structure", "bytes"],
)
def test_tensors_are_of_numbers(values: Any) -> None:
    x = gd.variable(1.0)
    for make in (gd.variable, gd.constant, gd.op.as_tensor):
        with pytest.raises(errors.DTypeError, match=r"cannot make a tensor of .* data: numbers and booleans only"):
            make(values)
    with pytest.raises(errors.DTypeError, match="numbers and booleans only"):
        x + values
    with pytest.raises(errors.DTypeError):
        x.value = values
    assert x.item() == 1.0


@pytest.mark.parametrize("dtype", ["U5", "O", "datetime64[s]", "S3", [("x", "f8")]])
def test_dtypes_are_those_of_numbers(dtype: Any) -> None:
    kind_of = np.dtype(dtype)
    for make in (
        lambda: gd.variable(1.0, dtype=kind_of),
        lambda: gd.placeholder((), dtype=kind_of),
        lambda: gd.constant(1.0).astype(kind_of),
        lambda: gd.zeros(2, dtype=kind_of),
    ):
        with pytest.raises(errors.DTypeError, match="numbers and booleans only"):
            make()


def test_a_misspelt_dtype_is_named() -> None:
    for make in (lambda: gd.variable(1.0, dtype="flaot32"), lambda: gd.nn.Linear(2, in_features=1, dtype="flaot32")):
        with pytest.raises(errors.DTypeError, match="'flaot32' is no dtype that tensors can have"):
            make()


@pytest.mark.parametrize("order", ["nucleus", float("nan"), 1j, [2]])
def test_an_order_of_a_norm_is_a_number(order: Any) -> None:
    with pytest.raises(errors.OpError, match=r'norm: an order is a number, "fro", "nuc" or None, not'):
        gd.linalg.norm(gd.variable(np.ones(3)), order)


@pytest.mark.parametrize(("shape", "order"), [((3,), "nuc"), ((3, 3), 3), ((2, 2, 2), 1)])
def test_an_order_of_a_norm_fits_the_axes(shape: tuple[int, ...], order: Any) -> None:
    with pytest.raises(errors.ShapeError, match="norm: "):
        gd.linalg.norm(gd.variable(np.ones(shape)), order)


def test_ranks_and_decompositions_say_what_they_take() -> None:
    row = gd.variable(np.ones(3), name="row")
    for call in (gd.linalg.svdvals, gd.linalg.qr, gd.linalg.pinv, lambda x: gd.linalg.matrix_power(x, 2)):
        with pytest.raises(errors.ShapeError, match=r"takes .*matrices, not 'row'"):
            call(row)
    for count in (-1, 4, 1.0):
        with pytest.raises(errors.ShapeError, match="topk: there are 3 elements along axis -1 of 'row'"):
            gd.topk(row, count)  # type: ignore[arg-type]
    with pytest.raises(errors.ShapeError, match="has no elements along 0"):
        gd.median(np.zeros((0, 2)), 0)


def test_an_index_outside_its_axis_is_an_index_error_too() -> None:
    x = gd.variable(np.zeros((2, 3)), name="table")
    for index in (2, (0, 3), (0, 0, 0)):
        with pytest.raises(errors.ShapeError, match=r"'table' float64"):
            x[index]
    with pytest.raises(IndexError):
        x[2]


# Derivatives ------------------------------------------------------------


def test_a_non_scalar_needs_a_seed() -> None:
    w = gd.variable([1.0, 2.0], name="w")
    w.grad = np.array([7.0, 7.0])
    product = (w * 2).named("product")
    number = line() - 1
    with pytest.raises(errors.NonScalarError, match=r"'product' float64\[2\].*seed.*gd\.sum") as caught:
        product.backward()
    assert f"{__file__}:{number}" in str(caught.value)
    with pytest.raises(errors.ShapeError, match=r"seed float64\[3\].*'product' float64\[2\]"):
        product.backward(np.ones(3))
    with pytest.raises(errors.NonScalarError):
        gd.grad(lambda x: x * 2)(np.ones(2))
    assert w.grad.tolist() == [7.0, 7.0]


@pytest.mark.parametrize(
    "differentiate",
    [
        lambda: gd.variable(2, name="count").backward(),
        lambda: (gd.variable(2, name="count") * 1.5).backward(),
        lambda: gd.grad(lambda x: x * x)(gd.constant(2, name="count")),
        lambda: gd.jacobian(lambda x: x * x)(gd.constant([1, 2], name="count")),
        lambda: gd.jvp(lambda x: x, (gd.constant(True, name="count"),), (1.0,)),
        lambda: gd.jacobian(lambda x: (x > 0).named("count"))(np.ones(2)),
    ],
    ids=["backward", "times a number", "grad", "jacobian", "jvp", "boolean output"],
)
def test_integers_and_booleans_carry_no_gradient(differentiate: Callable[[], Any]) -> None:
    with pytest.raises(errors.DTypeError, match=r"'count' (int64|bool)") as caught:
        differentiate()
    assert "floating" in str(caught.value)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: gd.grad(lambda x: x, argnums=1)(1.0), errors.GraphError, "argument 1.*called with 1"),
        (lambda: gd.grad(lambda x: "text")(1.0), errors.GraphError, "not str"),
        (lambda: gd.jacobian(gd.sin, mode="sideways"), errors.GraphError, "sideways"),
        (lambda: gd.jvp(gd.sin, (1.0,), ()), errors.ShapeError, "1 arguments and 0 tangents"),
        (lambda: gd.jvp(gd.sin, (1.0,), (np.ones(2),)), errors.ShapeError, r"float64\[2\]"),
        (lambda: gd.vjp(gd.sin, 1.0)[1]((1.0, 2.0)), errors.ShapeError, r"seed float64\[2\].*shape of sin float64\[\]"),
        (lambda: gd.vmap(gd.sin)(1.0), errors.ShapeError, "0-d.*in_axes=None"),
        (lambda: gd.vmap(gd.add)(np.ones(2), np.ones(3)), errors.ShapeError, r"\[2, 3\]"),
        (lambda: gd.vmap(gd.add, in_axes=(0,))(np.ones(2), np.ones(2)), errors.ShapeError, "names 1 arguments.*2"),
        (lambda: gd.tangents(x := gd.variable(1.0, name="x"), {x: np.ones(2)}), errors.ShapeError, "'x' float64"),
        (
            lambda: gd.tangents(gd.variable([1.0]), {gd.constant([1]): [1.0]}),
            errors.DTypeError,
            r"int64\[1\].*no tangent",
        ),
        (lambda: gd.tangents([], {}), errors.GraphError, "at least one output"),
        (lambda: gd.tangents(x := gd.variable(1.0), x), errors.GraphError, "map nodes.*no Variable"),
        (lambda: gd.jacobian(lambda x: ())(1.0), errors.GraphError, "returned nothing"),
        (lambda: gd.jvp(lambda x: [], (1.0,), (1.0,)), errors.GraphError, "returned nothing"),
        (lambda: gd.constant(1.0).backward(), errors.DTypeError, "depends on no variable"),
        (lambda: gd.op.elementwise("tanh", 1), errors.OpError, "already is an op 'tanh' of graphdiff"),
        (lambda: gd.op.elementwise("nothing"), errors.OpError, "'nothing' declares no argument"),
        (lambda: gd.placeholder((2, -1)), errors.ShapeError, "-1"),
    ],
)
def test_bad_calls(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


# What has no value, what cannot be changed ------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.__setitem__(0, 1.0),
        lambda t: setattr(t, "value", np.zeros(2)),
    ],
    ids=["item", "value"],
)
def test_tensors_cannot_be_changed(change: Callable[[Any], Any]) -> None:
    x = gd.variable([1.0, 2.0])
    product = (x * 2).named("product")
    with pytest.raises(errors.ImmutableError, match=r"'product' float64"):
        change(product)
    assert product.tolist() == [2.0, 4.0]


def test_a_variable_is_not_assigned_by_item() -> None:
    x = gd.variable([1.0, 2.0], name="x")
    with pytest.raises(TypeError, match=r"'x' float64\[2\].*gd\.at"):
        x[0] = 1
    assert x.tolist() == [1.0, 2.0]
    assert x.version == 0


def test_the_truth_of_a_pure_graph() -> None:
    x = gd.placeholder((), name="speed")
    with pytest.raises(errors.NoValueError, match=r"'speed'.*gd\.where"):
        bool(x > 0)
    with pytest.raises(errors.ShapeError, match=r"single element"):
        bool(gd.variable([1.0, 2.0]))


@pytest.mark.parametrize(
    "ask",
    [
        lambda y: y.value,
        float,
        np.asarray,
        lambda y: y.tolist(),
        lambda y: y.backward(),
        lambda y: gd.Graph(y).evaluate(),
        lambda y: gd.variable(1.0).assign(y),
    ],
    ids=["value", "float", "asarray", "tolist", "backward", "evaluate", "assign"],
)
def test_an_unfed_placeholder_is_named(ask: Callable[[Any], Any]) -> None:
    w = gd.variable(2.0, name="w")
    y = gd.placeholder((), name="speed") * w
    with pytest.raises(errors.NoValueError, match=r"'speed'"):
        ask(y)
    assert w.grad is None


# Backends ------------------------------------------------------------


@pytest.fixture
def strict_tensor() -> Iterator[Any]:
    with gd.use_backend(STRICT):
        yield gd.variable([1.0, 2.0], name="there")


def test_an_unknown_backend_is_named_with_the_known_ones() -> None:
    before = gd.current_backend()
    with pytest.raises(errors.BackendError, match=r"'abacus'.*cupy, numpy"):
        gd.use_backend("abacus")
    assert gd.current_backend() is before


@pytest.mark.skipif(importlib.util.find_spec("cupy") is not None, reason="CuPy is installed")
def test_a_backend_that_is_not_installed_says_how_to_install_it() -> None:
    before = gd.current_backend()
    with pytest.raises(errors.BackendNotInstalledError, match=r'cupy.*pip install "graphdiff\[cuda12\]"'):
        gd.use_backend("cupy")
    assert gd.current_backend() is before
    assert "pip install" in gd.backends()["cupy"]


@pytest.mark.parametrize(
    "mix",
    [
        lambda here, there: here + there,
        lambda here, there: there @ here,
        lambda here, there: gd.concatenate([here, there]),
        lambda here, there: gd.where(here > 0, here, there),
        lambda here, there: here.assign(there),
        lambda here, there: (here * 2).backward(there),
        lambda here, there: gd.Graph(here * 2).evaluate({here: there}),
        lambda here, there: gd.tangents(here * 2, {here: there}),
        lambda here, there: gd.jvp(gd.sin, (here,), (there,)),
    ],
    ids=["add", "matmul", "concatenate", "where", "assign", "seed", "evaluate", "tangents", "jvp"],
)
def test_two_backends_do_not_mix(mix: Callable[..., Any], strict_tensor: Any) -> None:
    with gd.use_backend("numpy"):
        here = gd.variable([3.0, 4.0], name="here")
    with pytest.raises(errors.BackendError, match=r"here.*numpy|there.*strict") as caught:
        mix(here, strict_tensor)
    assert "strict" in str(caught.value)
    assert (here.tolist(), here.version, here.grad) == ([3.0, 4.0], 0, None)


def test_moving_a_tensor_makes_the_mixture_work(strict_tensor: Any) -> None:
    with gd.use_backend("numpy"):
        assert (gd.variable([3.0, 4.0]) + strict_tensor.to("numpy")).tolist() == [4.0, 6.0]


# Variables ------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (np.ones(3), errors.ShapeError),
        (1.0, errors.ShapeError),
        ([1j, 2j], errors.DTypeError),
        (["one", "two"], errors.DTypeError),
        ([[1.0], [2.0, 3.0]], errors.ShapeError),
    ],
    ids=["shape", "scalar", "complex", "text", "ragged"],
)
def test_a_failing_assignment_leaves_the_variable_as_it_was(value: Any, error: type[Exception]) -> None:
    w = gd.variable([1.0, 2.0], name="w")
    doubled = w * 2
    with pytest.raises(error, match=r"'w' float64"):
        w.assign(value)
    with pytest.raises(error, match=r"'w' float64"):
        w.value = value
    assert (w.tolist(), w.version) == ([1.0, 2.0], 0)
    gd.sum(doubled).backward()  # not stale
    assert w.grad.tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    "use",
    [
        lambda loss, w: loss.backward(),
        lambda loss, w: gd.adjoints(loss),
        lambda loss, w: gd.tangents(loss, {w: 1.0}),
        lambda loss, w: gd.optim.SGD([w], lr=0.1).minimize(loss),
    ],
    ids=["backward", "adjoints", "tangents", "minimize"],
)
def test_a_stale_graph_is_refused(use: Callable[..., Any]) -> None:
    w = gd.variable(3.0, name="w")
    squared = w * w
    number = line() - 1
    loss = squared + 1
    w.assign(4.0)
    with pytest.raises(errors.StaleError, match=r"variable 'w' float64") as caught:
        use(loss, w)
    assert f"{__file__}:{number}" in str(caught.value)
    assert "Graph(output).evaluate()" in str(caught.value)
    assert (w.item(), w.grad, w.version) == (4.0, None, 1)
    assert gd.Graph(loss).evaluate() == 17.0


# Optimisers ------------------------------------------------------------

w = gd.variable([1.0, 2.0], name="w")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: gd.optim.SGD([w], lr=-1.0), errors.OpError, "lr cannot be -1.0"),
        (lambda: gd.optim.SGD([w], lr=NAN), errors.OpError, "lr cannot be nan"),
        (lambda: gd.optim.Adam([w], lr=float("inf")), errors.OpError, "lr cannot be inf"),
        (lambda: gd.optim.SGD([w], lr=0.1, momentum=-0.5), errors.OpError, "momentum cannot be -0.5"),
        (lambda: gd.optim.SGD([w], lr=0.1, nesterov=True), errors.OpError, "Nesterov"),
        (lambda: gd.optim.Adam([w], betas=(0.9, 1.0)), errors.OpError, "beta cannot be 1.0"),
        (lambda: gd.optim.Adam([w], eps=-1e-8), errors.OpError, "eps cannot be -1e-08"),
        (lambda: gd.optim.Adam([w]).scale_loss(0.5), errors.OpError, "start cannot be 0.5"),
        (lambda: gd.optim.Adam([w]).scale_loss(backoff=1.0), errors.OpError, "backoff cannot be 1.0"),
        (lambda: gd.optim.Adam([]), errors.GraphError, "at least one parameter"),
        (lambda: gd.optim.Adam([w, w]), errors.GraphError, "twice"),
        (lambda: gd.optim.Adam([gd.constant(1.0, name="c")]), errors.DTypeError, "name='c'"),
        (lambda: gd.optim.Adam([gd.variable(1, name="n")]), errors.DTypeError, "name='n'.*int64"),
        (lambda: gd.optim.Adam([w, np.ones(2)]), errors.DTypeError, "variables, not array"),
    ],
)
def test_an_optimiser_refuses(make: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


class Breaks(gd.optim.Optimizer):
    """A rule that fails for the second of two dtypes."""

    states = 1

    def rule(self, F: Any, value: Any, gradient: Any, state: Any, steps: Any, lr: Any) -> tuple[Any, ...]:
        if value.dtype == np.float32:
            raise ZeroDivisionError("broken rule")
        return value - gradient, gradient


@pytest.mark.parametrize(
    ("make", "make_loss", "error"),
    [
        (Breaks, lambda a, b: a * a + b * b, ZeroDivisionError),
        (gd.optim.Adam, lambda a, b: gd.stack([a, b]), errors.NonScalarError),
        (gd.optim.Adam, lambda a, b: a * b * gd.placeholder((), name="x"), errors.NoValueError),
        (gd.optim.Adam, lambda a, b: gd.variable(2) * 1.5, errors.DTypeError),
    ],
    ids=["rule", "non-scalar", "placeholder", "integers alone"],
)
def test_a_failing_minimize_changes_nothing(make: Any, make_loss: Callable[..., Any], error: type[Exception]) -> None:
    a, b = gd.variable(3.0), gd.variable(5.0, dtype="float32")
    optimizer = make([a, b], lr=1.0)
    if make is not Breaks:
        optimizer.minimize(a * b)
    (a + b).backward()
    loss = make_loss(a, b)

    def state() -> list[Any]:
        inner = [array.tolist() for group in optimizer._groups for array in group.states]
        return [optimizer.steps, inner, *[(v.item(), float(v.grad), v.version) for v in (a, b)]]

    before = state()
    assert before[0] == (make is not Breaks)
    with pytest.raises(error):
        optimizer.minimize(loss)
    assert state() == before


# Training data ------------------------------------------------------------

X = np.arange(12.0).reshape(6, 2)


def spoiled(array: Any, place: Any, value: float) -> Any:
    copy = np.array(array)
    copy[place] = value
    return copy


REGRESSION = gd.nn.squared_error
CLASSES = gd.nn.softmax_cross_entropy
LABELS = np.array([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize(
    ("loss", "data", "options", "message"),
    [
        (REGRESSION, (spoiled(X, (4, 1), NAN), X), {}, "X has nan in row 4, column 1"),
        (REGRESSION, (X, spoiled(X, (5, 0), np.inf)), {}, "y has inf in row 5, column 0"),
        (REGRESSION, (X, np.zeros((5, 3))), {}, "X has 6 rows and y has 5"),
        (REGRESSION, (X[:0], X[:0]), {}, "X has no rows"),
        (REGRESSION, (X, 3.0), {}, "y has no rows"),
        (REGRESSION, (X, np.zeros((6, 3))), {"epochs": 0}, "at least one epoch, not 0"),
        (REGRESSION, (X, np.zeros((6, 3))), {"batch_size": 0}, "at least one row, not 0"),
        (
            REGRESSION,
            (X, np.zeros((6, 3))),
            {"validation": (spoiled(X, (1, 1), -np.inf), np.zeros((6, 3)))},
            "validation X has -inf in row 1, column 1",
        ),
        (CLASSES, (X, spoiled(LABELS, 5, 3)), {}, "row 5: label 3 is outside 0 … 2"),
        (CLASSES, (X, spoiled(LABELS, 4, -1)), {}, "row 4: label -1 is outside 0 … 2"),
        (CLASSES, (X, LABELS), {"validation": (X, spoiled(LABELS, 3, 9))}, "row 3: label 9 is outside 0 … 2"),
    ],
)
def test_bad_training_data_trains_nothing(loss: Any, data: Any, options: dict[str, Any], message: str) -> None:
    model = gd.nn.Linear(3, in_features=2)
    optimizer = gd.optim.SGD(model.parameters(), lr=1e-3)
    before = model.state()
    with pytest.raises(errors.DataError, match=message):
        gd.train.fit(model, loss, data, optimizer, **{"epochs": 2, "batch_size": 2, "progress": False, **options})
    for path, value in model.state().items():
        np.testing.assert_array_equal(value, before[path])
    assert optimizer.steps == 0
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("logits", "labels", "error", "message"),
    [
        (np.zeros((2, 3)), [0, 3], errors.DataError, "row 1: label 3 is outside 0 … 2"),
        (np.zeros((2, 3)), [-1, 0], errors.DataError, "row 0: label -1"),
        (np.zeros((2, 3)), [0, 1, 2], errors.ShapeError, r"float64\[2, 3\].*int64\[3\]"),
        (np.zeros(3), [0, 1, 2], errors.ShapeError, r"float64\[3\]"),
        (np.zeros((2, 3)), np.zeros((2, 2)), errors.ShapeError, r"float64\[2, 2\].*float64\[2, 3\]"),
        (np.zeros((2, 3)), [True, False], errors.DTypeError, "bool"),
    ],
)
def test_labels_that_do_not_fit(logits: Any, labels: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        gd.nn.softmax_cross_entropy(logits, labels)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: gd.nn.Linear(0), errors.ShapeError, "out_features is an integer that is at least 1, not 0"),
        (lambda: gd.nn.MLP([]), errors.ShapeError, "at least one layer"),
        (lambda: gd.nn.MLP([2, 3], activation="swoosh"), errors.OpError, "'swoosh'.*relu"),
        (lambda: gd.nn.Linear(2, in_features=3)(np.ones((1, 4))), errors.ShapeError, r"3 inputs.*float64\[1, 4\]"),
        (lambda: gd.nn.Linear(2)(1.0), errors.ShapeError, "2|0-d|float64"),
        (lambda: gd.nn.Linear(2).parameters(), errors.GraphError, "before its first call"),
        (lambda: gd.nn.Sequential(gd.tanh), errors.GraphError, "modules, not function"),
        (lambda: gd.nn.squared_error(np.ones((2, 1)), np.ones(2)), errors.ShapeError, r"\[2, 1\].*\[2\]"),
    ],
)
def test_bad_models(make: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda state: state.pop("bias"), errors.GraphError, "bias"),
        (lambda state: state.update(extra=1.0), errors.GraphError, "extra"),
        (lambda state: state.update(bias=np.ones(4)), errors.ShapeError, r"float32\[3\].*bias.*\[4\]"),
        (lambda state: state.update(bias=np.ones(3) * 1j), errors.DTypeError, "complex"),
    ],
    ids=["missing", "unknown", "shape", "dtype"],
)
def test_a_bad_state_loads_nothing(spoil: Callable[[Any], Any], error: type[Exception], message: str) -> None:
    model = gd.nn.Linear(3, in_features=2)
    before = model.state()
    state = {path: value + 1 for path, value in before.items()}
    spoil(state)
    with pytest.raises(error, match=message):
        model.load_state(state)
    for path, value in model.state().items():
        np.testing.assert_array_equal(value, before[path])


def test_an_op_without_evaluation_says_so_and_another_of_its_name_may_follow() -> None:
    with pytest.raises(errors.BackendError, match=r"'unknown_here'.*not declared with evaluate="):
        gd.op.elementwise("unknown_here", 1)(2.0)
    gd.op.OPS.pop("unknown_here")
    assert gd.op.elementwise("unknown_here", 1, evaluate=lambda F, x: x + 1)(2.0).item() == 3.0
