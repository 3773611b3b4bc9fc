"""What the environments of several bundles say, flat, and where they differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

MACHINE = ("cpu", "CPUs available", "gpus")
"""The facts without which absolute times are those of different machines."""


def facts(environment: Mapping[str, Any]) -> dict[str, str]:
    """An environment.json as names and values, without what differs from run to run anyway."""
    machine, run = environment["machine"], environment["run"]
    found = {
        "cpu": machine["cpu"],
        "CPUs available": machine["cpus_available"],
        "gpus": "; ".join(machine["gpus"]) or "none",
        "instructions": ", ".join(machine["instructions"]),
        "memory (GiB)": machine["memory_gib"],
        "system": machine["system"],
        "threads": run["threads"],
        "launches": run["finished_launches"],
        "block steps": run["block_steps"],
        "python": environment["python"],
        **environment["packages"],
        **environment["variables"],
        **{name.replace("_", " "): value for name, value in environment["workload"].items()},
        "commit": environment["git_commit"][:10]
        + (" with changes" if environment["git_modified"] else ""),
    }
    return {name: str(value) for name, value in found.items()}


def differing(environments: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The facts that are not the same in all environments: a row a fact, a column a bundle."""
    frame = pd.DataFrame({name: pd.Series(facts(one)) for name, one in environments.items()})
    frame = frame.fillna("–")
    # The frame may have sorted its rows: in the order of the facts, those of all environments.
    order = dict.fromkeys(fact for one in environments.values() for fact in facts(one))
    frame = frame.loc[list(order)]
    return frame[frame.nunique(axis=1) > 1]
