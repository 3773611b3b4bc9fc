"""What a measurement on a GPU needs, checked framework by framework, each check by itself.

    python -m benchmarks.validation.card.checks BACKEND

prints a line of JSON for each check as it ends: whether it holds, and its figures. The exit code is
1 where one does not. It needs nothing but the framework and NumPy.
"""

import argparse
import json
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from math import isnan
from time import perf_counter
from types import ModuleType
from typing import Any

import numpy as np

from backends.contract import (
    PRECISIONS,
    Adam,
    Array,
    Execution,
    Network,
    Trainer,
    Training,
    TrainingSet,
    product_names,
)
from backends.floors import FLOOR_RATE, XLA, fastest
from backends.ladder import FLOOR
from backends.registry import BACKENDS, load
from benchmarks.machine import nvml
from benchmarks.machine.advice import failure
from benchmarks.machine.probe import trial, unusable_modes
from benchmarks.plan.workload import initial_parameters
from benchmarks.worker import clock, ledger

TUTORIAL, SMALL = Network(layer_sizes=(784, 512, 512, 10)), Network(layer_sizes=(23, 17, 11, 7))
LARGE = Network(layer_sizes=(1024, 4096, 4096, 10))
"""With batches of 8,192 a step takes some 20 ms of a large GPU, much longer than to launch it."""
SAME = 1e-9
"""How far programs may be apart that compute the same in float64."""
GRAPHED = {
    "pytorch": ("step-graph", "handwritten-graph", "handwritten-streams", "handwritten-epilogues"),
    "jax": ("compiled", "scan", "handwritten"),
    "tensorflow": ("compiled", "xla-loop"),
}
"""Modes that are quickly compiled, if at all, and record or repeat what they do."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is checked."""

    backend: str
    module: ModuleType
    device: str

    def configured(self, mode: str, precision: str = "float32", steps: int = 50) -> Execution:
        """How a mode is executed, once the framework is set for it."""
        execution = Execution(
            mode=mode, precision=precision, device=self.device, threads=2, steps_per_call=steps
        )
        self.module.configure(execution)
        return execution


class Fault(Exception):  # noqa: N818
    """Something that a measurement needs does not hold."""


def training(network: Network, images: int, dtype: str, learning_rate: float = 1e-3) -> Training:
    """A training on random images."""
    generator, sizes = np.random.default_rng(0), network.layer_sizes
    return Training(
        network=network,
        adam=Adam(learning_rate=learning_rate),
        training_set=TrainingSet(
            images=generator.random((images, sizes[0])).astype(dtype),
            labels=generator.integers(0, sizes[-1], images).astype(np.int32),
        ),
        start=initial_parameters(network, 0),
    )


def not_chosen(backend: str, network: Network) -> dict[str, str]:
    """The library of each product where choosing takes too long; empty where it does not.

    For XLA to choose, many programs would be compiled, and each tuned for products of this size.
    """
    by_xla = backend in ("jax", "tensorflow")
    return dict.fromkeys(product_names(network), XLA) if by_xla else {}


def rows_of(steps: int, batch_size: int, images: int) -> Array:
    """Batches of random rows."""
    shape = (steps, batch_size)
    return np.random.default_rng(1).integers(0, images, shape).astype(np.int32)


def computes(subject: Subject) -> dict[str, Any]:
    """It multiplies on the device; which modes cannot run is said."""
    if problem := trial(subject.module, subject.device, 2):
        raise Fault(problem)
    return {
        "versions": subject.module.versions(),
        "unusable": unusable_modes(subject.module, subject.device),
    }


def management(subject: Subject) -> dict[str, Any]:
    """NVML shows clocks, heat, energy and other processes of the card."""
    if subject.device == "gpu" and nvml.visible() is None:
        raise Fault("NVML shows no GPU: no clocks, no energy, no slow-down by heat is seen")
    state, limits = nvml.state(), nvml.limits()
    return {
        "state": None if isnan(state.mhz) else asdict(state),
        "limits": limits and asdict(limits),
        "processes": nvml.processes(),
        "counts_energy": nvml.energy_counter() is not None,
    }


def precisions(subject: Subject) -> dict[str, Any]:
    """A product keeps as many bits as its precision has, which is read off its results."""
    found, wrong = {}, []
    for name, about in PRECISIONS.items():
        if name == "tf32" and subject.device == "cpu":
            continue
        execution = subject.configured("eager", name)
        small = training(SMALL, 40, execution.stored)
        trainer: Trainer = subject.module.TRAINERS["eager"](small, execution)
        found[name] = ledger.product_bits(trainer, execution.stored)
        if found[name] != about.bits:
            wrong.append(f"{name} keeps {found[name]} bits instead of {about.bits}")
    if wrong:
        raise Fault("; ".join(wrong))
    return found


def captures(subject: Subject) -> dict[str, Any]:
    """What is recorded and repeated trains as it does step by step, and nothing besides."""
    reference = load(BACKENDS["numpy"])
    steps, images = 4, 200
    given = training(SMALL, images, "float64", 0.01)
    rows = rows_of(2 * steps + 1, 19, images)
    plain: Trainer = reference.TRAINERS["eager"](given, Execution(mode="eager", threads=2))
    plain.train(rows)
    found, wrong = {}, []
    for mode in GRAPHED.get(subject.backend, ("eager",)):
        execution = subject.configured(mode, "float64", steps)
        trainer: Trainer = subject.module.TRAINERS[mode](given, execution)
        # One step before the first whole call, and calls of whole and of fewer steps.
        for part in (rows[:1], rows[1 : 1 + steps], rows[1 + steps :]):
            trainer.train(part)
        trainer.synchronise()
        pairs = zip(trainer.parameters(), plain.parameters(), strict=True)
        found[mode] = max(
            float(np.linalg.norm(a - b) / np.linalg.norm(b))
            for layer, other in pairs
            for a, b in zip(layer, other, strict=True)
        )
        if not found[mode] < SAME:
            wrong.append(f"{mode} is {found[mode]:.1e} from the reference")
    if wrong:
        raise Fault("; ".join(wrong))
    return found


