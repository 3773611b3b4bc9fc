"""The first half hour on a GPU, with stand-ins for its steps: plan, faults, going on, and size."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from backends.contract import PRECISIONS, Execution, Network
from backends.registry import BACKENDS, load
from benchmarks import exit_codes
from benchmarks.commands import certify, measure
from benchmarks.machine import nvml
from benchmarks.machine.probe import Probe
from benchmarks.machine.settings import ROOT
from benchmarks.plan import variants
from benchmarks.validation.card import archives, checks, command, running
from benchmarks.validation.card.steps import CHECK, OUTPUT, PROBE_MINUTES, STEPS, Step, filled

PYTHONS = {"": sys.executable}
USUAL = [step for step in STEPS if step.backend != "tensorflow"]


def stand_in(name: str, program: str, *, minutes: float = 1.0, **others: Any) -> Step:
    """A step that runs a few lines of Python."""
    return Step(
        name=name, minutes=minutes, commands={"run": ("-c", program)}, archive=name, **others
    )


def entries(folder: Path) -> list[tuple[str, str]]:
    """Steps and outcomes, as recorded."""
    lines = (folder / command.RECORD).read_text().splitlines()
    return [(entry["step"], entry["outcome"]) for entry in map(json.loads, lines)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / command.SEND).mkdir()
    return tmp_path


# The plan.


def test_the_steps_take_half_an_hour_and_none_more_than_nine_minutes() -> None:
    assert PROBE_MINUTES + sum(step.minutes for step in USUAL) <= 30
    assert max(step.minutes for step in STEPS) <= 9
    assert len({step.name for step in STEPS}) == len(STEPS)
    assert len({step.archive for step in STEPS}) + 1 <= archives.MOST_FILES  # and the record


def test_the_page_names_every_step_and_its_limit() -> None:
    page = (ROOT / "docs" / "gpu.md").read_text()
    rows = re.findall(r"^\| (?:`([\w-]+)`)? ?\| ([\d.]+) \|", page, re.MULTILINE)
    limits = [("", PROBE_MINUTES), *((step.name, step.minutes) for step in STEPS)]
    assert rows == [(name, f"{minutes:g}") for name, minutes in limits]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_every_command_is_one_that_there_is(step: Step) -> None:
    for arguments in step.commands.values():
        if arguments[: len(CHECK)] == CHECK:
            assert arguments[len(CHECK) :] == (step.backend,)
            continue
        assert arguments[0] == "run_all.py"
        if arguments[1] == "certify":
            assert certify.parser().read([*arguments[2:]]).device == "gpu"
            continue
        read = measure.parser().read([*arguments[1:]])
        assert (read.device, str(read.output)) == ("gpu", OUTPUT)
        # The run reports what it has before it is interrupted.
        assert 60 * read.time_limit + running.GRACE_SECONDS < 60 * step.minutes


def test_all_rungs_on_a_gpu_are_certified_and_timed() -> None:
    by_name = {step.name: step for step in STEPS}
    named = {
        (backend, mode)
        for arguments in by_name["certificates"].commands.values()
        for backend in [arguments[arguments.index("--backends") + 1]]
        for mode in arguments[arguments.index("--modes") + 1 :]
    }
    assert named == {
        (name, mode)
        for name in ("pytorch", "jax")
        for mode, about in BACKENDS[name].modes.items()
        if "gpu" in about.devices
    }
    for name in ("pytorch", "jax", "tensorflow"):
        (arguments,) = by_name[f"ladder-{name}"].commands.values()
        assert {name, "ladders", "--profile"} <= set(arguments)


def test_commands_are_given_their_pythons_and_what_cannot_run_is_left_out() -> None:
    pythons = PYTHONS | {"tensorflow": "/tf/python"}
    unusable = {"jax": "not installed"}
    found = {step.name: filled(step, Path("out"), unusable, pythons) for step in STEPS}
    assert found["checks-jax"] == found["ladder-jax"] == {}
    assert set(found["certificates"]) == {"pytorch", "pytorch-limit"}
    assert found["checks-tensorflow"]["tensorflow"] == ("/tf/python", *CHECK, "tensorflow")
    assert found["checks-pytorch"]["pytorch"][0] == sys.executable
    quick = found["quick"]["run"]
    assert quick[-2:] == ("--python", "tensorflow=/tf/python")
    assert "out" in quick
    assert OUTPUT not in quick


# Its steps.


def test_a_step_that_fails_ends_no_other(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = [
        stand_in("bad", "print('so far'); raise SystemExit(3)"),
        stand_in("other", "pass", backend="jax"),
        stand_in("good", "print('fine')"),
    ]
    code = command.run_steps(folder, steps, {"jax": "no such thing"}, PYTHONS)
    assert code == exit_codes.FAILED
    assert entries(folder) == [("bad", "failed"), ("other", "skipped"), ("good", "done")]
    said = capsys.readouterr().out
    assert "bad: failed after 0:0" in said
    assert "(exit codes: run 3)" in said
    assert "other: skipped: no such thing" in said
    assert (folder / "bad" / "1" / "run.log").read_text() == "so far\n"
    with zipfile.ZipFile(folder / "send" / "bad.zip") as archive:
        assert archive.read("bad/1/run.log") == b"so far\n"
    assert {path.name for path in (folder / "send").iterdir()} == {
        "record.jsonl", "bad.zip", "good.zip",
    }  # fmt: skip


def test_a_later_call_repeats_what_has_not_ended_well(folder: Path) -> None:
    count = folder / "count"
    steps = [
        stand_in("good", f"open({str(count)!r}, 'a').write('x')"),
        stand_in(
            "bad", f"import os; raise SystemExit(not os.path.exists({str(folder / 'now')!r}))"
        ),
    ]
    assert command.run_steps(folder, steps, {}, PYTHONS) == exit_codes.FAILED
    (folder / "now").touch()
    with (folder / command.RECORD).open("a") as file:
        file.write('{"step": "good", "outco')  # cut off as it was written
    assert command.run_steps(folder, steps, {}, PYTHONS) == exit_codes.OK
    assert count.read_text() == "x"
    assert (folder / "bad" / "2").exists()
    assert command.recorded(folder) == {"good": "done", "bad": "done"}
    assert command.run_steps(folder, steps, {}, PYTHONS) == exit_codes.OK
    assert not (folder / "bad" / "3").exists()


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not yet waited for does not."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


CHILD = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGINT, lambda *_: print("interrupted", flush=True))
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(os.getpid(), child.pid, flush=True)
end = time.monotonic() + 60
while time.monotonic() < end:
    time.sleep(0.05)
"""
"""A step that an interrupt does not end, and that has started another process."""


