"""Prints docs/bundles.md, made from the schema and the records.

Run `python -m docs.make_bundles_page > docs/bundles.md` after a change of either.
"""

from collections.abc import Iterable

from benchmarks.bundle.records import CaseRecord, Environment, described_fields
from benchmarks.schema.tables import COMPUTED, MEASURED, SHARED, Column, Table

INTRODUCTION = """\
# The files of a bundle

A run's bundle is one folder. It holds `environment.json`, one CSV file for each table below,
`summary.json` with all that was computed ([its schema](../benchmarks/schema/summary.schema.json)),
`report.md` and `report.html` with their figures, and `logs/` with what the workers of failed cases
printed. A sweep's folder holds a bundle for each point, and `sweep.csv`.

Every CSV file can be read by itself, with `pandas.read_csv` for example: one row a line, one value
a cell. Measured tables are written while the run goes on, each row before the next block starts.
Computed tables follow from them; `python run_all.py report FOLDER` computes them again.

- An empty cell says that the value is not known or does not apply; in older bundles `nan` does too.
- A share is a number from 0 to 1; points are percentage points.
- `_low` and `_high` are the ends of the 95% interval of the estimate before them. They are empty
  where there are fewer than two launches.
- Older bundles lack the column `repetition`; the name of a control, which ends in "(control)",
  shows it there. The other columns that older bundles may lack say so.

## Damaged bundles

Everything that reads a bundle checks it against this page first. A row is left out if its line is
torn or cut wrongly, if a cell holds what its column cannot hold, if it names a case or a seed that
`environment.json` does not list, or if it contradicts another row or itself; of equal rows one is
kept. No figure is made of a row that is left out, and a case is certified only if every check of
its certificates is there and passed. The report, `compare` and the terminal say in one line how
many rows of which file were left out, and why, and which tables lack the rows of a case.

A bundle is refused, in one line that says what to do, where nothing can be made of it: a file is
missing, the first line of a table does not name the columns, `environment.json` is not whole, or a
newer version of this program wrote it.
## What a bundle holds about its user

A bundle is made to be shown to others. Whatever text enters it is written without these:

| of | a bundle holds | it never holds |
| --- | --- | --- |
| environment variables | those that bear on speed (`benchmarks/machine/settings.py` lists them) | any other, not even its name |
| credentials | "set, not shown" for a variable that is named like one or whose value looks like one | passwords, tokens, keys, user names in web addresses |
| paths | the last part (`…/libjemalloc.so`), or where in an installed package or this project a file lies | home folders and what leads to them; relative paths stay as they were typed |
| people and hosts | `(user)` and `(host)` in their place | names of the user and of the host, e-mail and network addresses, UUIDs of GPUs |
| the machine | processor, cores, quota, memory, GPUs, system, C library, hypervisor | serial numbers |
| the data set | the last part of its folder's name, and a checksum of its content | images and labels |
| output of failed workers | `logs/`, shortened in the same way | |

Credentials are told by their names and forms, so one that has neither may pass: read `logs/` before
you publish it. User and host names that are ordinary words, such as `root` or `jax`, stay where they
stand alone. The traces of `--profile` are written by the frameworks themselves and may name hosts,
users and paths.

This page is made from `benchmarks/schema/tables.toml` by `python -m docs.make_bundles_page`.

## Bundles from others

A bundle is data. Nothing in it is executed, and no path or link in it is followed: what the program
reads of it and writes into it are regular files inside its folder, and a link in a file's place is
refused by name. `sweep --resume` takes from `sweep.json` only what is measured; the Python and the
data set come from the command line.

Texts in a bundle, such as the names of cases, reasons, versions and logs, are shown as they are and
do nothing. A character that does not print is written out (`\\x1b`, `\\u202e`), and words that
markdown would take for more than text are set as code. `report.html` loads nothing: its
Content-Security-Policy allows no address outside of the page and no script but its own.
"""  # noqa: E501


TITLES = {
    "launch": "columns of the launch",
    "case": "columns of the case",
    "summary": "columns of summary.csv",
}
"""What the page calls the groups of columns that several tables have."""


def page() -> str:
    """The whole page, in markdown."""
    return "\n".join(
        [
            INTRODUCTION,
            "## Columns that many tables have\n",
            "The columns of the launch:\n",
            _columns(SHARED["launch"]),
            "The columns of the case:\n",
            _columns(SHARED["case"]),
            "## Measured tables\n",
            *map(_section, MEASURED.values()),
            "## Computed tables\n",
            *map(_section, COMPUTED.values()),
            "## environment.json\n",
            "The machine, the software, the workload, and what became of the run.\n",
            _table(("field", "meaning", "unit"), described_fields(Environment)),
            "Each of `run.cases` and `run.floors` has these fields:\n",
            _table(("field", "meaning", "unit"), described_fields(CaseRecord)),
        ]
    ).rstrip("\n")


def _section(table: Table) -> str:
    added_later = " Older bundles lack the file.\n" if table.added_later else "\n"
    return f"### {table.name}.csv\n\n{table.about}{added_later}\n" + _columns(table.columns)


def _columns(columns: tuple[Column, ...]) -> str:
    """A table of columns, with one line for each shared group within them."""
    rows: list[tuple[str, ...]] = []
    rest = columns
    while rest:
        groups = [one for one in SHARED if SHARED[one] == rest[: len(SHARED[one])] != columns]
        group = SHARED[groups[0]] if groups else rest[:1]
        first, last = group[0], group[-1]
        if groups:
            rows.append((f"{first.name}` … `{last.name}", f"The {TITLES[groups[0]]}.", "", ""))
        else:
            about = first.about + (" Older bundles lack it." if first.added_later else "")
            rows.append((first.name, about, first.unit, first.values))
        rest = rest[len(group) :]
    return _table(("column", "meaning", "unit", "values"), rows)


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [headings, tuple("---" for _ in headings)]
    lines += [(f"`{name}`", *cells) for name, *cells in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    print(page())
