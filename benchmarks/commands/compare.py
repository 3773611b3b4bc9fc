"""The command `compare`: what became faster or slower between runs.

For each case of all runs: how many times as long a step takes in AFTER, with its 95% interval, and
whether AFTER is faster, slower, a tie or undecided. Of one run a side, both need two launches or
more, and what changed on the machine between them counts as theirs. Several runs a side that were
made by turns, as `ab` makes them, tell the one from the other. No framework is needed.

For example:
  python run_all.py compare results/old results/new   an upgrade, on the same machine
  python run_all.py compare --before ab/before-* --after ab/after-* --fail-if-slower 5%
                                                      as a gate in CI
  python run_all.py compare results/run --fail-if-slower 5%
                                                      the variants of one run against their bases

A gate ends with 0 only if every case of BEFORE was judged and none is shown to be slower than
allowed; with 1 if one is; with 3 if it cannot judge, as where there are fewer than three runs a
side, a case is missing or not certified, a run was interrupted, or the machines differ.
"""

import argparse
from pathlib import Path

from rich.console import Console

from benchmarks import exit_codes
from benchmarks.analysis.between_runs import comparable, comparison, gate
from benchmarks.analysis.between_runs.comparison import Comparison
from benchmarks.bundle import files
from benchmarks.bundle.folders import check_report
from benchmarks.commands import options, report
from benchmarks.errors import UnjudgedError, UsageError
from benchmarks.reports.between_runs import comparison as comparison_report
from benchmarks.terminal import results


def parser() -> options.Parser:
    """The command line of `compare`."""
    parser = options.Parser("compare", __doc__)
    parser.add_argument("bundles", type=Path, nargs="*", metavar="BUNDLE",
        help="the one before and the one after, which is judged; or one with variants")  # fmt: skip
    parser.add_argument("--before", type=Path, nargs="+", default=[], metavar="BUNDLE",
        help="several runs before the change")  # fmt: skip
    parser.add_argument("--after", type=Path, nargs="+", default=[], metavar="BUNDLE",
        help="several runs after it")  # fmt: skip
    add_gate_options(parser)
    parser.add_argument("--output", type=Path, metavar="FILE.md",
        help="write the comparison there, in markdown")  # fmt: skip
    return parser


def add_gate_options(parser: options.Parser) -> None:
    """Options that say what is judged, and how."""
    parser.add_argument("--baseline", metavar="CASE",
        help="within rounds, divide every case by this one of its own bundle")  # fmt: skip
    parser.add_argument("--fail-if-slower", type=options.percentage, metavar="PERCENT",
        help="exit with 1 where a case is slower by more than this, with confidence, and with 3 "
        "where that cannot be judged")  # fmt: skip
    parser.add_argument("--allow-missing", nargs=1, type=options.listed(str),
        action="extend", default=[], metavar="CASE",
        help="let --fail-if-slower pass although this case was not measured in one of the runs; "
        "may be repeated")  # fmt: skip


def main(argv: list[str], console: Console) -> int:
    """Compare the step times of bundles."""
    arguments = parser().read(argv)
    check_report(arguments.output)
    if len(arguments.bundles) == 1 and not (arguments.before or arguments.after):
        return judge_variants(arguments, arguments.bundles[0], console)
    before, after = _sides(arguments.bundles, arguments.before, arguments.after)
    return judge(arguments, before, after, arguments.output, console)


def _sides(bundles: list[Path], before: list[Path], after: list[Path]) -> list[list[Path]]:
    """The folders of both sides; raises UsageError where a side has none."""
    if len(bundles) == 2 and not (before or after):
        return [bundles[:1], bundles[1:]]
    if bundles or not (before and after):
        raise UsageError(
            "compare: name two bundles, BEFORE and AFTER, or --before BUNDLE… --after BUNDLE…"
        )
    return [before, after]


def judge(
    arguments: argparse.Namespace,
    before: list[Path],
    after: list[Path],
    output: Path | None,
    console: Console,
) -> int:
    """Compare the bundles in these folders by the gate's options; returns the exit code."""
    allowed: list[str] = arguments.allow_missing
    sides = {
        name: tuple(report.read_bundle("compare", folder) for folder in folders)
        for name, folders in ((comparable.BEFORE, before), (comparable.AFTER, after))
    }
    bundles = [bundle for side in sides.values() for bundle in side]
    for option, cases in (("--baseline", [arguments.baseline]), ("--allow-missing", allowed)):
        for case in filter(None, cases):
            comparable.check_case(option, case, bundles)
    names = report.bundle_names([*before, *after])
    titles = [", ".join(names[: len(before)]), ", ".join(names[len(before) :])]
    if len(bundles) > 2 and (twice := comparable.with_the_same_samples(bundles)):
        one, other = (names[number] for number in twice)
        raise UsageError(f"{one} and {other} hold the same run; name each run once")
    if len(bundles) == 2 and comparable.same_run(*bundles):
        _write(output, comparison_report.markdown_of_same_run(*titles), console)
        console.print(comparison_report.SAME_RUN)
        return exit_codes.OK
    result = comparison.compare(
        sides[comparable.BEFORE], sides[comparable.AFTER], arguments.baseline
    )
    return _judged(arguments, result, sides, titles, output, console)


def judge_variants(arguments: argparse.Namespace, folder: Path, console: Console) -> int:
    """Compare the variants in a bundle with their bases; returns the exit code."""
    if arguments.baseline:
        raise UsageError("--baseline: variants are compared with their bases, within rounds")
    bundle = report.read_bundle("compare", folder)
    if not any(case.variant for case in bundle.environment.run.cases):
        raise UsageError(f"compare: {folder} has no variants; name AFTER as well")
    for case in arguments.allow_missing:
        comparable.check_case("--allow-missing", case, [bundle])
    (name,) = report.bundle_names([folder])
    titles = [f"bases of {name}", f"variants of {name}"]
    sides: comparable.Sides = {"the run": (bundle,)}
    result = comparison.within(bundle)
    return _judged(arguments, result, sides, titles, arguments.output, console)


def _judged(
    arguments: argparse.Namespace,
    result: Comparison,
    sides: comparable.Sides,
    titles: list[str],
    output: Path | None,
    console: Console,
) -> int:
    """Write and show a comparison, by the gate if there is a limit; returns the exit code."""
    limit: float | None = arguments.fail_if_slower
    judged = gate.judge(result, sides, limit, arguments.allow_missing) if limit else None
    before, after = titles
    _write(output, comparison_report.markdown(result, before, after, gate=judged), console)
    results.show_comparison(console, result, judged)
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
    results.show_line(console, f"report: {output}")
