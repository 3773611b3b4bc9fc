"""What the clock makes of planted truths, within processes: so that how they differ is no matter.

Ratios are of blocks that follow one another and train equally many steps, since a machine's speed
drifts within a second, and its noise has a long tail on one side, which a longer block averages. A
visit to a case is of one of three kinds.

predecessor   Something else computes: another case, a floor, a trainer one of whose threads runs on
              for a while, or nothing. Then the case trains a block, and two more after that: one
              whose steps are slowed by a known share, and one that is not, in random order.
length        One long block and several short ones of as many steps in all, in random order.
fixed         A block with a planted fixed cost and one without.

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
from benchmarks.plan.blocks import LEAD_IN_STEPS, STEPS_PER_CALL, BlockLength
from benchmarks.plan.cases import Case, floors_of, select_cases
from benchmarks.plan.plan import Plan
from benchmarks.plan.presets import PRESETS
from benchmarks.session import quiet
from benchmarks.session.jobs import make_job, start_worker
from benchmarks.session.worker_process import WorkerProcess
from benchmarks.validation import planted
from benchmarks.validation.bare_loops import default_workload
from benchmarks.worker import messages

SHORT_STEPS, SHORTS = 20, 2
"""Timed steps of a short block where a call trains one step, shorter than in any run, so that every
leak weighs more; and how many of these have as many as a long one."""
SLOWED_BY = 0.2
SHARES = {"predecessor": 0.5, "length": 0.45, "fixed": 0.05}
"""The share of visits of each kind."""
SINGLE = 0.8
"""The share of visits to cases that train one step a call; the others take three times as long."""
KINDS = ["after another", "after itself", "slowed", "short", "long", "plain", "fixed"]
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

    def train(
        self, visit: int, case: Case, kind: str, length: BlockLength, slowed_by: float = 0.0
    ) -> None:
        """Time a block of a case as a session does."""
        if self.without == "lead-in":
            length = replace(length, lead_in=0)
        request = messages.TrainBlock(length, slowed_by)
        others = [worker.pid for name, worker in self._workers.items() if name != case.name]
        waited = quiet.wait_until_quiet([] if self.without == "wait" else others)
        block = self._workers[case.name].ask(request, ANSWER_SECONDS)
        step_seconds = block.seconds / block.steps
        self.rows.append(
            {
                "visit": visit,
                "case": case.name,
                "kind": kind,
                "predecessor": self._last,
                "step_ms": step_seconds * 1000,
                "fixed_ms": (block.lead_in_seconds - block.lead_in_steps * step_seconds) * 1000,
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


def short_block(case: Case) -> BlockLength:
    """A short block of a case; as in a run, a call of another length would be another program."""
    if case.many_steps:
        return BlockLength(lead_in=STEPS_PER_CALL, timed=STEPS_PER_CALL)
    return BlockLength(lead_in=LEAD_IN_STEPS["cpu"], timed=SHORT_STEPS)


def validate(minutes: float, without: str | None) -> Iterator[pd.DataFrame]:
    """Yield, every minute of `minutes`, all blocks so far: a row for each."""
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
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(plan, Path(folder), without)
        try:
            for case in (*plan.cases, *plan.floors):
                bench.start(case)
            began, minute, visit = monotonic(), 0, 0
            while (passed := monotonic() - began) < 60 * minutes:
                kind = generator.choice(list(SHARES), p=list(SHARES.values()))
                single = kind == "predecessor" or generator.random() < SINGLE
                among = [case for case in cases if case.many_steps != single]
                case = fixed if kind == "fixed" else among[generator.integers(len(among))]
                short = short_block(case)
                if kind == "predecessor":
                    others = [one for one in (*cases, *plan.floors, spinning) if one != case]
                    if before := generator.integers(len(others) + 1):
                        other = others[before - 1]
                        bench.train(visit, other, "before", short_block(other))
                    else:
                        bench.pause()
                    bench.train(visit, case, "after another", short)
                    for slowed_by in generator.permutation([0.0, SLOWED_BY]):
                        about = "slowed" if slowed_by else "after itself"
                        bench.train(visit, case, about, short, slowed_by)
                elif kind == "length":
                    bench.train(visit, case, "before", short)
                    long = replace(short, timed=SHORTS * short.timed)
                    for about in generator.permutation(["short", "long"]):
                        for _ in range(SHORTS if about == "short" else 1):
                            bench.train(visit, case, about, short if about == "short" else long)
                else:
                    bench.train(visit, case, "before", short)
                    for about in generator.permutation(["plain", "fixed"]):
                        more = about == "fixed"
                        bench.train(visit, case, about, replace(short, timed=short.timed + more))
                visit += 1
                if passed > 60 * minute:
                    minute += 1
                    yield pd.DataFrame(bench.rows)
            yield pd.DataFrame(bench.rows)
        finally:
            bench.end()


def estimate(about: str, logs: pd.Series, bound: float) -> dict[str, object]:
    """A row of the table: the ratio whose logarithms these are, and whether it is within `bound`.

    `bound` is the largest relative difference from one.
    """
    values = logs.dropna().to_numpy()
    row: dict[str, object] = {"what": about, "pairs": len(values)}
    if len(values) < FEWEST_PAIRS:
        return row
    low, high = mstats.trimmed_mean_ci(values, limits=(TRIMMED, TRIMMED))
    middle = mstats.trimmed_mean(values, limits=(TRIMMED, TRIMMED))
    inside, outside = max(-low, high) <= bound, low > bound or high < -bound
    row |= {"ratio": np.exp(middle), "low": np.exp(low), "high": np.exp(high)}
    return row | {f"{bound:.1%}": "within" if inside else "beyond" if outside else "open"}


def each(logs: pd.Series, by: pd.Series, bound: float) -> pd.DataFrame:
    """The estimates of all pairs, and of those of each value of `by`."""
    rows = [estimate("all", logs, bound)]
    rows += [estimate(str(name), of, bound) for name, of in logs.groupby(by)]
    return pd.DataFrame(rows)


def summary(blocks: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The tables: what the clock makes of each truth, as a ratio that should be one."""
    blocks = blocks.assign(log=np.log(blocks["step_ms"]))
    timed = blocks[blocks["kind"] != "before"]
    logs = timed.pivot_table(index="visit", columns="kind", values="log").reindex(columns=KINDS)
    case = timed.groupby("visit")["case"].first()
    predecessor = timed[timed["kind"] == "after another"].set_index("visit")["predecessor"]
    shorts = timed[timed["kind"] == "short"].groupby("visit")["log"]
    waits = blocks.groupby("predecessor")["wait_ms"]
    fixed = timed.groupby(["case", "kind"])["fixed_ms"].median()
    return {
        "Short blocks against blocks twice as long": each(
            logs["short"] - logs["long"], case, 0.003
        ),
        "The same block twice": each(shorts.first() - shorts.last(), case, 0.003),
        "Slowed by 20%, divided by 1.2": each(
            logs["slowed"] - logs["after itself"] - np.log1p(SLOWED_BY), case, 0.003
        ),
        "A planted fixed cost of 20 ms": each(logs["fixed"] - logs["plain"], case, 0.003),
        "A block after another case against one after itself": each(
            logs["after another"] - logs["after itself"], predecessor, 0.005
        ),
        "Waiting until the machine is quiet (ms)": waits.describe()[
            ["count", "50%", "max"]
        ].reset_index(),
        "Fixed cost of a block (ms)": fixed.unstack().reset_index(),
    }
