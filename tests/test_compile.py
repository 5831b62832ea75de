"""Compiled functions: signatures, variables, control flow, failures, memory."""

import os
import signal
import subprocess
import sys
import threading
import tracemalloc
import warnings
from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff import errors
from graphdiff.plan import RetraceWarning


def digits(rows: int = 32, seed: int = 0, features: int = 8, classes: int = 3) -> Any:
    stream = np.random.default_rng(seed)
    return stream.normal(size=(rows, features)).astype("float32"), stream.integers(0, classes, rows)


def training(optimizer: str = "Adam", sizes: Any = (16, 3), **options: Any) -> Any:
    """A model, its optimiser, and the step both eager and compiled."""
    model = gd.nn.MLP(list(sizes), in_features=8, seed=1)
    rule = getattr(gd.optim, optimizer)(model.parameters(), lr=0.01)

    def step(x: Any, y: Any) -> Any:
        loss = gd.nn.softmax_cross_entropy(model(x), y)
        rule.minimize(loss)
        return loss

    return model, rule, step, gd.compile(step, **options)


def weights(model: Any) -> Any:
    return np.concatenate([parameter.numpy().ravel() for parameter in model.parameters()])


# The same numbers ------------------------------------------------------------------------------------------------

ALL_OFF = (
    *("open", "fold", "simplify", "merge", "widen", "dead"),
    *("fuse", "layout", "keep", "place", "reuse", "tile"),
)


@pytest.mark.parametrize("optimizer", ["Adam", "SGD"])
@pytest.mark.parametrize("disable", [(), ALL_OFF, *[(name,) for name in ALL_OFF]], ids=lambda names: "-".join(names))
def test_training_eager_and_compiled(optimizer: str, disable: Any) -> None:
    x, y = digits()
    eager_model, _, eager, _ = training(optimizer)
    model, _, _, compiled = training(optimizer, disable=disable)
    for _ in range(10):
        np.testing.assert_allclose(compiled(x, y).item(), eager(x, y).item(), rtol=2e-6)
    np.testing.assert_allclose(weights(model), weights(eager_model), rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize(
    "activation", ["relu", "tanh", "gelu", "elu", "softplus", "leaky_relu", "hard_tanh", "sigmoid"]
)
@pytest.mark.parametrize("rows", [3, 40])
def test_every_activation(activation: str, rows: int) -> None:
    x, y = digits(rows)
    model = gd.nn.MLP([16, 5, 3], in_features=8, activation=activation, dtype="float64")

    def gradients(x: Any) -> Any:
        loss = gd.nn.softmax_cross_entropy(model(x), y)
        loss.backward()
        return loss, [parameter.grad for parameter in model.parameters()]

    eager_loss, eager = gradients(x)
    expected = [np.array(gradient) for gradient in eager]
    loss, found = gd.compile(gradients)(x)
    np.testing.assert_allclose(loss.item(), eager_loss.item(), rtol=1e-12)
    for mine, theirs, parameter in zip(found, expected, model.parameters(), strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs, rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(parameter.grad, mine.numpy())


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 1, 0)])
def test_layers_whose_outputs_are_added_share_their_biases_gradient(order: Any) -> None:
    stream = np.random.default_rng(0)
    X, target = stream.normal(size=(40, 3)), stream.normal(size=(40, 1))

    def losses(compiled: bool) -> list[float]:
        layers = [gd.nn.Linear(1, in_features=3, seed=seed, dtype="float64") for seed in range(3)]
        optimizer = gd.optim.SGD([p for layer in layers for p in layer.parameters()], lr=0.05)

        def step(x: Any) -> Any:
            loss = gd.nn.squared_error(layers[order[0]](x) + layers[order[1]](x) + layers[order[2]](-x), target)
            optimizer.minimize(loss)
            return loss

        run = gd.compile(step) if compiled else step
        return [float(run(X)) for _ in range(5)]

    np.testing.assert_allclose(losses(True), losses(False), rtol=1e-12)


