"""What can be asked of a drawing: derivatives, backward graphs, scopes, composites, colours, models."""

import re
from typing import Any

import numpy as np
import pytest
from drawings import clusters, edges, labels, texts

import graphdiff as gd
from graphdiff.draw.colours import STYLES, TONES, shade, swatches
from graphdiff.errors import GraphError, ShapeError, StaleError


def lecture(b: float = 1.0) -> Any:
    a, b = gd.variable(2.0, name="a"), gd.variable(b, name="b")
    return a, b, ((a + b).named("c") * (b + 1).named("d")).named("e")


def network(**options: Any) -> Any:
    x = gd.constant(np.linspace(-1, 1, 12).reshape(3, 4), name="x")
    model = gd.nn.MLP([5, 2], "tanh", in_features=4, dtype="float64", **options)
    return model, gd.mean(model(x) ** 2).named("L")


# A lecture's annotations -----------------------------------------------------------------------------------------


def test_reverse_mode_has_the_lectures_adjoints_and_local_derivatives() -> None:
    _, _, e = lecture()
    drawing = gd.draw(e, mode="reverse")
    assert set(labels(drawing)) == {
        "a = 2\n∂e/∂a = 2",
        "b = 1\n∂e/∂b = 5",
        "1",
        "c = a + b\n= 3\n∂e/∂c = 2",
        "d = b + 1\n= 2\n∂e/∂d = 3",
        "e = c·d\n= 6\n∂e/∂e = 1",
    }
    assert {label for *_, label in edges(drawing)} == {
        *("∂c/∂a = 1", "∂c/∂b = 1", "∂d/∂b = 1", "∂e/∂c = d = 2", "∂e/∂d = c = 3", ""),
    }


def test_forward_mode_follows_the_input_that_was_chosen() -> None:
    a, b, e = lecture()
    by_b = "\n".join(labels(gd.draw(e, mode="forward", wrt=b)))
    assert all(f"∂{node}/∂b = {value}" in by_b for node, value in zip("abcde", (0, 1, 1, 1, 5), strict=True))
    assert "∂e/∂a" not in by_b
    assert "∂e/∂a = 2" in gd.draw(e, mode="forward", wrt=a).source


def test_both_modes_on_one_picture() -> None:
    _, b, e = lecture()
    assert "d = b + 1\n= 2\n∂d/∂b = 1\n∂e/∂d = 3" in labels(gd.draw(e, mode="both", wrt=b))


def test_parallel_edges_each_have_their_local_derivative() -> None:
    x, y = gd.variable(3.0, name="x"), gd.variable(2.0, name="y")
    assert [label for *_, label in edges(gd.draw((x * x).named("z"), mode="reverse"))] == ["∂z/∂x = x = 3"] * 2
    found = {label for *_, label in edges(gd.draw((x / y).named("z"), mode="reverse"))}
    assert found == {"∂z/∂x = 1/y = 0.5", "∂z/∂y = −z/y = −0.75"}


def test_a_graph_without_values_is_drawn_in_symbols() -> None:
    x = gd.placeholder(name="x")
    drawing = gd.draw(gd.tanh(x).named("y"), mode="reverse")
    assert edges(drawing)[0][2] == "∂y/∂x = 1 − y²"
    assert "x" in labels(drawing)


def test_seeds() -> None:
    x = gd.variable([1.0, 2.0], name="x")
    y = (x * x).named("y")
    assert "tangent = [2, 0]" in texts(gd.draw(y, mode="forward", seed=[1.0, 0.0]))
    assert "adjoint = [2, 4]" in texts(gd.draw(y, mode="reverse", seed=[1.0, 1.0]))


def test_a_graph_is_drawn_from_its_inputs_on() -> None:
    _, _, e = lecture()
    c, d = e.inputs
    assert {label.split("\n")[0] for label in labels(gd.draw(gd.Graph(e, inputs=[c, d])))} == {
        "c",
        "d",
        "e = c·d",
    }


def test_after_an_optimisers_step_the_graph_can_still_be_looked_at() -> None:
    a, _, e = lecture()
    e.backward()
    a.assign(7.0)
    assert {"e = c·d\n6", "a\n7\nassigned since", "b\n1"} <= set(labels(gd.draw(e)))
    with pytest.raises(StaleError):
        gd.draw(e, adjoints=True)


