"""The plan: which cases run, on what, for how long. Made once, before anything starts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from backends.contract import EPSILON_HAT, TEXTBOOK, Adam
from backends.registry import BACKENDS, FLOOR, tier_of
from benchmarks.errors import UsageError
from benchmarks.plan.workload import Workload
from benchmarks.schema import ACCURACY_MARGIN_POINTS

KERAS_ADAM = {
    "textbook": (TEXTBOOK,),
    "stock": (EPSILON_HAT,),
    "both": (TEXTBOOK, EPSILON_HAT),
}
"""The forms of Adam that TensorFlow's cases may run with: the common one, Keras' own, or both."""

BLOCK_STEPS = {"cpu": 200, "gpu": 250}
FEWEST_BLOCK_STEPS = {"cpu": 50, "gpu": 250}
"""Starting and ending a block takes the host some 20 to 50 µs, which must stay under 1% of it: on a
GPU, where a step may take 20 µs, blocks must not be shorter."""
# The tutorial's block has 1.0e11 operations. Large networks get shorter blocks.
BLOCK_FLOPS = {"cpu": 2e11, "gpu": 2e14}
STEPS_PER_CALL = 50


@dataclass(frozen=True, kw_only=True)
class BatchReadings:
    """Loss and accuracy on a batch of validation images, as a training loop prints them."""

    every: int
    """They are taken after the first update, and after every so many more."""
    images: int
    """In each batch."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A ready-made choice of cases and effort."""

    about: str
    modes: dict[str, tuple[str, ...]]
    inputs: tuple[str, ...] | None
    steps: int
    launches: int
    time_limit_minutes: float
    floors: bool = True
    """Whether cases are set against the machine's limit, which takes start-ups of its own."""
    learning_rate: float = Adam.learning_rate
    """That of Adam's paper, and every framework's own. At the tutorial's 0.01 this network ends at
    97.0 to 97.3%, another figure for each seed, so that few seeds tell nothing of the backends."""
    readings: BatchReadings | None = None


