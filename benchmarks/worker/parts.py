"""The times of a step's parts, measured by themselves once a run, before a case is timed."""

import contextlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from backends.contract import Network, NotKeptError, Timed, Trainer, Training, TrainingSet
from benchmarks.plan import workload
from benchmarks.schema import COMMUNICATION_SECONDS, HOST_SECONDS, INPUT_SECONDS
from benchmarks.worker import clock
from benchmarks.worker.group.leader import Group
from benchmarks.worker.making import Maker
from benchmarks.worker.messages import Job

TRIES = 3
STEPS = 100


def measure(maker: Maker, job: Job, trainer: Trainer) -> dict[str, float]:
    """The seconds that each part of a case's step takes; leaves the parameters as they are."""
    seconds = {
        HOST_SECONDS: host_seconds(job, lambda training: maker.trainer(training, job.execution))
    }
    with contextlib.suppress(NotKeptError):
        seconds[INPUT_SECONDS] = input_seconds(job, trainer)
    if isinstance(maker, Group):
        count = job.workload.network.parameter_count
        seconds[COMMUNICATION_SECONDS] = min(maker.reduce(count) for _ in range(TRIES))
    return seconds


def host_seconds(job: Job, make: Callable[[Training], Timed]) -> float:
    """The seconds that a step costs whatever its size.

    This times what is to be made for a network of one unit a layer, with batches of one image, or
    of one for each rank: what remains is the time that Python, the framework and its launches take
    for each step.
    """
    network = Network(layer_sizes=(1,) * len(job.workload.network.layer_sizes))
    images = np.ones((2, 1), job.execution.stored)
    training = replace(job.workload, network=network).training(
        training_set=TrainingSet(images=images, labels=np.zeros(2, np.int32)),
        start=workload.initial_parameters(network, job.seed),
    )
    trainer = make(training)
    call = job.steps_per_call
    rows = np.zeros((max(STEPS - STEPS % call, call), job.execution.ranks), np.int32)
    return min(clock.train_block(trainer, rows[:call], rows).seconds for _ in range(TRIES)) / len(
        rows
    )


def input_seconds(job: Job, trainer: Trainer) -> float:
    """The seconds that fetching a batch takes.

    Raises NotKeptError where the program that trains fetches its batches itself.
    """
    work = job.workload
    rows = workload.batch_rows(work.training_images, work.batch_size, STEPS, job.seed)
    seconds = (clock.seconds_until_done(lambda: trainer.fetch(rows), trainer) for _ in range(TRIES))
    return min(seconds) / len(rows)
