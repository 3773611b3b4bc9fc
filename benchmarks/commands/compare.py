"""The command `compare`: what became faster or slower between two bundles.

For each case of both: how many times as long a step takes in AFTER, with its 95% interval, and
whether AFTER is faster, slower, a tie or undecided. Both runs need two launches or more; with two
or three the intervals are wide. No framework is needed.

For example:
  python run_all.py compare results/old results/new   an upgrade, on the same machine
  python run_all.py compare results/old results/new --baseline "numpy eager" --fail-if-slower 5%
                                                      as a gate in CI: machines differ, but
                                                      ratios to a case that stayed the same do not

A gate ends with 0 only if every case of BEFORE was judged and none is shown to be slower than
allowed; with 1 if one is; with 3 if it cannot judge, as where a case is missing, is not certified
or has a single launch, where a run was interrupted, or where the machines differ.
"""

from pathlib import Path

from rich.console import Console

from benchmarks.analysis import comparison, gate
from benchmarks.bundle import files
from benchmarks.bundle.folders import check_report
from benchmarks.commands import exit_codes, options, report, terminal
from benchmarks.errors import UnjudgedError, UsageError
from benchmarks.reports import comparison as comparison_report


def parser() -> options.Parser:
    """The command line of `compare`."""
    parser = options.Parser("compare", __doc__)
    parser.add_argument("before", type=Path, metavar="BEFORE", help="a bundle")
    parser.add_argument("after", type=Path, metavar="AFTER", help="the bundle that is judged")
    parser.add_argument("--baseline", metavar="CASE",
        help="within rounds, divide every case by this one of its own bundle")  # fmt: skip
    parser.add_argument("--fail-if-slower", type=options.percentage, metavar="PERCENT",
        help="exit with 1 where a case is slower by more than this, with confidence, and with 3 "
        "where that cannot be judged")  # fmt: skip
    parser.add_argument("--allow-missing", nargs=1, type=options.listed(str),
        action="extend", default=[], metavar="CASE",
        help="let --fail-if-slower pass although this case was not measured in one of the two; "
        "may be repeated")  # fmt: skip
    parser.add_argument("--output", type=Path, metavar="FILE.md",
        help="write the comparison there, in markdown")  # fmt: skip
    return parser


def main(argv: list[str], console: Console) -> int:
    """Compare the step times of two bundles."""
    arguments = parser().read(argv)
    check_report(arguments.output)
    folders: list[Path] = [arguments.before, arguments.after]
    limit: float | None = arguments.fail_if_slower
    before, after = (report.read_bundle("compare", folder) for folder in folders)
    allowed: list[str] = arguments.allow_missing
    for option, cases in (("--baseline", [arguments.baseline]), ("--allow-missing", allowed)):
        for case in filter(None, cases):
            comparison.check_case(option, case, before, after)
    names = report.bundle_names(folders)
    if comparison.same_run(before, after):
        _write(arguments.output, comparison_report.markdown_of_same_run(*names), console)
        console.print(comparison_report.SAME_RUN)
        return exit_codes.OK
    result = comparison.compare(before, after, arguments.baseline)
    judged = gate.judge(result, before, after, limit, allowed) if limit else None
    _write(arguments.output, comparison_report.markdown(result, *names, gate=judged), console)
    terminal.show_comparison(console, result, judged)
    if judged and judged.slower:
        return exit_codes.FAILED
    if judged and judged.unjudged:
        raise UnjudgedError(f"cannot judge: {'; '.join(judged.unjudged)}")
    return exit_codes.OK


def _write(output: Path | None, text: str, console: Console) -> None:
    """Write the report to the file of `--output`, if there is one, and say so."""
    if output is None:
        return
    try:
        files.write_text(output.parent, output.name, text)
    except OSError as error:
        problem = f"cannot be written ({error.strerror})"
        raise UsageError(f"--output {output}: {problem}") from None
    terminal.show_line(console, f"report: {output}")
