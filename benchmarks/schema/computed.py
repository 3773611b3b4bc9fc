"""The tables that are computed from the measured ones, after a run and by every `report`."""

from __future__ import annotations

from benchmarks.schema.columns import (
    Table,
    estimate,
    flag,
    integer,
    number,
    p_value,
    seconds,
    share,
    text,
)
from benchmarks.schema.measured import IDENTITY_COLUMNS
from benchmarks.schema.names import OUTCOMES

CASE = text("case", "Name of the case.")
SEEDS = integer("seeds", "Seeds that the row is a mean over: one a launch.", "seeds")
PAIR = (text("case", "One case of the pair."), text("other", "The other case."))


def _part(name: str, about: str) -> tuple[str, str, str]:
    """One of the parts that a step's time is divided into."""
    return f"{name}_ms", f"The part of a step for {about}.", "ms"


SUMMARY = Table(
    name="summary",
    about="One row for each case: what became of it, and its estimates.",
    columns=(
        integer("rank", "1 + the number of cases shown to be faster; ties share a rank. Empty for "
            "a case that is not ranked.", lowest=1, empty=True),
        *IDENTITY_COLUMNS,
        text("tier", "How far the mode is tuned, as the registry has it; empty for a mode that it "
            "does not know.", empty=True),
        text("status", "What became of the case.", *OUTCOMES),
        text("reason", "Why it was skipped or failed.", empty=True),
        flag("certified", "Whether every check of its certificates passed."),
        text("precision_found", "Precision of its matrix products, by their effect."),
        integer("launches", "Its rows in launches.csv.", "launches"),
        integer("rounds", "Undisturbed rounds that its estimates rest on.", "rounds"),
        integer("steps", "Steps trained in its shortest launch; of launches that trained to the "
            "end, if any did.", "steps"),
        flag("trained_to_end", "Whether any launch trained all steps of the workload."),
        *estimate("step_ms", "Time of a training step.", "ms"),
        number("images_per_second", "Training images a second.", "images/s", empty=True),
        seconds("import_seconds", "Time to import the framework; a median.", empty=True),
        seconds("build_seconds", "Time to put network and data in place; a median.", empty=True),
        seconds("warmup_seconds", "Time of the warm-up; a median.", empty=True),
        number("warmup_steps", "Steps of the warm-up; a median.", "steps", empty=True),
        seconds("certificate_seconds", "Time to take the certificate; a median.", empty=True),
        seconds("first_call_seconds", "Time of the first call in the first launch, where compilers "
            "find empty caches.", empty=True),
        seconds("first_call_again_seconds", "The same in later launches, where they may find what "
            "they kept; a median.", empty=True),
        seconds("startup_seconds", "Import, build and first call (empty caches).", empty=True),
        number("peak_rss_mib", "Peak main memory of the worker; a median.", "MiB", empty=True),
        number("peak_device_mib", "Peak memory of the GPU; a median.", "MiB", empty=True),
        number("energy_mj_per_step", "Energy that the GPU took for a step.", "mJ", empty=True),
        *estimate("validation_accuracy", "Validation accuracy at the end.", "share", highest=1),
        *estimate("test_accuracy", "Test accuracy at the end.", "share", highest=1),
        text("diverged", "How its training failed; empty if it learned something.", empty=True),
        *estimate("x_floor", "Step time as a multiple of the fastest floor's, within rounds."),
        number("x_own_floor", "The same against the floor of its own framework.", empty=True),
        number("gflops", "Rate of its arithmetic.", "GFLOP/s", empty=True),
        number("peak_share", "That rate as a share of the machine's for a large matrix product.",
            "share", empty=True),
        number(*_part("arithmetic", "its products, at the peak rate of a large one"), empty=True),
        number(*_part("memory", "what remains: passes over memory, and smaller products' lower "
            "rate"), empty=True),
        number(*_part("dispatch", "Python and the framework, at any size"), empty=True),
        number(*_part("input", "fetching its batch"), empty=True),
        number("waited_ms", "Time from the last call's return until the device had finished, for "
            "each step.", "ms", empty=True),
        text("bound", "The largest part of a step; empty where one is unknown.",
            "arithmetic", "memory", "dispatch", "input", empty=True),
        *estimate("times_fastest", "Step time as a multiple of that of the fastest ranked case, "
            "within rounds."),
    ),
)  # fmt: skip

VERDICTS = Table(
    name="verdicts",
    about="One row for each pair of ranked cases that may be compared.",
    columns=(
        *PAIR,
        *estimate("ratio", "Step time of `case` divided by that of `other`, within rounds."),
        p_value("p_value", "p-value of equal step times, for this pair alone."),
        p_value("p_adjusted", "The same, adjusted for the number of pairs in the run."),
        number("margin", "Smallest relative difference that the run ranks."),
        integer("launches", "Launches in which both cases were timed.", "launches"),
        integer("rounds", "Rounds in which both cases were timed.", "rounds"),
        text("verdict", "How `case` compares with `other`.",
            "faster", "slower", "tie", "undecided"),
        number("launches_needed", "Launches that would likely decide an undecided pair; empty "
            "where it is decided or too many would be needed.", "launches", empty=True),
    ),
)  # fmt: skip

FLOORS = Table(
    name="floors",
    about="One row for each floor: the bare products, passes and gathers of a step, as fast as one "
    "library does them; the fastest first.",
    columns=(
        text("case", "Name of the floor."),
        text("backend", "Framework or library that it is written in."),
        *estimate("step_ms", "Time of the floor's step.", "ms"),
        number("peak_gflops", "Rate of a large matrix product.", "GFLOP/s", empty=True),
    ),
)

