"""The processor as the system shares it out: quota, cores, clock, virtualisation, memory pages.

Everything is read from files of Linux below `root`; what a system does not show is None.
"""

import os
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

SYSTEM = Path("/")
CPUS = "sys/devices/system/cpu"
NO_QUOTA = "none"


def _read(path: Path) -> str | None:
    """The text of a file without surrounding blanks; None where it cannot be read or is empty."""
    with suppress(OSError, ValueError):
        return path.read_text("utf-8").strip() or None
    return None


def quota(root: Path = SYSTEM) -> str | None:
    """The processors' worth of time that control groups allow, as "1.5 CPUs", or "none".

    The smallest of the limits of this process's group and of the groups around it counts.
    """
    groups, mounts = (_read(root / "proc/self" / name) for name in ("cgroup", "mountinfo"))
    if groups is None or mounts is None:
        return None
    limits = []
    for mount in _mounts(mounts):
        for line in groups.splitlines():
            _, controllers, group = line.split(":", 2) if line.count(":") > 1 else ("", "?", "")
            if mount.serves(controllers):
                limits += _limits(root / mount.point.lstrip("/"), mount.within(group))
    return f"{min(limits):g} CPU{'' if min(limits) == 1 else 's'}" if limits else NO_QUOTA


class _Mount:
    """Where a hierarchy of control groups lies, and which group that is."""

    def __init__(self, group: str, point: str, kind: str, options: str) -> None:
        self._group, self.point, self._unified = group, point, kind == "cgroup2"
        self._controllers = set(options.split(","))

    def serves(self, controllers: str) -> bool:
        """Whether this is the hierarchy of a line of /proc/self/cgroup, and one that has limits."""
        if self._unified:
            return controllers == ""
        return "cpu" in self._controllers and "cpu" in controllers.split(",")

    def within(self, group: str) -> str:
        """The path of a group below the mount; a container may see the host's path."""
        if self._group != "/" and group.startswith(self._group):
            group = group.removeprefix(self._group)
        return group


def _mounts(mounts: str) -> list[_Mount]:
    """The mounts of control groups among the lines of /proc/self/mountinfo."""
    found = []
    for line in mounts.splitlines():
        mount, _, kind = line.partition(" - ")
        fields, about = mount.split(), kind.split()
        if len(fields) > 4 and len(about) > 2 and about[0] in ("cgroup", "cgroup2"):
            found.append(_Mount(fields[3], fields[4], about[0], about[2]))
    return found


def _limits(mounted: Path, group: str) -> list[float]:
    """The limits of a group and of all around it, in CPUs."""
    limits = []
    parts = [part for part in group.split("/") if part not in ("", "..")]
    for depth in range(len(parts) + 1):
        folder = mounted.joinpath(*parts[:depth])
        texts = (_read(folder / "cpu.max") or "").split() or [
            _read(folder / f"cpu.cfs_{name}_us") or "" for name in ("quota", "period")
        ]
        with suppress(ValueError, ZeroDivisionError):
            allowed, period = map(float, texts)
            if allowed > 0 and period > 0:
                limits.append(allowed / period)
    return limits


def allowed_cpus() -> list[int]:
    """The numbers of the CPUs that this process may use; empty where a system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def _core(cpu: int, root: Path) -> str | None:
    """The CPUs that share a core with one, which names the core."""
    topology = root / CPUS / f"cpu{cpu}/topology"
    return _read(topology / "core_cpus_list") or _read(topology / "thread_siblings_list")


def cores(cpus: Iterable[int], root: Path = SYSTEM) -> int | None:
    """How many cores these CPUs are on; fewer than CPUs where two are threads of one core."""
    names = {_core(cpu, root) for cpu in cpus}
    return len(names) if names and None not in names else None


def spread_over_cores(cpus: Iterable[int], root: Path = SYSTEM) -> list[int]:
    """The CPUs in the order in which threads should get them: one of each core first."""
    seen: dict[str | None, int] = {}
    places = {}
    for cpu in sorted(cpus):
        core = _core(cpu, root) or str(cpu)
        places[cpu] = seen[core] = seen.get(core, -1) + 1
    return sorted(places, key=lambda cpu: (places[cpu], cpu))


def governor(cpus: Iterable[int], root: Path = SYSTEM) -> str | None:
    """What sets the clocks of these CPUs, such as "performance"."""
    found = {_read(root / CPUS / f"cpu{cpu}/cpufreq/scaling_governor") for cpu in cpus} - {None}
    return ", ".join(sorted(str(name) for name in found)) or None


def boost(root: Path = SYSTEM) -> str | None:
    """Whether CPUs may run faster than their nominal clock: "on" or "off"."""
    if flag := _read(root / CPUS / "cpufreq/boost"):
        return "on" if flag == "1" else "off"
    if flag := _read(root / CPUS / "intel_pstate/no_turbo"):
        return "off" if flag == "1" else "on"
    return None


def huge_pages(root: Path = SYSTEM) -> str | None:
    """When memory comes in huge pages: "always", "madvise" or "never"."""
    text = _read(root / "sys/kernel/mm/transparent_hugepage/enabled") or ""
    return text.partition("[")[2].partition("]")[0] or None


def virtualisation(flags: Iterable[str], root: Path = SYSTEM) -> str | None:
    """What the machine is run by: a hypervisor, a container, "none"; `flags` are the CPU's."""
    # Its exit code says whether there is any.
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(["systemd-detect-virt"], capture_output=True, text=True, timeout=10)
        if name := done.stdout.strip():
            return name
    if any((root / name).exists() for name in (".dockerenv", "run/.containerenv")):
        return "container"
    flags = set(flags)
    if "hypervisor" in flags:
        return _read(root / "sys/hypervisor/type") or "hypervisor"
    return "none" if "fpu" in flags else None
