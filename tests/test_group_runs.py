"""Runs with groups of ranks: what they leave, what a lost rank costs, and how ranks are started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import run_all
from backends.registry import BACKENDS, missing_packages
from benchmarks.bundle.reader import Bundle
from benchmarks.machine.lock import FOLDER as LOCK_FOLDER
from benchmarks.machine.settings import ROOT, available_cpus
from benchmarks.worker.messages import TrainBlock
from tests.support.runs import one_line, own_workers, run, table
from tests.support.workers import Kind, before_requests

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(available_cpus() < 2, reason="each rank has a CPU of its own"),
    pytest.mark.skipif(bool(missing_packages(BACKENDS["pytorch"])), reason="needs PyTorch"),
]
GROUP = ("pytorch", "--modes", "flat-all-reduce", "--ranks", "2", "--hidden", "16")
CASE = "pytorch flat-all-reduce 2 ranks"
SHORT = ("--steps", "410", "--launches", "1", "--batch-size", "31", "--floors", "numpy")


@pytest.fixture(scope="module")
def bundle(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of groups that share a batch, and of such with a batch each."""
    folder = tmp_path_factory.mktemp("groups") / "bundle"
    named = ("--backends", *GROUP, "--weak", "--data-dir", str(images))
    assert run_all.main([*named, *SHORT, "--output", str(folder)]) == 0
    return folder


def test_a_run_says_how_its_groups_scale(bundle: Path) -> None:
    assert not Bundle.read(bundle).problems
    scaling = table(bundle, "scaling").set_index("case")
    assert scaling["scaling"].to_dict() == {CASE: "strong", f"{CASE} batch 62": "weak"}
    assert scaling["batch_size"].tolist() == [31, 62]
    assert scaling["left_out"].isna().all()
    assert (scaling[["step_ms", "communication_ms"]] > 0).all(axis=None)
    floors = table(bundle, "group_floors").set_index("case")
    assert floors["batch_size"].to_dict() == {
        "numpy floor 2 ranks": 31,
        "numpy floor 2 ranks batch 62": 62,
    }
    # Each against the floor of its own batch.
    of_cases = (floors["share_ms"] + floors["reduce_ms"]).to_numpy()
    assert scaling["floor_ms"].to_numpy() == pytest.approx(of_cases, rel=0.01)
    assert scaling["x_floor"].to_numpy() == pytest.approx(
        (scaling["step_ms"] / scaling["floor_ms"]).to_numpy(), rel=0.5
    )
    # What trains another workload is ranked nowhere.
    assert set(table(bundle, "summary")["case"]) == {CASE, f"{CASE} (control)"}
    samples = table(bundle, "samples")
    assert samples.loc[samples["case"] == CASE, "ranks"].eq(2).all()
    report = (bundle / "report.md").read_text()
    assert "## Groups of ranks" in report
    assert "2 ranks together" in report


def test_a_rank_that_is_killed_ends_its_group_alone(
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    killed: list[int] = []

    def kill_a_rank(pid: int, asked: Kind, timeout: float) -> float:
        if asked is TrainBlock and not killed:
            ranks = psutil.Process(pid).children()
            if ranks and "floor" not in " ".join(psutil.Process(pid).cmdline()):
                killed.append(pid)
                ranks[0].kill()
        return timeout

    before_requests(monkeypatch, kill_a_rank)
    folder = tmp_path / "out"
    named = ("--backends", *GROUP, "--data-dir", images)
    done = run(capsys, *named, *SHORT, "--output", folder)
    assert done.code == 1 or "floor" in done.output
    failed = table(folder, "outcomes").query("status == 'failed'")
    assert failed["reason"].tolist() == ["rank 1 was killed by signal 9 (Killed)"]
    others = table(folder, "samples").query(f"case != '{failed['case'].iloc[0]}'")
    assert len(others)
    assert not own_workers()


def test_groups_at_once_do_not_meet_and_ranks_start_by_any_launcher(
    images: Path, tmp_path: Path
) -> None:
    running = []
    for number, extra in enumerate(
        ((), ("--hosts", "127.0.0.1", "--rank-launcher", "nice -n 1", "--threads", "1"))
    ):
        # Each with a lock of its own, or the second would wait.
        folder = tmp_path / str(number)
        folder.mkdir()
        command = [sys.executable, "run_all.py", "certify", *GROUP, "--data-dir", str(images)]
        running.append(
            subprocess.Popen(
                [*command, "--batch-size", "31", *extra],
                cwd=ROOT,
                env=os.environ | {LOCK_FOLDER: str(folder)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    for process in running:
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0, said
        assert "certified in" in one_line(said)


def test_ranks_listen_on_the_loopback_interface_alone(
    images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of PyTorch and of JAX; TensorFlow's own servers do not."""
    found: list[str] = []

    def look(pid: int, asked: Kind, timeout: float) -> float:
        if asked is TrainBlock:
            for process in (worker := psutil.Process(pid), *worker.children()):
                listening = [c for c in process.net_connections() if c.status == "LISTEN"]
                found.extend(connection.laddr.ip for connection in listening)
        return timeout

    before_requests(monkeypatch, look)
    for name, mode in (("pytorch", "flat-all-reduce"), ("jax", "shard-map")):
        named = ("--modes", mode, "--ranks", "2", "--hidden", "16", "--data-dir", images)
        assert run(capsys, "certify", name, *named).code == 0
    assert len(found) > 3
    assert {address.removeprefix("::ffff:") for address in found} == {"127.0.0.1"}


def test_too_many_ranks_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    cases = {
        ("--ranks", "2", "--threads", str(available_cpus())): "CPUs, and",
        ("--ranks", "2", "--batch-size", "1"): "cannot be shared by 2 ranks",
        (): "say of how many, as in --ranks 2",
        ("--ranks", "1"): "is not a whole number of 2 or more",
    }
    for extra, why in cases.items():
        done = run(capsys, "certify", "pytorch", "--modes", "flat-all-reduce", *extra)
        assert done.code == 2
        assert why in done.errors
