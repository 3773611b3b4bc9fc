"""The first half hour on a GPU, in one command.

    python -m benchmarks.validation gpu --output FOLDER

It says what the card and the frameworks can do, checks what a measurement needs, takes certificates
of all programs, makes a quick and a default run, and times every rung of the ladders. It takes at
most 30 minutes without TensorFlow, in steps that do not depend on one another. It can be cut off at
any time; called again it skips what has ended well. FOLDER/send has what is worth sending.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from backends.registry import BACKENDS
from benchmarks import exit_codes
from benchmarks.errors import StoppedError, UsageError
from benchmarks.machine import interrupts, nvml
from benchmarks.machine.advice import together
from benchmarks.machine.probe import Probe, package_list, probe_all
from benchmarks.validation.card import archives, running
from benchmarks.validation.card.running import DONE, INTERRUPTED
from benchmarks.validation.card.steps import STEPS, Step, filled

RECORD, SEND, SKIPPED = "record.jsonl", "send", "skipped"


def recorded(folder: Path) -> dict[str, str]:
    """The last outcome of each step; a line that was cut off as it was written counts as none."""
    outcomes = {}
    with suppress(FileNotFoundError):
        for line in (folder / RECORD).read_text("utf-8", "replace").splitlines():
            with suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                outcomes[entry["step"]] = entry["outcome"]
    return outcomes


def record(folder: Path, **entry: Any) -> None:
    """Add a line to the record, where it lasts whatever comes next."""
    entry["ended"] = datetime.now(UTC).isoformat(timespec="seconds")
    path = folder / RECORD
    with suppress(FileNotFoundError):
        if not path.read_bytes().endswith(b"\n"):
            entry = {"after": "a line that was cut off"} | entry
            with path.open("a", encoding="utf-8") as file:
                file.write("\n")
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
        file.flush()
        os.fsync(file.fileno())
    shutil.copyfile(path, folder / SEND / RECORD)


def place(folder: Path, step: Step) -> Path:
    """A new folder for a step; those of attempts that were cut off are kept."""
    number = 1
    while (path := folder / step.name / str(number)).exists():
        number += 1
    path.mkdir(parents=True)
    return path


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def run_steps(
    folder: Path, steps: Sequence[Step], unusable: Mapping[str, str], pythons: Mapping[str, str]
) -> int:
    """Run the steps that have not ended well before; returns the exit code.

    `unusable` says why a backend cannot run, `pythons` which Python runs it.
    """
    before, failed = recorded(folder), False
    for step in steps:
        if before.get(step.name) == DONE:
            print(f"{step.name}: done before", flush=True)
            continue
        path = place(folder, step)
        commands = filled(step, path / "bundle", unusable, pythons)
        if not commands:
            print(f"{step.name}: skipped: {unusable.get(step.backend, 'nothing can run')}")
            record(folder, step=step.name, outcome=SKIPPED)
            shutil.rmtree(path)
            continue
        print(f"{step.name}: at most {clock(60 * step.minutes)} minutes …", flush=True)
        ended = running.run(commands, path, 60 * step.minutes)
        record(folder, step=step.name, **ended._asdict(), attempt=int(path.name))
        said = ", ".join(f"{name} {code}" for name, code in ended.codes.items() if code)
        codes = f" (exit codes: {said})" if said else ""
        print(f"{step.name}: {ended.outcome} after {clock(ended.seconds)}{codes}", flush=True)
        pack(folder, steps, step.archive)
        if ended.outcome == INTERRUPTED:
            return exit_codes.INTERRUPTED
        failed |= ended.outcome != DONE
    return exit_codes.FAILED if failed else exit_codes.OK


def pack(folder: Path, steps: Sequence[Step], archive: str) -> None:
    """Pack what all steps of an archive have left until now."""
    folders = [folder / step.name for step in steps if step.archive == archive]
    for line in archives.pack(folder / SEND / f"{archive}.zip", filter(Path.exists, folders)):
        print(f"{archive}.zip: {line}", flush=True)


def refuse_without_card(probes: Mapping[str, Probe]) -> dict[str, str]:
    """Why each backend cannot compute on the card; raises UsageError where none can."""
    problems = {name: found.problem for name, found in probes.items() if found.problem}
    if len(problems) == len(probes):
        raise UsageError(f"no framework can compute on a GPU here: {together(problems)}")
    return problems


def python_of(text: str) -> tuple[str, str]:
    """A backend and the Python that runs it: "tensorflow=env/bin/python"."""
    name, _, program = text.partition("=")
    if name not in BACKENDS or not shutil.which(program):
        raise argparse.ArgumentTypeError(
            f"{text or 'nothing'} is not NAME=PROGRAM, with a backend and a Python that runs it"
        )
    # Links are kept: a virtual environment is recognised by the link that its Python is.
    return name, str(Path(str(shutil.which(program))).absolute())


class Parser(argparse.ArgumentParser):
    """Refuses in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(exit_codes.REFUSED, f"{self.prog}: {' '.join(message.split())}; see --help\n")


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = Parser(
        prog="python -m benchmarks.validation gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER",
        help="where everything goes; one of an earlier call is gone on with")  # fmt: skip
    parser.add_argument("--python", type=python_of, nargs="+", action="extend", default=[],
        metavar="NAME=PROGRAM", help="the Python of another environment that runs a framework, as "
        "tensorflow=.venv-tf/bin/python")  # fmt: skip
    return parser


def half_hour(arguments: argparse.Namespace) -> int:
    """Probe the card, run the steps and say what to send; returns the exit code."""
    pythons = dict(arguments.python)
    names = [name for name, backend in BACKENDS.items() if "gpu" in backend.devices]
    print("asking which frameworks can compute on the GPU …", flush=True)
    probes = probe_all(names, "gpu", pythons)
    unusable = refuse_without_card(probes)
    folder = arguments.output.absolute()
    (folder / SEND).mkdir(parents=True, exist_ok=True)
    limits, others = nvml.limits(), nvml.processes()
    record(
        folder, step="probe", outcome=DONE, probes={n: asdict(p) for n, p in probes.items()},
        gpu=nvml.name(), limits=asdict(limits) if limits else None, others=others,
    )  # fmt: skip
    for name, found in probes.items():
        print(f"{name}: {found.problem or package_list(found.versions)}", flush=True)
    if others:
        print(f"warning: other processes are on the GPU now: {others}", flush=True)
    code = run_steps(folder, STEPS, unusable, {"": sys.executable, **pythons})
    files = sorted((folder / SEND).iterdir())
    size = sum(path.stat().st_size for path in files) / 2**20
    print(f"to send: the {len(files)} files in {folder / SEND} ({size:.1f} MiB)")
    return code


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    interrupts.handle()
    arguments = parser().parse_args(argv)
    codes = {
        UsageError: exit_codes.REFUSED,
        StoppedError: exit_codes.STOPPED,
        OSError: exit_codes.STOPPED,
        KeyboardInterrupt: exit_codes.INTERRUPTED,
    }
    try:
        return half_hour(arguments)
    except tuple(codes) as error:
        problem = " ".join(str(error).split()) or type(error).__name__
        print(f"{parser().prog}: {problem}", file=sys.stderr)
        return next(code for kind, code in codes.items() if isinstance(error, kind))
