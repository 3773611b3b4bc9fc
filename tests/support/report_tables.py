"""The tables of a report, read back from its markdown and its page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser


@dataclass
class ReadTable:
    """A table as it is shown; `place` is the heading above it, or the figure that it belongs to."""

    place: str
    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)

    def cells(self) -> Iterator[dict[str, str]]:
        """The rows by column; an empty first cell repeats that of the row above."""
        first_cell = ""
        for first, *others in self.rows:
            first_cell = first or first_cell
            yield dict(zip(self.columns, [first_cell, *others], strict=True))


def in_markdown(text: str) -> list[ReadTable]:
    """The tables of a markdown report."""
    tables: list[ReadTable] = []
    place, inside = "Ranking", False
    for line in text.splitlines():
        if line.startswith("## "):
            place = line.removeprefix("## ")
        # Links and code are marks of markdown alone.
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", line).replace("`", "")
        cells = [cell.strip() for cell in shown.strip("|").split("|")]
        if line.startswith("|") and not inside:
            tables.append(ReadTable(place, cells))
        elif line.startswith("|") and not set(line) <= set("|-: "):
            tables[-1].rows.append(cells)
        inside = line.startswith("|")
    return tables


class _Page(HTMLParser):
    """Collects the tables of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[ReadTable] = []
        self.place = self.figure = ""
        self.text: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "figure":
            self.figure = str(dict(attrs)["id"])
        elif tag == "table":
            self.tables.append(ReadTable(self.figure or self.place))
        elif tag == "tr":
            self.tables[-1].rows.append([])
        elif tag in ("h2", "th", "td"):
            self.text = []

    def handle_endtag(self, tag: str) -> None:
        if tag == "figure":
            self.figure = ""
        elif tag == "table":
            self.tables[-1].columns = self.tables[-1].rows.pop(0)
        elif tag in ("h2", "th", "td") and self.text is not None:
            text = "".join(self.text).strip()
            if tag == "h2":
                self.place = text
            else:
                self.tables[-1].rows[-1].append(text)
            self.text = None

    def handle_data(self, data: str) -> None:
        if self.text is not None:
            self.text.append(data)


def in_page(text: str) -> list[ReadTable]:
    """The tables of report.html, including those behind its figures."""
    page = _Page()
    page.feed(text)
    return [_without_nameless(table) for table in page.tables]


def _without_nameless(table: ReadTable) -> ReadTable:
    """A table without the columns that the page's script fills."""
    named = [place for place, column in enumerate(table.columns) if column]
    rows = [[row[place] for place in named] for row in table.rows]
    return replace(table, columns=[table.columns[place] for place in named], rows=rows)
