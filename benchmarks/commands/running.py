"""From arguments to a plan, and from a plan to a bundle, for the commands that measure."""

import argparse
import os
import shlex
import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from backends.contract import Adam, Network
from backends.registry import BACKENDS, missing_packages, tier_of
from benchmarks import exit_codes
from benchmarks.analysis.findings import compute_findings
from benchmarks.analysis.spoiled import spoiled_by
from benchmarks.bundle.folders import check_folder, create_folder
from benchmarks.bundle.reader import Bundle
from benchmarks.bundle.records import MOST_CASES, Environment
from benchmarks.bundle.writer import BundleWriter
from benchmarks.commands.options import NO_FLOORS
from benchmarks.errors import StoppedError, UsageError
from benchmarks.machine import environment, probe, project
from benchmarks.machine.advice import together
from benchmarks.machine.disturbance import other_load
from benchmarks.machine.settings import ROOT, available_cpus
from benchmarks.plan import data, expected
from benchmarks.plan.cases import Case, floors_of, group_cases, select_cases, with_variants
from benchmarks.plan.expected import clock
from benchmarks.plan.plan import Plan, choose_hosts, choose_processors
from benchmarks.plan.presets import PRESETS
from benchmarks.plan.variants import Variant
from benchmarks.plan.workload import Workload
from benchmarks.reports import sections
from benchmarks.reports.sections import Table
from benchmarks.schema import OTHER_SHARE
from benchmarks.session.session import Session
from benchmarks.terminal.progress import RunProgress
from benchmarks.terminal.results import rich_table
from benchmarks.texts import harmless


def choose_cases(
    arguments: argparse.Namespace, inputs: tuple[str, ...] | None = None
) -> list[Case]:
    """The cases that the arguments name, and the variants; raises UsageError.

    `inputs` are those of cases for which the arguments name none. Where variants alone are named,
    only their base cases run beside them.
    """
    variants: list[Variant] = getattr(arguments, "variant", [])
    preset = replace(PRESETS[arguments.preset], inputs=inputs)
    which: dict[str, Any] = {
        "preset": preset, "backends": arguments.backends, "modes": arguments.modes,
    }  # fmt: skip
    where: dict[str, Any] = {"precision": arguments.precision, "device": arguments.device}
    groups = group_cases(
        **which, **where, ranks=arguments.ranks or (),
        batch_of_rank=arguments.batch_size if arguments.weak else 0,
    )  # fmt: skip
    cases = []
    if not variants or arguments.backends or arguments.modes or arguments.input:
        cases = select_cases(
            **which, **where, inputs=arguments.input, keras_adam=arguments.keras_adam, beside=groups
        )
    elif groups:
        cases = groups
    return with_variants(cases, variants, precision=arguments.precision, device=arguments.device)


