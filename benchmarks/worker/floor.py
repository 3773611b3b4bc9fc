"""The worker of a floor: products and one pass over Adam's arrays, timed like a case."""

from dataclasses import replace

import numpy as np

from backends import registry
from backends.contract import Array
from benchmarks.plan.blocks import BlockLength
from benchmarks.worker import clock
from benchmarks.worker.messages import Block, Certified, Job, Ready, WarmUp

PASSES = 10
MEASURED_BESIDE = 4
"""Pass and product are timed beside one in so many blocks, the first included: together they take
as long as some fifty steps."""
PEAK_SIZE = {"cpu": 2048, "gpu": 8192}
"""Size of the square matrices whose product shows the peak rate of a device."""


def empty_rows(steps: int) -> Array:
    """Rows for `steps` steps of a floor, which ignores their content."""
    return np.empty((steps, 0), np.int32)


class FloorWorker:
    """The worker of a floor, which answers the requests that need no training."""

    def __init__(self, job: Job) -> None:
        self._backend, self._import_seconds = clock.timed(lambda: registry.load(job.backend))
        self._backend.configure(job.execution)
        self._job, self._blocks = job, 0
        work = job.workload
        self._floor, self._build_seconds = clock.timed(
            lambda: self._backend.Floor(work.network, work.batch_size, job.execution)
        )

    def first_call(self) -> Ready:
        """Make the first call, which compiles."""
        block = clock.train_block(self._floor, empty_rows(0), empty_rows(self._job.steps_per_call))
        self._job.execution.check_device(self._floor.device())
        return Ready(
            import_seconds=self._import_seconds,
            build_seconds=self._build_seconds,
            first_call_seconds=block.seconds,
            first_call_steps=block.steps,
        )

    def certify(self) -> Certified:
        """Read versions, and call for the first time what is timed beside blocks."""
        self._pass_seconds()
        self._matrix = self._floor.square(PEAK_SIZE[self._job.execution.device])
        _, seconds = clock.timed(self._peak_flops)
        versions = self._backend.versions()
        return Certified(checks=(), ledger={}, versions=versions, parts={}, seconds=seconds)

    def _peak_flops(self) -> float:
        """The operations a second of a large product."""
        seconds = clock.seconds_until_done(lambda: self._floor.multiply(self._matrix), self._floor)
        return 2.0 * PEAK_SIZE[self._job.execution.device] ** 3 / seconds

    def _pass_seconds(self) -> float:
        """The seconds that one pass over Adam's arrays takes."""

        def pass_over() -> None:
            for _ in range(PASSES):
                self._floor.update()

        return clock.seconds_until_done(pass_over, self._floor) / PASSES

    def warm_up(self) -> WarmUp:
        """Train until steps no longer get faster."""
        return clock.warm_up(self._train, self._job)

    def train(self, length: BlockLength) -> Block:
        """Train one block, and beside some the pass over memory and a large product."""
        block = self._train(length)
        self._blocks += 1
        if self._blocks % MEASURED_BESIDE != 1:
            return block
        return replace(block, pass_seconds=self._pass_seconds(), peak_flops=self._peak_flops())

    def _train(self, length: BlockLength) -> Block:
        return clock.train_block(self._floor, empty_rows(length.lead_in), empty_rows(length.timed))
