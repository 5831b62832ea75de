"""`Op`: what every kind of op declares, and how an op makes a node."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Hashable, Sequence
from types import FrameType
from typing import Any, Literal, NoReturn, TypeVar

from graphdiff import host
from graphdiff.backend import Backend, Numbers, current_backend, forget
from graphdiff.errors import BackendError, GraphDiffError, NotDifferentiableError, OpError
from graphdiff.op.explain import ARRAY_ERRORS, explained, raise_mixed
from graphdiff.op.functions import FUNCTIONS, GRAPH
from graphdiff.op.operands import as_tensors, entered
from graphdiff.op.work import SORTS, Sort, Work
from graphdiff.tensor import NO_ATTRIBUTES, TRACES, WATCHES, Tensor, leaf
from graphdiff.typing import Array, ArrayLike, Attribute, Attributes, Function, Namespace

OPS: dict[str, Op] = {}
"""Every op by name."""

Rule = Function[Any]
Value = TypeVar("Value")
"""What a rule computes with: a backend's array, or a Tensor where it builds graph."""


class Op:
    r"""What every kind of op has. Made by `elementwise`, `linear`, `multilinear`, `composite` and `custom`.

    With operands of shapes s₁ … sₙ and a result of shape s, an op declares, or its kind makes of what it declares:

    - ``evaluate(F, *inputs, **attributes)``: the value, of shape s, in functions of `F`; where there is none, `F` has
      `function`, of another name than the op's if told so;
    - ``infer(operands, attributes)``, declared as ``infer(*operands, **attributes)``: (s, dtype), without values;
    - ``batch(F, operands, flags, size, **attributes)``: the value for `size` calls at once, of shape (size, \*s);
      ``operands[i]`` is of shape (size, \*sᵢ) where ``flags[i]``, else of shape sᵢ. Where none is declared, elementwise
      ops broadcast, composites are opened, and others are called once per element;
    - ``adjoint(F, cotangent, position, out, inputs, attributes)``: what the result's adjoint, of shape s, adds to that
      of one input: of the input's shape, or one that it is summed to; None is exactly zero;
    - ``tangent(F, tangents, out, inputs, attributes)``: the result's tangent, of a shape that broadcasts to s, from the
      inputs' of shapes sᵢ, None where zero; None is exactly zero.

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
    internal : bool
        Whether only other functions, derivatives and plans are made of it, and nobody calls it by name.
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
        internal: bool = False,
        symbol: str | None = None,
    ) -> None:
        self.module = _declaring_module()
        self.built_in = self.module.partition(".")[0] == "graphdiff"
        _require_free(name, self.built_in)
        if work is not None and not callable(work) and work not in SORTS:
            raise OpError(f"the work of op {name!r} is a function or one of {', '.join(SORTS)}, not {work!r}")
        if keeps not in (None, "places", "elements"):
            raise OpError(f'op {name!r} keeps "places", "elements" or None, not {keeps!r}')
        self.name = name
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
        self.internal = internal
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
                result: Array = evaluate(namespace, *arrays, **attributes)
                return result

        if plain is None:
            plain = getattr(backend.namespace, self.function, None)
        if plain is None:
            raise BackendError(
                f"backend {backend.name!r} cannot express the op {self.name!r}: it has no such function, and the op "
                "is not declared with evaluate=…"
            )
        if self.name in backend.normal and self.name in backend.kernels:
            return plain
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
        values: list[Array] = []
        for operand in operands:
            if operand.backend is not backend:
                raise_mixed(self, operands)
            recorded = recorded or operand.recorded
            value = operand._value
            pure = pure or value is None
            values.append(value)
        attributes = attributes or NO_ATTRIBUTES
        try:
            if pure:
                attributes = host.plain(attributes) if attributes else attributes  # plans write them out as source
                signature = self.infer(operands, attributes)
                return Tensor(self, operands, attributes, None, backend, True, signature)
            for watch in WATCHES and WATCHES.here():
                watch.before(self, operands)
            value = (self._kernels.get(backend) or self.kernel(backend))(*values, **attributes)
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
            stand_ins = [leaf(None, o.backend, True, (o.shape, o.dtype)) for o in operands]
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


def _kinds(operands: Sequence[Tensor]) -> Hashable:
    return tuple((operand.ndim, operand.dtype) for operand in operands)


def _require_free(name: str, built_in: bool) -> None:
    """Refuse the name of a function that graphdiff has. One's own op is replaced: a notebook's cell runs again."""
    own = OPS.get(name) or getattr(FUNCTIONS.get(name), "op", None)
    taken = name in FUNCTIONS if own is None else own.built_in
    if (built_in and name in OPS) or (taken and not built_in):
        raise OpError(f"there already is an op {name!r} of graphdiff: give yours another name")


def _declaring_module() -> str:
    """Return the name of the module that is declaring an op."""
    frame: FrameType = sys._getframe(1)
    while frame.f_back is not None and f"{frame.f_globals.get('__name__')}.".startswith(_DECLARING):
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", ""))


_DECLARING = ("graphdiff.op.", "graphdiff.guard.")


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
