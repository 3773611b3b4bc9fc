"""report.html: the sections of report.md on one page that stands alone, with figures to explore.

The page needs no network and no other file: plotly's script, the styles and the rows behind every
figure are in it.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from benchmarks.analysis.findings import Bundle, Findings
from benchmarks.reports import run as report
from benchmarks.reports import sentences as words
from benchmarks.reports import several as merging
from benchmarks.reports.figures import interactive
from benchmarks.reports.figures.charts import DARK, Chart
from benchmarks.reports.figures.static import COLOURS
from benchmarks.reports.sections import TEXT_COLUMNS, Facts, Figure, Section, Table, section

TEMPLATES = Path(__file__).parent / "templates"
ORDER = (
    *("Start-up and memory", "When a slower start pays off", "Where the time goes"),
    *("Certificates", "What the cases did differently", "Environment"),
    *("What this run cannot tell", "How it was measured"),
)
"""The sections that end the page; all others come before them, as in report.md."""

# Texts name what is in a bundle, which anybody may have written: nothing of it becomes HTML.
_markdown = MarkdownIt("commonmark", {"html": False}).disable(["link", "image", "autolink"])


def write(bundle: Bundle, findings: Findings, folder: Path) -> None:
    """Write report.html."""
    (folder / "report.html").write_text(html(bundle, findings))


def html(bundle: Bundle, findings: Findings) -> str:
    """The whole page of a bundle."""
    sections = [section("Ranking", *report.ranking(findings)), *report.sections(bundle, findings)]
    sections.sort(key=lambda one: 1 + ORDER.index(one.heading) if one.heading in ORDER else 0)
    fastest = words.fastest(findings)
    notes = words.cautions(bundle, findings)
    return page(
        title=report.title(findings),
        opening={
            # Who is fastest, and whether at the cost of accuracy; then how it is with the others.
            "lead": " ".join([*fastest[:1], *words.accuracy(findings)]),
            "rest": " ".join([*fastest[1:], *words.certainty(findings)]),
            # What is said in bold must be known before anything is quoted.
            "warnings": [note for note in notes if note.startswith("**")],
            "about": _about(bundle),
        },
        sections=sections,
        charts={name: draw(bundle, findings) for name, draw in _drawn(sections)},
    )


def merged(bundles: Mapping[str, tuple[Bundle, Findings]]) -> str:
    """The whole page of several bundles, by name."""
    summaries = {name: findings.summary for name, (_, findings) in bundles.items()}
    return page(
        title=merging.title(bundles),
        opening={"lead": "", "rest": merging.INTRODUCTION, "warnings": [], "about": []},
        sections=merging.sections(bundles),
        charts={"bundles": interactive.bundles(summaries)},
    )


def page(
    title: str,
    opening: Mapping[str, Any],
    sections: Sequence[Section],
    charts: Mapping[str, Chart],
) -> str:
    """A page of sections; `charts` has what is drawn for each Figure of theirs, by name."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "markdown": lambda text: Markup(_markdown.render(text)),
        "inline": lambda text: Markup(_markdown.renderInline(text)),
        "identifier": identifier,
        "views": _views,
        "csv": _csv,
        "rows": _rows,
    }
    environment.tests |= {
        "text": lambda part: isinstance(part, str),
        "table": lambda part: isinstance(part, Table),
        "facts": lambda part: isinstance(part, Facts),
    }
    return environment.get_template("report.html").render(
        **opening,
        title=title,
        sections=sections,
        charts={name: chart for name, chart in charts.items() if chart.views},
        text_columns=TEXT_COLUMNS,
        colours=COLOURS,
        dark=DARK,
        plotly=Markup(get_plotlyjs()),
    )


def identifier(heading: str) -> str:
    """A heading as the name of an anchor."""
    return "-".join(re.findall(r"\w+", heading.lower()))


def _drawn(sections: Sequence[Section]) -> list[tuple[str, interactive.Draw]]:
    """What draws each figure of the sections; those that are images alone are left out."""
    named = {p.name for one in sections for p in one.parts if isinstance(p, Figure)}
    return [(name, draw) for name, draw in interactive.FIGURES.items() if name in named]


def _about(bundle: Bundle) -> list[str]:
    """Where and when it was measured."""
    run, machine = bundle.environment["run"], bundle.environment["machine"]
    where = machine["gpus"] or [f"{machine['cpu']}, {run['threads']} threads"]
    return [*where, f"{run['finished_launches']} launches", bundle.environment["started"][:10]]


def _views(chart: Chart) -> Markup:
    """The views of a chart as a JSON list that may stand in a page."""
    views = ",".join(view.to_json() for view in chart.views.values())
    return Markup(f"[{views}]".replace("<", "\\u003c"))


def _csv(chart: Chart) -> str:
    """The rows behind a chart as the address of a CSV file."""
    return "data:text/csv;base64," + b64encode(chart.data.to_csv(index=False).encode()).decode()


def _rows(chart: Chart) -> Table:
    """The rows behind a chart, as they are shown."""

    def cell(value: Any) -> Any:
        if isinstance(value, float):
            return "–" if pd.isna(value) else f"{value:,.5g}"
        return value

    return Table(
        [{str(k): cell(v) for k, v in row.items()} for row in chart.data.to_dict("records")]
    )
