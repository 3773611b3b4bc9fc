"""Certifying cases without timing them: a session without rounds."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.certificates.certificate import first_failure
from benchmarks.certificates.replay import BlockChecked
from benchmarks.machine import interrupts, scratch
from benchmarks.plan.blocks import BlockLength
from benchmarks.plan.cases import Case
from benchmarks.plan.data import Split
from benchmarks.plan.plan import Plan
from benchmarks.plan.workload import Workload, batch_rows
from benchmarks.schema import LEVELS
from benchmarks.session.jobs import (
    START_TIMEOUT_SECONDS,
    Horizons,
    Kind,
    Products,
    References,
    kind_of,
    make_job,
    make_ready,
    make_references,
    start_worker,
    workload_of,
)
from benchmarks.session.member import ANSWER_TIMEOUT_SECONDS, check_drawn_block
from benchmarks.session.worker_process import WorkerError, WorkerProcess
from benchmarks.worker import messages
from benchmarks.worker.messages import Block, Certified


@dataclass(frozen=True, kw_only=True)
class CertifiedCase:
    """A case whose certificate was taken, whether it passed or not."""

    case: Case
    certified: Certified
    block: Block
    """A block, from which the ledger takes what only training shows."""
    checked: BlockChecked
    """What its own certificate found."""
    smallest: str = ""
    """Where it has not passed, the smallest product, layer or step that shows it."""

    @property
    def passed(self) -> bool:
        """Whether every check of both certificates passed."""
        return self.certified.passed and self.checked.passed


@dataclass(frozen=True, kw_only=True)
class FailedCase:
    """A case whose worker failed before it had a certificate."""

    case: Case
    reason: str
    output: str
    """Everything the worker printed."""
    passed: bool = False


def certify_cases(plan: Plan, training: Split) -> Iterator[CertifiedCase | FailedCase]:
    """Take the certificate of each case, train a block and check it, one case after the other."""
    references = make_references(plan, training)
    products: dict[Kind, Products] = {}
    horizons: Horizons = {}
    with scratch.folder() as folder:
        for case in plan.cases:
            yield _certify(plan, case, references, horizons, products, folder, training)


def train_and_check(
    worker: WorkerProcess, length: BlockLength, work: Workload, training: Split
) -> tuple[Block, BlockChecked]:
    """Have a worker of seed 0 train a block, and check it."""
    block = worker.ask(messages.TrainBlock(length), ANSWER_TIMEOUT_SECONDS)
    rows = batch_rows(work.training_images, work.batch_size, work.steps, seed=0)
    return block, check_drawn_block(worker, rows, training, block.seconds / block.steps)


def _certify(
    plan: Plan,
    case: Case,
    references: References,
    horizons: Horizons,
    products: dict[Kind, Products],
    folder: Path,
    training: Split,
) -> CertifiedCase | FailedCase:
    """Certify one case; `products` are the choices of the cases before it, to which it adds."""
    kind = kind_of(case)
    with interrupts.deferred():
        worker = start_worker(plan, case, folder)
        try:
            job = make_job(plan, case, 0, references, products=products.get(kind), anew=True)
            _, certified, warmup = make_ready(worker, job, horizons)
            if certified.products:
                products.setdefault(kind, certified.products)
            work = workload_of(plan, case)
            block, checked = train_and_check(worker, warmup.block, work, training)
            outcome = CertifiedCase(case=case, certified=certified, block=block, checked=checked)
            failure = first_failure(certified.checks)
            cannot_be_judged = failure is not None and failure.reason
            if outcome.passed or cannot_be_judged:
                return outcome
            in_float64 = messages.FindSmallest(failure is not None and failure.level == LEVELS[0])
            return replace(outcome, smallest=worker.ask(in_float64, START_TIMEOUT_SECONDS))
        except WorkerError as error:
            return FailedCase(case=case, reason=str(error), output=worker.output())
        finally:
            worker.end()
