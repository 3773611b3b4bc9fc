"""A member of a launch: a case with its worker, and the rows that are written of it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

from backends.contract import Array, State
from backends.ladder import FLOOR
from benchmarks.bundle.writer import Rows
from benchmarks.certificates.replay import BlockChecked
from benchmarks.plan.blocks import READ_EVERY
from benchmarks.plan.cases import Case
from benchmarks.plan.data import Split
from benchmarks.plan.workload import block_data, rows_of
from benchmarks.schema import OVERRIDES, REPEATS
from benchmarks.session.worker_process import WorkerProcess
from benchmarks.worker import messages
from benchmarks.worker.messages import (
    Block,
    Certified,
    Final,
    Reading,
    Ready,
    Tested,
    WarmUp,
)

ANSWER_TIMEOUT_SECONDS = 120.0
"""Time limit of each answer after the start; that of a block is longer by 20 times what the warm-up
lets expect."""


@dataclass
class Member:
    """A case whose worker is ready to be timed. What asks the worker raises WorkerError."""

    case: Case
    worker: WorkerProcess
    rows: Rows
    """Appends rows of this case in this launch."""
    ready: Ready
    certified: Certified
    warmup: WarmUp
    reading_steps: tuple[int, ...]
    """See Plan.reading_steps."""
    steps: int = 0
    """The step of the training that it has come to."""
    began_at: int = 0
    """The step from which it was set out."""
    trained: int = 0
    """The steps of its blocks."""
    train_seconds: float = 0.0
    """The time of these, those of lead-ins at the step time of their blocks."""
    last_reading: Reading | None = None
    batch_readings: int = 0
    """How many of the plan's batch readings have been taken."""
    end_states: list[str] = field(default_factory=list)
    """The digest of its state after each block: see `Block.end_state`."""
    checked: BlockChecked | None = None
    tested: Tested | None = None
    final: Final | None = None
    finished: bool = False
    """Whether the row of the launch is written."""

    @property
    def trains(self) -> bool:
        """Whether this is a case that trains; a floor does not."""
        return self.case.mode != FLOOR

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of its worker, and of a group's other ranks on this machine."""
        return (self.worker.pid, *self.certified.other_pids)

    def write_certificate(self) -> None:
        """Write the checks of the certificate, the parts or pieces of a step, and the ledger."""
        for check in self.certified.checks:
            row = asdict(check)
            row["relative_error"] = row.pop("error")
            self.rows.append("certificates", **row, passed=check.passed)
        for piece in self.certified.pieces:
            self.rows.append("pieces", piece)
        for part, value in self.certified.parts.items():
            self.rows.append("parts", part=part, value=value)
        overrides = {OVERRIDES: self.case.differs_in}
        entries = self.certified.ledger | self.certified.versions | overrides
        for entry, text in entries.items():
            self.rows.append("ledger", entry=entry, value=text)

    def train_block(self) -> Block:
        """Train the next block; the caller writes its sample."""
        warmup = self.warmup
        expected = warmup.block.steps * warmup.step_seconds
        request = messages.TrainBlock(warmup.block, self.case.slowed_by)
        block = self.worker.ask(request, ANSWER_TIMEOUT_SECONDS + 20 * expected)
        steps = block.lead_in_steps + block.steps
        self.steps += steps
        self.trained += steps
        self.train_seconds += steps * block.seconds / block.steps
        self.end_states.append(block.end_state)
        return block

    def read(self) -> None:
        """Read losses and accuracies, and write them."""
        self.last_reading = self.worker.ask(messages.TakeReading(), ANSWER_TIMEOUT_SECONDS)
        self.rows.append("accuracy", self.last_reading, train_seconds=self.train_seconds)

    def read_due_batches(self) -> None:
        """Take the batch readings due before the end of the next block, which starts after them.

        The steps trained to get there are not timed.
        """
        for steps in self.reading_steps[self.batch_readings :]:
            if steps >= self.steps + self.warmup.block.steps:
                return
            reading = self.worker.ask(messages.TakeBatchReading(), ANSWER_TIMEOUT_SECONDS)
            self.batch_readings += 1
            self.steps = reading.updates
            # A loop that trains on batch i and prints then has made i + 1 updates.
            self.rows.append("readings", reading, step=reading.updates - 1)

    @property
    def compares(self) -> bool:
        """Whether what it learns is asked: it is no floor, control, variant or group."""
        case = self.case
        return self.trains and not (case.repetition or case.variant or case.ranks > 1)

    @property
    def flushes(self) -> bool:
        """Whether its numbers that are denormal become zero."""
        return self.certified.ledger["denormals"] != "kept"

    def train_to(self, step: int) -> State:
        """Train up to a step, untimed; the state there."""
        timeout = ANSWER_TIMEOUT_SECONDS + 20 * step * self.warmup.step_seconds
        return self.worker.ask(messages.TrainTo(step), timeout)

    def start_from(self, state: State, step: int) -> None:
        """Begin the first timed block in this state, as after so many steps."""
        self.worker.ask(messages.StartFrom(state, step), ANSWER_TIMEOUT_SECONDS)
        self.steps = self.began_at = step

    def end_training(self) -> None:
        """Train the steps after the last whole block, untimed, and read what was learned."""
        self.steps = self.worker.ask(messages.TrainRest(), ANSWER_TIMEOUT_SECONDS)
        if self.last_reading is None or self.last_reading.step != self.steps:
            self.read()
        self.tested = self.worker.ask(messages.TakeTest(), ANSWER_TIMEOUT_SECONDS)

    def finish(self) -> None:
        """Take the final figures."""
        self.final = self.worker.ask(messages.Finish(), ANSWER_TIMEOUT_SECONDS)

    def profile(self) -> None:
        """Leave a trace of some steps."""
        self.worker.ask(messages.TakeProfile(), ANSWER_TIMEOUT_SECONDS)

    def learn(self, seed: int, steps: int) -> None:
        """Train so many steps of a seed from its beginning, and write what was read."""
        timeout = ANSWER_TIMEOUT_SECONDS + 20 * steps * self.step_seconds
        learned = self.worker.ask(messages.Learn(seed, READ_EVERY), timeout)
        rows = replace(self.rows, columns=self.rows.columns | {"seed": seed})
        for reading in learned.readings:
            rows.append("learning", reading)
        rows.append("trainings", learned.tested, steps=learned.steps, seconds=learned.seconds)

    @property
    def step_seconds(self) -> float:
        """What a step of its blocks takes."""
        return self.train_seconds / self.trained

    def check_block(self, training: Split, rows: Array, others: Sequence["Member"]) -> bool:
        """Check one of the timed blocks, and write what was found and the row of the launch.

        `rows` (steps, batch_size) are those of the whole training. Returns whether it has passed.
        Where one of `others`, whose blocks are checked, has trained in the same bits, only what
        states do not show is checked anew.
        """
        like = next((one for one in others if one.end_states == self.end_states), None)
        checked = check_drawn_block(
            self.worker, rows, training, self.step_seconds, trained_again=like is None
        )
        self.checked = checked
        as_other = like.case.name if like else ""
        for check in checked.checks:
            self.rows.append("blocks", check, passed=check.passed, checked_as=as_other)
        if like and like.checked:
            checked = replace(checked, repeats=like.checked.repeats)
        self.rows.append("ledger", entry=REPEATS, value=checked.ended)
        self.write_launch(checked.seconds)
        return checked.passed

    def write_launch(self, checking_seconds: float = float("nan")) -> None:
        """Write the row of the launch.

        An interrupted one lacks final figures: peak memory is then that of the first call.
        """
        self.finished = True
        self.rows.append(
            "launches",
            self.ready,
            *filter(None, (self.tested, self.final)),
            certificate_seconds=self.certified.seconds,
            checking_seconds=checking_seconds,
            warmup_steps=self.warmup.steps,
            warmup_seconds=self.warmup.seconds,
            warmup_steady=self.warmup.steady,
            block_steps=self.warmup.block.timed,
            lead_in_steps=self.warmup.block.lead_in,
            steps=self.steps - self.began_at,
            train_seconds=self.train_seconds,
            validation_accuracy=self.last_reading and self.last_reading.validation_accuracy,
        )


def check_drawn_block(
    worker: WorkerProcess,
    rows: Array,
    training: Split,
    step_seconds: float,
    *,
    trained_again: bool = True,
) -> BlockChecked:
    """Have a worker check one of the blocks that it has trained, on batches from here.

    `rows` (steps, batch_size) are those of its whole training; see `messages.CheckBlock`.
    """
    drawn = worker.ask(messages.DrawBlock(), ANSWER_TIMEOUT_SECONDS)
    block = block_data(training, rows_of(rows, drawn.first_step, drawn.steps))
    timeout = ANSWER_TIMEOUT_SECONDS + 100 * drawn.steps * step_seconds
    return worker.ask(messages.CheckBlock(block, trained_again), timeout)
