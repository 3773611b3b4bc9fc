"""What the parts of a step take: measured apart, once a run, before a case is timed."""

from __future__ import annotations

import contextlib
from types import ModuleType

import numpy as np

from backends.contract import Network, NotKeptError, Trainer, Training, TrainingSet
from benchmarks.plan import workload
from benchmarks.schema import HOST_SECONDS, INPUT_SECONDS
from benchmarks.worker import clock
from benchmarks.worker.messages import Job

TRIES = 3
STEPS = 100


def measure(backend: ModuleType, job: Job, trainer: Trainer) -> dict[str, float]:
    """The parts of a case's step; leaves the trainer's parameters as they are."""
    found = {HOST_SECONDS: host_seconds(backend, job)}
    with contextlib.suppress(NotKeptError):
        found[INPUT_SECONDS] = input_seconds(job, trainer)
    return found


def host_seconds(backend: ModuleType, job: Job) -> float:
    """What a step costs whatever its size, in seconds.

    The same program, for a network of one unit a layer and batches of one image: nothing is left of
    it but what Python, the framework and its launches take for each step.
    """
    sizes = job.workload.network.layer_sizes
    network = Network(layer_sizes=(1,) * len(sizes))
    execution = job.execution
    trainer = backend.TRAINERS[execution.mode](
        Training(
            network=network,
            adam=job.workload.adam,
            training_set=TrainingSet(
                images=np.ones((2, 1), execution.stored), labels=np.zeros(2, np.int32)
            ),
            start=workload.initial_parameters(network, job.seed),
        ),
        execution,
    )
    call = job.backend.steps_per_call(execution)
    rows = np.zeros((max(STEPS - STEPS % call, call), 1), np.int32)
    trainer.train(rows[:call])
    trainer.synchronise()
    return min(clock.train_block(trainer, rows).seconds for _ in range(TRIES)) / len(rows)


def input_seconds(job: Job, trainer: Trainer) -> float:
    """What fetching a batch takes, in seconds a step.

    Raises NotKeptError where that cannot be told apart.
    """
    work = job.workload
    rows = workload.batch_rows(work.training_images, work.batch_size, STEPS, job.seed)
    return min(clock.fetch_block(trainer, rows) for _ in range(TRIES)) / len(rows)
