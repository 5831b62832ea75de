"""Properties of derivatives on random graphs: repeated operands, broadcasting, products, reductions, indexing."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import graphdiff as gd

# Every step keeps values of a few units: what is tested is how derivatives are put together, not overflow.
UNARY: list[Callable[[Any], Any]] = [
    gd.sin,
    gd.tanh,
    gd.atan,
    gd.sigmoid,
    gd.softplus,
    lambda x: gd.sqrt(1 + x * x),
    lambda x: gd.exp(-gd.square(x)),
    lambda x: gd.log(1.5 + x * x),
    lambda x: 0.5 * x,
    lambda x: x.T,
    gd.ravel,
    lambda x: gd.sum(x, axis=0) / 2 if x.ndim else -x,
    lambda x: gd.mean(x, axis=-1, keepdims=True) if x.ndim else 1 - x,
    lambda x: gd.softmax(x, axis=-1) if x.ndim else gd.cos(x),
    lambda x: gd.logsumexp(x, axis=0) if x.ndim else gd.expm1(gd.sin(x)),
    lambda x: gd.cumsum(x, axis=0) / 2 if x.ndim else x * x / (1 + x * x),
    lambda x: x[0] if x.ndim else x[None],
    lambda x: x[[0, -1, 0]] if x.ndim else gd.stack([x, x]),
    lambda x: x[..., ::-1] if x.ndim else gd.erf(x),
    lambda x: gd.concatenate([x, x])[: x.shape[0]] if x.ndim else gd.broadcast_to(x, (2,)),
]


def _contract(x: Any, y: Any) -> Any:
    """Return the matrix product where the shapes fit, else a product of sums."""
    if x.ndim and y.ndim and x.shape[-1] == y.shape[-2 if y.ndim > 1 else 0]:
        return gd.tanh(x @ y)
    return gd.tanh(gd.sum(x)) * gd.tanh(gd.sum(y))


def _broadcast(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def apply(x: Any, y: Any) -> Any:
        try:
            np.broadcast_shapes(x.shape, y.shape)
        except ValueError:
            y = gd.mean(y)
        return operation(x, y)

    return apply


BINARY: list[Callable[[Any, Any], Any]] = [
    _contract,
    _broadcast(lambda x, y: 0.7 * (x + y)),
    _broadcast(lambda x, y: 0.7 * (x - y)),
    _broadcast(lambda x, y: gd.tanh(x * y)),
    _broadcast(lambda x, y: x / (1.5 + gd.sin(y))),
    _broadcast(lambda x, y: (1.2 + x * x) ** (0.3 * gd.tanh(y))),
    _broadcast(lambda x, y: gd.atan2(x, 2 + gd.sin(y))),
    _broadcast(lambda x, y: gd.hypot(1 + x * x, y)),
    _broadcast(gd.logaddexp),
    _broadcast(lambda x, y: gd.where(np.array(True), x * 0.5, y) - gd.where(np.array(False), x, y * 0.5)),
]

SHAPES: list[tuple[int, ...]] = [(), (2,), (3,), (1, 3), (2, 3), (3, 2), (3, 3)]
Step = tuple[bool, int, int, int]
Program = tuple[list[tuple[int, ...]], list[Step], np.random.Generator]


def program(leaves: int, length: int, seed: int) -> Program:
    """Choose evenly among the steps; drawn one by one, hypothesis would favour the first of each list."""
    stream = np.random.default_rng(seed)
    shapes = [SHAPES[place] for place in stream.integers(len(SHAPES), size=leaves)]
    steps = [(bool(unary), *chosen) for unary, *chosen in stream.integers((2, 60, 60, 60), size=(length, 4)).tolist()]
    return shapes, steps, stream  # type: ignore[return-value]


PROGRAMS = st.builds(program, st.integers(1, 3), st.integers(4, 10), st.integers(0, 2**32 - 1))
STEADY = settings(
    derandomize=True, max_examples=200, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


def values(steps: list[Step], leaves: Any) -> list[Any]:
    """Run the steps, each on any of the leaves and results before it; return all of these."""
    tensors = list(leaves)
    for unary, chosen, first, second in steps:
        x, y = tensors[-1 - first % len(tensors)], tensors[-1 - second % len(tensors)]
        tensors.append(UNARY[chosen % len(UNARY)](x) if unary else BINARY[chosen % len(BINARY)](x, y))
    return tensors


def run(steps: list[Step], leaves: Any) -> Any:
    """Run the steps; the last ones join in the result."""
    tensors = values(steps, leaves)
    return gd.concatenate([gd.ravel(tensors[-1]), gd.ravel(tensors[-2]) * 0.5])


@STEADY
@given(PROGRAMS)
def test_first_derivatives_of_a_random_graph(drawn: Program) -> None:
    shapes, steps, stream = drawn
    points = [stream.uniform(-1, 1, shape) for shape in shapes]
    every = tuple(range(len(points)))

    def function(*leaves: Any) -> Any:
        return run(steps, leaves)

    forward = gd.jacobian(function, every, mode="forward")(*points)
    reverse = gd.jacobian(function, every, mode="reverse")(*points)
    for left, right in zip(forward, reverse, strict=True):
        np.testing.assert_allclose(left.numpy(), right.numpy(), rtol=1e-9, atol=1e-12)

    along = [stream.normal(size=shape) for shape in shapes]
    output, moved = gd.jvp(function, tuple(points), tuple(along))
    weights = stream.normal(size=output.shape)
    pulled = gd.vjp(function, *points)[1](weights)
    inner = np.sum(weights * moved.numpy())
    np.testing.assert_allclose(sum(np.sum(p.numpy() * u) for p, u in zip(pulled, along)), inner, rtol=1e-9, atol=1e-11)

    def at(position: int, index: Any, change: float) -> Any:
        changed = [point.copy() for point in points]
        changed[position][index] += change
        return np.sum(weights * function(*map(gd.constant, changed)).numpy())

    step = 1e-3
    for position, gradient in enumerate(pulled):
        for index in np.ndindex(gradient.shape):
            outer = at(position, index, -2 * step) - at(position, index, 2 * step)
            nearer = at(position, index, step) - at(position, index, -step)
            expected = (outer + 8 * nearer) / (12 * step)
            np.testing.assert_allclose(gradient.numpy()[index], expected, rtol=1e-6, atol=1e-7)

    slots = [gd.placeholder(shape) for shape in shapes]
    graph = gd.Graph(function(*slots))
    feed = {slot: point for slot, point in zip(slots, points) if slot in graph}
    np.testing.assert_array_equal(graph.evaluate(feed), output.numpy())


@STEADY
@given(PROGRAMS)
def test_second_derivatives_of_a_random_graph(drawn: Program) -> None:
    shapes, steps, stream = drawn
    sizes = [int(np.prod(shape)) for shape in shapes]
    starts = np.cumsum([0, *sizes])

    def scalar(x: Any) -> Any:
        leaves = [gd.reshape(x[a:b], shape) for a, b, shape in zip(starts[:-1], starts[1:], shapes)]
        return gd.sum(gd.sin(run(steps, leaves)))

    point = stream.uniform(-1, 1, starts[-1])
    hessian = gd.hessian(scalar)(point).numpy()
    size = max(1.0, np.abs(hessian).max())
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-9, atol=1e-11 * size)
    for mode in ("forward", "reverse"):
        np.testing.assert_allclose(
            gd.jacobian(gd.grad(scalar), mode=mode)(point).numpy(), hessian, rtol=1e-9, atol=1e-11 * size
        )
    along = stream.normal(size=point.shape)
    step = 1e-4
    slope = (gd.grad(scalar)(point + step * along).numpy() - gd.grad(scalar)(point - step * along).numpy()) / (2 * step)
    np.testing.assert_allclose(gd.hvp(scalar, point, along).numpy(), slope, rtol=1e-4, atol=1e-5 * size)


@STEADY
@given(PROGRAMS)
def test_a_random_graph_compiled(drawn: Program) -> None:
    shapes, steps, stream = drawn
    points = [stream.uniform(-1, 1, shape) for shape in shapes]

    def loss_and_gradients(*leaves: Any) -> Any:
        return gd.value_and_grad(lambda *inner: gd.sum(run(steps, inner) ** 2), tuple(range(len(leaves))))(*leaves)

    compiled = gd.compile(loss_and_gradients)
    value, gradients = loss_and_gradients(*points)
    for _ in range(2):  # a second run finds the memory as the first left it
        found, parts = compiled(*points)
        np.testing.assert_allclose(found.item(), value.item(), rtol=1e-11)
        for mine, theirs in zip(parts, gradients, strict=True):
            size = np.abs(theirs.numpy()).max(initial=1e-300)
            np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-9, atol=1e-11 * size)
