"""The README and the pages quote what a committed bundle holds, and name only what is there."""

from __future__ import annotations

import contextlib
import re
import tomllib
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

import run_all
from backends.registry import BACKENDS
from benchmarks.analysis.findings import Findings, compute_findings
from benchmarks.bundle.reader import Bundle
from benchmarks.machine.settings import ROOT
from benchmarks.reports.run import markdown

BUNDLES = sorted(path.parent for path in (ROOT / "results" / "reference").glob("*/report.md"))

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "results").glob("README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]

QUOTE = re.compile(
    r"<!-- (\w+) from (\S+); a test compares the two -->\n(.*?)\n<!-- end -->", re.DOTALL
)

OTHER_PROGRAMS = ("--benchmark", "--check", "--without", "--xla")
"""How the options of pytest-benchmark, ruff, benchmarks.validation and XLA begin."""


@cache
def findings(folder: Path) -> tuple[Bundle, Findings]:
    bundle = Bundle.read(folder)
    return bundle, compute_findings(bundle)


def with_interval(row: pd.Series, column: str, form: str) -> str:
    value, low, high = (
        format(row[f"{column}{end}"], form).rstrip(".") for end in ("", "_low", "_high")
    )
    return value if value == low == high else f"{value} [{low}, {high}]"


def joined(values: list[str]) -> str:
    return " and ".join([", ".join(values[:-1]), values[-1]]) if values[1:] else values[0]


def answer(found: Findings) -> str:
    """The sentences at the top of the README, after the name of the machine."""
    ranked = found.summary[found.summary["rank"].notna()].sort_values("step_ms")
    first, *rivals = (row for _, row in ranked.drop_duplicates("backend").iterrows())
    behind = [
        f"the best of {BACKENDS[row['backend']].title} "
        + ("takes " if number == 0 else "")
        + with_interval(row, "times_fastest", ".2f")
        + (" times as long" if number == 0 else " times")
        for number, row in enumerate(rivals)
    ]
    assert set(found.equivalences["verdict"]) == {"equivalent"}
    accuracies = found.accuracies["test_accuracy"]
    return (
        f"{BACKENDS[first['backend']].title} trains fastest: {first['step_ms']:#.3g} ms a step in "
        f"its `{first['mode']}` mode. T{', '.join(behind)[1:]}. They learn the same: test "
        f"accuracies from {accuracies.min():.2%} to {accuracies.max():.2%}, equivalent within "
        f"{found.equivalences['margin_points'].iloc[0]:g} points."
    )


def table(found: Findings) -> str:
    """The ranking of the README, with a note on the cases that were not trained to the end."""
    ranked = found.summary[found.summary["rank"].notna()]
    cut_short = ranked[~ranked["trained_to_end"].astype(bool)]
    lines = [
        "| rank | case | ms a step | times the fastest | test accuracy |",
        "|---:|:---|---:|---:|---:|",
        *(
            f"| {row['rank']} | {row['case']} | {with_interval(row, 'step_ms', '#.3g')} "
            f"| {with_interval(row, 'times_fastest', '.2f')} "
            f"| {row['test_accuracy']:.2%}{'' if row['trained_to_end'] else ' *'} |"
            for _, row in ranked.iterrows()
        ),
    ]
    if len(cut_short):
        steps = joined([f"{steps:,}" for steps in cut_short["steps"]])
        lines += ["", f"\\* Trained for {steps} steps, the others for {ranked['steps'].max():,}."]
    return "\n".join(lines)


def test_the_readme_quotes_its_bundle() -> None:
    quotes = QUOTE.findall((ROOT / "README.md").read_text())
    assert [kind for kind, _, _ in quotes] == ["answer", "table"]
    for kind, folder, quoted in quotes:
        _, found = findings(ROOT / folder)
        if kind == "table":
            assert quoted == table(found), f"the bundle says:\n{table(found)}"
        else:
            assert " ".join(quoted.split()).endswith(answer(found)), f"it says:\n{answer(found)}"


@pytest.mark.parametrize("folder", BUNDLES, ids=lambda path: path.name)
def test_reports_follow_from_their_csvs(folder: Path) -> None:
    assert markdown(*findings(folder)) == (folder / "report.md").read_text()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


@pytest.mark.parametrize("folder", BUNDLES, ids=lambda path: path.name)
def test_every_section_of_a_report_is_explained(folder: Path) -> None:
    sections = re.findall(r"^## (.*)$", (folder / "report.md").read_text(), re.MULTILINE)
    page = (ROOT / "docs" / "reading-a-report.md").read_text()
    assert [section for section in sections if f"| {section} |" not in page] == []


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target, anchor in re.findall(r"\]\((?!http)([^)#\s]*)(?:#([^)]*))?\)", page.read_text()):
        linked = page.parent / target if target else page
        if not linked.exists() or (anchor and anchor not in anchors(linked)):
            broken.append(f"{target}#{anchor}")
    assert broken == []


@pytest.fixture
def help_texts(capsys: pytest.CaptureFixture[str]) -> str:
    for command in ([], ["certify"], ["versions"], ["sweep"], ["report"], ["compare"]):
        with contextlib.suppress(SystemExit):
            run_all.main([*command, "--help"])
    return capsys.readouterr().out


def test_every_option_that_a_page_names_exists(help_texts: str) -> None:
    offered = set(re.findall(r"--[a-z][a-z-]*", help_texts))
    assert "--launches" in offered
    unknown = {
        f"{page.name}: {option}"
        for page in PAGES
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", page.read_text())
        if option not in offered and not option.startswith(OTHER_PROGRAMS)
    }
    assert unknown == set()


def test_modes_are_ticked_where_a_backend_has_them() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (ROOT / "docs" / "workload.md").read_text().splitlines()
        if line.startswith("|")
    ]
    heading, _, *modes = rows
    ticked = {
        (backend, cells[0].split("`")[1])
        for cells in modes
        for backend, cell in zip(heading[2:], cells[2:], strict=True)
        if cell
    }
    assert ticked == {(name, mode) for name in heading[2:] for mode in BACKENDS[name].modes}


