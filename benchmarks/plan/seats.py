"""Where the ranks of a group run, besides the first of them."""

import os
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.errors import UsageError

REACHED_SECONDS = 30
LAUNCHER = "ssh {host}"
"""What starts a command on another machine unless the user names something else."""
HIDDEN = {"--hosts": "HOST", "--rank-launcher": "LAUNCHER"}
"""Options whose values a bundle does not hold, and what stands for them there."""


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

    def unnamed(self, words: Sequence[str]) -> list[str]:
        """A command's words without names of machines and what starts commands on them."""
        kept, option = list[str](), ""
        for word in words:
            if not word.startswith("--"):
                kept.append(HIDDEN.get(option, word))
                continue
            option, has_value, _ = word.partition("=")
            kept.append(f"{option}={HIDDEN[option]}" if has_value and option in HIDDEN else word)
        return kept

    def seat(self, rank: int) -> Seat:
        """The seat of a rank, from 1 on; machines are in the order in which they are named."""
        host = self.names[rank - 1]
        return Seat(launcher=self._command(host), host=host)

    def _command(self, host: str) -> tuple[str, ...]:
        return tuple(word.replace("{host}", host) for word in shlex.split(self.launcher))

    def check(self, ranks: int) -> None:
        """Raise UsageError where groups of up to so many ranks could not run on these machines."""
        if ranks - 1 > len(self.names):
            raise UsageError(
                f"--hosts: {ranks} ranks have {ranks - 1} besides the one that runs here; name a "
                "machine for each, and the same one twice for two"
            )
        try:
            if not shlex.split(self.launcher):
                raise ValueError("is empty")
        except ValueError as error:
            raise UsageError(f"--rank-launcher {self.launcher!r}: {error}") from None
        for host in dict.fromkeys(self.names):
            command = [*self._command(host), "true"]
            try:
                done = subprocess.run(
                    command, stdin=subprocess.DEVNULL, capture_output=True, errors="replace",
                    timeout=REACHED_SECONDS,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                raise UsageError(
                    f"--hosts {host}: no answer in {REACHED_SECONDS} s to {shlex.join(command)}"
                ) from None
            except OSError as error:
                problem = f"--rank-launcher: {command[0]}: {error.strerror}"
                raise UsageError(problem) from None
            if done.returncode:
                said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
                raise UsageError(f"--hosts {host}: {shlex.join(command)}: {said}")


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
    """The environment variable by which a rank sees its GPU alone: of those that are visible."""
    visible = [one for one in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if one.strip()]
    gpu = visible[rank].strip() if rank < len(visible) else str(rank)
    return (("CUDA_VISIBLE_DEVICES", gpu),)
