"""JAX: a Flax module and Optax's Adam, from Flax's tutorial to the fastest program known.

The rungs are listed in `ladder.py`; their programs are in `taught.py`, `expert.py` and `limit.py`.
"""

from contextlib import AbstractContextManager
from pathlib import Path

import flax
import jax
import jaxlib
import optax

from backends.contract import Execution, Trainer, TrainerMaker, Training
from backends.jax.expert import Ahead, Compiled, Eager, NNXCached, NNXSplit, Undonated
from backends.jax.floor import Floor
from backends.jax.limit import (
    Handwritten,
    HandwrittenGraph,
    Scan,
    ScanGraph,
    ScanGraphUnrolled,
    ScanUnrolled,
)
from backends.jax.ranks import GROUP_TRAINERS, join, reduction
from backends.jax.taught import NNX, NNXBare, NNXResident

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
    from backends.keras.on_jax import Fit

    return Fit(training, execution)


TRAINERS: dict[str, TrainerMaker] = {
    "nnx": NNX,
    "nnx-resident": NNXResident,
    "nnx-bare": NNXBare,
    "nnx-cached": NNXCached,
    "nnx-split": NNXSplit,
    "compiled-undonated": Undonated,
    "compiled": Compiled,
    "compiled-ahead": Ahead,
    "eager": Eager,
    "scan": Scan,
    "scan-unrolled": ScanUnrolled,
    "scan-graph": ScanGraph,
    "scan-graph-unrolled": ScanGraphUnrolled,
    "handwritten": Handwritten,
    "handwritten-graph": HandwrittenGraph,
    "keras-fit": keras_fit,
}


def versions() -> dict[str, str]:
    """The versions of the packages that this backend runs on."""
    return {package.__name__: package.__version__ for package in (jax, jaxlib, flax, optax)}


def configure(execution: Execution) -> None:
    """Set the device and the precision; the threads follow the process's affinity."""
    # With "cuda" alone, JAX fails without a word where there is no GPU.
    jax.config.update("jax_platforms", "cpu" if execution.device == "cpu" else "cuda,cpu")
    jax.config.update("jax_enable_x64", execution.precision == "float64")
    # Recent GPUs would use TF32 for float32 products unless told otherwise. "tensorfloat32" only
    # allows it, and XLA's own kernels then do not take it; as an algorithm it is what is computed.
    tf32 = execution.precision == "tf32"
    jax.config.update("jax_default_matmul_precision", "TF32_TF32_F32" if tf32 else "highest")


def profiled(folder: Path) -> AbstractContextManager[None]:
    """Leave a trace in the folder, which TensorBoard and Perfetto open."""
    return jax.profiler.trace(str(folder), create_perfetto_trace=True)


def unusable(_device: str) -> dict[str, str]:
    """All modes but `eager`, where jax.jit runs functions operation by operation."""
    seen: list[object] = []
    jax.jit(seen.append)(0.0)
    if isinstance(seen[0], jax.core.Tracer):
        return {}
    reason = "jax.jit is switched off here: unset JAX_DISABLE_JIT"
    return {mode: reason for mode in (*TRAINERS, *GROUP_TRAINERS) if mode != "eager"}