PRESETS = {
    "quick": Preset(
        about="what each framework's tutorials teach, 500 steps a launch; under 2 minutes",
        modes={"pytorch": ("eager",), "tensorflow": ("compiled",), "jax": ("compiled",)},
        inputs=None,
        steps=500,
        launches=3,
        time_limit_minutes=1.9,
        floors=False,
    ),
    "default": Preset(
        about="the modes that people choose between, 4,000 steps a launch; under 12 minutes",
        modes={
            "pytorch": ("eager", "compiled", "multistep"),
            "tensorflow": ("compiled", "multistep", "fit"),
            "jax": ("compiled", "multistep"),
        },
        inputs=None,
        steps=4000,
        launches=3,
        time_limit_minutes=11.5,
    ),
    "full": Preset(
        about="every mode with every input, 4,000 steps a launch; up to an hour and a half",
        modes={name: tuple(backend.modes) for name, backend in BACKENDS.items()},
        inputs=("resident", "streamed"),
        steps=4000,
        launches=3,
        time_limit_minutes=90.0,
    ),
    "tutorial": Preset(
        about="the original tutorial's loop in each framework, 4,001 steps of streamed batches, "
        "and what it prints; under 7 minutes",
        modes={"pytorch": ("eager",), "tensorflow": ("compiled",), "jax": ("compiled",)},
        inputs=("streamed",),
        steps=4001,
        launches=3,
        time_limit_minutes=6.5,
        floors=False,
        learning_rate=0.01,
        readings=BatchReadings(every=1000, images=512),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way to train the workload, which is timed. A control is a case run once more."""

    backend: str
    mode: str
    input: str
    precision: str
    device: str
    adam: str = TEXTBOOK
    repetition: int = 0
    """0, or which repetition of another case this is: a control."""
    slowed_by: float = 0.0
    """For validation: the share of steps that each block trains without counting them."""

    @property
    def name(self) -> str:
        """The case in a few words; unique within a run."""
        words = [self.backend, self.mode]
        if self.input == "streamed":
            words.append("streamed")
        if self.adam == EPSILON_HAT:
            words.append("stock-adam")
        if self.slowed_by:
            words.append(f"slowed by {100 * self.slowed_by:g}%")
        if self.repetition:
            words.append(f"(control{f' {self.repetition}' if self.repetition > 1 else ''})")
        return " ".join(words)

    @property
    def tier(self) -> str:
        """`idiomatic` (what its users would write) or `tuned`."""
        return tier_of(self.backend, self.mode)

    def identity(self) -> dict[str, str | int]:
        """The columns that say which case a row of a CSV belongs to."""
        return {
            "case": self.name,
            "backend": self.backend,
            "mode": self.mode,
            "input": self.input,
            "precision": self.precision,
            "device": self.device,
            "adam": self.adam,
            "repetition": self.repetition,
        }


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that a run is going to do."""

    name: str
    workload: Workload
    cases: tuple[Case, ...]
    skipped: dict[Case, str]
    """Cases that cannot run here, and why."""
    floors: tuple[Case, ...] = ()
    """What no step can be faster than, by the means of each backend; see `floors_of`."""
    launches: int
    """At least so many."""
    seed: int
    threads: int
    time_limit_seconds: float
    profile: Path | None = None
    """Where each case leaves a trace by its framework's own profiler, if it shall."""
    until_settled: bool = False
    """Whether more launches follow while a verdict is open and there is time."""
    readings: BatchReadings | None = None
    accuracy_margin: float = ACCURACY_MARGIN_POINTS
    pythons: dict[str, str] = field(default_factory=dict)
    """The Python that runs a backend's workers, where it has one of its own."""
    versions: dict[str, str] = field(default_factory=dict)
    """Of the packages of those."""

    @property
    def reading_steps(self) -> tuple[int, ...]:
        """The numbers of updates after which batch readings are taken."""
        if self.readings is None:
            return ()
        return tuple(range(1, self.workload.steps + 1, self.readings.every))

    @property
    def _stretches(self) -> list[int]:
        """The steps between one batch reading and the next, and before and after them."""
        ends = (0, *self.reading_steps, self.workload.steps)
        return [end - start for start, end in pairwise(ends)]

    @property
    def block_steps(self) -> int:
        """Steps in a block: a twentieth of the training, within limits of length and work."""
        work, device = self.workload, self.cases[0].device
        longest = BLOCK_FLOPS[device] / work.network.step_flops(work.batch_size)
        wanted = max(FEWEST_BLOCK_STEPS[device], min(BLOCK_STEPS[device], work.steps // 20))
        steps = max(1, min(max(self._stretches), wanted, int(longest)))
        # Whole calls of the modes that train many steps a call.
        return steps - steps % STEPS_PER_CALL if steps > STEPS_PER_CALL else steps

    @property
    def rounds(self) -> int:
        """Rounds in a launch that runs to its end: whole blocks between batch readings."""
        return sum(steps // self.block_steps for steps in self._stretches)


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
    """The cases asked for: the preset's, unless backends, modes or inputs are named.

    A named backend without named modes runs the preset's modes, or all it has where the preset
    leaves the backend out. Without named inputs a mode takes the preset's, or the first it offers
    where it has none of those. `keras_adam` is a key of KERAS_ADAM.
    """
    wanted_inputs = tuple(inputs) if inputs else preset.inputs
    cases = []
    for name in backends or preset.modes:
        offered = BACKENDS[name].modes
        for mode in modes or preset.modes.get(name, tuple(offered)):
            available = offered[mode].inputs if mode in offered else ()
            chosen = [i for i in available if i in (wanted_inputs or ())]
            if not inputs:
                chosen = chosen or list(available[:1])
            forms = [f for f in KERAS_ADAM[keras_adam] if f in BACKENDS[name].adam_forms]
            cases += [
                Case(
                    backend=name, mode=mode, input=i, precision=precision, device=device, adam=form
                )
                for i in chosen
                for form in forms or [TEXTBOOK]
            ]
    if not cases:
        raise UsageError(
            "no case has these backends, modes and inputs together; --list shows those there are"
        )
    return list(dict.fromkeys(cases))


def with_control(cases: list[Case]) -> list[Case]:
    """The cases, and the last tuned one a second time: two names for one program."""
    tuned = [case for case in cases if case.tier == "tuned" and case.adam == TEXTBOOK]
    return [*cases, replace((tuned or cases)[-1], repetition=1)]


def floors_of(cases: list[Case]) -> tuple[Case, ...]:
    """The floors that `cases` are set against: one by the means of each of their backends.

    On the CPU by NumPy's as well: the machine's best BLAS may be of none of the frameworks.
    """
    first = cases[0]
    names = {case.backend for case in cases} | ({"numpy"} if first.device == "cpu" else set())
    return tuple(
        Case(
            backend=name,
            mode=FLOOR,
            input="resident",
            precision=first.precision,
            device=first.device,
        )
        for name, backend in BACKENDS.items()
        if name in names and first.precision in backend.precisions
    )
