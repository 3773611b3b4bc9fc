"""Launches as jobs: here, and on a real Slurm of one node that the tests start themselves."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import run_all
from benchmarks import exit_codes
from benchmarks.bundle.reader import Bundle
from benchmarks.cluster import spread
from benchmarks.cluster.jobs import Jobs
from benchmarks.cluster.spread import OWN, without
from benchmarks.commands import versions
from benchmarks.machine.settings import ROOT
from tests.support import slurm
from tests.support.runs import SMALL
from tests.synthetic_bundles import write_bundle

pytest.importorskip("submitit", reason="submitit is not installed")


def command(images: Path, output: Path, where: str, *more: str) -> list[str]:
    few = ("--steps", "120", "--data-dir", str(images), *SMALL)
    return [sys.executable, "run_all.py", "--on", where, *few, "--output", str(output), *more]


def environment(place: Path, **more: str) -> dict[str, str]:
    """That of a run whose lock is its own."""
    return os.environ | {"BENCHMARK_LOCK_FOLDER": str(place)} | more


def test_the_options_of_jobs_are_not_those_of_launches() -> None:
    argv = ["--on", "slurm", "--steps=5", "--output=x", "--hidden", "3", "--continue", "--launches",
            "9", "--wait"]  # fmt: skip
    assert without(argv, OWN) == ["--steps=5", "--hidden", "3"]


def test_each_job_makes_one_launch_of_what_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With releases, they are installed before anything is submitted."""
    seen: list[object] = []

    class Recorded(Jobs):
        def run(self) -> dict[int, str]:
            seen.append(self)
            return {0: "nothing was submitted"}

    monkeypatch.setattr(spread, "Jobs", Recorded)
    monkeypatch.setattr(versions, "install", lambda *_: seen.append("installed"))
    wanted = ["versions", "jax", "0.9.*", "0.10.*", "--steps", "50", "--on", "local", "--launches",
              "2", "--output", str(tmp_path / "run")]  # fmt: skip
    assert run_all.main(wanted) == exit_codes.STOPPED
    installed, jobs = seen
    assert installed == "installed"
    assert isinstance(jobs, Jobs)
    begin = [str(ROOT / "run_all.py"), "versions", "jax", "0.9.*", "0.10.*", "--steps", "50"]
    for number, made in jobs.commands.items():
        assert made[1:8] == begin
        assert made[8:] == ["--wait", "--launches", "2", "--part", str(number), "--output",
                            str(tmp_path / "run-parts" / f"part-{number}")]  # fmt: skip


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ((), "--on: name the folder of the bundle"),
        (("--output", "x", "--part", "1"), "leave out --part"),
        (("--output", "x", "--continue"), "nothing was begun"),
        (("--output", "x", "--ranks", "2", "--hosts", "a"), "leave out --hosts"),
    ],
)
def test_what_cannot_be_spread_is_refused(
    more: tuple[str, ...], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run_all.main(["--on", "local", *more]) == exit_codes.REFUSED
    assert problem in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_merged_bundle_stays_until_another_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where its parts are gone, and where they can no longer be merged."""
    merged = write_bundle(tmp_path / "run", {"jax scan": 1.0, "jax eager": 2.0})
    environment = json.loads((merged / "environment.json").read_text())
    environment["run"]["seeds"] = [0, 1, 2, 3]
    (merged / "environment.json").write_text(json.dumps(environment))
    again = ["--on", "local", "--output", str(merged), "--continue", "--launches", "1"]
    assert run_all.main(again) == exit_codes.REFUSED
    assert "nothing was begun" in capsys.readouterr().err
    before = {path.name: path.read_bytes() for path in merged.iterdir() if path.is_file()}
    shutil.copytree(merged, tmp_path / "run-parts" / "part-0")
    monkeypatch.setattr(Jobs, "run", lambda _: {})
    assert run_all.main(again) == exit_codes.REFUSED
    assert "is a run of its own and no part of one" in " ".join(capsys.readouterr().err.split())
    assert {path.name: path.read_bytes() for path in merged.iterdir() if path.is_file()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run-parts"]


@pytest.mark.slow
def test_jobs_on_this_machine_make_one_bundle(images: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        command(images, tmp_path / "run", "local", "--launches", "2"),
        cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == exit_codes.OK, done.stderr
    bundle = Bundle.read(tmp_path / "run")
    assert bundle.problems == ()
    assert bundle.environment.run.finished_launches == 2
    assert set(bundle.tables["launches"]["node"]) == {"node 1"}


@pytest.mark.slow
def test_the_points_of_a_sweep_are_jobs(images: Path, tmp_path: Path) -> None:
    sweep = [sys.executable, "run_all.py", "sweep", *SMALL, "--data-dir", str(images)]
    sweep += ["--batch-sizes", "16", "32", "--steps", "200", "--launches", "1", "--floors", "none"]
    sweep += ["--on", "local", "--output", str(tmp_path / "sweep")]
    for more in ([], ["--continue"]):
        done = subprocess.run(
            [*sweep, *more], cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True,
            timeout=240,
        )  # fmt: skip
        assert done.returncode == exit_codes.OK, done.stderr
    found = pd.read_csv(tmp_path / "sweep" / "sweep.csv")
    assert sorted(set(found["value"])) == [16, 32]
    assert (found["status"] == "measured").all()
    # The second call had nothing to make.
    tries = json.loads((tmp_path / "sweep/points/batch-16-hidden-16-parts/jobs.json").read_text())
    assert [*map(len, tries.values())] == [1]


@pytest.mark.slow
def test_a_full_disk_is_said_and_the_run_goes_on_when_there_is_room(
    images: Path, tmp_path: Path
) -> None:
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", place]).returncode:
        pytest.skip("may not mount")
    try:
        (place / "fill").write_bytes(bytes(2700 * 1024))
        wanted = command(images, place / "run", "local", "--launches", "2")
        for more, code in (([], exit_codes.STOPPED), (["--continue"], exit_codes.OK)):
            done = subprocess.run(
                [*wanted, *more], cwd=ROOT, env=environment(tmp_path), capture_output=True,
                text=True, timeout=240,
            )  # fmt: skip
            assert done.returncode == code, done.stderr
            if code:
                assert "cannot be written (No space left on device)" in done.stderr
                assert "--continue when it can" in done.stderr
                (place / "fill").unlink()
        assert Bundle.read(place / "run").environment.run.finished_launches == 2
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[slurm.Slurm]:
    if problem := slurm.missing():
        pytest.skip(problem)
    with slurm.cluster(tmp_path_factory.mktemp("slurm")) as started:
        yield started


class Going:
    """A run that goes on, and what it has said so far."""

    def __init__(self, arguments: list[str], variables: dict[str, str], log: Path) -> None:
        self.log = log
        self.file = log.open("w")
        self.process = subprocess.Popen(
            arguments, cwd=ROOT, env=variables, stdout=self.file, stderr=self.file,
            start_new_session=True,
        )  # fmt: skip

    def until(self, text: str, seconds: float = 120.0) -> str:
        """Wait until it has said something; raises TimeoutError with what it said instead."""
        end = time.monotonic() + seconds
        while text not in (said := self.log.read_text()):
            if time.monotonic() > end or self.process.poll() is not None:
                raise TimeoutError(said)
            time.sleep(0.2)
        return said

    def ended(self) -> tuple[int, str]:
        code = self.process.wait(240)
        self.file.close()
        return code, self.log.read_text()


def queue(controller: slurm.Slurm) -> list[str]:
    """The ids of the jobs that wait or run."""
    listed = subprocess.run(
        ["squeue", "-h", "-o", "%i", "--states=PENDING,RUNNING"],
        env=controller.environment, capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    return listed.stdout.split()


@pytest.mark.slow
def test_slurm_makes_a_bundle_whatever_happens_to_a_job_and_to_the_controller(
    controller: slurm.Slurm, images: Path, tmp_path: Path
) -> None:
    """One job is killed and made again; the controller is away for a while."""
    variables = environment(tmp_path, **controller.environment)
    run = Going(command(images, tmp_path / "run", "slurm", "--launches", "2"), variables,
                tmp_path / "log")  # fmt: skip
    run.until("launches as jobs")
    end = time.monotonic() + 60
    while not (jobs := queue(controller)) and time.monotonic() < end:
        time.sleep(0.2)
    subprocess.run(["scancel", "--signal=KILL", jobs[0]], env=controller.environment, check=True)
    run.until("once more")
    controller.stop("slurmctld")
    time.sleep(5)
    controller.run("slurmctld", "-D")
    code, said = run.ended()
    assert code == exit_codes.OK, said
    bundle = Bundle.read(tmp_path / "run")
    assert bundle.problems == ()
    assert bundle.environment.run.finished_launches == 2
    tries = json.loads((tmp_path / "run-parts" / "jobs.json").read_text())
    assert sorted(map(len, tries.values())) == [1, 2]
    # A launch has all CPUs of its node.
    assert bundle.environment.machine.cpus_available == os.cpu_count()
    assert len(pd.read_csv(tmp_path / "run-nodes.csv")) == 1


@pytest.mark.slow
def test_an_interrupt_cancels_the_jobs_and_continue_goes_on(
    controller: slurm.Slurm, images: Path, tmp_path: Path
) -> None:
    variables = environment(tmp_path, **controller.environment)
    arguments = command(images, tmp_path / "run", "slurm", "--launches", "2")
    run = Going(arguments, variables, tmp_path / "log")
    run.until("part 0 is there")
    run.process.send_signal(signal.SIGINT)
    code, said = run.ended()
    assert code == exit_codes.INTERRUPTED
    assert "its jobs are cancelled; go on with the same command and --continue" in said
    end = time.monotonic() + 30
    while queue(controller) and time.monotonic() < end:
        time.sleep(0.5)
    assert queue(controller) == []
    before = (tmp_path / "run-parts" / "part-0" / "samples.csv").stat().st_mtime_ns
    again = subprocess.run([*arguments], cwd=ROOT, env=variables, capture_output=True, text=True,
                           timeout=60)  # fmt: skip
    assert again.returncode == exit_codes.REFUSED
    assert "go on with it by --continue" in again.stderr
    done = Going([*arguments, "--continue"], variables, tmp_path / "log2").ended()
    assert done[0] == exit_codes.OK, done[1]
    assert Bundle.read(tmp_path / "run").environment.run.finished_launches == 2
    # What was there was not made again.
    assert (tmp_path / "run-parts" / "part-0" / "samples.csv").stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_job_that_fails_twice_is_said_in_a_line(
    controller: slurm.Slurm, images: Path, tmp_path: Path
) -> None:
    """What its launches are asked cannot be, as only the node that has the data can tell."""
    variables = environment(tmp_path, **controller.environment)
    wrong = ("--launches", "1", "--batch-size", "100000")
    done = Going(command(images, tmp_path / "run", "slurm", *wrong), variables,
                 tmp_path / "log").ended()  # fmt: skip
    assert done[0] == exit_codes.STOPPED
    last = done[1].strip().splitlines()[-1]
    assert last.startswith("run_all.py: no part was made: ")
    assert "--batch-size 100000: the training set has only" in last


@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="each rank has a CPU of its own")
def test_srun_starts_the_ranks_of_a_group(
    controller: slurm.Slurm, images: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    launcher = "srun --overlap --nodes 1 --ntasks 1"
    program = [
        *(sys.executable, "run_all.py", "certify", "pytorch", "--modes", "flat-all-reduce"),
        *("--hidden", "16", "--batch-size", "31", "--data-dir", str(images), "--threads", "1"),
        *("--ranks", "2", "--hosts", "127.0.0.1", "--rank-launcher", launcher),
    ]
    log = tmp_path / "log"
    subprocess.run(
        ["sbatch", "--wait", "--ntasks", "2", "--output", log, "--wrap", shlex.join(program)],
        env=environment(tmp_path, **controller.environment), cwd=ROOT, timeout=200, check=True,
    )  # fmt: skip
    assert "certified in" in log.read_text()
