"""The notebook in docs/ runs, and says what it says there."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.machine.settings import ROOT

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")

STORY = ROOT / "docs" / "story.ipynb"


def texts(notebook: Any) -> list[str]:
    """What the cells have printed."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return [output["text"] for output in outputs if output["output_type"] == "stream"]


@pytest.mark.slow
def test_the_story_runs_and_its_numbers_are_those_of_the_bundle() -> None:
    stored = nbformat.read(STORY, as_version=4)
    nbformat.validate(stored)
    fresh = nbformat.read(STORY, as_version=4)
    resources = {"metadata": {"path": str(ROOT)}}
    nbclient.NotebookClient(
        fresh, timeout=120, kernel_name="python3", resources=resources
    ).execute()
    assert texts(fresh) == texts(stored)
    assert len(texts(stored)) >= 7
    figures = [output for cell in fresh.cells for output in cell.get("outputs", ())
               if "image/svg+xml" in output.get("data", {})]  # fmt: skip
    assert len(figures) == 5
