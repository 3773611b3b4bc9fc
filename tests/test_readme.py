"""The README and the pages quote what a committed bundle holds, and name only what is there."""

from __future__ import annotations

import contextlib
import re
import tomllib
from pathlib import Path

import pytest

import run_all
from benchmarks.bundle.reader import Bundle
from benchmarks.commands import COMMANDS
from benchmarks.machine.settings import ROOT
from benchmarks.reports.run.document import document
from docs import quotes

BUNDLES = sorted(path.parent for path in (ROOT / "results" / "reference").glob("*/report.md"))

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "results").glob("README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]

OTHER_PROGRAMS = ("--benchmark", "--check", "--overlap", "--without", "--xla")
"""How the options of pytest-benchmark, ruff, srun, benchmarks.validation and XLA begin."""


@pytest.mark.parametrize("page", quotes.pages(), ids=lambda page: page.name)
def test_pages_quote_what_their_sources_say(page: Path) -> None:
    assert page.read_text() == quotes.renewed(page), "run python -m docs.quotes"


def test_the_readme_and_the_workload_quote() -> None:
    found = {
        page: [(kind, source) for _, kind, source, _ in quotes.QUOTE.findall(page.read_text())]
        for page in quotes.pages()
    }
    kinds = [kind for kind, _ in found[ROOT / "README.md"]]
    assert kinds == ["answer", "table", "changes"]
    assert found[ROOT / "docs" / "workload.md"] == [("modes", quotes.REGISTRY)]
    # Whatever says that it is compared is compared.
    marks = {page: page.read_text().count("; a test compares the two -->") for page in found}
    assert {page: len(kinds) for page, kinds in found.items()} == marks


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("README.md", kind) for kind in ("answer", "table", "changes")),
        ("jax.md", "ladder"),
    ],
)
def test_a_quote_of_another_number_is_found(name: str, kind: str, tmp_path: Path) -> None:
    source = quotes.QUOTE.findall((ROOT / "README.md").read_text())[0][2]
    page = tmp_path / name
    page.write_text(f"<!-- {kind} from {source}; a test compares the two -->\n?\n<!-- end -->")
    page.write_text(quotes.renewed(page))
    assert quotes.renewed(page) == page.read_text()
    digit = re.search(r"\d(?=\D*<!-- end)", page.read_text())
    assert digit
    other = str((int(digit[0]) + 1) % 10)
    page.write_text(page.read_text()[: digit.start()] + other + page.read_text()[digit.end() :])
    assert quotes.renewed(page) != page.read_text()


@pytest.mark.parametrize("folder", BUNDLES, ids=lambda path: path.name)
def test_reports_follow_from_their_csvs(folder: Path) -> None:
    report = document(Bundle.read(folder), quotes.findings(folder)).markdown()
    assert report == (folder / "report.md").read_text()


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
    for command in (
        [],
        ["certify"],
        ["versions"],
        ["sweep"],
        ["report"],
        ["compare"],
        ["ab"],
        ["export"],
        ["gallery"],
    ):
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


def test_every_command_that_a_page_names_exists() -> None:
    named = [
        (page.name, command)
        for page in PAGES
        for command in re.findall(r"run_all\.py +([a-z]+)", page.read_text())
    ]
    assert {"report", "versions"} <= {command for _, command in named}
    assert [found for found in named if found[1] not in COMMANDS] == []


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
