"""What goes wrong in the middle of a run costs no more than it must, and is named."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from backends.ladder import FLOOR
from benchmarks.session.session import CHECKING_SHARE, CLOSING_SECONDS, LEARNING_SHARE
from benchmarks.worker.messages import Build, Certify, TrainBlock
from tests.support.clock import Clock
from tests.support.runs import CASES, Running, own_workers, run, table
from tests.support.workers import (
    Kind,
    at_request,
    before_requests,
    kill,
    kill_while_it_works,
    python_for_workers,
    stop,
)

SHORT = ("--steps", "410", "--launches", "2")
"""Four rounds a launch; of its workers one trains the case, one its control, and one is a floor."""


def test_a_training_that_diverges_is_named_and_ends_no_run(
    small: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    done = run(capsys, *small, *SHORT, "--learning-rate", "1e30", "--output", folder)
    assert done.code == 1, done.errors
    assert "Warning" not in done.errors
    # The one reading of a launch follows its first block; learning is read every 50 steps, and only
    # where a case is certified.
    why = "diverged: the loss is not finite from step 305 in seeds 0, 1"
    for text in (done.output, (folder / "report.md").read_text()):
        assert f"numpy eager {why}" in " ".join(text.split())
    reasons = "rounding alone may change this training", "not finite: the training has diverged"
    assert all(f"cannot be certified: {reason}" in text for reason in reasons)
    assert " inf " not in text
    summary = table(folder, "summary").set_index("case")
    assert summary["diverged"].tolist() == [why, why]
    assert (summary["status"] == "measured").all()
    assert (summary["step_ms"] > 0).all()
    for name in ("launches", "samples"):
        assert "numpy" in table(folder, name).to_csv()
    for name in ("accuracies", "curves", "time_to_accuracy", "trainings"):
        assert table(folder, name).empty


@pytest.mark.usefixtures("undrawn")
def test_a_training_that_learns_nothing_is_named(
    small: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run(
        capsys, *small, "--steps", "100", "--launches", "1", "--learning-rate", "100",
        "--output", tmp_path / "out",
    )  # fmt: skip
    assert done.code == 0, done.errors
    assert "numpy eager learned nothing: accuracy at chance" in done.output


def test_a_framework_that_does_not_import_is_skipped(
    small: tuple[str, ...],
    broken_torch: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "out"
    effort = ("--steps", "100", "--launches", "1")
    done = run(capsys, *small, "pytorch", *effort, "--output", folder)
    assert done.code == 0, done.errors
    assert broken_torch in done.output
    outcomes = table(folder, "outcomes")
    assert set(outcomes["status"]) == {"skipped"}
    assert set(outcomes["backend"]) == {"pytorch"}
    assert "numpy eager" in set(table(folder, "samples")["case"])
    assert broken_torch in (folder / "report.md").read_text()


UNTRAINED_BIAS = """
from backends.numpy import backend as numpy

class Forgetful(numpy.TRAINERS["eager"]):
    def set_state(self, state):
        super().set_state(state)
        self.bias = super().state().parameters[1][1]

    def state(self):
        state = super().state()
        first, (weight, _), *rest = state.parameters
        return state._replace(parameters=[first, (weight, self.bias), *rest])

numpy.TRAINERS["eager"] = Forgetful
"""
"""A NumPy backend whose second layer's bias stays as it was."""


