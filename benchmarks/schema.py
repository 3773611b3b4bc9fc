"""Names that stand in a bundle: its tables and columns, levels, stages, entries and parts."""

from __future__ import annotations

from dataclasses import dataclass

EXACT_BOUND = 1e-9

LEVELS = ("exact", "as timed")

STAGES = (
    "logits",
    "loss",
    "gradients",
    "parameters_1_step",
    "loss_10_steps",
    "parameters_10_steps",
)

HOST_SECONDS, INPUT_SECONDS, PEAK_FLOPS = "host_seconds", "input_seconds", "peak_flops"
"""The parts, by their names in parts.csv: what a step costs whatever its size, what fetching its
batch takes where that can be told apart (both in seconds a step), and, of a floor, the operations a
second of a large matrix product."""

ACCURACY_MARGIN_POINTS = 0.3
"""Test accuracies within so many percentage points of one another are as good as equal. On MNIST's
10,000 test images one standard error of an accuracy of 98% is 0.14 points."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing that may differ between cases."""

    title: str
    unfair: bool = False
    """Whether a ranking of cases that differ in it would be unfair."""


ENTRIES = {
    "device": Entry(title="device of the results", unfair=True),
    "device_name": Entry(title="its name", unfair=True),
    "precision": Entry(title="type of the parameters", unfair=True),
    "product": Entry(title="precision of a product, by effect", unfair=True),
    "epsilon": Entry(title="Adam's ε", unfair=True),
    "threads": Entry(title="threads set", unfair=True),
    "cpus_allowed": Entry(title="CPUs allowed", unfair=True),
    "cpus_used": Entry(title="CPUs used (CPU time over wall time)"),
    "compiled_while_timed": Entry(title="compilations within blocks"),
    "programs": Entry(title="programs compiled by the first call"),
    "compiler": Entry(title="compiler"),
    "optimizer": Entry(title="optimizer"),
    "steps_per_call": Entry(title="steps a call"),
    "input": Entry(title="batches"),
    "parameters": Entry(title="a step's new parameters"),
    "denormals": Entry(title="denormal numbers"),
    "drawn": Entry(title="initial parameters and batches (checksum)", unfair=True),
    "python": Entry(title="Python"),
    "numpy": Entry(title="NumPy"),
    "variables": Entry(title="environment variables"),
}

IDENTITY = ("case", "backend", "mode", "input", "precision", "device", "adam", "repetition")

LAUNCH = ("launch", "seed")

COLUMNS = {
    "samples": (
        *LAUNCH,
        "round",
        "position",
        *IDENTITY,
        "batch_size",
        "steps",
        "seconds",
        "dispatch_seconds",
        "cpu_seconds",
        "compilations",
    ),
    "accuracy": (
        *LAUNCH,
        *IDENTITY,
        "step",
        "train_seconds",
        "train_loss",
        "validation_loss",
        "validation_accuracy",
    ),
    "readings": (
        *LAUNCH,
        *IDENTITY,
        "step",
        "updates",
        "images",
        "loss",
        "accuracy",
    ),
    "certificates": (
        *LAUNCH,
        *IDENTITY,
        "level",
        "stage",
        "parameter",
        "relative_error",
        "bound",
        "passed",
        "not_read",
    ),
    "ledger": (*LAUNCH, *IDENTITY, "entry", "value"),
    "parts": (*LAUNCH, *IDENTITY, "part", "value"),
    "launches": (
        *LAUNCH,
        *IDENTITY,
        "import_seconds",
        "build_seconds",
        "first_call_seconds",
        "first_call_steps",
        "certificate_seconds",
        "warmup_steps",
        "warmup_seconds",
        "warmup_steady",
        "block_steps",
        "steps",
        "train_seconds",
        "validation_accuracy",
        "test_accuracy",
        "test_loss",
        "peak_rss_mib",
        "peak_device_mib",
        "energy_mj_per_step",
    ),
    "rounds": (
        *LAUNCH,
        "round",
        "probe_ms",
        "load_average",
        "cpu_mhz",
        "steal_share",
        "gpu_mhz",
        "gpu_celsius",
        "gpu_throttled",
        "disturbed",
    ),
    "outcomes": (*IDENTITY, "status", "launch", "reason"),
}
"""The tables written as a run goes, and their columns. `outcomes` has the cases that did not run
to their end: skipped or failed, and why; `readings` has those on batches of validation images,
where the preset wants them: see tutorial.py."""

ADDED_LATER = ("readings",)
"""Tables that older bundles lack, and need not have."""

COLUMNS_ADDED_LATER = dict.fromkeys(COLUMNS, ("repetition",)) | {
    "rounds": (),
    "launches": ("repetition", "peak_device_mib", "energy_mj_per_step"),
}
"""Columns that older bundles lack: they are read as NaN."""
