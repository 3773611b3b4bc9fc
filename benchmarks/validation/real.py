"""Verdicts on real runs of one case under several names, and of that case slowed on purpose."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from time import monotonic

import numpy as np
import pandas as pd

from benchmarks.analysis import statistics
from benchmarks.analysis.between_runs import comparison
from benchmarks.bundle.reader import undisturbed
from benchmarks.bundle.writer import BundleWriter
from benchmarks.machine.settings import default_threads
from benchmarks.plan import data
from benchmarks.plan.cases import Case
from benchmarks.plan.data import Split
from benchmarks.plan.plan import Plan
from benchmarks.plan.presets import PRESETS
from benchmarks.schema import TIER
from benchmarks.session.description import describe_run
from benchmarks.session.session import Session
from benchmarks.validation.loops import default_workload

CASE = Case(backend="jax", mode="compiled", input="resident", precision="float32", device="cpu")
WIDTH_LAUNCHES = 5
UNLIMITED_SECONDS = 3600.0


class NoProgress:
    """A session's progress, shown to nobody."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


def measure(
    cases: tuple[Case, ...], preset: str, seed: int, launches: int | None = None
) -> pd.DataFrame:
    """Run `cases` at the length of `preset`; return the samples of the undisturbed rounds.

    A run without `launches` ends as all runs do: when everything is settled or its time is spent;
    each case has as much time as in a run of the preset's own cases and their control.
    """
    training, about = data.load().training, PRESETS[preset]
    preset_cases = sum(len(modes) for modes in about.modes("cpu").values()) + 1
    seconds = 60 * about.time_limit_minutes * len(cases) / preset_cases
    plan = Plan(
        name="validation",
        workload=default_workload(training, about.steps),
        cases=cases,
        skipped={},
        launches=launches or about.launches,
        until_settled=launches is None,
        seed=seed,
        threads=default_threads(),
        time_limit_seconds=seconds if launches is None else UNLIMITED_SECONDS,
    )
    with tempfile.TemporaryDirectory() as folder:

        def samples() -> pd.DataFrame:
            tables = (pd.read_csv(Path(folder) / f"{name}.csv") for name in ("samples", "rounds"))
            return undisturbed(*tables)

        run(plan, training, Path(folder), lambda: statistics.settled(verdicts_on(samples(), cases)))
        return samples()


def run(plan: Plan, training: Split, folder: Path, settled: Callable[[], bool] = bool) -> None:
    """Run a plan by the session's own code; its bundle, without reports, is left in `folder`."""
    writer, environment = BundleWriter(folder), describe_run(plan)
    writer.write_environment(environment)
    Session(
        plan=plan,
        training=training,
        writer=writer,
        progress=NoProgress(),  # type: ignore[arg-type]
        environment=environment,
        started=monotonic(),
        settled=settled,
    ).run()
    writer.close()


def verdicts_on(samples: pd.DataFrame, cases: tuple[Case, ...]) -> pd.DataFrame:
    """The verdicts on all pairs of cases, controls included, by the rule of the reports."""
    names = [case.name for case in cases]
    return statistics.verdicts(samples, [(*pair, TIER) for pair in combinations(names, 2)])


def compare_widths(runs: int) -> Iterator[pd.DataFrame]:
    """Yield, after each run, one ratio from interleaved rounds and from separate runs of as many.

    Every table holds the rows of all runs so far.
    """
    other = replace(CASE, backend="pytorch", mode="eager")
    rows = []
    for seed in range(runs):
        together, *alone = (
            statistics.step_seconds(measure(cases, "quick", seed, WIDTH_LAUNCHES))
            for cases in ((CASE, other), (CASE,), (other,))
        )
        values = map(comparison.launch_values, alone, (CASE.name, other.name))
        estimates = {
            "interleaved": statistics.ratio(together, other.name, CASE.name),
            "separate": comparison.ratio(*values),
        }
        row: dict[str, float] = {"seed": seed}
        for name, ratio in estimates.items():
            row |= {name: ratio.value, f"{name}_width": np.log(ratio.high / ratio.low)}
        rows.append(row)
        print(pd.DataFrame(rows[-1:]).to_string(index=False), flush=True)
        yield pd.DataFrame(rows)


def validate(runs: int) -> Iterator[pd.DataFrame]:
    """Yield, after each run, the verdicts on equals and on a slowed case of all runs so far.

    The case is slowed by 5% in runs of the default length and by 20% in quick ones.
    """
    tables = []
    for number in range(runs):
        for preset, slowed_by in (("default", 0.05), ("quick", 0.20)):
            equals = (CASE, replace(CASE, repetition=1), replace(CASE, repetition=2))
            cases = (*equals, replace(CASE, slowed_by=slowed_by))
            verdicts = verdicts_on(measure(cases, preset, seed=100 * number), cases)
            tables.append(verdicts.assign(preset=preset, seed=100 * number))
            columns = ["preset", "seed", "case", "other", "ratio", "ratio_low", "ratio_high"]
            print(tables[-1][[*columns, "launches", "verdict"]].to_string(index=False), flush=True)
        yield pd.concat(tables, ignore_index=True)


def summary(verdicts: pd.DataFrame) -> pd.DataFrame:
    """How often equals were called different, and the slowed case slower; a row a preset."""
    rows = []
    for preset, pairs in verdicts.groupby("preset", sort=False):
        slowed = pairs["other"].str.contains("slowed")
        equals, against = pairs[~slowed], pairs[slowed & (pairs["case"] == CASE.name)]
        rows.append(
            {
                "preset": preset,
                "runs": pairs["seed"].nunique(),
                "pairs of equals": len(equals),
                "called different": int(equals["verdict"].isin(["faster", "slower"]).sum()),
                "slowed case": against["other"].iloc[0],
                "found slower": int((against["verdict"] == "faster").sum()),
                "median ratio": f"{1 / np.exp(np.log(against['ratio']).median()):.3f}",
                "launches": f"{pairs['launches'].min()} to {pairs['launches'].max()}",
            }
        )
    return pd.DataFrame(rows)
