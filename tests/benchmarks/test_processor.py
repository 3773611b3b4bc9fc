"""What is read of the machine and of a process, from files that stand in for a system's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.machine import process, processor, settings
from benchmarks.machine.settings import ROOT, framework_variables, worker_environment
from benchmarks.worker import ledger

V2 = "30 23 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw"
V1 = "31 23 0:28 {root} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"


def system(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{text}\n")
    return folder


@pytest.mark.parametrize(
    ("mount", "group", "files", "expected"),
    [
        (V2, "0::/", {"cpu.max": "100000 100000"}, "1 CPU"),
        (V2, "0::/a/b", {"a/cpu.max": "150000 100000", "a/b/cpu.max": "max 100000"}, "1.5 CPUs"),
        (V2, "0::/a/b", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "50000 100000"}, "0.5 CPUs"),
        (V2, "0::/a", {"a/cpu.max": "max 100000"}, "none"),
        (V2, "0::/../../x", {"cpu.max": "200000 100000"}, "2 CPUs"),
        (V2, "0::/a", {"a/cpu.max": "nonsense"}, "none"),
        (
            V1.format(root="/"),
            "4:cpu,cpuacct:/c\n0::/",
            {
                "cpu,cpuacct/c/cpu.cfs_quota_us": "50000",
                "cpu,cpuacct/c/cpu.cfs_period_us": "100000",
            },
            "0.5 CPUs",
        ),
        (V2.replace(" / /", " /pod /"), "0::/pod/a", {"a/cpu.max": "100000 100000"}, "1 CPU"),
        (
            V1.format(root="/docker/c"),
            "4:cpu,cpuacct:/docker/c",
            {"cpu,cpuacct/cpu.cfs_quota_us": "-1", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            "none",
        ),
        (
            V1.format(root="/docker/c"),
            "4:cpu,cpuacct:/docker/c",
            {"cpu,cpuacct/cpu.cfs_quota_us": "100000", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            "1 CPU",
        ),
    ],
)
def test_the_smallest_quota_of_all_groups_counts(
    tmp_path: Path, mount: str, group: str, files: dict[str, str], expected: str
) -> None:
    proc = {"proc/self/cgroup": group, "proc/self/mountinfo": mount}
    root = system(tmp_path, proc | {f"sys/fs/cgroup/{name}": text for name, text in files.items()})
    assert processor.quota(root) == expected


def test_threads_go_to_different_cores_first(tmp_path: Path) -> None:
    siblings = {0: "0-1", 1: "0-1", 2: "2-3", 3: "2-3"}
    topology = "sys/devices/system/cpu/cpu{}/topology/core_cpus_list"
    root = system(tmp_path, {topology.format(cpu): text for cpu, text in siblings.items()})
    assert processor.in_order([0, 1, 2, 3], root) == [0, 2, 1, 3]
    assert processor.cores([0, 1], root) == 1
    assert processor.cores([0, 2, 3], root) == 2


def machine(folder: Path, cores: list[str], nodes: list[str], quota: float | None = None) -> Path:
    """A system with these cores and NUMA nodes, each the list of its CPUs, and a quota."""
    cpus, group = "sys/devices/system/cpu", {"proc/self/cgroup": "0::/", "proc/self/mountinfo": V2}
    topology = {
        f"{cpus}/cpu{cpu}/topology/thread_siblings_list": core
        for core in cores
        for cpu in processor.numbers(core)
    }
    places = {
        f"sys/devices/system/node/node{number}/cpulist": node for number, node in enumerate(nodes)
    }
    limits = {"sys/fs/cgroup/cpu.max": f"{quota * 1e5:.0f} 100000"} if quota else {}
    return system(folder, topology | places | group | limits)


NEIGHBOURS = ["0-1", "2-3", "4-5", "6-7"], ["0-3", "4-7"]
"""Cores and nodes of two sockets whose threads are numbered core by core."""
APART = ["0,64", "1,65", "2,66", "3,67"], ["0-1,64-65", "2-3,66-67"]
"""The same with the second threads numbered after all first ones."""


@pytest.mark.parametrize(
    ("layout", "allowed", "quota", "expected", "threads", "nodes"),
    [
        (NEIGHBOURS, "0-7", None, "0,2,4,6,1,3,5,7", 2, 2),
        (APART, "0-3,64-67", None, "0-3,64-67", 2, 2),
        # The node with most cores comes first, and only what is allowed counts.
        (NEIGHBOURS, "1,4-7", None, "4,6,1,5,7", 2, 2),
        (NEIGHBOURS, "0-1,4,6", None, "4,6,0-1", 2, 2),
        (APART, "64,2-3,66", None, "2-3,64,66", 2, 2),
        (APART, "0,64", None, "0,64", 1, 1),
        (NEIGHBOURS, "0-7", 1.5, "0,2,4,6,1,3,5,7", 1, 2),
        (NEIGHBOURS, "0-7", 0.5, "0,2,4,6,1,3,5,7", 1, 2),
        (NEIGHBOURS, "0-7", 3, "0,2,4,6,1,3,5,7", 2, 2),
        # The files of CPUs that were offline are missing; a node may have memory alone.
        ((["0-1", "2"], ["0-3", ""]), "0-3", None, "0,2-3,1", 3, 1),
        ((["0-1", "2-3"], []), "0-3", None, "0,2,1,3", 2, None),
    ],
)
def test_threads_go_to_the_cores_of_one_node_first(
    tmp_path: Path,
    layout: tuple[list[str], list[str]],
    allowed: str,
    quota: float | None,
    expected: str,
    threads: int,
    nodes: int | None,
) -> None:
    root, cpus = machine(tmp_path, *layout, quota), processor.numbers(allowed)
    assert processor.as_text(processor.in_order(cpus, root)) == expected
    assert processor.best_threads(cpus, root) == threads
    assert processor.node_count(cpus, root) == nodes


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "3-1", "1,,2", "0-99999999999", "1.5"])
def test_what_is_no_list_of_cpus(text: str) -> None:
    with pytest.raises(ValueError, match=r"int\(\)|no range"):
        processor.numbers(text)


def test_lists_of_cpus_keep_their_order() -> None:
    assert processor.numbers("8,0-2,1") == [8, 0, 1, 2]
    assert processor.as_text([8, 0, 1, 2]) == "8,0-2"
    assert processor.as_text([]) == ""


def test_the_clock_and_the_pages(tmp_path: Path) -> None:
    cpus = "sys/devices/system/cpu"
    root = system(
        tmp_path,
        {
            f"{cpus}/cpu0/cpufreq/scaling_governor": "powersave",
            f"{cpus}/cpu1/cpufreq/scaling_governor": "performance",
            f"{cpus}/intel_pstate/no_turbo": "1",
            "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never",
        },
    )
    assert processor.governor([0, 1], root) == "performance, powersave"
    assert processor.boost(root) == "off"
    assert processor.huge_pages(root) == "madvise"


def test_a_system_that_shows_nothing_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    assert processor.quota(tmp_path) is None
    assert processor.cores([0, 1], tmp_path) is None
    assert processor.in_order([1, 0], tmp_path) == [0, 1]
    assert processor.best_threads([1, 0], tmp_path) == 2
    assert processor.node_count([1, 0], tmp_path) is None
    assert processor.governor([0], tmp_path) is None
    assert processor.boost(tmp_path) is None
    assert processor.huge_pages(tmp_path) is None
    assert processor.virtualisation([], tmp_path) is None
    assert processor.virtualisation(["fpu", "hypervisor"], tmp_path) == "hypervisor"
    assert process.libraries(tmp_path / "maps")
    monkeypatch.delattr("os.sched_getaffinity")
    assert processor.allowed_cpus() == []
    assert processor.cores([], tmp_path) is None


def test_a_library_that_was_to_be_loaded_first_shows_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/home/ann/mine.so:/home/ann/missing.so")
    (tmp_path / "maps").write_text("7f00-7f01 r-xp 0 08:01 1 /home/ann/mine.so\n")
    assert process.libraries(tmp_path / "maps").endswith("; mine.so")


def test_libraries_that_replace_memory_show(tmp_path: Path) -> None:
    (tmp_path / "maps").write_text(
        "7f00-7f01 r-xp 0 08:01 1 /home/ann/libjemalloc.so.2\n7f00-7f01 r-xp 0 08:01 1 /lib/c.so\n"
    )
    assert process.libraries(tmp_path / "maps").endswith("; libjemalloc.so.2")


@pytest.mark.parametrize(
    ("options", "variables", "expected"),
    [
        ([], {}, "as usual"),
        ([], {"PYTHONTRACEMALLOC": "10"}, "tracemalloc keeps 10 frames"),
        (["-X", "dev", "-c", "{}"], {}, "development mode"),
        ([], {"PYTHONMALLOC": "malloc_debug"}, "allocator malloc_debug"),
        (["-c", "import sys; sys.settrace(lambda *_: None); {}"], {}, "traced"),
        (["-c", "import sys; sys.setprofile(lambda *_: None); {}"], {}, "profiled"),
    ],
)
def test_what_slows_python_down_is_read(
    options: list[str], variables: dict[str, str], expected: str
) -> None:
    program = "from benchmarks.machine import process; print(process.python_state())"
    options = [one.format(program) for one in options] or ["-c", program]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, *options], cwd=ROOT, env=clean | variables, capture_output=True, text=True
    )
    assert expected in done.stdout, done.stderr


def test_thread_pools_show_what_took_effect() -> None:
    import numpy as np
    from threadpoolctl import threadpool_limits

    np.ones((2, 2)) @ np.ones((2, 2))
    with threadpool_limits(1):
        assert "1 thread" in process.thread_pools()
    assert "openblas" in process.thread_pools()


def test_the_ledger_of_a_process_is_text() -> None:
    entries = ledger.of_process()
    assert all(isinstance(value, str) and value for value in entries.values())
    assert entries["numpy_instructions"] != ledger.UNKNOWN


NAMES = [
    "ENABLE_PYTORCH_EXECUTION_TRACE",
    "DISABLE_LLVM_OPT",
    "TEARDOWN_CUPTI",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_VERBOSE",
    "ATEN_CPU_CAPABILITY",
    "MKL_CBWR",
    "OPENBLAS_CORETYPE",
    "GOTO_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NPY_DISABLE_CPU_FEATURES",
    "KMP_AFFINITY",
    "OMP_WAIT_POLICY",
    "GOMP_SPINCOUNT",
    "MALLOC_ARENA_MAX",
    "MALLOC_CONF",
    "MIMALLOC_LARGE_OS_PAGES",
    "TCMALLOC_RELEASE_RATE",
    "GLIBC_TUNABLES",
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "LD_BIND_NOW",
    "LD_AUDIT",
    "TF_XLA_FLAGS",
    "TF_NUM_INTRAOP_THREADS",
    "XLA_FLAGS",
    "JAX_DISABLE_JIT",
    "PJRT_NPROC",
    "TORCH_COMPILE_DISABLE",
    "TORCHINDUCTOR_MAX_AUTOTUNE",
    "TORCHDYNAMO_DISABLE",
    "PYTORCH_ALLOC_CONF",
    "KERAS_BACKEND",
    "AOT_INDUCTOR_ENABLE_LTO",
    "INDUCTOR_PROVENANCE",
    "TRITON_INTERPRET",
    "PYTHONTRACEMALLOC",
    "PYTHON_JIT",
    "PYTHONPATH",
    "CUDA_LAUNCH_BLOCKING",
    "NVIDIA_TF32_OVERRIDE",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDNN_LOGLEVEL_DBG",
    "NCCL_DEBUG",
    "VECLIB_MAXIMUM_THREADS",
    "THP_MEM_ALLOC_ENABLE",
    "CXX",
    "NUMPY_MADVISE_HUGEPAGE",
    "COVERAGE_PROCESS_START",
    "FBGEMM_ENABLE_INSTRUCTIONS",
]
OTHERS = ["HOME", "AWS_SECRET_ACCESS_KEY", "TF_VAR_password", "TF_CLI_ARGS", "GITHUB_TOKEN", "USER"]


def test_variables_that_bear_on_speed_are_recorded_and_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in (*NAMES, *OTHERS):
        monkeypatch.setenv(name, "1")
    recorded = framework_variables()
    assert [name for name in NAMES if name not in recorded] == []
    assert [name for name in OTHERS if name in recorded] == []


def test_caches_and_settings_of_the_user_are_out_of_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = tmp_path / "theirs"
    names = (
        *(
            "JAX_COMPILATION_CACHE_DIR",
            "TORCHINDUCTOR_CACHE_DIR",
            "TRITON_CACHE_DIR",
            "TRITON_HOME",
        ),
        *(
            "CUDA_CACHE_PATH",
            "TORCH_EXTENSIONS_DIR",
            "TF_JIT_CACHE_DIR",
            "KERAS_HOME",
            "TORCH_HOME",
        ),
        *("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "PYTORCH_KERNEL_CACHE_PATH"),
    )
    for name in names:
        monkeypatch.setenv(name, str(theirs / name))
    monkeypatch.setenv("TORCHINDUCTOR_FX_GRAPH_REMOTE_CACHE", "1")
    monkeypatch.setenv("XLA_FLAGS", f"--xla_a=1 --xla_gpu_kernel_cache_file={theirs} --xla_b=2")
    monkeypatch.setenv("TF_XLA_FLAGS", f"--tf_xla_persistent_cache_directory={theirs}")
    environment = worker_environment("cpu", 1, tmp_path / "scratch")
    assert [name for name, value in environment.items() if str(theirs) in value] == []
    assert "TORCHINDUCTOR_FX_GRAPH_REMOTE_CACHE" not in environment
    assert environment["XLA_FLAGS"] == "--xla_a=1 --xla_b=2"
    scratch = str(tmp_path / "scratch")
    assert all(environment[name].startswith(scratch) for name in settings.SCRATCH)


def test_jax_neither_fills_nor_reads_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("jax")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(theirs))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    program = "import jax; jax.jit(lambda x: x @ x + 1)(jax.numpy.ones((8, 8))).block_until_ready()"
    environment = worker_environment("cpu", 1, tmp_path / "scratch")
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    assert list(theirs.iterdir()) == []
