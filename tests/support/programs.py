"""Compiled programs: what can be read in their text."""

from __future__ import annotations

import re


def trip_counts(program: str) -> list[str]:
    """The known numbers of steps of the loops in an optimized HLO program."""
    assert " while(" in program
    return re.findall(r'"known_trip_count":\{"n":"(\d+)"', program)
