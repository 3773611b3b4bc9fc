"""Whether the verdicts are right as often as they claim.

To be run by hand, on a machine that does nothing else:

    python -m benchmarks.validation synthetic     simulated runs whose truth is known; minutes
    python -m benchmarks.validation real          real runs of one case under several names, and of
                                                that case slowed on purpose; an hour
    python -m benchmarks.validation widths        intervals of interleaved and of separate runs

All write their tables to results/validation/, as markdown and CSV.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic

import numpy as np
import pandas as pd

from backends.contract import Adam, Array, Network
from benchmarks.analysis import comparison, statistics
from benchmarks.bundle.writer import BundleWriter
from benchmarks.machine import environment
from benchmarks.machine.settings import ROOT, available_cpus
from benchmarks.plan import data
from benchmarks.plan.plan import PRESETS, Case, Plan
from benchmarks.plan.workload import Workload
from benchmarks.session.session import Session

FOLDER = ROOT / "results" / "validation"

# Synthetic runs.

RUNS = 2000
ROUNDS = 20
LAUNCHES = (2, 3, 5)
MOST_LAUNCHES = 6
SLOWER = 0.05

Noise = Callable[[np.random.Generator, tuple[int, int, int]], Array]
"""Logarithms of disturbances, for (launches, rounds, cases)."""


def blocks(generator: np.random.Generator, shape: tuple[int, int, int]) -> Array:
    """Blocks vary by 3%, independently."""
    return generator.normal(0, 0.03, shape)


def processes(generator: np.random.Generator, shape: tuple[int, int, int]) -> Array:
    """And each process has a speed of its own, 2% apart."""
    own = generator.normal(0, 0.02, (shape[0], 1, shape[2]))
    return blocks(generator, shape) + own


def drift(generator: np.random.Generator, shape: tuple[int, int, int]) -> Array:
    """And the machine slows down by up to 50% within a launch, not at the same pace each time."""
    pace = generator.uniform(0, 0.4, (shape[0], 1, 1))
    within_round = generator.permuted(np.broadcast_to(np.arange(shape[2]), shape), axis=2)
    when = (np.arange(shape[1])[:, None] + within_round / shape[2]) / shape[1]
    return processes(generator, shape) + pace * when


def autocorrelation(generator: np.random.Generator, shape: tuple[int, int, int]) -> Array:
    """And what slows a case in one round mostly lasts into the next (AR(1), 0.8)."""
    noise = generator.normal(0, 0.03, shape)
    for number in range(1, shape[1]):
        noise[:, number] = 0.8 * noise[:, number - 1] + 0.6 * noise[:, number]
    return noise + generator.normal(0, 0.02, (shape[0], 1, shape[2]))


def bursts(generator: np.random.Generator, shape: tuple[int, int, int]) -> Array:
    """And one block in eight is hit by something that makes it up to twice as slow."""
    hit = generator.random(shape) < 0.125
    return processes(generator, shape) + hit * generator.uniform(0, 0.7, shape)


def heavy_tails(generator: np.random.Generator, shape: tuple[int, int, int]) -> Array:
    """Blocks and processes by Student's t with 3 degrees of freedom: now and then far off."""
    own = 0.012 * generator.standard_t(3, (shape[0], 1, shape[2]))
    return 0.02 * generator.standard_t(3, shape) + own


def two_speeds(generator: np.random.Generator, shape: tuple[int, int, int]) -> Array:
    """Every process lands on one of two speeds, 4% apart, by the toss of a coin."""
    own = 0.04 * generator.integers(0, 2, (shape[0], 1, shape[2])) - 0.02
    return blocks(generator, shape) + own


SCENARIOS: tuple[Noise, ...] = (
    blocks,
    processes,
    drift,
    autocorrelation,
    bursts,
    heavy_tails,
    two_speeds,
)


def simulate(scenario: Noise, launches: int, effect: float, seed: int) -> pd.Series:
    """The logarithms of a ratio whose truth is exp(effect), by launch and round."""
    noise = scenario(np.random.default_rng(seed), (launches, ROUNDS, 2))
    index = pd.MultiIndex.from_product([range(launches), range(ROUNDS)], names=["launch", "round"])
    return pd.Series((effect + noise[..., 1] - noise[..., 0]).ravel(), index=index)


def verdict_of(found: statistics.Estimate) -> str:
    """The verdict on a pair that is alone in its run."""
    return statistics.verdict(found, statistics.SMALLEST_DIFFERENCE, found.p_value)


