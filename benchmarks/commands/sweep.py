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

A sweep that goes on measures what it was started to measure. What it runs and reads it takes from
nobody but you: where it was started with --python or --data-dir, name these again.
"""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

import pandas as pd
from rich.console import Console

from backends.contract import Network
from benchmarks import exit_codes
from benchmarks.analysis.findings import compute_findings
from benchmarks.bundle import files
from benchmarks.bundle.checks import describe_damage
from benchmarks.bundle.folders import create_folder
from benchmarks.bundle.reader import Bundle, read_environment
from benchmarks.commands import measure as one_run
from benchmarks.commands import options, report, running
from benchmarks.errors import StoppedError, UsageError
from benchmarks.machine import interrupts, lock
from benchmarks.machine.settings import ROOT
from benchmarks.plan.blocks import block_length
from benchmarks.plan.cases import with_control
from benchmarks.plan.data import EMBEDDED, Dataset, load
from benchmarks.plan.plan import Plan
from benchmarks.plan.presets import PRESETS
from benchmarks.reports.between_runs import sweep as sweep_report
from benchmarks.schema.frames import in_order
from benchmarks.session.description import describe_run
from benchmarks.terminal import results
from benchmarks.texts import harmless

ROUNDS = 6
"""Rounds in each launch of a point; a point trains as many steps as these rounds have."""
FACTORS = {
    "batch size": (32, 128, 512, 2048, 8192),
    "width": (64, 256, 512, 1024, 4096),
    "depth": (1, 2, 4, 8),
}
"""What can be varied, and the values of each where no factor is named."""
STARTED = "sweep.json"
"""The file that says what a sweep measures, for --resume."""
NAMED_AGAIN = ("python", "data_dir")
"""What a sweep runs and reads: --resume takes it from its own command line, never from a file."""
NOT_KEPT = {*NAMED_AGAIN, "output", "resume", "wait", "help"}
NOT_KEPT |= {"ranks", "weak", "hosts", "rank_launcher", "profile", "part", "on", "go_on"}
NOT_KEPT |= {"partition", "account", "job_minutes", "shared_nodes", "jobs_at_once"}
"""The arguments that are not in the file."""


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
        help="go on with the interrupted sweep in this folder; of the other options only --python "
        "and --data-dir, which are to be named again")  # fmt: skip
    options.add_case_options(parser)
    options.add_run_options(parser)
    options.add_cluster_options(parser)
    parser.set_defaults(launches=3, profile=False)
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
    cases = list(plan.cases)
    plan = replace(plan, cases=tuple(with_control(cases)))
    network = Network(layer_sizes=point.layer_sizes)
    shortest = block_length(
        steps=1,
        stretch=sys.maxsize,
        step_flops=network.step_flops(point.batch_size),
        device=cases[0].device,
        call=plan.longest_call,
    )
    steps = steps or ROUNDS * shortest.steps
    work = replace(plan.workload, network=network, batch_size=point.batch_size, steps=steps)
    return replace(plan, workload=work, until_settled=False, readings=None, learning_seeds=0)


def to_keep(arguments: argparse.Namespace, threads: int, dataset: Dataset) -> dict[str, Any]:
    """What sweep.json holds of a sweep: its choice of what to measure, and no path or program."""
    values = vars(arguments) | {"threads": threads}
    chosen = {name: value for name, value in values.items() if name not in NOT_KEPT}
    return {
        "choice": {name: value for name, value in chosen.items() if value is not None},
        "pythons": sorted(dict(arguments.python)),
        "data": Path(os.path.realpath(arguments.data_dir)).name,
        "data_sha256": dataset.sha256,
    }


def read_started(folder: Path) -> dict[str, Any]:
    """The content of a sweep's sweep.json; raises UsageError where it is not one."""
    try:
        content = json.loads(files.read_bytes(folder, STARTED))
    except (OSError, ValueError, RecursionError):
        raise UsageError(f"--resume {folder}: holds no {STARTED} that can be read") from None
    kinds = {"choice": dict, "pythons": list, "data": str, "data_sha256": str}
    if not (
        isinstance(content, dict)
        and content.keys() == kinds.keys()
        and all(isinstance(content[name], kind) for name, kind in kinds.items())
        and all(isinstance(name, str) for name in content["pythons"])
    ):
        problem = "is of another version of this program, or damaged; start the sweep again"
        raise UsageError(f"{folder / STARTED}: {problem}")
    return content