def synchronises(
    subject: Subject, network: Network = LARGE, batch_size: int = 8192
) -> dict[str, Any]:
    """The clock stops when the device has finished, and no block is faster than the card can be."""
    steps = 6
    execution = subject.configured(FLOOR, steps=steps // 2)
    execution = replace(execution, products=not_chosen(subject.backend, network))
    given = training(network, batch_size, "float32", FLOOR_RATE)
    floor = subject.module.Floor(given, batch_size, execution)
    rows = rows_of(steps, batch_size, batch_size)
    clock.train_block(floor, rows[:0], rows)
    honest = min(clock.train_block(floor, rows[:0], rows).seconds for _ in range(3))
    wait, floor.synchronise = floor.synchronise, lambda: None
    hasty = clock.train_block(floor, rows[:0], rows).seconds
    wait()
    gflops = steps * network.step_flops(batch_size) / honest / 1e9
    limits = nvml.limits() if subject.device == "gpu" else None
    if limits and gflops > 1.1 * limits.gflops:
        raise Fault(f"{gflops:,.0f} Gflop/s in float32, of {limits.gflops:,.0f} that the card has")
    if subject.device == "gpu" and hasty > 0.7 * honest:
        raise Fault(f"without waiting a block takes {hasty / honest:.0%} of the time with it")
    return {
        "step_ms": 1e3 * honest / steps,
        "without_waiting_ms": 1e3 * hasty / steps,
        "gflops": gflops,
        "of_card": limits and gflops / limits.gflops,
    }


def gaps(subject: Subject, network: Network = TUTORIAL, steps: int = 50) -> dict[str, Any]:
    """The floor of a step: its pieces alone, the step of all pieces, and what lies between them.

    Each piece was repeated in a row, so the time from one kernel to the next is in it already, as
    far as they do not wait for one another's results. `queued_us` is what launching a step takes.
    """
    batch_size, images = 128, 10_000
    execution = subject.configured(FLOOR, steps=steps)
    floor = subject.module.Floor(
        training(network, images, "float32", FLOOR_RATE), batch_size, execution
    )
    rows = rows_of(10 * steps, batch_size, images)
    clock.train_block(floor, rows[:0], rows)
    pieces = fastest(floor.pieces())
    block = min(
        (clock.train_block(floor, rows[:steps], rows) for _ in range(5)),
        key=lambda block: block.seconds,
    )
    bound, attained = sum(piece.seconds for piece in pieces.values()), block.seconds / block.steps
    return {
        "bound_us": 1e6 * bound,
        "attained_us": 1e6 * attained,
        "gap_us": 1e6 * (attained - bound) / len(pieces),
        "queued_us": 1e6 * block.dispatch_seconds / block.steps,
        "pieces_us": {name: 1e6 * piece.seconds for name, piece in pieces.items()},
        "libraries": floor.products(),
        **_by_limits(subject, network, batch_size),
    }


def _by_limits(subject: Subject, network: Network, batch_size: int) -> dict[str, float]:
    """The least that a step takes by the card's own figures, for arithmetic and for memory."""
    limits = nvml.limits() if subject.device == "gpu" else None
    if limits is None:
        return {}
    # Adam reads weights, moments and gradients, and writes all but the gradients.
    moved = 7 * 4 * network.parameter_count
    return {
        "arithmetic_us": network.step_flops(batch_size) / limits.gflops / 1e3,
        "adam_from_memory_us": moved / limits.gb_per_s / 1e3,
    }


CHECKS: dict[str, Callable[[Subject], dict[str, Any]]] = {
    "computes": computes,
    "management": management,
    "precisions": precisions,
    "captures": captures,
    "gaps": gaps,
    "synchronises": synchronises,
}


def check(subject: Subject, checks: dict[str, Callable[[Subject], dict[str, Any]]]) -> bool:
    """Make each check, and print what it says as it ends; whether all hold."""
    holds = True
    for name, one in checks.items():
        start = perf_counter()
        try:
            said, fault = one(subject), ""
        except Exception as error:  # whatever a framework raises is what is looked for
            said, fault = {}, str(error) if isinstance(error, Fault) else failure(error)
            if not isinstance(error, Fault):
                traceback.print_exc()
        holds &= not fault
        outcome = {"check": name, "fault": fault, "seconds": round(perf_counter() - start, 2)}
        print(json.dumps(outcome | said, default=str), flush=True)
    return holds


def main() -> int:
    """Check one framework; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.validation.card.checks")
    parser.add_argument("backend", choices=BACKENDS)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="gpu")
    arguments = parser.parse_args()
    entry = BACKENDS[arguments.backend]
    subject = Subject(backend=arguments.backend, module=load(entry), device=arguments.device)
    return 0 if check(subject, CHECKS) else 1


if __name__ == "__main__":
    raise SystemExit(main())
