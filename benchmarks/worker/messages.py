"""The requests that the session sends to a worker, and the answers that it gets, over a pipe.

Each request is a class that names the type of its answer, so that a type checker knows what
`WorkerProcess.ask` returns. The first request to a worker is `Build`.
"""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from backends.contract import Execution, State
from backends.floors import Piece
from backends.ladder import Backend
from benchmarks.certificates.certificate import Check, first_failure
from benchmarks.certificates.horizon import Horizon
from benchmarks.certificates.reference import Reference
from benchmarks.certificates.replay import BlockChecked
from benchmarks.plan.blocks import BlockLength
from benchmarks.plan.seats import Seat
from benchmarks.plan.workload import BlockData, Workload

ENERGY_SECONDS = 1.5
"""Training continues for at least this long while a GPU's energy is read; see energy.py."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything a worker needs to build its trainer, or its floor where the mode is FLOOR."""

    backend: Backend
    execution: Execution
    workload: Workload
    seed: int
    block: BlockLength
    calibrate: bool
    """Whether `block` may still be shortened to what fits into BLOCK_SECONDS."""
    reference: Reference | None = None
    """The reference of the certificate; a floor has neither."""
    products: str = ""
    """The library that the case names for all its products; it must then have a choice."""
    seats: tuple[Seat, ...] = ()
    """Of a group of ranks: where those besides this worker run."""
    profile: str | None = None
    """The folder for a trace by the framework's own profiler, where one is wanted."""
    first: bool = True
    """Whether this is the first launch, in which the certificate is taken and the parts of a step
    are measured."""
    machine: str = ""
    """The processor, for evidence that is kept."""
    kept_in: str = ""
    """The folder of evidence that is kept between runs; empty where none is kept."""
    anew: bool = False
    """Whether certificates alone are wanted: evidence is taken although it is kept, and the parts
    of a step are not measured."""
    # See Plan.reading_steps and BatchReadings.
    reading_steps: tuple[int, ...] = ()
    reading_images: int = 0

    @property
    def steps_per_call(self) -> int:
        """The number of steps that one call of the framework trains."""
        return self.backend.steps_per_call(self.execution)

    def check_products(self, used: dict[str, str]) -> None:
        """Raise RuntimeError unless `used` are the libraries that the case names, if it does."""
        if self.products and set(used.values()) != {self.products}:
            raise RuntimeError(
                f"products={self.products}: {self.execution.mode} of {self.backend.title} computes "
                f"no product in {self.execution.precision} by it; leave this out"
            )


# Answers.


@dataclass(frozen=True, kw_only=True)
class Ready:
    """The trainer is built and has been called once."""

    import_seconds: float
    build_seconds: float
    first_call_seconds: float
    first_call_steps: int
    # The peaks until the first call has returned; NaN for a floor.
    peak_rss_mib: float = float("nan")
    peak_device_mib: float = float("nan")
    """NaN on the CPU too."""


@dataclass(frozen=True, kw_only=True)
class Certified:
    """What the trainer computes, and what the framework does to compute it."""

    checks: tuple[Check, ...]
    ledger: dict[str, str]
    versions: dict[str, str]
    parts: dict[str, float]
    """The cost of each part of a step, by its name in parts.csv: see parts.py."""
    seconds: float
    """The time that taking all this took."""
    products: dict[str, str] = field(default_factory=dict)
    """The library of each product; empty where there is no choice: see `Timed.products`."""
    pieces: tuple[Piece, ...] = ()
    """Of a floor in the first launch: what each piece of its step takes alone."""
    other_pids: tuple[int, ...] = ()
    """The process ids of a group's other ranks on this machine."""
    needs_exact: bool = False
    """Whether the exact level is still to be taken: see CertifyExactly."""

    @property
    def passed(self) -> bool:
        """Whether all checks passed."""
        return first_failure(self.checks) is None


@dataclass(frozen=True, kw_only=True)
class Exact:
    """What the same backend and mode computes in float64."""

    checks: tuple[Check, ...]
    evidence: str
    """What the ledger says of it."""
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Block:
    """Consecutive training steps, timed together, after a lead-in of others."""

    steps: int
    seconds: float
    dispatch_seconds: float
    cpu_seconds: float
    """CPU time of all threads of the worker."""
    lead_in_steps: int = 0
    lead_in_seconds: float = 0.0
    """Until the device had finished the lead-in."""
    compilations: int = 0
    """Programs compiled during the block or its lead-in."""
    peak_flops: float = float("nan")
    """Of a floor, the operations a second of a large product, taken just after the block."""
    pass_seconds: float = float("nan")
    """Of a floor, the seconds of one pass over Adam's arrays, taken just after the block."""
    reduce_seconds: float = float("nan")
    """Of a group's floor, the seconds of a sum of all gradients over ranks, taken just after it."""
    settling_seconds: float = float("nan")
    """Of a case, how much longer reading its state took after the block than before it."""
    end_state: str = ""
    """Of a case, the digest of its state after the block: see witness.py."""


