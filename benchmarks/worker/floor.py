"""The worker of a floor: batch, products and Adam's pass, timed like a case; and each alone."""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from backends.contract import Training
from backends.floors import FLOOR_RATE, Piece
from benchmarks.plan import data, workload
from benchmarks.plan.blocks import BlockLength
from benchmarks.plan.workload import Workload
from benchmarks.schema import HOST_SECONDS
from benchmarks.worker import clock
from benchmarks.worker.group.leader import Group, maker_of
from benchmarks.worker.messages import Block, Certified, Job, Ready, WarmUp
from benchmarks.worker.parts import host_seconds

MEASURED_BESIDE = 4
"""Pass and product are timed beside one in so many blocks, the first included: together they take
as long as some fifty steps."""
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
        work = replace(job.workload, adam=replace(job.workload.adam, learning_rate=FLOOR_RATE))
        self._job, self._blocks, self._step = replace(job, workload=work), 0, 0
        self._rows = workload.batch_rows(
            work.training_images, work.batch_size, work.steps, job.seed
        )
        training = work.training(
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
        """Read versions, time what is timed once a run, and prepare what is beside blocks."""
        (pieces, parts), seconds = clock.timed(self._alone if self._job.first else lambda: ([], {}))
        self._beside()
        return Certified(
            checks=(),
            ledger={},
            versions=self._backend.versions(),
            parts=parts,
            seconds=seconds,
            products=self._floor.products(),
            pieces=tuple(pieces),
            other_pids=self._maker.pids,
        )

    def _alone(self) -> tuple[list[Piece], dict[str, float]]:
        """Time each piece of a step, and what a step costs whatever its size."""
        chosen = replace(self._job.execution, products=self._floor.products())

        def of_one_image(training: Training) -> Any:
            return self._backend.Floor(training, 1, chosen)

        return self._floor.pieces(), {HOST_SECONDS: host_seconds(self._job, of_one_image)}

    def _beside(self) -> dict[str, Any]:
        """Time the pass over memory and a large product."""
        return {"pass_seconds": self._pass_seconds(), "peak_flops": self._peak_flops()}

    @cached_property
    def _matrix(self) -> Any:
        return self._floor.square(PEAK_SIZE[self._job.execution.device])

    def _peak_flops(self) -> float:
        """The operations a second of a large product."""
        matrix = self._matrix
        seconds = clock.seconds_until_done(lambda: self._floor.multiply(matrix), self._floor)
        return 2.0 * PEAK_SIZE[self._job.execution.device] ** 3 / seconds

    def _pass_seconds(self) -> float:
        """The seconds that one pass over Adam's arrays takes."""
        seconds = clock.seconds_until_done(self._floor.update, self._floor)
        return seconds / float(self._floor.repeats)

    def warm_up(self) -> WarmUp:
        """Train until steps no longer get faster."""
        return clock.warm_up(self._train, self._job)

    def train(self, length: BlockLength) -> Block:
        """Train one block, and time beside some what is timed beside it."""
        block = self._train(length)
        self._blocks += 1
        return block if self._blocks % MEASURED_BESIDE != 1 else replace(block, **self._beside())

    def _train(self, length: BlockLength) -> Block:
        rows = self._rows.take(range(self._step, self._step + length.steps), axis=0, mode="wrap")
        self._step += length.steps
        return clock.train_block(self._floor, rows[: length.lead_in], rows[length.lead_in :])


class GroupFloorWorker(FloorWorker):
    """The floor of a group: each rank's share of a step, all at once, and a sum of gradients."""

    _maker: Group

    def _make(self, training: Training) -> Any:
        return self._maker.floor(training, self._job.workload.batch_size, self._job.execution)

    def _alone(self) -> tuple[list[Piece], dict[str, float]]:
        """Nothing: what is timed once a run is that of one process."""
        return [], {}

    def _beside(self) -> dict[str, Any]:
        """Time a sum of all gradients over the ranks."""
        return {"reduce_seconds": self._maker.reduce(self._job.workload.network.parameter_count)}
