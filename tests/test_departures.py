"""Values that leave the graph and are told of, in programs that lose a derivative; and in none of the others."""

import functools
import logging
import math
import operator
import statistics
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
import scipy.special

import graphdiff as gd
from graphdiff.errors import OpError

LEFT = "left the graph"


@contextmanager
def telling():
    """Take up the lines of this file that are told of."""
    lines: list[int] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield lines
    for each in caught:
        if LEFT in str(each.message):
            assert each.category is RuntimeWarning
            assert each.filename == __file__
            lines.append(each.lineno)


def first_line(function: Callable[..., Any]) -> int:
    return function.__code__.co_firstlineno


# Programs that lose a part of the derivative. Each loses it on the line after `def` unless it says `# here`. ----------


def mean_of_a_list(a):
    y = np.mean([a, a])
    return a * a + y


def full(a):
    y = np.full(3, a)
    return gd.sum(y * a)


def array_of_elements(a):
    return gd.sum(np.array([a, a]) * a)


def nested_array(a):
    return gd.sum(np.array([[a, 1.0], [0.0, a]]) @ gd.stack([a, a]))


def sine_of_math(a):
    return a * math.sin(a)


def power_of_math(a):
    return math.pow(2.0, a) + a


def hypotenuse(a):
    return math.hypot(a, 1.0) * a


def joined_by_numpy(a):
    return gd.sum(np.r_[a, a] * a)


def columns_by_numpy(a):
    return gd.sum(np.c_[a, a] * a)


def sparse_product(a):
    return gd.sum((scipy.sparse.eye(3) @ gd.stack([a, a, a])) * a)


def list_of_lists(a):
    return gd.sum(gd.constant([[a, 0.0], [a, 0.0]])) * a


def logsumexp_of_scipy(a):
    return scipy.special.logsumexp(a) * a


def gamma_of_scipy(a):
    return gd.exp(a) + scipy.special.gamma(np.asarray(a))


def set_in_an_array(a):
    y = np.zeros(3)
    y[1] = a  # here
    return gd.sum(y * a)


def set_in_a_slice(a):
    y = np.zeros(3)
    y[:2] = [a, a]  # here
    z = y * 2.0 * a
    return gd.sum(z)


def asarray(a):
    return np.asarray(a) * a


def asarray_on_another_line(a):
    y = np.asarray(a)
    z = 3.0
    return y * a * z


def copied_array(a):
    y = np.array(a, copy=True)
    return y * a


def part_of_an_array(a):
    y = np.asarray(gd.stack([a, a * a]))
    rest = y[1:]
    return gd.sum(rest * a)


def float_of_it(a):
    return float(a) * a


def float_on_another_line(a):
    scale = 1.0 + 2.0 * float(a)
    return a * scale


def complex_of_it(a):
    return a * complex(a).real


def integer_of_it(a):
    return a * int(a)


def formatted(a):
    return a * float("%.3f" % a)  # noqa: UP031


def mean_of_statistics(a):
    return a * statistics.fmean([a, a])


def reduced(a):
    return a * functools.reduce(operator.add, map(float, [a, a]))


def in_a_comprehension(a):
    return a * sum([float(each) for each in (a, a)])


def in_a_generator(a):
    return a * sum(float(each) for each in (a, a))


def variable_of_variables(a):
    v = gd.variable([a, a * a])
    return gd.sum(v * v) + a


def computed_variable(a):
    v = gd.variable(a * a)
    return v * v + a


def branch_of_an_expression(a):
    return float(a) * a if a > 0 else a


def in_an_augmented_assignment(a):
    total = 0.0
    total += float(a)  # here
    return a * total


def weighted_histogram(a):
    counts, _ = np.histogram([0.5, 1.5], bins=[0.0, 1.0, 2.0], weights=gd.stack([a, a]))
    return gd.sum(counts * a)


