"""The command line: one module a command, its options, exit codes and what the terminal shows.

The module of a command has `parser()` and `main(argv, console)`, which returns the exit code.
"""

from backends.registry import BACKENDS
from benchmarks.errors import UsageError
from benchmarks.words import similar_to

COMMANDS = {
    "measure": "train one network in every framework and print a comparison that holds up",
    "certify": "prove that cases compute the same training as the reference; nothing is timed",
    "versions": "install several releases of a framework, and say which of them changed what",
    "sweep": "repeat the comparison over batch sizes, widths and depths of the network",
    "report": "rewrite the report of a bundle, or make one report of several bundles",
    "compare": "say what became faster or slower between runs",
    "ab": "run two revisions of this program by turns, and say what became faster or slower",
    "export": "write a run's results in the format of another program",
    "gallery": "make a site of many bundles: by machine, by version, by date",
    "check": "say whether a bundle may be added to the published results",
    "list": "show what can run here, and why the rest cannot",
}
"""Every command and what it does; `measure` is the default."""


def pick(argv: list[str]) -> tuple[str, list[str]]:
    """Split a command line into a command and its arguments; UsageError for an unknown command."""
    if argv[:1] == ["help"]:
        argv = [*argv[1:2], "--help"]
    name, arguments = (argv[0], argv[1:]) if argv else ("measure", [])
    # Also with the dash that a text editor has made of two.
    if name.startswith(("-", "–", "—")):
        return "measure", argv
    if name in COMMANDS:
        return name, arguments
    similar, backend = similar_to(name, COMMANDS), similar_to(name, BACKENDS)
    hint = f"; did you mean {similar}?" if similar else "."
    if backend and not similar:
        hint = f"; to measure this backend: --backends {backend}."
    raise UsageError(
        f"unknown command {name or repr(name)}{hint} The commands are {', '.join(COMMANDS)}, help"
    )
