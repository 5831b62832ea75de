"""Declaring an op: what makes it, and the function that applies it."""

from __future__ import annotations

import inspect
from typing import Any, cast

from graphdiff.backend import Backend
from graphdiff.errors import OpError
from graphdiff.op.contract import Op, Rule
from graphdiff.op.explain import explained, raise_mixed
from graphdiff.op.functions import FUNCTIONS
from graphdiff.op.kinds import Applied, Composite, Custom, Elementwise, Linear, Multilinear, Partial
from graphdiff.op.operands import as_tensor, as_tensors, operand_beside
from graphdiff.tensor import NO_ATTRIBUTES, TRACES, WATCHES, Tensor, Variable
from graphdiff.typing import Array, ArrayLike, Attribute, Function


def _register_function(op: Op, call: Function[Tensor], doc: str | None) -> Applied:
    applied = cast(Applied, call)
    applied.__name__ = applied.__qualname__ = op.name
    applied.__module__ = "graphdiff"  # where pickle finds it
    applied.__doc__ = doc or f"Apply the {op.kind} op `{op.name}`."
    applied.op = op
    FUNCTIONS[op.name] = applied
    return applied


def _unary(op: Elementwise) -> Function[Tensor]:
    kernels: dict[Backend, Function[Array]] = {}

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
            raise explained(op, (x,), error) from error
        if x.recorded:
            return Tensor(op, (x,), NO_ATTRIBUTES, value, backend, True)
        return Tensor(None, (), NO_ATTRIBUTES, value, backend, False)

    return call


def _binary(op: Elementwise) -> Function[Tensor]:
    kernels: dict[Backend, Function[Array]] = {}

    def call(x: Any, y: Any, /) -> Tensor:
        kind = x.__class__
        if kind is not Tensor and (kind is not Variable or TRACES):
            x = operand_beside(x, y)
        kind = y.__class__
        if kind is not Tensor and (kind is not Variable or TRACES):
            y = operand_beside(y, x)
        backend = x.backend
        if backend is not y.backend:
            raise_mixed(op, (x, y))
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
            raise explained(op, (x, y), error) from error
        if x.recorded or y.recorded:
            return Tensor(op, (x, y), NO_ATTRIBUTES, value, backend, True)
        return Tensor(None, (), NO_ATTRIBUTES, value, backend, False)

    return call


def _elementwise_kernel(op: Op, backend: Backend) -> Function[Array]:
    """Return the backend's own function where there is one: elementwise functions give normal 0-d values already."""
    plain = backend.kernels.get(op.name)
    if plain is None and op.evaluate is None:
        plain = getattr(backend.namespace, op.function, None)
    return plain or op.kernel(backend)


def elementwise(name: str, *partials: Partial, dtype: str = "same", doc: str | None = None, **declared: Any) -> Applied:
    """Declare an op that works element by element.

    Parameters
    ----------
    name : str
    *partials : callable, 1, -1 or None
        One partial derivative per argument, called as ``partial(F, out, *inputs, **attributes)``. 1 and -1 cost
        nothing; None means exactly zero everywhere.
    dtype : {"same", "number", "float", "quotient", "magnitude", "bool"}
        The dtype of the result: the promoted one, the same but int8 for booleans, a float, that of a true division,
        that of an absolute value, or bool.
    doc : str, optional
        The docstring of the resulting function.
    **declared
        ``evaluate(F, *inputs)`` where the array API has no function of that name, ``function`` where it has one
        under another name, ``work`` for counts of costs, ``symbol`` for drawings: see `Op`.

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
    takes_attributes = bool(_options(_signature(op.evaluate)))
    if len(partials) == 1 and not takes_attributes:
        return _register_function(op, _unary(op), doc)
    if len(partials) == 2 and not takes_attributes:
        return _register_function(op, _binary(op), doc)
    return _register_general(op, doc)


def _signature(rule: Rule | None) -> inspect.Signature | None:
    """Return what an op's function is called with, from its rule ``evaluate(F, *inputs, **attributes)``."""
    if rule is None:
        return None
    try:
        given = inspect.signature(rule)
    except (TypeError, ValueError):  # of a function written in C
        return None
    either, only = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY
    parameters = list(given.parameters.values())[1:]
    return inspect.Signature([each.replace(kind=only if each.kind is either else each.kind) for each in parameters])


