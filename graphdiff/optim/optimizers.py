"""Update rules over flat buffers: all parameters of an optimiser in one flat array, so that a step is a few passes.

A rule is written once, in array-API names. It is compiled into a plan that updates the flat buffer in place. This
module has what all rules share; the rules are beside it, by family.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, cast

from graphdiff.backend import use_backend
from graphdiff.differentiate.gradients import gradients_of
from graphdiff.errors import OpError
from graphdiff.guard import guarded
from graphdiff.host import DType, HostArray
from graphdiff.op import GRAPH, as_tensor
from graphdiff.optim.groups import (
    BufferGroup,
    Gradients,
    ParameterGroup,
    Parameters,
    Rate,
    Setting,
    Settings,
    groups_of,
    number_of,
    rate_of,
    require,
    require_parameters,
    require_whole,
    set_rate,
)
from graphdiff.optim.loss_scaling import LossScaling
from graphdiff.optim.schedules import Schedule
from graphdiff.plan import RetraceError, compile
from graphdiff.tensor import Configured, Tensor, Variable, as_key, current_trace, variable
from graphdiff.typing import Array, ArrayLike, Attributes, Namespace

__all__ = ["Optimizer"]


class Optimizer(Configured):
    """What every optimiser has; subclasses define `rule` and say how many arrays of state it keeps.

    Parameters
    ----------
    parameters : iterable of Variable, or of dict
        Of one backend; dtypes may differ. A dict is a group: its parameters under "params", beside them settings that
        differ from the others', for example ``{"params": [w], "lr": 0.1}``.
    lr : float or Schedule
        Learning rate; a number may be changed at any time.
    weight_decay : float
        Decays the parameters: weight_decay·θ is added to the gradient, as for an L2 penalty of weight_decay/2·‖θ‖²,
        unless the rule has its own use for it.
    clip_norm : float, optional
        Scale all gradients together so that their common Euclidean norm is at most this (Pascanu, Mikolov and Bengio,
        2013).
    clip_value : float, optional
        Limit every component of the gradient to ±clip_value, before `clip_norm`.
    **settings
        What the rule finds as attributes of `self`, for each group its own.

    Attributes
    ----------
    steps : int
        How many steps were made.
    groups : tuple of ParameterGroup

    Notes
    -----
    Settings are attributes of the optimiser. Assigning one takes effect at the next step, compiled or not; groups that
    were given one of their own keep it. One that would change what the rule keeps between steps, such as a momentum
    where there was none, is refused.

    Raises
    ------
    GraphError
        No parameters, or one twice.
    DTypeError
        A parameter that is no real floating variable.
    OpError
        A setting that cannot be, or a group with an unknown one.

    Examples
    --------
    A rule of one's own: steps of one length, along the signs of the gradient.

    >>> import graphdiff as gd
    >>> class SignDescent(gd.optim.Optimizer):
    ...     def rule(self, F, value, gradient, state, steps, lr):
    ...         return (value - F.astype(lr, value.dtype) * F.sign(gradient),)
    >>> w = gd.variable([1.0, -20.0])
    >>> SignDescent([w], lr=0.5).minimize(gd.sum(w * w))
    >>> w.tolist()
    [0.5, -19.5]
    """

    states: int = 0
    """How many arrays of state the rule keeps; they begin as zeros."""
    numbers: int = 0
    """How many float64 numbers the rule keeps, behind the arrays; they begin as zeros."""
    fixed = ("backend", "groups", "parameters")
    decays_itself = False
    """Whether the rule applies the weight decay; else it is added to the gradient."""
    weight_decay: float
    places: list[slice]
    """Inside a rule: where each parameter lies in the flat arrays."""

    @guarded
    def __init__(
        self,
        parameters: Parameters,
        lr: Rate,
        *,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        **settings: Any,
    ) -> None:
        settings["weight_decay"] = weight_decay
        require("lr", lr)
        self.require_settings(settings)
        given = groups_of(parameters)
        checked = []
        for members, own in given:
            unknown = own.keys() - settings.keys() - {"lr"}
            if unknown:
                known = ", ".join(["lr", *settings])
                raise OpError(f"{type(self).__name__} has no setting {sorted(unknown)[0]!r}; a group may have {known}")
            rate = cast(Rate | None, own.pop("lr", None))
            require("lr", lr if rate is None else rate)
            self.require_settings(settings | own)
            checked.append((members, rate, own))
        self.parameters = [parameter for members, _, _ in checked for parameter in members]
        require_parameters(self.parameters)
        self.backend = self.parameters[0].backend
        self.clip_norm, self.clip_value = clip_norm, clip_value
        self._scaling: LossScaling | None = None
        self._settings = Settings(settings, None, self._accept)
        with use_backend(self.backend):
            self._steps = variable(0.0, name="steps")
            self._lr = rate_of(lr)
            self.groups = tuple(
                ParameterGroup(
                    members, self._lr if rate is None else rate_of(rate), Settings(own, self._settings, self._accept)
                )
                for members, rate, own in checked
            )
        self._join()

    def __getattr__(self, name: str) -> Any:
        settings = vars(self).get("_settings", ())
        if name not in settings:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return settings[name] if current_trace() is None else self._read(name)

    def _read(self, name: str) -> Any:
        """Return a setting in a trace, which has then used it."""
        self.use_settings()
        return self._settings[name]

    def __setattr__(self, name: str, value: Setting) -> None:
        if name in vars(self).get("_settings", ()):
            self._settings[name] = value
        else:
            super().__setattr__(name, value)

    def check_setting(self, name: str, value: object) -> None:
        if name in ("clip_norm", "clip_value") and value is not None:
            require(name, value, above=0)

    def settings_key(self) -> tuple[object, ...]:
        return (super().settings_key(), *(as_key(group.settings) for group in self.groups))

    def containers(self) -> list[Setting]:
        return []  # all are its own

    def _accept(self, changing: Settings, name: str, value: Setting) -> None:
        """Raise OpError if a setting cannot be changed to this value."""
        if name not in changing:
            raise OpError(f"{type(self).__name__} has no setting {name!r}; there are {', '.join(changing)}")
        self.require_settings({**changing, name: value})
        for group in self.groups:
            settings = group.settings
            if settings is changing or (settings.shared is changing and name not in settings.own):
                merged = {**settings, name: value}
                self.require_settings(merged)
                now, then = self._with_settings(settings), self._with_settings(merged)
                if (now.states, now.numbers) != (then.states, then.numbers):
                    raise OpError(
                        f"{name} cannot be changed from {settings[name]!r} to {value!r}: what {type(self).__name__} "
                        "keeps between steps would be other arrays. Make a new optimiser"
                    )

    def __repr__(self) -> str:
        shown = {"lr": self._lr if isinstance(self._lr, Schedule) else self.lr, **self.groups[0].settings}
        shown |= {name: getattr(self, name) for name in ("clip_norm", "clip_value") if getattr(self, name) is not None}
        shown["parameters"] = len(self.parameters)
        if len(self.groups) > 1:
            shown["groups"] = len(self.groups)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @classmethod
    def check(cls, settings: Attributes) -> None:
        """Raise OpError where a setting cannot be; `require` helps. For subclasses to define."""

    def require_settings(self, settings: Attributes) -> None:
        """Raise OpError where a setting of any kind cannot be."""
        if isinstance(settings["weight_decay"], Schedule):
            raise OpError("weight_decay cannot be a schedule")
        require("weight_decay", settings["weight_decay"])
        self.check(settings)

    @property
    def steps(self) -> int:
        """How many steps were made."""
        return cast(int, as_tensor(self._steps).astype("int64")) if current_trace() else int(self._steps._value)

    @property
    def lr(self) -> float:
        """The learning rate; assigning it takes effect at the next step, compiled or not.

        Groups that were given one of their own keep it. Of a schedule, this is what the next step uses.
        """
        return self._lr(number_of(self._steps)) if isinstance(self._lr, Schedule) else number_of(self._lr)

    @lr.setter
    def lr(self, value: float) -> None:
        set_rate(self._lr, value)

    def state(self) -> dict[str, HostArray]:
        """Return everything that steps change besides the parameters, as NumPy arrays by name.

        Examples
        --------
        >>> import graphdiff as gd
        >>> w = gd.variable([1.0, 2.0])
        >>> optimizer = gd.optim.SGD([w], lr=0.5, momentum=0.9)
        >>> optimizer.minimize(gd.sum(w * w))
        >>> {name: array.tolist() for name, array in optimizer.state().items()}
        {'steps': 1.0, 'lr': 0.5, '0.0': [2.0, 4.0]}
        """
        return {name: kept.numpy() for name, kept in self._kept().items()}

    @guarded
    def load_state(self, state: Mapping[str, ArrayLike]) -> None:
        """Go on from what `state` returned; if it does not fit, nothing is changed."""
        kept = self._kept()
        if kept.keys() != state.keys():
            names = sorted(kept.keys() ^ state.keys())
            raise OpError(f"this is not the state of such an optimiser: {names[0]!r} is only on one side")
        for name, given in state.items():
            array = as_tensor(given)
            kept[name].require_fit(array.shape, array.dtype)
        for name, given in state.items():
            kept[name].assign(given)

    def _kept(self) -> dict[str, Variable]:
        found = {"steps": self._steps}
        if self._scaling is not None:
            found |= {"loss scale": self._scaling.scale, "sound steps": self._scaling.run}
        rates = [("lr", self._lr), *((f"lr {place}", group.rate) for place, group in enumerate(self.groups))]
        seen: set[int] = set()
        for name, rate in rates:
            if id(rate) in seen:
                continue
            seen.add(id(rate))
            if isinstance(rate, Schedule):
                found |= {f"{name}.{place}": kept for place, kept in enumerate(rate.variables())}
            else:
                found[name] = rate
        for place, owner in enumerate(self.groups):
            for name, setting in owner.settings.items():
                if isinstance(setting, Schedule):
                    found |= {f"{name} {place}.{number}": kept for number, kept in enumerate(setting.variables())}
        for place, group in enumerate(self._groups):
            found |= {f"{place}.{number}": kept for number, kept in enumerate(group.states)}
        return found

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in self.__dict__.items() if name not in ("_update", "_groups")}
        return kept | {"saved": [[state.numpy() for state in group.states] for group in self._groups]}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        arrays = kept.pop("saved")
        self.__dict__.update(kept)
        self._join()
        for group, saved in zip(self._groups, arrays, strict=True):
            for state, array in zip(group.states, saved, strict=True):
                state.assign(array)

    def _join(self) -> None:
        """Lay the parameters out in flat buffers, one per group and dtype."""
        self._groups: list[BufferGroup] = []
        with use_backend(self.backend):
            for group in self.groups:
                members: dict[DType, list[Variable]] = {}
                for parameter in group.parameters:
                    members.setdefault(parameter.dtype, []).append(parameter)
                view = self._with_settings(group.settings)
                self._groups += [BufferGroup(same, group, view.states, view.numbers) for same in members.values()]
        self._steps.clock = self._groups[0].buffer.flat.clock  # assigned together, counted together
        self._update = compile(self._trace_update)

    def _with_settings(self, settings: Mapping[str, Setting]) -> Optimizer:
        """Return this optimiser as the rule sees it for one group."""
        view = object.__new__(type(self))
        view.__dict__.update({**vars(self), **settings, "_settings": {}})
        return view

    def rule(
        self, F: Namespace, value: Array, gradient: Array, state: tuple[Array, ...], steps: Array, lr: Array
    ) -> tuple[Array, ...]:
        """Return the new value, followed by the new state.

        Parameters
        ----------
        F : namespace
            With array-API names.
        value, gradient : array
            Flat, of one dtype.
        state : tuple of array
            What the last call returned after the value; zeros at first.
        steps : 0-d float64
            How many steps were made, this one included.
        lr : 0-d float64
            The learning rate. Cast what you compute from these two to the dtype of `value`.

        Notes
        -----
        It may read its settings from `self`, for each group of parameters its own; `self.places` says where each
        parameter lies in the flat arrays.
        """
        raise NotImplementedError

    def at(self, F: Namespace, name: str, steps: Array, like: Array) -> Array | float:
        """Return a setting that may be a schedule: a number, or a 0-d array of the dtype of `like`, at this step."""
        setting = getattr(self, name)
        return F.astype(setting(cast(Tensor, steps - 1.0)), like.dtype) if isinstance(setting, Schedule) else setting

    def norms(self, F: Namespace, whole: Array) -> Array:
        """Return the Euclidean norms of the parameters' parts of a flat array, as one array."""
        # Double precision has room for the squares of single precision; its own are kept from overflow by a factor.
        top = 1.0 if whole.dtype.itemsize < 8 or 0 in whole.shape else _nonzero(F, F.max(F.abs(whole)))
        wide = F.astype(whole, "float64") if whole.dtype.itemsize < 8 else whole / top
        # As products of a row and a column, whose matrices plans write without leaving NumPy.
        parts = [F.reshape(wide[place], (1, place.stop - place.start)) for place in self.places]
        squares = [F.matmul(part, F.matrix_transpose(part)) for part in parts]
        return F.astype(top * F.sqrt(F.reshape(F.concat(squares, axis=0), (-1,))), whole.dtype)

    def scaled(self, F: Namespace, numbers: Array, whole: Array) -> Array:
        """Return a flat array with every parameter's part times that parameter's number."""
        return F.concat([numbers[index] * whole[place] for index, place in enumerate(self.places)], axis=0)

    @guarded
    def scale_loss(
        self, start: float = 2.0**16, *, growth: float = 2.0, backoff: float = 0.5, interval: int = 2000
    ) -> None:
        """Let steps multiply the loss, for gradients that pass through float16 and would vanish or overflow there.

        A step whose gradients are not all finite changes neither parameters nor state. To be called before the first
        step; in a compiled step the factor is part of the plan and changes by itself.

        Parameters
        ----------
        start : float
            The first factor.
        growth : float
            The factor is multiplied by this after `interval` steps without overflow in a row.
        backoff : float
            The factor is multiplied by this after an overflow.
        interval : int

        Raises
        ------
        OpError
            A setting that cannot be.

        Examples
        --------
        >>> import graphdiff as gd
        >>> w = gd.variable([1.0, 2.0])
        >>> optimizer = gd.optim.SGD([w], lr=0.25)
        >>> optimizer.scale_loss(1024.0)
        >>> optimizer.minimize(gd.sum(w * w))
        >>> w.numpy().tolist(), optimizer.loss_scale
        ([0.5, 1.0], 1024.0)
        """
        require("start", start, least=1.0)
        require("growth", growth, least=1.0)
        require("backoff", backoff, above=0, below=1.0)
        require_whole("interval", interval)
        with use_backend(self.backend):
            self._scaling = LossScaling(start, growth, backoff, interval)
        self._update = compile(self._trace_update)

    @property
    def loss_scale(self) -> float:
        """What the loss is multiplied by at the next step: 1 unless `scale_loss` was called."""
        return 1.0 if self._scaling is None else self._scaling.scale.item()

    def scaled_loss(self, loss: Tensor) -> Tensor:
        """Return the loss times `loss_scale`: what `backward` is to be called on where `step` is used."""
        return loss if self._scaling is None else self._scaling.scaled(loss)

    @guarded
    def minimize(self, loss: Tensor) -> None:
        """Compute the gradients of `loss` and make a step. The parameters' `.grad` is left alone.

        If anything fails, nothing is changed.
        """
        self._apply(gradients_of(self.scaled_loss(as_tensor(loss))))

    def zero_grad(self) -> None:
        """Forget the gradients that the parameters hold.

        `backward` sets the gradients of all that its output depends on afresh. This is for those of other parameters,
        which would stay as an earlier loss left them.
        """
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Make a step along the gradients that the parameters hold; one without a gradient counts as zero.

        After `scale_loss` they are taken to be those of `scaled_loss(loss)`.
        """
        traced = current_trace() is not None
        held = [(p, p.grad if traced else p._grad) for p in self.parameters]
        self._apply({p: gradient for p, gradient in held if gradient is not None})

    def _apply(self, gradients: Gradients) -> None:
        settled = [group.settle() for group in self._groups]
        traced = current_trace() is not None
        if traced and not all(settled):
            raise RetraceError  # what has been traced so far has read the parameters where they were
        if traced:
            self._trace_update(*[group.traced_gradient(gradients) for group in self._groups])
            return
        self._update(*[group.gradient(gradients) for group in self._groups])
        for group in self._groups:
            group.spread()

    def _trace_update(self, *gradients: Array) -> None:
        self.use_settings()
        done = as_tensor(self._steps)
        steps = done + 1.0
        sound: Tensor | None = None
        if self._scaling is not None:
            gradients, sound = self._scaling.unscaled(gradients)
        for group, gradient in zip(self._groups, self._clipped(gradients), strict=True):
            flat, states = group.buffer.flat, group.states
            rate = group.owner.rate
            lr = rate(done) if isinstance(rate, Schedule) else as_tensor(rate)
            view = self._with_settings(group.owner.settings)
            view.places = [group.buffer.place(member) for member in group.members]
            before = as_tensor(flat)
            if view.weight_decay and not view.decays_itself:
                gradient = gradient + view.weight_decay * before
            value, *new = _applied(view, before, gradient, tuple(map(as_tensor, states)), steps, lr)
            for changing, changed in zip([flat, *states], [value, *new], strict=True):
                _assign_if(sound, changing, changed)
        _assign_if(sound, self._steps, steps)
        if self._scaling is not None and sound is not None:
            self._scaling.follow(sound)

    def _clipped(self, gradients: Sequence[Array]) -> list[Tensor]:
        found = [as_tensor(gradient) for gradient in gradients]
        if self.clip_value is not None:
            found = [GRAPH.clip(gradient, -self.clip_value, self.clip_value) for gradient in found]
        return found if self.clip_norm is None else _within_norm(found, self.clip_norm)


class _Kept(tuple[Tensor, ...]):
    """What a rule keeps between steps; a place beyond says how more is asked for."""

    __slots__ = ()

    def __getitem__(self, place: Any) -> Any:
        try:
            return super().__getitem__(place)
        except IndexError:
            raise OpError(
                f"the rule reads state[{place!r}], and {len(self)} arrays and numbers are kept between steps: say how "
                "many it needs in the class, as in `states = 1`"
            ) from None


def _applied(
    view: Optimizer, value: Tensor, gradient: Array, state: tuple[Tensor, ...], steps: Tensor, lr: Tensor
) -> tuple[Array, ...]:
    """Return what a rule makes of the parameters and of what it keeps: as many as it was given."""
    made = view.rule(GRAPH, value, gradient, _Kept(state), steps, lr)
    if not isinstance(made, (tuple, list)) or len(made) != 1 + len(state):
        count = len(made) if isinstance(made, (tuple, list)) else type(made).__name__
        raise OpError(
            f"the rule of {type(view).__name__} returns the new value and each new state, {1 + len(state)} in a tuple, "
            f"not {count}: `states` and `numbers` of the class say how many it keeps"
        )
    return tuple(made)


def _nonzero(F: Namespace, number: Array) -> Array:
    """Return a number, and 1 for 0."""
    return F.where(number == 0, F.ones_like(number), number)


def _within_norm(gradients: list[Tensor], limit: float) -> list[Tensor]:
    """Scale gradients together so that the Euclidean norm of all of them is at most the limit.

    They are divided by their largest entry first: squares overflow, and vanish, where the norm does not.
    """
    tops = [GRAPH.astype(GRAPH.max(GRAPH.abs(gradient)), "float64") for gradient in gradients if gradient.size]
    top = _nonzero(GRAPH, reduce(GRAPH.maximum, tops, as_tensor(0.0)))
    small = [gradient / GRAPH.astype(top, gradient.dtype) for gradient in gradients]
    # Half precision has no room for the sum of 65,536 squares.
    wide = [GRAPH.astype(part, "float32") if part.dtype.itemsize < 4 else part for part in small]
    squares = [GRAPH.astype(GRAPH.sum(part * part), "float64") for part in wide]
    length = GRAPH.sqrt(sum(squares[1:], start=squares[0]))
    within, factor = length <= limit / top, limit / length
    return [
        GRAPH.where(within, gradient, part * GRAPH.astype(factor, gradient.dtype))
        for gradient, part in zip(gradients, small, strict=True)
    ]


def _assign_if(sound: Tensor | None, changing: Variable, value: Array) -> None:
    """Assign a variable where a condition holds, or without one."""
    changing.assign(value if sound is None else GRAPH.where(sound, value, as_tensor(changing)))
