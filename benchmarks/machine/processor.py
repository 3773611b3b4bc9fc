"""The processor as the system shares it out: quota, cores, clock, virtualisation, memory pages.

Everything is read from files of Linux below `root`; what a system does not show is None.
"""

import math
import os
import subprocess
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

SYSTEM = Path("/")
CPUS = "sys/devices/system/cpu"
NODES = "sys/devices/system/node"
NO_QUOTA = "none"
MOST_CPUS = 2**16
"""More than any system has; a longer list is a mistake."""


def _read(path: Path) -> str | None:
    """The text of a file without surrounding blanks; None where it cannot be read or is empty."""
    with suppress(OSError, ValueError):
        return path.read_text("utf-8").strip() or None
    return None


def quota(root: Path = SYSTEM) -> str | None:
    """The processors' worth of time that control groups allow, as "1.5 CPUs", or "none"."""
    limit = quota_limit(root)
    if limit is None:
        return None
    if limit == math.inf:
        return NO_QUOTA
    return f"{limit:g} CPU{'' if limit == 1 else 's'}"


def quota_limit(root: Path = SYSTEM) -> float | None:
    """The same as a number of CPUs, which may be infinite.

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
    return min(limits, default=math.inf)


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


def online(root: Path = SYSTEM) -> list[int]:
    """The CPUs that are online; empty where a system does not tell."""
    with suppress(ValueError):
        return numbers(_read(root / CPUS / "online") or "")
    return []


def _core(cpu: int, root: Path) -> str | None:
    """The CPUs that share a core with one, which names the core."""
    topology = root / CPUS / f"cpu{cpu}/topology"
    return _read(topology / "core_cpus_list") or _read(topology / "thread_siblings_list")


def cores(cpus: Iterable[int], root: Path = SYSTEM) -> int | None:
    """How many cores these CPUs are on; fewer than CPUs where two are threads of one core."""
    names = {_core(cpu, root) for cpu in cpus}
    return len(names) if names and None not in names else None


def numbers(text: str) -> list[int]:
    """The CPUs of a list such as "0-3,8", in its order, each once; ValueError for another text."""
    cpus: list[int] = []
    for part in text.split(","):
        low, dash, high = part.partition("-")
        first, last = int(low), int(high if dash else low)
        if not 0 <= first <= last < MOST_CPUS:
            raise ValueError(f"{part} is no range of CPUs")
        cpus += range(first, last + 1)
    return list(dict.fromkeys(cpus))


def as_text(cpus: Iterable[int]) -> str:
    """The list of these CPUs, which `numbers` reads."""
    runs: list[list[int]] = []
    for cpu in cpus:
        if runs and cpu == runs[-1][-1] + 1:
            runs[-1].append(cpu)
        else:
            runs.append([cpu])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _nodes(root: Path) -> dict[int, int]:
    """The NUMA node of each CPU; empty where the system does not show any."""
    node_of: dict[int, int] = {}
    for path in (root / NODES).glob("node[0-9]*/cpulist"):
        # A node of memory alone has an empty list.
        with suppress(ValueError):
            cpus = numbers(_read(path) or "")
            node_of |= dict.fromkeys(cpus, int(path.parent.name.removeprefix("node")))
    return node_of


def node_count(cpus: Iterable[int], root: Path = SYSTEM) -> int | None:
    """How many NUMA nodes these CPUs are on."""
    node_of = _nodes(root)
    return len({node_of[cpu] for cpu in cpus if cpu in node_of}) or None


def in_order(cpus: Iterable[int], root: Path = SYSTEM) -> list[int]:
    """The CPUs in the order in which threads should get them.

    One of each core comes first, and of these those of one NUMA node: the one with most cores.
    """
    return [cpu for _, _, cpu in sorted(_places(cpus, root))]


def best_threads(cpus: Iterable[int], root: Path = SYSTEM) -> int:
    """How many threads each worker should have: the cores of that node, within the quota."""
    places = _places(cpus, root)
    first = min(places)
    on_that_node = sum(place[:2] == first[:2] for place in places)
    return max(1, int(min(on_that_node, quota_limit(root) or math.inf)))


def _places(cpus: Iterable[int], root: Path) -> list[tuple[int, tuple[int, int], int]]:
    """Of each CPU which thread of its core it is, its NUMA node, best first, and its number."""
    node_of, seen = _nodes(root), Counter[str]()
    threads = {}
    for cpu in sorted(cpus):
        core = _core(cpu, root) or str(cpu)
        threads[cpu] = seen[core]
        seen[core] += 1
    cores = Counter(node_of.get(cpu, -1) for cpu, thread in threads.items() if thread == 0)
    nodes = {cpu: node_of.get(cpu, -1) for cpu in threads}
    return [(thread, (-cores[nodes[cpu]], nodes[cpu]), cpu) for cpu, thread in threads.items()]


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
