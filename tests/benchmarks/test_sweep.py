"""Sweeps: the points that they measure, and how an interrupted one goes on."""

from __future__ import annotations

import json
import shutil
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from benchmarks.commands import running, sweep
from benchmarks.errors import UsageError
from benchmarks.plan.data import Dataset, load
from benchmarks.plan.plan import Plan
from benchmarks.reports.between_runs import sweep as sweep_report
from benchmarks.reports.figures import charts
from tests.support.runs import run
from tests.synthetic_bundles import write_bundle

SHORT = ["--floors", "numpy", "--backends", "numpy", "--modes", "eager", "--hidden", "8"]
SHORT += ["--launches", "2"]


def points(*arguments: str) -> list[sweep.Point]:
    return sweep.points(sweep.parser().read([*arguments]), 784, 10)


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
    arguments = sweep.parser().read(SHORT)
    plan, _ = running.prepare(arguments, running.choose_cases(arguments))

    def of(size: int) -> Plan:
        return sweep.plan_of(points("--widths", str(size))[0], plan, None)

    small, large = of(64), of(4096)
    assert small.rounds == large.rounds == sweep.ROUNDS
    assert small.block.timed == 50
    assert 1 <= large.block.timed < 50


@pytest.fixture
def drawn_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures of single points are left out, which take longer than all of the rest."""
    monkeypatch.setattr(charts, "drawn", lambda *_: {})


@pytest.mark.slow
@pytest.mark.usefixtures("drawn_alone")
def test_an_interrupted_sweep_goes_on_where_it_stopped(images: Path, tmp_path: Path) -> None:
    folder, console = tmp_path / "sweep", Console(quiet=True)
    data = ["--data-dir", str(images)]
    program = ["--python", f"numpy={sys.executable}"]
    arguments = [*SHORT, *data, *program, "--batch-sizes", "16", "32", "--output", str(folder)]
    assert sweep.main(arguments, console) == 0
    table = pd.read_csv(folder / "sweep.csv")
    assert sorted(table.loc[table["case"] == "numpy eager", "value"]) == [16, 32]
    assert "## Batch size" in (folder / "report.md").read_text()
    assert (folder / "figures" / "batch-size.svg").read_text().count("<svg") == 1
    kept = (folder / "sweep.json").read_text()
    assert sys.executable not in kept
    assert str(images.parent) not in kept

    # As if it had been interrupted in its second point.
    first, second = (folder / "points" / f"batch-{size}-hidden-8" for size in (16, 32))
    environment = second / "environment.json"
    content = json.loads(environment.read_text())
    content["run"]["state"] = "interrupted"
    environment.write_text(json.dumps(content))
    before = (first / "samples.csv").stat().st_mtime_ns, (second / "samples.csv").read_text()
    with pytest.raises(UsageError, match="numpy by another Python; name it again with --python"):
        sweep.main(["--resume", str(folder), *data], console)
    with pytest.raises(UsageError, match="other data; name it again with --data-dir FOLDER"):
        sweep.main(["--resume", str(folder), *program], console)
    # Nothing computed that lies in a point is read.
    (first / "summary.csv").write_text("case\nanother")
    assert sweep.main(["--resume", str(folder), *data, *program], console) == 0
    assert (first / "samples.csv").stat().st_mtime_ns == before[0]
    assert (second / "samples.csv").read_text() != before[1]
    assert json.loads(environment.read_text())["run"]["state"] == "complete"
    again = pd.read_csv(folder / "sweep.csv")
    assert list(again["case"]) == list(table["case"])


@cache
def mnist() -> Dataset:
    return load()


def resumable(folder: Path, **choice: Any) -> dict[str, Any]:
    """The sweep.json of a sweep of NumPy that has measured nothing yet, in a new folder."""
    parsed = sweep.parser().read([*SHORT, "--batch-sizes", "16"])
    content = sweep.to_keep(parsed, 2, mnist())
    content["choice"] |= choice
    folder.mkdir()
    (folder / "sweep.json").write_text(json.dumps(content))
    return content


def test_what_a_sweep_keeps_is_what_it_goes_on_with(tmp_path: Path) -> None:
    content = resumable(tmp_path / "sweep", steps=7)
    argv = ["--resume", str(tmp_path / "sweep")]
    arguments, checksum = sweep.resumed(argv, sweep.parser().read(argv))
    expected = [*SHORT, "--batch-sizes", "16", "--steps", "7", "--threads", "2"]
    assert vars(arguments) == vars(sweep.parser().read(expected))
    assert checksum == content["data_sha256"]


@pytest.mark.parametrize(
    "choice",
    [
        {"python": ["numpy={evil}"]},
        {"python": [["numpy", "{evil}"]]},
        {"backends": ["numpy", "--python", "numpy={evil}"]},
        {"backends": ["numpy", "--python=numpy={evil}"]},
        {"preset": "--python=numpy={evil}"},
        {"data_dir": "{evil}"},
        {"output": "{evil}"},
        {"resume": "{evil}"},
        {"help": 1},
        {"profile": True},
        {"steps": "many"},
        {"steps": True},
        {"steps": [1, 2]},
        {"hidden": [-1]},
        {"hidden": {"8": 8}},
        {"seed": None},
        {"preset": "\x1b[31m"},
        {"\x1b[31mpreset": "quick"},
    ],
)
def test_a_foreign_sweep_names_nothing_that_is_run_read_or_written(
    choice: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil, mark = tmp_path / "evil", tmp_path / "ran"
    evil.write_text(f"#!/bin/sh\ntouch {mark}\n")
    evil.chmod(0o755)
    folder = tmp_path / "sweep"
    resumable(folder, **json.loads(json.dumps(choice).replace("{evil}", str(evil))))
    held = sorted(tmp_path.rglob("*"))
    result = run(capsys, "sweep", "--resume", folder)
    assert result.code == 2
    assert next(iter(choice)).rpartition("m")[2] in result.errors.replace("-", "_")
    assert result.errors.isprintable()
    assert sorted(tmp_path.rglob("*")) == held


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[1]",
        '"x"',
        "[" * 100_000,
        '{"arguments": ["--python", "numpy=./evil"]}',
        '{"choice": [], "pythons": [], "data": "", "data_sha256": ""}',
        '{"choice": {}, "pythons": [1], "data": "", "data_sha256": ""}',
        '{"choice": {}, "pythons": [], "data": "", "data_sha256": "", "python": []}',
    ],
)
def test_what_is_no_sweep_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(UsageError, match=r"sweep\.json"):
        sweep.main(["--resume", str(tmp_path)], Console(quiet=True))


def test_no_folder_of_a_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no sweep\.json"):
        sweep.main(["--resume", str(tmp_path / "nowhere")], Console(quiet=True))


@pytest.mark.parametrize(
    ("further", "line"),
    [
        (["--steps", "5", "--output=new"], "leave out --output, --steps"),
        (["--python", f"jax={sys.executable}"], "ran jax by its own Python; leave out --python"),
    ],
)
def test_a_sweep_goes_on_as_it_was_started(further: list[str], line: str, tmp_path: Path) -> None:
    resumable(tmp_path / "sweep")
    with pytest.raises(UsageError, match=line):
        sweep.main(["--resume", str(tmp_path / "sweep"), *further], Console(quiet=True))


@pytest.mark.parametrize("link", ["points", "points/batch-16-hidden-8", "sweep.json"])
def test_links_in_a_sweep_are_not_followed(link: str, tmp_path: Path) -> None:
    folder, outside = tmp_path / "sweep", tmp_path / "outside"
    resumable(folder)
    (outside / "batch-16-hidden-8").mkdir(parents=True)
    kept = outside / "batch-16-hidden-8" / "environment.json"
    kept.write_text("{}")
    path = folder / link
    if link == "sweep.json":
        path.rename(outside / "sweep.json")
        path.symlink_to(outside / "sweep.json")
    else:
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(outside / Path(link).relative_to("points"))
    with pytest.raises(UsageError, match="is a link"):
        sweep.main(["--resume", str(folder)], Console(quiet=True))
    assert kept.read_text() == "{}"


def test_a_point_is_the_run_of_its_workload_and_says_what_is_damaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "sweep"
    resumable(folder)
    (folder / "points").mkdir()
    other = {"batch_size": 32, "layer_sizes": [784, 8, 10], "data_sha256": mnist().sha256}
    point = folder / "points" / "batch-16-hidden-8"
    for workload in (other, other | {"batch_size": 16}):
        shutil.rmtree(point, ignore_errors=True)
        write_bundle(point, {"numpy eager": 1.0}, launches=2, rounds=1, workload=workload)
        with (point / "samples.csv").open("a") as samples:
            samples.write("torn")
        result = run(capsys, "sweep", "--resume", folder)
        if workload == other:
            assert result.code == 2
            assert "the run of another workload, not of batch size 16; remove it" in result.errors
        else:
            assert result.code == 0
            assert "Left out as damaged: 1 row of samples.csv" in " ".join(result.output.split())


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
    ).assign(tier="")
    assert sweep_report.changes(ranks_by_size) == [
        "At batch size 32, a is fastest.",
        "From batch size 128 on, a and b are not told apart, and are fastest.",
        "From batch size 256 on, b is fastest.",
    ]
    # Cases of two tiers do not compete.
    apart = ranks_by_size.assign(tier=["expert", "limit"] * 4, rank=1)
    assert sweep_report.changes(apart) == [
        "At batch size 32, a is fastest of tier expert.",
        "At batch size 32, b is fastest of tier limit.",
    ]
