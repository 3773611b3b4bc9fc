"""Advice on the failures of a GPU, chosen by the text in which frameworks report them."""

import re
from collections.abc import Mapping

ADVICE = {
    # No GPU, or none that this build of the framework can use.
    r"no kernel image is available|CUDA_ERROR_NO_BINARY_FOR_GPU|not defined for option 'gpu-name'"
    r"|is not compatible with the current PyTorch installation": (
        "this build of the framework has no code for a GPU of this kind: install one that has "
        "(a newer one for a newer GPU)"
    ),
    r"driver on your system is too old|driver version is insufficient|UNSUPPORTED_PTX_VERSION"
    r"|CUDA_ERROR_SYSTEM_DRIVER_MISMATCH": (
        "the driver is older than this build of the framework needs: update the driver, or install "
        "a build for an older CUDA"
    ),
    r"not compiled with CUDA|asked for the gpu, but results lie on the cpu"
    r"|is not in the list of known backends": (
        "install the framework's build for GPUs (README.md says how), see whether nvidia-smi shows "
        "the GPU, or run with --device cpu"
    ),
    r"no NVIDIA driver|No CUDA GPUs are available|CUDA_ERROR_NO_DEVICE|no CUDA-capable device"
    r"|CUDA_ERROR_INVALID_DEVICE|invalid device ordinal": (
        "see whether nvidia-smi shows the GPU and CUDA_VISIBLE_DEVICES leaves it, or run with "
        "--device cpu"
    ),
    r"busy or unavailable|CUDA_ERROR_DEVICE_UNAVAILABLE": (
        "another process has the GPU to itself, or it takes one process alone: workers share it, "
        "which nvidia-smi --compute-mode=DEFAULT allows"
    ),
    # Too full.
    r"CUDA out of memory|CUDA error: out of memory|CUDA_ERROR_OUT_OF_MEMORY|RESOURCE_EXHAUSTED"
    r"|ResourceExhaustedError|OOM when allocating|CUBLAS_STATUS_ALLOC_FAILED": (
        "memory is full: end what else uses it (for a GPU nvidia-smi names that), or ask for less, "
        "by --batch-size, --hidden, or fewer --backends and --modes at a time"
    ),
    # Lost in the middle of something.
    r"unspecified launch failure|illegal memory access|device-side|uncorrectable ECC|GPU is lost"
    r"|fallen off the bus|launch timed out|CUDA_ERROR_|CUDA error": (
        "the GPU has failed in this process; the others go on. Should it come again, look for Xid "
        "in dmesg, and reboot"
    ),
    # What torch.compile builds with, and where it puts that.
    r"Failed to find C compiler|InvalidCxxCompiler|No working C\+\+ compiler": (
        "torch.compile needs a C++ compiler, and on a GPU one of C: install them (g++, gcc), or "
        "leave out the modes of pytorch that compile"
    ),
    r"failed to map segment from shared object": (
        "the folder for temporary files is mounted noexec: set TMPDIR to one that is not"
    ),
    r"found no compiled frames|nothing was compiled, but": (
        "compiling is switched off: unset TORCH_COMPILE_DISABLE, TORCHDYNAMO_DISABLE and "
        "JAX_DISABLE_JIT"
    ),
    r"CppCompileError|C\+\+ compile error": (
        "the C++ compiler fails: see the worker's output in the bundle's logs/, whether CXX and "
        "CXXFLAGS fit, and whether the headers of Python and of the C++ library are installed"
    ),
    r"No space left on device|Disk quota exceeded": (
        "the disk is full: make room, or set TMPDIR to a folder on another one"
    ),
}
"""Advice by the pattern of a failure's text; the first pattern that matches counts."""

ADVISED = " – "
"""What stands between a failure and the advice on it."""


def advised(line: str, text: str = "") -> str:
    """The line that reports a failure, followed by advice where it or `text` matches a pattern."""
    for pattern, advice in ADVICE.items():
        if re.search(pattern, f"{line}\n{text}"):
            return f"{line.rstrip('. ')}{ADVISED}{advice}"
    return line


def together(problems: Mapping[str, str]) -> str:
    """The problems of several cases or backends in one line; what is common is said once.

    Those with the same problem are named together, and those with the same advice stand before it.
    """
    by_problem: dict[str, list[str]] = {}
    for name, problem in problems.items():
        by_problem.setdefault(problem, []).append(name)
    by_advice: dict[str, list[str]] = {}
    for problem, names in by_problem.items():
        what, _, advice = problem.partition(ADVISED)
        by_advice.setdefault(advice, []).append(f"{', '.join(names)}: {what}")
    return "; ".join(
        f"{'; '.join(whats)}{ADVISED if advice else ''}{advice}"
        for advice, whats in by_advice.items()
    )


def failure(error: Exception) -> str:
    """An exception in one line, with advice where there is any."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    name = type(error).__name__
    return advised(f"{name}: {lines[0].strip()}" if lines else name, str(error))
