"""A GPU that fails in the middle of a run: its case is named with advice, the rest goes on.

NumPy's workers stand in for those of a GPU: the first of them to train its third block fails as a
framework does, or ends as a library may.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.machine.settings import ROOT
from tests.test_run_all import RUN_TIMEOUT, SMALL

WORKER = """
import os, sys
from pathlib import Path
from benchmarks import worker

class Lost(worker.Worker):
    blocks = 0
    def train(self):
        self.blocks += 1
        if self.blocks == 3:
            try:
                Path({marker!r}).touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                {failure}
        return super().train()

worker.Worker = Lost
worker.die_with_parent()
worker.serve(worker.Connection(int(sys.argv[1])))
"""
PROGRAM = """
import os, subprocess, sys
import run_all
original = subprocess.Popen
def popen(command, **settings):
    if command[1:3] == ["-m", "benchmarks.worker"]:
        command = [command[0], "-c", {worker!r}, command[3]]
    return original(command, **settings)
subprocess.Popen = popen
from benchmarks import jobs
# So that the session takes them for workers on a GPU.
environment = jobs.worker_environment
jobs.worker_environment = lambda *given: environment(*given) | {{"CUDA_VISIBLE_DEVICES": "0"}}
sys.exit(run_all.main(sys.argv[1:]))
"""
WORDS = "CUDA error: unspecified launch failure"
FAILURES = {
    "reported": (f"raise RuntimeError({WORDS!r})", f"RuntimeError: {WORDS}"),
    "ended": (f"print({WORDS!r}, flush=True); os.abort()", "killed by signal 6 (Aborted)"),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_lost_gpu_fails_its_case_alone(kind: str, tmp_path: Path) -> None:
    failure, said = FAILURES[kind]
    worker = textwrap.dedent(WORKER).format(marker=str(tmp_path / "failed"), failure=failure)
    folder = tmp_path / "bundle"
    done = subprocess.run(
        [
            *(sys.executable, "-c", PROGRAM.format(worker=worker), *SMALL),
            *("--steps", "300", "--launches", "2", "--output", str(folder)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT,
    )
    assert done.returncode == 1, done.stderr
    outcomes = pd.read_csv(folder / "outcomes.csv")
    assert outcomes["status"].tolist() == ["failed"]
    reason = outcomes["reason"].iloc[0]
    assert reason.startswith(f"{said} – the GPU has failed in this process; the others go on")
    (lost,) = outcomes["case"]
    (other,) = {"numpy eager", "numpy eager (control)"} - {lost}
    launches = pd.read_csv(folder / "launches.csv").set_index("case")
    assert launches.loc[[other], "launch"].tolist() == [0, 1]
    assert lost not in launches.index
    # What was measured of it before stays.
    samples = pd.read_csv(folder / "samples.csv")
    assert len(samples[samples["case"] == lost]) == 2
    assert reason.split(" – ")[0] in (folder / "report.md").read_text()
