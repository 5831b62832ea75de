"""Random programs: eager beside compiled in value, shape, dtype and ownership; modes of differentiation; vmap."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import graphdiff as gd
from graphdiff.errors import CompileError, NoValueError

from .cases import HEADER, Difference, Refused, array_of, executed, leaves_of, literal, one_line, unlike
from .engines import engine
from .grammar import DTYPES, GROUPS, Slots

_NAME = re.compile(r"\b[act]\d+\b")


@dataclass(frozen=True)
class Statement:
    """One line: ``target = text``."""

    target: str
    text: str
    exact: bool
    """Whether it is without rounding, where its operands are small multiples of a power of two."""

    @property
    def uses(self) -> set[str]:
        return set(_NAME.findall(self.text))


@dataclass(frozen=True)
class Program:
    """A function of the arguments a0, a1, … that also reads c0, c1, … from outside.

    Attributes
    ----------
    arguments : dict
        Two values for each, of one dtype and shape: compiled programs are called again.
    captured : dict
        Arrays, and variables where the name is in `variables`.
    outputs : tuple of str
        Texts of expressions; ``body(…)`` in them is the function that returns `result`.
    aspect : str
        What is compared: "compiled" with eager, "modes" of differentiation, or "vmap" with a loop.
    """

    arguments: dict[str, tuple[Any, Any]]
    captured: dict[str, Any]
    variables: frozenset[str]
    statements: tuple[Statement, ...]
    outputs: tuple[str, ...]
    result: str
    aspect: str = "compiled"

    # Text ---------------------------------------------------------------------------------------------------

    def definitions(self, through: str = "{}") -> str:
        """Return the text of the functions, every value passed through a call where one is given."""
        lines = []
        for name, value in self.captured.items():
            maker = "gd.variable" if name in self.variables else "gd.constant" if name.startswith("a") else ""
            lines.append(f"{name} = {maker}({literal(value)})")
        header = ", ".join(self.arguments)
        body = [f"    {name} = {through.format(name)}" for name in self.arguments if through != "{}"]
        body += [f"    {each.target} = {through.format(each.text)}" for each in self.statements]
        if any("body(" in output for output in self.outputs) or self.aspect != "compiled":
            lines += [f"\ndef body({header}):", *body, f"    return {self.result}"]
        if self.aspect == "compiled":
            lines += [f"\ndef program({header}):", *body, f"    return ({''.join(f'{o}, ' for o in self.outputs)})"]
        return "\n".join(lines) + "\n"

    def source(self) -> str:
        """Return a program that shows both sides."""
        given = ", ".join(literal(first) for first, _ in self.arguments.values())
        again = ", ".join(literal(second) for _, second in self.arguments.values())
        eager = ", ".join(
            f"gd.constant({literal(first)})" if isinstance(first, np.ndarray) else literal(first)
            for first, _ in self.arguments.values()
        )
        shown = {
            "compiled": f"print(program({eager}))\ncompiled = gd.compile(program)\nprint(compiled({given}))\n"
            f"print(compiled({again}))\n",
            "modes": f"every = tuple(range({len(self.arguments)}))\n"
            + f'for mode in ("forward", "reverse"):\n    print(gd.jacobian(body, every, mode=mode)({given}))\n',
            "vmap": f"first, second = [{given}], [{again}]\nprint(body(*first), body(*second))\n"
            "print(gd.vmap(body)(*map(np.stack, zip(first, second))))\n",
        }[self.aspect]
        return HEADER + self.definitions() + "\n" + shown

    @property
    def exact(self) -> bool:
        return all(statement.exact for statement in self.statements) and "gd.mean" not in "".join(self.outputs)

    @property
    def differentiates(self) -> bool:
        return re.search(r"gd\.(grad|value_and_grad|vjp|jvp|hvp|jacobian|hessian)\(", self.source()) is not None

    # Checking -----------------------------------------------------------------------------------------------

    def check(self) -> Difference | None:
        checks = {"compiled": self.check_compiled, "modes": self.check_modes, "vmap": self.check_vmap}
        try:
            return checks[self.aspect]()
        except Raised as raised:
            return raised.difference

    def check_compiled(self) -> Difference | None:
        names = executed(self.definitions())
        function = names["program"]
        first, second = self.given(0), self.given(1)
        expected, expected_again = eagerly(function, first), eagerly(function, second)
        with engine():
            difference = self.check_plan(gd.compile(function), expected, expected_again)
        return difference or handed_out(expected, list(first.values()), "eager")

    def check_plan(self, compiled: Any, expected: Any, expected_again: Any) -> Difference | None:
        first, second = list(self.given(0).values()), list(self.given(1).values())
        found, kept = called(compiled, first), [array.copy() for array in first if isinstance(array, np.ndarray)]
        difference = self.unless_delicate(self.unlike(expected, found), 0, expected)
        if difference is not None:
            return difference
        copies = arrays_of(found, copy=True)
        again = called(compiled, [strange(array) for array in second])
        difference = self.unless_delicate(self.unlike(expected_again, again), 1, expected_again)
        difference = difference or handed_out(found, first, "compiled")
        if difference is not None:
            return difference
        if not all(map(same, copies, arrays_of(found))):
            return Difference("overwritten", "what the first call returned was changed by the second")
        for array in arrays_of(found):
            if array.flags.writeable:
                array[...] = 7
        if not all(map(same, kept, [array for array in first if isinstance(array, np.ndarray)])):
            return Difference("shared memory", "writing into the results changed the arguments")
        if unlike(copies, arrays_of(called(compiled, first))) is not None:
            return Difference("shared memory", "writing into the results changed what the next call returns")
        return None

    def check_modes(self) -> Difference | None:
        body, given = executed(self.definitions())["body"], list(self.given(0).values())
        every = tuple(range(len(given)))
        results = []
        for mode in ("forward", "reverse"):
            try:
                results.append(gd.jacobian(body, every, mode=mode)(*given))
            except gd.GraphDiffError as error:
                raise Refused(f"jacobian, {mode}: {type(error).__name__}") from error
            except Exception as error:
                raise Raised(f"{mode} mode", error) from error
        difference = self.unlike(*results, dtypes=False)
        if difference is None or self.exact:
            return difference
        perturbed = executed(self.definitions("P({})"))
        for seed in range(3):
            perturbed["P"] = Perturbation(seed)
            jacobian = gd.jacobian(perturbed["body"], every, mode="reverse")(*given)
            if self.unlike(results[1], jacobian, dtypes=False):
                raise Refused("delicate")
        return difference

    def check_vmap(self) -> Difference | None:
        body = executed(self.definitions())["body"]
        first, second = list(self.given(0).values()), list(self.given(1).values())
        try:
            mapped = gd.vmap(body)(*map(np.stack, zip(first, second)))
        except gd.GraphDiffError as error:
            raise Refused(f"vmap: {type(error).__name__}") from error
        except Exception as error:
            raise Raised("vmap", error) from error
        for place in (0, 1):
            expected = eagerly(body, self.given(place))
            difference = self.unless_delicate(self.unlike(expected, mapped[place]), place, expected, "body")
            if difference is not None:
                return difference
        return None

    def unlike(self, expected: Any, found: Any, dtypes: bool = True) -> Difference | None:
        """Return how two results differ, beyond what the least precise dtype in the program accounts for."""
        text = self.source()
        least = "float16" if "float16" in text else "float32" if "float32" in text else "float64"
        return unlike(expected, found, dtypes=dtypes, least=least, floor=0.0 if self.exact else 1.0)

    def given(self, call: int) -> dict[str, Any]:
        return {
            name: pair[call].copy() if isinstance(pair[call], np.ndarray) else pair[call]
            for name, pair in self.arguments.items()
        }

    def unless_delicate(
        self, difference: Difference | None, call: int, expected: Any, function: str = "program"
    ) -> Difference | None:
        """Return a difference in values, unless a few roundings within the eager program make as large a one."""
        if difference is None or difference.kind not in ("value", "NaN or infinite"):
            return difference
        if difference.nan_for_zero and self.differentiates:
            # Plans count the arguments of derivatives as finite (docs/delicate_points.md): 0 · NaN is NaN there.
            raise Refused("an exact zero beside what is not finite")
        if self.exact:
            return difference
        for seed in range(3):
            names = executed(self.definitions("P({})"))
            names["P"] = Perturbation(seed, "tan2" in self.definitions() or "/" in self.definitions())
            if self.unlike(expected, eagerly(names[function], self.given(call))) is not None:
                raise Refused("delicate")
        return difference

    # Shrinking ----------------------------------------------------------------------------------------------

    def smaller(self) -> Iterator[Program]:
        """Yield programs with an output, a statement, an argument or some values less."""
        for place in range(len(self.outputs)):
            if len(self.outputs) > 1:
                yield replace(self, outputs=self.outputs[:place] + self.outputs[place + 1 :]).tidied()
        for output in self.outputs:
            for name in sorted(set(_NAME.findall(output))):
                if name != output:
                    yield replace(
                        self, outputs=tuple(name if each == output else each for each in self.outputs)
                    ).tidied()
        for place in reversed(range(len(self.statements))):
            for name in [*sorted(self.statements[place].uses), *self.arguments]:
                yield self.without(place, name).tidied()
        for name, pair in self.arguments.items():
            if isinstance(pair[0], np.ndarray) and pair[0].dtype.kind == "f":
                plain, twice = np.ones(pair[0].shape, pair[0].dtype), np.full(pair[0].shape, 2, pair[0].dtype)
                if not (np.array_equal(plain, pair[0]) and np.array_equal(twice, pair[1])):
                    yield replace(self, arguments=self.arguments | {name: (plain, twice)})

    def without(self, place: int, stand_in: str) -> Program:
        """Return the program without a statement, in whose place something earlier is used."""
        target = self.statements[place].target
        pattern = re.compile(rf"\b{target}\b")
        kept = self.statements[:place] + self.statements[place + 1 :]
        return replace(
            self,
            statements=tuple(replace(each, text=pattern.sub(stand_in, each.text)) for each in kept),
            outputs=tuple(pattern.sub(stand_in, output) for output in self.outputs),
            result=stand_in if self.result == target else self.result,
        )

    def tidied(self) -> Program:
        """Return the program without what is not used."""
        needed = {name for output in self.outputs for name in _NAME.findall(output)}
        if any("body(" in output for output in self.outputs) or self.aspect != "compiled":
            needed.add(self.result)
        kept: list[Statement] = []
        for statement in reversed(self.statements):
            if statement.target in needed:
                needed |= statement.uses
                kept.insert(0, statement)
        arguments = {name: pair for name, pair in self.arguments.items() if name in needed}
        return replace(
            self,
            statements=tuple(kept),
            arguments=arguments or dict(list(self.arguments.items())[:1]),
            captured={name: value for name, value in self.captured.items() if name in needed},
        )


class Perturbation:
    """Changes every floating-point value that it is given by a few roundings.

    Parameters
    ----------
    seed : int
        The last of the three turns zeros round, whose signs nobody promises.
    signs : bool
        Whether there is a function that tells zeros' signs.
    """

    def __init__(self, seed: int, signs: bool = False) -> None:
        self.stream = np.random.default_rng(seed)
        self.turns = signs and seed == 2

    def __call__(self, value: Any) -> Any:
        dtype = getattr(value, "dtype", None)
        if dtype is None or dtype.kind != "f":
            return value
        noise = 1 + self.stream.uniform(-8, 8, np.shape(value)) * np.finfo(dtype).eps
        if self.turns:
            noise = np.where(array_of(value) == 0, -noise, noise)
        return gd.multiply(value, np.asarray(noise, dtype))


def eagerly(function: Any, given: dict[str, Any]) -> Any:
    """Call a function with arrays as constants."""
    arguments = [gd.constant(value) if isinstance(value, np.ndarray) else value for value in given.values()]
    try:
        return function(*arguments)
    except Exception as error:
        raise Refused(f"eager: {type(error).__name__}") from error


class Raised(Exception):
    """A call raised what it should not: the difference that this is."""

    def __init__(self, what: str, error: Exception) -> None:
        self.difference = Difference(f"{what} raises {type(error).__name__}", one_line(error))


def called(compiled: Any, arguments: Sequence[Any]) -> Any:
    """Call a compiled function; what cannot be traced is no difference."""
    try:
        return compiled(*arguments)
    except (CompileError, NoValueError) as error:
        raise Refused(f"compile: {type(error).__name__}") from error
    except Exception as error:
        raise Raised("compile", error) from error


def arrays_of(tree: Any, copy: bool = False) -> list[np.ndarray]:
    found = [leaf.value if isinstance(leaf, gd.Tensor) else leaf for _, leaf in leaves_of(tree)]
    arrays = [array for array in found if isinstance(array, np.ndarray)]
    return [array.copy() for array in arrays] if copy else arrays


def same(one: np.ndarray, other: np.ndarray) -> bool:
    return np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")


def handed_out(results: Any, arguments: list[Any], who: str) -> Difference | None:
    """Return what is wrong about whose memory the results are in: writable, they must not share it.

    Eager values are a graph's, and may be views of each other's.
    """
    given = [argument for argument in arguments if isinstance(argument, np.ndarray)]
    nodes = [leaf for _, leaf in leaves_of(results) if isinstance(leaf, gd.Tensor)]
    for node in nodes:
        if node.value.flags.writeable and any(np.shares_memory(node.value, array) for array in given):
            return Difference(f"shared memory, {who}", "a result is a writable view of an argument")
    for place, node in enumerate(nodes if who == "compiled" else ()):
        for other in nodes[:place]:
            if node is not other and node.value.flags.writeable and np.shares_memory(node.value, other.value):
                return Difference(f"shared memory, {who}", "two results share memory that can be written")
    return None


def strange(array: Any) -> Any:
    """Return an array with the same values laid out otherwise: in Fortran's order, backwards, read-only."""
    if not isinstance(array, np.ndarray) or not array.shape:
        return array
    turned = np.asfortranarray(array[::-1])[::-1]
    turned.flags.writeable = False
    return turned


