"""The ledger: what a case really did, read back from the live framework and not from the request.

A worker reads it beside the certificate; analysis/ledger_differences.py says where cases differ.
"""

from dataclasses import asdict

import numpy as np

from backends.contract import PRECISIONS, Array, Description, Trainer
from benchmarks.machine import process, processor
from benchmarks.machine.settings import available_cpus, framework_variables
from benchmarks.schema import CODE_LINES
from benchmarks.worker.code_lines import code_lines
from benchmarks.worker.group.leader import GroupTrainer

UNKNOWN = "unknown"
"""The value of an entry that the system does not show."""

BY_BITS = {about.bits: name for name, about in PRECISIONS.items()}
"""The precision of a product, by the stored bits of its factors' significand."""
SIZE = 512
"""Of the matrices that show it: smaller ones cuBLAS multiplies in float32 where TF32 is allowed."""


def product_bits(trainer: Trainer, stored: str) -> int:
    """The significand bits that a product keeps: the largest p with (1 + 2⁻ᵖ) · 1 = 1 + 2⁻ᵖ.

    A product in TF32 keeps 10 where float32 has 23, whatever the settings say, and however it
    rounds.
    """
    dtype = np.dtype(stored)
    exponents = np.arange(1, 65)
    factors = np.resize(1 + 2.0**-exponents, SIZE)
    product = trainer.product(np.diag(factors.astype(dtype)), np.eye(SIZE, dtype=dtype))
    kept = np.diag(product).astype(np.float64)
    return int(((kept == factors) & (kept != 1))[: len(exponents)].sum())


def denormals(trainer: Trainer, stored: str) -> str:
    """Say whether a product too small for a normal number is kept or flushed to zero."""
    size = 16
    tiny = np.full((size, size), np.finfo(stored).tiny, stored)
    quarter = np.diag(np.full(size, 0.25, stored))
    return "flushed to zero" if trainer.product(tiny, quarter)[0, 0] == 0 else "kept"


def update_in_memory(trainer: Trainer, rows: Array) -> str:
    """Say where one step, of `rows` (1, batch_size), puts the first weight's new values."""
    before = trainer.weight_address()
    trainer.train(rows)
    trainer.synchronise()
    if before is None:
        return "not readable"
    in_place = trainer.weight_address() == before
    return "overwrite the old ones" if in_place else "in memory allocated anew"


def lines_of(trainer: Trainer) -> str:
    """How many lines of code train, where the source can be read."""
    try:
        own = trainer.own if isinstance(trainer, GroupTrainer) else trainer
        return str(code_lines(type(own)))
    except (OSError, ImportError, SyntaxError, TypeError):
        return UNKNOWN


def described(description: Description) -> dict[str, str]:
    """The entries that a trainer's description has, as text."""
    entries = {name: str(value) for name, value in asdict(description).items()}
    form = entries.pop("adam_form")
    return entries | {"epsilon": f"{description.epsilon:g} ({form})"}


def libraries_of(products: dict[str, str]) -> dict[str, str]:
    """The entry of the libraries that were chosen for products: "mkl: forward 1, weights 1"."""
    by_library: dict[str, list[str]] = {}
    for product, library in products.items():
        by_library.setdefault(library, []).append(product)
    text = "; ".join(f"{library}: {', '.join(names)}" for library, names in by_library.items())
    return {"products": text} if text else {}


def numpy_instructions() -> str:
    """The newest groups of vector instructions that NumPy has found and may use."""
    try:
        found = np.show_config(mode="dicts")["SIMD Extensions"]
        return " ".join(found.get("found") or found["baseline"])
    except Exception:  # no part of NumPy's promises
        return UNKNOWN


def of_process() -> dict[str, str]:
    """What this process runs on, once the framework has loaded its libraries."""
    cpus = processor.allowed_cpus()
    return {
        "cpus_allowed": str(available_cpus()),
        "cores": str(processor.cores(cpus) or UNKNOWN),
        "cpu_quota": processor.quota() or UNKNOWN,
        "governor": processor.governor(cpus) or UNKNOWN,
        "priority": process.priority(),
        "python": process.python(),
        "python_state": process.python_state(),
        "numpy": np.__version__,
        "numpy_instructions": numpy_instructions(),
        "thread_pools": process.thread_pools(),
        "libraries": process.libraries(),
        "variables": " ".join(f"{name}={value}" for name, value in framework_variables().items()),
    }


def read(trainer: Trainer, stored: str, rows: Array, programs: int) -> dict[str, str]:
    """A case's entries, by the names in ENTRIES; trains one step on `rows` (1, batch_size).

    `stored` is the type of the parameters, `programs` the number of compilations after the first
    call.
    """
    bits = product_bits(trainer, stored)
    return {
        **described(trainer.describe()),
        **libraries_of(trainer.products()),
        "product": BY_BITS.get(bits, f"{bits} bits"),
        "denormals": denormals(trainer, stored),
        "parameters": update_in_memory(trainer, rows),
        "programs": str(programs),
        CODE_LINES: lines_of(trainer),
        **of_process(),
    }
