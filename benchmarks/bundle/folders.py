"""Where bundles and reports are written: new folders and files, checked before anything is run."""

import os
import re
from datetime import datetime
from pathlib import Path

from benchmarks.errors import UsageError


def check_folder(output: Path | None) -> None:
    """Raise UsageError where the folder of `--output` is not empty or cannot be made."""
    if output is None:
        return
    try:
        if os.path.lexists(output) and not output.is_dir():
            raise UsageError(f"--output {output}: is a file, not a folder; name a new one")
        if output.is_dir() and any(output.iterdir()):
            raise UsageError(f"--output {output}: is not empty; name a new folder")
        nearest = next(path for path in (output, *output.absolute().parents) if path.exists())
        if not (nearest.is_dir() and os.access(nearest, os.W_OK)):
            raise UsageError(f"--output {output}: {nearest} cannot be written to")
    except OSError as error:
        raise UsageError(f"--output {output}: cannot be used ({error.strerror})") from None


def create_folder(output: Path | None, results: Path, name: str) -> Path:
    """Make a bundle's folder: that of `--output`, or a new one under `results`.

    Raises UsageError where it cannot be made.
    """
    check_folder(output)
    stem = f"{datetime.now():%Y-%m-%d-%H%M}-{name}"
    candidates = [results / stem, *(results / f"{stem}-{n}" for n in range(2, 100))]
    folder = output or next(path for path in candidates if not path.exists())
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be made ({error.strerror})") from None
    return folder


def check_report(output: Path | None) -> None:
    """Raise UsageError where a report cannot be written to the file of `--output`."""
    if output is None:
        return
    try:
        exists = bool(output.lstat())
    except (FileNotFoundError, NotADirectoryError):
        exists = False
    except OSError as error:
        raise UsageError(f"--output {output}: cannot be used ({error.strerror})") from None
    if exists:
        raise UsageError(f"--output {output}: exists already; name a new file")
    if not os.access(output.absolute().parent, os.W_OK):
        raise UsageError(f"--output {output}: {output.absolute().parent} cannot be written to")


def file_name(case: str) -> str:
    """A case's name as that of a file or folder."""
    return "-".join(re.findall(r"\w+", case))
