"""The command `certify`: certificates and ledgers alone, without timing anything."""

from __future__ import annotations

from rich.console import Console

from benchmarks.commands import exit_codes, options
from benchmarks.plan.plan import STEPS_PER_CALL
from benchmarks.schema import ACCURACY_MARGIN_POINTS

EPILOG = """\
For each case: the error of every stage against the float64 reference, in float64 (exact) and in the
precision that is timed, and what the framework really does. Where a case departs from the
reference, the first stage and parameter that do are named. Without --modes, all modes of a backend.

examples:
  python run_all.py certify jax                       all modes of JAX
  python run_all.py certify jax pytorch --modes eager
"""


def parser() -> options.Parser:
    """The command line of `certify`."""
    parser = options.Parser("certify", EPILOG)
    options.add_named_backends(parser)
    options.add_case_options(parser)
    options.add_workload_options(parser)
    parser.set_defaults(
        preset="full", steps=STEPS_PER_CALL, launches=1, seed=0, time_limit=None, output=None,
        accuracy_margin=ACCURACY_MARGIN_POINTS,
    )  # fmt: skip
    return parser


def main(argv: list[str], console: Console) -> int:
    """Certify cases without timing them."""
    arguments = parser().read(argv)
    # Not above: they take seconds to import, for which `--help` need not wait.
    from benchmarks.commands import running, terminal
    from benchmarks.session.certifying import certify_cases

    plan, dataset = running.prepare(arguments, None)
    for case, reason in plan.skipped.items():
        console.print(f"skipped: {case.name}: {reason}", markup=False)
    passed = True
    for outcome in certify_cases(plan, dataset.training):
        terminal.show_certificate(console, outcome)
        passed &= outcome.passed
    return exit_codes.OK if passed else exit_codes.FAILED
