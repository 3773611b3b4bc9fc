"""A worker as the session sees it: started, asked, and ended whatever happens.

Each worker leads a process group of its own, so that ending it ends the compilers it has started
too, and Ctrl-C in the terminal reaches the session alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any

from benchmarks.machine.advice import advised
from benchmarks.worker.messages import Answer, Failure, FloorJob, Job

ROOT = Path(__file__).resolve().parents[2]

END_SECONDS = 10.0
"""How long a worker that was killed may take to be gone."""
LAST_LINES = 10

PREFIXES = (
    "OMP_",
    "OPENBLAS_",
    "PJRT_",
    "MKL_",
    "KMP_",
    "XLA_",
    "TF_ENABLE_",
    "TF_FORCE_",
    "TF_GPU_",
    "TF_NUM_",
    "TF_XLA_",
    "JAX_",
    "TORCH",
    "PYTORCH_",
    "CUDA_",
    "NVIDIA_",
)
"""How the environment variables begin that frameworks heed."""


SHARED_GPU = {
    # Processes share the GPU: memory is taken as needed, not most of it at start.
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    # As nvidia-smi and NVML number them; CUDA's own order begins with the fastest.
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
}
"""What a framework heeds that is to share the GPU with others."""


SESSION = "BENCHMARK_SESSION_PID"
"""The variable that tells a worker whose it is."""


class WorkerError(Exception):
    """A worker has failed; the message says how, in one line."""


def worker_environment(device: str, threads: int, scratch: Path) -> dict[str, str]:
    """The environment of a worker: what a framework reads when it loads, set alike for all."""
    count = str(threads)
    return os.environ | {
        SESSION: str(os.getpid()),
        # BLAS and OpenMP libraries read these when they load; jaxlib reads PJRT_NPROC.
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "PJRT_NPROC": count,
        # A CPU run sees no GPU, so that nothing of it is initialised or used by accident.
        **({"CUDA_VISIBLE_DEVICES": "-1"} if device == "cpu" else {}),
        "JAX_PLATFORMS": "cpu" if device == "cpu" else "cuda,cpu",
        "KERAS_BACKEND": "tensorflow",
        **SHARED_GPU,
        # Errors only: what a worker prints is shown to people when it fails.
        "TF_CPP_MIN_LOG_LEVEL": "2",
        # Compilation is timed: it starts from an empty cache, and happens inside the worker.
        "TORCHINDUCTOR_CACHE_DIR": str(scratch / "inductor"),
        "TRITON_CACHE_DIR": str(scratch / "triton"),
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }


def framework_variables() -> dict[str, str]:
    """The environment variables that frameworks heed; not where they keep their files."""
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith(PREFIXES) and not name.endswith("_DIR")
    }


@contextlib.contextmanager
def affinity(threads: int) -> Iterator[None]:
    """Bind this thread, and what it starts meanwhile, to the first `threads` allowed CPUs.

    Children inherit an affinity, so a worker has its own before its first instruction.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:threads])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def available_cpus() -> int:
    """The CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def die_with_parent() -> None:
    """Ask the kernel to end this process when the session's ends, however that comes.

    One whose session has ended already belongs to process 1, unless that is the session, as in a
    container.
    """
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() == 1 and os.environ.get(SESSION) != "1":
        sys.exit("the session has ended")


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