def edges_of_a_histogram(a):
    edges = np.histogram(gd.stack([a, 2 * a]), bins=4)[1]
    return gd.sum(edges) * a


def arange(a):
    return gd.sum(gd.arange(0.0, a, 0.5) * a)


def by_a_long_way(a):
    y = (
        1.0 + math.exp(a)  # here
    )
    return (
        a
        * y
    )  # fmt: skip


TELLING = [
    *(mean_of_a_list, full, array_of_elements, nested_array, sine_of_math, power_of_math, hypotenuse, joined_by_numpy),
    *(columns_by_numpy, sparse_product, list_of_lists, logsumexp_of_scipy, gamma_of_scipy, set_in_an_array),
    *(set_in_a_slice, asarray, asarray_on_another_line, copied_array, part_of_an_array, float_of_it),
    *(float_on_another_line, complex_of_it, integer_of_it, formatted, mean_of_statistics, reduced, in_a_comprehension),
    *(in_a_generator, variable_of_variables, computed_variable, branch_of_an_expression),
    *(in_an_augmented_assignment, weighted_histogram, edges_of_a_histogram, arange, by_a_long_way),
]


def line_of(program: Callable[..., Any]) -> int:
    import inspect

    lines, first = inspect.getsourcelines(program)
    marked = [number for number, line in enumerate(lines) if "# here" in line]
    return first + (marked[0] if marked else 1)


@pytest.mark.parametrize("program", TELLING, ids=lambda program: program.__name__)
def test_what_leaves_on_one_path_and_stays_on_another_is_told(program) -> None:
    with telling() as lines:
        gd.grad(program)(2.0)
    assert lines == [line_of(program)]


@pytest.mark.parametrize("program", TELLING, ids=lambda program: program.__name__)
def test_what_backward_meets_again_is_told(program) -> None:
    a = gd.variable(2.0, name="a")
    with telling() as lines:
        program(a).backward()
    assert lines == [line_of(program)]


DIFFERENTIATED = {
    "value_and_grad": lambda f: gd.value_and_grad(f)(2.0),
    "vjp": lambda f: gd.vjp(f, 2.0),
    "jvp": lambda f: gd.jvp(f, (2.0,), (1.0,)),
    "hvp": lambda f: gd.hvp(f, 2.0, 1.0),
    "jacobian": lambda f: gd.jacobian(f)(2.0),
    "hessian": lambda f: gd.hessian(f)(2.0),
    "twice": lambda f: gd.grad(gd.grad(f))(2.0),
}


@pytest.mark.parametrize("way", DIFFERENTIATED)
def test_every_way_of_differentiating_a_function_tells_once(way) -> None:
    with telling() as lines:
        DIFFERENTIATED[way](sine_of_math)
    assert lines == [line_of(sine_of_math)]


def test_once_per_line() -> None:
    def often(a):
        total = a
        for _ in range(5):
            total = total + a * math.sin(a)
        return total + a * float(a)

    first = first_line(often)
    with telling() as lines:
        gd.grad(often)(2.0)
    assert lines == [first + 3, first + 4]
    a = gd.variable(2.0)
    with telling() as lines:
        often(a).backward()
    assert sorted(lines) == [first + 3, first + 4]


def test_the_default_filter_shows_a_line_once() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            gd.grad(sine_of_math)(2.0)
    assert len([each for each in caught if LEFT in str(each.message)]) == 1


def test_adjoints_and_tangents_tell_as_backward_does() -> None:
    a = gd.variable(2.0)
    y = a * math.sin(a)
    for walk in (lambda: gd.adjoints(y), lambda: gd.tangents(y, {a: 1.0})):
        with telling() as lines:
            walk()
        assert len(lines) == 1


def test_where_there_is_no_other_path_it_is_told_too() -> None:
    v = [gd.variable(1.0), gd.variable(2.0)]
    w = gd.variable(v)
    with telling() as lines:
        gd.sum(w * w).backward()
    assert len(lines) == 1
    assert v[0].grad is None


