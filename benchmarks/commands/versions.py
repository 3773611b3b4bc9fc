"""The command `versions`: compare releases of one framework in the same rounds.

Each release is installed into a virtual environment of its own, which later runs use again; pip
does it as you have configured it, for example with PIP_INDEX_URL or PIP_EXTRA_INDEX_URL for builds
of PyTorch that need no GPU. All else is as in a run. The report says for each mode what changed
from one release to the next, in the order in which they are named; one named twice runs twice.
Without --modes, it compares the modes that stand for the tiers expert and limit.

For example:
  python run_all.py versions jax 0.9.* 0.10.*         the newest release of each series
  python run_all.py versions pytorch 2.12.1 2.13.0 --modes eager compiled
"""

import argparse
from dataclasses import replace
from functools import partial
from time import monotonic

from rich.console import Console

from backends.ladder import EXPERT, LIMIT, Backend
from backends.registry import BACKENDS
from benchmarks.commands import measure, options
from benchmarks.errors import UsageError
from benchmarks.machine import interrupts, lock
from benchmarks.plan import releases
from benchmarks.plan.cases import Case, select_cases, with_control
from benchmarks.plan.presets import PRESETS
from benchmarks.plan.releases import Release
from benchmarks.plan.variants import Overrides
from benchmarks.terminal import results


def parser() -> options.Parser:
    """The command line of `versions`."""
    parser = options.Parser("versions", __doc__)
    names = [name for name, entry in BACKENDS.items() if entry.standing_for(LIMIT, "cpu")]
    parser.add_argument("backend", type=options.word(names), metavar="BACKEND",
        help=f"the framework: {', '.join(names)}")  # fmt: skip
    parser.add_argument("specs", type=release, nargs="+", metavar="RELEASE",
        help="such as 0.10.2, or 0.10.* for the newest of a series; two or more")  # fmt: skip
    parser.add_argument("--refresh", action="store_true",
        help="install again what is there from an earlier run, so that 0.10.* is the newest once "
        "more")  # fmt: skip
    options.add_case_options(parser, backends=False)
    options.add_run_options(parser)
    options.add_cluster_options(parser)
    parser.set_defaults(profile=False)
    return parser


def release(text: str) -> str:
    """A release as pip takes it after ==."""
    if not releases.SPEC.fullmatch(text):
        raise options.refused(text, "is no release; write one such as 0.10.2, or 0.10.*")
    return text


def main(argv: list[str], console: Console) -> int:
    """Compare releases of one framework."""
    arguments = parser().read(argv)
    if len(arguments.specs) < 2:
        raise UsageError("versions: name at least two releases; one named twice runs twice")
    if arguments.on:
        # Installed once, into what all nodes share.
        install(arguments, console)
        with interrupts.deferred():
            from benchmarks.cluster import spread
        return spread.run(arguments, ["versions", *argv], console)
    with lock.held(wait=arguments.wait, say=console.out):
        return compare(arguments, console)


def compare(arguments: argparse.Namespace, console: Console) -> int:
    """Install the releases, run them, and report it; returns the exit code."""
    with interrupts.deferred():
        from benchmarks.commands import running

    bases = base_cases(arguments, BACKENDS[arguments.backend])
    names = named(arguments.specs, install(arguments, console))
    cases = [
        replace(base, variant=name, overrides=Overrides(python=one.python))
        for base in bases
        for name, one in names.items()
    ]
    started = monotonic()
    plan, dataset = running.prepare(arguments, cases)
    plan = replace(plan, cases=tuple(with_control(list(plan.cases))), releases=tuple(names))
    return measure.run_and_report(arguments, plan, dataset, console, started)


def install(arguments: argparse.Namespace, console: Console) -> dict[str, Release]:
    """Install the releases that are not there yet; returns each by what it was named."""
    backend = BACKENDS[arguments.backend]
    return {
        spec: releases.install(
            backend,
            spec,
            partial(results.show_line, console),
            modes=[base.mode for base in base_cases(arguments, backend)],
            refresh=arguments.refresh,
        )
        for spec in dict.fromkeys(arguments.specs)
    }


def base_cases(arguments: argparse.Namespace, backend: Backend) -> list[Case]:
    """The cases that each release runs."""
    device = arguments.device
    standing = [mode for tier in (EXPERT, LIMIT) for mode in backend.standing_for(tier, device)]
    return select_cases(
        preset=replace(PRESETS[arguments.preset], inputs=None),
        backends=[backend.name],
        modes=arguments.modes or standing,
        inputs=arguments.input,
        precision=arguments.precision,
        device=device,
        keras_adam=arguments.keras_adam,
    )


def named(specs: list[str], installed: dict[str, Release]) -> dict[str, Release]:
    """The releases by their versions, as "0.10.2" and, where a spec stands twice, "0.10.2 (2)".

    Raises UsageError where two specs are one release.
    """
    spec_of: dict[str, str] = {}
    found: dict[str, Release] = {}
    for number, spec in enumerate(specs):
        one = installed[spec]
        if spec_of.setdefault(one.version, spec) != spec:
            problem = f"{spec_of[one.version]} and {spec} are both {one.version}"
            raise UsageError(f"versions: {problem}; to run it twice, name one of them twice")
        again = specs[: number + 1].count(spec)
        found[one.version if again == 1 else f"{one.version} ({again})"] = one
    return found
