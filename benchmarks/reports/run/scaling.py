"""The section of a report on groups of ranks: how they scale, and against which floor."""

from backends.registry import title_of
from benchmarks.analysis.findings import Findings
from benchmarks.reports.cases import span
from benchmarks.reports.formats import MS, as_interval, joined, text
from benchmarks.reports.sections import CASE, TIER, Column, Figure, Part, Section, Table

ABOUT = (
    "A group of ranks trains in as many processes, each with threads of its own and its share of "
    "every batch; the framework sums up the gradients. *Strong* groups divide the workload's batch "
    "among them, in *weak* ones each rank has a whole one. *Speed-up* is in images a second "
    "against the fastest case of one process in the same framework, with the threads of one rank; "
    "*efficiency* is the same against the fastest of its own tier, by the number of ranks. "
    "*Communication* is a sum of all gradients alone, by the case's own framework; where it "
    "overlaps with computing, not all of it is waited for."
)
FLOORS = (
    "The floor of a group is a rank's share of a step, with all of Adam, all ranks at once, and a "
    "sum of all gradients: each by the fastest library below (NumPy's is through shared memory). "
    "Where a case sums up gradients while others are still computed, it is the larger of the two. "
    "*Times that of its library* is against the share and the sum of its own framework alone."
)
FEW_CPUS = (
    "All ranks of these groups ran on one machine. What they say of networks between machines is "
    "nothing, and of scaling no more than this machine's cores and memory allow."
)


COLUMNS = [
    CASE,
    TIER,
    Column("scaling", "scaling", text=True),
    Column("step (ms)", "step_ms", as_interval(MS)),
    Column("against", "base", text=True),
    Column("speed-up", "speed_up", as_interval()),
    Column("of its tier", "base_of_tier", text=True),
    Column("efficiency", "efficiency", as_interval()),
    Column("communication (ms)", "communication_ms", ".2f"),
    Column("of its step", "communication_share", ".0%"),
    Column("times its floor", "x_floor", as_interval()),
    Column("times that of its library", "x_own_floor", as_interval()),
]
"""What is told of each group."""
FLOOR_COLUMNS = [
    Column("implemented in", "backend", lambda row, name: title_of(row[name]), text=True),
    Column("ranks", "ranks"),
    Column("batch", "batch_size"),
    Column("share of a step (ms)", "share_ms", as_interval(MS)),
    Column("sum over ranks (ms)", "reduce_ms", ".2f"),
]
"""What is told of each floor."""


def scaling(findings: Findings, hosts: int) -> Section | None:
    """How groups scale, and their floors; ranks were on so many `hosts` besides this machine."""
    rows = findings.scaling
    if rows.empty:
        return None
    trusted, others = rows[rows["left_out"] == ""], rows[rows["left_out"] != ""]
    failed = [f"- {text(row['case'])}: {text(row['left_out'])}" for _, row in others.iterrows()]
    reach = span(trusted, "speed_up", ".2f", "")
    figure = Figure("scaling", "Speed-up by ranks", f"Times one process: {reach}.")
    order = findings.group_floors
    parts: list[Part] = [ABOUT]
    if len(trusted):
        parts += [Table(COLUMNS, trusted), figure]
    if failed:
        parts.append("Left out:\n\n" + "\n".join(failed))
    if len(order):
        parts += [FLOORS, Table(FLOOR_COLUMNS, order)]
    return Section("Groups of ranks", parts if hosts else [*parts, FEW_CPUS])


def lead(findings: Findings) -> str:
    """What the fastest group of each number of ranks brings, in a sentence; empty without any."""
    rows = findings.scaling
    strong = rows[(rows["left_out"] == "") & (rows["scaling"] == "strong") & (rows["base"] != "")]
    said = [
        f"{text(best['case'])} trains {as_interval()(best, 'speed_up')} times as fast as "
        f"{text(best['base'])}"
        for _, best in strong.sort_values(["ranks", "step_ms"]).drop_duplicates("ranks").iterrows()
    ]
    return f"Of the groups of ranks, {joined(said)}." if said else ""
