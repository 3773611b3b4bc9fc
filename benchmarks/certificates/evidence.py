"""Evidence that is kept between runs, by the content of what it is evidence of.

Whether a program is right in float64 depends on its source, on the packages and the processor that
it runs on, and on what it is asked to train: while all these are the same, it need not be shown
again. What is kept is copied into every bundle that rests on it.
"""

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from benchmarks.certificates.certificate import Check

PACKAGES = "backends", "benchmarks.certificates", "benchmarks.plan"
"""The packages whose sources decide what is certified, and how; besides those of the backend."""
PASSING = "drawn", "governor", "priority", "cores", "programs"
"""Entries of the ledger that do not change what is computed."""


Subject = dict[str, str]
"""All that evidence depends on, in words."""


class Kept(NamedTuple):
    """Checks that have passed, and the day on which they were taken."""

    checks: list[Check]
    taken: str
    by: str
    """What the ledger says besides: which libraries computed products instead of others."""


def sources(backend: ModuleType) -> str:
    """A checksum of the sources that decide what is certified."""
    modules = [import_module(package) for package in PACKAGES]
    folders = {Path(str(module.__file__)).parent for module in (*modules, backend)}
    checksum = sha256()
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        checksum.update(path.read_bytes())
    return checksum.hexdigest()


def about(backend: ModuleType, ledger: Mapping[str, str], **asked: object) -> Subject:
    """All that the evidence of a backend's program depends on; `ledger` is what was read of it."""
    entries = {name: value for name, value in ledger.items() if name not in PASSING}
    texts = {name: repr(value) for name, value in asked.items()}
    return {**entries, **texts, "sources": sources(backend)}


def path_of(folder: str, subject: Subject) -> Path:
    """The file of the evidence on a subject."""
    text = json.dumps(subject, sort_keys=True)
    return Path(folder) / f"{sha256(text.encode()).hexdigest()[:32]}.json"


def read(folder: str, subject: Subject) -> Kept | None:
    """The evidence that is kept on a subject; None where there is none, or none that passed.

    Where `folder` is empty, none is.
    """
    if not folder:
        return None
    try:
        found = json.loads(path_of(folder, subject).read_text("utf-8"))
        checks = [Check(**one) for one in found["checks"]]
        proven = found["about"] == subject and checks and all(check.passed for check in checks)
        return Kept(checks, str(found["taken"]), str(found["by"])) if proven else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def keep(folder: str, subject: Subject, checks: list[Check], by: str) -> None:
    """Keep checks, if all have passed and the folder can be written."""
    if not folder or not all(check.passed for check in checks):
        return
    rows = [asdict(check) for check in checks]
    taken = datetime.now(UTC).date().isoformat()
    text = json.dumps({"about": subject, "taken": taken, "by": by, "checks": rows}, indent=1)
    path = path_of(folder, subject)
    own = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        own.write_text(text, "utf-8")
        own.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            own.unlink()
