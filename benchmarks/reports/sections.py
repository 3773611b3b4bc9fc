"""What reports consist of, whatever they are written as: sections of text, tables and figures.

A table's columns say where their cells come from and how they are written; the terminal, markdown
and the page make their tables from these. Titles, headings, cells and notes are plain text, which
each of the three escapes in its own way; only paragraphs and the meanings of terms are markdown,
and what they quote of a bundle goes through `formats.text`. summary.json keeps all of it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

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
    """A figure by the name of what draws it; `finding` is what it shows, in a sentence."""

    name: str
    title: str
    finding: str = ""


@dataclass(frozen=True)
class Tiers:
    """Tables of cases that are ranked together, each under its heading, which is markdown.

    The page shows them as one, which its reader sorts, filters and sees against any case.
    """

    tables: Sequence[tuple[str, Table]]


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


Part = str | Table | Tiers | Figure | list[Note] | dict[str, str]
"""A string is markdown: a paragraph or a block of code; a dict has terms and their meanings, which
are markdown too."""


@dataclass(frozen=True)
class Section:
    """A part of a report under a heading."""

    heading: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Document:
    """A whole report: its answer comes first, sentence by sentence, each of them markdown."""

    title: str
    lead: Sequence[str]
    rest: str
    sections: Sequence[Section]
    about: Sequence[str] = ()
    """Where and when it was measured, for the page's head."""

    @property
    def warnings(self) -> list[Note]:
        """What must be read before any result is quoted."""
        parts = [part for section in self.sections for part in section.parts]
        notes = [note for part in parts if isinstance(part, list) for note in part]
        return [note for note in notes if note.severity == "warning"]

    @property
    def figures(self) -> list[str]:
        """The names of its figures."""
        parts = (part for section in self.sections for part in section.parts)
        return [part.name for part in parts if isinstance(part, Figure)]

    def markdown(self, *, drawn: bool = True) -> str:
        """The report as markdown; `drawn` if its figures are there as images."""
        lead = [bullets(self.lead)] if len(self.lead) > 1 else list(self.lead)
        parts: list[Part] = [f"# {text(self.title)}", *lead, self.rest]
        for section in self.sections:
            shown = [part for part in section.parts if drawn or not isinstance(part, Figure)]
            parts += [f"## {text(section.heading)}", *shown]
        return "\n\n".join(filter(None, map(markdown, parts))) + "\n"

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        sections = [
            {"heading": one.heading, "parts": [part_to_json(part) for part in one.parts]}
            for one in self.sections
        ]
        return asdict(replace(self, sections=())) | {"sections": sections}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Document":
        """The report that `to_json` has written."""
        sections = [
            Section(one["heading"], [part_from_json(part) for part in one["parts"]])
            for one in content["sections"]
        ]
        return cls(**content | {"sections": sections})


def part_to_json(part: Part) -> Any:
    """A part of a section as JSON."""
    match part:
        case Table():
            columns = [{"heading": one.heading, "text": one.text} for one in part.columns]
            return {"columns": columns, "cells": part.cells(), "links": part.links()}
        case Tiers():
            return {"tiers": [[heading, part_to_json(table)] for heading, table in part.tables]}
        case Figure():
            return {"figure": asdict(part)}
        case list():
            return {"notes": [asdict(note) for note in part]}
        case dict():
            return {"terms": part}
        case str():
            return part


def part_from_json(content: Any) -> Part:
    """The part that `part_to_json` has written; a table's cells are then texts."""
    match content:
        case {"columns": _, "cells": _, "links": _}:
            return _table_from_json(content)
        case {"tiers": tiers}:
            return Tiers([(heading, _table_from_json(table)) for heading, table in tiers])
        case {"figure": figure}:
            return Figure(**figure)
        case {"notes": notes}:
            return [Note(**note) for note in notes]
        case {"terms": terms}:
            return dict(terms)
    return str(content)


def _table_from_json(content: dict[str, Any]) -> Table:
    numbers = [str(number) for number in range(len(content["columns"]))]
    names = [*numbers, *(f"to {number}" for number in numbers)]
    rows = [[*row, *to] for row, to in zip(content["cells"], content["links"], strict=True)]
    columns = [
        Column(one["heading"], number, _as_it_is, one["text"], f"to {number}")
        for number, one in zip(numbers, content["columns"], strict=True)
    ]
    return Table(columns, pd.DataFrame(rows, columns=names))


def _as_it_is(row: Row, name: Any) -> str:
    return str(row[name])


def markdown(part: Part) -> str:
    """A part of a section as markdown; empty for a figure without an image."""
    match part:
        case Table():
            headings = [_cell(column.heading) for column in part.columns]
            rows = zip(part.cells(), part.links(), strict=True)
            cells = [list(map(_cell, *row)) for row in rows]
            sides = ["left" if column.text else "right" for column in part.columns]
            return tabulate(cells, headings, "pipe", disable_numparse=True, colalign=sides)
        case Tiers():
            tables = [part for heading, table in part.tables for part in (heading, table)]
            return "\n\n".join(map(markdown, tables))
        case Figure():
            return f"![{part.title}]({image(part.name)})" + f"\n\n{text(part.finding)}" * bool(
                part.finding
            )
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
