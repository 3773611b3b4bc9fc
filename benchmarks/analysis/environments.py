"""The environments of several bundles as flat lists of properties, and where they differ."""

from collections.abc import Mapping

import pandas as pd

from benchmarks.bundle.records import Environment

MACHINE = ("cpu", "CPUs available", "gpus")
"""The properties that identify a machine: where one differs, absolute times do not compare."""


def properties(environment: Environment) -> dict[str, str]:
    """An environment as names and values, without what differs between any two runs."""
    machine, run = environment.machine, environment.run
    values = {
        "cpu": machine.cpu,
        "CPUs available": machine.cpus_available,
        "gpus": "; ".join(machine.gpus) or "none",
        "instructions": ", ".join(machine.instructions),
        "memory (GiB)": machine.memory_gib,
        "system": machine.system,
        "threads": run.threads,
        "launches": run.finished_launches,
        "block steps": run.block_steps,
        "python": environment.python,
        **environment.packages,
        **environment.variables,
        **{name.replace("_", " "): value for name, value in environment.workload.to_json().items()},
        "commit": commit(environment, 10),
    }
    return {name: str(value) for name, value in values.items()}


def commit(environment: Environment, digits: int = 40) -> str:
    """The program's commit, and whether files differed from it, as far as that is known."""
    if not environment.git_commit:
        return "unknown"
    changes = {True: " with changes", None: ", with changes or without"}
    return environment.git_commit[:digits] + changes.get(environment.git_modified, "")


def differing(environments: Mapping[str, Environment]) -> pd.DataFrame:
    """The properties that are not the same everywhere: a row for each, a column for each bundle."""
    by_bundle = {name: pd.Series(properties(one)) for name, one in environments.items()}
    frame = pd.DataFrame(by_bundle).fillna("–")
    # DataFrame may have sorted its rows: back into the order of the properties.
    order = dict.fromkeys(name for values in by_bundle.values() for name in values.index)
    frame = frame.loc[list(order)]
    return frame[frame.nunique(axis=1) > 1]