def test_labels_are_shown_line_by_line() -> None:
    x = gd.variable(np.ones((2, 3)), name="x")
    y = gd.exp(x).named("y")
    asked = ["name", "op", "expression", "shape", "dtype", "value", "flops", "bytes", "tangent", "adjoint"]
    drawing = gd.draw(gd.sum(y), labels=asked[:8])
    statistics = "all 2.72"
    assert f"y\nexp\ny = e^x\n2 × 3\nfloat64\n{statistics}\n6 flops\n48 bytes" in [
        label.replace("[[2.7183, 2.7183, 2.7183],\n[2.7183, 2.7183, 2.7183]]", statistics) for label in labels(drawing)
    ]
    assert re.search(r"exp\n[\d.]+ (ns|µs|ms)$", "\n".join(labels(gd.draw(y, labels=["op", "time"]))), re.M)
    _, b, e = lecture()
    assert "∂d/∂b = 1\n∂e/∂d = 3" in labels(gd.draw(e, labels=["tangent", "adjoint"], wrt=b))


def test_numbers_have_as_many_digits_as_asked_for() -> None:
    y = gd.variable(1 / 3, name="x") * 1
    assert "x\n0.3333" in labels(gd.draw(y))
    assert "x\n0.33" in labels(gd.draw(y, digits=2))
    assert "v\n123456" in labels(gd.draw(gd.variable(123456.0, name="v")))


def test_small_arrays_are_written_without_padding() -> None:
    assert "x\n(3,)\n[0.334, 0.2911, −0.1]" in labels(gd.draw(gd.variable([0.334, 0.2911, -0.1], name="x")))


def test_names_that_are_cut_are_whole_where_the_pointer_rests() -> None:
    name = 'a "long" <name> \\ with & everything ' + "x" * 40
    svg = gd.draw(gd.variable(1.0, name=name) * 2).render("svg").decode()
    assert 'xlink:title="a &quot;long&quot; &lt;name&gt; \\ with &amp; everything x' in svg


# Backward graphs -------------------------------------------------------------------------------------------------


def test_the_backward_graph_joined_reads_values_of_the_forward_graph() -> None:
    _, _, e = lecture()
    drawing = gd.draw(e, backward="joined")
    assert "∂e/∂b\n+\n5" in labels(drawing)
    assert ("d = b + 1", "∂e/∂c = ∂e/∂a", "") in edges(drawing)
    assert clusters(drawing) == []


def test_the_backward_graph_beside_has_copies_of_what_is_stored() -> None:
    _, _, e = lecture()
    drawing = gd.draw(e, backward="beside")
    assert clusters(drawing) == ["backward"]
    assert {"c = 3", "d = 2"} <= set(labels(drawing))
    assert ("d = 2", "∂e/∂c = ∂e/∂a", "") in edges(drawing)


def test_second_order_graphs_are_graphs_of_gradients() -> None:
    x = gd.variable(2.0, name="x")
    first = gd.adjoints(gd.sin(x))[x]
    second = gd.adjoints(first)[x].named("y″")
    assert any(label.startswith("y″") and label.endswith("−0.9093") for label in labels(gd.draw(second)))


# Scopes and composites -------------------------------------------------------------------------------------------


def test_layers_are_clusters_with_their_weights() -> None:
    _, loss = network()
    drawing = gd.draw(loss)
    assert sorted(clusters(drawing)) == ["activation1", "linear0", "linear2"]
    assert drawing.source.index("linear0") < drawing.source.index(">W₁<") < drawing.source.index("linear2")


@pytest.mark.parametrize("collapse", [True, 1, ["linear0", "activation1", "linear2"], "*[0-9]"])
def test_collapsed_scopes_are_one_box(collapse: Any) -> None:
    drawing = gd.draw(network()[1], collapse=collapse)
    assert clusters(drawing) == []
    assert {"linear0\n@, +\n25 parameters", "activation1\ntanh", "linear2\n@, +\n12 parameters"} <= set(labels(drawing))
    assert ("linear0", "activation1", "3 × 5") in edges(drawing)


def test_collapsing_by_name_and_depth() -> None:
    with gd.name_scope("outer"):
        with gd.name_scope("inner"):
            y = gd.variable(1.0) * 2
        z = y + 1
    assert clusters(gd.draw(z, collapse=2)) == ["outer"]
    assert clusters(gd.draw(z, collapse="outer/inner")) == ["outer"]
    assert clusters(gd.draw(z, collapse="outer")) == []
    with pytest.raises(GraphError, match=r"no scope 'iner'; it has outer, outer/inner"):
        gd.draw(z, collapse=["iner"])
    with pytest.raises(GraphError, match=r"depth from 1, not 0"):
        gd.draw(z, collapse=0)


