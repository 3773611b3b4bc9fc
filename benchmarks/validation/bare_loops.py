"""Compare the suite's step times with those of bare, hand-written loops.

A launch is a process that holds a worker, as `run_all.py` times it, and a loop of the same
computations written for this file, with nothing around it; their blocks alternate. Both are in one
process because two processes of the same program differ by several percent. The result is the ratio
of the worker's time to the loop's, within rounds, with its 95% interval over launches. Launches go
on until the interval lies within BOUND or beyond it, or there are as many as were asked for.
"""

import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic

import numpy as np
import pandas as pd

from backends.contract import Array, Execution
from backends.registry import BACKENDS, load
from benchmarks.analysis import statistics
from benchmarks.machine.settings import (
    ROOT,
    affinity,
    available_cpus,
    best_cpus,
    default_threads,
    worker_environment,
)
from benchmarks.plan import data
from benchmarks.plan.blocks import STEPS_PER_CALL
from benchmarks.plan.workload import batch_rows
from benchmarks.validation.loops import (
    BATCH_SIZE,
    LOOPS,
    Loop,
    TimedLoop,
    decision,
    default_workload,
    short_block,
)
from benchmarks.validation.tensorflow_loops import TENSORFLOW_LOOPS
from benchmarks.worker.clock import timed
from benchmarks.worker.messages import Job
from benchmarks.worker.worker import Worker

ALL_LOOPS = LOOPS | TENSORFLOW_LOOPS
CASES = {" ".join(names): names for names in ALL_LOOPS}
"""The backend and mode of each case that has a loop here."""
SECONDS = 12.0
"""How long a launch compares."""
STEPS = 4000
FEWEST_LAUNCHES = 6
BOUND = 0.01


def timed_loop(loop: Loop, lead_in: int) -> TimedLoop:
    """A loop under the clock."""

    def train(rows: Array) -> float:
        loop(rows[:lead_in])
        return timed(lambda: loop(rows[lead_in:]))[1]

    return train


def time_in_turn(backend: str, mode: str, launch: int) -> None:
    """Time blocks of the worker and of the bare loop in turn; print the rounds' ratios as JSON."""
    split = data.load().training
    training = split.stored_as("float32")
    block = short_block(BACKENDS[backend].modes[mode].many_steps)
    execution = Execution(
        mode=mode,
        input=BACKENDS[backend].modes[mode].inputs[0],
        threads=available_cpus(),
        steps_per_call=STEPS_PER_CALL,
    )
    job = Job(
        backend=BACKENDS[backend],
        execution=execution,
        workload=default_workload(split, STEPS),
        seed=launch,
        block=block,
        calibrate=False,
    )
    rows = batch_rows(len(training.labels), BATCH_SIZE, STEPS, seed=launch)
    whole = STEPS // block.steps
    blocks = itertools.cycle(np.split(rows[: whole * block.steps], whole))

    def make_loop() -> TimedLoop:
        loop = ALL_LOOPS[backend, mode](training.images, training.labels)
        train: TimedLoop = loop if mode.startswith("keras-fit") else timed_loop(loop, block.lead_in)
        train(next(blocks))
        return train

    load(BACKENDS[backend]).configure(execution)
    # Where memory lies depends on what was there before, so each comes first in every other launch.
    early_loop = make_loop() if launch % 2 else None
    worker = Worker(job)
    worker.first_call()
    loop = early_loop or make_loop()
    worker.warm_up()
    for _ in range(2):
        loop(next(blocks))

    ratios: list[float] = []
    began = monotonic()
    while monotonic() - began < SECONDS:
        if len(ratios) % 2:
            suite, bare = worker.train(block).seconds, loop(next(blocks))
        else:
            bare, suite = loop(next(blocks)), worker.train(block).seconds
        ratios.append(suite / bare)
    print(json.dumps(ratios))


def compare(backend: str, mode: str, launches: int) -> tuple[statistics.Estimate, int]:
    """The ratio of the suite's step time to the bare loop's, and the launches that it took."""
    logs: dict[int, pd.Series] = {}
    threads = default_threads()
    ratio = statistics.NOTHING
    for launch in range(launches):
        with tempfile.TemporaryDirectory() as scratch, affinity(best_cpus(threads)):
            done = subprocess.run(
                [sys.executable, "-m", __name__, backend, mode, str(launch)],
                cwd=ROOT, env=worker_environment("cpu", threads, Path(scratch)),
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True,
            )  # fmt: skip
        logs[launch] = pd.Series(np.log(json.loads(done.stdout.splitlines()[-1])))
        ratio = statistics.interval_of_logs(pd.concat(logs, names=["launch", "round"]))
        if launch + 1 >= FEWEST_LAUNCHES and verdict(ratio) != "open":
            break
    return ratio, launch + 1


def verdict(ratio: statistics.Estimate) -> str:
    """The `decision` on a ratio by BOUND."""
    low, high = np.log([ratio.low, ratio.high])
    return decision(low, high, np.log1p(BOUND))


def compare_all(launches: int, cases: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Yield, after each of the cases, the ratios of all so far; `cases` are of CASES."""
    rows: list[dict[str, object]] = []
    for case in cases:
        backend, mode = CASES[case]
        began = monotonic()
        ratio, made = compare(backend, mode, launches)
        row = {"case": case, **statistics.with_interval("ratio", ratio)}
        row |= {"launches": made, f"{BOUND:.0%}": verdict(ratio)}
        rows.append(row | {"minutes": (monotonic() - began) / 60})
        print(pd.DataFrame(rows[-1:]).round(3).to_string(index=False, header=False), flush=True)
        yield pd.DataFrame(rows)


if __name__ == "__main__":
    time_in_turn(sys.argv[1], sys.argv[2], int(sys.argv[3]))
