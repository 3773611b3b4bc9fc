"""From arguments to a plan, and from a plan to a bundle, for the commands that measure."""

import argparse
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from backends.contract import Adam, Network
from backends.registry import BACKENDS
from benchmarks.analysis.findings import compute_findings
from benchmarks.analysis.spoiled import spoiled_by
from benchmarks.bundle.folders import check_folder
from benchmarks.bundle.reader import Bundle
from benchmarks.bundle.writer import BundleWriter
from benchmarks.commands import exit_codes
from benchmarks.commands.progress import RunProgress
from benchmarks.errors import UsageError
from benchmarks.machine import environment, probe, project
from benchmarks.machine.settings import available_cpus
from benchmarks.plan import data
from benchmarks.plan.cases import Case, select_cases
from benchmarks.plan.plan import Plan
from benchmarks.plan.presets import PRESETS
from benchmarks.plan.workload import Workload
from benchmarks.session.description import describe_run
from benchmarks.session.session import Session


def prepare(
    arguments: argparse.Namespace, inputs: tuple[str, ...] | None
) -> tuple[Plan, data.Dataset]:
    """Make the plan and load the data set; raises UsageError before any case is started.

    `inputs` are those of cases for which the arguments name none.
    """
    preset, device, threads = PRESETS[arguments.preset], arguments.device, arguments.threads
    cases = select_cases(
        preset=replace(preset, inputs=inputs),
        backends=arguments.backends,
        modes=arguments.modes,
        inputs=arguments.input,
        precision=arguments.precision,
        device=device,
        keras_adam=arguments.keras_adam,
    )
    dataset = data.load(arguments.data_dir)
    check_batch_size("--batch-size", arguments.batch_size, dataset)
    if threads > available_cpus():
        raise UsageError(f"--threads {threads}: only {available_cpus()} CPUs may be used here")
    if arguments.precision == "tf32" and device == "cpu":
        raise UsageError("--precision tf32: only GPUs have it; use --device gpu")
    check_folder(arguments.output)
    pythons = dict(arguments.python)
    probes = probe.probe_all(sorted({case.backend for case in cases}), device, pythons)
    skipped = cannot_run(cases, probes)
    versions: dict[str, str] = {}
    for name in sorted(pythons.keys() & probes.keys()):
        versions |= probes[name].versions
    plan = Plan(
        name=f"{arguments.preset}-{device}",
        workload=Workload(
            network=Network(layer_sizes=(dataset.pixels, *arguments.hidden, dataset.classes)),
            adam=Adam(learning_rate=arguments.learning_rate or preset.learning_rate),
            batch_size=arguments.batch_size,
            steps=arguments.steps or preset.steps,
            training_images=len(dataset.training.labels),
            data_dir=str(arguments.data_dir.resolve()),
        ),
        cases=tuple(case for case in cases if case not in skipped),
        skipped=skipped,
        launches=arguments.launches or preset.launches,
        until_settled=arguments.launches is None,
        readings=preset.readings,
        accuracy_margin=arguments.accuracy_margin,
        pythons=pythons,
        versions=versions,
        seed=arguments.seed,
        threads=threads,
        time_limit_seconds=60 * (arguments.time_limit or preset.time_limit_minutes),
    )
    return plan, dataset


def check_batch_size(option: str, size: int, dataset: data.Dataset) -> None:
    """Raise UsageError if the value of `option` is a batch larger than the training set."""
    images = len(dataset.training.labels)
    if size > images:
        raise UsageError(f"{option} {size}: the training set has only {images:,} images")


def cannot_run(cases: list[Case], probes: dict[str, probe.Probe]) -> dict[Case, str]:
    """The cases that cannot run here, and why; raises UsageError where none can."""
    reasons: dict[Case, str] = {}
    for case in cases:
        if problem := probes[case.backend].problem:
            reasons[case] = problem
        elif case.precision not in BACKENDS[case.backend].precisions:
            reasons[case] = f"has no products in {case.precision}"
    if len(reasons) == len(cases):
        listed = "; ".join(sorted({f"{case.backend} {why}" for case, why in reasons.items()}))
        gpus = "; ".join(environment.gpus()) or "none"
        device = cases[0].device
        driver = "" if device == "cpu" else f" (GPUs that the driver shows: {gpus})"
        raise UsageError(f"nothing can run on the {device} here: {listed}{driver}")
    return reasons


def run(plan: Plan, training: data.Split, folder: Path, console: Console, started: float) -> int:
    """Run the plan into its bundle, as far as it gets; returns the exit code.

    `started` is the time by `time.monotonic` from which the time limit counts.
    """
    if limitation := project.LIMITATIONS.get(sys.platform):
        console.print(f"note: {limitation}", markup=False, highlight=False)
    writer, described = BundleWriter(folder), describe_run(plan)
    for sentence in spoiled_by(described):
        console.print(f"warning: {sentence}", markup=False, highlight=False)
    writer.write_environment(described)
    with RunProgress(plan, console) as progress:
        session = Session(
            plan=plan,
            training=training,
            writer=writer,
            progress=progress,
            environment=described,
            started=started,
            settled=lambda: compute_findings(Bundle.read(folder)).settled,
        )
        try:
            session.run()
            state = "complete"
            code = exit_codes.FAILED if session.failures else exit_codes.OK
        except KeyboardInterrupt:
            state, code = "interrupted", exit_codes.INTERRUPTED
        except Exception:
            state, code = "stopped by an error", exit_codes.STOPPED
            console.print_exception()
    described = session.environment.with_run(
        state=state,
        finished_launches=session.finished_launches,
        out_of_time=session.out_of_time,
    )
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    writer.write_environment(replace(described, finished=finished))
    writer.close()
    return code
