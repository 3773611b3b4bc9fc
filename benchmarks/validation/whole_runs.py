"""Verdicts on simulated runs whose noise is that of real machines.

What varies is fitted to bundles: how much the launches of each framework vary, and their rounds
within a launch; and how many processes ran on another speed. The small table of these figures is
kept in results/validation/components.csv, a row for each bundle and framework; scenarios are drawn
from it, and others beside them that are worse.
"""

from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from backends.contract import Array
from benchmarks.analysis import accuracy, noise, statistics
from benchmarks.analysis.between_runs import comparison, gate
from benchmarks.bundle.reader import Bundle
from benchmarks.plan.presets import PRESETS
from benchmarks.schema import ACCURACY_MARGIN_POINTS, RUNG, TIER
from benchmarks.validation.synthetic import DIFFERENT

RUNS, GATE_CALLS = 200, 1500
ROUNDS = 10
EFFICIENCY = 1.57
"""How much more a median varies than a mean (π/2, of normal values)."""
LAUNCHES = (3, 4, 6)
TIERS = ("taught", "expert", "limit")
SLOWER = 0.05
"""By how much the second framework is slower than the first, where they are no equals."""
SEEDS, MOST_SEEDS = PRESETS["default"].learning_seeds, 12
SLOWNESS = 0.14
"""How much slower a process on another speed is."""
MARGIN = ACCURACY_MARGIN_POINTS
DEVIATIONS = (0.06, 0.22)
"""Of seeds' differences in points: of means of ten readings, and of single ones (Xeon, 2 cores)."""


class Noise(NamedTuple):
    """What varies in the runs of a scenario: of each framework, and of all."""

    name: str
    launches: tuple[float, float, float]
    """Deviation from launch to launch, of logarithms, in three frameworks."""
    rounds: float = 0.02
    another_speed: float = 0.0
    """The share of processes that are slower by `slowness` for as long as they live."""
    slowness: float = SLOWNESS


WORSE = (
    Noise("launches do not vary", (0.0, 0.0, 0.0)),
    Noise("launches vary by 1%", (0.01, 0.01, 0.01)),
    Noise("by 2%", (0.02, 0.02, 0.02)),
    Noise("by 4%", (0.04, 0.04, 0.04)),
    Noise("by 1, 2 and 6%", (0.01, 0.02, 0.06)),
    Noise("by 1%, a tenth 14% slower", (0.01, 0.01, 0.01), another_speed=0.1),
)


def components(folders: list[Path]) -> pd.DataFrame:
    """What varies in bundles: a row for each of them and framework with three launches or more."""
    rows = []
    for folder in folders:
        bundle = Bundle.read(folder)
        samples = bundle.undisturbed_samples
        samples = samples[samples["mode"] != "floor"]
        table, others = statistics.on_main_speed(samples)
        frameworks, logs = statistics.backends_of(samples), table.apply(np.log)
        logs = logs.sub(logs.median(axis=1), axis=0)
        by_launch = logs.groupby(level="launch")
        launches, within = by_launch.median(), logs - by_launch.transform("median")
        # Robust, since a few rounds are far off, which medians do not heed.
        of_rounds = 1.4826 * within.abs().median()
        of_medians = EFFICIENCY * of_rounds**2 * len(launches) / len(logs)
        for framework in dict.fromkeys(frameworks.values()):
            cases = [case for case in map(str, table) if frameworks[case] == framework]
            if len(launches) < noise.FEWEST_LAUNCHES:
                continue
            rows.append(
                {
                    "bundle": folder.name,
                    "framework": framework,
                    "cases": len(cases),
                    "launches": len(launches),
                    "rounds": len(logs),
                    "of_launches": np.sqrt(max((launches.var() - of_medians)[cases].mean(), 0)),
                    "of_rounds": of_rounds[cases].median(),
                    "on_another_speed": int(others["case"].isin(cases).sum()),
                }
            )
    return pd.DataFrame(rows)


def scenarios(fitted: pd.DataFrame) -> list[Noise]:
    """A scenario for each bundle that has three frameworks, and WORSE."""
    found = []
    for name, rows in fitted.groupby("bundle"):
        of_three = rows[rows["framework"] != "numpy"]
        if len(of_three) == 3:
            processes = (of_three["cases"] * of_three["launches"]).sum()
            seen = of_three["on_another_speed"].sum() / processes
            deviations = tuple(of_three["of_launches"])
            found.append(Noise(f"as in {name}", deviations, of_three["of_rounds"].median(), seen))
    return [*found, *WORSE]


