"""Run the command that the command line names, and turn errors into exit codes."""

import importlib
import signal
import sys
import traceback
from typing import NoReturn

from rich.console import Console

from benchmarks import commands
from benchmarks.commands import exit_codes
from benchmarks.errors import StoppedError, UnjudgedError, UsageError
from benchmarks.machine import project

CODES = {
    UsageError: exit_codes.REFUSED,
    UnjudgedError: exit_codes.UNJUDGED,
    StoppedError: exit_codes.STOPPED,
}
"""The exit codes of the errors that are shown as one line."""


def interrupt(*_: object) -> NoReturn:
    """End as Ctrl-C does."""
    raise KeyboardInterrupt


def main(argv: list[str] | None = None) -> int:
    """Run the command that `argv` names, by default the process's own; returns the exit code."""
    # Without a terminal to take the width from, wide enough for the tables.
    console = Console(width=None if sys.stdout.isatty() else 112)
    try:
        project.check_system()
        for ending in (signal.SIGTERM, signal.SIGHUP):
            # A hang-up that is ignored, as nohup arranges it, stays ignored.
            if signal.getsignal(ending) != signal.SIG_IGN:
                signal.signal(ending, interrupt)
        name, arguments = commands.pick(sys.argv[1:] if argv is None else argv)
        # Only this command: reading a bundle need not wait for what a measurement imports.
        command = importlib.import_module(f"benchmarks.commands.{name}")
        return command.main(arguments, console)
    except tuple(CODES) as error:
        print(f"run_all.py: {error}", file=sys.stderr)
        return CODES[type(error)]
    except KeyboardInterrupt:
        return exit_codes.INTERRUPTED
    except Exception:
        traceback.print_exc()
        return exit_codes.STOPPED


if __name__ == "__main__":
    sys.exit(main())
