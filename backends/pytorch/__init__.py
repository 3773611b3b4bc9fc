"""PyTorch: `nn.Sequential` and `torch.optim.Adam`.

`eager` is the loop of PyTorch's own tutorial, `compiled` puts the model and its loss through
`torch.compile`, and `multistep` the gather and the derivative as well, with products by oneDNN on a
CPU, and with many steps, optimizer included, in one CUDA graph on a GPU.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from backends.contract import Execution, Trainer
from backends.pytorch.floor import Floor
from backends.pytorch.idiomatic import Compiled, Eager
from backends.pytorch.tuned import MultiStep

__all__ = ["TRAINERS", "Floor", "configure", "profiled", "versions"]

TRAINERS: dict[str, type[Trainer]] = {"eager": Eager, "compiled": Compiled, "multistep": MultiStep}


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