def prepare(
    arguments: argparse.Namespace, cases: list[Case], *, in_turn: bool = False
) -> tuple[Plan, data.Dataset]:
    """Make the plan for `cases`, whose workers live side by side or `in_turn`, and load the data.

    Raises UsageError before any case is started.
    """
    preset, device = PRESETS[arguments.preset], arguments.device
    dataset = data.load(arguments.data_dir)
    check_batch_size("--batch-size", arguments.batch_size, dataset)
    if len(cases) >= MOST_CASES:
        raise UsageError(
            f"{len(cases)} cases: a run has fewer than {MOST_CASES}; name some of them"
        )
    hosts = choose_hosts(
        arguments.hosts or (), arguments.rank_launcher, arguments.ranks or (), arguments.weak, cases
    )
    ranks = max([case.ranks for case in cases if not arguments.hosts], default=1)
    threads, cpus = choose_processors(arguments.threads, arguments.cpus, ranks)
    for case in cases:
        if case.ranks > arguments.batch_size:
            raise UsageError(
                f"{case.name}: a batch of {arguments.batch_size} images cannot be shared by "
                f"{case.ranks} ranks"
            )
        check_batch_size("--weak: a batch of", case.batch, dataset)
    most = len(cpus) or available_cpus()
    for case in cases:
        if (own := case.overrides.threads) > most:
            raise UsageError(f"{case.name}: threads={own}: --cpus names only {most}")
    if arguments.precision == "tf32" and device == "cpu":
        raise UsageError("--precision tf32: only GPUs have it; use --device gpu")
    check_folder(arguments.output)
    pythons = dict(arguments.python)
    cases = [run_by(case, pythons) for case in cases]
    floors = [
        run_by(floor, pythons)
        for floor in floors_of(
            floors_wanted(arguments), arguments.precision, device, cases, across=bool(hosts.names)
        )
    ]
    programs = {program_of(case) for case in (*cases, *floors)}
    probes = probe.probe_each(sorted(programs), device)
    skipped = cannot_run(cases, probes)
    for case, problem in skipped.items():
        # Without it, what was asked for would stay open. A release may well be one that fails.
        if case.variant and getattr(arguments, "variant", []):
            raise UsageError(f"--variant: {case.name} cannot run: {problem}")
    floors_skipped = {
        floor: problem for floor in floors if (problem := probes[program_of(floor)].problem)
    }
    versions: dict[str, str] = {}
    for program in sorted(probes):
        if program.python == pythons.get(program.backend):
            versions |= probes[program].versions
    plan = Plan(
        name=f"{arguments.preset}-{device}",
        workload=Workload(
            network=Network(layer_sizes=(dataset.pixels, *arguments.hidden, dataset.classes)),
            adam=Adam(learning_rate=arguments.learning_rate or preset.learning_rate),
            batch_size=arguments.batch_size,
            steps=arguments.steps or preset.steps,
            training_images=len(dataset.training.labels),
            data_dir=os.path.realpath(arguments.data_dir),
            data_sha256=dataset.sha256,
            shuffled=dataset.shuffled,
        ),
        cases=tuple(case for case in cases if case not in skipped),
        skipped=skipped,
        floors=tuple(floor for floor in floors if floor not in floors_skipped),
        floors_skipped=floors_skipped,
        launches=arguments.launches or preset.launches,
        until_settled=arguments.launches is None,
        readings=preset.readings,
        learning_seeds=preset.learning_seeds,
        other_bits=preset.other_bits,
        accuracy_margin=arguments.accuracy_margin,
        versions=versions,
        seed=arguments.seed,
        threads=threads,
        named_cpus=cpus,
        hosts=hosts,
        time_limit_seconds=60 * (arguments.time_limit or preset.time_limit_minutes),
    )
    if problem := plan.memory_problem(in_turn=in_turn):
        raise UsageError(problem)
    return plan, dataset


def show_notes(plan: Plan, console: Console) -> None:
    """Say what a user should know of the plan before it starts."""
    for note in plan.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)


def show_plan(plan: Plan, console: Console) -> None:
    """Show what a run would do: its cases, what cannot run, and about how long it would take."""
    rows = [
        {"case": case.name, "tier": tier_of(case.backend, case.mode), "status": "would run"}
        for case in (*plan.cases, *plan.floors)
    ]
    missing = {**plan.skipped, **plan.floors_skipped}
    rows += [{"case": case.name, "tier": "", "status": f"cannot: {why}"}
             for case, why in missing.items()]  # fmt: skip
    table = Table([sections.CASE, sections.TIER, sections.STATUS], pd.DataFrame(rows))
    console.print(rich_table(table, box=None))
    more = ", and more while a verdict is open" if plan.until_settled else ""
    console.print(
        f"about {clock(expected.seconds(plan))} minutes: {plan.launches} launches of "
        f"{plan.rounds} rounds{more}; at most {clock(plan.time_limit_seconds)}",
        highlight=False,
    )


def check_batch_size(option: str, size: int, dataset: data.Dataset) -> None:
    """Raise UsageError if the value of `option` is a batch larger than the training set."""
    images = len(dataset.training.labels)
    if size > images:
        raise UsageError(f"{option} {size}: the training set has only {images:,} images")


def floors_wanted(arguments: argparse.Namespace) -> set[str]:
    """The backends whose floors are timed: whatever is installed, unless the arguments name some.

    A command that times nothing has no such option, and a preset may leave them out.
    """
    named = getattr(arguments, "floors", [NO_FLOORS])
    if named:
        return set(named)
    if not PRESETS[arguments.preset].floors:
        return set()
    elsewhere = dict(arguments.python)
    return {
        name
        for name, backend in BACKENDS.items()
        if name in elsewhere or not missing_packages(backend)
    }


def run_by(case: Case, pythons: dict[str, str]) -> Case:
    """The case, run by the Python that is named for its backend unless it has one of its own."""
    python = case.overrides.python or pythons.get(case.backend, "")
    return replace(case, overrides=replace(case.overrides, python=python))


