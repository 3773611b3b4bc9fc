"""Train one network in every framework, and print a comparison that holds up."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, NoReturn

from rich.console import Console

from backends.contract import Adam, Network
from backends.registry import BACKENDS
from benchmarks import (
    bundle,
    bundle_commands,
    data,
    environment,
    options,
    probe,
    summary,
    terminal,
)
from benchmarks.errors import UsageError
from benchmarks.plan import PRESETS, STEPS_PER_CALL, Case, Plan, select_cases, with_control
from benchmarks.process import ROOT, available_cpus
from benchmarks.progress import RunProgress
from benchmarks.session import Session, certify_cases
from benchmarks.workload import Workload

OK, SOME_CASES_FAILED, CANNOT_RUN, STOPPED_BY_AN_ERROR = 0, 1, options.CANNOT_RUN, 3
INTERRUPTED = 130

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
  python run_all.py analyse FOLDER                    a bundle's report anew, from its CSVs
  python run_all.py compare BEFORE AFTER              what became faster or slower between two
                                                      bundles; --fail-if-slower for CI
  python run_all.py merge FOLDER FOLDER --output FILE.md
                                                      several bundles in one report

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
    return parser


def certify_parser() -> options.Parser:
    """The command line of `certify`."""
    parser = options.Parser(
        prog="run_all.py certify",
        description=certify.__doc__,
        epilog=CERTIFY_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_case_options(parser)
    options.add_workload_options(parser)
    parser.set_defaults(
        preset="full", steps=STEPS_PER_CALL, launches=1, seed=0, time_limit=None, output=None
    )
    return parser


def make_plan(
    arguments: argparse.Namespace,
    cases: list[Case],
    dataset: data.Dataset,
    probes: dict[str, probe.Probe],
) -> Plan:
    """Turn the arguments into a plan, leaving out what cannot run here."""
    preset, device = PRESETS[arguments.preset], arguments.device
    runnable: list[Case] = []
    skipped: dict[Case, str] = {}
    for case in cases:
        problem = probes[case.backend].problem_on(device)
        if problem:
            skipped[case] = problem
        else:
            runnable.append(case)
    if not runnable:
        reasons = "; ".join(sorted({f"{case.backend} {why}" for case, why in skipped.items()}))
        driver = "" if device == "cpu" else f" (GPUs that the driver shows: {shown_gpus()})"
        raise UsageError(f"nothing can run on the {device} here: {reasons}{driver}")
    return Plan(
        name=f"{arguments.preset}-{device}",
        workload=Workload(
            network=Network(layer_sizes=(dataset.pixels, *arguments.hidden, dataset.classes)),
            adam=Adam(learning_rate=arguments.learning_rate),
            batch_size=arguments.batch_size,
            steps=arguments.steps or preset.steps,
            training_images=len(dataset.training.labels),
            data_dir=str(arguments.data_dir.resolve()),
        ),
        cases=tuple(runnable),
        skipped=skipped,
        launches=arguments.launches or preset.launches,
        until_settled=arguments.launches is None,
        seed=arguments.seed,
        threads=arguments.threads,
        time_limit_seconds=60 * (arguments.time_limit or preset.time_limit_minutes),
    )


def shown_gpus() -> str:
    """The GPUs of the machine, in a few words."""
    return "; ".join(environment.gpus()) or "none"


def selected_cases(arguments: argparse.Namespace, inputs: tuple[str, ...] | None) -> list[Case]:
    """The cases asked for, whether they can run here or not; `inputs` where none are named."""
    return select_cases(
        preset=replace(PRESETS[arguments.preset], inputs=inputs),
        backends=arguments.backends,
        modes=arguments.modes,
        inputs=arguments.input,
        precision=arguments.precision,
        device=arguments.device,
        keras_adam=arguments.keras_adam,
    )


def check(arguments: argparse.Namespace, dataset: data.Dataset) -> None:
    """Raise UsageError for what can be seen to be impossible before anything starts."""
    training_images = len(dataset.training.labels)
    if arguments.batch_size > training_images:
        raise UsageError(
            f"--batch-size {arguments.batch_size}: the training set has only "
            f"{training_images:,} images"
        )
    if arguments.threads > available_cpus():
        raise UsageError(
            f"--threads {arguments.threads}: only {available_cpus()} CPUs may be used here"
        )
    bundle.check_folder(arguments.output)


def describe_run(plan: Plan, data_dir: Path) -> dict[str, Any]:
    """The start of environment.json."""
    work = plan.workload
    return environment.describe() | {
        "workload": {
            "layer_sizes": work.network.layer_sizes,
            "parameters": work.network.parameter_count,
            "learning_rate": work.adam.learning_rate,
            "beta_1": work.adam.beta_1,
            "beta_2": work.adam.beta_2,
            "epsilon": work.adam.epsilon,
            "batch_size": work.batch_size,
            "steps": work.steps,
            "training_images": work.training_images,
            "data": data_dir.resolve().name,
        },
        "run": {
            "command": shlex.join(["python", "run_all.py", *sys.argv[1:]]),
            "launches": plan.launches,
            "seed": plan.seed,
            "threads": plan.threads,
            "cases": [case.identity() for case in (*plan.cases, *plan.skipped)],
            "block_steps": plan.block_steps,
            "time_limit_seconds": plan.time_limit_seconds,
            "state": "running",
            "finished_launches": 0,
            "out_of_time": False,
        },
    }


def run(
    plan: Plan,
    training: data.Split,
    folder: Path,
    facts: dict[str, Any],
    console: Console,
    started: float,
) -> int:
    """Run the plan and report what it found, however far it came."""
    writer = bundle.BundleWriter(folder)
    writer.write_environment(facts)
    with RunProgress(plan, console) as progress:
        session = Session(
            plan=plan,
            training=training,
            writer=writer,
            progress=progress,
            environment=facts,
            started=started,
            settled=lambda: summary.find(summary.Bundle.read(folder)).settled,
        )
        try:
            session.run()
            state, code = "complete", SOME_CASES_FAILED if session.failures else OK
        except KeyboardInterrupt:
            state, code = "interrupted", INTERRUPTED
        except Exception:
            state, code = "stopped by an error", STOPPED_BY_AN_ERROR
            console.print_exception()
    facts["run"] |= {
        "state": state,
        "finished_launches": session.finished_launches,
        "out_of_time": session.out_of_time,
    }
    facts["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
    writer.write_environment(facts)
    writer.close()
    bundle_commands.report_bundle(folder, console)
    return code


def interrupt(*_: object) -> NoReturn:
    """End as Ctrl-C does."""
    raise KeyboardInterrupt


def measure(words: list[str], console: Console) -> int:
    """Run the comparison and report it."""
    started = monotonic()
    arguments = run_parser().parse_args(words)
    if arguments.list:
        names = arguments.backends or list(BACKENDS)
        probes = probe.probe_all(names, arguments.device)
        terminal.show_list(console, probes, arguments.device)
        return OK
    plan, dataset = prepare(arguments, PRESETS[arguments.preset].inputs)
    plan = replace(plan, cases=tuple(with_control(list(plan.cases))))
    facts = describe_run(plan, arguments.data_dir)
    folder = bundle.create_folder(arguments.output, ROOT / "results", plan.name)
    return run(plan, dataset.training, folder, facts, console, started)


def certify(words: list[str], console: Console) -> int:
    """Certify cases without timing them."""
    arguments = certify_parser().parse_args(words)
    plan, dataset = prepare(arguments, None)
    for case, reason in plan.skipped.items():
        console.print(f"skipped: {case.name}: {reason}", markup=False)
    passed = True
    for case, answer in certify_cases(plan, dataset.training):
        terminal.show_certificate(console, case, answer)
        passed &= not isinstance(answer, str) and answer[0].passed
    return OK if passed else SOME_CASES_FAILED


def prepare(
    arguments: argparse.Namespace, inputs: tuple[str, ...] | None
) -> tuple[Plan, data.Dataset]:
    """All that comes before any case is started: the plan, and the data set."""
    cases = selected_cases(arguments, inputs)
    dataset = data.load(arguments.data_dir)
    check(arguments, dataset)
    probes = probe.probe_all(sorted({case.backend for case in cases}), arguments.device)
    return make_plan(arguments, cases, dataset, probes), dataset


COMMANDS: dict[str, Callable[[list[str], Console], int]] = {
    "certify": certify,
    "analyse": bundle_commands.analyse,
    "compare": bundle_commands.compare,
    "merge": bundle_commands.merge,
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
        return CANNOT_RUN
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
