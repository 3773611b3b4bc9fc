"""What reports consist of, whatever they are written as: sections of text, tables and figures.

A table's columns say where their cells come from and how they are written; the terminal, markdown
and the page make their tables from these. Titles, headings, cells and notes are plain text, which
each of the three escapes in its own way; only paragraphs and the meanings of terms are markdown,
and what they quote of a bundle goes through `formats.text`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd
from tabulate import tabulate

from benchmarks.reports.formats import MS, Form, Row, as_interval, as_text, bullets, number, text
from benchmarks.texts import harmless


@dataclass(frozen=True)
class Column:
    """A column of a table.

    `source` is the column of the rows that its cells come from, `form` how they are written: by a
    function or, for numbers, in a format such as ".2f". `text` columns are aligned to the left,
    others, which hold numbers, to the right. `link` is the column with the address that a cell
    leads to, which must be the program's own: what a bundle names is never a link.
    """

    heading: str
    source: str
    form: Form | str = as_text
    text: bool = False
    link: str = ""

    def cell(self, row: Row) -> str:
        """The cell of a row, as it is shown."""
        if isinstance(self.form, str):
            return number(row[self.source], self.form)
        return self.form(row, self.source)


@dataclass(frozen=True)
class Table:
    """A table; `rows` has the sources of the columns, and may have more."""

    columns: Sequence[Column]
    rows: pd.DataFrame

    def cells(self) -> list[list[str]]:
        """The cells as they are shown, row by row, each on one line."""
        rows = self.rows.to_dict("records")
        return [[harmless(column.cell(row)) for column in self.columns] for row in rows]

    def links(self) -> list[list[str]]:
        """The addresses that the cells lead to; empty where there is none."""
        rows = self.rows.to_dict("records")
        return [
            [str(row[one.link] or "") if one.link else "" for one in self.columns] for row in rows
        ]


# The columns that several tables share.
CASE = Column("case", "case", text=True)
TIER = Column("tier", "tier", text=True)
STATUS = Column("what", "status", text=True)
REASON = Column("why", "reason", text=True)
STEP = Column("ms a step", "step_ms", as_interval(MS))
TIMES_FASTEST = Column("times the fastest", "times_fastest", as_interval())
STEPS = Column("steps", "steps", ",.0f")


def columns(names: Iterable[object], *, text: bool = False) -> list[Column]:
    """Columns that are headed by their sources and show them as they are."""
    return [Column(harmless(str(name)), str(name), text=text) for name in names]


@dataclass(frozen=True)
class Figure:
    """A figure by the name of what draws it; `drawn` if markdown shows an image of it."""

    name: str
    title: str
    drawn: bool = True


def image(name: str) -> str:
    """The file of a figure's image, in a bundle."""
    return f"figures/{name.replace('_', '-')}.svg"


@dataclass(frozen=True)
class Note:
    """A sentence about the results; a warning must be read before any of them is quoted."""

    text: str
    severity: Literal["note", "warning"] = "note"

    @property
    def markdown(self) -> str:
        """The note as markdown: warnings are bold."""
        return f"**{text(self.text)}**" if self.severity == "warning" else text(self.text)


Part = str | Table | Figure | list[Note] | dict[str, str]
"""A string is markdown: a paragraph or a block of code; a dict has terms and their meanings, which
are markdown too."""


@dataclass(frozen=True)
class Section:
    """A part of a report under a heading."""

    heading: str
    parts: Sequence[Part]


def markdown(part: Part) -> str:
    """A part of a section as markdown; empty for a figure without an image."""
    match part:
        case Table():
            headings = [_cell(column.heading) for column in part.columns]
            rows = zip(part.cells(), part.links(), strict=True)
            cells = [list(map(_cell, *row)) for row in rows]
            sides = ["left" if column.text else "right" for column in part.columns]
            return tabulate(cells, headings, "pipe", disable_numparse=True, colalign=sides)
        case Figure():
            return f"![{part.title}]({image(part.name)})" if part.drawn else ""
        case dict():
            return bullets([f"{term}: {meaning}" for term, meaning in part.items()])
        case list():
            return bullets([note.markdown for note in part])
        case str():
            return part


def _cell(shown: str, address: str = "") -> str:
    """A cell of a table in markdown, where even within code a bar ends it unless escaped."""
    # Programs differ in how they read two backslashes before a bar.
    cell = text(shown).replace("\\|", "\\ |").replace("|", "\\|")
    return f"[{cell}]({address})" if address else cell


def document(title: str, opening: Sequence[Part], sections: Sequence[Section]) -> str:
    """A whole report as markdown."""
    parts = [f"# {text(title)}", *opening]
    for section in sections:
        parts += [f"## {text(section.heading)}", *section.parts]
    return "\n\n".join(filter(None, map(markdown, parts))) + "\n"
