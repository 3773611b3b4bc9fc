"""What environment.json holds, as frozen records: the machine, the software, the workload, the run.

Each field carries its description and unit for docs/bundles.md. A field with a default is one that
older bundles lack or that is not known while a run goes on; where it is None it is left out of the
file.
"""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from benchmarks.schema import repetition_in


class Record(BaseModel):
    """A JSON object. Keys that are no fields, as newer bundles may have, are left out."""

    model_config = ConfigDict(frozen=True, strict=True)

    def to_json(self) -> dict[str, Any]:
        """The record as a JSON object, without the fields that are None."""
        return self.model_dump(mode="json", exclude_none=True)


class CaseRecord(Record):
    """A case of the run: the columns that every table has for it."""

    case: Annotated[str, "Name of the case; unique within a run."]
    backend: Annotated[str, "Framework that the case is implemented in."]
    mode: Annotated[str, "Way of writing the training in that framework."]
    input: Annotated[str, "`resident` or `streamed`."]
    precision: Annotated[str, "Precision that was asked for."]
    device: Annotated[str, "Device that was asked for."]
    adam: Annotated[str, "Form of Adam."]
    repetition: Annotated[int, "0, or the number of this repetition of another case."] = Field(
        # Older bundles tell a repetition by the name of the case alone.
        default_factory=lambda fields: repetition_in(fields["case"])
    )


class Machine(Record):
    """The machine that the run was measured on."""

    system: Annotated[str, "Operating system and its release."]
    architecture: Annotated[str, "Architecture of the processor."]
    cpu: Annotated[str, "Model of the processor."]
    instructions: Annotated[tuple[str, ...], "Those of its vector instructions that matter."]
    cpus_available: Annotated[int | None, "CPUs that the program may use."] = None
    memory_gib: Annotated[float, "Main memory.", "GiB"]
    load_average: Annotated[tuple[float, ...], "Load averages at the start (1, 5, 15 min)."] = ()
    gpus: Annotated[tuple[str, ...], "NVIDIA GPUs: name, memory and driver version of each."]


class WorkloadRecord(Record):
    """What was trained."""

    layer_sizes: Annotated[tuple[int, ...], "Units of the layers, from the input to the output."]
    parameters: Annotated[int | None, "Number of the network's parameters."] = None
    learning_rate: Annotated[float | None, "Adam's learning rate."] = None
    beta_1: Annotated[float | None, "Decay rate of Adam's first moments."] = None
    beta_2: Annotated[float | None, "Decay rate of Adam's second moments."] = None
    epsilon: Annotated[float | None, "Adam's ε."] = None
    batch_size: Annotated[int, "Images in each step's batch.", "images"]
    steps: Annotated[int, "Steps of the training.", "steps"]
    training_images: Annotated[int | None, "Images that are trained on.", "images"] = None
    data: Annotated[str, "Name of the data set's folder."]


class Run(Record):
    """What was asked of the run, and how far it came."""

    command: Annotated[str, "Command line that started it."]
    launches: Annotated[int, "Launches that were planned, at least."]
    seed: Annotated[int, "Seed of the first launch; each later one has the next number."]
    threads: Annotated[int, "Threads that each worker may use."]
    cases: Annotated[tuple[CaseRecord, ...], "Every case, whatever became of it."]
    floors: Annotated[tuple[CaseRecord, ...], "The floors that cases are set against."] = ()
    block_steps: Annotated[int, "Steps in a block, for cases that are not too slow.", "steps"]
    time_limit_seconds: Annotated[float, "Time limit of the whole run.", "s"]
    accuracy_margin_points: Annotated[
        float | None, "Margin within which test accuracies are equivalent.", "points"
    ] = None
    state: Annotated[str, "`running`, `complete`, `interrupted` or `stopped by an error`."]
    finished_launches: Annotated[int, "Launches that ran to their end."]
    out_of_time: Annotated[bool, "Whether the time limit ended it early."]
    reference_seconds: Annotated[
        float | None, "Time to compute the reference that certificates are taken against.", "s"
    ] = None
    session_cpu_share: Annotated[
        float | None, "CPU time of the measuring process while it waited for blocks.", "share"
    ] = None


class Environment(Record):
    """All that environment.json holds."""

    started: Annotated[str, "Start of the run, in UTC."]
    machine: Machine
    python: Annotated[str, "Version of Python."]
    packages: Annotated[dict[str, str], "Versions of the packages that matter."]
    variables: Annotated[dict[str, str], "Environment variables that bear on the frameworks."]
    git_commit: Annotated[str, "Commit of this program; empty outside a checkout."]
    git_modified: Annotated[bool, "Whether files differed from that commit."]
    workload: WorkloadRecord
    run: Run
    finished: Annotated[str | None, "End of the run, in UTC."] = None

    def with_run(self, **changes: Any) -> Self:
        """The same environment, with `changes` to the fields of its run."""
        return self.model_copy(update={"run": self.run.model_copy(update=changes)})


def described_fields(record: type[Record]) -> list[tuple[str, str, str]]:
    """The name, description and unit of every field; `record.field` for one within a record."""
    rows: list[tuple[str, str, str]] = []
    for name, field in record.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Record):
            inner = described_fields(field.annotation)
            rows += [(f"{name}.{one}", about, unit) for one, about, unit in inner]
        else:
            about, *units = field.metadata
            rows.append((name, about, *(units or [""])))
    return rows
