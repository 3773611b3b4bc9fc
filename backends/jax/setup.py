"""What holds for the whole process: versions, settings, the profiler; and the types of a case."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import flax
import jax
import jax.numpy as jnp
import jaxlib
import optax

from backends.contract import Execution


def versions() -> dict[str, str]:
    """The versions of the packages that this backend runs on."""
    packages = (jax, jaxlib, flax, optax)
    return {package.__name__: package.__version__ for package in packages}


def configure(execution: Execution) -> None:
    """Set the device and the precision; the threads follow the process's affinity."""
    # With "cuda" alone, JAX fails without a word where there is no GPU.
    jax.config.update("jax_platforms", "cpu" if execution.device == "cpu" else "cuda,cpu")
    jax.config.update("jax_enable_x64", execution.precision == "float64")
    # Recent GPUs would use TF32 for float32 products unless told otherwise. "tensorfloat32" only
    # allows it, and XLA's own kernels then do not take it; as an algorithm it is what is computed.
    tf32 = execution.precision == "tf32"
    jax.config.update("jax_default_matmul_precision", "TF32_TF32_F32" if tf32 else "highest")


@contextmanager
def profiled(folder: Path) -> Iterator[None]:
    """Leave a trace in the folder, which TensorBoard and Perfetto open."""
    with jax.profiler.trace(str(folder), create_perfetto_trace=True):
        yield


def product_type(execution: Execution) -> jnp.dtype:
    """The type of the factors of a matrix product; TF32 has no type of its own."""
    return jnp.dtype("bfloat16" if execution.precision == "bfloat16" else execution.stored)


def device_of(array: jax.Array) -> str:
    """The device whose memory holds an array: "cpu" or "gpu"."""
    platform = next(iter(array.devices())).platform
    return "gpu" if platform in ("gpu", "cuda") else platform
