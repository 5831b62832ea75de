"""NumPy as fast as it will go: the yardstick for a compiled plan of NumPy calls.

What makes it fast, each choice measured against its alternatives:

- Nothing is allocated in a step: every result is written into a buffer made beforehand.
- Parameters, gradients and both moments of Adam lie in one array each; the layers are views into them. Adam is ten
  passes over all of them, or over one tile after another if that is quicker with the caches at hand.
- Values lie as columns, (features, batch): the reductions over classes then run along rows, and a value gets one
  more row, of ones, so that weights and bias are one matrix, whose product adds the bias and whose gradient is one
  product too. But the input comes as rows, (batch, features), and which products with transposed operands are slow
  depends on the BLAS and the shape. So the first few values may lie as rows instead.
- How many values lie as rows, and the size of the tiles, are found by timing the variants when the step is made.
- Calls between arrays of one shape avoid NumPy's broadcasting machinery (0.2 µs against 0.7): ReLU is the maximum
  with a whole array of zeros, the sum over classes is a product with a matrix of ones, which leaves it in every
  row.
- The derivative of ReLU multiplies the adjoint, read as integers, by 0 or 1: the smaller of 1 and the value's bits.
- A keyword argument costs 0.1 µs: for integers `fmin` does what `minimum` does, and takes its output by position.
- `dot` of an array is bound once; it costs less than `np.dot`, which costs less than `np.matmul`.
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from time import perf_counter

import numpy as np

from benchmarks.peers import Step
from benchmarks.problem import Array, Config, Labels, Weights

Call = Callable[[], object]

TILES = 16384, 65536, 262144  # elements: four float32 arrays of these sizes fill 256 KiB, 1 MiB and 4 MiB


def make_step(config: Config, weights: Weights, x: Array, y: Labels) -> Step:
    """Return one training step, in the layout and with the tiles that are quickest here."""

    def variant(rows: int, tile: int) -> Callable[[], Step]:
        return lambda: make_variant(config, weights, x, y, rows=rows, tile=tile)

    size = config.parameters
    rows = quickest({rows: variant(rows, size) for rows in range(len(config.sizes))})
    tile = quickest({tile: variant(rows, tile) for tile in (*(tile for tile in TILES if tile < size), size)})
    return variant(rows, tile)()


def quickest(variants: dict[int, Callable[[], Step]]) -> int:
    """Return the key of the variant with the shortest time over some rounds in turns."""
    steps = {key: make() for key, make in variants.items()}
    times = dict.fromkeys(steps, math.inf)
    for _ in range(12):
        for key, step in steps.items():
            step()
            start = perf_counter()
            for _ in range(5):
                step()
            times[key] = min(times[key], perf_counter() - start)
    return min(times, key=times.__getitem__)


class Network:
    """The buffers of a step.

    Parameters
    ----------
    config : Config
    weights : list of (array, array)
        Initial weights and biases.
    x : array of shape (batch, features)
    rows : int
        How many of the input and the hidden values lie as rows; 0 means that even the input is copied into columns.

    Attributes
    ----------
    parameters, gradients, first, second : array
        All parameters, their gradients, and both moments of Adam.
    weights, weight_gradients : list of array of shape (inputs + 1, outputs)
        Views of them per layer; the last row is the bias.
    values : list of array
        The input and the hidden values: of shape (batch, inputs), or (inputs + 1, batch) with a row of ones.
    outputs, adjoints : list of array
        Every layer's output, a view of the next value or the logits, and its adjoint.
    logits_and_logs : array of shape (classes + 1, batch)
        The logits, and a row for the logarithms of the sums of their exponentials.
    """

    def __init__(self, config: Config, weights: Weights, x: Array, rows: int) -> None:
        self.rows = rows
        self.parameters, self.gradients, self.first, self.second = np.zeros((4, config.parameters), np.float32)
        self.weights = split(self.parameters, config)
        self.weight_gradients = split(self.gradients, config)
        for view, (w, b) in zip(self.weights, weights, strict=True):
            view[:-1], view[-1] = w, b

        shapes = [
            (config.batch, size) if k < rows else (size + 1, config.batch) for k, size in enumerate(config.sizes[:-1])
        ]
        self.values = [np.ones(shape, np.float32) for shape in shapes]
        if rows:
            self.values[0] = x
        self.logits_and_logs = np.empty((config.sizes[-1] + 1, config.batch), np.float32)
        hidden = [value if k < rows else value[:-1] for k, value in enumerate(self.values)][1:]
        self.outputs = [*hidden, self.logits_and_logs[:-1]]
        self.adjoints = [np.empty_like(output) for output in self.outputs]


def split(array: Array, config: Config) -> list[Array]:
    """Return views of a flat array, one per layer, of shape (inputs + 1, outputs)."""
    views, start = [], 0
    for inputs, outputs in pairwise(config.sizes):
        end = start + (inputs + 1) * outputs
        views.append(array[start:end].reshape(inputs + 1, outputs))
        start = end
    return views


def make_variant(config: Config, weights: Weights, x: Array, y: Labels, *, rows: int, tile: int) -> Step:
    """Return one training step with the first `rows` values lying as rows, and Adam in tiles of `tile` elements."""
    network = Network(config, weights, x, rows)
    forward = forward_calls(network, x)
    loss_and_adjoint = make_loss(network.logits_and_logs, network.adjoints[-1], y)
    backward = backward_calls(network)
    update = make_adam(network, tile)

    def step() -> np.float32:
        for call in forward:
            call()
        loss = loss_and_adjoint()
        for call in backward:
            call()
        update()
        return loss

    return step


def forward_calls(network: Network, x: Array) -> list[Call]:
    """Return the calls that lead from the input to the logits."""
    calls: list[Call] = []
    if network.rows == 0:
        calls.append(partial(np.copyto, network.values[0][:-1], x.T))
    for k, (weights, value, output) in enumerate(zip(network.weights, network.values, network.outputs, strict=True)):
        if k >= network.rows:
            calls.append(partial(weights.T.dot, value, output))
        elif k + 1 < network.rows:
            calls.append(partial(value.dot, weights[:-1], output))
            calls.append(partial(np.add, output, weights[-1], output))
        else:
            calls.append(partial(weights[:-1].T.dot, value.T, output))
            calls.append(partial(np.add, output, weights[-1][:, None], output))
        if k + 1 < len(network.weights):
            calls.append(relu(output))
    return calls


def relu(array: Array) -> Call:
    """Return the call that replaces negative elements of `array` by zeros."""
    maximum, zeros = np.maximum, np.zeros_like(array)

    def call() -> None:
        maximum(array, zeros, out=array)

    return call


def make_loss(logits_and_logs: Array, adjoint: Array, y: Labels) -> Callable[[], np.float32]:
    """Return the mean cross-entropy of the softmax, whose call also leaves the adjoint of the logits in `adjoint`.

    With s the sum of exp(z - max z) over the classes and n the batch, the adjoint is exp(z - max z) / (n s) -
    onehot / n, and the loss is the mean of log(n s) - (z_y - max z), less log n. The mean is one inner product, of
    the shifted logits and the logarithms with -onehot / n and 1 / n.
    """
    logits, log_sums = logits_and_logs[:-1], logits_and_logs[-1]
    classes, batch = logits.shape
    maxima = np.empty(batch, np.float32)
    exponentials, sums = np.empty((2, classes, batch), np.float32)
    mean_weights = np.full((classes + 1, batch), 1 / batch, np.float32)
    negative_onehot, flat_weights, first_sum = mean_weights[:-1], mean_weights.reshape(-1), sums[0]
    batch_sum = np.full((classes, classes), batch, np.float32).dot
    take_negative_onehot = (np.eye(classes, dtype=np.float32) / np.float32(-batch)).take
    weighted_sum, log_batch = logits_and_logs.reshape(-1).dot, np.float32(math.log(batch))
    subtract, exp, log, divide, add = np.subtract, np.exp, np.log, np.divide, np.add
    find_maxima = partial(np.maximum.reduce, logits, 0, out=maxima)
    if classes == 2:
        find_maxima = partial(np.maximum, logits[0], logits[1], out=maxima)

    def loss_and_adjoint() -> np.float32:
        find_maxima()
        subtract(logits, maxima, logits)
        exp(logits, exponentials)
        batch_sum(exponentials, sums)
        take_negative_onehot(y, 1, negative_onehot, "clip")
        divide(exponentials, sums, exponentials)
        add(exponentials, negative_onehot, adjoint)
        log(first_sum, log_sums)
        loss: np.float32 = weighted_sum(flat_weights) - log_batch
        return loss

    return loss_and_adjoint


def backward_calls(network: Network) -> list[Call]:
    """Return the calls that lead from the adjoint of the logits to all gradients."""
    calls: list[Call] = []
    ones = np.ones(network.outputs[-1].shape[1], np.float32)
    for k in reversed(range(len(network.weights))):
        weights, gradients, value = network.weights[k][:-1], network.weight_gradients[k], network.values[k]
        adjoint = network.adjoints[k] if k + 1 < network.rows else network.adjoints[k].T
        if k >= network.rows:
            calls.append(partial(value.dot, adjoint, gradients))
        else:
            calls.append(partial(value.T.dot, adjoint, gradients[:-1]))
            calls.append(partial(adjoint.T.dot, ones, gradients[-1]))
        if k > 0:
            output, earlier = network.outputs[k - 1], network.adjoints[k - 1]
            if k >= network.rows:
                calls.append(partial(weights.dot, adjoint.T, earlier))
            else:
                calls.append(partial(adjoint.dot, weights.T, earlier))
            mask, one, bits = np.empty(output.shape, np.int32), np.ones(output.shape, np.int32), earlier.view(np.int32)
            calls.append(partial(np.fmin, output.view(np.int32), one, mask))
            calls.append(partial(np.multiply, bits, mask, bits))
    return calls


def make_adam(network: Network, tile: int) -> Call:
    """Return Adam over all parameters, tile by tile; it leaves the gradients overwritten.

    The moments are kept divided by 1 - β₁ and 1 - β₂, which saves two passes; the constants of the step make up for it.
    """
    multiply, add, sqrt, divide, root = np.multiply, np.add, np.sqrt, np.divide, math.sqrt
    arrays = network.parameters, network.gradients, network.first, network.second
    tiles = [tuple(a[i : i + tile] for a in arrays) for i in range(0, network.parameters.size, tile)]
    decay_first, decay_second = np.array(0.9, np.float32), np.array(0.999, np.float32)
    epsilon, rate = np.array(0, np.float32), np.array(0, np.float32)
    set_epsilon, set_rate = epsilon.fill, rate.fill
    scaled_epsilon, scaled_rate = 1e-8 / root(0.001), -1e-3 * 0.1 / root(0.001)
    power_first = power_second = 1.0

    def update() -> None:
        nonlocal power_first, power_second
        power_first *= 0.9
        power_second *= 0.999
        correction = root(1 - power_second)
        set_epsilon(scaled_epsilon * correction)
        set_rate(scaled_rate * correction / (1 - power_first))
        for p, g, m, v in tiles:
            multiply(m, decay_first, m)
            add(m, g, m)
            multiply(g, g, g)
            multiply(v, decay_second, v)
            add(v, g, v)
            sqrt(v, g)
            add(g, epsilon, g)
            divide(m, g, g)
            multiply(g, rate, g)
            add(p, g, p)

    return update
