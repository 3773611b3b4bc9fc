"""Using results: summary.json, exports, notebooks, the gallery, the check of a contribution."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import pytest

import run_all
from benchmarks import exit_codes, load_bundle
from benchmarks.analysis.findings import NOT_IN_ALL
from benchmarks.commands.report import write_reports
from benchmarks.errors import UsageError
from benchmarks.machine.settings import ROOT
from benchmarks.reports import exports, page, summary
from benchmarks.schema.tables import COMPUTED
from tests.support.hostile import write_hostile_bundle
from tests.synthetic_bundles import write_bundle

REFERENCE = ROOT / "results" / "reference" / "epyc-zen4-2-cores"
TIMES = {
    "jax scan": 1.0,
    "jax scan (control)": 1.0,
    "pytorch handwritten": 1.3,
    "pytorch eager": 2.0,
    "numpy floor": 0.8,
}


def main(*arguments: object) -> int:
    return run_all.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_bundle(tmp_path_factory.mktemp("results") / "bundle", TIMES)
    write_reports(folder)
    return folder


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_hostile_bundle(tmp_path_factory.mktemp("hostile") / "bundle")
    write_reports(folder)
    return folder


@pytest.mark.parametrize("name", ["bundle", "hostile"])
def test_summary_json_fits_its_schema_and_says_what_the_csvs_say(
    name: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(name)
    content = json.loads((folder / "summary.json").read_text())
    schema = json.loads(summary.SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(content, schema, jsonschema.Draft202012Validator)
    assert set(content["tables"]) >= set(COMPUTED) - {"sweep", *NOT_IN_ALL}
    for table, rows in summary.read(folder).tables.items():
        if table != summary.MARGINS:
            shown = pd.read_csv(io.StringIO(rows.to_csv(index=False)))
            written = pd.read_csv(folder / f"{table}.csv")
            pd.testing.assert_frame_equal(shown, written, check_dtype=False)


@pytest.mark.parametrize("name", ["bundle", "hostile"])
def test_both_reports_follow_from_summary_json_alone(
    name: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(name)
    read = summary.read(folder)
    assert read.report.markdown() == (folder / "report.md").read_text()
    assert page.html(read) == (folder / "report.html").read_text()
    assert summary.as_text(read.to_json()) + "\n" == (folder / "summary.json").read_text()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda content: content.pop("tables"), "'tables' is a required property"),
        (lambda content: content.update(format=9), "1 was expected"),
        (lambda content: content["report"].update(title=3), r"\$\.report\.title"),
        (lambda content: content["tables"]["summary"]["columns"].remove("case"), "contain"),
        (lambda content: content["environment"]["run"].update(seed="x"), "seed"),
    ],
)
def test_a_summary_that_does_not_fit_is_refused(
    change: Callable[[Any], Any], problem: str, copy: Path
) -> None:
    content = json.loads((copy / "summary.json").read_text())
    change(content)
    (copy / "summary.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match=problem):
        summary.read(copy)


def test_links_of_a_summary_lead_to_documentation_alone(copy: Path) -> None:
    text = (copy / "summary.json").read_text()
    (copy / "summary.json").write_text(text.replace('"https://', '"javascript://'))
    with pytest.raises(UsageError, match="javascript"):
        summary.read(copy)


BOUNDS = ("value", "lower_value", "upper_value")
BMF = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "required": ["value"],
            "additionalProperties": False,
            "properties": {name: {"type": "number"} for name in BOUNDS},
        },
    },
}
"""What https://bencher.dev/bmf.json allows; of a measure nothing but its three numbers."""
ACTION = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["name", "unit", "value"],
        "additionalProperties": False,
        "properties": {"value": {"type": "number"}}
        | {name: {"type": "string"} for name in ("name", "unit", "range", "extra")},
    },
}
"""What github-action-benchmark reads as customSmallerIsBetter."""


