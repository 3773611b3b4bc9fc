"""Interrupts wait where something must be finished; temporary folders of the dead are removed."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from benchmarks.errors import UsageError
from benchmarks.machine import interrupts, scratch
from benchmarks.machine.settings import ROOT


@pytest.fixture(autouse=True)
def _handled() -> Iterator[None]:
    before = [signal.signal(one, signal.SIG_DFL) for one in interrupts.SIGNALS]
    interrupts.handle()
    yield
    for one, handler in zip(interrupts.SIGNALS, before, strict=True):
        signal.signal(one, handler)


def interrupt(how: signal.Signals = signal.SIGINT) -> None:
    signal.raise_signal(how)


@pytest.mark.parametrize("how", interrupts.SIGNALS)
def test_an_interrupt_is_raised_at_once(how: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt, match="interrupted"):
        interrupt(how)


def test_a_deferred_interrupt_is_raised_when_the_block_has_ended(
    capfd: pytest.CaptureFixture[str],
) -> None:
    done = []

    def block() -> None:
        with interrupts.deferred("finishing"):
            with interrupts.deferred():
                interrupt(signal.SIGTERM)
                done.append("inner")
            done.append("outer")

    with pytest.raises(KeyboardInterrupt):
        block()
    assert done == ["inner", "outer"]
    assert capfd.readouterr().err == ""


def test_a_second_interrupt_is_not_deferred(capfd: pytest.CaptureFixture[str]) -> None:
    done = []

    def block() -> None:
        with interrupts.deferred("finishing"):
            interrupt()
            done.append(1)
            interrupt()
            done.append(2)

    with pytest.raises(KeyboardInterrupt):
        block()
    assert done == [1]
    assert capfd.readouterr().err == "finishing\n"


def test_where_it_is_allowed_an_interrupt_is_raised_once() -> None:
    done = []

    def block() -> None:
        with interrupts.deferred():
            with suppress(KeyboardInterrupt), interrupts.allowed():
                interrupt()
                done.append("not reached")
            # Handling it is not interrupted in its turn.
            interrupt()
            done.append("handled")
            with interrupts.allowed():
                done.append("not reached")

    with pytest.raises(KeyboardInterrupt):
        block()
    assert done == ["handled"]


LEAVES_A_FOLDER = """
import os
from benchmarks.machine import scratch
with scratch.folder() as folder:
    (folder / "cache").mkdir()
    print(folder, flush=True)
    os._exit(0)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_folder_of_a_killed_process_is_removed_at_the_next_start(temporary: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEAVES_A_FOLDER], cwd=ROOT, capture_output=True, text=True,
        env={"TMPDIR": str(temporary)}, check=True,
    )  # fmt: skip
    left = Path(done.stdout.strip())
    assert (left / "cache").is_dir()
    with scratch.folder() as first, scratch.folder() as second:
        assert not left.exists()
        # Those of processes that live stay.
        assert sorted(temporary.iterdir()) == sorted([first, second])
    assert list(temporary.iterdir()) == []


@pytest.mark.usefixtures("temporary")
def test_a_new_folder_that_another_start_removes_is_made_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another process may take it for one left behind, in the moment before it is locked."""
    make, made = tempfile.mkdtemp, []

    def mkdtemp(**place: Any) -> str:
        made.append(make(**place))
        if len(made) == 1:
            Path(made[0]).rmdir()
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", mkdtemp)
    with scratch.folder() as folder:
        assert [str(folder)] == made[1:]
        assert folder.is_dir()


def test_what_is_no_folder_of_this_program_is_not_removed(temporary: Path) -> None:
    others = temporary / "others"
    (others / "kept").mkdir(parents=True, mode=0o700)
    others.chmod(0o700)
    (temporary / f"{scratch.PREFIX}link").symlink_to(others)
    (temporary / f"{scratch.PREFIX}shared").mkdir(mode=0o755)
    (temporary / f"{scratch.PREFIX}file").touch(mode=0o700)
    before = sorted(temporary.iterdir())
    with scratch.folder():
        pass
    assert sorted(temporary.iterdir()) == before
    assert (others / "kept").is_dir()


def test_without_a_place_for_temporary_files_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(UsageError, match="TMPDIR"), scratch.folder():
        pass