def stopped_early(logs: pd.Series) -> str:
    """The verdict of a run that looks after each launch and ends when its one pair is settled."""
    found = statistics.NOTHING
    for launches in range(PRESETS["default"].launches, MOST_LAUNCHES + 1):
        part = logs[logs.index.get_level_values("launch") < launches]
        found = statistics.interval_of_logs(part)
        pair = {
            "verdict": verdict_of(found),
            "p_adjusted": found.p_value,
            "launches_needed": statistics.launches_needed(
                statistics.launch_medians(part), control=np.array([])
            ),
        }
        if statistics.settled(pd.DataFrame([pair])):
            break
    return verdict_of(found)


def synthetic() -> pd.DataFrame:
    """Coverage of 95% intervals, false differences between equals, and 5% that are found."""
    rows = []
    for scenario in SCENARIOS:
        for launches in LAUNCHES:
            equal = [
                statistics.interval_of_logs(simulate(scenario, launches, 0.0, seed))
                for seed in range(RUNS)
            ]
            slower = [
                statistics.interval_of_logs(
                    simulate(scenario, launches, np.log1p(SLOWER), RUNS + seed)
                )
                for seed in range(RUNS)
            ]
            covered = [found.low <= 1 <= found.high for found in equal]
            covered += [found.low <= 1 + SLOWER <= found.high for found in slower]
            rows.append(
                {
                    "scenario": scenario.__name__,
                    "launches": str(launches),
                    "covered": np.mean(covered),
                    "equal_called_different": np.mean(
                        [verdict_of(found) in ("faster", "slower") for found in equal]
                    ),
                    "slower_called_slower": np.mean([verdict_of(f) == "slower" for f in slower]),
                    "slower_called_faster": np.mean([verdict_of(f) == "faster" for f in slower]),
                }
            )
        until_settled = [
            [stopped_early(simulate(scenario, MOST_LAUNCHES, effect, seed)) for seed in range(RUNS)]
            for effect in (0.0, np.log1p(SLOWER))
        ]
        rows.append(
            {
                "scenario": scenario.__name__,
                "launches": f"until settled, at most {MOST_LAUNCHES}",
                "equal_called_different": np.mean(
                    [found in ("faster", "slower") for found in until_settled[0]]
                ),
                "slower_called_slower": np.mean([found == "slower" for found in until_settled[1]]),
                "slower_called_faster": np.mean([found == "faster" for found in until_settled[1]]),
            }
        )
        print(pd.DataFrame(rows[-len(LAUNCHES) - 1 :]).to_string(index=False), flush=True)
    return pd.DataFrame(rows)


# Real runs.

CASE = Case(backend="jax", mode="compiled", input="resident", precision="float32", device="cpu")


