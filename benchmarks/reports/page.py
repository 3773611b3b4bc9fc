"""report.html: the sections of report.md on one page, with figures to explore.

The page needs no network and no other file: plotly's script, the styles and the rows behind every
figure are in it.
"""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from benchmarks.analysis.findings import Findings
from benchmarks.bundle.reader import Bundle
from benchmarks.reports import run, sentences, several
from benchmarks.reports.figures import interactive, looks
from benchmarks.reports.figures.charts import Chart
from benchmarks.reports.formats import Row, as_text, joined, number
from benchmarks.reports.sections import Column, Figure, Section, Table

TEMPLATES = Path(__file__).parent / "templates"
ORDER = (
    *("Start-up and memory", "When a slower start pays off", "Where the time goes"),
    *("Certificates", "What the cases did differently", "Environment"),
    *("What this run cannot tell", "How it was measured"),
)
"""The sections that end the page; all others come before them, in the order of report.md."""

# Texts quote what is in a bundle, which anybody may have written: none of it becomes HTML.
_markdown = MarkdownIt("commonmark", {"html": False}).disable(["link", "image", "autolink"])


def write(bundle: Bundle, findings: Findings, folder: Path) -> None:
    """Write report.html."""
    (folder / "report.html").write_text(html(bundle, findings))


def html(bundle: Bundle, findings: Findings) -> str:
    """The whole page of a bundle."""
    shown = [Section("Ranking", run.ranking(findings)), *run.content(bundle, findings)]
    shown.sort(key=lambda one: 1 + ORDER.index(one.heading) if one.heading in ORDER else 0)
    first, *others = [*sentences.fastest(findings), ""]
    notes = sentences.cautions(bundle, findings)
    names = {part.name for one in shown for part in one.parts if isinstance(part, Figure)}
    recorded, machine = bundle.environment.run, bundle.environment.machine
    where = machine.gpus or [f"{machine.cpu}, {recorded.threads} threads"]
    launches = f"{recorded.finished_launches} launches"
    figures = {name: draw for name, draw in interactive.FIGURES.items() if name in names}
    return page(
        title=run.title(findings),
        opening={
            # The fastest case, and whether accuracy pays for its speed, come before the others.
            "lead": f"{first} {sentences.accuracy(findings)}".strip(),
            "rest": " ".join([*filter(None, others), sentences.resolution(findings)]),
            "warnings": [note.text for note in notes if note.severity == "warning"],
            "about": [*where, launches, bundle.environment.started[:10]],
        },
        sections=shown,
        charts={name: draw(bundle, findings) for name, draw in figures.items()},
    )


def merged(bundles: Mapping[str, tuple[Bundle, Findings]]) -> str:
    """The whole page of several bundles, by name."""
    summaries = {name: findings.summary for name, (_, findings) in bundles.items()}
    return page(
        title=joined(list(bundles)),
        opening={"lead": "", "rest": several.INTRODUCTION, "warnings": [], "about": []},
        sections=several.content(bundles),
        charts={"bundles": interactive.bundles(summaries)},
    )


def page(
    title: str, opening: Mapping[str, Any], sections: Sequence[Section], charts: Mapping[str, Chart]
) -> str:
    """A page of sections; `charts` has the chart of each of their figures, by name."""
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
        "colours": lambda case: looks.colours(case.split(" ")[0]),
    }
    return environment.get_template("report.html").render(
        **opening,
        title=title,
        sections=sections,
        charts={name: chart for name, chart in charts.items() if chart.views},
        dark=looks.DARK,
        plotly=Markup(get_plotlyjs()),
    )


def identifier(heading: str) -> str:
    """The name of the anchor of a heading."""
    return "-".join(re.findall(r"\w+", heading.lower()))


def _views(chart: Chart) -> Markup:
    """The views of a chart as a JSON list, escaped for a page."""
    views = ",".join(view.to_json() for view in chart.views.values())
    return Markup(f"[{views}]".replace("<", "\\u003c"))


def _csv(chart: Chart) -> str:
    """The rows behind a chart as a link to a CSV file."""
    return "data:text/csv;base64," + b64encode(chart.data.to_csv(index=False).encode()).decode()


def _rows(chart: Chart) -> Table:
    """The rows behind a chart as a table; floats have five digits."""

    def cell(row: Row, name: str) -> str:
        value = row[name]
        return number(value, ",.5g") if isinstance(value, float) else as_text(row, name)

    types = chart.data.dtypes.items()
    return Table([Column(str(n), str(n), cell, text=t.kind == "O") for n, t in types], chart.data)
