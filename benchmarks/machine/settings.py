"""The settings of a process: its environment variables, CPUs and parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

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