def program_of(case: Case) -> probe.Program:
    """What must be probed to know whether the case can run."""
    overrides = case.overrides
    return probe.Program(case.backend, overrides.program, overrides.environment)


def cannot_run(cases: list[Case], probes: dict[probe.Program, probe.Probe]) -> dict[Case, str]:
    """The cases that cannot run here, and why; raises UsageError where none can."""
    reasons: dict[Case, str] = {}
    for case in cases:
        if problem := probes[program_of(case)].problem_of(case.mode):
            reasons[case] = problem
        elif case.precision not in BACKENDS[case.backend].precisions:
            reasons[case] = f"has no products in {case.precision}"
    if len(reasons) == len(cases):
        backends = {
            case.backend if probes[program_of(case)].problem == why else case.name: why
            for case, why in reasons.items()
        }
        listed = together(backends)
        gpus = "; ".join(environment.gpus()) or "none"
        device = cases[0].device
        driver = "" if device == "cpu" else f" (GPUs that the driver shows: {gpus})"
        raise UsageError(f"nothing can run on the {device} here: {listed}{driver}")
    return reasons


def create_bundle(described: Environment, output: Path | None, name: str) -> BundleWriter:
    """Make the bundle of a run that begins: its tables without rows, and its environment.json.

    Raises UsageError or StoppedError where it cannot be written; then nothing is left behind.
    """
    folder, writer = create_folder(output, ROOT / "results", name), None
    try:
        writer = BundleWriter(folder)
        writer.write_environment(described)
    except StoppedError as error:
        if writer:
            writer.remove()
        raise StoppedError(f"{error}; nothing was measured") from None
    return writer


def run(
    plan: Plan,
    training: data.Split,
    writer: BundleWriter,
    described: Environment,
    console: Console,
    started: float,
) -> int:
    """Run the plan into its bundle, as far as it gets; returns the exit code.

    `started` is the time by `time.monotonic` from which the time limit counts. Raises StoppedError
    where the machine ends the run, when the bundle has been closed; it says what is kept.
    """
    if limitation := project.LIMITATIONS.get(sys.platform):
        console.print(f"note: {limitation}", markup=False, highlight=False)
    for sentence in spoiled_by(described):
        console.print(f"warning: {sentence}", markup=False, highlight=False)
    share, busiest = other_load(plan.cpus)
    if share > OTHER_SHARE:
        named = f" (the busiest: {harmless(', '.join(busiest))})" if busiest else ""
        line = f"warning: other processes use {share:.0%} of the processors' time now{named}"
        console.print(f"{line}; they disturb what is measured", markup=False, soft_wrap=True)
    problem = ""
    with RunProgress(plan, console) as progress:
        session = Session(
            plan=plan,
            training=training,
            writer=writer,
            progress=progress,
            environment=described,
            started=started,
            settled=lambda: compute_findings(Bundle.read(writer.folder)).settled,
            learned=lambda: compute_findings(Bundle.read(writer.folder)).learned,
        )
        try:
            session.run()
            state = "complete"
            # A floor that failed is said, but the cases were measured.
            failed = any(case in session.failures for case in plan.cases) or session.uncertified
            code = exit_codes.FAILED if failed else exit_codes.OK
        except KeyboardInterrupt:
            state, code = "interrupted", exit_codes.INTERRUPTED
        except (StoppedError, UsageError, OSError, MemoryError) as error:
            state, code = "stopped by an error", exit_codes.STOPPED
            problem = str(error) or "no memory"
        except Exception:
            state, code = "stopped by an error", exit_codes.STOPPED
            console.print_exception()
    described = session.environment.with_run(
        state=state,
        finished_launches=session.finished_launches,
        out_of_time=session.out_of_time,
    )
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        with closing(writer):
            writer.write_environment(replace(described, finished=finished))
    except StoppedError as error:
        problem = problem or str(error)
    if problem:
        raise StoppedError(f"{problem}; {kept(writer)}")
    return code


def kept(writer: BundleWriter) -> str:
    """What a run that was stopped has left on disk, and what to do with it."""
    if not (writer.blocks and writer.folder.exists()):
        return "nothing that was measured is kept"
    blocks = "the block" if writer.blocks == 1 else f"all {writer.blocks} blocks"
    folder = shlex.quote(str(writer.folder))
    return (
        f"{blocks} measured until then are kept; report them with: "
        f"python run_all.py report {folder} --output FOLDER"
    )
