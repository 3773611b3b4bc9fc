"""Two made-up frameworks whose ladders have every shape, for tests of what is computed of them."""

from __future__ import annotations

import pytest

from backends.ladder import EXPERT, LIMIT, TAUGHT, Backend, Mode
from backends.registry import BACKENDS

MODES = {
    "walk": Mode(tier=TAUGHT, about="", stands=True, source="https://example.org/walk"),
    "jog": Mode(tier=TAUGHT, about="", below="walk", change="longer steps"),
    "run": Mode(
        tier=EXPERT, about="", below="jog", change="both feet", stands=True,
        source="https://example.org/run",
    ),
    "limp": Mode(tier=EXPERT, about="", below="run", change="one foot"),
    "sprint": Mode(tier=LIMIT, about="", below="run", change="on toes", stands=True),
    "dive": Mode(tier=LIMIT, about="", below="sprint", change="headlong", private="gravity._pull"),
    # A foot of its own.
    "ride": Mode(tier=TAUGHT, about="", source="https://example.org/ride"),
}  # fmt: skip


def entry(name: str, *modes: str) -> Backend:
    """A backend with these of the made-up modes."""
    return Backend(
        name=name,
        title=name.capitalize(),
        module="",
        packages=(),
        distributions=(),
        modes={mode: MODES[mode] for mode in modes or MODES},
        renamed={"dash": "sprint (on ice: dive)", "hurry": "jog or run"},
    )


def register(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enter `hare`, with every mode, and `snail`, with four of them."""
    monkeypatch.setitem(BACKENDS, "hare", entry("hare"))
    monkeypatch.setitem(BACKENDS, "snail", entry("snail", "walk", "jog", "run", "sprint"))