def test_results_are_reproducible_bit_by_bit() -> None:
    x, y = digits()
    runs = []
    for _ in range(2):
        model, _, _, compiled = training()
        losses = [compiled(x, y).item() for _ in range(20)]
        runs.append((losses, weights(model).tobytes()))
    assert runs[0] == runs[1]


def test_large_arrays_are_updated_in_tiles() -> None:
    size = (1 << 20) + 12345
    start, slope = np.linspace(-1, 1, size), np.cos(np.arange(size))
    w, reference = gd.variable(start), gd.variable(start)
    with gd.name_scope("large"):
        rule, plain = gd.optim.Adam([w], lr=0.1), gd.optim.Adam([reference], lr=0.1)
    step = gd.compile(lambda c: rule.minimize(gd.sum(w * c)))
    untiled = gd.compile(lambda c: plain.minimize(gd.sum(reference * c)), disable=("tile",))
    for _ in range(2):
        step(slope)
        untiled(slope)
    assert "in 9 tiles" in step.plans[0].source
    assert "tiles" not in untiled.plans[0].source
    np.testing.assert_array_equal(w.numpy(), reference.numpy())


def test_tiles_keep_away_from_what_they_overwrite() -> None:
    size = (1 << 20) + 7
    x = np.linspace(1, 2, size)

    def shifted(x: Any) -> Any:
        y = x * 2
        z = y[1:] - y[:-1]
        w = z * z[0]
        return gd.sum(w * w + w), w

    expected = shifted(gd.constant(x))
    for _ in range(2):
        for mine, theirs in zip(gd.compile(shifted)(x), expected, strict=True):
            np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-9)


def test_results_are_the_callers_own() -> None:
    turned = gd.compile(lambda x: (gd.flip(gd.exp(x), 0), gd.exp(x)[::-1], gd.exp(x).T, gd.diagonal(gd.exp(x))))
    first = turned(np.zeros((2, 2)))
    kept = [np.array(part.numpy()) for part in first]
    turned(np.ones((2, 2)))
    for part, before in zip(first, kept, strict=True):
        np.testing.assert_array_equal(part.numpy(), before)


# Signatures --------------------------------------------------------------------------------------------------------


def test_one_trace_per_signature() -> None:
    traced = []

    @gd.compile
    def double(x: Any) -> Any:
        traced.append(x.shape)
        return 2 * x

    for shape in ((3,), (3,), (2, 2), (3,)):
        np.testing.assert_array_equal(double(np.ones(shape)).numpy(), 2 * np.ones(shape))
    double(np.ones(3, "float32"))
    double(gd.constant(np.ones(3)))
    assert traced == [(3,), (2, 2), (3,)]
    assert len(double.plans) == 3


def test_arguments_may_be_nested_and_named() -> None:
    @gd.compile
    def combine(pair: Any, *, options: Any) -> Any:
        return {"sum": pair[0] + pair[1] * options["scale"], "kind": options["kind"]}

    found = combine((np.ones(2), np.arange(2.0)), options={"scale": 3.0, "kind": "linear"})
    assert found["kind"] == "linear"
    assert found["sum"].tolist() == [1.0, 4.0]
    assert combine((np.ones(2), np.arange(2.0)), options={"scale": 5.0, "kind": "linear"})["sum"].tolist() == [1.0, 6.0]
    assert len(combine.plans) == 1


def test_python_numbers_are_values_and_take_the_dtype_beside_them() -> None:
    @gd.compile
    def scaled(x: Any, factor: Any) -> Any:
        return x * (2 * factor) + factor**2

    x = np.ones(3, "float32")
    for factor in (0.5, 1.5):
        found = scaled(x, factor)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found.numpy(), 2 * factor + factor**2)
    assert len(scaled.plans) == 1
    assert scaled(x, 2).dtype == np.float32
    assert scaled(np.ones(3), 0.5).dtype == np.float64


