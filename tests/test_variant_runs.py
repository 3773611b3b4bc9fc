"""Whole runs with variants: what they leave in their bundle, and what their report says."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.bundle.reader import read_environment
from benchmarks.commands import versions
from benchmarks.plan import releases
from benchmarks.privacy import SET
from tests.support.runs import run, table

ONE = "one thread=numpy eager,threads=1"
FLAG = "flag=numpy:eager,env:NPY_OF_NOBODY=a,b=1,env:OF_A_TOKEN=said-to-nobody"


def test_variants_run_beside_their_base_case(
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    undrawn: None,  # noqa: ARG001
) -> None:
    folder = tmp_path / "bundle"
    work = ("--data-dir", images, "--hidden", "16", "--batch-size", "32")
    effort = ("--preset", "quick", "--steps", "20", "--launches", "1")
    done = run(capsys, *work, *effort, "--variant", ONE, "--variant", FLAG, "--output", folder)
    assert done.code == 0, done.errors
    cases = {
        "numpy eager": (None, "none"),
        "numpy eager (one thread)": ("one thread", "threads=1"),
        "numpy eager (flag)": ("flag", f"env:NPY_OF_NOBODY=a,b=1, env:OF_A_TOKEN={SET}"),
        "numpy eager (control)": (None, "none"),
    }
    recorded = json.loads((folder / "environment.json").read_text())["run"]["cases"]
    assert {case["case"]: case.get("variant") for case in recorded} == {
        name: variant for name, (variant, _) in cases.items()
    }
    ledger = table(folder, "ledger").set_index(["launch", "entry", "case"])["value"].sort_index()
    assert ledger[0, "overrides"].to_dict() == {name: text for name, (_, text) in cases.items()}
    # It has really run with what it overrides, and with nothing that another one does.
    assert ledger[0, "threads"]["numpy eager (one thread)"] == "1"
    assert ledger[0, "cpus_allowed"]["numpy eager (one thread)"] == "1"
    flagged = ledger[0, "variables"].str.contains("NPY_OF_NOBODY=a,b=1", regex=False)
    assert list(flagged[flagged].index) == ["numpy eager (flag)"]
    assert len(set(ledger[0, "threads"].drop("numpy eager (one thread)"))) == 1
    text = (folder / "report.md").read_text()
    assert "Unfair" not in text
    assert "share one core" not in text
    assert not [
        path
        for path in folder.rglob("*")
        if path.is_file() and b"said-to-nobody" in path.read_bytes()
    ]


def test_variants_are_certified_too(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work = ("--data-dir", images, "--hidden", "16", "--batch-size", "32")
    done = run(capsys, "certify", *work, "--variant", ONE)
    assert done.code == 0, done.errors
    assert "numpy eager (one thread)" in done.output
    assert done.output.count("certified in") == 2


def test_releases_run_as_variants_of_one_case(
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    undrawn: None,  # noqa: ARG001
) -> None:
    """NumPy, whose environment is this process's own, stands for a framework's releases."""
    release = releases.Release(
        python=sys.executable, versions={"numpy": "2.4.6"}, distribution="numpy"
    )
    monkeypatch.setattr(releases, "install", lambda *_, **__: release)
    folder = tmp_path / "bundle"
    work = ("--data-dir", str(images), "--hidden", "16", "--batch-size", "32")
    effort = ("--preset", "quick", "--steps", "20", "--launches", "1", "--output", str(folder))
    named = ["jax", "2.4.6", "2.4.6", "--modes", "eager", *work, *effort]
    arguments = versions.parser().read(named)
    arguments.backend = "numpy"
    console = Console(file=io.StringIO(), record=True, width=200)
    assert versions.compare(arguments, console) == 0
    recorded = read_environment(folder).run
    assert recorded.releases == ("2.4.6", "2.4.6 (2)")
    assert [case.case for case in recorded.cases] == [
        "numpy eager (2.4.6)",
        "numpy eager (2.4.6 (2))",
        "numpy eager (2.4.6 (2)) (control)",
    ]
    assert set(table(folder, "summary")["status"]) == {"measured"}
    for shown in ((folder / "report.md").read_text(), console.export_text()):
        after = shown.partition("What changed from release to release")[2]
        assert "not told apart here" in after
        assert "All packages that are recorded are the same." in after
