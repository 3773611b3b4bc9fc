"""The environments of several bundles as flat lists of properties, and where they differ."""

from collections.abc import Mapping

import pandas as pd

from benchmarks.analysis.ledger_differences import across_bundles
from benchmarks.bundle.reader import Bundle
from benchmarks.bundle.records import Environment

MACHINE = ("cpu", "CPUs available", "CPU quota", "gpus")
"""The properties that identify a machine: where one differs, absolute times do not compare."""
UNKNOWN = "unknown"
"""Stands for what a system does not show and for what older bundles lack."""


def properties(environment: Environment) -> dict[str, str]:
    """An environment as names and values, without what differs between any two runs."""
    machine, run = environment.machine, environment.run
    values = {
        "cpu": machine.cpu,
        "CPUs available": machine.cpus_available,
        "CPU quota": machine.cpu_quota,
        "cores": machine.cores,
        "NUMA nodes": machine.numa_nodes,
        "CPU frequency governor": machine.governor,
        "boost": machine.boost,
        "on battery": machine.on_battery,
        "virtualisation": machine.virtualisation,
        "huge pages": machine.huge_pages,
        "C library": machine.c_library,
        "gpus": "; ".join(machine.gpus) or "none",
        "instructions": ", ".join(machine.instructions),
        "memory (GiB)": machine.memory_gib,
        "system": machine.system,
        "threads": run.threads,
        "CPUs used": run.cpus,
        "other machines of ranks": run.hosts or 0,
        "launches": run.finished_launches,
        "block steps": run.block_steps,
        # Older bundles, whose blocks have none, do not say so.
        "lead-in steps": run.lead_in_steps or 0,
        "python": environment.python,
        "state of python": environment.python_state,
        **environment.packages,
        **environment.variables,
        **{name.replace("_", " "): value for name, value in environment.workload.to_json().items()},
        "commit": commit(environment, 10),
    }
    return {name: UNKNOWN if value is None else str(value) for name, value in values.items()}


def commit(environment: Environment, digits: int = 40) -> str:
    """The program's commit, and whether files differed from it, as far as that is known."""
    if not environment.git_commit:
        return "unknown"
    changes = {True: " with changes", None: ", with changes or without"}
    return environment.git_commit[:digits] + changes.get(environment.git_modified, "")


def differing(bundles: Mapping[str, Bundle]) -> pd.DataFrame:
    """The properties that are not the same everywhere: a row for each, a column for each bundle.

    Those of the ledger, of cases that all bundles have, follow those of the environment.
    """
    ledgers = across_bundles({name: one.tables["ledger"] for name, one in bundles.items()})
    by_bundle = {
        name: pd.Series(properties(one.environment) | ledgers[name])
        for name, one in bundles.items()
    }
    frame = pd.DataFrame(by_bundle).fillna("–")
    # DataFrame may have sorted its rows: back into the order of the properties.
    order = dict.fromkeys(name for values in by_bundle.values() for name in values.index)
    frame = frame.loc[list(order)]
    # What one bundle does not know is not known to differ.
    known = frame.mask(frame == UNKNOWN).nunique(axis=1)
    return frame[known > 1]
