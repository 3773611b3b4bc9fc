"""What a session reports while it runs."""

from __future__ import annotations

from typing import Protocol

from benchmarks.plan.plan import Case
from benchmarks.worker.messages import Block, Certified, Ready


class Progress(Protocol):
    """Receives the events of a session, for a person to see."""

    def launch(self, number: int, seed: int) -> None:
        """A launch begins."""

    def starting(self, case: Case) -> None:
        """A case's worker is being started."""

    def ready(self, case: Case, ready: Ready, certified: Certified) -> None:
        """A case is ready to be timed."""

    def block(self, case: Case, round_number: int, block: Block) -> None:
        """A block was timed."""

    def failed(self, case: Case, reason: str) -> None:
        """A case has failed."""
