"""The worker of a floor: products and one pass over Adam's arrays, timed like a case."""

import numpy as np

from backends import registry
from backends.contract import Array
from benchmarks.schema import PEAK_FLOPS
from benchmarks.worker import clock
from benchmarks.worker.messages import Block, Certified, Job, Ready, WarmUp
from benchmarks.worker.parts import TRIES

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
        self._job, self._block_steps = job, job.block_steps
        work = job.workload
        self._floor, self._build_seconds = clock.timed(
            lambda: self._backend.Floor(work.network, work.batch_size, job.execution)
        )

    def first_call(self) -> Ready:
        """Make the first call, which compiles."""
        block = clock.train_block(self._floor, empty_rows(self._job.steps_per_call))
        self._job.execution.check_device(self._floor.device())
        return Ready(
            import_seconds=self._import_seconds,
            build_seconds=self._build_seconds,
            first_call_seconds=block.seconds,
            first_call_steps=block.steps,
        )

    def certify(self) -> Certified:
        """Measure the operations a second of a large product; there is nothing to certify."""
        parts, seconds = clock.timed(self._peak_flops if self._job.first else dict)
        versions = self._backend.versions()
        return Certified(checks=(), ledger={}, versions=versions, parts=parts, seconds=seconds)

    def _peak_flops(self) -> dict[str, float]:
        size = PEAK_SIZE[self._job.execution.device]
        matrix = self._floor.square(size)
        _, *seconds = (
            clock.seconds_until_done(lambda: self._floor.multiply(matrix), self._floor)
            for _ in range(1 + TRIES)
        )
        return {PEAK_FLOPS: 2.0 * size**3 / min(seconds)}

    def warm_up(self) -> WarmUp:
        """Train until blocks no longer get faster."""
        rows = empty_rows(self._block_steps)
        self._block_steps = clock.fitting_steps(self._floor, rows, self._job)
        return clock.warm_up(self.train, self._block_steps)

    def train(self) -> Block:
        """Train one block."""
        return clock.train_block(self._floor, empty_rows(self._block_steps))
