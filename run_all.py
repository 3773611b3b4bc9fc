"""Run the command that the command line names, and turn errors into exit codes."""

import importlib
import os
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

# Where PYTHONSAFEPATH is set, Python does not look beside this file.
if (root := str(Path(__file__).resolve().parent)) not in sys.path:
    sys.path.insert(0, root)

from benchmarks.errors import StoppedError, UnjudgedError, UsageError
from benchmarks.machine import interrupts
from benchmarks.texts import harmless

if TYPE_CHECKING:
    from rich.console import Console


def main(argv: list[str] | None = None) -> int:
    """Run the command that `argv` names, by default the process's own; returns the exit code."""
    interrupts.handle()
    # What this program writes, it can read, whatever the umask.
    os.umask(os.umask(0) & 0o077)
    code: int = 128 + signal.SIGINT
    # An interrupt that comes when all is done changes nothing.
    with suppress(KeyboardInterrupt), interrupts.deferred():
        # Not above, where an interrupt would end in a traceback.
        from benchmarks import exit_codes
        from benchmarks.terminal import output

        codes = {
            UsageError: exit_codes.REFUSED,
            UnjudgedError: exit_codes.UNJUDGED,
            StoppedError: exit_codes.STOPPED,
            # What no command expects, such as too few file descriptors.
            OSError: exit_codes.STOPPED,
            MemoryError: exit_codes.STOPPED,
            KeyboardInterrupt: exit_codes.INTERRUPTED,
        }
        with output.lasting() as console:
            try:
                with interrupts.allowed():
                    code = run(sys.argv[1:] if argv is None else argv, console)
            except tuple(codes) as error:
                text = harmless(str(error) or type(error).__name__)
                print(f"run_all.py: {text}", file=sys.stderr)
                code = next(code for kind, code in codes.items() if isinstance(error, kind))
            except Exception:
                traceback.print_exc()
                code = exit_codes.STOPPED
    return code


def run(argv: list[str], console: "Console") -> int:
    """Run the command that `argv` names; returns the exit code."""
    with interrupts.deferred():
        from benchmarks import commands
        from benchmarks.machine import project

        project.check_system()
        name, arguments = commands.pick(argv)
        # Only this command: reading a bundle need not wait for what a measurement imports.
        command = importlib.import_module(f"benchmarks.commands.{name}")
    code: int = command.main(arguments, console)
    return code


if __name__ == "__main__":
    code = main()
    interrupts.ignore()
    sys.exit(code)
