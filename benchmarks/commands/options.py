"""The command line's options: what can be asked, and what is refused with one clear line."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import NoReturn

from backends.contract import PRECISIONS
from backends.registry import BACKENDS, mode_names
from benchmarks.machine.settings import available_cpus
from benchmarks.plan import data
from benchmarks.plan.plan import KERAS_ADAM, PRESETS
from benchmarks.schema import ACCURACY_MARGIN_POINTS

CANNOT_RUN = 2
"""The exit code of a refusal."""


def positive_int(text: str) -> int:
    """An integer of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive whole number")
    return value


def positive_float(text: str) -> float:
    """A finite number above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def seed_number(text: str) -> int:
    """An integer of at least 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative; a seed is 0 or more")
    return value


def percentage(text: str) -> float:
    """A share of at least 0, given in percent: "5%" and "5" are 0.05."""
    value = float(text.removesuffix("%"))
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a percentage of 0 or more")
    return value / 100


def own_python(text: str) -> tuple[str, str]:
    """A backend and the program that runs it, absolute: "jax=env/bin/python"."""
    name, _, program = text.partition("=")
    if name not in BACKENDS:
        raise argparse.ArgumentTypeError(f"{text} does not begin with one of {', '.join(BACKENDS)}")
    found = shutil.which(program)
    if found is None:
        raise argparse.ArgumentTypeError(f"{program or 'nothing'} is no program that can be run")
    # Not resolved: a virtual environment is known by the link that its Python is.
    return name, str(Path(found).absolute())


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the arguments."""

    def error(self, message: str) -> NoReturn:
        self.exit(CANNOT_RUN, f"{self.prog}: {message}\n")


def command_parser(command: str, about: str | None, epilog: str) -> Parser:
    """The parser of one of the commands besides a run, still without options."""
    return Parser(
        prog=f"run_all.py {command}",
        description=about,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_case_options(parser: argparse.ArgumentParser) -> None:
    """Which cases."""
    cases = parser.add_argument_group("which cases (a case is a backend in a mode)")
    cases.add_argument("--backends", nargs="+", choices=BACKENDS, metavar="NAME",
        help=f"only these: {', '.join(BACKENDS)}")  # fmt: skip
    cases.add_argument("--modes", nargs="+", choices=mode_names(), metavar="MODE",
        help="only these: eager (operation by operation), graph (tf.function), compiled (one step "
        "a call), multistep (many steps a call), fit (Keras' own loop)")  # fmt: skip
    cases.add_argument("--input", nargs="+", choices=("resident", "streamed"), metavar="INPUT",
        help="resident (the training set lies on the device), streamed (the host cuts each "
        "batch); default: the first that a mode offers")  # fmt: skip
    cases.add_argument("--device", choices=("cpu", "gpu"), default="cpu",
        help="default: %(default)s")  # fmt: skip
    cases.add_argument("--precision", choices=PRECISIONS, default="float32",
        help="float32 (TF32 off), float64, tf32 (products alone, on a GPU), bfloat16 (mixed: "
        "parameters and Adam stay float32); default: %(default)s")  # fmt: skip
    cases.add_argument("--keras-adam", choices=KERAS_ADAM, default="textbook",
        help="TensorFlow with the Adam that the others have (textbook), with Keras' own, which "
        "adds epsilon elsewhere and so is not comparable (stock), or with both; "
        "default: %(default)s")  # fmt: skip
    cases.add_argument("--python", nargs="+", action="extend", type=own_python,
        metavar="NAME=PROGRAM", help="run the workers of a backend by another Python, that of a "
        "virtual environment of its own: tensorflow=.venv-tf/bin/python")  # fmt: skip
    cases.add_argument("--threads", type=positive_int, default=available_cpus(),
        help="CPUs for each case; default: all that may be used, here %(default)s")  # fmt: skip


def add_workload_options(parser: argparse.ArgumentParser) -> None:
    """What is trained."""
    work = parser.add_argument_group("what is trained")
    work.add_argument("--hidden", nargs="*", type=positive_int, default=[512, 512], metavar="SIZE",
        help="sizes of the hidden layers; default: 512 512; none: --hidden alone")  # fmt: skip
    work.add_argument("--batch-size", type=positive_int, default=128, help="default: %(default)s")
    work.add_argument("--learning-rate", type=positive_float,
        help="of Adam; default: the preset's")  # fmt: skip
    work.add_argument("--data-dir", type=Path, default=data.EMBEDDED,
        help="a folder with four files in MNIST's format; default: the embedded MNIST")  # fmt: skip


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """How much is measured, and where it goes."""
    effort = parser.add_argument_group("how it is measured")
    presets = "; ".join(f"{name}: {preset.about}" for name, preset in PRESETS.items())
    effort.add_argument("--preset", choices=PRESETS, default="default", help=presets)
    effort.add_argument("--steps", type=positive_int,
        help="steps of each training run; default: the preset's")  # fmt: skip
    effort.add_argument("--launches", type=positive_int,
        help="sets of fresh processes, each with its own seed; default: the preset's, and more "
        "while a verdict is open and there is time")  # fmt: skip
    effort.add_argument("--seed", type=seed_number, default=0,
        help="of the first launch, the next has one more; default: %(default)s")  # fmt: skip
    effort.add_argument("--accuracy-margin", type=positive_float, metavar="POINTS",
        default=ACCURACY_MARGIN_POINTS,
        help="backends whose test accuracies are shown to lie within so many percentage points "
        "are equivalent; default: %(default)s")  # fmt: skip
    effort.add_argument("--time-limit", type=positive_float, metavar="MINUTES",
        help="end after the round in which it is spent; default: the preset's")  # fmt: skip
    effort.add_argument("--output", type=Path, metavar="FOLDER",
        help="where the bundle goes; default: results/<date>-<preset>-<device>")  # fmt: skip


def add_inspection_options(parser: argparse.ArgumentParser) -> None:
    """What can be looked at besides the figures."""
    inspection = parser.add_argument_group("what else can be looked at")
    inspection.add_argument("--profile", action="store_true",
        help="leave a trace of some steps of each case in the bundle's profiles/, by the "
        "framework's own profiler, after training; Perfetto or TensorBoard opens it")  # fmt: skip
    inspection.add_argument("--list", action="store_true",
        help="show what can run here and why the rest cannot, and end")  # fmt: skip