def test_static_arguments_are_known_while_tracing() -> None:
    @gd.compile(static_argnames="power")
    def raised(x: Any, power: int = 1) -> Any:
        result = x
        for _ in range(power - 1):
            result = result * x
        return result

    assert raised(np.array(2.0), power=3).item() == 8.0
    assert raised(np.array(3.0), power=2).item() == 9.0
    assert raised(np.array(3.0)).item() == 3.0
    assert len(raised.plans) == 3
    with pytest.raises(errors.CompileError, match="no argument 'exponent'"):
        gd.compile(lambda x: x, static_argnames="exponent")


def test_tracing_again_and_again_warns_and_names_the_argument() -> None:
    @gd.compile
    def total(x: Any) -> Any:
        return gd.sum(x)

    for length in range(1, 8):
        total(np.ones(length))
    told = r"total was traced 8 times; argument 0 was float64\[7\] and is float64\[8\]"
    with pytest.warns(RetraceWarning, match=told) as warned:
        total(np.ones(8))
    assert warned[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RetraceWarning)
        for length in range(9, 100):
            assert total(np.ones(length)).item() == length
    assert len(total.plans) <= 64


def test_methods_can_be_compiled() -> None:
    class Scaler:
        def __init__(self, factor: float) -> None:
            self.factor = factor

        @gd.compile
        def scale(self, x: Any) -> Any:
            return self.factor * x

    assert Scaler(2.0).scale(np.ones(2)).tolist() == [2.0, 2.0]
    assert Scaler(3.0).scale(np.ones(2)).tolist() == [3.0, 3.0]


def test_what_cannot_be_traced_is_refused() -> None:
    identity = gd.compile(lambda x: x)
    with pytest.raises(errors.CompileError, match=r"builtins\.set can be neither.*numpy\.asarray.*use_backend"):
        identity({1, 2})
    with pytest.raises(errors.CompileError, match="numbers and booleans only"):
        identity(np.array(["a"]))
    with pytest.raises(errors.CompileError, match="only functions"):
        gd.compile(3)  # type: ignore[arg-type]
    with pytest.raises(errors.CompileError, match="there is no pass 'speed'"):
        gd.compile(lambda x: x, disable=("speed",))(1.0)


def test_a_compiled_function_inside_differentiation_or_another_is_part_of_it() -> None:
    square = gd.compile(lambda x: x * x)
    assert gd.grad(square)(3.0).item() == 6.0
    assert gd.compile(lambda x: square(x) + square(2 * x))(3.0).item() == 45.0
    w = gd.variable(3.0)
    square(w).backward()
    assert w.grad == 6.0


# What is not known -------------------------------------------------------------------------------------------------


def test_control_flow_on_an_unknown_value_names_line_and_where() -> None:
    @gd.compile
    def rectified(x: Any) -> Any:
        return x if x > 0 else -x

    with pytest.raises(errors.NoValueError, match=r"test_compile\.py:\d+.*gd\.where"):
        rectified(2.0)
    w = gd.variable(1.0, name="w")
    with pytest.raises(errors.NoValueError, match=r"'w'.*gd\.compile"):
        gd.compile(lambda x: x * float(w))(1.0)
    assert w.item() == 1.0  # a failed trace leaves nothing behind


def test_what_python_needs_while_tracing_is_refused_with_its_mend() -> None:
    def repeated(x: Any, count: int) -> Any:
        for _ in range(count):
            x = 2 * x
        return x

    with pytest.raises(errors.NoValueError, match=r"'count'.* no value while .* traced.*Return it.*static_argnames"):
        gd.compile(repeated)(1.0, 3)
    assert gd.compile(repeated, static_argnames="count")(1.0, 3).item() == 8.0
    with pytest.raises(errors.NoValueError, match=r"sum float64\[\], made at .*test_compile\.py.* while .* traced"):
        gd.compile(lambda x: print(f"{gd.sum(x):.3f}"))(np.ones(3))
    with pytest.raises(errors.NoValueError, match="Evaluate it with"):
        float(gd.sum(gd.placeholder((3,), "float64")))


