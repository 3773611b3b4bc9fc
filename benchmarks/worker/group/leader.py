"""Rank 0: what it makes is made in all ranks, and is used as if there were a single one."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from types import ModuleType
from typing import Any

import numpy as np

from backends import registry
from backends.contract import (
    Array,
    Description,
    Execution,
    Program,
    State,
    Timed,
    Trainer,
    Training,
)
from backends.floors import Floor
from backends.ladder import Backend
from benchmarks.certificates.witness import digest
from benchmarks.worker import clock
from benchmarks.worker.group.rank import (
    REDUCTIONS,
    Configure,
    Enter,
    FreePort,
    Make,
    ReadLosses,
    ReadPeak,
    ReadState,
    Reduce,
    SetState,
    Synchronise,
    Train,
    repeated,
)
from benchmarks.worker.group.start import Follower, start
from benchmarks.worker.making import Maker
from benchmarks.worker.messages import Job


class RanksApartError(Exception):
    """The ranks of a group no longer hold the same parameters."""


class Group(Maker):
    """Makes trainers in all ranks."""

    def __init__(self, backend: ModuleType, followers: Sequence[Follower]) -> None:
        super().__init__(backend)
        self._followers, self._made = followers, 0
        self._reduction: Callable[[int], Callable[[], None]]

    def tell(self, request_of: Callable[[int], object]) -> None:
        """Send each other rank the request that belongs to its number."""
        for follower in self._followers:
            follower.connection.send(request_of(follower.number))

    def answers(self) -> list[Any]:
        """The answers of the other ranks."""
        return [follower.connection.recv() for follower in self._followers]

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the other ranks that run on this machine."""
        return tuple(one.pid for one in self._followers if one.here)

    def peak_rss_mib(self) -> float:
        """The sum of the other ranks' peaks of resident memory."""
        self.tell(lambda _: ReadPeak())
        return float(sum(self.answers()))

    def enter(self, backend: Backend, execution: Execution, port: FreePort) -> None:
        """Have all ranks meet in the framework's own group; rank 0 uses `port`."""
        addresses = (port.address, *(follower.address for follower in self._followers))
        self.tell(lambda rank: Enter(backend, replace(execution, rank=rank), addresses))
        self._reduction = cache(partial(self.backend.reduction, execution))
        self.backend.configure(execution)
        port.release()
        self.backend.join(execution, addresses)
        own = self.backend.versions()
        for rank, versions in enumerate(self.answers(), start=1):
            if versions != own:
                raise RuntimeError(
                    f"rank {rank} has {versions}, and rank 0 {own}: install the same"
                )

    def configure(self, execution: Execution) -> None:
        self.tell(lambda rank: Configure(replace(execution, rank=rank)))
        self.answers()
        super().configure(execution)

    def trainer(self, training: Training, execution: Execution) -> Trainer:
        number = self._number()
        self.tell(lambda rank: Make(number, training, replace(execution, rank=rank)))
        own = super().trainer(training, execution)
        own.synchronise()
        # Nobody goes on, into a collective that has a time limit, before all have come so far.
        self.answers()
        return GroupTrainer(own, self, number, execution.ranks)

    def floor(self, training: Training, batch_size: int, execution: Execution) -> "GroupFloor":
        """The floors of all ranks, each of its share of a batch."""
        number = self._number()
        sizes = [len(part) for part in np.array_split(np.arange(batch_size), execution.ranks)]

        def make(rank: int) -> Make:
            return Make(number, training, replace(execution, rank=rank), sizes[rank])

        self.tell(make)
        own = self.backend.Floor(training, sizes[0], execution)
        self.answers()
        return GroupFloor(own, self, number, execution)

    def reduce(self, count: int) -> float:
        """The seconds that summing up `count` numbers over all ranks takes, in the mean."""
        self.tell(lambda _: Reduce(count))
        # Made ready at the first call, which is not what is timed.
        reduction = self._reduction(count)
        _, seconds = clock.timed(lambda: repeated(reduction))
        self.answers()
        return seconds / REDUCTIONS

    def _number(self) -> int:
        self._made += 1
        return self._made


def maker_of(job: Job, lost: Callable[[str], None]) -> Maker:
    """Import the backend of a job, and make its process or its group ready to compute.

    `lost` is called from another thread with a sentence when a rank has ended.
    """
    if job.execution.ranks == 1:
        maker = Maker(registry.load(job.backend))
        maker.configure(job.execution)
        return maker
    followers, port = start(job.seats, lost)
    group = Group(registry.load(job.backend), followers)
    group.enter(job.backend, job.execution, port)
    return group


class OfAllRanks(Timed):
    """What all ranks train at once; `own` is that of rank 0, the others know it by its number."""

    own: Any
    _group: Group
    _number: int
    _cpu_seconds = 0.0

    def synchronise(self) -> None:
        self._group.tell(lambda _: Synchronise(self._number))
        self.own.synchronise()
        self._cpu_seconds = sum(self._group.answers())

    def cpu_seconds(self) -> float:
        return float(self.own.cpu_seconds()) + self._cpu_seconds

    def products(self) -> dict[str, str]:
        products: dict[str, str] = self.own.products()
        return products


class GroupTrainer(OfAllRanks, Trainer):
    """The trainers of all ranks as one; its state and what else is read are those of rank 0."""

    own: Trainer

    def __init__(self, own: Trainer, group: Group, number: int, ranks: int) -> None:
        self.own, self._group, self._number, self._count = own, group, number, ranks

    def train(self, rows: Array) -> None:
        if rows.shape[1] < self._count:
            raise ValueError(f"{rows.shape[1]} images cannot be shared by {self._count} ranks")
        self._group.tell(lambda _: Train(self._number, rows))
        self.own.train(rows)

    def set_state(self, state: State) -> None:
        self._group.tell(lambda _: SetState(self._number, state))
        self.own.set_state(state)

    # Read by certificate and ledger; never timed.

    def state(self) -> State:
        """The state of rank 0; raises RanksApartError where another rank's has other bits."""
        self._group.tell(lambda _: ReadState(self._number))
        state = self.own.state()
        own = digest(state)
        for rank, other in enumerate(self._group.answers(), start=1):
            if other != own:
                raise RanksApartError(
                    f"rank {rank} no longer holds the parameters and moments of rank 0"
                )
        return state

    def losses(self) -> Array:
        self._group.tell(lambda _: ReadLosses(self._number))
        own = self.own.losses()
        losses: Array = np.mean([own, *self._group.answers()], axis=0)
        return losses

    def logits(self, images: Array) -> Array:
        return self.own.logits(images)

    def product(self, a: Array, b: Array) -> Array:
        return self.own.product(a, b)

    def weight_address(self) -> int | None:
        return self.own.weight_address()

    def peak_device_bytes(self) -> int | None:
        return self.own.peak_device_bytes()

    def compilations(self) -> int:
        return self.own.compilations()

    def program(self, rows: Array) -> Program:
        return self.own.program(rows)

    def describe(self) -> Description:
        return self.own.describe()


class GroupFloor(OfAllRanks):
    """The floors of all ranks as one: a step is that of each rank's share, without any sum."""

    own: Floor

    def __init__(self, own: Floor, group: Group, number: int, execution: Execution) -> None:
        self.own, self._group, self._number, self._execution = own, group, number, execution

    def train(self, rows: Array) -> None:
        def share_of(rank: int) -> Array:
            return replace(self._execution, rank=rank).share(rows)

        self._group.tell(lambda rank: Train(self._number, share_of(rank)))
        self.own.train(share_of(0))

    def device(self) -> str:
        """The device whose memory holds rank 0's results."""
        return self.own.device()
