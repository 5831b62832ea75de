"""The five kinds of op: how a declaration yields value, shape, dtype, tangent and adjoint."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Hashable, Iterable, Sequence
from types import FrameType
from typing import Any, Literal, NoReturn, Protocol, TypeVar

from graphdiff import host
from graphdiff.backend import Backend, Numbers, current_backend, forget
from graphdiff.errors import (
    BackendError,
    DTypeError,
    GraphDiffError,
    IndexOutsideError,
    MatrixError,
    NotDifferentiableError,
    OpError,
    ShapeError,
)
from graphdiff.op.functions import FUNCTIONS, GRAPH
from graphdiff.op.operands import as_tensors, entered
from graphdiff.op.work import SORTS, Sort, Work
from graphdiff.tensor import NO_ATTRIBUTES, TRACES, WATCHES, Tensor
from graphdiff.typing import Array, ArrayLike, Attribute, Attributes, Function, Namespace, Operation

OPS: dict[str, Op] = {}
"""Every op by name."""

Rule = Function[Any]
Value = TypeVar("Value")
"""What a rule computes with: a backend's array, or a Tensor where it builds graph."""
Partial = Rule | int | None


def raise_mixed(op: Op, operands: Iterable[Tensor]) -> NoReturn:
    """Raise the error for operands that are not all on one backend."""
    placed = ", ".join(f"{operand.describe()} on {operand.backend.name}" for operand in operands)
    raise BackendError(f"{op.name}: tensors of two backends are mixed: {placed}. Move one with tensor.to(backend).")


ARRAY_ERRORS = (ValueError, TypeError, IndexError, ArithmeticError)
"""What array libraries raise of operands that they cannot work with."""


def explained(
    op: Operation,
    operands: Sequence[Tensor],
    error: Exception,
    attributes: Attributes = NO_ATTRIBUTES,
    where: str = "",
) -> GraphDiffError:
    """Turn an array library's error into one that names the operands, in the words of the op's own shape rule.

    `where` follows the op and its operands: for errors raised elsewhere than on the user's line.
    """
    try:
        op.infer(operands, attributes)
    except (ValueError, TypeError, IndexError) as own:
        error = own if type(own) is type(error) else error
    except Exception:  # the rule has nothing to say of this
        pass
    asked = f"{op.name}({', '.join(operand.describe() for operand in operands)}){where}"
    made = "; ".join(f"{operand.name or operand.describe()} was made at {operand.source}" for operand in operands)
    if isinstance(error, IndexError):
        return IndexOutsideError(f"{asked}: {error} ({made})")
    if _is_of_matrix(error):
        return MatrixError(f"{asked}: {_with_mend(error)} ({made})")
    kind = DTypeError if isinstance(error, TypeError) else ShapeError
    return kind(f"{asked}: {_BITWISE.get(op.name, error)} ({made})")


_BITWISE = {
    "bitwise_xor": "^ is of integers and booleans, bit by bit; a power is written x ** y",
    "bitwise_and": "& is of integers and booleans; conditions are compared first: (x > 0) & (y > 0)",
    "bitwise_or": "| is of integers and booleans; conditions are compared first: (x > 0) | (y > 0)",
    "bitwise_invert": "~ is of integers and booleans; a reciprocal is written 1 / x, a negative -x",
}
"""What is said of operators on floats, instead of the name of a function that the user has not written."""


def _is_of_matrix(error: Exception) -> bool:
    return type(error).__name__ == "LinAlgError"  # every array library has its own


def _with_mend(error: Exception) -> str:
    mend = "; add a multiple of gd.eye(n) to it where that serves" if "ingular" in str(error) else ""
    return f"{error}{mend}"


def _is_declared_here() -> bool:
    """Whether the op that is being made is one of graphdiff's own, not a user's."""
    frame = sys._getframe(2)
    while (
        frame.f_globals.get("__name__", "").startswith(("graphdiff.op.", "graphdiff.guard"))
        and frame.f_back is not None
    ):
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] == "graphdiff"


def _require_free(name: str, built_in: bool) -> None:
    """Refuse the name of a function that graphdiff has. One's own op is replaced: a notebook's cell runs again."""
    own = OPS.get(name) or getattr(FUNCTIONS.get(name), "op", None)
    taken = name in FUNCTIONS if own is None else own.built_in
    if (built_in and name in OPS) or (taken and not built_in):
        raise OpError(f"there already is an op {name!r} of graphdiff: give yours another name")


