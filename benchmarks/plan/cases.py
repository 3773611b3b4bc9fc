"""The cases: the ways to train the workload that are timed, and the choice of them."""

from dataclasses import asdict, dataclass, replace

from backends.contract import EPSILON_HAT, TEXTBOOK
from backends.registry import BACKENDS, FLOOR, tier_of
from benchmarks.errors import UsageError
from benchmarks.plan.presets import Preset
from benchmarks.schema import control_name

KERAS_ADAM = {
    "textbook": (TEXTBOOK,),
    "stock": (EPSILON_HAT,),
    "both": (TEXTBOOK, EPSILON_HAT),
}
"""The forms of Adam that TensorFlow's cases run with: the common one, Keras' own, or both."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way to train the workload, which is timed. A control repeats another case."""

    backend: str
    mode: str
    input: str
    precision: str
    device: str
    adam: str = TEXTBOOK
    repetition: int = 0
    """0, or the number of this repetition of another case: a control."""
    slowed_by: float = 0.0
    """The share of steps that each block trains without counting them; for validation."""

    @property
    def name(self) -> str:
        """The case in a few words; unique within a run."""
        parts = [self.backend, self.mode]
        if self.input == "streamed":
            parts.append("streamed")
        if self.adam == EPSILON_HAT:
            parts.append("stock-adam")
        if self.slowed_by:
            parts.append(f"slowed by {100 * self.slowed_by:g}%")
        return control_name(" ".join(parts), self.repetition)

    @property
    def many_steps(self) -> bool:
        """Whether it trains many steps in one call of the framework."""
        return self.mode == FLOOR or BACKENDS[self.backend].modes[self.mode].many_steps

    def identity(self) -> dict[str, str | int]:
        """The columns of every table that say which case a row belongs to."""
        columns = asdict(self)
        del columns["slowed_by"]
        return {"case": self.name, **columns}


def select_cases(
    *,
    preset: Preset,
    backends: list[str] | None,
    modes: list[str] | None,
    inputs: list[str] | None,
    precision: str,
    device: str,
    keras_adam: str = "textbook",
) -> list[Case]:
    """The selected cases: the preset's, unless backends, modes or inputs are named.

    A named backend without named modes runs the preset's modes, or all its modes if the preset
    leaves the backend out. Without named inputs a mode takes the preset's inputs, or its first if
    it offers none of those. `keras_adam` is a key of KERAS_ADAM. Raises UsageError where no case is
    left.
    """
    preferred_inputs = tuple(inputs) if inputs else preset.inputs
    cases = []
    for name in backends or preset.modes:
        offered = BACKENDS[name].modes
        for mode in modes or preset.modes.get(name, tuple(offered)):
            available = offered[mode].inputs if mode in offered else ()
            chosen = [i for i in available if i in (preferred_inputs or ())]
            if not inputs:
                chosen = chosen or list(available[:1])
            forms = [f for f in KERAS_ADAM[keras_adam] if f in BACKENDS[name].adam_forms]
            case = Case(backend=name, mode=mode, input="", precision=precision, device=device)
            cases += [
                replace(case, input=i, adam=form) for i in chosen for form in forms or [TEXTBOOK]
            ]
    if not cases:
        raise UsageError(
            "no case has these backends, modes and inputs together; `run_all.py list` shows them"
        )
    return list(dict.fromkeys(cases))


def with_control(cases: list[Case]) -> list[Case]:
    """The cases, and a control: the last tuned one a second time, the same program."""
    textbook = [case for case in cases if case.adam == TEXTBOOK]
    tuned = [case for case in textbook if tier_of(case.backend, case.mode) == "tuned"]
    return [*cases, replace((tuned or cases)[-1], repetition=1)]


def floors_of(cases: list[Case]) -> tuple[Case, ...]:
    """The floors that `cases` are compared with: one implemented in each of their backends.

    On the CPU there is NumPy's as well: the machine's best BLAS may belong to no framework.
    """
    precision, device = cases[0].precision, cases[0].device
    names = {case.backend for case in cases} | ({"numpy"} if device == "cpu" else set())
    return tuple(
        Case(backend=name, mode=FLOOR, input="resident", precision=precision, device=device)
        for name, backend in BACKENDS.items()
        if name in names and precision in backend.precisions
    )
