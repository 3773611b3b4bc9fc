"""The cases: the ways to train the workload that are timed, and the choice of them."""

import re
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace

from backends.contract import EPSILON_HAT, TEXTBOOK
from backends.ladder import FLOOR, LIMIT
from backends.registry import BACKENDS, tier_of
from benchmarks.errors import UsageError
from benchmarks.plan.presets import Preset
from benchmarks.plan.variants import NOTHING, Overrides, Variant
from benchmarks.schema import NO_OVERRIDES, control_name

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
    variant: str = ""
    """What this variant of another case is called; empty where it is none."""
    overrides: Overrides = NOTHING
    """What it does otherwise than the run."""

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
        if self.variant:
            parts.append(f"({self.variant})")
        return control_name(" ".join(parts), self.repetition)

    @property
    def many_steps(self) -> bool:
        """Whether it trains many steps in one call of the framework."""
        return self.mode == FLOOR or BACKENDS[self.backend].modes[self.mode].many_steps

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that it is started with besides those of every case."""
        modes = BACKENDS[self.backend].modes
        of_mode = modes[self.mode].environment if self.mode in modes else {}
        return of_mode | dict(self.overrides.environment)

    @property
    def differs_in(self) -> str:
        """What a variant overrides, as the ledger has it."""
        return self.overrides.text() if self.variant else NO_OVERRIDES

    def identity(self) -> dict[str, str | int | None]:
        """The columns of every table that say which case a row belongs to."""
        columns = asdict(self)
        del columns["slowed_by"], columns["overrides"]
        return {"case": self.name, **columns, "variant": self.variant or None}


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
    of_preset = preset.modes(device)
    for name in backends or of_preset:
        offered = BACKENDS[name].modes
        for mode in modes or of_preset.get(name, tuple(offered)):
            runs = mode in offered and device in offered[mode].devices
            available = offered[mode].inputs if runs else ()
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


def with_variants(
    cases: list[Case], variants: list[Variant], *, precision: str, device: str
) -> list[Case]:
    """The cases, the base case of each variant where it is not among them, and the variants.

    Raises UsageError where a mode cannot run on the device, and where two variants of a case have
    one name.
    """
    bases, added = list(cases), []
    for variant in variants:
        if device not in BACKENDS[variant.backend].modes[variant.mode].devices:
            where = f"{variant.backend} {variant.mode} does not run on the {device.upper()}"
            raise UsageError(f"--variant {variant.name}: {where}")
        base = Case(
            backend=variant.backend,
            mode=variant.mode,
            input=variant.input,
            precision=precision,
            device=device,
            adam=variant.adam,
        )
        bases += [base] if base not in bases else []
        added.append(replace(base, variant=variant.name, overrides=variant.overrides))
    # As names of files have them, which hold what a case prints and what its compiler keeps.
    names = ["-".join(re.findall(r"\w+", case.name.lower())) for case in added]
    for case, name in zip(added, names, strict=True):
        if names.count(name) > 1:
            raise UsageError(f"--variant: two variants are called {case.name}")
    return [*bases, *added]


def with_control(cases: list[Case]) -> list[Case]:
    """The cases, and a control: the last at its framework's limit a second time.

    It repeats a variant only where there is nothing else.
    """
    plain = [case for case in cases if not case.variant] or cases
    textbook = [case for case in plain if case.adam == TEXTBOOK]
    at_limit = [case for case in textbook if tier_of(case.backend, case.mode) == LIMIT]
    return [*cases, replace((at_limit or plain)[-1], repetition=1)]


def floors_of(backends: Collection[str], precision: str, device: str) -> list[Case]:
    """The floors of these backends, as far as they have one in a precision and on a device."""
    return [
        Case(backend=name, mode=FLOOR, input="resident", precision=precision, device=device)
        for name, backend in BACKENDS.items()
        if name in backends and precision in backend.precisions and device in backend.devices
    ]
