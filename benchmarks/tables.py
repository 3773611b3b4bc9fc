"""Tables in markdown."""

from __future__ import annotations

from typing import Any

import pandas as pd

TEXT_COLUMNS = (
    *("bundle", "case", "cases", "status", "tier", "verdict"),
    *("what", "value", "where", "why", "overtakes", "bound by"),
    *("backend", "other"),
)
"""The headings of columns that hold words."""


def table(rows: list[dict[str, Any]]) -> str:
    """A markdown table; its columns are the keys of the rows."""
    frame = pd.DataFrame(rows).fillna("–")
    numbers = frame.columns.map(lambda name: name not in TEXT_COLUMNS)
    alignment = ["right" if number else "left" for number in numbers]
    return frame.to_markdown(index=False, disable_numparse=True, colalign=alignment)
