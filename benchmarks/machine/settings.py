"""The settings of a process: its environment variables, CPUs and parent."""

import contextlib
import ctypes
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

FRAMEWORK_VARIABLES = re.compile(
    "(OMP|OPENBLAS|PJRT|MKL|KMP|XLA|TF_(ENABLE|FORCE|GPU|NUM|XLA)|JAX|PYTORCH|CUDA|NVIDIA)_|TORCH"
)
"""The beginnings of environment variables that the frameworks read."""

SHARED_GPU = {
    # Processes share the GPU, so memory is taken as needed instead of most of it at the start.
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    # GPUs are numbered as in nvidia-smi and NVML; CUDA's own order begins with the fastest.
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
}
"""Environment variables with which a framework shares the GPU with others."""

SESSION_PID = "BENCHMARK_SESSION_PID"
"""Environment variable with the session's process id."""


def worker_environment(device: str, threads: int, scratch: Path) -> dict[str, str]:
    """The environment variables of a worker: what frameworks read when they load, the same for all.

    `device` is "cpu" or "gpu"; compilers keep their caches in `scratch`.
    """
    # BLAS and OpenMP libraries read the first three when they load, jaxlib the fourth.
    counts = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PJRT_NPROC")
    return os.environ | {
        SESSION_PID: str(os.getpid()),
        **dict.fromkeys(counts, str(threads)),
        # A CPU run sees no GPU, so that none is initialised or used by accident.
        **({"CUDA_VISIBLE_DEVICES": "-1"} if device == "cpu" else {}),
        "JAX_PLATFORMS": "cpu" if device == "cpu" else "cuda,cpu",
        "KERAS_BACKEND": "tensorflow",
        **SHARED_GPU,
        # TensorFlow prints errors only, because people see a worker's output when it fails.
        "TF_CPP_MIN_LOG_LEVEL": "2",
        # Compilation is timed, so it starts from an empty cache and happens inside the worker.
        "TORCHINDUCTOR_CACHE_DIR": str(scratch / "inductor"),
        "TRITON_CACHE_DIR": str(scratch / "triton"),
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        # Empty is unset: `python -m` finds this program in the folder that it is started in.
        "PYTHONSAFEPATH": "",
    }


def framework_variables() -> dict[str, str]:
    """The environment variables that frameworks obey, without those that name folders."""
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if FRAMEWORK_VARIABLES.match(name) and not name.endswith("_DIR")
    }


@contextlib.contextmanager
def affinity(threads: int) -> Iterator[None]:
    """Bind this thread, and the processes it starts, to the first `threads` allowed CPUs.

    A child inherits the affinity, so a worker has it before its first instruction. On systems
    without affinity (macOS) this does nothing.
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
    """The number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def die_with_parent() -> None:
    """Ask the kernel to end this process when the session's process ends, for whatever reason.

    Ends it at once if the session has ended already: then the parent is process 1, unless that is
    the session itself, as in a container.
    """
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() == 1 and os.environ.get(SESSION_PID) != "1":
        sys.exit("the session has ended")
