"""What one op declares, and how calling it makes a node.

An op is declared once. Its kind says how the declaration yields value, shape, dtype, tangent, adjoint and batching:

- `elementwise`: one partial derivative per argument;
- `linear`: the tangent is the op itself, one transpose per argument;
- `multilinear`: linear in each argument, one transpose per argument;
- `composite`: written in other ops, differentiated by opening it;
- `custom`: both rules by hand.

Rules are called as ``rule(F, ...)``, where `F` has the names of the Python array API standard. Handed a backend's
namespace they compute numbers; handed graphdiff's functions they build graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from graphdiff import host
from graphdiff.backend import Backend, Numbers, current_backend
from graphdiff.errors import (
    BackendError,
    DTypeError,
    GraphDiffError,
    MatrixError,
    NotDifferentiableError,
    OpError,
    ShapeError,
)
from graphdiff.tensor import NO_ATTRIBUTES, TRACES, WATCHES, Tensor, Variable, constant, current_trace, open_watches

__all__ = [
    "FUNCTIONS",
    "OPS",
    "Composite",
    "Custom",
    "Elementwise",
    "GraphFunctions",
    "Linear",
    "Multilinear",
    "Op",
    "as_tensor",
    "as_tensors",
    "composite",
    "custom",
    "elementwise",
    "function",
    "linear",
    "literal",
    "multilinear",
    "raise_complex",
    "sum_to",
]

OPS: dict[str, Op] = {}
"""Every op by name."""

FUNCTIONS: dict[str, Callable[..., Any]] = {}
"""Every public array function by name: the ops', and those written in terms of ops."""

Rule = Callable[..., Any]
Partial = Rule | int | None


class GraphFunctions:
    """The namespace `F` on which rules build graph: every function of graphdiff under its array-API name."""

    is_graph = True

    def __getattr__(self, name: str) -> Any:
        found = FUNCTIONS.get(name)
        if found is None:
            raise AttributeError(f"graphdiff has no function {name!r}")
        setattr(self, name, found)
        return found


GRAPH = GraphFunctions()