def test_a_late_step_is_ended_with_all_that_it_has_started(folder: Path) -> None:
    ended = running.run({"run": (sys.executable, "-c", CHILD)}, folder, 3.0, grace=1.0)
    assert ended.outcome == "late"
    assert 2 < ended.seconds < 6
    assert ended.codes == {"run": -signal.SIGKILL}
    own, child, *said = (folder / "run.log").read_text().split()
    assert said == ["interrupted"]
    until(lambda: not (alive(int(own)) or alive(int(child))))


def test_commands_side_by_side_do_not_wait_for_one_another(folder: Path) -> None:
    """Each has a lock of its own, and one that fails is told from the others."""
    program = "import os, sys; print(os.environ['BENCHMARK_LOCK_FOLDER']); sys.exit({})"
    commands = {name: (sys.executable, "-c", program.format(n)) for n, name in enumerate("ab")}
    ended = running.run(commands, folder, 20.0)
    assert (ended.outcome, ended.codes) == ("failed", {"a": 0, "b": 1})
    assert (folder / "a.log").read_text() != (folder / "b.log").read_text()


CALL = """
import sys
from pathlib import Path
from benchmarks.machine import interrupts
from benchmarks.validation.card import command, running
from tests.benchmarks.test_card import CHILD, PYTHONS, stand_in

interrupts.handle()
running.GRACE_SECONDS = 1.0
steps = [stand_in("first", "print(1)"), stand_in("second", CHILD), stand_in("third", "print(3)")]
sys.exit(command.run_steps(Path(sys.argv[1]), steps, {}, PYTHONS))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_call_that_is_cut_off_keeps_the_rest_and_ends_what_runs(
    folder: Path, number: signal.Signals
) -> None:
    call = subprocess.Popen([sys.executable, "-c", CALL, str(folder)], cwd=ROOT)
    log = folder / "second" / "1" / "run.log"
    try:
        until(lambda: log.exists() and log.read_text().endswith("\n"))
        call.send_signal(number)
        code = call.wait(20)
    finally:
        call.kill()
    outcomes = [("first", "done")]
    with zipfile.ZipFile(folder / "send" / "first.zip") as archive:
        assert archive.read("first/1/run.log") == b"1\n"
    if number == signal.SIGKILL:
        assert code == -number
    else:
        assert code == exit_codes.INTERRUPTED
        outcomes.append(("second", "interrupted"))
        with zipfile.ZipFile(folder / "send" / "second.zip") as archive:
            assert b"interrupted" in archive.read("second/1/run.log")
    own, child = map(int, log.read_text().split()[:2])
    until(lambda: not alive(own))
    if number == signal.SIGKILL:
        os.kill(child, signal.SIGKILL)  # this program's workers end by themselves
    until(lambda: not alive(child))
    assert entries(folder) == outcomes
    # It is gone on with, and the attempt that was cut off is kept.
    steps = [stand_in(name, "print('anew')") for name in ("first", "second", "third")]
    assert command.run_steps(folder, steps, {}, PYTHONS) == exit_codes.OK
    assert entries(folder)[len(outcomes) :] == [("second", "done"), ("third", "done")]
    with zipfile.ZipFile(folder / "send" / "second.zip") as archive:
        assert {"second/1/run.log", "second/2/run.log"} <= set(archive.namelist())


# What is sent.


def test_an_archive_leaves_out_what_is_largest(tmp_path: Path) -> None:
    folder, archive = tmp_path / "step", tmp_path / "step.zip"
    folder.mkdir()
    noise = random.Random(0).randbytes
    for name, size in {"trace.json": 60_000, "log.txt": 20_000, "report.md": 100}.items():
        (folder / name).write_bytes(noise(size))
    (folder / "packs well.csv").write_bytes(b"0,0\n" * 100_000)
    (folder / "outside").symlink_to("/etc/hostname")
    lines = archives.pack(archive, [folder], most=50_000)
    assert lines == ["step/trace.json: 0.1 MiB, left out"]
    assert archive.stat().st_size <= 50_000
    with zipfile.ZipFile(archive) as file:
        names = {"step/log.txt", "step/report.md", "step/packs well.csv", archives.LEFT_OUT}
        assert set(file.namelist()) == names
        assert file.read(archives.LEFT_OUT).decode() == f"{lines[0]}\n"
    assert archives.pack(archive, [folder]) == []
    assert {path.name for path in tmp_path.iterdir()} == {"step", "step.zip"}


def test_no_archive_is_larger_than_it_may_be(tmp_path: Path) -> None:
    folder, archive = tmp_path / "step", tmp_path / "step.zip"
    folder.mkdir()
    generator = random.Random(1)
    for number in range(400):
        size = generator.choice([0, 10, 300, 5000])
        (folder / f"{'name' * 20}{number}").write_bytes(generator.randbytes(size))
    for most in (60_000, 100_000, 400_000):
        lines = archives.pack(archive, [folder], most)
        assert lines
        assert most / 2 < archive.stat().st_size <= most


# Without a card.


def test_without_a_card_there_is_one_line_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def probe_all(names: list[str], *_: object) -> dict[str, Probe]:
        return {name: Probe(problem="sees no usable GPU: none there") for name in names}

    monkeypatch.setattr(command, "probe_all", probe_all)
    folder = tmp_path / "new"
    assert command.main(["--output", str(folder)]) == exit_codes.REFUSED
    assert not folder.exists()
    (line,) = capsys.readouterr().err.splitlines()
    assert "no framework can compute on a GPU here" in line
    assert "pytorch, tensorflow, jax: sees no usable GPU: none there" in line


def test_with_a_card_the_steps_run_and_what_to_send_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {"pytorch": Probe(versions={"torch": "3"}), "jax": Probe(problem="not installed: jax")}
    monkeypatch.setattr(command, "probe_all", lambda *_: found)
    steps = [stand_in("one", "print(1)"), stand_in("two", "print(2)", backend="jax")]
    monkeypatch.setattr(command, "STEPS", steps)
    folder = tmp_path / "new"
    assert command.main(["--output", str(folder)]) == exit_codes.OK
    assert entries(folder) == [("probe", "done"), ("one", "done"), ("two", "skipped")]
    said = capsys.readouterr().out
    assert "pytorch: torch 3" in said
    assert "jax: not installed: jax" in said
    assert f"to send: the 2 files in {folder / 'send'}" in said


@pytest.mark.parametrize("arguments", [[], ["--output"], ["--output", "x", "--python", "jax=none"]])
def test_a_wrong_call_is_refused_in_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == exit_codes.REFUSED
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_pythons_are_found_as_variants_find_them() -> None:
    python = os.path.relpath(sys.executable)
    assert command.python_of(f"jax={python}") == ("jax", variants.program(python))


# What a measurement needs.

NUMPY = checks.Subject(backend="numpy", module=load(BACKENDS["numpy"]), device="cpu")
TINY = Network(layer_sizes=(31, 17, 9, 5))
QUICK = checks.CHECKS | {
    "synchronises": partial(checks.synchronises, network=TINY, batch_size=64),
    "gaps": partial(checks.gaps, network=TINY, steps=5),
}


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    lines = map(json.loads, capsys.readouterr().out.splitlines())
    return {line["check"]: line for line in lines}


def test_all_checks_hold_and_say_their_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert checks.check(NUMPY, QUICK)
    found = said(capsys)
    assert set(found) == set(checks.CHECKS)
    assert {line["fault"] for line in found.values()} == {""}
    assert found["precisions"]["float32"] == 23
    assert found["captures"]["eager"] < checks.SAME
    gaps = found["gaps"]
    assert gaps["bound_us"] == pytest.approx(sum(gaps["pieces_us"].values()))
    assert gaps["attained_us"] > 0


def test_a_check_that_fails_ends_no_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = NUMPY.module.TRAINERS["eager"]

    class Hasty(trainer):  # type: ignore[misc, valid-type]
        """Computes its products in bfloat16, and trains its last step twice."""

        def product(self, a: Any, b: Any) -> Any:
            return (super().product(a, b).view("uint32") & 0xFFFF0000).view("float32")

        def train(self, rows: Any) -> None:
            super().train(rows)
            super().train(rows[-1:])

    reference = load(BACKENDS["numpy"])
    monkeypatch.setattr(checks, "load", lambda _: reference)
    twice = type("Module", (), {**vars(reference), "TRAINERS": {"eager": Hasty}})
    subject = checks.Subject(backend="numpy", module=twice, device="cpu")  # type: ignore[arg-type]
    wanted = {"float32": PRECISIONS["float32"]}
    monkeypatch.setattr(checks, "PRECISIONS", wanted)
    assert not checks.check(
        subject, {n: QUICK[n] for n in ("precisions", "captures", "management")}
    )
    found = said(capsys)
    assert found["precisions"]["fault"] == "float32 keeps 7 bits instead of 23"
    assert "from the reference" in found["captures"]["fault"]
    assert found["management"]["fault"] == ""


def test_a_block_faster_than_the_card_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = checks.Subject(backend="numpy", module=NUMPY.module, device="cpu")
    limits = nvml.GpuLimits(gflops=1e-6, gb_per_s=1.0)
    monkeypatch.setattr(nvml, "limits", lambda: limits)
    object.__setattr__(subject, "device", "gpu")
    monkeypatch.setattr(checks.Subject, "configured", lambda *_, **__: Execution(mode="floor"))
    with pytest.raises(checks.Fault, match="of 0 that the card has"):
        checks.synchronises(subject, TINY, 64)
    monkeypatch.setattr(nvml, "limits", lambda: None)
    with pytest.raises(checks.Fault, match="without waiting a block takes"):
        checks.synchronises(subject, TINY, 64)
