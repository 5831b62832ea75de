"""Pickling and copying keep values, sharing and derivatives, and copies are independent."""

import copy
import io
import pickle
import subprocess
import sys

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.errors import NoValueError, OpError, StaleError


def through_pickle(thing, protocol=None):
    return pickle.loads(pickle.dumps(thing, protocol))


def through_python_pickle(thing):
    """Use the pickler that is written in Python, which looks further ahead in lists."""
    return pickle._loads(pickle._dumps(thing))


ROUND_TRIPS = [through_pickle, through_python_pickle, copy.deepcopy]


def expression():
    a = gd.variable([1.0, 2.0, 3.0], name="a")
    b = gd.variable(np.float32(0.5), name="b")
    with gd.name_scope("inner"):
        c = (gd.tanh(a * b) + a / 3).named("c")
    return a, b, gd.sum(c * c + gd.softplus(c))


def variables(output):
    return {node.name: node for node in gd.Graph(output).nodes if isinstance(node, gd.Variable)}


@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
def test_values_names_scopes_and_gradients(round_trip):
    a, b, y = expression()
    y.backward()
    a.assign([1.0, 2.0, 3.0])
    a, b, y = expression()
    y.backward()
    loaded = round_trip(y)
    before, after = gd.Graph(y).nodes, gd.Graph(loaded).nodes
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        assert new is not old
        for what in ("op", "name", "scope", "dtype", "shape", "recorded", "attributes", "source"):
            assert getattr(new, what) == getattr(old, what)
        assert new.serial > y.serial
        assert all(operand.serial < new.serial for operand in new.inputs)
        np.testing.assert_array_equal(new.numpy(), old.numpy())
        assert type(new.value) is type(old.value)
    leaves = variables(loaded)
    np.testing.assert_array_equal(leaves["a"].grad, a.grad)
    leaves["a"].grad = leaves["b"].grad = None
    loaded.backward()
    np.testing.assert_array_equal(leaves["a"].grad, a.grad)
    np.testing.assert_array_equal(leaves["b"].grad, b.grad)
    assert gd.Graph(loaded).evaluate() == gd.Graph(y).evaluate()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol(protocol):
    a, _, y = expression()
    loaded_a, loaded = through_pickle((a, y), protocol)
    y.backward()
    loaded.backward()
    np.testing.assert_array_equal(loaded_a.grad, a.grad)


def test_out_of_band_buffers_stay_the_loaders():
    a = gd.variable(np.arange(4.0))
    buffers = []
    data = pickle.dumps(a, 5, buffer_callback=buffers.append)
    mine = [bytearray(buffer.raw()) for buffer in buffers]
    loaded = pickle.loads(data, buffers=mine)
    mine[0][:] = bytes(len(mine[0]))
    assert loaded.tolist() == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "int64", "float16", "float32", "float64", "complex128"])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
def test_dtypes_and_shapes(dtype, shape, round_trip):
    for make in (gd.variable, gd.constant):
        leaf = make(np.ones(shape), dtype=dtype)
        loaded = round_trip(leaf)
        assert type(loaded) is type(leaf)
        assert type(loaded.value) is type(leaf.value)
        assert (loaded.dtype, loaded.shape) == (leaf.dtype, leaf.shape)
        np.testing.assert_array_equal(loaded.numpy(), leaf.numpy())


def test_numbers_keep_every_bit():
    for number in (-0.0, float("inf"), 5e-324, 0.1, 2**63 - 1):
        loaded = through_pickle(gd.variable(number))
        assert repr(loaded.item()) == repr(number)
    assert np.isnan(through_pickle(gd.variable(float("nan"))).item())