def resumed(argv: list[str], named: argparse.Namespace) -> tuple[argparse.Namespace, str]:
    """The arguments of the sweep that `named`, the values of `argv`, goes on with; its checksum.

    Raises UsageError where its file cannot be used, or something has to be named otherwise.
    """
    folder = named.resume
    again = {"--resume", "--wait", *(f"--{name.replace('_', '-')}" for name in NAMED_AGAIN)}
    options_named = {word.partition("=")[0] for word in argv if word.startswith("--")}
    if others := sorted(options_named - again):
        problem = "the sweep goes on as it was started"
        raise UsageError(f"--resume {folder}: {problem}; leave out {', '.join(others)}")
    content = read_started(folder)
    pythons, wanted = set(dict(named.python)), set(content["pythons"])
    for name in sorted(wanted - pythons):
        problem = f"this sweep ran {name} by another Python"
        raise UsageError(f"--resume: {problem}; name it again with --python {name}=PROGRAM")
    for name in sorted(pythons - wanted):
        raise UsageError(f"--resume: this sweep ran {name} by its own Python; leave out --python")
    arguments = _parsed(content["choice"], folder)
    arguments.python, arguments.data_dir = named.python, named.data_dir
    return arguments, content["data_sha256"]


def _parsed(choice: Mapping[str, Any], folder: Path) -> argparse.Namespace:
    """The choice of a sweep.json as arguments, checked as those of the command line are."""
    own = parser()
    own.prog += harmless(f" --resume {folder}")
    known = {action.dest: action for action in own._option_string_actions.values()}
    argv: list[str] = []
    for name, value in choice.items():
        words = list(map(str, value if isinstance(value, list) else [value]))
        if (
            name not in known.keys() - NOT_KEPT
            or isinstance(value, list) != bool(known[name].nargs)
            or any(word.startswith("-") or not word.isprintable() for word in words)
        ):
            raise UsageError(f"{folder / STARTED}: {name} cannot be {value!r}")
        argv += [known[name].option_strings[-1], *words]
    return own.read(argv)


def main(argv: list[str], console: Console) -> int:
    """Compare over batch sizes, widths and depths of the network."""
    named = parser().read(argv)
    if named.on:
        return spread_over_jobs(argv, named, console)
    with lock.held(wait=named.wait, say=console.out):
        return measure(argv, named, console) if named.part is None else part(named, console)


def part(arguments: argparse.Namespace, console: Console) -> int:
    """Make one launch of the one point that the arguments name, as a part of it."""
    began = monotonic()
    inputs = PRESETS[arguments.preset].inputs
    plan, dataset = running.prepare(arguments, running.choose_cases(arguments, inputs))
    chosen = points(arguments, dataset.pixels, dataset.classes)
    if len(chosen) > 1:
        raise UsageError(f"--part: names a launch of one point, and these are {len(chosen)}")
    plan = plan_of(chosen[0], plan, arguments.steps)
    return one_run.run_and_report(arguments, plan, dataset, console, began)


def spread_over_jobs(argv: list[str], arguments: argparse.Namespace, console: Console) -> int:
    """Make the launches of all points as jobs, point by point; returns the exit code."""
    with interrupts.deferred():
        from benchmarks.cluster import spread

    folder: Path | None = arguments.output
    if folder is None or arguments.resume:
        raise UsageError("--on: name the sweep's folder by --output; go on with it by --continue")
    dataset = load(arguments.data_dir)
    given = spread.without(argv, {f"--{factor.replace(' ', '-')}s": None for factor in FACTORS})
    code, summaries = exit_codes.OK, dict[Point, pd.DataFrame]()
    for point in points(arguments, dataset.pixels, dataset.classes):
        output = folder / "points" / point.name
        begun = output.with_name(f"{output.name}{spread.PARTS}").exists()
        own = {**vars(arguments), "output": output, "go_on": arguments.go_on and begun}
        words = ["sweep", *given, f"--{point.factor.replace(' ', '-')}s", str(point.value)]
        output.parent.mkdir(parents=True, exist_ok=True)
        results.show_line(console, f"{point.factor} {point.value}")
        try:
            code = max(code, spread.run(argparse.Namespace(**own), words, console))
        except StoppedError as error:  # of this point, which leaves the others
            results.show_line(console, str(error))
            code = exit_codes.FAILED
            continue
        summaries[point] = compute_findings(Bundle.read(output)).summary
        write(folder, summaries, console)
    return code


