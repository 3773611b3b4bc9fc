"""The ladders of a run, and the sections on ladders and variants, from known step times."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.analysis.findings import Findings, compute_findings
from benchmarks.bundle.reader import Bundle
from benchmarks.reports.run import document as run
from benchmarks.reports.run import ladders
from benchmarks.reports.sections import Column, Table, markdown
from tests.support.ladders import register
from tests.synthetic_bundles import write_bundle

TIMES = {
    "hare sprint": 1.0,
    "hare sprint (control)": 1.0,
    "snail sprint": 1.004,
    "hare walk": 4.0,
    "snail walk": 5.0,
    "hare run": 2.0,
    "hare limp": 2.5,
    "hare dive": 1.0,
    "hare ride": 4.5,
    "hare run (old)": 2.2,
    "hare run (older)": 2.4,
}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Bundle, Findings]:
    """A run without `jog`, in which `limp` is skipped and `dive` fails its certificate."""
    register(monkeypatch)
    times = {case: time for case, time in TIMES.items() if case != "hare limp"}
    folder = write_bundle(
        tmp_path / "bundle", times, launches=5, skipped=("hare limp",), uncertified=("hare dive",)
    )
    bundle = Bundle.read(folder)
    return bundle, compute_findings(bundle)


def test_each_rung_stands_above_the_nearest_one_that_was_measured(
    results: tuple[Bundle, Findings],
) -> None:
    _, findings = results
    table = findings.ladders.set_index("case")
    assert list(zip(table.index, table["depth"], table["below"], strict=True)) == [
        ("hare walk", 0, ""),
        ("hare run", 1, "hare walk"),
        ("hare limp", 2, "hare run"),
        ("hare sprint", 2, "hare run"),
        ("hare dive", 3, "hare sprint"),
        ("hare ride", 0, ""),
        ("snail walk", 0, ""),
        ("snail sprint", 1, "snail walk"),
    ]
    assert table.loc["hare run", "ratio"] == pytest.approx(0.5, rel=0.02)
    assert table.loc["hare run", "verdict"] == "faster"
    assert table.loc["hare run", "passed_over"] == "jog"
    assert table.loc["hare sprint", "passed_over"] == ""
    assert table.loc["hare run", "code_lines"] == len("hare run")
    assert table.loc["hare limp", "reason"] == "not installed"
    assert table.loc["hare dive", "reason"] == "its certificate failed"
    assert table.loc[["hare limp", "hare dive", "hare walk"], "ratio"].isna().all()
    assert table.loc["hare dive", "private"] == "gravity._pull"
    # In the family of all pairs of the run: three of tiers, three of rungs, three of variants.
    judged = findings.verdicts.set_index(["case", "other"])
    assert len(judged) == 2 + 3 + 3
    adjusted = judged["p_adjusted"].to_dict()["hare run", "hare walk"]
    assert table["p_adjusted"].to_dict()["hare run"] == adjusted


def test_only_cases_that_stand_for_their_tier_are_ranked(results: tuple[Bundle, Findings]) -> None:
    _, findings = results
    summary = findings.summary.set_index("case")
    ranks = summary["rank"].dropna().to_dict()
    assert ranks == {
        "hare walk": 1,
        "snail walk": 2,
        "hare run": 1,
        "hare sprint": 1,
        "snail sprint": 1,
    }
    # In the order of the tiers, with the unranked ones of a tier behind.
    assert list(summary.index[:4]) == ["hare walk", "snail walk", "hare ride", "hare run"]
    # Others are set against the fastest of their tier too.
    assert summary.loc["hare ride", "times_fastest"] == pytest.approx(4.5 / 4, rel=0.02)
    assert summary.loc["hare run (old)", "times_fastest"] == pytest.approx(1.1, rel=0.02)


def test_the_ladder_says_in_words_what_each_change_brings(
    results: tuple[Bundle, Findings],
) -> None:
    _, findings = results
    (hare, rungs), *_ = ladders.of_each_backend(findings)
    assert hare == "hare"
    words = [[cell for cell in row if cell] for row in ladders.ladder_table(rungs).cells()]
    assert words[0][:2] == ["walk", "where a ladder begins"]
    assert words[1][:3] == ["· run", "walk", "both feet (with jog)"]
    assert words[1][5] == "helps"
    assert "skipped: not installed" in words[2]
    assert "its certificate failed" in words[4]
    assert words[4][-1] == "gravity._pull"
    text = markdown(ladders.ladder_table(rungs))
    assert "[both feet (with jog)](https://example.org/run)" in text
    # A change that nobody's page teaches leads nowhere.
    assert "| on toes " in text


def test_only_what_the_program_itself_names_is_a_link() -> None:
    rows = pd.DataFrame({"": ["https://example.org"], "source": ["https://example.org/own"]})
    plain, linked = Column("what", "", text=True), Column("what", "source", link="source")
    assert Table([plain], rows).links() == [[""]]
    assert "](" not in markdown(Table([plain], rows))
    assert markdown(Table([linked], rows)).count("](https://example.org/own)") == 1


@pytest.mark.parametrize(
    ("verdict", "word"),
    [
        ("faster", "helps"),
        ("slower", "costs"),
        ("tie", "makes no difference"),
        ("undecided", "undecided"),
        ("", ""),
    ],
)
def test_the_words_for_verdicts(verdict: str, word: str) -> None:
    row = {"verdict": verdict, "reason": "", "status": "measured"}
    assert ladders.BRINGS_IT.cell(row) == word


def test_variants_are_shown_with_their_overrides_and_a_verdict(
    results: tuple[Bundle, Findings],
) -> None:
    table = ladders.variants_table(*results)
    assert table is not None
    cells = [[row[0], row[1], row[3], row[5]] for row in table.cells()]
    assert cells == [
        ["hare run (old)", "env:A=1", "hare run (older)", "faster"],
        ["hare run (old)", "env:A=1", "hare run", "slower"],
        ["hare run (older)", "env:A=1", "hare run", "slower"],
    ]


def test_what_is_in_ladders_and_variants_is_not_called_unranked(
    results: tuple[Bundle, Findings],
) -> None:
    section = run.not_ranked(*results)
    assert section is not None
    (table,) = section.parts
    assert sorted(row[0] for row in table.cells()) == ["hare dive", "hare limp"]  # type: ignore[union-attr]


def test_a_single_rung_that_is_ranked_is_no_ladder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch)
    times = {"hare run": 1.0, "snail run": 2.0, "hare limp": 1.5}
    folder = write_bundle(tmp_path / "bundle", times, skipped=("jax compiled",))
    findings = compute_findings(Bundle.read(folder))
    shown = [name for name, _ in ladders.of_each_backend(findings)]
    assert shown == ["hare"]
    # The second rung of the framework is not ranked, but compared with the first.
    verdicts = findings.ladders.set_index("case")["verdict"].to_dict()
    assert verdicts == {"hare run": "", "hare limp": "slower", "snail run": "", "jax compiled": ""}
    assert isinstance(findings.ladders, pd.DataFrame)