def simulate(scenario: Noise, launches: int, slower: float, seed: int) -> pd.DataFrame:
    """The samples of a run: three frameworks in three tiers, and a control of the first case.

    The second framework's cases take 1 + `slower` times as long as the others.
    """
    generator = np.random.default_rng(seed)
    cases = [(f"{framework} {tier}", framework) for framework in "abc" for tier in TIERS]
    cases.append(("a taught (control)", "a"))
    of_case = np.array([scenario.launches["abc".index(framework)] for _, framework in cases])
    shape = (launches, 1, len(cases))
    logs = generator.normal(0, 1, shape) * of_case
    logs = logs + (generator.random(shape) < scenario.another_speed) * np.log1p(scenario.slowness)
    logs = logs + generator.normal(0, scenario.rounds, (launches, ROUNDS, len(cases)))
    logs += np.log1p(slower) * np.array([framework == "b" for _, framework in cases])
    index = pd.MultiIndex.from_product(
        [range(launches), range(ROUNDS), [case for case, _ in cases]],
        names=["launch", "round", "case"],
    )
    samples = pd.DataFrame({"seconds": np.exp(logs).ravel(), "steps": 1}, index=index)
    frameworks = dict(cases)
    samples = samples.reset_index()
    return samples.assign(backend=samples["case"].map(frameworks))


PAIRS = [
    *((f"{one} {tier}", f"{other} {tier}", TIER)
      for tier in TIERS for one, other in combinations("abc", 2)),
    *((f"{one} {tier}", f"{one} {below}", RUNG)
      for one in "abc" for below, tier in pairwise(TIERS)),
]  # fmt: skip
"""What such a run judges."""


def figures_of(scenario: Noise, launches: int) -> dict[str, object]:
    """How often intervals and verdicts on runs of a scenario are right."""
    covered: list[bool] = []
    claimed: list[bool] = []
    found: list[bool] = []
    resolutions: list[float] = []
    for run in range(RUNS):
        equal = statistics.verdicts(simulate(scenario, launches, 0.0, run), PAIRS)
        own = equal["ratio"] * (1 + equal["reach"])
        covered += list((own >= 1) & (equal["ratio"] ** 2 / own <= 1))
        claimed += list(equal["verdict"].isin(DIFFERENT))
        resolutions.append(statistics.resolution(equal))
        slowed = statistics.verdicts(simulate(scenario, launches, SLOWER, RUNS + run), PAIRS)
        of_b = slowed[(slowed["relation"] == TIER) & slowed["other"].str.startswith("b")]
        found += list(of_b["verdict"] == "faster")
    low, middle, high = np.quantile(resolutions, [0.025, 0.5, 0.975])
    return {
        "scenario": scenario.name,
        "launches": launches,
        "covered": np.mean(covered),
        "equal called different": np.mean(claimed),
        f"{SLOWER:.0%} slower, found": np.mean(found),
        "resolution": middle,
        "its 97.5% by its 2.5% quantile": high / low,
    }


