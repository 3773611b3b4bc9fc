"""The command `ab`: two revisions of this program against each other, in runs made by turns.

Each revision is checked out into a folder of its own, and runs in this Python, or in an environment
of its own where it needs other packages. The runs alternate, so that what changes on the machine
meanwhile is in no side; then they are compared as `compare --before … --after …` does. To compare
two releases of a framework, or two flags, a single run is better: see `versions` and `--variant`.

For example:
  python run_all.py ab main HEAD                      quick runs, three of each
  python run_all.py ab main HEAD --fail-if-slower 5% --output results/ab -- --backends jax
                                                      as a gate in CI; what follows -- is for the
                                                      runs
  python run_all.py ab main HEAD --output results/ab --runs 6
                                                      go on to six of each, or after an interrupt
"""

import signal
from functools import partial
from itertools import count
from pathlib import Path
from subprocess import DEVNULL, Popen

from rich.console import Console

from benchmarks import exit_codes
from benchmarks.analysis.between_runs.comparable import AFTER, BEFORE
from benchmarks.analysis.between_runs.gate import FEWEST_RUNS, MOST_RUNS
from benchmarks.bundle.folders import create_folder
from benchmarks.bundle.reader import read_environment
from benchmarks.commands import compare, options
from benchmarks.errors import StoppedError, UsageError
from benchmarks.machine import repository
from benchmarks.machine.settings import ROOT
from benchmarks.plan import revisions
from benchmarks.plan.revisions import Revision
from benchmarks.terminal import results

FIRST_OPTIONS = ("--preset", "quick")
"""What each run is, where nothing else is said."""


def parser() -> options.Parser:
    """The command line of `ab`."""
    parser = options.Parser("ab", __doc__)
    parser.add_argument("before", metavar="REV1", help="a revision, as git names it")
    parser.add_argument("after", metavar="REV2", help="the revision that is judged")
    parser.add_argument("--runs", type=options.positive_int, default=FEWEST_RUNS, metavar="N",
        help=f"runs of each revision, at most {MOST_RUNS}; default: {FEWEST_RUNS}")  # fmt: skip
    compare.add_gate_options(parser)
    parser.add_argument("--output", type=Path, metavar="FOLDER",
        help="the folder of the runs; of those that it has, none is made again")  # fmt: skip
    return parser


def main(argv: list[str], console: Console) -> int:
    """Make the runs that are missing, and compare them; returns the exit code."""
    own, given = split(argv)
    arguments = parser().read(own)
    if arguments.runs > MOST_RUNS:
        raise UsageError(f"--runs {arguments.runs}: at most {MOST_RUNS}")
    say = partial(results.show_line, console)
    if repository.modified():
        say("note: changes that are not committed are in neither revision")
    sides = {
        side: revisions.check_out(name, say)
        for side, name in ((BEFORE, arguments.before), (AFTER, arguments.after))
    }
    place = place_of(arguments.output)
    folders: dict[str, list[Path]] = {side: [] for side in sides}
    for number in range(1, arguments.runs + 1):
        # Each comes first in every other turn.
        for side in (BEFORE, AFTER) if number % 2 else (AFTER, BEFORE):
            folder = place / f"{side}-{number}"
            folders[side].append(folder)
            if not finished(folder, sides[side]):
                say(f"run {number} of {arguments.runs} {side} ({sides[side].commit[:10]})")
                run(sides[side], folder, given)
    return compare.judge(
        arguments, folders[BEFORE], folders[AFTER], place / "comparison.md", console
    )


def place_of(output: Path | None) -> Path:
    """The folder of the runs: that of `--output`, which may have runs, or a new one."""
    if output and any(any(output.glob(f"{side}-*")) for side in (BEFORE, AFTER)):
        return output.resolve()
    return create_folder(output, ROOT / "results", "ab").resolve()


def split(argv: list[str]) -> tuple[list[str], list[str]]:
    """The arguments of `ab`, and those behind -- that are for each run."""
    if "--" not in argv:
        return argv, []
    place = argv.index("--")
    return argv[:place], argv[place + 1 :]


def finished(folder: Path, revision: Revision) -> bool:
    """Whether a run of this revision lies there; one that was cut off is put aside.

    Raises UsageError where it is a run of another revision.
    """
    if not (folder / "environment.json").exists():
        return False
    environment = read_environment(folder)
    if environment.git_commit != revision.commit:
        raise UsageError(
            f"{folder} holds a run of {environment.git_commit[:10] or 'an unknown revision'}, and "
            f"not of {revision.commit[:10]}; choose another --output"
        )
    if environment.run.state == "complete":
        return True
    aside = (folder.with_name(f"{folder.name}-cut-off-{number}") for number in count(1))
    folder.rename(next(place for place in aside if not place.exists()))
    return False


def run(revision: Revision, folder: Path, given: list[str]) -> None:
    """Make a run of a revision; raises StoppedError where it has not come to its end.

    A case that fails is for the comparison to judge.
    """
    command = [revision.python, "run_all.py", *FIRST_OPTIONS, *given, "--output", str(folder)]
    # In a session of its own, so that an interrupt reaches it once: from here.
    process = Popen(command, cwd=revision.folder, stdin=DEVNULL, start_new_session=True)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        # It reports what it has measured before it ends.
        process.send_signal(signal.SIGINT)
        process.wait()
        raise
    finally:
        process.kill()
    if code == exit_codes.INTERRUPTED:
        raise KeyboardInterrupt
    if code not in (exit_codes.OK, exit_codes.FAILED):
        raise StoppedError(
            f"a run of {revision.commit[:10]} ended with {code}, as it says above; what was "
            f"measured is in {folder.parent}"
        )
