"""A bundle comes from anybody: nothing in it acts where it is shown, or leads out of it."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest
from rich.console import Console

import run_all
from benchmarks.analysis.findings import Findings, compute_findings
from benchmarks.bundle import files
from benchmarks.bundle.reader import MOST_LINE, Bundle, end_of_output
from benchmarks.commands import report
from benchmarks.errors import UsageError
from benchmarks.reports import page as report_page
from benchmarks.reports import sections, summary
from benchmarks.reports.figures import charts, marks
from benchmarks.reports.formats import block, code, text
from benchmarks.reports.run import document as run_report
from benchmarks.reports.sections import CASE, Column, Table
from benchmarks.terminal import results
from benchmarks.texts import harmless
from tests.support.hostile import (
    EVERYTHING,
    PAYLOADS,
    TAME,
    Elements,
    found_by_github,
    structure,
    tokens,
    write_hostile_bundle,
)
from tests.support.runs import run
from tests.synthetic_bundles import write_bundle

TIMES = {"jax compiled": 1.0, "numpy eager": 2.0}


Read = tuple[Bundle, Findings]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Read:
    """A bundle in which every text is hostile."""
    bundle = Bundle.read(write_hostile_bundle(tmp_path_factory.mktemp("hostile") / "bundle"))
    return bundle, compute_findings(bundle)


@pytest.fixture(scope="module")
def tame(tmp_path_factory: pytest.TempPathFactory) -> Read:
    """The same bundle with ordinary words."""
    folder = tmp_path_factory.mktemp("tame") / "bundle"
    bundle = Bundle.read(write_hostile_bundle(folder, tame=True))
    return bundle, compute_findings(bundle)


def test_ordinary_texts_stay_as_they_are() -> None:
    for name in (
        *("numpy eager (control)", "jax multistep", "torch_compile", "epsilon-hat", "1.0 [0.9, –]"),
        *("x-y_z", "AMD EPYC 7763, avx2", "2026-01-01T00:00:00+00:00", "ε̂ × 2", "C:", "!"),
    ):
        assert text(name) == name


@pytest.mark.parametrize("payload", [*PAYLOADS, EVERYTHING, "`", "", " ", "- a", "1. a", "_"])
def test_any_text_is_shown_in_full_and_does_nothing(payload: str) -> None:
    (paragraph,) = [one for one in tokens(f"x {text(payload)}") if one.type == "inline"]
    children = paragraph.children or []
    assert {child.type for child in children} <= {"text", "code_inline"}
    shown = "".join(child.content for child in children)
    assert shown.split() == ["x", *harmless(payload).split()]
    assert found_by_github(text(payload)) == []
    assert structure(text(payload)) in (["paragraph_open", "paragraph_close"], [])
    (whole,) = tokens(f"x{code(payload or '-')}")[1].children[1:]  # type: ignore[index]
    assert (whole.type, whole.content.strip()) == ("code_inline", harmless(payload or "-").strip())


def test_a_block_of_code_holds_all_its_lines() -> None:
    lines = ["a", "```", "````", "~~~", *PAYLOADS]
    (fence,) = tokens(block(lines))
    assert fence.content.splitlines() == list(map(harmless, lines))


@pytest.mark.parametrize("payload", [*PAYLOADS, EVERYTHING, "\\", "a\\|b", "| --- |"])
def test_any_text_is_a_cell(payload: str) -> None:
    rows = pd.DataFrame({"case": [payload, "x"]})
    shown = sections.markdown(Table([CASE, Column(payload, "case", text=True)], rows))
    cells = [one.children or [] for one in tokens(shown) if one.type == "inline"]
    texts = ["".join(child.content for child in children) for children in cells]
    expected = harmless(payload).replace("\\|", "\\ |")
    assert texts == ["case", expected, expected, expected, "x", "x"]


def test_the_report_of_a_hostile_bundle_has_the_elements_of_a_tame_one(
    hostile: Read, tame: Read
) -> None:
    markdown, expected = (run_report.document(*one).markdown() for one in (hostile, tame))
    assert structure(markdown) == structure(expected)
    assert found_by_github(markdown) == []
    assert all(char.isprintable() or char == "\n" for char in markdown)
    # Nothing is left out either.
    for payload in PAYLOADS:
        assert unmarked(harmless(payload)) in unmarked(markdown)
    assert markdown.count("evil.example") >= expected.count(TAME)


def unmarked(markdown: str) -> str:
    """A text without what escapes it."""
    return re.sub(r"[`\\\s]", "", markdown)


def test_the_page_of_a_hostile_bundle_has_the_elements_of_a_tame_one(
    hostile: Read, tame: Read
) -> None:
    pages = [report_page.html(summary.summarise(*one)) for one in (hostile, tame)]
    page, expected = map(Elements, pages)
    assert page.elements == expected.elements
    assert all(one.startswith(("#", "data:")) for one in page.addresses), page.addresses
    assert len(page.scripts) > 5
    # What is in a figure or a table is JSON, in which nothing ends its element.
    assert all("<" not in script for script in page.scripts)
    # And no expression of Vega's is made of a bundle's texts.
    for script in page.scripts:
        assert not [one for one in expressions(json.loads(script)) if "evil" in one]


def test_characters_that_end_the_drawing_program_are_not_handed_to_it() -> None:
    """A control character in a text ends it by a signal, and this process with it."""
    odd = "".join(map(chr, (0, 7, 27, 0x9B, 0xFFFE))) + "odd"
    totals = pd.DataFrame({"case": [f"jax {odd}"] * 2, "steps": [1, 10], "total_seconds": [1.0, 2]})
    drawn = marks.image(marks.specification(charts.total_time({"totals": totals.assign(x=odd)})))
    assert b"odd" in drawn


def expressions(content: Any) -> Iterator[str]:
    """The expressions in a specification: those of filters, signals and conditions."""
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        if key in ("expr", "filter", "test", "calculate", "signal", "labelExpr"):
            yield json.dumps(value)
        elif isinstance(value, dict | list) and key != "datasets":
            yield from expressions(value)


def test_figures_of_a_hostile_bundle_hold_texts(hostile: Read, tmp_path: Path) -> None:
    found = summary.summarise(*hostile)
    for name, figure in charts.drawn(found.report.figures, found.tables).items():
        (tmp_path / f"{name}.svg").write_bytes(marks.image(figure))
    allowed = {
        "svg",
        "g",
        "line",
        "path",
        "defs",
        "use",
        "style",
        "text",
        "tspan",
        "rect",
        "clipPath",
    }
    allowed |= {"metadata", "RDF", "Work", "type", "format", "creator", "Agent", "title", "pattern"}
    texts = ""
    paths = list(tmp_path.rglob("*.svg"))
    assert len(paths) >= 4
    for path in paths:
        for element in ElementTree.parse(path).iter():
            assert element.tag.partition("}")[2] in allowed
            # A mark's label, for who hears it, is text.
            acting = [value for name, value in element.attrib.items() if name != "aria-label"]
            assert all("evil" not in value for value in acting)
            texts += element.text or ""
    assert "$x^2$" in texts
    assert "<img src=x" in texts


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_names_in_any_script_and_of_any_length_are_drawn(tmp_path: Path) -> None:
    names = ["jax " + "long" * 49, "pytorch 漢字 $", "_a b", "= =", "numpy eager"]
    folder = write_bundle(tmp_path / "bundle", dict.fromkeys(names, 1.0), launches=2)
    for path in (*folder.glob("*.csv"), folder / "environment.json"):
        path.write_text(path.read_text().replace("numpy eager", "alone"))
    report.write_reports(folder)


def shown(read: Read, **looks: Any) -> str:
    """What the terminal shows of a bundle."""
    printed = io.StringIO()
    results.show_findings(Console(file=printed, width=112, **looks), *read)
    return printed.getvalue()


def test_the_terminal_shows_texts_and_does_nothing(hostile: Read) -> None:
    plain = shown(hostile)
    assert all(char.isprintable() or char == "\n" for char in plain)
    for part in ("[red]red[/red]", ":smile:", "[link=https://evil.example]l[/link]"):
        assert part in plain
    coloured = shown(hostile, force_terminal=True)
    assert "\x1b]" not in coloured
    assert "\x1b[31m" not in coloured
    assert not set(coloured) & set("\x9b\b\u202e\u2066\u200b\ufeff\x07")


NAME = "a\x1b[31m\nb | <img src=x> [x](www.evil.example) `c` $d$ [red]e \u202e"


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_names_of_folders_are_texts_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [
        write_bundle(tmp_path / name, TIMES, machine={"cpu": name[:4]})
        for name in (NAME, "what", "case")
    ]
    assert run(capsys, "report", folders[0]).code == 0
    missing = run(capsys, "report", folders[0] / "figures")
    assert missing.code == 2
    assert harmless(NAME) in missing.errors
    assert missing.errors.isprintable()
    output = tmp_path / "several"
    result = run(capsys, "report", *folders, "--output", output)
    assert result.code == 0
    markdown, page = ((output / f"report.{kind}").read_text() for kind in ("md", "html"))
    assert found_by_github(markdown) == []
    assert set(structure(markdown)) & {"html_inline", "html_block", "link_open"} == set()
    images = [one.attrs["src"] for all_of in tokens(markdown) for one in all_of.children or ()
              if one.type == "image"]  # fmt: skip
    assert images == ["figures/bundles.svg"]
    assert {"img", "a"} & {one[0] for one in Elements(page).elements} == {"a"}
    assert all(one.startswith(("#", "data:")) for one in Elements(page).addresses)
    assert "\x1b" not in page
    capsys.readouterr()
    assert (
        report.main([str(folders[0]), "--output", str(tmp_path / f"{NAME}2")], Console(width=112))
        == 0
    )
    printed = capsys.readouterr().out
    assert f"report: {harmless(str(tmp_path / f'{NAME}2'))}/report.md" in printed.splitlines()


def test_a_comparison_shows_texts_and_does_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = (write_hostile_bundle(tmp_path / f"{NAME}{seed}", seed=seed) for seed in (1, 2))
    environment = json.loads((after / "environment.json").read_text())
    environment["machine"]["cpu"] += " too"
    (after / "environment.json").write_text(json.dumps(environment))
    output = tmp_path / "comparison.md"
    assert run_all.main(["compare", str(before), str(after), "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert all(char.isprintable() or char == "\n" for char in printed)
    assert "[red]red[/red]" in printed
    markdown = output.read_text()
    assert found_by_github(markdown) == []
    assert set(structure(markdown)) & {"html_inline", "link_open", "image", "heading_open"} == set()
    blocks = [one.content for one in tokens(markdown) if one.type == "html_block"]
    assert blocks == ["<details><summary>What else to know</summary>\n", "</details>\n"]
    assert unmarked(harmless(EVERYTHING)) in unmarked(markdown)


def test_more_cases_than_a_run_can_have_are_refused(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle", TIMES, launches=1, rounds=1)
    environment = json.loads((folder / "environment.json").read_text())
    environment["run"]["cases"] *= 10_000
    (folder / "environment.json").write_text(json.dumps(environment))
    with pytest.raises(UsageError, match=r"run\.cases cannot have 20000 entries"):
        Bundle.read(folder)


# Links


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle with the log of a failed case."""
    folder = write_bundle(tmp_path / "bundle", TIMES, skipped=("jax eager",))
    outcomes = (folder / "outcomes.csv").read_text().replace(",skipped,", ",failed,")
    (folder / "outcomes.csv").write_text(outcomes)
    (folder / "logs").mkdir()
    (folder / "logs" / "jax-eager.txt").write_text("what it printed")
    return folder


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    "name", ["report.md", "report.html", "summary.csv", "figures", "figures/ranking.svg"]
)
def test_no_link_is_followed_to_write(
    name: str, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outside, link = tmp_path / "outside", bundle / name
    if name == "figures":
        outside.mkdir()
    else:
        outside.write_text("kept")
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside)
    result = run(capsys, "report", bundle)
    assert result.code == 2
    assert f"{link}: is a link" in result.errors
    assert list(outside.iterdir()) == [] if name == "figures" else outside.read_text() == "kept"


