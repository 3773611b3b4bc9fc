"""The worker: a process that holds one trainer, and answers the session's requests.

The session sets its environment and affinity before it starts.
"""

import gc
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np

from backends.contract import Array, State
from backends.numpy.model import log_softmax
from benchmarks.certificates.replay import BlockChecked, check_block
from benchmarks.certificates.witness import TimedBlock, Witness, beginning, digest
from benchmarks.machine import nvml
from benchmarks.plan import workload
from benchmarks.plan.blocks import BlockLength
from benchmarks.schema import EVIDENCE
from benchmarks.worker import clock, energy, ledger, messages, parts
from benchmarks.worker.certifier import Certifier
from benchmarks.worker.floor import load_data
from benchmarks.worker.group.leader import maker_of
from benchmarks.worker.memory import forget_peak_rss, peak_rss_mib

PROFILED_STEPS = 20
FEW_IMAGES = 500
"""Training images whose loss is read while learning is measured."""


class Worker:
    """A trainer with its data, and how far it has come."""

    def __init__(self, job: messages.Job, lost: Callable[[str], None] = print) -> None:
        self._job, work = job, job.workload
        self._maker, self._import_seconds = clock.timed(lambda: maker_of(job, lost))
        self._backend = self._maker.backend

        dataset = load_data(work)
        stored = job.execution.stored
        training_set = dataset.training.stored_as(stored)
        # A copy: what the framework has copied need not stay in memory a second time.
        self._sample = training_set.images[: len(dataset.validation.labels)].copy()
        self._sample_labels = training_set.labels[: len(self._sample)]
        self._validation = dataset.validation.stored_as(stored)
        self._test = dataset.test.stored_as(stored)
        self._rows = workload.batch_rows(
            work.training_images, work.batch_size, work.steps, job.seed
        )
        self._step = self._batch_readings = 0
        self._block = job.block
        self._start = workload.initial_parameters(work.network, job.seed)
        self._witness = Witness(beginning(training_set, self._start))
        self._trainer, self._build_seconds = clock.timed(
            lambda: self._maker.make(job, training_set, self._start)
        )
        products = self._trainer.products()
        job.check_products(products)
        # What is built later for this case, such as its copy in float64, chooses no more.
        self._job = replace(job, execution=replace(job.execution, products=products))
        self.certifier = Certifier(self._maker, self._job, self._trainer)

    def first_call(self) -> messages.Ready:
        """Make the first call, which compiles."""
        block = clock.train_block(
            self._trainer, self._rows[:0], self._rows[: self._job.steps_per_call]
        )
        self._programs = self._trainer.compilations()
        self._peak_rss_mib = peak_rss_mib() + self._maker.peak_rss_mib()
        # Read now and not at the end, because JAX cannot reset it after the certificate.
        peak = self._trainer.peak_device_bytes()
        # Read only now, because parameters that a step has computed lie where it was computed.
        described = self._trainer.describe()
        self._job.execution.check_device(described.device)
        if not (self._programs or described.compiler.startswith("none")):
            raise RuntimeError(f"nothing was compiled, but {described.compiler} was asked for")
        return messages.Ready(
            import_seconds=self._import_seconds,
            build_seconds=self._build_seconds,
            first_call_seconds=block.seconds,
            first_call_steps=block.steps,
            peak_rss_mib=self._peak_rss_mib,
            peak_device_mib=float("nan") if peak is None else peak / 2**20,
        )

    def certify(self) -> messages.Certified:
        """Take the certificate as timed, read the ledger, and measure the parts of a step."""
        start, job = perf_counter(), self._job
        timed = self.certifier.as_timed() if job.first else []
        rows = self._rows[:1]
        entries = ledger.read(self._trainer, job.execution.stored, rows, self._programs)
        kept = self.certifier.kept(entries) if job.first else None
        # The worker draws these itself, with the NumPy of its own Python.
        entries["drawn"] = workload.checksum(self._start, self._rows)
        costs = {}
        if job.first and not job.anew:
            costs = parts.measure(self._maker, job, self._trainer)
        # Memory that only the certificate needed does not count as the training's.
        gc.collect()
        forget_peak_rss()
        return messages.Certified(
            checks=(*(kept.checks if kept else ()), *timed),
            ledger=entries | ({EVIDENCE: f"kept since {kept.taken}{kept.by}"} if kept else {}),
            versions=self._backend.versions(),
            parts=costs,
            seconds=perf_counter() - start,
            products=self._trainer.products(),
            other_pids=self._maker.pids,
            needs_exact=job.first and kept is None,
        )

    def warm_up(self) -> messages.WarmUp:
        """Train until steps no longer get faster, then return to the initial parameters."""
        warmup = clock.warm_up(self._train_block, self._job)
        self._block = warmup.block
        self.read()
        self._trainer.reset(self._start)
        self._trainer.synchronise()
        self._step = 0
        return warmup

    def train(self, length: BlockLength, slowed_by: float = 0.0) -> messages.Block:
        """Train the next block under the clock, between two looks at the state."""
        first = self._step
        before, seconds_before = clock.timed(self._trainer.state)
        block = self._train_block(length, slowed_by)
        after, seconds_after = clock.timed(self._trainer.state)
        steps = length.steps + uncounted_steps(length, slowed_by)
        self._witness.show(
            TimedBlock(
                first_step=first, steps=steps, lead_in=length.lead_in, before=before, after=after
            )
        )
        return replace(
            block, settling_seconds=seconds_after - seconds_before, end_state=digest(after)
        )

    def _train_block(self, length: BlockLength, slowed_by: float = 0.0) -> messages.Block:
        """Train the next block under the clock; past the last step, batches start over."""
        rows = workload.rows_of(
            self._rows, self._step, length.steps + uncounted_steps(length, slowed_by)
        )
        before = self._trainer.compilations()
        block = clock.train_block(self._trainer, rows[: length.lead_in], rows[length.lead_in :])
        self._step += length.steps
        compilations = self._trainer.compilations() - before
        return replace(block, steps=length.timed, compilations=compilations)

    def train_rest(self) -> int:
        """Train the steps after the last whole block, untimed; return all steps trained so far."""
        if self._job.workload.steps - self._step < self._block.steps:
            self._train_to(self._job.workload.steps)
        return self._step

    def _train_to(self, step: int) -> None:
        """Train up to a step, untimed; do nothing past it."""
        if self._step < step:
            self._witness.untimed()
            self._trainer.train(self._rows[self._step : step])
            self._trainer.synchronise()
            self._step = step

    def train_to(self, step: int) -> State:
        """Train up to a step, untimed; the state there."""
        self._train_to(step)
        return self._trainer.state()

    def start_from(self, state: State, step: int) -> None:
        """Begin the first timed block in a state, as after so many steps."""
        stored = self._job.execution.stored
        state = state.layers_as(
            lambda layers: [(w.astype(stored), b.astype(stored)) for w, b in layers]
        )
        self._trainer.set_state(state)
        self._trainer.synchronise()
        self._step, self._witness = step, Witness(state)

    def learn(self, seed: int, every: int) -> messages.Learned:
        """Train all steps from the beginning of a seed, untimed, and read every so many of them."""
        work, began = self._job.workload, perf_counter()
        self._trainer.reset(workload.initial_parameters(work.network, seed))
        self._rows = workload.batch_rows(work.training_images, work.batch_size, work.steps, seed)
        self._step = 0
        readings = [self.read(FEW_IMAGES)]
        for step in (*range(every, work.steps, every), work.steps):
            self._train_to(step)
            readings.append(self.read(FEW_IMAGES))
        return messages.Learned(
            steps=self._step,
            seconds=perf_counter() - began,
            readings=tuple(readings),
            tested=self.test(),
        )

    def read(self, images: int | None = None) -> messages.Reading:
        """Read losses and accuracy; the training loss is on as many images as validation has.

        Or on so many: it only shows whether a training has diverged.
        """
        train_loss, _ = self._evaluate(self._sample[:images], self._sample_labels[:images])
        loss, accuracy = self._evaluate(self._validation.images, self._validation.labels)
        return messages.Reading(
            step=self._step,
            train_loss=train_loss,
            validation_loss=loss,
            validation_accuracy=accuracy,
        )

    def read_batch(self) -> messages.BatchReading:
        """Train, untimed, up to the next of the job's batch readings, and take it."""
        number, job, validation = self._batch_readings, self._job, self._validation
        self._train_to(job.reading_steps[number])
        rows = workload.validation_rows(
            len(validation.labels), job.reading_images, len(job.reading_steps), job.seed
        )[number]
        loss, accuracy = self._evaluate(validation.images[rows], validation.labels[rows])
        self._batch_readings += 1
        return messages.BatchReading(
            updates=self._step, images=len(rows), loss=loss, accuracy=accuracy
        )

    def test(self) -> messages.Tested:
        """Loss and accuracy of the test images."""
        loss, accuracy = self._evaluate(self._test.images, self._test.labels)
        return messages.Tested(test_loss=loss, test_accuracy=accuracy)

    def finish(self) -> messages.Final:
        """Peak memory and energy."""
        execution = self._job.execution
        # A counter is of one card, and a group has several.
        counted = execution.device == "gpu" and execution.ranks == 1
        counter = nvml.energy_counter() if counted else None
        return messages.Final(
            peak_rss_mib=max(self._peak_rss_mib, peak_rss_mib() + self._maker.peak_rss_mib()),
            energy_mj_per_step=(
                energy.per_step(lambda: self._train_block(self._block), counter)
                if counter
                else float("nan")
            ),
        )

    def draw_block(self) -> messages.Drawn:
        """Which of the timed blocks is to be checked."""
        kept = self._witness.kept
        assert kept is not None, "the session asks after the first block"
        return messages.Drawn(first_step=kept.first_step, steps=kept.steps)

    def check_block(self, request: messages.CheckBlock) -> BlockChecked:
        """Check the block that was drawn: see replay.py."""
        state, evaluated = self._trainer.state(), (self._validation.images, self._test.images)
        checked = check_block(
            self._trainer, self._witness, self._job.workload, request.given, self._start, evaluated,
            self._job.execution.precision, trained_again=request.trained_again,
        )  # fmt: skip
        self._trainer.set_state(state)
        self._trainer.synchronise()
        return checked

    def profile(self) -> None:
        """Some steps under the framework's own profiler, after all that is measured.

        On a GPU a profiler may slow down what comes after it. Where it fails, that is in the log.
        """
        if not (self._job.profile and self._backend.profiled):
            return
        folder, steps = Path(self._job.profile), max(PROFILED_STEPS, self._job.steps_per_call)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with self._backend.profiled(folder):
                self._trainer.train(self._rows[:steps])
                self._trainer.synchronise()
        except Exception:  # whatever a profiler raises, what was measured stands
            traceback.print_exc()

    def _evaluate(self, images: Array, labels: Array) -> tuple[float, float]:
        """Mean cross-entropy and share of right answers, from the trainer's logits."""
        logits = self._trainer.logits(images)
        with np.errstate(all="ignore"):
            log_probabilities = log_softmax(logits.astype(np.float64))
        loss = -log_probabilities[np.arange(len(labels)), labels].mean()
        # Where a diverged training gives NaN as logits, there is no answer to be right.
        right = (logits.argmax(axis=1) == labels) & ~np.isnan(logits).any(axis=1)
        return float(loss), float(right.mean())


def uncounted_steps(length: BlockLength, slowed_by: float) -> int:
    """The steps that a case trains beyond the timed ones where it is slowed on purpose."""
    return round(slowed_by * length.timed)
