"""PyTorch: `nn.Module` and `torch.optim.Adam`; ladder.py says what each mode changes."""

import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backends.contract import Execution, Trainer, TrainerMaker, Training
from backends.ladder import FLOOR
from backends.pytorch.expert import (
    Compiled,
    CompiledAdam,
    CompiledFlushed,
    CompiledGather,
    CompiledModule,
    CompiledReduceOverhead,
    OneGraph,
)
from backends.pytorch.floor import Floor
from backends.pytorch.graphed import (
    CudaGraph,
    HandwrittenEpilogues,
    HandwrittenFused,
    HandwrittenGraph,
    HandwrittenStreams,
    StepGraph,
)
from backends.pytorch.limit import (
    Handwritten,
    HandwrittenMM,
    HandwrittenPrivate,
    OneDNN,
)
from backends.pytorch.ranks import GROUP_TRAINERS, join, reduction
from backends.pytorch.taught import Eager, Flushed, Fused, Quickstart

__all__ = [
    "GROUP_TRAINERS",
    "TRAINERS",
    "Floor",
    "configure",
    "join",
    "profiled",
    "reduction",
    "unusable",
    "versions",
]


def keras_fit(training: Training, execution: Execution) -> Trainer:
    """A trainer of `keras-fit`: Keras is imported where it trains, and nowhere else."""
    from backends.keras.on_pytorch import Fit

    return Fit(training, execution)


TRAINERS: dict[str, TrainerMaker] = {
    "quickstart": Quickstart,
    "eager": Eager,
    "fused": Fused,
    "step-graph": StepGraph,
    "eager-flushed": Flushed,
    "keras-fit": keras_fit,
    "compiled": Compiled,
    "compiled-module": CompiledModule,
    "compiled-adam": CompiledAdam,
    "compiled-reduce-overhead": CompiledReduceOverhead,
    "compiled-flushed": CompiledFlushed,
    "compiled-gather": CompiledGather,
    "one-graph": OneGraph,
    "onednn": OneDNN,
    "cuda-graph": CudaGraph,
    "handwritten-graph": HandwrittenGraph,
    "handwritten-streams": HandwrittenStreams,
    "handwritten-epilogues": HandwrittenEpilogues,
    "handwritten-fused": HandwrittenFused,
    "handwritten-mm": HandwrittenMM,
    "handwritten": Handwritten,
    "handwritten-private": HandwrittenPrivate,
}


def versions() -> dict[str, str]:
    """The versions of the packages that this backend runs on."""
    return {"torch": torch.__version__}


def configure(execution: Execution) -> None:
    """Set threads and precision, for the whole process."""
    torch.set_num_threads(execution.threads)
    # "highest" is the default, made explicit: float32 on a GPU too, not TF32, which is "high".
    torch.set_float32_matmul_precision("high" if execution.precision == "tf32" else "highest")
    # Before the first parallel operation, since threads inherit it when they start.
    trainer = (TRAINERS | GROUP_TRAINERS).get(execution.mode)
    flushes = execution.mode == FLOOR or getattr(trainer, "flushes", False)
    torch.set_flush_denormal(flushes)


@contextmanager
def profiled(folder: Path) -> Iterator[None]:
    """Leave trace.json in the folder, which Perfetto opens."""
    with torch.profiler.profile() as profiler:
        yield
    profiler.export_chrome_trace(str(folder / "trace.json"))


def unusable(device: str) -> dict[str, str]:
    """The modes that torch.compile cannot serve here, and why."""
    reason = _not_traced() or _without_compiler(device) or _not_loaded()
    trainers = TRAINERS | GROUP_TRAINERS
    return {mode: reason for mode in trainers if _compiles(trainers[mode])} if reason else {}


def _compiles(trainer: TrainerMaker) -> bool:
    """Whether a mode needs torch.compile."""
    return isinstance(trainer, type) and (
        issubclass(trainer, Compiled) or getattr(trainer, "compiles", False)
    )


def _not_traced() -> str:
    """Why torch.compile leaves functions as they are; empty where it compiles them."""
    traced = []

    def compiler(graph: torch.fx.GraphModule, _: list[Tensor]) -> Any:
        traced.append(graph)
        return graph.forward

    try:
        torch.compile(lambda x: x + 1, backend=compiler)(torch.ones(1))
    except Exception as error:  # whatever it raises, it compiles nothing
        return f"torch.compile does not work here: {type(error).__name__}: {error}".splitlines()[0]
    names = ("TORCH_COMPILE_DISABLE", "TORCHDYNAMO_DISABLE")
    blamed = " and ".join(name for name in names if os.environ.get(name)) or "what disables it"
    return "" if traced else f"torch.compile is switched off here: unset {blamed}"


def _without_compiler(device: str) -> str:
    """Which compiler torch.compile needs and does not find; empty where it finds one."""
    if device == "gpu":
        candidates = (os.environ.get("CC"), "cc", "gcc", "clang")
        found = any(name and shutil.which(name) for name in candidates)
        return "" if found else "torch.compile finds no C compiler: install one, or set CC"
    # Its own search, which a newer version may have elsewhere: then the mode itself finds out.
    try:
        from torch._inductor import cpp_builder, exc

        search, missing = cpp_builder.get_cpp_compiler, exc.InvalidCxxCompiler
    except (ImportError, AttributeError):
        return ""
    try:
        search()
    except (missing, OSError):
        blamed = "CXX names none that works" if os.environ.get("CXX") else "install g++ or clang++"
        return f"torch.compile finds no C++ compiler: {blamed}"
    return ""


def _not_loaded() -> str:
    """Why what torch.compile has built could not be loaded from its cache; empty where it can."""
    cache = Path(os.environ.get("TORCHINDUCTOR_CACHE_DIR", tempfile.gettempdir()))
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=cache) as file:
        file.write(bytes(mmap.PAGESIZE))
        file.flush()
        try:
            mmap.mmap(file.fileno(), mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_EXEC).close()
        except PermissionError:
            return (
                f"torch.compile loads what it builds from {tempfile.gettempdir()}, which is "
                "mounted noexec: set TMPDIR to a folder that is not"
            )
    return ""
