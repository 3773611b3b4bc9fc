"""Where the ranks of a group run, besides the first of them."""

import shlex
from dataclasses import dataclass

LAUNCHER = "ssh {host}"
"""What starts a command on another machine unless the user names something else."""


@dataclass(frozen=True, kw_only=True)
class Seat:
    """Where one rank runs."""

    cpus: tuple[int, ...] = ()
    """The CPUs that it is bound to; left as they are where this is empty."""
    variables: tuple[tuple[str, str], ...] = ()
    """Environment variables in which it differs from rank 0."""
    launcher: tuple[str, ...] = ()
    """The command that starts a command on its machine; empty for this one."""
    host: str = "127.0.0.1"
    """The address of its machine, to which rank 0 must have a way."""


@dataclass(frozen=True, kw_only=True)
class Hosts:
    """The machines of the ranks besides the first of each group; this one where none is named."""

    names: tuple[str, ...] = ()
    launcher: str = LAUNCHER

    def unnamed(self, command: str) -> str:
        """A command line without names of machines, which a bundle does not hold."""
        if self.launcher != LAUNCHER:
            command = command.replace(shlex.quote(self.launcher), "LAUNCHER")
        for name in sorted(self.names, key=len, reverse=True):
            command = command.replace(name, "HOST")
        return command

    def seat(self, rank: int) -> Seat:
        """The seat of a rank, from 1 on: one machine after another."""
        host = self.names[(rank - 1) % len(self.names)]
        command = [word.replace("{host}", host) for word in shlex.split(self.launcher)]
        return Seat(launcher=tuple(command), host=host)


def seats_here(cpus: tuple[int, ...], ranks: int, threads: int, device: str) -> tuple[Seat, ...]:
    """The seats of a group's ranks on this machine, each with CPUs, or a GPU, of its own."""
    return tuple(
        Seat(
            cpus=cpus[rank * threads : (rank + 1) * threads],
            variables=gpu_of(rank) if device == "gpu" else (),
        )
        for rank in range(1, ranks)
    )


def gpu_of(rank: int) -> tuple[tuple[str, str], ...]:
    """The environment variable by which a rank sees its GPU alone."""
    return (("CUDA_VISIBLE_DEVICES", str(rank)),)