# Programs that lose nothing, or say that they mean it -----------------------------------------------------------------


def branches(x):
    return gd.sum(x * x) if x[0] > 0 else gd.sum(x)


def branches_on_a_float(x):
    return gd.sum(x * x) if float(x[0]) > 0 else gd.sum(x)


def loops_until_small(x):
    y = gd.sum(x * x)
    while abs(float(y)) > 1e-3:
        y = y * 0.1
    return y


def numpy_method(x):
    return gd.sum(x * x.numpy())


def item(x):
    return gd.sum(x) * x[0].item()


def tolist(x):
    return gd.sum(x * x.tolist())


def stopped(x):
    return gd.sum(x * np.asarray(gd.stop_gradient(x)))


def stopped_scalar(x):
    return gd.sum(x) * float(gd.stop_gradient(x[0]))


def largest(x):
    return x[int(np.argmax(np.asarray(x)))] ** 2


def largest_by_method(x):
    return x[np.asarray(x).argmax()] ** 2


def sorted_by_numpy(x):
    return gd.sum(x[np.argsort(np.asarray(x))] * np.arange(3.0))


def masked(x):
    return gd.sum(x[np.asarray(x > 0.5)] ** 2)


def shaped(x):
    return gd.sum(gd.reshape(x, (np.shape(x)[0], 1)) * len(x))


def counted(x):
    return gd.sum(x) * np.count_nonzero(x) * np.size(x)


def rounded(x):
    return gd.sum(x) * float(gd.floor(x[0]))


def printed(x):
    print(x, f"{x[0]:.3f}", repr(x))
    return gd.sum(x * x)


def histogram_of_given_edges(x):
    counts, _ = np.histogram(x, bins=[0.0, 1.0, 2.0])
    return gd.sum(x * x) * counts[0]


def asserted(x):
    assert float(x[0]) < 1e9
    return gd.sum(x * x)


def numpy_in_the_graph(x):
    return np.sum(np.tanh(x) * np.ones(3)) + np.linalg.norm(x) + np.mean(x) + np.stack([x[0], x[1]])[0]


def filled_in_the_graph(x):
    return gd.sum(gd.full(3, x[0]) * x) + gd.sum(np.linspace(0.0, x[1], 3) * x)


SILENT = [
    *(branches, branches_on_a_float, loops_until_small, numpy_method, item, tolist, stopped, stopped_scalar, largest),
    *(largest_by_method, sorted_by_numpy, masked, shaped, counted, rounded, printed, histogram_of_given_edges),
    *(asserted, numpy_in_the_graph, filled_in_the_graph),
]
POINT = np.array([0.5, 1.0, 2.0])


@pytest.mark.parametrize("program", SILENT, ids=lambda program: program.__name__)
def test_what_loses_nothing_is_not_told(program) -> None:
    with telling() as lines:
        gd.grad(program)(POINT)
        gd.hvp(program, POINT, POINT)
        program(gd.variable(POINT)).backward()
    assert lines == []


def model_and_data():
    gd.random.seed(0)
    model = gd.nn.MLP([5, 3], in_features=4)
    x = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
    return model, gd.optim.SGD(model.parameters(), lr=0.1), x, np.arange(12) % 3


def with_accuracy():
    model, optimizer, x, y = model_and_data()
    for _ in range(3):
        logits = model(x)
        loss = gd.nn.softmax_cross_entropy(logits, y)
        acc = (np.argmax(np.asarray(logits), 1) == y).mean()
        loss.backward()
        optimizer.step()
    return acc


def with_accuracy_before_the_loss():
    model, optimizer, x, y = model_and_data()
    right = 0
    for _ in range(3):
        logits = model(x)
        right += int((np.asarray(logits).argmax(1) == y).sum())
        gd.nn.softmax_cross_entropy(logits, y).backward()
        optimizer.step()


