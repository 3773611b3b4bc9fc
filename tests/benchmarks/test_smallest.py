"""The smallest product, layer or step that shows how a program departs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from backends.contract import Array, Execution, Parameters, Trainer, TrainingSet
from backends.numpy.model import product_in
from backends.numpy.taught import Eager
from benchmarks.certificates import smallest
from benchmarks.plan.workload import Workload
from tests.benchmarks.test_replay import workload

WORK = workload(24, 16)


class CoarseProducts(Eager):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._product = product_in("tf32")


class WideBias(Eager):
    """The bias of a layer of more than four units is trained twice as fast."""

    def _update(self, gradients: Parameters) -> None:
        faster = [(w, b * (2 if b.size > 4 else 1)) for w, b in gradients]
        super()._update(faster)


class Fourth(Eager):
    """The fourth step is left out."""

    def _update(self, gradients: Parameters) -> None:
        if self._steps == 3:
            self._steps += 1
        else:
            super()._update(gradients)


class Unbuildable(WideBias):
    """Which cannot be made without hidden layers."""

    def train(self, rows: Array) -> None:
        if len(self._parameters) < 2:
            raise ValueError("too few layers")
        super().train(rows)


def found(trainer: type[Trainer], precision: str = "float32") -> str:
    execution = Execution(mode="eager", precision=precision)

    def make(work: Workload, data: TrainingSet, start: Parameters) -> Trainer:
        return trainer(work.training(data, start), execution)

    return smallest.find(make, WORK, precision)


def test_a_product_is_made_as_small_as_can_be() -> None:
    assert found(CoarseProducts).startswith("a product of (1, 1) and (1, 1): relative error ")


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_layer_is(precision: str) -> None:
    text = found(WideBias, precision)
    assert text.startswith("one step of a layer 2-5 on 1 image: ")
    assert " moments of layer 1 bias: " in text


def test_what_cannot_be_made_smaller_is_left() -> None:
    assert found(Unbuildable).startswith("one step of a network 2-")


def test_the_first_step_is_named() -> None:
    assert found(Fourth).startswith("step 4, when 3 agree: ")


def test_nothing_is_found_where_nothing_departs() -> None:
    assert found(Eager).startswith("none was found: products agree")
    assert replace(WORK, batch_size=3) in list(
        smallest.smaller_workloads(replace(WORK, batch_size=6))
    )
