"""A worker process as the session sees it: started, asked, and ended whatever happens.

Each worker leads a process group of its own, so that ending it also ends the compilers it has
started, and Ctrl-C in the terminal reaches the session alone.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Collection
from multiprocessing.connection import Pipe, wait
from pathlib import Path

from benchmarks.machine import interrupts
from benchmarks.machine.advice import advised
from benchmarks.machine.settings import ROOT, affinity
from benchmarks.worker.messages import Answer, Failure, Request

END_SECONDS = 10.0
"""How long to wait for a killed worker to disappear."""
LAST_LINES = 10
"""The lines of a dead worker's output in which advice on its failure is looked for."""


class WorkerError(Exception):
    """A worker has failed; the message says how, in one line."""


class WorkerProcess:
    """One worker process, its pipe, and the file that holds what it prints."""

    def __init__(
        self,
        *,
        log: Path,
        environment: dict[str, str],
        cpus: Collection[int],
        python: str = sys.executable,
    ) -> None:
        self._log = log
        self._sees_gpu = environment.get("CUDA_VISIBLE_DEVICES") != "-1"
        self._connection, workers_end = Pipe()
        with log.open("ab") as output, affinity(cpus):
            self._process = subprocess.Popen(
                [python, "-m", "benchmarks.worker", str(workers_end.fileno())],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(workers_end.fileno(),),
                start_new_session=True,
            )
        workers_end.close()

    @property
    def pid(self) -> int:
        """The process id of the worker."""
        return self._process.pid

    def ask(self, request: Request[Answer], timeout: float) -> Answer:
        """Send a request and wait for its answer.

        Raises WorkerError if the worker reports a failure, ends, or takes longer than `timeout`
        seconds.
        """
        # A timer, because sending may block for ever too: a worker can hang before it reads.
        late = threading.Timer(timeout, self.kill)
        late.daemon = True
        late.start()
        try:
            with interrupts.allowed():
                # A group that has lost a rank says so and ends without being asked.
                with contextlib.suppress(BrokenPipeError):
                    self._connection.send(request)
                wait([self._connection])
            # What has been measured is received even where an interrupt comes now.
            answer: Answer | Failure = self._connection.recv()
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
        killed = f"killed by signal {-code} ({signal.strsignal(-code)})" if code < 0 else ""
        how = killed or f"ended with exit code {code}"
        # A library that ends its process says why in the last lines that it prints.
        last = "\n".join(self.output().splitlines()[-LAST_LINES:]) if self._sees_gpu else ""
        return advised(how, last)

    def output(self) -> str:
        """Everything the worker has printed so far; empty where it cannot be read."""
        try:
            return self._log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def end(self) -> None:
        """Hang up and end the worker's whole group."""
        self._connection.close()
        self.kill()
        # A process that hangs in the driver of a lost GPU does not end even when killed.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=END_SECONDS)

    def kill(self) -> None:
        """End the worker and everything it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