def test_certify_names_what_deviates(
    small: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    python = python_for_workers(tmp_path, UNTRAINED_BIAS)
    without_floors = (*small[:6], *small[8:])
    done = run(capsys, "certify", *without_floors, "--python", f"numpy={python}")
    assert done.code == 1, done.errors
    where = "numpy eager departs from the reference at parameters 1 step, layer 2 bias (exact)"
    assert f"NOT certified: {where}: relative error 1.0e+00, allowed 1.0e-09" in done.output
    assert "the smallest that shows it: one step of a network " in done.output


LATE_RATE = """
from dataclasses import replace
from backends.numpy import backend as numpy

class Late(numpy.TRAINERS["eager"]):
    def _update(self, gradients):
        given = self._adam
        if self._steps >= 12 and gradients[0][0].dtype == "float32":
            self._adam = replace(given, learning_rate=given.learning_rate / 2)
        super()._update(gradients)
        self._adam = given

numpy.TRAINERS["eager"] = Late
"""
"""A NumPy backend that is right in float64, and for twelve steps: for all that is seen at first."""


@pytest.mark.slow
def test_what_goes_wrong_while_it_is_timed_is_not_ranked(
    small: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    python, folder = python_for_workers(tmp_path, LATE_RATE), tmp_path / "out"
    effort = ("--steps", "400", "--launches", "1", "--output", folder)
    done = run(capsys, *small, *effort, "--python", f"numpy={python}")
    assert done.code == 1, done.errors
    assert table(folder, "certificates")["passed"].all()
    failed = table(folder, "blocks").query("not passed")
    assert "rate" in set(failed["check"])
    assert not table(folder, "summary")["certified"].any()
    text = (folder / "report.md").read_text()
    assert "✗ numpy eager departs from the training in a timed block: " in text
    assert "Nothing could be ranked" in text


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A moment at which a worker is killed, in terms of `at_request`."""

    kind: Kind
    worker: int
    number: int = 1
    victim: int | None = None
    action: Callable[[int], None] = kill_while_it_works


MOMENTS = {
    "imports and builds": Moment(kind=Build, worker=2),
    "certifies": Moment(kind=Certify, worker=1),
    "waits": Moment(kind=TrainBlock, worker=2, number=2, victim=3, action=kill),
    "trains": Moment(kind=TrainBlock, worker=3, number=3),
    "trains in the second launch": Moment(kind=TrainBlock, worker=5, number=2),
}
"""The states that a worker may be killed in."""


@pytest.mark.parametrize("state", MOMENTS)
@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_killing_a_worker_loses_nothing(
    state: str,
    small: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, moment = tmp_path / "out", MOMENTS[state]
    kept: list[str] = []

    def action(pid: int) -> None:
        kept.append((folder / "samples.csv").read_text())
        moment.action(pid)

    at_request(
        monkeypatch,
        moment.kind,
        worker=moment.worker,
        number=moment.number,
        victim=moment.victim,
        action=action,
    )
    done = run(capsys, *small, *SHORT, "--output", folder)
    outcomes = table(folder, "outcomes")
    # A floor is no case: a run without it has measured all that was asked for, and says so.
    assert done.code == (outcomes["mode"].item() != FLOOR), done.output + done.errors
    assert "killed by signal 9" in done.output
    (before,) = kept
    assert (folder / "samples.csv").read_text().startswith(before)
    assert outcomes["status"].tolist() == ["failed"]
    assert outcomes["launch"].tolist() == [1 if moment.worker > 3 else 0]
    # The others go on to the end of both launches.
    launches = table(folder, "launches")
    for case in CASES - {outcomes["case"].item()}:
        assert launches.loc[launches["case"] == case, "launch"].tolist() == [0, 1]
    assert "killed by signal 9" in (folder / "report.md").read_text()
    assert own_workers() == []


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        pytest.param(Build, "no answer within 3 s", id="while it starts"),
        # 120 s and twenty times a block's time, which is short here.
        pytest.param(TrainBlock, "no answer within 1 s", id="while it trains"),
    ],
)
@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_worker_that_hangs_is_given_up(
    kind: Kind,
    limit: str,
    small: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A stopped worker answers nothing; a hundredth of the limits is enough to see them reached."""
    folder = tmp_path / "out"
    at_request(monkeypatch, kind, worker=2, action=stop, shorter=0.01)
    done = run(capsys, *small, *SHORT, "--output", folder)
    assert done.code == 1, done.output + done.errors
    assert limit in done.output
    assert table(folder, "outcomes")["reason"].tolist() == [limit]
    assert own_workers() == []


@pytest.mark.usefixtures("undrawn")
def test_the_time_limit_ends_a_run_in_time(
    small: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By a clock that a block of each of the three workers moves by a second."""
    folder, clock, seconds = tmp_path / "out", Clock(monkeypatch), 60

    def tick(_: int, kind: Kind, timeout: float) -> float:
        clock.now += kind is TrainBlock
        return timeout

    before_requests(monkeypatch, tick)
    done = run(
        capsys, *small, "--steps", "3000", "--launches", "2", "--time-limit", str(seconds / 60),
        "--output", folder,
    )  # fmt: skip
    assert done.code == 0, done.errors
    # Of eighteen rounds a launch. The first has half of the time, less what the report needs, and
    # checking blocks may, and learning does; the second has what the first has left.
    left = seconds - CLOSING_SECONDS
    learning = LEARNING_SHARE * seconds
    first = (left * (1 - CHECKING_SHARE) - learning) / 2 // 3
    second = (left - 3 * first) // 3
    assert table(folder, "rounds").groupby("launch").size().tolist() == [first, second]
    assert clock.now == 3 * (first + second) <= left
    assert table(folder, "launches")["launch"].nunique() == 2
    assert "time limit" in (folder / "report.md").read_text()


# The process of the session itself ends.


@pytest.fixture
def running(small: tuple[str, ...], tmp_path: Path) -> Iterator[Running]:
    """A run in a process of its own, long enough to be interrupted anywhere."""
    process = Running(tmp_path / "out", *small, "--steps", "1000", "--launches", "2")
    yield process
    process.give_up()


def starting(run: Running) -> bool:
    return run.workers() == 1


def measuring(run: Running) -> bool:
    return run.rows() >= 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "how"),
    # Both signals end a run by the same exception, so that not all pairs are needed.
    [(starting, signal.SIGINT), (measuring, signal.SIGTERM)],
)
def test_an_interrupted_run_reports_what_it_has(
    running: Running, moment: Callable[[Running], bool], how: signal.Signals
) -> None:
    running.wait_until(moment)
    before = running.rows()
    running.process.send_signal(how)
    code, printed = running.finish()
    assert code == 130, printed
    assert "Traceback" not in printed
    assert running.orphans() == []
    assert len(table(running.folder, "samples")) >= before
    report = (running.folder / "report.md").read_text()
    assert "Incomplete: interrupted" in report.replace("*", "")


def test_workers_leave_when_the_run_is_killed(running: Running) -> None:
    running.wait_until(measuring)
    running.process.kill()
    running.finish()
    assert running.orphans() == []
    assert len(table(running.folder, "samples")) >= 5
