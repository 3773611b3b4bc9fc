"""The command `list`: what can run here, and why the rest cannot."""

from __future__ import annotations

import argparse

from rich.console import Console

from backends.registry import BACKENDS
from benchmarks.commands import exit_codes, options
from benchmarks.machine import probe

EPILOG = """\
Each framework is imported in a process of its own and computes a small product on the device.

examples:
  python run_all.py list
  python run_all.py list jax --device gpu
"""


def parser() -> options.Parser:
    """The command line of `list`."""
    parser = options.Parser("list", EPILOG)
    options.add_named_backends(parser)
    options.add_backend_options(parser.add_argument_group("which backends, and where"))
    return parser


def list_backends(arguments: argparse.Namespace, console: Console) -> int:
    """Print every backend and mode that the arguments name; returns the exit code."""
    # Not above: it takes seconds to import, for which `--help` need not wait.
    from benchmarks.commands import terminal

    names = arguments.backends or list(BACKENDS)
    probes = probe.probe_all(names, arguments.device, dict(arguments.python or ()))
    terminal.show_list(console, probes, arguments.device)
    return exit_codes.OK


def main(argv: list[str], console: Console) -> int:
    """Show what can run here, and why the rest cannot."""
    return list_backends(parser().read(argv), console)
