"""Whether frameworks that learn alike are called equivalent, and wrong trainings different.

Each framework's fastest mode trains many seeds of the default run, by the session's own code. Runs
of the default preset are made of these: the first ones of seeds that follow one another, and others
of seeds that are drawn. Beside them JAX trains with an Adam that is not the others'.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from backends.contract import Adam
from backends.ladder import LIMIT
from backends.registry import BACKENDS
from benchmarks.analysis import learning
from benchmarks.bundle.reader import Bundle
from benchmarks.machine.settings import default_threads
from benchmarks.plan import data
from benchmarks.plan.cases import Case
from benchmarks.plan.plan import Plan
from benchmarks.plan.presets import PRESETS
from benchmarks.validation import real
from benchmarks.validation.loops import default_workload
from benchmarks.validation.whole_runs import decided

SEEDS, WRONG_SEEDS, DRAWN_RUNS = 16, 8, 1000
WRONG_BACKEND = "jax"
WRONG = {
    "learning rate × 3": Adam(learning_rate=3 * Adam.learning_rate),
    "β₂ = 0.9": Adam(beta_2=0.9),
}
"""Adams that are not the one that all frameworks share."""


def cases() -> list[Case]:
    """The mode of each framework that stands for its limit."""
    return [
        Case(backend=name, mode=mode, input=entry.modes[mode].inputs[0], precision="float32",
             device="cpu")
        for name, entry in BACKENDS.items()
        for mode in entry.standing_for(LIMIT, "cpu")
    ]  # fmt: skip


def trained(chosen: list[Case], seeds: int, adam: Adam) -> pd.DataFrame:
    """What these cases learn: `compared`, a row for each seed and a column for each backend."""
    about, training = PRESETS["default"], data.load().training
    work = default_workload(training, about.steps)
    plan = Plan(
        name="validation",
        workload=replace(work, adam=adam),
        cases=tuple(chosen),
        skipped={},
        launches=1,
        seed=0,
        threads=default_threads(),
        time_limit_seconds=real.UNLIMITED_SECONDS,
        learning_seeds=seeds,
    )
    with tempfile.TemporaryDirectory() as folder:
        real.run(plan, training, Path(folder))
        found = learning.trainings(Bundle.read(Path(folder)))
    return found.pivot_table(index="seed", columns="backend", values="compared")


def row_of(name: str, runs: list[pd.DataFrame]) -> dict[str, object]:
    """How runs of these seeds end, as a row of the table."""
    ends = [decided(run) for run in runs]
    verdicts = [set(pairs["verdict"]) for pairs, _ in ends]
    return {
        "what": name,
        "runs": len(runs),
        "all pairs equivalent": np.mean([one == {"equivalent"} for one in verdicts]),
        "a pair different": np.mean(["different" in one for one in verdicts]),
        "median seeds": np.median([count for _, count in ends]),
        "largest difference (points)": max(
            pairs["difference_points"].abs().max() for pairs, _ in ends
        ),
    }


def validate() -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """After each kind of training, the table so far, and what each seed has learned."""
    right = trained(cases(), SEEDS, Adam())
    least = PRESETS["default"].learning_seeds
    in_turn = [right.iloc[first:].head(3 * least) for first in range(0, SEEDS, least)]
    generator = np.random.default_rng(0)
    drawn = [right.iloc[generator.permutation(SEEDS)] for _ in range(DRAWN_RUNS)]
    rows = [
        row_of("the same Adam, seeds in turn", in_turn),
        row_of("the same Adam, seeds drawn", drawn),
    ]
    raw = [right.assign(what="the same Adam")]
    yield pd.DataFrame(rows), pd.concat(raw)
    (case,) = (one for one in cases() if one.backend == WRONG_BACKEND)
    for name, adam in WRONG.items():
        wrong = trained([case], WRONG_SEEDS, adam)
        beside = right.drop(columns=WRONG_BACKEND).join(wrong, how="inner")
        rows.append(row_of(f"{WRONG_BACKEND} with {name}", [beside]))
        raw.append(wrong.assign(what=name))
        yield pd.DataFrame(rows), pd.concat(raw)
