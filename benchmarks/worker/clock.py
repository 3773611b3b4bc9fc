"""The clock: the only place where time is taken while a framework computes."""

from collections.abc import Callable
from time import perf_counter
from typing import TypeVar

from backends.contract import Array, Timed
from benchmarks.plan.blocks import BlockLength
from benchmarks.worker.messages import Block, Job, WarmUp

Result = TypeVar("Result")

PIECE_SECONDS = 0.03
"""How long the pieces of a warm-up take at the least; whole calls of the framework."""
LATEST_PIECES = 3
STEADY = 0.98
"""Steps are steady when none of the latest pieces was faster than this share of the fastest before
them."""
MOST_WARMUP_SECONDS = 10.0
BLOCK_SECONDS = 2.5
"""A case whose blocks would take longer gets shorter ones, chosen when it is warm: the slowest
cases then do not take all the time, and are not trained to the end."""


def train_block(trainer: Timed, lead_in: Array, rows: Array) -> Block:
    """Train on the rows of `lead_in`, and on `rows` under the clock.

    It starts when the device has finished the lead-in, and stops when it has finished the rest.
    """
    marks: list[tuple[float, float]] = []

    def mark() -> None:
        marks.append((perf_counter(), trainer.cpu_seconds()))

    mark()
    trainer.train_parts([lead_in, rows] if len(lead_in) else [rows], mark)
    begun, (started, cpu_started), (returned, _), (ended, cpu_ended) = marks[0], *marks[-3:]
    return Block(
        steps=len(rows),
        seconds=ended - started,
        dispatch_seconds=returned - started,
        cpu_seconds=cpu_ended - cpu_started,
        lead_in_steps=len(lead_in),
        lead_in_seconds=started - begun[0],
    )


def timed(make: Callable[[], Result]) -> tuple[Result, float]:
    """The result of a call, and the seconds until it has returned."""
    start = perf_counter()
    return make(), perf_counter() - start


def seconds_until_done(call: Callable[[], object], device: Timed) -> float:
    """The seconds from the start of a call until the device has finished its work."""
    start = perf_counter()
    call()
    device.synchronise()
    return perf_counter() - start


def fitting(job: Job, step_seconds: float) -> BlockLength:
    """The block of a case: the job's, shortened to what fits into BLOCK_SECONDS if it asks so."""
    if not job.calibrate:
        return job.block
    return job.block.within(max(int(BLOCK_SECONDS / step_seconds), 1), job.steps_per_call)


def steady(step_seconds: list[float]) -> bool:
    """Whether steps no longer get faster; `step_seconds` has those of each piece so far."""
    latest, earlier = step_seconds[-LATEST_PIECES:], step_seconds[:-LATEST_PIECES]
    return bool(earlier) and min(latest) > STEADY * min(earlier)


def warm_up(train: Callable[[BlockLength], Block], job: Job) -> WarmUp:
    """Train pieces until their steps are steady, and choose the length of the case's blocks.

    `train` trains a block of the length that it is given.
    """
    call, began = job.steps_per_call, perf_counter()
    steps = min(call, job.block.timed)
    pieces: list[Block] = []
    step_seconds: list[float] = []
    while not steady(step_seconds) and perf_counter() - began < MOST_WARMUP_SECONDS:
        pieces.append(train(BlockLength(lead_in=0, timed=steps)))
        step_seconds.append(pieces[-1].seconds / steps)
        if pieces[-1].seconds < PIECE_SECONDS and 2 * steps <= job.block.timed:
            steps, step_seconds = 2 * steps, step_seconds[-1:]
    block = fitting(job, min(step_seconds))
    if block.lead_in % call or block.timed % call:
        # Calls of these lengths are compiled now.
        pieces.append(train(block))
    return WarmUp(
        steps=sum(piece.lead_in_steps + piece.steps for piece in pieces),
        seconds=perf_counter() - began,
        steady=steady(step_seconds),
        block=block,
        last=pieces[-1],
    )
