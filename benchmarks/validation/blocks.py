"""How near sound trainings come to the bounds of timed blocks, and how far beyond wrong ones are.

Sound are trainings by many programs, on workloads of other shapes, batch sizes, depths and learning
rates; every one of their blocks is checked. Wrong ones are those of wrong_trainings.py.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from backends.contract import Adam, Execution, Network, Trainer, Training
from backends.numpy.taught import Eager
from backends.registry import BACKENDS, load
from benchmarks.certificates.deviations import BlockCheck
from benchmarks.certificates.replay import check_block
from benchmarks.certificates.witness import TimedBlock, Witness, beginning
from benchmarks.machine.settings import default_threads
from benchmarks.plan.data import EMBEDDED, Split
from benchmarks.plan.data import load as load_images
from benchmarks.plan.workload import Workload, batch_rows, block_data, initial_parameters
from benchmarks.validation.wrong.trainings import MUTANTS

CALL = 10
LEAD_IN, TIMED = 10, 20
BLOCKS, WRONG_BLOCKS = 6, 4
"""Blocks of each training, one after the other; of a wrong one."""
IMAGES, EVALUATED = 4000, 1000
PROGRAMS = (
    ("numpy", "eager"),
    ("pytorch", "eager"),
    ("pytorch", "fused"),
    ("pytorch", "handwritten"),
    ("jax", "compiled"),
    ("jax", "scan"),
    ("jax", "handwritten"),
    ("tensorflow", "compiled"),
    ("tensorflow", "handwritten"),
)


@dataclass(frozen=True)
class Shape:
    """What is trained: layer sizes, batch size and learning rate."""

    sizes: tuple[int, ...]
    batch_size: int
    learning_rate: float = 1e-3

    def __str__(self) -> str:
        layers = "-".join(map(str, self.sizes))
        return f"{layers}, batch {self.batch_size}, learning rate {self.learning_rate:g}"


SHAPES = (
    Shape((784, 512, 512, 10), 128),
    Shape((784, 64, 10), 32, 1e-2),
    Shape((37, 129, 5), 17),
    Shape((2048, 48, 10), 7),
    Shape((100, 64, 64, 64, 64, 64, 64, 10), 64, 1e-6),
    Shape((300, 200, 100, 10), 256, 3e-4),
    Shape((50, 40, 10), 1),
)


def images_for(shape: Shape, seed: int) -> Split:
    """MNIST's where they fit; else images that can be learned, with pixels that are seldom lit."""
    if shape.sizes[0] == 784:
        training = load_images(EMBEDDED).training
        return Split(images=training.images[:IMAGES], labels=training.labels[:IMAGES])
    generator, (pixels, *_, classes) = np.random.default_rng(seed), shape.sizes
    labels = generator.integers(0, classes, IMAGES).astype(np.int32)
    centres = generator.integers(0, 200, (classes, pixels))
    lit = centres[labels] + generator.integers(0, 56, (IMAGES, pixels))
    seldom = pixels // 8
    lit[:, -2 * seldom : -seldom] *= generator.random((IMAGES, seldom)) < 0.002
    lit[:, -seldom:] = 0
    return Split(images=lit.astype(np.uint8), labels=labels)


def checks_of(
    make: Callable[[Training, Execution], Trainer],
    execution: Execution,
    shape: Shape,
    seed: int,
    blocks: int = BLOCKS,
) -> Iterator[tuple[BlockCheck, ...]]:
    """The checks of each block of a training."""
    split, steps = images_for(shape, seed), LEAD_IN + TIMED
    work = Workload(
        network=Network(layer_sizes=shape.sizes),
        adam=Adam(learning_rate=shape.learning_rate),
        batch_size=shape.batch_size,
        steps=blocks * steps,
        training_images=IMAGES,
        data_dir="",
    )
    start = initial_parameters(work.network, seed)
    data = split.stored_as(execution.stored)
    trainer = make(work.training(data, start), execution)
    trainer.reset(start)
    evaluated, witness = [data.images[:EVALUATED]], Witness(beginning(data, start), lambda _: 0)
    ends = range(0, work.steps + 1, steps)
    rows = batch_rows(IMAGES, work.batch_size, work.steps, seed)
    for first, last in pairwise(ends):
        part, before = rows[first:last], trainer.state()
        trainer.train_parts([part[:LEAD_IN], part[LEAD_IN:]], lambda: None)
        after = trainer.state()
        witness.show(
            TimedBlock(first_step=first, steps=steps, lead_in=LEAD_IN, before=before, after=after)
        )
        yield check_block(
            trainer, witness, work, block_data(split, part), start, evaluated, execution.precision
        ).checks
        trainer.set_state(after)
        trainer.logits(evaluated[0])


