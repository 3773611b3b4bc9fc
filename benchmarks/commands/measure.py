"""The command `measure`, the default: run the comparison and report it.

For example:
  python run_all.py                                   the default comparison, on the CPU
  python run_all.py --preset quick                    a first look, in two minutes
  python run_all.py --dry-run                         what would run, and for how long
  python run_all.py --device gpu                      the same on the GPU
  python run_all.py --backends jax pytorch --modes handwritten --hidden 1024 1024
  python run_all.py --modes eager compiled --input resident streamed --steps 1000
  python run_all.py --variant "one core=jax scan,threads=1"
  python run_all.py --ranks 2 4                       and groups of 2 and of 4 processes
"""

import argparse
import platform
from contextlib import suppress
from dataclasses import replace
from time import monotonic

from rich.console import Console

from benchmarks import exit_codes
from benchmarks.commands import COMMANDS, options
from benchmarks.commands.list import list_backends
from benchmarks.errors import StoppedError, UsageError
from benchmarks.machine import interrupts, lock
from benchmarks.machine.project import VERSION
from benchmarks.plan.cases import with_control
from benchmarks.plan.data import Dataset
from benchmarks.plan.plan import Plan
from benchmarks.plan.presets import PRESETS


def parser() -> options.Parser:
    """The command line of `measure`."""
    lines = (f"  python run_all.py {name:<10}{about}\n" for name, about in COMMANDS.items())
    commands = f"\ncommands, each with its own --help:\n{''.join(lines)}"
    parser = options.Parser("measure", f"{__doc__}{commands}")
    options.add_case_options(parser)
    options.add_variants(parser)
    options.add_group_options(parser)
    options.add_run_options(parser)
    options.add_cluster_options(parser)
    more = parser.add_argument_group("other options")
    more.add_argument("--profile", action="store_true",
        help="leave a trace of some steps of each case in the bundle's profiles/, written by the "
        "framework's own profiler after training; Perfetto or TensorBoard opens it")  # fmt: skip
    more.add_argument("--dry-run", action="store_true",
        help="show which cases would run, which cannot and why, and about how long the run would "
        "take; measure nothing")  # fmt: skip
    more.add_argument("--list", action="store_true",
        help="as the command list: show what can run here, and why the rest cannot")  # fmt: skip
    more.add_argument("--version", action="version", version=f"run_all.py {VERSION}",
        help="show the version of this project")  # fmt: skip
    return parser


def main(argv: list[str], console: Console) -> int:
    """Run the comparison and report it."""
    arguments = parser().read(argv)
    if arguments.list:
        return list_backends(arguments, console)
    if arguments.dry_run:
        return measure(arguments, console)
    if arguments.on:
        with interrupts.deferred():
            from benchmarks.cluster import spread
        return spread.run(arguments, ["measure", *argv], console)
    with lock.held(wait=arguments.wait, say=console.out):
        return measure(arguments, console)


def measure(arguments: argparse.Namespace, console: Console) -> int:
    """Run what the arguments name, and report it; returns the exit code."""
    started = monotonic()
    with interrupts.deferred():
        # Not above: they take seconds to import, for which `--help` need not wait.
        from benchmarks.commands import running

    preset = PRESETS[arguments.preset]
    plan, dataset = running.prepare(arguments, running.choose_cases(arguments, preset.inputs))
    cases = list(plan.cases)
    plan = replace(plan, cases=tuple(with_control(cases)))
    if arguments.dry_run:
        running.show_notes(plan, console)
        running.show_plan(plan, console)
        return exit_codes.OK
    return run_and_report(arguments, plan, dataset, console, started)


def part_of(plan: Plan, number: int, usual: int, *, limited: bool) -> Plan:
    """The plan of one launch of a run: the first of them asks what is learned.

    Unless the time is `limited`, a part has half as much more than a launch has of the time of a
    run with the `usual` number of launches.
    """
    share = 1.0 if limited else min(1.5 / usual, 1.0)
    return replace(
        plan,
        name=f"{plan.name}-part-{number}",
        seed=plan.seed + number,
        launches=1,
        until_settled=False,
        learning_seeds=0 if number else plan.learning_seeds,
        time_limit_seconds=share * plan.time_limit_seconds,
    )


def run_and_report(
    arguments: argparse.Namespace, plan: Plan, dataset: Dataset, console: Console, started: float
) -> int:
    """Run the plan and report it; returns the exit code.

    `started` is the time by `time.monotonic` from which the time limit counts.
    """
    with interrupts.deferred():
        from benchmarks.analysis.between_runs import parts
        from benchmarks.commands import report, running
        from benchmarks.session.description import describe_run

    if (part := arguments.part) is not None:
        if arguments.launches and part >= arguments.launches:
            last = f"the last of {arguments.launches} launches is {arguments.launches - 1}"
            raise UsageError(f"--part {part}: launches are counted from 0; {last}")
        planned, limited = plan.launches, arguments.time_limit is not None
        plan = part_of(plan, part, PRESETS[arguments.preset].launches, limited=limited)
    running.show_notes(plan, console)
    described = describe_run(plan)
    # The session lets an interrupt through where that loses nothing; the report is then written.
    with interrupts.deferred("the report is being written; to give it up, interrupt once more"):
        if part is not None:
            described = described.with_run(part=part, parts=planned)
        writer = running.create_bundle(described, arguments.output, plan.name)
        if part is not None:
            # Beside the bundle, which does not hold it.
            beside = writer.folder.with_name(writer.folder.name + parts.NODE)
            beside.write_text(f"{platform.node()}\n", encoding="utf-8")
        if arguments.profile:
            plan = replace(plan, profile=writer.folder.resolve() / "profiles")
        try:
            code = running.run(plan, dataset.training, writer, described, console, started)
        except StoppedError:
            # What is on disk is shown, and reported there if possible.
            with suppress(StoppedError, UsageError):
                report.report_run(writer.folder, console)
            raise
        report.report_run(writer.folder, console)
    return code
