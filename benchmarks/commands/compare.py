"""The command `compare`: what became faster or slower between two bundles.

For each case of both: how many times as long a step takes in AFTER, with its 95% interval, and
whether AFTER is faster, slower, a tie or undecided. Both runs need two launches or more; with two
or three the intervals are wide. No framework is needed.

For example:
  python run_all.py compare results/old results/new   an upgrade, on the same machine
  python run_all.py compare results/old results/new --baseline "numpy eager" --fail-if-slower 5%
                                                      as a gate in CI: machines differ, but
                                                      ratios to a case that stayed the same do not
"""

from pathlib import Path

from rich.console import Console

from benchmarks.analysis import comparison
from benchmarks.bundle.folders import check_report
from benchmarks.commands import exit_codes, options, report, terminal
from benchmarks.errors import UsageError
from benchmarks.reports import comparison as comparison_report


def parser() -> options.Parser:
    """The command line of `compare`."""
    parser = options.Parser("compare", __doc__)
    parser.add_argument("before", type=Path, metavar="BEFORE", help="a bundle")
    parser.add_argument("after", type=Path, metavar="AFTER", help="the bundle that is judged")
    parser.add_argument("--baseline", metavar="CASE",
        help="within rounds, divide every case by this one of its own bundle")  # fmt: skip
    parser.add_argument("--fail-if-slower", type=options.percentage, metavar="PERCENT",
        help="exit with 1 where a case is slower by more than this, with confidence")  # fmt: skip
    parser.add_argument("--output", type=Path, metavar="FILE.md",
        help="write the comparison there, in markdown")  # fmt: skip
    return parser


def main(argv: list[str], console: Console) -> int:
    """Compare the step times of two bundles."""
    arguments = parser().read(argv)
    check_report(arguments.output)
    folders: list[Path] = [arguments.before, arguments.after]
    if folders[0].resolve() == folders[1].resolve():
        raise UsageError(f"{arguments.before}: BEFORE and AFTER are one and the same")
    before, after = (report.read_bundle("compare", folder) for folder in folders)
    result = comparison.compare(before, after, arguments.baseline)
    limit: float | None = arguments.fail_if_slower
    terminal.show_comparison(console, result, limit)
    if arguments.output:
        old, new = report.bundle_names(folders)
        text = comparison_report.markdown(result, old, new, limit)
        try:
            arguments.output.write_text(text)
        except OSError as error:
            problem = f"cannot be written ({error.strerror})"
            raise UsageError(f"--output {arguments.output}: {problem}") from None
        console.print(f"report: {arguments.output}", markup=False, highlight=False, soft_wrap=True)
    slower = limit is not None and comparison.beyond(result.rows, limit)[0]
    return exit_codes.FAILED if slower else exit_codes.OK
