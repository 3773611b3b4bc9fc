"""What trainings learned, where that is measured apart from speed."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.analysis import learning
from benchmarks.analysis.findings import compute_findings
from benchmarks.bundle.reader import Bundle
from benchmarks.reports.run import document as report
from tests.synthetic_bundles import TRAINING_STEPS, write_bundle

TIMES = {"pytorch eager": 3.0, "pytorch fused": 2.0, "jax compiled": 1.0, "tensorflow graph": 2.0}
LEARNED = {
    "pytorch fused": [0.970, 0.971, 0.972, 0.9705],
    "jax compiled": [0.9702, 0.9709, 0.9721, 0.9704],
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("learned") / "bundle"
    return Bundle.read(write_bundle(folder, TIMES, learned=LEARNED, spread=1e-6))


def test_what_is_compared_is_the_mean_of_the_last_readings(bundle: Bundle) -> None:
    trained = learning.trainings(bundle)
    for case, values in LEARNED.items():
        of_case = trained[trained["case"] == case]
        assert of_case["compared"].tolist() == pytest.approx(values)
        assert of_case["validation_accuracy"].tolist() == pytest.approx(values)


def test_frameworks_are_equivalent_by_the_seeds_that_their_fastest_cases_trained(
    bundle: Bundle,
) -> None:
    findings = compute_findings(bundle)
    assert findings.apart
    assert findings.learned
    assert findings.accuracies["group"].tolist() == ["pytorch", "jax"]
    assert findings.accuracies["seeds"].tolist() == [4, 4]
    (pair,) = findings.equivalences.to_dict("records")
    assert (pair["verdict"], pair["seeds"]) == ("equivalent", 4)
    summary = findings.summary.set_index("case")
    assert summary["test_accuracy"].notna().to_dict() == {case: case in LEARNED for case in TIMES}


def test_every_case_of_a_framework_that_learned_has_a_time_to_accuracy(bundle: Bundle) -> None:
    times = compute_findings(bundle).time_to_accuracy.query("target == 0.97")
    seconds = times.set_index("case")["train_seconds"]
    # The first reading that reaches it is that after 50 steps, in some seeds.
    assert set(seconds.index) == {"pytorch eager", "pytorch fused", "jax compiled"}
    assert seconds["pytorch eager"] / seconds["pytorch fused"] == pytest.approx(1.5, rel=1e-3)


def test_the_report_shows_accuracies_once_and_no_training_as_cut_short(bundle: Bundle) -> None:
    findings = compute_findings(bundle)
    text = report.document(bundle, findings).markdown()
    ranking, section = text.split("## ")[0], text.split("## Accuracy")[1].split("## ")[0]
    assert "validation" not in ranking.split("|")[1:12]
    assert "Mean of the last 10 readings of the validation accuracy of each pair" in section
    assert "in no difference between them" in section
    assert "Accuracy does not differ: PyTorch and JAX" in text
    assert "Not trained to the end" not in text


def test_a_run_that_has_not_learned_yet_shows_no_accuracy(tmp_path: Path) -> None:
    bundle = Bundle.read(write_bundle(tmp_path / "bundle", TIMES, learned={}))
    findings = compute_findings(bundle)
    assert findings.accuracies.empty
    text = report.document(bundle, findings).markdown()
    assert "## Accuracy" not in text
    assert f"{TRAINING_STEPS:,} steps" in text
