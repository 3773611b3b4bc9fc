"""The certificate passes what is right and fails what is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backends import numpy as reference_backend
from backends.contract import Adam, Array, Execution, Network, Parameters, TrainingSet
from backends.numpy import Eager
from benchmarks import certificate, data
from benchmarks.certificate import STAGES, Reference, Stage
from benchmarks.workload import Workload

PRECISIONS = ("float32", "float64")


@pytest.fixture(scope="module")
def training() -> data.Split:
    return data.load().training


def make_workload(*hidden: int, batch_size: int = 32, learning_rate: float = 0.01) -> Workload:
    return Workload(
        network=Network(layer_sizes=(784, *hidden, 10)),
        adam=Adam(learning_rate=learning_rate),
        batch_size=batch_size,
        steps=100,
        training_images=55_000,
        data_dir="",
    )


WORK = make_workload(48, 32)


@pytest.fixture(scope="module", params=PRECISIONS)
def reference(request: pytest.FixtureRequest, training: data.Split) -> Reference:
    return certificate.make_reference(WORK, request.param, training)


def certify(
    trainer_type: type[Eager],
    reference: Reference,
    training: data.Split,
    work: Workload = WORK,
    adam: Adam | None = None,
) -> dict[str, Stage]:
    precision = "float32" if reference.bounds["loss"] > 1e-9 else "float64"
    used = training.in_precision(precision)
    trainer = trainer_type(
        work.network,
        adam or work.adam,
        Execution(mode="eager", precision=precision),
        used,
        reference.start,
    )
    first = used.images[reference.rows[0]]
    return {stage.stage: stage for stage in certificate.certify(trainer, reference, first)}


def first_failure(stages: dict[str, Stage]) -> str:
    return next((name for name in STAGES if not stages[name].passed), "none")


def test_the_reference_itself_passes(reference: Reference, training: data.Split) -> None:
    assert first_failure(certify(Eager, reference, training)) == "none"


@pytest.mark.parametrize(
    "work",
    [
        make_workload(31, 17, 9, batch_size=77, learning_rate=0.003),
        make_workload(20),
        make_workload(),
    ],
    ids=["three hidden layers", "one hidden layer", "none"],
)
def test_other_networks_pass(work: Workload, training: data.Split) -> None:
    found = certificate.make_reference(work, "float32", training)
    assert first_failure(certify(Eager, found, training, work)) == "none"


def test_bounds_are_tight_until_ten_steps(training: data.Split) -> None:
    bounds = certificate.make_reference(WORK, "float32", training).bounds
    assert bounds["logits"] < 1e-5
    assert bounds["gradients"] < 1e-5
    assert bounds["parameters_1_step"] < 1e-3


class LabelsShifted(Eager):
    def __init__(self, network: Network, adam: Adam, execution: Execution,
        training_set: TrainingSet, parameters: Parameters) -> None:  # fmt: skip
        shifted = TrainingSet(images=training_set.images, labels=(training_set.labels + 1) % 10)
        super().__init__(network, adam, execution, shifted, parameters)


class ReluLeftOut(Eager):
    def logits(self, images: Array) -> Array:
        for weight, bias in self._parameters:
            images = images @ weight + bias
        return images


class GradientsOfASum(Eager):
    def gradients(self, rows: Array) -> Parameters:
        return [(len(rows) * w, len(rows) * b) for w, b in super().gradients(rows)]


class BatchSkipped(Eager):
    def train(self, rows: Array) -> None:
        super().train(rows[:-1] if len(rows) > 1 else rows)


class BatchesReversed(Eager):
    def train(self, rows: Array) -> None:
        super().train(rows[::-1])


class LastBiasFrozen(Eager):
    def _update(self, gradients: Parameters) -> None:
        *rest, (weight, bias) = gradients
        super()._update([*rest, (weight, np.zeros_like(bias))])


class NotANumber(Eager):
    def parameters(self) -> Parameters:
        return [(w * np.nan, b) for w, b in super().parameters()]


@pytest.mark.parametrize(
    ("mutant", "stage"),
    [
        (ReluLeftOut, "logits"),
        (LabelsShifted, "loss"),
        (GradientsOfASum, "gradients"),
        (LastBiasFrozen, "parameters_1_step"),
        (NotANumber, "parameters_1_step"),
        (BatchSkipped, "parameters_10_steps"),
        (BatchesReversed, "parameters_10_steps"),
    ],
)
def test_mutants_fail_where_they_act(
    mutant: type[Eager], stage: str, reference: Reference, training: data.Split
) -> None:
    assert first_failure(certify(mutant, reference, training)) == stage


@pytest.mark.parametrize(
    "change",
    [{"learning_rate": 0.01 * 1.001}, {"epsilon": 1e-8 * 31.6}, {"beta_1": 0.89}],
    ids=str,
)
def test_another_adam_fails(
    change: dict[str, Any], reference: Reference, training: data.Split
) -> None:
    adam = Adam(**change)
    found = first_failure(certify(Eager, reference, training, adam=adam))
    assert found == ("parameters_10_steps" if "beta_1" in change else "parameters_1_step")


def test_relabelling_changes_nothing_but_rounding() -> None:
    network = Network(layer_sizes=(6, 5, 4, 3))
    generator = np.random.default_rng(0)
    start = [(generator.random((m, n)), generator.random(n)) for m, n in ((6, 5), (5, 4), (4, 3))]
    labels = certificate.Relabelling.draw(network, generator)
    images = generator.random((7, 6))
    plain = reference_backend.forward(start, images)[-1]
    relabelled = reference_backend.forward(labels.apply(start), images[:, labels.units[0]])[-1]
    np.testing.assert_allclose(relabelled, plain, rtol=1e-12)
    for (weight, bias), (same_weight, same_bias) in zip(
        labels.undo(labels.apply(start)), start, strict=True
    ):
        np.testing.assert_array_equal(weight, same_weight)
        np.testing.assert_array_equal(bias, same_bias)
