"""The worker of a floor: batch, products and Adam's pass, timed like a case; and each alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from backends.contract import Training
from backends.floors import FLOOR_RATE
from benchmarks.plan import data, workload
from benchmarks.plan.blocks import BlockLength
from benchmarks.plan.workload import Workload
from benchmarks.worker import clock
from benchmarks.worker.group.leader import Group, maker_of
from benchmarks.worker.messages import Block, Certified, Job, Ready, WarmUp

PASSES = 10
MEASURED_BESIDE = 4
"""Pass and product are timed beside one in so many blocks, the first included: together they take
as long as some fifty steps."""
REDUCTIONS = 20
PEAK_SIZE = {"cpu": 2048, "gpu": 8192}
"""Size of the square matrices whose product shows the peak rate of a device."""


def load_data(work: Workload) -> data.Dataset:
    """The data set of a workload; raises DataError where it is no longer what it was."""
    dataset = data.load(Path(work.data_dir))
    if work.data_sha256 not in ("", dataset.sha256):
        name = Path(work.data_dir).name
        raise data.DataError(f"{name}: holds other data than when the run was started")
    return dataset


class FloorWorker:
    """The worker of a floor, which answers the requests that need no training."""

    def __init__(self, job: Job, lost: Callable[[str], None] = print) -> None:
        self._maker, self._import_seconds = clock.timed(lambda: maker_of(job, lost))
        self._backend = self._maker.backend
        self._job, self._blocks, self._step = job, 0, 0
        work = job.workload
        self._rows = workload.batch_rows(
            work.training_images, work.batch_size, work.steps, job.seed
        )
        training = replace(work, adam=replace(work.adam, learning_rate=FLOOR_RATE)).training(
            load_data(work).training.stored_as(job.execution.stored),
            workload.initial_parameters(work.network, job.seed),
        )
        self._floor, self._build_seconds = clock.timed(lambda: self._make(training))
        job.check_products(self._floor.products())

    def _make(self, training: Training) -> Any:
        """The floor of a whole step."""
        return self._backend.Floor(training, self._job.workload.batch_size, self._job.execution)

    def first_call(self) -> Ready:
        """Make the first call, which compiles."""
        block = self._train(BlockLength(lead_in=0, timed=self._job.steps_per_call))
        self._job.execution.check_device(self._floor.device())
        return Ready(
            import_seconds=self._import_seconds,
            build_seconds=self._build_seconds,
            first_call_seconds=block.seconds,
            first_call_steps=block.steps,
        )

    def certify(self) -> Certified:
        """Read versions, time the pieces, and prepare what is timed beside blocks."""
        pieces, seconds = clock.timed(self._floor.pieces if self._job.first else list)
        self._pass_seconds()
        self._matrix = self._floor.square(PEAK_SIZE[self._job.execution.device])
        self._peak_flops()
        return Certified(
            checks=(),
            ledger={},
            versions=self._backend.versions(),
            parts={},
            seconds=seconds,
            products=self._floor.products(),
            pieces=tuple(pieces),
        )

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
        return block if self._blocks % MEASURED_BESIDE != 1 else self._measured_beside(block)

    def _measured_beside(self, block: Block) -> Block:
        return replace(block, pass_seconds=self._pass_seconds(), peak_flops=self._peak_flops())

    def _train(self, length: BlockLength) -> Block:
        rows = self._rows.take(range(self._step, self._step + length.steps), axis=0, mode="wrap")
        self._step += length.steps
        return clock.train_block(self._floor, rows[: length.lead_in], rows[length.lead_in :])


class GroupFloorWorker(FloorWorker):
    """The floor of a group: each rank's share of a step, all at once, and a sum of gradients."""

    _maker: Group

    def _make(self, training: Training) -> Any:
        return self._maker.floor(training, self._job.workload.batch_size, self._job.execution)

    def certify(self) -> Certified:
        """Read versions, and prepare the sum that is timed beside blocks."""
        self._reduce_seconds()
        return Certified(
            checks=(),
            ledger={},
            versions=self._backend.versions(),
            parts={},
            seconds=0.0,
            products=self._floor.products(),
            other_pids=self._maker.pids,
        )

    def _reduce_seconds(self) -> float:
        count = self._job.workload.network.parameter_count
        return self._maker.reduce(self._job.execution, count, REDUCTIONS)

    def _measured_beside(self, block: Block) -> Block:
        return replace(block, reduce_seconds=self._reduce_seconds())
