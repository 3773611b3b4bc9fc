"""Certifying cases without timing them: a session without rounds."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import interrupts, scratch
from benchmarks.plan.cases import Case
from benchmarks.plan.data import Split
from benchmarks.plan.plan import Plan
from benchmarks.session.jobs import (
    Kind,
    Products,
    References,
    kind_of,
    make_job,
    make_ready,
    make_references,
    start_worker,
)
from benchmarks.session.worker_process import WorkerError
from benchmarks.worker.messages import Block, Certified


@dataclass(frozen=True, kw_only=True)
class CertifiedCase:
    """A case whose certificate was taken, whether it passed or not."""

    case: Case
    certified: Certified
    block: Block
    """The last block of the warm-up, from which the ledger takes what only training shows."""

    @property
    def passed(self) -> bool:
        """Whether every check of the certificate passed."""
        return self.certified.passed


@dataclass(frozen=True, kw_only=True)
class FailedCase:
    """A case whose worker failed before it had a certificate."""

    case: Case
    reason: str
    output: str
    """Everything the worker printed."""
    passed: bool = False


def certify_cases(plan: Plan, training: Split) -> Iterator[CertifiedCase | FailedCase]:
    """Take the certificate of each case and train its warm-up, one case after the other."""
    references = make_references(plan, training)
    products: dict[Kind, Products] = {}
    with scratch.folder() as folder:
        for case in plan.cases:
            yield _certify(plan, case, references, products, folder)


def _certify(
    plan: Plan,
    case: Case,
    references: References,
    products: dict[Kind, Products],
    folder: Path,
) -> CertifiedCase | FailedCase:
    """Certify one case; `products` are the choices of the cases before it, to which it adds."""
    kind = kind_of(case)
    with interrupts.deferred():
        worker = start_worker(plan, case, folder)
        try:
            job = make_job(plan, case, 0, references, products=products.get(kind))
            _, certified, warmup = make_ready(worker, job)
            if certified.products:
                products.setdefault(kind, certified.products)
            return CertifiedCase(case=case, certified=certified, block=warmup.last)
        except WorkerError as error:
            return FailedCase(case=case, reason=str(error), output=worker.output())
        finally:
            worker.end()
