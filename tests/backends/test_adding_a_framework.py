"""A fifth backend with a mode of its own runs everywhere, by one folder and one registry entry."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import run_all
from backends.ladder import Mode
from backends.registry import BACKENDS
from benchmarks.commands.report import missing_packages
from tests.support.edited_backends import copy_backend

LIMIT = '''
"""At the limit: the batches of a call gathered at once."""

from dataclasses import replace

import numpy as np

from backends.contract import FETCHES_ITSELF, NotKeptError, calls
from fifth.taught import Eager
from fifth.model import loss_and_gradients


class Buffered(Eager):
    def train(self, rows):
        for part in calls(rows, self._execution.steps_per_call):
            self._losses = []
            for batch in zip(self._images[part], self._labels[part]):
                loss, gradients = loss_and_gradients(self._parameters, *batch, self._product)
                self._update(gradients)
                self._losses.append(loss)

    def fetch(self, rows):
        raise NotKeptError(FETCHES_ITSELF)

    def losses(self):
        return np.array(self._losses)

    def describe(self):
        return replace(super().describe(), steps_per_call=self._execution.steps_per_call)
'''
EDITS = [
    (
        'TRAINERS: dict[str, type[Trainer]] = {"eager": Eager}',
        'from fifth.limit import Buffered\n\nTRAINERS = {"eager": Eager, "buffered": Buffered}',
    )
]
SMALL = ("--backends", "fifth", "--hidden", "16", "--batch-size", "32")


@pytest.fixture
def fifth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend outside the checkout: NumPy's under another name, with one more mode."""
    backend = copy_backend(BACKENDS["numpy"], "fifth", tmp_path, EDITS)
    (tmp_path / "fifth" / "limit.py").write_text(LIMIT)
    buffered = Mode(tier="limit", about="many steps a call", inputs=("resident",), many_steps=True)
    entry = replace(
        backend,
        title="The Fifth",
        # Of a package that no other backend has.
        distributions=("numpy", "pytest"),
        modes=backend.modes | {"buffered": buffered},
    )
    monkeypatch.setitem(BACKENDS, "fifth", entry)


@pytest.mark.usefixtures("fifth")
def test_a_fifth_backend_is_listed_and_certified(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_all.main(["--list", "--backends", "fifth"]) == 0
    listed = capsys.readouterr().out
    assert "yes (numpy" in listed
    assert "buffered" in listed
    assert run_all.main(["certify", *SMALL]) == 0
    certified = capsys.readouterr().out
    assert "fifth buffered" in certified
    assert certified.count("certified in") == 2


@pytest.mark.slow
@pytest.mark.usefixtures("fifth")
def test_a_fifth_backend_is_measured_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bundle"
    steps = ("--steps", "400", "--launches", "1", "--output", str(folder))
    assert run_all.main([*SMALL, *steps]) == 0
    assert run_all.main(["report", str(folder)]) == 0

    summary = pd.read_csv(folder / "summary.csv").set_index("case")
    assert {"fifth eager", "fifth buffered"} < set(summary.index)
    assert (summary["status"] == "measured").all()
    assert summary["certified"].all()
    assert summary.loc["fifth buffered", "tier"] == "limit"
    ledger = pd.read_csv(folder / "ledger.csv").query("entry == 'steps_per_call'")
    assert set(ledger.loc[ledger["case"] == "fifth buffered", "value"].astype(str)) == {"50"}
    assert "fifth" in set(pd.read_csv(folder / "floors.csv")["backend"])
    packages = json.loads((folder / "environment.json").read_text())["packages"]
    assert "pytest" in packages

    pages = ["report.md", *([] if missing_packages() else ["report.html"])]
    for page in pages:
        text = (folder / page).read_text()
        assert "fifth buffered" in text
        assert "The Fifth" in text

    # Where the backend is no longer registered, its name and cases are still reported.
    monkeypatch.delitem(BACKENDS, "fifth")
    assert run_all.main(["report", str(folder)]) == 0
    assert "fifth buffered" in (folder / "report.md").read_text()