def with_float():
    model, optimizer, x, y = model_and_data()
    losses, running = [], 0.0
    for _ in range(3):
        loss = gd.nn.softmax_cross_entropy(model(x), y)
        losses.append(float(loss))
        running = 0.9 * running + 0.1 * float(loss)
        loss.backward()
        optimizer.step()
        loss = float(loss)
    return losses


def with_print_and_logging():
    model, optimizer, x, y = model_and_data()
    for step in range(3):
        loss = gd.nn.softmax_cross_entropy(model(x), y)
        print(f"step {step}: {loss:.4f}", float(loss), "%.3f" % loss)  # noqa: UP031
        logging.getLogger("training").info("loss %s %f", loss, loss)
        loss.backward()
        optimizer.step()


def with_minimize_and_early_stopping():
    model, optimizer, x, y = model_and_data()
    best, kept = math.inf, None
    for _ in range(3):
        loss = gd.nn.softmax_cross_entropy(model(x), y)
        optimizer.minimize(loss)
        if float(loss) < best:
            best, kept = float(loss), model.state()
    return kept


def with_a_line_search():
    w = gd.variable([1.0, -2.0])

    def loss(w):
        return gd.sum(w * w * np.array([1.0, 10.0]))

    for _ in range(3):
        value = loss(w)
        value.backward()
        direction, start, step = -w.grad, float(value), 1.0
        while float(loss(w + step * direction)) > start - 1e-4 * step * float(gd.sum(direction**2)):
            step *= 0.5
        w.assign(w + step * direction)


def with_a_line_search_in_one_line():
    w = gd.variable([1.0, -2.0])
    step = 1.0
    for _ in range(3):
        value = gd.sum(w * w)
        value.backward()
        while float(gd.sum((w - step * w.grad) ** 2)) > float(gd.sum(w * w)):
            step *= 0.5
        w.assign(w - step * w.grad)


def with_plotted_activations():
    model, _, x, y = model_and_data()
    hidden = model(x)
    curve = np.histogram(np.asarray(hidden), bins=5)[0], np.asarray(hidden).mean(0)
    gd.nn.softmax_cross_entropy(hidden, y).backward()
    return curve


def with_history_of_weights():
    w = gd.variable([1.0, 2.0])
    path = []
    for _ in range(3):
        path.append(np.asarray(w))
        gd.sum(w * w).backward()
        w -= 0.1 * w.grad
    return np.array(path)


def with_copied_weights():
    model, optimizer, x, y = model_and_data()
    shadow = [gd.variable(p) for p in model.parameters()]
    for _ in range(2):
        optimizer.minimize(gd.nn.softmax_cross_entropy(model(x), y))
        for mean, parameter in zip(shadow, model.parameters(), strict=True):
            mean.assign(0.9 * np.asarray(mean) + 0.1 * np.asarray(parameter))


def with_scipy():
    def value_and_slope(point):
        w = gd.variable(point)
        loss = gd.sum((w - 1.0) ** 4)
        loss.backward()
        return float(loss), w.grad

    return scipy.optimize.minimize(value_and_slope, np.zeros(3), jac=True)


def with_a_schedule_of_the_loss():
    w = gd.variable([1.0, 2.0])
    rate = 0.1
    for _ in range(3):
        loss = gd.sum(w * w)
        loss.backward()
        rate = 0.1 if float(loss) > 1.0 else 0.01
        w -= rate * w.grad


def with_a_name_used_again():
    w = gd.variable([1.0, 2.0])
    for _ in range(2):
        loss = gd.sum(w * w)
        scaled = loss * 2.0
        scaled.backward()
        loss = float(loss)
    scale = float(gd.sum(w))
    print(scale)
    scale = 3.0
    (gd.sum(w) * scale).backward()


def with_metrics_on_constants():
    model, _, x, y = model_and_data()
    logits = model(x)
    probabilities = gd.nn.softmax(np.asarray(logits)) if hasattr(gd.nn, "softmax") else gd.softmax(np.asarray(logits))
    entropy = -gd.mean(gd.sum(probabilities * gd.log(probabilities), axis=1))
    gd.nn.softmax_cross_entropy(logits, y).backward()
    return entropy


