"""Which backends can run on this machine: each is tried in a process of its own.

`python -m benchmarks.machine.probe ENTRY DEVICE`, with a backend's entry of the registry as JSON,
imports its framework, has it multiply a small matrix on the device, and prints the outcome; the
process that plans and times imports no framework.
"""

import json
import subprocess
import sys
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from backends.contract import Adam, Execution, Network, Training, TrainingSet
from backends.floors import Floor
from backends.ladder import FLOOR, Backend
from backends.registry import BACKENDS, load, missing_packages
from benchmarks.machine import scratch
from benchmarks.machine.advice import advised, failure
from benchmarks.machine.project import install_advice
from benchmarks.machine.settings import ROOT, die_with_parent, worker_environment

TIMEOUT_SECONDS = 120
MARK = "probe: "


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Whether one backend can run here: its packages' versions, and the problem if it cannot."""

    versions: dict[str, str] = field(default_factory=dict)
    problem: str = ""
    """Why nothing can run on the device; empty where something can."""
    unusable: dict[str, str] = field(default_factory=dict)
    """The modes that cannot run although others can, and why."""

    def problem_of(self, mode: str) -> str:
        """Why a mode cannot run; empty where it can."""
        return self.problem or self.unusable.get(mode, "")


def trial(backend: ModuleType, device: str, threads: int = 1) -> str:
    """Why the backend cannot multiply a small matrix on the device; empty where it can.

    A GPU may be listed and yet be too full, or of a kind that this build has no code for. Once it
    has computed, TensorFlow accepts no other number of `threads`.
    """
    execution = Execution(mode=FLOOR, device=device, threads=threads)
    try:
        backend.configure(execution)
        square = np.eye(16, dtype=np.float32)
        training = Training(
            network=Network(layer_sizes=square.shape),
            adam=Adam(),
            training_set=TrainingSet(images=square, labels=np.zeros(16, np.int32)),
            start=[(square, square[0])],
        )
        floor: Floor = backend.Floor(training, 16, execution)
        floor.multiply(floor.square(16))
        floor.synchronise()
        execution.check_device(floor.device())
    except Exception as error:  # whatever the framework raises is the reason
        return failure(error)
    return ""


def unusable_modes(backend: ModuleType, device: str) -> dict[str, str]:
    """The modes that cannot run, where the backend can tell: see backends/contract.py."""
    try:
        found: dict[str, str] = getattr(backend, "unusable", lambda _: {})(device)
    except Exception as error:  # the modes themselves will say what is wrong
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return {}
    return found


class Program(NamedTuple):
    """What is probed: a backend, the Python that is to run it, and variables of its own."""

    backend: str
    python: str = sys.executable
    environment: tuple[tuple[str, str], ...] = ()


def probe(program: Program, device: str) -> Probe:
    """Try to import a backend's framework, by the Python that is to run it, and have it compute."""
    backend, python = BACKENDS[program.backend], program.python
    if device not in backend.devices:
        return Probe(problem=f"does not compute on a {device.upper()}")
    command = [python, "-m", "benchmarks.machine.probe", backend.to_json(), device]
    with scratch.folder() as folder:
        env = worker_environment(device, 1, folder, dict(program.environment))
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=env, capture_output=True, encoding="utf-8",
                errors="replace", timeout=TIMEOUT_SECONDS,
            )  # fmt: skip
        except OSError as error:
            return Probe(problem=f"cannot be run by {python}: {error.strerror}")
        except subprocess.TimeoutExpired:
            return Probe(problem=f"importing and trying it took longer than {TIMEOUT_SECONDS} s")
    marked = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if not marked:
        last_line = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        # On a CPU, what a framework prints about GPUs means nothing.
        printed = done.stderr if device == "gpu" else ""
        return Probe(problem=advised(f"does not import or run: {last_line}", printed))
    outcome = json.loads(marked[-1].removeprefix(MARK))
    if missing := outcome["missing"]:
        advice = install_advice(backend.name, python)
        return Probe(problem=f"not installed: {', '.join(missing)}{advice}")
    problem = outcome["problem"]
    if problem:
        packages = package_list(outcome["versions"])
        problem = f"sees no usable {device.upper()} ({packages}): {problem}"
    return Probe(versions=outcome["versions"], problem=problem, unusable=outcome["unusable"])


def package_list(versions: dict[str, str]) -> str:
    """Packages and their versions in one line."""
    return ", ".join(f"{package} {version}" for package, version in versions.items())


def probe_each(programs: Collection[Program], device: str) -> dict[Program, Probe]:
    """Probe several side by side, since nothing is timed yet."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        probes = pool.map(probe, programs, repeat(device))
        return dict(zip(programs, probes, strict=True))


def probe_all(names: list[str], device: str, pythons: dict[str, str]) -> dict[str, Probe]:
    """Probe backends; `pythons` has the Python of each that does not run by this process's."""
    programs = [Program(name, pythons.get(name, sys.executable)) for name in names]
    return {program.backend: found for program, found in probe_each(programs, device).items()}


if __name__ == "__main__":
    die_with_parent()
    entry = Backend.from_json(sys.argv[1])
    outcome: dict[str, Any] = {"missing": missing_packages(entry)}
    if not outcome["missing"]:
        module = load(entry)
        outcome |= {"versions": module.versions(), "problem": trial(module, sys.argv[2])}
        outcome["unusable"] = {} if outcome["problem"] else unusable_modes(module, sys.argv[2])
        for mode in (*entry.modes, *entry.group_modes):
            if lacking := missing_packages(entry, mode):
                outcome["unusable"][mode] = f"not installed: {', '.join(lacking)}"
    print(MARK + json.dumps(outcome))
