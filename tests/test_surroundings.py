"""A run outlives its surroundings: what is shown never decides over what is kept."""

from __future__ import annotations

import io
import os
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

import run_all
from benchmarks import commands
from benchmarks.bundle.writer import BundleWriter
from benchmarks.commands import report
from benchmarks.errors import StoppedError
from benchmarks.machine import interrupts, probe
from benchmarks.machine.settings import ROOT
from benchmarks.plan import data
from benchmarks.reports import page as report_page
from benchmarks.reports import summary
from benchmarks.session import launch, member
from tests.support.runs import Running, own_workers, run, table, workers_of
from tests.support.surroundings import full_after, interrupted_after, no_file_longer_than
from tests.synthetic_bundles import write_bundle

NOTE = "the program goes on without it"
BRIEF = ("--steps", "200", "--launches", "1")
"""Two rounds of one launch."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small bundle, which no test changes."""
    times = {"numpy eager": 2.0, "jax compiled": 1.0}
    return write_bundle(tmp_path_factory.mktemp("written") / "bundle", times)


# Output


def full() -> io.TextIOWrapper:
    return Path("/dev/full").open("w")


def broken_pipe() -> io.TextIOWrapper:
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w")


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        (full, "cannot be written (No space left on device)"),
        (broken_pipe, "was closed"),
        (lambda: None, "was closed"),
    ],
    ids=["full", "broken pipe", "closed"],
)
@pytest.mark.usefixtures("undrawn")
def test_a_report_is_written_where_nothing_can_be_shown(
    stream: Callable[[], io.TextIOWrapper | None],
    why: str,
    written: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown, folder = stream(), tmp_path / "report"
    monkeypatch.setattr(sys, "stdout", shown)
    done = run(capsys, "report", written, "--output", folder)
    assert done.code == 0
    assert done.errors.strip() == f"note: standard output {why}; {NOTE}"
    assert (folder / "report.md").exists()
    if shown:
        shown.close()  # what could not be written is not tried again


@pytest.mark.parametrize("argv", ["list numpy", "compare {0} {0}", "report {0} --output {1}"])
@pytest.mark.usefixtures("undrawn")
def test_characters_that_cannot_be_shown_are_replaced(
    argv: str, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, errors = (io.TextIOWrapper(io.BytesIO(), encoding="ascii") for _ in range(2))
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setattr(sys, "stderr", errors)
    assert run_all.main(argv.format(written, tmp_path / "report").split()) in (0, 2)
    for stream in (shown, errors):
        stream.flush()
        text = stream.buffer.getvalue()  # type: ignore[attr-defined]
        assert b"Traceback" not in text
        # Nothing is lost either.
        assert b"note: standard output" not in text


@pytest.mark.parametrize(
    ("redirection", "errors"),
    [
        (
            ">/dev/full",
            f"note: standard output cannot be written (No space left on device); {NOTE}",
        ),
        (">&-", f"note: standard output was closed; {NOTE}"),
        (">&- 2>&- <&-", ""),
        (">/dev/full 2>/dev/full", ""),
    ],
)
def test_help_into_nothing(redirection: str, errors: str, tmp_path: Path) -> None:
    """A process, so that Python's own flush at its end is seen; in a folder that is no more."""
    gone = tmp_path / "gone"
    line = f"mkdir {gone} && cd {gone} && rmdir {gone} && PYTHONSAFEPATH=1 exec "
    line += f"{sys.executable} {ROOT / 'run_all.py'} --version {redirection}"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (0, errors)


@pytest.mark.slow
def test_a_run_in_odd_surroundings(small: tuple[str, ...], tmp_path: Path) -> None:
    """Another locale and umask, undecodable variables, no path of its own, nobody who reads."""
    folder = tmp_path / "out"
    odd = {
        b"LC_ALL": b"C", b"PYTHONUTF8": b"0", b"PYTHONCOERCECLOCALE": b"0",
        b"OMP_ODD": b"\xff\xfe", b"ODD": b"\xff", b"PYTHONSAFEPATH": b"1",
        b"PYTHONWARNINGS": b"error", b"TMPDIR": b"/nowhere", b"TERM": b"", b"COLUMNS": b"0",
    }  # fmt: skip
    command = [sys.executable, ROOT / "run_all.py", *small, *BRIEF, "--output", folder]
    line = f"umask 777; {shlex.join(map(str, command))} | head -1; echo ended"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{line} $?"], cwd="/", capture_output=True,
        env=dict(os.environb) | odd,
    )  # fmt: skip
    assert b"Traceback" not in done.stderr, done.stderr
    assert done.stdout.endswith(b"ended 0\n"), done.stderr
    assert "–" in (folder / "report.md").read_text(encoding="utf-8")
    # Two rounds, and one more where other load disturbed one.
    assert len(table(folder, "samples")) in (6, 9)


def test_processes_find_this_program_where_python_does_not_look_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    assert probe.probe(probe.Program("numpy"), "cpu").problem == ""


# Files that cannot be written


@pytest.mark.usefixtures("undrawn")
def test_a_disk_that_fills_ends_the_run_and_keeps_its_rows(
    small: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    with monkeypatch.context() as patch:
        full_after(patch, "samples", rows=3)
        done = run(capsys, *small, *BRIEF, "--output", folder)
    assert done.code == 4, done.output
    assert done.errors.strip() == (
        f"run_all.py: {folder / 'samples.csv'}: cannot be written (No space left on device); all 3 "
        f"blocks measured until then are kept; report them with: python run_all.py report {folder} "
        "--output FOLDER"
    )
    assert own_workers() == []
    assert len(table(folder, "samples")) == 3
    assert "95% intervals" in done.output
    assert run(capsys, "report", folder, "--output", elsewhere).code == 0
    assert "stopped by an error" in (elsewhere / "report.md").read_text()


@pytest.mark.usefixtures("undrawn")
def test_a_report_that_cannot_be_written_is_written_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # What no compression makes small, as Vega is not.
    monkeypatch.setattr(report_page, "_vega", lambda: os.urandom(150_000).hex())
    folder = write_bundle(tmp_path / "bundle", {"numpy eager": 2.0, "jax compiled": 1.0})
    before = sorted(folder.iterdir())
    # Room for report.md, but not for report.html.
    with no_file_longer_than(100_000):
        done = run(capsys, "report", folder)
    assert (done.code, done.errors.strip()) == (
        2, f"run_all.py: {folder}: its page report.html cannot be written (File too large); use "
        "--output FOLDER"
    )  # fmt: skip
    rest = {"report.md", "summary.csv"}
    assert rest <= {path.name for path in folder.iterdir()}
    assert not (folder / "report.html").exists()
    for path in set(folder.iterdir()) - set(before):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    # No room for either: nothing that is half written.
    with no_file_longer_than(1_000):
        done = run(capsys, "report", folder)
    assert (done.code, "its report cannot be written" in done.errors) == (2, True)
    assert sorted(folder.iterdir()) == before
    # After a run, it is shown all the same.
    console = Console(file=io.StringIO(), record=True)
    with (
        no_file_longer_than(100_000),
        pytest.raises(StoppedError, match=r"kept; report it with: .* --output FOLDER"),
    ):
        report.report_run(folder, console)
    assert "jax compiled" in console.export_text()
    assert rest <= {path.name for path in folder.iterdir()}
    assert run(capsys, "report", folder, "--output", tmp_path / "elsewhere").code == 0


# Interrupts


def test_an_interrupt_before_anything_is_measured_leaves_nothing(
    small: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    interrupted_after(monkeypatch, data, "load")
    done = run(capsys, *small, *BRIEF, "--output", tmp_path / "out")
    assert (done.code, done.errors.strip()) == (130, "run_all.py: interrupted")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_when_all_is_done_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted_after(monkeypatch, traceback, "print_exc")
    monkeypatch.setattr(commands, "pick", lambda _: 1 / 0)
    assert run(capsys).code == 4


@pytest.mark.parametrize(
    ("target", "name", "number", "rows"),
    [
        # The second of three workers has been started, a block has been timed, and all is done.
        (launch, "start_worker", 2, 0),
        pytest.param(member.Member, "train_block", 2, 2, marks=pytest.mark.slow),
        pytest.param(BundleWriter, "close", 1, 6, marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("undrawn")
def test_an_interrupt_at_any_moment_loses_nothing(
    target: object,
    name: str,
    number: int,
    rows: int,
    small: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, temporary = tmp_path / "out", tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    interrupted_after(monkeypatch, target, name, number=number)
    done = run(capsys, *small, *BRIEF, "--output", folder)
    assert done.code == 130, done.errors
    assert "Traceback" not in done.errors
    assert own_workers() == []
    assert list(temporary.iterdir()) == []
    assert (folder / "report.md").exists()
    assert len(table(folder, "samples")) >= rows


@pytest.mark.usefixtures("undrawn")
def test_interrupts_while_the_report_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one waits until it is written; the second gives it up, and leaves no part of it."""
    folder = write_bundle(tmp_path / "bundle", {"numpy eager": 2.0, "jax compiled": 1.0})
    before = sorted(folder.iterdir())
    interrupts.handle()
    console = Console(file=io.StringIO())
    with monkeypatch.context() as patch:
        interrupted_after(patch, summary, "write", times=2)
        interrupts.handle()
        given_up = pytest.raises(
            KeyboardInterrupt, match="interrupted; everything measured is kept"
        )
        with given_up, interrupts.deferred():
            report.report_run(folder, console)
    assert sorted(folder.iterdir()) == before
    interrupted_after(monkeypatch, summary, "write")
    with pytest.raises(KeyboardInterrupt), interrupts.deferred():
        report.report_run(folder, console)
    assert {"report.md", "report.html"} <= {path.name for path in folder.iterdir()}


# Kills


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["session", "worker"])
@pytest.mark.usefixtures("undrawn")
def test_kills_at_random_moments_lose_nothing(
    victim: str, small: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted, delay = random.randrange(1, 30), random.uniform(0, 0.1)
    killed = Running(tmp_path / "out", *small, "--steps", "500", "--launches", "2")
    try:
        killed.wait_until(lambda run: run.rows() >= wanted)
        time.sleep(delay)
        before = {path: path.read_bytes() for path in killed.folder.glob("*.csv")}
        if victim == "session":
            killed.process.kill()
        else:
            random.choice(workers_of(killed.process.pid)).kill()
        code, printed = killed.finish()
    finally:
        killed.give_up()
    moment = f"killed {delay} s after {wanted} rows: {printed}"
    # A floor that fails is said, but no case has failed.
    of_worker = 0 if "floor failed" in printed else 1
    assert code == (of_worker if victim == "worker" else -9), moment
    assert killed.orphans() == [], moment
    for path, content in before.items():
        after = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        assert after.startswith(whole), moment
        assert after.endswith(b"\n"), moment
        assert len({line.count(b",") for line in after.splitlines()}) == 1 or b'"' in after, moment
    assert run(capsys, "report", killed.folder).code == 0