@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
def test_what_is_shared_stays_shared(round_trip):
    x = gd.variable(2.0, name="x")
    c = x * 3
    loaded = round_trip({"u": c + 1, "x": x, "v": [c * c, c], "same": c})
    assert loaded["v"][1] is loaded["same"]
    assert loaded["u"].inputs[0] is loaded["same"]
    assert loaded["v"][0].inputs == (loaded["same"], loaded["same"])
    assert loaded["same"].inputs[0] is loaded["x"]
    (loaded["u"] + loaded["v"][0]).backward()
    assert loaded["x"].grad == 3 + 2 * 6 * 3
    assert x.grad is None


def test_a_pickler_used_again_shares_with_what_it_wrote_before():
    x = gd.variable(2.0)
    c = x * 3
    stream = io.BytesIO()
    pickler = pickle.Pickler(stream)
    pickler.dump(c)
    other = through_pickle(c * c)
    pickler.dump(c + 1)
    stream.seek(0)
    unpickler = pickle.Unpickler(stream)
    first, second = unpickler.load(), unpickler.load()
    assert second.inputs[0] is first
    assert other.item() == 36.0


def deep_chain(length):
    y = gd.variable(0.5)
    for _ in range(length):
        y = gd.tanh(y)
    return y


class Refuses:
    def __reduce__(self):
        raise RuntimeError("refused")


@pytest.mark.parametrize("pickler_class", [pickle.Pickler, pickle._Pickler])
def test_a_pickler_that_failed_does_not_disturb_the_next(pickler_class):
    y = deep_chain(5_000)
    broken = y.inputs[0].inputs[0]
    broken.attributes = {"bad": Refuses()}
    pickler = pickler_class(io.BytesIO())
    with pytest.raises(RuntimeError, match="refused"):
        pickler.dump(y)
    broken.attributes = {}
    assert through_pickle(y).item() == y.item()
    pickler.dump(y)  # the same one again


def test_two_picklers_take_turns():
    nodes = gd.Graph(deep_chain(5_000)).nodes
    streams = [io.BytesIO(), io.BytesIO()]
    picklers = [pickle.Pickler(stream) for stream in streams]
    for node in nodes[::500]:
        for pickler in picklers:
            pickler.dump(node)
    picklers[0].dump(nodes)
    assert through_pickle(nodes)[-1].item() == nodes[-1].item()
    for stream in streams:
        stream.seek(0)
        unpickler = pickle.Unpickler(stream)
        loaded = [unpickler.load() for _ in nodes[::500]]
        assert [node.item() for node in loaded] == [node.item() for node in nodes[::500]]


def test_a_list_of_all_nodes_is_linear():
    short, long = (len(pickle.dumps(gd.Graph(deep_chain(n)).nodes)) for n in (1_000, 4_000))
    assert long < 5 * short


@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
def test_graphs(round_trip):
    x = gd.placeholder((2,), name="x")
    w = gd.variable([1.0, 2.0], name="w")
    hidden = x * w
    graph = gd.Graph({"sum": gd.sum(hidden), "both": (hidden, gd.exp(hidden))}, inputs=[x, w])
    loaded = round_trip(graph)
    assert [node.op for node in loaded.nodes] == [node.op for node in graph.nodes]
    assert [leaf.name for leaf in loaded.inputs] == ["x", "w"]
    assert [position for *_, position in loaded.edges] == [position for *_, position in graph.edges]
    result = loaded.evaluate({loaded.inputs[0]: [1.0, 10.0]})
    assert result["sum"] == 21.0
    np.testing.assert_array_equal(result["both"][0], [1.0, 20.0])
    assert not set(loaded.nodes) & set(graph.nodes)


@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
def test_a_graph_that_begins_inside(round_trip):
    a = gd.variable(2.0)
    c = a * 3
    graph = round_trip(gd.Graph(gd.exp(c) + c, inputs=c))
    assert len(graph) == 3
    assert graph.evaluate({graph.inputs[0]: 0.0}) == 1.0


def test_a_shallow_copy_of_a_graph_is_of_the_same_nodes():
    graph = gd.Graph(expression()[2])
    copied = copy.copy(graph)
    assert copied is not graph
    assert copied.nodes == graph.nodes
    assert copied.nodes is not graph.nodes


