"""What environment.json holds, as frozen records: the machine, the software, the workload, the run.

Each field carries its description and unit for docs/bundles.md. A field with a default is one that
older bundles lack or that is not known while a run goes on; where it is None it is left out of the
file.
"""

import json
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, fields, replace
from datetime import datetime
from types import NoneType
from typing import Annotated, Any, Self, get_args, get_origin, get_type_hints

from benchmarks.schema import repetition_in
from benchmarks.schema.tables import LARGEST, SHARED, shown

FORMAT = 2
"""The version of the bundles that this program writes; 1 had no checksum of the data."""
MOST_CASES = 100
"""More cases than any run has; the work of a report grows with their pairs."""
STATES = ("running", "complete", "interrupted", "stopped by an error")


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """What a field may hold besides its type; a number is never negative unless it says so."""

    lowest: float = 0
    highest: float = LARGEST
    fewest: int = 0
    """The least number of entries of a list."""
    most: int = LARGEST
    """The greatest number of them."""
    choices: tuple[str, ...] = ()
    read: Callable[[str], object] = str
    """Raises ValueError for a text that the field cannot hold."""

    def holds(self, value: Any) -> bool:
        """Whether the field can hold a text or a number."""
        if not isinstance(value, str):
            return bool(self.lowest <= value <= self.highest)
        try:
            # Half of a surrogate pair is nothing that can be written.
            self.read(value.encode().decode())
        except ValueError:
            return False
        return not self.choices or value in self.choices


POSITIVE, SHARE = Allowed(lowest=1), Allowed(highest=1)
ANY_SIZE = Allowed(highest=1e102)
"""For what options take up to 1e100, such as a learning rate that makes a training diverge."""
MOMENT = Allowed(read=datetime.fromisoformat)


class Record:
    """A JSON object. Keys that are no fields, as newer bundles may have, are left out."""

    def to_json(self) -> dict[str, Any]:
        """The record as a JSON object, without the fields that are None."""

        def without_none(items: list[tuple[str, Any]]) -> dict[str, Any]:
            return {name: value for name, value in items if value is not None}

        return asdict(self, dict_factory=without_none)  # type: ignore[call-overload, no-any-return]

    @classmethod
    def from_json(cls, content: dict[str, Any], within: str = "") -> Self:
        """The record that a JSON object describes; `within` is its place in a file, as in "run.".

        Raises ValueError where a field that every bundle has is missing, or cannot be what it is.
        """
        hints, values = get_type_hints(cls, include_extras=True), {}
        for field in fields(cls):  # type: ignore[arg-type]
            if field.name in content:
                place = f"{within}{field.name}"
                values[field.name] = _value(hints[field.name], content[field.name], place)
            elif field.default is MISSING:
                raise ValueError(f"describes no {within}{field.name}")
        return cls(**values)


def _value(hint: Any, content: Any, name: str, allowed: Allowed = Allowed()) -> Any:
    """The value of a field of type `hint` from JSON; raises ValueError for any other content."""
    if get_origin(hint) is Annotated:
        hint, *about = get_args(hint)
        allowed = next((one for one in about if isinstance(one, Allowed)), allowed)
    inner = get_args(hint)
    if NoneType in inner:
        return None if content is None else _value(inner[0], content, name, allowed)
    expected = get_origin(hint) or hint
    accepted = {tuple: (list, tuple), float: (float, int)}.get(expected, expected)
    if issubclass(expected, Record):
        accepted = dict
    fits = isinstance(content, accepted) and isinstance(content, bool) <= (expected is bool)
    if not fits or (expected in (str, int, float) and not allowed.holds(content)):
        raise ValueError(f"{name} cannot be {_shown(content)}")
    if expected is tuple:
        if not allowed.fewest <= len(content) <= allowed.most:
            raise ValueError(f"{name} cannot have {len(content)} entries")
        return tuple(_value(inner[0], value, name, allowed) for value in content)
    if expected is dict:
        return {
            _value(inner[0], key, f"a key of {name}"): _value(inner[1], value, f"{name}.{key}")
            for key, value in content.items()
        }
    if issubclass(expected, Record):
        return expected.from_json(content, f"{name}.")
    return content


def _shown(content: Any) -> str:
    """A value as messages show it."""
    if isinstance(content, str):
        return shown(content)
    if content is None or type(content) in (bool, int, float):
        return json.dumps(content)[:30]
    return "an object" if isinstance(content, dict) else "a list"


