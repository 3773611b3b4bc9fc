"""Sweeps: the points that they measure, and how an interrupted one goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from benchmarks.commands import running, sweep
from benchmarks.errors import UsageError
from benchmarks.plan.plan import Plan
from benchmarks.plan.presets import PRESETS
from benchmarks.reports import sweep as sweep_report

SHORT = ["--backends", "numpy", "--modes", "eager", "--hidden", "8", "--launches", "2"]


def points(*arguments: str) -> list[sweep.Point]:
    return sweep.points(sweep.parser().parse_args(arguments), 784, 10)


def test_each_factor_is_varied_alone() -> None:
    varied = points("--batch-sizes", "64", "32", "--depths", "3", "--hidden", "100", "50")
    assert [(p.factor, p.value, p.layer_sizes, p.batch_size) for p in varied] == [
        ("batch size", 32, (784, 100, 50, 10), 32),
        ("batch size", 64, (784, 100, 50, 10), 64),
        ("depth", 3, (784, 100, 100, 100, 10), 128),
    ]
    assert points("--widths", "64")[0].layer_sizes == (784, 64, 64, 10)


def test_without_factors_all_are_varied() -> None:
    varied = points()
    assert {point.factor for point in varied} == {"batch size", "width", "depth"}
    assert len(varied) == sum(len(values) for values in sweep.FACTORS.values())


def test_work_of_a_point_does_not_grow_with_its_size() -> None:
    arguments = sweep.parser().parse_args(SHORT)
    plan, _ = running.prepare(arguments, PRESETS["default"].inputs)

    def of(size: int) -> Plan:
        return sweep.plan_of(points("--widths", str(size))[0], plan, None)

    small, large = of(64), of(4096)
    assert small.rounds == large.rounds == sweep.ROUNDS
    assert small.block_steps == 50
    assert 1 <= large.block_steps < 50


@pytest.mark.slow
def test_an_interrupted_sweep_goes_on_where_it_stopped(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, draw = tmp_path / "sweep", Figure.savefig

    def draw_for_the_sweep(figure: Figure, path: Path, **settings: Any) -> None:
        """Leave out the figures of single points, which take longer than all of the rest."""
        if path.parent == folder / "figures":
            draw(figure, path, **settings)

    monkeypatch.setattr(Figure, "savefig", draw_for_the_sweep)
    console = Console(quiet=True)
    data = ["--data-dir", str(images)]
    arguments = [*SHORT, *data, "--batch-sizes", "16", "32", "--output", str(folder)]
    assert sweep.main(arguments, console) == 0
    table = pd.read_csv(folder / "sweep.csv")
    assert sorted(table.loc[table["case"] == "numpy eager", "value"]) == [16, 32]
    assert "## Batch size" in (folder / "report.md").read_text()
    assert (folder / "figures" / "batch-size.svg").read_text().count("<svg") == 1

    # As if it had been interrupted in its second point.
    first, second = (folder / "points" / f"batch-{size}-hidden-8" for size in (16, 32))
    environment = second / "environment.json"
    content = json.loads(environment.read_text())
    content["run"]["state"] = "interrupted"
    environment.write_text(json.dumps(content))
    before = (first / "samples.csv").stat().st_mtime_ns, (second / "samples.csv").read_text()
    assert sweep.main(["--resume", str(folder)], console) == 0
    assert (first / "samples.csv").stat().st_mtime_ns == before[0]
    assert (second / "samples.csv").read_text() != before[1]
    assert json.loads(environment.read_text())["run"]["state"] == "complete"


def test_what_is_no_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no sweep\.json"):
        sweep.main(["--resume", str(tmp_path)], Console(quiet=True))


def test_a_batch_larger_than_the_data_is_refused_before_anything_runs(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    arguments = [*SHORT, "--batch-sizes", "60000", "--output", str(folder)]
    with pytest.raises(UsageError, match="has only 55,000 images"):
        sweep.main(arguments, Console(quiet=True))
    assert not folder.exists()


def test_where_the_ranking_changes() -> None:
    ranks_by_size = pd.DataFrame(
        [
            ("batch size", value, case, rank)
            for value, ranks in ((32, (1, 2)), (64, (1, 2)), (128, (1, 1)), (256, (2, 1)))
            for case, rank in zip(("a", "b"), ranks, strict=True)
        ],
        columns=["factor", "value", "case", "rank"],
    )
    assert sweep_report.changes(ranks_by_size) == [
        "At batch size 32, a is fastest.",
        "From batch size 128 on, a and b are not told apart, and are fastest.",
        "From batch size 256 on, b is fastest.",
    ]
