"""Parts of a run as jobs of submitit: submitted, awaited, submitted once more where one fails.

A job makes one launch on one node, never a single case: rounds compare cases on one node alone.
What a job has made lies in the folder of the run's parts, where a later call finds it.
"""

import json
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psutil

from benchmarks.bundle import files
from benchmarks.bundle.reader import read_environment
from benchmarks.errors import StoppedError, UsageError
from benchmarks.machine import interrupts

LOOK_SECONDS = 2.0
"""Pause between two looks at the jobs."""
SAY_SECONDS = 60.0
"""And between two lines that say how many are left."""
TRIES = 2
"""How often a part is submitted."""
UNHEARD_SECONDS = 600.0
"""How long the controller may not answer before the run gives up waiting; its jobs stay."""
LOCAL_SECONDS = 60.0
"""What a job on this machine has to end in."""
SILENT = ("Unable to contact", "timed out", "Zero Bytes", "Connection refused", "not responding")
"""What errors of Slurm say where its controller does not answer."""
STATE = "jobs.json"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Where jobs run, and what each may use."""

    where: str
    """`slurm` or `local`."""
    minutes: float
    """Time limit of a job."""
    threads: int = 0
    """CPUs that a job asks for; 0 for what its node gives."""
    gpus: int = 0
    partition: str = ""
    account: str = ""
    exclusive: bool = True
    """Whether a job has its node for itself."""
    at_once: int = 64
    """Jobs that are in the queue at once."""


@dataclass
class Jobs:
    """The parts of a run: what makes each, in which folder, and what became of it."""

    cluster: Cluster
    commands: Mapping[int, Sequence[str]]
    folder: Path
    say: Callable[[str], None]
    tries: dict[int, list[str]] = field(default_factory=dict)
    """The ids of each part's jobs."""

    def run(self) -> dict[int, str]:
        """Run until every part is there or has failed; returns why each of the latter has.

        Raises UsageError where submitit is missing, StoppedError where the controller is silent for
        too long or refuses a job, and KeyboardInterrupt, by which the jobs are cancelled.
        """
        self._read()
        executor = self._executor()
        waiting = [part for part in self.commands if not finished(self.part(part))]
        running = self._still_running(waiting)
        # What failed in an earlier call may be tried as often as anything else.
        self.tries = {part: self.tries[part] for part in running}
        failed: dict[int, str] = {}
        said = heard = monotonic()
        try:
            while running or waiting:
                answered = self._submit_due(executor, waiting, running)
                ended = self._ended(running)
                if answered and ended is not None:
                    heard = monotonic()
                elif monotonic() - heard > UNHEARD_SECONDS:
                    raise StoppedError(f"the controller does not answer; {self.again}")
                for part in ended or ():
                    del running[part]
                    if why := self._settled(part, waiting):
                        failed[part] = why
                if monotonic() - said > SAY_SECONDS:
                    said = monotonic()
                    self.say(f"{len(running)} jobs in the queue, {len(waiting)} parts to go")
                sleep(LOOK_SECONDS if running or waiting else 0)
        except KeyboardInterrupt:
            told = self._cancel(running)
            raise KeyboardInterrupt(f"interrupted; {told}; {self.again}") from None
        return failed

    def _settled(self, part: int, waiting: list[int]) -> str:
        """What became of a part whose job is over: why it has failed for good; else empty."""
        if finished(self.part(part)):
            waiting.remove(part)
            self.say(f"part {part} is there; {len(waiting)} to go")
            return ""
        why = self._why(part)
        if len(self.tries[part]) < TRIES:
            self.say(f"part {part} failed: {why}; once more")
            return ""
        waiting.remove(part)
        self.say(f"part {part} failed: {why}")
        return why

    def _submit_due(self, executor: Any, waiting: list[int], running: dict[int, Any]) -> bool:
        """Submit parts as long as more may be in the queue; returns whether all went in."""
        for part in [one for one in waiting if one not in running]:
            if len(running) >= self._at_once:
                return True
            # An interrupt waits until it is known which job was made.
            with interrupts.deferred():
                job = self._submit(executor, part)
                if job is None:
                    return False
                running[part] = job
        return True

    def _cancel(self, running: Mapping[int, Any]) -> str:
        """Cancel jobs, and say what became of them."""
        if self.cluster.where == "local":
            for job in running.values():
                # Also what the job has started, which reports what it has before it ends.
                with suppress(psutil.Error):
                    for process in psutil.Process(job._process.pid).children(recursive=True):
                        process.send_signal(signal.SIGINT)
                with suppress(subprocess.SubprocessError):
                    job._process.wait(LOCAL_SECONDS)
            return "its jobs are ended"
        ids = [str(job.job_id) for job in running.values()]
        if not ids:
            return "no job was in the queue"
        try:
            subprocess.run(["scancel", *ids], timeout=60, check=True, capture_output=True)
        except (OSError, subprocess.SubprocessError):
            return f"its jobs could not be cancelled: scancel {' '.join(ids)}"
        return "its jobs are cancelled"

    @property
    def again(self) -> str:
        """How to go on with what is there."""
        return "go on with the same command and --continue"

    @property
    def _at_once(self) -> int:
        # On this machine they would disturb one another.
        return 1 if self.cluster.where == "local" else self.cluster.at_once

    def part(self, number: int) -> Path:
        """The folder of a part."""
        return self.folder / f"part-{number}"

    def _executor(self) -> Any:
        try:
            import submitit
        except ImportError:
            raise UsageError("--on: needs submitit; pip install '.[cluster]'") from None
        try:
            executor = submitit.AutoExecutor(self.folder / "jobs", cluster=self.cluster.where)
        except RuntimeError as error:
            raise UsageError(f"--on {self.cluster.where}: {error}") from None
        own = self.cluster
        executor.update_parameters(timeout_min=max(1, round(own.minutes)), name="launch")
        if own.gpus:
            executor.update_parameters(gpus_per_node=own.gpus)
        if own.where == "slurm":
            named = {
                "slurm_partition": own.partition,
                "slurm_account": own.account,
                "slurm_exclusive": own.exclusive,
                "cpus_per_task": own.threads,
            }
            executor.update_parameters(
                # A job that is begun again by itself would find its own folder.
                slurm_additional_parameters={"no-requeue": True},
                # Within a step of srun's, a launch would have one CPU of its node.
                slurm_use_srun=False,
                slurm_ntasks_per_node=1,
                **{name: value for name, value in named.items() if value},
            )
        return executor

    def _submit(self, executor: Any, part: int) -> Any:
        """Submit a part; None where the controller does not answer."""
        from submitit.helpers import CommandFunction

        # What an earlier job has left unfinished.
        files.remove(self.part(part))
        command = CommandFunction(list(self.commands[part]), verbose=False)
        try:
            job = executor.submit(command)
        except Exception as error:
            if any(word in str(error) for word in SILENT):
                return None
            raise StoppedError(f"a job cannot be submitted: {_line(error)}; {self.again}") from None
        self.tries.setdefault(part, []).append(str(job.job_id))
        self._write()
        return job

    def _ended(self, running: Mapping[int, Any]) -> list[int] | None:
        """The parts whose jobs are over; None where the controller does not answer."""
        queued = _queued() if self.cluster.where == "slurm" else None
        if self.cluster.where == "slurm" and queued is None:
            return None
        over = []
        for part, job in running.items():
            if job.paths.result_pickle.exists():
                over.append(part)
            elif queued is None:
                over += [part] * job.done()
            elif job.job_id not in queued:
                over.append(part)
        return over

    def _still_running(self, waiting: Sequence[int]) -> dict[int, Any]:
        """The jobs of an earlier call that are in the queue; StoppedError where that is unknown."""
        if self.cluster.where != "slurm" or not any(map(self.tries.get, waiting)):
            return {}
        began = monotonic()
        while (queued := _queued()) is None:
            if monotonic() - began > UNHEARD_SECONDS:
                raise StoppedError(f"the controller does not answer; {self.again}")
            sleep(LOOK_SECONDS)
        import submitit

        place = self.folder / "jobs"
        return {
            part: submitit.SlurmJob(folder=place, job_id=self.tries[part][-1])
            for part in waiting
            if self.tries.get(part) and self.tries[part][-1] in queued
        }

    def _why(self, part: int) -> str:
        """The last line that a failed job has printed, or what became of it."""
        logs = sorted((self.folder / "jobs").glob(f"{self.tries[part][-1]}_*_log.*"))
        lines = [line for log in logs for line in log.read_text(errors="replace").splitlines()]
        told = [line.partition("run_all.py: ")[2].strip() for line in lines]
        if told := list(filter(None, told)):
            return told[-1][:300]
        said = [line.strip() for line in lines if line.strip() and "submitit INFO" not in line]
        ended = "it was ended from outside, by its limits of time or memory or by somebody"
        return f"{ended} (its last line: {said[-1][:200]})" if said else ended

    def _read(self) -> None:
        with suppress(OSError, ValueError, AttributeError, TypeError):
            content = json.loads((self.folder / STATE).read_text("utf-8"))
            self.tries = {int(part): list(map(str, ids))[-1:] for part, ids in content.items()}

    def _write(self) -> None:
        files.write_text(self.folder, STATE, json.dumps(self.tries))


def finished(folder: Path) -> bool:
    """Whether a part lies there that was measured to its end."""
    try:
        return read_environment(folder).run.state == "complete"
    except UsageError:
        return False


def _queued() -> set[str] | None:
    """The ids of the user's jobs in Slurm's queue; None where it does not answer."""
    command = ["squeue", "--noheader", "--me", "--states=all", "--format=%i %T"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    over = ("CANCELLED", "COMPLETED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL",
            "DEADLINE", "OUT_OF_MEMORY")  # fmt: skip
    rows = [line.split() for line in done.stdout.splitlines()]
    return {row[0] for row in rows if len(row) == 2 and row[1] not in over}


def _line(error: Exception) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split())[:300]
