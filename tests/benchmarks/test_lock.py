"""One run at a time on a machine: a second one is refused, or waits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.errors import UsageError
from benchmarks.machine import lock, probe
from benchmarks.machine.settings import ROOT
from tests.support.runs import Running, run, workers_of

HOLD = """
from benchmarks.machine import lock
with lock.held(wait={wait}, say=print):
    print("held", flush=True)
    input()
"""


class Holder:
    """Another process that holds the lock until it is told to end, or killed."""

    def __init__(self, wait: bool = False) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, "-uc", HOLD.format(wait=wait)],
            cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip

    def line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of this test's own for the lock."""
    monkeypatch.setenv(lock.FOLDER, str(tmp_path))
    return tmp_path


@pytest.fixture
def holder() -> Iterator[Holder]:
    """A process that holds the lock."""
    process = Holder()
    assert process.line() == "held"
    yield process
    process.process.kill()
    process.process.communicate()


def is_free() -> bool:
    said: list[str] = []
    try:
        with lock.held(wait=False, say=said.append):
            assert said == []
            return True
    except UsageError:
        return False


@pytest.mark.parametrize("command", [[], ["certify"], ["sweep"]], ids=str)
def test_commands_that_measure_are_refused_beside_a_run(
    command: list[str],
    holder: Holder,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At once: no framework is probed."""
    monkeypatch.delattr(probe, "probe_all")
    done = run(capsys, *command)
    assert done.code == 2
    assert done.output == ""
    assert done.errors == (
        "run_all.py: another run is measuring on this machine (process "
        f"{holder.process.pid}); --wait starts this one when it has ended"
    )


def test_other_commands_are_not(holder: Holder, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "list", "numpy").code == 0
    assert holder.process.poll() is None


@pytest.mark.usefixtures("undrawn")
def test_a_run_waits_for_the_end_of_another(
    holder: Holder, small: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended: list[float] = []

    def end() -> None:
        ended.append(time.time())
        holder.process.communicate("\n")

    later = threading.Timer(0.5, end)
    later.start()
    done = run(
        capsys, *small, "--steps", "50", "--launches", "1", "--wait", "--output", tmp_path / "out"
    )
    assert done.code == 0, done.errors
    pid = holder.process.pid
    waiting = f"waiting for the end of another run on this machine (process {pid})"
    assert done.output.startswith(waiting)
    assert ended[0] < (tmp_path / "out" / "samples.csv").stat().st_mtime
    assert is_free()


def test_waiting_can_be_interrupted(holder: Holder, small: tuple[str, ...], tmp_path: Path) -> None:
    waiting = Running(tmp_path / "out", *small, "--wait")
    try:
        assert waiting.process.stdout
        assert str(holder.process.pid) in waiting.process.stdout.readline()
        waiting.process.send_signal(signal.SIGINT)
        code, printed = waiting.finish()
    finally:
        waiting.give_up()
    assert (code, printed) == (130, "run_all.py: interrupted\n")
    assert not (tmp_path / "out").exists()


def test_a_killed_run_leaves_nothing_behind(holder: Holder) -> None:
    assert not is_free()
    holder.process.kill()
    holder.process.wait()
    assert is_free()


def test_a_run_that_is_measuring_holds_the_lock_and_its_workers_do_not(
    small: tuple[str, ...], tmp_path: Path
) -> None:
    running = Running(tmp_path / "out", *small, "--steps", "100000", "--launches", "1")
    try:
        running.wait_until(lambda one: one.rows() > 0)
        assert not is_free()
        locked = (tmp_path / lock.FILE).stat().st_ino
        workers = workers_of(running.process.pid)
        assert len(workers) == 3
        for worker in workers:
            descriptors = Path(f"/proc/{worker.pid}/fd").iterdir()
            assert locked not in [one.stat().st_ino for one in descriptors if one.exists()]
        running.process.kill()
        running.process.wait()
        assert is_free()
    finally:
        running.give_up()


def test_a_program_that_is_started_does_not_inherit_the_lock() -> None:
    with lock.held(wait=False, say=print):
        other = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        assert is_free()
    finally:
        other.kill()
        other.wait()


def test_any_user_can_open_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    umask = os.umask(0o077)
    assert is_free()
    os.umask(umask)
    assert (folder / lock.FILE).stat().st_mode & 0o777 == 0o644
    # As Linux has it where the file is another user's, in a folder such as /tmp.
    opened = os.open

    def protected(path: Path, flags: int, *mode: int) -> int:
        if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR) and Path(path).exists():
            raise PermissionError
        return opened(path, flags, *mode)

    monkeypatch.setattr(os, "open", protected)
    assert is_free()


@pytest.mark.parametrize("place", ["missing", "link"])
def test_without_a_place_for_it_a_run_goes_on(
    place: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place == "missing":
        monkeypatch.setenv(lock.FOLDER, str(folder / "missing"))
    else:
        (folder / "elsewhere").touch()
        (folder / lock.FILE).symlink_to(folder / "elsewhere")
    said: list[str] = []
    with lock.held(wait=False, say=said.append):
        pass
    assert len(said) == 1
    assert said[0].startswith("note: nothing keeps another run from starting beside this one (")
