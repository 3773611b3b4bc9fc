"""The comparison over batch sizes, widths and depths: which framework is fastest where.

One factor is varied at a time, the others stay at the base workload's: so the time grows with the
number of values asked for. Each point is a bundle of its own, under points/ of the sweep's folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

import pandas as pd
from rich.console import Console

from backends.contract import Network
from benchmarks.analysis import tables
from benchmarks.bundle import writer as bundle
from benchmarks.commands import options, running
from benchmarks.commands import report as bundle_commands
from benchmarks.errors import UsageError
from benchmarks.machine.settings import ROOT
from benchmarks.plan import data
from benchmarks.plan.plan import (
    BLOCK_FLOPS,
    FEWEST_BLOCK_STEPS,
    PRESETS,
    Plan,
    floors_of,
    with_control,
)
from benchmarks.reports import sweep as sweep_report

ROUNDS = 6
"""Of each launch of a point; steps are trained for as long as those take."""
BATCH_SIZES = (32, 128, 512, 2048, 8192)
WIDTHS = (64, 256, 512, 1024, 4096)
DEPTHS = (1, 2, 4, 8)
ASKED = "sweep.json"
"""What was asked for, for --resume."""

EPILOG = """\
Varies the batch size, the width of the hidden layers and their number, one at a time from the base
workload. Name the values of those factors that are wanted; without any, all three are varied. Each
point is a bundle, and the sweep's own folder has sweep.csv, report.md and figures/.

examples:
  python run_all.py sweep                             all three factors; about half an hour
  python run_all.py sweep --batch-sizes 32 128 512 --backends jax pytorch
  python run_all.py sweep --resume results/2026-01-01-1200-sweep-cpu
                                                      go on with one that was interrupted

exit codes: 0 all points measured; 1 a case failed at a point; 2 refused: the line says why;
130 interrupted: the points measured until then are reported
"""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One workload of a sweep."""

    factor: str
    value: int
    layer_sizes: tuple[int, ...]
    batch_size: int

    @property
    def name(self) -> str:
        """The folder of its bundle; points of one workload share it."""
        hidden = "-".join(str(size) for size in self.layer_sizes[1:-1])
        return f"batch-{self.batch_size}-hidden-{hidden or 'none'}"


def parser() -> options.Parser:
    """The command line of `sweep`."""
    parser = options.command_parser("sweep", sweep.__doc__, EPILOG)
    factors = parser.add_argument_group("what is varied")
    for name, default in (("batch-sizes", BATCH_SIZES), ("widths", WIDTHS), ("depths", DEPTHS)):
        shown = " ".join(str(value) for value in default)
        factors.add_argument(f"--{name}", nargs="+", type=options.positive_int, metavar="N",
            help=f"values to try, as {shown}")  # fmt: skip
    factors.add_argument("--resume", type=Path, metavar="FOLDER",
        help="go on with the sweep in this folder, as it was asked for")  # fmt: skip
    options.add_case_options(parser)
    options.add_workload_options(parser)
    options.add_run_options(parser)
    parser.set_defaults(launches=3)
    return parser


def points(arguments: argparse.Namespace, pixels: int, classes: int) -> list[Point]:
    """All the points asked for, factor by factor."""
    hidden: list[int] = arguments.hidden or [512]
    asked = {
        "batch size": arguments.batch_sizes,
        "width": arguments.widths,
        "depth": arguments.depths,
    }
    if not any(asked.values()):
        asked = {"batch size": BATCH_SIZES, "width": WIDTHS, "depth": DEPTHS}

    def point(factor: str, value: int) -> Point:
        inner = {"width": [value] * len(hidden), "depth": [hidden[0]] * value}.get(factor, hidden)
        return Point(
            factor=factor,
            value=value,
            layer_sizes=(pixels, *inner, classes),
            batch_size=value if factor == "batch size" else arguments.batch_size,
        )

    return [
        point(factor, value)
        for factor, values in asked.items()
        for value in sorted(set(values or ()))
    ]