class Op:
    """What every kind of op has. Made by `elementwise`, `linear`, `multilinear`, `composite` and `custom`.

    Attributes
    ----------
    name : str
    symbol : str
        How drawings write it.
    flops : callable or number
        Operations of any sort per element of the output, or a function ``flops(out, *inputs)``.
    work : str, callable or None
        What one evaluation does: per element of the output one "multiplication" (or division), "addition" (or
        subtraction) or "transcendental" function (or root, or power), a change of "sign", or a "comparison"; it may
        "move" elements, or make a "view" of them where it has one operand. Else a function ``work(out, *inputs)`` that
        returns a `Work`. None counts what the evaluation is written in and, where it is not written in ops, `flops`.
    calls : int
        What one evaluation costs however small the arrays are, in calls of an array function.
    keeps : {"places", "elements"} or None
        "elements" if every element of the result is an element of an operand, "places" if each stays in its place too.
    pure : bool
        Whether two calls with the same operands are one and the same: of random numbers they are not.
    poles : bool or tuple of int
        Whether a partial derivative may be infinite or NaN where all operands are finite; the positions of operands if
        that is only where one of these is 0.
    chooses : bool
        Whether a partial derivative of 0 says that an element was not chosen, so that what it is made of contributes
        exactly zero, infinite derivatives too. None of the op's partial derivatives is negative then.
    """

    kind = ""
    work: Sort | Function[Work] | None = None
    keeps: Literal["places", "elements"] | None = None
    pure = True
    poles: bool | tuple[int, ...] = False
    chooses = False
    is_suspect = True
    """Whether a graph with this op has to be looked through for infinite partial derivatives."""

    def __init__(
        self,
        name: str,
        *,
        evaluate: Rule | None = None,
        function: str | None = None,
        infer: Rule | None = None,
        batch: Rule | None = None,
        flops: Function[int] | float = 1,
        work: Sort | Function[Work] | None = None,
        calls: int = 1,
        keeps: Literal["places", "elements"] | None = None,
        pure: bool = True,
        poles: bool | tuple[int, ...] | None = None,
        chooses: bool = False,
        symbol: str | None = None,
    ) -> None:
        self.built_in = _is_declared_here()
        _require_free(name, self.built_in)
        if work is not None and not callable(work) and work not in SORTS:
            raise OpError(f"the work of op {name!r} is a function or one of {', '.join(SORTS)}, not {work!r}")
        if keeps not in (None, "places", "elements"):
            raise OpError(f'op {name!r} keeps "places", "elements" or None, not {keeps!r}')
        self.name = name
        self.module = _declaring_module()
        self.evaluate = evaluate
        self.function = function or name
        self.infer_rule = infer
        self.batch_rule = batch
        self.flops = flops
        self.work = work
        self.calls = calls
        self.keeps = keeps
        self.pure = pure
        self.chooses = chooses
        if poles is not None:
            self.poles = poles
        self.is_suspect = bool(self.poles) or self.kind == "composite" or name == "where"
        self.symbol = symbol or name
        self._kernels: dict[Backend, Function[Array]] = {}
        self._is_written: dict[
            Hashable, bool
        ] = {}  # by kinds of operands, whether the evaluation is graph of other ops
        if OPS.pop(name, None) is not None:
            forget(name, GRAPH)
        OPS[name] = self

    def __repr__(self) -> str:
        return f"<{self.kind} op {self.name}>"

    def __reduce__(self) -> tuple[Function[Op], tuple[str, str]]:
        return _op_named, (self.name, self.module)

    def kernel(self, backend: Backend) -> Function[Array]:
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

    def _make_kernel(self, backend: Backend) -> Function[Array]:
        plain = backend.kernels.get(self.name)
        if plain is None and self.evaluate is not None:
            evaluate, namespace = self.evaluate, backend.numbers

            def plain(*arrays: Array, **attributes: Attribute) -> Array:
                return evaluate(namespace, *arrays, **attributes)

        if plain is None:
            plain = getattr(backend.namespace, self.function, None)
        if plain is None:
            raise BackendError(
                f"backend {backend.name!r} cannot express the op {self.name!r}: it has no such function, and the op "
                "is not declared with evaluate=…"
            )
        compute, normalize = plain, backend.normalize

        def kernel(*arrays: Array, **attributes: Attribute) -> Array:
            return normalize(compute(*arrays, **attributes))

        return kernel

    def __call__(self, *operands: ArrayLike, **attributes: Attribute) -> Tensor:
        """Make a node, with a value if the operands have values."""
        return self.node(as_tensors(operands), attributes)

    def node(self, operands: tuple[Tensor, ...], attributes: Attributes) -> Tensor:
        """Make a node of operands that are Tensors already."""
        if TRACES:
            operands = tuple(map(entered, operands))
        backend = operands[0].backend if operands else current_backend()
        recorded = pure = False
        for operand in operands:
            if operand.backend is not backend:
                raise_mixed(self, operands)
            recorded = recorded or operand.recorded
            pure = pure or operand._value is None
        attributes = attributes or NO_ATTRIBUTES
        try:
            if pure:
                attributes = host.plain(attributes) if attributes else attributes  # plans write them out as source
                signature = self.infer(operands, attributes)
                return Tensor(self, operands, attributes, None, backend, True, signature)
            for watch in WATCHES and WATCHES.here():
                watch.before(self, operands)
            value = self.kernel(backend)(*[operand._value for operand in operands], **attributes)
            if value.__class__ is tuple:
                raise OpError(
                    f"op {self.name!r} evaluates to a tuple of {len(value)}; an op has one value. Stack or concatenate "
                    "them, and take them apart outside, or declare an op for each"
                )
        except GraphDiffError:
            raise
        except ARRAY_ERRORS as error:
            raise explained(self, operands, error, attributes) from error
        if recorded:
            made = Tensor(self, operands, attributes, value, backend, True)
        else:
            made = Tensor(None, (), NO_ATTRIBUTES, value, backend, False)
        for watch in WATCHES and WATCHES.here():
            watch.value(self, operands, made)
        return made

    def infer(self, operands: Sequence[Tensor], attributes: Attributes) -> tuple[host.Shape, host.DType]:
        """Return the shape and dtype of the output from those of the operands."""
        if self.infer_rule is None:
            return self._evaluated_signature(operands, attributes)
        shape, dtype = self.infer_rule(*operands, **attributes)
        return tuple(shape), dtype

    def _evaluated_signature(self, operands: Sequence[Tensor], attributes: Attributes) -> tuple[host.Shape, host.DType]:
        """Return the shape and dtype of what the evaluation builds as graph, where it can."""
        made = None
        if self.evaluate is not None:
            stand_ins = [Tensor(None, (), NO_ATTRIBUTES, None, o.backend, True, (o.shape, o.dtype)) for o in operands]
            with contextlib.suppress(AttributeError, TypeError, ValueError):
                made = self.evaluate(GRAPH, *stand_ins, **attributes)
        if not isinstance(made, Tensor):
            raise OpError(
                f"op {self.name!r} declares no shape rule, which pure graphs (in compile and vmap) need where the "
                "evaluation is not written in functions of F: declare it with infer=lambda *operands: (shape, dtype)"
            )
        return made.shape, made.dtype

    def may_be_written(self, operands: Sequence[Tensor]) -> bool:
        """Whether there is an evaluation that is not known to be none of `written`."""
        return self.evaluate is not None and self._is_written.get(_kinds(operands), True)

    def written(self, node: Tensor, operands: Sequence[Tensor]) -> Tensor | None:
        """Return a node's evaluation as graph of other ops, over other operands; None if it cannot be written so."""
        kinds = _kinds(operands)
        known = self._is_written.get(kinds)
        if self.evaluate is None or known is False:
            return None
        try:
            made = self.evaluate(GRAPH, *operands, **node.attributes)
        except (AttributeError, TypeError, ValueError):
            made = None
        fits = isinstance(made, Tensor) and (made.shape, made.dtype) == (node.shape, node.dtype)
        self._is_written[kinds] = fits and (known or not self._occurs(made, frozenset(operands)))
        return made if self._is_written[kinds] else None

    def _occurs(self, output: Tensor, operands: frozenset[Tensor]) -> bool:
        """Whether this op is among what lies between operands and output: then opening it would never end."""
        seen, pending = set(operands), [output]
        while pending:
            node = pending.pop()
            if node not in seen:
                if node.op is self:
                    return True
                seen.add(node)
                pending.extend(node.inputs)
        return False

    def flops_of(self, node: Tensor) -> int:
        """Return the operations of one evaluation, all sorts alike."""
        return int(self.flops(node, *node.inputs) if callable(self.flops) else self.flops * node.size)

    def adjoint(
        self, F: Namespace, cotangent: Value, position: int, out: Value, inputs: Sequence[Value], attributes: Attributes
    ) -> Value | None:
        """Return the contribution of the output's adjoint to the adjoint of one input; None if exactly zero."""
        raise NotImplementedError

    def tangent(
        self,
        F: Namespace,
        tangents: Sequence[Value | None],
        out: Value,
        inputs: Sequence[Value],
        attributes: Attributes,
    ) -> Value | None:
        """Return the output's tangent from the inputs' (None where zero); None if exactly zero."""
        raise NotImplementedError

    def _applied(self, F: Namespace, operands: Sequence[Any], attributes: Attributes) -> Any:
        """Apply the op to what `F` works with: as graph, or as numbers."""
        return self(*operands, **attributes) if F.is_graph else self.kernel(F.backend)(*operands, **attributes)

    def _raise_undefined(self, what: str) -> NoReturn:
        raise NotDifferentiableError(f"op {self.name!r} defines no {what}")