def measure(argv: list[str], named: argparse.Namespace, console: Console) -> int:
    """Measure the points of the sweep that `named`, the values of `argv`, asks for."""
    folder: Path | None = named.resume
    arguments, data_sha256 = resumed(argv, named) if folder else (named, None)
    plan, dataset = running.prepare(
        arguments, running.choose_cases(arguments, PRESETS[arguments.preset].inputs)
    )
    if data_sha256 not in (None, dataset.sha256):
        problem = "this sweep was measured on other data"
        raise UsageError(f"--resume: {problem}; name it again with --data-dir FOLDER")
    chosen = points(arguments, dataset.pixels, dataset.classes)
    largest = max(point.batch_size for point in chosen)
    running.check_batch_size("--batch-sizes", largest, dataset)
    if folder is None:
        text = json.dumps(to_keep(arguments, plan.threads, dataset), indent=2)
        with interrupts.deferred():
            folder = create_folder(arguments.output, ROOT / "results", f"sweep-{arguments.device}")
            files.write_text(folder, STARTED, f"{text}\n")
    running.show_notes(plan, console)
    code = exit_codes.OK
    summaries: dict[Point, pd.DataFrame] = {}
    for point in chosen:
        bundle = files.inside(folder, f"points/{point.name}")
        if not _complete(bundle, point, dataset.sha256):
            console.print(f"{point.factor} {point.value}", style="bold", highlight=False)
            training, point_plan = dataset.training, plan_of(point, plan, arguments.steps)
            described, began = describe_run(point_plan), monotonic()
            with interrupts.deferred():
                writer = running.create_bundle(described, bundle, bundle.name)
                ended = running.run(point_plan, training, writer, described, console, began)
                code = max(code, ended)
                # No page: the pages of all points would be as large as everything else together.
                # The command report makes the page of any one of them.
                _, findings = report.write_reports(writer.folder, page=False)
        else:
            read = Bundle.read(bundle)
            findings = compute_findings(read)
            if damage := describe_damage(read.problems):
                results.show_line(console, f"{bundle}: {damage}")
        summaries[point] = findings.summary
        write(folder, summaries, console)
        if code == exit_codes.INTERRUPTED:
            again = ["python", "run_all.py", "sweep", "--resume", str(folder)]
            if arguments.data_dir != EMBEDDED:
                again += ["--data-dir", str(arguments.data_dir)]
            again += [f"--python={name}={program}" for name, program in arguments.python]
            results.show_line(console, f"go on with: {shlex.join(again)}")
            break
    return code


def _complete(folder: Path, point: Point, data_sha256: str) -> bool:
    """Whether a point has been measured; removes what an interrupted one has left behind.

    Raises UsageError where the folder has the run of another point, or of other data.
    """
    if not os.path.lexists(folder):
        return False
    try:
        environment = read_environment(folder)
    except UsageError:
        environment = None
    if environment is None or environment.run.state != "complete":
        files.remove(folder)
        return False
    work = environment.workload
    if (work.layer_sizes, work.batch_size, work.data_sha256) != (
        point.layer_sizes,
        point.batch_size,
        data_sha256,
    ):
        problem = f"is the run of another workload, not of {point.factor} {point.value}"
        raise UsageError(f"{folder}: {problem}; remove it, to have the point measured again")
    return True


def write(folder: Path, summaries: Mapping[Point, pd.DataFrame], console: Console) -> None:
    """Write sweep.csv and the report from the summaries of the points that have been measured."""
    tables = [
        summary.assign(factor=point.factor, value=point.value)
        for point, summary in summaries.items()
    ]
    table = in_order("sweep", pd.concat(tables, ignore_index=True))
    try:
        with files.all_or_none(folder) as unfinished:
            files.write_text(unfinished, "sweep.csv", table.to_csv(index=False))
            sweep_report.write(unfinished, table)
    except OSError as error:
        problem = report.unwritten(folder, error)
        raise StoppedError(f"{problem}; go on with sweep --resume when it can") from None
    results.show_line(console, f"report: {folder / 'report.md'}")