def test_long_lists_of_numbers_are_warned_of() -> None:
    total = gd.compile(lambda x: gd.sum(gd.stack(x)))
    assert total([0.5] * 64).item() == 32.0
    with pytest.warns(RetraceWarning, match=r"given 65 Python numbers.*numpy\.asarray\(numbers\)") as told:
        assert total([0.5] * 65).item() == 32.5
    assert told[0].filename == __file__


def test_tensors_from_outside_are_refused_constants_are_not() -> None:
    w = gd.variable(2.0, name="w")
    outside, fixed = w * 3, gd.constant(5.0)
    with pytest.raises(errors.CompileError, match=r"multiply float64\[\], made at .*test_compile.*outside of it"):
        gd.compile(lambda x: x * outside)(1.0)
    p = gd.placeholder((), name="p")
    with pytest.raises(errors.CompileError, match="'p'"):
        gd.compile(lambda x: x * p)(1.0)
    assert gd.compile(lambda x: x * fixed * w)(1.0).item() == 10.0


# Variables -----------------------------------------------------------------------------------------------------------


def test_variables_are_read_afresh_and_assigned_together() -> None:
    a, b = gd.variable([1.0, 2.0], name="a"), gd.variable([10.0, 20.0], name="b")

    @gd.compile
    def swap(factor: Any) -> Any:
        old = a + 0
        a.assign(b * factor)
        b.assign(old)
        return gd.sum(a), gd.sum(b)

    first, second = swap(1.0)
    assert (first.item(), second.item()) == (30.0, 3.0)
    assert (a.tolist(), b.tolist()) == ([10.0, 20.0], [1.0, 2.0])
    a.assign([7.0, 7.0])
    swap(2.0)
    assert (a.tolist(), b.tolist()) == ([2.0, 4.0], [7.0, 7.0])
    assert a.version == 3


def test_a_plain_swap_does_not_lose_a_value() -> None:
    a, b = gd.variable([1.0, 2.0]), gd.variable([3.0, 4.0])

    def swap() -> None:
        old = gd.stop_gradient(a)
        a.assign(b)
        b.assign(old)

    gd.compile(swap)()
    assert (a.tolist(), b.tolist()) == ([3.0, 4.0], [1.0, 2.0])


def test_scalar_variables_and_counters() -> None:
    count, total = gd.variable(0.0), gd.variable(0.0, dtype="float32")

    @gd.compile
    def add(x: Any) -> Any:
        count.assign(count + 1)
        total.assign(total + gd.sum(x))
        return total / count

    for expected in (3.0, 3.0, 3.0):
        assert add(np.ones(3, "float32")).item() == expected
    assert (count.item(), total.item(), total.dtype) == (3.0, 9.0, np.float32)


def test_values_taken_before_a_step_do_not_change() -> None:
    x, y = digits()
    model, _, _, compiled = training()
    compiled(x, y)
    parameter = model.parameters()[0]
    before = parameter.value
    copied = before.copy()
    compiled(x, y)
    np.testing.assert_array_equal(before, copied)
    assert not np.array_equal(parameter.value, before)


def test_a_graph_built_before_a_compiled_step_is_stale() -> None:
    x, y = digits()
    model, _, _, compiled = training()
    loss = gd.nn.softmax_cross_entropy(model(x), y)
    compiled(x, y)
    with pytest.raises(errors.StaleError):
        loss.backward()


def test_backward_inside_sets_gradients_after() -> None:
    w = gd.variable([1.0, 2.0])
    step = gd.compile(lambda x: gd.sum(w * w * x).backward())
    assert step(3.0) is None
    assert w.grad.tolist() == [6.0, 12.0]
    first = w.grad
    step(5.0)
    assert (w.grad.tolist(), first.tolist()) == ([10.0, 20.0], [6.0, 12.0])


