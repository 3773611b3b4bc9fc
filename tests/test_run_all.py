"""The program as its users meet it: whole runs, refusals, and everything that can go wrong.

Most of these run the NumPy backend on a tiny network, whose workers start within a second.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

import run_all
from benchmarks.bundle.reader import undisturbed
from benchmarks.commands import measure
from benchmarks.commands.report import missing_for_page
from benchmarks.commands.running import pythons
from benchmarks.machine.settings import ROOT, available_cpus
from benchmarks.reports import formats
from tests.conftest import executable

SMALL = ("--hidden", "16", "--batch-size", "32", "--backends", "numpy")
RUN_TIMEOUT = 240


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "run_all.py"), *arguments]


def run(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT,
    )


def table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.csv")


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of NumPy and its control: 2 launches of 210 steps in blocks of 50/10."""
    folder = tmp_path_factory.mktemp("run") / "bundle"
    done = run(*SMALL, "--steps", "210", "--launches", "2", "--output", str(folder))
    assert done.returncode == 0, done.stderr
    assert "numpy eager" in done.stdout
    assert str(folder / "report.md") in done.stdout
    return folder


def test_the_bundle_is_complete(small_run: Path) -> None:
    expected = {"environment.json", "report.md", "figures"} | {
        f"{name}.csv"
        for name in (
            *(
                "samples",
                "accuracy",
                "readings",
                "certificates",
                "ledger",
                "rounds",
                "launches",
                "outcomes",
            ),
            *("parts", "summary", "verdicts", "floors", "break_even", "totals"),
            *("curves", "accuracies", "equivalences", "time_to_accuracy"),
        )
    }
    if not missing_for_page():
        expected |= {"report.html"}
    assert {path.name for path in small_run.iterdir()} == expected


def test_samples_are_interleaved_blocks(small_run: Path) -> None:
    samples = table(small_run, "samples")
    rounds = table(small_run, "rounds").groupby("launch").size()
    # Four, and one more where one was disturbed.
    assert rounds.isin([4, 5]).all()
    # The case, its control and the floor.
    assert len(samples) == 3 * rounds.sum()
    assert (samples.groupby(["launch", "round"])["case"].nunique() == 3).all()
    assert (samples["dispatch_seconds"] <= samples["seconds"]).all()
    assert (samples["seconds"] > 0).all()
    assert samples.groupby("launch")["seed"].first().tolist() == [0, 1]


def test_case_and_control_train_alike(small_run: Path) -> None:
    """The same seed gives the same parameters and batches, so the same accuracies."""
    accuracy = table(small_run, "accuracy")
    twins = [
        part.drop(columns=["case", "repetition", "train_seconds"]).reset_index(drop=True)
        for _, part in accuracy.groupby("case")
    ]
    pd.testing.assert_frame_equal(twins[0], twins[1])
    assert accuracy["train_loss"].iloc[0] == pytest.approx(2.3, abs=0.1)
    assert (accuracy.groupby(["case", "launch"])["step"].first() == 0).all()


def test_the_summary_follows_from_the_samples(small_run: Path) -> None:
    samples = undisturbed(table(small_run, "samples"), table(small_run, "rounds"))
    samples["log_ms"] = np.log(1000 * samples["seconds"] / samples["steps"])
    medians = samples.groupby(["case", "launch"])["log_ms"].median().groupby("case").mean()
    summary = table(small_run, "summary").set_index("case")
    for case, row in summary.iterrows():
        assert row["step_ms"] == pytest.approx(np.exp(medians[str(case)]))
        assert row["step_ms_low"] <= row["step_ms"] <= row["step_ms_high"]


def test_every_number_of_the_ranking_is_in_the_summary(small_run: Path) -> None:
    summary = table(small_run, "summary").set_index("case")
    line = next(
        line
        for line in (small_run / "report.md").read_text().splitlines()
        if "| numpy eager " in line
    )
    row = summary.to_dict("index")["numpy eager"]
    low, value, high = (float(row[name]) for name in ("step_ms_low", "step_ms", "step_ms_high"))
    assert formats.interval(value, low, high, formats.MS) in line
    assert f"{100 * row['test_accuracy']:.2f}%" in line


