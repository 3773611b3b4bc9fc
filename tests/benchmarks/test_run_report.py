"""The report of a bundle whose figures are known: its sections on accuracy, and its figures."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.analysis.findings import compute_findings
from benchmarks.bundle.reader import Bundle
from benchmarks.commands.report import write_reports
from benchmarks.errors import UsageError
from benchmarks.reports.run import document as report
from tests.synthetic_bundles import write_bundle

TIMES = {
    "pytorch eager": 3.0,
    "pytorch eager streamed": 3.5,
    "tensorflow graph": 2.0,
    "jax compiled": 1.0,
    "jax compiled (control)": 1.0,
}
GOOD = [0.971, 0.972, 0.970, 0.971]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle where JAX tests a point lower and TensorFlow is uncertified and learned nothing."""
    folder = write_bundle(
        tmp_path_factory.mktemp("report") / "bundle",
        TIMES,
        launches=4,
        uncertified=("tensorflow graph",),
        test_accuracies={
            "pytorch eager": GOOD,
            "pytorch eager streamed": [0.9712, 0.9718, 0.9701, 0.9711],
            "jax compiled": [0.962, 0.961, 0.961, 0.962],
            "jax compiled (control)": [0.5] * 4,
            "tensorflow graph": [0.1] * 4,
        },
    )
    write_reports(folder, page=False)
    return folder


def test_accuracies_are_compared_by_the_margin_of_the_run(tmp_path: Path) -> None:
    """A point apart is different by the default margin, and equivalent by a wider one."""
    accuracies = {"numpy eager": GOOD, "jax compiled": [0.962, 0.961, 0.961, 0.962]}
    times = {"numpy eager": 2.0, "jax compiled": 1.0}
    for margin, expected in ((0.3, "different"), (2.0, "equivalent")):
        bundle = write_bundle(
            tmp_path / str(margin), times, launches=4, test_accuracies=accuracies,
            run={"accuracy_margin_points": margin},
        )  # fmt: skip
        (_, row), *_ = compute_findings(Bundle.read(bundle)).equivalences.iterrows()
        assert (row["verdict"], row["margin_points"]) == (expected, margin)


def test_tables_hold_the_known_accuracies_and_times(folder: Path) -> None:
    accuracies = pd.read_csv(folder / "accuracies.csv").set_index("group")
    assert list(accuracies.index) == ["pytorch", "tensorflow (not certified)", "jax"]
    assert accuracies["cases"].tolist() == [2, 1, 1]
    assert accuracies.loc["pytorch", "test_accuracy"] == pytest.approx(0.97102, abs=1e-5)
    assert accuracies.loc["jax", "test_accuracy"] == pytest.approx(0.9615)
    pairs = pd.read_csv(folder / "equivalences.csv").set_index(["group", "other"])
    assert pairs.loc[("pytorch", "jax"), "verdict"] == "different"
    times = pd.read_csv(folder / "time_to_accuracy.csv").set_index(["case", "target"])
    # A rise over 250 steps; 98.1% of validation in every seed: 95% at step 250 of 50 a block.
    assert times.loc[("pytorch eager", 0.95), "steps"] == 250
    # 3 ms a step, which vary by 0.3% from launch to launch and from round to round.
    assert times.loc[("pytorch eager", 0.95), "train_seconds"] == pytest.approx(0.75, rel=0.01)
    assert times.loc[("pytorch eager", 0.95), "total_seconds"] == pytest.approx(1.55, rel=0.01)
    assert times.loc[("jax compiled", 0.98), "reached"] == 0
    diverged = pd.read_csv(folder / "summary.csv").set_index("case")["diverged"].dropna()
    assert list(diverged.index) == ["tensorflow graph"]


def test_the_report_says_which_accuracies_differ(folder: Path) -> None:
    text = (folder / "report.md").read_text()
    headline = text.partition("![")[0]
    assert "**Accuracy differs**: PyTorch tests 0.95 points above JAX/Flax." in headline
    sections = dict(re.findall(r"## (.*?)\n(.*?)(?=\n## |$)", text, re.DOTALL))
    accuracy = sections["Accuracy"]
    assert re.search(r"\| tensorflow \(not certified\) +\| +1 \| +4 \| 11.00%", accuracy)
    assert re.search(r"\| pytorch +\| jax .*\| different +\|", accuracy)
    times = sections["Time to accuracy"]
    assert re.search(r"95% \| pytorch eager +\| +4 of 4 \| +250 \| 0.75 .* 0.80 \| +1.55 \|", times)
    assert "(control)" not in times
    cautions = sections["What this run cannot tell"]
    assert "**tensorflow graph learned nothing" in cautions
    assert "The figures hold for this machine" in cautions


