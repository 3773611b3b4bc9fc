"""Train one network in every framework, and print a comparison that holds up."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, NoReturn

from rich.console import Console

from backends.contract import Adam, Network
from backends.registry import BACKENDS, MODES
from benchmarks import bundle, data, environment, probe, report, summary, terminal
from benchmarks.errors import UsageError
from benchmarks.plan import PRESETS, Case, Plan, select_cases, with_control
from benchmarks.process import ROOT, available_cpus
from benchmarks.progress import RunProgress
from benchmarks.session import Session
from benchmarks.workload import Workload

OK, SOME_CASES_FAILED, CANNOT_RUN, STOPPED_BY_AN_ERROR, INTERRUPTED = 0, 1, 2, 3, 130

EPILOG = """\
examples:
  python run_all.py                                   the default comparison, on the CPU
  python run_all.py --preset quick                    a first look, in two minutes
  python run_all.py --device gpu                      the same on the GPU
  python run_all.py --list                            what can run here, and why the rest cannot
  python run_all.py --backends jax pytorch --modes multistep --hidden 1024 1024 1024
  python run_all.py --modes eager compiled --input resident streamed --steps 1000

exit codes:
  0  every case that can run here was measured      2    nothing was run: the line says why
  1  a case failed; the others were measured        3    stopped by an error of the program itself
  130  interrupted; in all but 2, what was measured until then is reported
"""


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


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the arguments."""

    def error(self, message: str) -> NoReturn:
        self.exit(CANNOT_RUN, f"{self.prog}: {message}\n")


