"""An op that is declared once, here, is counted, drawn, compiled, batched and documented like those of the engine."""

import importlib.util
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.op import FUNCTIONS, OPS, Work

X = np.array([0.3, -1.2, 0.8])
REFERENCE = Path(__file__).parent.parent / "docs" / "make_op_reference.py"


@pytest.fixture
def declare() -> Callable[..., Any]:
    """Return a function that declares an op until the end of the test."""
    return lambda kind, name, *rules, **options: getattr(gd.op, kind)(name, *rules, **options)


@pytest.fixture
def versine(declare: Callable[..., Any]) -> Any:
    """1 - cos(x), of which NumPy knows nothing."""
    return declare(
        "elementwise",
        "versine",
        lambda F, out, x: F.sin(x),
        dtype="float",
        evaluate=lambda F, x: 1 - F.cos(x),
        symbol="vers",
        doc="1 - cos(x).",
    )


@pytest.fixture
def reversal(declare: Callable[..., Any]) -> Any:
    """The last axis backwards: a linear op that only moves elements."""

    def batch(F: Any, operands: Any, flags: Any, size: int) -> Any:
        return op(operands[0])

    op = declare(
        "linear",
        "reversal",
        lambda F, cotangent, x: FUNCTIONS["reversal"](cotangent) if F.is_graph else cotangent[..., ::-1],
        evaluate=lambda F, x: x[..., ::-1],
        infer=lambda x: (x.shape, x.dtype),
        batch=batch,
        work="move",
        keeps="elements",
    )
    return op


def test_values_derivatives_and_batches(versine: Any) -> None:
    np.testing.assert_allclose(versine(X).numpy(), 1 - np.cos(X), rtol=1e-15)
    assert gd.check_grads(versine, X, order=2).passed
    table = np.stack([X, 2 * X])
    np.testing.assert_allclose(gd.vmap(versine)(table).numpy(), 1 - np.cos(table), rtol=1e-15)
    np.testing.assert_allclose(gd.compile(versine)(X).numpy(), 1 - np.cos(X), rtol=1e-15)


@pytest.mark.parametrize("mode", ["auto", "forward", "reverse", "elimination"])
def test_jacobians(versine: Any, reversal: Any, mode: str) -> None:
    expected = np.diag(np.sin(X))[::-1]
    np.testing.assert_allclose(gd.jacobian(lambda x: reversal(versine(x)), mode=mode)(X).numpy(), expected, rtol=1e-15)


def test_what_keeps_elements_makes_no_vertices(reversal: Any) -> None:
    def order(f: Callable[..., Any]) -> Any:
        x = gd.variable(X)
        return gd.elimination_order(gd.Graph(f(x), [x]))

    assert len(order(lambda x: gd.sin(reversal(gd.sin(x))))) == len(order(lambda x: gd.sin(gd.sin(x)))) == 3


def test_an_op_costs_what_its_evaluation_is_written_in(versine: Any) -> None:
    cost = gd.cost(versine, X)
    assert (cost.multiplications, cost.additions, cost.transcendental, cost.calls) == (0, 3, 3, 2)


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        ("multiplication", (3, 0, 0, 1, 0)),
        ("addition", (0, 3, 0, 1, 0)),
        ("transcendental", (0, 0, 3, 1, 0)),
        ("comparison", (0, 0, 0, 1, 0)),
        ("sign", (0, 0, 0, 1, 0)),
        ("move", (0, 0, 0, 1, 0)),
        ("view", (0, 0, 0, 1, 1)),
        (lambda out, x: Work(multiplications=2 * x.size, additions=out.size - 1), (6, 2, 0, 1, 0)),
    ],
)
def test_an_op_costs_what_it_declares(declare: Callable[..., Any], work: Any, expected: tuple[int, ...]) -> None:
    apply = declare("elementwise", "working", 1, evaluate=lambda F, x: 1 - F.cos(x), work=work)
    cost = gd.cost(apply, X)
    assert (cost.multiplications, cost.additions, cost.transcendental, cost.calls, cost.views) == expected
    assert cost.nbytes == (0 if work == "view" else 48)


def test_an_unknown_sort_of_work_declares_nothing(declare: Callable[..., Any]) -> None:
    for option, message in (({"work": "thinking"}, "work of op 'idle'"), ({"keeps": "quiet"}, "op 'idle' keeps")):
        with pytest.raises(gd.errors.OpError, match=message):
            declare("elementwise", "idle", 1, **option)
    assert "idle" not in OPS
    assert "idle" not in FUNCTIONS


