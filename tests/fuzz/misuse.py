"""Random wrong calls of everything public: each ends in a result or in a GraphDiffError, soon."""

from __future__ import annotations

import inspect
import io
import re
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import graphdiff as gd
from graphdiff.tensor import current_trace

from .cases import HEADER, Difference, Refused, executed, one_line

FILENAME = "<misuse>"
MEMORY = 2 << 30
"""What a call may take: it is given no number that asks for more."""
GIVEN = """
gd.random.seed()
x, m, s = gd.constant([1.0, -2.0, 3.0]), gd.variable([[1.0, 2.0], [3.0, 5.0]]), gd.variable(0.5)
cube, whole, truth = gd.ones((2, 3, 2)), gd.constant([2, 0, 1]), gd.constant([True, False, True])
free, none, wide = gd.placeholder((3,)), gd.zeros((0, 2)), gd.constant([1 + 2j, 3.0])
model, single = gd.nn.Sequential(gd.nn.Linear(2, in_features=3, seed=1)), gd.nn.Linear(1, in_features=2, seed=2)
optimizer = gd.optim.SGD(model.parameters(), lr=0.1)
data, labels = (np.ones((6, 3), "float32"), np.ones((6, 2), "float32")), np.array([0, 1, 1])
"""

# What may be given -------------------------------------------------------------------------------------------------