def raise_complex() -> NoReturn:
    """Refuse to differentiate through complex numbers: a cast to real would drop the imaginary part of a derivative."""
    raise DTypeError(
        "a complex value lies between the real tensor differentiated by and the result, and derivatives are of real "
        "floating tensors only. Compute with the real and the imaginary part as two real tensors."
    )


def _kinds(operands: Sequence[Tensor]) -> Hashable:
    return tuple((operand.ndim, operand.dtype) for operand in operands)


class Applied(Protocol):
    """The function that applies an op."""

    op: Op
    __name__: str
    __qualname__: str

    def __call__(self, *operands: Any, **attributes: Any) -> Tensor: ...


class Elementwise(Op):
    """An op that works element by element, with one partial derivative per argument."""

    kind = "elementwise"

    def __init__(self, name: str, partials: tuple[Partial, ...], *, dtype: str = "same", **declared: Any) -> None:
        if dtype == "bool":
            declared.setdefault("work", "comparison")
        declared.setdefault("poles", any(callable(partial) for partial in partials))
        super().__init__(name, **declared)
        self.partials = partials
        rules: dict[str, Function[host.DType]] = {
            "same": host.result_dtype,
            "number": host.number_dtype,
            "float": host.float_result,
            "quotient": host.quotient_dtype,
            "magnitude": host.magnitude_dtype,
            "bool": lambda *dtypes: host.boolean,
        }
        self.dtype_rule = rules[dtype]

    def infer(self, operands: Sequence[Tensor], attributes: Attributes) -> tuple[host.Shape, host.DType]:
        return host.broadcast_shapes(*[o.shape for o in operands]), self.dtype_rule(*[o.dtype for o in operands])

    def adjoint(
        self, F: Namespace, cotangent: Value, position: int, out: Value, inputs: Sequence[Value], attributes: Attributes
    ) -> Value | None:
        return self._scale(self.partials[position], F, cotangent, out, inputs, attributes)

    def tangent(
        self,
        F: Namespace,
        tangents: Sequence[Value | None],
        out: Value,
        inputs: Sequence[Value],
        attributes: Attributes,
    ) -> Value | None:
        total: Any = None
        for partial, tangent in zip(self.partials, tangents, strict=True):
            if tangent is not None:
                term = self._scale(partial, F, tangent, out, inputs, attributes)
                total = term if total is None else total if term is None else total + term
        return total

    def _scale(
        self, partial: Partial, F: Namespace, vector: Any, out: Value, inputs: Sequence[Value], attributes: Attributes
    ) -> Any:
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

    def adjoint(
        self, F: Namespace, cotangent: Value, position: int, out: Value, inputs: Sequence[Value], attributes: Attributes
    ) -> Value | None:
        if callable(self.transposes):
            return self.transposes(F, cotangent, position, *inputs, **attributes)
        transpose = self.transposes[position] if position < len(self.transposes) else None
        return None if transpose is None else transpose(F, cotangent, *inputs, **attributes)

    def tangent(
        self,
        F: Namespace,
        tangents: Sequence[Value | None],
        out: Value,
        inputs: Sequence[Value],
        attributes: Attributes,
    ) -> Value | None:
        if all(tangent is None for tangent in tangents):
            return None
        moved = []
        for position, (tangent, operand) in enumerate(zip(tangents, inputs, strict=True)):
            varies = callable(self.transposes) or position < len(self.transposes)
            zero = F.zeros_like(operand) if varies and tangent is None else operand
            moved.append(tangent if tangent is not None else zero)
        return self._applied(F, moved, attributes)


