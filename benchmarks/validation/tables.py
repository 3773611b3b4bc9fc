"""Check whether the suite's verdicts and step times are right.

Run these by hand, on a machine that does nothing else:

    python -m benchmarks.validation synthetic     verdicts on simulated runs whose truth is known;
                                                  minutes
    python -m benchmarks.validation verdicts      verdicts on simulated runs whose noise is that of
                                                  real machines; ten minutes
    python -m benchmarks.validation gate          the gate for CI on simulated runs by turns; ten
                                                  minutes
    python -m benchmarks.validation learning      whether real trainings that learn alike are called
                                                  equivalent, and wrong ones different; ten minutes
    python -m benchmarks.validation nodes         how intervals narrow with nodes and launches, on
                                                  simulated clusters; minutes
    python -m benchmarks.validation real          verdicts on real runs of one case under several
                                                  names, and of that case slowed on purpose; an hour
    python -m benchmarks.validation widths        intervals of interleaved and of separate runs
    python -m benchmarks.validation clock         what the clock makes of planted truths; 30 minutes
    python -m benchmarks.validation bare-loops    step times of the suite's workers and of bare,
                                                  hand-written loops; half an hour
    python -m benchmarks.validation blocks        certificates of the blocks of sound trainings and
                                                  of wrong ones; ten minutes a seed
    python -m benchmarks.validation gpu           everything on a machine with a GPU; half an hour,
                                                  with options of its own: gpu --help

All others write their tables to results/validation/, as CSV and most as markdown too.
"""

import argparse
from functools import partial

import pandas as pd

from benchmarks.errors import UsageError
from benchmarks.machine import environment, lock
from benchmarks.machine.settings import ROOT, default_threads
from benchmarks.validation import (
    bare_loops,
    blocks,
    clock,
    learning,
    nodes,
    real,
    synthetic,
    whole_runs,
)

WHICH = (
    *(
        "synthetic",
        "verdicts",
        "gate",
        "learning",
        "nodes",
        "real",
        "widths",
        "clock",
        "bare-loops",
        "blocks",
    ),
)
FOLDER = ROOT / "results" / "validation"


def write(name: str, tables: dict[str, pd.DataFrame], raw: pd.DataFrame) -> None:
    """Write a validation's tables as markdown, and the rows they are computed from as CSV."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    raw.to_csv(FOLDER / f"{name}.csv", index=False)
    machine = environment.describe_machine()
    where = f"{machine['cpu']}, {default_threads()} CPUs, {machine['system']}"
    parts = [
        f"# {title}\n\n{table.to_markdown(index=False, floatfmt='.4g')}\n"
        for title, table in tables.items()
    ]
    (FOLDER / f"{name}.md").write_text("\n".join([*parts, f"On {where}.\n"]))


def main() -> None:
    """Run one of the validations."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.validation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("which", choices=WHICH)
    parser.add_argument("--runs", type=int, default=10,
        help="real runs, or seeds of blocks; default: %(default)s")  # fmt: skip
    parser.add_argument("--wait", action="store_true", help="start when another run has ended")
    parser.add_argument("--minutes", type=float, default=30, help="of clock; default: %(default)s")
    parser.add_argument("--launches", type=int, default=24,
        help="of bare-loops, at most; default: %(default)s")  # fmt: skip
    parser.add_argument("--cases", nargs="+", choices=bare_loops.CASES, metavar="CASE",
        default=[*bare_loops.CASES], help="of bare-loops; default: all that have one")  # fmt: skip
    parser.add_argument("--without", choices=clock.WITHOUT,
        help="leave this out, to see whether clock finds it")  # fmt: skip
    arguments = parser.parse_args()
    try:
        with lock.held(wait=arguments.wait, say=partial(print, flush=True)):
            validate(arguments)
    except UsageError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


def validate(arguments: argparse.Namespace) -> None:
    """Run the validation that the arguments name, and write its tables."""
    # All but the simulation write after each run, since a validation of an hour may be cut short.
    if arguments.which == "synthetic":
        table = synthetic.validate()
        write("synthetic", {f"{synthetic.RUNS:,} simulated runs a line": table}, table)
    elif arguments.which == "verdicts":
        fitted = whole_runs.components(sorted((ROOT / "results" / "reference").iterdir()))
        write("components", {"What varies in bundles, as deviations of logarithms": fitted}, fitted)
        of_learning = whole_runs.validate_learning()
        for found in whole_runs.validate(fitted):
            title = (
                f"{whole_runs.RUNS} whole runs a line, of nine pairs in tiers and six on ladders"
            )
            tables = {
                title: found,
                "Learning: frameworks that learn alike, and that differ by the margin": of_learning,
            }
            write("verdicts", tables, found)
    elif arguments.which == "gate":
        for found in whole_runs.validate_gate():
            title = f"{whole_runs.GATE_CALLS} calls a line, which make as many runs as they ask for"
            write("gate", {title: found}, found)
    elif arguments.which == "learning":
        for found, seeds in learning.validate():
            title = "Runs of real trainings, each until it is decided what the frameworks learn"
            write("learning", {title: found}, seeds.reset_index())
    elif arguments.which == "nodes":
        table = pd.DataFrame(nodes.rows())
        write("nodes", {f"{nodes.SAMPLES} simulated clusters a line": table}, table)
    elif arguments.which == "widths":
        for runs in real.compare_widths(arguments.runs):
            medians = runs.drop(columns="seed").median().to_frame("median").T
            write("widths", {f"One ratio from {len(runs)} runs of each kind": medians}, runs)
    elif arguments.which == "real":
        for pairs in real.validate(arguments.runs):
            write("real", {"Real runs of equals and of a slowed case": real.summary(pairs)}, pairs)
    elif arguments.which == "clock":
        name = f"clock-without-{arguments.without}" if arguments.without else "clock"
        for timed in clock.validate(arguments.minutes, arguments.without):
            write(name, clock.summary(timed), timed)
    elif arguments.which == "blocks":
        for found in blocks.validate(arguments.runs):
            write("blocks", blocks.summary(found), found)
    else:
        for ratios in bare_loops.compare_all(arguments.launches, arguments.cases):
            write("bare-loops", {"Step times as multiples of bare loops'": ratios}, ratios)
