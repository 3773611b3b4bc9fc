"""The worker of a floor: what no step can be faster than, timed in the same rounds as the cases."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from backends import registry
from backends.contract import Array
from benchmarks.schema import PEAK_FLOPS
from benchmarks.worker import clock
from benchmarks.worker.messages import Block, Certified, FloorJob, Ready, WarmUp
from benchmarks.worker.parts import TRIES

PEAK_SIZE = {"cpu": 2048, "gpu": 8192}
"""Size of the square matrices whose product shows the peak rate of a device."""


class FloorWorker:
    """The worker of a floor, which answers the requests that need no training."""

    def __init__(self, job: FloorJob) -> None:
        start = perf_counter()
        self._backend = registry.load(job.backend)
        self._import_seconds = perf_counter() - start
        self._backend.configure(job.execution)
        self._job = job
        start = perf_counter()
        self._floor = self._backend.Floor(job.network, job.batch_size, job.execution)
        self._build_seconds = perf_counter() - start
        self._block_steps = job.block_steps

    def _rows(self, steps: int) -> Array:
        return np.empty((steps, 0), np.int32)

    def first_call(self) -> Ready:
        """Make the first call, which compiles."""
        execution = self._job.execution
        block = clock.train_block(
            self._floor, self._rows(self._job.backend.steps_per_call(execution))
        )
        execution.check_device(self._floor.device())
        return Ready(
            import_seconds=self._import_seconds,
            build_seconds=self._build_seconds,
            first_call_seconds=block.seconds,
            first_call_steps=block.steps,
        )

    def certify(self) -> Certified:
        """Measure the operations a second of a large product; there is nothing to certify."""
        start = perf_counter()
        parts = {PEAK_FLOPS: self._peak_flops()} if self._job.first else {}
        return Certified(
            checks=(),
            ledger={},
            versions=self._backend.versions(),
            parts=parts,
            seconds=perf_counter() - start,
        )

    def _peak_flops(self) -> float:
        size = PEAK_SIZE[self._job.execution.device]
        matrix = self._floor.square(size)
        clock.multiply_block(self._floor, matrix)
        return 2.0 * size**3 / min(clock.multiply_block(self._floor, matrix) for _ in range(TRIES))

    def warm_up(self) -> WarmUp:
        """Train until blocks no longer get faster."""
        if self._job.calibrate:
            self._block_steps = clock.fitting_steps(
                self._floor,
                self._rows(self._block_steps),
                self._block_steps,
                self._job.backend.steps_per_call(self._job.execution),
            )
        return clock.warm_up(self.train, self._block_steps)

    def train(self) -> Block:
        """One block."""
        return clock.train_block(self._floor, self._rows(self._block_steps))
