"""Reads and writes the files of a bundle: regular files inside its folder, in UTF-8.

A bundle may come from anybody, so no link in it is followed, neither to read nor to write.
"""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.errors import UsageError

MOST_BYTES = 2**28
"""The size of the largest file that is read as a whole; tables have a thousandth of it."""
UNFINISHED = "unfinished"
"""The folder for files that are about to be moved into a bundle."""


def read_bytes(folder: Path, name: str, last: int | None = None) -> bytes:
    """The content of a file of a bundle, such as "logs/jax-eager.txt", or its `last` bytes.

    Raises OSError where it cannot be read, and UsageError where it is no regular file.
    """
    path = inside(folder, name)
    # Without O_NONBLOCK, opening a named pipe waits for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{path}: is not a regular file; a bundle has no others")
        if last is None and status.st_size > MOST_BYTES:
            size = f"{status.st_size / 2**20:,.0f} MiB"
            raise UsageError(f"{path}: is too large, {size}; restore the file from a copy")
        if last is not None:
            file.seek(max(0, status.st_size - last))
        return file.read(-1 if last is None else last)


def write_bytes(folder: Path, name: str, content: bytes) -> None:
    """Write the file `name` of a bundle, or replace it, as a whole or not at all.

    The folder of the file is made where it is missing. Raises OSError where it cannot be written.
    """
    path = inside(folder, name)
    path.parent.mkdir(exist_ok=True)
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.unlink(missing_ok=True)
    try:
        with unfinished.open("xb") as file:
            file.write(content)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_text(folder: Path, name: str, text: str) -> None:
    """Write a text as `write_bytes` does; characters that UTF-8 has no form for are replaced."""
    write_bytes(folder, name, text.encode("utf-8", "replace"))


@contextmanager
def all_or_none(folder: Path) -> Iterator[Path]:
    """A folder for files that belong together: at the end they replace those of `folder`.

    None of them does if the block raises anything. Raises OSError where they cannot be written.
    """
    unfinished = inside(folder, UNFINISHED)
    remove(unfinished)
    try:
        unfinished.mkdir()
        yield unfinished
        paths = sorted(unfinished.rglob("*"))
        moves = [(path, inside(folder, str(path.relative_to(unfinished)))) for path in paths]
        for path, target in moves:
            if path.is_dir():
                target.mkdir(exist_ok=True)
            else:
                path.replace(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def remove(path: Path) -> None:
    """Remove a folder or whatever is in its place, as far as that can be done."""
    # Only a folder: `rmtree` opens what it is given, and waits for ever at a named pipe.
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def inside(folder: Path, name: str) -> Path:
    """The path of the file `name` of a bundle; raises UsageError where a link leads to it."""
    path = folder / name
    for link in (path, *path.parents[: len(Path(name).parts) - 1]):
        if link.is_symlink():
            raise UsageError(f"{link}: is a link, which no bundle has; remove it")
    return path
