"""The commands report and compare, on bundles whose step times are known."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import run_all
from benchmarks.analysis.between_runs import comparison
from benchmarks.bundle.reader import Bundle
from benchmarks.errors import UnjudgedError, UsageError
from benchmarks.machine.settings import ROOT
from tests.support.report_tables import in_markdown, in_page
from tests.synthetic_bundles import write_bundle

TIMES = {"numpy eager": 2.0, "jax compiled": 1.0, "jax multistep": 0.8}
SLOWED = TIMES | {"jax compiled": 1.1}


def rows_of(before: Path, after: Path, baseline: str | None = None) -> dict[str, dict[str, Any]]:
    """The rows of a comparison by case."""
    compared = comparison.compare([Bundle.read(before)], [Bundle.read(after)], baseline)
    return {str(row["case"]): dict(row) for _, row in compared.rows.iterrows()}


def verdicts(rows: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {case: row["verdict"] for case, row in rows.items()}


def main(*arguments: str | Path) -> int:
    """The exit code, however the program ends."""
    try:
        return run_all.main([str(argument) for argument in arguments])
    except SystemExit as ended:
        return int(ended.code or 0)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two bundles, written once: in `after`, one case takes 10% longer."""
    folder = tmp_path_factory.mktemp("pair")
    write_bundle(folder / "before", TIMES, seed=1)
    write_bundle(folder / "after", SLOWED, seed=2)
    return folder


@pytest.fixture
def before(pair: Path, tmp_path: Path) -> Path:
    """A copy that the test may change."""
    return Path(shutil.copytree(pair / "before", tmp_path / "before"))


@pytest.fixture
def after(pair: Path, tmp_path: Path) -> Path:
    """A copy that the test may change."""
    return Path(shutil.copytree(pair / "after", tmp_path / "after"))


# compare


def test_a_slowed_case_is_found_and_no_other(before: Path, after: Path) -> None:
    rows = rows_of(before, after)
    slowed = rows["jax compiled"]
    assert slowed["ratio_low"] < 1.1 < slowed["ratio_high"]
    assert slowed["before"] == pytest.approx(0.001, rel=0.02)
    assert slowed["after"] == pytest.approx(0.0011, rel=0.02)
    assert {case for case, verdict in verdicts(rows).items() if verdict == "slower"} == {
        "jax compiled"
    }
    back = verdicts(rows_of(after, before))
    assert {case for case, verdict in back.items() if verdict == "faster"} == {"jax compiled"}


def test_equal_cases_tie_where_the_intervals_are_narrow(tmp_path: Path) -> None:
    old, new = (
        write_bundle(tmp_path / str(seed), TIMES, launches=6, spread=0.001, seed=seed)
        for seed in (1, 2)
    )
    assert set(verdicts(rows_of(old, new)).values()) == {"tie"}


def test_the_interval_is_welchs(before: Path, tmp_path: Path) -> None:
    """Welch's formula, applied to the samples."""
    after = write_bundle(tmp_path / "five", SLOWED, launches=5, spread=0.02, seed=3)
    values = []
    for folder in (before, after):
        samples = pd.read_csv(folder / "samples.csv").query("case == 'jax compiled'")
        medians = (samples["seconds"] / samples["steps"]).groupby(samples["launch"]).median()
        values.append(np.log(medians.to_numpy()))
    shares = [logs.var(ddof=1) / len(logs) for logs in values]
    freedom = sum(shares) ** 2 / (shares[0] ** 2 / 2 + shares[1] ** 2 / 4)
    centre = values[1].mean() - values[0].mean()
    reach = stats.t.ppf(0.975, freedom) * np.sqrt(sum(shares))
    row = rows_of(before, after)["jax compiled"]
    estimate = [row["ratio"], row["ratio_low"], row["ratio_high"]]
    # The median of an even number of rounds: the mean of two, taken here before the logarithm.
    assert estimate == pytest.approx(np.exp([centre, centre - reach, centre + reach]), rel=1e-4)
    assert (row["values_before"], row["values_after"]) == (3, 5)


def test_the_interval_covers_at_its_level() -> None:
    """About one in twenty intervals over equal launches misses."""
    generator = np.random.default_rng(0)
    missed = 0
    for _ in range(400):
        old, new = (generator.normal(0, s, n) for s, n in ((0.01, 3), (0.03, 5)))
        estimate = comparison.ratio(old, new)
        missed += not estimate.low <= 1 <= estimate.high
    assert 5 <= missed <= 40


def test_one_launch_decides_nothing(tmp_path: Path, after: Path) -> None:
    single = write_bundle(tmp_path / "single", TIMES, launches=1)
    for rows in (rows_of(single, after), rows_of(after, single)):
        assert set(verdicts(rows).values()) == {"undecided"}
        for row in rows.values():
            assert np.isnan([row["ratio_low"], row["ratio_high"]]).all()
            assert row["ratio"] > 0