def validate(fitted: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """After each scenario, the figures of all so far."""
    rows: list[dict[str, object]] = []
    for scenario in scenarios(fitted):
        rows += [figures_of(scenario, launches) for launches in LAUNCHES]
        print(pd.DataFrame(rows[-len(LAUNCHES) :]).to_string(index=False), flush=True)
        yield pd.DataFrame(rows)


class RunNoise(NamedTuple):
    """What varies from run to run: of each framework on its own, and of all cases alike."""

    name: str
    frameworks: tuple[float, ...]
    together: float = 0.0
    another_speed: float = 0.0


GATED = (
    RunNoise("runs do not vary", (0.0, 0.0, 0.0)),
    RunNoise("runs vary by 2%", (0.02, 0.02, 0.02)),
    RunNoise("by 4%", (0.04, 0.04, 0.04)),
    RunNoise("by 1, 2 and 4%", (0.01, 0.02, 0.04)),
    RunNoise("by 1%, all alike by 3%", (0.01, 0.01, 0.01), together=0.03),
    RunNoise("by 1%, a tenth 14% slower", (0.01, 0.01, 0.01), another_speed=0.1),
)
WITHIN = 0.003
"""What is left of the noise within a run in the mean of its launches."""
LIMIT, TRULY_SLOWER = 0.05, 0.10
CASES_EACH = (1, 3)
"""Cases of each framework: of a quick run, and of one over all tiers."""


def outcome(scenario: RunNoise, each: int, slower: float, seed: int) -> tuple[str, int]:
    """How a gate ends that makes as many runs as it asks for, and how many a side these are.

    "named" if the last case is called slower, which in truth it is by `slower`; "another" if some
    other is; "passed" or "cannot judge".
    """
    generator = np.random.default_rng(seed)
    deviations = np.repeat(scenario.frameworks, each)
    cases = [f"{framework} {number}" for framework in "abc" for number in range(each)]
    logs = generator.normal(0, 1, (2, gate.MOST_RUNS, len(cases)))
    logs *= np.hypot(deviations, WITHIN)
    logs += generator.normal(0, scenario.together, (2, gate.MOST_RUNS, 1))
    slow = generator.random(logs.shape) < scenario.another_speed
    logs += slow * np.log1p(SLOWNESS) / PRESETS["quick"].launches
    logs[1, :, -1] += np.log1p(slower)
    runs = gate.FEWEST_RUNS
    while True:
        values = {case: (logs[0, :runs, n], logs[1, :runs, n]) for n, case in enumerate(cases)}
        rows = comparison.rows_of(values, {case: case[0] for case in cases})
        decided = gate.decide(rows, runs, LIMIT)
        if decided.slower:
            return ("named" if cases[-1] in decided.slower else "another"), runs
        if decided.needed == runs:
            return "passed", runs
        if decided.needed > gate.MOST_RUNS:
            return "cannot judge", runs
        runs = int(decided.needed)


def validate_gate() -> Iterator[pd.DataFrame]:
    """After each scenario, how often a gate names equals and finds a slowdown, of all so far."""
    rows = []
    for scenario in GATED:
        for each in CASES_EACH:
            equal, slowed = (
                [outcome(scenario, each, slower, run) for run in range(first, first + GATE_CALLS)]
                for slower, first in ((0.0, 0), (TRULY_SLOWER, GATE_CALLS))
            )
            rows.append(
                {
                    "scenario": scenario.name,
                    "cases": each * len(scenario.frameworks),
                    "false alarms": np.mean([how in ("named", "another") for how, _ in equal]),
                    "equals not judged": np.mean([how == "cannot judge" for how, _ in equal]),
                    f"{TRULY_SLOWER:.0%} slower, found": np.mean(
                        [how == "named" for how, _ in slowed]
                    ),
                    "not judged": np.mean([how == "cannot judge" for how, _ in slowed]),
                    "median runs a side": np.median([runs for _, runs in equal]),
                    "at most": max(runs for _, runs in equal),
                }
            )
            print(pd.DataFrame(rows[-1:]).to_string(index=False, header=False), flush=True)
            yield pd.DataFrame(rows)


def decided(learned: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The pairs of a run that trains these seeds in turn until it is decided, and how many.

    `learned` has a row for each seed, with the accuracy of each framework.
    """
    for count in range(SEEDS, len(learned) + 1):
        seeds = learned.iloc[:count].reset_index(drop=True).rename_axis(index="seed").reset_index()
        rows = seeds.melt("seed", var_name="group", value_name="compared")
        pairs = accuracy.equivalences(rows, MARGIN)
        if accuracy.learned(pairs):
            break
    return pairs, count


def seeds_until_learned(differences: Array) -> tuple[str, int]:
    """The verdict on two frameworks, and after how many seeds; `differences` in points."""
    pairs, count = decided(pd.DataFrame({"a": differences / 100, "b": 0.0}))
    return str(pairs["verdict"].iloc[0]), count


def validate_learning() -> pd.DataFrame:
    """How often frameworks that learn alike are called equivalent, and those at the margin."""
    rows = []
    for deviation in DEVIATIONS:
        for true in (0.0, MARGIN):
            outcomes = [
                seeds_until_learned(np.random.default_rng(run).normal(true, deviation, MOST_SEEDS))
                for run in range(5 * RUNS)
            ]
            verdicts = [verdict for verdict, _ in outcomes]
            rows.append(
                {
                    "deviation (points)": deviation,
                    "true difference (points)": true,
                    "equivalent": np.mean([one == "equivalent" for one in verdicts]),
                    "different": np.mean([one == "different" for one in verdicts]),
                    "median seeds": np.median([count for _, count in outcomes]),
                }
            )
    return pd.DataFrame(rows)
