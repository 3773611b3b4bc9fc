"""The command `list`: what can run here, and why the rest cannot.

Each framework is imported in a process of its own and computes a small product on the device.

For example:
  python run_all.py list
  python run_all.py list jax --device gpu
"""

import argparse

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from backends.registry import BACKENDS
from benchmarks import exit_codes
from benchmarks.commands import options
from benchmarks.machine import probe


def parser() -> options.Parser:
    """The command line of `list`."""
    parser = options.Parser("list", __doc__)
    options.add_named_backends(parser)
    options.add_backend_options(parser.add_argument_group("which backends, and where"))
    return parser


def list_backends(arguments: argparse.Namespace, console: Console) -> int:
    """Print every backend and mode that the arguments name; returns the exit code."""
    names, device = arguments.backends or list(BACKENDS), arguments.device
    table = Table("backend", "mode", "what it is", "tier", "input", f"on the {device} here")
    for name, probed in probe.probe_all(names, device, dict(arguments.python)).items():
        said, entry = "", BACKENDS[name]
        for row, (name_of_mode, mode) in enumerate((entry.modes | entry.group_modes).items()):
            elsewhere = "" if device in mode.devices else f"only on the {mode.devices[0]}"
            problem = elsewhere or probed.problem_of(name_of_mode)
            # The versions are named once, in the first row, and so is each problem.
            versions = "" if row else f" ({probe.package_list(probed.versions)})"
            again = "no, for the same reason" if problem == said else f"no: {problem}"
            answer = again if problem else f"yes{versions}"
            said = problem
            inputs = ", ".join(mode.inputs)
            start = "" if row else name
            about = f"--ranks: {mode.about}" if name_of_mode in entry.group_modes else mode.about
            table.add_row(start, name_of_mode, about, mode.tier, inputs, escape(answer))
        for name_of_mode, why in entry.not_in_groups.items():
            table.add_row("", name_of_mode, "--ranks", "", "", escape(f"no: {why}"))
        table.add_section()
    console.print(table)
    return exit_codes.OK


def main(argv: list[str], console: Console) -> int:
    """Show what can run here, and why the rest cannot."""
    return list_backends(parser().read(argv), console)
