"""The command `sweep`: the comparison over batch sizes, widths and depths of the network.

Varies the batch size, the width of the hidden layers and their number, one at a time from the base
workload, so the time grows with the number of values. Only factors whose values are named are
varied, or all three if none is named. Each point is a bundle under points/ of the sweep's folder,
which also has sweep.csv, report.md and figures/.

For example:
  python run_all.py sweep                             all three factors; about half an hour
  python run_all.py sweep --batch-sizes 32 128 512 --backends jax pytorch
  python run_all.py sweep --resume results/2026-01-01-1200-sweep-cpu
                                                      go on with one that was interrupted
"""

import argparse
import json
import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

import pandas as pd
from rich.console import Console

from backends.contract import Network
from benchmarks.analysis.tables import in_order
from benchmarks.bundle.folders import create_folder
from benchmarks.bundle.reader import read_environment
from benchmarks.commands import exit_codes, options, report, running
from benchmarks.errors import UsageError
from benchmarks.machine.settings import ROOT
from benchmarks.plan.cases import floors_of, with_control
from benchmarks.plan.plan import BLOCK_FLOPS, FEWEST_BLOCK_STEPS, Plan
from benchmarks.plan.presets import PRESETS
from benchmarks.reports import sweep as sweep_report

ROUNDS = 6
"""Rounds in each launch of a point; a point trains as many steps as these rounds have."""
FACTORS = {
    "batch size": (32, 128, 512, 2048, 8192),
    "width": (64, 256, 512, 1024, 4096),
    "depth": (1, 2, 4, 8),
}
"""What can be varied, and the values of each where no factor is named."""
ARGUMENTS = "sweep.json"
"""The file with the arguments of a sweep, for --resume."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One workload of a sweep."""

    factor: str
    value: int
    layer_sizes: tuple[int, ...]
    batch_size: int

    @property
    def name(self) -> str:
        """The folder of the point's bundle; points with the same workload share it."""
        hidden = "-".join(str(size) for size in self.layer_sizes[1:-1])
        return f"batch-{self.batch_size}-hidden-{hidden or 'none'}"


def parser() -> options.Parser:
    """The command line of `sweep`."""
    parser = options.Parser("sweep", __doc__)
    factors = parser.add_argument_group("what is varied")
    for factor, defaults in FACTORS.items():
        factors.add_argument(f"--{factor.replace(' ', '-')}s", nargs="+",
            type=options.listed(options.positive_int), dest=factor,
            metavar="N",
            help=f"values to try, such as {' '.join(map(str, defaults))}")  # fmt: skip
    factors.add_argument("--resume", type=Path, metavar="FOLDER",
        help="go on with the interrupted sweep in this folder, with its arguments")  # fmt: skip
    options.add_case_options(parser)
    options.add_run_options(parser)
    parser.set_defaults(launches=3)
    return parser


def points(arguments: argparse.Namespace, pixels: int, classes: int) -> list[Point]:
    """The points that the arguments name, factor by factor; images have `pixels` pixels each."""
    hidden: list[int] = arguments.hidden or [512]
    named = {factor: values for factor in FACTORS if (values := getattr(arguments, factor))}
    chosen = []
    for factor, values in (named or FACTORS).items():
        for value in sorted(set(values)):
            inner = {"width": [value] * len(hidden), "depth": [hidden[0]] * value}
            sizes = (pixels, *inner.get(factor, hidden), classes)
            batch = value if factor == "batch size" else arguments.batch_size
            chosen.append(Point(factor=factor, value=value, layer_sizes=sizes, batch_size=batch))
    return chosen


def plan_of(point: Point, plan: Plan, steps: int | None) -> Plan:
    """The plan of one point; by default it trains as many steps as ROUNDS blocks have."""
    network = Network(layer_sizes=point.layer_sizes)
    device = plan.cases[0].device
    longest = int(BLOCK_FLOPS[device] / network.step_flops(point.batch_size))
    steps = steps or ROUNDS * max(1, min(FEWEST_BLOCK_STEPS[device], longest))
    work = replace(plan.workload, network=network, batch_size=point.batch_size, steps=steps)
    cases = list(plan.cases)
    plan = replace(plan, cases=tuple(with_control(cases)), floors=floors_of(cases))
    return replace(plan, workload=work, until_settled=False, readings=None)


def main(argv: list[str], console: Console) -> int:
    """Compare over batch sizes, widths and depths of the network."""
    arguments = parser().read(argv)
    folder: Path | None = arguments.resume
    if folder:
        try:
            argv = json.loads((folder / ARGUMENTS).read_text())["arguments"]
        except (OSError, ValueError, KeyError):
            raise UsageError(f"--resume {folder}: holds no {ARGUMENTS} that can be read") from None
        arguments = parser().read(argv)
        # The folder exists and is not empty, which --output would refuse.
        arguments.output = None
    plan, dataset = running.prepare(arguments, PRESETS[arguments.preset].inputs)
    chosen = points(arguments, dataset.pixels, dataset.classes)
    largest = max(point.batch_size for point in chosen)
    running.check_batch_size("--batch-sizes", largest, dataset)
    if folder is None:
        folder = create_folder(arguments.output, ROOT / "results", f"sweep-{arguments.device}")
        (folder / ARGUMENTS).write_text(json.dumps({"arguments": argv}) + "\n")
    running.show_notes(plan, console)
    code = exit_codes.OK
    for point in chosen:
        bundle = folder / "points" / point.name
        if not _complete(bundle):
            console.print(f"{point.factor} {point.value}", style="bold", highlight=False)
            create_folder(bundle, bundle.parent, bundle.name)
            training, point_plan = dataset.training, plan_of(point, plan, arguments.steps)
            code = max(code, running.run(point_plan, training, bundle, console, monotonic()))
            # No page: the pages of all points would be as large as everything else together. The
            # command report makes the page of any one of them.
            report.write_reports(bundle, page=False)
        write(folder, chosen, console)
        if code == exit_codes.INTERRUPTED:
            console.print(f"go on with: python run_all.py sweep --resume {folder}", soft_wrap=True)
            break
    return code


def _complete(folder: Path) -> bool:
    """Whether a point has been measured; removes what an interrupted one has left behind."""
    if not folder.exists():
        return False
    with suppress(UsageError):
        if read_environment(folder).run.state == "complete":
            return True
    shutil.rmtree(folder)
    return False


def write(folder: Path, chosen: list[Point], console: Console) -> None:
    """Write sweep.csv and the report from the points that have been measured."""
    empty = {"reason": "", "diverged": ""}
    types = {"rank": "Int64"} | dict.fromkeys(empty, "str")
    tables = [
        pd.read_csv(path, dtype=types).fillna(empty).assign(factor=point.factor, value=point.value)
        for point in chosen
        if (path := folder / "points" / point.name / "summary.csv").exists()
    ]
    if tables:
        table = in_order("sweep", pd.concat(tables, ignore_index=True))
        table.to_csv(folder / "sweep.csv", index=False)
        sweep_report.write(folder, table)
        console.print(f"report: {folder / 'report.md'}", highlight=False, soft_wrap=True)