def test_every_preset_is_described(help_texts: str) -> None:
    (choices,) = set(re.findall(r"--preset \{([\w,]+)\}", help_texts))
    page = (ROOT / "docs" / "running.md").read_text()
    described = re.findall(r"^\| `--preset (\w+)`", page, re.MULTILINE)
    assert {*described, "default"} == set(choices.split(","))


def mapped() -> dict[str, list[Path]]:
    """The modules that CONTRIBUTING's map names, as written there and as files.

    A row may leave `benchmarks/` out, and the folder of a module where the one before it has it.
    """
    named: dict[str, list[Path]] = {}
    for line in (ROOT / "CONTRIBUTING.md").read_text().splitlines():
        folder = ""
        for path in re.findall(r"`([\w/<>]+\.py)`", line) if line.startswith("|") else ():
            folder = path.rpartition("/")[0] or folder
            whole = f"{folder}/{path.rpartition('/')[2]}".lstrip("/").replace("<name>", "*")
            places = [ROOT, ROOT / "benchmarks"]
            named[whole] = [file for place in places for file in sorted(place.glob(whole))]
    return named


def test_the_map_of_the_code_is_whole() -> None:
    named = mapped()
    stale = [path for path, files in named.items() if not files]
    assert not stale, f"no such files: {', '.join(stale)}"
    listed = {file for files in named.values() for file in files}
    modules = {
        path
        for folder in ("backends", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if not path.name.startswith(("__", "test_"))
        and path.parts[len(ROOT.parts) + 1] not in ("schema", "validation")
    }
    missing = sorted(str(path.relative_to(ROOT)) for path in modules - listed)
    assert not missing, f"in no row of the map: {', '.join(missing)}"


def test_the_citation_names_the_version_and_the_licence() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = (ROOT / "CITATION.cff").read_text().splitlines()
    assert {f"version: {project['version']}", f"license: {project['license']}"} <= set(citation)
