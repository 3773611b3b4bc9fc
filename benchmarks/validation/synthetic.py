"""Verdicts on simulated runs, whose true ratio is known."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from backends.contract import Array
from benchmarks.analysis import noise, statistics
from benchmarks.plan.presets import PRESETS

RUNS = 2000
ROUNDS = 20
LAUNCHES = (2, 3, 5)
MOST_LAUNCHES = 6
SLOWER = 0.05
"""How much slower the slower case is."""
DIFFERENT = ("faster", "slower")

Noise = Callable[[np.random.Generator, tuple[int, int, int]], Array]
"""Draws the logarithms of disturbances, of shape (launches, rounds, cases)."""


def blocks(generator: np.random.Generator, shape: tuple[int, int, int]) -> Array:
    """Blocks vary by 3%, independently."""
    return generator.normal(0, 0.03, shape)


def processes(generator: np.random.Generator, shape: tuple[int, int, int]) -> Array:
    """As `blocks`, and the speeds of processes vary by 2%."""
    by_process = generator.normal(0, 0.02, (shape[0], 1, shape[2]))
    return blocks(generator, shape) + by_process


def slowdown(generator: np.random.Generator, shape: tuple[int, int, int]) -> Array:
    """As `processes`, and the machine slows down by up to 50% within each launch."""
    pace = generator.uniform(0, 0.4, (shape[0], 1, 1))
    within_round = generator.permuted(np.broadcast_to(np.arange(shape[2]), shape), axis=2)
    when = (np.arange(shape[1])[:, None] + within_round / shape[2]) / shape[1]
    return processes(generator, shape) + pace * when


def autocorrelation(generator: np.random.Generator, shape: tuple[int, int, int]) -> Array:
    """What slows a case in one round mostly lasts into the next (AR(1), 0.8); processes vary."""
    noise = generator.normal(0, 0.03, shape)
    for number in range(1, shape[1]):
        noise[:, number] = 0.8 * noise[:, number - 1] + 0.6 * noise[:, number]
    return noise + generator.normal(0, 0.02, (shape[0], 1, shape[2]))


def bursts(generator: np.random.Generator, shape: tuple[int, int, int]) -> Array:
    """As `processes`, and one block in eight becomes up to twice as slow."""
    slowed = generator.random(shape) < 0.125
    return processes(generator, shape) + slowed * generator.uniform(0, 0.7, shape)


def heavy_tails(generator: np.random.Generator, shape: tuple[int, int, int]) -> Array:
    """Blocks and processes follow Student's t with 3 degrees of freedom, with rare outliers."""
    by_process = 0.012 * generator.standard_t(3, (shape[0], 1, shape[2]))
    return 0.02 * generator.standard_t(3, shape) + by_process


def two_speeds(generator: np.random.Generator, shape: tuple[int, int, int]) -> Array:
    """As `blocks`, and every process has one of two speeds, 4% apart, with equal probability."""
    by_process = 0.04 * generator.integers(0, 2, (shape[0], 1, shape[2])) - 0.02
    return blocks(generator, shape) + by_process


SCENARIOS: list[Noise] = [
    *(blocks, processes, slowdown, autocorrelation, bursts, heavy_tails, two_speeds)
]


def simulate(scenario: Noise, launches: int, effect: float, seed: int) -> pd.Series:
    """Logarithms of a ratio whose true value is exp(effect), indexed by launch and round."""
    noise = scenario(np.random.default_rng(seed), (launches, ROUNDS, 2))
    index = pd.MultiIndex.from_product([range(launches), range(ROUNDS)], names=["launch", "round"])
    return pd.Series((effect + noise[..., 1] - noise[..., 0]).ravel(), index=index)


def verdict_on(estimate: statistics.Estimate) -> str:
    """The verdict on a pair that is the only one of its run."""
    return statistics.verdict(estimate, estimate.p_value)


def verdict_when_settled(logs: pd.Series) -> str:
    """The verdict of a run that ends after the launch in which its only pair is settled."""
    estimate = statistics.NOTHING
    for launches in range(PRESETS["default"].launches, MOST_LAUNCHES + 1):
        part = logs[logs.index.get_level_values("launch") < launches]
        estimate = statistics.interval_of_logs(part)
        medians = statistics.launch_medians(part)
        needed = statistics.launches_needed(medians, *noise.pooled([[medians]], ["alone"]))
        pair = {"verdict": verdict_on(estimate), "p_adjusted": estimate.p_value}
        if statistics.settled(pd.DataFrame([pair | {"launches_needed": needed}])):
            break
    return verdict_on(estimate)


def shares(equal: list[str], slower: list[str]) -> dict[str, object]:
    """The share of each kind of verdict, on pairs of equals and of a slower case."""
    return {
        "equal_called_different": float(np.mean([verdict in DIFFERENT for verdict in equal])),
        "slower_called_slower": float(np.mean([verdict == "slower" for verdict in slower])),
        "slower_called_faster": float(np.mean([verdict == "faster" for verdict in slower])),
    }


def validate() -> pd.DataFrame:
    """Coverage of the 95% intervals, and shares of verdicts on equals and on a 5% difference."""
    # A simulated run of a slower case does not share its seed with one of equals.
    effects = [(0.0, 0), (np.log1p(SLOWER), RUNS)]
    rows: list[dict[str, object]] = []
    for scenario in SCENARIOS:
        for launches in LAUNCHES:
            equal, slower = (
                [
                    statistics.interval_of_logs(simulate(scenario, launches, effect, first + run))
                    for run in range(RUNS)
                ]
                for effect, first in effects
            )
            covered = [one.low <= 1 <= one.high for one in equal]
            covered += [one.low <= 1 + SLOWER <= one.high for one in slower]
            rows.append(
                {"scenario": scenario.__name__, "launches": str(launches)}
                | {"covered": float(np.mean(covered))}
                | shares(*([verdict_on(one) for one in each] for each in (equal, slower)))
            )
        until_settled = (
            [
                verdict_when_settled(simulate(scenario, MOST_LAUNCHES, effect, run))
                for run in range(RUNS)
            ]
            for effect, _ in effects
        )
        rows.append(
            {"scenario": scenario.__name__, "launches": f"until settled, at most {MOST_LAUNCHES}"}
            | shares(*until_settled)
        )
        print(pd.DataFrame(rows[-len(LAUNCHES) - 1 :]).to_string(index=False), flush=True)
    return pd.DataFrame(rows)
