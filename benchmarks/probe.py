"""What can run on this machine: each framework is tried in a process of its own.

Run as `python -m benchmarks.probe BACKEND`, it imports one framework and prints what it finds; the
process that plans and times imports none.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from backends.registry import load, missing_packages
from benchmarks.process import ROOT, die_with_parent, worker_environment

TIMEOUT_SECONDS = 120
MARK = "probe: "


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What one framework can do here, or why it cannot."""

    versions: dict[str, str]
    devices: tuple[str, ...]
    problem: str = ""

    def problem_on(self, device: str) -> str:
        """Why nothing can run on `device`; empty where it can."""
        if self.problem or device in self.devices:
            return self.problem
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return f"sees no usable {device.upper()} ({versions})"


def probe(name: str, device: str) -> Probe:
    """Try to import one framework and ask it for its devices."""
    missing = missing_packages(name)
    if missing:
        return Probe(versions={}, devices=(), problem=f"not installed: {', '.join(missing)}")
    with tempfile.TemporaryDirectory() as scratch:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.probe", name],
                cwd=ROOT,
                env=worker_environment(device, 1, Path(scratch)),
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECONDS,
            )
        except subprocess.TimeoutExpired:
            problem = f"importing it took longer than {TIMEOUT_SECONDS} s"
            return Probe(versions={}, devices=(), problem=problem)
    for line in done.stdout.splitlines():
        if line.startswith(MARK):
            found = json.loads(line.removeprefix(MARK))
            return Probe(versions=found["versions"], devices=tuple(found["devices"]))
    last_line = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return Probe(versions={}, devices=(), problem=f"does not import: {last_line}")


def probe_all(names: list[str], device: str) -> dict[str, Probe]:
    """Probe several frameworks side by side; nothing is timed yet."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        return dict(zip(names, pool.map(lambda name: probe(name, device), names), strict=True))


if __name__ == "__main__":
    die_with_parent()
    module = load(sys.argv[1])
    found = {"versions": module.versions(), "devices": module.device_names()}
    print(MARK + json.dumps(found))
