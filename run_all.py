"""Train one network in every framework, and print a comparison that holds up."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import NoReturn

from rich.console import Console

from backends.registry import BACKENDS
from benchmarks.bundle import writer as bundle
from benchmarks.commands import options, running, sweep, terminal
from benchmarks.commands import report as bundle_commands
from benchmarks.commands.running import INTERRUPTED, OK, SOME_CASES_FAILED
from benchmarks.errors import UsageError
from benchmarks.machine import probe
from benchmarks.machine.settings import ROOT
from benchmarks.plan.plan import PRESETS, STEPS_PER_CALL, floors_of, with_control
from benchmarks.schema import ACCURACY_MARGIN_POINTS
from benchmarks.session.certifying import certify_cases

EPILOG = """\
examples:
  python run_all.py                                   the default comparison, on the CPU
  python run_all.py --preset quick                    a first look, in two minutes
  python run_all.py --device gpu                      the same on the GPU
  python run_all.py --list                            what can run here, and why the rest cannot
  python run_all.py --backends jax pytorch --modes multistep --hidden 1024 1024 1024
  python run_all.py --modes eager compiled --input resident streamed --steps 1000

other commands, each with its own --help:
  python run_all.py certify --backends jax            prove that a backend computes the same
                                                      training as the reference, untimed
  python run_all.py sweep                             the same over batch sizes, widths and depths;
                                                      --resume goes on where one was interrupted
  python run_all.py report FOLDER [FOLDER ...]        a bundle's report anew, from its CSVs; several
                                                      bundles in one report
  python run_all.py compare BEFORE AFTER              what became faster or slower between two
                                                      bundles; --fail-if-slower for CI

exit codes:
  0  every case that can run here was measured      2    nothing was run: the line says why
  1  a case failed; the others were measured        3    stopped by an error of the program itself
  130  interrupted; in all but 2, what was measured until then is reported
"""

CERTIFY_EPILOG = """\
For each case: the error of every stage against the float64 reference, in float64 (exact) and in the
precision that is timed, and what the framework really does. Where a case departs from the
reference, the first stage and parameter that do are named. All modes of a backend unless --modes
says which.

exit codes: 0 all certified; 1 some are not; 2 nothing was run: the line says why
"""


def run_parser() -> options.Parser:
    """The command line of a run."""
    parser = options.Parser(
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_case_options(parser)
    options.add_workload_options(parser)
    options.add_run_options(parser)
    options.add_inspection_options(parser)
    return parser


def certify_parser() -> options.Parser:
    """The command line of `certify`."""
    parser = options.command_parser("certify", certify.__doc__, CERTIFY_EPILOG)
    options.add_case_options(parser)
    options.add_workload_options(parser)
    parser.set_defaults(
        preset="full", steps=STEPS_PER_CALL, launches=1, seed=0, time_limit=None, output=None,
        accuracy_margin=ACCURACY_MARGIN_POINTS,
    )  # fmt: skip
    return parser


def interrupt(*_: object) -> NoReturn:
    """End as Ctrl-C does."""
    raise KeyboardInterrupt


def measure(words: list[str], console: Console) -> int:
    """Run the comparison and report it."""
    started = monotonic()
    arguments = run_parser().parse_args(words)
    if arguments.list:
        names = arguments.backends or list(BACKENDS)
        probes = probe.probe_all(names, arguments.device, running.pythons(arguments))
        terminal.show_list(console, probes, arguments.device)
        return OK
    plan, dataset = running.prepare(arguments, PRESETS[arguments.preset].inputs)
    cases = list(plan.cases)
    floors = floors_of(cases) if PRESETS[arguments.preset].floors else ()
    plan = replace(plan, cases=tuple(with_control(cases)), floors=floors)
    facts = running.describe_run(plan, arguments.data_dir)
    folder = bundle.create_folder(arguments.output, ROOT / "results", plan.name)
    if arguments.profile:
        plan = replace(plan, profile=folder.resolve() / "profiles")
    code = running.run(plan, dataset.training, folder, facts, console, started)
    bundle_commands.report_bundle(folder, console)
    return code


def certify(words: list[str], console: Console) -> int:
    """Certify cases without timing them."""
    arguments = certify_parser().parse_args(words)
    plan, dataset = running.prepare(arguments, None)
    for case, reason in plan.skipped.items():
        console.print(f"skipped: {case.name}: {reason}", markup=False)
    passed = True
    for outcome in certify_cases(plan, dataset.training):
        terminal.show_certificate(console, outcome)
        passed &= outcome.passed
    return OK if passed else SOME_CASES_FAILED


COMMANDS: dict[str, Callable[[list[str], Console], int]] = {
    "certify": certify,
    "sweep": sweep.sweep,
    "report": bundle_commands.rebuild,
    "compare": bundle_commands.compare,
}
"""What can be asked besides a measurement, by the first word of the command line."""


def main(words: list[str] | None = None) -> int:
    """Do what the command line asks; returns the exit code."""
    words = sys.argv[1:] if words is None else words
    command = COMMANDS.get(words[0]) if words else None
    # Where there is no terminal to ask for its width, wide enough for the tables.
    console = Console(width=None if sys.stdout.isatty() else 112)
    for ending in (signal.SIGTERM, signal.SIGHUP):
        # nohup, for one, has a hang-up ignored, and means it.
        if signal.getsignal(ending) != signal.SIG_IGN:
            signal.signal(ending, interrupt)
    try:
        return command(words[1:], console) if command else measure(words, console)
    except UsageError as error:
        print(f"run_all.py: {error}", file=sys.stderr)
        return options.CANNOT_RUN
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