def test_an_optimiser_made_later_moves_the_parameters_and_plans_follow() -> None:
    x, y = digits()
    model = gd.nn.MLP([16, 3], in_features=8)
    predict = gd.compile(model)
    before = predict(x).numpy()
    np.testing.assert_allclose(before, model(x).numpy(), rtol=1e-5, atol=1e-6)
    gd.optim.SGD(model.parameters(), lr=0.5).minimize(gd.nn.softmax_cross_entropy(model(x), y))
    np.testing.assert_allclose(predict(x).numpy(), model(x).numpy(), rtol=1e-5, atol=1e-6)
    assert not np.allclose(predict(x).numpy(), before)


def test_two_optimisers_may_share_parameters() -> None:
    x, y = digits()
    model, _, _, compiled = training()
    compiled(x, y)
    head = gd.optim.SGD(model.layers[-1].parameters(), lr=0.1)
    others = [parameter.numpy() for parameter in model.layers[0].parameters()]
    head.minimize(gd.nn.softmax_cross_entropy(model(x), y))
    for parameter, value in zip(model.layers[0].parameters(), others, strict=True):
        np.testing.assert_array_equal(parameter.numpy(), value)
    before = weights(model)
    losses = [compiled(x, y).item() for _ in range(3)]
    assert losses[2] < losses[0]
    assert not np.array_equal(weights(model), before)


def test_the_learning_rate_can_change_without_tracing_again() -> None:
    w = gd.variable([1.0])
    rule = gd.optim.SGD([w], lr=0.5)
    step = gd.compile(lambda: rule.minimize(gd.sum(w)))
    step()
    rule.lr = 0.25
    step()
    assert w.tolist() == [0.25]
    assert len(step.plans) == 1
    with pytest.raises(errors.OpError, match="lr"):
        rule.lr = -1.0


# Failures ------------------------------------------------------------------------------------------------------------


def state_of(model: Any, rule: Any) -> Any:
    states = tuple(state.numpy().tobytes() for group in rule._groups for state in group.states)
    return weights(model).tobytes(), states, rule.steps


def test_an_exception_in_a_step_leaves_everything_as_it_was() -> None:
    x, y = digits()
    model, rule, _, compiled = training()

    def poisoned_loss(rows: Any) -> Any:
        loss = gd.nn.softmax_cross_entropy(model(x)[rows], y)
        rule.minimize(loss)
        return loss

    poisoned = gd.compile(poisoned_loss)
    poisoned(np.arange(32))
    compiled(x, y)
    before = state_of(model, rule)
    with pytest.raises(IndexError):
        poisoned(np.arange(1, 33))
    assert state_of(model, rule) == before


def test_an_interrupt_falls_before_or_after_a_step_never_within() -> None:
    x, y = digits(rows=64)
    model, rule, _, compiled = training(sizes=(64, 3))
    reference_model, reference_rule, _, reference = training(sizes=(64, 3))
    compiled(x, y)
    reference(x, y)
    history = {state_of(reference_model, reference_rule)}
    interrupted = 0
    for attempt in range(60):
        timer = threading.Timer(0.0002 + 0.00003 * attempt, signal.raise_signal, [signal.SIGINT])
        done = 0
        try:
            timer.start()
            for _ in range(200):
                compiled(x, y)
                done += 1
        except KeyboardInterrupt:
            interrupted += 1
        while True:
            try:
                timer.join()
                break
            except KeyboardInterrupt:
                interrupted += 1
        for _ in range(done + 2):
            if state_of(model, rule) in history:
                break
            reference(x, y)
            history = {state_of(reference_model, reference_rule)}
        assert state_of(model, rule) in history
    assert interrupted > 10


def test_floating_point_warnings_stay_silent_and_settings_untouched() -> None:
    with np.errstate(all="raise"):
        found = gd.compile(lambda x: gd.log(x) / x)(np.zeros(2))
        assert np.geterr()["divide"] == "raise"
    assert not np.isfinite(found.numpy()).any()


