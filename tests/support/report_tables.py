"""The tables of a report, read back from its markdown and its page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass
class ReadTable:
    """A table as it is shown: under which heading, or behind which figure, it stands."""

    place: str
    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)

    def cells(self) -> Iterator[dict[str, str]]:
        """Its rows by column; one that begins with nothing begins as the row above it."""
        begins = ""
        for first, *others in self.rows:
            begins = first or begins
            yield dict(zip(self.columns, [begins, *others], strict=True))


def in_markdown(text: str) -> list[ReadTable]:
    """The tables of a markdown report."""
    found: list[ReadTable] = []
    place, inside = "Ranking", False
    for line in text.splitlines():
        if line.startswith("## "):
            place = line.removeprefix("## ")
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and not inside:
            found.append(ReadTable(place, cells))
        elif line.startswith("|") and not set(line) <= set("|-: "):
            found[-1].rows.append(cells)
        inside = line.startswith("|")
    return found


class _Page(HTMLParser):
    """Collects the tables of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[ReadTable] = []
        self.place = self.figure = ""
        self.text: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "figure":
            self.figure = str(dict(attrs)["id"])
        elif tag == "table":
            self.found.append(ReadTable(self.figure or self.place))
        elif tag == "tr":
            self.found[-1].rows.append([])
        elif tag in ("h2", "th", "td"):
            self.text = []

    def handle_endtag(self, tag: str) -> None:
        if tag == "figure":
            self.figure = ""
        elif tag == "table":
            self.found[-1].columns = self.found[-1].rows.pop(0)
        elif tag in ("h2", "th", "td") and self.text is not None:
            said = "".join(self.text).strip()
            if tag == "h2":
                self.place = said
            else:
                self.found[-1].rows[-1].append(said)
            self.text = None

    def handle_data(self, data: str) -> None:
        if self.text is not None:
            self.text.append(data)


def in_page(text: str) -> list[ReadTable]:
    """The tables of report.html, those behind its figures included."""
    page = _Page()
    page.feed(text)
    return page.found