def test_two_calls_of_what_is_not_pure_are_two_calls(declare: Callable[..., Any]) -> None:
    drawn = iter(range(100))
    options: dict[str, Any] = {"evaluate": lambda F, x: x + next(drawn), "infer": lambda x: (x.shape, x.dtype)}
    anew = declare("linear", "drawn_anew", lambda F, cotangent, x: cotangent, **options, pure=False)
    f = gd.compile(lambda x: anew(x) - anew(x))
    assert f(2.0).item() == -1.0
    assert f(2.0).item() == -1.0
    assert next(drawn) == 4


def test_pictures_and_tables(versine: Any, capsys: pytest.CaptureFixture[str]) -> None:
    x = gd.variable(0.5, name="x")
    y = versine(x)
    assert "vers" in gd.draw(y).source
    assert "versine(x)" in str(gd.trace(y))
    gd.show(y)
    assert "versine(x)" in capsys.readouterr().out
    assert "sin(x)" in str(gd.trace(y, mode="reverse"))
    assert gd.Graph.from_networkx(gd.Graph(y).to_networkx()).outputs[0].op is y.op
    assert pickle.loads(pickle.dumps(y)).op is y.op


def test_the_reference_writes_its_line(versine: Any) -> None:
    spec = importlib.util.spec_from_file_location("make_op_reference", REFERENCE)
    assert spec is not None
    assert spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    assert reference.row(versine, ["versine"]) == "| `versine` | 1 - cos(x). | elementwise | ∂z/∂x = sin(x) |"


def test_an_op_that_its_evaluation_needs_is_not_opened() -> None:
    """The evaluation of eigh packs what the array library's eigh returns, which as graph is this op again."""
    matrix = np.diag([1.0, 2.0, 4.0]) + 0.1
    assert gd.cost(lambda x: gd.linalg.eigh(x)[0], matrix).calls == 9
    f = gd.compile(lambda x: gd.linalg.eigh(x)[0])
    np.testing.assert_allclose(f(matrix).numpy(), np.linalg.eigvalsh(matrix), rtol=1e-13)
    assert "open      nothing to do" in f.plans[0].explain()


# A name that is declared again, and options by position --------------------------------------------------------------


def test_an_op_of_ones_own_is_replaced_where_it_is_declared_again() -> None:
    def cell(factor: float):
        return gd.op.elementwise(
            "mended_cell", lambda F, out, x: factor * F.ones_like(x), evaluate=lambda F, x: factor * x
        )

    first = cell(2.0)
    kept = gd.variable(1.0)
    graph = first(kept)
    around = gd.op.composite("around_the_mended_cell", lambda F, x: F.mended_cell(x) + 1.0)
    assert around(3.0).item() == 7.0
    second = cell(5.0)
    assert (second(3.0).item(), gd.mended_cell(3.0).item(), around(3.0).item()) == (15.0, 15.0, 16.0)
    assert gd.grad(around)(3.0).item() == 5.0
    graph.backward()  # what was built with the earlier one stays what it was
    assert kept.grad == 2.0
    assert OPS["mended_cell"] is second.op


@pytest.mark.parametrize("name", ["tanh", "median", "sum", "concat"])
def test_graphdiffs_own_functions_are_not_replaced(name: str) -> None:
    before = FUNCTIONS[name]
    with pytest.raises(gd.errors.OpError, match=f"already is an op '{name}' of graphdiff"):
        gd.op.elementwise(name, 1, evaluate=lambda F, x: x)
    assert FUNCTIONS[name] is before


def test_options_stand_in_signatures_and_may_be_given_by_position() -> None:
    import inspect

    x = np.array([-1.0, 2.0])
    np.testing.assert_array_equal(gd.elu(x, 2.0).numpy(), gd.elu(x, alpha=2.0).numpy())
    np.testing.assert_array_equal(gd.leaky_relu(x, 0.5).numpy(), [-0.5, 2.0])
    assert gd.grad(lambda x: gd.leaky_relu(x, 0.5))(-1.0).item() == 0.5
    assert str(inspect.signature(gd.elu)) == "(x, /, *, alpha=1.0)"
    scaled = gd.op.custom(
        "scaled_by_option",
        evaluate=lambda F, x, *, by: by * x,
        adjoint=lambda F, v, position, out, x, *, by: by * v,
    )
    assert scaled(2.0, 3.0).item() == scaled(2.0, by=3.0).item() == 6.0
    for call, said in (
        (lambda: gd.elu(x, 2.0, 3.0), "3 arguments by position"),
        (lambda: gd.elu(x, 2.0, alpha=3.0), "2 arguments by position"),
        (lambda: gd.elu(x, beta=2.0), r"elu\(x, /, \*, alpha=1\.0\) was called with beta"),
        (lambda: gd.elu(), "0 arguments by position"),
        (lambda: scaled(2.0, 3.0, 4.0), "3 arguments by position"),
    ):
        with pytest.raises(gd.errors.OpError, match=said):
            call()
