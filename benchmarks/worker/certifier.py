"""Taking the certificates of a job's program, in the worker that holds it."""

import gc
from dataclasses import replace
from time import perf_counter

from backends.contract import Parameters, Trainer, TrainingSet, product_names
from backends.floors import EXCHANGED
from benchmarks.certificates import certificate, evidence, smallest
from benchmarks.certificates.certificate import Check
from benchmarks.certificates.evidence import Kept
from benchmarks.certificates.horizon import Horizon
from benchmarks.certificates.horizon import certify as certify_far
from benchmarks.certificates.reference import Reference
from benchmarks.plan.workload import Workload
from benchmarks.schema import SUBSTITUTED
from benchmarks.worker.making import Maker
from benchmarks.worker.memory import forget_peak_rss
from benchmarks.worker.messages import Exact, Job


def libraries_of(trainer: Trainer) -> set[str]:
    """The libraries of a trainer's products, or what is said of them where it has no choice."""
    chosen = {name.removesuffix(EXCHANGED) for name in trainer.products().values()}
    return chosen or {trainer.describe().products}


def listed(names: set[str]) -> str:
    """Names in a phrase."""
    return " and ".join(sorted(names))


class Certifier:
    """Compares a trainer, and its program in float64, with the reference."""

    def __init__(self, maker: Maker, job: Job, trainer: Trainer) -> None:
        self._maker, self._job, self._trainer = maker, job, trainer
        # Its products as they are timed, so that what is certified is laid out as that is.
        self._in_float64 = replace(job, execution=replace(job.execution, precision="float64"))
        self._subject: evidence.Subject = {}

    @property
    def _reference(self) -> Reference:
        reference = self._job.reference
        assert reference is not None, "only a floor has no certificate"
        return reference

    def as_timed(self) -> list[Check]:
        """The checks of the trainer itself."""
        reference, job = self._reference, self._job
        return certificate.certify(
            self._trainer, job.workload.adam, reference, reference.rows, job.execution.stored,
            "as timed",
        )  # fmt: skip

    def kept(self, ledger: dict[str, str]) -> Kept | None:
        """The evidence in float64 that is kept, if any; `ledger` is what was read of the trainer.

        What is taken instead is kept under the same subject.
        """
        job = self._job
        self._subject = evidence.about(
            self._maker.backend,
            ledger | self._maker.backend.versions(),
            workload=replace(job.workload, data_dir=""),
            execution=job.execution,
            block=job.block,
            machine=job.machine,
        )
        return None if job.anew else evidence.read(job.kept_in, self._subject)

    def exactly(self, far: Horizon) -> Exact:
        """The checks in float64, on the images of the reference alone."""
        start, reference, job = perf_counter(), self._reference, self._in_float64
        self._maker.configure(job.execution)
        try:
            batches, adam = reference.batches.stored_as("float64"), job.workload.adam
            trainer = self._maker.make(job, batches, reference.start)
            rows = reference.batch_rows
            checks = certificate.certify(trainer, adam, reference, rows, "float64", "exact")
            checks += certify_far(trainer, far, job.workload, reference)
        finally:
            self._maker.configure(self._job.execution)
        own = libraries_of(trainer)
        without = libraries_of(self._trainer) - own
        by = f"{SUBSTITUTED} {listed(own)} for {listed(without)}" if without else ""
        evidence.keep(job.kept_in, self._subject, checks, by)
        gc.collect()
        forget_peak_rss()
        return Exact(
            checks=tuple(checks), evidence=f"taken in this run{by}", seconds=perf_counter() - start
        )

    def find_smallest(self, *, exact: bool) -> str:
        """The smallest product, layer or step that departs: see smallest.py."""
        job, library = self._job, next(iter(self._trainer.products().values()), "")
        wanted = self._in_float64 if exact else job

        def make(work: Workload, data: TrainingSet, start: Parameters) -> Trainer:
            names = product_names(work.network) if library else ()
            execution = replace(wanted.execution, products=dict.fromkeys(names, library))
            of_work = replace(wanted, workload=work, execution=execution)
            return self._maker.make(of_work, data, start)

        self._maker.configure(wanted.execution)
        try:
            return smallest.find(make, job.workload, wanted.execution.precision)
        except Exception as error:  # the certificate itself is what counts
            return f"none was found: {type(error).__name__}: {error}"
        finally:
            self._maker.configure(job.execution)
