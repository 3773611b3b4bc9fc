"""The clock: the only place where time is taken while a framework computes."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter, process_time
from typing import Any

from backends.contract import Array, Floor, Trainer
from benchmarks.worker.messages import Block, WarmUp

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


def fetch_block(trainer: Trainer, rows: Array) -> float:
    """The seconds that fetching the batches of a block takes, without training on them."""
    start = perf_counter()
    trainer.fetch(rows)
    trainer.synchronise()
    return perf_counter() - start


def multiply_block(floor: Floor, matrix: Any) -> float:
    """The seconds that a product of a `square` matrix with itself takes."""
    start = perf_counter()
    floor.multiply(matrix)
    floor.synchronise()
    return perf_counter() - start


def fitting_steps(trainer: Trainer | Floor, rows: Array, planned: int, call: int) -> int:
    """The steps of a block: as many as `planned`, or as fit BLOCK_SECONDS where that is fewer.

    `rows` has at least as many lines as are tried; `call` is the number of steps in one call of the
    framework, and a block consists of whole calls.
    """
    sample = rows[: max(call, CALIBRATION_STEPS)]
    seconds = min(train_block(trainer, sample).seconds for _ in range(2))
    fitting = int(BLOCK_SECONDS * len(sample) / seconds)
    if fitting >= planned:
        return planned
    return max(fitting - fitting % call, 1) if fitting >= call else max(fitting, 1)


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
