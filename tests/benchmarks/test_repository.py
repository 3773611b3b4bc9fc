"""The program's commit is that of its own repository, or unknown; never that of another."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.machine import repository

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="no git")


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def commit_all(folder: Path) -> str:
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "x")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A folder with the program in it, in no repository."""
    folder = tmp_path / "outer" / "program"
    for name in ("run_all.py", "benchmarks/a.py", "backends/jax/b.py", "docs/c.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("1\n")
    return folder


def state(folder: Path) -> tuple[str, bool | None]:
    return repository.commit(folder), repository.modified(folder)


UNKNOWN = ("", None)


def test_a_clean_checkout_has_its_commit(program: Path) -> None:
    commit = commit_all(program)
    assert state(program) == (commit, False)
    # Also through a link to it.
    link = program.parent / "link"
    link.symlink_to(program)
    assert state(link) == (commit, False)


@pytest.mark.parametrize(
    ("name", "modified"),
    [
        ("run_all.py", True),
        ("docs/c.md", True),
        ("backends/new/d.py", True),
        ("benchmarks/d.py", True),
        ("torch.py", True),
        ("torch.so", True),
        ("torch/__init__.py", True),
        ("results/new.csv", False),
        ("backends/jax/notes.txt", False),
        ("scratch/d.py", False),
    ],
)
def test_changes_and_what_could_be_imported_count(program: Path, name: str, modified: bool) -> None:
    (program / ".gitignore").write_text("d.py\n")
    commit = commit_all(program)
    (program / name).parent.mkdir(parents=True, exist_ok=True)
    (program / name).write_text("2\n")
    assert state(program) == (commit, modified)


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_what_git_was_told_to_overlook_is_not_called_unmodified(program: Path, flag: str) -> None:
    commit = commit_all(program)
    git(program, "update-index", flag, "run_all.py")
    assert state(program) == (commit, None)


def test_a_copy_within_another_repository_is_unknown(program: Path) -> None:
    (program.parent / "run_all.py").write_text("another\n")
    commit_all(program.parent)
    assert state(program) == UNKNOWN


def test_a_copy_that_another_repository_was_put_around_is_unknown(program: Path) -> None:
    git(program, "init", "-q")
    git(program, "add", "docs")
    git(program, "commit", "-qm", "x")
    assert state(program) == UNKNOWN


def test_variables_that_point_git_elsewhere_count_for_nothing(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "run_all.py").write_text("another\n")
    foreign = commit_all(other)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(program))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    assert state(program) == UNKNOWN
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name)
    commit = commit_all(program)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert state(program) == (commit, False)
    assert commit != foreign


def test_without_git_a_commit_or_a_whole_repository_it_is_unknown(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert state(program) == UNKNOWN
    git(program, "init", "-q")
    assert state(program) == UNKNOWN
    commit_all(program)
    head = (program / ".git" / "HEAD").read_text()
    (program / ".git" / "HEAD").write_text("nonsense\n")
    assert state(program) == UNKNOWN
    (program / ".git" / "HEAD").write_text(head)
    (program / ".git" / "index").write_bytes(b"nonsense")
    assert state(program)[1] is None
    monkeypatch.setenv("PATH", "/nowhere")
    assert state(program) == UNKNOWN


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_checkout_of_another_user_is_unknown(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where nobody has called it safe
    commit_all(program)
    for path in (program, *program.rglob("*")):
        os.chown(path, 12345, 12345)
    assert state(program) == UNKNOWN


def test_a_repository_starts_no_program(program: Path, tmp_path: Path) -> None:
    commit_all(program)
    started = tmp_path / "started"
    hook = program / ".git" / "monitor"
    hook.write_text(f"#!/bin/sh\ntouch {started}\n")
    hook.chmod(0o755)
    for name in ("post-index-change", "query-watchman"):
        shutil.copy(hook, program / ".git" / "hooks" / name)
    git(program, "config", "core.fsmonitor", str(hook))
    (program / "run_all.py").touch()
    assert state(program)[0]
    assert not started.exists()
    # The same without the options that prevent it.
    git(program, "status")
    assert started.exists()