def test_composites_are_one_node_that_opens() -> None:
    x = gd.variable([1.0, 2.0, 3.0, 4.0], name="x")
    y = gd.prod(x).named("y")
    closed = gd.draw(y + 1)
    assert "peripheries=2" in closed.source
    opened = gd.draw(y + 1, expand="prod", mode="reverse", labels=["name", "op", "value"])
    assert clusters(opened) == ["Π"]
    assert "×\n[24]" in labels(opened)
    assert "<b>x</b>" not in opened.source[opened.source.index("subgraph") : opened.source.rindex("\t}")]
    assert "peripheries" not in opened.source
    twice = gd.draw(gd.prod(x) + gd.prod(x), expand=True)
    assert clusters(twice) == ["Π", "Π 2"]


def test_derivatives_within_an_opened_composite_are_those_of_the_whole() -> None:
    x = gd.variable([1.0, 2.0, 3.0, 4.0], name="x")
    found = texts(gd.draw(gd.prod(x).named("y"), expand=True, mode="reverse"))
    assert "∂y/∂x = [24, 12, 8, 6]" in found


def test_expanding_what_is_not_there_says_what_is() -> None:
    with pytest.raises(GraphError, match=r"no composite 'softmax'; it has prod"):
        gd.draw(gd.prod(gd.variable([1.0, 2.0])), expand="softmax")


@pytest.mark.parametrize("limit", [1, 7, 50])
def test_what_is_beyond_max_nodes_is_folded_with_a_note_of_how_many(limit: int) -> None:
    y = gd.variable(1.0)
    for _ in range(99):
        y = gd.sin(y)
    found = labels(gd.draw(y, max_nodes=limit))
    assert len(found) == limit + 1
    assert f"… {100 - limit} more nodes\n1 variable among them" in found


# Colours ---------------------------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    """Relative luminance, by WCAG 2.1."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_text_is_readable_on_every_ground() -> None:
    for style in STYLES.values():
        assert all(contrast(style["fillcolor"], tone) >= 4.5 for tone in TONES.values())
    sizes = {power: 10.0**power for power in range(9)} | {"zero": 0.0, "infinite": np.inf}
    assert all(contrast(*colours) >= 4.5 for colours in shade(sizes).values())


def test_shades_darken_with_size_and_zero_and_infinity_stand_apart() -> None:
    shades = shade({0: 0.0, 1: 1e-9, 2: 1e-3, 3: 1.0, 4: np.nan})
    grounds = [shades[key][0] for key in range(5)]
    assert [luminance(each) for each in grounds[:4]] == sorted(map(luminance, grounds[:4]), reverse=True)
    assert len(set(grounds)) == 5
    figures = [
        swatch.figure
        for swatch in swatches({0: 0.0, 1: 1e-9, 2: 1e-3, 3: 1.0, 4: np.nan}, "{:.1g}".format)
        if swatch.figure
    ]
    assert figures == ["0", "1e-09", "3e-05", "1", "not finite"]


def test_colour_by_gradient_shows_it_vanish() -> None:
    model = gd.nn.MLP([6] * 5 + [1], "sigmoid", in_features=4, dtype="float64")
    loss = gd.mean(model(np.ones((3, 4))) ** 2).named("L")
    drawing = gd.draw(loss, colour="gradient", collapse=True)
    assert "mean |∂L/∂node|" in texts(drawing)
    grounds = dict(re.findall(r"<b>(\w+)</b>.*?fillcolor=\"(#\w+)\"", drawing.source))
    assert luminance(grounds["linear0"]) > luminance(grounds["linear6"]) > luminance(grounds["linear10"])


def test_colour_by_cost_and_time_has_a_legend_and_figures() -> None:
    _, loss = network()
    flops = gd.draw(loss, colour="flops", collapse=True)
    # (3, 4) @ (4, 5): 60 multiplications and 45 additions, then 15 additions of the bias.
    assert "linear0\n120 flops" in labels(flops)
    assert "floating-point operations" in texts(flops)
    assert "linear0\n@" not in "\n".join(labels(flops))
    assert any(re.fullmatch(r"[\d.]+ (ns|µs|ms)", text) for text in texts(gd.draw(loss, colour="time")))
    assert "bytes of the value" in texts(gd.draw(loss, colour="bytes"))