# Making ---------------------------------------------------------------------------------------------------------


class Author:
    """Writes one program, running every statement as it goes."""

    def __init__(self, seed: int, number: int) -> None:
        self.stream = np.random.default_rng([seed, number])
        self.rows, self.columns = (int(each) for each in self.stream.choice([1, 2, 3, 3, 4], 2))
        self.plain = self.stream.random() < 0.4
        self.pool: dict[str, Any] = {}
        self.names: dict[str, Any] = {"np": np, "gd": gd, "nan": np.nan, "inf": np.inf}

    def chance(self, probability: float) -> bool:
        return bool(self.stream.random() < probability)

    def pick(self, items: Sequence[Any]) -> Any:
        return items[int(self.stream.integers(len(items)))]

    def shape(self) -> tuple[int, ...]:
        r, c = self.rows, self.columns
        if self.chance(0.06):
            return self.pick([(0,), (r, 0), (0, c)])
        if self.chance(0.02):
            return self.pick([(70, 40), (300,), (40, 3)])
        return self.pick([(), (c,), (c,), (r, c), (r, c), (r, c), (r, 1), (1, c), (c, c), (c, r), (2, r, c), (1,)])

    def dtype(self) -> str:
        return "float64" if self.chance(0.7) else self.pick(DTYPES)

    def values(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        if dtype == "bool":
            return self.stream.random(shape) < 0.5
        if dtype[0] in "iu":
            return self.stream.integers(0 if dtype[0] == "u" else -3, 4, shape).astype(dtype)
        if self.plain:
            return np.asarray(self.stream.integers(-4, 5, shape) / 2).astype(dtype)
        return np.asarray(self.stream.normal(size=shape)).astype(dtype)

    def argument(self) -> tuple[Any, Any]:
        if self.chance(0.15):
            kind = self.pick([float, int, bool, np.float64, np.float32, np.int64])
            first, second = self.values((2,), "float64").tolist()
            return kind(first), kind(second)
        shape, dtype = self.shape(), self.dtype()
        return self.values(shape, dtype), self.values(shape, dtype)

    def enter(self, name: str, value: Any) -> None:
        self.pool[name] = self.names[name] = value

    def statement(self, target: str) -> Statement | None:
        weights = np.array([weight for weight, _ in GROUPS])
        group = GROUPS[int(self.stream.choice(len(GROUPS), p=weights / weights.sum()))][1]
        template, exact = self.pick(group)
        if self.plain and not exact and self.chance(0.6):
            return None
        try:
            text = template.format_map(Slots(self.stream, self.pool))
            value = eval(text, self.names)
        except Exception:
            return None
        if not isinstance(value, gd.Tensor) or value.size > 3000:  # of numbers alone NumPy makes what it likes
            return None
        if value.dtype.kind == "f" and not np.all(np.abs(array_of(value)) < 1e6) and self.chance(0.9):
            return None
        self.enter(target, value)
        return Statement(target, text, exact)

    def program(self) -> Program:
        arguments, captured, variables = {}, {}, set()
        for place in range(int(self.stream.integers(1, 4))):
            pair = self.argument()
            arguments[f"a{place}"] = pair
            self.enter(f"a{place}", gd.constant(pair[0]) if isinstance(pair[0], np.ndarray) else pair[0])
        for place in range(int(self.stream.choice([0, 0, 1, 2]))):
            name, value = f"c{place}", self.values(self.shape(), self.dtype())
            captured[name] = value
            if self.chance(0.5):
                variables.add(name)
            self.enter(name, gd.variable(value) if name in variables else value)
        statements: list[Statement] = []
        wanted = int(self.stream.integers(2, 11))
        for _ in range(4 * wanted):
            made = self.statement(f"t{len(statements)}")
            if made is not None:
                statements.append(made)
            if len(statements) == wanted:
                break
        if not statements:
            raise Refused("no statement")
        whole = Program(arguments, captured, frozenset(variables), tuple(statements), (), statements[-1].target)
        return self.with_outputs(whole)

    def with_outputs(self, program: Program) -> Program:
        """Choose what is returned and compared."""
        aspect = self.pick(["compiled"] * 6 + ["modes", "vmap"])
        large = any(np.size(first) > 30 for first, _ in program.arguments.values())
        arrays = all(isinstance(first, np.ndarray) for first, _ in program.arguments.values())
        if aspect == "vmap" and arrays:
            return replace(program, aspect="vmap").tidied()
        if aspect == "modes" and not large:
            floats = [n for n, (first, _) in program.arguments.items() if str(getattr(first, "dtype", "")) == "float64"]
            # The others are captured: a Jacobian is taken by all arguments.
            others = {n: pair[0] for n, pair in program.arguments.items() if n not in floats}
            if floats and all(isinstance(value, np.ndarray) for value in others.values()):
                moved = {n: program.arguments[n] for n in floats}
                return replace(program, arguments=moved, captured=program.captured | others, aspect="modes").tidied()
        made = [statement.target for statement in program.statements]
        count = int(self.stream.integers(1, 4))
        outputs = [made[-1], *(self.pick([*made, *program.arguments]) for _ in range(count - 1))]
        if self.chance(0.5) and not large:
            with_derivative = replace(program, outputs=(*outputs, self.derivative(program))).tidied()
            try:
                eagerly(executed(with_derivative.definitions())["program"], with_derivative.given(0))
            except Refused:
                pass
            else:
                return with_derivative
        return replace(program, outputs=tuple(outputs)).tidied()

    def derivative(self, program: Program) -> str:
        """Return the text of a derivative of the whole program."""
        header = ", ".join(program.arguments)
        by = self.pick(list(program.arguments))
        call = f"body({header})"
        mode = self.pick(["auto", "forward", "reverse", "elimination"])
        shape = np.shape(program.arguments[by][0])
        return self.pick(
            [
                f"gd.grad(lambda {by}: gd.sum({call}))({by})",
                f"gd.value_and_grad(lambda {by}: gd.mean({call}))({by})",
                f"gd.vjp(lambda {by}: {call}, {by})[0]",
                f"gd.vjp(lambda {by}: {call}, {by})[1](np.ones({np.shape(self.pool[program.result])}))",
                f"gd.jvp(lambda {by}: {call}, ({by},), (np.ones({shape}),))",
                f"gd.jacobian(lambda {by}: {call}, mode={mode!r})({by})",
                f"gd.hvp(lambda {by}: gd.sum({call}), {by}, np.ones({shape}))",
                f"gd.hessian(lambda {by}: gd.sum({call}))({by})",
                f"gd.grad(lambda {header}: gd.sum({call}), {tuple(range(len(program.arguments)))})({header})",
            ]
        )


def make(seed: int, number: int) -> Program:
    """Write program `number` of a seed."""
    return Author(seed, number).program()
