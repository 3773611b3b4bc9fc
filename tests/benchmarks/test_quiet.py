"""A block starts when no thread of another worker runs any more."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.session import quiet

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone shows threads' states")

SPINS = """
import hashlib, sys, threading, time
def spin(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        hashlib.sha256(bytes(2**20))
for line in sys.stdin:
    # A thread of its own: the process itself sleeps, as a worker does that waits on its pipe.
    threading.Thread(target=spin, args=(float(line),), daemon=True).start()
    print("spins", flush=True)
"""


@contextmanager
def spinning(seconds: float) -> Iterator[int]:
    """The id of a process one of whose threads runs for so long."""
    command = [sys.executable, "-c", SPINS]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        print(seconds, file=process.stdin, flush=True)
        process.stdout.readline()
        yield process.pid
        process.kill()


def test_the_wait_lasts_until_threads_have_stopped() -> None:
    with spinning(0.3) as pid:
        waited = quiet.wait_until_quiet([pid])
    assert waited.running_threads == 0
    assert 0.2 < waited.wait_seconds < quiet.MOST_SECONDS


def test_the_wait_is_bounded_and_says_what_still_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "MOST_SECONDS", 0.05)
    with spinning(60) as pid:
        waited = quiet.wait_until_quiet([pid])
        assert waited.running_threads == 1
        assert waited.wait_seconds < 5
        # Whoever has ended runs no more.
    assert quiet.wait_until_quiet([pid]).running_threads == 0


def test_where_states_are_not_shown_there_is_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "OWN_THREADS", quiet.OWN_THREADS / "no such file")
    assert quiet.wait_until_quiet([1]).running_threads is None
