"""The ledger: what it reads from a trainer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backends.contract import Array, Parameters
from backends.numpy.backend import Eager
from backends.registry import BACKENDS
from benchmarks.schema import ENTRIES
from benchmarks.worker import ledger
from tests.conftest import STANDING_MODES, Problem, configured
from tests.support.contract_checks import make


def trainer_of(name: str, mode: str, problem: Problem) -> Any:
    input_ = BACKENDS[name].modes[mode].inputs[0]
    return make(configured(name).TRAINERS[mode], problem, mode, input_)


@pytest.mark.parametrize(("name", "mode"), STANDING_MODES)
def test_every_entry_is_read(name: str, mode: str, problem: Problem) -> None:
    trainer = trainer_of(name, mode, problem)
    rows = problem.rows(1)
    trainer.train(rows)
    trainer.synchronise()
    entries = ledger.read(trainer, "float64", rows, trainer.compilations())
    # The others come from the timed blocks, and from the worker.
    others = {"cpus_used", "compiled_while_timed", "drawn", "overrides", "repeats", "evidence"}
    assert entries.keys() >= ENTRIES.keys() - others
    assert entries["product"] == "float64"
    assert entries["device"] == "cpu"
    compiles = not entries["compiler"].startswith("none")
    assert (int(entries["programs"]) > 0) == compiles
    # Flax's tutorial alone donates nothing: what it updates lies elsewhere afterwards.
    in_place = (name, mode) != ("jax", "nnx")
    assert entries["parameters"] == (
        "overwrite the old ones" if in_place else "in memory allocated anew"
    )


@pytest.mark.parametrize(("name", "mode"), STANDING_MODES)
def test_a_new_shape_is_a_new_compilation(name: str, mode: str, problem: Problem) -> None:
    trainer = trainer_of(name, mode, problem)
    trainer.train(problem.rows(1))
    once = trainer.compilations()
    trainer.train(problem.rows(1))
    assert trainer.compilations() == once
    other = np.zeros((1, 5), np.int32)
    trainer.train(other)
    assert trainer.compilations() == once if once == 0 else trainer.compilations() > once


def rounded(array: Array, bits: int) -> Array:
    """The array with `bits` stored significand bits, rounded as a tensor core rounds its inputs."""
    significand, exponent = np.frexp(array.astype(np.float64))
    return np.ldexp(np.round(significand * 2 ** (bits + 1)) / 2 ** (bits + 1), exponent)


@pytest.mark.parametrize(("bits", "name"), [(10, "tf32"), (7, "bfloat16"), (5, "5 bits")])
def test_a_product_in_another_precision_shows_whatever_the_settings_say(
    bits: int, name: str, problem: Problem
) -> None:
    class Rounding(Eager):
        def product(self, a: Array, b: Array) -> Array:
            return (rounded(a, bits) @ rounded(b, bits)).astype(np.float32)

    trainer = make(Rounding, problem, "eager", "resident")
    entries = ledger.read(trainer, "float32", problem.rows(1), 0)
    assert entries["product"] == name


@pytest.mark.parametrize("bits", [7, 10, 23])
def test_how_a_product_rounds_does_not_matter(bits: int, problem: Problem) -> None:
    """Halves are rounded away from zero here, as some kernels of GPUs do."""

    def rounded_away(x: Array) -> Array:
        scale = 2.0**bits
        return np.floor(np.abs(x.astype(np.float64)) * scale + 0.5) / scale * np.sign(x)

    class Rounding(Eager):
        def product(self, a: Array, b: Array) -> Array:
            return (rounded_away(a) @ rounded_away(b)).astype(np.float32)

    trainer = make(Rounding, problem, "eager", "resident")
    assert ledger.product_bits(trainer, "float32") == bits


def test_denormals_that_are_flushed_show(problem: Problem) -> None:
    class Flushing(Eager):
        def product(self, a: Array, b: Array) -> Array:
            product = a @ b
            return np.where(abs(product) < np.finfo(product.dtype).tiny, 0, product)

    kept = make(Eager, problem, "eager", "resident")
    flushed = make(Flushing, problem, "eager", "resident")
    assert ledger.denormals(kept, "float32") == "kept"
    assert ledger.denormals(flushed, "float32") == "flushed to zero"


def test_new_memory_shows(problem: Problem) -> None:
    class Copying(Eager):
        def train(self, rows: Array) -> None:
            super().train(rows)
            self._kept = self._parameters
            self._parameters: Parameters = self.parameters()

    trainer = make(Copying, problem, "eager", "resident")
    assert ledger.update_in_memory(trainer, problem.rows(1)) == "in memory allocated anew"
