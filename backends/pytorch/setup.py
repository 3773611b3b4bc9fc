"""What holds for the whole process: versions, settings, the profiler; and the types of a case."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from backends.contract import Execution


def versions() -> dict[str, str]:
    """The versions of the packages that this backend runs on."""
    return {"torch": torch.__version__}


def configure(execution: Execution) -> None:
    """Set threads and precision, for the whole process."""
    torch.set_num_threads(execution.threads)
    # "highest" is the default, made explicit: float32 on a GPU too, not TF32, which is "high".
    torch.set_float32_matmul_precision("high" if execution.precision == "tf32" else "highest")
    # Tuned mode only. Adam's moments of weights that no longer get a gradient decay to denormal
    # numbers, which a CPU computes slowly: after 600 steps of the tutorial's workload a step took
    # 3.5 ms instead of 2.9. XLA and TensorFlow flush them to zero unasked. Set before the
    # first parallel operation, since threads inherit it when they start.
    torch.set_flush_denormal(execution.mode == "multistep")


@contextmanager
def profiled(folder: Path) -> Iterator[None]:
    """Leave trace.json in the folder, which Perfetto opens."""
    with torch.profiler.profile() as profiler:
        yield
    profiler.export_chrome_trace(str(folder / "trace.json"))


def device_of(execution: Execution) -> torch.device:
    """PyTorch's device of a case."""
    return torch.device("cuda" if execution.device == "gpu" else "cpu")


def product_type(execution: Execution) -> torch.dtype:
    """The type of the factors of a matrix product; TF32 has no type of its own."""
    bfloat16 = execution.precision == "bfloat16"
    return torch.bfloat16 if bfloat16 else getattr(torch, execution.stored)