ARRAYS = [
    "x",
    "m",
    "s",
    "cube",
    "whole",
    "truth",
    "[1.0, 2.0]",
    "[[1.0, 2.0], [3.0, 4.0]]",
    "2.0",
    "3",
    "none",
    "free",
    "m.T",
]
NUMBERS = [
    "0",
    "1",
    "2",
    "-1",
    "0.5",
    "1e-3",
    "3.0",
    "-2.5",
    "True",
    "s",
    "np.float64(0.5)",
    "np.int64(1)",
    "gd.constant(1)",
]
WRONG = [
    *(
        "None",
        "'abc'",
        "''",
        "b'x'",
        "-1",
        "0",
        "2.5",
        "1000",
        "10**20",
        "-10**20",
        "nan",
        "inf",
        "-inf",
        "1e300",
        "1j",
        "wide",
    ),
    *(
        "[]",
        "()",
        "{}",
        "{'a': 1.0}",
        "[None]",
        "['a', 'b']",
        "[[1.0], [2.0, 3.0]]",
        "object()",
        "int",
        "len",
        "lambda: 1.0",
    ),
    *(
        "lambda z: z",
        "lambda z: 'abc'",
        "lambda z: None",
        "slice(0, 2)",
        "...",
        "np.array('abc')",
        "np.array([None, 1])",
        "set()",
    ),
    *(
        "np.datetime64('2020-01-01')",
        "np.array(['2020-01-01'], 'datetime64[D]')",
        "np.zeros(0)",
        "range(3)",
        "iter([1.0])",
    ),
    *(
        "model",
        "single",
        "optimizer",
        "gd",
        "gd.Graph",
        "free",
        "wide",
        "(1, -2)",
        "(2.5,)",
        "(1, 1)",
        "(0, 0)",
        "{1, 2}",
        "[x, m]",
    ),
    *(
        "[x, 'abc']",
        "{'a': x}",
        "np.ma.masked_array([1.0, 2.0], [0, 1])",
        "np.ones((2, 2, 2, 2))",
        "np.array([1.0, nan])",
        "-0.0",
    ),
    *(
        "np.float16(3)",
        "np.ones(3, 'float16')",
        "np.array([1 + 2j])",
        "np.ones(2, 'uint8')",
        "memoryview(b'ab')",
        "[x, None]",
        "x == x",
    ),
    *(
        "Exception",
        "NotImplemented",
        "type('Own', (), {})()",
        "'float64'",
        "'sum'",
        "10**400",
        "[10**30]",
        "['1.0']",
        "np.str_('1')",
    ),
]
AXES = ["0", "1", "-1", "None", "(0, 1)", "7", "-9", "(0, 0)", "[0]", "np.int64(0)", "()", "1.0", "'0'", "whole"]
SHAPES = [
    "(2, 3)",
    "3",
    "()",
    "(0,)",
    "(-1, 2)",
    "(-1, -1)",
    "[1, 3]",
    "-2",
    "2.0",
    "(2, 'a')",
    "None",
    "np.int64(3)",
    "(3, None)",
]
DTYPES = [
    "'float64'",
    "'float32'",
    "'int8'",
    "'abc'",
    "np.float32",
    "float",
    "int",
    "bool",
    "'complex64'",
    "object",
    "'U3'",
    "None",
]
FUNCTIONS = [
    *(
        "gd.sin",
        "lambda z: gd.sum(z * z)",
        "lambda z: z",
        "lambda *a: a[0]",
        "lambda: 1.0",
        "lambda z: 'abc'",
        "lambda z: None",
    ),
    *(
        "lambda z: {'a': z}",
        "lambda z: z[0]",
        "lambda z: float(z)",
        "gd.nn.Linear(1, in_features=3)",
        "None",
        "3",
        "'sin'",
        "len",
    ),
    *(
        "lambda z: [z, None]",
        "lambda z: gd.sum(z) > 0",
        "lambda z: z + 1j",
        "gd.compile(gd.sin)",
        "model",
        "lambda a, b: a * b",
    ),
]
INDICES = [
    *(
        "0",
        "-1",
        "5",
        "'a'",
        "1.5",
        "None",
        "...",
        "[0, 1]",
        "[0.5]",
        "['a']",
        "slice(None)",
        "slice('a')",
        "slice(0.5, 2)",
        "(0, 0, 0, 0)",
    ),
    *(
        "[True, False]",
        "[[0], [1, 2]]",
        "x",
        "whole",
        "truth",
        "(..., ...)",
        "np.zeros(0)",
        "np.zeros(0, int)",
        "10**20",
        "object()",
        "free",
    ),
    *(
        "slice(None, None, 0)",
        "np.array('a')",
        "(None, 'a')",
        "{}",
        "True",
        "1j",
        "s",
        "np.array([[True, False]])",
        "[None]",
        "()",
        "[]",
    ),
]
BY_NAME = {
    name: items
    for names, items in (
        ("axis axes axis1 axis2 in_axes out_axes source destination argnums", AXES),
        ("shape input_shape repetitions pad_width sizes repeats shift", SHAPES),
        ("dtype", DTYPES),
        ("function loss model callback", FUNCTIONS),
        ("index indices labels", INDICES),
        (
            "parameters of",
            ["[m, s]", "model.parameters()", "[x]", "m", "[]", "[m, m]", "model", "[{'params': [m]}]", "None"],
        ),
        (
            "parts arguments tangents operands",
            ["[x, x]", "[m, m]", "(x,)", "[]", "x", "3", "[x, m]", "'ab'", "[1.0]"],
        ),
        (
            "data",
            ["data", "(x, x)", "None", "data[0]", "(data[0],)", "(m, labels)", "('a', 'b')", "(data[0], data[1][:3])"],
        ),
        ("keepdims affine bias nesterov shuffle", ["True", "False", "1", "'yes'", "None", "x"]),
        (
            "subscripts",
            [
                "'ij,jk->ik'",
                "'i,i'",
                "'ii'",
                "'ij->'",
                "'...'",
                "'i->j'",
                "'i,,'",
                "'->'",
                "''",
                "3",
                "'iI'",
                "'i->ii'",
            ],
        ),
        ("path", ["'file'", "'no/such/folder/file'", "''", "None", "3", "'nul\\0'", "'.'", "b'file'"]),
        (
            "epochs batch_size steps num count classes k n rows columns",
            [*NUMBERS, "3", "'3'"],
        ),
    )
    for name in names.split()
}
"""What is given most often to parameters of these names."""
SKIPPED = {"compare_modes", "Tensor", "Variable"}
"""What measures for long whatever it is given, and what is never made directly."""
APPLIED = ("gd.grad", "gd.value_and_grad", "gd.jacobian", "gd.hessian", "gd.vmap", "gd.compile", "gd.sparse_jacobian")
METHODS = ("item", "tolist", "numpy", "to", "named", "backward", "at", "describe")
OPERATORS = ("+", "-", "*", "/", "//", "%", "**", "@", "<", ">=", "==", "&", "|", "^")


