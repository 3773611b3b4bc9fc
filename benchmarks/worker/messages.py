"""What the session and its workers say to each other, over one pipe each.

A worker is sent a `Job` or a `FloorJob`, then requests by name; it answers each with one of the
values below.
"""

from __future__ import annotations

from dataclasses import dataclass

from backends.contract import Execution, Network
from backends.registry import Backend
from benchmarks.plan.workload import Workload
from benchmarks.worker.certificate import Check, first_failure
from benchmarks.worker.reference import Reference

ENERGY_SECONDS = 1.5
"""Training goes on for at least so long while a GPU's energy is read; see energy.py."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that a worker needs to build its trainer."""

    backend: Backend
    execution: Execution
    workload: Workload
    seed: int
    block_steps: int
    calibrate: bool
    """Whether `block_steps` may still be shortened, to what fits BLOCK_SECONDS."""
    slowed_by: float
    """See Case."""
    reference: Reference
    profile: str | None = None
    """The folder for a trace by the framework's own profiler, where one is wanted."""
    first: bool = True
    """Whether this is the first launch, in which the certificate is taken at the exact level too,
    and the parts of a step are measured."""
    reading_steps: tuple[int, ...] = ()
    reading_images: int = 0
    """See Plan.reading_steps and BatchReadings."""


@dataclass(frozen=True, kw_only=True)
class FloorJob:
    """All that a worker needs to time a floor."""

    backend: Backend
    execution: Execution
    network: Network
    batch_size: int
    block_steps: int
    calibrate: bool
    first: bool


@dataclass(frozen=True, kw_only=True)
class Ready:
    """The trainer is built and has been called once."""

    import_seconds: float
    build_seconds: float
    first_call_seconds: float
    first_call_steps: int


@dataclass(frozen=True, kw_only=True)
class Certified:
    """What the trainer computes, and what it really does."""

    checks: tuple[Check, ...]
    ledger: dict[str, str]
    versions: dict[str, str]
    parts: dict[str, float]
    """What the parts of a step take: see parts.py."""
    seconds: float
    """What taking all this took."""

    @property
    def passed(self) -> bool:
        """Whether all checks passed."""
        return first_failure(self.checks) is None


@dataclass(frozen=True, kw_only=True)
class WarmUp:
    """What was trained and discarded before the first timed block."""

    steps: int
    seconds: float
    steady: bool
    """Whether the blocks had stopped getting faster, or there were enough of them."""
    block_steps: int
    """Steps in each block from now on."""
    last: Block


@dataclass(frozen=True, kw_only=True)
class Block:
    """Consecutive steps, timed together."""

    steps: int
    seconds: float
    dispatch_seconds: float
    cpu_seconds: float
    """CPU time of all threads of the worker."""
    compilations: int = 0
    """Programs compiled meanwhile."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Losses and accuracies of the current parameters, read outside the clock."""

    step: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float


@dataclass(frozen=True, kw_only=True)
class BatchReading:
    """Loss and accuracy on some of the validation images."""

    updates: int
    images: int
    loss: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Final:
    """What is known when a launch ends."""

    test_loss: float
    test_accuracy: float
    peak_rss_mib: float
    peak_device_mib: float
    """Of building and the first call; NaN where there is no device besides the host."""
    energy_mj_per_step: float
    """See energy.py."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An exception in the worker, in one line."""

    message: str


Answer = Ready | Certified | WarmUp | Block | Reading | BatchReading | Final | Failure
