"""What the clock makes of planted truths, within processes: so that how they differ is no matter.

Ratios are of neighbouring blocks that train equally many steps, since a machine's speed drifts
within a second, and its noise has a long tail on one side, which a longer block averages. A visit
to a case is of one of these kinds.

predecessor   Something else computes: another case, a floor, a trainer one of whose threads runs on
              for a while, or nothing. Then the case trains a block, and another after that.
slowed        Blocks whose steps are slowed by a known share, and blocks whose steps are not, in
              turn.
length        Long blocks and pairs of short ones, which have as many steps, in turn.
fixed         Blocks with a planted fixed cost and blocks without, in turn.

Means are trimmed by a fifth at either end, with their 95% intervals (Yuen).
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pandas as pd
from scipy.stats import mstats

from backends.registry import BACKENDS
from benchmarks.machine.settings import default_threads
from benchmarks.plan import data
from benchmarks.plan.cases import Case, floors_of, select_cases
from benchmarks.plan.plan import Plan
from benchmarks.plan.presets import PRESETS
from benchmarks.session import quiet
from benchmarks.session.jobs import make_job, start_worker
from benchmarks.session.worker_process import WorkerProcess
from benchmarks.validation import planted
from benchmarks.validation.loops import decision, default_workload, short_block
from benchmarks.worker import messages

SLOWED_BY = 0.2
TURNS = 5
"""How often two kinds of block take turns in a visit."""
SHARES = {"predecessor": 0.66, "slowed": 0.17, "length": 0.15, "fixed": 0.02}
"""The share of visits of each kind."""
SINGLE = 0.8
"""The share of visits to cases that train one step a call; the others take three times as long."""
SPINNING = 4
"""How many times as often as others planted.Spinning is a predecessor."""
PACED = 0.2
"""The share of those visits that go to planted.Paced."""
PAIRS = {
    "predecessor": ("after another", "after itself"),
    "slowed": ("slowed", "plain"),
    "length": ("short", "long"),
    "fixed": ("fixed", "plain"),
}
"""The kinds of block that a kind of visit compares."""
NOTHING = "nothing"
"""The predecessor of a block before which nothing computed, for PAUSE_SECONDS."""
PAUSE_SECONDS = 0.2
ANSWER_SECONDS = 120.0
TRIMMED = 0.2
FEWEST_PAIRS = 5
WITHOUT = ("wait", "lead-in")
"""What can be left out, to see that the validation finds it."""


@dataclass
class Bench:
    """Workers that are asked for blocks one at a time; `rows` has what was timed."""

    plan: Plan
    folder: Path
    without: str | None = None
    rows: list[dict[str, object]] = field(default_factory=list)
    _workers: dict[str, WorkerProcess] = field(default_factory=dict)
    _last: str = NOTHING

    def start(self, case: Case) -> None:
        """Start and warm up the worker of a case, whose certificate is of no matter here."""
        references = {(case.precision, case.adam): None}
        worker = self._workers[case.name] = start_worker(self.plan, case, self.folder)
        job = make_job(self.plan, case, 0, references, self.plan.block)  # type: ignore[arg-type]
        worker.ask(messages.Build(job), ANSWER_SECONDS)
        if case.mode == "floor":
            worker.ask(messages.Certify(), ANSWER_SECONDS)
        worker.ask(messages.RunWarmUp(), ANSWER_SECONDS)

    def train(self, visit: str, case: Case, kind: str) -> None:
        """Time a block of a kind as a session does; of short ones, which come in pairs, two."""
        length, slowed_by = short_block(case.many_steps), SLOWED_BY if kind == "slowed" else 0.0
        if kind == "long":
            length = replace(length, timed=2 * length.timed)
        if kind == "fixed":
            # Of an odd number of steps: see planted.Fixed.
            length = replace(length, timed=length.timed + 1)
        if self.without == "lead-in":
            length = replace(length, lead_in=0)
        request = messages.TrainBlock(length, slowed_by)
        others = [worker.pid for name, worker in self._workers.items() if name != case.name]
        for _ in range(2 if kind == "short" else 1):
            waited = quiet.wait_until_quiet([] if self.without == "wait" else others)
            block = self._workers[case.name].ask(request, ANSWER_SECONDS)
            step_seconds = block.seconds / block.steps
            fixed_seconds = block.lead_in_seconds - block.lead_in_steps * step_seconds
            self.rows.append(
                {
                    "visit": visit,
                    "case": case.name,
                    "kind": kind,
                    "predecessor": self._last,
                    "step_ms": step_seconds * 1000,
                    "fixed_ms": fixed_seconds * 1000,
                    "wait_ms": waited.wait_seconds * 1000,
                    "running_threads": waited.running_threads,
                }
            )
            self._last = case.name

    def pause(self) -> None:
        """Let nothing compute for a while."""
        sleep(PAUSE_SECONDS)
        self._last = NOTHING

    def end(self) -> None:
        """End all workers."""
        for worker in self._workers.values():
            worker.end()


def planted_case(mode: str) -> Case:
    """A case of a trainer that does something on purpose."""
    return Case(backend="planted", mode=mode, input="resident", precision="float32", device="cpu")


def validate(minutes: float, without: str | None) -> Iterator[pd.DataFrame]:
    """Yield, every minute of `minutes`, all blocks so far: a row for each."""
    training = data.load().training
    cases = select_cases(
        preset=PRESETS["default"], backends=None, modes=None, inputs=None,
        precision="float32", device="cpu",
    )  # fmt: skip
    BACKENDS["planted"] = planted.BACKEND
    fixed, paced, spinning = map(planted_case, ("fixed", "paced", "spinning"))
    plan = Plan(
        name="validation",
        workload=default_workload(training, 4000),
        cases=(*cases, fixed, paced, spinning),
        skipped={},
        floors=tuple(floors_of({"numpy", *(case.backend for case in cases)}, "float32", "cpu")),
        launches=1,
        seed=0,
        threads=default_threads(),
        time_limit_seconds=60 * minutes,
    )
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(plan, Path(folder), without)
        try:
            for case in (*plan.cases, *plan.floors):
                bench.start(case)
            began, minute, number = monotonic(), 1, 0
            while (passed := monotonic() - began) < 60 * minutes:
                kind = str(generator.choice(list(SHARES), p=list(SHARES.values())))
                single = kind in ("predecessor", "slowed") or generator.random() < SINGLE
                among = [case for case in cases if case.many_steps != single]
                if kind in ("slowed", "length") and generator.random() < PACED:
                    among = [paced]
                case = fixed if kind == "fixed" else among[generator.integers(len(among))]
                others = [None, *(one for one in (*cases, *plan.floors) if one != case)]
                others += [spinning] * SPINNING
                visit(bench, f"{kind} {number}", kind, case, others, generator)
                number += 1
                if passed > 60 * minute:
                    minute += 1
                    yield pd.DataFrame(bench.rows)
            yield pd.DataFrame(bench.rows)
        finally:
            bench.end()


def visit(
    bench: Bench,
    name: str,
    kind: str,
    case: Case,
    others: list[Case | None],
    generator: np.random.Generator,
) -> None:
    """Time the blocks of a visit; its predecessor is one of `others`, of which None is nothing."""
    if kind != "predecessor":
        bench.train(name, case, "before")
        first = generator.integers(2)
        for turn in range(2 * TURNS):
            bench.train(f"{name}.{turn // 2}", case, PAIRS[kind][(first + turn) % 2])
        return
    if other := others[generator.integers(len(others))]:
        bench.train(name, other, "before")
    else:
        bench.pause()
    for about in PAIRS[kind]:
        bench.train(name, case, about)


def estimate(about: str, logs: pd.Series, bound: float) -> dict[str, object]:
    """A row of the table: the ratio whose logarithms these are, and whether it is within `bound`.

    `bound` is the largest relative difference from one.
    """
    values = logs.to_numpy()
    row: dict[str, object] = {"what": about, "pairs": len(values)}
    if len(values) < FEWEST_PAIRS:
        return row
    low, high = mstats.trimmed_mean_ci(values, limits=(TRIMMED, TRIMMED))
    middle = mstats.trimmed_mean(values, limits=(TRIMMED, TRIMMED))
    row |= {"ratio": np.exp(middle), "low": np.exp(low), "high": np.exp(high)}
    return row | {f"{bound:.1%}": decision(low, high, bound)}


def each(logs: pd.Series, by: pd.Series, bound: float) -> pd.DataFrame:
    """The estimates of all pairs but those of planted cases, and of those of each value of `by`."""
    of_cases = logs[~by.reindex(logs.index).str.startswith("planted paced")]
    rows = [estimate("all frameworks", of_cases, bound)]
    rows += [estimate(str(name), of, bound) for name, of in logs.groupby(by)]
    return pd.DataFrame(rows)


def summary(blocks: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The tables: what the clock makes of each truth, as a ratio that should be one."""
    timed = blocks[blocks["kind"] != "before"].assign(log=np.log(blocks["step_ms"]))
    logs = timed.pivot_table(index="visit", columns="kind", values="log")
    kinds = logs.index.str.split(" ").str[0]
    case = timed.groupby("visit")["case"].first()

    def ratios(visits: str) -> pd.Series:
        kind, other = PAIRS[visits]
        present = logs[kinds == visits].reindex(columns=[kind, other])
        return (present[kind] - present[other]).dropna()

    after = timed[timed["kind"] == "after another"].set_index("visit")["predecessor"]
    shorts = timed[timed["kind"] == "short"].groupby("visit")["log"]
    waits = blocks.groupby("predecessor")["wait_ms"].describe()[["count", "50%", "max"]]
    # Steps that are not counted make that of slowed blocks meaningless.
    fixed = timed[timed["kind"] != "slowed"].groupby(["case", "kind"])["fixed_ms"].median()
    return {
        "Short blocks against blocks twice as long": each(ratios("length"), case, 0.003),
        "The same block twice": each(shorts.first() - shorts.last(), case, 0.003),
        "Slowed by 20%, divided by 1.2": each(ratios("slowed") - np.log1p(SLOWED_BY), case, 0.003),
        "A planted fixed cost of 20 ms": each(ratios("fixed"), case, 0.003),
        "After another case against after itself": each(ratios("predecessor"), after, 0.005),
        "Waiting until the machine is quiet (ms)": waits.reset_index(),
        "Fixed cost of a block (ms)": fixed.unstack().reset_index(),
    }
