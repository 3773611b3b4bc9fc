"""The schema of a bundle: what stands in its cells (here), and its tables (tables.py).

Workers use the names here; they need not be able to read the tables.
"""

import re
from dataclasses import dataclass

EXACT_BOUND = 1e-9
"""The largest relative error that a certificate allows at the exact level."""

LEVELS = ("exact", "as timed")

HORIZON = "parameters_many_steps"
"""The stage of the exact level alone: see horizon.py."""
STAGES = (
    *("logits", "loss", "gradients"),
    *("parameters_1_step", "loss_10_steps", "parameters_10_steps"),
)

BLOCK_CHECKS = (
    *("parameters", "rate", "decay", "first moments", "second moments"),
    *("large gradients", "steps", "silent pixels", "unlit pixels", "data values"),
    *("beginnings", "logits"),
)
"""What is compared of a timed block that is trained again: see deviations.py."""

PARAMETERS = ("weight", "bias")
"""What each layer has."""


def parameter_names(layers: int) -> list[str]:
    """The parameters of a network of so many layers, as in "layer 2 bias"."""
    return [f"layer {layer} {kind}" for layer in range(1, layers + 1) for kind in PARAMETERS]


def figures(level: str, layers: int) -> list[tuple[str, str]]:
    """The stage and parameter of every figure that a certificate has at one of its levels.

    The parameter is empty where a stage has a single figure.
    """
    names = parameter_names(layers)
    single = ("logits", "loss", "loss_10_steps")
    stages = (*STAGES, HORIZON) if level == LEVELS[0] else STAGES
    return [(stage, name) for stage in stages for name in ([""] if stage in single else names)]


def block_figures(layers: int) -> list[tuple[str, str]]:
    """The check and parameter of every figure that a timed block's certificate always has.

    Whether pixels are silent, and which are never lit, depends on the images.
    """
    of_parameters = [
        (check, name) for check in BLOCK_CHECKS[:6] for name in parameter_names(layers)
    ]
    single = [(check, "") for check in ("steps", "beginnings", "logits")]
    return [*of_parameters, ("unlit pixels", "layer 1 weight"), *single]


HOST_SECONDS, INPUT_SECONDS, PEAK_FLOPS = "host_seconds", "input_seconds", "peak_flops"
"""The parts by their names in parts.csv: what the host takes for a step of any size and, where it
can be measured apart, what fetching its batch takes (both in seconds a step); and a floor's rate
for a large matrix product (operations a second)."""
COMMUNICATION_SECONDS = "communication_seconds"
"""The part of a group's step that a sum of all gradients over its ranks takes alone, in seconds."""

OTHER_SHARE = 0.05
"""The share of the processors' time above which other processes disturb a round or spoil a run.

On 2 cores of an AMD EPYC that did nothing else, they took at most 0.9% in 13 rounds of two seconds,
and 4.8% in 77 looks of half a second."""
ACCURACY_MARGIN_POINTS = 0.3
"""Test accuracies that differ by less than this many percentage points are treated as equivalent.
On MNIST's 10,000 test images one standard error of an accuracy of 98% is 0.14 points."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing that may differ between cases, as the ledger names it."""

    title: str
    unfair: bool = False
    """Whether it is unfair to rank cases that differ in this against each other."""
    listed: bool = True
    """Whether reports list it where cases differ in it: not where it has a table of its own."""


CODE_LINES, OVERRIDES, REPEATS, EVIDENCE = "code_lines", "overrides", "repeats", "evidence"
SUBSTITUTED = ", with products by"
"""How the ledger says that other libraries computed the products of the evidence in float64."""
ENTRIES = {
    "device": Entry(title="device of the results", unfair=True),
    "device_name": Entry(title="its name", unfair=True),
    "precision": Entry(title="type of the parameters", unfair=True),
    "product": Entry(title="precision of a product, by effect", unfair=True),
    "epsilon": Entry(title="Adam's ε", unfair=True),
    "threads": Entry(title="threads set", unfair=True),
    "cpus_allowed": Entry(title="CPUs allowed", unfair=True),
    "cores": Entry(title="cores that they are on", unfair=True),
    "cpu_quota": Entry(title="CPU quota", unfair=True),
    "governor": Entry(title="CPU frequency governor", unfair=True),
    "priority": Entry(title="priority", unfair=True),
    "cpus_used": Entry(title="CPUs used (CPU time over wall time)"),
    "compiled_while_timed": Entry(title="compilations within blocks"),
    "programs": Entry(title="programs compiled by the first call"),
    "compiler": Entry(title="compiler"),
    "optimizer": Entry(title="optimizer"),
    "steps_per_call": Entry(title="steps a call"),
    "products": Entry(title="libraries of the matrix products"),
    OVERRIDES: Entry(title="overrides of a variant"),
    "input": Entry(title="batches"),
    "parameters": Entry(title="a step's new parameters"),
    REPEATS: Entry(title="a timed block trained again ends"),
    "denormals": Entry(title="denormal numbers"),
    CODE_LINES: Entry(title="lines of code that train", listed=False),
    "drawn": Entry(title="initial parameters and batches (checksum)", unfair=True),
    "python": Entry(title="Python"),
    "numpy": Entry(title="NumPy"),
    EVIDENCE: Entry(title="evidence in float64", listed=False),
    "python_state": Entry(title="tracing and debugging of Python", unfair=True),
    "instructions": Entry(title="vector instructions used"),
    "numpy_instructions": Entry(title="vector instructions that NumPy finds"),
    "thread_pools": Entry(title="BLAS and OpenMP libraries"),
    "libraries": Entry(title="C library and allocation of memory"),
    "variables": Entry(title="environment variables"),
}

NO_OVERRIDES = "none"
"""What stands in the ledger for a case that is no variant."""

TIER, RUNG, VARIANT = RELATIONS = ("tier", "rung", "variant")
"""What the two cases of a pair are to one another: they contend within a tier; the first is a rung
of a ladder and the second the rung below it; at least one is a variant, and they have one base."""

CONTROL = re.compile(r" \(control(?: (\d+))?\)$")


def control_name(case: str, repetition: int) -> str:
    """The name of a case's control: its own with "(control)", or "(control 2)" and so on.

    With a repetition of 0 it is the case's own name.
    """
    if repetition == 0:
        return case
    return f"{case} (control{f' {repetition}' if repetition > 1 else ''})"


def repetition_in(name: str) -> int:
    """The inverse of `control_name`: which repetition of another case a case's name stands for.

    For bundles from before the column `repetition`, and for tables that name the case alone.
    """
    control = CONTROL.search(name)
    return int(control[1] or 1) if control else 0