# Models ----------------------------------------------------------------------------------------------------------


def test_a_model_is_drawn_as_layers_with_shapes_and_parameters() -> None:
    model = gd.nn.MLP([16, 3], in_features=4)
    drawing = gd.draw(model)
    assert set(labels(drawing)) == {"x\nn × 4", "0 Linear\n80 parameters", "1 relu", "2 Linear\n51 parameters"}
    assert set(edges(drawing)) == {
        *[("x", "0 Linear", "n × 4"), ("0 Linear", "1 relu", "n × 16"), ("1 relu", "2 Linear", "n × 16")],
    }


def test_a_models_operations_are_counted_for_one_example() -> None:
    # 4 inputs, 16 outputs: 64 multiplications, 48 additions within the product and 16 of the bias.
    assert "0 Linear\n128 flops" in labels(gd.draw(gd.nn.MLP([16, 3], in_features=4), colour="flops"))


def test_shortcuts_are_drawn_and_a_model_that_infers_its_input_stays_as_it_is() -> None:
    block = gd.nn.Residual(gd.nn.Linear(8), gd.nn.Activation("tanh"))
    model = gd.nn.Sequential(gd.nn.Linear(8), gd.nn.BatchNorm(), block, gd.nn.Dropout(0.5))
    drawing = gd.draw(model, input_shape=4)
    assert model.layers[0].in_features is None
    assert clusters(drawing) == ["2 Residual"]
    assert ("1 BatchNorm", "+", "n × 8") in edges(drawing)
    assert "3 Dropout" in labels(drawing)
    whole = gd.draw(model, input_shape=4, collapse="2 Residual")
    assert "2 Residual\n72 parameters" in labels(whole)


def test_a_layer_that_is_used_twice_is_drawn_twice() -> None:
    relu = gd.nn.Activation("relu")
    drawing = gd.draw(gd.nn.Sequential(gd.nn.Linear(3, in_features=2), relu, gd.nn.Linear(2), relu), input_shape=2)
    assert {("1 relu", "2 Linear", "n × 3"), ("2 Linear", "3 relu", "n × 2")} <= set(edges(drawing))


def test_an_embedding_takes_integers() -> None:
    model = gd.nn.Sequential(gd.nn.Embedding(10, 4), gd.nn.Flatten(), gd.nn.Linear(2))
    assert "2 Linear\n26 parameters" in labels(gd.draw(model, input_shape=3))


def test_a_model_that_does_not_tell_its_input_says_how_to() -> None:
    with pytest.raises(GraphError, match=r"MLP does not tell the shape of its input: give input_shape"):
        gd.draw(gd.nn.MLP([3, 2]))
    with pytest.raises(ShapeError):
        gd.draw(gd.nn.MLP([3, 2], in_features=4), input_shape=5)
    with pytest.raises(ShapeError, match=r"non-negative integers, not 'x'"):
        gd.draw(gd.nn.MLP([3, 2], in_features=4), input_shape="x")
    with pytest.raises(GraphError, match=r"draw the model's output"):
        gd.draw(gd.nn.MLP([3, 2], in_features=4), expand=True)
    with pytest.raises(GraphError, match=r"input_shape, inputs and loss are for drawing a model"):
        gd.draw(lecture()[2], input_shape=3)


# Layout ----------------------------------------------------------------------------------------------------------


def test_a_thousand_nodes_are_drawn_by_graphviz_and_more_with_a_simple_layout_that_says_so() -> None:
    y = gd.variable(0.5)
    for _ in range(999):
        y = gd.sin(y)
    assert "layout=nop" not in gd.draw(y).source
    wide = [gd.sum(gd.stack([gd.variable(float(row)) for row in range(30)])) for _ in range(30)]
    drawing = gd.draw(gd.sum(gd.stack(wide)), max_nodes=None)
    assert "layout=nop" in drawing.source
    assert any(text.startswith("simple layout by depth") for text in texts(drawing))


