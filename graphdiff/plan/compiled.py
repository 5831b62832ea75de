"""`compile`: a function traced once per signature of its arguments, and run from then on as a plan."""

from __future__ import annotations

import builtins
import inspect
import os
import sys
import types
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import update_wrapper
from threading import Lock
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, overload
from weakref import WeakSet

from graphdiff import host
from graphdiff.arguments import number
from graphdiff.backend import Backend, current_backend
from graphdiff.errors import CompileError
from graphdiff.guard import guarded
from graphdiff.plan.failures import ARRAY_ERRORS
from graphdiff.plan.plan import Plan, RetraceError
from graphdiff.plan.static import Static, static_key
from graphdiff.plan.trace import gradient_kind, placeholder_like, trace
from graphdiff.tensor import SWITCHES, TRACES, WATCHES, Tensor, constant, contents, current_trace, is_held
from graphdiff.tree import Structure, flatten, unflatten

__all__ = ["Compiled", "RetraceWarning", "compile"]

PRECISIONS = ("float32", "tf32", "bf16", "fp16")
_CACHE_LIMIT = 64
_WARN_AFTER = 8
_MANY_NUMBERS = 64
_MISS = object()


Inputs = ParamSpec("Inputs")
Returned = TypeVar("Returned", covariant=True)


class Decorator(Protocol):
    """What compiles a function by options given before."""

    def __call__(self, function: Callable[Inputs, Returned], /) -> Compiled[Inputs, Returned]: ...


class RetraceWarning(UserWarning):
    """A compiled function is traced again and again: one of its arguments keeps changing its shape, dtype or value."""