def rows_of(
    shape: Shape, program: str, seed: int, found: Iterator[tuple[BlockCheck, ...]]
) -> Iterator[dict[str, object]]:
    """A row for each block and check, of the parameter that came nearest to its bound."""
    for number, checks in enumerate(found):
        for name in dict.fromkeys(check.check for check in checks):
            worst = max((c for c in checks if c.check == name), key=lambda c: c.nearness)
            yield {
                "shape": str(shape),
                "program": program,
                "seed": seed,
                "block": number,
                "check": name,
                "parameter": worst.parameter,
                "error": worst.error,
                "bound": worst.bound,
                "of_bound": worst.nearness,
            }


def validate(seeds: int) -> Iterator[pd.DataFrame]:
    """After each seed: of each shape, program and check the figure nearest to its bound so far.

    A seed is trained by all programs on all shapes, and by all wrong trainings on one.
    """
    rows: list[dict[str, object]] = []
    for seed in range(seeds):
        for shape in SHAPES:
            for backend, mode in PROGRAMS:
                execution = Execution(
                    mode=mode,
                    input=BACKENDS[backend].modes[mode].inputs[0],
                    threads=default_threads(),
                    steps_per_call=CALL,
                )
                module = load(BACKENDS[backend])
                module.configure(execution)
                found = checks_of(module.TRAINERS[mode], execution, shape, seed)
                rows += rows_of(shape, f"{backend} {mode}", seed, found)
        for name, mutant in MUTANTS.items():
            wrong, execution = mutant.of(Eager), Execution(mode="eager")
            found = checks_of(wrong, execution, SHAPES[1], seed, WRONG_BLOCKS)
            rows += rows_of(SHAPES[1], name, seed, found)
        yield nearest(pd.DataFrame(rows))


def nearest(rows: pd.DataFrame) -> pd.DataFrame:
    """Of each shape, program and check the row nearest to its bound, and of how many blocks."""
    by = ["shape", "program", "check"]
    rows["blocks"] = rows.groupby(by)["block"].transform("size")
    worst = rows.sort_values("of_bound", ascending=False, kind="stable").drop_duplicates(by)
    return worst.sort_index(ignore_index=True)


def summary(found: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Of each check the sound figure nearest to its bound and the weakest wrong training it saw.

    Of a wrong training counts, of the checks that are meant for it, the one that sees it best, and
    the block in which it does: those that begin right are right in their first.
    """
    is_wrong = found["program"].isin(list(MUTANTS))
    sound = found[~is_wrong]
    rows = []
    for name, mutant in MUTANTS.items():
        of_mutant = found[(found["program"] == name) & found["check"].isin(mutant.caught_by)]
        rows.append(of_mutant.nlargest(1, "of_bound").assign(wrong=name))
    wrong = pd.concat(rows)[["wrong", "check", "error", "bound", "of_bound"]]
    largest = sound.sort_values("of_bound", ascending=False).drop_duplicates("check")
    weakest = wrong.sort_values("of_bound").drop_duplicates("check")
    columns = {"error_x": "error", "bound_x": "bound", "of_bound_x": "of_bound"}
    columns |= {"wrong": "weakest wrong training", "of_bound_y": "times its bound"}
    both = largest.merge(weakest, how="left", on="check").rename(columns=columns)
    blocks = sound.drop_duplicates(["shape", "program"])["blocks"].sum()
    title = f"Sound: {blocks:,} blocks of {sound['shape'].nunique()} workloads"
    shown = ["check", *columns.values(), "shape", "program"]
    return {
        f"{title}; of each check the figure nearest to its bound": both[shown],
        "Wrong trainings, by the check that sees each best": wrong,
    }
