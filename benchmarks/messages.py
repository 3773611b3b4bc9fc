"""What the session and its workers say to each other, over one pipe each.

A worker is sent a `Job`, then requests by name; it answers each with one of the values below.
"""

from __future__ import annotations

from dataclasses import dataclass

from backends.contract import Execution
from benchmarks.certificate import Reference, Stage
from benchmarks.workload import Workload


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that a worker needs to build its trainer."""

    backend: str
    execution: Execution
    workload: Workload
    seed: int
    block_steps: int
    reference: Reference


@dataclass(frozen=True, kw_only=True)
class Ready:
    """The trainer is built, certified, warm and back at its initial parameters."""

    import_seconds: float
    build_seconds: float
    first_call_seconds: float
    first_call_steps: int
    warmup_seconds: float
    stages: tuple[Stage, ...]
    description: dict[str, str]
    versions: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Block:
    """Consecutive steps, timed together."""

    steps: int
    seconds: float
    dispatch_seconds: float


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Losses and accuracies of the current parameters, read outside the clock."""

    step: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float


@dataclass(frozen=True, kw_only=True)
class Final:
    """What is known when a launch ends."""

    test_loss: float
    test_accuracy: float
    peak_rss_mib: float


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An exception in the worker, in one line."""

    message: str


Answer = Ready | Block | Reading | Final | Failure