@dataclass(frozen=True, kw_only=True)
class WarmUp:
    """What was trained and discarded before the first timed block."""

    steps: int
    seconds: float
    steady: bool
    """Whether steps no longer got faster: see clock.steady."""
    block: BlockLength
    """The length of each block from now on."""
    last: Block
    """The last piece that was trained."""

    @property
    def step_seconds(self) -> float:
        """What a step took at last."""
        return self.last.seconds / self.last.steps


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Losses and accuracies of the current parameters, read outside the clock."""

    step: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float


@dataclass(frozen=True, kw_only=True)
class BatchReading:
    """Loss and accuracy on a batch of validation images."""

    updates: int
    images: int
    loss: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Tested:
    """What a training has learned, by the test images; read once, at its end."""

    test_loss: float
    test_accuracy: float


@dataclass(frozen=True, kw_only=True)
class Learned:
    """A whole training, with its readings."""

    steps: int
    seconds: float
    """The time that it took, readings included."""
    readings: tuple[Reading, ...]
    tested: Tested


@dataclass(frozen=True, kw_only=True)
class Final:
    """The figures that are only known when a launch has ended."""

    peak_rss_mib: float
    """Peak resident memory of the whole launch without its certificate."""
    energy_mj_per_step: float
    """See energy.py."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Which of the timed blocks a worker has kept: the steps that it trained."""

    first_step: int
    steps: int


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The answer to a request that raised an exception in the worker; the message names it."""

    message: str


# Requests.

Answer = TypeVar("Answer")


class Request(Generic[Answer]):
    """A request that a worker answers with an `Answer`, or with a `Failure`."""


@dataclass(frozen=True)
class Build(Request[Ready]):
    """Build what the job describes and call it once, which compiles its programs."""

    job: Job


class Certify(Request[Certified]):
    """Compare the trainer with the reference as it is timed, and read its ledger."""


@dataclass(frozen=True)
class CertifyExactly(Request[Exact]):
    """Compare the same backend and mode with the reference in float64, up to a horizon."""

    horizon: Horizon


@dataclass(frozen=True)
class FindSmallest(Request[str]):
    """Say what is the smallest product, layer or step that departs from the reference."""

    exact: bool
    """Whether in float64."""


class RunWarmUp(Request[WarmUp]):
    """Train until steps no longer get faster, then return to the initial parameters."""


@dataclass(frozen=True)
class TrainBlock(Request[Block]):
    """Train the next block under the clock."""

    block: BlockLength
    slowed_by: float = 0.0
    """The share of its timed steps that are trained beyond them and not counted; see Case."""


class TrainRest(Request[int]):
    """Train the steps after the last whole block, untimed; the answer is the steps trained."""


class TakeReading(Request[Reading]):
    """Read losses and accuracies of the current parameters."""


class TakeBatchReading(Request[BatchReading]):
    """Train up to the next of the job's `reading_steps`, untimed, and read a validation batch."""


class DrawBlock(Request[Drawn]):
    """Say which of the timed blocks is to be checked."""


@dataclass(frozen=True)
class CheckBlock(Request[BlockChecked]):
    """Check the block that was drawn, on batches from the session."""

    given: BlockData
    trained_again: bool = True
    """Whether all of it is trained again; otherwise two pieces, and what states do not show."""


@dataclass(frozen=True)
class TrainTo(Request[State]):
    """Train up to a step, untimed; the answer is the state there."""

    step: int


@dataclass(frozen=True)
class StartFrom(Request[None]):
    """Begin the first timed block in this state, as after so many steps."""

    state: State
    step: int


@dataclass(frozen=True)
class Learn(Request[Learned]):
    """Train all steps from the beginning of another seed, untimed, and read every so many steps."""

    seed: int
    every: int


class TakeTest(Request[Tested]):
    """Read loss and accuracy of the test images."""


class TakeProfile(Request[None]):
    """Leave a trace of some steps in the folder that the job names."""


class Finish(Request[Final]):
    """Take the figures that are only known when the launch has ended."""
