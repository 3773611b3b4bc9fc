"""Whole runs of the program: what they leave in their bundle, and what they print."""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from backends.registry import BACKENDS
from benchmarks.bundle.reader import read_environment, undisturbed
from benchmarks.commands import measure
from benchmarks.commands.report import missing_packages
from benchmarks.machine import probe, repository
from benchmarks.machine.processor import allowed_cpus
from benchmarks.machine.settings import available_cpus, default_threads
from benchmarks.plan import data
from benchmarks.plan.blocks import READ_EVERY
from benchmarks.plan.presets import PRESETS
from benchmarks.reports import formats
from tests.support.runs import CASES, run, run_process, table
from tests.support.workers import executable

STEPS, LAUNCHES = 410, 2


@pytest.fixture(scope="module")
def bundle(small: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of NumPy and its control: 2 launches of 410 steps in blocks of 100, by a process."""
    folder = tmp_path_factory.mktemp("run") / "bundle"
    effort = ("--steps", str(STEPS), "--launches", str(LAUNCHES))
    done = run_process(*small, *effort, "--output", folder)
    assert done.code == 0, done.errors
    assert "numpy eager" in done.output
    assert str(folder / "report.md") in done.output
    return folder


def test_the_bundle_is_complete(bundle: Path) -> None:
    tables = {
        *("samples", "accuracy", "readings", "certificates", "ledger", "rounds", "launches"),
        *("outcomes", "parts", "pieces", "summary", "verdicts", "ladders", "floors", "bounds"),
        *("break_even", "totals", "blocks", "learning", "trainings", "ratios"),
        *("curves", "accuracies", "equivalences", "time_to_accuracy"),
    }
    expected = {"environment.json", "summary.json", "report.md", "figures"} | {
        f"{name}.csv" for name in tables
    }
    if not missing_packages():
        expected |= {"report.html"}
    assert {path.name for path in bundle.iterdir()} == expected


def test_a_dry_run_says_what_would_run_and_measures_nothing(
    small: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run(capsys, *small, "--dry-run", "--output", tmp_path / "none")
    assert done.code == 0
    assert "numpy eager (control)" in done.output
    assert "would run" in done.output
    assert re.search(r"about \d+:\d\d minutes: \d+ launches of \d+ rounds", done.output)
    assert not (tmp_path / "none").exists()


def test_no_cell_says_missing_in_another_way_than_by_being_empty(bundle: Path) -> None:
    for path in bundle.glob("*.csv"):
        cells = {cell for line in csv.reader(path.open()) for cell in line}
        assert not {cell.lower() for cell in cells} & {"nan", "na", "n/a", "null"}, path.name


def test_data_and_program_are_identified(bundle: Path, images: Path) -> None:
    environment = read_environment(bundle)
    assert environment.workload.data_sha256 == data.load(images).sha256
    assert environment.workload.data_shuffled is None
    assert environment.git_commit == repository.commit()
    assert environment.git_modified == repository.modified()


def test_a_mode_that_cannot_run_is_skipped_and_what_lacks_is_said(
    small: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    undrawn: None,  # noqa: ARG001
) -> None:
    def probe_each(programs: list[probe.Program], *_: object) -> dict[probe.Program, probe.Probe]:
        unusable = {"jax": dict.fromkeys(BACKENDS["jax"].modes, "cannot compile here")}
        return {one: probe.Probe(unusable=unusable.get(one.backend, {})) for one in programs}

    monkeypatch.setattr(probe, "probe_each", probe_each)
    few = ("--steps", "5", "--launches", "1")
    compiled = ("--floors", "none", "--backends", "jax", "--modes", "compiled,scan")
    done = run(capsys, *small[:6], *compiled, "--output", tmp_path / "none")
    assert done.code == 2
    # Once, with the names of both.
    assert done.errors.endswith("on the cpu here: jax compiled, jax scan: cannot compile here")
    folder = tmp_path / "some"
    both = ("--floors", "numpy", "--backends", "numpy", "jax", "--modes", "eager,compiled,scan")
    done = run(capsys, *small[:6], *both, *few, "--output", folder)
    assert done.code == 0, done.errors
    assert "note: a block has no lead-in, since it has few steps" in done.output
    assert "note: one launch gives no intervals" in done.output
    assert "skipped: jax eager, jax compiled, jax scan: cannot compile here" in done.output
    reasons = table(folder, "outcomes").set_index("case")["reason"].to_dict()
    names = ("jax eager", "jax compiled", "jax scan")
    assert reasons == dict.fromkeys(names, "cannot compile here")


def test_samples_are_interleaved_blocks(bundle: Path) -> None:
    samples = table(bundle, "samples")
    rounds = table(bundle, "rounds").groupby("launch").size()
    # Four, and one more where one was disturbed.
    assert rounds.isin([4, 5]).all()
    # The case, its control and the floor.
    assert len(samples) == 3 * rounds.sum()
    assert (samples.groupby(["launch", "round"])["case"].nunique() == 3).all()
    assert (samples["dispatch_seconds"] <= samples["seconds"]).all()
    assert (samples["seconds"] > 0).all()
    assert samples.groupby("launch")["seed"].first().tolist() == [0, 1]


def test_case_and_control_train_alike(bundle: Path) -> None:
    """The same seed gives the same parameters and batches, so the same accuracies."""
    accuracy = table(bundle, "accuracy")
    twins = [
        part.drop(columns=["case", "repetition", "train_seconds"]).reset_index(drop=True)
        for _, part in accuracy.groupby("case")
    ]
    pd.testing.assert_frame_equal(twins[0], twins[1])
    # One reading a launch, after the first block, which began in the middle of the training.
    blocks = table(bundle, "launches")
    first = STEPS // 2 + blocks["lead_in_steps"] + blocks["block_steps"]
    assert accuracy["step"].tolist() == first.tolist()


def test_a_framework_learns_whole_seeds_on_one_grid(bundle: Path) -> None:
    learning, trainings = table(bundle, "learning"), table(bundle, "trainings")
    grid = [*range(0, STEPS, READ_EVERY), STEPS]
    assert set(trainings["case"]) == {"numpy eager"}
    assert trainings["seed"].tolist() == list(range(PRESETS["default"].learning_seeds))
    assert (trainings["steps"] == STEPS).all()
    for _, readings in learning.groupby("seed"):
        assert readings["step"].tolist() == grid
        # That of guessing among ten classes.
        assert readings["train_loss"].iloc[0] == pytest.approx(2.3, abs=0.1)
        assert readings["train_loss"].iloc[-1] < 0.7 * readings["train_loss"].iloc[0]
    for content in (learning, trainings):
        assert set(content.columns[content.isna().all()]) == {"variant", "ranks", "batch"}


def test_the_summary_follows_from_the_samples(bundle: Path) -> None:
    samples = undisturbed(table(bundle, "samples"), table(bundle, "rounds"))
    samples["log_ms"] = np.log(1000 * samples["seconds"] / samples["steps"])
    medians = samples.groupby(["case", "launch"])["log_ms"].median().groupby("case").mean()
    summary = table(bundle, "summary").set_index("case")
    for case, row in summary.iterrows():
        assert row["step_ms"] == pytest.approx(np.exp(medians[str(case)]))
        assert row["step_ms_low"] <= row["step_ms"] <= row["step_ms_high"]


def test_every_number_of_the_ranking_is_in_the_summary(bundle: Path) -> None:
    row = table(bundle, "summary").set_index("case").to_dict("index")["numpy eager"]
    lines = (bundle / "report.md").read_text().splitlines()
    line = next(line for line in lines if "| numpy eager " in line)
    low, value, high = (float(row[name]) for name in ("step_ms_low", "step_ms", "step_ms_high"))
    assert formats.interval(value, low, high, formats.MS) in line


def test_the_environment_is_recorded(bundle: Path) -> None:
    environment = json.loads((bundle / "environment.json").read_text())
    assert environment["run"]["state"] == "complete"
    assert environment["run"]["finished_launches"] == LAUNCHES
    assert environment["workload"]["layer_sizes"] == [64, 16, 10]
    assert environment["packages"]["numpy"]
    ledger = table(bundle, "ledger").set_index(["launch", "case", "entry"])["value"]
    assert ledger[0, "numpy eager", "threads"] == str(default_threads())
    assert ledger[1, "numpy eager", "product"] == "float32"


@pytest.mark.usefixtures("undrawn")
def test_workers_are_bound_to_the_cpus_that_are_named(
    small: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *_, last = (*allowed_cpus(), allowed_cpus()[-1])
    cpus = ("--cpus", f"{last},{first}", "--threads", "1")
    done = run(
        capsys, *small, *cpus, "--steps", "50", "--launches", "1", "--output", tmp_path / "out"
    )
    assert done.code == 0, done.errors
    recorded = json.loads((tmp_path / "out" / "environment.json").read_text())["run"]
    assert (recorded["threads"], recorded["cpus"]) == (1, str(last))
    entries = table(tmp_path / "out", "ledger")
    bound = entries.loc[entries["entry"] == "cpus_allowed", "value"]
    assert set(bound.astype(str)) == {"1"}
    assert f"1 thread on 1 of {available_cpus()} CPUs ({last})" in (
        tmp_path / "out" / "report.md"
    ).read_text(encoding="utf-8")


def test_every_worker_is_certified(bundle: Path) -> None:
    certificates = table(bundle, "certificates")
    figures = certificates.groupby(["launch", "case", "level"]).size()
    # Logits, two losses, and three stages with four parameters; in float64 one more.
    assert figures.to_dict() == {
        (0, case, level): count
        for case in CASES
        for level, count in (("exact", 19), ("as timed", 15))
    }
    # What is timed is certified in every launch.
    blocks = table(bundle, "blocks")
    assert set(blocks.groupby("launch")["case"].unique().map(frozenset)) == {frozenset(CASES)}
    assert sorted(blocks["launch"].unique()) == [0, 1]
    assert blocks["passed"].all()
    assert certificates["passed"].all()
    assert (certificates.loc[certificates["level"] == "exact", "bound"] == 1e-9).all()


def test_certify_prints_certificate_and_ledger(small: tuple[str, ...]) -> None:
    done = run_process("certify", *small[:6], *small[8:])
    assert done.code == 0, done.errors
    for part in ("parameters 10 steps", "certified in", "CPUs used", "precision of a product"):
        assert part in done.output


def test_help_and_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert "For example:" in run_process("--help").output
    listed = run(capsys, "--list", "--backends", "numpy")
    assert listed.code == 0
    assert "numpy" in listed.output
    assert "yes" in listed.output


@pytest.mark.usefixtures("undrawn")
def test_a_backend_may_have_a_python_of_its_own(
    small: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It runs the backend's workers and the probe of what the backend can do; nothing else."""
    calls = tmp_path / "calls"
    python = executable(tmp_path / "python", f'echo "$@" >> {calls}\nexec {sys.executable} "$@"')
    done = run(
        capsys, *small, "--steps", "50", "--launches", "1", "--output", tmp_path / "out",
        "--python", f"numpy={python}",
    )  # fmt: skip
    assert done.code == 0, done.errors
    called = calls.read_text().splitlines()
    assert called[0] == f"-m benchmarks.machine.probe {BACKENDS['numpy'].to_json()} cpu"
    # The case, its control and the floor.
    assert [line.rpartition(" ")[0] for line in called[1:]] == ["-m benchmarks.worker"] * 3


def test_pythons_add_up() -> None:
    arguments = ["--python", f"jax={sys.executable}", "--python", f"pytorch={sys.executable}"]
    assert dict(measure.parser().parse_args(arguments).python) == {
        "jax": sys.executable,
        "pytorch": sys.executable,
    }


@pytest.mark.slow
def test_quick_runs_all_frameworks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On MNIST itself, which the other runs do without; a narrow layer is trained soon enough."""
    folder = tmp_path / "out"
    effort = ("--hidden", "64", "--launches", "1", "--time-limit", "3.5")
    done = run(capsys, "--preset", "quick", *effort, "--output", folder)
    assert done.code == 0, done.errors + done.output
    summary = table(folder, "summary").set_index("case")
    expert = {"pytorch compiled-flushed", "tensorflow compiled", "jax compiled"}
    assert expert <= set(summary.index)
    assert summary["certified"].all()
    assert summary["rank"].notna().sum() == 3
