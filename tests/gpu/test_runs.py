"""On a GPU: workers side by side, and a whole run."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from backends.contract import Adam, Network
from backends.ladder import LIMIT
from backends.registry import BACKENDS, missing_packages
from benchmarks.machine import nvml
from benchmarks.machine.probe import Program, probe
from benchmarks.machine.settings import ROOT
from benchmarks.plan import data
from benchmarks.plan.blocks import BlockLength
from benchmarks.plan.cases import Case
from benchmarks.plan.plan import Plan
from benchmarks.plan.workload import Workload
from benchmarks.session.jobs import make_job, make_ready, make_references, start_worker
from benchmarks.worker.messages import Finish, TakeTest, TrainBlock, TrainRest
from tests.conftest import device
from tests.support.gpu import FRAMEWORKS

pytestmark = pytest.mark.gpu

COUNTS_ENERGY = nvml.energy_counter() is not None


def usable() -> list[str]:
    """The frameworks that compute on the GPU; skips, with the reasons, where none does."""
    problems = {name: probe(Program(name), device()).problem for name in FRAMEWORKS}
    names = [name for name, problem in problems.items() if not problem]
    if not names:
        pytest.skip("; ".join(f"{name} {problem}" for name, problem in problems.items()))
    return names


def test_workers_live_side_by_side(tmp_path: Path) -> None:
    """Workers of all frameworks train in turns, and none takes the memory from the others."""
    names = usable()
    if len(names) < 2:
        pytest.skip(f"of the frameworks only {names[0]} sees the GPU")
    cases = tuple(
        Case(backend=name, mode=mode, input="resident", precision="float32", device=device())
        for name in names
        for mode in BACKENDS[name].standing_for(LIMIT, device())
    )
    training = data.load().training
    plan = Plan(
        name="side by side",
        workload=Workload(
            network=Network(layer_sizes=(784, 64, 10)),
            adam=Adam(),
            batch_size=128,
            steps=1000,
            training_images=len(training.labels),
            data_dir=str(data.EMBEDDED),
        ),
        cases=cases,
        skipped={},
        launches=1,
        seed=0,
        threads=2,
        time_limit_seconds=300,
    )
    references = make_references(plan, training)
    workers = [start_worker(plan, case, tmp_path) for case in cases]
    try:
        for case, worker in zip(cases, workers, strict=True):
            ready, certified, _ = make_ready(worker, make_job(plan, case, 0, references), {}, 200)
            assert certified.passed
            assert certified.ledger["device"] == device()
            # The training set alone has 164 MiB.
            assert 164 < ready.peak_device_mib < 40_000
        for _ in range(plan.rounds):
            for worker in workers:
                assert worker.ask(TrainBlock(BlockLength(lead_in=50, timed=50)), 60).seconds > 0
        for worker in workers:
            assert worker.ask(TrainRest(), 60) == 1000
            assert worker.ask(TakeTest(), 60).test_accuracy > 0.9
            final = worker.ask(Finish(), 60)
            if COUNTS_ENERGY:
                assert 0 < final.energy_mj_per_step < 10_000
            else:
                assert math.isnan(final.energy_mj_per_step)
    finally:
        for worker in workers:
            worker.end()


def run_into(folder: Path, *arguments: str) -> None:
    """One launch of a small network, by the command line."""
    small = ("--hidden", "64", "--launches", "1", "--output", str(folder))
    done = subprocess.run(
        [sys.executable, "run_all.py", "--device", device(), *small, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_whole_run(tmp_path: Path) -> None:
    names, folder = usable(), tmp_path / "bundle"
    run_into(folder, "--preset", "quick", "--steps", "200")
    launches = pd.read_csv(folder / "launches.csv")
    assert set(launches["backend"]) == set(names)
    assert (launches["device"] == device()).all()
    assert (launches["steps"] == 200).all()
    assert (launches["peak_device_mib"] > 0).all()
    assert (launches["energy_mj_per_step"] > 0).all() == COUNTS_ENERGY
    certificates = pd.read_csv(folder / "certificates.csv")
    assert certificates["passed"].all()
    ledger = pd.read_csv(folder / "ledger.csv").query("entry == 'product'")
    assert set(ledger["value"]) == {"float32"}
    rounds = pd.read_csv(folder / "rounds.csv")
    assert (rounds["gpu_mhz"] > 0).all() == (nvml.visible() is not None)
    assert "peak GPU memory (MiB)" in (folder / "report.md").read_text()
    outcomes = pd.read_csv(folder / "outcomes.csv")
    assert set(outcomes["status"]) <= {"skipped"}
    assert set(outcomes["backend"]) == {
        name for name in FRAMEWORKS if name not in names or missing_packages(BACKENDS[name])
    }


def test_floors_of_all_frameworks_run_in_their_workers(tmp_path: Path) -> None:
    """In a run that has floors, as the default run does, each takes its steps and tells a peak."""
    names, folder = usable(), tmp_path / "bundle"
    run_into(folder, "--modes", "cuda-graph", "xla-loop", "scan", "--steps", "500")
    floors = pd.read_csv(folder / "floors.csv")
    assert set(floors["backend"]) == set(names)
    # In float32, more than a processor has, less than any GPU.
    assert floors["peak_gflops"].between(1e3, 1e6).all()
    summary = pd.read_csv(folder / "summary.csv").query("status == 'measured'")
    assert set(summary["backend"]) == set(names) <= set(BACKENDS)
    assert (summary["x_own_floor"] > 0.8).all()
