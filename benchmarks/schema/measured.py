"""The tables that are written while a run goes on, one row at a time."""

from __future__ import annotations

from backends.contract import EPSILON_HAT, PRECISIONS, TEXTBOOK
from benchmarks.schema.columns import Table, flag, integer, number, seconds, share, text
from benchmarks.schema.names import HOST_SECONDS, INPUT_SECONDS, LEVELS, PEAK_FLOPS, STAGES

IDENTITY_COLUMNS = (
    text("case", "Name of the case; unique within a run."),
    text("backend", "Framework that the case is implemented in."),
    text("mode", "Way of writing the training in that framework; `floor` for a floor."),
    text(
        "input",
        "Whether the training set lies on the device or batches are handed over one by one.",
        *("resident", "streamed"),
    ),
    text("precision", "Precision that was asked for.", *PRECISIONS),
    text("device", "Device that was asked for.", "cpu", "gpu"),
    text("adam", "Form of Adam: the textbook's, or Keras' own.", TEXTBOOK, EPSILON_HAT),
    integer("repetition", "0, or the number of this repetition of another case: a control."),
)
"""The columns that say which case a row belongs to."""

LAUNCH_COLUMNS = (
    integer("launch", "Number of the launch, from 0."),
    integer("seed", "Seed of the launch: it fixes the initial parameters and the batches."),
)
"""The columns that say which launch a row belongs to."""

ROW = (*LAUNCH_COLUMNS, *IDENTITY_COLUMNS)

ROUND = integer("round", "Number of the round within the launch, from 0.")


SAMPLES = Table(
    name="samples",
    about="One row for each timed block: consecutive training steps of one case, timed together.",
    columns=(
        *LAUNCH_COLUMNS,
        ROUND,
        integer("position", "Place of the case in the order of the round, from 0."),
        *IDENTITY_COLUMNS,
        integer("batch_size", "Images in each step's batch.", "images", lowest=1),
        integer("steps", "Training steps in the block.", "steps", lowest=1),
        seconds("seconds", "Duration of the block, until the device had finished."),
        seconds("dispatch_seconds", "The part of it until the framework's last call returned."),
        seconds("cpu_seconds", "CPU time of all threads of the worker during the block."),
        integer("compilations", "Programs compiled during the block; best 0.", "programs"),
    ),
)

ROUNDS = Table(
    name="rounds",
    about="One row for each round, with what else the machine was doing around it.",
    columns=(
        *LAUNCH_COLUMNS,
        ROUND,
        number("probe_ms", "Slower of the fixed test workload's times before and after.", "ms"),
        number("load_average", "Load average of the last minute.", "processes", empty=True),
        number("cpu_mhz", "CPU frequency, where the system shows it.", "MHz", empty=True),
        number(
            "steal_share",
            "CPU time that the machine's host gave to others during the round.",
            *("share",),
            highest=1,
            empty=True,
        ),
        number("gpu_mhz", "Clock of the GPU's multiprocessors.", "MHz", empty=True),
        number("gpu_celsius", "Temperature of the GPU.", "°C", lowest=-273.15, empty=True),
        flag("gpu_throttled", "Whether the GPU was slowed down by heat or for its protection."),
        flag("disturbed", "Whether other load on the machine disturbed the round."),
    ),
)

LAUNCHES = Table(
    name="launches",
    about="One row for each case and launch: start-up, final accuracies, memory, energy.",
    columns=(
        *ROW,
        seconds("import_seconds", "Time to import the framework."),
        seconds("build_seconds", "Time to put the network and the data in place."),
        seconds("first_call_seconds", "Time of the first training call, compilation included."),
        integer("first_call_steps", "Steps that the first call trained.", "steps"),
        seconds("certificate_seconds", "Time to take certificate, ledger and parts."),
        integer("warmup_steps", "Steps trained and discarded before the first block.", "steps"),
        seconds("warmup_seconds", "Time that these took."),
        flag("warmup_steady", "Whether blocks had stopped getting faster when the warm-up ended."),
        integer("block_steps", "Steps in each timed block.", "steps", lowest=1),
        integer("steps", "Steps trained in all.", "steps"),
        seconds("train_seconds", "Sum of the timed blocks."),
        share("validation_accuracy", "Validation accuracy at the last reading.", empty=True),
        share("test_accuracy", "Test accuracy at the end; empty if interrupted.", empty=True),
        number("test_loss", "Mean loss on the test images at the end.", "nats", empty=True),
        number(
            "peak_rss_mib",
            "Peak main memory of the worker without its certificate; of an interrupted launch up "
            "to the end of the first call.",
            *("MiB",),
            empty=True,
        ),
        number(
            "peak_device_mib",
            "Peak memory of the GPU up to the end of the first call, as the framework counts it.",
            *("MiB",),
            empty=True,
            added_later=True,
        ),
        number(
            "energy_mj_per_step",
            "Energy that the whole GPU took for a step, idle power included.",
            *("mJ",),
            empty=True,
            added_later=True,
        ),
    ),
)

