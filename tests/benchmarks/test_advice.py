"""The errors that frameworks raise when a GPU fails are given the advice that fits."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.machine.advice import advised, failure, together
from benchmarks.machine.settings import worker_environment
from benchmarks.session.worker_process import WorkerError, WorkerProcess
from benchmarks.worker.messages import TakeReading
from tests.support.workers import executable

FAILURES = {
    # PyTorch
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.11 GiB of "
    "which 1.19 GiB is free. Process 1234 has 77.91 GiB memory in use.": "memory is full",
    "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other "
    "API call, so the stacktrace below might be incorrect.": "memory is full",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`": "memory is full",
    "CUDA error: an illegal memory access was encountered\nFor debugging consider passing "
    "CUDA_LAUNCH_BLOCKING=1": "has failed",
    "CUDA error: unspecified launch failure": "has failed",
    "CUDA error: device-side assert triggered": "has failed",
    "CUDA error: uncorrectable ECC error encountered": "has failed",
    "CUDA error: no kernel image is available for execution on the device\nCompile with "
    "`TORCH_USE_CUDA_DSA` to enable device-side assertions.": "GPU of this kind",
    "CUDA error: CUDA-capable device(s) is/are busy or unavailable": "--compute-mode=DEFAULT",
    "CUDA error: invalid device ordinal": "nvidia-smi shows",
    "Torch not compiled with CUDA enabled": "build for GPUs",
    "No CUDA GPUs are available": "nvidia-smi shows",
    "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and installed "
    "a driver from http://www.nvidia.com/Download/index.aspx": "nvidia-smi shows",
    "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU "
    "driver": "update the driver",
    "Failed to find C compiler. Please specify via CC environment variable or set triton.knobs."
    "build.impl.": "install them",
    "InvalidCxxCompiler: No working C++ compiler found in torch._inductor.config.cpp.cxx: (None, "
    "'g++')": "needs a C++ compiler",
    "/tmp/x/main.so: failed to map segment from shared object": "set TMPDIR",
    "torch.compile with fullgraph=True found no compiled frames. Skipped frames:": "unset TORCH_",
    "nothing was compiled, but jax.jit: whole step was asked for": "JAX_DISABLE_JIT",
    # XLA, by JAX and TensorFlow
    "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 17179869184 bytes": "is full",
    "INTERNAL: Failed to load in-memory CUBIN: CUDA_ERROR_NO_BINARY_FOR_GPU: no kernel image is "
    "available for execution on the device": "GPU of this kind",
    "INTERNAL: ptxas exited with non-zero error code 65280, output: ptxas fatal   : Value 'sm_120' "
    "is not defined for option 'gpu-name'": "GPU of this kind",
    "INTERNAL: CUDA error: Failed to synchronize: CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory "
    "access was encountered": "has failed",
    "INTERNAL: CUDA error: Could not synchronize on CUDA stream: CUDA_ERROR_LAUNCH_FAILED: "
    "unspecified launch failure": "has failed",
    "Unable to initialize backend 'cuda': INTERNAL: no supported devices found for platform CUDA: "
    "CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected": "nvidia-smi shows",
    "Unable to initialize backend 'cuda': Backend 'cuda' is not in the list of known backends: "
    "['cpu', 'tpu']. (set JAX_PLATFORMS='' to automatically choose)": "build for GPUs",
    "INTERNAL: CUDA error: Failed to load PTX: CUDA_ERROR_UNSUPPORTED_PTX_VERSION: the provided "
    "PTX was compiled with an unsupported toolchain.": "update the driver",
    # TensorFlow
    "{{function_node __wrapped__MatMul_device_/job:localhost/replica:0/task:0/device:GPU:0}} OOM "
    "when allocating tensor with shape[65536,65536] and type float on /job:localhost/replica:0/"
    "task:0/device:GPU:0 by allocator GPU_0_bfc [Op:MatMul] name: ": "memory is full",
    # The project's own
    "asked for the gpu, but results lie on the cpu": "build for GPUs",
}


@pytest.mark.parametrize("text", FAILURES, ids=lambda text: text[:40])
def test_a_failure_has_its_advice_in_one_line(text: str) -> None:
    line = failure(RuntimeError(text))
    assert line.startswith(f"RuntimeError: {text.splitlines()[0].strip('. ')}")
    assert "\n" not in line
    assert FAILURES[text] in line.split(" – ")[1]


@pytest.mark.parametrize(
    "text",
    [
        "shapes (3,4) and (5,6) not aligned: 4 (dim 1) != 5 (dim 0)",
        "Unable to allocate 3.2 GiB for an array with shape (55000, 784) and data type float64",
        "",
    ],
)
def test_other_failures_are_left_as_they_are(text: str) -> None:
    assert failure(ValueError(text)) == (f"ValueError: {text}" if text else "ValueError")


def test_what_a_failure_says_further_down_counts_too() -> None:
    assert "memory is full" in failure(RuntimeError("the step failed\nCUDA out of memory."))


DIES = "import os; print({text!r}, flush=True); os.abort()"


@pytest.mark.parametrize(("device", "advice"), [("gpu", True), ("cpu", False)])
def test_a_worker_that_its_library_ends_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, advice: bool
) -> None:
    """XLA ends its process if it sees a GPU's error late; on a CPU the message means nothing."""
    text = "F0000 cuda_timer.cc:87] CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access"
    command = f"exec {sys.executable} -c {DIES.format(text=text)!r}"
    python = executable(tmp_path / "python", command)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    worker = WorkerProcess(
        log=tmp_path / "log",
        environment=worker_environment(device, 1, tmp_path),
        cpus=(),
        python=str(python),
    )
    with pytest.raises(WorkerError) as error:
        worker.ask(TakeReading(), 30)
    worker.end()
    assert "killed by signal 6" in str(error.value)
    assert ("the GPU has failed" in str(error.value)) == advice


def test_a_common_problem_and_common_advice_are_said_once() -> None:
    problems = {
        "pytorch": "sees no GPU (torch 2) – run with --device cpu",
        "jax": "sees no GPU (jax 1) – run with --device cpu",
        "numpy": "does not compute on a GPU",
        "fifth": "does not compute on a GPU",
    }
    assert together(problems) == (
        "pytorch: sees no GPU (torch 2); jax: sees no GPU (jax 1) – run with --device cpu; "
        "numpy, fifth: does not compute on a GPU"
    )


def test_advice_does_not_depend_on_the_line_alone() -> None:
    assert advised("ended with exit code 1", "RESOURCE_EXHAUSTED: Out of memory").startswith(
        "ended with exit code 1 – memory is full"
    )