@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
def test_placeholders_and_pure_graph(round_trip):
    x = gd.placeholder((3,), "float32", name="x")
    y = round_trip(gd.sum(x * x))
    assert not y.has_value
    assert (y.shape, y.dtype) == ((), np.dtype("float32"))
    (leaf,) = gd.Graph(y).inputs
    assert (leaf.name, leaf.shape, leaf.dtype) == ("x", (3,), np.dtype("float32"))
    assert gd.Graph(y).evaluate({leaf: [1, 2, 3]}) == 14.0
    with pytest.raises(NoValueError, match="'x'"):
        y.value


@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
def test_attributes_of_every_sort(round_trip):
    x = gd.variable(np.arange(24.0).reshape(2, 3, 4))
    i = gd.constant([2, 0])
    y = (
        gd.sum(x[..., None, 1::2] ** 2)
        + gd.sum(gd.exp(x[:, i, 1] / 10))
        + gd.sum(x[0, [True, False, True]])
        + gd.sum(gd.transpose(x, (2, 0, 1)).reshape(4, -1), axis=0, keepdims=True)[0, 3]
        + gd.einsum("ijk,ijk->", x, x)
        + gd.sum(gd.clip(x, 2.0, None))
    )
    loaded = round_trip(y)
    y.backward()
    loaded.backward()
    (leaf,) = variables(loaded).values()
    np.testing.assert_array_equal(leaf.grad, x.grad)
    leaf.assign(x.numpy() / 2)
    x.assign(x.numpy() / 2)
    np.testing.assert_allclose(gd.Graph(loaded).evaluate(), gd.Graph(y).evaluate(), rtol=1e-15)


@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
def test_an_array_as_attribute_is_copied(round_trip):
    def weigh(F, x, *, by):
        return x * by

    gd.op.elementwise("weigh_by", lambda F, out, x, *, by: by, evaluate=weigh)
    weights = np.array([1.0, 2.0])
    y = round_trip(gd.op.FUNCTIONS["weigh_by"](gd.variable([3.0, 4.0]), by=weights))
    np.testing.assert_array_equal(y.attributes["by"], weights)
    assert y.attributes["by"] is not weights
    assert y.tolist() == [3.0, 8.0]


def test_copying_a_variable_gives_an_independent_one():
    a = gd.variable([1.0, 2.0], name="a")
    gd.sum(a * a).backward()
    a.assign([3.0, 4.0])
    for copied in (copy.copy(a), copy.deepcopy(a), through_pickle(a)):
        assert isinstance(copied, gd.Variable)
        assert (copied.name, copied.version, copied.tolist()) == ("a", 1, [3.0, 4.0])
        np.testing.assert_array_equal(copied.grad, [2.0, 4.0])
        assert not np.shares_memory(copied.value, a.value)
        assert not np.shares_memory(copied.grad, a.grad)
        copied.assign([0.0, 0.0])
        gd.sum(copied * 7).backward()
        assert a.tolist() == [3.0, 4.0]
        np.testing.assert_array_equal(a.grad, [2.0, 4.0])


def test_a_shallow_copy_of_a_node_keeps_its_inputs():
    a = gd.variable(2.0)
    c = (a * 3).named("c")
    copied = copy.copy(c)
    copied.name = "d"
    assert copied.inputs == c.inputs
    assert (c.name, copied.item()) == ("c", 6.0)
    copied.backward()
    assert a.grad == 3.0
    x = gd.placeholder((2,), name="x")
    assert copy.copy(x) is not x
    assert copy.copy(x).shape == (2,)


@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
def test_a_deep_copy_shares_no_memory_with_views(round_trip):
    a = gd.variable(np.arange(6.0))
    copied = round_trip(a.reshape(2, 3))
    assert not np.shares_memory(copied.value, a.value)


