"""The steps of the first half hour on a GPU: what each runs, for how long at most, and for whom."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backends.ladder import EXPERT, LIMIT, TAUGHT
from backends.registry import BACKENDS

OUTPUT = "{output}"
"""What stands in a command for the folder that its bundle goes into."""
RUN = ("run_all.py", "--device", "gpu", "--output", OUTPUT)
CERTIFY = ("run_all.py", "certify", "--device", "gpu")
CHECK = ("-m", "benchmarks.validation.card.checks")
PROBE_MINUTES = 2.0
"""What is asked first: which framework can compute on the card."""

Command = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step: commands of Python that run side by side, where nothing is timed, or just one."""

    name: str
    minutes: float
    """When it is ended at the latest."""
    commands: Mapping[str, Command]
    """The arguments of Python, by the name of each command's log."""
    archive: str
    """The name of the file to send that holds what comes of it, without its ending."""
    backend: str = ""
    """The framework without which there is nothing to run; empty where any will do."""


def _certify(backend: str, *tiers: str) -> Command:
    modes = BACKENDS[backend].modes.items()
    chosen = [name for name, mode in modes if mode.tier in tiers and "gpu" in mode.devices]
    return (*CERTIFY, "--backends", backend, "--modes", *chosen)


def _ladder(backend: str, minutes: float, stop: float) -> Step:
    """A whole ladder of one framework, which stops by itself after `stop` minutes."""
    command = (*RUN, "--backends", backend, "--preset", "ladders", "--launches", "1", "--profile")
    return Step(
        name=f"ladder-{backend}",
        minutes=minutes,
        commands={"run": (*command, "--time-limit", str(stop))},
        archive=f"ladder-{backend}",
        backend=backend,
    )


def _checks(backend: str, minutes: float) -> Step:
    """What a measurement by one framework needs."""
    return Step(
        name=f"checks-{backend}",
        minutes=minutes,
        commands={backend: (*CHECK, backend)},
        archive="first",
        backend=backend,
    )


STEPS = (
    _checks("pytorch", 1.5),
    _checks("jax", 2.0),
    Step(
        name="certificates",
        minutes=4.3,
        commands={
            "pytorch": _certify("pytorch", TAUGHT, EXPERT),
            "pytorch-limit": _certify("pytorch", LIMIT),
            "jax": _certify("jax", TAUGHT, EXPERT),
            "jax-limit": _certify("jax", LIMIT),
        },
        archive="certificates",
    ),
    Step(
        name="quick",
        minutes=2.0,
        commands={"run": (*RUN, "--preset", "quick", "--time-limit", "1.2")},
        archive="quick",
    ),
    Step(
        name="default",
        minutes=4.8,
        commands={"run": (*RUN, "--time-limit", "3.8")},
        archive="default",
    ),
    _ladder("pytorch", 8.0, 6.5),
    _ladder("jax", 5.2, 4.0),
    # Only where its build for GPUs is installed, which takes an environment of its own.
    _checks("tensorflow", 1.5),
    _ladder("tensorflow", 6.0, 4.7),
)


def filled(
    step: Step, output: Path, unusable: Mapping[str, str], pythons: Mapping[str, str]
) -> dict[str, Command]:
    """Those of a step's commands that can run, each with its Python.

    `unusable` says why a backend cannot compute on the card; `pythons` has this process's Python
    under "", and those of backends that another one runs.
    """
    others = [f"{name}={python}" for name, python in pythons.items() if name]
    commands = {}
    for log, command in step.commands.items():
        backend = step.backend or log.partition("-")[0]
        if unusable.get(backend):
            continue
        python = pythons[""]
        if command[: len(CHECK)] == CHECK:
            python = pythons.get(backend, python)
        elif others:
            command = (*command, "--python", *others)
        arguments = (str(output) if part == OUTPUT else part for part in command)
        commands[log] = (python, *arguments)
    return commands