def test_a_baseline_cancels_a_slower_machine(before: Path, tmp_path: Path) -> None:
    doubled = {case: 2 * time for case, time in SLOWED.items()}
    other = write_bundle(
        tmp_path / "other", doubled, seed=3, slowdown=0.2, machine={"cpu": "Another CPU"}
    )
    assert rows_of(before, other)["jax multistep"]["ratio"] > 1.5
    rows = rows_of(before, other, "numpy eager")
    assert set(rows) == {"jax compiled", "jax multistep"}
    assert rows["jax compiled"]["verdict"] == "slower"
    assert rows["jax compiled"]["ratio"] == pytest.approx(1.1, rel=0.02)
    assert rows["jax multistep"]["verdict"] in {"tie", "undecided"}
    assert rows["jax multistep"]["ratio"] == pytest.approx(1, rel=0.02)
    assert rows["jax multistep"]["before"] == pytest.approx(0.4, rel=0.02)


def test_the_baseline_is_divided_out_within_rounds() -> None:
    """With a round missing, the quotient of the two medians would be another number."""
    index = pd.MultiIndex.from_product([[0], range(4)], names=["launch", "round"])
    swing = np.array([1.0, 3.0, 10.0, 40.0])
    table = pd.DataFrame({"a": 1.5 * swing, "b": swing}, index=index)
    table.loc[(0, 3), "b"] = np.nan
    values = comparison.launch_values(table, "a", "b")
    assert np.exp(values) == pytest.approx([1.5])


