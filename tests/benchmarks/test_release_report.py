"""What the report says of releases: what each changed, and which do not count."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
from rich.console import Console

from benchmarks.analysis.findings import Findings, compute_findings
from benchmarks.bundle.reader import Bundle
from benchmarks.reports import sections
from benchmarks.reports.run import document as report
from benchmarks.reports.run import ladders
from benchmarks.schema import OVERRIDES
from benchmarks.terminal import results
from tests.synthetic_bundles import identity, write_bundle

HEADING = "## What changed from release to release"
STEP_MS = {
    "jax scan (0.8.3)": 2.0,
    "jax scan (0.9.2)": 1.0,
    "jax scan (0.10.1)": 2.0,
    "jax scan (0.10.2)": 2.0,
    "jax scan (0.10.2 (2))": 2.0,
    "jax scan (0.10.2) (control)": 2.0,
}
RELEASES = ["0.8.3", "0.9.2", "0.10.1", "0.10.2", "0.10.2 (2)", "0.11.0"]
PACKAGES = {
    "0.8.3": {"jax": "0.8.3", "flax": "0.12.0", "numpy": "2.3.0"},
    "0.9.2": {"jax": "0.9.2", "flax": "0.12.4", "numpy": "2.4.6"},
}
"""Versions that differ from those of the other releases."""


class Reported(NamedTuple):
    """A bundle, what was computed from it, and the section as markdown."""

    bundle: Bundle
    findings: Findings
    section: str


def reported(folder: Path, packages: Mapping[str, Mapping[str, str]]) -> Reported:
    """The report of a bundle, in whose ledger the releases get `packages` that differ."""
    ledger = pd.read_csv(folder / "ledger.csv")
    rows = [ledger[ledger["entry"] != OVERRIDES]]
    for case, of_case in ledger.drop_duplicates(["case", "launch"]).groupby("case"):
        release = str(identity(str(case))["variant"])
        own = {"jax": release.partition(" ")[0], "flax": "0.12.8", "numpy": "2.4.6"}
        entries = {**own, **packages.get(release, {}), OVERRIDES: "another Python"}
        rows += [of_case.assign(entry=name, value=value) for name, value in entries.items()]
    pd.concat(rows).to_csv(folder / "ledger.csv", index=False)
    bundle = Bundle.read(folder)
    findings = compute_findings(bundle)
    text = report.document(bundle, findings).markdown()
    assert text.count(HEADING) == 1
    assert "Nothing could be ranked; variants are compared with one another below." in text
    section = text.partition(HEADING)[2].partition("\n## ")[0]
    return Reported(bundle, findings, section)


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    """The report of a run in which 0.9.2 computes something else and 0.11.0 does not start."""
    folder = write_bundle(
        tmp_path_factory.mktemp("releases") / "bundle",
        STEP_MS,
        uncertified=("jax scan (0.9.2)",),
        skipped=("jax scan (0.11.0)",),
        run={"releases": RELEASES},
    )
    return reported(folder, PACKAGES)


def test_each_release_is_compared_with_the_one_before_it(releases: Reported) -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in releases.section.splitlines()
        if line.startswith("| jax scan")
    ]
    # Of those that count: the second computes something else, and the last did not start.
    assert [row[:3] for row in rows] == [
        ["jax scan", "0.8.3", "0.10.1"],
        ["jax scan", "0.10.1", "0.10.2"],
        ["jax scan", "0.10.2", "0.10.2 (2)"],
    ]
    assert rows[1][4] == "as fast, within 3%"
    assert rows[1][3].startswith("1.00 [")


def test_a_slower_release_is_called_slower_whichever_way_the_pair_is_kept(
    releases: Reported,
) -> None:
    findings = releases.findings
    before, after = ({"case": f"jax scan ({name})", "variant": name} for name in ("a", "b"))
    pair = {"ratio": 0.5, "ratio_low": 0.4, "ratio_high": 0.625, "verdict": "faster"}
    columns = findings.verdicts.columns
    for first, second, expected, word in (
        (after, before, [0.5, 0.4, 0.625], "faster"),
        (before, after, [2.0, 1.6, 2.5], "slower"),
    ):
        kept = pd.DataFrame([{"case": first["case"], "other": second["case"], **pair}])
        change = ladders._release_change(before, after, kept.reindex(columns=columns))
        assert [change[end] for end in ("ratio", "ratio_low", "ratio_high")] == expected
        assert (change["case"], change["verdict"]) == ("jax scan", word)
    assert ladders._release_change(before, after, findings.verdicts)["verdict"] == "not compared"


def test_releases_that_do_not_count_are_named_with_the_reason(releases: Reported) -> None:
    text = releases.section
    assert "**jax scan (0.9.2) computes something else: its certificate failed, so its" in text
    assert "**jax scan (0.11.0) was skipped: not installed.**" in text


def test_other_packages_that_differ_are_named(releases: Reported) -> None:
    text = releases.section
    first = "0.8.3 and 0.9.2 differ in other packages: flax 0.12.0 / 0.12.4, numpy 2.3.0 / 2.4.6."
    assert first in text
    assert "0.9.2 and 0.10.1 differ in other packages: flax 0.12.4 / 0.12.8." in text
    assert "0.10.1 and 0.10.2 differ" not in text


def test_releases_alone_differ_where_all_else_is_the_same(tmp_path: Path) -> None:
    times = {case: STEP_MS[case] for case in ("jax scan (0.10.1)", "jax scan (0.10.2)")}
    folder = write_bundle(tmp_path / "b", times, run={"releases": ["0.10.1", "0.10.2"]})
    assert "only the framework's own differ" in reported(folder, {}).section


def test_builds_of_a_release_that_differ_are_named(tmp_path: Path) -> None:
    times = {case: STEP_MS[case] for case in ("jax scan (0.10.1)", "jax scan (0.10.2)")}
    folder = write_bundle(tmp_path / "b", times, run={"releases": ["0.10.1", "0.10.2"]})
    builds = {"0.10.1": {"jax": "0.10.1+cpu"}, "0.10.2": {"jax": "0.10.2+cuda"}}
    sentence = "0.10.1 and 0.10.2 differ in other packages: jax's build cpu / cuda."
    assert sentence in reported(folder, builds).section


def test_one_release_twice_has_the_same_packages(tmp_path: Path) -> None:
    times = {case: STEP_MS[case] for case in ("jax scan (0.10.2)", "jax scan (0.10.2 (2))")}
    folder = write_bundle(tmp_path / "b", times, run={"releases": ["0.10.2", "0.10.2 (2)"]})
    assert "All packages that are recorded are the same." in reported(folder, {}).section


def test_other_runs_have_no_such_section(tmp_path: Path) -> None:
    bundle = Bundle.read(write_bundle(tmp_path / "b", {"jax scan": 1.0, "jax scan (a)": 2.0}))
    findings = compute_findings(bundle)
    assert ladders.releases(bundle, findings) is None
    assert HEADING not in report.document(bundle, findings).markdown()


def test_names_of_releases_that_no_case_has_do_no_harm(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "b", {"jax scan": 1.0}, run={"releases": ["x", "\x1b[31m"]})
    bundle = Bundle.read(folder)
    assert ladders.releases(bundle, compute_findings(bundle)) is None


def test_the_terminal_ends_with_it(releases: Reported) -> None:
    console = Console(file=io.StringIO(), record=True, width=200)
    results.show_findings(console, releases.bundle, releases.findings)
    shown = console.export_text()
    assert shown.count("What changed from release to release") == 1
    assert "jax scan (0.11.0) was skipped" in shown.partition("What changed")[2]


def test_it_is_a_section_of_the_report(releases: Reported) -> None:
    shown = report.document(releases.bundle, releases.findings).sections
    (section,) = [one for one in shown if f"## {one.heading}" == HEADING]
    assert isinstance(section.parts[1], sections.Table)
