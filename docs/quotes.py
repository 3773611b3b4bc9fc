"""What the pages quote: a bundle's answer, rankings and ladders, and the registry's modes.

A quote stands between two marks, the first of which says what is quoted and from where.
`python -m docs.quotes` writes every quote again, and a test finds those that are not up to date.
"""

import re
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from backends.ladder import TIERS
from backends.registry import BACKENDS, title_of
from benchmarks.analysis.findings import Findings, compute_findings
from benchmarks.bundle.reader import Bundle
from benchmarks.reports.cases import comparable_groups
from benchmarks.reports.formats import as_interval, bullets, joined, number
from benchmarks.reports.run import ladders, leads, scaling, sentences
from benchmarks.reports.run.certificates import CASE_MARKED, footnote
from benchmarks.reports.sections import STEP, TIMES_FASTEST, Column, Table, markdown
from benchmarks.validation import blocks

ROOT = Path(__file__).resolve().parent.parent
QUOTE = re.compile(
    r"(<!-- (\w+) from (\S+); a test compares the two -->\n).*?(\n<!-- end -->)", re.DOTALL
)
REGISTRY = "backends/registry.py"
"""Where modes are quoted from."""


def pages() -> list[Path]:
    """The pages that may quote."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@cache
def findings(folder: Path) -> Findings:
    """The findings of a bundle."""
    return compute_findings(Bundle.read(folder))


def answer(found: Findings) -> str:
    """Who is fastest, tier by tier, and whether they learn the same."""
    return f"{bullets(leads.fastest(found))}\n\n{sentences.accuracy(found)}"


def table(found: Findings) -> str:
    """The ranking of each tier, with a note on the cases that were not trained to the end."""
    accuracy = Column(
        "test accuracy",
        "test_accuracy",
        lambda row, name: number(row[name], ".2%") + " †" * (not row["trained_to_end"]),
    )
    learned = [] if found.apart else [accuracy]
    columns = [Column("rank", "rank"), CASE_MARKED, STEP, TIMES_FASTEST, *learned]
    parts = []
    cut_short: list[str] = []
    most = 0
    for group in comparable_groups(found):
        parts += [group.markdown, markdown(Table(columns, group.rows))]
        ended = group.rows["trained_to_end"].astype(bool) | found.apart
        cut_short += [f"{steps:,}" for steps in group.rows.loc[~ended, "steps"]]
        most = max(most, int(group.rows["steps"].max()))
    if cut_short:
        parts.append(f"† Trained for {joined(cut_short)} steps, the others for {most:,}.")
    parts += map(markdown, footnote(comparable_groups(found)))
    return "\n\n".join(parts)


def ladder(found: Findings, backend: str) -> str:
    """The ladder of a backend."""
    rungs = found.ladders[found.ladders["backend"] == backend]
    return markdown(ladders.ladder_table(rungs))


def groups(found: Findings) -> str:
    """The groups of ranks, and the floors that they are set against."""
    tables = (
        Table(scaling.COLUMNS, found.scaling[found.scaling["left_out"] == ""]),
        Table(scaling.FLOOR_COLUMNS, found.group_floors),
    )
    return "\n\n".join(map(markdown, tables))


def changes(found: Findings) -> str:
    """Of each ladder, the rungs that are shown to help or to cost."""
    lines = []
    for backend, rungs in ladders.of_each_backend(found):
        judged, parts, told = rungs[rungs["below"] != ""], [], 0
        for verdict, brings in (("faster", "less time than the rung below"), ("slower", "more")):
            rows = judged[judged["verdict"] == verdict]
            if len(rows):
                ratio = as_interval()
                named = [f"`{row['mode']}` ({ratio(row, 'ratio')})" for _, row in rows.iterrows()]
                parts.append(f"{brings} for {joined(named)}")
                told += len(rows)
        parts.append(f"neither shown for {len(judged) - told} of {len(judged)} changes")
        lines.append(f"**{title_of(backend)}**: {'; '.join(parts)}.")
    return bullets(lines)


def modes() -> str:
    """The modes of every backend, as the registry has them, tier by tier."""
    columns = [
        *(Column("mode", "mode", text=True), Column("tier", "tier", text=True)),
        *(Column("what it is", "about", text=True), Column("changes", "below", text=True)),
        Column("the one change", "change", text=True, link="source"),
        Column("inputs", "inputs", text=True),
    ]
    parts = []
    for entry in BACKENDS.values():
        rows = [
            {
                "mode": name,
                "tier": mode.tier + " ✓" * mode.stands,
                "about": mode.about + " (GPU only)" * (mode.devices == ("gpu",)),
                "below": mode.below,
                "change": mode.change or ("begins a ladder" if mode.source else ""),
                "source": mode.source,
                "inputs": " ".join(mode.inputs),
            }
            for tier in TIERS
            for name, mode in entry.modes.items()
            if mode.tier == tier
        ]
        parts += [
            f"**{entry.title}** (`{entry.name}`)",
            markdown(Table(columns, pd.DataFrame(rows))),
        ]
    return "\n\n".join(parts)


def margins(found: pd.DataFrame) -> str:
    """Of each check of a timed block: how near sound trainings come, and how far wrong ones are."""
    (title, rows), *_ = blocks.summary(found).items()
    wrong = "weakest wrong training"
    columns = [
        Column("check", "check", text=True),
        *(Column("largest sound error", "error", ".1e"), Column("its bound", "bound", ".1e")),
        *(Column("share of it", "of_bound", ".2g"), Column(wrong, wrong, text=True)),
        Column(
            "times its bound",
            "times its bound",
            lambda row, name: "any" if np.isinf(row[name]) else number(row[name], ".2g"),
        ),
    ]
    return f"{title.partition(';')[0]}.\n\n{markdown(Table(columns, rows))}"


def nodes(found: pd.DataFrame) -> str:
    """How intervals narrow with nodes and with launches, where nodes are as usual."""
    columns = [
        *(Column("nodes", "nodes"), Column("launches a node", "launches a node")),
        Column("interval of a ratio", "interval ±", lambda row, n: f"±{number(row[n], '.1%')}"),
        Column("holds the truth", "holds the truth", ".0%"),
        Column("over launches alone", "without nodes", ".0%"),
        Column("node hours", "node hours", ".1f"),
        Column("MiB", "MiB", ".0f"),
    ]
    return markdown(Table(columns, found[found["nodes are"] == "usual"]))


def calls(found: pd.DataFrame) -> str:
    """How often a gate over runs by turns errs, a row for each scenario."""
    names = {"scenario": "how runs differ", "cases": "cases", "median runs a side": "runs a side"}
    shares = ["false alarms", "equals not judged", "10% slower, found", "not judged"]
    columns = [
        *(Column(title, name, text=name == "scenario") for name, title in names.items()),
        *(Column(name, name, ".1%") for name in shares),
    ]
    return markdown(Table(columns, found))


def quoted(page: Path, kind: str, source: str) -> str:
    """What a page should quote; the file of a ladder is called like its backend."""
    if source == REGISTRY:
        return modes()
    if kind == "margins":
        return margins(pd.read_csv(ROOT / source))
    if kind == "calls":
        return calls(pd.read_csv(ROOT / source))
    if kind == "nodes":
        return nodes(pd.read_csv(ROOT / source))
    if kind == "changes":
        # Each framework's ladder is a run of its own.
        return "\n".join(changes(findings(folder)) for folder in sorted(ROOT.glob(source)))
    found = findings(ROOT / source)
    if kind == "ladder":
        return ladder(found, page.stem)
    return {"answer": answer, "table": table, "groups": groups}[kind](found)


def renewed(page: Path) -> str:
    """The text of a page with its quotes up to date."""

    def quote(found: re.Match[str]) -> str:
        begin, kind, source, end = found.groups()
        return f"{begin}{quoted(page, kind, source)}{end}"

    return QUOTE.sub(quote, page.read_text("utf-8"))


if __name__ == "__main__":
    for path in pages():
        text = renewed(path)
        if text != path.read_text("utf-8"):
            path.write_text(text, "utf-8")
            print(path.relative_to(ROOT))
