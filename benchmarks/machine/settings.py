"""The settings of a process: its environment variables, CPUs and parent."""

import contextlib
import ctypes
import os
import re
import signal
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from benchmarks.machine import processor
from benchmarks.privacy import shown

ROOT = Path(__file__).resolve().parents[2]

FRAMEWORK_VARIABLES = re.compile(
    # Libraries of linear algebra and of threads.
    "(ONEDNN|DNNL|MKL|MKLDNN|OPENBLAS|GOTO|BLIS|VECLIB|ACCELERATE|ARMPL|XNNPACK|FBGEMM|LIBXSMM)_"
    "|(OMP|KMP|GOMP|LIBOMP|TBB|CPUINFO|EIGEN)_|(NPY|NUMPY|SCIPY)_|FLEXIBLAS"
    # Memory, the dynamic loader, and what is loaded before everything else.
    "|MALLOC_|MALLOC_CONF$|_RJEM_MALLOC|JEMALLOC|JE_MALLOC|TCMALLOC|MIMALLOC_|GLIBC_TUNABLES$|LD_"
    "|DYLD_|(ASAN|TSAN|UBSAN|LSAN|MSAN)_OPTIONS$|VALGRIND"
    # The frameworks, their compilers, and what these start; other names in TF_ are Terraform's.
    "|ATEN_|C10_|THP_|TORCH|PYTORCH|KINETO_|(AOT_?)?(INDUCTOR|I_RUNTIME)_|PARTITIONER_|FX_|TRITON_"
    "|TF_(?!VAR_|CLI_|TOKEN_|WORKSPACE$|LOG(_PATH|_CORE|_PROVIDER)?$)|TF2_|AUTOGRAPH_|KERAS_|XLA_"
    "|(JAX|JAXLIB|PJRT|LIBTPU|TPU|MOSAIC|FLAX|OPTAX)_|MLIR_|LLVM_|WRAPT_"
    "|ENABLE_PYTORCH_|COMPILE_STROBELIGHT_|TENSORIFY_|DTENSOR_|LTC_|PT2_|HALIDE_"
    "|(AOT_PARTITIONER_DEBUG|DISABLE_DNNL_BACKEND|DISABLE_(LLVM|PTXAS)_OPT)$"
    "|(CC|CXX|CFLAGS|CXXFLAGS|CPPFLAGS|LDFLAGS|CPATH|CPLUS_INCLUDE_PATH)$"
    # GPUs.
    "|CUDA_|NVIDIA_|CUBLAS|CUDNN_|CUFFT_|CUSPARSE|CUTLASS|NCCL_|NVTE_|NVCC_|ENABLE_((PERSISTENT|TEMPLATE)_)?TMA"
    "|CUPTI_|(DISABLE|TEARDOWN)_CUPTI"
    "|(HIP|ROCR|ROCM|HSA)_"
    # Python, and what traces it.
    "|PYTHON|COVERAGE_|COV_CORE_|SCALENE_|VIZTRACER_"
)
"""The beginnings of the environment variables that bear on speed; no other is ever recorded."""

USERS_CACHES = re.compile(
    "JAX_(COMPILATION_CACHE|PERSISTENT_CACHE|RAISE_PERSISTENT_CACHE)|TF_JIT_CACHE_DIR$"
    "|TORCHINDUCTOR_\\w*REMOTE_CACHE$|TORCH_DYNAMO_AUTOMATIC_DYNAMIC_REMOTE_PGO$"
    "|TORCH_COMPILE_STICKY_PGO_|TORCH_COMPILE_JOB_ID$|TRITON_CACHE_MANAGER$|TRITON_REMOTE_CACHE"
)
"""The environment variables that name compilers' caches, or what is kept in them."""

CACHES_IN_FLAGS = re.compile(
    r"(?<!\S)--(tf_xla_persistent_cache\w*|xla_gpu_(per_fusion_autotune_cache_dir|kernel_cache_file"
    r"|experimental_autotune(_cache_mode|r_cache_dir)|(dump|load)_autotune_results\w*))(=\S*|\s|$)"
)
"""The flags of XLA_FLAGS and TF_XLA_FLAGS that name a cache."""

SHARED_GPU = {
    # Processes share the GPU, so memory is taken as needed instead of most of it at the start.
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    # GPUs are numbered as in nvidia-smi and NVML; CUDA's own order begins with the fastest.
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
}
"""Environment variables with which a framework shares the GPU with others."""

SCRATCH = {
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TORCH_EXTENSIONS_DIR": "extensions",
    "TORCH_HOME": "torch",
    "PYTORCH_KERNEL_CACHE_PATH": "kernels",
    "TRITON_HOME": "triton",
    "TRITON_CACHE_DIR": "triton",
    # What CUDA's driver compiles.
    "CUDA_CACHE_PATH": "cuda",
    # Its keras.json can set another type of numbers.
    "KERAS_HOME": "keras",
    "XDG_CACHE_HOME": "cache",
    "XDG_CONFIG_HOME": "config",
}
"""Environment variables that name folders in which frameworks keep what they have compiled, or read
a user's configuration; a worker's lie in its scratch folder."""