def test_every_figure_is_linked_and_every_link_has_its_figure(folder: Path) -> None:
    linked = re.findall(r"!\[.+?\]\(figures/(.+?)\)", (folder / "report.md").read_text())
    drawn = {path.name for path in (folder / "figures").iterdir()}
    assert len(linked) == len(set(linked))
    assert set(linked) == drawn
    # Without floors there is nothing to set the parts against.
    names = [*("ranking", "accuracy", "accuracy-seconds", "equivalence", "time-to-accuracy")]
    names += ["startup", "total-time", "certificates"]
    assert drawn == {f"{name}.svg" for name in names}


@pytest.mark.parametrize("name", ["accuracy", "accuracy-seconds", "ranking"])
def test_figures_name_the_cases_and_no_control(folder: Path, name: str) -> None:
    text = (folder / "figures" / f"{name}.svg").read_text()
    ElementTree.fromstring(text)
    assert "pytorch eager streamed" in text
    assert "jax compiled" in text
    assert "(control)" not in text
    assert ("tensorflow graph" in text) == (name != "ranking")


def test_the_same_bundle_gives_the_same_figures(folder: Path, tmp_path: Path) -> None:
    write_reports(folder, tmp_path / "again", page=False)
    drawn = list((tmp_path / "again" / "figures").iterdir())
    assert drawn
    for path in drawn:
        assert path.read_bytes() == (folder / "figures" / path.name).read_bytes()


ADDED_LATER = ("peak_device_mib", "energy_mj_per_step")

GPU_COLUMNS = {"peak GPU memory (MiB)": "1,235", "energy (mJ a step)": "8.64"}


@pytest.mark.parametrize("measured", [(), ("peak_device_mib",), ADDED_LATER])
def test_memory_and_energy_of_a_gpu_are_shown_where_there_are_any(
    tmp_path: Path, measured: tuple[str, ...]
) -> None:
    folder = write_bundle(tmp_path / "bundle", {"jax compiled": 1.0, "pytorch eager": 2.0})
    launches = pd.read_csv(folder / "launches.csv")
    for column, figure in zip(measured, (1235.2, 8.642), strict=False):
        launches[column] = figure * (1 + (launches["launch"] - 1) / 10)
    launches.to_csv(folder / "launches.csv", index=False)
    bundle = Bundle.read(folder)
    findings = compute_findings(bundle)
    text = report.document(bundle, findings).markdown().split("## Start-up and memory")[1]
    assert ("Peak GPU memory is" in text) == bool(measured)
    table = [line for line in text.splitlines() if line.startswith("|")]
    for number, (title, value) in enumerate(GPU_COLUMNS.items()):
        assert (title in table[0]) == (number < len(measured))
        assert (value in table[2]) == (number < len(measured))


def test_a_bundle_from_before_a_column_was_added_is_read(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle", {"jax compiled": 1.0})
    added = list(ADDED_LATER)
    launches = pd.read_csv(folder / "launches.csv")
    launches.drop(columns=added).to_csv(folder / "launches.csv", index=False)
    assert Bundle.read(folder).tables["launches"][added].isna().all(axis=None)
    # No other column may be missing.
    launches.drop(columns="steps").to_csv(folder / "launches.csv", index=False)
    with pytest.raises(UsageError, match="has no column steps"):
        Bundle.read(folder)


def test_a_case_certified_with_other_products_is_marked_where_it_is_ranked(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle", {"pytorch onednn": 1.0, "pytorch eager": 2.0})
    ledger = pd.read_csv(folder / "ledger.csv")
    row = ledger[ledger["case"] == "pytorch onednn"].iloc[0]
    found = row.to_frame().T.assign(
        entry="evidence", value="taken in this run, with products by mkl for onednn"
    )
    pd.concat([ledger, found]).to_csv(folder / "ledger.csv", index=False)
    bundle = Bundle.read(folder)
    findings = compute_findings(bundle)
    shown = report.document(bundle, findings).markdown()
    ranking = shown.partition("## Ranking")[2].partition("## ")[0]
    assert "pytorch onednn ‡" in ranking
    assert "pytorch eager ‡" not in ranking
    assert "‡ Certified in float64 with another library's products" in ranking
    assert "with the products of mkl, since onednn has none there" in shown