def _options(signature: inspect.Signature | None) -> list[str]:
    parameters = signature.parameters.values() if signature is not None else ()
    return [each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY]


def _register_general(op: Op, doc: str | None) -> Applied:
    signature = None if op.built_in and not isinstance(op, Elementwise) else _signature(op.evaluate)
    variable = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    if signature is None or any(each.kind in variable for each in signature.parameters.values()):
        return _register_function(op, _any_call(op), doc)
    return _register_function(op, _checked_call(op, signature), doc)


def _checked_call(op: Op, signature: inspect.Signature) -> Function[Tensor]:
    """Return a function that takes what the op's rule takes, its options by position too, and says so of others."""
    options = _options(signature)
    count, plain = len(signature.parameters) - len(options), _any_call(op)
    known = frozenset(options)

    def call(*given: ArrayLike, **attributes: Any) -> Tensor:
        if len(given) > count:
            named = dict(zip(options, given[count:]))
            if len(given) > count + len(options) or named.keys() & attributes.keys():
                raise OpError(f"{op.name}{signature} was called with {len(given)} arguments by position")
            given, attributes = given[:count], {**named, **attributes}
        if len(given) < count or not known.issuperset(attributes):
            unknown = [f"{key}=…" for key in attributes if key not in known]
            asked = ", ".join(unknown) or f"{len(given)} arguments by position"
            raise OpError(f"{op.name}{signature} was called with {asked}")
        return plain(*given, **attributes)

    call.__signature__ = signature  # type: ignore[attr-defined]
    return call


def _any_call(op: Op) -> Function[Tensor]:
    def call(*operands: Any, **attributes: Attribute) -> Tensor:
        for operand in operands:
            kind = operand.__class__
            if kind is not Tensor and (kind is not Variable or TRACES):
                return op.node(as_tensors(operands), attributes)
        return op.node(operands, attributes)

    return call


def linear(
    name: str, *transposes: Rule | None, each: Rule | None = None, doc: str | None = None, **declared: Any
) -> Applied:
    """Declare an op that is linear in its leading arguments; later ones (indices) carry no derivative.

    Parameters
    ----------
    *transposes : callable
        One per linear argument, called as ``transpose(F, cotangent, *inputs, **attributes)``.
    each : callable, optional
        Instead, one for any number of arguments: ``each(F, cotangent, position, *inputs, **attributes)``.
    """
    return _register_general(Linear(name, each or transposes, **declared), doc)


def multilinear(name: str, each: Rule, *, doc: str | None = None, **declared: Any) -> Applied:
    """Declare an op that is linear in each argument; ``each(F, cotangent, position, *inputs, **attributes)``."""
    return _register_general(Multilinear(name, each, **declared), doc)


def composite(name: str, body: Rule, *, doc: str | None = None, **declared: Any) -> Applied:
    """Declare an op by the ops it stands for: ``body(F, *inputs, **attributes)``.

    ``evaluate`` may name a quicker way to the same numbers, ``infer`` one to the shape and dtype.
    """
    return _register_general(Composite(name, body, **declared), doc)


def custom(
    name: str, *, tangent: Rule | None = None, adjoint: Rule | None = None, doc: str | None = None, **declared: Any
) -> Applied:
    """Declare an op with its rules by hand: where a derivative is known, and not by way of what computes the value.

    Parameters
    ----------
    tangent : callable
        ``tangent(F, tangents, out, *inputs, **attributes)``; tangents are None where zero.
    adjoint : callable
        ``adjoint(F, cotangent, position, out, *inputs, **attributes)`` for the input at `position`; None is zero.
        Of `tangent` and `adjoint` one is enough: the other is its transpose.
    **declared
        ``evaluate(F, *inputs, **attributes)``, `infer` where that calls other libraries, and more: see `Op`.

    Examples
    --------
    >>> import graphdiff as gd
    >>> rounded = gd.op.custom(
    ...     "rounded_example", evaluate=lambda F, x: F.round(x), adjoint=lambda F, v, position, out, x: v
    ... )
    >>> gd.grad(lambda x: rounded(x) ** 2)(1.6).item()
    4.0
    """
    return _register_general(Custom(name, tangent=tangent, adjoint=adjoint, **declared), doc)