class Multilinear(Op):
    """An op that is linear in each argument: the tangent is a sum, one transpose per argument."""

    kind = "multilinear"

    def __init__(self, name: str, transposes: Rule, **declared: Any) -> None:
        super().__init__(name, **declared)
        self.transposes = transposes

    def adjoint(
        self, F: Namespace, cotangent: Value, position: int, out: Value, inputs: Sequence[Value], attributes: Attributes
    ) -> Value | None:
        return self.transposes(F, cotangent, position, *inputs, **attributes)

    def tangent(
        self,
        F: Namespace,
        tangents: Sequence[Value | None],
        out: Value,
        inputs: Sequence[Value],
        attributes: Attributes,
    ) -> Value | None:
        total: Any = None
        for position, tangent in enumerate(tangents):
            if tangent is not None:
                operands = (*inputs[:position], tangent, *inputs[position + 1 :])
                term = self._applied(F, operands, attributes)
                total = term if total is None else total + term
        return total


class Composite(Op):
    """An op written in other ops. It has no rule of its own, and is drawn as one node that opens.

    Differentiation opens it: `body` is run on the operands, and what it builds is differentiated.
    """

    kind = "composite"
    chooses = True
    inside: tuple[bool, bool] | None = None
    """Whether there are poles among the ops that it stands for, and ops that choose; None while nobody has looked."""

    def __init__(self, name: str, body: Rule, **declared: Any) -> None:
        declared.setdefault("evaluate", body)
        super().__init__(name, **declared)
        self.body = body

    def open(self, operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
        """Return the output of the ops that this one stands for."""
        return self.body(GRAPH, *operands, **attributes)

    def again(self, operands: Sequence[Tensor], attributes: Attributes) -> Tensor:
        """Return the same for a backward pass."""
        return self.open(operands, attributes)

    def infer(self, operands: Sequence[Tensor], attributes: Attributes) -> tuple[host.Shape, host.DType]:
        if self.infer_rule is not None:
            return super().infer(operands, attributes)
        opened = self.open(operands, attributes)
        return opened.shape, opened.dtype


class Custom(Op):
    """An op with rules given by hand. Of two that are each other's transpose one is enough."""

    kind = "custom"
    poles = True
    tangent_by_adjoint: Rule
    adjoint_by_tangent: Rule

    def __init__(self, name: str, *, tangent: Rule | None, adjoint: Rule | None, **declared: Any) -> None:
        super().__init__(name, **declared)
        self.tangent_rule = tangent
        self.adjoint_rule = adjoint

    def adjoint(
        self, F: Namespace, cotangent: Value, position: int, out: Value, inputs: Sequence[Value], attributes: Attributes
    ) -> Value | None:
        if self.adjoint_rule is None and self.tangent_rule is None:
            self._raise_undefined("adjoint")
        try:
            if self.adjoint_rule is None:
                return self.adjoint_by_tangent(F, cotangent, position, out, inputs, attributes)
            return self.adjoint_rule(F, cotangent, position, out, *inputs, **attributes)
        except ValueError as error:
            self._raise_of_matrix(error)
            raise

    def tangent(
        self,
        F: Namespace,
        tangents: Sequence[Value | None],
        out: Value,
        inputs: Sequence[Value],
        attributes: Attributes,
    ) -> Value | None:
        if all(tangent is None for tangent in tangents):
            return None
        if self.tangent_rule is None and self.adjoint_rule is None:
            self._raise_undefined("tangent")
        try:
            if self.tangent_rule is None:
                return self.tangent_by_adjoint(F, tangents, out, inputs, attributes)
            return self.tangent_rule(F, tangents, out, *inputs, **attributes)
        except ValueError as error:
            self._raise_of_matrix(error)
            raise

    def _raise_of_matrix(self, error: ValueError) -> None:
        """Say of an array library's error about a matrix which derivative met it."""
        if _is_of_matrix(error):
            raise MatrixError(f"derivative of {self.name}: {_with_mend(error)}") from error


def _declaring_module() -> str:
    """Return the name of the module that is declaring an op."""
    frame: FrameType = sys._getframe(1)
    while frame.f_back is not None and f"{frame.f_globals.get('__name__')}.".startswith("graphdiff.op."):
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", ""))


def _op_named(name: str, module: str = "graphdiff.nn") -> Op:
    """Return the op of that name, for a pickle that uses it; `module` declares it."""
    if name not in OPS:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    if name not in OPS:
        raise OpError(f"there is no op {name!r} here: import the module that declares it before loading what uses it")
    return OPS[name]


def _fall_back(numbers: Numbers, name: str) -> Function[Array]:
    if name not in OPS:
        raise AttributeError(f"neither backend {numbers.backend.name!r} nor graphdiff has a function {name!r}")
    return OPS[name].kernel(numbers.backend)


Numbers.fallback = _fall_back  # type: ignore[method-assign,assignment]