def with_pseudo_labels():
    model, optimizer, x, _ = model_and_data()
    labels = np.argmax(np.asarray(model(x)), 1)
    optimizer.minimize(gd.nn.softmax_cross_entropy(model(x), labels))
    optimizer.minimize(gd.nn.softmax_cross_entropy(model(x), np.argmax(np.asarray(model(x)), 1)))


def with_fit():
    model, optimizer, x, y = model_and_data()
    gd.train.fit(model, gd.nn.softmax_cross_entropy, (x, y), optimizer, epochs=2, validation=(x, y), compiled=False)


LOOPS = [
    *(with_accuracy, with_accuracy_before_the_loss, with_float, with_print_and_logging),
    *(with_minimize_and_early_stopping, with_a_line_search, with_a_line_search_in_one_line, with_plotted_activations),
    *(with_history_of_weights, with_copied_weights, with_scipy, with_a_schedule_of_the_loss, with_a_name_used_again),
    *(with_metrics_on_constants, with_pseudo_labels, with_fit),
]


@pytest.mark.parametrize("program", LOOPS, ids=lambda program: program.__name__)
def test_ordinary_loops_are_not_told_of(program) -> None:
    with telling() as lines:
        program()
        program()  # by now every place where a value leaves is known
    assert lines == []


def test_an_array_that_left_keeps_no_graph() -> None:
    import gc
    import weakref

    x = gd.variable(np.ones(3))
    inner = x * 2.0
    watched = weakref.ref(inner)
    kept = np.asarray(inner)
    float(gd.sum(inner))
    del inner
    gc.collect()
    assert watched() is None
    assert kept.tolist() == [2.0, 2.0, 2.0]


# NumPy's functions that look at values --------------------------------------------------------------------------------


def test_unique_stays_in_the_graph() -> None:
    x = np.array([1.0, 4.0, 9.0])
    assert gd.grad(lambda x: gd.sum(np.unique(x) * x))(x).tolist() == [2.0, 8.0, 18.0]
    point = np.array([[3.0, 1.0], [2.0, 5.0]])
    weights = np.array([1.0, 10.0, 100.0, 1000.0])
    with telling() as lines:
        gradient = gd.grad(lambda x: gd.sum(np.unique(x) * weights))(point)
        value, index, inverse, counts = np.unique(gd.variable(point), True, True, True)
    assert lines == []
    assert gradient.tolist() == [[100.0, 1.0], [10.0, 1000.0]]
    expected = np.unique(point, True, True, True)
    for found, wanted in zip((value, index, inverse, counts), expected, strict=True):
        np.testing.assert_array_equal(np.asarray(found), wanted)
    rows = np.array([[2.0, 1.0], [1.0, 3.0], [2.0, 1.0]])
    picked, counts = np.unique(gd.variable(rows), axis=0, return_counts=True)
    np.testing.assert_array_equal(picked.numpy(), [[1.0, 3.0], [2.0, 1.0]])
    assert counts.tolist() == [1, 2]
    assert isinstance(np.unique(gd.constant(point)), np.ndarray)


def test_unique_is_refused_where_values_are_not_known() -> None:
    with pytest.raises(OpError, match=r"np\.unique.*depends on values"):
        gd.compile(lambda x: gd.sum(np.unique(x)))(np.ones(3))


def test_numpy_saves_and_asks_for_types_of_variables(tmp_path) -> None:
    w = gd.variable(np.array([1.0, 2.0]))
    np.save(tmp_path / "w.npy", w)
    np.testing.assert_array_equal(np.load(tmp_path / "w.npy"), [1.0, 2.0])
    assert np.result_type(w, np.float32) == np.float64
    assert not np.iscomplexobj(w)
