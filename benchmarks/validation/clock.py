"""What the clock makes of planted truths, within processes: so that how they differ is no matter.

A round visits every default case. Each is timed in a short block, in a long one, and in a short one
again; where a call trains one step, also in a short one whose steps are slowed by a known share.
Before each of these something else computes: another case, a floor, a trainer one of whose threads
runs on for a while, or nothing. Ratios are taken within rounds. Means are trimmed by a fifth at
either end, with their 95% intervals (Yuen), since a machine's noise has long tails.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pandas as pd
from scipy.stats import mstats

from backends.registry import BACKENDS
from benchmarks.machine.settings import default_threads
from benchmarks.plan import data
from benchmarks.plan.blocks import BlockLength
from benchmarks.plan.cases import Case, floors_of, select_cases
from benchmarks.plan.plan import Plan
from benchmarks.plan.presets import PRESETS
from benchmarks.session import quiet
from benchmarks.session.jobs import make_job, start_worker
from benchmarks.session.worker_process import WorkerProcess
from benchmarks.validation import planted
from benchmarks.validation.bare_loops import default_workload
from benchmarks.worker import messages

SHORT, LONG = BlockLength(lead_in=50, timed=50), BlockLength(lead_in=50, timed=200)
SLOWED_BY = 0.2
KINDS = {
    "short": messages.TrainBlock(SHORT),
    "long": messages.TrainBlock(LONG),
    "again": messages.TrainBlock(SHORT),
}
SLOWED = {"slowed": messages.TrainBlock(SHORT, SLOWED_BY)}
# Of an odd number of steps: see planted.Fixed.
FIXED = {"short": KINDS["short"], "fixed": messages.TrainBlock(BlockLength(lead_in=50, timed=51))}
BEFORE = messages.TrainBlock(BlockLength(lead_in=0, timed=50))
NOTHING = "nothing"
"""The predecessor of a block before which nothing computed, for PAUSE_SECONDS."""
PAUSE_SECONDS = 0.2
ANSWER_SECONDS = 120.0
TRIMMED = 0.2
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

    def train(self, case: str, kind: str, request: messages.TrainBlock, number: int) -> None:
        """Time a block of a case as a session does."""
        others = [worker.pid for name, worker in self._workers.items() if name != case]
        waited = quiet.wait_until_quiet([] if self.without == "wait" else others)
        if self.without == "lead-in":
            length = BlockLength(lead_in=0, timed=request.block.timed)
            request = messages.TrainBlock(length, request.slowed_by)
        block = self._workers[case].ask(request, ANSWER_SECONDS)
        step_seconds = block.seconds / block.steps
        self.rows.append(
            {
                "round": number,
                "case": case,
                "kind": kind,
                "predecessor": self._last,
                "step_ms": step_seconds * 1000,
                "fixed_ms": (block.lead_in_seconds - block.lead_in_steps * step_seconds) * 1000,
                "wait_ms": waited.wait_seconds * 1000,
                "running_threads": waited.running_threads,
            }
        )
        self._last = case

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
    """Yield, after each round of `minutes`, all blocks so far: a row for each."""
    training = data.load().training
    cases = select_cases(
        preset=PRESETS["default"], backends=None, modes=None, inputs=None,
        precision="float32", device="cpu",
    )  # fmt: skip
    BACKENDS["planted"] = planted.BACKEND
    fixed, spinning = planted_case("fixed"), planted_case("spinning")
    plan = Plan(
        name="validation",
        workload=default_workload(training, 4000),
        cases=(*cases, fixed, spinning),
        skipped={},
        floors=floors_of(cases),
        launches=1,
        seed=0,
        threads=default_threads(),
        time_limit_seconds=60 * minutes,
    )
    generator = np.random.default_rng(0)
    kinds = {case.name: KINDS | ({} if case.many_steps else SLOWED) for case in cases}
    kinds[fixed.name] = FIXED
    before = [*(case.name for case in (*cases, *plan.floors, spinning)), NOTHING]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(plan, Path(folder), without)
        try:
            for case in (*plan.cases, *plan.floors):
                bench.start(case)
            began, number = monotonic(), 0
            while monotonic() - began < 60 * minutes:
                for name in generator.permutation(list(kinds)):
                    for kind in generator.permutation(list(kinds[name])):
                        other = generator.choice([one for one in before if one != name])
                        if other == NOTHING:
                            bench.pause()
                        else:
                            bench.train(other, "before", BEFORE, number)
                        bench.train(name, kind, kinds[name][kind], number)
                number += 1
                yield pd.DataFrame(bench.rows)
        finally:
            bench.end()


def estimate(about: str, logs: pd.Series, bound: float) -> dict[str, object]:
    """A row of the table: the ratio whose logarithms these are, and whether it is within `bound`.

    `bound` is the largest relative difference from one.
    """
    values = logs.dropna().to_numpy()
    low, high = mstats.trimmed_mean_ci(values, limits=(TRIMMED, TRIMMED))
    middle = mstats.trimmed_mean(values, limits=(TRIMMED, TRIMMED))
    inside, outside = max(-low, high) <= bound, low > bound or high < -bound
    row: dict[str, object] = {"what": about, "blocks": len(values)}
    row |= {"ratio": np.exp(middle), "low": np.exp(low), "high": np.exp(high)}
    verdict = "within" if inside else "beyond" if outside else "open"
    return row | {f"{bound:.1%}": verdict}


def summary(blocks: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The tables: what the clock makes of each truth, as a ratio that should be one."""
    logs = np.log(blocks["step_ms"])
    by_kind = (
        blocks.assign(log=logs)
        .query("kind != 'before'")
        .pivot_table(index=["round", "case"], columns="kind", values="log")
    )
    truths = {
        "Blocks of 50 steps against blocks of 200": by_kind["short"] - by_kind["long"],
        "The same block twice": by_kind["again"] - by_kind["short"],
        "Slowed by 20%, divided by 1.2": by_kind["slowed"] - by_kind["short"] - np.log1p(SLOWED_BY),
        "A planted fixed cost of 20 ms": by_kind["fixed"] - by_kind["short"],
    }
    tables = {}
    for title, values in truths.items():
        present = values.dropna()
        rows = [estimate("all", present, 0.003)]
        rows += [estimate(str(case), of, 0.003) for case, of in present.groupby(level="case")]
        tables[title] = pd.DataFrame(rows)
    timed = blocks.assign(log=logs).query("kind != 'before' and kind != 'fixed'")
    usual = timed["log"] - timed.groupby(["case", "kind"])["log"].transform("mean")
    visits = usual.groupby([timed["round"], timed["case"]])
    # Against the other blocks of the same visit.
    others = (visits.transform("sum") - usual) / (visits.transform("count") - 1)
    extra = usual - others
    after = extra.groupby(timed["predecessor"])
    tables["A block after each predecessor"] = pd.DataFrame(
        [estimate(str(predecessor), of, 0.005) for predecessor, of in after]
    )
    tables["Waiting until the machine is quiet (ms)"] = (
        blocks.groupby("predecessor")["wait_ms"].describe()[["count", "50%", "max"]].reset_index()
    )
    fixed = blocks.query("kind != 'before'").groupby(["case", "kind"])["fixed_ms"].median()
    tables["Fixed cost of a block (ms)"] = fixed.unstack().reset_index()
    return tables
