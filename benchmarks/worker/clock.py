"""The clock: the only place where time is taken while a framework computes."""

from collections.abc import Callable
from time import perf_counter, process_time
from typing import TypeVar

from backends.contract import Array, Floor, Trainer
from benchmarks.worker.messages import Block, Job, WarmUp

Result = TypeVar("Result")

MOST_WARMUP_BLOCKS = 6
CALIBRATION_STEPS = 10
BLOCK_SECONDS = 2.0
"""A case whose blocks would take longer gets shorter ones, chosen before it is warmed up: the
slowest cases then do not take all the time, and are not trained to the end."""


def train_block(trainer: Trainer | Floor, rows: Array) -> Block:
    """Train one block under the clock, which stops when the device has finished."""
    cpu_start, start = process_time(), perf_counter()
    trainer.train(rows)
    dispatched = perf_counter()
    trainer.synchronise()
    end, cpu_end = perf_counter(), process_time()
    return Block(
        steps=len(rows),
        seconds=end - start,
        dispatch_seconds=dispatched - start,
        cpu_seconds=cpu_end - cpu_start,
    )


def timed(make: Callable[[], Result]) -> tuple[Result, float]:
    """The result of a call, and the seconds until it has returned."""
    start = perf_counter()
    return make(), perf_counter() - start


def seconds_until_done(call: Callable[[], object], device: Trainer | Floor) -> float:
    """The seconds from the start of a call until the device has finished its work."""
    start = perf_counter()
    call()
    device.synchronise()
    return perf_counter() - start


def fitting_steps(trainer: Trainer | Floor, rows: Array, job: Job) -> int:
    """The steps of a block: the job's, reduced to what fits into BLOCK_SECONDS if it asks for that.

    `rows` has at least as many lines as are tried. A block consists of whole calls of the
    framework, unless not even one fits.
    """
    if not job.calibrate:
        return job.block_steps
    call = job.steps_per_call
    sample = rows[: max(call, CALIBRATION_STEPS)]
    seconds = min(train_block(trainer, sample).seconds for _ in range(2))
    fitting = int(BLOCK_SECONDS * len(sample) / seconds)
    if fitting >= job.block_steps:
        return job.block_steps
    return max(fitting - fitting % call if fitting >= call else fitting, 1)


def steady(blocks: list[Block]) -> bool:
    """Whether a case is warm: its last block was no faster than the best before it, within 2%."""
    if len(blocks) < 2:
        return False
    *earlier, last = (block.seconds for block in blocks)
    return last > 0.98 * min(earlier)


def warm_up(block: Callable[[], Block], block_steps: int) -> WarmUp:
    """Train blocks of `block_steps` until they no longer get faster, or there are enough."""
    blocks: list[Block] = []
    while len(blocks) < MOST_WARMUP_BLOCKS and not steady(blocks):
        blocks.append(block())
    return WarmUp(
        steps=sum(block.steps for block in blocks),
        seconds=sum(block.seconds for block in blocks),
        steady=steady(blocks),
        block_steps=block_steps,
        last=blocks[-1],
    )
