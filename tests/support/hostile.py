"""Bundles in which every text that reading accepts is hostile, and what reports make of them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from benchmarks.bundle.reader import read_environment
from benchmarks.errors import UsageError
from benchmarks.schema.tables import MEASURED
from tests.synthetic_bundles import write_bundle

PAYLOADS = (
    '<img src=x onerror="document.title=1"><script>document.title=1</script>',
    '<a href="https://evil.example">x</a> <b>b</b><br>%{x}{{ 7 * 7 }}',
    "[a](https://evil.example) ![i](https://evil.example/i.png) [r][1] [^1] [1]:",
    "https://evil.example www.evil.example @user me@evil.example :smile: #1",
    "`code` ``` ~~~ | a | b | \\| \\",
    "*b* __s__ _i_ ~~s~~ $x^2$ $`y`$ $$\\frac$$ &lt; &#60; &amp;",
    "\x1b[31mred\x1b]8;;https://evil.example\x07link\x9b1m \b\u202egnp.exe\u2066\u200b\ufeff",
    "[red]red[/red] [link=https://evil.example]l[/link] [/]",
    "# heading > quote - item 1. one === ---",
    "</script><!-- --> ]]> javascript:alert(1)",
)
"""Texts that act where they are not taken as text: in HTML, markdown, terminals and figures."""
EVERYTHING = " ".join(PAYLOADS)
"""All of them in one."""
TAME = "calm"
"""What stands in a tame bundle where a hostile one has a payload."""


def write_hostile_bundle(folder: Path, *, tame: bool = False, seed: int = 0) -> Path:
    """A bundle whose names, reasons, versions and so on are payloads, or in a tame one a word.

    One case has failed, and has a log; one has diverged; one has no certificate that passed; of one
    a stage was not read.
    """

    backends = [
        "jax",
        "numpy",
        "pytorch",
        "numpy",
        "jax",
        "pytorch",
        "",
        "tensorflow",
        "jax",
        "numpy",
    ]
    named = [
        f"{backend or 'other'} {TAME}{number}" if tame else f"{backend} {payload}".strip()
        for number, (backend, payload) in enumerate(zip(backends, PAYLOADS, strict=True))
    ]
    write_bundle(
        folder,
        {case: 1.0 + number / 10 for number, case in enumerate(named[:-1])},
        rounds=4,
        seed=seed,
        uncertified=(named[3],),
        diverged=(named[4],),
        skipped=(named[-1],),
    )
    everything = TAME if tame else EVERYTHING
    with _edited(folder, "outcomes") as rows:
        for row in rows:
            row |= {"status": "failed", "reason": everything}
    with _edited(folder, "ledger") as rows:
        for row in rows:
            if row["case"] in (named[0], named[1]):
                row["value"] = everything
    with _edited(folder, "certificates") as rows:
        for row in rows:
            # Certificates that lack what they must have are none.
            if row["case"] == named[3]:
                row["parameter"] += everything
            elif row["case"] == named[0]:
                row |= {"not_read": everything, "relative_error": "", "passed": "True"}
    _replace_environment(folder, everything)
    (folder / "logs").mkdir()
    words = "-".join(re.findall(r"\w+", named[-1]))
    log = TAME if tame else f"{EVERYTHING}\n````\n# heading\n{EVERYTHING}"
    (folder / "logs" / f"{words}.txt").write_text(log)
    return folder


@contextmanager
def _edited(folder: Path, table: str) -> Iterator[list[dict[str, str]]]:
    """The rows of a table, which are written back with what the caller changes."""
    path = folder / f"{table}.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    yield rows
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, MEASURED[table].names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _replace_environment(folder: Path, text: str) -> None:
    """Put `text` into every text of environment.json that the reader accepts it in."""
    path = folder / "environment.json"
    content = json.loads(path.read_text())
    content["machine"]["gpus"] = ["gpu"]
    content["variables"] = {"XLA_FLAGS": "x"}
    for place, key in list(_texts(content)):
        kept = place[key]
        place[key] = text
        path.write_text(json.dumps(content))
        try:
            read_environment(folder)
        except UsageError:
            place[key] = kept
    for section in ("packages", "variables"):
        content[section] |= {text: text}
    path.write_text(json.dumps(content))


def _texts(content: Any) -> Iterator[tuple[Any, Any]]:
    """The places of all texts in JSON, but for the cases, whose names are replaced everywhere."""
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        if key in ("cases", "floors"):
            continue
        if isinstance(value, str):
            yield content, key
        elif isinstance(value, dict | list):
            yield from _texts(value)


# What a report shows.


def tokens(markdown: str) -> list[Token]:
    """A report as a program for markdown reads it, with HTML, tables and links."""
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    return parser.parse(markdown)


def structure(markdown: str) -> list[str]:
    """The elements of a report in order, without what is text or code within a line."""
    kinds = []
    for token in tokens(markdown):
        kinds += [token.type] if token.type != "inline" else []
        kinds += [one.type for one in token.children or [] if one.type not in TEXTS]
    return kinds


TEXTS = {"text", "code_inline", "softbreak"}
FOUND_BY_GITHUB = re.compile(
    r"://|www\.|[\w.]+@\w|(?<!\w)@\w|:[a-z]\w+:|#\d|\$|\]\(|&[#\w]+;", re.IGNORECASE
)
"""What GitHub makes more of than text, wherever it stands in text."""


def found_by_github(markdown: str) -> list[str]:
    """The texts of a report, outside of code, in which GitHub would find a link or a formula."""
    return [
        child.content
        for token in tokens(markdown)
        for child in token.children or []
        if child.type == "text" and FOUND_BY_GITHUB.search(child.content)
    ]


class Elements(HTMLParser):
    """The elements of a page, but for code, with the names of their attributes; its addresses."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, ...]] = []
        self.addresses: list[str] = []
        self.scripts: list[str] = []
        self._json = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "code":
            self.elements.append((tag, *sorted(name for name, _ in attrs if name != "class")))
        self.addresses += [str(value) for name, value in attrs if name in ("href", "src")]
        self._json = ("type", "application/json") in attrs

    def handle_data(self, data: str) -> None:
        if self._json:
            self.scripts.append(data)
            self._json = False
