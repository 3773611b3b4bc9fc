"""The ledger: what a case really did, read back from the live framework, not from what was asked.

A worker reads it beside the certificate; differences.py says where cases differ.
"""

from __future__ import annotations

import os
import platform

import numpy as np

from backends.contract import PRECISIONS, Array, Trainer
from benchmarks.machine.settings import framework_variables

BY_BITS = {about.bits: name for name, about in PRECISIONS.items()}
"""The precision that the bits of a significand behind the point tell."""


def product_bits(trainer: Trainer, stored: str) -> int:
    """The bits behind the point that a product keeps: the largest p with (1 + 2⁻ᵖ) · 1 = 1 + 2⁻ᵖ.

    A product in TF32 keeps 10 where float32 has 23, whatever the settings say, and however it
    rounds.
    """
    dtype = np.dtype(stored)
    exponents = np.arange(1, 65)
    factors = 1 + 2.0**-exponents
    product = trainer.product(np.diag(factors.astype(dtype)), np.eye(len(factors), dtype=dtype))
    found = np.diag(product).astype(np.float64)
    return int(((found == factors) & (found != 1)).sum())


def denormals(trainer: Trainer, stored: str) -> str:
    """Whether a product that is too small for a normal number is kept or is flushed to zero."""
    size = 16
    tiny = np.full((size, size), np.finfo(stored).tiny, stored)
    quarter = np.diag(np.full(size, 0.25, stored))
    return "flushed to zero" if trainer.product(tiny, quarter)[0, 0] == 0 else "kept"


def update_in_memory(trainer: Trainer, rows: Array) -> str:
    """Where one step, of `rows` (1, batch_size), puts the first weight's new values."""
    before = trainer.weight_address()
    trainer.train(rows)
    trainer.synchronise()
    if before is None:
        return "not readable"
    in_place = trainer.weight_address() == before
    return "overwrite the old ones" if in_place else "in memory allocated anew"


def read(trainer: Trainer, stored: str, rows: Array, programs: int) -> dict[str, str]:
    """A case's entries, by the names in ENTRIES; trains one step on `rows` (1, batch_size).

    `stored` is the type of the parameters, `programs` what `compilations` said after the first
    call.
    """
    bits = product_bits(trainer, stored)
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else []
    return {
        **trainer.describe(),
        "product": BY_BITS.get(bits, f"{bits} bits"),
        "denormals": denormals(trainer, stored),
        "parameters": update_in_memory(trainer, rows),
        "programs": str(programs),
        "cpus_allowed": str(len(allowed) or os.cpu_count()),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "variables": " ".join(f"{name}={value}" for name, value in framework_variables().items()),
    }