@dataclass(frozen=True, kw_only=True)
class CaseRecord(Record):
    """A case of the run: the columns that every table has for it."""

    case: Annotated[str, "Name of the case; unique within a run."]
    backend: Annotated[str, "Framework that the case is implemented in."]
    mode: Annotated[str, "Way of writing the training in that framework."]
    input: Annotated[str, "`resident` or `streamed`."]
    precision: Annotated[str, "Precision that was asked for."]
    device: Annotated[str, "Device that was asked for."]
    adam: Annotated[str, "Form of Adam."]
    repetition: Annotated[int, "0, or the number of this repetition of another case."]
    variant: Annotated[str | None, "What it is called as a variant of another case."] = None
    ranks: Annotated[
        int | None, "Processes that train it together; left out for one.", POSITIVE
    ] = None
    batch: Annotated[
        int | None, "Images of its batches where these are not the workload's.", "images", POSITIVE
    ] = None

    @classmethod
    def from_json(cls, content: dict[str, Any], within: str = "") -> Self:
        """See Record; older bundles tell a repetition by the name of the case alone."""
        content = {"repetition": repetition_in(str(content.get("case")))} | content
        record = super().from_json(content, within)
        for column in SHARED["case"]:
            try:
                value = getattr(record, column.name)
                column.read("" if value is None else str(value))
            except ValueError as error:
                raise ValueError(f"{within}{column.name} {error}") from None
        return record


@dataclass(frozen=True, kw_only=True)
class Machine(Record):
    """The machine that the run was measured on."""

    system: Annotated[str, "Operating system and its release."]
    architecture: Annotated[str, "Architecture of the processor."]
    cpu: Annotated[str, "Model of the processor."]
    instructions: Annotated[tuple[str, ...], "Those of its vector instructions that matter."]
    cpus_available: Annotated[int | None, "CPUs that the program may use.", POSITIVE] = None
    memory_gib: Annotated[float, "Main memory.", "GiB"]
    load_average: Annotated[tuple[float, ...], "Load averages at the start (1, 5, 15 min)."] = ()
    gpus: Annotated[tuple[str, ...], "NVIDIA GPUs: name, memory and driver version of each."]
    cores: Annotated[int | None, "Cores that these CPUs are on."] = None
    numa_nodes: Annotated[int | None, "NUMA nodes that these CPUs are on."] = None
    cpu_quota: Annotated[
        str | None, "Processor time that control groups allow, as `1.5 CPUs`, or `none`."
    ] = None
    governor: Annotated[str | None, "What sets the CPUs' clocks, such as `performance`."] = None
    boost: Annotated[str | None, "Whether CPUs may exceed their nominal clock: `on`, `off`."] = None
    on_battery: Annotated[bool | None, "Whether it ran on its battery."] = None
    virtualisation: Annotated[str | None, "Hypervisor or container, or `none`."] = None
    huge_pages: Annotated[str | None, "Transparent huge pages: `always`, `madvise` or `never`."] = (
        None
    )
    c_library: Annotated[
        str | None, "C library, and what was loaded to replace its allocation of memory."
    ] = None
    gpu_gflops: Annotated[
        float | None, "What the GPU can compute in float32 outside tensor cores, by its own "
        "figures.", "Gflop/s"
    ] = None  # fmt: skip
    gpu_gb_per_s: Annotated[
        float | None, "What the GPU can read and write of its memory, by its own figures.", "GB/s"
    ] = None
    gpu_processes: Annotated[
        int | None, "Other processes that computed on the GPU, or held memory there, at the start."
    ] = None


@dataclass(frozen=True, kw_only=True)
class WorkloadRecord(Record):
    """What was trained."""

    layer_sizes: Annotated[
        tuple[int, ...],
        "Units of the layers, from the input to the output.",
        Allowed(lowest=1, fewest=2),
    ]
    parameters: Annotated[int | None, "Number of the network's parameters.", POSITIVE] = None
    learning_rate: Annotated[float | None, "Adam's learning rate.", ANY_SIZE] = None
    beta_1: Annotated[float | None, "Decay rate of Adam's first moments.", SHARE] = None
    beta_2: Annotated[float | None, "Decay rate of Adam's second moments.", SHARE] = None
    epsilon: Annotated[float | None, "Adam's ε."] = None
    batch_size: Annotated[int, "Images in each step's batch.", "images", POSITIVE]
    steps: Annotated[int, "Steps of the training.", "steps", POSITIVE]
    training_images: Annotated[int | None, "Images that are trained on.", "images", POSITIVE] = None
    data: Annotated[str, "Name of the data set's folder."]
    data_sha256: Annotated[str | None, "Checksum of all its images and labels."] = None
    data_shuffled: Annotated[
        bool | None, "True where it was sorted by class, and shuffled before it was split."
    ] = None