@pytest.mark.parametrize("rankdir", ["LR", "RL", "TB", "BT"])
def test_the_simple_layout_keeps_the_direction_and_overlaps_nothing(
    rankdir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphdiff.draw.layout._PATIENCE", 0)
    drawing = gd.draw(network()[1], backward="joined", rankdir=rankdir)
    placed = re.findall(r'pos="(-?\d+),(-?\d+)"', drawing.source)
    assert len(placed) == len(set(placed)) == len(labels(drawing))
    where = {label.split("\n")[0]: tuple(map(int, place)) for label, place in zip(labels(drawing), placed, strict=True)}
    axis, sign = {"LR": (0, 1), "RL": (0, -1), "TB": (1, -1), "BT": (1, 1)}[rankdir]
    assert sign * where["tanh"][axis] < sign * where["L = mean"][axis]
    assert sign * where["W₁"][axis] < sign * where["tanh"][axis]


def test_collapsed_scopes_may_close_a_cycle() -> None:
    with gd.name_scope("one"):
        y = gd.variable(1.0, name="x") * 2
    z = gd.sin(y)
    with gd.name_scope("one"):
        w = z * y
    assert {("one", "sin"), ("sin", "one")} <= {edge[:2] for edge in edges(gd.draw(w, collapse=True))}


# What cannot be drawn --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "sideways"}, r"mode is 'forward', 'reverse', 'both', not 'sideways'"),
        ({"backward": "below"}, r"backward is 'joined', 'beside', not 'below'"),
        ({"colour": "red"}, r"colour is 'gradient', 'flops', 'bytes', 'time', not 'red'"),
        ({"rankdir": "up"}, r"rankdir is 'LR', 'BT', 'TB', 'RL', not 'up'"),
        ({"labels": ["weight"]}, r"labels are of 'op', .* not 'weight'"),
        ({"labels": "value"}, r"labels is a list, such as \['value'\]"),
        ({"max_nodes": 0}, r"max_nodes is at least 1"),
        ({"digits": 0}, r"digits is at least 1"),
        ({"seed": 1.0}, r"a seed is drawn with mode="),
        ({"mode": "forward"}, r"tangents follow one input: say which with wrt=…; there are 'a' float64\[\], 'b'"),
        ({"mode": "forward", "wrt": gd.variable(1.0, name="other")}, r"no path leads from 'other'"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        gd.draw(lecture()[2], **options)


def test_derivatives_of_what_is_no_scalar() -> None:
    x = gd.variable([1.0, 2.0], name="x")
    with pytest.raises(GraphError, match=r"single scalar output, and multiply float64\[2\] has 2 elements: reduce it"):
        gd.draw(x * 2, mode="reverse")
    with pytest.raises(GraphError, match=r"single scalar output, and there are 2"):
        gd.draw([x[0], x[1]], backward="joined")
    with pytest.raises(GraphError, match=r"'x' float64\[2\] has 2 elements: give the direction with seed"):
        gd.draw(gd.sum(x), mode="forward")


def test_sizes_of_what_has_no_value() -> None:
    y = gd.exp(gd.placeholder(name="x"))
    with pytest.raises(GraphError, match=r"has no value, and its gradient no size"):
        gd.draw(y, colour="gradient")
    with pytest.raises(GraphError, match=r"has no value, and no time to measure"):
        gd.draw(y, colour="time")


def test_what_carries_no_derivative_has_none_written_on_it() -> None:
    x = gd.variable(2.0, name="x")
    drawing = gd.draw(gd.where((x > 1).named("m"), x * x, gd.exp(x)).named("y"), mode="forward")
    [mask] = [label for label in labels(drawing) if label.startswith("m")]
    assert mask == "m = x > 1\n= True"
    told = {(origin, target): label for origin, target, label in edges(drawing)}
    assert told["m = x > 1", "y = where(m, v₁, v₂)"] == ""
    assert told["x = 2", "m = x > 1"] == ""


def test_literals_in_labels_have_the_digits_of_the_drawing() -> None:
    x = gd.variable(1.0, name="x")
    assert "y = x·1.732" in texts(gd.draw((x * 3.0**0.5).named("y")))


def test_masks_and_scales_are_drawn_within_their_layers() -> None:
    norm, drop = gd.nn.BatchNorm(3, dtype="float64"), gd.nn.Dropout(0.5, seed=0)
    model = gd.nn.Sequential(gd.nn.Linear(3, 2, dtype="float64"), norm, drop)
    x = gd.variable(np.ones((4, 2)) * [[1.0], [2.0], [3.0], [5.0]], name="x")
    assert {label.split("\n")[0] for label in labels(gd.draw(model(x), collapse=True))} == {
        "x",
        "linear0",
        "batchnorm1",
        "dropout2",
    }
    layers = {label.split("\n")[0] for label in labels(gd.draw(model))}
    assert layers == {"x", "0 Linear", "1 BatchNorm", "2 Dropout"}
