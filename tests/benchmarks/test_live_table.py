"""The table that fills in while a run goes on."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from benchmarks.plan.cases import Case
from benchmarks.terminal.progress import LiveTable
from benchmarks.worker.messages import Block

CASES = tuple(
    Case(backend=name, mode="eager", input="resident", precision="float32", device="cpu")
    for name in ("numpy", "jax")
)


def block(milliseconds: float) -> Block:
    return Block(steps=10, seconds=milliseconds / 100, dispatch_seconds=0.0, cpu_seconds=0.0)


def lines(table: LiveTable) -> dict[str, list[str]]:
    """The cells after a case's name and tier, in the order of the rows."""
    console = Console(file=io.StringIO(), width=80)
    console.print(table.table())
    printed = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    rows = [line.split("eager", 1) for line in printed if "eager" in line]
    return {name.split()[0]: cells.split()[1:] for name, cells in rows}


def test_only_complete_rounds_count_and_intervals_come_with_the_second_launch() -> None:
    table = LiveTable(CASES)
    assert lines(table) == {"numpy": ["–", "–"], "jax": ["–", "–"]}
    for round_number in range(3):
        table.add(CASES[1], 1, round_number, block(2.0))
        table.add(CASES[0], 1, round_number, block(4.0))
    assert lines(table) == {"numpy": ["4.00", "2.00"], "jax": ["2.00", "1.00"]}
    # The fastest comes first.
    assert list(lines(table)) == ["jax", "numpy"]

    # The first round of the second launch is under way: the other case has no block yet.
    table.add(CASES[1], 2, 0, block(1.0))
    assert lines(table)["numpy"] == ["4.00", "2.00"]
    table.add(CASES[0], 2, 0, block(2.2))
    table.add(CASES[1], 2, 1, block(9.0))
    cells = lines(table)["numpy"]
    # Between the ratios of the launches, 2 and 2.2.
    assert cells[1] == "2.10"
    assert cells[2].startswith("[")


def test_the_fastest_is_that_of_the_tier() -> None:
    cases = (*CASES, replace(CASES[1], mode="scan"))
    table = LiveTable(cases)
    for round_number in range(2):
        for case, milliseconds in zip(cases, (4, 2, 1), strict=True):
            table.add(case, 1, round_number, block(milliseconds))
    assert lines(table) == {"numpy": ["4.00", "2.00"], "jax": ["2.00", "1.00"]}


def test_eighty_characters_hold_the_longest_name_and_the_control_is_explained() -> None:
    longest = Case(backend="tensorflow", mode="function-pipelined", input="streamed",
                   precision="float32", device="cpu")  # fmt: skip
    control = replace(longest, mode="handwritten", input="resident", repetition=1)
    table = LiveTable((longest, control))
    for launch in (1, 2, 3):
        for round_number in range(3):
            for case in (longest, control):
                table.add(case, launch, round_number, block(12.34 + launch))
    console = Console(file=io.StringIO(), width=80)
    console.print(table.table())
    printed = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert all(len(line) <= 80 for line in printed)
    for case in (longest, control):
        (row,) = [line for line in printed if line.strip().startswith(case.name)]
        assert row.rstrip().endswith("]")
    assert "(control): one case a second time" in " ".join(printed)
