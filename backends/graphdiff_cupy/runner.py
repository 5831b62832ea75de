"""The runner: a plan's memory, its kernels and products bound to it, and their launches as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphdiff.plan.failures import ARRAY_ERRORS, told
from graphdiff.plan.lowering.calls import Call, Instruction
from graphdiff.plan.lowering.instructions import Copied, Fallback, Product
from graphdiff.plan.lowering.lower import Lowering
from graphdiff.plan.lowering.schedule import Schedule
from graphdiff.plan.lowering.target import Target
from graphdiff.plan.lowering.views import Storage, View
from graphdiff.plan.plan import RetraceError
from graphdiff.plan.program import MOVES, Program, Variable, next_serial
from graphdiff_cupy.grouping import Group, grouped
from graphdiff_cupy.instructions import instruction
from graphdiff_cupy.kernels import WIDTH, Kernel, write_kernel
from graphdiff_cupy.ordering import Access, Launch, accesses, lanes, waits
from graphdiff_cupy.preamble import PREAMBLE
from graphdiff_cupy.streams import WORDS, advance, words_of

__all__ = ["Runner"]

TOGETHER = 8
"""Steps that `many` puts into one launch."""


def target(supports: Callable[[Product], bool], precision: str) -> Target:
    """Return what a GPU is good at.

    Small products join their neighbours in a kernel, since a call of cuBLASLt takes longer; a call of CuPy's own would
    part the step in two graphs. Long sums are put together by several blocks.
    """
    return Target(supports, precision, tiny=1 << 15, long=1 << 15)


LINGER = 2
"""For how many more launches a value keeps its memory, so that they can run side by side with those that read it."""
SIDE_BY_SIDE = 64 << 20
"""Bytes of values up to which that is worth its memory: larger steps have launches that fill the device alone."""
Part = Kernel | Product | Fallback


class Runner:
    """Runs a program as kernels and products over memory that the plan owns.

    Parameters
    ----------
    program : Program
    disable : frozenset of str
        "fuse": one kernel per op; "epilog": products compute nothing besides; "capture": everything is launched one by
        one, not as CUDA graphs.
    device : CupyDevice
    precision : str
        In which products of float32 are computed.

    Attributes
    ----------
    source : str
        The CUDA C++ of all kernels.
    notes : list of (str, str)
        What was done, for people to read.
    """

    def __init__(self, program: Program, disable: frozenset[str], device: Any, precision: str) -> None:
        self.program, self.device = program, device
        self._lowered = lowered = Lowering(program, disable, target(device.supports, precision))
        groups = grouped(lowered.steps, lowered.views, "fuse" not in disable)
        kept = [*lowered.outputs, *(view for _, view in lowered.gradients)]
        calls = [Call(str, (*each.reads, *each.writes)) for each in groups]
        schedule = Schedule(calls, [], kept, linger=LINGER)
        if schedule.workspace > SIDE_BY_SIDE:
            schedule = Schedule(calls, [], kept)
        self.parts: list[Part] = [
            write_kernel(_name(place, each), each, lowered.draws) if isinstance(each, Group) else each
            for place, each in enumerate(groups)
        ]
        self._draws = {
            id(nodes[0].attributes["generator"]): (nodes[0].attributes["generator"], sum(node.size for node in nodes))
            for nodes in lowered.draws.values()
        }
        self.kernels = [part for part in self.parts if isinstance(part, Kernel)]
        self.source = "\n".join(
            [_count_type(program, groups), PREAMBLE, *(kernel.text for kernel in self.kernels), *self._turns()]
        )
        self._schedule = schedule
        self._touches = [_touched(part) for part in self.parts]
        self._lanes = lanes(waits(self._touches))
        self._capture = "capture" not in disable
        # What CuPy computes by itself allocates memory, draws numbers and may wait: only once a step, and unrecorded.
        self._is_recorded = not any(isinstance(part, Fallback) for part in self.parts)
        self.notes = self._noted(disable, precision, schedule)
        self._functions = device.module(self.source, [*[kernel.name for kernel in self.kernels], *self._turn_names()])
        self._workspace: Any = None
        self._memory: dict[Storage, Any] = {}
        self._streams: dict[int, Any] = {}
        self._workspaces: dict[int, Any] = {}
        self._stream: Any = None
        self._moved = -1
        self._segments: list[Callable[[], None]] = []
        self._together: Callable[[], None] | None = None

    # Memory -----------------------------------------------------------------------------------------------------------

    @property
    def memory(self) -> int:
        """Bytes that the plan holds besides the variables."""
        return int(sum(size for _, size in self._buffers()))

    def _buffers(self) -> list[tuple[str, int]]:
        """Return the plan's buffers besides the variables: what each is for, and its bytes."""
        roots: dict[Storage, str] = {}
        views = [view for step in self._lowered.steps for view in (*step.reads, *step.writes)]
        for view in [*views, *self._lowered.arguments]:
            roots.setdefault(view.place()[0], view.label or "argument")
        own = [(f"{root.kind} {label}", root.nbytes) for root, label in roots.items() if _is_apart(root)]
        products = sum(workspace.nbytes for workspace in self._workspaces.values())
        return [("workspace of the step's values", self._schedule.workspace), ("workspace of products", products), *own]

    def _allocate(self) -> None:
        """Reserve all memory, once."""
        self._workspace = self.device.empty(max(self._schedule.workspace, 1))
        for view in self._lowered.arguments:
            self._memory[view.storage] = self.device.empty(max(view.storage.nbytes, 1))
        for generator in self._draws:
            self._streams[generator] = self.device.empty(8 * WORDS)

    def _base(self, root: Storage) -> tuple[Any, int]:
        """Return the array behind a storage, and the byte where it begins there."""
        if root.kind == "variable":
            return root.source._value, 0
        if root.is_shared:
            return self._workspace, root.offset
        if root not in self._memory:
            self._memory[root] = self.device.ready(root.source)
        return self._memory[root], 0

    def _array(self, view: View) -> Any:
        """Return memory as an array."""
        root, shift = view.place()
        base, start = self._base(root)
        width = view.dtype.itemsize
        strides = tuple(stride * width for stride in view.strides)
        return self.device.array(base, start + shift * width, view.shape, strides, view.dtype)

    # Binding ----------------------------------------------------------------------------------------------------------

    def _bind(self) -> None:
        """Tie every launch to its memory, and record what can be recorded."""
        if self._moved < 0:
            self._allocate()
        for variable in [*self.program.reads.values(), *self.program.updates]:
            if variable.home is not None and not variable.home.intact:
                raise RetraceError
            self._hold(variable if variable.home is None else variable.home.flat)
        self._arguments = [self._array(view) for view in self._lowered.arguments]
        self._outputs = [self._array(view) for view in self._lowered.outputs]
        self._gradients = [(variable, self._array(view)) for variable, view in self._lowered.gradients]
        self._launches = [
            Launch(self._launch_of(part, lane), lane, touches)
            for part, lane, touches in zip(self.parts, self._lanes, self._touches, strict=True)
        ]
        self._warm_up()
        self._segments = self._recorded()
        self._together = None
        self._moved = MOVES[0]

    def _hold(self, variable: Variable) -> None:
        """See to it that a variable keeps its memory: kernels hold its address."""
        if not variable.pinned or not variable._value.flags.c_contiguous:
            variable._value = self.device.ready(variable.backend.copy(variable._value))
            variable.pinned = True

    def _warm_up(self) -> None:
        """Run every product once: cuBLASLt loads what it needs, and a recording would forbid that.

        Nothing is there yet for them to read; what they write is written again before anybody reads it.
        """
        for part, launch in zip(self.parts, self._launches, strict=True):
            if isinstance(part, Product):
                launch.run()

    def _launch_of(self, part: Part, lane: int) -> Callable[[], None]:
        if isinstance(part, Kernel):
            pointers = [self._pointer(target) for target, _ in part.parameters]
            result: Callable[[], None] = self.device.launch(
                self._functions[part.name], part.blocks, part.threads, pointers
            )
            return result
        if isinstance(part, Product):
            arrays = {name: None if view is None else self._array(view) for name, view in part.operands.items()}
            workspace = self._workspaces.setdefault(lane, self.device.workspace())
            result = self.device.product(part, arrays, workspace)
            return result
        operands, out, kernel = [self._array(view) for view in part.reads], self._array(part.out), part.kernel

        def call() -> None:
            try:
                out[...] = kernel(*operands)
            except ARRAY_ERRORS as error:
                raise told(part.node, error) from error

        return call

    def _pointer(self, target: Storage | int) -> int:
        if isinstance(target, int):
            result: int = self.device.pointer(self._streams[target])
            return result
        base, start = self._base(target)
        result = self.device.pointer(base) + start
        return result

    def _recorded(self) -> list[Callable[[], None]]:
        """Return the step as few launches: what lies between two fallbacks is one CUDA graph."""
        segments: list[Callable[[], None]] = []
        run: list[Launch] = []
        for part, launch in zip(self.parts, self._launches, strict=True):
            if isinstance(part, Fallback):
                segments += [self._graph(run), launch.run] if run else [launch.run]
                run = []
            else:
                run.append(launch)
        run += self._turn_launches()
        return [*segments, self._graph(run)] if run else segments

    def _graph(self, launches: list[Launch]) -> Callable[[], None]:
        if self._capture:
            try:
                result: Callable[[], None] = self.device.record(launches)
                return result
            except self.device.refusals as error:
                self._capture = False
                self.notes.append(("capture", f"refused ({error}): everything is launched one by one"))

        def one_by_one() -> None:
            for launch in launches:
                launch.run()

        return one_by_one

    # Random numbers ---------------------------------------------------------------------------------------------------

    def _turn_names(self) -> list[str]:
        return [f"turn{place}" for place in range(len(self._draws))]

    def _turns(self) -> list[str]:
        """Write the kernels that count what a step has drawn from each generator."""
        return [
            f'extern "C" __global__ void {name}(unsigned long long* stream) {{\n'
            f"    if (blockIdx.x == 0 && threadIdx.x == 0) stream[{WORDS - 1}] += {count}ULL;\n}}"
            for name, (_, count) in zip(self._turn_names(), self._draws.values(), strict=True)
        ]

    def _turn_launches(self) -> list[Launch]:
        launches = []
        for name, generator in zip(self._turn_names(), self._draws, strict=True):
            run = self.device.launch(self._functions[name], 1, 1, [self._pointer(generator)])
            launches.append(Launch(run, 0, [_stream_access(generator, writes=True)]))
        return launches

    # Running ----------------------------------------------------------------------------------------------------------

    def run(self, *arrays: Any) -> list[Any]:
        """Run a step; return the outputs, copied."""
        return self.many(1, *arrays)

    def many(self, count: int, *arrays: Any) -> list[Any]:
        """Run several steps on the same arguments; return the outputs of the last.

        Raises
        ------
        DeviceMemoryError
            The device has too little memory left; the plan then holds none.
        """
        try:
            self._begin(arrays)
            results = self._results()  # before the step changes anything
            self._step(count)
            return self._end(count, results)
        except self.device.out_of_memory as error:
            raise self._without_memory(error) from error

    def _without_memory(self, error: Exception) -> Exception:
        """Give all memory back, and return the error that says what the plan needs."""
        told = self.device.exhausted(self._buffers(), error)
        self._segments, self._launches, self._together, self._workspace = [], [], None, None
        self._arguments, self._outputs, self._gradients = [], [], []
        for held in (self._memory, self._streams, self._workspaces):
            held.clear()
        self._moved = -1
        result: Exception = told
        return result

    def _step(self, count: int) -> None:
        """Run several steps on what lies in the plan's memory."""
        turns = count
        if self._segments and self._is_recorded and count >= TOGETHER and self._capture:
            if self._together is None:
                self._together = self._graph([*self._launches, *self._turn_launches()] * TOGETHER)
            for _ in range(count // TOGETHER):
                self._together()
            turns = count % TOGETHER
        for _ in range(turns):
            for segment in self._segments:
                segment()

    def _begin(self, arrays: tuple[Any, ...]) -> None:
        self._stream = stream = self.device.stream_after(self._stream)
        if self._moved != MOVES[0]:
            self._bind()
        for place, array in zip(self._arguments, arrays, strict=True):
            self.device.fill(place, array, stream)
        for key, (generator, _) in self._draws.items():
            self.device.upload(self._streams[key], words_of(generator))

    def _results(self) -> list[Any]:
        """Return memory for the outputs and the gradients."""
        return [self.device.like(array) for array in (*self._outputs, *(array for _, array in self._gradients))]

    def _end(self, count: int, results: list[Any]) -> list[Any]:
        for generator, drawn in self._draws.values():
            advance(generator, drawn * count)
        kept = (*self._outputs, *(array for _, array in self._gradients))
        for result, array in zip(results, kept, strict=True):
            self.device.fill(result, array, self._stream)
        if self.program.updates:
            serial = next_serial()
            for clock in {id(variable.clock): variable.clock for variable in self.program.updates}.values():
                clock[0] = serial
                clock[1] += count
        for (variable, _), gradient in zip(self._gradients, results[len(self._outputs) :], strict=True):
            variable._grad = gradient
        return results[: len(self._outputs)]

    def timed(self, *arrays: Any) -> tuple[list[int], int]:
        """Run once, part by part; return the nanoseconds that the device takes for every part, and for all."""
        self._begin(arrays)
        each = [
            self.device.duration(launch, recordable=self._capture and not isinstance(part, Fallback))
            for part, launch in zip(self.parts, self._launches, strict=True)
        ]
        for launch in self._turn_launches():
            launch.run()
        self._end(1, self._results())
        return each, sum(each)

    # Reports ----------------------------------------------------------------------------------------------------------

    def _noted(self, disable: frozenset[str], precision: str, schedule: Schedule) -> list[tuple[str, str]]:
        products = [part for part in self.parts if isinstance(part, Product)]
        units = sum(len(kernel.group.units) for kernel in self.kernels)
        wide = sum(kernel.vectorised for kernel in self.kernels)
        ends = [product.epilog for product in products if product.epilog != "DEFAULT"]
        fallbacks = [part for part in self.parts if isinstance(part, Fallback)]
        told = {
            "fuse": f"{units} loops in {len(self.kernels)} kernels, {wide} of them reading {WIDTH} bytes at once; "
            f"{self._lowered.in_place} variables computed in place",
            "epilog": f"{len(products)} products in {precision}: {', '.join(ends) or 'nothing besides'}",
            "capture": f"{self._launch_count()} a step, in {max(self._lanes, default=0) + 1} lanes; "
            f"values of {schedule.unshared:,} bytes share {schedule.workspace:,} bytes",
        }
        notes = [(name, "switched off" if name in disable else text) for name, text in told.items()]
        return notes + [
            ("eager", f"{part.node.op.name}: {part.reason}") for part in fallbacks if part.node.op is not None
        ]

    def _launch_count(self) -> str:
        """Return how many launches a step has, in words: graphs, and calls between them."""
        kinds = [isinstance(part, Fallback) for part in self.parts]
        starts = [place for place, eager in enumerate(kinds) if eager or place == 0 or kinds[place - 1]]
        return "1 launch" if len(starts) == 1 else f"{len(starts)} launches"

    @property
    def instructions(self) -> list[Instruction]:
        """What runs, launch by launch."""
        return [instruction(part) for part in self.parts]


def _name(place: int, group: Group) -> str:
    """Return a kernel's name: its number, and what its last unit computes."""
    unit = group.units[-1]
    node = unit.outputs[-1].node
    if isinstance(node, Copied):
        return f"k{place}_copy"
    return f"k{place}_{node.op.name if node.op is not None else 'fill'}"


def _count_type(program: Program, groups: list[Any]) -> str:
    """Return the type of indices: 32 bits wherever they are enough, since divisions are quicker."""
    views = [view for each in groups for view in (*each.reads, *each.writes)]
    # What is put together, or is only looked into, need not lie in memory, and can be more than anything that does.
    counts = [unit.work for each in groups if isinstance(each, Group) for unit in each.units]
    counts += [node.size for node in program.nodes()]
    large = any(count >= 1 << 30 for count in [*counts, *(view.place()[0].size for view in views)])
    return f"typedef {'long long' if large else 'int'} Count;"


def _touched(part: Part) -> list[Access]:
    """Return what a launch reads and writes."""
    if not isinstance(part, Kernel):
        return accesses(part.reads, part.writes)
    streams = [target for target, _ in part.parameters if isinstance(target, int)]
    own = accesses(part.group.reads, part.group.writes)
    return [*own, *(_stream_access(stream, writes=False) for stream in streams)]


def _stream_access(generator: int, writes: bool) -> Access:
    return Access(("generator", generator), 0, 1, writes)


def _is_apart(root: Storage) -> bool:
    return root.private or root.kind == "constant"
