"""The table that fills in while a run goes on."""

from __future__ import annotations

import io

from rich.console import Console

from benchmarks.commands.live_table import Standing
from benchmarks.plan.plan import Case
from benchmarks.worker.messages import Block

CASES = tuple(
    Case(backend=name, mode="eager", input="resident", precision="float32", device="cpu")
    for name in ("numpy", "jax")
)


def block(milliseconds: float) -> Block:
    return Block(steps=10, seconds=milliseconds / 100, dispatch_seconds=0.0, cpu_seconds=0.0)


def lines(standing: Standing) -> dict[str, list[str]]:
    """The cells after a case's name."""
    console = Console(file=io.StringIO(), width=120)
    console.print(standing.table())
    printed = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    found = [line.split("eager", 1) for line in printed if "eager" in line]
    return {name.split()[0]: cells.split() for name, cells in found}


def test_only_complete_rounds_count_and_intervals_come_with_the_second_launch() -> None:
    standing = Standing(CASES)
    assert lines(standing) == {"numpy": ["0", "–", "–"], "jax": ["0", "–", "–"]}
    for round_number in range(3):
        standing.add(CASES[1], 1, round_number, block(2.0))
        standing.add(CASES[0], 1, round_number, block(4.0))
    assert lines(standing) == {"numpy": ["2", "4.00", "2.00"], "jax": ["2", "2.00", "1.00"]}

    # A round of the second launch under way, its first block without the other case's.
    standing.add(CASES[1], 2, 0, block(1.0))
    assert lines(standing)["numpy"] == ["3", "4.00", "2.00"]
    standing.add(CASES[0], 2, 0, block(2.2))
    standing.add(CASES[1], 2, 1, block(9.0))
    found = lines(standing)
    # Between a ratio of 2 in the first launch and of 2.2 in the second.
    assert found["numpy"][0] == "4"
    assert found["numpy"][-3] == "2.10"
    assert found["numpy"][-2].startswith("[")