@cache
def callables() -> dict[str, tuple[str, ...]]:
    """Return the text of everything public that can be called, with the names of its parameters."""
    found: dict[str, Any] = {}
    for prefix, module in (
        ("gd", gd),
        ("gd.linalg", gd.linalg),  # type: ignore[attr-defined]
        ("gd.random", gd.random),
        ("gd.nn", gd.nn),
        ("gd.optim", gd.optim),
        ("gd.optim.schedules", gd.optim.schedules),
        ("gd.train", gd.train),
    ):
        for name in getattr(module, "__all__", None) or dir(module):
            item = getattr(module, name)
            own = str(getattr(item, "__module__", None)).startswith("graphdiff")
            if callable(item) and own and not name.startswith("_") and name not in SKIPPED and not is_error(item):
                found[f"{prefix}.{name}"] = item
    for subject in ("x", "m", "s", "cube", "whole", "free"):
        for name in (*METHODS, *(method for method in dir(gd.Tensor) if method in dir(gd) and method != "value")):
            found[f"{subject}.{name}"] = getattr(gd.Tensor, name)
    found["m.assign"] = gd.Variable.assign
    for name in ("forward", "load_state", "train", "state", "named_parameters", "config"):
        found[f"model.{name}"] = getattr(gd.nn.Sequential, name)
    for name in ("minimize", "step", "load_state", "scale_loss", "zero_grad"):
        found[f"optimizer.{name}"] = getattr(gd.optim.SGD, name)
    return {text: parameters_of(item) for text, item in found.items() if callable(item)}


def is_error(item: Any) -> bool:
    return isinstance(item, type) and issubclass(item, BaseException)


def parameters_of(item: Any) -> tuple[str, ...]:
    try:
        names = inspect.signature(item).parameters
    except (TypeError, ValueError):
        return ("x",)
    return tuple(name for name in names if name != "self")


# Cases -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Misuse:
    """One call: a template with slots for the arguments' texts."""

    called: str
    form: str
    """"call", "operator", "index", "applied" (what the call returns is called in turn), or "compiled"."""
    positional: tuple[str, ...]
    named: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        given = ", ".join([*self.positional, *(f"{name}={value}" for name, value in self.named)])
        forms = {
            "call": lambda: f"{self.called}({given})",
            "operator": lambda: f"({self.positional[0]}) {self.called} ({self.positional[1]})",
            "index": lambda: f"{self.called}[{self.positional[0]}]",
            "applied": lambda: f"{self.called}({given})(x)",
            "compiled": lambda: f"gd.compile({self.called})({given})",
        }
        return forms[self.form]()

    def source(self) -> str:
        return f"{HEADER}{GIVEN}\n{self.text}\n"

    def check(self) -> Difference | None:
        names = executed(GIVEN)
        try:
            with padded_cell():
                eval(compile(self.text, FILENAME, "eval"), names)
        except gd.GraphDiffError as error:
            return self.of_message(error)
        except MemoryError as error:
            raise Refused("MemoryError") from error
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            if not any("graphdiff" in frame.filename for frame in frames) or self.is_call_syntax(error):
                return None  # Python's own word on the call, or another library's
            return Difference(f"{self.called}: {type(error).__name__}: {shape_of(error)}", one_line(error))
        if current_trace() is not None:
            return Difference(f"{self.called}: left a trace open", self.text)
        return None

    def is_call_syntax(self, error: Exception) -> bool:
        """Whether Python says that a function of the user's text is called with other arguments than it takes."""
        said = re.match(r"([\w.<>]+)\(\) (takes|missing|got)", str(error)) if isinstance(error, TypeError) else None
        if said is None:
            return False
        name = said[1].split(".")[-1].strip("<>")
        own = (
            {"__init__", "forward", getattr(eval(self.called, executed(GIVEN)), "__name__", "")}
            if self.form != "operator"
            else set()
        )
        return name in self.text or name in own

    def of_message(self, error: gd.GraphDiffError) -> Difference | None:
        return None if str(error).strip() else Difference(f"{self.called}: says nothing", repr(error))

    def smaller(self) -> Iterator[Misuse]:
        """Yield calls with an argument less, or a plain one in its place."""
        for place in range(len(self.named)):
            yield replace(self, named=self.named[:place] + self.named[place + 1 :])
        for place in reversed(range(len(self.positional))):
            if self.form in ("call", "applied", "compiled"):
                yield replace(self, positional=self.positional[:place] + self.positional[place + 1 :])
        for place, text in enumerate(self.positional):
            if text not in ("x", "2.0"):
                for plain in ("x", "2.0"):
                    yield replace(self, positional=(*self.positional[:place], plain, *self.positional[place + 1 :]))


