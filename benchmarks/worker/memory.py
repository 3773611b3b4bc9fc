"""The memory that a worker takes."""

import contextlib
import resource
import sys
from pathlib import Path


def peak_rss_mib() -> float:
    """The most memory that this process has had resident."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage: on Linux its peak starts from that of the process that started this one.
        fields = dict(
            line.split(":", 1) for line in status.read_text("utf-8", "replace").splitlines()
        )
        if "VmHWM" in fields:
            return int(fields["VmHWM"].split()[0]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024**2 if sys.platform == "darwin" else peak / 1024


def forget_peak_rss() -> None:
    """Reset `peak_rss_mib` where the system allows it (Linux does: see proc(5))."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_bytes(b"5")
