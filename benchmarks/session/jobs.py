"""What the workers of a plan need: references for their certificates, jobs, and processes."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from backends.contract import Execution, product_names
from backends.ladder import FLOOR
from backends.registry import BACKENDS
from benchmarks.bundle.folders import file_name
from benchmarks.certificates.horizon import Horizon, make_horizon
from benchmarks.certificates.reference import Reference, make_reference
from benchmarks.machine.environment import processor_text
from benchmarks.machine.project import cache
from benchmarks.machine.settings import worker_environment
from benchmarks.plan.blocks import STEPS_PER_CALL, BlockLength
from benchmarks.plan.cases import Case
from benchmarks.plan.data import Split
from benchmarks.plan.plan import Plan
from benchmarks.plan.seats import gpu_of
from benchmarks.plan.variants import Overrides
from benchmarks.plan.workload import Workload
from benchmarks.schema import EVIDENCE
from benchmarks.session.worker_process import WorkerProcess
from benchmarks.worker import messages
from benchmarks.worker.messages import Certified, Job, Ready, WarmUp

START_TIMEOUT_SECONDS = 300.0
"""Time limit of each part of a worker's start: build and first call, certificate, warm-up."""

Arithmetic = tuple[str, str, int]
"""What a reference depends on: precision, form of Adam, and batch size."""
References = dict[Arithmetic, Reference]
Horizons = dict[Arithmetic, Horizon]
"""The horizon for each of them that was needed."""


class Kind(NamedTuple):
    """What cases have in common whose products are computed by the same libraries.

    Modes differ in which libraries they may call.
    """

    backend: str
    mode: str
    overrides: Overrides
    precision: str
    device: str
    ranks: int
    batch: int


Products = dict[str, str]
"""The library of each product, as a worker has chosen it."""


def kind_of(case: Case) -> Kind:
    """The kind of a case: its first worker chooses the libraries for all others."""
    return Kind(
        case.backend, case.mode, case.overrides, case.precision, case.device, case.ranks, case.batch
    )


def workload_of(plan: Plan, case: Case) -> Workload:
    """The plan's workload, with the case's form of Adam and its batch."""
    work = plan.workload
    adam = replace(work.adam, form=case.adam)
    return replace(work, adam=adam, batch_size=case.batch or work.batch_size)


def make_references(plan: Plan, training: Split) -> References:
    """Make every reference that the plan's cases need."""
    by_kind = {
        (case.precision, case.adam, workload_of(plan, case).batch_size): case for case in plan.cases
    }
    # Where the training diverges, so does the reference; its bounds then prove nothing and say so.
    with np.errstate(all="ignore"):
        return {
            kind: make_reference(workload_of(plan, case), case.precision, training, STEPS_PER_CALL)
            for kind, case in by_kind.items()
        }


def make_job(
    plan: Plan,
    case: Case,
    launch: int,
    references: References,
    block: BlockLength | None = None,
    products: Products | None = None,
    *,
    anew: bool = False,
) -> Job:
    """Everything the worker of a case needs; `block` as an earlier launch has set it.

    `products` are what an earlier worker of the case's kind has chosen; None for a choice of its
    own. What the case itself names comes first. `anew` is for evidence that must not be a kept one.
    """
    named = case.overrides.products
    if named:
        products = dict.fromkeys(product_names(plan.workload.network), named)
    is_floor, first, work = case.mode == FLOOR, launch == 0, workload_of(plan, case)
    return Job(
        backend=BACKENDS[case.backend],
        execution=Execution(
            mode=case.mode,
            input=case.input,
            precision=case.precision,
            device=case.device,
            threads=case.overrides.threads or plan.threads,
            steps_per_call=STEPS_PER_CALL,
            products=products or {},
            ranks=case.ranks,
        ),
        workload=work,
        seed=plan.seed + launch,
        block=block or plan.block,
        # With shorter blocks than the others, a case would not reach the last batch readings.
        calibrate=block is None and plan.readings is None,
        reference=(None if is_floor else references[case.precision, case.adam, work.batch_size]),
        products=named,
        seats=plan.seats_of(case),
        profile=str(plan.profile / file_name(case.name)) if plan.profile and first else None,
        first=first,
        machine=processor_text(),
        kept_in=str(cache("evidence")),
        anew=anew,
        reading_steps=plan.reading_steps,
        reading_images=plan.readings.images if plan.readings else 0,
    )


def start_worker(plan: Plan, case: Case, scratch: Path) -> WorkerProcess:
    """Start the process of a case, whose output and compilers' caches go into `scratch`.

    The folder is kept for the next launch: the caches in it are empty in the first one only.
    """
    folder, overrides = scratch / file_name(case.name), case.overrides
    folder.mkdir(parents=True, exist_ok=True)
    threads = overrides.threads or plan.threads
    own = case.environment
    if case.ranks > 1 and case.device == "gpu":
        own = own | dict(gpu_of(0))
    return WorkerProcess(
        log=folder / "output.txt",
        environment=worker_environment(case.device, threads, folder, own),
        cpus=plan.cpus_of(case),
        python=overrides.program,
    )


def make_ready(
    worker: WorkerProcess, job: Job, horizons: Horizons, timeout: float = START_TIMEOUT_SECONDS
) -> tuple[Ready, Certified, WarmUp]:
    """Have a worker do everything that comes before its first timed block; raises WorkerError."""
    ready = worker.ask(messages.Build(job), timeout)
    certified = worker.ask(messages.Certify(), timeout)
    if certified.needs_exact:
        exact = worker.ask(messages.CertifyExactly(horizon_of(job, horizons)), timeout)
        certified = replace(
            certified,
            checks=(*exact.checks, *certified.checks),
            ledger=certified.ledger | {EVIDENCE: exact.evidence},
            seconds=certified.seconds + exact.seconds,
        )
    return ready, certified, worker.ask(messages.RunWarmUp(), timeout)


def horizon_of(job: Job, horizons: Horizons) -> Horizon:
    """The horizon of a job, which is added to `horizons` if it is not there."""
    work, reference = job.workload, job.reference
    kind = job.execution.precision, work.adam.form, work.batch_size
    assert reference is not None, "only a floor has no certificate"
    if kind not in horizons:
        with np.errstate(all="ignore"):
            horizons[kind] = make_horizon(work, reference, job.block, STEPS_PER_CALL)
    return horizons[kind]