@cache
def own_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="misuse")


@contextmanager
def padded_cell() -> Iterator[None]:
    """Let what is called write nothing but files of its own, and take no more memory than a few gigabytes."""
    with chdir(own_folder().name), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), little_memory():
        yield


@contextmanager
def little_memory() -> Iterator[None]:
    try:
        import resource
    except ImportError:  # Windows
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 1 << 20
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def shape_of(error: Exception) -> str:
    """Return an error's text without what differs from call to call."""
    text = re.sub(r"'[^']*'|\"[^\"]*\"", "'…'", str(error).splitlines()[0] if str(error) else "")
    return re.sub(r"-?\d[\d.e+]*", "#", text)[:80]


class Vandal:
    """Thinks up one wrong call."""

    def __init__(self, seed: int, number: int) -> None:
        self.stream = np.random.default_rng([seed, number, 3])

    def chance(self, probability: float) -> bool:
        return bool(self.stream.random() < probability)

    def pick(self, items: Any) -> Any:
        items = list(items)
        return items[int(self.stream.integers(len(items)))]

    def argument(self, name: str) -> str:
        if self.chance(0.3):
            return self.pick(WRONG)
        fitting = BY_NAME.get(name)
        if fitting is not None and self.chance(0.8):
            return self.pick(fitting)
        return self.pick(ARRAYS if self.chance(0.6) else NUMBERS)

    def misuse(self) -> Misuse:
        form = self.pick(["call"] * 12 + ["operator", "index", "applied", "compiled"])
        if form == "operator":
            sides = [self.pick(ARRAYS[:6]), self.argument("other")]
            self.stream.shuffle(sides)
            return Misuse(self.pick(OPERATORS), form, tuple(sides))
        if form == "index":
            return Misuse(
                self.pick(["x", "m", "cube", "free", "s", "gd.at(x, 0)"]), form, (self.pick(INDICES + WRONG),)
            )
        known = callables()
        called = self.pick(known)
        if form == "applied":
            called = self.pick(APPLIED)
        if form == "compiled":
            called = self.pick([name for name in known if name.startswith("gd.") and name.count(".") == 1])
        names = known[called]
        needed = [
            name for name in names if name not in BY_NAME or name in ("axes", "shape", "indices", "function", "parts")
        ]
        count = int(self.stream.choice([len(needed), 1, 2, 3, len(names), 0], p=[0.4, 0.25, 0.15, 0.08, 0.1, 0.02]))
        positional = tuple(self.argument(name) for name in (*names, "extra", "extra")[:count])
        rest = [name for name in names[count:] if self.chance(1.5 / max(1, len(names) - count))]
        named = [(name, self.argument(name)) for name in rest if name.isidentifier()]
        if self.chance(0.03):
            named.append(("nonsense", "1"))
        return Misuse(called, form, positional, tuple(named))


def make(seed: int, number: int) -> Misuse:
    """Think up misuse `number` of a seed."""
    return Vandal(seed, number).misuse()
