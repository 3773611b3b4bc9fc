"""What reports consist of, whatever they are written as: sections of text, tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

TEXT_COLUMNS = (
    *("bundle", "case", "cases", "status", "tier", "verdict"),
    *("what", "value", "where", "why", "overtakes", "bound by"),
    *("backend", "other"),
)
"""The columns of tables that hold words; all others hold numbers, and are aligned as such."""


@dataclass(frozen=True)
class Table:
    """A table; its columns are the keys of its rows, its cells as they are shown."""

    rows: list[dict[str, Any]]

    @property
    def frame(self) -> pd.DataFrame:
        """The table with a dash where a row has no such cell."""
        return pd.DataFrame(self.rows).fillna("–")


@dataclass(frozen=True)
class Figure:
    """A figure by its name, and the image of it that markdown shows, if there is one."""

    name: str
    title: str
    image: str = ""


@dataclass(frozen=True)
class Facts:
    """Names and what they stand for."""

    named: dict[str, str]


Part = str | Table | Figure | Facts
"""Text is markdown: a paragraph, a list or a block of code."""


@dataclass(frozen=True)
class Section:
    """A part of a report under a heading."""

    heading: str
    parts: tuple[Part, ...]


def section(heading: str, *parts: Part) -> Section:
    """A section of these parts."""
    return Section(heading, parts)


def markdown(parts: Sequence[Part]) -> list[str]:
    """The parts of a section as markdown."""
    written = []
    for part in parts:
        if isinstance(part, Table):
            written.append(table(part))
        elif isinstance(part, Facts):
            written.append("\n".join(f"- {name}: {what}" for name, what in part.named.items()))
        elif isinstance(part, str):
            written.append(part)
        elif part.image:
            written.append(f"![{part.title}]({part.image})")
    return written


def table(content: Table) -> str:
    """A table as markdown."""
    frame = content.frame
    numbers = frame.columns.map(lambda name: name not in TEXT_COLUMNS)
    alignment = ["right" if number else "left" for number in numbers]
    return frame.to_markdown(index=False, disable_numparse=True, colalign=alignment)


def document(title: str, opening: Sequence[Part], sections: Sequence[Section]) -> str:
    """A whole report as markdown."""
    written = [f"# {title}", *markdown(opening)]
    for section in sections:
        written += [f"## {section.heading}", *markdown(section.parts)]
    return "\n\n".join(written) + "\n"
