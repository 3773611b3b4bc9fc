"""The command `ab`: runs of two revisions by turns, and what becomes of those that are cut off."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks import exit_codes
from benchmarks.errors import UsageError
from benchmarks.machine import repository
from benchmarks.machine.settings import ROOT
from benchmarks.plan import revisions
from benchmarks.plan.revisions import Revision
from tests.support.runs import run
from tests.synthetic_bundles import write_bundle

Capture = pytest.CaptureFixture[str]
COMMITS = {"old": "a" * 40, "new": "b" * 40}
TIMES = {"numpy eager": 2.0, "jax compiled": 1.0}


class Runs:
    """Stands for the runs: each writes a bundle, some slower, some cut off."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.seed = 0
        self.slower = 1.0
        self.codes: dict[str, int] = {}
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str], *, cwd: Path, **_: Any) -> Any:
        folder, name = Path(command[-1]), cwd.name
        self.made.append(folder.name)
        self.seed += 1
        self.commands.append(command)
        code = self.codes.pop(folder.name, 0)
        factor = self.slower if name == "new" else 1.0
        times = {case: time * factor for case, time in TIMES.items()}
        state = "interrupted" if code == exit_codes.INTERRUPTED else "complete"
        write_bundle(folder, times, rounds=3, seed=self.seed, run={"state": state})
        path = folder / "environment.json"
        content = json.loads(path.read_text())
        content["git_commit"] = COMMITS[name]
        content["started"] = f"2026-01-01T{self.seed:02d}:00:00+00:00"
        path.write_text(json.dumps(content))
        return Ended(code)


class Ended:
    """A process that has ended."""

    def __init__(self, code: int) -> None:
        self._code = code

    def wait(self) -> int:
        return self._code

    def kill(self) -> None: ...


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Revisions "old" and "new" that need no git and no time."""
    made = Runs()
    monkeypatch.setattr("benchmarks.commands.ab.Popen", made)

    def check_out(name: str, _say: object) -> Revision:
        return Revision(commit=COMMITS[name], folder=Path("/of") / name, python="python")

    monkeypatch.setattr(revisions, "check_out", check_out)
    return made


def test_runs_alternate_and_are_judged(runs: Runs, tmp_path: Path, capsys: Capture) -> None:
    place = tmp_path / "ab"
    given = ("--", "--backends", "jax")
    gate = ("--output", place, "--fail-if-slower", "5%")
    done = run(capsys, "ab", "old", "new", *gate, *given)
    assert done.code == exit_codes.OK, done.errors
    assert runs.made == ["before-1", "after-1", "after-2", "before-2", "before-3", "after-3"]
    assert all(c[:4] == ["python", "run_all.py", "--preset", "quick"] for c in runs.commands)
    assert all(c[4:6] == ["--backends", "jax"] for c in runs.commands)
    assert "after / before" in (place / "comparison.md").read_text()
    # More of them are added to those that are there, and a slowdown is found.
    runs.made.clear()
    runs.slower = 1.4
    done = run(capsys, "ab", "old", "new", *gate, "--runs", "4")
    assert runs.made == ["after-4", "before-4"]
    assert done.code == exit_codes.UNJUDGED  # one of four alone is slower
    slowed = run(capsys, "ab", "old", "new", "--output", tmp_path / "slow", "--fail-if-slower", "5")
    assert slowed.code == exit_codes.FAILED
    assert "Slower by more than 5.0%: numpy eager and jax compiled" in slowed.output


def test_a_run_that_is_cut_off_is_kept_and_made_again(
    runs: Runs, tmp_path: Path, capsys: Capture
) -> None:
    place = tmp_path / "ab"
    runs.codes = {"after-2": exit_codes.INTERRUPTED}
    assert run(capsys, "ab", "old", "new", "--output", place).code == exit_codes.INTERRUPTED
    assert runs.made[-1] == "after-2"
    runs.made.clear()
    done = run(capsys, "ab", "old", "new", "--output", place)
    assert done.code == exit_codes.OK, done.errors
    assert runs.made == ["after-2", "before-2", "before-3", "after-3"]
    assert (place / "after-2-cut-off-1" / "samples.csv").exists()


def test_a_run_that_fails_stops_the_others(runs: Runs, tmp_path: Path, capsys: Capture) -> None:
    runs.codes = {"before-1": exit_codes.REFUSED}
    done = run(capsys, "ab", "old", "new", "--output", tmp_path / "ab")
    assert done.code == exit_codes.STOPPED
    assert runs.made == ["before-1"]
    assert f"a run of {'a' * 10} ended with 2, as it says above" in done.errors


def test_runs_of_another_revision_are_not_taken(
    runs: Runs, tmp_path: Path, capsys: Capture
) -> None:
    place = tmp_path / "ab"
    run(capsys, "ab", "old", "new", "--output", place)
    done = run(capsys, "ab", "new", "old", "--output", place)
    assert done.code == exit_codes.REFUSED
    assert f"holds a run of {'a' * 10}, and not of {'b' * 10}" in done.errors
    assert len(runs.made) == 6


def test_a_folder_of_something_else_is_refused(runs: Runs, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    done = run(capsys, "ab", "old", "new", "--output", tmp_path)
    assert done.code == exit_codes.REFUSED
    assert not runs.made


def test_what_git_does_not_know_is_refused(capsys: Capture) -> None:
    done = run(capsys, "ab", "no-such-revision", "HEAD")
    assert done.code == exit_codes.REFUSED
    assert "no-such-revision: is no revision of the repository" in done.errors


@pytest.mark.skipif(not repository.commit(), reason="needs this program's repository")
def test_a_revision_is_checked_out_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said: list[str] = []
    try:
        one = revisions.check_out("HEAD", said.append)
        assert (one.folder / "run_all.py").read_bytes() == (
            subprocess.run(
                ["git", "-C", ROOT, "show", "HEAD:run_all.py"], capture_output=True, check=True
            ).stdout
        )
        assert repository.commit(one.folder) == one.commit == repository.commit()
        assert revisions.check_out(one.commit, said.append) == one
        assert len(said) == 1
        with pytest.raises(UsageError, match=r"has no run_all\.py"):
            revisions.check_out(empty_commit(), said.append)
    finally:
        command = ["git", "-C", str(ROOT), "worktree", "remove", "--force", str(one.folder)]
        subprocess.run(command, check=True)


def empty_commit() -> str:
    """A commit of an empty tree, which no branch holds."""
    tree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    subprocess.run(["git", "-C", ROOT, "mktree"], input=b"", capture_output=True, check=True)
    command = ["git", "-C", str(ROOT), *identity, "commit-tree", tree, "-m", "nothing"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_an_environment_of_its_own_where_other_packages_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(
        "benchmarks.plan.releases.environment", lambda _place, wanted, _say: asked.append(wanted)
    )
    for name in (revisions.PROJECT_FILE, revisions.CONSTRAINTS):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    own = revisions._python(tmp_path, print)
    assert not asked
    with (tmp_path / revisions.CONSTRAINTS).open("a") as constraints:
        constraints.write("\nanother==1.0\n")
    other = revisions._python(tmp_path, print)
    assert own != other
    assert asked[0][:2] == ["-c", str(tmp_path / revisions.CONSTRAINTS)]
    assert {"numpy", "torch", "jax", "tensorflow"} <= {*asked[0]}