BREAK_EVEN = Table(
    name="break_even",
    about="One row for each pair in which the slower starter overtakes the other.",
    columns=(
        text("case", "The case that starts more slowly and steps faster."),
        text("overtakes", "The case that it overtakes."),
        number("first_steps", "Steps until then, with empty compiler caches.", "steps", empty=True),
        *estimate("steps", "Steps until then, with filled compiler caches.", "steps"),
    ),
)

TOTALS = Table(
    name="totals",
    about="Total time against the number of steps, with filled compiler caches where known.",
    columns=(
        CASE,
        integer("steps", "Steps trained.", "steps", lowest=1),
        seconds("total_seconds", "Time from the start of the process to the end of the last step."),
    ),
)

CURVES = Table(
    name="curves",
    about="One row for each case and step at which accuracy was read; means over seeds.",
    columns=(
        CASE,
        integer("step", "Steps trained before the reading.", "steps"),
        SEEDS,
        *estimate("train_seconds", "Sum of the timed blocks until then.", "s"),
        *estimate("validation_accuracy", "Validation accuracy.", "share", highest=1),
        number("validation_loss", "Validation loss; empty if one of them is.", "nats", empty=True),
        number("train_loss", "Training loss; empty if one of them is.", "nats", empty=True),
    ),
)

ACCURACIES = Table(
    name="accuracies",
    about="Final accuracies of each group of cases that do the same training; means over seeds.",
    columns=(
        text("group", "Backend, with what sets the group apart in brackets."),
        text("backend", "Framework of the group's cases."),
        next(column for column in IDENTITY_COLUMNS if column.name == "adam"),
        integer("cases", "Cases in the group.", "cases", lowest=1),
        SEEDS,
        *estimate("validation_accuracy", "Validation accuracy at the end.", "share", highest=1),
        *estimate("test_accuracy", "Test accuracy at the end.", "share", highest=1),
        *estimate("test_loss", "Test loss at the end.", "nats"),
    ),
)

EQUIVALENCES = Table(
    name="equivalences",
    about="One row for each pair of groups: whether their final test accuracies are equivalent.",
    columns=(
        text("group", "One group of the pair."),
        text("other", "The other group."),
        integer("seeds", "Seeds that both groups trained to the end.", "seeds"),
        number("difference_points", "Mean of `group` less `other`, paired by seed.", "points",
            lowest=-100, highest=100, empty=True),
        *(
            number(f"difference_points_{end}", f"{side} end of the {level}% interval.", "points",
                lowest=float("-inf"), empty=True)
            for end, side, level in (
                ("low", "Lower", 90), ("high", "Upper", 90),
                ("low95", "Lower", 95), ("high95", "Upper", 95),
            )
        ),
        number("margin_points", "Differences within this margin are equivalent.", "points"),
        p_value("p_equivalent", "p-value of the two one-sided tests."),
        p_value("p_different", "p-value of no difference, for this pair alone."),
        p_value("p_different_adjusted", "The same, adjusted for the number of pairs."),
        text("verdict", "What is shown; `not certified` replaces `equivalent` where one of the "
            "groups is.", "equivalent", "different", "too few seeds", "not certified"),
        number("seeds_needed", "Seeds that would likely decide; empty where it is decided or too "
            "many would be needed.", "seeds", empty=True),
    ),
)  # fmt: skip

TIME_TO_ACCURACY = Table(
    name="time_to_accuracy",
    about="One row for each case and target: when the validation accuracy reached it.",
    columns=(
        CASE,
        share("target", "Validation accuracy to be reached."),
        integer("seeds", "Seeds that were trained.", "seeds"),
        integer("reached", "Seeds that reached the target.", "seeds"),
        number("steps", "Mean number of steps until then.", "steps", empty=True),
        *estimate("train_seconds", "Typical training time until then.", "s"),
        seconds("startup_seconds", "Start-up: import, build, first call.", empty=True),
        seconds("total_seconds", "Start-up and training together.", empty=True),
    ),
)

TUTORIAL = Table(
    name="tutorial",
    about="What the tutorial's training loop prints, beside what it printed in the tutorial; means "
    "over seeds. Only written for the preset that takes such readings.",
    columns=(
        CASE,
        integer("step", "Number of the step, from 0, after which the loop prints."),
        SEEDS,
        *estimate("loss", "Loss on a batch of validation images.", "nats"),
        *estimate("accuracy", "Accuracy on the batch.", "share", highest=1),
        number("original_loss", "Loss that the tutorial printed.", "nats", empty=True),
        share("original_accuracy", "Accuracy that the tutorial printed.", empty=True),
    ),
)

SWEEP = Table(
    name="sweep",
    about="The summaries of all points of a sweep in one table, in the sweep's own folder.",
    columns=(
        text("factor", "What was varied.", "batch size", "width", "depth"),
        integer("value", "Its value at this point.", lowest=1),
        *SUMMARY.columns,
    ),
)

COMPUTED = {
    table.name: table
    for table in (
        *(SUMMARY, VERDICTS, FLOORS, BREAK_EVEN, TOTALS, CURVES, ACCURACIES),
        *(EQUIVALENCES, TIME_TO_ACCURACY, TUTORIAL, SWEEP),
    )
}
"""The tables that are computed, by name."""
