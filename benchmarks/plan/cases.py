"""The cases: the ways to train the workload that are timed, and the choice of them."""

import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace

from backends.contract import EPSILON_HAT, TEXTBOOK
from backends.ladder import FLOOR, LIMIT
from backends.registry import BACKENDS, mode_of, tier_of
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
    ranks: int = 1
    """The processes that train it together, each its share of every batch."""
    batch: int = 0
    """The images of its batches where these are not the workload's, else 0."""
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
        if self.ranks > 1:
            parts.append(f"{self.ranks} ranks")
        if self.batch:
            parts.append(f"batch {self.batch}")
        if self.slowed_by:
            parts.append(f"slowed by {100 * self.slowed_by:g}%")
        if self.variant:
            parts.append(f"({self.variant})")
        return control_name(" ".join(parts), self.repetition)

    @property
    def many_steps(self) -> bool:
        """Whether it trains many steps in one call of the framework."""
        mode = mode_of(self.backend, self.mode)
        return self.mode == FLOOR or (mode is not None and mode.many_steps)

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that it is started with besides those of every case."""
        mode = mode_of(self.backend, self.mode)
        return (mode.environment if mode else {}) | dict(self.overrides.environment)

    @property
    def differs_in(self) -> str:
        """What a variant overrides, as the ledger has it."""
        return self.overrides.text() if self.variant else NO_OVERRIDES

    def identity(self) -> dict[str, str | int | None]:
        """The columns of every table that say which case a row belongs to."""
        columns = asdict(self)
        del columns["slowed_by"], columns["overrides"]
        # Empty where there is nothing to say, as in bundles from before these columns.
        later = {"variant": "", "ranks": 1, "batch": 0}
        given = {name: columns.pop(name) for name in later}
        last = {name: given[name] if given[name] != none else None for name, none in later.items()}
        return {"case": self.name, **columns, **last}


def select_cases(
    *,
    preset: Preset,
    backends: list[str] | None,
    modes: list[str] | None,
    inputs: list[str] | None,
    precision: str,
    device: str,
    keras_adam: str = "textbook",
    beside: Sequence[Case] = (),
) -> list[Case]:
    """The selected cases: the preset's, unless backends, modes or inputs are named.

    A named backend without named modes runs the preset's modes, or all its modes if the preset
    leaves the backend out. Without named inputs a mode takes the preset's inputs, or its first if
    it offers none of those. `keras_adam` is a key of KERAS_ADAM. Cases that run `beside` them come
    last. Raises UsageError where there is no case at all.
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
    if not (cases or beside):
        raise UsageError(
            "no case has these backends, modes and inputs together; `run_all.py list` shows them"
        )
    return list(dict.fromkeys([*cases, *beside]))


def group_cases(
    *,
    preset: Preset,
    backends: list[str] | None,
    modes: list[str] | None,
    precision: str,
    device: str,
    ranks: Collection[int],
    batch_of_rank: int = 0,
) -> list[Case]:
    """The cases of groups of so many `ranks`: the preset's, unless backends or modes are named.

    Where there is a `batch_of_rank`, each group trains a second time with that batch for each rank.
    Raises UsageError where a mode is named that trains in a group, and there is no number of ranks.
    """
    every = {mode for entry in BACKENDS.values() for mode in entry.group_modes}
    named = [mode for mode in modes or () if mode in every]
    if named and not ranks:
        raise UsageError(f"{named[0]} trains in a group: say of how many, as in --ranks 2")
    of_preset, cases = preset.group_modes(device), []
    for name in backends or of_preset:
        offered = BACKENDS[name].group_modes
        # Modes of single processes choose among these alone.
        for mode in named or (() if modes else of_preset.get(name, ())):
            if mode in offered and device in offered[mode].devices:
                case = Case(
                    backend=name, mode=mode, input="resident", precision=precision, device=device
                )
                cases += [replace(case, ranks=count) for count in ranks]
    wider = [replace(case, batch=case.ranks * batch_of_rank) for case in cases if batch_of_rank]
    return [*cases, *wider]


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
    alike = [case for case in cases if not case.batch] or cases
    alone = [case for case in alike if case.ranks == 1] or alike
    plain = [case for case in alone if not case.variant] or alone
    textbook = [case for case in plain if case.adam == TEXTBOOK]
    at_limit = [case for case in textbook if tier_of(case.backend, case.mode) == LIMIT]
    return [*cases, replace((at_limit or plain)[-1], repetition=1)]


def floors_of(
    backends: Collection[str],
    precision: str,
    device: str,
    cases: Collection[Case] = (),
    *,
    across: bool = False,
) -> list[Case]:
    """The floors of these backends, as far as they have one in a precision and on a device.

    Those of single processes, and those of the groups of ranks among the `cases`, which may run
    `across` machines.
    """
    groups = sorted({(case.ranks, case.batch) for case in cases if case.ranks > 1})
    return [
        Case(
            backend=name, mode=FLOOR, input="resident", precision=precision, device=device,
            ranks=ranks, batch=batch,
        )
        for ranks, batch in ((1, 0), *groups)
        for name, backend in BACKENDS.items()
        if name in backends and precision in backend.precisions and device in backend.devices
        and not (across and ranks > 1 and backend.one_machine)
    ]  # fmt: skip