def test_the_environment_is_recorded(small_run: Path) -> None:
    facts = json.loads((small_run / "environment.json").read_text())
    assert facts["run"]["state"] == "complete"
    assert facts["run"]["finished_launches"] == 2
    assert facts["workload"]["layer_sizes"] == [784, 16, 10]
    ledger = table(small_run, "ledger").set_index(["launch", "case", "entry"])["value"]
    assert ledger[0, "numpy eager", "threads"] == str(available_cpus())
    assert ledger[1, "numpy eager", "product"] == "float32"
    assert facts["packages"]["numpy"]


# Refusals: one clear line, exit code 2, nothing left behind.


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--steps", "0"], "--steps"),
        (["--steps", "many"], "--steps"),
        (["--batch-size", "-3"], "--batch-size"),
        (["--batch-size", "55001"], "55,000 images"),
        (["--backends", "theano"], "theano"),
        (["--modes", "warp"], "warp"),
        (["--backends", "jax", "--modes", "fit"], "--list"),
        (["--hidden", "0"], "--hidden"),
        (["--learning-rate", "nan"], "--learning-rate"),
        (["--launches", "0"], "--launches"),
        (["--seed", "-1"], "--seed"),
        (["--threads", "4096"], "CPUs"),
        (["--time-limit", "-1"], "--time-limit"),
        (["--python", "theano=python"], "theano=python"),
        (["--python", "jax"], "--python"),
        (["--python", "jax=/nowhere/python"], "/nowhere/python"),
        (["--data-dir", "/nowhere"], "/nowhere"),
        (["--output", __file__], "is a file"),
        (["--output", str(ROOT)], "not empty"),
        (["--unheard-of"], "--unheard-of"),
        (["certify", "--steps", "5"], "--steps"),
        (["certify", "--hidden", "0"], "--hidden"),
        (["certfy"], "certfy"),
    ],
)
def test_bad_arguments(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    results = ROOT / "results"
    before = sorted(results.iterdir()) if results.exists() else []
    try:
        code: object = run_all.main(arguments)
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert len(errors.strip().splitlines()) == 1
    assert (sorted(results.iterdir()) if results.exists() else []) == before


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.touch()
    done = run(*SMALL, "--output", str(blocker / "inside"))
    assert done.returncode == 2
    assert "cannot be" in done.stderr
    assert list(tmp_path.iterdir()) == [blocker]


def test_a_damaged_data_set(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8b nonsense")
    done = run("--data-dir", str(tmp_path))
    assert done.returncode == 2
    assert "train-images-idx3-ubyte.gz" in done.stderr


def test_no_gpu_is_an_error_not_a_run_on_the_cpu(tmp_path: Path) -> None:
    done = run(
        "--device", "gpu", "--backends", "pytorch", "--output", str(tmp_path / "out"),
        CUDA_VISIBLE_DEVICES="-1", JAX_PLATFORMS="cpu",
    )  # fmt: skip
    assert done.returncode == 2
    assert "GPU" in done.stderr
    assert "pytorch" in done.stderr
    assert not (tmp_path / "out").exists()


def test_every_worker_is_certified(small_run: Path) -> None:
    found = table(small_run, "certificates")
    figures = found.groupby(["launch", "case", "level"]).size()
    # Logits, two losses, and three stages with four parameters.
    assert figures.to_dict() == {
        (launch, case, level): 15
        for case in ("numpy eager", "numpy eager (control)")
        for launch, level in ((0, "exact"), (0, "as timed"), (1, "as timed"))
    }
    assert found["passed"].all()
    assert (found.loc[found["level"] == "exact", "bound"] == 1e-9).all()


def test_certify_prints_certificate_and_ledger() -> None:
    done = run("certify", "--backends", "numpy", "--hidden", "16", "--batch-size", "32")
    assert done.returncode == 0, done.stderr
    for words_ in ("parameters 10 steps", "certified in", "CPUs used", "precision of a product"):
        assert words_ in done.stdout


def test_certify_names_what_deviates() -> None:
    """A NumPy backend whose second layer's bias is not trained."""
    program = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from benchmarks import process, worker
        from backends import numpy

        update = numpy.Eager._update
        def forgetful(self, gradients):
            bias = self._parameters[1][1].copy()
            update(self, gradients)
            self._parameters[1][1][:] = bias
        numpy.Eager._update = forgetful
        worker.die_with_parent()
        worker.serve(worker.Connection(int(sys.argv[1])))
        """
    )
    patched = textwrap.dedent(
        f"""
        import subprocess, sys
        import run_all
        original = subprocess.Popen
        def popen(command, **settings):
            if command[1:3] == ["-m", "benchmarks.worker"]:
                command = [command[0], "-c", {program!r}, command[3]]
            return original(command, **settings)
        subprocess.Popen = popen
        sys.exit(run_all.main(["certify", *sys.argv[1:]]))
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", patched, "--backends", "numpy", "--hidden", "16"],
        cwd=ROOT, capture_output=True, text=True, timeout=RUN_TIMEOUT,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    said = " ".join(done.stdout.split())
    assert "NOT certified: first departs at parameters 1 step, layer 2 bias (exact)" in said
    assert "relative error 1.0e+00 where the bound is 1.0e-09" in said


def test_help_and_list() -> None:
    assert "examples:" in run("--help").stdout
    listed = run("--list", "--backends", "numpy")
    assert listed.returncode == 0
    assert "numpy" in listed.stdout
    assert "yes" in listed.stdout


# What breaks on the way.


def test_a_training_that_diverges_ends_no_run(tmp_path: Path) -> None:
    done = run(
        *SMALL, "--steps", "210", "--launches", "2", "--learning-rate", "1e30",
        "--output", str(tmp_path / "out"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    why = "diverged: the loss is not finite from step 50 in seeds 0, 1"
    for said in (done.stdout, (tmp_path / "out" / "report.md").read_text()):
        assert f"numpy eager {why}" in " ".join(said.split())
    summary = table(tmp_path / "out", "summary").set_index("case")
    assert summary["diverged"].tolist() == [why, why]
    assert (summary["status"] == "measured").all()
    assert (summary["step_ms"] > 0).all()
    for name in ("accuracies", "curves", "time_to_accuracy", "launches", "samples"):
        assert "numpy" in table(tmp_path / "out", name).to_csv()
    assert np.isnan(table(tmp_path / "out", "curves").query("step > 0")["validation_loss"]).all()


def test_a_training_that_learns_nothing_is_named(tmp_path: Path) -> None:
    done = run(
        *SMALL, "--steps", "100", "--launches", "1", "--learning-rate", "100",
        "--output", str(tmp_path / "out"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "numpy eager learned nothing: accuracy at chance" in " ".join(done.stdout.split())


def broken_framework(folder: Path, package: str, line: str) -> str:
    """A folder for PYTHONPATH in which importing `package` runs `line`."""
    (folder / package).mkdir(parents=True)
    (folder / package / "__init__.py").write_text(line)
    return str(folder)


def test_a_framework_that_does_not_import_is_skipped(tmp_path: Path) -> None:
    path = broken_framework(tmp_path / "broken", "torch", "raise ImportError('libfoo.so missing')")
    done = run(
        *SMALL, "pytorch", "--steps", "100", "--launches", "1", "--output", str(tmp_path / "out"),
        PYTHONPATH=path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "libfoo.so missing" in done.stdout
    outcomes = table(tmp_path / "out", "outcomes")
    assert set(outcomes["status"]) == {"skipped"}
    assert set(outcomes["backend"]) == {"pytorch"}
    assert "numpy eager" in set(table(tmp_path / "out", "samples")["case"])
    assert "libfoo.so missing" in (tmp_path / "out" / "report.md").read_text()


def test_a_backend_may_have_a_python_of_its_own(tmp_path: Path) -> None:
    """By which its workers run, and what can be asked of the backend is found; nothing else."""
    calls = tmp_path / "calls"
    python = executable(tmp_path / "python", f'echo "$@" >> {calls}\nexec {sys.executable} "$@"')
    done = run(
        *SMALL, "--steps", "50", "--launches", "1", "--output", str(tmp_path / "out"),
        "--python", f"numpy={python}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    called = calls.read_text().splitlines()
    assert called[0] == "-m benchmarks.machine.probe numpy cpu"
    # The case, its control and the floor.
    assert [line.rpartition(" ")[0] for line in called[1:]] == ["-m benchmarks.worker"] * 3


def test_pythons_add_up() -> None:
    words_ = ["--python", f"jax={sys.executable}", "--python", f"pytorch={sys.executable}"]
    found = pythons(measure.parser().parse_args(words_))
    assert found == {"jax": sys.executable, "pytorch": sys.executable}


def test_a_python_without_the_framework_is_told(tmp_path: Path) -> None:
    bare = executable(tmp_path / "python", f'exec {sys.executable} -S "$@"')
    done = run("--backends", "numpy", "--python", f"numpy={bare}")
    assert done.returncode == 2
    assert "No module named 'numpy'" in done.stderr


def test_nothing_that_can_run_is_an_error(tmp_path: Path) -> None:
    path = broken_framework(tmp_path / "broken", "torch", "raise ImportError('libfoo.so missing')")
    done = run("--backends", "pytorch", "--output", str(tmp_path / "out"), PYTHONPATH=path)
    assert done.returncode == 2
    assert "libfoo.so missing" in done.stderr
    assert not (tmp_path / "out").exists()


class Running:
    """A run in progress, with its workers."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            command(*arguments, "--output", str(folder)),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A background job of a shell ignores Ctrl-C, and what it starts inherits that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        self.seen: dict[int, psutil.Process] = {}

    def workers(self) -> list[psutil.Process]:
        """The workers that are alive, the oldest first."""
        try:
            children = psutil.Process(self.process.pid).children(recursive=True)
            found = [child for child in children if "benchmarks.worker" in child.cmdline()]
        except psutil.Error:
            return []
        self.seen |= {child.pid: child for child in found}
        return sorted(found, key=lambda child: child.create_time())

    def rows(self) -> int:
        """Blocks measured so far."""
        path = self.folder / "samples.csv"
        return len(path.read_text().splitlines()) - 1 if path.exists() else 0

    def wait_until(self, condition: str, timeout: float = 120) -> None:
        """Wait for a condition on `workers` and `rows`, as in "rows > 3"."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self.process.poll() is None:
            found = len(self.workers()) if "workers" in condition else self.rows()
            if eval(condition, {"workers": found, "rows": found}):
                self.workers()  # seen once, for `orphans`
                return
            time.sleep(0.02)
        raise AssertionError(f"never came: {condition}")

    def finish(self) -> tuple[int, str]:
        """The exit code and what was said."""
        output, errors = self.process.communicate(timeout=RUN_TIMEOUT)
        return self.process.returncode, output + errors

    def give_up(self) -> None:
        """End a run that a failed test has left behind."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def orphans(self) -> list[psutil.Process]:
        """Workers that outlive the run by more than a moment."""
        _, alive = psutil.wait_procs(list(self.seen.values()), timeout=5)
        return alive


# With one thread, since several of these run at once.
LONG = (*SMALL, "--steps", "1000", "--launches", "2", "--threads", "1")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    started = Running(tmp_path / "out", *LONG)
    yield started
    started.give_up()


# A worker may be killed while it imports, builds, certifies, waits or trains.
MOMENTS = [
    "workers == 1",
    "workers == 2",
    # The last is in the second launch, also where a quarter of the first one's rounds are redone.
    *(f"rows >= {count}" for count in (1, 2, 3, 7, 12, 20, 33, 90)),
]


@dataclass(frozen=True, kw_only=True)
class Killed:
    """A run one of whose workers was killed."""

    folder: Path
    samples: str
    """Before."""
    code: int
    said: str
    orphans: list[psutil.Process]


def kill_a_worker(folder: Path, moment: str, which: int) -> Killed:
    running = Running(folder, *LONG)
    try:
        running.wait_until(moment)
        before = (folder / "samples.csv").read_text()
        running.workers()[which].kill()
        code, said = running.finish()
    finally:
        running.give_up()
    return Killed(folder=folder, samples=before, code=code, said=said, orphans=running.orphans())


@pytest.fixture(scope="module")
def kills(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Killed]]]:
    """For each moment a run in which a worker is killed then: some at once, to save minutes."""
    with ThreadPoolExecutor(max_workers=3) as pool:
        yield {
            moment: pool.submit(
                kill_a_worker, tmp_path_factory.mktemp("killed") / "out", moment, -(number % 2)
            )
            for number, moment in enumerate(MOMENTS)
        }


@pytest.mark.parametrize("moment", MOMENTS)
def test_killing_a_worker_loses_nothing(kills: dict[str, Future[Killed]], moment: str) -> None:
    killed = kills[moment].result()
    assert killed.code == 1, killed.said
    assert "killed by signal 9" in killed.said
    kept = killed.samples.rpartition("\n")[0]
    assert (killed.folder / "samples.csv").read_text().startswith(kept)
    outcomes = table(killed.folder, "outcomes")
    assert outcomes["status"].tolist() == ["failed"]
    # The others go on to the end of both launches.
    survivors = table(killed.folder, "launches")
    others = {"numpy eager", "numpy eager (control)"} - {outcomes["case"].item()}
    for other in others:
        assert survivors.loc[survivors["case"] == other, "launch"].tolist() == [0, 1]
    assert "killed by signal 9" in (killed.folder / "report.md").read_text()
    assert killed.orphans == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["workers == 1", "rows >= 5"])
def test_an_interrupted_run_reports_what_it_has(
    running: Running, moment: str, how: signal.Signals
) -> None:
    running.wait_until(moment)
    before = running.rows()
    running.process.send_signal(how)
    code, said = running.finish()
    assert code == 130, said
    assert "Traceback" not in said
    assert running.orphans() == []
    assert len(table(running.folder, "samples")) >= before
    report = (running.folder / "report.md").read_text()
    assert "**Incomplete**: interrupted" in report


def test_workers_leave_when_the_run_is_killed(running: Running) -> None:
    running.wait_until("rows >= 5")
    running.process.kill()
    running.finish()
    assert running.orphans() == []
    assert len(table(running.folder, "samples")) >= 5


@pytest.mark.parametrize("moment", ["workers == 1", "rows >= 5"])
def test_a_worker_that_hangs_is_given_up(tmp_path: Path, moment: str) -> None:
    """A stopped worker answers nothing; the limits are shortened to see them reached."""
    program = textwrap.dedent(
        """
        import sys
        import run_all
        from benchmarks.session import Session
        original = Session.__init__
        def quick(self, **fields):
            original(self, answer_timeout_seconds=2.0, start_timeout_seconds=10.0, **fields)
        Session.__init__ = quick
        sys.exit(run_all.main())
        """
    )
    running = Running.__new__(Running)
    running.folder, running.seen = tmp_path / "out", {}
    running.process = subprocess.Popen(
        [sys.executable, "-c", program, *LONG, "--output", str(running.folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    running.wait_until(moment)
    running.workers()[0].suspend()
    code, said = running.finish()
    assert code == 1, said
    assert re.search(r"no answer within \d+ s", said)
    assert running.orphans() == []


def test_the_time_limit_ends_a_run_in_time(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    start = time.monotonic()
    done = run(
        "--backends", "numpy", "--hidden", "64", "--steps", "100000", "--launches", "2",
        "--time-limit", "0.6",
        "--output", str(folder),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - start < 0.6 * 60 + 30
    assert table(folder, "launches")["launch"].nunique() == 2
    assert "time limit" in (folder / "report.md").read_text()


@pytest.mark.slow
def test_quick_runs_all_frameworks(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    done = run(
        "--preset", "quick", "--launches", "1", "--time-limit", "3.5", "--output", str(folder)
    )
    assert done.returncode == 0, done.stderr + done.stdout
    summary = table(folder, "summary").set_index("case")
    assert {"pytorch eager", "tensorflow compiled", "jax compiled"} <= set(summary.index)
    assert summary["certified"].all()
    assert summary["trained_to_end"].all()
    assert (summary["test_accuracy"] > 0.85).all()
    assert summary["rank"].notna().sum() == 3