def make_parser() -> Parser:
    """The command line."""
    parser = Parser(
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    cases = parser.add_argument_group("which cases (a case is a backend in a mode)")
    presets = "; ".join(f"{name}: {preset.about}" for name, preset in PRESETS.items())
    cases.add_argument("--preset", choices=PRESETS, default="default", help=presets)
    cases.add_argument("--backends", nargs="+", choices=BACKENDS, metavar="NAME",
        help=f"only these: {', '.join(BACKENDS)}")  # fmt: skip
    cases.add_argument("--modes", nargs="+", choices=MODES, metavar="MODE",
        help="only these: eager (operation by operation), graph (tf.function), compiled (one step "
        "a call), multistep (many steps a call), fit (Keras' own loop)")  # fmt: skip
    cases.add_argument("--input", nargs="+", choices=("resident", "streamed"), metavar="INPUT",
        help="resident (the training set lies on the device), streamed (the host cuts each "
        "batch); default: the first that a mode offers")  # fmt: skip
    cases.add_argument("--device", choices=("cpu", "gpu"), default="cpu",
        help="default: %(default)s")  # fmt: skip
    cases.add_argument("--precision", choices=("float32", "float64"), default="float32",
        help="default: %(default)s")  # fmt: skip
    cases.add_argument("--list", action="store_true",
        help="show what can run here and why the rest cannot, and end")  # fmt: skip

    work = parser.add_argument_group("what is trained")
    work.add_argument("--hidden", nargs="*", type=positive_int, default=[512, 512], metavar="SIZE",
        help="sizes of the hidden layers; default: 512 512; none: --hidden alone")  # fmt: skip
    work.add_argument("--batch-size", type=positive_int, default=128, help="default: %(default)s")
    work.add_argument("--learning-rate", type=positive_float, default=0.01,
        help="of Adam; default: %(default)s")  # fmt: skip
    work.add_argument("--steps", type=positive_int,
        help="steps of each training run; default: the preset's")  # fmt: skip
    work.add_argument("--data-dir", type=Path, default=data.EMBEDDED,
        help="a folder with four files in MNIST's format; default: the embedded MNIST")  # fmt: skip

    effort = parser.add_argument_group("how it is measured")
    effort.add_argument("--launches", type=positive_int,
        help="sets of fresh processes, each with its own seed; default: the preset's")  # fmt: skip
    effort.add_argument("--seed", type=seed_number, default=0,
        help="of the first launch, the next has one more; default: %(default)s")  # fmt: skip
    effort.add_argument("--threads", type=positive_int, default=available_cpus(),
        help="CPUs for each case; default: all that may be used, here %(default)s")  # fmt: skip
    effort.add_argument("--time-limit", type=positive_float, metavar="MINUTES",
        help="end after the round in which it is spent; default: the preset's")  # fmt: skip
    effort.add_argument("--output", type=Path, metavar="FOLDER",
        help="where the bundle goes; default: results/<date>-<preset>-<device>")  # fmt: skip
    return parser


def make_plan(
    arguments: argparse.Namespace,
    cases: list[Case],
    dataset: data.Dataset,
    probes: dict[str, probe.Probe],
) -> Plan:
    """Turn the arguments into a plan, leaving out what cannot run here."""
    preset, device = PRESETS[arguments.preset], arguments.device
    runnable: list[Case] = []
    skipped: dict[Case, str] = {}
    for case in cases:
        problem = probes[case.backend].problem_on(device)
        if problem:
            skipped[case] = problem
        else:
            runnable.append(case)
    if not runnable:
        reasons = "; ".join(sorted({f"{case.backend} {why}" for case, why in skipped.items()}))
        driver = "" if device == "cpu" else f" (GPUs that the driver shows: {shown_gpus()})"
        raise UsageError(f"nothing can run on the {device} here: {reasons}{driver}")
    return Plan(
        name=f"{arguments.preset}-{device}",
        workload=Workload(
            network=Network(layer_sizes=(dataset.pixels, *arguments.hidden, dataset.classes)),
            adam=Adam(learning_rate=arguments.learning_rate),
            batch_size=arguments.batch_size,
            steps=arguments.steps or preset.steps,
            training_images=len(dataset.training.labels),
            data_dir=str(arguments.data_dir.resolve()),
        ),
        cases=tuple(with_control(runnable)),
        skipped=skipped,
        launches=arguments.launches or preset.launches,
        seed=arguments.seed,
        threads=arguments.threads,
        time_limit_seconds=60 * (arguments.time_limit or preset.time_limit_minutes),
    )


def shown_gpus() -> str:
    """The GPUs of the machine, in a few words."""
    return "; ".join(environment.gpus()) or "none"


def selected_cases(arguments: argparse.Namespace) -> list[Case]:
    """The cases asked for, whether they can run here or not."""
    return select_cases(
        preset=PRESETS[arguments.preset],
        backends=arguments.backends,
        modes=arguments.modes,
        inputs=arguments.input,
        precision=arguments.precision,
        device=arguments.device,
    )


def check(arguments: argparse.Namespace, dataset: data.Dataset) -> None:
    """Raise UsageError for what can be seen to be impossible before anything starts."""
    training_images = len(dataset.training.labels)
    if arguments.batch_size > training_images:
        raise UsageError(
            f"--batch-size {arguments.batch_size}: the training set has only "
            f"{training_images:,} images"
        )
    if arguments.threads > available_cpus():
        raise UsageError(
            f"--threads {arguments.threads}: only {available_cpus()} CPUs may be used here"
        )
    bundle.check_folder(arguments.output)


def describe_run(plan: Plan, data_dir: Path) -> dict[str, Any]:
    """The start of environment.json."""
    work = plan.workload
    return environment.describe() | {
        "workload": {
            "layer_sizes": work.network.layer_sizes,
            "parameters": work.network.parameter_count,
            "learning_rate": work.adam.learning_rate,
            "beta_1": work.adam.beta_1,
            "beta_2": work.adam.beta_2,
            "epsilon": work.adam.epsilon,
            "batch_size": work.batch_size,
            "steps": work.steps,
            "training_images": work.training_images,
            "data": data_dir.resolve().name,
        },
        "run": {
            "command": shlex.join(["python", "run_all.py", *sys.argv[1:]]),
            "launches": plan.launches,
            "seed": plan.seed,
            "threads": plan.threads,
            "cases": [case.identity() for case in (*plan.cases, *plan.skipped)],
            "block_steps": plan.block_steps,
            "time_limit_seconds": plan.time_limit_seconds,
            "state": "running",
            "finished_launches": 0,
            "out_of_time": False,
        },
        "cases": {},
    }


def run(plan: Plan, folder: Path, facts: dict[str, Any], console: Console, started: float) -> int:
    """Run the plan and report what it found, however far it came."""
    writer = bundle.BundleWriter(folder)
    writer.write_environment(facts)
    with RunProgress(plan, console) as progress:
        session = Session(
            plan=plan, writer=writer, progress=progress, environment=facts, started=started
        )
        try:
            session.run()
            state, code = "complete", SOME_CASES_FAILED if session.failures else OK
        except KeyboardInterrupt:
            state, code = "interrupted", INTERRUPTED
        except Exception:
            state, code = "stopped by an error", STOPPED_BY_AN_ERROR
            console.print_exception()
    facts["run"] |= {
        "state": state,
        "finished_launches": session.finished_launches,
        "out_of_time": session.out_of_time,
    }
    facts["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
    writer.write_environment(facts)
    writer.close()
    report_bundle(folder, console)
    return code


def report_bundle(folder: Path, console: Console) -> None:
    """Write the summary, verdicts and report of a bundle, and show them."""
    written = summary.Bundle.read(folder)
    findings = summary.find(written)
    summary.write(written, findings)
    report.write(written, findings)
    terminal.show_findings(console, written, findings, folder)


def interrupt(*_: object) -> NoReturn:
    """End as Ctrl-C does."""
    raise KeyboardInterrupt


def main(words: list[str] | None = None) -> int:
    """Parse, run, report; returns the exit code."""
    started = monotonic()
    arguments = make_parser().parse_args(words)
    # Where there is no terminal to ask for its width, wide enough for the tables.
    console = Console(width=None if sys.stdout.isatty() else 112)
    for ending in (signal.SIGTERM, signal.SIGHUP):
        # nohup, for one, has a hang-up ignored, and means it.
        if signal.getsignal(ending) != signal.SIG_IGN:
            signal.signal(ending, interrupt)
    try:
        if arguments.list:
            names = arguments.backends or list(BACKENDS)
            probes = probe.probe_all(names, arguments.device)
            terminal.show_list(console, probes, arguments.device)
            return OK
        cases = selected_cases(arguments)
        dataset = data.load(arguments.data_dir)
        check(arguments, dataset)
        probes = probe.probe_all(sorted({case.backend for case in cases}), arguments.device)
        plan = make_plan(arguments, cases, dataset, probes)
        del dataset
        facts = describe_run(plan, arguments.data_dir)
        folder = bundle.create_folder(arguments.output, ROOT / "results", plan.name)
        return run(plan, folder, facts, console, started)
    except UsageError as error:
        print(f"run_all.py: {error}", file=sys.stderr)
        return CANNOT_RUN
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
