"""The commands that read bundles: report and compare. They run nothing."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from benchmarks.analysis import comparison
from benchmarks.analysis import findings as summary
from benchmarks.bundle.writer import check_folder, check_report, create_folder
from benchmarks.commands import options, terminal
from benchmarks.errors import UsageError
from benchmarks.reports import comparison as comparison_report
from benchmarks.reports import run as report
from benchmarks.reports import several as merging

OK, SLOWER = 0, 1
PAGE_PACKAGES = ("plotly", "jinja2", "markdown_it")
"""What report.html needs; without them all else is written."""

REPORT_EPILOG = """\
One bundle: writes report.md, report.html, the figures, the summary and the other tables that are
computed anew, from the rows that were measured: after a run that was killed, or with a newer
version of this program.

Several bundles: one report.md and report.html with the cases of all of them beside one another,
each with its ratio to the fastest of its own bundle, and what the environments differ in. Nothing
is ranked across bundles.

No framework is needed. report.html stands alone: it can be sent, and opened without a network.

examples:
  python run_all.py report results/reference/epyc-2-cores
  python run_all.py report results/laptop results/server --output results/machines

exit codes: 0 done; 2 not a bundle, or it cannot be written to: the line says why
"""

COMPARE_EPILOG = """\
For each case of both: how many times as long a step takes in AFTER, with its 95% interval, and
whether AFTER is faster, slower, a tie or undecided. Both runs need two launches or more; of two or
three the intervals are wide.

examples:
  python run_all.py compare results/old results/new   an upgrade, on the same machine
  python run_all.py compare results/old results/new --baseline "numpy eager" --fail-if-slower 5%
                                                      as a gate in CI: machines differ, and
                                                      ratios to a case left as it was do not

exit codes:
  0  compared               1  --fail-if-slower: a case is slower by more than that, its whole
  2  refused: the line         interval above it
     says why
"""


def report_parser() -> options.Parser:
    """The command line of `report`."""
    parser = options.command_parser("report", rebuild.__doc__, REPORT_EPILOG)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="a bundle")
    parser.add_argument("--output", type=Path, metavar="FOLDER",
        help="write there, into a new folder; by default into the bundle itself, "
        "if there is but one")  # fmt: skip
    return parser


def compare_parser() -> options.Parser:
    """The command line of `compare`."""
    parser = options.command_parser("compare", compare.__doc__, COMPARE_EPILOG)
    parser.add_argument("before", type=Path, metavar="BEFORE", help="a bundle")
    parser.add_argument("after", type=Path, metavar="AFTER", help="the bundle that is judged")
    parser.add_argument("--baseline", metavar="CASE",
        help="divide every case by this one of its own bundle, within rounds")  # fmt: skip
    parser.add_argument("--fail-if-slower", type=options.percentage, metavar="PERCENT",
        help="exit with 1 where a case is slower by more than this, with confidence")  # fmt: skip
    parser.add_argument("--output", type=Path, metavar="FILE.md",
        help="write the comparison there, in markdown")  # fmt: skip
    return parser


def report_bundle(folder: Path, console: Console, output: Path | None = None) -> None:
    """Write what is computed from a bundle's rows, by default into it, and show it."""
    target = output or folder
    terminal.show_findings(console, *write_reports(folder, output), target)
    _say_page(console, target)


def write_reports(
    folder: Path, output: Path | None = None, *, page: bool = True
) -> tuple[summary.Bundle, summary.Findings]:
    """Write the tables and the reports that are computed from a bundle's rows."""
    written = summary.Bundle.read(folder)
    findings = summary.find(written)
    target = _made(output) if output else folder
    summary.write(findings, target)
    report.write(written, findings, target)
    if page and not missing_for_page():
        # Not above: these packages may be missing, and take time to import.
        from benchmarks.reports import page as html_report

        html_report.write(written, findings, target)
    return written, findings


def missing_for_page() -> list[str]:
    """The packages for want of which there is no report.html; best empty."""
    return [name for name in PAGE_PACKAGES if find_spec(name) is None]


def _merge(folders: list[Path], output: Path, console: Console) -> None:
    """Write one report of several bundles."""
    bundles = [summary.Bundle.read(folder) for folder in folders]
    read = ((bundle, summary.find(bundle)) for bundle in bundles)
    named = dict(zip(names(folders), read, strict=True))
    write(_made(output) / "report.md", merging.markdown(named), console)
    if not missing_for_page():
        from benchmarks.reports import page as html_report

        (output / "report.html").write_text(html_report.merged(named))
    _say_page(console, output)


def _made(folder: Path) -> Path:
    """A folder that was asked for."""
    return create_folder(folder, folder.parent, folder.name)


def _say_page(console: Console, folder: Path) -> None:
    """Say where report.html is, or why it is not there."""
    line = f"report: {folder / 'report.html'}"
    if missing := missing_for_page():
        line = f"no report.html: it needs plotly and Jinja2; not installed: {', '.join(missing)}"
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def rebuild(words: list[str], console: Console) -> int:
    """Write the report of a bundle anew, or one report of several bundles."""
    arguments = report_parser().parse_args(words)
    folders: list[Path] = arguments.folders
    output: Path | None = arguments.output
    check_folder(output)
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UsageError("report: name each bundle once")
    if len(folders) > 1 and output is None:
        raise UsageError(
            "report: a report of several bundles goes to a folder of its own: --output"
        )
    try:
        if len(folders) > 1 and output:
            _merge(folders, output, console)
        else:
            report_bundle(folders[0], console, output)
    except PermissionError as error:
        raise UsageError(f"{error.filename}: cannot be written ({error.strerror})") from None
    return OK


def compare(words: list[str], console: Console) -> int:
    """Compare the step times of two bundles."""
    arguments = compare_parser().parse_args(words)
    check_report(arguments.output)
    if arguments.before.resolve() == arguments.after.resolve():
        raise UsageError(f"{arguments.before}: BEFORE and AFTER are one and the same")
    before, after = (summary.Bundle.read(folder) for folder in (arguments.before, arguments.after))
    found = comparison.compare(before, after, arguments.baseline)
    limit: float | None = arguments.fail_if_slower
    terminal.show_comparison(console, found, limit)
    if arguments.output:
        old, new = names([arguments.before, arguments.after])
        write(arguments.output, comparison_report.markdown(found, old, new, limit), console)
    return SLOWER if limit is not None and comparison.beyond(found.rows, limit)[0] else OK


def names(folders: list[Path]) -> list[str]:
    """What to call the bundles: by the folder's own name, by the path where two have the same."""
    short = [folder.resolve().name for folder in folders]
    return short if len(set(short)) == len(short) else [str(folder) for folder in folders]


def write(path: Path, text: str, console: Console) -> None:
    """Write a report, and say where it is."""
    try:
        path.write_text(text)
    except OSError as error:
        raise UsageError(f"--output {path}: cannot be written ({error.strerror})") from None
    console.print(f"report: {path}", markup=False, highlight=False, soft_wrap=True)
