"""Certificates of trainers that a test makes: workloads, references and trainers for them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from backends.contract import Adam, Network, Trainer, Training, TrainingSet
from benchmarks.certificates import certificate
from benchmarks.certificates.certificate import Check
from benchmarks.certificates.reference import Reference
from benchmarks.plan.data import Split
from benchmarks.plan.workload import Workload
from tests.conftest import Problem, set_up
from tests.support.mutants import Maker

STEPS_PER_CALL = 12


def make_workload(*hidden: int, training: Split, batch_size: int, learning_rate: float) -> Workload:
    """A workload on a training set, with ten classes."""
    return Workload(
        network=Network(layer_sizes=(training.images.shape[1], *hidden, 10)),
        adam=Adam(learning_rate=learning_rate),
        batch_size=batch_size,
        steps=STEPS_PER_CALL,
        training_images=len(training.labels),
        data_dir="",
    )


def random_images() -> Split:
    """300 random images of 23 pixels."""
    generator = np.random.default_rng(0)
    return Split(
        images=generator.integers(0, 256, (300, 23)).astype(np.uint8),
        labels=generator.integers(0, 10, 300).astype(np.int32),
    )


def training_of(work: Workload, reference: Reference, dtype: str) -> Training:
    """The training that a reference is the reference of."""
    return work.training(reference.batches.stored_as(dtype), reference.start)


def certify(
    name: str,
    mode: str,
    work: Workload,
    reference: Reference,
    level: str,
    maker: Maker | None = None,
    steps: int | None = None,
    timed: str = "float32",
) -> list[Check]:
    """One level of a certificate, of the backend's trainer or of one that `maker` makes.

    With `steps` of 1 a single step is trained: enough for a failure at an earlier stage than those
    of ten steps, which then fail if no earlier one does.
    """
    precision = "float64" if level == "exact" else timed
    module, execution = set_up(name, mode, precision, STEPS_PER_CALL)
    training = training_of(work, reference, execution.stored)
    trainer = (maker or module.TRAINERS[mode])(training, execution)
    return certificate.certify(
        trainer, work.adam, reference, reference.batch_rows[:steps], execution.stored, level
    )


def trainer_in(precision: str, name: str, mode: str) -> Trainer:
    """A trainer of a small network; the process stays in this precision."""
    small = Problem(17, 11)
    module, execution = set_up(name, mode, precision)
    images = small.training_set.images.astype(execution.stored)
    training_set = TrainingSet(images=images, labels=small.training_set.labels)
    return module.TRAINERS[mode](replace(small.training, training_set=training_set), execution)
