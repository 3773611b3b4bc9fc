"""A Slurm of one node in a folder of its own: on ports and a key of its own, loopback only."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={place}/munge.socket
SlurmctldPort={controller}
SlurmdPort={daemon}
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SchedulerParameters=batch_sched_delay=1,sched_interval=2
MinJobAge=30
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why no Slurm can be started here; empty where one can."""
    lacking = [name for name in PROGRAMS if shutil.which(name, path=search_path()) is None]
    if lacking:
        return f"needs Slurm (slurm-wlm, munge), of which {', '.join(lacking)} are not here"
    # Jobs of another user than the daemon's need root.
    return "" if os.geteuid() == 0 else "needs root, as whom slurmd starts jobs"


def search_path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Slurm:
    """The daemons of a cluster of one node, and the environment in which its commands find it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.environment = os.environ | {
            "SLURM_CONF": str(place / "slurm.conf"),
            "PATH": search_path(),
        }
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        place = self.place
        for folder in ("state", "spool"):
            (place / folder).mkdir(parents=True)
        place.chmod(0o755)
        key = place / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        (place / "slurm.conf").write_text(
            CONFIGURATION.format(
                host=socket.gethostname().partition(".")[0],
                user="root",
                place=place,
                controller=free_port(),
                daemon=free_port(),
                cpus=os.cpu_count(),
                memory=psutil.virtual_memory().total // 2**20 // 2,
            )
        )
        self.run(
            "munged", "--foreground", "--force", f"--key-file={key}",
            f"--socket={place}/munge.socket", f"--pid-file={place}/munged.pid",
            f"--log-file={place}/munged.log", f"--seed-file={place}/munged.seed",
        )  # fmt: skip
        self.run("slurmctld", "-D", "-i")
        self.run("slurmd", "-D")
        self.wait("main*")

    def run(self, *command: str) -> None:
        """Start a daemon, in the foreground of a process of its own."""
        name = command[0]
        log = (self.place / f"{name}.out").open("ab")
        self.daemons[name] = subprocess.Popen(
            command, env=self.environment, stdout=log, stderr=log, start_new_session=True
        )

    def wait(self, expected: str, seconds: float = 40.0) -> None:
        """Wait until the node is idle; raises TimeoutError."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            done = subprocess.run(
                ["sinfo", "-h", "-o", "%P %t"], env=self.environment, capture_output=True, text=True
            )
            if expected in done.stdout and " idle" in done.stdout:
                return
            time.sleep(0.5)
        logs = [log.read_text(errors="replace")[-1500:] for log in self.place.glob("*.log")]
        raise TimeoutError("\n".join([done.stdout, done.stderr, *logs]))

    def stop(self, *names: str) -> None:
        """End daemons, by default all of them, and the jobs that still run."""
        if not names:
            subprocess.run(["scancel", "--me"], env=self.environment, timeout=20, check=False)
        for name in names or ("slurmd", "slurmctld", "munged"):
            if daemon := self.daemons.pop(name, None):
                daemon.terminate()
                try:
                    daemon.wait(10)
                except subprocess.TimeoutExpired:
                    daemon.kill()


@contextmanager
def cluster(place: Path) -> Iterator[Slurm]:
    """A Slurm of one node, which is gone at the end."""
    slurm = Slurm(place)
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()