ACCURACY = Table(
    name="accuracy",
    about="One row for each reading of losses and accuracy between blocks, outside the clock.",
    columns=(
        *ROW,
        integer("step", "Steps trained before the reading.", "steps"),
        seconds("train_seconds", "Sum of the timed blocks before the reading."),
        number("train_loss", "Mean loss on part of the training images.", "nats", empty=True),
        number("validation_loss", "Mean loss on the validation images.", "nats", empty=True),
        share("validation_accuracy", "Share of the validation images classified correctly."),
    ),
)

READINGS = Table(
    name="readings",
    about="What the tutorial's training loop prints: one row for each reading on a batch of "
    "validation images. Without rows unless the preset takes such readings.",
    added_later=True,
    columns=(
        *ROW,
        integer("step", "Number of the step, from 0, after which the loop prints."),
        integer("updates", "Updates of the parameters until then: `step` + 1.", "steps", lowest=1),
        integer("images", "Validation images in the batch.", "images", lowest=1),
        number("loss", "Mean loss on the batch.", "nats", empty=True),
        share("accuracy", "Share of the batch classified correctly."),
    ),
)

CERTIFICATES = Table(
    name="certificates",
    about="One row for each figure of a case that was checked against the float64 reference.",
    columns=(
        *ROW,
        text("level", "In float64 (`exact`), or in the precision that is timed.", *LEVELS),
        text("stage", "What was compared.", *STAGES),
        text("parameter", "Which parameter; empty where there is one figure.", empty=True),
        number("relative_error", "Relative error against the reference.", empty=True),
        number("bound", "Largest error that passes.", empty=True),
        flag("passed", "Whether the error lies within the bound, or need not be read."),
        text("not_read", "Why the mode does not give this figure.", empty=True),
    ),
)

LEDGER = Table(
    name="ledger",
    about="What each case really did, read back from the running framework; one row an entry.",
    columns=(
        *ROW,
        text("entry", "What was read, as in `threads` or `compiler`; or a package's name."),
        text("value", "What it was; of a package the version.", empty=True),
    ),
)

PARTS = Table(
    name="parts",
    about="Parts of a step that are measured apart, once a run; one row for each case and part.",
    columns=(
        *ROW,
        text(
            "part",
            f"`{HOST_SECONDS}`: what the host takes for a step of any size; `{INPUT_SECONDS}`: "
            f"fetching a batch; `{PEAK_FLOPS}`: a floor's rate for a large matrix product.",
            *(HOST_SECONDS, INPUT_SECONDS, PEAK_FLOPS),
        ),
        number("value", "Seconds a step; of `peak_flops` operations a second.", empty=True),
    ),
)

OUTCOMES = Table(
    name="outcomes",
    about="Cases that did not run to their end, and why. Without rows if all did.",
    columns=(
        *IDENTITY_COLUMNS,
        text("status", "What became of the case.", "skipped", "failed"),
        integer("launch", "Launch in which it failed; empty if it never started.", empty=True),
        text("reason", "Why, in one line."),
    ),
)

MEASURED = {
    table.name: table
    for table in (
        *(SAMPLES, ACCURACY, READINGS, CERTIFICATES, LEDGER),
        *(PARTS, LAUNCHES, ROUNDS, OUTCOMES),
    )
}
"""The tables that a run writes as it goes, by name."""
