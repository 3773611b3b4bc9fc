"""A case within a launch: its worker, how far its training has come, and the rows it writes."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from backends.registry import FLOOR
from benchmarks.bundle.writer import Rows
from benchmarks.plan.cases import Case
from benchmarks.session.worker_process import WorkerProcess
from benchmarks.worker import messages
from benchmarks.worker.messages import Block, Certified, Final, Reading, Ready, WarmUp

ANSWER_TIMEOUT_SECONDS = 120.0
"""For each answer after the start; a block has 20 times as long as it took in the warm-up in
addition."""


@dataclass(kw_only=True)
class Member:
    """A case whose worker is ready to be timed. What asks the worker raises WorkerError."""

    case: Case
    worker: WorkerProcess
    rows: Rows
    """With the launch, its seed and the case."""
    ready: Ready
    certified: Certified
    warmup: WarmUp
    steps: int = 0
    train_seconds: float = 0.0
    last_reading: Reading | None = None
    batch_readings: int = 0
    """How many of the plan's batch readings have been taken."""
    finished: bool = False
    """Whether the row of the launch is written."""

    @property
    def trains(self) -> bool:
        """Whether this is a case that trains; a floor does not."""
        return self.case.mode != FLOOR

    def write_certificate(self) -> None:
        """Write the checks of the certificate, the parts of a step, and the ledger."""
        for check in self.certified.checks:
            row = asdict(check)
            row["relative_error"] = row.pop("error")
            self.rows.append("certificates", **row, passed=check.passed)
        for part, value in self.certified.parts.items():
            self.rows.append("parts", part=part, value=value)
        for entry, text in (self.certified.ledger | self.certified.versions).items():
            self.rows.append("ledger", entry=entry, value=text)

    def train_block(self) -> Block:
        """Train the next block; the caller writes its sample."""
        timeout = ANSWER_TIMEOUT_SECONDS + 20 * self.warmup.last.seconds
        block = self.worker.ask(messages.TrainBlock(), timeout)
        self.steps += block.steps
        self.train_seconds += block.seconds
        return block

    def read(self) -> None:
        """Read losses and accuracies, and write them."""
        self.last_reading = self.worker.ask(messages.TakeReading(), ANSWER_TIMEOUT_SECONDS)
        self.rows.append("accuracy", self.last_reading, train_seconds=self.train_seconds)

    def read_due_batches(self, reading_steps: tuple[int, ...]) -> None:
        """Take the batch readings due before the end of the next block, which starts after them.

        `reading_steps` are the plan's. The steps trained to get there are not timed.
        """
        for steps in reading_steps[self.batch_readings :]:
            if steps >= self.steps + self.warmup.block_steps:
                return
            reading = self.worker.ask(messages.TakeBatchReading(), ANSWER_TIMEOUT_SECONDS)
            self.batch_readings += 1
            self.steps = reading.updates
            # A loop that trains on batch i and prints then has made i + 1 updates.
            self.rows.append("readings", reading, step=reading.updates - 1)

    def finish(self) -> None:
        """Train the steps after the last whole block, untimed, and take the final figures."""
        self.steps = self.worker.ask(messages.TrainRest(), ANSWER_TIMEOUT_SECONDS)
        if self.last_reading is None or self.last_reading.step != self.steps:
            self.read()
        self.write_launch(self.worker.ask(messages.Finish(), ANSWER_TIMEOUT_SECONDS))

    def write_launch(self, final: Final | None = None) -> None:
        """Write the row of the launch.

        Without `final`, which an interrupted launch lacks, peak memory is that of the first call,
        and the other final figures are empty.
        """
        self.finished = True
        self.rows.append(
            "launches",
            self.ready,
            *([final] if final else []),
            certificate_seconds=self.certified.seconds,
            warmup_steps=self.warmup.steps,
            warmup_seconds=self.warmup.seconds,
            warmup_steady=self.warmup.steady,
            block_steps=self.warmup.block_steps,
            steps=self.steps,
            train_seconds=self.train_seconds,
            validation_accuracy=self.last_reading and self.last_reading.validation_accuracy,
        )