SHORT_SPINNING = {
    # A power of two of clock ticks. On 2 cores of an AMD EPYC OpenBLAS' threads run for 9 ms after
    # its last product instead of 106, and its own products take 0.99 of the time. With 20 it
    # is 4 ms, but where there are 4 threads they fall asleep within a step, which takes 5% more.
    "OPENBLAS_THREAD_TIMEOUT": "24",
    # Milliseconds. Intel's and LLVM's OpenMP: 14 ms instead of 204, PyTorch's step as before within
    # the noise of 4%. GNU's spins for 11 ms: with OMP_WAIT_POLICY=passive a step takes 1.4 times as
    # long, so it is left as it is.
    "KMP_BLOCKTIME": "10",
}
"""Environment variables with which threads that wait for work soon fall asleep, unless the user has
set them."""

THREAD_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PJRT_NPROC")
"""Environment variables with the number of threads: BLAS and OpenMP libraries read the first three
when they load, jaxlib the fourth."""

SESSION_PID = "BENCHMARK_SESSION_PID"
"""Environment variable with the session's process id."""


def worker_environment(
    device: str, threads: int, scratch: Path, own: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The environment variables of a worker: what frameworks read when they load, the same for all.

    `device` is "cpu" or "gpu"; compilers keep their caches in `scratch`. `own` are those of one
    case, which come before all others.
    """
    set_by_session = _set_by_session(device, threads, scratch)
    return SHORT_SPINNING | users_settings() | set_by_session | dict(own or {})


def _set_by_session(device: str, threads: int, scratch: Path) -> dict[str, str]:
    """The variables of a worker that the session sets, whatever its user has set."""
    return {
        SESSION_PID: str(os.getpid()),
        **dict.fromkeys(THREAD_COUNTS, str(threads)),
        # A CPU run sees no GPU, so that none is initialised or used by accident.
        **({"CUDA_VISIBLE_DEVICES": "-1"} if device == "cpu" else {}),
        "JAX_PLATFORMS": "cpu" if device == "cpu" else "cuda,cpu",
        "KERAS_BACKEND": "tensorflow",
        **SHARED_GPU,
        # TensorFlow prints errors only, because people see a worker's output when it fails.
        "TF_CPP_MIN_LOG_LEVEL": "2",
        # Compilation is timed, so it starts from an empty cache and happens inside the worker.
        **{name: str(scratch / folder) for name, folder in SCRATCH.items()},
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        # Empty is unset: `python -m` finds this program in the folder that it is started in.
        "PYTHONSAFEPATH": "",
    }


def own_problem(name: str, value: str) -> str:
    """Why a case cannot have this environment variable of its own; empty where it can."""
    if name in THREAD_COUNTS:
        return "follows the number of threads; use threads=N"
    if name == "CUDA_VISIBLE_DEVICES" or name in _set_by_session("cpu", 1, Path()):
        return "is set by the session, alike for all cases"
    if USERS_CACHES.match(name) or CACHES_IN_FLAGS.search(value):
        return "names a compiler's cache, and compilation is timed from an empty one"
    return ""


def users_settings() -> dict[str, str]:
    """The user's environment variables without those that lead to a cache of the user's."""
    settings = {n: value for n, value in os.environ.items() if not USERS_CACHES.match(n)}
    for name in ("XLA_FLAGS", "TF_XLA_FLAGS"):
        if name in settings:
            settings[name] = " ".join(CACHES_IN_FLAGS.sub(" ", settings[name]).split())
    return settings


def framework_variables() -> dict[str, str]:
    """The environment variables that bear on speed, as a bundle may hold them."""
    return {
        name: shown(name, value)
        for name, value in sorted(os.environ.items())
        if FRAMEWORK_VARIABLES.match(name)
    }


@contextlib.contextmanager
def affinity(cpus: Collection[int]) -> Iterator[None]:
    """Bind this thread, and the processes it starts, to these CPUs.

    A child inherits the affinity, so a worker has it before its first instruction. Without CPUs,
    as on systems that have no affinity (macOS), this does nothing.
    """
    if not cpus:
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def available_cpus() -> int:
    """The number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_threads() -> int:
    """The number of threads of each worker where nobody has chosen it."""
    allowed = processor.allowed_cpus()
    return processor.best_threads(allowed) if allowed else available_cpus()


def best_cpus(threads: int) -> tuple[int, ...]:
    """The CPUs for so many threads; none where processes cannot be bound to them (macOS)."""
    return tuple(processor.in_order(processor.allowed_cpus())[:threads])


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