def test_threads_take_turns() -> None:
    w = gd.variable(np.zeros(1000))

    @gd.compile
    def step(x: Any) -> None:
        w.assign(w + x)

    step(np.zeros(1000))
    threads = [threading.Thread(target=lambda: [step(np.ones(1000)) for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(w.numpy(), np.full(1000, 800.0))


# Memory and reports --------------------------------------------------------------------------------------------------


def test_a_steady_step_allocates_no_array_and_the_peak_is_as_predicted() -> None:
    x, y = digits(rows=256, features=8)
    _, _, _, compiled = training(sizes=(256, 128, 3))
    tracemalloc.start()
    plan = compiled.plan(x, y)
    held = sum(
        trace.size
        for trace in tracemalloc.take_snapshot().filter_traces([tracemalloc.DomainFilter(True, 389047)]).traces
    )
    compiled(x, y)
    compiled(x, y)
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(5):
        compiled(x, y)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert peak < 10_000  # numbers and tuples, no array: the smallest here has 8 × 256 elements
    assert abs(held - plan.cost.peak_memory) <= 0.05 * plan.cost.peak_memory


def test_explain_source_and_profile_agree() -> None:
    x, y = digits()
    model, rule, _, compiled = training()
    compiled(x, y)
    plan = compiled.plans[0]
    text = plan.explain()
    for name in (*ALL_OFF, "flops", "bytes"):
        assert name in text
    assert all(instruction.text.split("(")[0] in plan.source for instruction in plan.instructions)
    before = state_of(model, rule)
    profile = plan.profile(x, y, repeats=5)
    assert state_of(model, rule) == before
    assert len(profile.seconds) == len(plan.instructions) == len(profile.rows())
    assert 0.5 * profile.total < sum(profile.seconds) <= profile.total
    assert sum(row["flops"] for row in profile.rows()) == plan.cost.flops
    assert "GFLOP/s" in str(profile)


def test_matrix_products_are_counted() -> None:
    product = gd.compile(lambda x, y: x @ y)
    product(np.ones((3, 4)), np.ones((4, 5)))
    assert product.plans[0].cost.flops == 3 * 5 * (4 + 3)


def test_a_switched_off_pass_says_so() -> None:
    plan = gd.compile(lambda x: x + 0, disable=("simplify",)).plan(np.ones(3))
    assert dict(plan.reports)["simplify"] == "switched off"
    assert len(plan.instructions) == 1
    assert gd.compile(lambda x: x + 0).plan(np.ones(3)).instructions == []


@pytest.mark.parametrize(
    ("function", "count"),
    [
        (lambda x: gd.exp(x) + gd.exp(x), 2),
        (lambda x: (x * 2.0) * 3.0, 1),
        (lambda x: gd.negative(-x) * 1.0, 0),
        (lambda x: gd.reshape(gd.reshape(x, (4,)), (2, 2)).T.T, 0),
        (lambda x: (x.T @ x).T, 1),
        (lambda x: x * (1.0 / gd.exp(x)), 2),
        (lambda x: gd.sum(gd.square(gd.exp(x))), 2),
        (lambda x: gd.softmax(x, axis=1) + gd.exp(x - gd.max(x, axis=1, keepdims=True)), 6),
    ],
)
def test_passes_leave_few_instructions(function: Any, count: int) -> None:
    plan = gd.compile(function).plan(np.ones((2, 2)))
    assert len(plan.instructions) == count, plan.source
    point = np.array([[0.5, -2.0], [3.0, 1.5]])
    np.testing.assert_allclose(gd.compile(function)(point).numpy(), function(gd.constant(point)).numpy(), rtol=1e-14)


@pytest.mark.parametrize("start", [0.0, 1e200, -2.0, np.nan, np.inf])
def test_numbers_overflow_and_divide_as_numpys_do(start: float) -> None:
    def chain(w: Any) -> Any:
        return gd.stack([1.0 / w, w**2 * w, gd.sqrt(w), 2.0 ** (w * w), w**0.5, -w / (w - w)])

    count = gd.variable(start)

    @gd.compile
    def step() -> Any:
        values = chain(count)
        count.assign(count + 1)
        return values

    with np.errstate(all="ignore"):
        expected = chain(gd.variable(start)).numpy()
    found = step()
    np.testing.assert_array_equal(found.numpy(), expected)
    assert isinstance(count.value, np.float64)


def test_constants_are_folded_and_dead_code_dropped() -> None:
    unused, same = gd.variable([1.0, 2.0]), gd.variable([3.0, 4.0])

    def function(x: Any) -> Any:
        unused * x  # built, and needed by nobody
        same.assign(same)
        return x * gd.exp(gd.sigmoid(gd.constant(2.0)))

    plan = gd.compile(function).plan(np.ones(2))
    assert len(plan.instructions) == 1
    assert dict(plan.reports)["dead"] == "2 → 0 variables"
    assert not plan.program.updates
    kept = gd.compile(function, disable=("dead",)).plan(np.ones(2))
    assert len(kept.program.reads) == 2
    np.testing.assert_allclose(kept.run(np.ones(2)).numpy(), plan.run(np.ones(2)).numpy())
    assert same.tolist() == [3.0, 4.0]


def test_identities_on_constants_made_by_other_passes_are_folded() -> None:
    def function(x: Any) -> Any:
        return gd.grad(lambda t: gd.sum(3.0 * (2.0 * t)))(x)

    assert gd.compile(function).plan(np.ones(3)).instructions == []
    assert gd.compile(function)(np.ones(3)).tolist() == [6.0, 6.0, 6.0]


def test_calls_of_two_sizes_in_turns_take_the_quick_way() -> None:
    doubled = gd.compile(lambda x: 2 * x)
    small, large = np.ones(2), np.ones(3)
    for array in (small, large, small, large):
        assert doubled(array).shape == array.shape
    doubled._call = None  # the slow way
    for array in (large, small, small, large, small):
        assert doubled(array).shape == array.shape


INTERRUPTED = """
import random, signal, time
import numpy as np
import graphdiff as gd

signal.signal(signal.SIGALRM, signal.default_int_handler)
square, x = gd.compile(lambda x: x * x), np.ones(2)
square(x)
end, interrupts = time.monotonic() + 2, 0
while time.monotonic() < end:
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(2e-5, 3e-4))
        while True:
            square(x)
    except KeyboardInterrupt:
        interrupts += 1
print(interrupts)
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the system has no interval timers")
def test_interrupts_never_leave_a_compiled_function_locked() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, env=environment, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100


def test_a_precision_is_known_or_refused_and_a_backend_without_it_computes_in_float32():
    with pytest.raises(gd.errors.CompileError, match="'fp8'; there are float32, tf32, bf16, fp16"):
        gd.compile(lambda x: x @ x, precision="fp8")
    x = np.random.default_rng(0).normal(size=(20, 20)).astype("float32")
    rounded = gd.compile(lambda x: x @ x, precision="bf16")
    np.testing.assert_array_equal(rounded(x).numpy(), gd.compile(lambda x: x @ x)(x).numpy())
    assert "products are computed in float32: numpy has no bf16" in rounded.plan(x).explain()


def test_a_matrix_of_two_columns_is_not_written_over_where_another_view_of_it_is_read_later() -> None:
    x, c = np.linspace(-1, 1, 14).reshape(2, 7), np.linspace(2, 3, 7).reshape(7, 1)

    def function(F: Any, x: Any, c: Any) -> Any:
        rising = F.exp(x)
        return rising.T + F.sin(c), rising * 3

    for mine, theirs in zip(gd.compile(lambda x, c: function(gd, x, c))(x, c), function(np, x, c)):
        np.testing.assert_allclose(mine.numpy(), theirs, rtol=1e-15)


@pytest.mark.parametrize("shape", [(1,), (1, 1)])
def test_a_jacobian_of_single_elements_moved_to_unknown_places(shape: tuple[int, ...]) -> None:
    jacobian = gd.jacobian(lambda x: gd.sort(gd.sin(x), axis=-1))
    x = np.full(shape, 0.3)
    np.testing.assert_allclose(gd.compile(jacobian)(x).numpy().ravel(), [np.cos(0.3)], rtol=1e-15)
