"""The command `certify`: certificates and ledgers alone, without timing anything.

For each case: the error of every stage against the float64 reference, in float64 (exact) and in the
precision that is timed; those of a block that is trained twice; and what the framework really does.
Where a case departs from the reference, the first stage and parameter that do are named. Where
nothing is named, the modes of the default run; of a backend that is named, all modes.

For example:
  python run_all.py certify                           the modes of the default run
  python run_all.py certify jax                       all modes of JAX
  python run_all.py certify jax pytorch --modes eager
"""

import argparse
import math
from dataclasses import asdict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks import exit_codes
from benchmarks.certificates.certificate import first_failure
from benchmarks.certificates.replay import BlockChecked
from benchmarks.commands import options, running
from benchmarks.machine import lock
from benchmarks.machine.advice import together
from benchmarks.plan.blocks import STEPS_PER_CALL
from benchmarks.reports.formats import stage_title
from benchmarks.reports.run.sentences import block_departure, departure
from benchmarks.schema import (
    ACCURACY_MARGIN_POINTS,
    BLOCK_CHECKS,
    ENTRIES,
    HORIZON,
    LEVELS,
    OVERRIDES,
    REPEATS,
    STAGES,
)
from benchmarks.session.certifying import CertifiedCase, FailedCase, certify_cases


def parser() -> options.Parser:
    """The command line of `certify`."""
    parser = options.Parser("certify", __doc__)
    options.add_named_backends(parser)
    options.add_case_options(parser)
    options.add_variants(parser)
    options.add_group_options(parser)
    parser.set_defaults(
        preset="full", steps=STEPS_PER_CALL, launches=1, seed=0, time_limit=None, output=None,
        accuracy_margin=ACCURACY_MARGIN_POINTS,
    )  # fmt: skip
    return parser


def show_certificate(console: Console, outcome: CertifiedCase | FailedCase) -> None:
    """One case's certificate and ledger, or why there is none."""
    if isinstance(outcome, FailedCase):
        text = f"{outcome.case.name} failed: {outcome.reason}\n{outcome.output}".strip()
        console.print(f"{text}\n", markup=False, highlight=False)
        return
    certified, block = outcome.certified, outcome.block
    table = Table("stage", "steps", title=outcome.case.name, title_justify="left")
    for level in LEVELS:
        table.add_column(level, justify="right")
        table.add_column("bound", justify="right")
        table.add_column("worst parameter")
    for stage in (*STAGES, HORIZON):
        cells, steps = [], 0
        for level in LEVELS:
            checks = [c for c in certified.checks if (c.level, c.stage) == (level, stage)]
            if not checks:
                continue
            # An error that is not finite is the worst of all.
            worst = max(checks, key=lambda c: (not c.passed, c.error / c.bound if c.error else 0.0))
            where, steps = worst.not_read or worst.parameter, worst.steps
            error = "–" if worst.not_read else f"{worst.error:.1e}"
            bound = f"{worst.bound:.0e}" if worst.bound < 1 else "none holds"
            if bound == "none holds" or not math.isfinite(worst.error):
                error = "–"
            cells += [error, bound, f"{where}{'' if worst.passed else ' ✗'}"]
        table.add_row(stage_title(stage), str(steps), *cells)
    console.print(table)
    console.print(block_table(outcome.checked))
    failed = [block_departure(asdict(c)) for c in outcome.checked.checks if not c.passed]
    if failure := first_failure(certified.checks):
        check = asdict(failure) | {"relative_error": failure.error}
        failed.insert(0, departure(check))
    if failed:
        console.print(f"NOT certified: {outcome.case.name} {failed[0]}", markup=False)
        if outcome.smallest:
            console.print(f"the smallest that shows it: {outcome.smallest}", markup=False)
    else:
        seconds = certified.seconds + outcome.checked.seconds
        console.print(f"certified in {seconds:.1f} s")
    entries = certified.ledger | {
        OVERRIDES: outcome.case.differs_in,
        REPEATS: outcome.checked.ended,
        "cpus_used": f"{block.cpu_seconds / block.seconds:.1f}",
        "compiled_while_timed": str(block.compilations),
    }
    ledger = Table.grid(padding=(0, 2))
    for entry, about in ENTRIES.items():
        ledger.add_row(about.title, escape(entries[entry]))
    ledger.add_row("versions", escape(" ".join(f"{k} {v}" for k, v in certified.versions.items())))
    console.print(ledger)
    console.print()


def block_table(checked: BlockChecked) -> Table:
    """The checks of a timed block, each with the parameter and piece nearest to its bound."""
    table = Table("timed block", "error", "bound", "parameter", "steps")
    for name in BLOCK_CHECKS:
        if checks := [check for check in checked.checks if check.check == name]:
            worst = max(checks, key=lambda check: check.nearness)
            mark = "" if worst.passed else " ✗"
            last = worst.first_step + worst.steps
            table.add_row(
                name, f"{worst.error:.1e}", f"{worst.bound:.0e}", worst.parameter + mark,
                f"{worst.first_step + 1} to {last}",
            )  # fmt: skip
    return table


def main(argv: list[str], console: Console) -> int:
    """Certify cases without timing them."""
    arguments = parser().read(argv)
    with lock.held(wait=arguments.wait, say=console.out):
        return certify(arguments, console)


def certify(arguments: argparse.Namespace, console: Console) -> int:
    """Certify the cases that the arguments name; returns the exit code."""
    if not (arguments.backends or arguments.modes or arguments.variant):
        arguments.preset = "default"
    cases = running.choose_cases(arguments)
    plan, dataset = running.prepare(arguments, cases, in_turn=True)
    if plan.skipped:
        skipped = together({case.name: reason for case, reason in plan.skipped.items()})
        console.print(f"skipped: {skipped}", markup=False)
    passed = True
    for outcome in certify_cases(plan, dataset.training):
        show_certificate(console, outcome)
        passed &= outcome.passed
    return exit_codes.OK if passed else exit_codes.FAILED
