"""Loops inside a compiled program: how many steps they have is known when it is compiled.

Where it is not, a GPU hands the loop's condition back to the host at every step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backends.contract import Execution, Program
from tests.conftest import STEPS_PER_CALL, Problem, configured
from tests.support.contract_checks import make
from tests.support.floors import ROWS, floor_of
from tests.support.programs import trip_counts


def optimized(name: str, program: Program) -> str:
    """The optimized HLO of a program that XLA compiles."""
    function, arguments = program
    if name == "jax":
        return str(function.lower(*arguments).compile().as_text())
    return str(function.experimental_get_compiler_ir(*arguments)(stage="optimized_hlo"))


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("tensorflow", "xla-loop"),
        ("tensorflow", "handwritten"),
        ("jax", "scan"),
        ("jax", "handwritten"),
    ],
)
def test_the_number_of_steps_is_known(name: str, mode: str, problem: Problem) -> None:
    trainer = make(configured(name).TRAINERS[mode], problem, mode, "resident")
    program = trainer.program(problem.rows(STEPS_PER_CALL))
    assert trip_counts(optimized(name, program)) == [str(STEPS_PER_CALL)]


def test_what_kerass_loop_does_at_its_ends_is_in_no_time(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    mode = "keras-fit-xla"
    trainer: Any = make(configured("tensorflow").TRAINERS[mode], problem, mode, "streamed")
    fit, events = trainer._model.fit, list[str]()

    def noted(*arguments: Any, **options: Any) -> Any:
        events.append("begins")
        history = fit(*arguments, **options)
        events.append("ends")
        return history

    monkeypatch.setattr(trainer._model, "fit", noted)
    parts = [problem.rows(STEPS_PER_CALL), problem.rows(2 * STEPS_PER_CALL)]
    trainer.train_parts(parts, lambda: events.append("mark"))
    assert events == ["begins", *["mark"] * 4, "ends"]
    events.clear()
    # An execution cannot be entered midway.
    trainer.train_parts([problem.rows(3), problem.rows(5)], lambda: events.append("mark"))
    assert events == ["begins", "ends", "mark", "mark"] * 2


@pytest.mark.parametrize("mode", ["eager", "compiled"])
def test_a_block_has_one_pipeline(
    mode: str, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Starting one takes as long as some steps."""
    trainer: Any = make(configured("tensorflow").TRAINERS[mode], problem, mode, "streamed")
    batches, lengths = trainer._loader.batches, list[int]()

    def noted(rows: Any) -> Any:
        lengths.append(len(rows))
        return batches(rows)

    monkeypatch.setattr(trainer._loader, "batches", noted)
    trainer.train_parts([problem.rows(3), problem.rows(5)], lambda: None)
    assert lengths == [8]


@pytest.mark.parametrize("name", ["tensorflow", "jax"])
def test_the_number_of_steps_of_a_floor_is_known(name: str) -> None:
    execution = Execution(mode="floor", steps_per_call=STEPS_PER_CALL)
    floor = floor_of(name, execution)
    assert trip_counts(optimized(name, floor.program(np.tile(ROWS[0], (9, 1))))) == ["9"]


def test_a_loop_whose_steps_are_not_known_is_noticed() -> None:
    configured("tensorflow")
    tf = pytest.importorskip("tensorflow")

    def steps(x: Any, count: Any) -> Any:
        for _ in tf.range(count):
            x = x * 1.5 + 1.0
        return x

    program = Program(tf.function(steps, jit_compile=True), (tf.constant(1.0), tf.constant(7)))
    assert trip_counts(optimized("tensorflow", program)) == []
