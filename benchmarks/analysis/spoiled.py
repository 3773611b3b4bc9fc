"""Settings that spoil a comparison: tracing, debugging, fewer instructions, too few processors.

The same sentences are said at the start of a run, by its environment alone, and in its report.
"""

import re

import pandas as pd

from benchmarks.analysis.ledger_differences import chosen_by, overridden
from benchmarks.bundle.records import Environment

ON = r"(?!(0|false|no|off|none|default|all)?$)"
"""The beginning of a value that turns something on."""
TRACES = "traces Python, which slows what runs operation by operation most"
CHECKS = "adds checks to every operation"
LOGS = "writes while the training goes on"
FEWER = "keeps a library from instructions that the processor has"

SETTINGS = {
    # Python.
    ("PYTHONTRACEMALLOC", ON): "records every allocation of Python, which slows it several times",
    ("PYTHON(DEVMODE|DUMPREFS|ASYNCIODEBUG)", ON): "makes Python check what it does",
    ("PYTHONMALLOC", r"(\w+_)?(debug|malloc)$"): "replaces how Python allocates memory",
    ("PYTHON(PROFILEIMPORTTIME|VERBOSE|PERFSUPPORT|_PERF_JIT_SUPPORT)", ON): TRACES,
    ("(COVERAGE|COV_CORE|SCALENE|VIZTRACER)_.*", ON): TRACES,
    # Memory and the loader.
    ("MALLOC_(CHECK|PERTURB)_", ON): "checks or overwrites all memory",
    ("GLIBC_TUNABLES", r".*(malloc\.(check|perturb)|hwcaps)"): "changes how the C library works",
    (
        "LD_PRELOAD|DYLD_INSERT_LIBRARIES",
        ".*(asan|tsan|msan|ubsan|vgpreload|valgrind|heaptrack|memray|dmalloc|efence)",
    ): "loads a checker into every process",
    ("(ASAN|TSAN|UBSAN|LSAN|MSAN)_OPTIONS|VALGRIND.*", ON): "is for a checker of memory",
    ("LD_(AUDIT|DEBUG|PROFILE)", ON): "watches the calls of libraries",
    # Linear algebra and threads.
    ("(ONEDNN|DNNL)_MAX_CPU_ISA", ON): FEWER,
    ("ATEN_CPU_CAPABILITY|MKL_(ENABLE_INSTRUCTIONS|CBWR|DEBUG_CPU_TYPE)|FBGEMM_.*", "."): FEWER,
    ("OPENBLAS_CORETYPE|BLIS_ARCH_TYPE|NPY_(DISABLE|ENABLE)_CPU_FEATURES", ON): FEWER,
    ("(ONEDNN|DNNL|MKLDNN|MKL|OPENBLAS)_VERBOSE.*|OMP_DISPLAY_.*|KMP_SETTINGS", ON): LOGS,
    (
        "(OMP_WAIT_POLICY|KMP_BLOCKTIME|GOMP_SPINCOUNT)",
        "active|inf",
    ): "keeps threads running that wait for work, so that they run in other cases' time",
    ("(OMP|KMP)_.*THREAD_LIMIT|OMP_DYNAMIC|KMP_DYNAMIC_MODE", ON): "changes the number of threads",
    # The frameworks.
    (
        "TORCH_COMPILE_(DISABLE|DEBUG)|TORCHDYNAMO_DISABLE|TORCHINDUCTOR_.*DEBUG.*",
        ON,
    ): "keeps torch.compile from compiling as it does",
    (
        "TORCH_(LOGS|TRACE|SHOW_DISPATCH_TRACE)|TORCHINDUCTOR_TRACE"
        "|ENABLE_PYTORCH_EXECUTION_TRACE|COMPILE_STROBELIGHT_.*",
        ON,
    ): LOGS,
    ("DISABLE_(LLVM|PTXAS)_OPT|DISABLE_DNNL_BACKEND", ON): "keeps a compiler from optimising",
    ("PYTORCH_NO_.*MEMORY_CACHING", ON): "allocates memory anew for every operation",
    ("TF_ENABLE_ONEDNN_OPTS", "0|false"): "keeps TensorFlow from its fastest products",
    ("TF_(DUMP.*|CPP_(MAX_VLOG_LEVEL|VMODULE)|BFC_MEMORY_DUMP|LOG_XLA_ACTIVITY)", ON): LOGS,
    ("TF_(DETERMINISTIC_OPS|CUDNN_DETERMINISTIC)", ON): "trades speed for a fixed order",
    ("JAX_DISABLE_JIT", ON): "keeps JAX from compiling",
    ("JAX_(DEBUG_.*|ENABLE_CHECKS|CHECK_TRACER_LEAKS|LOG_COMPILES|EXPLAIN_.*)", ON): CHECKS,
    ("XLA_FLAGS", r".*--xla_cpu_(max_isa|prefer_vector_width)="): FEWER,
    ("(TF_)?XLA_FLAGS", r".*--(tf_)?xla_(dump|hlo_profile|clustering_debug)"): LOGS,
    ("XLA_FLAGS", ".*--xla_backend_optimization_level=[0-2]"): "keeps XLA from optimising",
    # GPUs.
    ("CUDA_LAUNCH_BLOCKING", ON): "makes the host wait for every kernel of the GPU",
    ("CUDA_(DEVICE_WAITS_ON_EXCEPTION|ENABLE_COREDUMP.*|FORCE_PTX_JIT)", ON): CHECKS,
    ("(NVIDIA|TORCH_ALLOW)_TF32_.*OVERRIDE", "."): "sets the precision of products",
}
"""What each environment variable does, by patterns of its name and of its value."""


