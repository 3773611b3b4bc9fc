"""The energy of a step, from a counter of the GPU that ticks some ten times a second.

That is too seldom for a block. So training goes on for a while after the timed blocks, and the
energy is counted from the first tick to the last: both come equally late, so the delays cancel.
"""

from collections.abc import Callable
from math import isnan
from time import perf_counter

from benchmarks.worker.messages import ENERGY_SECONDS, Block

MOST_SECONDS = 10.0
"""The time limit where the counter does not tick, or blocks take longer than ENERGY_SECONDS."""


def per_step(block: Callable[[], Block], read: Callable[[], float]) -> float:
    """Millijoules a step that the whole GPU takes, its idle power included.

    `block` trains one block, `read` gives the counter in millijoules. NaN where the counter has not
    ticked twice, or can no longer be read.
    """
    steps, last = 0, read()
    ticks: list[tuple[int, float]] = []
    start = perf_counter()
    while (passed := perf_counter() - start) < ENERGY_SECONDS or (
        len(ticks) < 2 and passed < MOST_SECONDS
    ):
        trained = block()
        steps += trained.lead_in_steps + trained.steps
        now = read()
        if isnan(now):
            return now
        if now != last:
            ticks.append((steps, now))
            last = now
    if len(ticks) < 2:
        return float("nan")
    (first_steps, first), *_, (last_steps, last) = ticks
    return (last - first) / (last_steps - first_steps)
