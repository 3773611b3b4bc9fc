"""The options of the command line, and their refusal of wrong values in one clear line."""

import argparse
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from backends.contract import PRECISIONS
from backends.registry import BACKENDS, mode_names, renamed
from benchmarks import exit_codes
from benchmarks.commands import COMMANDS
from benchmarks.errors import UsageError
from benchmarks.machine import processor
from benchmarks.machine.project import device_problem
from benchmarks.machine.settings import default_threads
from benchmarks.plan import data, seats, variants
from benchmarks.plan.cases import KERAS_ADAM
from benchmarks.plan.presets import PRESETS
from benchmarks.schema import ACCURACY_MARGIN_POINTS
from benchmarks.words import similar_to

LARGEST = 2**31 - 1
"""The largest whole number that an option takes: what tables of a bundle keep with certainty."""
Chosen = TypeVar("Chosen")
SHOWN = 40
"""Characters of a wrong value that a message shows."""


def refused(text: str, why: str) -> argparse.ArgumentTypeError:
    """The refusal of a value, of which only the beginning is shown where it is long."""
    shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
    return argparse.ArgumentTypeError(f"{shown or 'nothing'} {why}")


def number(
    kind: type[int] | type[float], accepts: Callable[[float], bool], name: str, largest: float
) -> Callable[[str], float]:
    """A type for argparse: numbers up to `largest` for which `accepts` is true.

    Error messages call them `name`.
    """

    def read(kind: Callable[[str], float], text: str) -> float:
        try:
            return kind(text)
        except ValueError:
            return math.nan

    def convert(text: str) -> float:
        value, about = read(kind, text), read(float, text)
        if accepts(value) and value <= largest:
            return value
        if about > largest:
            raise refused(text, f"is more than {largest:,}, the largest number here")
        whole = kind is int and accepts(about) and about.is_integer()
        meant = f"{about:.0f}" if whole else text.replace(",", ".")
        hint = f"; write {meant}" if whole or accepts(read(kind, meant)) else ""
        raise refused(text, f"is not {name}{hint}")

    return convert


positive_int = number(int, lambda value: value >= 1, "a positive whole number", LARGEST)
positive_float = number(float, lambda value: value > 0, "a positive number", 1e100)
several = number(int, lambda value: value >= 2, "a whole number of 2 or more", LARGEST)
seed_number = number(int, lambda value: value >= 0, "a whole number of 0 or more", LARGEST)


def percentage(text: str) -> float:
    """A share above 0 and up to 10, given in percent: "5%" and "5" are 0.05."""
    share = number(float, lambda value: value > 0, "a percentage above 0", 1000)
    return share(text.strip().removesuffix("%")) / 100


def word(choices: Iterable[str]) -> Callable[[str], str]:
    """A type for argparse: one of some words; a wrong one is told the nearest that is right."""
    known = tuple(choices)

    def convert(text: str) -> str:
        if text not in known:
            similar = similar_to(text, known)
            hint = f"; did you mean {similar}?" if similar else ""
            raise refused(text, f"is not one of {', '.join(known)}{hint}")
        return text

    return convert


def mode(text: str) -> str:
    """The name of a mode; a former one is refused with what it is called now."""
    if now := renamed(text):
        names = "; ".join(f"{backend}: {name}" for backend, name in now.items())
        raise refused(text, f"is a former name; now {names}")
    return word(mode_names())(text)