def spoiled_by(environment: Environment, ledger: pd.DataFrame | None = None) -> list[str]:
    """What spoils comparisons with other runs, and within this one, a sentence each.

    `ledger` is a table like ledger.csv, once there is one.
    """
    if ledger is not None:
        # A variant has its own number of threads on purpose.
        variants = overridden(ledger)
        chosen = [case for case, overrides in variants.items() if "cores" in chosen_by(overrides)]
        ledger = ledger[~ledger["case"].isin(chosen)]
    machine, threads = environment.machine, environment.run.threads
    sentences = [
        f"{name}={value} {effect}"
        for name, value in environment.variables.items()
        for (names, values), effect in SETTINGS.items()
        if re.fullmatch(names, name) and re.match(values, value, re.IGNORECASE)
    ]
    quotas, cores, states = (
        {str(value) for value in first if value is not None} | _values(ledger, entry)
        for entry, first in (
            ("cpu_quota", [machine.cpu_quota]),
            ("cores", []),
            ("python_state", [environment.python_state]),
        )
    )
    for quota in sorted(quotas):
        if (limit := _number(quota)) is not None and limit < threads:
            sentences.append(f"a quota of {quota} is below the {threads} threads of each worker")
    counts = [count for text in cores if (count := _number(text)) is not None]
    fewest = min([*counts, *([machine.cores] if machine.cores else [])], default=threads)
    if fewest < threads:
        cores_shared = "one core" if fewest == 1 else f"{fewest:g} cores"
        sentences.append(f"{threads} threads share {cores_shared}, so they slow one another")
    sentences += [f"Python: {state}" for state in sorted(states - {"as usual"})]
    if "powersave" in (machine.governor or ""):
        sentences.append("the frequency governor is powersave, so clocks may stay low")
    if machine.on_battery:
        sentences.append("the machine ran on its battery, so clocks may be low")
    others = machine.gpu_processes or 0
    if others and any(case.device == "gpu" for case in environment.run.cases):
        held = "another process was" if others == 1 else f"{others} other processes were"
        sentences.append(f"{held} on the GPU when the run started, which slows what shares it")
    return sentences


def _values(ledger: pd.DataFrame | None, entry: str) -> set[str]:
    """The values of an entry over all cases and launches."""
    return set() if ledger is None else set(ledger.loc[ledger["entry"] == entry, "value"].dropna())


def _number(text: str) -> float | None:
    """The number that a text begins with; None where it begins with none."""
    found = re.match(r"\d+(\.\d+)?", text)
    return float(found[0]) if found else None
