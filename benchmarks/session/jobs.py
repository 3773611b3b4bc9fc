"""What the workers of a plan are given: references for their certificates, jobs, processes."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from backends.contract import Execution
from backends.registry import BACKENDS, FLOOR
from benchmarks.bundle.writer import file_name
from benchmarks.machine.settings import worker_environment
from benchmarks.plan.data import Split
from benchmarks.plan.plan import FEWEST_BLOCK_STEPS, STEPS_PER_CALL, Case, Plan
from benchmarks.plan.workload import Workload
from benchmarks.session.process import WorkerProcess
from benchmarks.worker.messages import FloorJob, Job
from benchmarks.worker.reference import Reference, make_reference

References = dict[tuple[str, str], Reference]
"""What certificates are taken against, for each precision and form of Adam."""


def workload_of(plan: Plan, case: Case) -> Workload:
    """The plan's workload, with the case's form of Adam."""
    work = plan.workload
    return replace(work, adam=replace(work.adam, form=case.adam))


def make_references(plan: Plan, training: Split) -> References:
    """All the references that the plan's cases need."""
    by_kind: dict[tuple[str, str], Case] = {(c.precision, c.adam): c for c in plan.cases}
    # Where the training diverges, the reference does; its bounds tell.
    with np.errstate(all="ignore"):
        return {
            kind: make_reference(workload_of(plan, case), case.precision, training, STEPS_PER_CALL)
            for kind, case in by_kind.items()
        }


def make_job(
    plan: Plan, case: Case, launch: int, references: References, block_steps: int | None = None
) -> Job | FloorJob:
    """All that the worker of a case needs; `block_steps` as found in an earlier launch."""
    execution = Execution(
        mode=case.mode,
        input=case.input,
        precision=case.precision,
        device=case.device,
        threads=plan.threads,
        steps_per_call=STEPS_PER_CALL,
    )
    calibration: dict[str, Any] = {
        "block_steps": block_steps or plan.block_steps,
        # With shorter blocks than the others a case would not come to the last batch readings.
        "calibrate": block_steps is None and plan.readings is None,
        "first": launch == 0,
    }
    if case.mode == FLOOR:
        return FloorJob(
            backend=BACKENDS[case.backend],
            execution=execution,
            network=plan.workload.network,
            batch_size=plan.workload.batch_size,
            # Shorter than a case's: nothing is ranked by them.
            **calibration
            | {"block_steps": min(calibration["block_steps"], FEWEST_BLOCK_STEPS[case.device])},
        )
    return Job(
        backend=BACKENDS[case.backend],
        execution=execution,
        workload=workload_of(plan, case),
        seed=plan.seed + launch,
        slowed_by=case.slowed_by,
        profile=str(plan.profile / file_name(case.name)) if plan.profile and launch == 0 else None,
        reference=references[case.precision, case.adam],
        reading_steps=plan.reading_steps,
        reading_images=plan.readings.images if plan.readings else 0,
        **calibration,
    )


def start_worker(plan: Plan, case: Case, scratch: Path) -> WorkerProcess:
    """Start the process of a case; what it prints and its compilers' caches go into `scratch`.

    The folder is kept for the next launch: the caches in it are empty in the first one only.
    """
    own_scratch = scratch / file_name(case.name)
    own_scratch.mkdir(exist_ok=True)
    return WorkerProcess(
        log=own_scratch / "output.txt",
        environment=worker_environment(case.device, plan.threads, own_scratch),
        threads=plan.threads,
        python=plan.pythons.get(case.backend, sys.executable),
    )