@pytest.mark.parametrize("name", ["environment.json", "samples.csv", "readings.csv"])
def test_no_link_is_followed_to_read(name: str, bundle: Path, tmp_path: Path) -> None:
    shutil.move(bundle / name, tmp_path / name)
    (bundle / name).symlink_to(tmp_path / name)
    with pytest.raises(UsageError, match="is a link"):
        Bundle.read(bundle)


@pytest.mark.parametrize("name", ["logs", "logs/jax-eager.txt"])
def test_no_link_is_followed_to_a_log(name: str, bundle: Path, tmp_path: Path) -> None:
    outside, link = tmp_path / "outside", bundle / name
    shutil.move(link, outside)
    for path in (outside, *outside.rglob("*")):
        if path.is_file():
            path.write_text("secret")
    link.symlink_to(outside)
    read = Bundle.read(bundle)
    markdown = run_report.document(read, compute_findings(read)).markdown()
    assert "secret" not in markdown
    assert "is a link, which no bundle has" in markdown


def test_a_pipe_is_not_waited_for(bundle: Path) -> None:
    (bundle / "unfinished").mkdir()
    pipe = bundle / "unfinished" / "pipe"
    os.mkfifo(pipe)
    files.remove(pipe)
    assert not pipe.exists()
    with files.all_or_none(bundle) as unfinished:
        assert list(unfinished.iterdir()) == []


def test_a_log_is_read_within_bounds(bundle: Path) -> None:
    os.truncate(bundle / "samples.csv", 2**40)  # takes no place on the disk
    with pytest.raises(UsageError, match=r"samples\.csv: is too large"):
        Bundle.read(bundle)
    log = bundle / "logs" / "jax-eager.txt"
    lines = [*map(str, range(20)), "x" * 5000]
    log.write_text("\n".join(lines))
    assert end_of_output(bundle, "jax eager") == [*lines[13:20], "x" * MOST_LINE + "…"]
    with log.open("r+b") as file:
        file.truncate(2**40)  # takes no place on the disk
    assert end_of_output(bundle, "jax eager")
    log.unlink()
    assert end_of_output(bundle, "jax eager") == []
    os.mkfifo(log)
    (line,) = end_of_output(bundle, "jax eager")
    assert "is not a regular file" in line
    assert "cannot" in end_of_output(bundle, "jax " * 200)[0] or end_of_output(bundle, "j " * 200)
