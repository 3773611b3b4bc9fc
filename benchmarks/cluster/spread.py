"""A run whose launches are jobs: `run_all.py --on slurm`, or `local`."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks import exit_codes
from benchmarks.analysis.certified import UNCERTIFIED
from benchmarks.analysis.findings import Findings
from benchmarks.bundle import files
from benchmarks.bundle.folders import check_folder
from benchmarks.bundle.reader import read_environment
from benchmarks.cluster.jobs import Cluster, Jobs, finished
from benchmarks.commands import report
from benchmarks.errors import StoppedError, UsageError
from benchmarks.machine.settings import ROOT
from benchmarks.plan.presets import PRESETS
from benchmarks.terminal import results

PARTS = "-parts"
"""Ends the name of the folder in which a run's parts lie, beside that of the run."""
OWN = {"--on": 1, "--output": 1, "--continue": 0, "--partition": 1, "--account": 1,
       "--job-minutes": 1, "--shared-nodes": 0, "--jobs-at-once": 1, "--launches": 1,
       "--wait": 0, "--refresh": 0}  # fmt: skip
"""The options that are not those of each launch, and how many values each has."""


def run(arguments: argparse.Namespace, argv: Sequence[str], console: Console) -> int:
    """Make the launches as jobs, merge them into a bundle, and report it; returns the exit code.

    `argv` is the command and its arguments, which each job has too, but for those of jobs.
    """
    output: Path | None = arguments.output
    if output is None:
        raise UsageError("--on: name the folder of the bundle: --output FOLDER")
    if arguments.part is not None:
        raise UsageError("--on: makes all parts; leave out --part")
    if arguments.hosts:
        raise UsageError("--on: jobs have nodes of their own; leave out --hosts")
    output = output.resolve()
    if not (arguments.go_on and _is_merged(output)):
        check_folder(output)
    place = output.with_name(f"{output.name}{PARTS}")
    if place.exists() and not arguments.go_on:
        raise UsageError(f"{place}: exists; go on with it by --continue, or name another --output")
    if not place.exists() and arguments.go_on:
        raise UsageError(f"--continue: {place} does not exist; nothing was begun")
    place.mkdir(parents=True, exist_ok=True)
    launches = arguments.launches or PRESETS[arguments.preset].launches
    most = max(arguments.ranks or [1])
    cluster = Cluster(
        where=arguments.on,
        minutes=arguments.job_minutes,
        threads=most * (arguments.threads or 0),
        gpus=most * int(arguments.device == "gpu"),
        partition=arguments.partition,
        account=arguments.account,
        exclusive=not arguments.shared_nodes,
        at_once=arguments.jobs_at_once,
    )
    command, *given = without(argv, OWN)
    launch = [sys.executable, str(ROOT / "run_all.py"), command, *given, "--wait"]
    launch += ["--launches", str(launches)]
    commands = {
        number: [*launch, "--part", str(number), "--output", str(place / f"part-{number}")]
        for number in range(launches)
    }
    say = partial(results.show_line, console)
    say(f"{launches} launches as jobs ({arguments.on}); parts: {place}")
    try:
        return _made_and_merged(Jobs(cluster, commands, place, say), output, console)
    except OSError as error:
        raise StoppedError(
            f"{error.filename or output.parent}: cannot be written ({error.strerror}); what was "
            f"made is kept in {place}: go on with the same command and --continue when it can"
        ) from None


def _made_and_merged(jobs: Jobs, output: Path, console: Console) -> int:
    """Await the jobs and merge what they have made; returns the exit code."""
    failed, place = jobs.run(), jobs.folder
    made = [folder for n in jobs.commands if finished(folder := place / f"part-{n}")]
    if not made:
        raise StoppedError(f"no part was made: {failed.get(0, 'see the logs')}; logs: {place}/jobs")
    findings = _merged_anew(made, output, console)
    summary, groups = findings.summary, findings.scaling
    uncertified = (summary["status"] == "measured") & ~summary["certified"]
    lost = uncertified.any() or (summary["status"] == "failed").any()
    # Groups with batches of their own are in no summary.
    lost |= bool(groups["left_out"].str.contains(f"^failed|^{UNCERTIFIED}$").any())
    return exit_codes.FAILED if failed or lost else exit_codes.OK


def _merged_anew(made: list[Path], output: Path, console: Console) -> Findings:
    """Merge parts, in place of a bundle that was merged before, which stays if they cannot be."""
    before = output.with_name(f"{output.name}.before")
    if _is_merged(output):
        files.remove(before)
        output.rename(before)
    try:
        found = report.merge(made, output, console)
    except BaseException:
        if before.exists():
            files.remove(output)
            before.rename(output)
        raise
    files.remove(before)
    return found


def _is_merged(output: Path) -> bool:
    """Whether a bundle lies there that was merged from parts, which can be merged again."""
    try:
        return read_environment(output).run.seeds is not None
    except UsageError:
        return False


def without(argv: Sequence[str], options: Mapping[str, int | None]) -> list[str]:
    """The arguments without some options and their values; None is for any number of these."""
    kept, words = [], list(argv)
    while words:
        word = words.pop(0)
        name, has_value, _ = word.partition("=")
        if name not in options:
            kept.append(word)
        elif not has_value:
            count = options[name]
            ends = (n for n, one in enumerate(words) if one.startswith("--"))
            del words[: next(ends, len(words)) if count is None else count]
    return kept