def listed(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """A type for argparse: several values in one argument, between commas.

    `Parser.read` joins those of several arguments.
    """

    def convert(text: str) -> list[Any]:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        if not parts:
            raise argparse.ArgumentTypeError(f"expected a value, not {text!r}")
        return [kind(part) for part in parts]

    return convert


def cpus(text: str) -> list[int]:
    """CPUs that may be used, as taskset takes them: "0-3,8"; `Parser.read` joins several lists."""
    allowed = processor.allowed_cpus()
    if not allowed:
        raise argparse.ArgumentTypeError("processes cannot be bound to CPUs on this system")
    try:
        named = processor.numbers(text)
    except ValueError:
        raise refused(text, "is no list of CPUs, such as 0-3,8") from None
    if others := [cpu for cpu in named if cpu not in allowed]:
        which = f"CPU {processor.as_text(others)} may not be used"
        raise refused(text, f"cannot be: {which}, only {processor.as_text(allowed)}")
    return named


def device(text: str) -> str:
    """The name of a device that is supported here."""
    if problem := device_problem(text):
        raise argparse.ArgumentTypeError(f"{text}: {problem}")
    return word(("cpu", "gpu"))(text)


def backend_python(text: str) -> tuple[str, str]:
    """A backend and the absolute path of the Python that runs it: "jax=env/bin/python"."""
    name, _, program = text.partition("=")
    if name in BACKENDS and not program:
        raise refused(text, f"names no program; write {name}=PROGRAM")
    if name not in BACKENDS:
        similar = similar_to(name, BACKENDS)
        hint = f"; did you mean {similar}={program}?" if similar else ""
        raise refused(text, f"does not begin with one of {', '.join(BACKENDS)}{hint}")
    return name, as_argument(variants.program)(program)


def as_argument(kind: Callable[[str], Chosen]) -> Callable[[str], Chosen]:
    """A type for argparse from a function that raises UsageError."""

    def convert(text: str) -> Chosen:
        try:
            return kind(text)
        except UsageError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


NO_FLOORS = "none"
"""What --floors is given for no floor."""


class Parser(argparse.ArgumentParser):
    """The parser of one command; refuses in one line, and takes no abbreviated options."""

    def __init__(self, command: str, docstring: str | None) -> None:
        """`command` is a key of COMMANDS; its help has all but the first line of the docstring."""
        details = (docstring or "").partition("\n\n")[2]
        lines = (f"  {code:<5}{about}\n" for code, about in exit_codes.MEANINGS.items())
        super().__init__(
            prog="run_all.py" if command == "measure" else f"run_all.py {command}",
            description=f"{COMMANDS[command].capitalize()}.",
            epilog=f"{details}\nexit codes:\n{''.join(lines)}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        self.exit(exit_codes.REFUSED, f"{self.prog}: {' '.join(message.split())}\n")

    def read(self, argv: list[str]) -> argparse.Namespace:
        """The values of the options in `argv`; a wrong option or value ends the program."""
        options = self._option_string_actions
        for option in (argument.partition("=")[0] for argument in argv):
            # Also with one dash, or with the dash that a text editor has made of two.
            if re.match(r"--|-[^\W\d]|[–—]", option) and option not in options:
                name = f"--{option.lstrip('-–—')}"
                similar = [one for one in options if one.startswith(name)] if name != "--" else []
                similar = similar or [similar_to(name, options)]
                hint = f"did you mean {' or '.join(similar)}?" if any(similar) else "see --help"
                self.error(f"unknown option {option}; {hint}")
        arguments, left = self.parse_known_args(argv)
        if left:
            backends = f"; to name backends: --backends {' '.join(left)}"
            hint = backends if set(left) <= set(BACKENDS) else "; see --help"
            self.error(f"{' '.join(left)}: belongs to no option{hint}")
        values = vars(arguments)
        if named := values.pop("named", None):
            values["backends"] = [*(values["backends"] or ()), *named]
        for name, value in values.items():
            if isinstance(value, list) and value and isinstance(value[0], list):
                together = [one for part in value for one in part]
                # A name that is repeated counts once; a size may well be.
                names = isinstance(together[0], str)
                values[name] = [*dict.fromkeys(together)] if names else together
        return arguments


def add_backend_options(group: argparse._ArgumentGroup) -> None:
    """Add the choice of backends, of the device, and of the Python that runs each."""
    group.add_argument("--backends", nargs="+", type=listed(word(BACKENDS)), action="extend",
        metavar="NAME", help=f"only these: {', '.join(BACKENDS)}")  # fmt: skip
    add_device(group)
    group.add_argument("--python", nargs="+", action="extend", type=backend_python, default=[],
        metavar="NAME=PROGRAM", help="run a backend's worker processes with another Python, such "
        "as that of another virtual environment: tensorflow=.venv-tf/bin/python")  # fmt: skip


def add_device(group: argparse._ArgumentGroup) -> None:
    """Add the choice of the device."""
    group.add_argument("--device", type=device, choices=("cpu", "gpu"), default="cpu",
        help="default: %(default)s")  # fmt: skip


def add_variants(parser: argparse.ArgumentParser) -> None:
    """Add the choice of variants of cases."""
    group = parser.add_argument_group("variants")
    group.add_argument("--variant", action="append", default=[], metavar="NAME=CASE,…",
        type=as_argument(variants.parse), help="run a case as well with something else, in the "
        f"same rounds: {variants.FORM}; CASE as in \"jax scan\" or jax:scan; without --backends, "
        "--modes and --input nothing but these cases and their variants runs")  # fmt: skip


def add_named_backends(parser: argparse.ArgumentParser) -> None:
    """Let backends be named without --backends."""
    parser.add_argument("named", nargs="*", type=listed(word(BACKENDS)), metavar="BACKEND",
        help="the same as --backends")  # fmt: skip


def add_case_options(parser: argparse.ArgumentParser, *, backends: bool = True) -> None:
    """Add the choice of cases, how many CPUs each may use, and the workload that they train.

    Without `backends`, those and their Pythons are not to be chosen.
    """
    parser.set_defaults(ranks=None, weak=False, hosts=None, rank_launcher=seats.LAUNCHER)
    cases = parser.add_argument_group("which cases (a case is a backend in a mode)")
    if backends:
        add_backend_options(cases)
    else:
        add_device(cases)
        parser.set_defaults(backends=None, python=[])
    cases.add_argument("--modes", nargs="+", type=listed(mode), action="extend",
        metavar="MODE", help=f"only these: {', '.join(mode_names())}; `run_all.py list` says what "
        "each one is")  # fmt: skip
    cases.add_argument("--input", nargs="+", type=listed(word(("resident", "streamed"))),
        action="extend", metavar="INPUT",
        help="resident (the training set lies on the device), streamed (the host cuts each "
        "batch); default: the first that a mode offers")  # fmt: skip
    cases.add_argument("--precision", type=word(PRECISIONS), choices=PRECISIONS, default="float32",
        help="float32 (TF32 off), float64, tf32 (matrix products only, on a GPU), bfloat16 (mixed: "
        "parameters and Adam stay float32); default: %(default)s")  # fmt: skip
    cases.add_argument("--keras-adam", type=word(KERAS_ADAM), choices=KERAS_ADAM,
        default="textbook",
        help="which Adam TensorFlow uses: the one that all backends share (textbook), Keras' own, "
        "which adds epsilon elsewhere and so is not comparable (stock), or both; "
        "default: %(default)s")  # fmt: skip
    machine = parser.add_argument_group("how the machine is used")
    machine.add_argument("--threads", type=positive_int,
        help="CPUs for each case; default: those of --cpus, or as many as one NUMA node has cores "
        f"that may be used, but not more than the CPU quota: here {default_threads()}")  # fmt: skip
    machine.add_argument("--cpus", nargs="+", type=cpus, action="extend", metavar="LIST",
        help="bind cases to these CPUs, in this order, as in 0-3,8; default: one of each core "
        "first, and those of one NUMA node")  # fmt: skip
    machine.add_argument("--wait", action="store_true",
        help="start when the run that is going on has ended, instead of refusing to start beside "
        "it")  # fmt: skip
    work = parser.add_argument_group("what is trained")
    work.add_argument("--hidden", nargs="*", type=listed(positive_int), default=[512, 512],
        metavar="SIZE",
        help="sizes of the hidden layers; --hidden alone means none; default: 512 512")  # fmt: skip
    work.add_argument("--batch-size", type=positive_int, default=128, help="default: %(default)s")
    work.add_argument("--learning-rate", type=positive_float,
        help="Adam's learning rate; default: the preset's")  # fmt: skip
    work.add_argument("--data-dir", type=Path, default=data.EMBEDDED,
        help="a folder with four files in MNIST's format; default: the embedded MNIST")  # fmt: skip


def add_group_options(parser: argparse.ArgumentParser) -> None:
    """Add the choice of groups of ranks, and of where they run."""
    group = parser.add_argument_group("groups of ranks, which share each batch")
    group.add_argument("--ranks", nargs="+", type=listed(several), action="extend",
        metavar="NUMBER", help="train in groups of so many processes as well, by each framework's "
        "own engine, each on CPUs or a GPU of its own")  # fmt: skip
    group.add_argument("--weak", action="store_true",
        help="groups train a second time with a whole batch for each rank")  # fmt: skip
    group.add_argument("--hosts", nargs="+", type=listed(str), action="extend",
        metavar="ADDRESS", help="machines of the ranks besides the first of each group, which runs "
        "here")  # fmt: skip
    group.add_argument("--rank-launcher", default=seats.LAUNCHER, metavar="COMMAND",
        help="what starts a command on another machine; default: \"%(default)s\"")  # fmt: skip


def add_cluster_options(parser: argparse.ArgumentParser) -> None:
    """Add the choice of the nodes that launches run on, as jobs."""
    group = parser.add_argument_group("launches as jobs on the nodes of a cluster (submitit)")
    group.add_argument("--part", type=seed_number, metavar="NUMBER",
        help="make only the launch of this number, counted from 0, as a part of a larger run: "
        "`report` merges parts into one bundle")  # fmt: skip
    group.add_argument("--on", type=word(("slurm", "local")), choices=("slurm", "local"),
        help="make each launch a job, merge them, and report that; needs --output. `local` runs "
        "them here, one after the other")  # fmt: skip
    group.add_argument("--continue", action="store_true", dest="go_on",
        help="go on with what a call that was cut off has made: its command, and this")  # fmt: skip
    group.add_argument("--partition", default="", metavar="NAME", help="Slurm's partition")
    group.add_argument("--account", default="", metavar="NAME", help="Slurm's account")
    group.add_argument("--job-minutes", type=positive_float, default=60, metavar="MINUTES",
        help="time limit of a job; default: %(default)s")  # fmt: skip
    group.add_argument("--shared-nodes", action="store_true",
        help="let other jobs run on the same nodes, which disturb what is measured")  # fmt: skip
    group.add_argument("--jobs-at-once", type=positive_int, default=64, metavar="NUMBER",
        help="jobs that are in the queue at once; default: %(default)s")  # fmt: skip


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the choice of how much is measured and where the results go."""
    effort = parser.add_argument_group("how it is measured")
    presets = "; ".join(f"{name}: {preset.about}" for name, preset in PRESETS.items())
    effort.add_argument("--preset", type=word(PRESETS), choices=PRESETS, default="default",
        help=presets)  # fmt: skip
    effort.add_argument("--steps", type=positive_int,
        help="steps of each training run; default: the preset's")  # fmt: skip
    effort.add_argument("--launches", type=positive_int,
        help="sets of fresh processes, each with its own seed; default: the preset's number, and "
        "more while a verdict is open and there is time")  # fmt: skip
    effort.add_argument("--seed", type=seed_number, default=0,
        help="seed of the first launch, raised by one for each further launch; "
        "default: %(default)s")  # fmt: skip
    effort.add_argument("--accuracy-margin", type=positive_float, metavar="POINTS",
        default=ACCURACY_MARGIN_POINTS,
        help="backends are equivalent if their test accuracies are shown to lie within this many "
        "percentage points; default: %(default)s")  # fmt: skip
    effort.add_argument("--floors", nargs="+", type=listed(word((NO_FLOORS, *BACKENDS))),
        action="extend", metavar="NAME",
        help="time the floors of these backends, or `none`; default: of all that can run here, "
        "where the preset has floors")  # fmt: skip
    effort.add_argument("--time-limit", type=positive_float, metavar="MINUTES",
        help="stop after the round in which this time is spent; default: the preset's")  # fmt: skip
    effort.add_argument("--output", type=Path, metavar="FOLDER",
        help="where the bundle goes; default: results/<date>-<preset>-<device>")  # fmt: skip
