"""What the commands that measure share: from arguments to a plan, from a plan to a bundle."""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from backends.contract import Adam, Network
from backends.registry import BACKENDS
from benchmarks.analysis import findings as summary
from benchmarks.bundle import writer as bundle
from benchmarks.commands.progress import RunProgress
from benchmarks.errors import UsageError
from benchmarks.machine import environment, probe
from benchmarks.machine.settings import available_cpus
from benchmarks.plan import data
from benchmarks.plan.plan import PRESETS, Case, Plan, select_cases
from benchmarks.plan.workload import Workload
from benchmarks.session.session import Session

OK, SOME_CASES_FAILED, STOPPED_BY_AN_ERROR, INTERRUPTED = 0, 1, 3, 130
"""Exit codes of what is measured; 2 is that of a refusal."""


def prepare(
    arguments: argparse.Namespace, inputs: tuple[str, ...] | None
) -> tuple[Plan, data.Dataset]:
    """All that comes before any case is started: the plan, and the data set."""
    cases = selected_cases(arguments, inputs)
    dataset = data.load(arguments.data_dir)
    check(arguments, dataset)
    names = sorted({case.backend for case in cases})
    probes = probe.probe_all(names, arguments.device, pythons(arguments))
    return make_plan(arguments, cases, dataset, probes), dataset


def make_plan(
    arguments: argparse.Namespace,
    cases: list[Case],
    dataset: data.Dataset,
    probes: dict[str, probe.Probe],
) -> Plan:
    """Turn the arguments into a plan, leaving out what cannot run here."""
    preset, device = PRESETS[arguments.preset], arguments.device
    own_pythons = pythons(arguments)
    runnable: list[Case] = []
    skipped: dict[Case, str] = {}
    for case in cases:
        problem = probes[case.backend].problem
        if case.precision not in BACKENDS[case.backend].precisions:
            problem = problem or f"has no products in {case.precision}"
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
            adam=Adam(learning_rate=arguments.learning_rate or preset.learning_rate),
            batch_size=arguments.batch_size,
            steps=arguments.steps or preset.steps,
            training_images=len(dataset.training.labels),
            data_dir=str(arguments.data_dir.resolve()),
        ),
        cases=tuple(runnable),
        skipped=skipped,
        launches=arguments.launches or preset.launches,
        until_settled=arguments.launches is None,
        readings=preset.readings,
        accuracy_margin=arguments.accuracy_margin,
        pythons=own_pythons,
        versions={
            package: version
            for name, found in probes.items()
            if name in own_pythons
            for package, version in found.versions.items()
        },
        seed=arguments.seed,
        threads=arguments.threads,
        time_limit_seconds=60 * (arguments.time_limit or preset.time_limit_minutes),
    )


def pythons(arguments: argparse.Namespace) -> dict[str, str]:
    """The Python of each backend that has one of its own."""
    return dict(arguments.python or ())


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


def check_batch_size(option: str, size: int, dataset: data.Dataset) -> None:
    """Raise UsageError for a batch that is larger than the training set."""
    images = len(dataset.training.labels)
    if size > images:
        raise UsageError(f"{option} {size}: the training set has only {images:,} images")


def check(arguments: argparse.Namespace, dataset: data.Dataset) -> None:
    """Raise UsageError for what can be seen to be impossible before anything starts."""
    check_batch_size("--batch-size", arguments.batch_size, dataset)
    if arguments.threads > available_cpus():
        raise UsageError(
            f"--threads {arguments.threads}: only {available_cpus()} CPUs may be used here"
        )
    if arguments.precision == "tf32" and arguments.device == "cpu":
        raise UsageError("--precision tf32: GPUs alone have it; use --device gpu")
    bundle.check_folder(arguments.output)


def describe_run(plan: Plan, data_dir: Path) -> dict[str, Any]:
    """The start of environment.json."""
    work = plan.workload
    facts = environment.describe()
    return facts | {
        # Those of backends with a Python of their own are not this process's.
        "packages": facts["packages"] | plan.versions,
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
            "floors": [case.identity() for case in plan.floors],
            "block_steps": plan.block_steps,
            "time_limit_seconds": plan.time_limit_seconds,
            "accuracy_margin_points": plan.accuracy_margin,
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
    """Run the plan into its bundle, however far it comes; returns the exit code."""
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
    return code
