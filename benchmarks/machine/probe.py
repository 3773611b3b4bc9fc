"""What can run on this machine: each framework is tried in a process of its own.

Run as `python -m benchmarks.machine.probe BACKEND DEVICE`, it imports one framework, has it take a
small product on the device, and prints what it finds; the process that plans and times imports
none.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from backends.contract import Execution, Floor, Network
from backends.registry import BACKENDS, FLOOR, load, missing_packages
from benchmarks.machine.advice import advised, failure
from benchmarks.machine.project import install_advice
from benchmarks.machine.settings import ROOT, die_with_parent, worker_environment

TIMEOUT_SECONDS = 120
MARK = "probe: "


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What one framework can do here, or why it cannot."""

    versions: dict[str, str]
    problem: str = ""
    """Why nothing can run on the device; empty where it can."""


def trial(backend: ModuleType, device: str, threads: int = 1) -> str:
    """Why the backend cannot take a small product on the device; empty where it can.

    A GPU may be listed and be too full, or of a kind that this build has no code for. TensorFlow
    takes no other number of `threads` afterwards.
    """
    execution = Execution(mode=FLOOR, device=device, threads=threads)
    try:
        backend.configure(execution)
        floor: Floor = backend.Floor(Network(layer_sizes=(16, 16)), 16, execution)
        floor.multiply(floor.square(16))
        floor.synchronise()
        execution.check_device(floor.device())
    except Exception as error:  # whatever the framework raises is the reason
        return failure(error)
    return ""


def probe(name: str, device: str, python: str = sys.executable) -> Probe:
    """Try to import one framework, by the Python that shall run it, and have it compute."""
    if device not in BACKENDS[name].devices:
        return Probe(versions={}, problem=f"does not compute on a {device.upper()}")
    with tempfile.TemporaryDirectory() as scratch:
        try:
            done = subprocess.run(
                [python, "-m", "benchmarks.machine.probe", name, device],
                cwd=ROOT,
                env=worker_environment(device, 1, Path(scratch)),
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECONDS,
            )
        except OSError as error:
            return Probe(versions={}, problem=f"cannot be run by {python}: {error.strerror}")
        except subprocess.TimeoutExpired:
            problem = f"importing and trying it took longer than {TIMEOUT_SECONDS} s"
            return Probe(versions={}, problem=problem)
    marked = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if marked:
        found = json.loads(marked[-1].removeprefix(MARK))
        if found["missing"]:
            names = ", ".join(found["missing"])
            problem = f"not installed: {names}{install_advice(name, python)}"
            return Probe(versions={}, problem=problem)
        versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
        problem = f"sees no usable {device.upper()} ({versions}): {found['problem']}"
        return Probe(versions=found["versions"], problem=problem if found["problem"] else "")
    last_line = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    # On a CPU what is printed of GPUs means nothing.
    printed = done.stderr if device == "gpu" else ""
    return Probe(versions={}, problem=advised(f"does not import or run: {last_line}", printed))


def probe_all(names: list[str], device: str, pythons: dict[str, str]) -> dict[str, Probe]:
    """Probe several frameworks side by side; nothing is timed yet.

    `pythons` has those that do not run by this process's own Python.
    """

    def find(name: str) -> Probe:
        return probe(name, device, pythons.get(name, sys.executable))

    with ThreadPoolExecutor(max_workers=4) as pool:
        return dict(zip(names, pool.map(find, names), strict=True))


def look(name: str, device: str) -> dict[str, object]:
    """What `probe` is told by the process that it starts."""
    missing = missing_packages(name)
    if missing:
        return {"missing": missing}
    backend = load(name)
    return {"missing": [], "versions": backend.versions(), "problem": trial(backend, device)}


if __name__ == "__main__":
    die_with_parent()
    print(MARK + json.dumps(look(sys.argv[1], sys.argv[2])))
