"""A clock that moves only when it is told to, in place of the one that limits a run's time."""

from __future__ import annotations

import sys
import time

import pytest

from benchmarks.commands import measure
from benchmarks.session import launch, session


class Clock:
    """Seconds since an arbitrary start, in place of `monotonic` in all modules of the product."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        readers = [
            module
            for name, module in list(sys.modules.items())
            if name.partition(".")[0] in ("run_all", "benchmarks")
            and getattr(module, "monotonic", None) is time.monotonic
        ]
        assert {measure, launch, session} <= set(readers)
        for module in readers:
            monkeypatch.setattr(module, "monotonic", lambda: self.now)
