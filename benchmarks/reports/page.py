"""report.html: the report on one page, with a table to sort and filter and figures to explore.

The page is made from a summary alone and needs no network and no other file.
"""

import gzip
import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from benchmarks.reports import grid
from benchmarks.reports.figures import charts, looks
from benchmarks.reports.formats import text
from benchmarks.reports.grid import Grid
from benchmarks.reports.sections import Document
from benchmarks.reports.summary import Summary

TEMPLATES = Path(__file__).parent / "templates"
EXPORTED = "window.draw = (at, shown, options) => vegaEmbed(at, shown, options);"
"""What the page uses of Vega."""

# Texts quote what is in a bundle, which anybody may have written: none of it becomes HTML.
_markdown = MarkdownIt("commonmark", {"html": False}).disable(["link", "image", "autolink"])


def html(summary: Summary, drawn: Mapping[str, Any] | None = None) -> str:
    """The whole page of a bundle; `drawn` has its figures, if they are drawn already."""
    if drawn is None:
        drawn = charts.drawn(summary.report.figures, summary.tables)
    return page(summary.report, drawn, grid.of_summary(summary))


def page(document: Document, drawn: Mapping[str, Any], table: Grid | None = None) -> str:
    """A report as a page; `drawn` has the specifications of its figures by name."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "markdown": lambda part: Markup(_markdown.render(part)),
        "inline": lambda part: Markup(_markdown.renderInline(part)),
        "text": text,
        "identifier": identifier,
        "json": _json,
        "colours": lambda case: looks.colours(case.split(" ")[0]),
    }
    scripts = [_file("theme.js"), *[_file("table.js")] * bool(table)]
    scripts += [_file("figures.js")] * bool(drawn)
    vega = _vega() if drawn else ""
    return environment.get_template("report.html").render(
        document=document,
        specifications=drawn,
        table=table,
        at_first=grid.AT_FIRST,
        styles=Markup(_file("report.css") + dark_styles()),
        scripts=[Markup(script) for script in scripts],
        vega=b64encode(gzip.compress(vega.encode(), mtime=0)).decode(),
        policy=policy([*scripts, vega]),
    )


def _file(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


@cache
def _vega() -> str:
    """Vega, Vega-Lite and vega-embed as one script."""
    return str(vl_convert.javascript_bundle(EXPORTED))


def dark_styles() -> str:
    """Styles that give the marks of figures the colours of a dark page, where it is dark."""
    return "".join(
        f'.plot [{what}="{light}"] {{ {what}: light-dark({light}, {dark}); }}\n'
        for light, dark in looks.DARK.items()
        for what in ("fill", "stroke")
    )


def policy(scripts: Sequence[str]) -> str:
    """The page's Content-Security-Policy: these scripts run, and nothing is loaded."""
    digests = (sha256(script.encode()).digest() for script in scripts)
    allowed = " ".join(f"'sha256-{b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def identifier(heading: str) -> str:
    """The name of the anchor of a heading."""
    return "-".join(re.findall(r"\w+", heading.lower()))


def _json(value: object) -> Markup:
    """A value as JSON, escaped for a page."""
    return Markup(json.dumps(value, separators=(",", ":")).replace("<", "\\u003c"))