def plan_of(point: Point, plan: Plan, asked_steps: int | None) -> Plan:
    """The plan of one point: as many steps as ROUNDS blocks have, unless they are given."""
    network = Network(layer_sizes=point.layer_sizes)
    device = plan.cases[0].device
    longest = int(BLOCK_FLOPS[device] / network.step_flops(point.batch_size))
    steps = asked_steps or ROUNDS * max(1, min(FEWEST_BLOCK_STEPS[device], longest))
    work = replace(plan.workload, network=network, batch_size=point.batch_size, steps=steps)
    cases = list(plan.cases)
    return replace(
        plan,
        workload=work,
        cases=tuple(with_control(cases)),
        floors=floors_of(cases),
        until_settled=False,
        readings=None,
    )


def sweep(words: list[str], console: Console) -> int:
    """Compare over batch sizes, widths and depths of the network."""
    arguments = parser().parse_args(words)
    folder: Path | None = arguments.resume
    if folder:
        words = _asked(folder)
        arguments = parser().parse_args(words)
        # The folder is not empty any more, and need not be.
        arguments.output = None
    plan, dataset = running.prepare(arguments, PRESETS[arguments.preset].inputs)
    wanted = points(arguments, dataset.pixels, dataset.classes)
    largest = max(point.batch_size for point in wanted)
    running.check_batch_size("--batch-sizes", largest, dataset)
    if folder is None:
        folder = bundle.create_folder(
            arguments.output, ROOT / "results", f"sweep-{arguments.device}"
        )
        (folder / ASKED).write_text(json.dumps({"words": words}) + "\n")
    code = running.OK
    for point in wanted:
        own = folder / "points" / point.name
        if not _complete(own):
            console.print(f"{point.factor} {point.value}", style="bold", highlight=False)
            code = max(code, _measure(own, point, plan, arguments, dataset, console))
        write(folder, wanted, console)
        if code == running.INTERRUPTED:
            console.print(f"go on with: python run_all.py sweep --resume {folder}", soft_wrap=True)
            break
    return code


def _asked(folder: Path) -> list[str]:
    """The command line that a sweep was started with."""
    try:
        words: list[str] = json.loads((folder / ASKED).read_text())["words"]
    except (OSError, ValueError, KeyError):
        raise UsageError(f"--resume {folder}: holds no {ASKED} that can be read") from None
    return words


def _complete(folder: Path) -> bool:
    """Whether a point has been measured; what was left of one that was interrupted is removed."""
    if not folder.exists():
        return False
    try:
        if bundle.read_environment(folder)["run"]["state"] == "complete":
            return True
    except UsageError:
        pass
    shutil.rmtree(folder)
    return False


def _measure(
    folder: Path,
    point: Point,
    plan: Plan,
    arguments: argparse.Namespace,
    dataset: data.Dataset,
    console: Console,
) -> int:
    """Measure one point into its bundle; returns the exit code."""
    own = plan_of(point, plan, arguments.steps)
    facts = running.describe_run(own, arguments.data_dir)
    bundle.create_folder(folder, folder.parent, folder.name)
    code = running.run(own, dataset.training, folder, facts, console, monotonic())
    # `report` makes a page of any of them; of all of them it would be as much as the rest together.
    bundle_commands.write_reports(folder, page=False)
    return code


def write(folder: Path, wanted: list[Point], console: Console) -> None:
    """Write sweep.csv and the report from the points that are there."""
    parts = []
    for point in wanted:
        own = folder / "points" / point.name / "summary.csv"
        if own.exists():
            texts = ("reason", "diverged")
            types = {"rank": "Int64"} | dict.fromkeys(texts, "str")
            cases = pd.read_csv(own, dtype=types).fillna(dict.fromkeys(texts, ""))
            parts.append(cases.assign(factor=point.factor, value=point.value))
    if not parts:
        return
    found = pd.concat(parts, ignore_index=True)
    found = tables.in_order("sweep", found)
    found.to_csv(folder / "sweep.csv", index=False)
    sweep_report.write(folder, found)
    console.print(f"report: {folder / 'report.md'}", highlight=False, soft_wrap=True)