def output_of(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_different_machines_are_pointed_out(
    before: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_bundle(
        tmp_path / "other", TIMES, machine={"cpu": "Another CPU"}, run={"threads": 4}
    )
    assert main("compare", before, other) == 0
    printed = output_of(capsys)
    assert "Absolute times of different machines are compared" in printed
    assert "cpu Some CPU before, Another CPU after" in printed
    assert "differ in threads: 2 before, 4 after" in printed
    assert main("compare", before, other, "--baseline", "numpy eager") == 0
    printed = output_of(capsys)
    assert "Absolute times" not in printed
    assert "The baseline itself, numpy eager, takes" in printed
    assert "before (times baseline)" in printed


def test_versions_that_differ_are_listed_on_terminal_and_in_the_file(
    before: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    upgraded = write_bundle(tmp_path / "after", SLOWED, seed=2, packages={"jax": "0.11.0"})
    output = tmp_path / "upgrade.md"
    assert main("compare", before, upgraded, "--output", output) == 0
    text = output.read_text()
    for printed in (output_of(capsys), text):
        assert "0.10.2" in printed
        assert "0.11.0" in printed
        assert "2.4.6" not in printed
    row = rows_of(before, upgraded)["jax compiled"]
    line = next(line for line in text.splitlines() if line.startswith("| jax compiled"))
    assert f"{row['ratio']:.3f} [{row['ratio_low']:.3f}, {row['ratio_high']:.3f}]" in line
    assert "slower" in line
    assert all(case in text for case in TIMES)


def test_cases_that_cannot_be_compared_are_named(before: Path, tmp_path: Path) -> None:
    other = write_bundle(
        tmp_path / "other",
        {"numpy eager": 2.0, "jax multistep": 0.8, "jax eager": 5.0},
        uncertified=("jax multistep",),
        skipped=("jax compiled",),
    )
    compared = comparison.compare([Bundle.read(before)], [Bundle.read(other)])
    assert list(compared.rows["case"]) == ["numpy eager"]
    assert compared.left_out == {
        "jax compiled": "was skipped in AFTER",
        "jax multistep": "failed its certificate in AFTER",
        "jax eager": "is not in BEFORE",
    }


def test_another_precision_is_not_compared(before: Path, tmp_path: Path) -> None:
    double = write_bundle(tmp_path / "double", TIMES, precision="float64")
    with pytest.raises(UnjudgedError, match="has precision found float32 in BEFORE and float64"):
        rows_of(before, double)


def test_disturbed_rounds_do_not_count(tmp_path: Path, before: Path) -> None:
    """Five of ten rounds take five times as long, which would raise the median if they counted."""
    other = write_bundle(tmp_path / "other", TIMES, seed=2, disturbed=(0, 1, 2, 3, 4))
    for row in rows_of(before, other).values():
        assert row["ratio"] == pytest.approx(1, rel=0.01)


def test_many_equal_cases_are_not_called_different() -> None:
    """Verdicts account for the number of cases: some of forty intervals miss by chance."""
    generator = np.random.default_rng(0)
    index = pd.MultiIndex.from_product([range(8), range(3)], names=["launch", "round"])
    cases = [f"case {number}" for number in range(40)]
    old, new = (
        pd.DataFrame(
            np.exp(np.repeat(generator.normal(0, 0.05, (8, 40)), 3, axis=0)), index, columns=cases
        )
        for _ in range(2)
    )
    tables = {"before": [old], "after": [new]}
    rows = comparison.rows_of({case: comparison.values_of(tables, case) for case in cases})
    missed = (rows["ratio_low"] > 1) | (rows["ratio_high"] < 1)
    assert missed.any()
    assert not set(rows["verdict"]) & {"faster", "slower"}


def test_controls_are_not_compared(tmp_path: Path) -> None:
    times = TIMES | {"jax multistep (control)": 0.8}
    old, new = (write_bundle(tmp_path / str(seed), times, seed=seed) for seed in (1, 2))
    assert set(rows_of(old, new)) == set(TIMES)


def test_steps_alone_may_differ(before: Path, tmp_path: Path) -> None:
    longer = write_bundle(tmp_path / "longer", TIMES, workload={"steps": 900})
    compared = comparison.compare([Bundle.read(before)], [Bundle.read(longer)])
    assert any("differ in steps: 500 before, 900 after" in note for note in compared.cautions)


# report, of one bundle


def test_a_report_reproduces_what_was_deleted(
    before: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    computed = ("summary.csv", "verdicts.csv", "curves.csv", "report.md", "report.html")
    assert main("report", before) == 0
    first = {name: (before / name).read_bytes() for name in computed}
    summary = pd.read_csv(before / "summary.csv").set_index("case")
    for case, time in TIMES.items():
        assert summary.at[case, "step_ms"] == pytest.approx(time, rel=0.02)
    # Each is alone in its tier, the last by what its former name stands for.
    tiers = {"numpy eager": "taught", "jax compiled": "expert", "jax multistep": "limit"}
    assert summary["tier"].to_dict() == tiers
    assert set(summary["rank"]) == {1}
    printed = capsys.readouterr().out
    assert "jax multistep" in printed
    assert [line for line in printed.splitlines() if line.startswith("report: ")] == [
        f"report: {before / 'report.md'}",
        f"report: {before / 'report.html'}",
    ]
    for name in computed:
        (before / name).unlink()
    assert main("report", before) == 0
    assert {name: (before / name).read_bytes() for name in computed} == first


def test_a_report_elsewhere_leaves_the_bundle_as_it_is(before: Path, tmp_path: Path) -> None:
    held = {path: path.read_bytes() for path in before.rglob("*")}
    output = tmp_path / "elsewhere"
    assert main("report", before, "--output", output) == 0
    assert {path: path.read_bytes() for path in before.rglob("*")} == held
    assert main("report", before) == 0
    written = {path.relative_to(output) for path in output.rglob("*")}
    new = {path.relative_to(before) for path in before.rglob("*") if path not in held}
    assert written == new
    for path in written:
        assert (output / path).is_dir() or (output / path).read_bytes() == (
            before / path
        ).read_bytes()


def test_without_altair_all_but_figures_and_page_is_written(
    before: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "altair", None)
    assert main("report", before) == 0
    assert (before / "report.md").exists()
    assert not (before / "report.html").exists()
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in printed if "report.html" in line] == [
        "no figures and no report.html: they need what is not installed: altair"
    ]


PROGRAM = """
import sys

class Missing:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Missing())
for name in HIDDEN:
    sys.modules[name] = None
import run_all
for line in sys.argv[1:]:
    code = run_all.main(line.split())
    assert code == 0, line
"""


@pytest.mark.parametrize("hidden", [(), ("altair", "jinja2")], ids=["", "nor altair"])
def test_bundles_are_read_without_a_framework(
    hidden: tuple[str, ...], before: Path, after: Path, tmp_path: Path
) -> None:
    frameworks = {"torch", "tensorflow", "keras", "jax", "flax"}
    program = f"MISSING, HIDDEN = {frameworks!r}, {hidden!r}\n{PROGRAM}"
    merged = tmp_path / "merged"
    commands = [
        f"report {before}",
        f"compare {before} {after}",
        f"report {before} {after} --output {merged}",
    ]
    done = subprocess.run(
        [sys.executable, "-c", program, *commands],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for folder in (before, merged):
        assert (folder / "report.md").exists()
        assert (folder / "report.html").exists() == (not hidden)


# report, of several bundles


def test_a_report_of_several_lists_every_case_of_every_bundle(before: Path, tmp_path: Path) -> None:
    other = write_bundle(
        tmp_path / "server",
        {"jax compiled": 0.1, "pytorch compiled": 0.4},
        machine={"cpu": "Another CPU"},
        skipped=("pytorch eager",),
    )
    output = tmp_path / "merged"
    assert main("report", before, other, "--output", output) == 0
    text = (output / "report.md").read_text()
    cases, environments = in_markdown(text)
    rows = {(row[0], row[1]): row[2:] for row in cases.rows}
    assert set(rows) == {("before", case) for case in TIMES} | {
        ("server", case) for case in ("jax compiled", "pytorch compiled", "pytorch eager")
    }
    # Each against the fastest of its own bundle and tier, wherever the fastest of all may be.
    assert rows["before", "jax multistep"][3].startswith("1.00 ")
    assert rows["server", "jax compiled"][3].startswith("1.00 ")
    assert rows["server", "pytorch compiled"][3].startswith(("4.0", "3.9"))
    assert rows["server", "pytorch compiled"][4] == "96.00%"
    assert rows["server", "pytorch eager"][1:] == ["skipped", "–", "–", "–"]
    assert ["cpu", "Some CPU", "Another CPU"] in environments.rows
    assert not any(row[0] == "threads" for row in environments.rows)
    assert "rank" not in cases.columns
    # The page has the same, and a figure of what was measured.
    page = {table.place: table for table in in_page((output / "report.html").read_text())}
    assert page["Cases"] == cases
    assert page["What the environments differ in"] == environments
    drawn = (output / "figures" / "bundles.svg").read_text()
    assert all(f">{case}<" in drawn for (_, case), row in rows.items() if row[1] == "measured")


# Refusals: one clear line, exit code 2, nothing written.


REFUSALS = [
    (["report", "{tmp}/nowhere"], "is {tmp}/nowhere a bundle"),
    (["report", "{tmp}/nowhere", "--output", "{tmp}/new"], "is {tmp}/nowhere a bundle"),
    (["report"], "FOLDER"),
    (["report", "{before}/samples.csv"], "a bundle"),
    (["report", "{before}", "--output", "{after}"], "is not empty"),
    (["report", "{before}", "--output", "{existing}"], "is a file"),
    (["report", "{before}", "{after}"], "--output"),
    (["report", "{before}", "{before}", "--output", "{tmp}/new"], "each bundle once"),
    (["report", "{before}", "{tmp}", "--output", "{tmp}/new"], "environment.json"),
    (["compare", "{before}"], "AFTER"),
    (["compare", "{before}", "{tmp}"], "environment.json"),
    (["compare", "{before}", "{after}", "--baseline", "jax eagre"], '--baseline "jax eagre"'),
    (["compare", "{before}", "{after}", "--fail-if-slower", "much"], "--fail-if-slower"),
    (["compare", "{before}", "{after}", "--fail-if-slower", "-5"], "--fail-if-slower"),
    (["compare", "{before}", "{after}", "--output", "{existing}"], "exists already"),
    (["compare", "{before}", "{after}", "--output", "{tmp}/no/file.md"], "cannot be written to"),
    (["compare", "{before}", "{after}", "--output", "{tmp}/{long}"], "File name too long"),
    (["compare", "{before}", "{after}", "--output", "{loop}"], "exists already"),
    (["compare", "{before}", "{long}"], "File name too long"),
    (["compare", "{before}", "{loop}"], "{loop}/environment.json: cannot be read"),
    (["report", "{loop}"], "{loop}/environment.json: cannot be read"),
    (["report", "{before}", "--output", "{loop}"], "is a file, not a folder"),
    (["compare", "{before}", "{older}"], "no column adam"),
    (["compare", "{before}", "{broken}"], "is not JSON"),
]


@pytest.mark.parametrize(("arguments", "line"), REFUSALS)
def test_refusals(
    arguments: list[str],
    line: str,
    before: Path,
    after: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"tmp": tmp_path, "before": before, "after": after, "long": Path("x" * 300)}
    joined = " ".join(arguments)
    if "{existing}" in joined:
        places["existing"] = tmp_path / "existing.md"
        places["existing"].write_text("kept")
    if "{loop}" in joined:
        places["loop"] = tmp_path / "loop"
        places["loop"].symlink_to("loop")
    if "{older}" in joined:
        places["older"] = write_bundle(tmp_path / "older", TIMES)
        samples = pd.read_csv(tmp_path / "older" / "samples.csv").drop(columns="adam")
        samples.to_csv(tmp_path / "older" / "samples.csv", index=False)
    if "{broken}" in joined:
        places["broken"] = write_bundle(tmp_path / "broken", TIMES)
        (tmp_path / "broken" / "environment.json").write_text("{")
    left = sorted(tmp_path.rglob("*"))
    assert main(*(argument.format(**places) for argument in arguments)) == 2
    printed = capsys.readouterr()
    assert line.format(**places) in printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == left
    if "existing" in places:
        assert places["existing"].read_text() == "kept"


def test_an_environment_of_something_else_is_refused(before: Path) -> None:
    (before / "environment.json").write_text(json.dumps({"name": "conda"}))
    with pytest.raises(UsageError, match="describes no run"):
        Bundle.read(before)
