"""What reports consist of, whatever they are written as: sections of text, tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.reports import tables
from benchmarks.reports.formats import bullets
from benchmarks.reports.tables import Table


@dataclass(frozen=True)
class Figure:
    """A figure by its name, and the file of the image that markdown shows, if there is one."""

    name: str
    title: str
    image: str = ""


@dataclass(frozen=True)
class Note:
    """A sentence about the results; a warning must be read before any of them is quoted."""

    text: str
    severity: Literal["note", "warning"] = "note"

    @property
    def markdown(self) -> str:
        """The note as markdown: warnings are bold."""
        return f"**{self.text}**" if self.severity == "warning" else self.text


Part = str | Table | Figure | list[Note] | dict[str, str]
"""Text is markdown: a paragraph, a list or a block of code; a dict has terms and their meanings."""


@dataclass(frozen=True)
class Section:
    """A part of a report under a heading."""

    heading: str
    parts: tuple[Part, ...]


def section(heading: str, *parts: Part) -> Section:
    """A section of these parts."""
    return Section(heading, parts)


def markdown(parts: Sequence[Part]) -> list[str]:
    """The parts of a section as markdown; figures without an image are left out."""
    paragraphs = []
    for part in parts:
        if isinstance(part, Table):
            paragraphs.append(tables.markdown(part))
        elif isinstance(part, dict):
            paragraphs.append(bullets([f"{term}: {meaning}" for term, meaning in part.items()]))
        elif isinstance(part, list):
            paragraphs.append(bullets([note.markdown for note in part]))
        elif isinstance(part, str):
            paragraphs.append(part)
        elif part.image:
            paragraphs.append(f"![{part.title}]({part.image})")
    return paragraphs


def document(title: str, opening: Sequence[Part], sections: Sequence[Section]) -> str:
    """A whole report as markdown."""
    paragraphs = [f"# {title}", *markdown(opening)]
    for section in sections:
        paragraphs += [f"## {section.heading}", *markdown(section.parts)]
    return "\n\n".join(paragraphs) + "\n"
