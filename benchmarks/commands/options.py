"""The options of the command line, and their refusal of wrong values in one clear line."""

import argparse
import math
import shutil
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

from backends.contract import PRECISIONS
from backends.registry import BACKENDS, mode_names
from benchmarks.commands import COMMANDS, exit_codes
from benchmarks.machine.project import device_problem
from benchmarks.machine.settings import available_cpus
from benchmarks.plan import data
from benchmarks.plan.cases import KERAS_ADAM
from benchmarks.plan.presets import PRESETS
from benchmarks.schema import ACCURACY_MARGIN_POINTS
from benchmarks.schema.tables import LARGEST


def number(
    kind: Callable[[str], float], accepts: Callable[[float], bool], name: str
) -> Callable[[str], float]:
    """A type for argparse: numbers for which `accepts` is true; error messages call them `name`."""

    def convert(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not accepts(value):
            raise argparse.ArgumentTypeError(f"{text} is not {name}")
        return value

    return convert


positive_int = number(int, lambda value: 1 <= value <= LARGEST, "a positive whole number")
positive_float = number(float, lambda value: 0 < value <= LARGEST, "a positive number")
seed_number = number(int, lambda value: 0 <= value <= LARGEST, "a whole number of 0 or more")


def percentage(text: str) -> float:
    """A share of 0 or more, given in percent: "5%" and "5" are 0.05."""
    share = number(float, lambda value: 0 <= value < math.inf, "a percentage of 0 or more")
    return share(text.removesuffix("%")) / 100


def backend(text: str) -> str:
    """A backend's name."""
    # Not by `choices`: where no backend is named, argparse looks for an empty list among them.
    if text not in BACKENDS:
        raise argparse.ArgumentTypeError(f"{text} is not one of {', '.join(BACKENDS)}")
    return text


def device(text: str) -> str:
    """The name of a device that is supported here."""
    if problem := device_problem(text):
        raise argparse.ArgumentTypeError(f"{text}: {problem}")
    return text


def backend_python(text: str) -> tuple[str, str]:
    """A backend and the absolute path of the Python that runs it: "jax=env/bin/python"."""
    name, _, program = text.partition("=")
    if name not in BACKENDS:
        raise argparse.ArgumentTypeError(f"{text} does not begin with one of {', '.join(BACKENDS)}")
    path = shutil.which(program)
    if path is None:
        raise argparse.ArgumentTypeError(f"{program or 'nothing'} is no program that can be run")
    # Links are kept: a virtual environment is recognised by the link that its Python is.
    return name, str(Path(path).absolute())


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
        self.exit(exit_codes.REFUSED, f"{self.prog}: {message}\n")

    def read(self, argv: list[str]) -> argparse.Namespace:
        """The values of the options in `argv`; a wrong option or value ends the program."""
        options = self._option_string_actions
        for option in (argument.partition("=")[0] for argument in argv):
            if option.startswith("--") and option not in options:
                similar = [name for name in options if name.startswith(option)]
                similar = similar or get_close_matches(option, options, 1, cutoff=0.7)
                hint = f"did you mean {' or '.join(similar)}?" if similar else "see --help"
                self.error(f"unknown option {option}; {hint}")
        arguments = self.parse_args(argv)
        if named := vars(arguments).pop("named", None):
            arguments.backends = [*(arguments.backends or ()), *named]
        return arguments


def add_backend_options(group: argparse._ArgumentGroup) -> None:
    """Add the choice of backends, of the device, and of the Python that runs each."""
    group.add_argument("--backends", nargs="+", choices=BACKENDS, metavar="NAME",
        help=f"only these: {', '.join(BACKENDS)}")  # fmt: skip
    group.add_argument("--device", type=device, choices=("cpu", "gpu"), default="cpu",
        help="default: %(default)s")  # fmt: skip
    group.add_argument("--python", nargs="+", action="extend", type=backend_python, default=[],
        metavar="NAME=PROGRAM", help="run a backend's worker processes with another Python, such "
        "as that of another virtual environment: tensorflow=.venv-tf/bin/python")  # fmt: skip


def add_named_backends(parser: argparse.ArgumentParser) -> None:
    """Let backends be named without --backends."""
    parser.add_argument("named", nargs="*", type=backend, metavar="BACKEND",
        help="the same as --backends")  # fmt: skip


def add_case_options(parser: argparse.ArgumentParser) -> None:
    """Add the choice of cases, how many CPUs each may use, and the workload that they train."""
    cases = parser.add_argument_group("which cases (a case is a backend in a mode)")
    add_backend_options(cases)
    cases.add_argument("--modes", nargs="+", choices=mode_names(), metavar="MODE",
        help=f"only these: {', '.join(mode_names())}; `run_all.py list` says what each one "
        "is")  # fmt: skip
    cases.add_argument("--input", nargs="+", choices=("resident", "streamed"), metavar="INPUT",
        help="resident (the training set lies on the device), streamed (the host cuts each "
        "batch); default: the first that a mode offers")  # fmt: skip
    cases.add_argument("--precision", choices=PRECISIONS, default="float32",
        help="float32 (TF32 off), float64, tf32 (matrix products only, on a GPU), bfloat16 (mixed: "
        "parameters and Adam stay float32); default: %(default)s")  # fmt: skip
    cases.add_argument("--keras-adam", choices=KERAS_ADAM, default="textbook",
        help="which Adam TensorFlow uses: the one that all backends share (textbook), Keras' own, "
        "which adds epsilon elsewhere and so is not comparable (stock), or both; "
        "default: %(default)s")  # fmt: skip
    cases.add_argument("--threads", type=positive_int, default=available_cpus(),
        help="CPUs for each case; default: all that may be used, here %(default)s")  # fmt: skip
    work = parser.add_argument_group("what is trained")
    work.add_argument("--hidden", nargs="*", type=positive_int, default=[512, 512], metavar="SIZE",
        help="sizes of the hidden layers; --hidden alone means none; default: 512 512")  # fmt: skip
    work.add_argument("--batch-size", type=positive_int, default=128, help="default: %(default)s")
    work.add_argument("--learning-rate", type=positive_float,
        help="Adam's learning rate; default: the preset's")  # fmt: skip
    work.add_argument("--data-dir", type=Path, default=data.EMBEDDED,
        help="a folder with four files in MNIST's format; default: the embedded MNIST")  # fmt: skip


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the choice of how much is measured and where the results go."""
    effort = parser.add_argument_group("how it is measured")
    presets = "; ".join(f"{name}: {preset.about}" for name, preset in PRESETS.items())
    effort.add_argument("--preset", choices=PRESETS, default="default", help=presets)
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
    effort.add_argument("--time-limit", type=positive_float, metavar="MINUTES",
        help="stop after the round in which this time is spent; default: the preset's")  # fmt: skip
    effort.add_argument("--output", type=Path, metavar="FOLDER",
        help="where the bundle goes; default: results/<date>-<preset>-<device>")  # fmt: skip