class Compiled(Generic[Inputs, Returned]):
    """A function that runs as a plan; made by `compile`.

    Attributes
    ----------
    plans : list of Plan
        One per signature met so far, the most recently used last.
    """

    @guarded
    def __init__(
        self,
        function: Callable[Inputs, Returned],
        static_argnames: Iterable[str] = (),
        disable: Iterable[str] = (),
        memory_limit: float | None = None,
        precision: str = "float32",
        engine: str = "auto",
        calls: int | None = None,
    ) -> None:
        if not callable(function):
            raise CompileError(f"only functions can be compiled, not {function!r}")
        if precision not in PRECISIONS:
            raise CompileError(f"there is no precision {precision!r}; there are {', '.join(PRECISIONS)}")
        if memory_limit is not None:
            memory_limit = number(memory_limit, "memory_limit, in bytes,", 0)
        update_wrapper(self, function)
        self.__name__ = getattr(function, "__name__", type(function).__name__.lower())
        self.function = function
        self._static = frozenset((static_argnames,) if isinstance(static_argnames, str) else static_argnames)
        self._options: dict[str, Any] = {
            "disable": frozenset(disable),
            "memory_limit": memory_limit,
            "precision": precision,
            "engine": engine,
            "calls": calls,
        }
        self._parameters = inspect.signature(function) if self._static else None
        if self._parameters is not None:
            for name in self._static:
                if name not in self._parameters.parameters:
                    raise CompileError(f"static_argnames: {function.__name__} has no argument {name!r}")
        self._plans: OrderedDict[Any, Plan] = OrderedDict()
        self._probes: dict[tuple[int, str], Callable[[], Any]] = {}
        self._traced = 0
        self._last_signature: Any = None
        self._quick: Callable[..., Returned] | None = None
        self._other: Callable[..., Returned] | None = None
        self._arity = -1
        self._lock = Lock()
        _ALL.add(self)

    def _guard(self, plan: Plan, arrays: list[Any], count: int) -> Callable[..., Any]:
        """Return the plan's quick way, good while there are `count` changes of settings, and containers as they are."""
        classes = tuple(map(type, arrays))
        if plan.guard is None or plan.guard[0] != classes:
            seen: list[Any] = [count, [], []]
            plan.guard = classes, seen, _guarded(plan, arrays, self._lock, seen if self._probes else None)
        _, seen, quick = plan.guard
        owners = [probe.__self__ for (_, what), probe in self._probes.items() if what == "settings"]  # type: ignore[attr-defined]
        containers = [container for owner in owners for container in owner.containers()]
        seen[:] = count, containers, contents(containers)
        result: Callable[..., Any] = quick
        return result

    def __reduce__(self) -> Any:
        """Pickle as functions are, by name, where the name leads here; else anew of the function, without plans."""
        found: Any = sys.modules.get(self.__module__)
        for name in getattr(self, "__qualname__", self.__name__).split("."):
            found = getattr(found, name, None)
        if found is self:
            return self.__qualname__
        options = self._options
        static = tuple(self._static), tuple(options["disable"])
        given = [options[name] for name in ("memory_limit", "precision", "engine", "calls")]
        return Compiled, (self.function, *static, *given)

    def _renew_lock(self) -> None:
        """Be usable in a forked child, where what another thread was running will never end."""
        if self._lock.locked():
            self._lock = Lock()
            self._plans.clear()
            self._quick, self._other, self._arity = None, None, -1

    @property
    def plans(self) -> list[Plan]:
        """One plan per signature, the most recently used last."""
        return list(self._plans.values())

    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __call__(self, *arguments: Inputs.args, **named: Inputs.kwargs) -> Returned:
        if len(arguments) == self._arity and not named and not TRACES and not WATCHES:
            assert self._quick is not None
            result = self._quick(*arguments)
            if result is not _MISS:
                return result
            other = self._other
            if other is not None:  # such as that of an epoch's last, smaller batch: the two change places
                result = other(*arguments)
                if result is not _MISS:
                    self._quick, self._other = other, self._quick
                    return result
        return self._call(arguments, named)

    def plan(self, *arguments: Inputs.args, **named: Inputs.kwargs) -> Plan:
        """Return the plan for these arguments, made if there is none yet; nothing is run."""
        signature, leaves, structure, backend = self._signature(arguments, named)
        return self._find(signature, leaves, structure, backend)

    def _call(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> Returned:
        if WATCHES.here() or current_trace() or _is_recorded(arguments, named):
            # Inside another trace, or under differentiation: what the function builds is part of that graph. Watched:
            # a plan has no nodes to tell of.
            return self._inlined(arguments, named)
        count = SWITCHES[0]  # before the call, which may set switches
        result: Returned
        result, plan, arrays = self._run(arguments, named, lambda plan, arrays: plan.run(*arrays))
        self._remember(plan, arguments, named, arrays, count)
        return result

    def _inlined(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> Returned:
        """Call the function itself, on Tensors where a plan would have them: an array's methods are NumPy's."""
        leaves, structure = flatten([list(arguments), named])
        if any(map(host.is_host_array, leaves)):
            marked, structure = flatten(list(self._marked(arguments, named)))
            leaves = [
                leaf.value if isinstance(leaf, Static) else constant(leaf) if host.is_host_array(leaf) else leaf
                for leaf in marked
            ]
            arguments, named = unflatten(structure, leaves)
        return self.function(*arguments, **named)

    def many(self, count: int, /, *arguments: Inputs.args, **named: Inputs.kwargs) -> Returned:
        """Call the function `count` times on the same arguments; return what the last call returned.

        What changes from call to call are the variables. A backend may run several steps in one launch.

        Raises
        ------
        CompileError
            `count` is no positive integer, or the call is within another trace or under differentiation.

        Examples
        --------
        >>> import graphdiff as gd
        >>> w = gd.variable(1.0)
        >>> double = gd.compile(lambda: w.assign(w * 2))
        >>> _ = double.many(10)
        >>> w.item()
        1024.0
        """
        if not host.is_integer(count) or count < 1:
            raise CompileError(f"{self.__name__}.many runs a positive number of times, not {count!r}")
        if current_trace() or _is_recorded(arguments, named):
            raise CompileError(f"{self.__name__}.many cannot be traced or differentiated: write a loop")
        result: Returned = self._run(arguments, named, lambda plan, arrays: plan.many(count, *arrays))[0]
        return result

    def _run(
        self, arguments: tuple[Any, ...], named: dict[str, Any], work: Callable[[Plan, list[Any]], Any]
    ) -> tuple[Any, Plan, list[Any]]:
        """Do something with the plan for these arguments; return the result, the plan and the arguments' arrays."""
        signature, leaves, structure, backend = self._signature(arguments, named)
        plan = self._find(signature, leaves, structure, backend)
        arrays = [leaf for leaf in leaves if not isinstance(leaf, Static)]
        with self._lock:
            try:
                result = work(plan, arrays)
            except RetraceError:
                self._plans.pop(self._key(signature), None)
                plan = self._find(signature, leaves, structure, backend)
                result = work(plan, arrays)
        return result, plan, arrays

    # Signatures ---------------------------------------------------------------------------------------------------

    def _signature(self, arguments: Any, named: Any) -> tuple[Any, list[Any], Structure, Backend]:
        arguments, named = self._marked(arguments, named)
        leaves, structure = flatten([list(arguments), named])
        backend = next((leaf.backend for leaf in leaves if isinstance(leaf, Tensor)), None) or current_backend()
        entries = []
        for place, leaf in enumerate(leaves):
            leaves[place], entry = _entry(leaf, backend)
            entries.append(entry)
        signature = (_frozen(structure), tuple(entries), backend)
        try:
            hash(signature)
        except TypeError as error:
            strange = [type(leaf.value) for leaf in leaves if isinstance(leaf, Static) and not _is_hashable(leaf)]
            kinds = " and ".join(f"{kind.__module__}.{kind.__qualname__}" for kind in dict.fromkeys(strange))
            raise CompileError(
                f"an argument of type {kinds} can be neither traced nor hashed: {error}. A table is traced as "
                f"numpy.asarray(table); an array of another library than {backend.name}'s under gd.use_backend"
            ) from error
        return signature, leaves, structure, backend

    def _marked(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Wrap the arguments that `static_argnames` names."""
        if self._parameters is None:
            return arguments, named
        bound = self._parameters.bind(*arguments, **named)
        for name in self._static & bound.arguments.keys():
            bound.arguments[name] = Static(bound.arguments[name])
        return bound.args, bound.kwargs

    def _find(self, signature: Any, leaves: list[Any], structure: Structure, backend: Backend) -> Plan:
        key = self._key(signature)
        found = self._plans.get(key)
        if found is None:
            found = self._make(signature, leaves, structure, backend)
            self._plans[self._key(signature)] = found  # tracing may have met switches not known before
            if len(self._plans) > _CACHE_LIMIT:
                self._plans.popitem(last=False)
        else:
            self._plans.move_to_end(key)
        return found

    def _key(self, signature: Any) -> Any:
        """Return the signature with what the function is known to branch on, as it is now."""
        return signature, tuple([static_key(probe()) for probe in self._probes.values()])

    def _make(self, signature: Any, leaves: list[Any], structure: Structure, backend: Backend) -> Plan:
        self._traced += 1
        if self._traced >= _WARN_AFTER and self._traced % _WARN_AFTER == 0:
            self._warn(signature)
        self._last_signature = signature
        entries = signature[1]
        numbers = sum(entry[0] == "number" for entry in entries)
        if numbers > _MANY_NUMBERS:
            warnings.warn(
                f"{self.__name__} was given {numbers} Python numbers in lists, each of which is traced by itself: it "
                "is slow. Give arrays, as numpy.asarray(numbers).",
                RetraceWarning,
                stacklevel=6,
            )
        placeholders = [
            placeholder_like(entry[1], entry[2], backend, entry[0] == "number")
            for entry in entries
            if entry[0] != "static"
        ]
        names = _argument_names(self.function, placeholders, entries)
        for node, name in zip(placeholders, names, strict=True):
            node.name = name

        def rebuild(symbols: list[Any]) -> Any:
            remaining = iter(symbols)
            filled = [leaf.value if isinstance(leaf, Static) else next(remaining) for leaf in leaves]
            return unflatten(structure, filled)

        program, result_structure, results, tracing = self._traced_program(placeholders, rebuild)
        self._probes.update(tracing.probes)
        kinds = {variable: gradient_kind(variable) for variable in tracing.probed}
        return Plan(program, result_structure, results, backend, name=self.__name__, kinds=kinds, **self._options)

    def _traced_program(self, placeholders: list[Tensor], rebuild: Any) -> Any:
        """Trace the function; once more if it has made what later calls find made."""
        try:
            traced = trace(self.function, placeholders, rebuild)
        except RetraceError:  # an optimiser has laid its parameters out anew; now they stay where they are
            traced = trace(self.function, placeholders, rebuild)
        first = traced
        if traced[3].makes_anew:
            traced = trace(self.function, placeholders, rebuild)
        if traced[3].made:
            traced[3].undo()
            first[3].undo()
            raise CompileError(
                f"{self.__name__} makes {traced[3].made[0]}, anew at every call, which cannot be compiled: make it "
                "outside of the function, or once"
            )
        return traced

    def _warn(self, signature: Any) -> None:
        changing = "the structure of the arguments"
        if self._last_signature is not None and self._last_signature[0] == signature[0]:
            differing = [
                f"argument {place} was {_told(old)} and is {_told(new)}"
                for place, (old, new) in enumerate(zip(self._last_signature[1], signature[1], strict=True))
                if old != new
            ]
            same = self._last_signature == signature
            setting = "the mode or a setting of a layer or optimiser"
            changing = "; ".join(differing) or (setting if same else "the backend")
        warnings.warn(
            f"{self.__name__} was traced {self._traced} times; {changing}. Keep shapes and dtypes the same from call "
            "to call, for example by dropping a last, smaller batch.",
            RetraceWarning,
            stacklevel=7,
        )

    def _remember(self, plan: Plan, arguments: Any, named: Any, arrays: list[Any], count: int) -> None:
        """Prepare the quick way for calls like this one: positional arrays of known class, shape and dtype."""
        plain = not named and len(arguments) == len(arrays)
        if plain and all(given is array for given, array in zip(arguments, arrays, strict=True)):
            self._other = self._quick if self._arity == len(arrays) else None
            self._quick, self._arity = self._guard(plan, arrays, count), len(arrays)
        else:
            self._arity, self._other = -1, None


_ALL: WeakSet[Compiled[..., Any]] = WeakSet()


def _renew_locks() -> None:
    for compiled in list(_ALL):
        compiled._renew_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


def _is_recorded(arguments: Any, named: Any) -> bool:
    leaves, _ = flatten([list(arguments), named])
    return any(isinstance(leaf, Tensor) and leaf.recorded for leaf in leaves)


def _entry(leaf: Any, backend: Backend) -> tuple[Any, tuple[Any, ...]]:
    """Return an argument's array and its entry in the signature."""
    if isinstance(leaf, Static):
        return leaf, ("static", leaf)
    host.refuse_masked(leaf)
    if isinstance(leaf, host.PYTHON_SCALARS) and not host.is_host_array(leaf):  # NumPy's float64 is a Python float, too
        host.require_numeric(host.as_host(leaf).dtype)  # which an integer beyond 64 bits has not
        array = backend.normalize(backend.from_host(leaf))
        return array, ("number", (), backend.host_dtype(array))
    if isinstance(leaf, Tensor):
        if leaf.backend is not backend:
            raise CompileError(f"{leaf.describe()} is on {leaf.backend.name}, other arguments on {backend.name}")
        leaf = leaf._value if leaf.has_value else leaf.value  # plans do not write into arguments
    elif not backend.owns(leaf):
        adopted = backend.adopt(leaf)
        if adopted is None and not host.is_host_array(leaf):
            static = Static(leaf)
            return static, ("static", static)
        if adopted is None:
            host.require_numeric(leaf.dtype)
            leaf = backend.from_host(leaf)
        else:
            leaf = adopted
    dtype = backend.host_dtype(leaf)
    if dtype.kind not in "biufc":
        raise CompileError(f"an argument of {dtype} data cannot be traced: numbers and booleans only")
    return leaf, ("array", tuple(leaf.shape), dtype)


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _frozen(structure: Structure) -> Any:
    if structure is None:
        return None
    container, keys, items = structure
    return container, static_key(keys), tuple(_frozen(item) for item in items)


def _told(entry: tuple[Any, ...]) -> str:
    return repr(entry[1]) if entry[0] == "static" else f"{entry[2]}{list(entry[1])}"


def _argument_names(function: Callable[..., Any], placeholders: list[Tensor], entries: Any) -> list[str]:
    """Return the names of the parameters where every argument is one array, else numbered names."""
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        names = []
    if len(names) == len(entries):
        return [name for name, entry in zip(names, entries, strict=True) if entry[0] != "static"]
    return [f"argument{place}" for place in range(len(placeholders))]


def _guarded(plan: Plan, arrays: list[Any], lock: Lock, seen: list[Any] | None) -> Callable[..., Any]:
    """Return the plan behind a check of class, shape and dtype written out for these arguments.

    If the function uses settings, there must have been no change since what is `seen`; the gradients that it reads must
    be there as they were. Without arguments the backend must still be the chosen one.

    The check is generated because a loop over the arguments would take longer than a small network's layer.
    """
    names = [f"a{place}" for place in range(len(arrays))]
    scope: dict[str, Any] = {"miss": _MISS, "lock": lock}
    run, *leading_values = plan.quick
    leading = [f"leading{place}" for place in range(len(leading_values))]
    scope |= {"run": run, "wrap": plan.wrap, "RetraceError": RetraceError}
    scope |= {"array_errors": ARRAY_ERRORS, "raise_told": plan.raise_told}
    scope |= dict(zip(leading, leading_values, strict=True))
    effects = [f"effect{place}" for place in range(len(plan.effects))]
    scope |= dict(zip(effects, plan.effects, strict=True))
    tests = []
    if seen is not None:
        scope |= {"switches": SWITCHES, "seen": seen, "is_held": is_held}
        tests.append("switches[0] == seen[0] and (not seen[1] or is_held(seen[1], seen[2]))")
    held = {}
    for place, (variable, kind) in enumerate(plan.kinds.items()):
        scope[f"v{place}"] = variable
        gradient = held[variable] = f"v{place}._grad"
        tests.append(f"{gradient} is {'' if kind is None else 'not '}None")
        if kind is not None:
            scope |= {f"v{place}_shape": kind[0], f"v{place}_dtype": variable.backend.native_dtype(kind[1])}
            tests.append(f"{gradient}.shape == v{place}_shape and {gradient}.dtype is v{place}_dtype")
    if not arrays:  # nothing tells the backend but the choice of it
        scope |= {"current": current_backend, "backend": plan.backend}
        tests.append("current() is backend")
    for name, array in zip(names, arrays, strict=True) if not plan.tells_arrays else ():
        scope |= {f"{name}_class": type(array), f"{name}_shape": tuple(array.shape), f"{name}_dtype": array.dtype}
        tests.append(
            f"{name}.__class__ is {name}_class and {name}.shape == {name}_shape and {name}.dtype is {name}_dtype"
        )
    given = [*leading, *names, *(held[variable] for variable in plan.inherited)]
    lines = [
        f"def quick({', '.join(names)}):",
        f"    if {' and '.join(tests) or 'True'}:",
        # No interrupt falls between entering `with` and being within it, as it may between a call of acquire and try.
        "        with lock:",
        "            try:",
        f"                values = run({', '.join(given)})",
        *(f"                {name}()" for name in effects),
        "            except RetraceError:",
        "                return miss",
        "            except array_errors as error:",
        "                raise_told(error)",
        "                raise",
        "        return wrap(values)",
        "    return miss",
    ]
    # Made code first: an interrupt within `exec` of a text makes Python end by it, even if it is caught.
    exec(builtins.compile("\n".join(lines), "<guard of a plan>", "exec"), scope)
    result: Callable[..., Any] = scope["quick"]
    return result


@overload
def compile(
    function: Callable[Inputs, Returned],
    /,
    *,
    static_argnames: Iterable[str] = (),
    memory_limit: float | None = None,
    precision: str = "float32",
    engine: str = "auto",
    calls: int | None = None,
    disable: Iterable[str] = (),
) -> Compiled[Inputs, Returned]: ...
@overload
def compile(
    *,
    static_argnames: Iterable[str] = (),
    memory_limit: float | None = None,
    precision: str = "float32",
    engine: str = "auto",
    calls: int | None = None,
    disable: Iterable[str] = (),
) -> Decorator: ...
def compile(
    function: Callable[..., Any] | None = None,
    /,
    *,
    static_argnames: Iterable[str] = (),
    memory_limit: float | None = None,
    precision: str = "float32",
    engine: str = "auto",
    calls: int | None = None,
    disable: Iterable[str] = (),
) -> Any:
    """Trace a function once per signature of its arguments, and run it from then on as a plan.

    The body is ordinary eager code: it may call `backward`, optimisers, assign variables. Arguments become placeholders
    by shape and dtype; Python numbers are traced as values; anything else is part of the signature by its value.
    Variables and their gradients are read afresh at every call, and what is assigned to them takes effect when the
    whole call has succeeded. Settings and modes of modules, optimisers and schedules are part of the signature: after
    one was set there is another plan. Python numbers and arrays that the function closes over are constants of it.

    Parameters
    ----------
    function : callable
    static_argnames : iterable of str
        Arguments that are part of the signature by type and value, such as a flag that the body branches on.
    memory_limit : int, optional
        Bytes; values are recomputed instead of kept so that the predicted peak stays below.
    precision : {"float32", "tf32", "bf16", "fp16"}
        To what the operands of products of float32 matrices may be rounded; sums, and everything else, stay float32, so
        that the weights that are trained are the master weights. A backend without it, as NumPy's, computes in float32.
        "fp16" has a small range: call the optimiser's `scale_loss` before the first step.
    engine : {"auto", "c", "numpy"}
        In what plans on the CPU run: as C, compiled by the machine's compiler (`CC`, cc, gcc, clang, or the package
        ziglang), or as calls of NumPy, which is what runs where there is no compiler that works; `Plan.explain` says
        which and why. "auto" is what the environment variable GRAPHDIFF_ENGINE names; else calls of NumPy, and from
        a fixed call on, when C will have been compiled meanwhile, C.
    calls : int, optional
        How many calls to expect. With "auto" it is then decided before the first call what runs, and for good: so that
        a training that goes on from a checkpoint has the same bits.
    disable : iterable of str
        Passes to leave out, by the names that `Plan.explain` prints.

    Returns
    -------
    Compiled

    Raises
    ------
    CompileError
        The function depends on something that is not known while it is traced; or there is no such precision.
    NoValueError
        It branches in Python on such a value; `gd.where` chooses between values instead.

    Examples
    --------
    >>> import graphdiff as gd
    >>> import numpy as np
    >>> w = gd.variable([1.0, 2.0], name="w")
    >>> @gd.compile
    ... def step(x):
    ...     loss = gd.sum((w * x - 1.0) ** 2)
    ...     loss.backward()
    ...     w.assign(w - 0.1 * w.grad)
    ...     return loss
    >>> step(np.array([1.0, 1.0])).item()
    1.0
    >>> w.tolist()
    [1.0, 1.8]
    """
    options: dict[str, Any] = {
        "static_argnames": static_argnames,
        "memory_limit": memory_limit,
        "precision": precision,
        "engine": engine,
        "calls": calls,
        "disable": disable,
    }
    if function is None:
        return lambda given: Compiled(given, **options)
    return Compiled(function, **options)