def function(*aliases: str, name: str | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a public array function under its own name and `aliases`."""

    def register(body: Callable[..., Any]) -> Callable[..., Any]:
        for key in (name or body.__name__, *aliases):
            FUNCTIONS[key] = body
        return body

    return register


# Operands ----------------------------------------------------------------------------------------------------

_literals: dict[tuple[type, Any, host.DType, Backend], Tensor] = {}
_LITERAL_LIMIT = 1024


def as_tensor(value: Any) -> Tensor:
    """Return `value` as a Tensor: itself, a stack where a sequence holds Tensors, or a constant."""
    if isinstance(value, Tensor):
        return _entered(value) if TRACES else value
    if isinstance(value, (tuple, list)) and _holds_tensor(value):
        return FUNCTIONS["stack"]([as_tensor(item) for item in value])  # type: ignore[no-any-return]
    return constant(value)


def _entered(tensor: Tensor) -> Tensor:
    """Return what stands for a tensor in the trace that this thread is in, if it is in one."""
    trace = current_trace()
    return tensor if trace is None else trace.enter(tensor)


def _holds_tensor(sequence: Any) -> bool:
    return any(
        isinstance(item, Tensor) or (isinstance(item, (tuple, list)) and _holds_tensor(item)) for item in sequence
    )


def literal(scalar: Any, kind_of: host.DType, backend: Backend) -> Tensor:
    """Return the constant for a Python number beside a tensor of dtype `kind_of`.

    Literals are kept: a loop that says ``x * 0.5`` makes one constant, not one per turn. Zeros are not, since
    -0.0 == 0.0, nor is NaN, which equals nothing.
    """
    key = (scalar.__class__, scalar, kind_of, backend)
    found = _literals.get(key)
    if found is None:
        weak = host.weak_dtype(scalar, kind_of)
        value = backend.normalize(backend.from_host(scalar, weak))
        found = Tensor(None, (), NO_ATTRIBUTES, value, backend, False)
        if scalar and scalar == scalar and len(_literals) < _LITERAL_LIMIT:
            _literals[key] = found
    return found


class Number(Tensor):
    """A Python number whose value is not known yet: an argument of a traced function.

    Like a literal it takes its dtype from the tensor beside it, and is float64 or int64 on its own.
    """

    __slots__ = ()

    def beside(self, kind_of: host.DType) -> Tensor:
        """Return this number in the dtype that a literal has beside a tensor of dtype `kind_of`."""
        wanted = host.weak_dtype(self.dtype.type(1).item(), kind_of)
        return self if wanted == self.dtype else FUNCTIONS["astype"](self, wanted)  # type: ignore[no-any-return]


def _operand(value: Any, other: Any) -> Tensor:
    """Return an operand that is no plain Tensor as one, beside the operand `other`."""
    if isinstance(other, Tensor):
        if isinstance(value, host.PYTHON_SCALARS):
            return literal(value, other.dtype, other.backend)
        if value.__class__ is Number and other.__class__ is not Number:
            return value.beside(other.dtype)  # type: ignore[no-any-return]
    return as_tensor(value)


def as_tensors(operands: Sequence[Any]) -> tuple[Tensor, ...]:
    """Return operands as Tensors, Python numbers taking their dtype from the tensors and arrays beside them."""
    strong: list[host.DType] = []
    backend: Backend | None = None
    made: list[Any] = []
    for value in operands:
        if not isinstance(value, host.PYTHON_SCALARS):
            value = as_tensor(value)
        if isinstance(value, Tensor):
            if value.__class__ is not Number:
                strong.append(value.dtype)
            backend = backend or value.backend
        made.append(value)
    if not strong:
        return tuple(map(as_tensor, made))
    joined = host.result_dtype(*strong)
    assert backend is not None
    return tuple(_settle(value, joined, backend) for value in made)


def _settle(value: Any, joined: host.DType, backend: Backend) -> Tensor:
    """Return a Tensor, or a Python number in the dtype that it has beside the others."""
    if value.__class__ is Number:
        return value.beside(joined)  # type: ignore[no-any-return]
    return value if isinstance(value, Tensor) else literal(value, joined, backend)


def _raise_mixed(op: Op, operands: Iterable[Tensor]) -> NoReturn:
    placed = ", ".join(f"{operand.describe()} on {operand.backend.name}" for operand in operands)
    raise BackendError(f"{op.name}: tensors of two backends are mixed: {placed}. Move one with tensor.to(backend).")


def _explain(
    op: Op, operands: Sequence[Tensor], error: Exception, attributes: dict[str, Any] = NO_ATTRIBUTES
) -> GraphDiffError:
    """Turn an array library's error into one that names the operands, in the words of the op's own shape rule."""
    try:
        op.infer(operands, attributes)
    except (ValueError, TypeError, IndexError) as own:
        error = own if type(own) is type(error) else error
    except Exception:  # the rule has nothing to say of this
        pass
    listed = ", ".join(operand.describe() for operand in operands)
    made = "; ".join(f"{operand.name or operand.describe()} was made at {operand.source}" for operand in operands)
    if isinstance(error, IndexError):
        return _IndexShapeError(f"{op.name}({listed}): {error} ({made})")
    if type(error).__name__ == "LinAlgError":  # every array library has its own
        mend = "; add a multiple of gd.eye(n) to it where that serves" if "ingular" in str(error) else ""
        return MatrixError(f"{op.name}({listed}): {error}{mend} ({made})")
    kind = DTypeError if isinstance(error, TypeError) else ShapeError
    return kind(f"{op.name}({listed}): {error} ({made})")


class _IndexShapeError(ShapeError, IndexError):
    """An index outside its axis."""


# The kinds ---------------------------------------------------------------------------------------------------


class Op:
    """What every kind of op has. Made by `elementwise`, `linear`, `multilinear`, `composite` and `custom`.

    Attributes
    ----------
    name : str
    symbol : str
        How drawings write it.
    flops : callable or number
        Floating-point operations per element of the output, or a function of (output shape, input shapes).
    calls : int
        What one evaluation costs however small the arrays are, in calls of an array function.
    """

    kind = ""

    def __init__(
        self,
        name: str,
        *,
        evaluate: Rule | None = None,
        function: str | None = None,
        infer: Rule | None = None,
        batch: Rule | None = None,
        flops: Any = 1,
        calls: int = 1,
        symbol: str | None = None,
    ) -> None:
        if name in OPS:
            raise OpError(f"there already is an op {name!r}")
        self.name = name
        self.evaluate = evaluate
        self.function = function or name
        self.infer_rule = infer
        self.batch_rule = batch
        self.flops = flops
        self.calls = calls
        self.symbol = symbol or name
        self._kernels: dict[Backend, Callable[..., Any]] = {}
        self._unwritten: set[Any] = set()  # kinds of operands for which the evaluation is no graph
        OPS[name] = self

    def __repr__(self) -> str:
        return f"<{self.kind} op {self.name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _op_named, (self.name,)

    def kernel(self, backend: Backend) -> Callable[..., Any]:
        """Return the function that computes this op on a backend, its result normalised.

        Raises
        ------
        BackendError
            The backend's namespace cannot express the op.
        """
        found = self._kernels.get(backend)
        if found is None:
            found = self._kernels[backend] = self._make_kernel(backend)
        return found

    def _make_kernel(self, backend: Backend) -> Callable[..., Any]:
        plain = backend.kernels.get(self.name)
        if plain is None and self.evaluate is not None:
            evaluate, namespace = self.evaluate, backend.numbers

            def plain(*arrays: Any, **attributes: Any) -> Any:
                return evaluate(namespace, *arrays, **attributes)

        if plain is None:
            plain = getattr(backend.namespace, self.function, None)
        if plain is None:
            raise BackendError(f"backend {backend.name!r} cannot express the op {self.name!r}")
        compute, normalize = plain, backend.normalize

        def kernel(*arrays: Any, **attributes: Any) -> Any:
            return normalize(compute(*arrays, **attributes))

        return kernel

    def __call__(self, *operands: Any, **attributes: Any) -> Tensor:
        """Make a node, with a value if the operands have values."""
        return self.node(as_tensors(operands), attributes)

    def node(self, operands: tuple[Tensor, ...], attributes: dict[str, Any]) -> Tensor:
        """Make a node of operands that are Tensors already."""
        if TRACES:
            operands = tuple(map(_entered, operands))
        backend = operands[0].backend if operands else current_backend()
        recorded = pure = False
        for operand in operands:
            if operand.backend is not backend:
                _raise_mixed(self, operands)
            recorded = recorded or operand.recorded
            pure = pure or operand._value is None
        attributes = attributes or NO_ATTRIBUTES
        try:
            if pure:
                signature = self.infer(operands, attributes)
                return Tensor(self, operands, attributes, None, backend, True, signature)
            for watch in WATCHES and open_watches():
                watch.before(self, operands)
            value = self.kernel(backend)(*[operand._value for operand in operands], **attributes)
        except GraphDiffError:
            raise
        except (ValueError, TypeError, IndexError, ArithmeticError) as error:
            raise _explain(self, operands, error, attributes) from error
        if recorded:
            made = Tensor(self, operands, attributes, value, backend, True)
        else:
            made = Tensor(None, (), NO_ATTRIBUTES, value, backend, False)
        for watch in WATCHES and open_watches():
            watch.value(self, operands, made)
        return made

    def infer(self, operands: Sequence[Tensor], attributes: dict[str, Any]) -> tuple[host.Shape, host.DType]:
        """Return the shape and dtype of the output from those of the operands."""
        if self.infer_rule is None:
            raise OpError(
                f"op {self.name!r} declares no shape rule, which pure graphs (in compile and vmap) need: "
                "declare it with infer=lambda *operands: (shape, dtype)"
            )
        shape, dtype = self.infer_rule(*operands, **attributes)
        return tuple(shape), dtype

    def may_be_written(self, operands: Sequence[Tensor]) -> bool:
        """Whether there is an evaluation that is not known to be none of `written`."""
        return self.evaluate is not None and _kinds(operands) not in self._unwritten

    def written(self, node: Tensor, operands: Sequence[Tensor]) -> Tensor | None:
        """Return a node's evaluation as graph of other ops, over other operands; None if it cannot be written so."""
        if self.evaluate is None or not self.may_be_written(operands):
            return None
        try:
            made = self.evaluate(GRAPH, *operands, **node.attributes)
        except (AttributeError, TypeError, ValueError):
            made = None
        fits = isinstance(made, Tensor) and (made.shape, made.dtype) == (node.shape, node.dtype)
        if fits and not _contains(made, self, operands):
            return made  # type: ignore[no-any-return]
        self._unwritten.add(_kinds(operands))
        return None

    def adjoint(self, F: Any, cotangent: Any, position: int, out: Any, inputs: Any, attributes: Any) -> Any:
        """Return the contribution of the output's adjoint to the adjoint of one input; None if exactly zero."""
        raise NotImplementedError

    def tangent(self, F: Any, tangents: Sequence[Any], out: Any, inputs: Any, attributes: Any) -> Any:
        """Return the output's tangent from the inputs' (None where zero); None if exactly zero."""
        raise NotImplementedError

    def _raise_undefined(self, what: str) -> NoReturn:
        raise NotDifferentiableError(f"op {self.name!r} defines no {what}")


def _contains(output: Tensor, op: Op, operands: Sequence[Tensor]) -> bool:
    """Whether an op lies between a node and the operands that it is made of."""
    seen, pending = set(operands), [output]
    while pending:
        node = pending.pop()
        if node not in seen:
            if node.op is op:
                return True
            seen.add(node)
            pending.extend(node.inputs)
    return False


def _kinds(operands: Sequence[Tensor]) -> tuple[Any, ...]:
    return tuple((operand.ndim, operand.dtype) for operand in operands)


def raise_complex() -> NoReturn:
    """Refuse to differentiate through complex numbers: a cast to real would drop the imaginary part of a derivative."""
    raise DTypeError(
        "a complex value lies between the real tensor differentiated by and the result, and derivatives are of real "
        "floating tensors only. Compute with the real and the imaginary part as two real tensors."
    )


def sum_to(F: Any, array: Any, shape: host.Shape) -> Any:
    """Sum an array down to a shape that broadcasts to the array's: the transpose of broadcasting."""
    lead = len(array.shape) - len(shape)
    stretched = [lead + axis for axis, length in enumerate(shape) if length == 1 and array.shape[lead + axis] != 1]
    axes = (*range(lead), *stretched)
    summed = F.sum(array, axis=axes) if axes else array
    return summed if tuple(summed.shape) == tuple(shape) else F.reshape(summed, shape)


class Elementwise(Op):
    """An op that works element by element, with one partial derivative per argument."""

    kind = "elementwise"

    def __init__(self, name: str, partials: tuple[Partial, ...], *, dtype: str = "same", **declared: Any) -> None:
        super().__init__(name, **declared)
        self.partials = partials
        rules: dict[str, Callable[..., host.DType]] = {
            "same": host.result_dtype,
            "number": host.number_dtype,
            "float": host.float_result,
            "quotient": host.quotient_dtype,
            "bool": lambda *dtypes: host.boolean,
        }
        self.dtype_rule = rules[dtype]

    def infer(self, operands: Sequence[Tensor], attributes: dict[str, Any]) -> tuple[host.Shape, host.DType]:
        return host.broadcast_shapes(*[o.shape for o in operands]), self.dtype_rule(*[o.dtype for o in operands])

    def adjoint(self, F: Any, cotangent: Any, position: int, out: Any, inputs: Any, attributes: Any) -> Any:
        return self._scale(self.partials[position], F, cotangent, out, inputs, attributes)

    def tangent(self, F: Any, tangents: Sequence[Any], out: Any, inputs: Any, attributes: Any) -> Any:
        total = None
        for partial, tangent in zip(self.partials, tangents, strict=True):
            if tangent is not None:
                term = self._scale(partial, F, tangent, out, inputs, attributes)
                total = term if total is None else total if term is None else total + term
        return total

    def _scale(self, partial: Partial, F: Any, vector: Any, out: Any, inputs: Any, attributes: Any) -> Any:
        if partial is None:
            return None
        if partial.__class__ is int:
            return vector if partial == 1 else -vector
        return vector * partial(F, out, *inputs, **attributes)  # type: ignore[operator]


class Linear(Op):
    """An op that is linear in all its differentiable arguments together: its tangent is itself."""

    kind = "linear"

    def __init__(self, name: str, transposes: tuple[Rule | None, ...] | Rule, **declared: Any) -> None:
        super().__init__(name, **declared)
        self.transposes = transposes

    def adjoint(self, F: Any, cotangent: Any, position: int, out: Any, inputs: Any, attributes: Any) -> Any:
        if callable(self.transposes):
            return self.transposes(F, cotangent, position, *inputs, **attributes)
        transpose = self.transposes[position] if position < len(self.transposes) else None
        return None if transpose is None else transpose(F, cotangent, *inputs, **attributes)

    def tangent(self, F: Any, tangents: Sequence[Any], out: Any, inputs: Any, attributes: Any) -> Any:
        if all(tangent is None for tangent in tangents):
            return None
        moved = []
        for position, (tangent, operand) in enumerate(zip(tangents, inputs, strict=True)):
            varies = callable(self.transposes) or position < len(self.transposes)
            zero = F.zeros_like(operand) if varies and tangent is None else operand
            moved.append(tangent if tangent is not None else zero)
        return self(*moved, **attributes) if F.is_graph else self.kernel(F.backend)(*moved, **attributes)


class Multilinear(Op):
    """An op that is linear in each argument: the tangent is a sum, one transpose per argument."""

    kind = "multilinear"

    def __init__(self, name: str, transposes: Rule, **declared: Any) -> None:
        super().__init__(name, **declared)
        self.transposes = transposes

    def adjoint(self, F: Any, cotangent: Any, position: int, out: Any, inputs: Any, attributes: Any) -> Any:
        return self.transposes(F, cotangent, position, *inputs, **attributes)

    def tangent(self, F: Any, tangents: Sequence[Any], out: Any, inputs: Any, attributes: Any) -> Any:
        total = None
        for position, tangent in enumerate(tangents):
            if tangent is not None:
                operands = (*inputs[:position], tangent, *inputs[position + 1 :])
                term = self(*operands, **attributes) if F.is_graph else self.kernel(F.backend)(*operands, **attributes)
                total = term if total is None else total + term
        return total


class Composite(Op):
    """An op written in other ops. It has no rule of its own, and is drawn as one node that opens.

    Differentiation opens it: `body` is run on the operands, and what it builds is differentiated.
    """

    kind = "composite"

    def __init__(self, name: str, body: Rule, **declared: Any) -> None:
        declared.setdefault("evaluate", body)
        super().__init__(name, **declared)
        self.body = body

    def open(self, operands: Sequence[Tensor], attributes: dict[str, Any]) -> Tensor:
        """Return the output of the ops that this one stands for."""
        return self.body(GRAPH, *operands, **attributes)  # type: ignore[no-any-return]

    def again(self, operands: Sequence[Tensor], attributes: dict[str, Any]) -> Tensor:
        """Return the same for a backward pass."""
        return self.open(operands, attributes)

    def infer(self, operands: Sequence[Tensor], attributes: dict[str, Any]) -> tuple[host.Shape, host.DType]:
        if self.infer_rule is not None:
            return super().infer(operands, attributes)
        opened = self.open(operands, attributes)
        return opened.shape, opened.dtype


class Custom(Op):
    """An op with both rules given by hand."""

    kind = "custom"

    def __init__(self, name: str, *, tangent: Rule | None, adjoint: Rule | None, **declared: Any) -> None:
        super().__init__(name, **declared)
        self.tangent_rule = tangent
        self.adjoint_rule = adjoint

    def adjoint(self, F: Any, cotangent: Any, position: int, out: Any, inputs: Any, attributes: Any) -> Any:
        if self.adjoint_rule is None:
            self._raise_undefined("adjoint")
        return self.adjoint_rule(F, cotangent, position, out, *inputs, **attributes)

    def tangent(self, F: Any, tangents: Sequence[Any], out: Any, inputs: Any, attributes: Any) -> Any:
        if all(tangent is None for tangent in tangents):
            return None
        if self.tangent_rule is None:
            self._raise_undefined("tangent")
        return self.tangent_rule(F, tangents, out, *inputs, **attributes)


def _op_named(name: str) -> Op:
    """Return the op of that name, for a pickle that uses it."""
    if name not in OPS:
        raise OpError(f"there is no op {name!r} here: import the module that declares it before loading what uses it")
    return OPS[name]


# Declaring ---------------------------------------------------------------------------------------------------


def _register_function(op: Op, call: Callable[..., Any], doc: str | None) -> Callable[..., Any]:
    call.__name__ = call.__qualname__ = op.name
    call.__module__ = "graphdiff"  # where pickle finds it
    call.__doc__ = doc or f"Apply the {op.kind} op `{op.name}`."
    call.op = op  # type: ignore[attr-defined]
    FUNCTIONS[op.name] = call
    return call


def _unary(op: Elementwise) -> Callable[[Any], Tensor]:
    kernels: dict[Backend, Callable[..., Any]] = {}

    def call(x: Any, /) -> Tensor:
        kind = x.__class__
        if kind is not Tensor and (kind is not Variable or TRACES):
            x = as_tensor(x)
        backend = x.backend
        kernel = kernels.get(backend)
        if kernel is None:
            kernel = kernels[backend] = _elementwise_kernel(op, backend)
        value = x._value
        if value is None:
            return Tensor(op, (x,), NO_ATTRIBUTES, None, backend, True, op.infer((x,), NO_ATTRIBUTES))
        if WATCHES:
            return op.node((x,), NO_ATTRIBUTES)
        try:
            value = kernel(value)
        except (ValueError, TypeError) as error:
            raise _explain(op, (x,), error) from error
        if x.recorded:
            return Tensor(op, (x,), NO_ATTRIBUTES, value, backend, True)
        return Tensor(None, (), NO_ATTRIBUTES, value, backend, False)

    return call


def _binary(op: Elementwise) -> Callable[[Any, Any], Tensor]:
    kernels: dict[Backend, Callable[..., Any]] = {}

    def call(x: Any, y: Any, /) -> Tensor:
        kind = x.__class__
        if kind is not Tensor and (kind is not Variable or TRACES):
            x = _operand(x, y)
        kind = y.__class__
        if kind is not Tensor and (kind is not Variable or TRACES):
            y = _operand(y, x)
        backend = x.backend
        if backend is not y.backend:
            _raise_mixed(op, (x, y))
        kernel = kernels.get(backend)
        if kernel is None:
            kernel = kernels[backend] = _elementwise_kernel(op, backend)
        if WATCHES:
            return op.node((x, y), NO_ATTRIBUTES)
        left, right = x._value, y._value
        try:
            if left is None or right is None:
                return Tensor(op, (x, y), NO_ATTRIBUTES, None, backend, True, op.infer((x, y), NO_ATTRIBUTES))
            value = kernel(left, right)
        except (ValueError, TypeError) as error:
            raise _explain(op, (x, y), error) from error
        if x.recorded or y.recorded:
            return Tensor(op, (x, y), NO_ATTRIBUTES, value, backend, True)
        return Tensor(None, (), NO_ATTRIBUTES, value, backend, False)

    return call


def _elementwise_kernel(op: Op, backend: Backend) -> Callable[..., Any]:
    """Return the backend's own function where there is one: elementwise functions give normal 0-d values already."""
    plain = backend.kernels.get(op.name)
    if plain is None and op.evaluate is None:
        plain = getattr(backend.namespace, op.function, None)
    return plain or op.kernel(backend)


def elementwise(
    name: str, *partials: Partial, dtype: str = "same", doc: str | None = None, **declared: Any
) -> Callable[..., Any]:
    """Declare an op that works element by element.

    Parameters
    ----------
    name : str
    *partials : callable, 1, -1 or None
        One partial derivative per argument, called as ``partial(F, out, *inputs, **attributes)``. 1 and -1 cost
        nothing; None means exactly zero everywhere.
    dtype : {"same", "number", "float", "quotient", "bool"}
        The dtype of the result: the promoted one, the same but int8 for booleans, a float, that of a true division,
        or bool.
    doc : str, optional
        The docstring of the resulting function.
    **declared
        ``evaluate(F, *inputs)`` where the array API has no function of that name, ``function`` where it has one
        under another name, ``flops`` per element, ``symbol`` for drawings.

    Returns
    -------
    callable
        The function that applies the op.

    Examples
    --------
    >>> import graphdiff as gd
    >>> cube = gd.op.elementwise("cube_example", lambda F, out, x: 3 * x * x, evaluate=lambda F, x: x * x * x)
    >>> gd.grad(cube)(2.0).item()
    12.0
    """
    if not partials:
        raise OpError(f"op {name!r} declares no argument")
    op = Elementwise(name, partials, dtype=dtype, **declared)
    takes_attributes = op.evaluate is not None and bool(_keyword_only(op.evaluate))
    if len(partials) == 1 and not takes_attributes:
        return _register_function(op, _unary(op), doc)
    if len(partials) == 2 and not takes_attributes:
        return _register_function(op, _binary(op), doc)
    return _register_general(op, doc)


def _keyword_only(rule: Rule) -> list[str]:
    code = getattr(rule, "__code__", None)
    if code is None:
        return []
    start = code.co_argcount
    return list(code.co_varnames[start : start + code.co_kwonlyargcount])


def _register_general(op: Op, doc: str | None) -> Callable[..., Any]:
    def call(*operands: Any, **attributes: Any) -> Tensor:
        for operand in operands:
            kind = operand.__class__
            if kind is not Tensor and (kind is not Variable or TRACES):
                return op.node(as_tensors(operands), attributes)
        return op.node(operands, attributes)

    return _register_function(op, call, doc)


def linear(
    name: str, *transposes: Rule | None, each: Rule | None = None, doc: str | None = None, **declared: Any
) -> Any:
    """Declare an op that is linear in its leading arguments; later ones (indices) carry no derivative.

    Parameters
    ----------
    *transposes : callable
        One per linear argument, called as ``transpose(F, cotangent, *inputs, **attributes)``.
    each : callable, optional
        Instead, one for any number of arguments: ``each(F, cotangent, position, *inputs, **attributes)``.
    """
    return _register_general(Linear(name, each or transposes, **declared), doc)


def multilinear(name: str, each: Rule, *, doc: str | None = None, **declared: Any) -> Any:
    """Declare an op that is linear in each argument; ``each(F, cotangent, position, *inputs, **attributes)``."""
    return _register_general(Multilinear(name, each, **declared), doc)


def composite(name: str, body: Rule, *, doc: str | None = None, **declared: Any) -> Any:
    """Declare an op by the ops it stands for: ``body(F, *inputs, **attributes)``.

    ``evaluate`` may name a quicker way to the same numbers, ``infer`` one to the shape and dtype.
    """
    return _register_general(Composite(name, body, **declared), doc)


def custom(
    name: str, *, tangent: Rule | None = None, adjoint: Rule | None = None, doc: str | None = None, **declared: Any
) -> Any:
    """Declare an op with both rules by hand.

    Parameters
    ----------
    tangent : callable
        ``tangent(F, tangents, out, *inputs, **attributes)``; tangents are None where zero.
    adjoint : callable
        ``adjoint(F, cotangent, position, out, *inputs, **attributes)`` for the input at `position`.
    """
    return _register_general(Custom(name, tangent=tangent, adjoint=adjoint, **declared), doc)


def _fall_back(numbers: Numbers, name: str) -> Any:
    if name not in OPS:
        raise AttributeError(f"neither backend {numbers.backend.name!r} nor graphdiff has a function {name!r}")
    return OPS[name].kernel(numbers.backend)


Numbers.fallback = _fall_back  # type: ignore[method-assign,assignment]