@dataclass(frozen=True, kw_only=True)
class Run(Record):
    """What was asked of the run, and how far it came."""

    command: Annotated[str, "Command line that started it."]
    launches: Annotated[int, "Launches that were planned, at least.", POSITIVE]
    seed: Annotated[
        int, "Seed of the first launch; each later one has the next number.", Allowed(highest=2**62)
    ]
    threads: Annotated[int, "Threads that each worker may use.", POSITIVE]
    cpus: Annotated[
        str | None, "CPUs that workers were bound to, in the order of choice, as in `0-3,8`."
    ] = None
    hosts: Annotated[
        int | None,
        "Machines on which ranks of groups ran besides this one; left out where all ran here.",
        POSITIVE,
    ] = None
    cases: Annotated[
        tuple[CaseRecord, ...],
        "Every case, whatever became of it.",
        Allowed(fewest=1, most=MOST_CASES),
    ]
    floors: Annotated[
        tuple[CaseRecord, ...], "The floors that cases are set against.", Allowed(most=MOST_CASES)
    ] = ()
    floor_version: Annotated[
        int | None,
        "Version of a floor's step; the first, without a gather, left it out.",
        POSITIVE,
    ] = None
    block_steps: Annotated[
        int, "Timed steps in a block, for cases that are not too slow.", "steps", POSITIVE
    ]
    lead_in_steps: Annotated[
        int | None, "Steps that each block trains before these, and does not time.", "steps"
    ] = None
    timed_from_step: Annotated[
        int | None,
        "Step of a training from which on every case was timed; empty where each was timed from "
        "its beginning, and learned meanwhile.",
        "steps",
    ] = None
    time_limit_seconds: Annotated[float, "Time limit of the whole run.", "s", ANY_SIZE]
    part: Annotated[
        int | None, "Number of the one launch of a larger run that this bundle is; else left out."
    ] = None
    parts: Annotated[int | None, "Launches of the run that this bundle is a part of."] = None
    seeds: Annotated[
        tuple[int, ...] | None,
        "Seeds of the launches of a run that was merged from parts; else they follow `seed`.",
    ] = None
    accuracy_margin_points: Annotated[
        float | None, "Margin within which test accuracies are equivalent.", "points", ANY_SIZE
    ] = None
    state: Annotated[
        str,
        "`running`, `complete`, `interrupted` or `stopped by an error`.",
        Allowed(choices=STATES),
    ]
    releases: Annotated[
        tuple[str, ...] | None,
        "Variants that are releases of one framework, in the order that `versions` compares them.",
        Allowed(most=MOST_CASES),
    ] = None
    finished_launches: Annotated[int, "Launches that ran to their end."]
    out_of_time: Annotated[bool, "Whether the time limit ended it early."]
    reference_seconds: Annotated[
        float | None, "Time to compute the reference that certificates are taken against.", "s"
    ] = None
    session_cpu_share: Annotated[
        float | None, "CPU time of the measuring process while it waited for blocks.", "share"
    ] = None

    def seed_of(self, launch: int) -> int:
        """The seed of a launch, by its number."""
        if self.seeds and launch < len(self.seeds):
            return self.seeds[launch]
        return self.seed + launch

    @classmethod
    def from_json(cls, content: dict[str, Any], within: str = "") -> Self:
        """See Record; every case must have a name of its own."""
        record = super().from_json(content, within)
        names = [one.case for one in (*record.cases, *record.floors)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{within}cases cannot name {_shown(name)} twice")
        return record


@dataclass(frozen=True, kw_only=True)
class Environment(Record):
    """All that environment.json holds."""

    started: Annotated[str, "Start of the run, in UTC.", MOMENT]
    machine: Machine
    python: Annotated[str, "Version of Python."]
    packages: Annotated[dict[str, str], "Versions of the packages that matter."]
    variables: Annotated[
        dict[str, str], "Environment variables that bear on speed, as the user had set them."
    ]
    python_state: Annotated[
        str | None, "What slows Python down, such as tracing; `as usual` where nothing does."
    ] = None
    git_commit: Annotated[str, "Commit of this program; empty where it is not known."]
    git_modified: Annotated[bool | None, "Whether files differed from it, if that is known."] = None
    workload: WorkloadRecord
    run: Run
    finished: Annotated[str | None, "End of the run, in UTC.", MOMENT] = None
    format: Annotated[
        int | None, "Version of this format; the first one left it out.", POSITIVE
    ] = None

    def with_run(self, **changes: Any) -> Self:
        """The same environment, with `changes` to the fields of its run."""
        return replace(self, run=replace(self.run, **changes))


def described_fields(record: type[Record]) -> list[tuple[str, str, str]]:
    """The name, description and unit of every field; `record.field` for one within a record."""
    rows: list[tuple[str, str, str]] = []
    for name, hint in get_type_hints(record, include_extras=True).items():
        if isinstance(hint, type) and issubclass(hint, Record):
            rows += [(f"{name}.{one}", about, unit) for one, about, unit in described_fields(hint)]
        else:
            about, unit, *_ = *(one for one in get_args(hint)[1:] if isinstance(one, str)), ""
            rows.append((name, about, unit))
    return rows