class Silence:
    """A session's progress, shown to nobody."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


ENOUGH_SECONDS = 3600.0


def measure(
    cases: tuple[Case, ...], preset: str, seed: int, launches: int | None = None
) -> pd.DataFrame:
    """A run of `cases` at the length of `preset`: its samples of undisturbed rounds.

    It ends as runs do, when all is settled or its time is spent, unless `launches` are given; a
    case has as much time as in a run of the preset's own cases and their control.
    """
    dataset, about = data.load(), PRESETS[preset]
    own = sum(len(modes) for modes in about.modes.values()) + 1
    plan = Plan(
        name="validation",
        workload=Workload(
            network=Network(layer_sizes=(dataset.pixels, 512, 512, dataset.classes)),
            adam=Adam(),
            batch_size=128,
            steps=about.steps,
            training_images=len(dataset.training.labels),
            data_dir=str(data.EMBEDDED),
        ),
        cases=cases,
        skipped={},
        launches=launches or about.launches,
        until_settled=launches is None,
        seed=seed,
        threads=available_cpus(),
        time_limit_seconds=(
            60 * about.time_limit_minutes * len(cases) / own if launches is None else ENOUGH_SECONDS
        ),
    )
    with tempfile.TemporaryDirectory() as folder:
        writer = BundleWriter(Path(folder))

        def samples() -> pd.DataFrame:
            tables = (pd.read_csv(Path(folder) / f"{name}.csv") for name in ("samples", "rounds"))
            return statistics.undisturbed(*tables)

        Session(
            plan=plan,
            training=dataset.training,
            writer=writer,
            progress=Silence(),  # type: ignore[arg-type]
            environment={"run": {}},
            started=monotonic(),
            settled=lambda: statistics.settled(pairs(samples(), cases)),
        ).run()
        writer.close()
        return samples()


def pairs(samples: pd.DataFrame, cases: tuple[Case, ...]) -> pd.DataFrame:
    """The verdicts on all pairs, controls included, by the rule of the reports."""
    comparable = pd.DataFrame(
        [
            {"case": case.name, "precision_found": case.precision, **case.identity()}
            for case in cases
        ]
    )
    return statistics.verdicts(samples, comparable)


WIDTH_LAUNCHES = 5


def widths(runs: int) -> Iterator[pd.DataFrame]:
    """The interval of one ratio from interleaved rounds, and from separate runs of as many.

    All that was found so far, after each run: a validation of an hour may be cut short.
    """
    other = replace(CASE, backend="pytorch", mode="eager")
    rows = []
    for seed in range(runs):
        together = statistics.step_seconds(measure((CASE, other), "quick", seed, WIDTH_LAUNCHES))
        paired = statistics.ratio(together, other.name, CASE.name)
        alone = [
            np.log(
                statistics.step_seconds(measure((case,), "quick", seed, WIDTH_LAUNCHES))[case.name]
            )
            for case in (CASE, other)
        ]
        first, second = (statistics.launch_medians(values) for values in alone)
        separate = comparison.ratio(first, second)
        rows.append(
            {
                "seed": seed,
                "interleaved": paired.value,
                "interleaved_width": np.log(paired.high / paired.low),
                "separate": separate.value,
                "separate_width": np.log(separate.high / separate.low),
            }
        )
        print(pd.DataFrame(rows[-1:]).to_string(index=False), flush=True)
        yield pd.DataFrame(rows)


def real(runs: int) -> Iterator[pd.DataFrame]:
    """Pairs of equals, and a case slowed by 5% (default length) and by 20% (quick).

    As `widths`, all that was found so far.
    """
    found = []
    for number in range(runs):
        for preset, slowed_by in (("default", 0.05), ("quick", 0.20)):
            cases = (
                CASE,
                replace(CASE, repetition=1),
                replace(CASE, repetition=2),
                replace(CASE, slowed_by=slowed_by),
            )
            verdicts = pairs(measure(cases, preset, seed=100 * number), cases)
            found.append(verdicts.assign(preset=preset, seed=100 * number))
            shown = ["preset", "seed", "case", "other", "ratio", "ratio_low", "ratio_high"]
            print(found[-1][[*shown, "launches", "verdict"]].to_string(index=False), flush=True)
        yield pd.concat(found, ignore_index=True)


def real_summary(found: pd.DataFrame) -> pd.DataFrame:
    """How often equals were called different, and slowed cases slower."""
    rows = []
    for preset, own in found.groupby("preset", sort=False):
        slowed = own["other"].str.contains("slowed")
        equals, against = own[~slowed], own[slowed & (own["case"] == CASE.name)]
        rows.append(
            {
                "preset": preset,
                "runs": own["seed"].nunique(),
                "pairs of equals": len(equals),
                "called different": int(equals["verdict"].isin(["faster", "slower"]).sum()),
                "slowed case": against["other"].iloc[0],
                "found slower": int((against["verdict"] == "faster").sum()),
                "median ratio": f"{1 / np.exp(np.log(against['ratio']).median()):.3f}",
                "launches": f"{own['launches'].min()} to {own['launches'].max()}",
            }
        )
    return pd.DataFrame(rows)


def write(name: str, title: str, table: pd.DataFrame, raw: pd.DataFrame) -> None:
    """Keep a validation's table and what it rests on."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    raw.to_csv(FOLDER / f"{name}.csv", index=False)
    machine = environment.describe()["machine"]
    where = f"{machine['cpu']}, {available_cpus()} CPUs, {machine['system']}"
    body = table.to_markdown(index=False, floatfmt=".3f")
    (FOLDER / f"{name}.md").write_text(f"# {title}\n\n{body}\n\nOn {where}.\n")


def main() -> None:
    """Run one of the validations."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", choices=("synthetic", "real", "widths"))
    parser.add_argument("--runs", type=int, default=10, help="real runs; default: %(default)s")
    arguments = parser.parse_args()
    if arguments.which == "synthetic":
        found = synthetic()
        write("synthetic", f"{RUNS:,} simulated runs a line", found, found)
    elif arguments.which == "widths":
        for found in widths(arguments.runs):
            medians = found.drop(columns="seed").median().to_frame("median").T
            write("widths", f"One ratio from {len(found)} runs of each kind", medians, found)
    else:
        for found in real(arguments.runs):
            write("real", "Real runs of equals and of a slowed case", real_summary(found), found)


if __name__ == "__main__":
    main()
