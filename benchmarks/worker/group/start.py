"""Starting the ranks of a group, and seeing when one has ended."""

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, Listener
from threading import Thread

from benchmarks.machine.settings import FRAMEWORK_VARIABLES, ROOT
from benchmarks.plan.seats import Seat
from benchmarks.worker.group.follow import address_towards
from benchmarks.worker.group.rank import FreePort, Hello, send_at_once

STRANGERS = 100


class Follower:
    """A rank besides the first: its process, and the connection to it."""

    connection: Connection
    address: str
    pid: int

    def __init__(
        self, number: int, seat: Seat, where: tuple[str, int], key: bytes,
        lost: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.number, self.here, self._lost = number, not seat.launcher, lost
        host, port = where
        python = [sys.executable, "-m", "benchmarks.worker.group", host, str(port)]
        there = [*seat.launcher, "env", f"PYTHONPATH={ROOT}"] if seat.launcher else []
        self._process = subprocess.Popen(
            [*there, *python], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            errors="replace",
        )  # fmt: skip
        variables = {n: v for n, v in os.environ.items() if FRAMEWORK_VARIABLES.match(n)}
        settings = {
            "number": number,
            "key": key.hex(),
            "cpus": seat.cpus,
            "variables": variables | dict(seat.variables),
        }
        assert self._process.stdin, "it is a pipe"
        self._process.stdin.write(json.dumps(settings) + "\n")
        # Left open: a launcher may end what it has started when its input ends.
        self._process.stdin.flush()
        Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        """Wait until the process has ended, and say why."""
        assert self._process.stdout, "it is a pipe"
        said = self._process.stdout.read().splitlines()
        code = self._process.wait()
        how = f"ended with exit code {code}"
        if code < 0:
            how = f"was killed by signal {-code} ({signal.strsignal(-code)})"
        self._lost(f"rank {self.number}: {said[-1]}" if said else f"rank {self.number} {how}")


def accepted(listener: Listener) -> Connection:
    """The connection of the next rank; whoever else calls, and does not know the key, is passed."""
    for _ in range(STRANGERS):
        with suppress(AuthenticationError, EOFError, ConnectionError):
            return listener.accept()
    raise RuntimeError(f"{STRANGERS} calls came from processes that are none of this group")


def start(seats: Sequence[Seat], lost: Callable[[str], None]) -> tuple[list[Follower], FreePort]:
    """Start a rank in each seat, and wait until all have called; also a port of rank 0.

    `lost` is called from another thread with a sentence when one has ended. Objects pass between
    ranks only once both sides have shown that they know the group's key.
    """
    key, host = secrets.token_bytes(32), address_towards(seats[0].host)
    with Listener((host, 0), backlog=len(seats), authkey=key) as listener:
        where = (host, int(listener.address[1]))
        followers = [
            Follower(number, seat, where, key, lost) for number, seat in enumerate(seats, start=1)
        ]
        for _ in followers:
            connection = send_at_once(accepted(listener))
            hello = connection.recv()
            assert isinstance(hello, Hello)
            follower = followers[hello.number - 1]
            follower.connection, follower.pid = connection, hello.pid
            follower.address = hello.address
    return followers, FreePort(host)
