"""A GPU that fails in the middle of a run: its case is named with advice, and the rest goes on.

NumPy's workers stand in for those of a GPU: one of them fails in its third block as a framework
does, or ends as a library may end it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.machine.settings import worker_environment
from benchmarks.worker.messages import TrainBlock
from tests.support.runs import CASES, run, table
from tests.support.workers import at_request, python_for_workers

FAILING_TRAINER = """
import os
from pathlib import Path
from backends.numpy import backend as numpy

class Failing(numpy.TRAINERS["eager"]):
    def train(self, rows):
        if Path({marker!r}).exists():
            Path({marker!r}).unlink()
            {failure}
        super().train(rows)

numpy.TRAINERS["eager"] = Failing
"""
"""A backend that fails once, as soon as there is a file of a certain name."""

ERROR = "CUDA error: unspecified launch failure"
FAILURES = {
    "reported": (f"raise RuntimeError({ERROR!r})", f"RuntimeError: {ERROR}"),
    "ended": (f"print({ERROR!r}, flush=True); os.abort()", "killed by signal 6 (Aborted)"),
}
"""What the trainer does, and how the reason of the failure begins."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAILURES)
def test_a_lost_gpu_fails_its_case_alone(
    kind: str,
    small: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (failure, expected), marker = FAILURES[kind], tmp_path / "fail"
    python = python_for_workers(
        tmp_path, FAILING_TRAINER.format(marker=str(marker), failure=failure)
    )
    # So that the session takes the workers for those of a GPU.
    monkeypatch.setattr(
        "benchmarks.session.jobs.worker_environment",
        lambda *given: worker_environment(*given) | {"CUDA_VISIBLE_DEVICES": "0"},
    )
    at_request(monkeypatch, TrainBlock, worker=2, number=3, action=lambda _: marker.touch())
    folder = tmp_path / "bundle"
    done = run(
        capsys, *small, "--python", f"numpy={python}", "--steps", "410", "--launches", "2",
        "--output", folder,
    )  # fmt: skip
    assert done.code == 1, done.errors
    outcomes = table(folder, "outcomes")
    assert outcomes["status"].tolist() == ["failed"]
    reason = outcomes["reason"].item()
    assert reason.startswith(f"{expected} – the GPU has failed in this process; the others go on")
    lost = outcomes["case"].item()
    (other,) = CASES - {lost}
    launches = table(folder, "launches").set_index("case")
    assert launches.loc[[other], "launch"].tolist() == [0, 1]
    assert lost not in launches.index
    # What was measured of it before stays.
    samples = table(folder, "samples")
    assert len(samples[samples["case"] == lost]) == 2
    assert reason.split(" – ")[0] in (folder / "report.md").read_text()
