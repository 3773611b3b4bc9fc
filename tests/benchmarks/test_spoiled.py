"""Settings that spoil a comparison are said, when a run starts and in its report."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import pandas as pd
import psutil
import pytest

from benchmarks.analysis.between_runs.environments import differing
from benchmarks.analysis.findings import compute_findings
from benchmarks.analysis.spoiled import spoiled_by
from benchmarks.bundle.reader import Bundle
from benchmarks.commands import running
from benchmarks.machine import processor
from benchmarks.machine.disturbance import Monitor
from benchmarks.reports.run.sentences import cautions
from tests.support.runs import SMALL, run
from tests.synthetic_bundles import environment_record, identity, write_bundle

SPOILING = [
    *("ENABLE_PYTORCH_EXECUTION_TRACE=1", "DISABLE_LLVM_OPT=1"),
    *("PYTHONTRACEMALLOC=10", "PYTHONDEVMODE=1", "PYTHONMALLOC=debug", "PYTHONPROFILEIMPORTTIME=1"),
    *("MALLOC_CHECK_=3", "MALLOC_PERTURB_=1", "LD_PRELOAD=…/libasan.so.8", "LD_AUDIT=…/a.so"),
    *("ONEDNN_MAX_CPU_ISA=SSE41", "DNNL_MAX_CPU_ISA=AVX2", "ATEN_CPU_CAPABILITY=default"),
    *("MKL_ENABLE_INSTRUCTIONS=SSE4_2", "OPENBLAS_CORETYPE=Prescott", "ONEDNN_VERBOSE=1"),
    *("OMP_WAIT_POLICY=ACTIVE", "KMP_BLOCKTIME=infinite"),
    *("NPY_DISABLE_CPU_FEATURES=AVX2", "XLA_FLAGS=--xla_a=1 --xla_cpu_max_isa=SSE4_2"),
    *("CUDA_LAUNCH_BLOCKING=1", "TORCH_COMPILE_DISABLE=1", "TORCHDYNAMO_DISABLE=1"),
    *("JAX_DISABLE_JIT=1", "JAX_DEBUG_NANS=True", "TF_DUMP_GRAPH_PREFIX=…/x", "MKL_VERBOSE=1"),
    *("TF_ENABLE_ONEDNN_OPTS=0", "COVERAGE_PROCESS_START=…/.coveragerc", "TORCH_LOGS=+dynamo"),
    *("OMP_THREAD_LIMIT=1", "GLIBC_TUNABLES=glibc.malloc.check=3"),
]
HARMLESS = [
    *(
        "PYTHONTRACEMALLOC=0",
        "PYTHONMALLOC=pymalloc",
        "JAX_DISABLE_JIT=false",
        "LD_PRELOAD=…/libjemalloc.so",
    ),
    *(
        "CUDA_LAUNCH_BLOCKING=0",
        "OMP_NUM_THREADS=2",
        "XLA_FLAGS=--xla_a=1",
        "ONEDNN_MAX_CPU_ISA=ALL",
    ),
    *("PYTHONUNBUFFERED=1", "PYTHONHASHSEED=0", "ONEDNN_VERBOSE=0", "TF_ENABLE_ONEDNN_OPTS=1"),
]


@pytest.mark.parametrize("setting", SPOILING)
def test_a_setting_that_spoils_is_said_once(setting: str) -> None:
    name, _, value = setting.partition("=")
    said = spoiled_by(environment_record(variables={name: value}))
    assert len(said) == 1
    assert said[0].startswith(f"{setting} ")


@pytest.mark.parametrize("setting", HARMLESS)
def test_other_settings_are_not(setting: str) -> None:
    name, _, value = setting.partition("=")
    assert spoiled_by(environment_record(variables={name: value})) == []


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        ({"cpu_quota": "1 CPU"}, "a quota of 1 CPU is below the 2 threads of each worker"),
        ({"cpu_quota": "1.5 CPUs"}, "a quota of 1.5 CPUs is below the 2 threads of each worker"),
        ({"cpu_quota": "2 CPUs"}, ""),
        ({"cpu_quota": "none", "cores": 2, "governor": "performance", "on_battery": False}, ""),
        ({"cores": 1}, "2 threads share one core, so they slow one another"),
        ({"governor": "powersave"}, "powersave"),
        ({"on_battery": True}, "battery"),
    ],
)
def test_too_little_of_a_machine_is_said(machine: dict[str, object], expected: str) -> None:
    said = spoiled_by(environment_record(machine=machine))
    assert expected in "".join(said)
    assert len(said) == bool(expected)


@pytest.mark.parametrize(
    ("device", "others", "expected"),
    [
        ("gpu", 1, ["another process was on the GPU when the run started, which slows what sh"]),
        ("gpu", 2, ["2 other processes were on the GPU when the run started, which slows what sh"]),
        ("gpu", 0, []),
        ("cpu", 1, []),
    ],
)
def test_others_on_the_gpu_are_said(device: str, others: int, expected: list[str]) -> None:
    case = identity("jax compiled") | {"device": device}
    said = spoiled_by(environment_record([case], machine={"gpu_processes": others}))
    assert [sentence.removesuffix("ares it") for sentence in said] == expected


def ledger(**entries: str) -> pd.DataFrame:
    return pd.DataFrame(
        [{**identity("jax compiled"), "entry": entry, "value": v} for entry, v in entries.items()]
    )


def test_the_ledger_says_it_too() -> None:
    read = ledger(cpu_quota="0.5 CPUs", cores="1", python_state="debug build")
    assert spoiled_by(environment_record(), read) == [
        "a quota of 0.5 CPUs is below the 2 threads of each worker",
        "2 threads share one core, so they slow one another",
        "Python: debug build",
    ]
    assert spoiled_by(environment_record(), ledger(cores="unknown", python_state="as usual")) == []


def test_a_report_warns_of_it(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "a", {"jax compiled": 1.0}, variables={"JAX_DISABLE_JIT": "1"})
    bundle = Bundle.read(folder)
    notes = cautions(bundle, compute_findings(bundle))
    said = [note.severity for note in notes if "JAX_DISABLE_JIT=1 keeps JAX" in note.text]
    assert said == ["warning"]


def add_to_ledger(folder: Path, case: str, **entries: str) -> None:
    path = folder / "ledger.csv"
    table = pd.read_csv(path)
    rows = [
        table[table["case"] == case].iloc[:1].assign(entry=entry, value=value)
        for entry, value in entries.items()
    ]
    pd.concat([table, *rows]).to_csv(path, index=False)


def test_two_bundles_differ_in_what_was_set_and_in_what_took_effect(tmp_path: Path) -> None:
    times = {"jax compiled": 1.0, "numpy eager": 2.0}
    before = write_bundle(tmp_path / "before", times, machine={"cpu_quota": "none"})
    after = write_bundle(
        tmp_path / "after", times, variables={"ONEDNN_MAX_CPU_ISA": "SSE41"},
        machine={"cpu_quota": "1 CPU", "governor": "powersave"},
    )  # fmt: skip
    for folder, pool, state in ((before, "a", "as usual"), (after, "b", "traced")):
        add_to_ledger(folder, "jax compiled", thread_pools="same", python_state=state)
        add_to_ledger(folder, "numpy eager", thread_pools=pool, python_state=state)
    add_to_ledger(after, "jax compiled", governor="powersave")
    found = differing({"before": Bundle.read(before), "after": Bundle.read(after)})
    assert found.T.to_dict("list") == {
        "CPU quota": ["none", "1 CPU"],
        "ONEDNN_MAX_CPU_ISA": ["–", "SSE41"],
        "tracing and debugging of Python": ["as usual", "traced"],
        "BLAS and OpenMP libraries (numpy eager)": ["a", "b"],
    }


def test_a_run_warns_at_its_start_and_keeps_what_it_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONTRACEMALLOC", "1")
    folder = tmp_path / "bundle"
    ended = run(capsys, *SMALL, "--steps", "60", "--launches", "1", "--output", folder)
    warning = "warning: PYTHONTRACEMALLOC=1 records every allocation"
    assert warning in ended.output
    assert ended.output.index(warning) < ended.output.index("launch 1")
    entries = pd.read_csv(folder / "ledger.csv")
    states = entries.loc[entries["entry"] == "python_state", "value"]
    assert set(states) == {"tracemalloc keeps 1 frames"}
    assert json.loads((folder / "environment.json").read_text())["python_state"] == "as usual"
    report = (folder / "report.md").read_text()
    assert "Spoiled: PYTHONTRACEMALLOC=1" in report
    assert "Spoiled: Python: tracemalloc keeps 1 frames" in report


@pytest.mark.usefixtures("undrawn")
def test_a_run_warns_of_other_load_and_watches_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    watched: list[tuple[object, list[list[str]]]] = []

    def watch(monitor: Monitor, cpus: Collection[int], workers: Collection[int]) -> None:
        watched.append((cpus, [psutil.Process(pid).cmdline()[1:3] for pid in workers]))
        watch_truly(monitor, cpus, workers)

    watch_truly = Monitor.watch
    monkeypatch.setattr(Monitor, "watch", watch)
    monkeypatch.setattr(running, "other_load", lambda _: (0.4, ["stress\x1b", "make"]))
    folder = tmp_path / "bundle"
    cpus = processor.allowed_cpus()[-1:]
    asked = ("--cpus", str(cpus[0]), "--steps", "60", "--launches", "1")
    ended = run(capsys, *SMALL, *asked, "--output", folder)
    warning = (
        r"warning: other processes use 40% of the processors' time now (the busiest: stress\x1b, "
        "make); they disturb what is measured"
    )
    assert warning in ended.output
    assert ended.output.index(warning) < ended.output.index("launch 1")
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert [path for path in files if b"stress" in path.read_bytes()] == []
    # The workers of the case, its control and the floor.
    assert watched == [(tuple(cpus), [["-m", "benchmarks.worker"]] * 3)]
    assert pd.read_csv(folder / "rounds.csv")["other_share"].between(0, 1).all()
    report = (folder / "report.md").read_text(encoding="utf-8")
    assert "- other processes: " in report


def test_a_variant_with_fewer_threads_spoils_nothing() -> None:
    ledger = pd.DataFrame(
        [("numpy eager", "cores", "2"), ("numpy eager (one)", "cores", "1")],
        columns=["case", "entry", "value"],
    )
    overrides = {"case": "numpy eager (one)", "entry": "overrides", "value": "threads=1"}
    record = environment_record(run={"threads": 2})
    assert spoiled_by(record, ledger) == ["2 threads share one core, so they slow one another"]
    assert spoiled_by(record, pd.concat([ledger, pd.DataFrame([overrides])])) == []
