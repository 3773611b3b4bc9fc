"""The session: the launches of a run, within its time limit."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from time import monotonic

from benchmarks.bundle.records import Environment
from benchmarks.machine import interrupts, scratch
from benchmarks.session.jobs import References, make_references
from benchmarks.session.launch import Launch, SharedState
from benchmarks.worker.messages import ENERGY_SECONDS

CHECKING_SHARE = 0.05
"""The share of the time that is reserved for checking blocks, until it is known what it takes."""
FILLED_CACHES = 0.5
"""The share of their first calls that cases are expected to spare in later launches."""
LEARNING_SHARE = 0.2
"""The share of the time within which seeds are trained until it is shown what is learned."""
CLOSING_SECONDS = 8.0
"""Reserved from the time limit for the last readings and the report."""


@dataclass(kw_only=True)
class Session(SharedState):
    """Runs a plan and writes what it measures."""

    environment: Environment
    """What environment.json holds; it is replaced as more is known."""
    started: float
    """When the time limit began to run, by `time.monotonic`."""
    settled: Callable[[], bool] = bool
    """Called between launches: whether every verdict that can be decided is."""
    finished_launches: int = 0
    _startup_seconds: float = 0.0
    _launch_seconds: float = 0.0
    """How long the last launch took, and its start-up alone, without certificates."""

    def run(self) -> None:
        """Run all launches; a case that has failed in one is left out of the next."""
        began = monotonic()
        with interrupts.allowed():
            references = make_references(self.plan, self.training)
        self.environment = self.environment.with_run(reference_seconds=monotonic() - began)
        for case, reason in self.plan.skipped.items():
            self.writer.append(
                "outcomes", **case.identity(), status="skipped", launch="", reason=reason
            )
        planned = self.plan.launches
        with interrupts.deferred(), scratch.folder() as folder:
            for number in count():
                if all(case in self.failures for case in self.plan.cases):
                    return
                if number >= planned and (
                    self.out_of_time or not self.plan.until_settled or self.settled()
                ):
                    return
                # There must be time for the start-up of a planned launch, for all of another one.
                needed = self._startup_seconds if number < planned else self._launch_seconds
                if number and monotonic() + needed > self._end():
                    self.out_of_time = number < planned
                    return
                self._launch(number, references, folder)
                # How far the run has come, so that it can be analysed if it is killed later.
                changes: dict[str, float] = {"finished_launches": self.finished_launches}
                if waited := self.waited_seconds:
                    changes["session_cpu_share"] = self.waiting_cpu_seconds / waited
                self.environment = self.environment.with_run(**changes)
                self.writer.write_environment(self.environment)

    def _launch(self, number: int, references: References, folder: Path) -> None:
        began, launch = monotonic(), Launch(number, self)
        try:
            launch.start(references, folder, self._end())
            # Programs are certified in the first launch alone, and compiled with empty caches.
            spared = launch.certificate_seconds + FILLED_CACHES * launch.first_call_seconds
            self._startup_seconds = monotonic() - began - (spared if number == 0 else 0.0)
            launch.measure(self._rounds_deadline(number))
            if number == 0:
                launch.learn(monotonic() + self._learning_seconds, self._end())
            self._launch_seconds = monotonic() - began
        finally:
            launch.end()
        self.finished_launches += 1

    @property
    def _learning_seconds(self) -> float:
        """The time for learning."""
        return LEARNING_SHARE * self.plan.time_limit_seconds if self.plan.learning_seeds else 0.0

    def _end(self) -> float:
        """When all measuring must have ended."""
        return self.started + self.plan.time_limit_seconds - CLOSING_SECONDS

    def _rounds_deadline(self, number: int) -> float:
        """When the rounds of a launch must end.

        The time left, without the start-up of the launches still to come, is shared evenly among
        them and this one. Checking a block of each case follows the rounds, and on a GPU measuring
        its energy.
        """
        later = max(self.plan.launches - number - 1, 0)
        checking = self.checking_seconds
        if checking is None:
            checking = CHECKING_SHARE * (self._end() - monotonic()) / self.plan.launches
        left = self._end() - monotonic() - later * (self._startup_seconds + checking) - checking
        left -= self._learning_seconds if number == 0 else 0.0
        on_gpu = self.plan.cases[0].device == "gpu"
        energy_seconds = ENERGY_SECONDS * len(self.plan.cases) if on_gpu else 0.0
        return monotonic() + left / (later + 1) - energy_seconds
