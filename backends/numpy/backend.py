"""NumPy: the training written out by hand.

It is the reference: run in float64, it says what every other backend must compute. It is also timed
like the others, to show how long a step takes without a framework, with one BLAS call a product.
"""

import numpy as np

from backends.contract import Execution, Trainer
from backends.numpy.floor import Floor
from backends.numpy.ranks import join, reduction
from backends.numpy.taught import Eager

__all__ = [
    "TRAINERS",
    "Eager",
    "Floor",
    "configure",
    "join",
    "profiled",
    "reduction",
    "versions",
]

TRAINERS: dict[str, type[Trainer]] = {"eager": Eager}


def versions() -> dict[str, str]:
    """The versions of the packages that this backend runs on."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {"numpy": np.__version__, "blas": f"{blas['name']} {blas['version']}"}


def configure(execution: Execution) -> None:
    """Set nothing: the BLAS reads its number of threads from the environment when it loads."""


profiled = None  # NumPy has no profiler of its own.
