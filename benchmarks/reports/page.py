"""report.html: the sections of report.md on one page, with figures to explore.

The page needs no network and no other file: plotly's script, the styles and the rows behind every
figure are in it.
"""

import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from benchmarks.analysis.findings import Findings
from benchmarks.bundle import files
from benchmarks.bundle.reader import Bundle
from benchmarks.reports import leads, run, sentences, several
from benchmarks.reports.figures import interactive, looks
from benchmarks.reports.figures.charts import Chart
from benchmarks.reports.formats import Row, as_text, joined, number, text
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
    files.write_text(folder, "report.html", html(bundle, findings))


def html(bundle: Bundle, findings: Findings) -> str:
    """The whole page of a bundle."""
    shown = [Section("Ranking", run.ranking(findings)), *run.content(bundle, findings)]
    shown.sort(key=lambda one: 1 + ORDER.index(one.heading) if one.heading in ORDER else 0)
    notes = sentences.cautions(bundle, findings)
    names = {part.name for one in shown for part in one.parts if isinstance(part, Figure)}
    recorded, machine = bundle.environment.run, bundle.environment.machine
    where = machine.gpus or [f"{machine.cpu}, {recorded.threads} threads"]
    launches = f"{recorded.finished_launches} launches"
    figures = {name: draw for name, draw in interactive.FIGURES.items() if name in names}
    return page(
        title=run.title(findings),
        opening={
            "lead": leads.fastest(findings),
            "rest": sentences.overall(findings),
            "warnings": [text(note.text) for note in notes if note.severity == "warning"],
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
        opening={"lead": [], "rest": several.INTRODUCTION, "warnings": [], "about": []},
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
    styles = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    own_script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    scripts = [get_plotlyjs(), f"const DARK = {json.dumps(looks.DARK)};\n{own_script}"]
    environment.filters |= {
        "markdown": lambda part: Markup(_markdown.render(part)),
        "inline": lambda part: Markup(_markdown.renderInline(part)),
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
        styles=Markup(styles),
        scripts=[Markup(script) for script in scripts],
        policy=policy(scripts),
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


def _views(chart: Chart) -> Markup:
    """The views of a chart as a JSON list, escaped for a page."""
    views = ",".join(view.to_json() for view in chart.views.values())
    return Markup(f"[{views}]".replace("<", "\\u003c"))


def _csv(chart: Chart) -> str:
    """The rows behind a chart as a link to a CSV file."""
    # A spreadsheet, which is what opens it, computes texts that begin like a formula.
    rows = chart.data.map(
        lambda cell: re.sub("^[=+@-]", r"'\g<0>", cell) if isinstance(cell, str) else cell
    )
    return "data:text/csv;base64," + b64encode(rows.to_csv(index=False).encode()).decode()


def _rows(chart: Chart) -> Table:
    """The rows behind a chart as a table; floats have five digits."""

    def cell(row: Row, name: str) -> str:
        value = row[name]
        return number(value, ",.5g") if isinstance(value, float) else as_text(row, name)

    types = chart.data.dtypes.items()
    return Table([Column(str(n), str(n), cell, text=t.kind == "O") for n, t in types], chart.data)