@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
def test_stale_stays_stale_and_the_rest_does_not(round_trip):
    a = gd.variable(2.0, name="a")
    stale = a * 3
    a.assign(5.0)
    fresh = a * 4
    with pytest.raises(StaleError):
        copy.copy(stale)
    for old, new in (round_trip((stale, fresh)), round_trip(gd.Graph((fresh, stale))).outputs[::-1]):
        assert old.item() == 6.0
        with pytest.raises(StaleError):
            old.backward()
        new.backward()
        assert old.inputs[0] is new.inputs[0]
        assert new.inputs[0].grad == 4.0
        assert gd.Graph(old).evaluate() == 15.0
        (old.inputs[0] * 2).backward()


@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
def test_assigning_after_loading_makes_stale(round_trip):
    y = round_trip(gd.variable(2.0) * 3)
    y.inputs[0].assign(1.0)
    with pytest.raises(StaleError):
        y.backward()


@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_models(round_trip, activation):
    x = np.linspace(-1, 1, 12, dtype="float32").reshape(4, 3)
    model = gd.nn.MLP([5, 2], activation, in_features=3)
    model.tied = model.layers[0].weight
    copied = round_trip(model)
    assert copied.tied is copied.layers[0].weight
    np.testing.assert_array_equal(copied(x).numpy(), model(x).numpy())
    optimizer = gd.optim.SGD(copied.layers[0].parameters(), lr=0.1)
    optimizer.minimize(gd.sum(copied(x) ** 2))
    assert not np.array_equal(copied(x).numpy(), model(x).numpy())
    assert not set(copied.parameters()) & set(model.parameters())


@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
def test_training_goes_on_where_it_was(round_trip):
    x = np.linspace(-1, 1, 12, dtype="float32").reshape(4, 3)

    def train(model, optimizer):
        for _ in range(3):
            optimizer.minimize(gd.sum(model(x) ** 2))
        return model(x).numpy()

    model = gd.nn.MLP([5, 2], in_features=3)
    optimizer = gd.optim.Adam(model.parameters())
    train(model, optimizer)
    copied, its_optimizer = round_trip((model, optimizer))
    np.testing.assert_array_equal(train(copied, its_optimizer), train(model, optimizer))


@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
def test_adjoints_pickle_as_they_are(round_trip):
    a, _, y = expression()
    a, y, found = round_trip((a, y, gd.adjoints(y)))
    y.backward()
    np.testing.assert_array_equal(found[a].numpy(), a.grad)


def test_functions_are_found_by_name():
    for name in ("tanh", "softplus", "matmul"):
        assert through_pickle(getattr(gd, name)) is getattr(gd, name)
    assert through_pickle(gd.op.OPS["tanh"]) is gd.op.OPS["tanh"]
    gd.op.elementwise("declared_later", 1, evaluate=lambda F, x: x)
    assert through_pickle(gd.declared_later) is gd.declared_later


def test_an_unknown_op_is_named():
    name = "known_only_here"
    gd.op.elementwise(name, 1, evaluate=lambda F, x: x + 0)
    data = pickle.dumps(gd.op.FUNCTIONS[name](gd.variable(1.0)))
    assert pickle.loads(data).item() == 1.0
    del gd.op.OPS[name], gd.op.FUNCTIONS[name]
    with pytest.raises(OpError, match=name):
        pickle.loads(data)


def test_another_process_loads_it():
    a, _, y = expression()
    y.backward()
    program = (
        "import pickle, sys; a, y = pickle.load(sys.stdin.buffer); y.backward();"
        "print(repr(a.grad.tolist())); print(y.source)"
    )
    run = subprocess.run([sys.executable, "-c", program], input=pickle.dumps((a, y)), capture_output=True, check=True)
    gradient, source = run.stdout.decode().splitlines()
    assert gradient == repr(a.grad.tolist())
    assert source == y.source
    assert source.rpartition(":")[0].endswith("test_serialize.py")
