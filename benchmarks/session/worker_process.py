"""A worker as the session sees it: started, asked, and ended whatever happens.

Each worker leads a process group of its own, so that ending it ends the compilers it has started
too, and Ctrl-C in the terminal reaches the session alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any

from benchmarks.machine.advice import advised
from benchmarks.machine.settings import ROOT, affinity
from benchmarks.worker.messages import Answer, Failure, FloorJob, Job

END_SECONDS = 10.0
"""How long a worker that was killed may take to be gone."""
LAST_LINES = 10


class WorkerError(Exception):
    """A worker has failed; the message says how, in one line."""


class WorkerProcess:
    """One worker process, its pipe, and the file that holds what it prints."""

    def __init__(
        self,
        *,
        log: Path,
        environment: dict[str, str],
        threads: int,
        python: str = sys.executable,
    ) -> None:
        self._log = log
        self._sees_gpu = environment.get("CUDA_VISIBLE_DEVICES") != "-1"
        self._connection, theirs = Pipe()
        command = [python, "-m", "benchmarks.worker", str(theirs.fileno())]
        with log.open("ab") as output, affinity(threads):
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        theirs.close()

    @property
    def pid(self) -> int:
        """The worker's process id, which is its process group's too."""
        return self._process.pid

    def ask(self, request: Job | FloorJob | str, timeout: float) -> Any:
        """Send a request and wait for its answer.

        Raises WorkerError where the worker reports a failure, ends, or takes longer than
        `timeout` seconds.
        """
        # A timer, since sending too must not wait for ever: the worker may hang before it reads.
        late = threading.Timer(timeout, self._kill)
        late.daemon = True
        late.start()
        try:
            self._connection.send(request)
            answer: Answer = self._connection.recv()
        except (EOFError, OSError):
            if late.finished.is_set():
                raise WorkerError(f"no answer within {timeout:.0f} s") from None
            raise WorkerError(self._how_it_ended()) from None
        finally:
            late.cancel()
        if isinstance(answer, Failure):
            raise WorkerError(answer.message)
        return answer

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "closed its pipe without ending"
        if code == -signal.SIGKILL:
            return "killed by signal 9 (the system does this where memory runs out)"
        if code < 0:
            how = f"killed by signal {-code} ({signal.strsignal(-code)})"
        else:
            how = f"ended with exit code {code}"
        # A library that ends its process says why in the last lines that it prints.
        last = "\n".join(self.output().splitlines()[-LAST_LINES:]) if self._sees_gpu else ""
        return advised(how, last)

    def output(self) -> str:
        """What the worker has printed so far."""
        return self._log.read_text(errors="replace")

    def end(self, grace: float = 0.0) -> None:
        """Hang up, wait `grace` seconds for the worker to leave, then end its whole group."""
        self._connection.close()
        if grace:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=grace)
        self._kill()
        # One that hangs in the driver of a lost GPU does not end even so.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=END_SECONDS)

    def _kill(self) -> None:
        """End the worker and whatever it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
