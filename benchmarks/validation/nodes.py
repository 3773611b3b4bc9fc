"""How intervals narrow with nodes and with launches, by simulation; nothing is measured.

Components of variance are those of one kind of machine: how the ratio of two cases differs from
node to node, from launch to launch of a node, and from round to round of a launch. For each number
of nodes and of launches on each: half the width of the typical 95% interval of a ratio, the share
of intervals that hold the truth, and the same of intervals over all launches alike.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.analysis import statistics

SAMPLES = 200
SCENARIOS = {
    "alike": (0.005, 0.01, 0.02),
    "usual": (0.02, 0.02, 0.02),
    "unlike": (0.05, 0.02, 0.02),
}
"""Standard deviations of a ratio's logarithm by node, launch and round, by what nodes are like."""
NODES, LAUNCHES = (1, 2, 4, 10, 30, 100), (1, 3, 10)
ROUNDS = 8
LAUNCH_SECONDS, PART_KIB = 200.0, 290.0
"""What a launch of the default run takes, and the rows of one: see results/reference."""


def ratios(
    nodes: int,
    launches: int,
    deviations: tuple[float, float, float],
    generator: np.random.Generator,
) -> pd.Series:
    """Logarithms of the ratio of two equal cases, by (node, launch, round)."""
    shapes = [(nodes, 1, 1), (nodes, launches, 1), (nodes, launches, ROUNDS)]
    by_node, by_launch, by_round = (
        deviation * generator.standard_normal(shape)
        for deviation, shape in zip(deviations, shapes, strict=True)
    )
    places = [
        (node, node * launches + launch, number)
        for node in range(nodes)
        for launch in range(launches)
        for number in range(ROUNDS)
    ]
    index = pd.MultiIndex.from_tuples(places, names=["node", "launch", "round"])
    return pd.Series((by_node + by_launch + by_round).ravel(), index=index)


def rows(seed: int = 0, samples: int = SAMPLES) -> Iterator[dict[str, Any]]:
    """A row for each scenario, number of nodes and number of launches."""
    generator = np.random.default_rng(seed)
    for scenario, deviations in SCENARIOS.items():
        for nodes in NODES:
            for launches in LAUNCHES:
                if nodes * launches < 2:
                    continue
                half, held, naively = [], 0, 0
                for _ in range(samples):
                    logs = ratios(nodes, launches, deviations, generator)
                    alone = logs.droplevel("node")
                    found = statistics.interval_of_logs(logs if nodes > 1 else alone)
                    naive = statistics.interval_of_logs(alone)
                    half.append(found.high / found.value - 1)
                    held += found.low <= 1 <= found.high
                    naively += naive.low <= 1 <= naive.high
                yield {
                    "nodes are": scenario,
                    "nodes": nodes,
                    "launches a node": launches,
                    "interval ±": float(np.median(half)),
                    "holds the truth": held / samples,
                    "without nodes": naively / samples,
                    "node hours": nodes * launches * LAUNCH_SECONDS / 3600,
                    "MiB": nodes * launches * PART_KIB / 1024,
                }
