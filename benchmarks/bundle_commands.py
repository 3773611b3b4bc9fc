"""The commands that read bundles: analyse, compare and merge. They run nothing."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from benchmarks import comparison, comparison_report, merging, options, report, summary, terminal
from benchmarks.bundle import check_report
from benchmarks.errors import UsageError

OK, SLOWER = 0, 1

ANALYSE_EPILOG = """\
Writes the summary, the other tables that are computed and report.md of the bundle anew, from the
rows that were measured: after a run that was killed, or with a newer version of this program. No
framework is needed.

example:
  python run_all.py analyse results/reference-cpu-2-cores

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

MERGE_EPILOG = """\
Sets the cases of all bundles beside one another, each with its ratio to the fastest of its own
bundle, and lists what the environments differ in. Nothing is ranked across bundles.

example:
  python run_all.py merge results/laptop results/server --output machines.md

exit codes: 0 written; 2 refused: the line says why
"""


def analyse_parser() -> options.Parser:
    """The command line of `analyse`."""
    parser = options.command_parser("analyse", analyse.__doc__, ANALYSE_EPILOG)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a bundle")
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


def merge_parser() -> options.Parser:
    """The command line of `merge`."""
    parser = options.command_parser("merge", merge.__doc__, MERGE_EPILOG)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="a bundle")
    parser.add_argument("--output", type=Path, metavar="FILE.md", required=True,
        help="where the report goes")  # fmt: skip
    return parser


def report_bundle(folder: Path, console: Console) -> None:
    """Write what is computed from a bundle's rows, and show it."""
    terminal.show_findings(console, *write_reports(folder), folder)


def write_reports(folder: Path) -> tuple[summary.Bundle, summary.Findings]:
    """Write the tables and the report that are computed from a bundle's rows."""
    written = summary.Bundle.read(folder)
    findings = summary.find(written)
    summary.write(written, findings)
    report.write(written, findings)
    return written, findings


def analyse(words: list[str], console: Console) -> int:
    """Compute a bundle's summary, verdicts and report anew."""
    folder = analyse_parser().parse_args(words).folder
    try:
        report_bundle(folder, console)
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


def merge(words: list[str], console: Console) -> int:
    """Set several bundles beside one another in one report."""
    arguments = merge_parser().parse_args(words)
    check_report(arguments.output)
    folders: list[Path] = arguments.folders
    if len({folder.resolve() for folder in folders}) < max(2, len(folders)):
        raise UsageError("merge: name two bundles or more, each once")
    bundles = [summary.Bundle.read(folder) for folder in folders]
    read = ((bundle, summary.find(bundle)) for bundle in bundles)
    merged = merging.merge(dict(zip(names(folders), read, strict=True)))
    write(arguments.output, merged, console)
    return OK


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