@pytest.mark.parametrize("name", ["bundle", "hostile"])
def test_exports_have_the_form_that_other_programs_read(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = request.getfixturevalue(name)
    for form, schema in (("bmf", BMF), ("github-action-benchmark", ACTION)):
        output = tmp_path / f"{form}.json"
        assert main("export", folder, "--to", form, "--output", output) == 0
        jsonschema.validate(json.loads(output.read_text()), schema)
    assert main("export", folder, "--to", "json", "--output", tmp_path / "all.json") == 0
    assert summary.problem_of(json.loads((tmp_path / "all.json").read_text())) == ""


def test_exports_have_the_numbers_of_the_csvs(bundle: Path) -> None:
    read = summary.read(bundle)
    cases = pd.read_csv(bundle / "summary.csv").query("repetition == 0").set_index("case")
    latencies = json.loads(exports.as_bmf(read))
    entries = {one["name"]: one for one in json.loads(exports.as_action_benchmark(read))}
    assert set(latencies) == set(entries) == set(cases.index)
    for case, row in cases.iterrows():
        latency = latencies[case]["latency"]
        ends = [row[f"step_ms{end}"] for end in ("", "_low", "_high")]
        assert [latency["value"], latency["lower_value"], latency["upper_value"]] == pytest.approx(
            [1e6 * end for end in ends]
        )
        assert entries[case]["value"] == row["step_ms"]
        assert entries[case]["range"] == f"[{ends[1]:#.4g}, {ends[2]:#.4g}]"


def test_what_may_not_be_quoted_is_not_exported(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "b", TIMES, uncertified=("pytorch eager",))
    write_reports(folder, page=False)
    names = set(json.loads(exports.as_bmf(summary.read(folder))))
    assert names == {"jax scan", "pytorch handwritten"} | ({"numpy floor"} & names)


def test_parquet_has_every_table(bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    assert main("export", bundle, "--to", "parquet", "--output", tmp_path / "tables") == 0
    read = summary.read(bundle)
    for name, rows in read.tables.items():
        written = pd.read_parquet(tmp_path / "tables" / f"{name}.parquet")
        pd.testing.assert_frame_equal(written, rows, check_dtype=False)


def test_every_figure_is_exported_as_an_image(bundle: Path, tmp_path: Path) -> None:
    assert main("export", bundle, "--to", "png", "--output", tmp_path / "images") == 0
    images = {path.stem: path.read_bytes() for path in (tmp_path / "images").iterdir()}
    assert set(images) == {path.stem for path in (bundle / "figures").iterdir()}
    assert all(content.startswith(b"\x89PNG") for content in images.values())


def test_an_export_needs_its_summary(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "summary.json").unlink()
    assert main("export", copy, "--to", "bmf") == exit_codes.REFUSED
    assert "write it with: python run_all.py report" in capsys.readouterr().err
    assert main("export", copy, "--to", "parquet") == exit_codes.REFUSED
    assert "--output FOLDER" in capsys.readouterr().err


def test_a_notebook_has_frames_verdicts_and_figures(bundle: Path) -> None:
    run = load_bundle(bundle)
    assert set(run.cases["case"]) == set(pd.read_csv(bundle / "summary.csv")["case"])
    pairs = pd.read_csv(bundle / "verdicts.csv")
    row = pairs[pairs["relation"] == "tier"].iloc[0]
    one, other = run.verdict(row["case"], row["other"]), run.verdict(row["other"], row["case"])
    assert (one.verdict, one.ratio, one.low) == (row["verdict"], row["ratio"], row["ratio_low"])
    turned = {"faster": "slower", "slower": "faster"}
    assert other.verdict == turned.get(one.verdict, one.verdict)
    assert other.ratio == pytest.approx(1 / one.ratio)
    assert other.high == pytest.approx(1 / one.low)
    for name in run.figures:
        assert run.figure(name).to_dict()["$schema"].startswith("https://vega.github.io")
    with pytest.raises(UsageError, match="did you mean summary"):
        run.table("sumary")
    with pytest.raises(UsageError, match="did you mean jax scan"):
        run.verdict("jax scn", "jax scan")


def test_the_gallery_has_a_page_a_bundle_and_no_ranking_over_machines(
    bundle: Path, hostile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "results"
    for name in ("one", "two"):
        shutil.copytree(bundle, place / name)
    shutil.copytree(hostile, place / "ho st'ile<b>")
    shutil.copytree(bundle, place / "bare")
    (place / "bare" / "summary.json").unlink()
    site = tmp_path / "site"
    assert main("gallery", place, "--output", site) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "3 bundles" in printed
    assert "bare/summary.json: cannot be read" in printed
    pages = sorted(path.parent.name for path in site.glob("*/report.html"))
    assert pages == ["ho-st-ile-b", "one", "two"]
    index = (site / "index.html").read_text()
    for name in pages:
        assert f'<a href="{name}/report.html"' in index
    # A history compares ratios, run by run, and no milliseconds but the floor's own.
    assert "Times the attained floor, run by run" in index
    assert "ms a step" not in index
    assert "<img src=x" not in index


def test_an_empty_gallery_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("gallery", tmp_path, "--output", tmp_path / "site") == exit_codes.REFUSED
    assert "holds no bundle" in capsys.readouterr().err
    assert not (tmp_path / "site").exists()


def lacking(folder: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What `check` says is missing."""
    capsys.readouterr()
    code = main("check", folder)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("✗")]
    assert code == (exit_codes.FAILED if lines else exit_codes.OK)
    return lines


def test_the_reference_bundle_may_be_added(capsys: pytest.CaptureFixture[str]) -> None:
    assert lacking(REFERENCE, capsys) == []


def edited(name: str, old: str, new: str) -> Callable[[Path], object]:
    """A change to a file of a bundle, after which its report is written again."""

    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (edited("environment.json", '"state": "complete"', '"state": "interrupted"'), "complete"),
        (edited("environment.json", '"git_modified": false', '"git_modified": true'), "modified"),
        (edited("environment.json", '"data_sha256": "', '"data_sha256": "0'), "other data"),
        (edited("environment.json", '"cores": 2', '"cores": null'), "machine.cores"),
        (edited("certificates.csv", "True", "False"), "is not certified"),
        (edited("samples.csv", "jax", "jaxx"), "damaged"),
        (edited("ledger.csv", "jax", "/home/somebody/x"), "who or where"),
        (lambda folder: (folder / "blocks.csv").unlink(), "no timed block was certified"),
        (lambda folder: (folder / "notes.txt").write_text("x"), "notes.txt is no file"),
        (lambda folder: (folder / "report.html").write_text("x"), "report.html is no file"),
        (
            lambda folder: (folder / "figures" / "more.svg").write_text("x"),
            "no figure of its report",
        ),
        (edited("verdicts.csv", ",slower,", ",faster,"), "verdicts.csv does not follow"),
        (edited("figures/ranking.svg", "jax", "jxa"), "figures/ranking.svg does not follow"),
        (
            edited("environment.json", '"packages": {', '"packages": {"me@example.org": "1",'),
            "who or",
        ),
        (edited("environment.json", '"format"', '"owner": {"cases": "/home/a"}, "format"'), "read"),
        (
            edited("environment.json", '"git_commit": "', '"git_commit": "x'),
            "commit of the program",
        ),
        (lambda folder: (folder / "summary.json").unlink(), "summary.json: cannot be read"),
        (edited("summary.json", "One network", "No network"), "summary.json does not follow"),
        (edited("report.md", "fastest", "slowest"), "report.md does not follow"),
    ],
)
def test_what_a_bundle_lacks_is_said_in_a_line(
    change: Callable[[Path], object],
    expected: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = Path(shutil.copytree(REFERENCE, tmp_path / "copy"))
    change(folder)
    assert any(expected in line for line in lacking(folder, capsys))


def test_a_comparison_is_a_comment_of_thirty_lines(tmp_path: Path) -> None:
    """Also of more cases than fit into it."""
    many = {f"jax scan (v{number})": 1.0 + number / 10 for number in range(30)} | TIMES
    for times in (TIMES, many):
        folders = [
            write_bundle(tmp_path / f"{side}{len(times)}", times, seed=seed)
            for seed, side in enumerate(("before", "after"))
        ]
        output = tmp_path / f"comment{len(times)}.md"
        code = main("compare", *folders, "--output", output, "--fail-if-slower", "5%")
        assert code == exit_codes.UNJUDGED
        lines = output.read_text().splitlines()
        assert len(lines) <= 30
        assert lines[0].startswith("**after")
        table = next(number for number, line in enumerate(lines) if line.startswith("|"))
        assert any("annot judge" in line for line in lines[:table])
        assert "<details>" in "".join(lines[table:])


def test_every_changed_file_must_be_one_of_a_bundle(tmp_path: Path) -> None:
    """By the script of the workflow, in a folder with a bundle and files beside and below it."""
    program = ROOT / ".github" / "check_results.py"
    (tmp_path / "run_all.py").write_text("import sys; sys.exit(int('bad' in sys.argv[-1]))")
    for name in ("good", "bad"):
        (tmp_path / "results" / "contributed" / name / "extra").mkdir(parents=True)
        (tmp_path / "results" / "contributed" / name / "environment.json").write_text("{}")
    expected = {
        "results/contributed/good/samples.csv": 0,
        "results/README.md\0results/validation/gate.csv\0docs/x.md": 0,
        "results/contributed/bad/extra/evil.html": 1,
        "results/contributed/evil.html": 1,
        "results/contributed/new\nline/x.csv": 1,
    }
    for names, code in expected.items():
        (tmp_path / "changed").write_text(f"{names}\0")
        done = subprocess.run([sys.executable, program, "changed"], cwd=tmp_path, check=False,
                              capture_output=True)  # fmt: skip
        assert done.returncode == code, names
