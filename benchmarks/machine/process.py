"""What this process runs on, as it is and not as it was asked for: libraries, threads, Python.

Nothing here raises; what cannot be read says so.
"""

import gc
import os
import platform
import re
import sys
import sysconfig
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

DUPLICATES = "KMP_DUPLICATE_LIB_OK"
USUAL = "as usual"
_MEMORY = re.compile(
    r"/(lib(?:jemalloc|tcmalloc|mimalloc|hoard|snmalloc|rpmalloc|asan|tsan|ubsan|lsan|msan)"
    r"[^/\s]*\.(?:so|dylib)[^/\s]*|vgpreload[^/\s]*|ld-musl[^/\s]*)\s*$",
    re.MULTILINE,
)
"""Libraries that replace the C library or its allocation of memory, in a list of what is mapped."""


def thread_pools() -> str:
    """The BLAS and OpenMP libraries that are loaded, with their threads as they are set now."""
    # It sets this variable when it is imported, which nobody has asked for.
    kept = os.environ.get(DUPLICATES)
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return "not read: threadpoolctl is not installed"
    finally:
        if kept is None:
            os.environ.pop(DUPLICATES, None)
    try:
        pools = threadpool_info()
    except Exception as error:  # it calls functions of whatever libraries it finds
        return f"not read: {type(error).__name__}"
    return "; ".join(sorted({_pool(pool) for pool in pools})) or "none found"


def _pool(pool: dict[str, Any]) -> str:
    """One library: "openblas 0.3.30 (SkylakeX), 2 threads"."""
    name = pool["internal_api"] if pool["user_api"] == "blas" else pool["prefix"]
    version, kind = pool.get("version"), pool.get("architecture")
    threads = pool["num_threads"]
    about = f"{name}{f' {version}' if version else ''}{f' ({kind})' if kind else ''}"
    return f"{about}, {threads} thread{'' if threads == 1 else 's'}"


def libraries(maps: Path = Path("/proc/self/maps")) -> str:
    """The C library, and what has been loaded before it, or to replace its allocation of memory."""
    c_library = " ".join(platform.libc_ver()).strip() or "unknown C library"
    mapped = ""
    with suppress(OSError, ValueError):
        mapped = maps.read_text("utf-8", errors="replace")
    loaded = {
        name
        for path in re.split("[ :]+", os.environ.get("LD_PRELOAD", ""))
        if (name := Path(path).name) and re.search(rf"/{re.escape(name)}$", mapped, re.MULTILINE)
    }
    return "; ".join([c_library, *sorted(loaded | set(_MEMORY.findall(mapped)))])


def python() -> str:
    """The version of Python, with what of its build or start makes another program of it."""
    build = []
    if platform.python_implementation() != "CPython":
        build.append(platform.python_implementation())
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        build.append("with GIL" if getattr(sys, "_is_gil_enabled", bool)() else "without GIL")
    jit = getattr(sys, "_jit", None)
    if jit is not None and jit.is_enabled():
        build.append("with JIT")
    if sys.flags.optimize:
        build.append("-" + "O" * sys.flags.optimize)
    return ", ".join([platform.python_version(), *build])


def python_state() -> str:
    """What slows Python down: tracing, debugging; "as usual" where there is none."""
    found = []
    if tracemalloc.is_tracing():
        found.append(f"tracemalloc keeps {tracemalloc.get_traceback_limit()} frames")
    if hasattr(sys, "gettotalrefcount"):
        found.append("debug build")
    if sys.flags.dev_mode:
        found.append("development mode")
    allocator = os.environ.get("PYTHONMALLOC", "")
    if allocator and not sys.flags.ignore_environment:
        found.append(f"allocator {allocator}")
    if sys.gettrace() or _monitored():
        found.append("traced")
    if sys.getprofile():
        found.append("profiled")
    if gc.get_debug():
        found.append("garbage collector debugged")
    return "; ".join(found) or USUAL


def _monitored() -> bool:
    """Whether a tool such as coverage listens to events of Python 3.12 or later."""
    monitoring = getattr(sys, "monitoring", None)
    if monitoring is None:
        return False
    tools = [tool for tool in range(6) if monitoring.get_tool(tool)]
    return any(monitoring.get_events(tool) for tool in tools)


def priority() -> str:
    """How the system schedules this process: "nice 0", with the policy where it is another."""
    text = "unknown"
    with suppress(OSError, AttributeError):
        text = f"nice {os.getpriority(os.PRIO_PROCESS, 0)}"
        if (policy := os.sched_getscheduler(0)) != os.SCHED_OTHER:
            text += f", scheduling policy {policy}"
    return text
