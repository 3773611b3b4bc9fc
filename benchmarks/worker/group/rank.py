"""A rank besides the first, which does as rank 0 says, and what it can be told."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing.connection import Connection
from typing import Any

from backends import registry
from backends.contract import Array, Execution, State, Training
from backends.ladder import Backend
from benchmarks.certificates.witness import digest
from benchmarks.worker.making import trainer_of
from benchmarks.worker.memory import peak_rss_mib


@dataclass(frozen=True)
class Hello:
    """What a rank says first: its number, and where it can be reached by the others."""

    number: int
    address: str
    pid: int


@dataclass(frozen=True)
class Enter:
    """Import the backend and meet the other ranks; the answer are the versions of packages."""

    backend: Backend
    execution: Execution
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Configure:
    """Set the precision in which the next trainer computes."""

    execution: Execution


@dataclass(frozen=True)
class Make:
    """Make a trainer, or where there is a batch size a floor, under a number."""

    number: int
    training: Training
    execution: Execution
    batch_size: int = 0


@dataclass(frozen=True)
class Reduce:
    """Sum up so many numbers over all ranks, REDUCTIONS times."""

    count: int


@dataclass(frozen=True)
class Train:
    """Train on these rows, and do not answer."""

    number: int
    rows: Array


@dataclass(frozen=True)
class SetState:
    """Go on from a state, and do not answer."""

    number: int
    state: State


@dataclass(frozen=True)
class Synchronise:
    """Wait until the device has finished; the answer is the CPU time used so far."""

    number: int


@dataclass(frozen=True)
class ReadState:
    """The answer is the digest of the state."""

    number: int


@dataclass(frozen=True)
class ReadLosses:
    """The answer are the losses of the last call."""

    number: int


class ReadPeak:
    """The answer is the most memory that the process has had resident, in MiB."""


REDUCTIONS = 20


class FreePort:
    """A port of this machine that nobody else is given until it is `released` to be used."""

    def __init__(self, host: str) -> None:
        self._socket = socket.socket()
        self._socket.bind((host, 0))
        self.address = f"{host}:{self._socket.getsockname()[1]}"

    def release(self) -> None:
        """Leave the port to whoever binds it next."""
        self._socket.close()


def send_at_once(connection: Connection) -> Connection:
    """Have TCP send small messages as they come; returns the connection.

    Else the second of two waits until the first has been acknowledged, which the other side puts
    off for 40 ms: longer than many a block takes.
    """
    with socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as same:
        same.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


class Rank:
    """A rank that does as it is told."""

    def __init__(self, port: FreePort) -> None:
        self._port = port
        self._backend: Any = None
        self._reduction: Callable[[int], Callable[[], None]]
        self._made: dict[int, Any] = {}

    def follow(self, connection: Connection) -> None:
        """Do as rank 0 says until it hangs up."""
        while True:
            try:
                request = connection.recv()
            except EOFError:
                return
            answer = self._answer(request)
            if not isinstance(request, Train | SetState):
                connection.send(answer)

    def _answer(self, request: object) -> object:
        match request:
            case Enter(backend, execution, addresses):
                self._backend = registry.load(backend)
                self._reduction = cache(partial(self._backend.reduction, execution))
                self._backend.configure(execution)
                self._port.release()
                self._backend.join(execution, addresses)
                return self._backend.versions()
            case Configure(execution):
                self._backend.configure(execution)
            case Make(number, training, execution, 0):
                self._made[number] = trainer_of(self._backend, training, execution)
                self._made[number].synchronise()
            case Make(number, training, execution, batch_size):
                self._made[number] = self._backend.Floor(training, batch_size, execution)
            case Reduce(count):
                repeated(self._reduction(count))
            case Train(number, rows):
                self._made[number].train(rows)
            case SetState(number, state):
                self._made[number].set_state(state)
            case Synchronise(number):
                self._made[number].synchronise()
                return self._made[number].cpu_seconds()
            case ReadState(number):
                return digest(self._made[number].state())
            case ReadLosses(number):
                return self._made[number].losses()
            case ReadPeak():
                return peak_rss_mib()
        return None


def repeated(reduction: Callable[[], None]) -> None:
    """Take a sum over all ranks REDUCTIONS times."""
    for _ in range(REDUCTIONS):
        reduction()
