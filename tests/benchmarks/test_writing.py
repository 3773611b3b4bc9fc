"""What a bundle's files hold when its disk is full, or its folder is moved or removed."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.bundle import files
from benchmarks.bundle.reader import read_environment
from benchmarks.bundle.writer import BundleWriter
from benchmarks.commands import running
from benchmarks.errors import StoppedError, UsageError
from tests.support.surroundings import full_after, no_file_longer_than
from tests.synthetic_bundles import environment_record


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "bundle"
    path.mkdir()
    return path


def fill(writer: BundleWriter, rows: int) -> None:
    for number in range(rows):
        writer.append("samples", round=number, case="numpy eager", seconds=0.125)


def lines(folder: Path, table: str = "samples") -> list[str]:
    text = (folder / f"{table}.csv").read_text()
    assert text.endswith("\n")
    return text.splitlines()[1:]


@pytest.mark.parametrize("size", range(1000, 1040, 7))
def test_a_row_is_on_disk_as_a_whole_or_not_at_all(folder: Path, size: int) -> None:
    writer = BundleWriter(folder)
    with no_file_longer_than(size), pytest.raises(StoppedError) as stopped:
        fill(writer, 100)
    writer.close()
    assert str(stopped.value) == f"{folder / 'samples.csv'}: cannot be written (File too large)"
    assert 0 < len(lines(folder)) == writer.blocks < 100
    assert len({line.count(",") for line in lines(folder)}) == 1


def test_a_disk_with_room_for_half_a_row(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full_after(monkeypatch, "samples", rows=3)
    writer = BundleWriter(folder)
    with pytest.raises(StoppedError, match="No space left on device"):
        fill(writer, 10)
    assert len(lines(folder)) == writer.blocks == 3


def test_text_that_is_not_utf_8_is_replaced(folder: Path) -> None:
    writer = BundleWriter(folder)
    undecodable = os.fsdecode(b"caf\xe9 \xe2\x80\x93")
    writer.append("outcomes", case="a", reason=undecodable)
    writer.keep_output("a", undecodable)
    described = environment_record([], launches=1)
    writer.write_environment(described.with_run(command=undecodable))
    writer.close()
    assert lines(folder, "outcomes")[0].endswith("caf? –")
    assert (folder / "logs" / "a.txt").read_text(encoding="utf-8") == "caf? –"
    assert read_environment(folder).run.command == "caf? –"


def test_a_folder_that_is_moved_is_followed(folder: Path, tmp_path: Path) -> None:
    writer = BundleWriter(folder)
    fill(writer, 1)
    moved = folder.rename(tmp_path / "moved")
    fill(writer, 1)
    writer.write_environment(environment_record([], launches=1))
    writer.keep_output("numpy eager", "printed")
    writer.close()
    assert writer.folder == moved
    assert len(lines(moved)) == 2
    assert read_environment(moved)
    assert not folder.exists()


def test_a_folder_that_is_removed_ends_the_run(folder: Path) -> None:
    writer = BundleWriter(folder)
    fill(writer, 1)
    shutil.rmtree(folder)
    with pytest.raises(StoppedError, match="bundle: was removed"):
        fill(writer, 1)
    with pytest.raises(StoppedError, match="bundle: was removed"):
        writer.write_environment(environment_record([], launches=1))
    writer.close()
    assert running.kept(writer) == "nothing that was measured is kept"


def test_a_table_is_a_new_file(folder: Path, tmp_path: Path) -> None:
    others = tmp_path / "others.csv"
    others.write_text("kept")
    (folder / "samples.csv").symlink_to(others)
    with pytest.raises(StoppedError, match=r"samples\.csv: cannot be written"):
        BundleWriter(folder)
    assert others.read_text() == "kept"
    # The tables that came before it are gone again.
    assert [path.name for path in folder.iterdir()] == ["samples.csv"]


@pytest.mark.parametrize("size", [100, 600])
def test_a_bundle_that_cannot_be_begun_leaves_nothing_behind(folder: Path, size: int) -> None:
    """Without room for the names of the columns, and for environment.json."""
    described = environment_record([], launches=1)
    with no_file_longer_than(size), pytest.raises(StoppedError, match="nothing was measured"):
        running.create_bundle(described, folder, "name")
    assert not folder.exists()


def test_files_that_belong_together_are_written_together(folder: Path) -> None:
    files.write_text(folder, "report.md", "old")
    with suppress(OSError), files.all_or_none(folder) as unfinished:
        files.write_text(unfinished, "report.md", "new")
        raise OSError
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("report.md", "old")]
    # As a process that was killed leaves it.
    (folder / files.UNFINISHED).mkdir()
    (folder / files.UNFINISHED / "old.md").touch()
    with files.all_or_none(folder) as unfinished:
        files.write_text(unfinished, "report.md", "new")
        files.write_text(unfinished, "figures/one.svg", "<svg/>")
    found = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    assert found == {"report.md", "figures", "figures/one.svg"}
    assert (folder / "report.md").read_text() == "new"


def test_files_are_not_moved_over_links(folder: Path, tmp_path: Path) -> None:
    (folder / "figures").symlink_to(tmp_path)
    files.write_text(folder, "a.md", "old")
    with suppress(UsageError), files.all_or_none(folder) as unfinished:
        files.write_text(unfinished, "a.md", "new")
        files.write_text(unfinished, "figures/one.svg", "<svg/>")
    assert (folder / "a.md").read_text() == "old"
    assert not (tmp_path / "one.svg").exists()
