"""The sentences of random programs: templates of expressions, and what may stand in their slots."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import graphdiff as gd
from graphdiff.op import OPS, Elementwise

EXACT = {
    *("abs", "add", "subtract", "multiply", "negative", "positive", "maximum", "minimum", "relu", "sign", "floor"),
    *("ceil", "trunc", "round", "square", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal"),
    *("logical_and", "logical_or", "logical_xor", "logical_not", "isnan", "isfinite", "isinf", "stop_gradient"),
    *("bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_invert", "hard_tanh"),
}
"""Elementwise ops whose results are exact on small multiples of a power of two."""
HIDDEN = {"gelu_tanh_slope"}


def elementwise_templates() -> list[tuple[str, bool]]:
    """Return a call of every elementwise op, by graphdiff's and by NumPy's name, and whether it is exact."""
    found = []
    for op in OPS.values():
        if not isinstance(op, Elementwise) or op.name in HIDDEN or op.name not in dir(gd):
            continue
        operands = ", ".join(["{x}", "{y}", "{z}"][: len(op.partials)])
        found.append((f"gd.{op.name}({operands})", op.name in EXACT))
        numpy_name = getattr(np, op.name, None)
        if isinstance(numpy_name, np.ufunc) and numpy_name.nin == len(op.partials):
            found.append((f"np.{op.name}({operands})", op.name in EXACT))
    return found


OPERATORS = [
    *(f"{{x}} {sign} {{y}}" for sign in ("+", "-", "*")),
    *(f"{{x}} {sign} {{c}}" for sign in ("+", "-", "*")),
    *(f"{{c}} {sign} {{x}}" for sign in ("+", "-", "*")),
    *(f"{{x}} {sign} {{s}}" for sign in ("+", "-", "*")),
    *(f"{{s}} {sign} {{x}}" for sign in ("+", "-", "*")),
    *(f"{{x}} {sign} {{y}}" for sign in ("<", "<=", ">", ">=", "==", "!=", "&", "|", "^")),
    *("-{x}", "+{x}", "abs({x})", "~{x}"),
    *("{x} * {x}", "{x} + {x}", "{x} - {x}", "{x} @ {y}", "{x} @ {x}.T", "{x}.T @ {x}"),
]
VIEWS = [
    *("{x}", "{x}.T", "{x}[{i}]", "{x}[{i}]", "{x}[{i}]", "gd.reshape({x}, {shape})", "{x}.reshape({shape})"),
    *("gd.ravel({x})", "{x}.flatten()", "gd.broadcast_to({x}, {wide})", "gd.transpose({x}, {order})"),
    *("gd.expand_dims({x}, {axis})", "gd.squeeze({x})", "gd.flip({x}, {axis})", "{x}.copy()", "{x}.mT"),
    *("gd.swapaxes({x}, {axis}, -1)", "gd.moveaxis({x}, {axis}, 0)", "gd.stop_gradient({x})", "gd.diagonal({x})"),
    *("np.transpose({x})", "np.reshape({x}, {shape})", "np.broadcast_to({x}, {wide})", "gd.atleast_2d({x})"),
    *("gd.fliplr({x})", "gd.split({x}, 1)[0]", "gd.unstack({x})[0]"),
]
MOVES = [
    *("gd.concatenate([{x}, {x}], axis={axis})", "gd.concatenate([{x}, {y}])", "gd.stack([{x}, {y}])"),
    *("gd.stack([{x}, {x}], axis=-1)", "gd.hstack([{x}, {y}])", "gd.vstack([{x}, {y}])", "gd.column_stack([{x}, {y}])"),
    *("gd.append({x}, {y})", "gd.where({x} > {y}, {x}, {y})", "gd.where({x} > {c}, {x}, {s})"),
    *("gd.where({x} <= 0, 0.0, {y})", "gd.clip({x}, -1, 1)", "np.clip({x}, -1.0, {s})", "gd.roll({x}, {n}, {axis})"),
    *("gd.tile({x}, {n})", "gd.repeat({x}, {n}, {axis})", "gd.repeat({x}, {n})", "gd.pad({x}, {n})", "gd.tril({x})"),
    *("gd.triu({x}, 1)", "gd.diag({x})", "gd.sort({x}, axis={axis})", "gd.argsort({x}, axis={axis})"),
    *("gd.topk({x}, 1, axis={axis})[0]", "gd.take({x}, [0, -1], axis={axis})", "gd.take({x}, {ints})"),
    *(
        "gd.max({x}, axis={axes}, keepdims={keep})",
        "gd.min({x}, axis={axes}, keepdims={keep})",
        "gd.argmax({x}, {axis})",
    ),
    *("{x}.max({axis})", "np.max({x}, axis={axis})", "gd.argmin({x})", "gd.any({x}, axis={axes})", "gd.all({x} > 0)"),
    *("gd.sum({x}, axis={axes}, keepdims={keep})", "{x}.sum({axis})", "np.sum({x}, axis={axis})", "gd.sum({x})"),
    *("gd.cumsum({x}, axis={axis})", "gd.diff({x}, axis={axis})", "gd.zeros_like({x})", "gd.ones_like({x})"),
    *("gd.full_like({x}, {c})", "gd.at({x}, {i}).set({c})", "gd.at({x}, {i}).add({c})", "{x}.at[{i}].set({s})"),
    *("gd.astype({x}, {dtype})", "{x}.astype({dtype})", "gd.full({wide}, {s})", "gd.eye({n})", "gd.arange({n})"),
    *("gd.take_along_axis({x}, gd.argmax({x}, -1, keepdims=True), axis=-1)", "gd.one_hot({ints}, 4)", "gd.trace({x})"),
    *("{x}[{ints}]", "{x}[gd.argmin({x}, 0)]", "gd.nan_to_num({x})", "gd.meshgrid({x}, {y})[0]"),
    *("gd.array({x})" if hasattr(gd, "array") else "{x}", "gd.ptp({x})", "np.where({x} > 0, {x}, {y})"),
]
COMPUTED = [
    *("{x} / {y}", "{x} / {c}", "{c} / {x}", "{x} // {y}", "{x} % {y}", "{x} ** 2", "{x} ** {c}", "{x} ** {y}"),
    *("{s} / {x}", "{x} ** 0.5", "2.0 ** {x}", "{x} / (1 + {x} * {x})"),
    *("gd.mean({x}, axis={axes}, keepdims={keep})", "gd.mean({x})", "{x}.mean({axis})", "gd.var({x}, axis={axis})"),
    *("gd.std({x})", "gd.std({x}, axis={axis}, keepdims={keep})", "gd.prod({x})", "gd.prod({x}, axis={axis})"),
    *("gd.cumprod({x}, axis={axis})", "gd.logsumexp({x}, axis={axes})", "gd.softmax({x}, axis={axis})"),
    *("gd.log_softmax({x}, axis={axis})", "gd.norm({x})", "gd.norm({x}, axis={axis})", "gd.norm({x}, 1)"),
    *("gd.median({x})", "gd.quantile({x}, 0.3)", "gd.average({x}, {axis})", "gd.dot({x}, {y})", "gd.matmul({x}, {y})"),
    *("gd.inner({x}, {y})", "gd.outer({x}, {y})", "gd.vdot({x}, {x})", "gd.vecdot({x}, {y})", "gd.kron({x}, {y})"),
    *("gd.tensordot({x}, {y}, 1)", "gd.einsum('...i,...i->...', {x}, {y})", "gd.einsum('ij,kj->ik', {x}, {y})"),
    *(
        "gd.einsum('i...->...', {x})",
        "gd.cross({x}, {y})",
        "gd.trapezoid({x})",
        "gd.interp({x}, [-1.0, 0.0, 2.0], [1.0, 3.0, 2.0])",
    ),
    *("gd.solve({x} @ {x}.T + 2 * gd.eye({x}.shape[0]), {x})", "gd.inv({x} @ {x}.T + 2 * gd.eye({x}.shape[0]))"),
    *("gd.det({x} @ {x}.T + gd.eye({x}.shape[0]))", "gd.cholesky({x} @ {x}.T + 2 * gd.eye({x}.shape[0]))"),
    *("gd.slogdet({x} @ {x}.T + gd.eye({x}.shape[0]))[1]", "gd.matrix_power({x}, 2)"),
    *("gd.elu({x}, alpha={c})", "gd.leaky_relu({x}, slope=0.25)", "gd.gelu({x})"),
    *("gd.sum({x} * {y})", "gd.sum({x} * {x}, axis={axis})", "gd.mean({x} * {x})", "gd.sum(gd.relu({x}) * {y})"),
    *(
        "gd.relu({x}) * {y}",
        "gd.relu({x}) @ {y}",
        "gd.mean(gd.relu({x}))",
        "{x} @ {y} + {z}",
        "gd.tanh({x} @ {y} + {z})",
    ),
    *("gd.nn.squared_error({x}, {y})", "gd.nn.huber({x}, {y})", "gd.nn.absolute_error({x}, {y})"),
    *("gd.nn.softmax_cross_entropy({x}, gd.argmax({x}, -1))", "gd.nn.binary_cross_entropy({x}, {x} > 0)"),
    *("({x} - gd.mean({x}, axis=0)) / (1 + gd.std({x}, axis=0))", "{x} - gd.max({x}, axis=-1, keepdims=True)"),
    "gd.compile(lambda z: {u})({x})",
    "gd.checkpoint(lambda z: {u})({x})",
    "gd.vmap(lambda z: {u})({x})",
]
DERIVATIVES = [
    *("gd.grad(lambda z: gd.sum({u}))({x})", "gd.grad(lambda z: gd.mean({u}))({x})"),
    *("gd.grad(lambda z: gd.sum({u} * {y}))({x})", "gd.value_and_grad(lambda z: gd.sum({u}))({x})[1]"),
    *("gd.value_and_grad(lambda z: gd.sum({u}))({x})[0]", "gd.vjp(lambda z: {u}, {x})[0]"),
    *(
        "gd.vjp(lambda z: {u} * {x}, {x})[1](gd.ones({x}.shape, dtype={x}.dtype))[0]",
        "gd.vjp(gd.relu, {x})[1]({like})[0]",
    ),
    *("gd.vjp(lambda z: {u}, {x})[1](np.ones({x}.shape, {x}.dtype))[0]", "gd.jvp(lambda z: {u}, ({x},), ({like},))[1]"),
    *("gd.jvp(lambda z: {u}, ({x},), ({x},))[1]", "gd.jvp(lambda z: {u}, ({x},), (gd.ones_like({x}),))[0]"),
    *(f"gd.jacobian(lambda z: {{u}}, mode={mode!r})({{x}})" for mode in ("auto", "forward", "reverse", "elimination")),
    *("gd.hvp(lambda z: gd.sum({u}), {x}, {like})", "gd.hessian(lambda z: gd.sum({u}))({x})"),
    *("gd.grad(lambda z: gd.sum(gd.grad(lambda z: gd.sum({u}))(z) * z))({x})", "gd.jacobian(lambda z: {u})({x})"),
    *("gd.grad(lambda z, v: gd.sum({u} * v), (0, 1))({x}, {y})[1]", "gd.grad(lambda z: gd.sum(z))({x})"),
    *("gd.grad(lambda z: gd.sum({u}) + gd.sum({u}))({x})", "gd.grad(lambda z: gd.sum({x} * {x}) + gd.sum(z))({x})"),
]
INNER = [
    *(
        "z",
        "z * z",
        "gd.sin(z)",
        "gd.relu(z)",
        "gd.tanh(z)",
        "z * {y}",
        "z + {y}",
        "{x} * z",
        "gd.exp(z)",
        "gd.square(z)",
    ),
    *(
        "gd.abs(z)",
        "gd.maximum(z, {c})",
        "gd.where(z > {c}, z, {s})",
        "gd.where(z > 0, gd.sqrt(z), 0.0)",
        "z / (1 + z * z)",
    ),
    *("gd.sigmoid(z)", "gd.clip(z, -1, 1)", "gd.cumsum(z, axis=-1)", "z[..., ::-1]", "z * gd.sum(z)", "z - gd.mean(z)"),
    *(
        "gd.softmax(z)",
        "gd.stop_gradient(z) * z",
        "z.T",
        "gd.ravel(z)",
        "z[0]",
        "z[1:]",
        "gd.sum(z, axis=0)",
        "gd.sum(z)",
    ),
    *(
        "gd.mean(z * z)",
        "gd.max(z)",
        "gd.max(z, axis=-1)",
        "gd.sort(z)",
        "gd.norm(z)",
        "gd.logsumexp(z)",
        "z @ z.T",
        "z @ {y}",
    ),
    *(
        "gd.prod(z)",
        "gd.std(z)",
        "gd.concatenate([z, z])",
        "gd.stack([z, {x}])",
        "gd.broadcast_to(z, {wide})",
        "-z",
        "z ** 3",
    ),
    *(
        "z * {s}",
        "{s} - z",
        "gd.astype(z, 'float32')",
        "z * 0",
        "gd.minimum(z, {y})",
        "gd.sum(gd.relu(z) @ {y})",
        "gd.ones_like(z)",
    ),
]
DTYPES = ["float64", "float32", "int64", "float16", "int32", "bool", "uint8"]
GROUPS: list[tuple[float, list[tuple[str, bool]]]] = [
    (5, elementwise_templates()),
    (4, [(template, True) for template in OPERATORS]),
    (5, [(template, True) for template in VIEWS]),
    (4, [(template, True) for template in MOVES]),
    (4, [(template, False) for template in COMPUTED]),
    (4, [(template, False) for template in DERIVATIVES]),
]


class Slots(dict[str, str]):
    """What stands in the slots of one template, chosen when first asked for.

    Parameters
    ----------
    stream : numpy.random.Generator
    pool : dict
        The values that there are so far, by name; later ones are chosen more often.
    """

    def __init__(self, stream: np.random.Generator, pool: dict[str, Any]) -> None:
        self.stream = stream
        self.pool = pool

    def __missing__(self, slot: str) -> str:
        self[slot] = text = getattr(self, f"slot_{slot}")()
        return text

    def pick(self, items: Any) -> Any:
        return items[int(self.stream.integers(len(items)))]

    def operand(self) -> str:
        names = list(self.pool)
        late = int(self.stream.beta(2.5, 1) * len(names))
        return names[min(late, len(names) - 1)]

    slot_x = slot_y = slot_z = operand

    @property
    def shape(self) -> tuple[int, ...]:
        return np.shape(self.pool[self["x"]])

    def slot_s(self) -> str:
        """A number, as Python or as NumPy has it, or a 0-d array."""
        number = float(self.pick([0.5, 1.0, -1.5, 2.0, 0.0, 3.0]))
        forms = [
            f"{number}",
            f"np.float64({number})",
            f"np.float32({number})",
            f"{int(number)}",
            f"np.int64({int(number)})",
        ]
        return self.pick(
            [*forms, f"np.array({number})", f"gd.constant({number})", "True", f"np.array({number}, 'float32')"]
        )

    def slot_c(self) -> str:
        return self.pick(["0.5", "2", "-1.0", "0.25", "1", "0", "3.0", "1.5"])

    def slot_n(self) -> str:
        return self.pick(["1", "2", "3", "0", "np.int64(2)"])

    def slot_dtype(self) -> str:
        return repr(self.pick(DTYPES[:4]))

    def slot_keep(self) -> str:
        return self.pick(["True", "False"])

    def slot_axis(self) -> str:
        dimensions = max(1, len(self.shape))
        return str(int(self.stream.integers(-dimensions, dimensions)))

    def slot_axes(self) -> str:
        dimensions = len(self.shape)
        if dimensions == 0 or self.stream.random() < 0.25:
            return self.pick(["None", "()"])
        if self.stream.random() < 0.6:
            return self["axis"]
        count = int(self.stream.integers(1, dimensions + 1))
        return str(tuple(self.stream.permutation(dimensions)[:count].tolist()))

    def slot_order(self) -> str:
        return str(tuple(self.stream.permutation(len(self.shape)).tolist()))

    def slot_shape(self) -> str:
        size = int(np.prod(self.shape))
        choices: list[tuple[int, ...]] = [(-1,), (size,), (1, size), (size, 1), (1, *self.shape), self.shape[::-1]]
        if size % 2 == 0 and size:
            choices += [(2, -1), (size // 2, 2)]
        if size % 3 == 0 and size:
            choices += [(3, -1), (size // 3, 3)]
        return str(self.pick(choices))

    def slot_wide(self) -> str:
        stretched = tuple(self.pick([2, 3]) if length == 1 else length for length in self.shape)
        return str(self.pick([stretched, (2, *stretched), (1, *stretched), (3, *stretched)]))

    def slot_ints(self) -> str:
        return self.pick(["[0, -1, 0]", "np.array([0, 0])", "[0]", "gd.constant([0, -1])", "np.array([], 'int64')"])

    def slot_like(self) -> str:
        """An array of the shape of x, as a constant."""
        shape = self.shape
        form = self.pick(["ones", "weights", "zeros"])
        if form != "weights" or 0 in shape or int(np.prod(shape)) > 12:
            return f"np.{form if form != 'weights' else 'ones'}({shape})"
        return f"np.array({(self.stream.integers(-4, 5, shape) / 2).tolist()})"

    def slot_u(self) -> str:
        """A function's body, of z."""
        text = self.pick(INNER)
        for _ in range(int(self.stream.integers(0, 3))):
            outer = self.pick(INNER)
            text = outer.replace("z", "(" + text + ")") if outer.count("z") == 1 else text
        return text.format_map(self)

    def slot_i(self) -> str:
        """An index of any kind into x."""
        parts: list[str] = []
        for length in self.shape[: int(self.stream.integers(0, len(self.shape) + 1))]:
            parts.append(self.index_of(length))
        if self.stream.random() < 0.2:
            parts.insert(int(self.stream.integers(len(parts) + 1)), "None")
        if self.stream.random() < 0.25:
            parts.insert(int(self.stream.integers(len(parts) + 1)), "...")
        if not parts:
            return self.pick(["...", "()", "None", ":"]) if self.shape else self.pick(["...", "()", "None"])
        return parts[0] if len(parts) == 1 and self.stream.random() < 0.7 else f"{', '.join(parts)},"

    def index_of(self, length: int) -> str:
        stream = self.stream
        low, high = (int(each) for each in stream.integers(-length - 1, length + 2, 2))
        forms: list[Callable[[], str]] = [
            lambda: f"{low}:{high}",
            lambda: self.pick([":", "::2", "::-1", "1:", ":-1", "-2:", ":0", f"{low}::-1"]),
            lambda: f"np.int64({low}):np.int64({high})",
        ]
        if length:
            place = int(stream.integers(-length, length))
            several = stream.integers(-length, length, int(stream.integers(0, 4))).tolist()
            mask = (stream.random(length) < 0.5).tolist()
            forms += [
                lambda: str(place),
                lambda: str(place),
                lambda: f"np.int64({place})",
                lambda: f"{several}" if several else "np.array([], 'int64')",
                lambda: f"np.array({several or [0]})",
                lambda: f"np.array({[several or [0]]})",
                lambda: f"gd.constant({several or [0]})",
                lambda: f"np.array({mask})",
                lambda: str(mask),
            ]
        return self.pick(forms)()
